"""Tests whether a drift is over, with a promised run length, as for its beginning."""

import math
import struct
from collections.abc import Iterable
from typing import Self

from detectors.protocol import checked_outcome

#: The promised mean number of outcomes to a false end while the rate is still at the edge. For a target it is longer,
#: since the edge is nearer and a stream may stay near it for as long as it exists.
RUN_LENGTH, RUN_LENGTH_OF_TARGET = 20_000.0, 40_000.0
#: The least distance of the edge from the baseline or target, in ratio points; less only near 1, where it is a quarter
#: of the way. For a target it is smaller: a figure that is two points off is surely not at the target.
LEAST, LEAST_OF_TARGET = 0.02, 0.01
#: Most streams come back to better than their target: to this share of its error rate.
_BETTER = 0.8
#: Standard errors of a lower 5% bound.
BOUND = 1.645
#: Outcomes after which the edge is worked out again: a fixed count, so that it does not depend on how the log is cut.
_EDGE_EVERY = 32
#: Weight, in outcomes, of the old rate in the proven change: a signal comes when chance has added to the change.
_PRIOR = 40.0
#: Lower bound of L of one outcome where each stratum has its own rate.
_LEAST_FACTOR = 0.05
_PACKED = struct.Struct("<?10d")
PACKED_BYTES = _PACKED.size


def edge_of(distance: float, least: float, proven: float) -> float:
    """Distance of the edge from the baseline: half of the proven change, and at least `least`.

    Args:
        distance: Distance from the baseline to the end of what is possible; `least` counts for at most a quarter of it.
        least: Least distance of the edge.
        proven: Lower bound of the change.
    """
    return max(min(least, distance / 4), proven / 2)


class ReverseTest:
    """Tests, while a drift is open, whether it is over: whether the rate is proven to be below an edge.

    The edge is pc = p0 + max(2 points, half of the proven change), where p0 is the stream's baseline or target. The
    proven change is the lower 5% bound of the change, the largest one so far. R <- (R + 1) * L with L = p0 / pc on an
    error and (1 - p0) / (1 - pc) otherwise; the drift is over at R >= 20,000.

    For a target there are three differences. The edge is at least 1 point away, and R must reach 40,000. R is the mean
    of two, one for a return to the target and one for a return to eight tenths of its error rate, since most sites come
    back to better than their target. And the outcomes from where the evidence began to grow must be at the target.

    Guarantee: while the rate is at the edge or beyond, R_t - t is a supermartingale, so that the mean number of
    outcomes to a false end is at least 20,000 (40,000), whatever the rate does there. It grows with about the cube of
    that where the change is twice the edge. Simulated over 30,000 outcomes of lasting rises by 4 to 15 points: at most
    one false end in 100 (`python -m benchmarks.acceptance_detection 9`).

    Args:
        p0: The stream's baseline or target, an error rate above 0 and below 1.
        outcomes: Outcomes since the change, as known when it was found.
        errors: Errors among them.
        temper: 1 / design effect of clustered errors.
        target: Whether p0 is a target.

    Raises:
        ValueError: p0 is out of its range.

    Source:
        Roberts 1966 and Pollak 1985 (the statistic and its run length); Shin, Ramdas and Rinaldo 2024 (a
        supermartingale under each rate of a composite null); the edge is ours.

    >>> test = ReverseTest(0.05, outcomes=400, errors=60)
    >>> test.update_many([number % 7 == 0 for number in range(2000)]), test.cleared
    (2000, False)
    >>> test.update_many([number % 20 == 0 for number in range(2000)]) < 1000, test.cleared
    (True, True)
    """

    __slots__ = ("_best", "_errors", "_n", "_proven", "_r", "_window", "_wrong", "p0", "target", "temper")

    def __init__(
        self, p0: float, outcomes: float = 0.0, errors: float = 0.0, temper: float = 1.0, target: bool = False
    ) -> None:
        if not 0 < p0 < 1:
            raise ValueError(f"p0 must be above 0 and below 1, not {p0!r}")
        self.p0 = p0
        self.temper = temper
        self.target = target
        self._n, self._errors = float(outcomes), float(errors)
        self._r = (0.0, 0.0)
        self._proven = 0.0
        #: The likelihood ratio since the moment at which it is highest, and the outcomes and errors since then.
        self._best, self._window, self._wrong = 1.0, 0.0, 0.0
        self._prove()

    def _prove(self) -> None:
        """Works out the proven change, which never becomes smaller."""
        weight = self._n + _PRIOR
        rate = min(max((self._errors + _PRIOR * self.p0) / weight, 0.0), 1.0)
        deviation = math.sqrt(rate * (1.0 - rate) / (weight * self.temper))
        self._proven = max(self._proven, rate - BOUND * deviation - self.p0)

    @property
    def edge(self) -> float:
        """The rate below which the stream's rate must be proven to be."""
        return self.p0 + edge_of(1.0 - self.p0, LEAST_OF_TARGET if self.target else LEAST, self._proven)

    @property
    def run_length(self) -> float:
        """The threshold of the mean of the R."""
        return RUN_LENGTH_OF_TARGET if self.target else RUN_LENGTH

    @property
    def evidence(self) -> float:
        """Mean of the R over the run length."""
        return sum(self._r) / (2.0 * self.run_length)

    @property
    def cleared(self) -> bool:
        """Whether the drift is over."""
        return self.evidence >= 1.0 and (not self.target or self._wrong <= self.p0 * self._window)

    def update(self, x: float) -> Self:
        """Takes one outcome: 1 for an error, 0 for none."""
        self.update_many((checked_outcome(x),))
        return self

    def update_many(self, outcomes: Iterable[int]) -> int:
        """Takes outcomes, each 0 or 1, until the drift is over or to the end; returns how many were taken."""
        r1, r2 = self._r
        n, errors, best, window, wrong = self._n, self._errors, self._best, self._window, self._wrong
        (e1, c1), (e2, c2) = self._factors()
        limit, p0, target, taken = 2.0 * self.run_length, self.p0, self.target, 0
        for x in outcomes:
            taken += 1
            n += 1.0
            window += 1.0
            if x:
                r1, r2, best = (r1 + 1.0) * e1, (r2 + 1.0) * e2, best * e1
                errors += 1.0
                wrong += 1.0
            else:
                r1, r2, best = (r1 + 1.0) * c1, (r2 + 1.0) * c2, best * c1
            if best < 1.0:
                best, window, wrong = 1.0, 0.0, 0.0
            if r1 + r2 >= limit:
                if not target or wrong <= p0 * window:
                    break
                # R stays at the limit: a higher R would have to be undone by later outcomes, for nothing.
                scale = limit / (r1 + r2)
                r1, r2 = r1 * scale, r2 * scale
            if n % _EDGE_EVERY == 0.0:
                self._n, self._errors = n, errors
                self._prove()
                (e1, c1), (e2, c2) = self._factors()
        self._r, self._n, self._errors = (r1, r2), n, errors
        self._best, self._window, self._wrong = best, window, wrong
        return taken

    def update_strata(self, outcomes: Iterable[int], usual: Iterable[float]) -> int:
        """As `update_many`, but each outcome is compared with the baseline of its own stratum; not for a target.

        L is 1 + bet (pc - x), with the bet d / (pc (1 - pc)), where d is the distance of the edge. Where a stratum's
        baseline is not p0, pc moves with it and the bet stays. So the mean of E[L] over the strata is at most 1 while
        the rates are on average at least d above their baselines, no matter which of them are.

        Args:
            outcomes: Each 0 or 1.
            usual: The baseline of each outcome's stratum.
        """
        r, n, errors, taken = self._r[0], self._n, self._errors, 0
        edge, bet = self.edge, self._bet()
        for x, rate in zip(outcomes, usual, strict=True):
            taken += 1
            n += 1.0
            beyond = x - (rate - self.p0)
            errors += beyond
            r = (r + 1.0) * max(1.0 + bet * (edge - beyond), _LEAST_FACTOR) ** self.temper
            if r >= self.run_length:
                break
            if n % _EDGE_EVERY == 0.0:
                self._n, self._errors = n, errors
                self._prove()
                edge, bet = self.edge, self._bet()
        self._r, self._n, self._errors = (r, r), n, errors
        return taken

    def _bet(self) -> float:
        edge = self.edge
        return (edge - self.p0) / (edge * (1.0 - edge))

    def _factors(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """L on an error and on a correct outcome: first for a return to p0, then for one to better than a target."""
        edge, power = self.edge, self.temper
        back, better = (
            ((rate / edge) ** power, ((1.0 - rate) / (1.0 - edge)) ** power)
            for rate in (self.p0, self.p0 * (_BETTER if self.target else 1.0))
        )
        return back, better

    def to_bytes(self) -> bytes:
        """The state in 81 bytes."""
        return _PACKED.pack(
            self.target, self.p0, self.temper, self._n, self._errors, *self._r, self._proven, self._best, self._window,
            self._wrong,
        )  # fmt: skip  # in the order of `from_bytes`

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a test from `to_bytes`."""
        target, p0, temper, n, errors, r1, r2, proven, best, window, wrong = _PACKED.unpack(packed)
        test = cls(p0, n, errors, temper, target)
        test._r, test._proven = (r1, r2), proven
        test._best, test._window, test._wrong = best, window, wrong
        return test
