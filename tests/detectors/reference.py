"""The detectors' definitions written once more, for many streams at a time: what the classes are held against."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

SHIFTS = np.array([0.02, 0.05, 0.10])[:, None]
Bools = NDArray[np.bool_]


def run_lengths(
    p0: float, limit: float, rate: float, streams: int, seed: int, warm: int = 0, longest: int = 10**7
) -> NDArray[np.int64]:
    """Outcomes to the first signal of the mixture against a known p0, by stream.

    With `warm`, that many in-control outcomes come first; a stream that signals in them starts again.
    """
    random = np.random.default_rng(seed)
    on_error, on_correct = (p0 + SHIFTS) / p0, (1 - p0 - SHIFTS) / (1 - p0)
    r = np.zeros((3, streams))
    for _ in range(warm):
        r = (r + 1) * np.where(random.random(streams) < p0, on_error, on_correct)
        r[:, r.mean(0) >= limit] = 0
    out, alive = np.full(streams, longest), np.arange(streams)
    for step in range(1, longest):
        r = (r + 1) * np.where(random.random(len(alive)) < rate, on_error, on_correct)
        hit = r.mean(0) >= limit
        if hit.any():
            out[alive[hit]] = step
            r, alive = r[:, ~hit], alive[~hit]
            if not len(alive):
                break
    return out


def self_starting_alarms(
    limit: float,
    errors: Callable[[int], Bools],
    steps: int,
    streams: int,
    temper: float | Iterable[NDArray[np.float64]] = 1.0,
    warm: int = 0,
    change: Callable[[int], Bools] | None = None,
) -> tuple[float, NDArray[np.float64]]:
    """The self-starting form: false alarms a stream in `steps`, or with `change` the delays after them.

    `errors(step)` gives all streams' outcomes. After an alarm a stream's R starts again; its baseline goes on.
    `temper` may be one for each step after which it is known, as of `tempers`.
    """
    later = None if isinstance(temper, float) else iter(temper)
    current = temper if isinstance(temper, float) else np.ones(streams)
    a, b = np.full(streams, 0.6), np.full(streams, 9.4)
    r = np.zeros((3, streams))
    alarms = 0

    def step_once(x: Bools, learn: bool) -> Bools:
        nonlocal r, current
        p = a / (a + b)
        factor = np.where(x, 1 + SHIFTS / p, np.maximum(1 - SHIFTS / (1 - p), 1e-3))
        r = (r + 1) * factor**current
        if learn:
            a[:] += current * x
            b[:] += current * ~x
        if later is not None:
            current = next(later)
        reached: Bools = r.mean(0) >= limit
        return reached

    for step in range(warm + steps):
        hit = step_once(errors(step), step < 10_000)
        if step < warm:
            r[:] = 0
        else:
            alarms += int(hit.sum())
        r[:, hit] = 0
    delays = np.zeros(streams)
    if change is not None:
        waiting = np.ones(streams, bool)
        for step in range(1, 20_000):
            hit = step_once(change(step), True) & waiting
            delays[hit] = step
            waiting &= ~hit
            if not waiting.any():
                break
    return alarms / streams, delays


def clustered(rng: np.random.Generator, steps: int, streams: int, p: float, size: int = 1, rho: float = 0.0) -> Bools:
    """Outcomes, shape (steps, streams): clusters of a size, each with an error rate of its own, correlation rho."""
    if rho == 0.0:
        return rng.random((steps, streams)) < p
    strength = 1 / rho - 1
    rates = rng.beta(p * strength, (1 - p) * strength, (steps // size + 2, streams))
    begun = rng.integers(0, size, streams)
    out = np.empty((steps, streams), bool)
    for step in range(steps):
        out[step] = rng.random(streams) < rates[(step + begun) // size, np.arange(streams)]
    return out


def tempers(outcomes: Bools) -> Iterator[NDArray[np.float64]]:
    """1 / design effect of each stream after each step, by sums over sliding windows; it moves at errors."""
    steps, streams = outcomes.shape
    x = outcomes.astype(np.int64)
    sums = np.concatenate((np.zeros((1, streams), np.int64), np.cumsum(x, axis=0)))
    contrast, errors, temper = np.zeros(streams), np.zeros(streams), np.ones(streams)
    for step in range(steps):
        near = sums[step] - sums[max(step - 24, 0)]
        far = sums[max(step - 24, 0)] - sums[max(step - 120, 0)]
        if step >= 120:
            contrast += x[step] * (4 * near - far)
        errors += x[step]
        p, n = (errors + 0.6) / (step + 11), step + 1 - 120 + 100
        if n > 0:
            excess = np.maximum(2 * contrast / 4 / (p * (1 - p)) / n, 0)
            deviation = np.sqrt(120 / n)
            t2 = (excess / deviation) ** 2
            excess *= t2 / (t2 + 2)
            excess += 1.5 * deviation * np.minimum(3 * excess, 1) * (1 + 2.25 * excess)
            temper = np.where(outcomes[step], 1 / (1 + excess), temper)
        yield temper
