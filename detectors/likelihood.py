"""The formulas of detectors of outcomes, each once: likelihood ratios, what a run adds to R, what a baseline learns.

Each takes floats, for one stream, or columns, for many streams. For columns the caller passes numpy's minimum and
maximum; for floats the default is Python's own `min` and `max`, which are ten times as fast for one number.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from detectors.arrays import Floats

Number = TypeVar("Number", float, Floats)
_Choice = Callable[..., Any]

#: Outcomes after which the baseline is taken as known. After 2,000 it is too rough: there are half as many false alarms
#: again.
FREEZE_AFTER = 10_000
#: A stream learns from so many outcomes before it is tested: compared with the prior alone, a stream that is simply
#: worse than most would look as if it had changed.
WARM_UP = 100
#: At high rates, which are further from the prior, it learns for longer: 2,000 outcomes for each unit of the rate above
#: 0.1.
WARM_UP_PER_RATE, WARM_UP_BEYOND = 2_000.0, 0.1


def rise_on_error(p: Number, shift: Number, least: _Choice = min) -> Number:
    """L on an error, for a rise of the error rate p by a shift; the risen rate stays below 1."""
    risen: Number = 1.0 + least(shift, (1.0 - p) / 2) / p
    return risen


def rise_on_correct(q: Number, shift: Number, least: _Choice = min) -> Number:
    """L on a correct outcome, for a rise of the error rate by a shift; q is the rate of correct outcomes before."""
    risen: Number = 1.0 - least(shift / q, 0.5)
    return risen


def fall_on_correct(p: Number, share: Number) -> Number:
    """L on a correct outcome, for a fall of the error rate p to a share of it; L on an error is the share itself."""
    return (1.0 - share * p) / (1.0 - p)


def run_adds(factor: Number, power: Number) -> Number:
    """What c steps R <- (R + 1) * factor add to R, in closed form; they also multiply R by power = factor ** c."""
    return factor * (1.0 - power) / (1.0 - factor)


def learnable(seen: Number, correct: Number, least: _Choice = min, most: _Choice = max) -> Number:
    """How many of the next correct outcomes a baseline still learns from, after it has learned from `seen` outcomes."""
    left: Number = least(correct, most(FREEZE_AFTER - seen, 0.0))
    return left


def middle_rate(a: Number, b: Number, learned: Number) -> Number:
    """The error rate a / (a + b) in the middle of a run of correct outcomes that is learned; used for the whole run."""
    return a / (a + b + learned / 2)


def warm_up(rate: Number, most: _Choice = max) -> Number:
    """How many outcomes a stream of an error rate learns from before it is tested."""
    outcomes: Number = most(WARM_UP, WARM_UP_PER_RATE * (rate - WARM_UP_BEYOND))
    return outcomes
