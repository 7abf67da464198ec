"""A rise of the error rate above the stream's own baseline, which it learns as it goes."""

from collections.abc import Iterable, Sequence
from typing import Self

from detectors.mixture import R_MAX, SHIFTS, check, pack, unpack
from detectors.outcomes import Outcomes, locate_change
from detectors.protocol import Estimate, checked_outcome

#: Outcomes after which the baseline is taken as known. After 2,000 it is still too rough: false alarms rise by half.
FREEZE_AFTER = 10_000
_HIGH = 0.5


class SelfStartingMixture:
    """Watches a stream of outcomes (1 is an error) against its own past.

    As `MixtureShiryaevRoberts`, with the running Beta mean a / (a + b), taken before each outcome,
    in place of p0; then a or b grows by the outcome. The estimate never sees the outcome that it
    judges, so each R_d keeps its martingale under the predictive distribution, and the promise of
    at least `run_length` outcomes to a false alarm holds on average over a fleet of streams. The
    baseline is frozen after 10,000 outcomes, and does not learn while a drift is open.

    A young baseline learns the change, too: after 500 outcomes at 6%, half of the rises to 11% are
    found within 370, but one in twelve not within 2,000; after 2,000, all are, in 300 on average.

    Args:
        run_length: A, the promised mean number of outcomes to a false alarm.
        prior: a and b of the Beta prior of the error rate; weak by default, at 6%.
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

    __slots__ = ("_a", "_b", "_open", "_outcomes", "_r", "_seen", "_shifts", "run_length", "temper")

    def __init__(
        self,
        run_length: float,
        prior: tuple[float, float] = (0.6, 9.4),
        shifts: Sequence[float] = SHIFTS,
        temper: float = 1.0,
    ) -> None:
        check(run_length, shifts, temper)
        if not min(prior) > 0:
            raise ValueError(f"both numbers of prior must be above 0, not {prior!r}")
        self.run_length = run_length
        self.temper = temper
        self._a, self._b = map(float, prior)
        self._shifts = tuple(shifts)
        self._seen = 0
        self._open = False
        self._r = [0.0, 0.0, 0.0]
        self._outcomes = Outcomes()

    @property
    def baseline(self) -> float:
        """The stream's own error rate as known now, 0 to 1."""
        return self._a / (self._a + self._b)

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

        From a signal to `reset` the baseline does not learn.

        Args:
            outcomes: Each 0 or 1, not looked at again.

        Returns:
            How many were taken: up to the one at which the statistic reaches its threshold, or all.
        """
        a, b, seen, temper = self._a, self._b, self._seen, self.temper
        r1, r2, r3 = self._r
        d1, d2, d3 = self._shifts
        limit = 3 * self.run_length
        remembered = self._outcomes
        taken = 0
        learns = not self._open
        below = r1 + r2 + r3 < limit
        for x in outcomes:
            taken += 1
            p = a / (a + b)
            if x:
                step = 1.0 / p
                l1, l2, l3 = 1.0 + d1 * step, 1.0 + d2 * step, 1.0 + d3 * step
                remembered.add_error()
            else:
                step = 1.0 / (1.0 - p)
                l1, l2, l3 = 1.0 - d1 * step, 1.0 - d2 * step, 1.0 - d3 * step
                if p > _HIGH:
                    # A rate cannot pass 1, however high the baseline.
                    l1, l2, l3 = max(l1, 1e-3), max(l2, 1e-3), max(l3, 1e-3)
                remembered.since += 1
            if temper != 1.0:
                l1, l2, l3 = l1**temper, l2**temper, l3**temper
            r1, r2, r3 = (r1 + 1.0) * l1, (r2 + 1.0) * l2, (r3 + 1.0) * l3
            if learns and seen < FREEZE_AFTER:
                seen += 1
                if x:
                    a += temper
                else:
                    b += temper
            if r1 + r2 + r3 < limit:
                below = True
            elif below:
                self._open = True
                break
        self._a, self._b, self._seen = a, b, seen
        self._r = [min(r1, R_MAX), min(r2, R_MAX), min(r3, R_MAX)]
        return taken

    def reset(self) -> None:
        """Starts the test afresh with the baseline as it is, as after a drift was cleared."""
        self._r = [0.0, 0.0, 0.0]
        self._outcomes.clear()
        self._open = False

    def estimate(self) -> Estimate:
        """When the rise began and the rate since, from the errors remembered."""
        return locate_change(self._outcomes.newest_first(), self.baseline, self._shifts, self.temper)

    def to_bytes(self) -> bytes:
        """The state: parameters, baseline, statistics and remembered gaps; about 200 bytes."""
        # The sign of the count tells whether a drift is open: it saves a number.
        seen = -1.0 - self._seen if self._open else float(self._seen)
        values = (self.run_length, self.temper, self._a, self._b, seen, *self._shifts, *self._r)
        return pack(values, self._outcomes)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """The detector again."""
        (run_length, temper, a, b, seen, *values), outcomes = unpack(packed, 11)
        detector = cls(run_length, (a, b), values[:3], temper)
        detector._open = seen < 0
        detector._seen = int(-1 - seen if seen < 0 else seen)
        detector._r = values[3:]
        detector._outcomes = outcomes
        return detector
