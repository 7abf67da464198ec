"""The two kinds of series that labels make, handling time and label mix, and how each calls its detector."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from detectors import categorical, mean_shift
from detectors.categorical import Leading
from detectors.protocol import Estimate
from schemas.drift import Direction
from streams.engine.drift.budgets import LEAST_RUN_LENGTH
from streams.engine.drift.episodes import Episode
from streams.engine.drift.stream import Stream

#: Sums of groups of labels, one sequence a group.
Sums = Sequence[Sequence[int]]
#: Number of the class where there is none: handling time.
NO_CLASS = -1


class SeriesKind(ABC):
    """A kind of series. Labels come in groups with sums: of logarithms and of their squares, or counts by class."""

    #: Labels in a group. A detector's update costs the same for any size, so groups are as large as a quiet project's
    #: day allows.
    size: ClassVar[int]
    #: How many sums a group has.
    width: ClassVar[int]

    @abstractmethod
    def fresh(self) -> list[float]:
        """The detector's row for a series without labels."""

    @abstractmethod
    def run(self, row: list[float], sums: Sums, tests: Sequence[bool]) -> tuple[int, float]:
        """Feeds groups to the detector up to a possible signal; returns how many, and the statistic after the last."""

    @abstractmethod
    def leading(self, row: Sequence[float]) -> Leading:
        """The class and direction that the evidence points to."""

    @abstractmethod
    def leading_of(self, stream: Stream, episode: Episode) -> Leading:
        """The class and direction of an open drift."""

    @abstractmethod
    def packed(self, lead: Leading) -> bytes:
        """What `Episode.test` must hold for `leading_of`."""

    @abstractmethod
    def locate(self, newest: Sums, row: Sequence[float], lead: Leading) -> Estimate:
        """Estimates when a change began, and the figure before and since."""

    @abstractmethod
    def unlearn(self, row: list[float], changed: Sums) -> None:
        """Takes the groups of a change out of the baseline."""

    @abstractmethod
    def restart(self, row: list[float]) -> None:
        """Starts the test afresh; the baseline stays."""

    @abstractmethod
    def total(self, groups: Sums, lead: Leading) -> float:
        """The sum that the figure is the mean of: labels of the class, or logarithms of seconds."""

    @abstractmethod
    def figure(self, mean: float) -> float:
        """The figure, given the mean: a share, or typical seconds."""

    @abstractmethod
    def back(self, r: float, row: Sequence[float], lead: Leading, known: float, sums: Sequence[int]) -> float:
        """Takes a group while a drift is open; returns the new R, the statistic of the test of whether it is over."""

    @abstractmethod
    def proven(self, row: Sequence[float], lead: Leading, total: float, n: int) -> float:
        """The size of change that is proven."""


def _direction_of(stream: Stream) -> Direction:
    return "up" if stream.direction == "up" else "down"


class HandleTime(SeriesKind):
    """Typical seconds a label."""

    size = 64
    width = 2

    def fresh(self) -> list[float]:
        """As of `SeriesKind`."""
        return mean_shift.fresh()

    def run(self, row: list[float], sums: Sums, tests: Sequence[bool]) -> tuple[int, float]:
        """As of `SeriesKind`."""
        return mean_shift.run(row, self.size, sums, tests, LEAST_RUN_LENGTH)

    def leading(self, row: Sequence[float]) -> Leading:
        """As of `SeriesKind`."""
        return Leading(NO_CLASS, mean_shift.leaning(row))

    def leading_of(self, stream: Stream, episode: Episode) -> Leading:
        """As of `SeriesKind`."""
        return Leading(NO_CLASS, _direction_of(stream))

    def packed(self, lead: Leading) -> bytes:
        """As of `SeriesKind`."""
        return b""

    def locate(self, newest: Sums, row: Sequence[float], lead: Leading) -> Estimate:
        """As of `SeriesKind`."""
        return mean_shift.locate([total for total, _ in newest], row, self.size)

    def unlearn(self, row: list[float], changed: Sums) -> None:
        """As of `SeriesKind`."""
        mean_shift.unlearn(row, self.size, [total for total, _ in changed])

    def restart(self, row: list[float]) -> None:
        """As of `SeriesKind`."""
        mean_shift.restart(row)

    def total(self, groups: Sums, lead: Leading) -> float:
        """As of `SeriesKind`."""
        return sum(total for total, _ in groups) / mean_shift.UNIT

    def figure(self, mean: float) -> float:
        """As of `SeriesKind`."""
        return math.exp(mean)

    def back(self, r: float, row: Sequence[float], lead: Leading, known: float, sums: Sequence[int]) -> float:
        """As of `SeriesKind`."""
        return mean_shift.back(r, row, lead.direction, known, self.size, sums[0])

    def proven(self, row: Sequence[float], lead: Leading, total: float, n: int) -> float:
        """As of `SeriesKind`."""
        return mean_shift.proven(row, lead.direction, total, n, self.size)


class LabelMix(SeriesKind):
    """Shares of label classes."""

    size = 128
    width = categorical.CLASSES

    def fresh(self) -> list[float]:
        """As of `SeriesKind`."""
        return categorical.fresh()

    def run(self, row: list[float], sums: Sums, tests: Sequence[bool]) -> tuple[int, float]:
        """As of `SeriesKind`."""
        return categorical.run(row, sums, tests, LEAST_RUN_LENGTH)

    def leading(self, row: Sequence[float]) -> Leading:
        """As of `SeriesKind`."""
        return categorical.leading(row)

    def leading_of(self, stream: Stream, episode: Episode) -> Leading:
        """As of `SeriesKind`."""
        return Leading(int(episode.test), _direction_of(stream))

    def packed(self, lead: Leading) -> bytes:
        """As of `SeriesKind`."""
        return b"%d" % lead.label

    def locate(self, newest: Sums, row: Sequence[float], lead: Leading) -> Estimate:
        """As of `SeriesKind`."""
        return categorical.locate(newest, row, lead)

    def unlearn(self, row: list[float], changed: Sums) -> None:
        """As of `SeriesKind`."""
        categorical.unlearn(row, changed)

    def restart(self, row: list[float]) -> None:
        """As of `SeriesKind`."""
        categorical.restart(row)

    def total(self, groups: Sums, lead: Leading) -> float:
        """As of `SeriesKind`."""
        return float(sum(counts[lead.label] for counts in groups))

    def figure(self, mean: float) -> float:
        """As of `SeriesKind`."""
        return mean

    def back(self, r: float, row: Sequence[float], lead: Leading, known: float, sums: Sequence[int]) -> float:
        """As of `SeriesKind`."""
        return categorical.back(r, row, lead, known, sums)

    def proven(self, row: Sequence[float], lead: Leading, total: float, n: int) -> float:
        """As of `SeriesKind`."""
        return categorical.proven(row, lead, total, n, self.size)


HANDLE_TIME, LABEL_MIX = HandleTime(), LabelMix()
#: By signal.
SERIES: dict[str, SeriesKind] = {"handle_time": HANDLE_TIME, "label_mix": LABEL_MIX}
