"""A rise of the error rate above a known one: the mixture Shiryaev-Roberts statistic."""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Self

from detectors.outcomes import Outcomes, locate_change
from detectors.protocol import Estimate, checked_outcome

SHIFTS = (0.02, 0.05, 0.10)
#: R of a stream that has run for long: with it a fresh stream is as quick as a warm one.
HEAD_START = (300.0, 180.0, 90.0)
#: Beyond this R means nothing more; far below a float's end.
R_MAX = 1e200


class MixtureShiryaevRoberts:
    """Watches a stream of outcomes (1 is an error) against a known rate p0.

    For each shift d: R_d <- (R_d + 1) * L_d, with L_d = (p0 + d) / p0 on an error and
    (1 - p0 - d) / (1 - p0) otherwise; a drift is signalled when the mean of the R_d reaches the
    run length A.

    Guarantee: mean(R_t) - t is a martingale at p0 and a supermartingale below it, so that the
    mean number of outcomes to a false alarm is at least A. No calibration, no simulation. (True
    ones are 1.50, 1.31, 1.24 and 1.17 times A at p0 of 2, 4, 6 and 10%.) With a head start h the
    bound is A - mean(h).

    Args:
        p0: Rate in control, above 0 and below 1.
        run_length: A, the promised mean number of outcomes to a false alarm.
        shifts: Three rises that are looked for, in ratio points.
        head_start: Starts as if it had run for long already.
        temper: 1 / design effect of clustered errors: each L is raised to it (`ClusterEffect`).

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

    __slots__ = ("_correct", "_error", "_head_start", "_outcomes", "_r", "_shifts", "p0", "run_length", "temper")

    def __init__(
        self,
        p0: float,
        run_length: float,
        shifts: Sequence[float] = SHIFTS,
        head_start: bool = False,
        temper: float = 1.0,
    ) -> None:
        check(run_length, shifts, temper)
        if not 0 < p0 < 1:
            raise ValueError(f"p0 must be above 0 and below 1, not {p0!r}")
        self.p0 = p0
        self.run_length = run_length
        self.temper = temper
        self._shifts = tuple(shifts)
        self._head_start = head_start
        rates = [min(p0 + shift, 0.999) for shift in shifts]
        self._error = [(rate / p0) ** temper for rate in rates]
        self._correct = [((1 - rate) / (1 - p0)) ** temper for rate in rates]
        self._r = list(HEAD_START) if head_start else [0.0, 0.0, 0.0]
        self._outcomes = Outcomes()

    @property
    def evidence(self) -> float:
        """Mean of the R_d / run length."""
        return sum(self._r) / (3 * self.run_length)

    @property
    def drift_detected(self) -> bool:
        """Whether the mean of the R_d has reached the run length."""
        return sum(self._r) >= 3 * self.run_length

    def update(self, x: float) -> Self:
        """Takes one outcome: 1 for an error, 0 for none."""
        self.update_many((checked_outcome(x),))
        return self

    def update_many(self, outcomes: Iterable[int]) -> int:
        """Takes outcomes until a drift is detected, or to the end; the same as `update` one by one.

        Args:
            outcomes: Each 0 or 1, not looked at again.

        Returns:
            How many were taken: up to the one at which the statistic reaches its threshold, or all.
        """
        r1, r2, r3 = self._r
        e1, e2, e3 = self._error
        c1, c2, c3 = self._correct
        limit = 3 * self.run_length
        remembered = self._outcomes
        taken = 0
        below = r1 + r2 + r3 < limit
        for x in outcomes:
            taken += 1
            if x:
                r1, r2, r3 = (r1 + 1.0) * e1, (r2 + 1.0) * e2, (r3 + 1.0) * e3
                remembered.add_error()
            else:
                r1, r2, r3 = (r1 + 1.0) * c1, (r2 + 1.0) * c2, (r3 + 1.0) * c3
                remembered.since += 1
            if r1 + r2 + r3 < limit:
                below = True
            elif below:
                break
        self._r = [min(r1, R_MAX), min(r2, R_MAX), min(r3, R_MAX)]
        return taken

    def reset(self) -> None:
        """Starts afresh, as after a drift was cleared."""
        self._r = [0.0, 0.0, 0.0]
        self._outcomes.clear()

    def estimate(self) -> Estimate:
        """When the rise began and the rate since, from the errors remembered."""
        return locate_change(self._outcomes.newest_first(), self.p0, self._shifts, self.temper)

    def to_bytes(self) -> bytes:
        """The state: parameters, statistics and remembered gaps; about 200 bytes."""
        head = (self.p0, self.run_length, self.temper, float(self._head_start))
        return pack((*head, *self._shifts, *self._r), self._outcomes)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """The detector again."""
        (p0, run_length, temper, head_start, *values), outcomes = unpack(packed, 10)
        detector = cls(p0, run_length, values[:3], bool(head_start), temper)
        detector._r = values[3:]
        detector._outcomes = outcomes
        return detector


def check(run_length: float, shifts: Sequence[float], temper: float) -> None:
    """Refuses parameters out of their range.

    Raises:
        ValueError: It names the parameter and its value.
    """
    if not run_length > 0 or not math.isfinite(run_length):
        raise ValueError(f"run_length must be a number above 0, not {run_length!r}")
    if len(shifts) != 3 or any(not 0 < shift < 0.5 for shift in shifts):
        raise ValueError(f"shifts must be three numbers above 0 and below 0.5, not {shifts!r}")
    if not 0 < temper <= 1:
        raise ValueError(f"temper must be above 0 and at most 1, not {temper!r}")


def pack(values: Sequence[float], outcomes: Outcomes) -> bytes:
    """Floats as they are, gaps as LEB128: a byte where below 128."""
    out = bytearray(struct.pack(f"<{len(values)}d", *values))
    for number in outcomes.numbers():
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def unpack(packed: bytes, count: int) -> tuple[list[float], Outcomes]:
    """What `pack` has packed, of `count` floats."""
    form = struct.Struct(f"<{count}d")
    numbers, number, shift = [], 0, 0
    for byte in packed[form.size :]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return list(form.unpack_from(packed)), Outcomes(numbers)
