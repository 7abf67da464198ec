"""All watched streams of outcomes, as rows of columns: a correct outcome is only counted, an error is evaluated."""

import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from detectors import cluster, falling, mixture, rounds, self_starting
from detectors.arrays import Flags, Floats, Ints
from streams.engine.drift.budgets import BLOCK, CORE, LEAST_RUN_LENGTH, BudgetedStreams, Plan
from streams.engine.drift.due import due_for_falls, due_for_rises
from streams.engine.drift.past import ErrorPast
from streams.engine.drift.recent import begins, lengths
from streams.engine.drift.strata import StreamStrata
from streams.engine.drift.stream import Call, Crossing, DueEvaluations, Stream, watches_fall
from streams.engine.panes import Slot

_ROW = struct.Struct("<6d")
_CORE_BYTES = CORE.itemsize
_BLANK = struct.Struct(f"{_CORE_BYTES}x")


class OutcomeStreams(BudgetedStreams):
    """Streams of outcomes, each compared with its own baseline or with a target.

    A stream whose work is of several strata has a baseline for each of them (`StreamStrata`).

    Args:
        false_a_month: As of `BudgetedStreams`.
        budget_of: As of `BudgetedStreams`.
        target_error: The error rate of a stream's target; None where it is compared with its own baseline.
    """

    def __init__(
        self,
        false_a_month: Mapping[str, float],
        budget_of: Mapping[str, str],
        target_error: Callable[[Stream], float | None],
    ) -> None:
        super().__init__(false_a_month, budget_of)
        self._target_error = target_error
        self._past = ErrorPast()
        #: By stream, the error rate of its target; NaN where it is compared with its own baseline.
        self._target = np.zeros(0, np.float64)
        #: By stream, whether a fall is looked for.
        self._falls = np.zeros(0, bool)
        #: The columns as bytes: this way one field of one stream is read and written many times faster.
        self._rows = memoryview(b"")
        #: How far errors come in clusters, for streams of sites and projects: the row of `cluster`, then the correct
        #: outcomes since the last error. And by stream the index of that row, -1 for a person's own stream, which has
        #: too few reviews to know.
        self._clusters = np.zeros((0, len(cluster.ROW) + 1), np.float64)
        self._cluster_of = np.zeros(0, np.int64)
        self._strata = StreamStrata()

    def copy(self, stream: int, other: int, restart: bool) -> None:
        """Copies the state of another stream, which has had the same outcomes so far.

        Args:
            stream: Number of the new stream.
            other: Number of the stream to copy.
            restart: Whether the other one has a drift open: the new one then starts its test afresh.
        """
        self._core[stream] = self._core[other]
        self._past.copy(stream, other)
        if self._cluster_of[stream] >= 0 <= self._cluster_of[other]:
            self._clusters[self._cluster_of[stream]] = self._clusters[self._cluster_of[other]]
        self._strata.copy(stream, other)
        if self._shares[other] and not self._shares[stream]:
            self._shares[stream] = True
            self._sharing[self._budget[stream]] += 1
        self._changed_core.add(stream // BLOCK)
        if restart:
            self.restart(stream)

    def _assign(self, number: int, stream: Stream) -> None:
        if not stream.agent:
            self._cluster_of[number] = len(self._of_sites)
        super()._assign(number, stream)
        target = self._target_error(stream)
        self._target[number] = np.nan if target is None else target
        self._falls[number] = watches_fall(stream)
        if len(self._of_sites) > len(self._clusters):
            more = np.zeros((len(self._of_sites), self._clusters.shape[1]), np.float64)
            self._clusters = np.concatenate((self._clusters, more))

    def _blank(self, number: int) -> None:
        _BLANK.pack_into(self._rows, number * _CORE_BYTES)
        self._past.blank(number)
        if self._target_of(number) is None:
            _ROW.pack_into(self._rows, number * _CORE_BYTES, *self_starting.fresh())

    def _target_of(self, number: int) -> float | None:
        """The error rate of a stream's target; None where it is compared with its own baseline."""
        target = float(self._target[number])
        return None if target != target else target

    def _grow(self, capacity: int) -> None:
        super()._grow(capacity)
        for name in ("_target", "_falls"):
            old = getattr(self, name)
            grown = np.zeros(capacity, old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)
        self._cluster_of = np.concatenate((self._cluster_of, np.full(capacity - len(self._cluster_of), -1, np.int64)))
        self._strata.grow(capacity)
        self._past.grow(capacity)
        self._rows = self._core.view(np.uint8).data

    # --- outcomes

    def take(self, call: Call, wrong: Flags) -> DueEvaluations:
        """Counts outcomes, and finds the evaluations that are due.

        Args:
            call: The outcomes.
            wrong: Whether each review found an error, shape (reviews,).

        Returns:
            The evaluations, for `evaluate`: one at each error; for a fall, also wherever the correct outcomes since the
            last error reach a multiple of `EVALUATE_EVERY`.
        """
        self.count(call)
        _, _, order, starts, counts, touched, rising, _ = call
        stratified = self._strata.begin(call, self._target, self._core)
        bad = wrong.take(order)
        cut = int(counts[:rising].sum())
        since = self._core["since"][touched].astype(np.int64)
        of, correct, places, since[:rising] = due_for_rises(starts[:rising], counts[:rising], since[:rising], bad[:cut])
        of_falls, correct_of_falls, places_of_falls, since[rising:] = due_for_falls(
            starts[rising:] - cut, counts[rising:], since[rising:], bad[cut:]
        )
        self._core["since"][touched] = since
        of = np.concatenate((of, of_falls + rising))
        places = np.concatenate((places, places_of_falls + cut))
        here = order.take(places)
        passed = failed = None
        if stratified is not None:
            passed, failed = self._strata.by_stratum(call, stratified, bad, of, places)
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

    def advance(self, stream: int, gap: int, at_s: int, passed: Sequence[int] = (), failed: int = -1) -> float:
        """Takes `gap` correct outcomes and then an error; returns the mean of the R_d.

        Args:
            stream: Number of the stream.
            gap: How many correct outcomes.
            at_s: Time of the error, epoch seconds.
            passed: The correct outcomes by stratum, where the stream has a baseline for each stratum.
            failed: Stratum of the error, where it has.
        """
        row = list(_ROW.unpack_from(self._rows, stream * _CORE_BYTES))
        temper = self.temper(stream)
        target = self._target_of(stream)
        if self._strata.row_of[stream] >= 0:
            statistic = self._take_one(stream, passed, failed)
        else:
            if target is None:
                statistic = self_starting.advance(row, gap, temper)
            else:
                statistic = mixture.advance(row, gap, target, temper)
            _ROW.pack_into(self._rows, stream * _CORE_BYTES, *row)
        self._cluster(stream, gap)
        self._past.add(stream, gap, at_s)
        return statistic

    def fall(self, stream: int, pending: int, wrong: bool, passed: Sequence[int] = (), failed: int = -1) -> float:
        """Takes `pending` correct outcomes of a stream that is watched for a fall, and one more outcome.

        Args:
            stream: Number of the stream.
            pending: How many correct outcomes.
            wrong: Whether the one more is an error.
            passed: All correct outcomes by stratum, where the stream has a baseline for each stratum.
            failed: Stratum of the error, -1 for none, where it has.

        Returns:
            The mean of the R_f.
        """
        row = list(_ROW.unpack_from(self._rows, stream * _CORE_BYTES))
        if self._strata.row_of[stream] >= 0:
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

    def evaluate(self, evaluations: DueEvaluations) -> list[Crossing]:
        """Takes the evaluations of a call; a stream that reaches its threshold takes no further ones.

        The result is the same as that of `advance`, or `fall`, evaluation by evaluation.

        Args:
            evaluations: From `take`.

        Returns:
            The streams that reach their threshold.
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

        def thresholds(places: Ints) -> Floats:
            return self.run_lengths(*(column.take(places) for column in where))

        stratified = self._strata.row_of[streams] >= 0
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
        self._past.take(evaluations, streams, starts, counts, np.where(falls, 0, taken.evaluations))
        return crossings

    def _take_strata(
        self,
        evaluations: DueEvaluations,
        of_all: rounds.Evaluations,
        streams: Ints,
        stratified: Flags,
        thresholds: Callable[[Ints], Floats],
    ) -> rounds.Taken:
        """Takes evaluations where some of the streams have a baseline for each stratum."""
        core, falls = self._core["row"], self._falls[streams]
        counts, reached = of_all.counts.copy(), []
        for chosen in (~stratified, stratified):
            if not chosen.any():
                continue
            here = streams[chosen]
            (places,) = np.nonzero(np.repeat(chosen, of_all.counts))

            def of_chosen(some: Ints, places: Ints = places) -> Floats:
                return thresholds(places.take(some))

            if chosen is stratified:
                assert evaluations.passed is not None  # both are there where a stream is stratified
                assert evaluations.failed is not None
                rows = self._strata.row_of[here]
                taken, self._strata.rows["known"][rows] = rounds.take_strata(
                    core[here, 3:],
                    self._strata.rows["known"][rows],
                    of_all.of(chosen),
                    evaluations.passed[places],
                    evaluations.failed[places],
                    falls[chosen],
                    of_chosen,
                    LEAST_RUN_LENGTH,
                )
                core[here, 3:] = taken.rows
                self._strata.mark(rows)
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
        """Takes one evaluation of a stream with a baseline for each stratum; returns the mean of the R."""
        row = self._strata.row_of[stream : stream + 1]
        r, known, (statistic,) = self._one_evaluation_each(np.array([stream]), np.array([passed]), np.array([failed]))
        self._core["row"][stream, 3:], self._strata.rows["known"][row] = r[0], known
        self._strata.mark(row)
        return float(statistic)

    def _one_evaluation_each(self, streams: Ints, passed: Ints, failed: Ints) -> tuple[Floats, Floats, Floats]:
        """R, strata and mean of the R after one evaluation of each of some streams with strata; changes no stream."""
        n = len(streams)
        tempers = np.array([self.temper(stream) for stream in streams.tolist()])
        evaluations = rounds.Evaluations(np.arange(n), np.ones(n, np.int64), passed.sum(axis=1), failed >= 0, tempers)
        taken, known = rounds.take_strata(
            self._core["row"][streams, 3:],
            self._strata.rows["known"][self._strata.row_of[streams]],
            evaluations,
            passed,
            failed,
            self._falls[streams],
            lambda places: np.full(len(places), np.inf),
            np.inf,
        )
        r = taken.rows
        return r, known, (r[:, 0] + r[:, 1] + r[:, 2]) / 3.0

    def set_gap(self, stream: int, correct: int, passed: Sequence[int] = ()) -> None:
        """Sets the correct outcomes since a stream's last evaluation; by stratum too, where it has strata."""
        self._core["since"][stream] = correct
        if self._strata.row_of[stream] >= 0:
            self._strata.rows["since"][self._strata.row_of[stream]] = passed

    def _cluster(self, stream: int, correct: int) -> None:
        """Learns how far errors come in clusters, from an error that came after `correct` correct outcomes."""
        of_cluster = self._cluster_of[stream]
        if of_cluster >= 0:
            row = self._clusters[of_cluster].tolist()
            cluster.advance(row, correct)
            self._clusters[of_cluster] = row

    # --- a drift opens and clears

    def baseline(self, stream: int) -> float:
        """The error rate that a stream is compared with; with strata, at the shares in which they were learned."""
        target = self._target_of(stream)
        if target is not None:
            return target
        if self._strata.holds(stream):
            return self._strata.rate(stream)
        a, b = self._core["row"][stream][:2].tolist()
        return float(a / (a + b))

    def shown_baseline(self, stream: int) -> float:
        """As `baseline`, but with strata at the shares that they have today."""
        return self._strata.rate_today(stream) if self._strata.holds(stream) else self.baseline(stream)

    def holds_strata(self, stream: int) -> bool:
        """Whether a stream has a baseline for each stratum."""
        return self._strata.holds(stream)

    def rates(self, stream: int, otherwise: float) -> Floats:
        """The baseline of each stratum of a stream that has them; `otherwise` where too little is known."""
        return self._strata.rates(stream, otherwise)

    def known(self, stream: int) -> int:
        """Outcomes that the baseline was learned from; 0 for a target."""
        if self._strata.holds(stream):
            return self._strata.known(stream)
        return 0 if self._target_of(stream) is not None else int(self._core["row"][stream][2])

    def unlearn(self, stream: int, errors: int, correct: int, strata: Ints | None = None) -> None:
        """Takes the outcomes of a change out of the baseline, which had learned from them before the change was found.

        Args:
            stream: Number of the stream.
            errors: Errors among the outcomes.
            correct: Correct ones among them.
            strata: Both by stratum, shape (2, STRATA), where the stream has strata and those of the outcomes are known.
                Where they are not, the outcomes are taken out of all strata in proportion to what each has learned.
        """
        if self._strata.holds(stream):
            self._strata.unlearn(stream, errors, correct, strata, self.temper(stream))
        elif self._target_of(stream) is None:
            self_starting.unlearn(self._core["row"][stream], errors, correct, self.temper(stream))
            self._changed_core.add(stream // BLOCK)

    def restart(self, stream: int) -> None:
        """Starts the test afresh, as after a drift was cleared."""
        # A stream with a target has no baseline in its row, so there the R_d come first.
        first = 3 if self._target_of(stream) is None else 0
        self._core["row"][stream, first : first + 3] = 0
        self._core["since"][stream] = 0
        self._strata.restart(stream)
        self._past.restart(stream)
        self._changed_core.add(stream // BLOCK)

    def outcomes(self, stream: int) -> tuple[list[int], list[int]]:
        """The newest errors of a stream, newest first: correct outcomes before each, and its time, epoch seconds."""
        return self._past.newest(stream)

    def temper(self, stream: int) -> float:
        """1 / design effect of a stream's errors."""
        of_cluster = self._cluster_of[stream]
        return 1.0 if of_cluster < 0 else cluster.temper(self._clusters[of_cluster].tolist())

    # --- reading

    def evidences(self, streams: Sequence[int]) -> list[float]:
        """The mean of the R_d of each of some streams, after its newest outcome."""
        numbers = np.array(streams, np.int64)
        (strata,) = np.nonzero(self._strata.row_of[numbers] >= 0)
        found = dict.fromkeys(strata.tolist(), 0.0)
        if len(strata):
            of = numbers[strata]
            pending = self._strata.rows["since"][self._strata.row_of[of]]
            since = np.where(self._falls[of], 0, pending.T).T.astype(np.int64)
            _, _, means = self._one_evaluation_each(of, since, np.full(len(of), -1))
            found = dict(zip(strata.tolist(), means.tolist(), strict=True))
        return [found[place] if place in found else self.evidence(stream) for place, stream in enumerate(streams)]

    def evidence(self, stream: int) -> float:
        """The mean of the R_d after the newest outcome, for a stream without strata."""
        core = self._core[stream]
        row, since = core["row"].tolist(), int(core["since"])
        target, key = self._target_of(stream), self.keys[stream]
        if target is not None:
            return mixture.evidence_after(row[:3], since, target, self.temper(stream))
        if key is not None and watches_fall(key):
            return float(sum(row[3:])) / 3.0
        return self_starting.evidence_after(row, since, self.temper(stream))

    def plan(self) -> list[Plan]:
        """The streams that share a budget, and the run length that it gives each."""
        numbers = self.sharing()
        lengths, per_budget = self._run_lengths_now(numbers), self.budget_share(numbers)
        return [
            Plan(key, float(length * share), float(length), self.shown_baseline(number), 1.0 / self.temper(number))
            for number, length, share in zip(numbers.tolist(), lengths, per_budget, strict=True)
            if (key := self.keys[number]) is not None
        ]

    def next_day(self, now_s: int, days: int, kept: Collection[int]) -> list[int]:
        """As `BudgetedStreams.next_day`; also makes older outcomes count less for the shares of strata."""
        self._strata.next_day(days)
        forgotten = super().next_day(now_s, days, kept)
        for number in forgotten:
            self._strata.leave(number)
        return forgotten

    # --- the durable form

    def slots(self, prefix: bytes) -> Iterator[Slot]:
        """The blocks that have changed since the last call."""
        # Those that have not changed are in an earlier checkpoint already.
        moved = [
            (number, row)
            for (number, _), row in zip(self._of_sites, self._clusters.tolist(), strict=False)
            if row[0] and number // BLOCK in self._changed_core
        ]
        yield from super().slots(prefix)
        yield from self._past.slots(prefix)
        yield from self._strata.slots(prefix)
        for number, row in moved:
            yield b"%s|cluster|%d" % (prefix, number), msgspec.msgpack.encode(row)

    def restore(
        self,
        prefix: bytes,
        slots: Mapping[bytes, bytes],
        day_s: int,
        unwatched: int,
        dropped: Collection[Stream] = (),
    ) -> None:
        """As `BudgetedStreams.restore`."""
        super().restore(prefix, slots, day_s, unwatched, dropped)
        self._past.restore(prefix, slots, len(self.keys))
        for place, (number, _) in enumerate(self._of_sites):
            if (row := slots.get(b"%s|cluster|%d" % (prefix, number))) is not None:
                self._clusters[place] = msgspec.msgpack.decode(row, type=list[float])
        self._strata.restore(prefix, slots, lambda number: self.keys[number] is not None)
