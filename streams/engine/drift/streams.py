"""Every watched stream of outcomes as a row of columns: a correct one only counts, an error costs an evaluation."""

import heapq
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors import cluster, falling, mixture, rounds, self_starting
from detectors.arrays import Flags, Ints
from detectors.budget import ADAPTION, DAYS_A_MONTH, adapted
from detectors.rounds import STRATA
from streams.engine.drift.recent import Groups, begins, lengths
from streams.engine.panes import Slot

MONTH_SECONDS = DAYS_A_MONTH * 86_400
HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
_DAY_MS = DAY_SECONDS * 1000
#: A stream without an outcome for so long draws on no budget, and its place may be taken.
IDLE_SECONDS = 30 * DAY_SECONDS
#: Days over which a change of a stream's daily volume is followed.
_DAYS = 3.0
#: After so long a person's stream is forgotten.
FORGET_SECONDS = 90 * DAY_SECONDS
#: No promise shorter than this many outcomes: evidence against a stream of a few reviews would mean nothing.
LEAST_RUN_LENGTH = 1_000.0
#: Streams of a partition; beyond them people are not watched, and `labelwatch_unwatched_streams` says so.
STREAMS_MAX = 500_000
#: Newest errors of a stream that are remembered, for the estimate of when a change began.
PAST = 32
_BLOCK = 32
_ROW, _COUNT, _GAP = struct.Struct("<6d"), struct.Struct("<I"), struct.Struct("<H")

#: What a stream keeps, beside its errors. Times in epoch seconds; `row` is the detector's own.
_CORE = np.dtype(
    [
        ("row", "<f8", 6),
        ("volume", "<f8"),
        ("daily", "<f8"),
        ("since", "<u4"),
        ("taken", "<u4"),
        ("today", "<u4"),
        ("last_s", "<u4"),
        ("period_s", "<u4"),
        ("period_taken", "<u4"),
    ]
)
_PAST = np.dtype([("errors", "<u4"), ("at_s", "<u4", PAST), ("gaps", "<u2", PAST)])
#: What a stream keeps whose work is of several strata: whose it is, what `rounds.take_strata` knows of each, correct
#: outcomes of each since the last evaluation, and outcomes of today, half of those of yesterday, a quarter ...
_STRATA = np.dtype(
    [
        ("stream", "<u4"),
        ("known", "<f8", (STRATA, 3)),
        ("since", "<u4", STRATA),
        ("recent", "<u4", STRATA),
    ]
)
#: Stands for no stream.
_NOBODY = 0xFFFFFFFF
_CORE_BYTES, _PAST_BYTES = _CORE.itemsize, _PAST.itemsize
_BLANK, _BLANK_PAST = struct.Struct(f"{_CORE_BYTES}x"), struct.Struct(f"{_PAST_BYTES}x")
#: Where the times and the gaps stand in it.
_AT, _GAPS = 4, 4 + 4 * PAST


class Stream(NamedTuple):
    """What a stream watches.

    Attributes:
        site, project, agent: Whose outcomes; empty where it spans all.
        signal: One of `schemas.drift.SIGNALS`.
        direction: `down` for accuracy; for errors found `up` or `down`.
    """

    site: str
    project: str
    agent: str
    signal: str
    direction: str


class Plan(NamedTuple):
    """What a budget gives a stream.

    Attributes:
        stream: Which.
        a_month: Its volume, outcomes a month.
        run_length: Outcomes on average to a false alarm.
        error_rate: What it is held to, 0 to 1.
        design_effect: Of its errors; 1 where they come one by one, or where they are too few to tell.
    """

    stream: Stream
    a_month: float
    run_length: float
    error_rate: float
    design_effect: float


def watches_fall(stream: Stream) -> bool:
    """Whether a fall of the error rate is what counts as the change."""
    return stream.signal == "error_finding" and stream.direction == "down"


class DueEvaluations(NamedTuple):
    """Where streams are evaluated, stream by stream, in order: parallel columns of shape (n,).

    Attributes:
        stream: Number of the stream.
        correct: Correct outcomes of the stream since its evaluation before.
        wrong: Whether it is an error; where a fall is looked for, it may be one more correct outcome.
        position: Of the outcome within the call.
        at_s: Its time, epoch seconds.
        later: Outcomes of the stream that come after it in the call.
        passed: Correct outcomes that it takes, its own included, by stratum, shape (n, STRATA); only counts for streams
            that are held to their strata. None where no stream is.
        failed: Stratum of its error, -1 for none; as `passed`.
    """

    stream: Ints
    correct: Ints
    wrong: Flags
    position: Ints
    at_s: Ints
    later: Ints
    passed: Ints | None = None
    failed: Ints | None = None

    def of(self, chosen: Flags) -> "DueEvaluations":
        """Some of them, told by a flag each."""
        return DueEvaluations(
            self.stream[chosen],
            self.correct[chosen],
            self.wrong[chosen],
            self.position[chosen],
            self.at_s[chosen],
            self.later[chosen],
            None if self.passed is None else self.passed[chosen],
            None if self.failed is None else self.failed[chosen],
        )


class Crossing(NamedTuple):
    """A stream whose statistic has reached its threshold.

    Attributes:
        stream: Number of the stream.
        position: Of the outcome within the call.
        statistic: Mean of the R.
        run_length: The threshold.
        volume: Outcomes of the stream a month.
    """

    stream: int
    position: int
    statistic: float
    run_length: float
    volume: float


def _mixed(known: NDArray[np.float64], weights: NDArray[np.number]) -> NDArray[np.float64]:
    """Error rates of mixes of strata: those that have been seen, by weights; shapes (..., STRATA, 3), (..., STRATA)."""
    a, b, seen = np.moveaxis(known, -1, 0)
    weights = np.where(seen > 0, weights, 0)
    weights = np.where(weights.any(axis=-1, keepdims=True), weights, np.maximum(seen, 1e-9))
    rates: NDArray[np.float64] = (weights * a / (a + b)).sum(axis=-1) / weights.sum(axis=-1)
    return rates


def _strata_blocks(prefix: bytes, slots: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, NDArray[np.void]]]:
    """The blocks of streams' strata that a checkpoint has, in their order: key and rows of `_STRATA`."""
    number = 0
    while (rows := slots.get(key := b"%s|strata|%d" % (prefix, number))) is not None:
        yield key, np.frombuffer(rows, _STRATA)
        number += 1


def without_strata(prefix: bytes, slots: Mapping[bytes, bytes]) -> Iterator[Slot]:
    """What to change in a checkpoint for a build whose streams have one baseline each: that of their work of today.

    Args:
        prefix: Of the streams' slots' keys.
        slots: Of the checkpoint, by key.
    """
    blocks = dict(_strata_blocks(prefix, slots))
    if not blocks:
        return
    yield from ((key, None) for key in blocks)
    strata = np.concatenate(list(blocks.values()))
    strata = strata[strata["stream"] != _NOBODY]
    known, (a, b, _) = strata["known"], self_starting.fresh()[:3]
    rate = _mixed(known, strata["recent"])
    learned = (known[:, :, :2] - (a, b)).sum(axis=(1, 2)) + a + b
    seen = np.minimum(known[:, :, 2].sum(axis=1), self_starting.FREEZE_AFTER)
    baselines = np.stack((rate * learned, (1.0 - rate) * learned, seen), axis=1)
    order = np.argsort(strata["stream"])
    streams, baselines = strata["stream"][order].astype(np.int64), baselines[order]
    starts = begins(streams // _BLOCK)
    for start, count in zip(starts.tolist(), lengths(starts, len(streams)).tolist(), strict=True):
        key, here = b"%s|core|%d" % (prefix, streams[start] // _BLOCK), slice(start, start + count)
        core = np.frombuffer(slots[key], _CORE).copy()
        core["row"][streams[here] % _BLOCK, :3] = baselines[here]
        yield key, core.tobytes()


def first_places(numbers: Ints, places: Ints) -> list[int]:
    """Of places, in order, those at which a number stands for the first time among them."""
    if not len(places):
        return []
    _, first = np.unique(numbers[places], return_index=True)
    return places[np.sort(first)].tolist()  # type: ignore[no-any-return]  # of whole numbers


def stretches(at_ms: Ints, day: int) -> list[tuple[int, int, int]]:
    """Cuts a log where it comes to a new day, and days do not go back.

    Args:
        at_ms: Times in the order of the log, epoch ms, shape (n,).
        day: The newest day before it.

    Returns:
        Begin, end and day of each stretch; they make up the log, and none is empty.
    """
    if not len(at_ms):
        return []
    if at_ms.max() < (day + 1) * _DAY_MS:
        return [(0, len(at_ms), day)]
    days = np.maximum.accumulate(np.maximum(at_ms // _DAY_MS, day))
    cuts = [0, *(np.flatnonzero(days[1:] > days[:-1]) + 1).tolist()]
    return list(zip(cuts, [*cuts[1:], len(days)], days[cuts].tolist(), strict=True))


class Call(NamedTuple):
    """Outcomes in the order of the log, stream by stream: one review is an outcome of several streams.

    Attributes:
        positions: Place in the log of each review, rising, shape (reviews,).
        at_s: Its time, epoch seconds, shape (reviews,).
        order: Of each outcome the review, stream by stream, shape (n,).
        starts, counts, touched: By stream where its outcomes begin in `order`, how many, and its number, (streams,).
        rising: How many streams, the first ones, are watched for a rise; the others are for a fall.
        strata: Of each review its stratum, from 0 on and below `STRATA`, shape (reviews,), -1 where its site has shown
            only one, and streams are not held to strata; None where no site has shown more.
    """

    positions: Ints
    at_s: Ints
    order: Ints
    starts: Ints
    counts: Ints
    touched: Ints
    rising: int
    strata: Ints | None = None

    @classmethod
    def of(
        cls,
        positions: Ints,
        at_s: Ints,
        rising: Sequence[tuple[Groups, Ints]],
        falling: Sequence[tuple[Groups, Ints]] = (),
        strata: Ints | None = None,
    ) -> "Call":
        """Outcomes of reviews that are put together, with the stream of each group, -1 where there is none."""
        named = [
            (groups, streams) if (has := streams >= 0).all() else (groups.only(has), streams[has])
            for groups, streams in (*rising, *falling)
        ]
        order = np.concatenate([groups.order for groups, _ in named])
        counts = np.concatenate([groups.counts for groups, _ in named])
        touched = np.concatenate([streams for _, streams in named])
        risings = sum(len(streams) for _, streams in named[: len(rising)])
        return cls(positions, at_s, order, np.cumsum(counts) - counts, counts, touched, risings, strata)

    def of_stream(self, stream: int, after: int) -> Ints:
        """The reviews after a position that are outcomes of a stream, in the order of the log."""
        place = int(np.flatnonzero(self.touched == stream)[0])
        mine = self.order[self.starts[place] : self.starts[place] + self.counts[place]]
        return mine[self.positions[mine] > after]


class Streams:
    """Streams of outcomes against their own baseline or a target, with their volumes and thresholds.

    The budget of a partition is its share of the policy's: N / partitions. Every partition shares its
    part among its own streams (A = v S / N), so that the sum over partitions never exceeds N, however
    the sites are spread. What is decided depends on the stream's own outcomes, counts and times, never
    on how the log was cut into batches.

    Args:
        false_a_month: Budget name to false alarms a month allowed in this partition.
        budget_of: Signal to the budget that it draws on.
        target_error: Error rate that a stream is held to; None for one that is held to its own baseline.
    """

    def __init__(
        self,
        false_a_month: Mapping[str, float],
        budget_of: Mapping[str, str],
        target_error: Callable[[Stream], float | None],
    ) -> None:
        self.keys: list[Stream | None] = []
        #: Streams that could not be watched for want of room.
        self.unwatched = 0
        self._numbers: dict[Stream, int] = {}
        self._of_sites: list[tuple[int, Stream]] = []
        self._free: list[int] = []
        self._false_a_month = np.array(list(false_a_month.values()), np.float64)
        budgets = list(false_a_month)
        self._budget_of = {signal: budgets.index(budget) for signal, budget in budget_of.items()}
        self._target_error = target_error
        self._targets: list[float | None] = []
        self._core = np.zeros(0, _CORE)
        self._past = np.zeros(0, _PAST)
        self._budget = np.zeros(0, np.int64)
        #: The targets as a column; NaN where there is none.
        self._target = np.zeros(0, np.float64)
        #: Whether a fall is looked for.
        self._falls = np.zeros(0, bool)
        #: The columns as bytes: one field of one stream is read and written many times faster this way.
        self._rows = self._history = memoryview(b"")
        #: Streams that share each budget: those with an outcome within 30 days.
        self._sharing = np.zeros(len(budgets), np.int64)
        self._shares = np.zeros(0, bool)
        #: By budget, where in the last call streams began to share it.
        self._born: list[Ints] = []
        #: Of streams of sites and projects, which see many people's errors come in runs: the cluster effect's row, with
        #: the correct outcomes since the last error after it, and by stream where it stands, -1 for a person's own
        #: stream, which has too few reviews to tell.
        self._clusters = np.zeros((0, len(cluster.ROW) + 1), np.float64)
        self._cluster_of = np.zeros(0, np.int64)
        #: Of streams that are held to their strata, and by stream where it stands, -1 for one that is not.
        self._strata = np.zeros(0, _STRATA)
        self._strata_of = np.zeros(0, np.int64)
        self._strata_count = 0
        self._strata_free: list[int] = []
        self._changed: dict[str, set[int]] = {"keys": set(), "core": set(), "past": set(), "strata": set()}
        self._past_changed = self._changed["past"]

    def number(self, stream: Stream) -> int:
        """The number of a stream, a new one if it has none; -1 where there is no room left."""
        found = self._numbers.get(stream)
        if found is not None:
            return found
        if self._free:
            number = heapq.heappop(self._free)
        elif len(self.keys) < STREAMS_MAX:
            number = len(self.keys)
            self.keys.append(None)
            self._targets.append(None)
            if number >= len(self._core):
                self._grow(max(number // _BLOCK + 1, number * 3 // 2 // _BLOCK) * _BLOCK)
        else:
            self.unwatched += 1
            return -1
        self._assign(number, stream)
        _BLANK.pack_into(self._rows, number * _CORE_BYTES)
        _BLANK_PAST.pack_into(self._history, number * _PAST_BYTES)
        if self._targets[number] is None:
            _ROW.pack_into(self._rows, number * _CORE_BYTES, *self_starting.fresh())
        self._mark("keys", number)
        self._mark("core", number)
        return number

    def copy(self, stream: int, other: int, restart: bool) -> None:
        """Gives a stream all that another one knows, whose outcomes were its own so far.

        Args:
            stream: Number of the new one.
            other: Number of the one that knows.
            restart: Whether a drift is open there: the new one then starts its test afresh.
        """
        self._core[stream], self._past[stream] = self._core[other], self._past[other]
        if self._cluster_of[stream] >= 0 <= self._cluster_of[other]:
            self._clusters[self._cluster_of[stream]] = self._clusters[self._cluster_of[other]]
        if self._strata_of[other] >= 0:
            if self._strata_of[stream] < 0:
                self._add_strata(np.array([stream]))
            for column in ("known", "since", "recent"):
                self._strata[column][self._strata_of[stream]] = self._strata[column][self._strata_of[other]]
        if self._shares[other] and not self._shares[stream]:
            self._shares[stream] = True
            self._sharing[self._budget[stream]] += 1
        self._mark("core", stream)
        self._mark("past", stream)
        if restart:
            self.restart(stream)

    def find(self, stream: Stream) -> int | None:
        """The number of a stream, if it is known."""
        return self._numbers.get(stream)

    def _assign(self, number: int, stream: Stream) -> None:
        self.keys[number] = stream
        self._numbers[stream] = number
        target = self._targets[number] = self._target_error(stream)
        self._target[number] = np.nan if target is None else target
        self._falls[number] = watches_fall(stream)
        self._budget[number] = self._budget_of[stream.signal]
        if not stream.agent:
            self._cluster_of[number] = len(self._of_sites)
            self._of_sites.append((number, stream))
            if len(self._of_sites) > len(self._clusters):
                more = np.zeros((len(self._of_sites), self._clusters.shape[1]), np.float64)
                self._clusters = np.concatenate((self._clusters, more))

    def _grow(self, capacity: int) -> None:
        for name in ("_core", "_past", "_budget", "_target", "_falls", "_shares"):
            old = getattr(self, name)
            grown = np.zeros(capacity, old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)
        persons = np.full(capacity - len(self._cluster_of), -1, np.int64)
        self._cluster_of = np.concatenate((self._cluster_of, persons))
        self._strata_of = np.concatenate((self._strata_of, persons))
        self._rows, self._history = self._core.view(np.uint8).data, self._past.view(np.uint8).data

    def _mark(self, kind: str, number: int) -> None:
        self._changed[kind].add(number // _BLOCK)

    # --- outcomes

    def take(self, call: Call, wrong: Flags) -> DueEvaluations:
        """Counts outcomes, and finds where an evaluation is due.

        Args:
            call: The outcomes.
            wrong: Whether a review found an error, shape (reviews,).

        Returns:
            Errors; and for a fall, where correct outcomes since the last error reach a multiple of `EVALUATE_EVERY`.
            They are for `evaluate`.
        """
        self.count(call)
        _, _, order, starts, counts, touched, rising, _ = call
        stratified = self._begin_strata(call)
        bad = wrong.take(order)
        cut = int(counts[:rising].sum())
        of, correct, places = self._due_for_rises(starts[:rising], counts[:rising], touched[:rising], bad[:cut])
        of_falls, correct_of_falls, places_of_falls = self._due_for_falls(
            starts[rising:] - cut, counts[rising:], touched[rising:], bad[cut:]
        )
        of = np.concatenate((of, of_falls + rising))
        places = np.concatenate((places, places_of_falls + cut))
        here = order.take(places)
        passed, failed = (None, None) if stratified is None else self._by_stratum(call, stratified, bad, of, places)
        return DueEvaluations(
            touched.take(of),
            np.concatenate((correct, correct_of_falls)),
            bad.take(places),
            call.positions.take(here),
            call.at_s.take(here),
            (starts + counts - 1).take(of) - places,
            passed,
            failed,
        )

    def _begin_strata(self, call: Call) -> Flags | None:
        """Which streams of a call are held to their strata: those against their own past; new ones among them begin.

        What such a stream has learned so far is of the first stratum, the only one of its site until now.
        """
        if call.strata is None:
            return None
        touched = call.touched
        mine = (call.strata.take(call.order.take(call.starts)) >= 0) & np.isnan(self._target[touched])
        if not mine.any():
            return None
        (new,) = np.nonzero(mine & (self._strata_of[touched] < 0))
        if len(new):
            # In the order of the log, so that a checkpoint does not depend on how it is cut.
            new = new[np.lexsort((touched[new], call.order.take(call.starts[new])))]
            streams = touched[new]
            self._add_strata(streams)
            rows, core = self._strata_of[streams], self._core
            self._strata["known"][rows, 0] = core["row"][streams, :3]
            self._strata["since"][rows, 0] = core["since"][streams]
            # `take` has counted this call's outcomes of today already.
            self._strata["recent"][rows, 0] = core["today"][streams] - call.counts[new] + core["daily"][streams] // 1
        return mine

    def _add_strata(self, streams: Ints) -> None:
        """Gives streams that have none room for their strata, blank."""
        free = [heapq.heappop(self._strata_free) for _ in range(min(len(streams), len(self._strata_free)))]
        end = self._strata_count + len(streams) - len(free)
        rows = np.array([*free, *range(self._strata_count, end)], np.int64)
        self._strata_count = end
        if end > len(self._strata):
            grown = np.zeros(max(-(-end // _BLOCK), end * 3 // 2 // _BLOCK) * _BLOCK, _STRATA)
            grown["stream"] = _NOBODY
            grown[: len(self._strata)] = self._strata
            self._strata = grown
        self._strata_of[streams] = rows
        blank = np.zeros(1, _STRATA)
        blank["known"] = self_starting.fresh()[:3]
        self._strata[rows] = blank
        self._strata["stream"][rows] = streams
        self._changed["strata"].update((rows // _BLOCK).tolist())

    def _by_stratum(self, call: Call, stratified: Flags, bad: Flags, of: Ints, places: Ints) -> tuple[Ints, Ints]:
        """Counts outcomes by stratum between evaluations; returns `DueEvaluations.passed` and `DueEvaluations.failed`.

        Args:
            call: The outcomes.
            stratified: By stream, whether it is held to its strata.
            bad: Of each outcome whether it is an error.
            of: Of each evaluation the stream's place in the call.
            places: Of each evaluation the outcome's place in the call.
        """
        assert call.strata is not None  # some streams are stratified
        stratum = np.maximum(call.strata, 0).take(call.order)
        # A stretch of outcomes goes up to an evaluation; one more goes from a stream's last evaluation to its end.
        is_evaluation = np.zeros(len(stratum), np.int64)
        is_evaluation[places] = 1
        evaluations = np.cumsum(is_evaluation)
        streams = np.arange(len(call.touched))
        lasts = evaluations.take(call.starts + call.counts - 1) + streams
        firsts = np.append(0, lasts + 1)[:-1]
        stretch = evaluations - is_evaluation + np.repeat(streams, call.counts)

        def counted(group: Ints, strata: Ints, groups: int) -> Ints:
            return np.bincount(group * STRATA + strata, minlength=groups * STRATA).reshape(groups, STRATA)

        right = ~bad
        passed = counted(stretch[right], stratum[right], len(places) + len(streams))
        failed = np.where(bad.take(places), stratum.take(places), -1)
        came = np.add.reduceat(passed, firsts, axis=0)
        came += counted(of[failed >= 0], failed[failed >= 0], len(streams))
        rows = self._strata_of[call.touched[stratified]]
        passed[firsts[stratified]] += self._strata["since"][rows]
        self._strata["since"][rows] = passed[lasts[stratified]]
        self._strata["recent"][rows] += came[stratified].astype(np.uint32)
        self._changed["strata"].update((rows // _BLOCK).tolist())
        return np.delete(passed, lasts, axis=0), failed

    def _due_for_rises(self, starts: Ints, counts: Ints, touched: Ints, bad: Flags) -> tuple[Ints, Ints, Ints]:
        """Errors: of each the stream, the correct outcomes before it, and its place."""
        errors = np.flatnonzero(bad)
        of = np.searchsorted(starts, errors, side="right") - 1
        rank = errors - starts[of]
        again = np.zeros(len(errors), bool)
        again[1:] = of[1:] == of[:-1]
        since = self._core["since"][touched].astype(np.int64)
        gaps = rank + since[of]
        gaps[1:] = np.where(again[1:], errors[1:] - errors[:-1] - 1, gaps[1:])
        since += counts
        if len(errors):
            last = np.ones(len(errors), bool)
            last[:-1] = ~again[1:]
            since[of[last]] = counts[of[last]] - rank[last] - 1
        self._core["since"][touched] = since
        return of, gaps, errors

    def _due_for_falls(self, starts: Ints, counts: Ints, touched: Ints, bad: Flags) -> tuple[Ints, Ints, Ints]:
        """Evaluations for a fall: of each the stream, the correct outcomes since the one before it, and its place."""
        place = np.arange(len(bad))
        group = np.repeat(np.arange(len(touched)), counts)
        # Correct outcomes since the error before or, where none is here, since the last evaluation.
        last = np.maximum.accumulate(np.where(bad, place + 1, 0))
        earlier = np.zeros(len(bad), np.int64)
        earlier[1:] = last[:-1]
        begun = starts.take(group)
        pending = self._core["since"][touched].astype(np.int64).take(group)
        since = place - np.where(earlier <= begun, begun - pending, earlier)
        due = bad | ((since + 1) % falling.EVALUATE_EVERY == 0)
        ends = starts + counts - 1
        self._core["since"][touched] = np.where(bad[ends], 0, (since[ends] + 1) % falling.EVALUATE_EVERY)
        (evaluations,) = np.nonzero(due)
        return group.take(evaluations), since.take(evaluations) % falling.EVALUATE_EVERY, evaluations

    def count(self, call: Call) -> None:
        """Moves counts and times of every stream touched past the call."""
        touched, starts = call.touched, call.starts
        at = call.at_s.take(call.order)
        core = self._core
        # A stream begins its month of volume with an outcome: its first, or the first after it was idle.
        new = core["period_taken"][touched] == 0
        if new.any():
            core["period_s"][touched[new]] = at[starts[new]]
        counts = call.counts.astype(np.uint32)
        for column in ("taken", "today", "period_taken"):
            core[column][touched] += counts
        if len(touched):
            core["last_s"][touched] = np.maximum(core["last_s"][touched], np.maximum.reduceat(at, starts))
        self._changed["core"].update((touched // _BLOCK).tolist())

    def begin(self, call: Call, day_s: int) -> None:
        """Says which streams have outcomes in the call that follows: new ones share the budget from their first on.

        An outcome from before the 30 days that count lets none share, as in `_recount`: else a restart would count
        otherwise.
        """
        self._born = []
        if self._shares[call.touched].all():
            return
        ids = np.repeat(call.touched, call.counts)
        positions, at_s = call.positions.take(call.order), call.at_s.take(call.order)
        fresh = ~self._shares[ids] & (at_s >= day_s - IDLE_SECONDS)
        begins = np.unique(ids[fresh])
        at = np.full(len(begins), np.iinfo(np.int64).max)
        if len(begins):
            np.minimum.at(at, np.searchsorted(begins, ids[fresh]), positions[fresh])
        budget = self._budget[begins]
        self._shares[begins] = True
        self._born = [np.sort(at[budget == each]) for each in range(len(self._sharing))]
        self._sharing += [len(each) for each in self._born]

    def run_length(self, stream: int, later: int, at_s: int, position: int) -> float:
        """A of a stream as known at a place of the last call, after which `later` outcomes of it came."""
        return float(self.run_lengths(np.array([stream]), np.array([later]), np.array([at_s]), np.array([position]))[0])

    def volume(self, stream: int, later: int, at_s: int) -> float:
        """Outcomes of a stream a month, as `run_length` takes them."""
        (scale,) = self._scale(np.array([stream]), np.array([later]), np.array([at_s]))
        return float(scale * self._false_a_month[self._budget[stream]])

    def run_lengths(self, number: Ints, later: Ints, at_s: Ints, position: Ints) -> NDArray[np.float64]:
        """A = v S / N at places of the last call: what came later in it is not counted yet."""
        budget = self._budget[number]
        sharing = self._sharing[budget].astype(np.float64)
        for each, begun in enumerate(self._born):
            if len(begun):
                sharing -= np.where(budget == each, len(begun) - np.searchsorted(begun, position, side="right"), 0)
        return np.maximum(self._scale(number, later, at_s) * sharing, LEAST_RUN_LENGTH)

    def _scale(self, number: Ints, later: Ints, at_s: Ints) -> NDArray[np.float64]:
        """Volume over budget, v / N: the stream's volume a month over the budget of its kind.

        The volume of a month, or what there is of it, moves by a quarter a month; a rise within days
        counts at once, since it would cost false alarms, and a fall does not, since it only costs delay.
        """
        core = self._core
        elapsed = np.maximum(at_s - core["period_s"][number].astype(np.int64), HOUR_SECONDS)
        seen = (core["period_taken"][number].astype(np.int64) - later) * (MONTH_SECONDS / elapsed)
        known, daily = core["volume"][number], core["daily"][number]
        slow = known + ADAPTION * np.minimum(elapsed / MONTH_SECONDS, 1.0) * (seen - known)
        today = core["today"][number].astype(np.int64) - later
        of_days = (daily + np.maximum(today - daily, 0.0) / _DAYS) * DAYS_A_MONTH
        volume: NDArray[np.float64] = np.maximum(np.where(known > 0, slow, seen), of_days)
        return np.maximum(volume, 1.0) / self._false_a_month[self._budget[number]]

    def advance(self, stream: int, gap: int, at_s: int, passed: Sequence[int] = (), failed: int = -1) -> float:
        """Takes an error after `gap` correct outcomes; returns the mean of the R_d.

        Args:
            stream: Its number.
            gap: Correct outcomes.
            at_s: When, epoch seconds.
            passed: These by stratum, where it is held to its strata.
            failed: Stratum of the error, where it is.
        """
        row = list(_ROW.unpack_from(self._rows, stream * _CORE_BYTES))
        temper = self.temper(stream)
        target = self._targets[stream]
        if self._strata_of[stream] >= 0:
            statistic = self._take_one(stream, passed, failed)
        else:
            if target is None:
                statistic = self_starting.advance(row, gap, temper)
            else:
                statistic = mixture.advance(row, gap, target, temper)
            _ROW.pack_into(self._rows, stream * _CORE_BYTES, *row)
        self._cluster(stream, gap)
        start = stream * _PAST_BYTES
        (errors,) = _COUNT.unpack_from(self._history, start)
        place = errors % PAST
        _COUNT.pack_into(self._history, start, errors + 1)
        _COUNT.pack_into(self._history, start + _AT + 4 * place, at_s)
        _GAP.pack_into(self._history, start + _GAPS + 2 * place, gap if gap < 0xFFFF else 0xFFFF)
        self._past_changed.add(stream // _BLOCK)
        return statistic

    def evaluate(self, evaluations: DueEvaluations) -> list[Crossing]:
        """Takes the evaluations of a call, each stream's up to the one at which it reaches its threshold.

        The same as `advance`, or `fall`, evaluation by evaluation.

        Args:
            evaluations: As of `take`.

        Returns:
            Streams that reach it.
        """
        if not len(evaluations.stream):
            return []
        starts = begins(evaluations.stream)
        counts = lengths(starts, len(evaluations.stream))
        streams = evaluations.stream[starts]
        tempers = np.ones(len(evaluations.stream))
        correct = evaluations.correct + ~evaluations.wrong
        of_all = rounds.Evaluations(starts, counts, correct, evaluations.wrong, tempers)
        of_cluster = self._cluster_of[streams]
        clustered = of_cluster >= 0
        before = self._clusters[of_cluster[clustered]]
        if len(before):
            found, self._clusters[of_cluster[clustered]] = rounds.clusters(before, of_all.of(clustered))
            tempers[np.repeat(clustered, counts)] = found
        falls = self._falls[streams]
        where = evaluations.stream, evaluations.later, evaluations.at_s, evaluations.position

        def thresholds(places: Ints) -> NDArray[np.float64]:
            return self.run_lengths(*(column.take(places) for column in where))

        stratified = self._strata_of[streams] >= 0
        if evaluations.passed is None or not stratified.any():
            taken = rounds.take(
                self._core["row"][streams], of_all, self._target[streams], falls, thresholds, LEAST_RUN_LENGTH
            )
            self._core["row"][streams] = taken.rows
        else:
            taken = self._take_strata(evaluations, of_all, streams, stratified, thresholds)
        crossings = []
        for place, statistic in taken.reached:
            stream, last = int(streams[place]), int(starts[place] + taken.evaluations[place]) - 1
            if clustered[place]:
                mine = np.count_nonzero(clustered[:place])
                evaluated = of_all.first(place, int(taken.evaluations[place]))
                _, self._clusters[of_cluster[place]] = rounds.clusters(before[mine : mine + 1], evaluated)
            position = int(evaluations.position[last])
            later, at_s = int(evaluations.later[last]), int(evaluations.at_s[last])
            run_length, volume = self.run_length(stream, later, at_s, position), self.volume(stream, later, at_s)
            crossings.append(Crossing(stream, position, statistic, run_length, volume))
        self._remember(streams, starts, counts, np.where(falls, 0, taken.evaluations), evaluations)
        return crossings

    def _take_strata(
        self,
        evaluations: DueEvaluations,
        of_all: rounds.Evaluations,
        streams: Ints,
        stratified: Flags,
        thresholds: Callable[[Ints], NDArray[np.float64]],
    ) -> rounds.Taken:
        """Takes evaluations of streams of which some are held to their strata."""
        core, falls = self._core["row"], self._falls[streams]
        counts, reached = of_all.counts.copy(), []
        for chosen in (~stratified, stratified):
            if not chosen.any():
                continue
            here = streams[chosen]
            (places,) = np.nonzero(np.repeat(chosen, of_all.counts))

            def of_chosen(some: Ints, places: Ints = places) -> NDArray[np.float64]:
                return thresholds(places.take(some))

            if chosen is stratified:
                assert evaluations.passed is not None  # both are, where a stream is stratified
                assert evaluations.failed is not None
                rows = self._strata_of[here]
                taken, self._strata["known"][rows] = rounds.take_strata(
                    core[here, 3:],
                    self._strata["known"][rows],
                    of_all.of(chosen),
                    evaluations.passed[places],
                    evaluations.failed[places],
                    falls[chosen],
                    of_chosen,
                    LEAST_RUN_LENGTH,
                )
                core[here, 3:] = taken.rows
                self._changed["strata"].update((rows // _BLOCK).tolist())
            else:
                taken = rounds.take(
                    core[here], of_all.of(chosen), self._target[here], falls[chosen], of_chosen, LEAST_RUN_LENGTH
                )
                core[here] = taken.rows
            counts[chosen] = taken.evaluations
            of = np.flatnonzero(chosen)
            reached += [(int(of[place]), statistic) for place, statistic in taken.reached]
        return rounds.Taken(core[streams], counts, sorted(reached))

    def _take_one(self, stream: int, passed: Sequence[int], failed: int) -> float:
        """Takes one evaluation of a stream that is held to its strata; returns the mean of the R."""
        row = self._strata_of[stream : stream + 1]
        r, known, (statistic,) = self._one_evaluation_each(np.array([stream]), np.array([passed]), np.array([failed]))
        self._core["row"][stream, 3:], self._strata["known"][row] = r[0], known
        self._changed["strata"].add(int(row[0]) // _BLOCK)
        return float(statistic)

    def _one_evaluation_each(
        self, streams: Ints, passed: Ints, failed: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """What one evaluation of each stream with strata would make of its R and strata, and the means."""
        n = len(streams)
        tempers = np.array([self.temper(stream) for stream in streams.tolist()])
        evaluations = rounds.Evaluations(np.arange(n), np.ones(n, np.int64), passed.sum(axis=1), failed >= 0, tempers)
        taken, known = rounds.take_strata(
            self._core["row"][streams, 3:],
            self._strata["known"][self._strata_of[streams]],
            evaluations,
            passed,
            failed,
            self._falls[streams],
            lambda places: np.full(len(places), np.inf),
            np.inf,
        )
        r = taken.rows
        return r, known, (r[:, 0] + r[:, 1] + r[:, 2]) / 3.0

    def _remember(self, streams: Ints, starts: Ints, counts: Ints, taken: Ints, evaluations: DueEvaluations) -> None:
        """Puts the errors that were taken into the pasts of streams: of each so many as `taken` says."""
        nth = np.arange(len(evaluations.stream)) - np.repeat(starts, counts)
        (errors,) = np.nonzero(nth < np.repeat(taken, counts))
        of, past = evaluations.stream[errors], self._past
        places = (past["errors"][of] + nth[errors]) % PAST
        # Of several at one place, the last one stays.
        past["at_s"][of, places] = evaluations.at_s[errors]
        past["gaps"][of, places] = np.minimum(evaluations.correct[errors], 0xFFFF)
        past["errors"][streams] += taken.astype(np.uint32)
        self._past_changed.update((streams[taken > 0] // _BLOCK).tolist())

    def of_sites(self) -> list[tuple[int, Stream]]:
        """Streams of sites and projects, with their numbers."""
        return self._of_sites

    def set_gap(self, stream: int, correct: int, passed: Sequence[int] = ()) -> None:
        """Says how many correct outcomes there are since the last evaluation; by stratum where it has these."""
        self._core["since"][stream] = correct
        if self._strata_of[stream] >= 0:
            self._strata["since"][self._strata_of[stream]] = passed

    def _cluster(self, stream: int, correct: int) -> None:
        """Learns from an error after so many correct outcomes how far errors come in clusters."""
        of_cluster = self._cluster_of[stream]
        if of_cluster >= 0:
            row = self._clusters[of_cluster].tolist()
            cluster.advance(row, correct)
            self._clusters[of_cluster] = row

    def fall(self, stream: int, pending: int, wrong: bool, passed: Sequence[int] = (), failed: int = -1) -> float:
        """Takes `pending` correct outcomes of a stream that is watched for a fall, and one more outcome.

        Args:
            stream: Its number.
            pending: Correct outcomes.
            wrong: Whether the one more is an error.
            passed: All correct ones by stratum, where it is held to its strata.
            failed: Stratum of the error, -1 for none, where it is.

        Returns:
            Mean of the R_f.
        """
        row = list(_ROW.unpack_from(self._rows, stream * _CORE_BYTES))
        if self._strata_of[stream] >= 0:
            statistic = self._take_one(stream, passed, failed)
            row = self._core["row"][stream].tolist()
        else:
            statistic = falling.advance(row, pending + (not wrong), wrong, self.temper(stream))
        of_cluster = self._cluster_of[stream]
        if of_cluster >= 0:
            if wrong:
                self._cluster(stream, int(self._clusters[of_cluster, -1]) + pending)
                self._clusters[of_cluster, -1] = 0.0
            else:
                self._clusters[of_cluster, -1] += pending + 1
        _ROW.pack_into(self._rows, stream * _CORE_BYTES, *row)
        return statistic

    # --- a drift opens and clears

    def baseline(self, stream: int) -> float:
        """The error rate that a stream is held to; of one that has strata, at the shares in which it learned them."""
        target = self._targets[stream]
        if target is not None:
            return target
        row = self._strata_of[stream]
        if row >= 0:
            known = self._strata["known"][row]
            return float(_mixed(known, known[:, 2]))
        a, b = self._core["row"][stream][:2].tolist()
        return float(a / (a + b))

    def shown_baseline(self, stream: int) -> float:
        """As `baseline`; of a stream held to its strata, at the shares that these have today."""
        row = self._strata_of[stream]
        return (
            self.baseline(stream) if row < 0 else float(_mixed(self._strata["known"][row], self._strata["recent"][row]))
        )

    def holds_strata(self, stream: int) -> bool:
        """Whether the stream is held to its strata."""
        return bool(self._strata_of[stream] >= 0)

    def rates(self, stream: int, otherwise: float) -> NDArray[np.float64]:
        """The error rate of each stratum of a stream that is held to them; `otherwise` where too little is known."""
        a, b, seen = self._strata["known"][self._strata_of[stream]].T
        return np.where(seen >= self_starting.WARM_UP, a / (a + b), otherwise)

    def temper(self, stream: int) -> float:
        """1 / design effect of the stream's errors."""
        of_cluster = self._cluster_of[stream]
        return 1.0 if of_cluster < 0 else cluster.temper(self._clusters[of_cluster].tolist())

    def known(self, stream: int) -> int:
        """Outcomes that the baseline was learned from; 0 for a target."""
        if self._strata_of[stream] >= 0:
            return int(self._strata["known"][self._strata_of[stream], :, 2].sum())
        return 0 if self._targets[stream] is not None else int(self._core["row"][stream][2])

    def unlearn(self, stream: int, errors: int, correct: int, strata: Ints | None = None) -> None:
        """Takes the outcomes of a change out of the baseline that has learned them before it was found.

        Args:
            stream: Its number.
            errors: Errors among them.
            correct: Correct ones.
            strata: Both by stratum, shape (2, STRATA), where it is held to them and they are known; where they are not,
                they are taken out of each as it has been learned from.
        """
        row = self._strata_of[stream]
        if row >= 0:
            known, temper = self._strata["known"][row], self.temper(stream)
            if strata is None:
                a, b, seen = known.T
                of_errors, of_correct = a * (seen > 0), b * (seen > 0)
                strata = np.stack(
                    (
                        errors * of_errors / max(of_errors.sum(), 1e-9) // 1,
                        correct * of_correct / max(of_correct.sum(), 1e-9) // 1,
                    )
                )
            for each, wrong, right in zip(known, *strata.tolist(), strict=True):
                self_starting.unlearn(each, wrong, right, temper)
            self._changed["strata"].add(int(row) // _BLOCK)
        elif self._targets[stream] is None:
            self_starting.unlearn(self._core["row"][stream], errors, correct, self.temper(stream))
            self._mark("core", stream)

    def restart(self, stream: int) -> None:
        """Starts the test afresh, as after a drift was cleared."""
        # The R_d stand first where there is no baseline to learn, and after it elsewhere.
        first = 3 if self._targets[stream] is None else 0
        self._core["row"][stream, first : first + 3] = 0
        self._core["since"][stream] = 0
        if self._strata_of[stream] >= 0:
            self._strata["since"][self._strata_of[stream]] = 0
            self._changed["strata"].add(int(self._strata_of[stream]) // _BLOCK)
        self._past["errors"][stream] = 0
        self._mark("core", stream)
        self._mark("past", stream)

    def outcomes(self, stream: int) -> tuple[list[int], list[int]]:
        """The newest errors remembered, newest first: correct outcomes before each, and its time in seconds."""
        past = self._past[stream]
        errors = int(past["errors"])
        places = [number % PAST for number in range(errors - 1, max(errors - PAST, 0) - 1, -1)]
        return past["gaps"][places].tolist(), past["at_s"][places].tolist()

    # --- reading

    def run_lengths_now(self, streams: Sequence[int]) -> list[float]:
        """Thresholds of streams as of their newest outcomes."""
        lengths: list[float] = self._run_lengths_now(np.array(streams, np.int64)).tolist()
        return lengths

    def evidences(self, streams: Sequence[int]) -> list[float]:
        """Means of the R_d of streams after the newest outcome of each."""
        numbers = np.array(streams, np.int64)
        (strata,) = np.nonzero(self._strata_of[numbers] >= 0)
        found = dict.fromkeys(strata.tolist(), 0.0)
        if len(strata):
            of = numbers[strata]
            since = np.where(self._falls[of], 0, self._strata["since"][self._strata_of[of]].T).T.astype(np.int64)
            _, _, means = self._one_evaluation_each(of, since, np.full(len(of), -1))
            found = dict(zip(strata.tolist(), means.tolist(), strict=True))
        return [found[place] if place in found else self.evidence(stream) for place, stream in enumerate(streams)]

    def evidence(self, stream: int) -> float:
        """Mean of the R_d after the newest outcome; not of a stream that is held to its strata."""
        core = self._core[stream]
        row, since = core["row"].tolist(), int(core["since"])
        target, key = self._targets[stream], self.keys[stream]
        if target is not None:
            return mixture.evidence_after(row[:3], since, target, self.temper(stream))
        if key is not None and watches_fall(key):
            return float(sum(row[3:])) / 3.0
        return self_starting.evidence_after(row, since, self.temper(stream))

    def _run_lengths_now(self, numbers: Ints) -> NDArray[np.float64]:
        scale = self._scale(numbers, np.zeros(len(numbers), np.int64), self._core["last_s"][numbers].astype(np.int64))
        return np.maximum(scale * self._sharing[self._budget[numbers]], LEAST_RUN_LENGTH)

    def plan(self) -> list[Plan]:
        """Streams that share a budget, and what it gives them."""
        numbers = np.flatnonzero(self._shares[: len(self.keys)])
        lengths = self._run_lengths_now(numbers)
        per_budget = self._false_a_month[self._budget[numbers]] / self._sharing[self._budget[numbers]]
        return [
            Plan(key, float(length * share), float(length), self.shown_baseline(number), 1.0 / self.temper(number))
            for number, length, share in zip(numbers.tolist(), lengths, per_budget, strict=True)
            if (key := self.keys[number]) is not None
        ]

    def next_day(self, now_s: int, days: int, kept: Collection[int]) -> list[int]:
        """Counts anew who shares the budgets, closes months of volume, and forgets people long gone.

        Args:
            now_s: Begin of the day, epoch seconds.
            days: Days since the call before; 1 for the first one.
            kept: Streams with a drift open: these stay.

        Returns:
            Those forgotten: their numbers may become others'.
        """
        self._recount(now_s)
        core = self._core[: len(self.keys)]
        core["daily"] += (core["today"] - core["daily"]) / _DAYS
        core["daily"] *= (1 - 1 / _DAYS) ** (days - 1)
        core["today"] = 0
        if self._strata_count:
            self._strata["recent"] >>= min(days, 31)
            self._changed["strata"].update(range(-(-self._strata_count // _BLOCK)))
        self._changed["core"].update(range(-(-len(core) // _BLOCK)))
        # A month of volume ends after a month, or with the last outcome of a stream that has fallen idle.
        idle = ~self._shares[: len(self.keys)]
        ends = np.where(idle, core["last_s"], now_s).astype(np.int64)
        over = (core["period_taken"] > 0) & (idle | (core["period_s"].astype(np.int64) <= now_s - MONTH_SECONDS))
        for number in np.flatnonzero(over).tolist():
            elapsed = max(int(ends[number]) - int(core["period_s"][number]), DAY_SECONDS)
            seen = int(core["period_taken"][number]) * MONTH_SECONDS / elapsed
            core["volume"][number] = adapted(float(core["volume"][number]), seen)
            core["period_s"][number], core["period_taken"][number] = now_s, 0
        gone = (core["taken"] > 0) & (core["last_s"].astype(np.int64) < now_s - FORGET_SECONDS)
        forgotten = []
        for number in np.flatnonzero(gone).tolist():
            key = self.keys[number]
            if key is not None and key.agent and number not in kept:
                del self._numbers[key]
                self.keys[number] = None
                core["taken"][number] = 0
                heapq.heappush(self._free, number)
                self._mark("keys", number)
                self._mark("core", number)
                self._leave_strata(number)
                forgotten.append(number)
        return forgotten

    def _leave_strata(self, stream: int) -> None:
        """Frees the room of a stream's strata."""
        row = int(self._strata_of[stream])
        if row >= 0:
            self._strata_of[stream] = -1
            self._strata["stream"][row] = _NOBODY
            heapq.heappush(self._strata_free, row)
            self._changed["strata"].add(row // _BLOCK)

    def _recount(self, now_s: int) -> None:
        """Who shares a budget: streams with an outcome within the 30 days before."""
        core = self._core[: len(self.keys)]
        shares = (core["taken"] > 0) & (core["last_s"].astype(np.int64) >= now_s - IDLE_SECONDS)
        self._shares[: len(self.keys)] = shares
        self._sharing = np.bincount(self._budget[: len(self.keys)][shares], minlength=len(self._sharing))

    # --- the durable form

    def slots(self, prefix: bytes) -> Iterator[Slot]:
        """The blocks that have changed since the last call."""
        for kind, columns in (("core", self._core), ("past", self._past), ("strata", self._strata)):
            for block in sorted(self._changed[kind]):
                rows = columns[block * _BLOCK : (block + 1) * _BLOCK]
                yield b"%s|%s|%d" % (prefix, kind.encode(), block), rows.tobytes()
        for block in sorted(self._changed["keys"]):
            keys = self.keys[block * _BLOCK : (block + 1) * _BLOCK]
            yield b"%s|keys|%d" % (prefix, block), msgspec.msgpack.encode(keys)
        for (number, _), row in zip(self._of_sites, self._clusters.tolist(), strict=False):
            # One that has not moved is as it was written.
            if row[0] and number // _BLOCK in self._changed["core"]:
                yield b"%s|cluster|%d" % (prefix, number), msgspec.msgpack.encode(row)
        for changed in self._changed.values():
            changed.clear()

    @staticmethod
    def kept(prefix: bytes, slots: Mapping[bytes, bytes]) -> Iterator[Stream]:
        """The streams of a checkpoint."""
        block = 0
        while (packed := slots.get(b"%s|keys|%d" % (prefix, block))) is not None:
            yield from filter(None, msgspec.msgpack.decode(packed, type=list[Stream | None]))
            block += 1

    def restore(
        self,
        prefix: bytes,
        slots: Mapping[bytes, bytes],
        day_s: int,
        unwatched: int,
        dropped: Collection[Stream] = (),
    ) -> None:
        """Takes its slots, by key, into empty columns, as of a day; what is switched off stays as it was.

        Args:
            prefix: Of its slots' keys.
            slots: Of the checkpoint.
            day_s: Begin of the day, epoch seconds.
            unwatched: As it was.
            dropped: Streams of the checkpoint that are no more.
        """
        self.unwatched = unwatched
        block = 0
        gone: list[int] = []
        while (packed := slots.get(b"%s|keys|%d" % (prefix, block))) is not None:
            if (block + 1) * _BLOCK > len(self._core):
                self._grow(max(block + 1, len(self._core) * 3 // 2 // _BLOCK) * _BLOCK)
            for stream in msgspec.msgpack.decode(packed, type=list[Stream | None]):
                number = len(self.keys)
                self.keys.append(None)
                self._targets.append(None)
                if stream is None or stream in dropped:
                    heapq.heappush(self._free, number)
                    if stream is not None:
                        gone.append(number)
                else:
                    self._assign(number, stream)
            for kind, columns in (("core", self._core), ("past", self._past)):
                if (rows := slots.get(b"%s|%s|%d" % (prefix, kind.encode(), block))) is not None:
                    found = np.frombuffer(rows, columns.dtype)
                    columns[block * _BLOCK : block * _BLOCK + len(found)] = found
            block += 1
        for place, (number, _) in enumerate(self._of_sites):
            if (row := slots.get(b"%s|cluster|%d" % (prefix, number))) is not None:
                self._clusters[place] = msgspec.msgpack.decode(row, type=list[float])
        self._strata = np.concatenate([self._strata, *(rows for _, rows in _strata_blocks(prefix, slots))])
        self._strata_count = len(self._strata)
        for place, number in enumerate(self._strata["stream"].tolist()):
            if number != _NOBODY and self.keys[number] is not None:
                self._strata_of[number] = place
            else:
                self._strata["stream"][place] = _NOBODY
                heapq.heappush(self._strata_free, place)
        for number in gone:
            self._core["taken"][number] = 0
            self._mark("keys", number)
            self._mark("core", number)
        self._recount(day_s)
