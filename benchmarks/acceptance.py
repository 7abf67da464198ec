"""What the points of acceptance share: a figure with its limit, and random streams."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.arrays import Flags, Floats

PROMISED = 20_000.0
P0 = 0.06
#: Run length of the mixture over its A at 6%: with A = 20,000 / this it has a true one of 20,000.
RATIO = 1.24
WARM = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a point.

    Attributes:
        point: Number in the list of acceptance.
        what: What was measured.
        value: Figure.
        error: Its standard error; 0 where it is exact.
        limit: What it must reach, in words.
        reached: Whether it does; None for a figure that only explains.
    """

    point: int
    what: str
    value: float
    error: float
    limit: str
    reached: bool | None


def gaps(rng: np.random.Generator, rate: float, block: int = 4096) -> Iterator[int]:
    """Correct outcomes before each error of an endless independent stream."""
    while True:
        yield from (rng.geometric(rate, block) - 1).tolist()


def run_gaps(rng: np.random.Generator, rate: float, outcomes: int) -> list[int]:
    """Correct outcomes before each error among so many outcomes."""
    errors = np.flatnonzero(rng.random(outcomes) < rate)
    return [int(gap) for gap in np.diff(errors, prepend=-1) - 1]


def clustered(rng: np.random.Generator, outcomes: int, rate: float, size: int, rho: float) -> Flags:
    """One stream whose errors come in clusters of a size, with a correlation within; shape (outcomes,)."""
    if rho == 0:
        return rng.random(outcomes) < rate
    strength = 1 / rho - 1
    rates = rng.beta(rate * strength, (1 - rate) * strength, outcomes // size + 2)
    begun = rng.integers(size)
    return rng.random(outcomes) < np.repeat(rates, size)[begun : begun + outcomes]


def mean_and_error(values: Floats) -> tuple[float, float]:
    """The mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def median_error(values: Floats) -> float:
    """Half of the distance between the order statistics one standard error around the middle."""
    ordered, half = np.sort(values), len(values) ** 0.5 / 2
    return float(ordered[int(len(values) / 2 + half)] - ordered[int(len(values) / 2 - half)]) / 2


def false_alarms(point: int, what: str, alarms: list[int]) -> Finding:
    """The mean number of false alarms of many streams, which may be one at most."""
    value, error = mean_and_error(np.array(alarms, np.float64))
    return Finding(point, what, value, error, "at most 1.0", value <= 1.0)
