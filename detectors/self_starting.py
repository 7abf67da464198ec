"""Finds a rise of the error rate above the stream's own baseline, which it learns as it goes."""

from collections.abc import Sequence
from typing import Self

from detectors.likelihood import FREEZE_AFTER, learnable, middle_rate, rise_on_correct, rise_on_error, run_adds, warm_up
from detectors.mixture import R_MAX, SHIFTS, RiseDetector, grow, pack, unpack
from detectors.outcomes import locate_change
from detectors.protocol import Estimate

PRIOR = (0.6, 9.4)
#: The state of a stream, a list of floats that its owner stores as it likes: the Beta baseline, how many outcomes it
#: has learned from, and the R.
ROW = ("a", "b", "seen", "r1", "r2", "r3")


def check_prior(prior: tuple[float, float]) -> None:
    """Checks a prior.

    Raises:
        ValueError: It is out of its range; the message names its value.
    """
    if not min(prior) > 0:
        raise ValueError(f"both numbers of prior must be above 0, not {prior!r}")


def fresh(prior: tuple[float, float] = PRIOR) -> list[float]:
    """The `ROW` of a stream without an outcome."""
    return [float(prior[0]), float(prior[1]), 0.0, 0.0, 0.0, 0.0]


def advance(
    row: list[float], correct: int, temper: float = 1.0, learns: bool = True, shifts: Sequence[float] = SHIFTS
) -> float:
    """Takes a run of correct outcomes and the error that ends it.

    A run costs as much as one outcome. The result does not depend on how the log is cut into batches, since between
    errors outcomes are only counted.

    Args:
        row: `ROW`, changed in place.
        correct: Correct outcomes before the error.
        temper: 1 / design effect; also the weight with which the baseline learns.
        learns: Whether the baseline learns from these outcomes.
        shifts: Three rises, in ratio points.

    Returns:
        Mean of the R_d: a drift is signalled where it reaches the run length.
    """
    # Written out for the three shifts, since a loop over them takes twice as long.
    a, b, seen, r1, r2, r3 = row
    d1, d2, d3 = shifts
    learned = temper * learnable(seen, correct) if learns else 0.0
    q = 1.0 - middle_rate(a, b, learned)
    c1, c2, c3 = rise_on_correct(q, d1), rise_on_correct(q, d2), rise_on_correct(q, d3)
    b += learned
    p = a / (a + b)
    e1, e2, e3 = rise_on_error(p, d1), rise_on_error(p, d2), rise_on_error(p, d3)
    if temper != 1.0:
        c1, c2, c3 = c1**temper, c2**temper, c3**temper
        e1, e2, e3 = e1**temper, e2**temper, e3**temper
    power = c1**correct
    r1 = r1 * (power * e1) + (run_adds(c1, power) + 1.0) * e1
    power = c2**correct
    r2 = r2 * (power * e2) + (run_adds(c2, power) + 1.0) * e2
    power = c3**correct
    r3 = r3 * (power * e3) + (run_adds(c3, power) + 1.0) * e3
    if r3 > R_MAX or r2 > R_MAX or r1 > R_MAX:
        r1, r2, r3 = min(r1, R_MAX), min(r2, R_MAX), min(r3, R_MAX)
    if learns:
        seen = min(seen + correct, FREEZE_AFTER)
        if seen < FREEZE_AFTER:
            a += temper
            seen += 1.0
    if learns and seen < warm_up(a / (a + b)):
        r1 = r2 = r3 = 0.0
    row[:] = a, b, seen, r1, r2, r3
    return (r1 + r2 + r3) / 3.0


def evidence_after(
    row: Sequence[float], correct: int, temper: float = 1.0, learns: bool = True, shifts: Sequence[float] = SHIFTS
) -> float:
    """Mean of the R_d as it would be after `correct` more correct outcomes; changes nothing."""
    a, b, seen, *rs = row
    if not correct:
        return sum(rs) / 3.0
    learned = temper * learnable(seen, correct) if learns else 0.0
    q = 1.0 - middle_rate(a, b, learned)
    return sum(grow(r, rise_on_correct(q, d) ** temper, correct) for r, d in zip(rs, shifts, strict=True)) / 3.0


def unlearn(row: list[float], errors: int, correct: int, temper: float = 1.0) -> None:
    """Takes outcomes out of the baseline again, which had learned from a change before it was found.

    A frozen baseline has not learned from them and stays unchanged.
    """
    if row[2] < FREEZE_AFTER:
        row[0] = max(row[0] - temper * errors, PRIOR[0])
        row[1] = max(row[1] - temper * correct, PRIOR[1])
        row[2] = max(row[2] - errors - correct, 0.0)


class SelfStartingMixture(RiseDetector):
    """Watches a stream of outcomes (1 is an error) against its own past.

    As `MixtureShiryaevRoberts`, with the running Beta mean a / (a + b) in place of p0. It is taken before each
    outcome, and only then a or b grows by the outcome. So an outcome is never compared with a baseline that has learned
    from it; each R_d stays a martingale under the predictive distribution, and the promise of at least `run_length`
    outcomes to a false alarm holds on average over many streams. The baseline is frozen after 10,000 outcomes, and does
    not learn while a drift is open. For a whole run of correct outcomes the baseline in its middle is used: the result
    is the same to about a thousandth, and a run costs no more than one outcome.

    A young baseline also learns from the change: after 500 outcomes at 6%, half of the rises to 11% are found within
    370 outcomes, but one in twelve not within 2,000. After 2,000 outcomes all are found, in 300 on average.

    Args:
        run_length: A, the promised mean number of outcomes to a false alarm.
        prior: a and b of the Beta prior of the error rate; the default is a weak one at 6%.
        shifts: Three rises that are looked for, in ratio points.
        temper: 1 / design effect of clustered errors; tempers the likelihood and what is learned.

    Raises:
        ValueError: A value is out of its range.

    Source:
        Lorden and Pollak 2005 (nonanticipating estimators); Pollak 1987.

    >>> detector = SelfStartingMixture(run_length=1000)
    >>> for number in range(2000):
    ...     _ = detector.update(number % 25 == 0)
    >>> detector.drift_detected, round(detector.baseline, 3)
    (False, 0.04)
    >>> for number in range(200):
    ...     _ = detector.update(number % 5 == 0)
    >>> detector.drift_detected
    True
    """

    __slots__ = ("_open",)

    def __init__(
        self,
        run_length: float,
        prior: tuple[float, float] = PRIOR,
        shifts: Sequence[float] = SHIFTS,
        temper: float = 1.0,
    ) -> None:
        super().__init__(run_length, fresh(prior), shifts, temper)
        check_prior(prior)
        self._open = False

    @property
    def baseline(self) -> float:
        """The stream's learned error rate, 0 to 1."""
        a, b, seen = self._row[:3]
        correct = 0 if self._open else min(self._outcomes.since, max(FREEZE_AFTER - seen, 0))
        return a / (a + b + self.temper * correct)

    @property
    def statistic(self) -> float:
        """Mean of the R_d."""
        return evidence_after(self._row, self._outcomes.since, self.temper, not self._open, self._shifts)

    def _failed(self) -> bool:
        """Takes an error; returns whether a drift is detected at it: then the baseline does not learn until `reset`."""
        statistic = advance(self._row, self._outcomes.since, self.temper, not self._open, self._shifts)
        self._outcomes.add_error()
        found = statistic >= self.run_length
        self._open |= found
        return found

    def reset(self) -> None:
        """Starts the test afresh, as after a drift was cleared; the baseline stays."""
        super().reset()
        self._open = False

    def estimate(self) -> Estimate:
        """Estimates when the rise began and the rate since, from the errors remembered."""
        return locate_change(self._outcomes.newest_first(), self.baseline, self._shifts, self.temper)

    def to_bytes(self) -> bytes:
        """The state: parameters, baseline, statistics and remembered gaps; below 200 bytes with the usual shifts."""
        # The sign of the run length shows whether a drift is open, which saves a number.
        run_length = -self.run_length if self._open else self.run_length
        return pack((run_length, self.temper, *self._row), self._outcomes, self._shifts)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`."""
        (run_length, temper, *row), outcomes, shifts = unpack(packed, 8)
        detector = cls(abs(run_length), shifts=shifts, temper=temper)
        detector._open = run_length < 0
        detector._row = row
        detector._outcomes = outcomes
        return detector
