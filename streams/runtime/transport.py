"""Faust made fast and exact: one fetched batch of a partition is one Faust message. Knows Faust's internals, alone.

Faust hands over single records, commits by their acknowledgements and seeks to what it committed.
Here durable state says where to go on, so acknowledgements are off and Faust's commits do nothing.

The promise to the owner of the partitions: batches of an open partition come in the order of the
log, and each says which record it follows. Whether that one has come is for the owner to check: a
batch may be lost on the way when Faust clears its queues. Then the owner opens the partition again
where it stands. Every opening has a number of its own, an epoch, and what was fetched under an older
one is no longer current: so a batch from before a seek can do no harm, however late it arrives
(Faust resumes partitions before it seeks, and its queues outlive a rebalance).
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    IllegalStateError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.app.base import BootStrategy
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from schemas.topics import EVENTS
from streams.engine.batch import KafkaRecord
from streams.runtime.ends import LogEnds, log_ends
from streams.runtime.memory import break_circle
from streams.runtime.settings import Settings

log = logging.getLogger(__name__)
#: Faust's services name their loggers by their module; those below must not pass for ours.
_FAUST_LOG = logging.getLogger("faust")

#: Records that are applied at a time: enough to make the cost of a Faust message and of each step vanish (half as many
#: cost .5 us an event more), too few to stall the loop for long (60 ms on a fast core).
BATCH_RECORDS = 20_000
#: Bytes of one fetch of a partition: about one run. 16 MB halve the throughput.
FETCH_BYTES = 6 << 20
#: How long the broker holds an empty fetch, and so how late a lone event may be.
FETCH_WAIT_SECONDS = 0.1
#: How long one look for records takes when there are none; a partition opened meanwhile waits for its end.
_IDLE_SECONDS = 0.2
#: Batches waiting in Faust's queue before it stops fetching.
_QUEUED_BATCHES = 5
_REQUEST_SECONDS = 10.0
_CALL_SECONDS = 5.0
_REBALANCE_SECONDS = 30.0
#: By its answers a worker learns that the group rebalances, which all others wait for.
_HEARTBEAT_SECONDS = 1.0
_MEMBERSHIP_SECONDS = 1.0
#: aiokafka leaves the group when nothing is fetched for so long; a long restore must not, and the watchdog is ours.
_POLL_SECONDS = 86_400.0

#: What waiting does not mend; everything else is tried again.
_FATAL = (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
)


class FetchedBatch:
    """Consecutive records of one partition, in the order of the log.

    Attributes:
        partition: Of the events topic.
        epoch: Which opening of the partition they were fetched under.
        follows: The last offset of what came before, -1 for none.
        ends: Where the next batch begins. Between `follows` and `ends` there may be offsets that hold no record:
            markers of transactions, what a producer rolled back, or what compaction removed.
    """

    __slots__ = ("_records", "ends", "epoch", "follows", "partition")

    def __init__(self, partition: int, epoch: int, follows: int, records: "Unread | Sequence[KafkaRecord]") -> None:
        self.partition = partition
        self.epoch = epoch
        self.follows = follows
        self.ends = records.ends if isinstance(records, Unread) else records[-1].offset + 1
        self._records = records

    def runs(self) -> Iterator[Sequence[KafkaRecord]]:
        """The records in runs of about `BATCH_RECORDS`; to be asked for once. There may be none."""
        return self._records.runs() if isinstance(self._records, Unread) else iter([self._records])


class Owner(Protocol):
    """Whoever keeps the partitions' state; called on the event loop."""

    def assigned(self, partitions: set[int], topic_partitions: int) -> None:
        """The group gave this worker these partitions, of so many; `open_at` starts each. Must not wait."""

    async def revoked(self) -> None:
        """All partitions are being taken away: write what must be kept, and be quick, the group waits."""

    def member_until(self, until: float) -> None:
        """The group counts this worker as a member until then, monotonic seconds; called in any thread."""

    async def take(self, batch: FetchedBatch) -> None:
        """A batch has come."""

    def consumer_failed(self, error: Exception) -> None:
        """The group or the topic does not take this worker, and waiting mends nothing; no batch follows."""


class Unread:
    """A stretch of a broker's answer: its checksums fit, what was rolled back is left out, and nothing is parsed yet.

    Parsing is left to the thread that applies the records, right before it does: what has just been made is
    still in the core's cache, and what waits in a queue is bytes alone.

    Attributes:
        begins: The first offset wanted.
        ends: The offset behind the last one.
    """

    __slots__ = ("_batches", "begins", "ends")

    def __init__(self, parsed: PartitionRecords, most: int = BATCH_RECORDS) -> None:
        """Takes whole batches of producers until there are enough.

        Args:
            parsed: aiokafka's view of the answer. Where it is read up to is kept there, as aiokafka does.
            most: Offsets after which no batch is added.

        Raises:
            CorruptRecordException: The checksum of a batch does not fit.
        """
        self._batches: list[Any] = []
        self.begins = self.ends = parsed.next_fetch_offset
        left = parsed._records
        # Nobody rolls back in most answers: then each batch costs no more than a look at this.
        rolled_back = bool(parsed._aborted_transactions or parsed._aborted_producers)
        while self.ends - self.begins < most and left.has_next():
            batch = left.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"the records at offset {self.ends} fail their checksum")
            # Compaction may have removed its last records: the next fetch begins behind them all the same.
            self.ends = parsed.next_fetch_offset = batch.next_offset
            if rolled_back and _is_rolled_back(parsed, batch):
                continue
            if not batch.is_control_batch:  # those hold the ends of transactions, no records
                self._batches.append(batch)

    def __bool__(self) -> bool:
        return bool(self._batches)

    def runs(self) -> Iterator[list[KafkaRecord]]:
        """Parses the records, which can be done once, in even runs of about `BATCH_RECORDS`, at most half as many more.

        Whole batches of producers nearly always make some hundreds too many, and a run of these would cost what a full
        one costs beside its records.

        aiokafka hands over single records: an object around each, out of a generator within an iterator
        within a loop. That is 1.5 us a record (.7 without the object) where this is .2.
        """
        records = itertools.chain.from_iterable(self._batches)
        offsets = self.ends - self.begins
        length = -(-offsets // max(round(offsets / BATCH_RECORDS), 1))
        while run := list(itertools.islice(records, length)):
            if run[0].offset < self.begins:
                # The producer's batch that holds the wanted offset comes whole.
                run = [record for record in run if record.offset >= self.begins]
            if run:
                yield run


def _is_rolled_back(parsed: PartitionRecords, batch: Any) -> bool:
    """Whether a batch belongs to a transaction that was rolled back; to be asked of each batch, in order.

    The broker names such transactions by producer and first offset; each lasts to its producer's next abort marker.
    """
    parsed._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch:
        if parsed._contains_abort_marker(batch):
            parsed._aborted_producers.discard(batch.producer_id)
        return True
    return bool(batch.is_transactional and batch.producer_id in parsed._aborted_producers)


class _Taking:
    """Stands in for the method of aiokafka's fetch result that takes records out of it."""

    __slots__ = ("_result",)

    def __init__(self, result: FetchResult) -> None:
        # A circle would keep megabytes of answers until the garbage collector comes.
        self._result = weakref.ref(result)

    def __call__(self, most: None) -> list[Unread]:
        result = self._result()
        if result is None or not result.check_assignment(result._topic_partition):
            return []
        break_circle(result._partition_records)
        unread = Unread(result._partition_records)
        result._update_position()
        if not result._partition_records._records.has_next():
            result._partition_records = None
        return [unread] if unread else []


class _Fetched(NamedTuple):
    """What one look brought: records, where it began and ended in each log, and the epochs that it belongs to."""

    records: Mapping[TP, Sequence[Unread]]
    began: Mapping[int, int]
    ended: Mapping[int, int]
    epochs: Mapping[int, int]


_NOTHING = _Fetched({}, {}, {}, {})


class MembershipEnded(Exception):
    """Nobody cares for this worker's membership in the group any more; only a restart helps."""


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka. Methods run in it; the consumer calls them through `call_thread`."""

    consumer: "BatchConsumer"
    logger = _FAUST_LOG

    def __post_init__(self) -> None:
        super().__post_init__()
        #: The epoch of each partition's last seek, noted where seeks and fetches take turns.
        self._sought: dict[int, int] = {}

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        # aiokafka keeps the time of its last heartbeat to itself.
        coordinator._do_heartbeat = functools.partial(self._beat, coordinator._do_heartbeat)

    async def on_thread_stop(self) -> None:
        # When the broker is away, aiokafka's own end fails on what it cancels.
        with contextlib.suppress(KafkaError, OSError, asyncio.CancelledError):
            await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        settings = self.consumer.settings
        session_ms = int(settings.session_timeout_seconds * 1000)
        return AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            client_id=settings.group,
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            # What a producer has rolled back, or has not committed yet, does not exist.
            isolation_level="read_committed",
            # Retention may overtake a worker: it goes on at the oldest record, and the jump is seen and counted.
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(FETCH_WAIT_SECONDS * 1000),
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=int(_REQUEST_SECONDS * 1000),
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(session_ms // 3, int(_HEARTBEAT_SECONDS * 1000)),
            rebalance_timeout_ms=max(session_ms, int(_REBALANCE_SECONDS * 1000)),
            max_poll_interval_ms=int(_POLL_SECONDS * 1000),
            **settings.security(),
        )

    async def _beat(self, beat: Callable[[], Awaitable[bool]]) -> bool:
        sent = time.monotonic()
        accepted = bool(await beat())
        if accepted:
            self.consumer.owner.member_until(sent + self.consumer.settings.session_timeout_seconds)
        return accepted

    async def prove(self) -> bool:
        coordinator = self._ensure_consumer()._coordinator
        async with asyncio.timeout(_CALL_SECONDS):
            return coordinator.generation >= 0 and bool(await coordinator._do_heartbeat())

    async def fetch(self, wanted: set[TP], timeout_seconds: float) -> _Fetched:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if not self.consumer.flow_active:
            return _NOTHING
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        # Faust never asks for these errors, and until someone does, aiokafka's membership stands still.
        consumer._coordinator.check_errors()
        deadline = time.monotonic() + timeout_seconds
        with fetcher._subscriptions.fetch_context():
            while True:
                for result in fetcher._records.values():
                    if isinstance(result, FetchResult) and "getall" not in vars(result):
                        result.getall = _Taking(result)
                began = self._positions(wanted)
                records = await fetcher.fetched_records(wanted, timeout=0)
                ended = self._positions(wanted)
                left = deadline - time.monotonic()
                if records or ended != began or left <= 0 or fetcher._closed:
                    # Without a pause since the records were taken, so that no seek can have come between.
                    return _Fetched(records, began, ended, dict(self._sought))
                await asyncio.wait([fetcher._create_fetch_waiter()], timeout=left)

    def _positions(self, wanted: set[TP]) -> dict[int, int]:
        """Where the next fetch begins; past the last record where markers or what was rolled back follow it."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return {}
        known = {tp: subscription.assignment.state_value(tp) for tp in wanted}
        return {tp.partition: state.position for tp, state in known.items() if state and state.has_valid_position}

    async def check(self) -> None:
        coordinator = self._ensure_consumer()._coordinator
        if coordinator._coordination_task.done() and not coordinator._closing.done():
            raise MembershipEnded(f"aiokafka's task has ended: {coordinator._coordination_task.exception()!r}")
        coordinator.check_errors()

    async def seek_to(self, tp: TP, offset: int, epoch: int) -> None:
        self._ensure_consumer().seek(tp, offset)
        self._sought[tp.partition] = epoch

    async def log_bounds(self, tp: TP) -> tuple[int, LogEnds]:
        consumer = self._ensure_consumer()
        return (await consumer.beginning_offsets([tp]))[tp], (await log_ends(consumer, [tp]))[tp]

    async def commit_for_show(self, offsets: Mapping[TP, int]) -> None:
        async with asyncio.timeout(_CALL_SECONDS):
            await self._ensure_consumer().commit(
                {TopicPartition(*tp): OffsetAndMetadata(at, "") for tp, at in offsets.items()}
            )

    async def leave(self) -> None:
        coordinator = self._ensure_consumer()._coordinator
        if coordinator._group_instance_id is not None:
            return  # a static member keeps its place for its next start
        member, node = coordinator.member_id, coordinator.coordinator_id
        # aiokafka leaves only after its join has been answered, which may take as long as the slowest member.
        # On the other connection, since the broker answers one at a time and the join is not answered yet.
        closing = asyncio.ensure_future(coordinator.close())
        if member and node is not None:
            await self._ensure_consumer()._client.send(node, LeaveGroupRequest(coordinator.group_id, member))
        await closing

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        log.error(msg.format(*fmt))


class _NoReadOffsets(dict[TP, int | None]):
    """Where Faust notes what it has read, in order to drop what comes again: here batches come again on purpose."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class BatchConsumer(driver.Consumer):
    """Faust's consumer with one message a fetched batch. Its public methods are for the owner of the partitions."""

    _thread: _ConsumerThread
    logger = _FAUST_LOG

    def __init__(self, transport: "_Transport", *args: Any, **kwargs: Any) -> None:
        app = cast("App", transport.app)
        self.settings, self.owner = app.settings, app.owner
        super().__init__(transport, *args, **kwargs)
        self._read_offset = _NoReadOffsets()
        self._epochs: dict[int, int] = {}
        self._epoch_numbers = itertools.count(1)
        self._revocations = 0
        #: The last offset of what was handed to the stream, or the one before the opening; and where the last fetch
        #: ended, which may have brought no record.
        self._handed: dict[int, int] = {}
        self._fetched_to: dict[int, int] = {}
        self._may_fetch = asyncio.Event()

    # --- for the owner

    async def prove(self) -> bool:
        """Whether the group still counts this worker as a member: asks it, by a heartbeat."""
        try:
            return bool(await self._thread.call_thread(self._thread.prove))
        except (KafkaError, TimeoutError):
            return False

    async def log_bounds(self, partition: int) -> tuple[int, LogEnds]:
        """The first offset that the log still has, and its ends."""
        async with asyncio.timeout(_REQUEST_SECONDS):
            bounds: tuple[int, LogEnds] = await self._thread.call_thread(self._thread.log_bounds, TP(EVENTS, partition))
            return bounds

    async def open_at(self, partition: int, offset: int) -> bool:
        """Starts, or starts again, a partition's flow at an offset; False when a rebalance has overtaken it."""
        self.close_partition(partition)
        revocations = self._revocations
        epoch = next(self._epoch_numbers)
        try:
            await self._thread.call_thread(self._thread.seek_to, TP(EVENTS, partition), offset, epoch)
        except IllegalStateError:
            return False
        if revocations != self._revocations:
            return False
        self._handed[partition] = offset - 1
        self._fetched_to[partition] = offset
        self._epochs[partition] = epoch
        self._may_fetch.set()
        return True

    def close_partition(self, partition: int) -> None:
        """Ends a partition's flow: what is on the way is no longer current."""
        self._epochs.pop(partition, None)
        self._handed.pop(partition, None)
        self._fetched_to.pop(partition, None)

    def is_current(self, batch: FetchedBatch) -> bool:
        """Whether a batch belongs to its partition's present opening."""
        return self._epochs.get(batch.partition) == batch.epoch

    def reached(self, partition: int, expected: int) -> int:
        """Where an owner stands that waits for record `expected`: past markers and gaps that hold no record."""
        if self._handed.get(partition, -1) < expected:
            return max(expected, self._fetched_to.get(partition, expected))
        return expected

    async def commit_for_show(self, positions: Mapping[int, int]) -> bool:
        """Commits offsets so that Kafka's own tools show the lag; nothing here reads them, so failure is no harm."""
        assigned = self.assignment()
        offsets = {tp: at for p, at in positions.items() if (tp := TP(EVENTS, p)) in assigned}
        if not offsets:
            return False
        try:
            await self._thread.call_thread(self._thread.commit_for_show, offsets)
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets not committed for show: %r", error)
            return False
        return True

    async def leave(self) -> None:
        """Leaves the group at once, so that others need not wait for a time-out, also in the midst of a rebalance."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._thread.call_thread(self._thread.leave)
        except (KafkaError, OSError, TimeoutError, ConsumerNotStarted) as error:
            log.warning("could not leave the group, which will wait for its time-out: %r", error)

    # --- for Faust

    @Service.task
    async def _watch_membership(self) -> None:
        """Ends the worker when the group does not take it.

        aiokafka keeps such errors until somebody asks, and before the first assignment nobody fetches.
        """
        while not self.should_stop:
            await self.sleep(_MEMBERSHIP_SECONDS)
            try:
                await self._thread.call_thread(self._thread.check)
            except (MembershipEnded, *_FATAL) as error:
                self.owner.consumer_failed(error)
                return
            except (KafkaError, ConsumerNotStarted) as error:
                log.debug("the group: %r", error)

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Looks for records once and yields each partition's as one message."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        wanted = {tp for tp in self._get_active_partitions() if tp.partition in self._epochs}
        if not wanted:
            await self._wait_for_partitions()
            return
        try:
            fetched: _Fetched = await self._thread.call_thread(self._thread.fetch, wanted, _IDLE_SECONDS)
        except _FATAL as error:
            self.stop_flow()
            self.owner.consumer_failed(error)
            return
        except KafkaError as error:
            log.warning("fetching failed and is tried again: %r", error)
            await asyncio.sleep(_IDLE_SECONDS)
            return
        for tp, (unread,) in fetched.records.items():
            if self.should_stop or not self.flow_active:
                return
            partition = tp.partition
            if (epoch := self._current(partition, fetched)) is not None:
                # Where the fetch did not begin where the last one ended, something is missing; or aiokafka has
                # jumped over what retention deleted. The owner finds out which.
                follows = unread.begins - 1
                if unread.begins == self._fetched_to[partition]:
                    follows = self._handed[partition]
                self._handed[partition] = unread.ends - 1
                yield TP(*tp), self._message(FetchedBatch(partition, epoch, follows, unread))
                if self._epochs.get(partition) == epoch:
                    self._fetched_to[partition] = unread.ends
        for partition in fetched.ended.keys() - {tp.partition for tp in fetched.records}:
            is_current = self._current(partition, fetched) is not None
            if is_current and fetched.began.get(partition) == self._fetched_to[partition]:
                self._fetched_to[partition] = fetched.ended[partition]

    def _current(self, partition: int, fetched: _Fetched) -> int | None:
        """The partition's epoch, if that is what the fetch was made under."""
        epoch = self._epochs.get(partition)
        return epoch if epoch is not None and epoch == fetched.epochs.get(partition) else None

    def _message(self, batch: FetchedBatch) -> ConsumerMessage:
        return ConsumerMessage(
            topic=EVENTS,
            partition=batch.partition,
            offset=batch.ends - 1,
            timestamp=0.0,
            timestamp_type=0,
            headers=[],
            key=None,
            value=cast(bytes, batch),  # the stream hands on whatever it is
            checksum=None,
            tp=TP(EVENTS, batch.partition),
            generation_id=self.app.consumer_generation_id,
        )

    async def _wait_for_partitions(self) -> None:
        """Waits until a partition opens or the queue has room; Faust sleeps a second here, and that is a stall."""
        self._may_fetch.clear()
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._may_fetch.wait()
        except TimeoutError:
            pass

    def on_buffer_drop(self, tp: TP) -> None:
        """The queue has room again."""
        super().on_buffer_drop(tp)
        self._may_fetch.set()

    async def perform_seek(self) -> None:
        """Faust's hook before the flow resumes: tells the owner, and waits for nothing.

        A restore that Faust waited for would end the worker's life silently when it took longer than
        Faust's own limit, and would be cancelled half-way by the next rebalance.
        """
        mine = {tp.partition for tp in self.assignment() if tp.topic == EVENTS}
        known = self._thread._ensure_consumer().partitions_for_topic(EVENTS) or ()
        self.owner.assigned(mine, len(known))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tells the owner of a share of nothing, too: for that Faust does not seek, and the worker was never ready."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            await self.perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stops the flow and lets the owner write, before Faust forgets the partitions."""
        self._revocations += 1
        self.stop_flow()
        for partition in list(self._epochs):
            self.close_partition(partition)
        await self.owner.revoked()
        await super().on_partitions_revoked(revoked)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: durable state is in the checkpoints."""
        return False

    async def verify_all_partitions_active(self) -> None:
        """Nothing: Faust's detector goes by acknowledgements; the watchdog goes by what was applied."""


class _Transport(driver.Transport):
    """Faust's transport with the consumer above."""

    Consumer = BatchConsumer


class _Boot(BootStrategy):
    """A consumer and nothing else: no producer of Faust's, and no web server with its port."""

    enable_kafka_producer = False
    enable_web = False


class App(faust.App):
    """The Faust app of one worker.

    Args:
        settings: Of the worker.
        owner: Of the partitions.
    """

    BootStrategy = _Boot
    logger = _FAUST_LOG

    def __init__(self, settings: Settings, owner: Owner) -> None:
        self.settings = settings
        self.owner = owner
        super().__init__(
            settings.group,
            broker=[f"kafka://{address.strip()}" for address in settings.bootstrap.split(",")],
            store="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_buffer_maxsize=_QUEUED_BATCHES,
            stream_recovery_delay=0.0,
            stream_wait_empty=False,
            broker_commit_interval=60.0,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_heartbeat_interval=settings.session_timeout_seconds / 3,
            broker_request_timeout=max(_REQUEST_SECONDS, settings.session_timeout_seconds),
        )
        # `acks` off: Faust then keeps no offsets of its own, and its commit logic, which loses data when
        # acknowledgements come out of order or offsets have gaps, has nothing to do.
        topic = self.topic(EVENTS, value_type=None, key_serializer="raw", value_serializer="raw", acks=False)
        self.agent(topic, name="labelwatch.take")(self._take)

    async def _take(self, stream: Any) -> None:
        """The Faust agent, a thin shell."""
        async for batch in stream:
            await self.owner.take(batch)

    def _create_directories(self) -> None:
        """None: without tables Faust keeps nothing on disk."""

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    @property
    def batches(self) -> BatchConsumer:
        """The consumer, by its own type."""
        return cast(BatchConsumer, self.consumer)
