"""Finds a fall of the rate of errors found: a reviewer overlooks errors that were found before."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.likelihood import FREEZE_AFTER, fall_on_correct, learnable, middle_rate, warm_up
from detectors.mixture import R_MAX, check_run_length, pack, run, unpack
from detectors.outcomes import Outcomes, locate_change
from detectors.protocol import Estimate, PromisingDetector, checked_outcome
from detectors.self_starting import PRIOR, ROW, check_prior, fresh

#: The falls that are looked for: the new rate as a share of the baseline.
FALLS = (0.75, 0.5, 0.25)
#: Correct outcomes after which the statistic is evaluated. Correct outcomes raise it, so evaluation cannot wait for an
#: error that may never come. The count is fixed so that the result does not depend on how the log is cut.
EVALUATE_EVERY = 16

__all__ = ["EVALUATE_EVERY", "FALLS", "ROW", "SelfStartingFall", "advance", "fresh"]


def advance(row: list[float], correct: int, wrong: bool, temper: float = 1.0, learns: bool = True) -> float:
    """Takes a run of correct outcomes and, if there is one, the error that ends it.

    Args:
        row: As `detectors.self_starting.ROW`, changed in place.
        correct: Length of the run. Callers count, and call at `EVALUATE_EVERY` and, with the rest, at an error.
        wrong: Whether an error ends the run; it lowers the evidence.
        temper: 1 / design effect.
        learns: Whether the baseline learns from these outcomes.

    Returns:
        Mean of the R_f: a drift is signalled where it reaches the run length.
    """
    a, b, seen = row[:3]
    learned = temper * learnable(seen, correct) if learns else 0.0
    p = middle_rate(a, b, learned)
    total = 0.0
    for number, fall in enumerate(FALLS, 3):
        factor = fall_on_correct(p, fall) ** temper
        times, plus = run(factor, correct)
        on_error = fall**temper if wrong else 1.0
        r = row[number] = min(row[number] * (times * on_error) + (plus + wrong) * on_error, R_MAX)
        total += r
    if learns:
        b += learned
        seen = min(seen + correct, FREEZE_AFTER)
        if wrong and seen < FREEZE_AFTER:
            a += temper
            seen += 1.0
        row[:3] = a, b, seen
        if seen < warm_up(a / (a + b)):
            row[3:6] = 0.0, 0.0, 0.0
            return 0.0
    return total / 3.0


class SelfStartingFall(PromisingDetector):
    """Watches a stream of outcomes (1 is an error found) for a fall below its own past.

    The mirror of `SelfStartingMixture`: for each share f, R_f <- (R_f + 1) * L_f with L_f = f on an
    error and (1 - f p) / (1 - p) otherwise, where p is the stream's running Beta mean. The same
    martingale gives the same promise: at least `run_length` outcomes to a false alarm, on average
    over many streams.

    Args:
        run_length: A, the promised mean number of outcomes to a false alarm.
        prior: a and b of the Beta prior.
        temper: 1 / design effect of clustered errors.

    Raises:
        ValueError: A value is out of its range.

    Source:
        Shiryaev 1963; Roberts 1966; Pollak 1987; Lorden and Pollak 2005.

    >>> detector = SelfStartingFall(run_length=1000)
    >>> for number in range(4000):
    ...     _ = detector.update(number % 10 == 0)
    >>> detector.drift_detected
    False
    >>> for _ in range(400):
    ...     _ = detector.update(0)
    >>> detector.drift_detected
    True
    """

    __slots__ = ("_open", "_outcomes", "_pending", "_row", "temper")

    def __init__(self, run_length: float, prior: tuple[float, float] = PRIOR, temper: float = 1.0) -> None:
        check_run_length(run_length, temper)
        check_prior(prior)
        super().__init__(run_length)
        self.temper = temper
        self._row = fresh(prior)
        self._pending = 0
        self._open = False
        self._outcomes = Outcomes()

    @property
    def baseline(self) -> float:
        """The stream's learned rate as of the last evaluation, 0 to 1."""
        return self._row[0] / (self._row[0] + self._row[1])

    @property
    def statistic(self) -> float:
        """Mean of the R_f, as of the last evaluation."""
        return sum(self._row[3:]) / 3.0

    def update(self, x: float) -> Self:
        """Takes one outcome: 1 for an error found, 0 for none."""
        learns = not self._open
        if checked_outcome(x):
            advance(self._row, self._pending, True, self.temper, learns)
            self._pending = 0
            self._outcomes.add_error()
        else:
            self._pending += 1
            self._outcomes.since += 1
            if self._pending == EVALUATE_EVERY:
                advance(self._row, EVALUATE_EVERY, False, self.temper, learns)
                self._pending = 0
        self._open |= self.drift_detected
        return self

    def reset(self) -> None:
        """Starts the test afresh, as after a drift was cleared; the baseline stays."""
        self._row[3:] = 0.0, 0.0, 0.0
        self._pending = 0
        self._outcomes.clear()
        self._open = False

    def estimate(self) -> Estimate:
        """Estimates when the fall began and the rate since, from the errors remembered."""
        return locate_fall(self._outcomes.newest_first(), self.baseline, self.temper)

    def to_bytes(self) -> bytes:
        """The state: parameters, baseline, statistics and remembered gaps; below 200 bytes."""
        run_length = -self.run_length if self._open else self.run_length
        return pack((run_length, self.temper, float(self._pending), *self._row), self._outcomes)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`."""
        (run_length, temper, pending, *row), outcomes, _ = unpack(packed, 9)
        detector = cls(abs(run_length), temper=temper)
        detector._open = run_length < 0
        detector._pending = int(pending)
        detector._row = row
        detector._outcomes = outcomes
        return detector


def locate_fall(
    newest_first: Sequence[int] | NDArray[np.integer[Any]], p0: float | NDArray[np.float64], temper: float = 1.0
) -> Estimate:
    """Estimates when a fall began, and the rate since; as `detectors.outcomes.locate_change`."""
    return locate_change(newest_first, p0, [fall * p0 - p0 for fall in FALLS], temper)
