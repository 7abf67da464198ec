"""What every detector offers; river's `update` and `drift_detected`, and what an alert needs beside them."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, Self, runtime_checkable


class Estimate(NamedTuple):
    """What a detector knows of a change.

    Attributes:
        began_ago: Observations since the change began, posterior median.
        began_ago_low: Lower end of the 90% interval of `began_ago`.
        began_ago_high: Upper end; at most as far back as the detector remembers.
        old_rate: Error rate before, 0 to 1.
        new_rate: Error rate since, posterior mean, 0 to 1.
    """

    began_ago: int
    began_ago_low: int
    began_ago_high: int
    old_rate: float
    new_rate: float


@runtime_checkable
class Detector(Protocol):
    """A sequential test for a change, one observation at a time.

    Deterministic, of constant size, and without a clock: the same observations give the same
    signals, whether or not it was packed and unpacked in between.
    """

    @property
    def drift_detected(self) -> bool:
        """Whether the statistic has reached its threshold."""

    @property
    def evidence(self) -> float:
        """Statistic / threshold: 0 and more, 1 and more when a drift is detected."""

    def update(self, x: float) -> Self:
        """Takes one observation; raises ValueError for one that is not allowed."""

    def estimate(self) -> Estimate:
        """When the change began, and the rates before and since."""

    def to_bytes(self) -> bytes:
        """The whole state, packed."""

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """The detector again, as it was packed."""


def checked_outcome(x: float) -> int:
    """An outcome as 0 or 1.

    Raises:
        ValueError: It is neither; NaN is not.
    """
    if x == 0:
        return 0
    if x == 1:
        return 1
    raise ValueError(f"an outcome is 0 (correct) or 1 (error), not {x!r}")


def until_drift(detector: Detector, observations: Iterable[float]) -> int:
    """Feeds observations until a drift is detected anew, or to the end; returns how many."""
    return count_until(detector.drift_detected, (detector.update(x).drift_detected for x in observations))


def count_until(detected: bool, after_each: Iterable[bool]) -> int:
    """Goes on until a drift is detected anew, or to the end; returns how many observations that took.

    Args:
        detected: Whether a drift is detected before them.
        after_each: Whether one is after each; taking an element takes the observation.
    """
    taken, below = 0, not detected
    for found in after_each:
        taken += 1
        if not found:
            below = True
        elif below:
            break
    return taken
