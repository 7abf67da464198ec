"""Signals of river's detectors: the change behind one, its direction, and how a detector is restored."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats, Ints
from detectors.river_adapter import RiverDetector
from streams.engine.drift.stream import Stream

#: A change is reported only with at least this many reviews before it, and since.
LEAST_BEFORE, _LEAST_SINCE = 30, 5


def split(newest_first: NDArray[np.uint8], rises: bool | None) -> tuple[int, bool] | None:
    """The most likely place of one change of the rate.

    Args:
        newest_first: Whether each outcome is an error, newest first, shape (n,).
        rises: Whether errors rose, if the detector shows it; None: either direction is looked for.

    Returns:
        How many outcomes ago it came, and whether errors rose; None where no change fits.

    Source:
        The maximum of the likelihood over all places (Hinkley 1970), each side at its own mean.
    """
    n = len(newest_first)
    since = np.arange(_LEAST_SINCE, n - LEAST_BEFORE + 1)
    if not len(since):
        return None
    wrong = np.cumsum(newest_first, dtype=np.int64)
    new, old = wrong[since - 1], wrong[-1] - wrong[since - 1]
    gain = _log_likelihood(new, since) + _log_likelihood(old, n - since)
    higher = new * (n - since) > old * since
    fits = new * (n - since) != old * since if rises is None else higher if rises else new * (n - since) < old * since
    if not fits.any():
        return None
    best = int(np.argmax(np.where(fits, gain, -np.inf)))
    return int(since[best]), bool(higher[best])


def _log_likelihood(wrong: Ints, n: Ints) -> Floats:
    """Log likelihood of n outcomes at the rate that they have themselves."""
    right = n - wrong
    return np.asarray(wrong * np.log(np.maximum(wrong, 1) / n) + right * np.log(np.maximum(right, 1) / n))


def signals_of(detector: RiverDetector | None, outcomes: Sequence[int]) -> Iterator[tuple[int, int, bool | None]]:
    """Feeds outcomes to a detector.

    Yields:
        For each signal the index of its outcome, the number of outcomes since the signal before, and whether errors
        rose (None where unknown). The detector has all outcomes only once the iterator is at its end.
    """
    if detector is None:
        return
    taken = 0
    while taken < len(outcomes):
        taken += detector.update_many(outcomes[taken:])
        if detector.drift_detected:
            found = detector.estimate()
            known = found.old_rate != found.new_rate
            yield taken - 1, detector.since_drift, found.new_rate > found.old_rate if known else None


def direction_of(stream: Stream, rises: bool) -> str | None:
    """The direction of a drift on a stream, given whether errors rose; None where the stream does not look for it."""
    if stream.signal == "error_finding":
        direction = "up" if rises else "down"
        return direction if stream.agent or direction == stream.direction else None
    return "down" if rises else None


def continued(packed: bytes, name: str, params: dict[str, Any]) -> tuple[RiverDetector, str]:
    """The detector with its restored state, and empty; or a new detector, and why the state cannot be used."""
    try:
        if packed:
            detector = RiverDetector.from_bytes(packed)
            if (detector.name, detector.params) == (name, params):
                return detector, ""
            why = f"the policy names {name} with other parameters" if detector.name == name else f"now it is {name}"
        else:
            return RiverDetector(name, **params), ""
    except ValueError as error:  # another river's, or damaged
        why = str(error)
    return RiverDetector(name, **params), why
