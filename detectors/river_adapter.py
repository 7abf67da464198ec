"""Any of river's drift detectors by name, through our protocol, for comparison; river stands only here."""

import importlib
import pickle
from collections.abc import Iterable
from typing import Any, Self

from detectors.protocol import Estimate

#: Where river keeps them; by name, since `from river.drift import *` fails in 0.26.
_MODULES = ("river.drift", "river.drift.binary")


class RiverDetector:
    """One of river's detectors.

    River promises no run length; its detectors say yes or no, so `evidence` is 0 or 1. Only those
    that keep a window (ADWIN, KSWIN) tell what is new from what is old; of the others the only
    estimate is the mean since the last drift.

    Args:
        name: Class name in `river.drift` or `river.drift.binary`, such as `ADWIN` or `HDDMA`.
        params: Its parameters.

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
        """Takes observations until a drift is detected, or to the end; returns how many. They are not looked at."""
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
        """The mean of what its window still holds, and of what came before it since the last drift.

        So at a drift the new rate is above the old one where the drift is a rise: ADWIN and KSWIN
        react to both directions. Without a window both rates are the mean since the last drift.
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
        """The state by pickle: read it back only where it was written by labelwatch itself."""
        return pickle.dumps((self.name, self.params, self._river, self._n, self._sum))

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """The detector again."""
        name, params, river, n, total = pickle.loads(packed)
        detector = cls(name, **params)
        detector._river, detector._n, detector._sum = river, n, total
        return detector


def _find(name: str) -> Any:
    for module in _MODULES:
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type):
            return found
    raise ValueError(
        f"river has no drift detector called {name!r}; give a class name such as ADWIN, PageHinkley, HDDMA"
    )
