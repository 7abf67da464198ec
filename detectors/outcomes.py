"""The last errors of a stream, in little memory, and the estimate from them of when its rate changed."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.protocol import Estimate

#: The newest errors are remembered one by one, in about a byte each.
ERRORS_KEPT = 44
#: Older ones are remembered eight by eight, as the number of correct outcomes among them: far back, the exact place of
#: an error matters little.
GROUP, GROUPS_KEPT = 8, 26
_INTERVAL = 0.90
#: Weight, in outcomes, of the old rate in the estimate of the new one; without it a rise of 5 points looks like 6.5.
_PRIOR = 40.0


class Outcomes:
    """A stream's outcomes as the gaps between errors; a correct outcome is only counted.

    It reaches back 252 errors: 4,200 outcomes at an error rate of 6%, in about 100 bytes.

    Attributes:
        gaps: Correct outcomes before each of the newest errors, oldest first.
        groups: Correct outcomes among each group of eight errors before those, oldest first.
        since: Correct outcomes since the last error.
    """

    __slots__ = ("gaps", "groups", "since")

    def __init__(self, numbers: Sequence[int] = (0, 0)) -> None:
        self.since = numbers[0]
        self.groups: deque[int] = deque(numbers[2 : 2 + numbers[1]], GROUPS_KEPT)
        self.gaps: deque[int] = deque(numbers[2 + numbers[1] :])

    def add_error(self) -> None:
        """Takes an error; for a correct outcome callers add 1 to `since`."""
        self.gaps.append(self.since)
        self.since = 0
        if len(self.gaps) == ERRORS_KEPT + GROUP:
            self.groups.append(sum(self.gaps.popleft() for _ in range(GROUP)))

    def numbers(self) -> list[int]:
        """The state as whole numbers, from which `Outcomes` can be made again."""
        return [self.since, len(self.groups), *self.groups, *self.gaps]

    def newest_first(self) -> list[int]:
        """The outcomes remembered, 1 for an error, newest first; errors of a group are spread evenly."""
        out = [0] * self.since
        for gap in reversed(self.gaps):
            out.append(1)
            out.extend([0] * gap)
        for correct in reversed(self.groups):
            for part in range(GROUP):
                out.append(1)
                out.extend([0] * ((correct + part) // GROUP))
        return out

    def clear(self) -> None:
        """Forgets everything."""
        self.groups.clear()
        self.gaps.clear()
        self.since = 0


def from_gaps(since: int, gaps: Sequence[int]) -> list[int]:
    """Outcomes, 1 for an error, newest first; `gaps`: correct outcomes before each error, newest first."""
    out = [0] * since
    for gap in gaps:
        out.append(1)
        out.extend([0] * gap)
    return out


def locate_change(
    newest_first: Sequence[int] | NDArray[np.integer[Any]],
    p0: float | NDArray[np.float64],
    shifts: Sequence[float | NDArray[np.float64]],
    temper: float = 1.0,
) -> Estimate:
    """Estimates when a change of the error rate began, and the rate since.

    Every past moment k is weighed by the likelihood that the change began there: w(k) is the sum over the shifts d of
    the product of L_d over the outcomes since k. The estimate is the median of w, with its 5% and 95% points. The new
    rate is the mean, over these weights, of the Beta mean of the outcomes since k, with a prior at the old rate: the
    plain rate since a signal is too high, because a signal comes when chance has added to the change.

    Args:
        newest_first: Outcomes, 1 for an error, newest first, shape (n,).
        p0: Rate before the change: one for all outcomes, or each outcome's own, shape (n,); the old rate is then their
            mean since k.
        shifts: Changes that are considered, in ratio points, for all outcomes or each one's own; below 0 for a fall.
        temper: 1 / design effect; clustered outcomes count for less.

    Returns:
        The estimate; it began 0 outcomes ago where nothing is remembered.

    Source:
        Shiryaev 1963, with the mixture over shifts of Pollak 1987.
    """
    outcomes = np.asarray(newest_first, np.float64)
    n = len(outcomes)
    if n == 0:
        usual = p0 if isinstance(p0, float) else math.nan
        return Estimate(0, 0, 0, usual, usual)
    changes = np.array(shifts).reshape(len(shifts), -1)
    if isinstance(p0, float) or changes.shape[1] > 1:
        rates = np.clip(p0 + changes, 1e-6, 0.999)
        on_error, on_correct = temper * np.log(rates / p0), temper * np.log((1 - rates) / (1 - p0))
    else:
        # One bet for all strata, as in `detectors.rounds.take_strata`, no matter which of them has changed.
        mean = float(p0.mean())
        bets = np.minimum(changes / (mean * (1.0 - mean)), 0.5 / p0.max())
        on_error, on_correct = temper * np.log1p(bets * (1.0 - p0)), temper * np.log1p(-bets * p0)
    logs = np.cumsum(np.where(outcomes > 0, on_error, on_correct), axis=1)
    weights, (median, low, high) = weigh(logs)
    seen = np.arange(1, n + 1)
    old = p0 if isinstance(p0, float) else np.cumsum(p0) / seen
    new_rate = float((weights * (np.cumsum(outcomes) + _PRIOR * old) / (seen + _PRIOR)).sum())
    return Estimate(median, low, high, old if isinstance(old, float) else float(old[median - 1]), new_rate)


def weigh(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Weighs every past moment as the one at which a change began, as described at `locate_change`.

    Args:
        logs: By shift, log-likelihood ratio of all that came since each moment, newest moment first, shape (shifts, n).

    Returns:
        The weights, shape (n,), and how far back their median and their 5% and 95% points are; 1 is the newest moment.
    """
    weights = np.exp(logs - logs.max()).sum(axis=0)
    weights /= weights.sum()
    reached = np.cumsum(weights)
    median, low, high = (
        min(int(np.searchsorted(reached, share)) + 1, len(weights))
        for share in (0.5, (1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2)
    )
    return weights, (median, low, high)
