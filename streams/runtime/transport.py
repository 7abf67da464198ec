"""Makes Faust fast and exact: one fetched batch of a partition is one Faust message. Only this knows Faust's internals.

Faust hands over single records, commits offsets by their acknowledgements, and seeks to what it committed. Here the
durable state says where to go on, so acknowledgements are off, and Faust's commits do nothing.

The owner of the partitions can rely on this: batches of an open partition come in the order of the log, and each says
which record it follows. The owner must check whether that record has come, because batches are dropped when Faust
clears its queues; then it opens the partition again at the offset that it has reached. Every opening has a number of
its own, an epoch. A batch that was fetched in an older epoch is no longer current, so one from before a seek does no
harm, however late it arrives (Faust resumes partitions before it seeks, and its queues are kept over a rebalance).
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

#: How long one fetch waits when there are no records; a partition that is opened meanwhile waits for its end.
_IDLE_SECONDS = 0.2
#: With so many batches in its queue Faust stops fetching.
_QUEUED_BATCHES = 5
_MEMBERSHIP_SECONDS = 1.0

#: Errors that do not go away by waiting; after all others the fetch is tried again.
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
    """The owner of the partitions' state; called on the event loop."""

    def assigned(self, partitions: set[int], topic_partitions: int) -> None:
        """Called when the group has given this worker partitions; `open_at` starts each. Must not wait.

        Args:
            partitions: All partitions that the worker has now.
            topic_partitions: How many the topic has.
        """

    async def revoked(self) -> None:
        """Called when all partitions are being taken away: must write what is to be kept, quickly, since all wait."""

    def member_until(self, until: float) -> None:
        """The group counts this worker as a member until then, monotonic seconds; called from any thread."""

    async def take(self, batch: FetchedBatch) -> None:
        """Called for every batch that has come."""

    def consumer_failed(self, error: Exception) -> None:
        """Called when the group or the topic refuses this worker for good; no batch follows."""


class _NoReadOffsets(dict[TP, int | None]):
    """Replaces Faust's notes of what it has read, by which it drops repeats: here batches are repeated on purpose."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class BatchConsumer(OwnedConsumer):
    """Faust's consumer with one message for each fetched batch. Public methods are for the owner of the partitions."""

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
        #: By partition, the last offset that was handed to the stream, or the one before the opening; and where the
        #: last fetch ended, which may have had no record.
        self._handed: dict[int, int] = {}
        self._fetched_to: dict[int, int] = {}
        self._may_fetch = asyncio.Event()

    # --- for the owner

    async def prove(self) -> bool:
        """Whether the group still counts this worker as a member; asks by a heartbeat."""
        try:
            return bool(await self._thread.call_thread(self._thread.prove))
        except (KafkaError, TimeoutError):
            return False

    async def log_bounds(self, partition: int) -> tuple[int, LogEnds]:
        """The first offset that the log still has, and the log's ends."""
        async with asyncio.timeout(REQUEST_SECONDS):
            bounds: tuple[int, LogEnds] = await self._thread.call_thread(self._thread.log_bounds, TP(EVENTS, partition))
            return bounds

    async def open_at(self, partition: int, offset: int) -> bool:
        """Starts a partition's flow at an offset, or starts it again; False if a rebalance came first."""
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
        """Ends a partition's flow; batches on the way are no longer current."""
        self._epochs.pop(partition, None)
        self._handed.pop(partition, None)
        self._fetched_to.pop(partition, None)

    def is_current(self, batch: FetchedBatch) -> bool:
        """Whether a batch belongs to its partition's present opening."""
        return self._epochs.get(batch.partition) == batch.epoch

    def reached(self, partition: int, expected: int) -> int:
        """The offset reached by an owner that waits for record `expected`: behind markers and gaps without records."""
        if self._handed.get(partition, -1) < expected:
            return max(expected, self._fetched_to.get(partition, expected))
        return expected

    async def commit_for_show(self, positions: Mapping[int, int]) -> bool:
        """Commits offsets, only so that Kafka's own tools show the lag; a failure does no harm."""
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
        """Leaves the group at once, even during a rebalance, so that others need not wait for a time-out."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._thread.call_thread(self._thread.leave)
        except (KafkaError, OSError, TimeoutError, ConsumerNotStarted) as error:
            log.warning("could not leave the group, which will wait for its time-out: %r", error)

    # --- for Faust

    @Service.task
    async def _watch_membership(self) -> None:
        """Ends the worker when the group refuses it.

        aiokafka keeps such errors until they are asked for, and before the first assignment no fetch asks for them.
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
        """Fetches once, and yields the records of each partition as one message."""
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
                # If the fetch did not begin where the last one ended, records are missing, or aiokafka has jumped over
                # those that retention deleted. The owner finds out which.
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
        """The partition's epoch, if the fetch belongs to it; else None."""
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
            value=cast(bytes, batch),  # the stream hands it on unchanged
            checksum=None,
            tp=TP(EVENTS, batch.partition),
            generation_id=self.app.consumer_generation_id,
        )

    async def _wait_for_partitions(self) -> None:
        """Waits until a partition opens or the queue has room; Faust would sleep for a second, which is a stall."""
        self._may_fetch.clear()
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._may_fetch.wait()
        except TimeoutError:
            pass

    def on_buffer_drop(self, tp: TP) -> None:
        """Called by Faust when its queue has room again."""
        super().on_buffer_drop(tp)
        self._may_fetch.set()

    async def perform_seek(self) -> None:
        """Faust's hook before the flow resumes: calls the owner, and waits for nothing.

        If Faust waited for a restore, the worker would end silently when one takes longer than Faust's own limit, and
        the next rebalance would cancel it half-way.
        """
        mine = {tp.partition for tp in self.assignment() if tp.topic == EVENTS}
        known = self._thread._ensure_consumer().partitions_for_topic(EVENTS) or ()
        self.owner.assigned(mine, len(known))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Calls the owner for an empty assignment too: Faust does not seek then, so the worker would never be ready."""
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
        """Does nothing: durable state is in the checkpoints."""
        return False

    async def verify_all_partitions_active(self) -> None:
        """Does nothing: Faust's detector goes by acknowledgements, which are off; our watchdog by what was applied."""


class _Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = BatchConsumer


class _Boot(BootStrategy):
    """Starts a consumer and nothing else: not Faust's producer, and not its web server."""

    enable_kafka_producer = False
    enable_web = False


class App(faust.App):
    """The Faust app of one worker.

    Args:
        settings: The worker's settings.
        owner: The owner of the partitions.
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
        # With `acks` off Faust keeps no offsets of its own. Its commit logic, which loses data when acknowledgements
        # come out of order or offsets have gaps, has nothing to do.
        topic = self.topic(EVENTS, value_type=None, key_serializer="raw", value_serializer="raw", acks=False)
        self.agent(topic, name="labelwatch.take")(self._take)

    async def _take(self, stream: Any) -> None:
        """The Faust agent: only hands batches to the owner."""
        async for batch in stream:
            await self.owner.take(batch)

    def _create_directories(self) -> None:
        """Makes none: without tables Faust keeps nothing on disk."""

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    @property
    def batches(self) -> BatchConsumer:
        """The consumer, typed as `BatchConsumer`."""
        return cast(BatchConsumer, self.consumer)
