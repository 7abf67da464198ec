"""Runs the detectors of outcomes on many streams at once; the result is the same to the last bit as one by one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from detectors import cluster
from detectors.arrays import Flags, Floats, Ints
from detectors.falling import FALLS
from detectors.likelihood import (
    FREEZE_AFTER,
    fall_on_correct,
    learnable,
    middle_rate,
    rise_on_correct,
    rise_on_error,
    run_adds,
    warm_up,
)
from detectors.mixture import SHIFTS

_SHIFTS, _FALLS = np.array(SHIFTS)[:, None], np.array(FALLS)[:, None]


class Evaluations(NamedTuple):
    """Evaluations, stream by stream, in order: parallel columns of shape (n,).

    Attributes:
        starts: Index of each stream's first evaluation, shape (streams,).
        counts: How many evaluations each stream has, at least one, shape (streams,).
        correct: Correct outcomes that the evaluation takes, before the error if it takes one.
        wrong: Whether it takes an error; always so where a rise is looked for.
        temper: 1 / design effect.
    """

    starts: Ints
    counts: Ints
    correct: Ints
    wrong: Flags
    temper: Floats

    def of(self, streams: Flags) -> "Evaluations":
        """The evaluations of the streams whose flag is set."""
        if streams.all():
            return self
        counts = self.counts[streams]
        mine = np.repeat(streams, self.counts)
        return Evaluations(
            np.cumsum(counts) - counts,
            counts,
            self.correct[mine],
            self.wrong[mine],
            self.temper[mine],
        )

    def first(self, stream: int, count: int) -> "Evaluations":
        """The first `count` evaluations of one stream."""
        here = slice(self.starts[stream], self.starts[stream] + count)
        return Evaluations(
            np.zeros(1, np.int64),
            np.array([count]),
            self.correct[here],
            self.wrong[here],
            self.temper[here],
        )


class Taken(NamedTuple):
    """The streams after their evaluations.

    Attributes:
        rows: The new state of each stream, as rows of the detector that took the evaluations.
        evaluations: How many of its evaluations each stream has taken: all, or up to the one at which it reached its
            threshold.
        reached: Indices of the streams that have reached it, with the mean of the R there.
    """

    rows: Floats
    evaluations: Ints
    reached: list[tuple[int, float]]


class _Rounds(NamedTuple):
    """Evaluations in rounds: the first one of every stream, then the second one of each stream that has one, and so on.

    Streams are sorted by their number of evaluations, the most first. So the streams of every round are the first ones.
    A place is an index into this sequence of evaluations.

    Attributes:
        order: The streams in that order, shape (streams,).
        firsts: Place at which each round begins, shape (rounds,).
        lefts: How many streams are in each round, shape (rounds,).
        evaluations: The evaluation at each place, shape (n,).
        of: Index in `order` of the stream at each place, shape (n,).
    """

    order: Ints
    firsts: Ints
    lefts: Ints
    evaluations: Ints
    of: Ints

    @classmethod
    def made(cls, starts: Ints, counts: Ints) -> "_Rounds":
        """Puts evaluations into rounds, given each stream's first evaluation and how many it has."""
        order = np.argsort(-counts, kind="stable")
        sizes = counts[order]
        rounds = np.arange(sizes[0])
        lefts = len(sizes) - np.searchsorted(sizes[::-1], rounds, side="right")
        firsts = np.cumsum(lefts) - lefts
        of = np.arange(lefts.sum()) - np.repeat(firsts, lefts)
        return cls(order, firsts, lefts, starts[order].take(of) + np.repeat(rounds, lefts), of)

    def along(self, step: np.ufunc, first: Floats, values: Floats) -> Floats:
        """Accumulates values along each stream, as if evaluation by evaluation.

        Args:
            step: Makes the next value, given the one before and that of the place.
            first: Value before the first evaluation of each stream, shape (k, streams).
            values: Value of each place, shape (k, n).

        Returns:
            `first`, and then the accumulated value after each place, shape (k, streams + n).
        """
        streams = first.shape[1]
        whole = np.concatenate((first, values), axis=1)
        now = first
        for begin, left in zip((self.firsts + streams).tolist(), self.lefts.tolist(), strict=True):
            here = whole[:, begin : begin + left]
            now = step(now[:, :left], here, out=here)
        return whole

    def before(self, whole: Floats) -> Floats:
        """The accumulated value before each place, shape (k, n), from the result of `along`."""
        earlier = np.append(0, self.firsts + len(self.order))[:-1]
        return whole.take(np.repeat(earlier, self.lefts) + self.of, axis=1)

    def last(self, taken: Ints) -> Ints:
        """The place of each stream's last evaluation, if it takes so many; streams as in `order`."""
        return self.firsts[taken - 1] + np.arange(len(taken))


def _grow(
    rounds: _Rounds,
    counts: Ints,
    r: Floats,
    times: Floats,
    plus: Floats,
    thresholds: Callable[[Ints], Floats],
    least: float,
) -> tuple[Floats, Ints, Ints, list[tuple[int, float]]]:
    """Applies R <- R * times + plus along each stream, to its end or to where it reaches its threshold.

    Args:
        rounds: The evaluations in rounds.
        counts: How many evaluations each stream has, shape (streams,).
        r: The R before, shape (3, streams), streams in the order of the rounds.
        times: Factor of each place, shape (3, n).
        plus: Summand of each place, shape (3, n).
        thresholds: As in `take`.
        least: As in `take`.

    Returns:
        The R after, shape (streams, 3), the place of each stream's last evaluation that was taken, and how many it has
        taken, all three in the order of the rounds; and `Taken.reached`.
    """
    after = np.empty_like(times)
    with np.errstate(over="ignore", invalid="ignore"):  # values after a threshold are not used
        for first, left in zip(rounds.firsts.tolist(), rounds.lefts.tolist(), strict=True):
            here = slice(first, first + left)
            r = np.multiply(r[:, :left], times[:, here], out=after[:, here])
            r += plus[:, here]
    statistic = (after[0] + after[1] + after[2]) / 3.0

    taken, reached = counts[rounds.order], []
    (over,) = np.nonzero(statistic >= least)
    if len(over):
        over = over[statistic[over] >= thresholds(rounds.evaluations[over])]
    if len(over):
        streams, first_over = np.unique(rounds.of[over], return_index=True)
        over = over[first_over]
        taken[streams] = np.searchsorted(rounds.firsts, over, side="right")
        reached = sorted(zip(rounds.order[streams].tolist(), statistic[over].tolist(), strict=True))
    last = rounds.last(taken)
    return after.take(last, axis=1).T, last, taken, reached


#: How many strata a stream distinguishes: its site's first ones; all later ones share the last number.
STRATA = 8


def take_strata(
    r: Floats,
    known: Floats,
    evaluations: Evaluations,
    correct: Ints,
    error: Ints,
    falls: Flags,
    thresholds: Callable[[Ints], Floats],
    least: float,
) -> tuple[Taken, Floats]:
    """As `take`, for streams that have a baseline for each stratum: an outcome is compared with that of its stratum.

    This is `detectors.StratifiedMixture` with two differences. First, L for a rise is 1 + bet (x - p), with p of the
    outcome's own stratum, and one bet for all strata: d / (p (1 - p)) with the p of all strata together. Its mean is 1
    while nothing has changed, like that of the likelihood ratio, and it finds a rise in one stratum as well as a rise
    in all. Second, a run of c correct outcomes, c_s of each stratum s, multiplies R by the product of the L_s^c_s, in
    whatever order they came. What the run adds to R is computed with their geometric mean, which is exact where all are
    of one stratum. A stratum that had too few outcomes before the evaluation changes no R.

    Args:
        r: The R of each stream, shape (streams, 3).
        known: By stream and stratum a, b and the outcomes seen, as in `self_starting.ROW`, shape (streams, STRATA, 3).
        evaluations: The streams' evaluations; `error`, not `wrong`, shows where an error is taken.
        correct: Correct outcomes that each evaluation takes, by stratum, shape (n, STRATA).
        error: Stratum of the error that each evaluation takes, -1 for none, shape (n,).
        falls: As in `take`.
        thresholds: As in `take`.
        least: As in `take`.

    Returns:
        The streams after their evaluations, with their R as `rows`; and the new `known`.
    """
    rounds = _Rounds.made(evaluations.starts, evaluations.counts)
    streams = len(rounds.order)
    falling, temper = falls[rounds.order].take(rounds.of), evaluations.temper.take(rounds.evaluations)
    correct, error = correct.take(rounds.evaluations, axis=0), error.take(rounds.evaluations)
    wrong = error >= 0
    # Only strata that were ever seen: the others would change nothing, to the last bit.
    used = np.flatnonzero(
        known[:, :, 2].any(axis=0) | correct.any(axis=0) | (np.bincount(error[wrong], minlength=STRATA) > 0)
    )
    if not len(used):
        used = np.zeros(1, np.int64)
    passed, failed = correct[:, used].T.astype(np.float64), error == used[:, None]
    a0, b0, seen0 = known.take(rounds.order, axis=0)[:, used].transpose(2, 1, 0)

    # As in `take`, stratum by stratum.
    counted = rounds.along(np.add, seen0, passed + failed)
    seen, seen_after = (np.minimum(each, FREEZE_AFTER) for each in (rounds.before(counted), counted[:, streams:]))
    held = np.minimum(seen + passed, FREEZE_AFTER)
    learned = temper * learnable(seen, passed, np.minimum, np.maximum)
    grown = rounds.along(
        np.add, np.concatenate((a0, b0)), np.concatenate((temper * (failed & (held < FREEZE_AFTER)), learned))
    )
    before, after = rounds.before(grown), grown[:, streams:]
    (a, b), (a_after, b_after) = np.split(before, 2), np.split(after, 2)
    tests = seen >= warm_up(a / (a + b), np.maximum)

    middle = middle_rate(a, b, learned)
    bets = _bets(a, b, tests)[:, None]
    on_correct = np.where(falling, fall_on_correct(middle, _FALLS[:, None]), 1.0 - bets * middle)
    on_correct = np.where(tests, on_correct, 0.5)  # any value will do: its count is 0
    of_error = np.argmax(failed, axis=0)[None]
    p = np.take_along_axis(a / (a + b_after), of_error, axis=0)[0]
    on_error = np.where(falling, _FALLS, 1.0 + bets[:, 0] * (1.0 - p))
    (tempered,) = np.nonzero(temper != 1.0)
    for factors in (on_correct, on_error):
        factors[..., tempered] = np.float_power(factors.take(tempered, axis=-1), temper[tempered])
    counts = passed * tests
    total = counts.sum(axis=0)  # of whole numbers: the same in any order
    each_times, each_mean = (
        np.float_power(on_correct, counts),
        np.float_power(on_correct, counts / np.maximum(total, 1.0)),
    )
    times = mean = np.ones_like(on_error)
    for stratum in range(len(used)):
        times, mean = times * each_times[:, stratum], mean * each_mean[:, stratum]
    mean = np.where(total > 0, mean, 0.5)
    plus = run_adds(mean, times)
    judged = wrong & np.take_along_axis(tests, of_error, axis=0)[0]
    on_error = np.where(judged, on_error, 1.0)
    times, plus = times * on_error, (plus + judged) * on_error
    r_before = r.take(rounds.order, axis=0).T
    ends, last, taken, reached = _grow(rounds, evaluations.counts, r_before, times, plus, thresholds, least)
    moved, known, evaluated = np.empty_like(r), known.copy(), np.empty_like(taken)
    moved[rounds.order], evaluated[rounds.order] = ends, taken
    learned_now = np.stack((a_after, b_after, seen_after), axis=2).take(last, axis=1)
    known[rounds.order[:, None], used] = learned_now.transpose(1, 0, 2)
    return Taken(moved, evaluated, reached), known


def _bets(a: Floats, b: Floats, tests: Flags) -> Floats:
    """The bet on each rise, one for all strata, from what was known before the evaluation; shape (shifts, n).

    With one stratum, L is that of `take`.

    Args:
        a: Of each stratum's Beta baseline, shape (strata, n).
        b: The same.
        tests: Whether the stratum is tested, shape (strata, n).
    """
    pooled = np.full((2, tests.shape[1]), 1e-9)
    for stratum, is_tested in enumerate(tests):
        pooled += is_tested * np.stack((a[stratum], b[stratum]))
    usual = pooled[0] / (pooled[0] + pooled[1])
    bets = np.minimum(_SHIFTS, (1.0 - usual) / 2) / (usual * (1.0 - usual))
    least: Floats = np.minimum(bets, 0.5 / (tests * a / (a + b)).max(axis=0, initial=1e-9))
    return least


def take(
    rows: Floats,
    evaluations: Evaluations,
    target: Floats,
    falls: Flags,
    thresholds: Callable[[Ints], Floats],
    least: float,
) -> Taken:
    """Takes evaluations of streams of every kind together, so that the cost of numpy's calls is paid once.

    A rise above the stream's own baseline is evaluated as by `self_starting.advance`, a rise above a target as by
    `mixture.advance`, a fall as by `falling.advance`. (Below a threshold the R stay far from `R_MAX`.)

    Args:
        rows: `self_starting.ROW` of each stream, shape (streams, 6). With a target its first three are `mixture.ROW`,
            and the rest stays unchanged.
        evaluations: The streams' evaluations; where a rise is looked for, each is at an error.
        target: Error rate of each stream's target, NaN where it has its own baseline, shape (streams,).
        falls: Whether a fall is looked for, which is never so with a target, shape (streams,).
        thresholds: Gives the threshold of each of some evaluations.
        least: A lower bound of all thresholds; `thresholds` is called only for evaluations that reach it.
    """
    rounds = _Rounds.made(evaluations.starts, evaluations.counts)
    rows, target = rows.take(rounds.order, axis=0), target[rounds.order]
    is_own = np.isnan(target)
    own, p0, falling = is_own.take(rounds.of), target.take(rounds.of), falls[rounds.order].take(rounds.of)
    correct, wrong, temper = (column.take(rounds.evaluations) for column in evaluations[2:])

    # The baseline does not depend on the R, so it is worked out first. While it learns, it has seen all outcomes.
    taken_in = evaluations.correct + evaluations.wrong
    seen = np.cumsum(taken_in) - taken_in
    seen = seen.take(rounds.evaluations) - seen[evaluations.starts[rounds.order]].take(rounds.of)
    baseline = np.where(is_own, rows[:, :3].T, np.array([[1.0], [1.0], [FREEZE_AFTER]]))
    seen = baseline[2].take(rounds.of) + seen
    learned = temper * learnable(seen, correct, np.minimum, np.maximum)
    passed = np.minimum(seen + correct, FREEZE_AFTER)
    learns = wrong & (passed < FREEZE_AFTER)
    grown = rounds.along(np.add, baseline[:2], np.stack((temper * learns, learned)))
    (a, b), (a_after, b_after), seen_after = rounds.before(grown), grown[:, len(rows) :], passed + learns

    # A target counts as a baseline that is known.
    p = np.where(own, a / (a + b_after), p0)
    middle = np.where(own, middle_rate(a, b, learned), p0)
    risen = rise_on_correct(1.0 - middle, _SHIFTS, np.minimum)
    on_correct = np.where(falling, fall_on_correct(middle, _FALLS), risen)
    on_error = np.where(falling, _FALLS, rise_on_error(p, _SHIFTS, np.minimum))
    # `float_power` is the C library's, as is Python's own: numpy's `power` differs from it in the last bit on some
    # processors, and a stream's state must not depend on how the log is cut.
    (tempered,) = np.nonzero(temper != 1.0)
    for factors in (on_correct, on_error):
        factors[:, tempered] = np.float_power(factors.take(tempered, axis=1), temper[tempered])
    times = np.float_power(on_correct, correct)
    plus = run_adds(on_correct, times)
    on_error = np.where(wrong, on_error, 1.0)
    # No test before the baseline has learned from enough outcomes.
    tests = ~own | (seen_after >= warm_up(a_after / (a_after + b_after), np.maximum))
    times, plus = times * on_error * tests, (plus + wrong) * on_error * tests

    r, last, taken, reached = _grow(
        rounds, evaluations.counts, np.where(is_own, rows[:, 3:].T, rows[:, :3].T), times, plus, thresholds, least
    )
    rows[is_own, 0], rows[is_own, 1], rows[is_own, 2] = (
        column[last[is_own]] for column in (a_after, b_after, seen_after)
    )
    rows[is_own, 3:], rows[~is_own, :3] = r[is_own], r[~is_own]
    moved, evaluated = np.empty_like(rows), np.empty_like(taken)
    moved[rounds.order], evaluated[rounds.order] = rows, taken
    return Taken(moved, evaluated, reached)


def clusters(rows: Floats, evaluations: Evaluations) -> tuple[Floats, Floats]:
    """The same as `cluster.temper` before each evaluation, and `cluster.advance` at each error.

    Args:
        rows: `cluster.ROW` of each stream, and its correct outcomes since the last error, shape (streams, 7).
        evaluations: The streams' evaluations; their `temper` is not used.

    Returns:
        1 / design effect at each evaluation, shape (n,); and the rows after all evaluations.
    """
    streams = len(rows)
    group = np.repeat(np.arange(streams), evaluations.counts)
    taken = np.cumsum(evaluations.correct + evaluations.wrong)
    # Outcomes of the stream since its last error of earlier calls, each evaluation's own included.
    taken += (rows[:, 6].astype(np.int64) - np.append(0, taken)[evaluations.starts])[group]
    (errors,) = np.nonzero(evaluations.wrong)
    of, place = group[errors], taken[errors]
    many = np.bincount(of, minlength=streams)
    before = np.cumsum(many) - many

    # The positions of errors, old and new, on one line, on which each stream has a stretch of its own.
    parts = np.ascontiguousarray(rows[:, 3:6]).astype("<u8").view(np.uint8).reshape(-1, 8)[:, : cluster.PART // 8]
    old, back = divmod(np.flatnonzero(np.unpackbits(parts, bitorder="little")), cluster.REACH)
    room = int(taken.max(initial=0)) + 2 * cluster.REACH
    ahead = cluster.REACH
    new = of * room + ahead + place
    line = np.sort(np.concatenate((old * room + ahead - back, new)))
    here = np.searchsorted(line, new)
    near = here - np.searchsorted(line, new - cluster.NEAR)
    both = here - np.searchsorted(line, new - cluster.REACH)
    contrast = (cluster.FAR // cluster.NEAR + 1) * near - both

    # All are whole numbers, so that their sums are exact in any order.
    near_less_far = np.where(rows[:, 0].take(of) + place > cluster.REACH, contrast, 0)
    near_less_far = np.append(0, np.cumsum(near_less_far))
    known, first = rows[:, :3].T, before.take(of)
    near_less_far = near_less_far[1:] - near_less_far.take(first)
    sums = np.stack((place, np.arange(1, len(place) + 1) - first, near_less_far)) + known.take(of, axis=1)
    # First by stream as it was before, then by error.
    tempers = 1.0 / cluster.design_effects(*np.concatenate((known, sums), axis=1))

    after = rows.copy()
    found = many > 0
    after[found, :3] = sums.take((before + many - 1)[found], axis=1).T
    newest = np.zeros(streams, np.int64)
    newest[of] = place
    after[:, 6] = taken[evaluations.starts + evaluations.counts - 1] - newest
    stream, at = line // room, line % room - ahead
    distance = newest[stream] - at
    kept = (distance >= 0) & (distance < cluster.REACH)
    stream, distance = stream[kept], distance[kept]
    bits = np.ldexp(1.0, distance % cluster.PART)
    part = stream * 3 + distance // cluster.PART
    after[:, 3:6] = np.bincount(part, weights=bits, minlength=3 * streams).reshape(streams, 3)
    for full in np.flatnonzero(after[:, 0] >= cluster.MEMORY).tolist():
        # Counts are halved at one of the errors, once in 20,000 outcomes: these streams are done one by one.
        row, last = rows[full, :6].tolist(), 0
        for error in range(int(before[full]), int(before[full] + many[full])):
            cluster.advance(row, int(place[error]) - last - 1)
            last = int(place[error])
            tempers[streams + error] = cluster.temper(row)
        after[full, :6] = row
    earlier: Ints = np.cumsum(evaluations.wrong) - evaluations.wrong
    is_first = earlier == earlier[evaluations.starts].take(group)
    return tempers.take(np.where(is_first, group, streams + earlier - 1)), after
