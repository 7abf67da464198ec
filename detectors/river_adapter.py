"""Any of river's drift detectors, by name, with our protocol; the only module that imports river."""

import importlib
import importlib.util
import sys
import threading
from collections import deque
from collections.abc import Iterable
from importlib.machinery import PathFinder
from types import MethodType
from typing import Any, Self

import msgspec
from xxhash import xxh3_64_intdigest

from detectors.protocol import Estimate

#: The module of river that holds each.
_MODULES = {
    "ADWIN": "drift.adwin",
    "KSWIN": "drift.kswin",
    "PageHinkley": "drift.page_hinkley",
    "DDM": "drift.binary.ddm",
    "EDDM": "drift.binary.eddm",
    "FHDDM": "drift.binary.fhddm",
    "HDDMA": "drift.binary.hddm_a",
    "HDDMW": "drift.binary.hddm_w",
}
#: Partitions are restored in threads; no thread may see a module that another has not loaded wholly.
_LOADING = threading.Lock()
_SCALARS = (bool, int, float, str, type(None))


class OtherRiverError(ValueError):
    """A state was packed by another version of river; only that version knows what its numbers mean."""


class _Packed(msgspec.Struct, array_like=True):
    river: str
    name: str
    params: dict[str, Any]
    n: int
    total: float
    #: Values of the detector's attributes, by name.
    state: bytes
    #: Checksum of `state`: river's Rust code panics if it reads damaged bytes.
    checksum: int


class RiverDetector:
    """One of river's detectors.

    River promises no run length, and its detectors only say whether there is a drift, so `evidence` is 0 or 1. Only
    detectors with a window (ADWIN, KSWIN) distinguish new from old; the only estimate of the others is the mean since
    the last drift.

    Args:
        name: Class name in `river.drift` or `river.drift.binary`, such as `ADWIN` or `HDDMA`.
        params: Parameters of the class.

    Raises:
        ValueError: River has no detector of that name.

    >>> detector = RiverDetector("ADWIN", delta=0.002)
    >>> for x in [0] * 500 + [1] * 500:
    ...     found = detector.update(x).drift_detected
    ...     if found:
    ...         break
    >>> found
    True
    """

    def __init__(self, name: str, **params: Any) -> None:
        self.name = name
        self.params = params
        self._river = _find(name)(**params)
        self._n = 0
        self._sum = 0.0

    @property
    def drift_detected(self) -> bool:
        """Whether river's detector signalled at the last observation."""
        return bool(self._river.drift_detected)

    @property
    def evidence(self) -> float:
        """1 at a drift, else 0."""
        return float(self.drift_detected)

    @property
    def since_drift(self) -> int:
        """Observations since the last drift; at a drift, since the one before it."""
        return self._n

    def update(self, x: float) -> Self:
        """Takes one observation.

        Raises:
            ValueError: It is not a number.
        """
        if not abs(x) < float("inf"):
            raise ValueError(f"an observation must be a number, not {x!r}")
        if self.drift_detected:
            self._n, self._sum = 0, 0.0
        self._river.update(x)
        self._n += 1
        self._sum += x
        return self

    def update_many(self, observations: Iterable[float]) -> int:
        """Takes observations, unchecked, until a drift is detected, or to the end; returns how many were taken."""
        if self.drift_detected:
            self._n, self._sum = 0, 0.0
        river, update = self._river, self._river.update
        taken, total = 0, 0.0
        for x in observations:
            taken += 1
            total += x
            update(x)
            if river.drift_detected:
                break
        self._n += taken
        self._sum += total
        return taken

    def estimate(self) -> Estimate:
        """Estimates the new rate as the mean of the window, and the old rate as the mean before it.

        The old rate goes back to the last drift. ADWIN and KSWIN react to both directions; at a rise the new rate is
        above the old one. Without a window both rates are the mean since the last drift.
        """
        mean = self._sum / self._n if self._n else 0.0
        n, total = self._window()
        if not 0 < n < self._n:
            return Estimate(self._n, self._n, self._n, mean, mean)
        return Estimate(n, n, n, (self._sum - total) / (self._n - n), total / n)

    def _window(self) -> tuple[int, float]:
        river = self._river
        if hasattr(river, "width"):
            return int(river.width), float(river.total)
        window = getattr(river, "window", ())
        return len(window), float(sum(window))

    def to_bytes(self) -> bytes:
        """The state as numbers, without names of classes; equal states give equal bytes."""
        state = msgspec.msgpack.encode(_state(self._river))
        return msgspec.msgpack.encode(
            _Packed(river_version(), self.name, self.params, self._n, self._sum, state, xxh3_64_intdigest(state))
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`: makes a new one, and replaces its numbers.

        So bytes never decide which classes are made.

        Raises:
            OtherRiverError: Another version of river packed the state.
            ValueError: The bytes are no state of such a detector.
        """
        try:
            found = msgspec.msgpack.decode(packed, type=_Packed)
        except msgspec.DecodeError as error:
            raise ValueError(f"no state of a detector of river: {error}") from error
        if found.river != river_version():
            raise OtherRiverError(f"the state of {found.name} is river {found.river}'s, and this is {river_version()}")
        if xxh3_64_intdigest(found.state) != found.checksum:
            raise ValueError(f"the state of {found.name} is damaged")
        detector = cls(found.name, **found.params)
        _put(detector._river, msgspec.msgpack.decode(found.state))
        detector._n, detector._sum = found.n, found.total
        return detector


def river_version() -> str:
    """The version of river that is installed."""
    return str(importlib.import_module("river").__version__)


def _state(thing: Any) -> Any:
    """An attribute of a detector as numbers and lists, which `_put` can put into a new detector."""
    if isinstance(thing, float):
        return float(thing)  # scipy gives numpy's floats
    if isinstance(thing, _SCALARS):
        return thing
    if isinstance(thing, deque):
        return list(thing)
    if hasattr(thing, "getstate"):  # random.Random
        return thing.getstate()
    if not hasattr(thing, "__dict__"):
        return thing.__getstate__()  # written in Rust: gives bytes
    # An attribute that is a method is chosen by the detector's parameters, so a new detector has it.
    own = sorted(vars(thing).items())
    return {name: _state(value) for name, value in own if not isinstance(value, MethodType)}


def _put(thing: Any, state: dict[str, Any]) -> None:
    """Puts a state into a new detector, or into a part of one; the types of attributes are those of the new one."""
    for name, value in vars(thing).items():
        if isinstance(value, MethodType):
            continue
        found = state[name]
        if isinstance(value, _SCALARS) and isinstance(found, _SCALARS):
            setattr(thing, name, found)
        elif isinstance(value, deque):
            setattr(thing, name, deque(found, value.maxlen))
        elif hasattr(value, "setstate"):
            kind, numbers, following = found
            value.setstate((kind, tuple(numbers), following))
        elif isinstance(found, bytes):
            value.__setstate__(found)
        else:
            _put(value, found)


def _find(name: str) -> Any:
    if name not in _MODULES:
        raise ValueError(f"river has no drift detector called {name!r}: use one of {', '.join(_MODULES)}")
    return getattr(_module(f"river.{_MODULES[name]}"), name)


def _module(name: str) -> Any:
    """One of river's modules, without its package.

    `import river.drift` imports scipy.stats for KSWIN, which takes 56 MB and 1.5 s more in a worker; ADWIN's module
    alone takes 1 MB. Where river's own module is imported already, it is used.
    """
    own = f"{__name__}.{name}"
    with _LOADING:
        found = sys.modules.get(name) or sys.modules.get(own)
        if found is None:
            _, *folders, _ = name.split(".")
            folder = "/".join((importlib.import_module("river").__path__[0], *folders))
            spec = PathFinder.find_spec(own, [folder])
            if spec is None or spec.loader is None:
                raise ImportError(
                    f"river {river_version()} has no {name}: install the version that labelwatch asks for"
                )
            found = sys.modules[own] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(found)
        return found
