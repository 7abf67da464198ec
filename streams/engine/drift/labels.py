"""Watches labels, in groups, for drifts of handling time and label mix of each project at a site."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors import categorical, mean_shift
from detectors.arrays import Ints
from detectors.mean_shift import GROUPS_KEPT
from detectors.reverse import RUN_LENGTH
from schemas.drift import Cause
from schemas.policy import OTHER, Policy
from streams.engine.batch import EventBatch, WorkKind
from streams.engine.drift import older
from streams.engine.drift.budgets import LEAST_RUN_LENGTH, BudgetedStreams
from streams.engine.drift.casebook import Casebook, DriftCase, FoundChange, Opening
from streams.engine.drift.cause import CAUSES, contributions, largest, verdict
from streams.engine.drift.episodes import Closed, Episode
from streams.engine.drift.label_kinds import HANDLE_TIME, LABEL_MIX, SERIES, SeriesKind
from streams.engine.drift.label_series import Group, LabelSeries, append, label_of, level_of, moves_of
from streams.engine.drift.names import FEW, MANY, NONE, Combinations, Names
from streams.engine.drift.recent import LABEL, Groups, PackedRows, Recent, Waiting, begins, lengths
from streams.engine.drift.stream import DAY_SECONDS, Call, Stream, first_places, stretches
from streams.engine.intake import Intake
from streams.engine.panes import Slot
from streams.engine.parts import Numbers

#: Signals of labels; all other signals are of reviews.
SIGNALS_OF_LABELS = frozenset(("handle_time", "label_mix"))
#: Share of the budget of tickets that belongs to these signals alone, so that a partition's labels and reviews need no
#: common order.
LABEL_SHARE = 0.25
#: A stream learns for this long before it is tested: other people work the next shift, and the day after, so only then
#: does its spread show what is usual.
LEARNING_MS = 3 * DAY_SECONDS * 1000
_PREFIX = b"drift-labels"
#: The dimensions of causes beside the label, and the bound of each table of names; as for reviews.
_NAMES = {"agent": MANY, "market": FEW, "sop_version": FEW}
#: Those of them that a row holds together as one number.
_KIND = ("market", "sop_version")
#: Dimensions of which another mix is another kind of work. Here the label is one: some labels take longer.
_KINDS_OF_WORK = ("market", "label")
#: A kind of work whose streams were not looked up yet.
_UNKNOWN = -2
#: Columns grow by room for this many streams.
_ROOM = 256
#: Direction of a stream as it is watched; its drift has `up` or `down`.
_EITHER = "either"


class _Columns(NamedTuple):
    """The labels of a batch: parallel columns, shape (n,) each; handling time and class are -1 where not given."""

    persons: Ints
    kinds: Ints
    at: Ints
    handle_ms: Ints
    classes: Ints


class _Full(NamedTuple):
    """Groups that are full: parallel columns, shape (n,), or (n, width) for sums.

    Attributes:
        streams: Number of each group's stream.
        ends: Index in the segment of the group's last label.
        later: How many labels of the same stream come after it in the segment.
        sums: As in `Group`.
    """

    streams: Ints
    ends: Ints
    later: Ints
    sums: Ints


class LabelDrifts:
    """Watches handling time and label mix of projects within sites.

    Args:
        policy: Its budgets, and which signals are watched.
        partitions: Partitions of the events topic, among which the budgets are divided.
    """

    def __init__(self, policy: Policy, partitions: int) -> None:
        self._watched = SIGNALS_OF_LABELS.intersection(policy.detection.signals)
        tickets = LABEL_SHARE * policy.oncall.false_tickets_per_month / partitions
        signals = dict.fromkeys(SIGNALS_OF_LABELS, "ticket")
        self._streams = BudgetedStreams({"ticket": tickets}, signals)
        self._states: dict[int, LabelSeries] = {}
        #: By stream, the group that is being filled: how many labels it has, and their sums.
        self._held = np.zeros(0, np.int64)
        self._sums = np.zeros((0, categorical.CLASSES), np.int64)
        #: By stream, the time of its first group; -1 before it.
        self._first_ms = np.zeros(0, np.int64)
        #: By stream, the numbers of the classes that have counts of their own, in that order; -1 for a free place.
        self._own = np.full((0, categorical.CLASSES - 1), -1, np.int32)
        #: By stream of handling time, the labels that its newest groups were made of.
        self._rings: dict[int, Recent] = {}
        self._waiting = Waiting()
        #: Of the present segment: the ring of each label, and its row.
        self._here: tuple[Ints, PackedRows] = np.zeros(0, np.int64), LABEL.blank()
        self._names = Names(_PREFIX + b"|class", FEW)
        self._members = {by: Names(b"%s|%s" % (_PREFIX, by.encode()), most) for by, most in _NAMES.items()}
        self._kinds = Combinations(_PREFIX + b"|kind", FEW, {by: self._members[by] for by in _KIND})
        self._tables: tuple[Names | Combinations, ...] = (self._names, *self._members.values(), self._kinds)
        self._agents: Numbers[tuple[str, str, str]] = Numbers(lambda person: self._members["agent"].number(person[2]))
        self._kinds_of_work: Numbers[WorkKind] = Numbers(
            lambda work: self._kinds.number(work.market, self._sops[work.sop][2] if work.sop >= 0 else None)
        )
        self._sops: Sequence[tuple[str, str, str]] = ()
        #: The intake's kinds of work, whose numbers are the rows of `_by_kind`.
        self._works: Sequence[WorkKind] = ()
        #: By kind of work: the numbers of its streams of handling time and of label mix.
        self._by_kind = np.zeros((0, 2), np.int64)
        self._classes: Numbers[str | None] = Numbers(lambda name: -1 if name is None else self._names.number(name))
        self._day = -1
        self._changed: set[int] = set()
        self.book = Casebook(policy)

    @property
    def watches(self) -> bool:
        """Whether any of its signals is switched on."""
        return bool(self._watched)

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Takes the labels of a batch, in order."""
        if not self._watched:
            return
        self._sops = intake.sops
        self._agents.sync(intake.persons)
        self._kinds_of_work.sync(intake.works)
        self._classes.sync(intake.classes)
        persons, kinds, at, handle_ms, given = batch.labels
        if not len(kinds):
            return
        self._meet(kinds, intake.works)
        labels = _Columns(persons, kinds, at, handle_ms, self._classes.of(given))
        for start, stop, day in stretches(at, self._day):
            if day > self._day:
                self._streams.next_day(day * DAY_SECONDS, day - self._day if self._day >= 0 else 1, self.book.drifts)
                self._day = day
                self.book.changed = True
            self._segment(start, stop, labels)

    def _meet(self, kinds: Ints, works: Sequence[WorkKind]) -> None:
        """Makes streams for projects that have their first label, in the order of the log."""
        if works is not self._works:  # the intake has begun to number kinds anew
            self._works, self._by_kind = works, np.zeros((0, 2), np.int64)
        if len(self._by_kind) < len(works):
            more = np.full((len(works) - len(self._by_kind), 2), _UNKNOWN, np.int64)
            self._by_kind = np.concatenate((self._by_kind, more))
        if not (self._by_kind[:, 0] == _UNKNOWN).any():
            return
        for place in first_places(kinds, np.flatnonzero(self._by_kind[kinds, 0] == _UNKNOWN)):
            work = works[kind := int(kinds[place])]
            # What is beyond the limits together changes whenever another name joins it, so it is not watched.
            watched = not work.mixed and work.site != OTHER
            self._by_kind[kind] = [
                self._stream(signal, work.site, work.project) if watched else -1
                for signal in ("handle_time", "label_mix")
            ]

    def _stream(self, signal: str, site: str, project: str) -> int:
        if signal not in self._watched:
            return -1
        number = self._streams.number(Stream(site, project, "", signal, _EITHER))
        if number >= 0 and number not in self._states:
            kind = SERIES[signal]
            self._states[number] = LabelSeries(kind.fresh(), [0] * kind.width)
            if kind is HANDLE_TIME:
                self._rings[number] = self._ring(number)
            self._room(number)
        return number

    @staticmethod
    def _ring(number: int) -> Recent:
        return Recent(b"%s|recent|%d" % (_PREFIX, number), LABEL, GROUPS_KEPT * HANDLE_TIME.size)

    def _room(self, number: int) -> None:
        if number >= len(self._held):
            more = number - len(self._held) + _ROOM
            self._held = np.concatenate((self._held, np.zeros(more, np.int64)))
            self._first_ms = np.concatenate((self._first_ms, np.full(more, -1)))
            self._sums = np.concatenate((self._sums, np.zeros((more, categorical.CLASSES), np.int64)))
            self._own = np.concatenate((self._own, np.full((more, self._own.shape[1]), -1, np.int32)))

    def _segment(self, start: int, stop: int, labels: _Columns) -> None:
        labels = _Columns(*(each[start:stop] for each in labels))
        by_time, by_mix = self._by_kind.take(labels.kinds, axis=0).T
        timed = np.flatnonzero((by_time >= 0) & (labels.handle_ms >= 0))
        mixed = np.flatnonzero((by_mix >= 0) & (labels.classes >= 0))
        of_time, of_mix = by_time.take(timed), by_mix.take(mixed)
        groups = Groups.of(of_time, timed)
        # Both signals have one stream a project, so the same labels are grouped in the same way.
        groups_of_mix = groups if np.array_equal(timed, mixed) else Groups.of(of_mix, mixed)
        streams, streams_of_mix = by_time.take(groups.firsts), by_mix.take(groups_of_mix.firsts)
        call = Call.of(np.arange(start, stop), labels.at // 1000, ((groups, streams), (groups_of_mix, streams_of_mix)))
        self._streams.begin(call, self._day * DAY_SECONDS)
        self._streams.count(call)
        logs, places = mean_shift.quantised(labels.handle_ms), np.zeros(len(by_mix), np.int8)
        places[mixed] = self._places(of_mix, labels.classes.take(mixed))
        rows = LABEL.pack(
            agent=self._agents.of(labels.persons),
            kind=self._kinds_of_work.of(labels.kinds),
            label=np.where(labels.classes < 0, NONE, labels.classes),
            handled=logs,
        )
        self._here = of_time, rows if len(timed) == len(rows) else rows.take(timed, axis=0)
        of_times = self._fill(groups, streams, HANDLE_TIME, logs)
        of_mixes = self._fill(groups_of_mix, streams_of_mix, LABEL_MIX, places)
        self._evaluate(of_times, of_mixes, call, labels.at)
        self._waiting.add(*self._here)
        if self._waiting.is_full:
            self._settle()

    def _evaluate(self, of_times: _Full, of_mixes: _Full, call: Call, at_ms: Ints) -> None:
        """Feeds the full groups to the detectors, stream by stream."""
        of, at, later = (np.concatenate(columns) for columns in zip(of_times[:3], of_mixes[:3], strict=True))
        at_ms, positions, firsts = at_ms.take(at), call.positions.take(at), begins(of)
        streams = of.take(firsts)
        first_ms = self._first_ms[streams]
        self._first_ms[streams] = np.where(first_ms < 0, at_ms.take(firsts), first_ms)
        tests = (at_ms >= self._first_ms[of] + LEARNING_MS).tolist()
        sums = [*of_times.sums.tolist(), *of_mixes.sums.tolist()]
        groups = list(zip(sums, at_ms.tolist(), strict=True))
        ends = firsts + lengths(firsts, len(of))
        for number, taken, end in zip(streams.tolist(), firsts.tolist(), ends.tolist(), strict=True):
            state, series = self._states[number], self._series(number)
            while taken < end:
                if number in self.book.drifts:
                    self._continue(number, state, groups[taken], int(positions[taken]))
                    taken += 1
                    continue
                count, statistic = series.run(state.row, sums[taken:end], tests[taken:end])
                append(state.recent, groups[taken : taken + count])
                taken += count
                if statistic >= LEAST_RUN_LENGTH:
                    place, left = int(positions[taken - 1]), int(later[taken - 1])
                    run_length = self._streams.run_length(number, left, groups[taken - 1][1] // 1000, place)
                    if statistic >= run_length:
                        self._open(number, state, place, left, statistic, run_length)

    def _places(self, streams: Ints, classes: Ints) -> NDArray[np.int8]:
        """Index of each label's class in its stream's counts: the first eight classes have their own, the rest one."""
        places = np.full(len(streams), categorical.CLASSES - 1, np.int8)
        rest = np.arange(len(streams))
        # Class by class in order of appearance: most labels are of the first few.
        for place, of_streams in enumerate(self._own.T):
            here = of_streams.take(streams.take(rest)) == classes.take(rest)
            places[rest[here]] = place
            rest = rest[~here]
            if not len(rest):
                break
        new = rest[self._own[streams[rest], -1] < 0]
        if len(new):
            for place in first_places(streams * FEW + classes, new):
                self._give_place(int(streams[place]), int(classes[place]))
            return self._places(streams, classes)
        return places

    def _give_place(self, stream: int, number: int) -> None:
        own, known = self._own[stream], self._states[stream].classes
        if len(known) < len(own):
            own[len(known)] = number
            known.append(self._names[number])

    def _fill(self, groups: Groups, touched: Ints, series: SeriesKind, values: NDArray[np.integer[Any]]) -> _Full:
        """Adds labels to their streams' groups.

        Args:
            groups: The labels, stream by stream.
            touched: Numbers of the streams.
            series: Their kind; the size of its groups must be a power of 2.
            values: Of each label the logarithm of its handling time, or the index of its class.

        Returns:
            The groups that are full by now.
        """
        order, starts, counts = groups
        values, held, last = values.take(order), self._held[touched], series.size - 1
        width = series.width
        rank = np.arange(len(values)) - np.repeat(starts - held, counts)
        # A piece ends with its stream, or where a group is full.
        cuts = rank & last == 0
        cuts[starts] = True
        pieces = np.flatnonzero(cuts)
        long = lengths(pieces, len(values))
        ends = pieces + long - 1
        if series is LABEL_MIX:
            of_piece = np.repeat(np.arange(len(pieces)), long)
            sums = np.bincount(of_piece * width + values, minlength=len(pieces) * width).reshape(-1, width)
        else:
            sums = np.empty((len(pieces), width), np.int64)
            sums[:, 0], sums[:, 1] = np.add.reduceat(values, pieces), np.add.reduceat(values * values, pieces)
        firsts = np.searchsorted(pieces, starts)
        sums[firsts] += self._sums[touched, :width]
        lasts = firsts + lengths(firsts, len(pieces)) - 1
        full = rank[ends] & last == last
        # A group that is not full waits for the next labels.
        waits = ~full[lasts]
        self._held[touched] = np.where(waits, held + counts & last, 0)
        self._sums[touched, :width] = np.where(waits[:, None], sums[lasts], 0)
        self._changed.update(touched.tolist())
        here = ends[full]
        of = np.searchsorted(starts, here, side="right") - 1
        return _Full(touched[of], order[here], starts[of] + counts[of] - here - 1, sums[full])

    def _settle(self) -> None:
        """Puts the labels that wait into their rings."""
        for ring, _, rows in self._waiting.taken():
            self._rings[ring].add(rows)

    def _open(
        self, number: int, state: LabelSeries, position: int, later: int, statistic: float, run_length: float
    ) -> None:
        """Opens a drift at a stream's newest group; `later` is how many labels of the stream follow in the segment."""
        key = self._streams.keys[number]
        assert key is not None  # it has just had a label
        series = SERIES[key.signal]
        sums, times = [each for each, _ in reversed(state.recent)], [at_ms for _, at_ms in reversed(state.recent)]
        at_ms, size, lead = times[0], series.size, series.leading(state.row)
        first = series.locate(sums, state.row, lead)
        series.unlearn(state.row, sums[: first.began_ago // size])
        found = series.locate(sums, state.row, lead)
        since, before = sums[: found.began_ago // size], sums[found.began_ago // size :]
        began, low, high = (
            min(times[min(back // size, len(times)) - 1], at_ms)
            for back in (found.began_ago, found.began_ago_high, found.began_ago_low)
        )
        # In its first days a stream may have learned from labels that were changed already.
        learned_until_ms = int(self._first_ms[number]) + LEARNING_MS
        earlier = low <= learned_until_ms or found.began_ago_high >= len(sums) * size
        n, known = len(since) * size, level_of(series, state, before, lead, found.old_rate)
        total = series.total(since, lead)
        volume = self._streams.volume(number, later, at_ms // 1000)
        event = f"{at_ms}/{int(state.row[0])}"

        def explain(episode: Episode) -> None:
            episode.test = series.packed(lead)
            # Without labels from before the change, it cannot be split into causes.
            episode.verdict = "rate" if before else "unknown"
            if series is LABEL_MIX:
                episode.label, episode.causes = label_of(state, lead), moves_of(state, since, before)
            else:
                self._explain(episode, self._newest(number, later), len(before) * size)

        self.book.open(
            number,
            key._replace(direction=lead.direction),
            Opening(position, at_ms, event, statistic / run_length, run_length, volume),
            FoundChange(began, low, high, known, n, total, found.new_rate, found.old_rate, earlier),
            self.book.closed.pop(number, None),
            None,
            explain,
        )
        state.back = state.proven = 0.0

    def _series(self, number: int) -> SeriesKind:
        """The kind of series of a stream."""
        key = self._streams.keys[number]
        assert key is not None  # it has just had a label
        return SERIES[key.signal]

    def _newest(self, number: int, later: int) -> PackedRows:
        """The newest labels of a stream, without the last `later` of it in the present segment."""
        self._settle()
        ids, rows = self._here
        (mine,) = np.nonzero(ids == number)
        return self._rings[number].newest(rows.take(mine[: len(mine) - later], axis=0))

    def _explain(self, episode: Episode, rows: PackedRows, before: int) -> None:
        """Finds what made a project slower or quicker, from the labels of its newest groups.

        Args:
            episode: The drift that opens; gets verdict and causes.
            rows: The labels up to the opening, oldest first.
            before: How many labels from before the change to compare with.
        """
        end = len(rows) - episode.n
        if end <= 0 or not before:
            episode.verdict = "unknown"
            return
        then, since = rows[max(end - before, 0) : end], rows[end:]
        y_then, y_since = (LABEL.of(each, "handled") / mean_shift.UNIT for each in (then, since))
        names: dict[str, Names] = {**self._members, "label": self._names}
        columns_then, columns_since = self._columns(then), self._columns(since)
        parts = contributions({by: (columns_then[by], columns_since[by]) for by in names}, y_then, y_since, "", NONE)
        change = float(y_since.mean() - y_then.mean())
        episode.verdict = verdict(parts, change, _KINDS_OF_WORK)
        episode.causes = tuple(
            Cause(part.by, names[part.by][part.member], part.effect, part.points)  # type: ignore[arg-type]  # of _NAMES
            for part in largest(parts, change, CAUSES)
        )

    def _columns(self, rows: PackedRows) -> dict[str, Ints]:
        """The names' numbers in rows, by dimension."""
        return {by: LABEL.of(rows, by) for by in ("agent", "label")} | self._kinds.columns(LABEL.of(rows, "kind"))

    def _continue(self, number: int, state: LabelSeries, group: Group, position: int) -> None:
        """Feeds a group to a stream's open drift, and ends the drift if it is proven to be over."""
        drift, series, (sums, at_ms) = self.book.drifts[number], self._series(number), group
        append(state.recent, [group])
        lead = series.leading_of(drift.stream, drift.episode)
        drift.episode.n += series.size
        drift.episode.wrong += series.total([sums], lead)
        known = state.proven
        state.back = series.back(state.back, state.row, lead, known, sums)
        state.proven = max(known, series.proven(state.row, lead, drift.episode.wrong, drift.episode.n))
        self.book.changed = True
        if state.back >= RUN_LENGTH:
            self.book.end(number, position, at_ms)
            state.recent = []
            series.restart(state.row)

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call."""
        self._settle()
        yield from self._streams.slots(_PREFIX)
        for table in self._tables:
            yield from table.slots()
        for ring in self._rings.values():
            yield from ring.slots()
        for number in sorted(self._changed):
            state = self._states[number]
            state.labels = int(self._held[number])
            if number in self._rings:
                state.rows = self._rings[number].count
            state.first_ms = int(self._first_ms[number])
            state.sums = self._sums[number, : len(state.sums)].tolist()
            yield b"%s|state|%d" % (_PREFIX, number), msgspec.msgpack.encode(state)
        self._changed.clear()
        if self.book.changed:
            self.book.changed = False
            # Numbers are given in the order of the log, whereas a batch opens and clears stream by stream.
            drifts = sorted(self.book.drifts.items(), key=lambda each: each[0])
            episodes = [(number, drift.stream, drift.episode) for number, drift in drifts]
            closed = [(number, self.book.closed[number]) for number in sorted(self.book.closed)]
            header = (self._day, self._streams.unwatched, episodes, closed)
            yield _PREFIX + b"|header", msgspec.msgpack.encode(header)

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty part from its slots, by key."""
        packed = slots.get(_PREFIX + b"|header")
        if packed is None:
            return
        self._day, unwatched, episodes, closed = msgspec.msgpack.decode(
            packed, type=tuple[int, int, list[tuple[int, Stream, Episode]], list[tuple[int, Closed]]]
        )
        self.book.drifts = {number: DriftCase(stream, episode, None) for number, stream, episode in episodes}
        self.book.closed = dict(closed)
        for table in self._tables:
            table.restore(slots)
        self._streams.restore(_PREFIX, slots, self._day * DAY_SECONDS, unwatched)
        for number, key in enumerate(self._streams.keys):
            if key is not None and (state := slots.get(b"%s|state|%d" % (_PREFIX, number))) is not None:
                known = self._states[number] = msgspec.msgpack.decode(state, type=LabelSeries)
                self._room(number)
                self._held[number], self._first_ms[number] = known.labels, known.first_ms
                self._sums[number, : len(known.sums)] = known.sums
                if key.signal == "handle_time":
                    self._rings[number] = self._ring(number)
                    self._rings[number].restore(known.rows, slots)
                    self._take_over(number, known.rows, slots)
                self._own[number, : len(known.classes)] = [self._names.find(name) for name in known.classes]

    def _take_over(self, number: int, count: int, slots: Mapping[bytes, bytes]) -> None:
        """Converts a ring of an older format."""
        rows, keys = older.rows(slots, b"%s|ring|%d" % (_PREFIX, number), count, older.LABEL)
        if keys:
            kinds = self._kinds.numbers([rows[by] for by in _KIND])
            packed = LABEL.pack(agent=rows["agent"], kind=kinds, label=rows["label"], handled=rows["handled"])
            self._rings[number].take_over(count, packed, keys)
