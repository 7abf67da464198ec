"""The partitions that this worker owns: their engines, checkpoints and flows, from assignment to hand-over."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from schemas.policy import Policy
from streams.engine.batch import KafkaRecord
from streams.engine.partition import Checkpoint, FormatError, PartitionEngine
from streams.exporter import MonitorState
from streams.runtime.access import denied
from streams.runtime.background import BackgroundTasks
from streams.runtime.broker import WorkerRefusal
from streams.runtime.checkpoints import CheckpointStore, DeadLettersRefused, Fenced, failure
from streams.runtime.failures import TRANSIENT, PartitionFailures, longer
from streams.runtime.fetched import FetchedBatch
from streams.runtime.memory import FreedMemory
from streams.runtime.open_partition import OpenPartition, restore
from streams.runtime.settings import Settings
from streams.runtime.transport import BatchConsumer
from streams.runtime.watchdog import repartitioned

log = logging.getLogger(__name__)

#: A checkpoint is due after so many changed slots, which have some kB each: where events are spread over much time and
#: many people, nearly each event changes another slot.
SLOTS_PENDING = 10_000
#: The last checkpoints before a hand-over may take this long: the whole group waits meanwhile.
HAND_OVER_SECONDS = 4.0
_WRITE_SECONDS = 30.0
_TICK_SECONDS = 0.1
_SHOW_SECONDS = 1.0
_MEMORY_SECONDS = 10.0


class Partitions:
    """Owner of the partitions' state; the transport's `Owner`.

    Every record counts exactly once by three rules. First, a batch is applied only where the one before it ended.
    Second, if a checkpoint fails in its commit, nobody knows whether it was written: the engine is dropped, and
    restored from the broker; if it fails before, nothing of it counts, and the engine and its figures go on. Third,
    before a partition is restored, every earlier owner is fenced.

    Args:
        settings: The worker's settings.
        policy: The engines' policy.
        state: The exporter's state.
        partitions: How many partitions the events topic had when the worker started.
        transactional: Whether the broker has transactions.
        new_store: Makes the checkpoints of a partition, given its number; not started yet.
        fail: Ends the worker, given an exit code and a sentence.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        state: MonitorState,
        *,
        partitions: int,
        transactional: bool,
        new_store: Callable[[int], CheckpointStore],
        fail: Callable[[int, str], None],
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._state = state
        self._topic_partitions = partitions
        self._transactional = transactional
        self._new_store = new_store
        self._fail = fail
        self._consumer: BatchConsumer | None = None
        self._mine: set[int] = set()
        self._owned: dict[int, OpenPartition] = {}
        #: Engines of revoked partitions, as of their last checkpoint; often the same worker gets the partition back.
        self._parked: dict[int, OpenPartition] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._failures = PartitionFailures(settings, fail)
        self._background = BackgroundTasks(fail)
        self._shown_offsets: dict[int, int] = {}
        #: Offset at which the next owner would go on, of each assigned partition that was opened here before.
        self._durable: dict[int, int] = {}
        self._closed = False

    def attach(self, consumer: BatchConsumer) -> None:
        """Sets the consumer, which is made after its owner."""
        self._consumer = consumer

    @property
    def consumer(self) -> BatchConsumer:
        """The transport's consumer."""
        assert self._consumer is not None, "attach() comes before the app starts"
        return self._consumer

    def positions(self) -> dict[int, int]:
        """Partition to the offset that it waits for, of running partitions; may be called from any thread."""
        return {
            p: self.consumer.reached(p, owned.expected) for p, owned in tuple(self._owned.items()) if not owned.halted
        }

    def durable(self) -> dict[int, int]:
        """Partition to the first offset that is not durable, also of those being reopened; for any thread."""
        reached = {p: self.consumer.reached(p, o.expected) for p, o in tuple(self._owned.items()) if o.is_written}
        return {**self._durable, **reached}

    def describe(self) -> list[str]:
        """A sentence for each partition, for the log of a worker that is stuck."""
        lines = [owned.describe(self._durable.get(p)) for p, owned in sorted(self._owned.items())]
        return lines + [f"partition {p}: being opened" for p in sorted(self._opening)]

    # --- assignment and revocation by the group

    def member_until(self, until: float) -> None:
        """Takes note of an accepted heartbeat."""
        self._state.prove_membership(until)

    def assigned(self, partitions: set[int], topic_partitions: int) -> None:
        """Opens the partitions that the group gave, each by itself, so that none waits for a slow one."""
        if self._closed:
            return
        if topic_partitions != self._topic_partitions:
            self._fail(1, repartitioned(topic_partitions, self._topic_partitions))
            return
        log.info("assigned partitions=%s of %d", _list(partitions), topic_partitions)
        self._state.assign(partitions, topic_partitions)
        for partition in self._parked.keys() - partitions:
            self._background.spawn(self._parked.pop(partition).store.close())
        self._cancel_openings()
        self._mine = set(partitions)
        self._durable = {p: offset for p, offset in self._durable.items() if p in self._mine}
        for partition in sorted(partitions - self._owned.keys()):
            self._start_opening(partition)

    def consumer_failed(self, error: Exception) -> None:
        """Ends the worker, since no records will come any more."""
        forbidden = denied(error, self._settings)
        self._fail(1, forbidden or f"The connection to Kafka ended for good: {error!r}.")

    async def revoked(self) -> None:
        """Writes the last checkpoint of each partition, and releases it."""
        await self._release(HAND_OVER_SECONDS)

    async def _release(self, within_seconds: float) -> None:
        self._state.revoke()
        self._mine.clear()
        self._cancel_openings()
        owned = list(self._owned.values())
        if not owned:
            return
        started = time.monotonic()
        for each in owned:
            self.consumer.close_partition(each.partition)
        checkpoints = [asyncio.ensure_future(self._checkpoint(each, now=True)) for each in owned]
        _, late = await asyncio.wait(checkpoints, timeout=within_seconds)
        for task in late:
            task.cancel()  # drops that engine: the next owner restores what the broker has
        if late:
            await asyncio.wait(late)
        kept = {p: o for p, o in self._owned.items() if o.is_written and not o.lock.locked()}
        for partition, each in self._owned.items():
            if partition not in kept:
                self._background.spawn(each.store.close())
        self._owned.clear()
        self._parked.update(kept)
        for each in owned:
            written = "everything written" if each.partition in kept else "not everything written"
            log.info("partition=%d released at offset=%d, %s", each.partition, each.expected, written)
        log.info("released partitions=%s in %.2f s", _list(o.partition for o in owned), time.monotonic() - started)

    async def close(self, within_seconds: float) -> bool:
        """Writes the last checkpoints and closes everything; returns whether all was written."""
        self._closed = True
        had = len(self._owned)
        await self._release(min(HAND_OVER_SECONDS, within_seconds / 2))
        written = len(self._parked) >= had
        stores = [self._parked.popitem()[1].store for _ in range(len(self._parked))]
        await asyncio.gather(*(store.close() for store in stores))
        await self._background.wait(within_seconds / 4)
        return written

    # --- opening

    def _start_opening(self, partition: int, delay: float = 0.0) -> None:
        if partition not in self._mine:
            return  # its checkpoint failed while it was given away
        task = asyncio.ensure_future(self._open(partition, delay))
        self._opening[partition] = task
        task.add_done_callback(lambda done: self._opened(partition, done))

    def _opened(self, partition: int, task: "asyncio.Task[None]") -> None:
        if self._opening.get(partition) is task:
            del self._opening[partition]
        self._background.report(task)

    def _cancel_openings(self) -> None:
        for task in self._opening.values():
            task.cancel()
        self._opening.clear()

    async def _open(self, partition: int, delay: float) -> None:
        """Opens a partition; tries again until it is open or the group takes it away."""
        while True:
            await asyncio.sleep(delay)
            delay = longer(delay)
            try:
                # A heartbeat first: a worker that was stopped and lost the partition must not fence its new owner.
                if not await self.consumer.prove():
                    log.info("partition=%d not opened yet: the group does not count this worker as a member", partition)
                    continue
                async with asyncio.timeout(self._settings.restore_seconds):
                    if await self._open_once(partition):
                        return
            except (WorkerRefusal, FormatError) as error:
                self._fail(1, str(error))
                return
            except TRANSIENT as error:
                self._state.restore_failed(partition)
                self._background.spawn(self._failures.say_unrestored(partition, delay, error))

    async def _open_once(self, partition: int) -> bool:
        started = time.monotonic()
        owned, how = await self._take_back(partition), "kept"
        if owned is None:
            owned, how = await self._restore(partition)
        try:
            begin, ends = await self.consumer.log_bounds(partition)
            owned.place(begin, ends, transactional=self._transactional)
            self._state.restored(partition, owned.engine)
            if not await self.consumer.open_at(partition, owned.expected):
                raise TimeoutError("a rebalance came first")
        except BaseException:
            self._state.dropped(partition)
            self._background.spawn(owned.store.close())
            raise
        owned.checkpointed = time.monotonic()
        self._owned[partition] = owned
        self._durable[partition] = owned.expected
        log.info(
            "partition=%d opened at offset=%d, %d behind the end, %s, in %.2f s",
            partition,
            owned.expected,
            max(0, ends.stable - owned.expected),
            how,
            time.monotonic() - started,
        )
        return True

    async def _take_back(self, partition: int) -> OpenPartition | None:
        """The parked engine, if no other worker has owned the partition since; else None."""
        parked = self._parked.pop(partition, None)
        if parked is None:
            return None
        proven = False
        try:
            proven = await parked.store.prove()
        finally:
            if not proven:
                self._background.spawn(parked.store.close())
        return parked if proven else None

    async def _restore(self, partition: int) -> tuple[OpenPartition, str]:
        store = self._new_store(partition)
        try:
            owned, restored = await restore(store, partition, self._policy, self._topic_partitions)
        except BaseException:
            self._background.spawn(store.close())
            raise
        if restored.at_ms:
            self._state.committed_before(partition, restored.at_ms / 1000)
        return owned, f"restored from {len(restored.slots)} slots in {restored.records} records"

    # --- records

    async def take(self, batch: FetchedBatch) -> None:
        """Applies a batch if it follows the last one applied; else makes the flow start again after that one."""
        owned = self._owned.get(batch.partition)
        if owned is None or not self.consumer.is_current(batch):
            return
        if batch.follows >= owned.expected:
            is_real = await self._gap_is_real(owned, batch.follows + 1)
            if not is_real or not self.consumer.is_current(batch):
                return
        for records in batch.runs():
            if owned.cut is not None and not owned.cut.done():
                await asyncio.wait({owned.cut})
            if not self.consumer.is_current(batch) or self._owned.get(batch.partition) is not owned:
                return
            if not self._apply(owned, records):
                return
            await self._pace(owned)
        owned.expected = max(owned.expected, batch.ends)

    def _apply(self, owned: OpenPartition, records: Sequence[KafkaRecord]) -> bool:
        try:
            owned.apply(records)
        except Exception:
            # Never checkpoint a half-applied batch, and never go past it.
            log.exception("partition=%d the engine failed at offsets %d to %d", owned.partition, *_ends(records))
            self._owned.pop(owned.partition)
            self._fail(70, "The engine failed on a batch, which is a defect: please report it with the lines above.")
            return False
        self._follow(owned)
        return True

    async def _gap_is_real(self, owned: OpenPartition, first: int) -> bool:
        """Whether missing records are missing in the log itself: then a second fetch begins at the same record."""
        if owned.gap == first:
            begin, _ = await self.consumer.log_bounds(owned.partition)
            if begin > owned.expected:
                owned.skip_deleted(min(begin, first))
            return True
        owned.gap = first
        await self.consumer.open_at(owned.partition, owned.expected)
        return False

    def _follow(self, owned: OpenPartition) -> None:
        """Reports to the exporter how far the partition is."""
        partition = owned.partition
        if not owned.caught_up and self.consumer.reached(partition, owned.expected) >= owned.catch_up_to:
            owned.caught_up = True
            self._state.caught_up(partition)
            log.info("partition=%d caught up at offset=%d: its figures show", partition, owned.expected)
        if owned.engine.clock_ms:
            self._state.event_delays(partition, [time.time() - owned.engine.clock_ms / 1000])

    async def _pace(self, owned: OpenPartition) -> None:
        """Starts a checkpoint when enough has come; when far too much has come, the flow waits for it."""
        engine = owned.engine
        if owned.is_full_of_letters:
            await self._checkpoint(owned)
            if owned.is_full_of_letters and self._owned.get(owned.partition) is owned and not owned.halted:
                # All partitions share one queue, so this one's flow is closed instead, until they are written.
                owned.halted = True
                self.consumer.close_partition(owned.partition)
        elif engine.urgent and not owned.lock.locked():
            # A page must not wait for the timer: its record is written with a checkpoint, so one is started now.
            self._background.spawn(self._checkpoint(owned))
        elif (fill := self._fill(engine)) >= 1:
            if not owned.lock.locked():
                self._background.spawn(self._checkpoint(owned))
            elif fill >= 2:
                await self._checkpoint(owned)

    def _fill(self, engine: PartitionEngine) -> float:
        """How much has come since the last checkpoint; from 1 on the next one is due."""
        records = engine.pending_records / self._settings.checkpoint_records
        return max(records, engine.slots_pending / SLOTS_PENDING)

    # --- checkpoints

    async def _checkpoint(self, owned: OpenPartition, *, now: bool = False) -> None:
        """Writes what has changed, and what the last checkpoint could not write.

        If this fails and certainly nothing of it counts, the checkpoint is kept for the next attempt; with `now` that
        does not wait for the delay. Otherwise the engine is dropped, and the partition is restored from the broker.
        """
        async with owned.lock:
            if self._owned.get(owned.partition) is not owned or owned.is_written:
                return
            started = time.monotonic()
            if started < owned.retry_at and not now:
                return
            owned.checkpointed = started
            # In a thread: with many people it takes a tenth of a second, and the event loop must not stall.
            owned.cut = asyncio.ensure_future(asyncio.to_thread(owned.engine.checkpoint))
            try:
                checkpoint = await owned.cut
                if owned.unwritten is not None:
                    checkpoint = checkpoint.with_earlier(owned.unwritten)
                async with asyncio.timeout(_WRITE_SECONDS):
                    if owned.unwritten is not None:
                        await self._start_again(owned.store)
                    await owned.store.write(checkpoint)
            except BaseException as error:
                self._failed(owned, checkpoint if owned.cut.done() else None, error)
                if not isinstance(error, (Fenced, DeadLettersRefused, *TRANSIENT)):
                    raise
                return
            owned.engine.committed(checkpoint)
            owned.durable = self._durable[owned.partition] = checkpoint.applied + 1
            owned.unwritten, owned.letter_bytes = None, 0
            self._failures.over(owned.partition)
            self._state.committed(owned.partition, time.monotonic() - started)
            owned.say_limits()
        if owned.halted and not now:
            await self._resume(owned)

    async def _resume(self, owned: OpenPartition) -> None:
        """Opens the flow of a halted partition again, at the offset that it has reached."""
        owned.halted = False
        with contextlib.suppress(*TRANSIENT):
            if await self.consumer.open_at(owned.partition, owned.expected):
                return
        if self._drop(owned):
            self._start_opening(owned.partition)

    async def _start_again(self, store: CheckpointStore) -> None:
        """Connects a store anew whose write has failed; this ends its open transaction first.

        Raises:
            TimeoutError: The group does not count this worker as a member, so another worker may own the partition.
        """
        if not await self.consumer.prove():
            raise TimeoutError("the group does not count this worker as a member now")
        await store.close()
        await store.start()

    def _drop(self, owned: OpenPartition) -> bool:
        """Drops an engine whose checkpoint may or may not be written; False if its partition was revoked meanwhile."""
        if self._owned.get(owned.partition) is not owned:
            return False
        del self._owned[owned.partition]
        self.consumer.close_partition(owned.partition)
        self._state.dropped(owned.partition)
        self._background.spawn(owned.store.close())
        return True

    def _failed(self, owned: OpenPartition, checkpoint: Checkpoint | None, error: BaseException) -> None:
        """Handles a failed checkpoint: keeps it if it was certainly not written, else drops the engine."""
        known = isinstance(error, (DeadLettersRefused, *TRANSIENT))
        keep = known and checkpoint is not None and owned.store.nothing_counts
        if keep:
            owned.unwritten = checkpoint
        elif not self._drop(owned) or not (known or isinstance(error, Fenced)):
            return
        partition = owned.partition
        delay = self._failures.add(partition)
        owned.retry_at = time.monotonic() + delay
        self._state.checkpoint_failed(partition, failure(error))
        if isinstance(error, DeadLettersRefused):
            self._state.dead_letter_failed(partition)
        if isinstance(error, Fenced):
            # Fenced by a new owner, and then a rebalance follows; or after a pause so long that the broker ended the
            # transaction. Only the group knows who owns the partition, so wait until it has had time to say so.
            delay = max(delay, self._settings.session_timeout_seconds / 3)
            self._failures.say_fenced(partition)
        else:
            what = "checkpoint failed, its figures go on" if keep else "checkpoint failed, it is restored"
            self._background.spawn(
                self._failures.say_unwritten(f"partition={partition} {what}", owned.store.at, delay, error)
            )
        if not keep:
            self._start_opening(partition, delay)

    async def tick(self) -> None:
        """Runs for ever: starts checkpoints by time, shows that the loop turns, commits offsets, gives memory back."""
        shown = looked = time.monotonic()
        showing: asyncio.Task[None] | None = None
        memory = FreedMemory()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            self._state.loop_turned()
            for owned in list(self._owned.values()):
                if not owned.caught_up:
                    self._follow(owned)
                due = now - owned.checkpointed >= self._settings.checkpoint_seconds or now >= owned.retry_at > 0
                if due and not owned.is_written and not owned.lock.locked():
                    self._background.spawn(self._checkpoint(owned))
            if now - shown >= _SHOW_SECONDS and (showing is None or showing.done()):
                shown = now
                showing = self._background.spawn(self._show_offsets())
            if now - looked >= _MEMORY_SECONDS:
                looked = now
                if memory.is_due:
                    self._background.spawn(asyncio.to_thread(memory.give_back))

    async def _show_offsets(self) -> None:
        offsets = {}
        for partition, owned in self._owned.items():
            idle = owned.is_written
            offset = self.consumer.reached(partition, owned.expected) if idle else owned.durable
            if offset is not None and self._shown_offsets.get(partition) != offset:
                offsets[partition] = offset
        if offsets and await self.consumer.commit_for_show(offsets):
            self._shown_offsets.update(offsets)


def _list(partitions: Iterable[int]) -> str:
    return ",".join(map(str, sorted(partitions))) or "none"


def _ends(records: Any) -> tuple[int, int]:
    return records[0].offset, records[-1].offset
