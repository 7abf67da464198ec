"""The detectors of outcomes on many streams side by side: to the last bit what they make look by look."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors import cluster
from detectors.falling import FALLS
from detectors.mixture import SHIFTS
from detectors.self_starting import FREEZE_AFTER, HIGHEST, WARM_UP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_SHIFTS, _FALLS = np.array(SHIFTS)[:, None], np.array(FALLS)[:, None]


class Looks(NamedTuple):
    """Looks, stream by stream, in order: parallel columns of shape (n,).

    Attributes:
        starts: Of each stream, its first look, shape (streams,).
        counts: How many it has, at least one, shape (streams,).
        correct: Correct outcomes that the look takes, before the error if it takes one.
        wrong: Whether it takes an error; always where a rise is looked for.
        temper: 1 / design effect.
        threshold: Where a drift is signalled.
    """

    starts: Ints
    counts: Ints
    correct: Ints
    wrong: Flags
    temper: Floats
    threshold: Floats

    def of(self, streams: Flags) -> "Looks":
        """The looks of some of the streams, told by a flag each."""
        if streams.all():
            return self
        counts = self.counts[streams]
        mine = np.repeat(streams, self.counts)
        return Looks(
            np.cumsum(counts) - counts,
            counts,
            self.correct[mine],
            self.wrong[mine],
            self.temper[mine],
            self.threshold[mine],
        )

    def first(self, stream: int, count: int) -> "Looks":
        """So many looks of one stream."""
        here = slice(self.starts[stream], self.starts[stream] + count)
        return Looks(
            np.zeros(1, np.int64),
            np.array([count]),
            self.correct[here],
            self.wrong[here],
            self.temper[here],
            self.threshold[here],
        )


class Taken(NamedTuple):
    """What became of the streams.

    Attributes:
        rows: What the detectors keep of each, in the form of the one that took the looks.
        looks: How many of its looks each has taken: all, or up to the one at which it reached its threshold.
        reached: Places of the streams that have reached it, with the mean of the R there.
    """

    rows: Floats
    looks: Ints
    reached: list[tuple[int, float]]


class _Steps(NamedTuple):
    """What each look does to an R: R <- (R * `times` + `plus` + error) * `on_error`; shapes (3, n)."""

    times: Floats
    plus: Floats
    on_error: Floats


class _Baseline(NamedTuple):
    """A stream's Beta baseline along its looks.

    Attributes:
        a, b, seen: Before the stream's first look and after each, shape (streams, most looks + 1).
        at: Of each look the stream and the column before it.
        middle: The rate with half of the look's correct outcomes taken in, shape (n,).
        seen_passed: Outcomes seen with all of these, shape (n,).
    """

    a: Floats
    b: Floats
    seen: Floats
    at: tuple[Ints, Ints]
    middle: Floats
    seen_passed: Floats

    def after(self) -> tuple[Ints, Ints]:
        """Of each look the stream and the column after it."""
        return self.at[0], self.at[1] + 1


def take(rows: Floats, looks: Looks, target: Floats, falls: Flags) -> Taken:
    """Takes looks of streams of every kind: what a call costs is then paid once.

    A rise against the stream's own baseline as `self_starting.advance`, against a target as
    `mixture.advance`; a fall as `falling.passed`, where there are correct outcomes, and
    `falling.failed`, where there is an error.

    Args:
        rows: `self_starting.ROW` of each stream, shape (streams, 6); of one that is held to a target
            `mixture.ROW`, and what stands after it stays.
        looks: Of the streams; where a rise is looked for each at an error.
        target: The rate that a stream is held to, NaN where it is its own past, shape (streams,).
        falls: Whether a fall is looked for, only against the stream's own past, shape (streams,).
    """
    own = np.isnan(target)
    known = _learned(rows[own], looks.of(own))
    group = np.repeat(np.arange(len(rows)), looks.counts)
    on_correct, on_error = np.empty((3, len(group))), np.empty((3, len(group)))

    (held,) = np.nonzero(~own[group])
    p0 = target[group[held]]
    rate = np.minimum(p0 + _SHIFTS, 0.5 + p0 / 2)
    on_correct[:, held], on_error[:, held] = (1.0 - rate) / (1.0 - p0), rate / p0

    (mine,) = np.nonzero(own[group])
    falling = falls[group[mine]]
    before, after = known.at, known.after()
    a, b = known.a[before], known.b[after]
    p = a / (a + b)
    q = 1.0 - known.middle
    on_correct[:, mine] = np.where(falling, (1.0 - _FALLS * known.middle) / q, 1.0 - np.minimum(_SHIFTS / q, 0.5))
    on_error[:, mine] = np.where(falling, _FALLS, 1.0 + np.minimum(_SHIFTS, (1.0 - p) / 2) / p)

    # Python's own power, as the detectors' functions take it: `power` differs from it in the last bit on some
    # processors, and what a stream keeps must not depend on how a log was cut.
    on_correct, on_error = np.float_power(on_correct, looks.temper), np.float_power(on_error, looks.temper)
    # What a run of correct outcomes does to an R, as `mixture.grow`.
    times = np.float_power(on_correct, looks.correct)
    plus = on_correct * (1.0 - times) / (1.0 - on_correct)
    on_error[:, ~looks.wrong] = 1.0

    # There is no test until enough is known, nor where most outcomes are errors.
    untested = falling & (looks.correct[mine] > 0) & ((known.seen_passed < WARM_UP) | (a > HIGHEST * (a + b)))
    times[:, mine[untested]] = plus[:, mine[untested]] = 0.0
    a, seen = known.a[after], known.seen[after]
    on_error[:, mine[~falling & ((seen < WARM_UP) | (a > HIGHEST * (a + b)))]] = 0.0

    r = np.where(own[:, None], rows[:, 3:], rows[:, :3])
    taken = _take(r, looks, _Steps(times, plus, on_error))
    moved = rows.copy()
    last = np.arange(len(known.a)), taken.looks[own]
    moved[own, 0], moved[own, 1], moved[own, 2] = known.a[last], known.b[last], known.seen[last]
    moved[own, 3:], moved[~own, :3] = taken.rows[own], taken.rows[~own]
    return taken._replace(rows=moved)


def clusters(rows: Floats, looks: Looks) -> tuple[Floats, Floats]:
    """As `cluster.temper` before each look, and `cluster.advance` at each error.

    Args:
        rows: `cluster.ROW` of each stream, and its correct outcomes since the last error, shape (streams, 7).
        looks: Of the streams; their `temper` is not asked for.

    Returns:
        What tempers each look, shape (n,); and the rows after all of them.
    """
    streams = len(rows)
    group = np.repeat(np.arange(streams), looks.counts)
    taken = np.cumsum(looks.correct + looks.wrong)
    # Outcomes of the stream since its last error of before, each look's own included.
    taken += (rows[:, 6].astype(np.int64) - np.append(0, taken)[looks.starts])[group]
    (errors,) = np.nonzero(looks.wrong)
    of, place = group[errors], taken[errors]
    many = np.bincount(of, minlength=streams)
    before = np.cumsum(many) - many
    nth = np.arange(len(errors)) - before[of]

    # Where the errors are, old and new, along one line on which each stream has room of its own.
    parts = rows[:, 3:6].astype(np.int64)[:, :, None] >> np.arange(cluster.PART) & 1
    old, back = np.nonzero(parts.reshape(streams, cluster.REACH))
    room = int(taken.max(initial=0)) + 2 * cluster.REACH
    ahead = cluster.REACH
    new = of * room + ahead + place
    line = np.sort(np.concatenate((old * room + ahead - back, new)))
    here = np.searchsorted(line, new)
    near = here - np.searchsorted(line, new - cluster.NEAR)
    both = here - np.searchsorted(line, new - cluster.REACH)
    contrast = (cluster.FAR // cluster.NEAR + 1) * near - both

    # Sums run along each stream as its errors would add them up, one by one, so that they are rounded alike.
    width = max(int(many.max(initial=0)), 1)
    runs, told, counted = np.zeros((streams, 2 * width)), np.zeros((streams, width)), np.zeros((streams, width))
    runs[of, 2 * nth] = np.diff(place, prepend=0) - 1
    first = before[many > 0]
    runs[of[first], 0] = place[first] - 1
    runs[of, 2 * nth + 1] = counted[of, nth] = 1.0
    outcomes = np.add.accumulate(np.hstack((rows[:, 0:1], runs)), axis=1)
    seen = np.add.accumulate(np.hstack((rows[:, 1:2], counted)), axis=1)
    told[of, nth] = np.where(outcomes[of, 2 * nth + 1] >= cluster.REACH, contrast, 0)
    contrasts = np.add.accumulate(np.hstack((rows[:, 2:3], told)), axis=1)
    outcomes = outcomes[:, ::2]
    tempers = 1.0 / cluster.design_effects(outcomes, seen, contrasts)

    passed = np.cumsum(looks.wrong)
    earlier = passed - looks.wrong - np.append(0, passed)[looks.starts][group]
    last = np.arange(streams), many
    newest = np.zeros(streams, np.int64)
    newest[of] = place
    after = np.empty_like(rows)
    after[:, 0], after[:, 1], after[:, 2] = outcomes[last], seen[last], contrasts[last]
    after[:, 6] = taken[looks.starts + looks.counts - 1] - newest
    stream, at = line // room, line % room - ahead
    distance = newest[stream] - at
    kept = (distance >= 0) & (distance < cluster.REACH)
    stream, distance = stream[kept], distance[kept]
    bits = np.ldexp(1.0, distance % cluster.PART)
    part = stream * 3 + distance // cluster.PART
    after[:, 3:6] = np.bincount(part, weights=bits, minlength=3 * streams).reshape(streams, 3)
    for full in np.flatnonzero(after[:, 0] >= cluster.MEMORY).tolist():
        # Counts are halved on the way, which happens once in 20,000 outcomes.
        row = rows[full, :6].tolist()
        for error in range(int(many[full])):
            cluster.advance(row, int(runs[full, 2 * error]))
            tempers[full, error + 1] = cluster.temper(row)
        after[full, :6] = row
    return tempers[group, earlier], after


def _learned(rows: Floats, looks: Looks) -> _Baseline:
    """How the baseline grows along the looks, which does not depend on the R.

    Sums run along each stream as its looks would add them up, one by one, so that they are rounded alike.
    """
    streams = len(rows)
    group = np.repeat(np.arange(streams), looks.counts)
    at = group, np.arange(len(group)) - looks.starts[group]
    shape = streams, int(looks.counts.max(initial=0))
    correct, wrong, temper = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape)
    correct[at], wrong[at], temper[at] = looks.correct, looks.wrong, looks.temper
    one_by_one = correct + wrong
    # Where it is still learning, it has seen all outcomes.
    seen = rows[:, 2:3] + np.cumsum(one_by_one, axis=1) - one_by_one
    young = seen < FREEZE_AFTER
    learned = temper * np.where(young, np.minimum(correct, FREEZE_AFTER - seen), 0.0)
    passed = seen + correct
    learns = young & (passed < FREEZE_AFTER) & wrong
    a = np.add.accumulate(np.hstack((rows[:, 0:1], temper * learns)), axis=1)
    b = np.add.accumulate(np.hstack((rows[:, 1:2], learned)), axis=1)
    seen = np.maximum.accumulate(np.hstack((rows[:, 2:3], np.where(young, passed + learns, 0.0))), axis=1)
    return _Baseline(a, b, seen, at, a[at] / (a[at] + b[at] + learned[at] / 2), passed[at])


def _take(rows: Floats, looks: Looks, steps: _Steps) -> Taken:
    """Moves the R of each stream, shape (streams, 3), look by look up to its threshold.

    The first look of every stream in one step, then the second of each, and so on. (Below a
    threshold they stay far from `R_MAX`.)
    """
    # Streams with the most looks first: whoever has one left is then in front.
    order = np.argsort(-looks.counts, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    nth = np.arange(len(looks.correct)) - np.repeat(looks.starts, looks.counts)
    by_round = np.lexsort((np.repeat(place, looks.counts), nth))
    times, plus, on_error = (column[:, by_round] for column in steps)
    error = looks.wrong[by_round].astype(np.float64)
    r, after = rows.T[:, order], np.empty_like(times)
    start = 0
    with np.errstate(over="ignore", invalid="ignore"):  # what comes after a threshold is not used
        for left in np.bincount(nth).tolist():
            here = slice(start, start + left)
            r = np.multiply(r[:, :left], times[:, here], out=after[:, here])
            r += plus[:, here]
            r += error[here]
            r *= on_error[:, here]
            start += left
    moved = np.empty_like(after)
    moved[:, by_round] = after
    statistic = (moved[0] + moved[1] + moved[2]) / 3.0
    taken, reached = looks.counts.copy(), []
    (over,) = np.nonzero(statistic >= looks.threshold)
    if len(over):
        streams, first = np.unique(np.repeat(np.arange(len(rows)), looks.counts)[over], return_index=True)
        taken[streams] = nth[over[first]] + 1
        reached = list(zip(streams.tolist(), statistic[over[first]].tolist(), strict=True))
    return Taken(moved[:, looks.starts + taken - 1].T, taken, reached)
