"""Shares budgets of false alarms among streams: which streams there are, their volumes, and the run length of each.

Run length: the mean number of outcomes to a false alarm; in the literature ARL, the average run length in control.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from detectors import self_starting
from detectors.arrays import Floats, Ints
from detectors.budget import ADAPTION, DAYS_A_MONTH, adapted
from streams.engine.drift.stream import DAY_SECONDS, HOUR_SECONDS, Call, Stream
from streams.engine.panes import Slot

MONTH_SECONDS = DAYS_A_MONTH * DAY_SECONDS
#: A stream without an outcome for this long has no share of a budget.
IDLE_SECONDS = 30 * DAY_SECONDS
#: Days over which the mean daily volume of a stream is smoothed.
_DAYS = 3.0
#: A person's stream without an outcome for this long is forgotten, and another stream may take its number.
FORGET_SECONDS = 90 * DAY_SECONDS
#: No shorter run length is promised: evidence against a stream of a few reviews would mean nothing.
LEAST_RUN_LENGTH = 1_000.0
#: The most streams of a partition; further ones are not watched, and `labelwatch_unwatched_streams` counts them.
STREAMS_MAX = 500_000
#: Streams in one slot of a checkpoint.
BLOCK = 32
#: The state of a stream. Times are epoch seconds; `row` and `since` belong to its test.
CORE = np.dtype(
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


class Plan(NamedTuple):
    """The run length that a budget gives a stream, and what it rests on.

    Attributes:
        stream: The stream.
        a_month: Its volume, outcomes a month.
        run_length: Mean number of outcomes to a false alarm.
        error_rate: The level that it is compared with, 0 to 1.
        design_effect: How far its errors come in clusters; 1 where they come one by one or are too few to know.
    """

    stream: Stream
    a_month: float
    run_length: float
    error_rate: float
    design_effect: float


class BudgetedStreams:
    """Streams with their volumes and run lengths.

    The budget of a partition is its share of the policy's: N / partitions. A partition divides its share among its own
    streams: a stream with v outcomes a month that shares a budget of N with S streams has the run length A = v S / N.
    So the sum over partitions never exceeds the policy's budget, however the sites are spread. Every decision depends
    on the stream's own outcomes, counts and times, never on how the log was cut into batches.

    Args:
        false_a_month: Budget name to false alarms a month allowed in this partition.
        budget_of: Signal to the budget that it draws on.
    """

    def __init__(self, false_a_month: Mapping[str, float], budget_of: Mapping[str, str]) -> None:
        self.keys: list[Stream | None] = []
        #: How many times a stream could not be watched, for want of room.
        self.unwatched = 0
        self._numbers: dict[Stream, int] = {}
        self._of_sites: list[tuple[int, Stream]] = []
        self._free: list[int] = []
        self._false_a_month = np.array(list(false_a_month.values()), np.float64)
        budgets = list(false_a_month)
        self._budget_of = {signal: budgets.index(budget) for signal, budget in budget_of.items()}
        self._core = np.zeros(0, CORE)
        self._budget = np.zeros(0, np.int64)
        #: By budget, how many streams share it: those with an outcome within 30 days; and by stream, whether it does.
        self._sharing = np.zeros(len(budgets), np.int64)
        self._shares = np.zeros(0, bool)
        #: By budget, the positions in the last call at which streams began to share it.
        self._born: list[Ints] = []
        self._changed_keys: set[int] = set()
        self._changed_core: set[int] = set()

    # --- which streams there are

    def number(self, stream: Stream) -> int:
        """The number of a stream; if it has none, a new one; -1 where there is no room left."""
        found = self._numbers.get(stream)
        if found is not None:
            return found
        if self._free:
            number = heapq.heappop(self._free)
        elif len(self.keys) < STREAMS_MAX:
            number = len(self.keys)
            self.keys.append(None)
            if number >= len(self._core):
                self._grow(max(number // BLOCK + 1, number * 3 // 2 // BLOCK) * BLOCK)
        else:
            self.unwatched += 1
            return -1
        self._assign(number, stream)
        self._blank(number)
        self._changed_keys.add(number // BLOCK)
        self._changed_core.add(number // BLOCK)
        return number

    def find(self, stream: Stream) -> int | None:
        """The number of a stream, if it is known."""
        return self._numbers.get(stream)

    def of_sites(self) -> list[tuple[int, Stream]]:
        """Streams of sites and projects, with their numbers."""
        return self._of_sites

    def _assign(self, number: int, stream: Stream) -> None:
        """Gives a number to a stream."""
        self.keys[number] = stream
        self._numbers[stream] = number
        self._budget[number] = self._budget_of[stream.signal]
        if not stream.agent:
            self._of_sites.append((number, stream))

    def _blank(self, number: int) -> None:
        """Makes the columns of a number those of a stream without an outcome."""
        blank = np.zeros(1, CORE)
        blank["row"] = self_starting.fresh()
        self._core[number] = blank[0]

    def _grow(self, capacity: int) -> None:
        """Makes room for streams."""
        for name in ("_core", "_budget", "_shares"):
            old = getattr(self, name)
            grown = np.zeros(capacity, old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)

    # --- outcomes and volumes

    def count(self, call: Call) -> None:
        """Adds a call's outcomes to the counts and times of its streams."""
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
        self._changed_core.update((touched // BLOCK).tolist())

    def begin(self, call: Call, day_s: int) -> None:
        """Takes note of a call that follows: streams that are new in it share their budget from their first outcome on.

        An outcome that is older than 30 days does not make a stream share, here as in `_recount`: otherwise the number
        of streams that share would be another after a restart.
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

    # --- run lengths

    def run_length(self, stream: int, later: int, at_s: int, position: int) -> float:
        """The run length A of a stream at a position in the last call, after which `later` of its outcomes came."""
        return float(self.run_lengths(np.array([stream]), np.array([later]), np.array([at_s]), np.array([position]))[0])

    def volume(self, stream: int, later: int, at_s: int) -> float:
        """Volume of a stream, outcomes a month, as `run_length` uses it."""
        (scale,) = self._scale(np.array([stream]), np.array([later]), np.array([at_s]))
        return float(scale * self._false_a_month[self._budget[stream]])

    def run_lengths(self, number: Ints, later: Ints, at_s: Ints, position: Ints) -> Floats:
        """Run lengths A = v S / N at positions in the last call; what came later in the call is not counted yet."""
        budget = self._budget[number]
        sharing = self._sharing[budget].astype(np.float64)
        for each, begun in enumerate(self._born):
            if len(begun):
                sharing -= np.where(budget == each, len(begun) - np.searchsorted(begun, position, side="right"), 0)
        return np.maximum(self._scale(number, later, at_s) * sharing, LEAST_RUN_LENGTH)

    def _scale(self, number: Ints, later: Ints, at_s: Ints) -> Floats:
        """Volume over budget, v / N: a stream's outcomes a month over the false alarms a month of its budget.

        The known volume moves by a quarter of the difference a month. A rise within days counts at once, since it
        would cost false alarms; a fall does not, since it only costs delay.
        """
        core = self._core
        elapsed = np.maximum(at_s - core["period_s"][number].astype(np.int64), HOUR_SECONDS)
        seen = (core["period_taken"][number].astype(np.int64) - later) * (MONTH_SECONDS / elapsed)
        known, daily = core["volume"][number], core["daily"][number]
        slow = known + ADAPTION * np.minimum(elapsed / MONTH_SECONDS, 1.0) * (seen - known)
        today = core["today"][number].astype(np.int64) - later
        of_days = (daily + np.maximum(today - daily, 0.0) / _DAYS) * DAYS_A_MONTH
        volume: Floats = np.maximum(np.where(known > 0, slow, seen), of_days)
        return np.maximum(volume, 1.0) / self._false_a_month[self._budget[number]]

    def run_lengths_now(self, streams: Sequence[int]) -> list[float]:
        """Run lengths of streams as of their newest outcomes."""
        lengths: list[float] = self._run_lengths_now(np.array(streams, np.int64)).tolist()
        return lengths

    def _run_lengths_now(self, numbers: Ints) -> Floats:
        scale = self._scale(numbers, np.zeros(len(numbers), np.int64), self._core["last_s"][numbers].astype(np.int64))
        return np.maximum(scale * self._sharing[self._budget[numbers]], LEAST_RUN_LENGTH)

    def budget_share(self, numbers: Ints) -> Floats:
        """False alarms a month that the budgets give each of some streams."""
        budget = self._budget[numbers]
        return self._false_a_month[budget] / self._sharing[budget]

    def sharing(self) -> Ints:
        """The numbers of the streams that share a budget."""
        return np.flatnonzero(self._shares[: len(self.keys)])

    # --- days

    def next_day(self, now_s: int, days: int, kept: Collection[int]) -> list[int]:
        """Counts anew which streams share the budgets, closes months of volume, and forgets people long gone.

        Args:
            now_s: Begin of the day, epoch seconds.
            days: Days since this was called before; 1 the first time.
            kept: Numbers of streams with a drift open, which are not forgotten.

        Returns:
            Numbers of the streams that were forgotten; other streams may get them.
        """
        self._recount(now_s)
        core = self._core[: len(self.keys)]
        core["daily"] += (core["today"] - core["daily"]) / _DAYS
        core["daily"] *= (1 - 1 / _DAYS) ** (days - 1)
        core["today"] = 0
        self._changed_core.update(range(-(-len(core) // BLOCK)))
        # A month of volume ends after a month, or with the last outcome of a stream that has become idle.
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
                self._changed_keys.add(number // BLOCK)
                self._changed_core.add(number // BLOCK)
                forgotten.append(number)
        return forgotten

    def _recount(self, now_s: int) -> None:
        """Counts the streams that share a budget: those with an outcome within the 30 days before."""
        core = self._core[: len(self.keys)]
        shares = (core["taken"] > 0) & (core["last_s"].astype(np.int64) >= now_s - IDLE_SECONDS)
        self._shares[: len(self.keys)] = shares
        self._sharing = np.bincount(self._budget[: len(self.keys)][shares], minlength=len(self._sharing))

    # --- the durable form

    def slots(self, prefix: bytes) -> Iterator[Slot]:
        """The blocks that have changed since the last call."""
        for block in sorted(self._changed_core):
            yield b"%s|core|%d" % (prefix, block), self._core[block * BLOCK : (block + 1) * BLOCK].tobytes()
        for block in sorted(self._changed_keys):
            keys = self.keys[block * BLOCK : (block + 1) * BLOCK]
            yield b"%s|keys|%d" % (prefix, block), msgspec.msgpack.encode(keys)
        self._changed_core.clear()
        self._changed_keys.clear()

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
        """Restores empty columns from slots; streams of signals that are switched off stay unchanged.

        Args:
            prefix: Beginning of the slots' keys.
            slots: The checkpoint's slots, by key.
            day_s: Begin of the checkpoint's day, epoch seconds.
            unwatched: The count of `unwatched` in the checkpoint.
            dropped: Streams of the checkpoint that are to be dropped.
        """
        self.unwatched = unwatched
        block = 0
        gone: list[int] = []
        while (packed := slots.get(b"%s|keys|%d" % (prefix, block))) is not None:
            if (block + 1) * BLOCK > len(self._core):
                self._grow(max(block + 1, len(self._core) * 3 // 2 // BLOCK) * BLOCK)
            for stream in msgspec.msgpack.decode(packed, type=list[Stream | None]):
                number = len(self.keys)
                self.keys.append(None)
                if stream is None or stream in dropped:
                    heapq.heappush(self._free, number)
                    if stream is not None:
                        gone.append(number)
                else:
                    self._assign(number, stream)
            if (rows := slots.get(b"%s|core|%d" % (prefix, block))) is not None:
                found = np.frombuffer(rows, CORE)
                self._core[block * BLOCK : block * BLOCK + len(found)] = found
            block += 1
        for number in gone:
            self._core["taken"][number] = 0
            self._changed_keys.add(number // BLOCK)
            self._changed_core.add(number // BLOCK)
        self._recount(day_s)
