"""Baselines by stratum: the additional state of streams whose work is of several strata."""

import heapq
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from detectors import self_starting
from detectors.arrays import Flags, Floats, Ints
from detectors.likelihood import FREEZE_AFTER, WARM_UP
from detectors.rounds import STRATA
from streams.engine.drift.budgets import BLOCK, CORE
from streams.engine.drift.recent import begins, lengths
from streams.engine.drift.stream import Call
from streams.engine.panes import Slot

#: The strata of one stream: its number; of each stratum what `rounds.take_strata` has learned, the correct outcomes
#: since the last evaluation, and recent outcomes: today's, half of yesterday's, a quarter of those of the day before.
_STRATA = np.dtype(
    [
        ("stream", "<u4"),
        ("known", "<f8", (STRATA, 3)),
        ("since", "<u4", STRATA),
        ("recent", "<u4", STRATA),
    ]
)
#: In place of a stream's number where a row is free.
_NOBODY = 0xFFFFFFFF


def _mixed(known: Floats, weights: NDArray[np.number]) -> Floats:
    """Error rates over strata: the weighted mean of those that have been seen.

    Args:
        known: What was learned of each stratum, shape (..., STRATA, 3).
        weights: Weight of each stratum, shape (..., STRATA).
    """
    a, b, seen = np.moveaxis(known, -1, 0)
    weights = np.where(seen > 0, weights, 0)
    weights = np.where(weights.any(axis=-1, keepdims=True), weights, np.maximum(seen, 1e-9))
    rates: Floats = (weights * a / (a + b)).sum(axis=-1) / weights.sum(axis=-1)
    return rates


def _strata_blocks(prefix: bytes, slots: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, NDArray[np.void]]]:
    """The blocks of strata in a checkpoint, in their order: key, and rows of `_STRATA`."""
    number = 0
    while (rows := slots.get(key := b"%s|strata|%d" % (prefix, number))) is not None:
        yield key, np.frombuffer(rows, _STRATA)
        number += 1


def without_strata(prefix: bytes, slots: Mapping[bytes, bytes]) -> Iterator[Slot]:
    """Slots to change in a checkpoint for a build whose streams have a single baseline: that of their work of today.

    Args:
        prefix: How the keys of the streams' slots begin.
        slots: The checkpoint's slots, by key.
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
    seen = np.minimum(known[:, :, 2].sum(axis=1), FREEZE_AFTER)
    baselines = np.stack((rate * learned, (1.0 - rate) * learned, seen), axis=1)
    order = np.argsort(strata["stream"])
    streams, baselines = strata["stream"][order].astype(np.int64), baselines[order]
    starts = begins(streams // BLOCK)
    for start, count in zip(starts.tolist(), lengths(starts, len(streams)).tolist(), strict=True):
        key, here = b"%s|core|%d" % (prefix, streams[start] // BLOCK), slice(start, start + count)
        core = np.frombuffer(slots[key], CORE).copy()
        core["row"][streams[here] % BLOCK, :3] = baselines[here]
        yield key, core.tobytes()


class StreamStrata:
    """The strata of the streams that have a baseline for each of them; other streams have no row here."""

    def __init__(self) -> None:
        #: One row for each stream that has strata.
        self.rows = np.zeros(0, _STRATA)
        #: By stream its row, -1 where it has none.
        self.row_of = np.zeros(0, np.int64)
        self._count = 0
        self._free: list[int] = []
        self._changed: set[int] = set()

    def grow(self, capacity: int) -> None:
        """Makes room for streams."""
        self.row_of = np.concatenate((self.row_of, np.full(capacity - len(self.row_of), -1, np.int64)))

    def holds(self, stream: int) -> bool:
        """Whether a stream has a baseline for each stratum."""
        return bool(self.row_of[stream] >= 0)

    def mark(self, rows: Ints) -> None:
        """Marks rows as changed."""
        self._changed.update((rows // BLOCK).tolist())

    def begin(self, call: Call, target: Floats, core: NDArray[np.void]) -> Flags | None:
        """Which streams of a call have a baseline for each stratum; gives those that are new among them a row.

        Streams with a target have none. What a new one has learned so far becomes the baseline of the first stratum,
        which was its site's only one until now.

        Args:
            call: The outcomes, which are counted in `core` already.
            target: By stream the error rate of its target, NaN where it is compared with its own baseline.
            core: The state of all streams, as `budgets.CORE`.
        """
        if call.strata is None:
            return None
        touched = call.touched
        mine = (call.strata.take(call.order.take(call.starts)) >= 0) & np.isnan(target[touched])
        if not mine.any():
            return None
        (new,) = np.nonzero(mine & (self.row_of[touched] < 0))
        if len(new):
            # In the order of the log, so that a checkpoint does not depend on how it is cut.
            new = new[np.lexsort((touched[new], call.order.take(call.starts[new])))]
            streams = touched[new]
            self.add(streams)
            rows = self.row_of[streams]
            self.rows["known"][rows, 0] = core["row"][streams, :3]
            self.rows["since"][rows, 0] = core["since"][streams]
            self.rows["recent"][rows, 0] = core["today"][streams] - call.counts[new] + core["daily"][streams] // 1
        return mine

    def add(self, streams: Ints) -> None:
        """Gives streams a blank row for their strata; they must have none yet."""
        free = [heapq.heappop(self._free) for _ in range(min(len(streams), len(self._free)))]
        end = self._count + len(streams) - len(free)
        rows = np.array([*free, *range(self._count, end)], np.int64)
        self._count = end
        if end > len(self.rows):
            grown = np.zeros(max(-(-end // BLOCK), end * 3 // 2 // BLOCK) * BLOCK, _STRATA)
            grown["stream"] = _NOBODY
            grown[: len(self.rows)] = self.rows
            self.rows = grown
        self.row_of[streams] = rows
        blank = np.zeros(1, _STRATA)
        blank["known"] = self_starting.fresh()[:3]
        self.rows[rows] = blank
        self.rows["stream"][rows] = streams
        self.mark(rows)

    def by_stratum(self, call: Call, stratified: Flags, bad: Flags, of: Ints, places: Ints) -> tuple[Ints, Ints]:
        """Counts outcomes by stratum between evaluations; returns `DueEvaluations.passed` and `DueEvaluations.failed`.

        Args:
            call: The outcomes.
            stratified: By stream of the call, whether it has a baseline for each stratum.
            bad: Whether each outcome is an error.
            of: Index in the call of each evaluation's stream.
            places: Index in the call of each evaluation's outcome.
        """
        assert call.strata is not None  # some streams are stratified
        stratum = np.maximum(call.strata, 0).take(call.order)
        # A stretch of outcomes ends at an evaluation; a last one goes from a stream's last evaluation to its end.
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
        rows = self.row_of[call.touched[stratified]]
        passed[firsts[stratified]] += self.rows["since"][rows]
        self.rows["since"][rows] = passed[lasts[stratified]]
        self.rows["recent"][rows] += came[stratified].astype(np.uint32)
        self.mark(rows)
        return np.delete(passed, lasts, axis=0), failed

    def leave(self, stream: int) -> None:
        """Frees the row of a stream's strata, if it has one."""
        row = int(self.row_of[stream])
        if row >= 0:
            self.row_of[stream] = -1
            self.rows["stream"][row] = _NOBODY
            heapq.heappush(self._free, row)
            self._changed.add(row // BLOCK)

    def copy(self, stream: int, other: int) -> None:
        """Copies another stream's strata."""
        if self.row_of[other] >= 0:
            if self.row_of[stream] < 0:
                self.add(np.array([stream]))
            for column in ("known", "since", "recent"):
                self.rows[column][self.row_of[stream]] = self.rows[column][self.row_of[other]]

    def next_day(self, days: int) -> None:
        """Halves the counts of recent outcomes, once for each day."""
        if self._count:
            self.rows["recent"] >>= min(days, 31)
            self._changed.update(range(-(-self._count // BLOCK)))

    def restart(self, stream: int) -> None:
        """Sets the correct outcomes since a stream's last evaluation to 0."""
        row = self.row_of[stream]
        if row >= 0:
            self.rows["since"][row] = 0
            self._changed.add(int(row) // BLOCK)

    def rate(self, stream: int) -> float:
        """The error rate of a stream at the shares in which its strata were learned."""
        known = self.rows["known"][self.row_of[stream]]
        return float(_mixed(known, known[:, 2]))

    def rate_today(self, stream: int) -> float:
        """The error rate of a stream at the shares that its strata have in recent work."""
        row = self.row_of[stream]
        return float(_mixed(self.rows["known"][row], self.rows["recent"][row]))

    def known(self, stream: int) -> int:
        """How many outcomes a stream's strata were learned from."""
        return int(self.rows["known"][self.row_of[stream], :, 2].sum())

    def rates(self, stream: int, otherwise: float) -> Floats:
        """The baseline of each stratum of a stream; `otherwise` where too little is known."""
        a, b, seen = self.rows["known"][self.row_of[stream]].T
        return np.where(seen >= WARM_UP, a / (a + b), otherwise)

    def unlearn(self, stream: int, errors: int, correct: int, strata: Ints | None, temper: float) -> None:
        """As `OutcomeStreams.unlearn`."""
        row = self.row_of[stream]
        known = self.rows["known"][row]
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
        self._changed.add(int(row) // BLOCK)

    # --- the durable form

    def slots(self, prefix: bytes) -> Iterator[Slot]:
        """The blocks that have changed since the last call."""
        for block in sorted(self._changed):
            yield b"%s|strata|%d" % (prefix, block), self.rows[block * BLOCK : (block + 1) * BLOCK].tobytes()
        self._changed.clear()

    def restore(self, prefix: bytes, slots: Mapping[bytes, bytes], is_known: Callable[[int], bool]) -> None:
        """Restores rows from slots, by key; rows of unknown streams become free."""
        self.rows = np.concatenate([self.rows, *(rows for _, rows in _strata_blocks(prefix, slots))])
        self._count = len(self.rows)
        for place, number in enumerate(self.rows["stream"].tolist()):
            if number != _NOBODY and is_known(number):
                self.row_of[number] = place
            else:
                self.rows["stream"][place] = _NOBODY
                heapq.heappush(self._free, place)
