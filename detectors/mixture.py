"""Finds a rise of the error rate above a known one, by a mixture of Shiryaev-Roberts statistics."""

import math
import struct
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Self

from detectors.likelihood import rise_on_correct, rise_on_error, run_adds
from detectors.outcomes import Outcomes, locate_change
from detectors.protocol import Estimate, PromisingDetector, checked_outcome

SHIFTS = (0.02, 0.05, 0.10)
#: R of a stream that has run for long: started with these, a new stream is as quick to signal.
HEAD_START = (300.0, 180.0, 90.0)
#: R is capped here: a larger value means nothing more, and floats end far above.
R_MAX = 1e200


#: The state of a stream, a list of floats that its owner stores as it likes.
ROW = ("r1", "r2", "r3")


def run(factor: float, correct: int) -> tuple[float, float]:
    """By what a run of correct outcomes multiplies R, and what it then adds to it."""
    power = factor**correct
    return power, run_adds(factor, power)


def grow(r: float, factor: float, correct: int) -> float:
    """R after a run of correct outcomes."""
    times, plus = run(factor, correct)
    return r * times + plus


def advance(row: list[float], correct: int, p0: float, temper: float = 1.0, shifts: Sequence[float] = SHIFTS) -> float:
    """Takes a run of correct outcomes and the error that ends it.

    A run costs as much as one outcome. The result does not depend on how the log is cut into batches, since between
    errors outcomes are only counted.

    Args:
        row: `ROW`, changed in place.
        correct: Correct outcomes before the error.
        p0: Error rate in control, above 0 and below 1.
        temper: 1 / design effect.
        shifts: Three rises, in ratio points.

    Returns:
        Mean of the R_d: a drift is signalled where it reaches the run length.
    """
    total = 0.0
    for number, shift in enumerate(shifts):
        on_error, on_correct = factors(p0, shift, temper)
        times, plus = run(on_correct, correct)
        r = row[number] = min(row[number] * (times * on_error) + (plus + 1.0) * on_error, R_MAX)
        total += r
    return total / 3.0


def evidence_after(
    row: Sequence[float], correct: int, p0: float, temper: float = 1.0, shifts: Sequence[float] = SHIFTS
) -> float:
    """Mean of the R_d as it would be after `correct` more correct outcomes; changes nothing."""
    if not correct:
        return sum(row) / 3.0
    return sum(grow(r, factors(p0, shift, temper)[1], correct) for r, shift in zip(row, shifts, strict=True)) / 3.0


@lru_cache(maxsize=4096)
def factors(p0: float, shift: float, temper: float) -> tuple[float, float]:
    """L on an error and on a correct outcome, tempered; the risen rate stays below 1."""
    return rise_on_error(p0, shift) ** temper, rise_on_correct(1.0 - p0, shift) ** temper


class RiseDetector(PromisingDetector):
    """A detector of a rise of the error rate: correct outcomes only lower its statistic, so they are only counted.

    Args:
        run_length: A, the promised mean number of outcomes to a false alarm.
        row: The stream's state; its last three numbers are the R.
        shifts: Three rises that are looked for, in ratio points.
        temper: 1 / design effect of clustered errors.

    Raises:
        ValueError: A value is out of its range.
    """

    __slots__ = ("_outcomes", "_row", "_shifts", "temper")

    def __init__(self, run_length: float, row: list[float], shifts: Sequence[float], temper: float) -> None:
        check(run_length, shifts, temper)
        super().__init__(run_length)
        self.temper = temper
        self._row = row
        self._shifts = tuple(shifts)
        self._outcomes = Outcomes()

    @abstractmethod
    def _failed(self) -> bool:
        """Takes an error; returns whether the statistic is at the run length or above at it."""

    def update(self, x: float) -> Self:
        """Takes one outcome: 1 for an error, 0 for none."""
        if checked_outcome(x):
            self._failed()
        else:
            self._outcomes.since += 1
        return self

    def update_many(self, outcomes: Iterable[float]) -> int:
        """Takes outcomes until a drift is detected anew, or to the end; the same as `update` one by one.

        Args:
            outcomes: Each 0 or 1, which is not checked.

        Returns:
            How many were taken: up to the error at which the statistic reaches its threshold anew, or all.
        """
        taken, below = 0, not self.drift_detected
        for x in outcomes:
            taken += 1
            if not x:
                self._outcomes.since += 1
            elif not self._failed():
                below = True
            elif below:
                break
        return taken

    def reset(self) -> None:
        """Starts the test afresh, as after a drift was cleared; what was learned of the baseline stays."""
        self._row[-3:] = 0.0, 0.0, 0.0
        self._outcomes.clear()


class MixtureShiryaevRoberts(RiseDetector):
    """Watches a stream of outcomes (1 is an error) against a known rate p0.

    For each shift d: R_d <- (R_d + 1) * L_d, with L_d = (p0 + d) / p0 on an error and
    (1 - p0 - d) / (1 - p0) otherwise; a drift is signalled when the mean of the R_d reaches the
    run length A. It is evaluated at errors only, since correct outcomes can only lower it.

    Guarantee: mean(R_t) - t is a martingale at p0 and a supermartingale below it, so that the
    mean number of outcomes to a false alarm is at least A. This is proven, not calibrated or
    simulated. (The true numbers are 1.50, 1.31, 1.24 and 1.17 times A at p0 of 2, 4, 6 and 10%.)
    With a head start h the bound is A - mean(h).

    Args:
        p0: Rate in control, above 0 and below 1.
        run_length: A, the promised mean number of outcomes to a false alarm.
        shifts: Three rises that are looked for, in ratio points.
        head_start: Whether to start as if it had run for long already.
        temper: 1 / design effect of clustered errors (`ClusterEffect`); each L is raised to this power.

    Raises:
        ValueError: A value is out of its range.

    Source:
        Shiryaev 1963; Roberts 1966; Pollak 1985 and 1987.

    >>> detector = MixtureShiryaevRoberts(p0=0.06, run_length=1000)
    >>> for _ in range(200):
    ...     _ = detector.update(0)
    >>> detector.drift_detected
    False
    >>> for x in [1, 0, 0] * 12:
    ...     _ = detector.update(x)
    >>> detector.drift_detected
    True
    """

    __slots__ = ("p0",)

    def __init__(
        self,
        p0: float,
        run_length: float,
        shifts: Sequence[float] = SHIFTS,
        head_start: bool = False,
        temper: float = 1.0,
    ) -> None:
        super().__init__(run_length, list(HEAD_START if head_start else (0.0, 0.0, 0.0)), shifts, temper)
        if not 0 < p0 < 1:
            raise ValueError(f"p0 must be above 0 and below 1, not {p0!r}")
        self.p0 = p0

    @property
    def statistic(self) -> float:
        """Mean of the R_d."""
        return evidence_after(self._row, self._outcomes.since, self.p0, self.temper, self._shifts)

    def _failed(self) -> bool:
        """Takes an error; returns whether the statistic is at the run length or above at it."""
        statistic = advance(self._row, self._outcomes.since, self.p0, self.temper, self._shifts)
        self._outcomes.add_error()
        return statistic >= self.run_length

    def estimate(self) -> Estimate:
        """Estimates when the rise began and the rate since, from the errors remembered."""
        return locate_change(self._outcomes.newest_first(), self.p0, self._shifts, self.temper)

    def to_bytes(self) -> bytes:
        """The state: parameters, statistics and remembered gaps; below 200 bytes with the usual shifts."""
        return pack((self.p0, self.run_length, self.temper, *self._row), self._outcomes, self._shifts)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`."""
        (p0, run_length, temper, *row), outcomes, shifts = unpack(packed, 6)
        detector = cls(p0, run_length, shifts, temper=temper)
        detector._row = row
        detector._outcomes = outcomes
        return detector


def check(run_length: float, shifts: Sequence[float], temper: float) -> None:
    """Checks a detector's parameters.

    Raises:
        ValueError: One is out of its range; the message names it and its value.
    """
    check_run_length(run_length, temper)
    if len(shifts) != 3 or any(not 0 < shift < 0.5 for shift in shifts):
        raise ValueError(f"shifts must be three numbers above 0 and below 0.5, not {shifts!r}")


def check_run_length(run_length: float, temper: float) -> None:
    """Checks a run length and a tempering.

    Raises:
        ValueError: One is out of its range; the message names it and its value.
    """
    if not run_length > 0 or not math.isfinite(run_length):
        raise ValueError(f"run_length must be a number above 0, not {run_length!r}")
    if not 0 < temper <= 1:
        raise ValueError(f"temper must be above 0 and at most 1, not {temper!r}")


def pack(values: Sequence[float], outcomes: Outcomes, shifts: Sequence[float] = SHIFTS) -> bytes:
    """Packs floats unchanged, shifts only if they are not the usual ones, and gaps as LEB128: one byte below 128."""
    own = tuple(shifts) != SHIFTS
    floats = (*values, *shifts) if own else values
    out = bytearray(struct.pack(f"<?{len(floats)}d", own, *floats))
    for number in outcomes.numbers():
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def unpack(packed: bytes, count: int) -> tuple[list[float], Outcomes, Sequence[float]]:
    """Unpacks what `pack` has packed: `count` floats, the outcomes and the shifts."""
    own = bool(packed[0])
    form = struct.Struct(f"<?{count + 3 * own}d")
    numbers, number, shift = [], 0, 0
    for byte in packed[form.size :]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    floats = list(form.unpack_from(packed)[1:])
    return floats[:count], Outcomes(numbers), floats[count:] if own else SHIFTS
