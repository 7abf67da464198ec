"""One open partition of this worker: its engine, its checkpoints, and the offsets that both have reached."""

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.policy import OTHER, Policy
from schemas.topics import EVENTS
from streams.engine.batch import KafkaRecord
from streams.engine.partition import Checkpoint, PartitionEngine
from streams.runtime.broker import WorkerRefusal
from streams.runtime.checkpoint_layout import Restored
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.ends import LogEnds

log = logging.getLogger(__name__)

#: With this many dead letters pending, or bytes of them, the partition's flow waits for a checkpoint.
DEAD_LETTERS_PENDING = 1_000
DEAD_LETTER_BYTES_PENDING = 16 << 20
_SMALL_BATCH = 2_000


@dataclass(slots=True)
class OpenPartition:
    """One open partition.

    Attributes:
        expected: Offset of the next record to apply.
        catch_up_to: End of the readable log when it was opened; figures are shown once it is reached.
        durable: Offset at which the next owner would go on; None before the first checkpoint.
        gap: First offset after a gap that was seen once; a second fetch must confirm it.
        cut: A checkpoint that is being taken from the engine, which must not change meanwhile.
        deleted: How many offsets retention has deleted; counted with the next batch, so that they are counted once.
        letter_bytes: Upper bound of the bytes of dead letters that are pending.
        unwritten: A checkpoint that was certainly not written; the next one writes it too.
        retry_at: Monotonic seconds before which no checkpoint is tried again.
        limits_said: The limits that were logged, and whether as met or only as near.
        halted: Whether the flow is closed until dead letters are written, since too many are pending.
    """

    partition: int
    engine: PartitionEngine
    store: CheckpointStore
    expected: int
    catch_up_to: int
    durable: int | None = None
    gap: int | None = None
    cut: "asyncio.Future[Checkpoint] | None" = None
    deleted: int = 0
    letter_bytes: int = 0
    unwritten: Checkpoint | None = None
    retry_at: float = 0.0
    limits_said: dict[str, bool] = field(default_factory=dict)
    halted: bool = False
    caught_up: bool = False
    checkpointed: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_written(self) -> bool:
        """Whether all that was applied is durable."""
        return not self.engine.pending_records and self.unwritten is None

    @property
    def is_full_of_letters(self) -> bool:
        """Whether so many dead letters are pending that no more may come."""
        waiting = self.engine.dead_letters_pending + (len(self.unwritten.dead_letters) if self.unwritten else 0)
        return waiting >= DEAD_LETTERS_PENDING or self.letter_bytes >= DEAD_LETTER_BYTES_PENDING

    def place(self, begin: int, ends: LogEnds, *, transactional: bool) -> None:
        """Finds the offset at which to go on.

        Args:
            begin: The first offset that the log still has.
            ends: The log's ends.
            transactional: Whether the broker has transactions.

        Raises:
            WorkerRefusal: The log ends before that offset.
        """
        self.expected = self.engine.applied + 1
        end = ends.last
        if not transactional:
            end = max(end, self.expected)  # the embedded broker answers with the start of the last batch as the end
        if self.expected > end:
            raise WorkerRefusal(
                f"Partition {self.partition} of {EVENTS} ends at offset {end}, and the checkpoint stands at "
                f"{self.expected}: the topic was recreated or cut; start a new group with --id and replay."
            )
        if begin > self.expected:
            if self.durable is not None:
                self.skip_deleted(begin)
            self.expected = begin
        # Records behind an open transaction cannot be read, so there is nothing to catch up with there.
        self.catch_up_to = ends.stable
        self.caught_up = self.halted = False
        self.gap = None

    def skip_deleted(self, begin: int) -> None:
        """Counts and logs that retention has deleted the next records, up to an offset."""
        self.deleted += begin - self.expected
        log.error(
            "partition=%d offsets %d to %d were deleted by the topic's retention before they were read; see "
            "labelwatch_lost_records_total",
            self.partition,
            self.expected,
            begin - 1,
        )

    def apply(self, records: Sequence[KafkaRecord]) -> None:
        """Applies consecutive records; the first must be the expected one, or the first one after a confirmed gap."""
        letters = self.engine.dead_letters_pending
        if self.deleted:
            self.engine.count_deleted(self.deleted)
            self.deleted = 0
        self.engine.apply(records)
        self.gap = None
        self.expected = max(self.expected, records[-1].offset + 1)
        if self.engine.dead_letters_pending > letters and len(records) < _SMALL_BATCH:
            # Large records come in small batches; in a large batch the number of dead letters bounds their bytes.
            self.letter_bytes += sum(len(record.value or b"") for record in records)

    def describe(self, durable: int | None) -> str:
        """A sentence for the log of a worker that is stuck."""
        return (
            f"partition {self.partition}: {'halted' if self.halted else 'runs'}, next offset {self.expected}, "
            f"{self.engine.pending_records} records since the last checkpoint was cut, durable up to "
            f"{durable}, checkpoint {'being written' if self.lock.locked() else 'idle'}"
        )

    def say_limits(self) -> None:
        """Logs the limits that are near or met, each once."""
        for kind, use in self.engine.limits().items():
            if use.is_near and (kind not in self.limits_said or use.is_met > self.limits_said[kind]):
                self.limits_said[kind] = use.is_met
                log.warning(
                    "partition=%d uses %d of its %d %s (%.0f%%): %s; `labelwatch sites` shows who uses them: "
                    "remove forged or closed sites with `labelwatch sites remove`, or raise %s in [limits] of the "
                    "policy",
                    self.partition,
                    use.used,
                    use.limit,
                    kind,
                    100 * use.used / use.limit,
                    f"what is new counts under {OTHER}, {use.over} events since this worker has the partition"
                    if use.is_met
                    else "the limit is near",
                    kind,
                )


async def restore(
    store: CheckpointStore, partition: int, policy: Policy, partitions: int
) -> tuple[OpenPartition, Restored]:
    """Restores a partition from its last checkpoint; also returns what was read.

    Args:
        store: The partition's checkpoints, not started yet.
        partition: Number of the partition of the events topic.
        policy: The engine's policy.
        partitions: How many partitions the events topic has.

    Raises:
        WorkerRefusal: The checkpoint is not for this worker.
        FormatError: A newer build wrote it.
        KafkaError: The broker failed; try again.
    """
    await store.start()
    restored = await store.restore()
    # In a thread: a large state takes seconds, and the event loop must not stall.
    engine = await asyncio.to_thread(
        PartitionEngine.restore, partition, policy, restored.slots, restored.manifest, partitions=partitions
    )
    # Restored objects stay, so the garbage collector need not check them again and again.
    gc.freeze()
    durable = None if restored.manifest is None else engine.applied + 1
    for note in engine.notes:
        log.warning("partition=%d %s", partition, note)
    return OpenPartition(partition, engine, store, engine.applied + 1, 0, durable), restored
