"""The detectors' definitions written once more, for many streams at a time: what the classes are held against."""

from collections.abc import Callable

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
    temper: float = 1.0,
    warm: int = 0,
    change: Callable[[int], Bools] | None = None,
) -> tuple[float, NDArray[np.float64]]:
    """The self-starting form: false alarms a stream in `steps`, or with `change` the delays after them.

    `errors(step)` gives all streams' outcomes. After an alarm a stream's R starts again; its baseline goes on.
    """
    a, b = np.full(streams, 0.6), np.full(streams, 9.4)
    r = np.zeros((3, streams))
    alarms = 0

    def step_once(x: Bools, learn: bool) -> Bools:
        nonlocal r
        p = a / (a + b)
        factor = np.where(x, 1 + SHIFTS / p, np.maximum(1 - SHIFTS / (1 - p), 1e-3))
        r = (r + 1) * factor**temper
        if learn:
            a[:] += temper * x
            b[:] += temper * ~x
        return r.mean(0) >= limit

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
