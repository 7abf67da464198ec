"""Finds a rise of the error rate where work is of several classes of difficulty, each with a baseline of its own."""

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec
import numpy as np

from detectors.likelihood import FREEZE_AFTER, rise_on_correct, rise_on_error, warm_up
from detectors.mixture import R_MAX, SHIFTS, check
from detectors.outcomes import locate_change
from detectors.protocol import Estimate, PromisingDetector, checked_outcome, count_until
from detectors.self_starting import PRIOR, check_prior

#: So many strata have a baseline of their own; later ones share the last.
STRATA_MAX = 32
#: Newest outcomes that are remembered, a byte each, to estimate when a change began.
OUTCOMES_KEPT = 2_048
_OTHERS = ""


class _Stratum(msgspec.Struct, array_like=True):
    """What is known of one stratum: its number, its Beta baseline, and how many outcomes that has learned from."""

    number: int
    a: float
    b: float
    seen: int = 0

    @property
    def rate(self) -> float:
        """Its error rate, 0 to 1."""
        return self.a / (self.a + self.b)


class _Packed(msgspec.Struct, array_like=True):
    """The state as it is packed."""

    run_length: float
    temper: float
    prior: tuple[float, float]
    shifts: tuple[float, ...]
    strata: dict[str, _Stratum]
    r: list[float]
    is_open: bool
    kept: bytes


class StratifiedMixture(PromisingDetector):
    """Watches a stream of outcomes (1 is an error) of several strata against each stratum's own past.

    Reviews are often sampled by stratum: risky classes more often, and in some weeks still more. The overall rate then
    moves though no work has changed, and a detector with one baseline takes that for a drift. This is
    `SelfStartingMixture`, with R_d <- (R_d + 1) * L_d over all outcomes, but p in L_d is the running Beta mean of the
    outcome's own stratum, taken before the outcome. So evidence adds up over strata, and their shares do not matter.

    A stratum's first 100 outcomes are only learned from, more where its rate is high (`warm_up`); they leave the R_d
    unchanged. Its baseline is frozen after 10,000 outcomes, and does not learn while a drift is open.

    Guarantee: p is known before the outcome that is compared with it. So mean(R_t) - t stays a martingale, in whatever
    order strata come, and the mean number of outcomes to a false alarm is at least `run_length`, on average over many
    streams.

    Cost: each outcome is taken by itself, since a run of correct outcomes may be of several strata. With one stratum
    only, `SelfStartingMixture` is faster: 11 times at an error rate of 6%, 4 times at 20%.

    Args:
        run_length: A, the promised mean number of outcomes to a false alarm.
        prior: a and b of the Beta prior of each stratum's error rate.
        shifts: Three rises that are looked for, in ratio points, in every stratum alike.
        temper: 1 / design effect of clustered errors; tempers the likelihood and what is learned.

    Raises:
        ValueError: A value is out of its range.

    Source:
        Pollak 1987 and Lorden and Pollak 2005 (mixtures, nonanticipating estimators); Cochran 1977, chapter 5
        (stratified sampling).

    >>> detector = StratifiedMixture(run_length=1000)
    >>> for number in range(4000):
    ...     _ = detector.update(number % 25 == 0, "easy").update(number % 5 == 0, "hard")
    >>> for number in range(1000):
    ...     _ = detector.update(number % 5 == 0, "hard")
    >>> detector.drift_detected, round(detector.baseline("easy"), 2), round(detector.baseline("hard"), 2)
    (False, 0.04, 0.2)
    >>> for number in range(400):
    ...     _ = detector.update(number % 10 == 0, "easy")
    >>> detector.drift_detected
    True
    """

    __slots__ = ("_kept", "_open", "_prior", "_r", "_shifts", "_strata", "temper")

    def __init__(
        self,
        run_length: float,
        prior: tuple[float, float] = PRIOR,
        shifts: Sequence[float] = SHIFTS,
        temper: float = 1.0,
    ) -> None:
        check(run_length, shifts, temper)
        check_prior(prior)
        super().__init__(float(run_length))
        self.temper = temper
        self._prior = float(prior[0]), float(prior[1])
        self._shifts = tuple(shifts)
        self._strata: dict[str, _Stratum] = {}
        self._r = [0.0, 0.0, 0.0]
        self._open = False
        #: Newest outcomes, oldest first: number of the stratum, plus 128 for an error.
        self._kept: deque[int] = deque(maxlen=OUTCOMES_KEPT)

    @property
    def statistic(self) -> float:
        """Mean of the R_d."""
        return sum(self._r) / 3.0

    def baseline(self, stratum: str = _OTHERS) -> float:
        """A stratum's learned error rate, 0 to 1; the prior's for a stratum that has not been seen."""
        known = self._strata.get(stratum)
        return self._prior[0] / sum(self._prior) if known is None else known.rate

    def update(self, x: float, stratum: str = _OTHERS) -> Self:
        """Takes one outcome: 1 for an error, 0 for none.

        Args:
            x: The outcome.
            stratum: Name of its class.

        Raises:
            ValueError: x is neither 0 nor 1.
        """
        is_wrong = checked_outcome(x)
        known = self._strata.get(stratum) or self._meet(stratum)
        self._kept.append(known.number | is_wrong << 7)
        p, temper = known.rate, self.temper
        if self._open or known.seen >= warm_up(p):
            for at, d in enumerate(self._shifts):
                ratio = rise_on_error(p, d) if is_wrong else rise_on_correct(1.0 - p, d)
                self._r[at] = min((self._r[at] + 1.0) * ratio**temper, R_MAX)
        if not self._open and known.seen < FREEZE_AFTER:
            known.seen += 1
            known.a += temper * is_wrong
            known.b += temper * (1 - is_wrong)
        self._open |= self.drift_detected
        return self

    def _meet(self, stratum: str) -> _Stratum:
        """Adds a stratum that comes for the first time; beyond `STRATA_MAX` returns the one that all others share."""
        if len(self._strata) >= STRATA_MAX - 1:
            stratum = _OTHERS
        return self._strata.setdefault(stratum, _Stratum(len(self._strata), *self._prior))

    def update_many(self, outcomes: Iterable[float], strata: Iterable[str] = itertools.repeat(_OTHERS)) -> int:
        """Takes outcomes until a drift is detected anew, or to the end; returns how many were taken.

        Args:
            outcomes: Each 0 or 1.
            strata: Name of each outcome's class.
        """
        found = (self.update(x, stratum).drift_detected for x, stratum in zip(outcomes, strata, strict=False))
        return count_until(self.drift_detected, found)

    def reset(self) -> None:
        """Starts the test afresh, as after a drift was cleared; the baselines stay."""
        self._r = [0.0, 0.0, 0.0]
        self._open = False
        self._kept.clear()

    def estimate(self) -> Estimate:
        """Estimates when the rise began and the rate since; the old rate is of the same mix of strata."""
        kept = np.array(self._kept, np.int64)[::-1]
        if not len(kept):
            return Estimate(0, 0, 0, self.baseline(), self.baseline())
        rates = np.array([known.rate for known in self._strata.values()])
        return locate_change(kept >> 7, rates[kept & 127], self._shifts, self.temper)

    def to_bytes(self) -> bytes:
        """The state: 2 KiB of outcomes, and for each stratum some 30 bytes and its name."""
        return msgspec.msgpack.encode(
            _Packed(
                self.run_length,
                self.temper,
                self._prior,
                self._shifts,
                self._strata,
                self._r,
                self._open,
                bytes(self._kept),
            )
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Restores a detector from `to_bytes`."""
        state = msgspec.msgpack.decode(packed, type=_Packed)
        detector = cls(state.run_length, state.prior, state.shifts, state.temper)
        detector._strata, detector._r, detector._open = state.strata, state.r, state.is_open
        detector._kept.extend(state.kept)
        return detector
