"""What every detector offers: river's `update` and `drift_detected`, and what alerts need beside them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, Protocol, Self, runtime_checkable


class Estimate(NamedTuple):
    """A detector's estimate of a change.

    Attributes:
        began_ago: Observations since the change began, posterior median.
        began_ago_low: Lower end of the 90% interval of `began_ago`.
        began_ago_high: Upper end; at most as far back as the detector remembers.
        old_rate: Error rate before the change, 0 to 1.
        new_rate: Error rate since the change, posterior mean, 0 to 1.
    """

    began_ago: int
    began_ago_low: int
    began_ago_high: int
    old_rate: float
    new_rate: float


@runtime_checkable
class Detector(Protocol):
    """A sequential test for a change, one observation at a time.

    It is deterministic, of constant size, and has no clock: the same observations give the same
    signals, whether or not it was packed and unpacked in between.
    """

    @property
    def drift_detected(self) -> bool:
        """Whether the statistic has reached its threshold."""

    @property
    def evidence(self) -> float:
        """Statistic over threshold: at least 0, and at least 1 when a drift is detected."""

    def update(self, x: float) -> Self:
        """Takes one observation; raises ValueError for one that is not allowed."""

    def estimate(self) -> Estimate:
        """Estimates when the change began, and the rates before and since."""

    def to_bytes(self) -> bytes:
        """The whole state as bytes."""

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`."""


class PromisingDetector(ABC):
    """A detector of ours: it detects a drift when its statistic reaches the run length that it promises.

    Attributes:
        run_length: The threshold, which is also the promised mean number of observations to a false alarm.
    """

    __slots__ = ("run_length",)

    def __init__(self, run_length: float) -> None:
        self.run_length = run_length

    @property
    @abstractmethod
    def statistic(self) -> float:
        """The mean of the detector's R; a detector of groups, or of runs, evaluates it at their ends only."""

    @property
    def evidence(self) -> float:
        """The statistic over the run length, at least 0."""
        return self.statistic / self.run_length

    @property
    def drift_detected(self) -> bool:
        """Whether the statistic is at the run length or above."""
        return self.evidence >= 1.0

    @abstractmethod
    def update(self, x: float) -> Self:
        """Takes one observation; raises ValueError for one that is not allowed."""

    def update_many(self, observations: Iterable[float]) -> int:
        """Takes observations until a drift is detected anew, or to the end; returns how many were taken."""
        return count_until(self.drift_detected, (self.update(x).drift_detected for x in observations))

    @abstractmethod
    def reset(self) -> None:
        """Starts the test afresh, as after a drift was cleared; what was learned of the baseline stays."""


def checked_outcome(x: float) -> int:
    """An outcome as 0 or 1.

    Raises:
        ValueError: It is neither, such as NaN.
    """
    if x == 0:
        return 0
    if x == 1:
        return 1
    raise ValueError(f"an outcome is 0 (correct) or 1 (error), not {x!r}")


def count_until(detected: bool, after_each: Iterable[bool]) -> int:
    """Goes on until a drift is detected anew, or to the end; returns how many observations were taken.

    Args:
        detected: Whether a drift is detected before the first observation.
        after_each: Whether one is detected after each observation; the iterator takes an observation at each step.
    """
    taken, below = 0, not detected
    for found in after_each:
        taken += 1
        if not found:
            below = True
        elif below:
            break
    return taken
