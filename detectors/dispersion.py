"""The design effect of values that come in groups: how much more sums of groups vary than independent values would."""

from collections.abc import Sequence
from operator import add as add_up

#: Sums of 1, 2, 4 ... 128 groups are compared with the sums after them.
LEVELS = 8
#: Small excesses are noise: one of t standard errors counts with the share t^2 / (t^2 + 2).
_DOUBT = 2.0


def size(width: int) -> int:
    """How many floats of state a stream needs, if each of its groups has `width` numbers."""
    return LEVELS * (1 + width)


def add(row: list[float], at: int, groups: int, values: Sequence[float], weights: Sequence[tuple[int, float]]) -> None:
    """Takes the numbers of a group.

    It works like a binary counter: two neighbouring sums of 2^l groups are compared once, and become one of 2^(l+1). So
    a group costs two comparisons on average, however many levels there are, and a change of the mean counts only once
    at each level.

    Args:
        row: Changed in place, from `at` on: a sum of squares for each level, then for each level the sum that waits for
            its neighbour, `width` numbers each; zeros at first.
        at: Index in the row at which this state begins.
        groups: How many groups came before.
        values: The group's numbers, shape (width,).
        weights: Indices of the numbers that count, each with the weight of its squared difference. The weights must be
            such that for independent values the weighted sum of the squares of (value - mean) is 1 on average.
    """
    width, level, first = len(values), 0, at + LEVELS
    while groups >> level & 1:
        others = row[first : first + width]
        squares = 0.0
        for place, weight in weights:
            away = values[place] - others[place]
            squares += weight * away * away
        row[at + level] += squares / (2 << level)
        level += 1
        if level == LEVELS:
            return
        values = list(map(add_up, values, others))
        first += width
    row[first : first + width] = values


def add_one(row: list[float], at: int, groups: int, value: float, weight: float) -> None:
    """As `add` for groups of one number, in a quarter of the time."""
    level, first = 0, at + LEVELS
    while groups >> level & 1:
        other = row[first + level]
        away = value - other
        row[at + level] += weight * away * away / (2 << level)
        level += 1
        if level == LEVELS:
            return
        value += other
    row[first + level] = value


def design_effect(row: Sequence[float], at: int, groups: int, freedom: float = 1.0) -> float:
    """The largest design effect of any level, at least 1.

    A level's design effect is its mean of squares over that of independent values. It is shrunk towards 1, the more the
    fewer comparisons there are.

    Args:
        row: As in `add`.
        at: As in `add`.
        groups: How many groups were taken.
        freedom: Degrees of freedom of a comparison.

    Returns:
        Variance of the sums over the variance that independent values would have.

    Source:
        Allan 1966 (variance of neighbours at doubling lengths); Kish 1965 (design effect).
    """
    largest = 0.0
    for level in range(LEVELS):
        compared = groups >> (level + 1)
        if compared < 2:
            break
        excess = row[at + level] / compared - 1.0
        if excess > largest:
            deviation2 = 2.0 / (compared * freedom)
            t2 = excess * excess / deviation2
            largest = max(largest, excess * t2 / (t2 + _DOUBT) * compared / (compared + 2.0))
    return 1.0 + largest
