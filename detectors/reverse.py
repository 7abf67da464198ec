"""Whether a drift is over: the end of one is promised as its beginning is."""

import math
import struct
from collections.abc import Iterable
from typing import Self

from detectors.protocol import checked_outcome

#: The promise: outcomes, on average, until an end is falsely signalled while the rate is still at the edge. Against a
#: target a stream may stay near the edge for as long as it exists, and the edge is nearer.
RUN_LENGTH, RUN_LENGTH_OF_TARGET = 20_000.0, 40_000.0
#: The edge lies so far from where the stream belongs at least, in ratio points, or a quarter of the way to 1. Against
#: a target it is nearer: a figure that is two points off is surely not at the target.
LEAST, LEAST_OF_TARGET = 0.02, 0.01
#: What a stream comes back to, as a share of its target: mostly to better than that.
_BETTER = 0.8
#: Standard errors of a lower 5% bound.
BOUND = 1.645
#: Outcomes after which the edge is worked out again: at fixed counts, so that it does not depend on how a log was cut.
_EDGE_EVERY = 32
#: Weight, in outcomes, of the old rate in the change that is proven: the first outcomes were chosen by the signal.
_PRIOR = 40.0
#: Least L of one outcome where strata differ.
_LEAST_FACTOR = 0.05
_PACKED = struct.Struct("<?10d")
PACKED_BYTES = _PACKED.size


def edge_of(distance: float, least: float, proven: float) -> float:
    """How far from the baseline the edge is: half of the change that is proven, and at least `least`.

    Args:
        distance: From the baseline to the end of what is possible; the edge keeps to its first quarter at least.
        least: Least distance.
        proven: Lower bound of the change.
    """
    return max(min(least, distance / 4), proven / 2)


class ReverseTest:
    """Watches, while a drift is open, for its end: whether the rate is proven to be below an edge.

    The edge is pc = p0 + max(2 points, half of the change that is proven), p0 being where the stream belongs; proven is
    the lower 5% bound of the change, the largest that the drift has shown so far. R <- (R + 1) * L with L = p0 / pc on
    an error and (1 - p0) / (1 - pc) otherwise; over at R >= 20,000.

    Against a target the edge is 1 point away at least, and R must reach 40,000; R is the mean of two, for a return to
    the target and to eight tenths of its errors, since most sites come back to better than their target; and the
    outcomes that speak for the end, from where their evidence began to grow, must be at the target themselves.

    Guarantee: while the rate is at the edge or beyond, R_t - t is a supermartingale, so that the mean number of
    outcomes to a false end is at least 20,000 (40,000), whatever the rate does there. It grows with about the cube of
    that where the change is twice the edge. Simulated over 30,000 outcomes of lasting rises by 4 to 15 points: at most
    one false end in 100 (`python -m benchmarks.acceptance_detection 9`).

    Args:
        p0: The rate at which the stream belongs, above 0 and below 1: its baseline, or its target.
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
        #: The likelihood ratio from where it was highest, and the outcomes and errors since.
        self._best, self._window, self._wrong = 1.0, 0.0, 0.0
        self._prove()

    def _prove(self) -> None:
        """Works out how large a change is proven, which never falls."""
        weight = self._n + _PRIOR
        rate = min(max((self._errors + _PRIOR * self.p0) / weight, 0.0), 1.0)
        deviation = math.sqrt(rate * (1.0 - rate) / (weight * self.temper))
        self._proven = max(self._proven, rate - BOUND * deviation - self.p0)

    @property
    def edge(self) -> float:
        """The rate that the stream has to be proven to be below."""
        return self.p0 + edge_of(1.0 - self.p0, LEAST_OF_TARGET if self.target else LEAST, self._proven)

    @property
    def run_length(self) -> float:
        """What the R have to reach."""
        return RUN_LENGTH_OF_TARGET if self.target else RUN_LENGTH

    @property
    def evidence(self) -> float:
        """Mean of the R / run length."""
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
        """Takes outcomes, each 0 or 1, until cleared or to the end; returns how many."""
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
                # As high as it counts: what comes next must not have to undo more than was asked for.
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
        """As `update_many`, each outcome held to the rate of its own stratum; not against a target.

        L is 1 + bet (pc - x), with the bet d / (pc (1 - pc)), d being how far the edge is away. Where an outcome
        belongs at another rate than p0, pc moves with it and the bet stays: so E[L] is at most 1, on average over the
        strata, while the rates are on average d or more above where they belong, whichever of them it is.

        Args:
            outcomes: Each 0 or 1.
            usual: Of each the rate at which it belongs.
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
        """L on an error and on a correct outcome, for a return to p0, and to better than a target."""
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
        """The test again."""
        target, p0, temper, n, errors, r1, r2, proven, best, window, wrong = _PACKED.unpack(packed)
        test = cls(p0, n, errors, temper, target)
        test._r, test._proven = (r1, r2), proven
        test._best, test._window, test._wrong = best, window, wrong
        return test
