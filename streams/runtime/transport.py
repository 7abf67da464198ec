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
import itertools
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, cast

import faust
from aiokafka.errors import (
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
from faust.app.base import BootStrategy
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from schemas.topics import EVENTS
from streams.runtime.consumer_thread import (
    CALL_SECONDS,
    FAUST_LOG,
    REQUEST_SECONDS,
    ConsumerThread,
    Fetched,
    MembershipEnded,
    OwnedConsumer,
)
from streams.runtime.ends import LogEnds
from streams.runtime.fetched import FetchedBatch
from streams.runtime.settings import Settings

log = logging.getLogger(__name__)

#: How long one look for records takes when there are none; a partition opened meanwhile waits for its end.
_IDLE_SECONDS = 0.2
#: Batches waiting in Faust's queue before it stops fetching.
_QUEUED_BATCHES = 5
_MEMBERSHIP_SECONDS = 1.0

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


class _NoReadOffsets(dict[TP, int | None]):
    """Where Faust notes what it has read, in order to drop what comes again: here batches come again on purpose."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class BatchConsumer(OwnedConsumer):
    """Faust's consumer with one message a fetched batch. Its public methods are for the owner of the partitions."""

    _thread: ConsumerThread
    owner: Owner
    logger = FAUST_LOG

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
        async with asyncio.timeout(REQUEST_SECONDS):
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
            async with asyncio.timeout(CALL_SECONDS):
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

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Looks for records once and yields each partition's as one message."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        wanted = {tp for tp in self._get_active_partitions() if tp.partition in self._epochs}
        if not wanted:
            await self._wait_for_partitions()
            return
        try:
            fetched: Fetched = await self._thread.call_thread(self._thread.fetch, wanted, _IDLE_SECONDS)
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

    def _current(self, partition: int, fetched: Fetched) -> int | None:
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
    logger = FAUST_LOG

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
            broker_request_timeout=max(REQUEST_SECONDS, settings.session_timeout_seconds),
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
