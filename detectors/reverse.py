"""Whether a drift is over: the reverse test, from the changed rate back to the baseline."""

import math
import struct
from collections.abc import Iterable
from typing import Self

from detectors.protocol import checked_outcome

#: Odds at which a drift counts as over.
LIKELIHOOD_RATIO = 20.0


class ReverseTest:
    """Watches, while a drift is open, for the return to the baseline p0.

    The sum of log-likelihood ratios of p0 against max(p0 + 2 points, the midpoint of p0 and the
    changed rate), held at 0 from below, signals at log 20: about 400 outcomes after an episode at
    11% has ended, and falsely in 0.9% of 1,000 outcomes.

    Args:
        p0: The baseline, above 0 and below 1.
        changed: The rate since the change.
        temper: 1 / design effect of clustered errors.

    Source:
        Page 1954; the choice of the alternative is ours.
    """

    __slots__ = ("_sum", "alternative", "p0", "temper")

    def __init__(self, p0: float, changed: float, temper: float = 1.0) -> None:
        if not 0 < p0 < 1:
            raise ValueError(f"p0 must be above 0 and below 1, not {p0!r}")
        self.p0 = p0
        self.alternative = min(max(p0 + 0.02, (p0 + changed) / 2), 0.999)
        self.temper = temper
        self._sum = 0.0

    @property
    def cleared(self) -> bool:
        """Whether the stream is back at its baseline."""
        return self._sum >= math.log(LIKELIHOOD_RATIO)

    def update(self, x: float) -> Self:
        """Takes one outcome: 1 for an error, 0 for none."""
        self.update_many((checked_outcome(x),))
        return self

    def update_many(self, outcomes: Iterable[int]) -> int:
        """Takes outcomes until cleared, or to the end; returns how many."""
        on_error = self.temper * math.log(self.p0 / self.alternative)
        on_correct = self.temper * math.log((1 - self.p0) / (1 - self.alternative))
        limit = math.log(LIKELIHOOD_RATIO)
        taken = 0
        for x in outcomes:
            taken += 1
            self._sum = max(self._sum + (on_error if x else on_correct), 0.0)
            if self._sum >= limit:
                break
        return taken

    def to_bytes(self) -> bytes:
        """The state in 32 bytes."""
        return struct.pack("<4d", self.p0, self.alternative, self.temper, self._sum)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """The test again."""
        p0, alternative, temper, total = struct.unpack("<4d", packed)
        test = cls(p0, alternative, temper)
        test.alternative = alternative
        test._sum = total
        return test
