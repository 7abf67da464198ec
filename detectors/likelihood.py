"""The formulas of outcomes, each written once: likelihood ratios, what a run adds to R, what a baseline learns.

Each takes floats, for one stream, or columns, for many streams side by side. Two numbers are compared with Python's
own `min` and `max` where they are floats (numpy's take ten times as long for one), and with numpy's where the caller
passes them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from detectors.arrays import Floats

Number = TypeVar("Number", float, Floats)
_Choice = Callable[..., Any]

#: Outcomes after which the baseline is taken as known. After 2,000 it is still too rough: false alarms rise by half.
FREEZE_AFTER = 10_000
#: Outcomes that a stream only learns from: against the prior alone, one that is simply worse than most looks changed.
WARM_UP = 100
#: The same at high rates, from which the prior is further: so many for each unit of the rate beyond the first.
WARM_UP_PER_RATE, WARM_UP_BEYOND = 2_000.0, 0.1


def rise_on_error(p: Number, shift: Number, least: _Choice = min) -> Number:
    """L of an error, of a rise of the error rate p by a shift; the risen rate stays below 1."""
    risen: Number = 1.0 + least(shift, (1.0 - p) / 2) / p
    return risen


def rise_on_correct(q: Number, shift: Number, least: _Choice = min) -> Number:
    """L of a correct outcome, of a rise by a shift, q being the rate of correct outcomes."""
    risen: Number = 1.0 - least(shift / q, 0.5)
    return risen


def fall_on_correct(p: Number, share: Number) -> Number:
    """L of a correct outcome, of a fall of the error rate p to a share of it; that of an error is the share itself."""
    return (1.0 - share * p) / (1.0 - p)


def run_adds(factor: Number, power: Number) -> Number:
    """What c times R <- (R + 1) * factor adds to R, which it multiplies by power = factor ** c: closed form."""
    return factor * (1.0 - power) / (1.0 - factor)


def learnable(seen: Number, correct: Number, least: _Choice = min, most: _Choice = max) -> Number:
    """How many of the next correct outcomes a baseline still learns that has seen so many."""
    left: Number = least(correct, most(FREEZE_AFTER - seen, 0.0))
    return left


def middle_rate(a: Number, b: Number, learned: Number) -> Number:
    """The error rate a / (a + b) in the middle of a run of correct outcomes that is learned: it stands for all."""
    return a / (a + b + learned / 2)


def warm_up(rate: Number, most: _Choice = max) -> Number:
    """Outcomes that a stream of an error rate only learns from."""
    outcomes: Number = most(WARM_UP, WARM_UP_PER_RATE * (rate - WARM_UP_BEYOND))
    return outcomes
