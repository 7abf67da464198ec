"""Finds a rise or fall of handling time against the stream's own past, from sums over groups of labels."""

import math
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors import dispersion
from detectors.mixture import R_MAX, check_run_length
from detectors.outcomes import weigh
from detectors.protocol import Estimate, PromisingDetector
from detectors.reverse import BOUND, edge_of
from schemas.drift import Direction

#: Values in a group.
GROUP = 32
#: A logarithm is kept as a whole number of thousandths, so that sums do not depend on their order.
UNIT = 1000
#: The changes of the time that are looked for, up and down, as factors.
FACTORS = (1.15, 1.3, 1.6)
#: A change by a smaller factor is not looked for: people, shifts and hours differ by some percent anyhow.
TOLERANCE = 1.05
#: Values after which the baseline is taken as known, each counted by 1 / design effect.
FREEZE_AFTER = 10_000
#: The state of a stream, a list of floats that its owner stores as it likes: number of groups; values that the baseline
#: was learned from, and their mean logarithm; sum of squares within groups; R of the rises and of the falls; the design
#: effect; the state of `detectors.dispersion`.
ROW = (
    "groups",
    "learned",
    "mean",
    "within",
    *(f"{way}{number}" for way in ("rise", "fall") for number in (1, 2, 3)),
    "effect",
    *(f"dispersion{number}" for number in range(dispersion.size(1))),
)
#: The newest groups, among which the beginning of a change is looked for.
GROUPS_KEPT = 64
#: Upper bounds of one group's log-likelihood ratio, and of how far it moves the baseline, in standard deviations of the
#: group's mean: a task left open over lunch is no change.
_MOST, _FURTHEST = 3.0, 4.0
#: No change is looked for before so many values are learned; and when so many are, evidence counts half. The first hour
#: is seldom like the rest, and at the beginning of a log only quick tasks are done already.
FIRST, _YOUNG = 320.0, 256.0
#: The standard deviation of logarithms assumed at first, how many values that counts for, and the least deviation.
_DEVIATION, _PRIOR, _LEAST = 0.5, 4.0, 0.05
_PRIOR_SQUARES, _LEAST_VARIANCE, _UNIT2 = _PRIOR * _DEVIATION**2, _LEAST**2, UNIT**2
_R, _EFFECT, _DISPERSION = 4, 10, 11
#: Groups after which the design effect is worked out again.
_EFFECT_EVERY = 8
_SHORTEST_MS, _LONGEST_MS = 100, 3_600_000
#: For each R, as in the row: its direction; and as logarithms, its factor over the tolerance, and the middle of both.
_STEPS = tuple(
    (way, math.log(factor / TOLERANCE), math.log(factor * TOLERANCE) / 2) for way in (1.0, -1.0) for factor in FACTORS
)
#: Weight, in groups, of the old level in the new one's estimate.
_OLD = 0.25


def fresh() -> list[float]:
    """The `ROW` of a stream without a value."""
    row = [0.0] * len(ROW)
    row[_EFFECT] = 1.0
    return row


def quantised(handle_ms: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Logarithms of seconds in thousandths, between those of 0.1 s and of an hour.

    Args:
        handle_ms: Handling times, ms, shape (n,).

    Returns:
        Whole numbers, shape (n,): a group's sum and sum of squares are taken of them.
    """
    seconds = np.clip(handle_ms, _SHORTEST_MS, _LONGEST_MS).astype(np.float64) / 1000.0
    return np.asarray(np.rint(UNIT * np.log(seconds)), np.int64)


def variance(row: Sequence[float], n: int = GROUP) -> float:
    """Variance of one logarithm, estimated within groups of n."""
    return _variance(row[0], row[3], n)


def _variance(seen: float, within: float, n: int) -> float:
    found = (within + _PRIOR_SQUARES) / (seen * (n - 1) + _PRIOR)
    return found if found > _LEAST_VARIANCE else _LEAST_VARIANCE


def temper(row: Sequence[float]) -> float:
    """1 / design effect of the groups' means."""
    return 1.0 / row[_EFFECT]


def advance(row: list[float], n: int, total: int, squares: int, learns: bool = True) -> float:
    """Takes one group of values, as `run` does; returns the mean of the R."""
    return run(row, n, [(total, squares)], [True], math.inf, learns)[1]


def run(
    row: list[float], n: int, groups: Iterable[Sequence[int]], tests: Iterable[bool], limit: float, learns: bool = True
) -> tuple[int, float]:
    """Takes groups of values, one after the other, up to the one at which a drift is signalled.

    Args:
        row: `ROW`, changed in place.
        n: Values in a group, at least 2; the same for every group of a stream.
        groups: For each group the sum of its `quantised` values, and the sum of their squares.
        tests: Whether a change is looked for in each group; if not, the R stay unchanged.
        limit: Threshold of the mean of the R over rises and falls, in values.
        learns: Whether the baseline learns from the groups.

    Returns:
        How many groups were taken, at least one, and the mean of the R after the last of them.
    """
    seen, learned, mean, within = row[:4]
    effect, size, taken, statistic, exp = row[_EFFECT], n * UNIT, 0, 0.0, math.exp
    for (total, squares), is_tested in zip(groups, tests, strict=True):
        value, one, power = total / size, _variance(seen, within, n), 1.0 / effect
        off = value - mean if learned else 0.0
        statistic = 0.0
        if is_tested and learned >= FIRST:
            # A young baseline is rough itself, so the group's mean differs from it less surely than it seems.
            scale = power * learned / (learned + n + _YOUNG) * n / one
            for place, (way, gap, middle) in enumerate(_STEPS, _R):
                gain = scale * gap * (way * off - middle)
                r = (row[place] + n) * exp(gain if gain < _MOST else _MOST)
                row[place] = r = r if r < R_MAX else R_MAX
                statistic += r
            statistic /= 6.0
        if learns and learned < FREEZE_AFTER:
            furthest, weight = _FURTHEST * math.sqrt(one / n / power), power * n
            step = off if -furthest < off < furthest else math.copysign(furthest, off)
            mean = mean + step * weight / (learned + weight) if learned else value
            learned += weight
        dispersion.add_one(row, _DISPERSION, int(seen), value, n / one)
        seen += 1.0
        if seen % _EFFECT_EVERY == 0:
            effect = row[_EFFECT] = dispersion.design_effect(row, _DISPERSION, int(seen))
        within += (squares - total * total / n) / _UNIT2
        taken += 1
        if statistic >= limit:
            break
    row[:4] = seen, learned, mean, within
    return taken, statistic


def directions(row: Sequence[float]) -> tuple[float, float]:
    """Mean of the R over the rises, and over the falls; each by itself keeps the run length too."""
    return sum(row[_R : _R + 3]) / 3.0, sum(row[_R + 3 : _R + 6]) / 3.0


def leaning(row: Sequence[float]) -> Direction:
    """The direction with more evidence."""
    rise, fall = directions(row)
    return "up" if rise >= fall else "down"


def unlearn(row: list[float], n: int, totals: Sequence[int]) -> None:
    """Takes groups out of the baseline again, which had learned from a change before it was found.

    A frozen baseline has not learned from them and stays unchanged.

    Args:
        row: `ROW`, changed in place.
        n: Values in a group.
        totals: Sums of the groups of the change.
    """
    weight = temper(row) * n
    if row[1] >= FREEZE_AFTER or not totals:
        return
    left = row[1] - weight * len(totals)
    if left >= weight:
        row[2] = (row[2] * row[1] - weight * sum(totals) / (n * UNIT)) / left
        row[1] = left


def restart(row: list[float]) -> None:
    """Starts the test afresh, as after a drift was cleared; the baseline stays."""
    row[_R:_EFFECT] = [0.0] * 6


def locate(newest_first: Sequence[int], row: Sequence[float], n: int = GROUP) -> Estimate:
    """Estimates when a change began, and the typical time since, from sums of groups.

    As `detectors.outcomes.locate_change`, with the likelihood ratio of a group in place of an outcome's.

    Args:
        newest_first: Sums of the groups remembered, newest first.
        row: `ROW`.
        n: Values in a group.

    Returns:
        The estimate: `began_ago` in values, rates in seconds (geometric means).

    Source:
        Shiryaev 1963, with the mixture over shifts of Pollak 1987.
    """
    mean = row[2]
    if not len(newest_first):
        return Estimate(0, 0, 0, math.exp(mean), math.exp(mean))
    off = np.asarray(newest_first, np.float64) / (n * UNIT) - mean
    steps = np.log(np.array([*FACTORS, *(1 / factor for factor in FACTORS)]))[:, None]
    logs = np.cumsum((steps * off - steps**2 / 2) * (n / variance(row, n) * temper(row)), axis=1)
    weights, (median, low, high) = weigh(logs)
    seen = np.arange(1, len(off) + 1)
    now = mean + float((weights * np.cumsum(off) / (seen + _OLD)).sum())
    return Estimate(median * n, low * n, high * n, math.exp(mean), math.exp(now))


def proven(row: Sequence[float], way: Direction, total: float, values: int, n: int = GROUP) -> float:
    """The size of change that is proven: the lower 5% bound of its logarithm; below 0: none.

    Args:
        row: `ROW`.
        way: Direction of the change.
        total: Sum of the logarithms of seconds since the change.
        values: How many values these are, above 0.
        n: Values in a group.
    """
    # As if one more group had shown the old level: a signal comes when chance has added to the change.
    off = (total - values * row[2]) / (values + n)
    deviation = math.sqrt(variance(row, n) * row[_EFFECT] / (values + n))
    return (off if way == "up" else -off) - BOUND * deviation


def back(r: float, row: Sequence[float], way: Direction, known: float, n: int, total: int) -> float:
    """Takes a group while a drift is open, to prove that the level is nearer to the baseline than an edge.

    As `ReverseTest`: R <- (R + n) * L, with L the likelihood ratio of the baseline against the edge. The edge is half
    of the proven change away from the baseline, and at least `TOLERANCE`. The drift is over when R reaches
    `detectors.reverse.RUN_LENGTH`; while the level is at the edge or beyond, that takes at least as many values, on
    average.

    Args:
        r: What the last call returned; 0 at first.
        row: `ROW`.
        way: Direction of the change.
        known: The largest change that was proven so far (`proven`).
        n: Values in the group.
        total: Sum of their `quantised` values.

    Returns:
        The new R.

    Source:
        Roberts 1966; Pollak 1987.
    """
    step = edge_of(math.inf, math.log(TOLERANCE), known)
    off = total / (n * UNIT) - row[2]
    gain = step * (step / 2 - (off if way == "up" else -off)) * n / variance(row, n) * temper(row)
    return min((r + n) * math.exp(min(gain, _MOST / 2)), R_MAX)


class LogNormalMeanShift(PromisingDetector):
    """Watches handling times (seconds) for a rise or fall of their typical value against the stream's own past.

    Logarithms of handling times are about normal, with mean m and variance s^2; y is the mean of a group of n. For each
    factor f of `FACTORS` and both directions: R <- (R + n) * L with
    L = exp(n (d - t) (|y - m| - (d + t) / 2) / (v s^2)).
    Here |.| has the sign of the direction, d = log f and t = log `TOLERANCE`: L is the likelihood ratio of the change
    against the edge of the tolerance. m is learned from the groups before, s^2 from within groups. v makes the evidence
    weaker: v = deff (1 + (n + 256) / values learned). deff is the design effect of the groups' means, from neighbouring
    sums of 1 to 128 groups (`detectors.dispersion`), so that slow or regular movement, such as shifts of slower and
    faster people, is no evidence. No group counts for more than e^3, whatever its values.

    Guarantee: mean(R) - values seen is a supermartingale while the mean logarithm stays within the tolerance of m, so
    that the mean number of values to a false alarm is at least `run_length`. As m is estimated, this holds on average
    over many streams. Simulated over 24,000,000 labels of the steady scenario (people, shifts, projects; sites of 6 to
    200 people): at most .13 false alarms in 20,000 labels at A = 20,000. After 10,000 labels a factor of 1.3 is found
    after 180 more, of 1.5 after 100, of 1.15 after 790; a factor within the tolerance is not found, and 1.1 takes
    weeks.

    Args:
        run_length: A, the promised mean number of values to a false alarm.
        group: Values in a group.

    Raises:
        ValueError: A value is out of its range.

    Source:
        Shiryaev 1963; Roberts 1966; Pollak 1987; Lorden and Pollak 2005; design effect: Kish 1965.

    >>> detector = LogNormalMeanShift(run_length=20_000)
    >>> for number in range(3200):
    ...     _ = detector.update(20 + number % 25)
    >>> detector.drift_detected
    False
    >>> for number in range(320):
    ...     _ = detector.update(30 + 1.5 * (number % 25))
    >>> detector.drift_detected, detector.direction
    (True, 'up')
    """

    __slots__ = ("_count", "_open", "_row", "_squares", "_total", "_totals", "group")

    def __init__(self, run_length: float, group: int = GROUP) -> None:
        check_run_length(run_length, 1.0)
        if group < 2:
            raise ValueError(f"group must be 2 or more, not {group!r}")
        super().__init__(run_length)
        self.group = group
        self._row = fresh()
        self._totals: deque[int] = deque(maxlen=GROUPS_KEPT)
        self._count = self._total = self._squares = 0
        self._open = False

    @property
    def baseline(self) -> float:
        """The stream's own typical time, seconds: the geometric mean."""
        return math.exp(self._row[2])

    @property
    def statistic(self) -> float:
        """Mean of the R, as of the last full group."""
        return sum(directions(self._row)) / 2.0

    @property
    def direction(self) -> Direction:
        """The direction with more evidence."""
        return leaning(self._row)

    def update(self, x: float) -> Self:
        """Takes one handling time.

        Args:
            x: Seconds, above 0.

        Raises:
            ValueError: x is no such number.
        """
        if not 0 < x < math.inf:
            raise ValueError(f"a handling time must be a number of seconds above 0, not {x!r}")
        (log,) = quantised(np.array([min(x * 1000, _LONGEST_MS)]).astype(np.int64)).tolist()
        self._count += 1
        self._total += log
        self._squares += log * log
        if self._count == self.group:
            advance(self._row, self.group, self._total, self._squares, not self._open)
            self._totals.append(self._total)
            self._count = self._total = self._squares = 0
            self._open |= self.drift_detected
        return self

    def reset(self) -> None:
        """Starts the test afresh, as after a drift was cleared; the baseline stays."""
        restart(self._row)
        self._totals.clear()
        self._open = False

    def estimate(self) -> Estimate:
        """Estimates when the change began, in values, and the typical seconds before and since."""
        return locate(list(reversed(self._totals)), self._row, self.group)

    def to_bytes(self) -> bytes:
        """The state: parameters, row, the group that is being filled and the newest sums; about 500 bytes."""
        numbers = (self.group, self._count, self._total, self._squares, self._open, *self._totals)
        return struct.pack(f"<{1 + len(ROW)}d", self.run_length, *self._row) + struct.pack(
            f"<{len(numbers)}q", *numbers
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`."""
        run_length, *row = struct.unpack_from(f"<{1 + len(ROW)}d", packed)
        group, count, total, squares, is_open, *totals = memoryview(packed)[8 * (1 + len(ROW)) :].cast("q")
        detector = cls(run_length, group)
        detector._row = row
        detector._count, detector._total, detector._squares, detector._open = count, total, squares, bool(is_open)
        detector._totals.extend(totals)
        return detector
