"""The thread that talks to Kafka for the transport: fetches whole batches, and keeps up the membership in the group."""

import asyncio
import contextlib
import functools
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.runtime.ends import LogEnds, log_ends
from streams.runtime.fetched import Unread, keep_answers
from streams.runtime.memory import break_circle
from streams.runtime.settings import Settings

log = logging.getLogger(__name__)
#: Faust's services log under the name of their module; these classes are Faust's, and must not log as ours.
FAUST_LOG = logging.getLogger("faust")

#: Bytes of one fetch of a partition: about one run of records. With 16 MB the throughput is half.
FETCH_BYTES = 6 << 20
#: How long the broker waits for records before it answers a fetch with none: a single event may be late by as much.
FETCH_WAIT_SECONDS = 0.1
REQUEST_SECONDS = 10.0
CALL_SECONDS = 5.0
_REBALANCE_SECONDS = 30.0
#: From the answer to a heartbeat a worker learns that the group rebalances, for which all others wait.
_HEARTBEAT_SECONDS = 1.0
#: aiokafka leaves the group when nothing is fetched for this long. A long restore must not do that, and hangs are found
#: by our own watchdog.
_POLL_SECONDS = 86_400.0


class _Member(Protocol):
    """What is called with the time for which this worker is a member of the group."""

    def member_until(self, until: float) -> None:
        """The group counts this worker as a member until then, monotonic seconds; called from this thread."""


class OwnedConsumer(driver.Consumer):
    """Faust's consumer, with what its thread needs.

    Attributes:
        settings: The worker's settings.
        owner: The owner of the partitions.
    """

    settings: Settings
    owner: _Member


class _Taking:
    """Replaces the method of aiokafka's fetch result that takes records out of it: gives them unparsed."""

    __slots__ = ("_result",)

    def __init__(self, result: FetchResult) -> None:
        # A circular reference would keep megabytes of answers until the garbage collector runs.
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


class Fetched(NamedTuple):
    """Result of one fetch: records, where it began and ended in each partition, and the epochs of the partitions."""

    records: Mapping[TP, Sequence[Unread]]
    began: Mapping[int, int]
    ended: Mapping[int, int]
    epochs: Mapping[int, int]


_NOTHING = Fetched({}, {}, {}, {})


class MembershipEnded(Exception):
    """The task that keeps this worker in the group has ended; only a restart helps."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka. Its methods run in it; the consumer calls them by `call_thread`."""

    consumer: OwnedConsumer
    logger = FAUST_LOG

    def __post_init__(self) -> None:
        super().__post_init__()
        #: The epoch of each partition's last seek; kept in this thread, in which no seek runs during a fetch.
        self._sought: dict[int, int] = {}

    async def on_start(self) -> None:
        """Makes aiokafka report when a heartbeat was accepted."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        # aiokafka does not show the time of its last accepted heartbeat.
        coordinator._do_heartbeat = functools.partial(self._beat, coordinator._do_heartbeat)

    async def on_thread_stop(self) -> None:
        """Ends the consumer, whether or not the broker answers."""
        # While the broker is away, aiokafka's own stop fails on tasks that it cancels.
        with contextlib.suppress(KafkaError, OSError, asyncio.CancelledError):
            await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        keep_answers()
        settings = self.consumer.settings
        session_ms = int(settings.session_timeout_seconds * 1000)
        return AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            client_id=settings.group,
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            # Records that a producer has rolled back, or not committed yet, are not read.
            isolation_level="read_committed",
            # Retention may delete records before a worker reads them: it goes on at the oldest, and counts the gap.
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(FETCH_WAIT_SECONDS * 1000),
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=int(REQUEST_SECONDS * 1000),
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
        """Whether the group counts this worker as a member; asks by a heartbeat."""
        coordinator = self._ensure_consumer()._coordinator
        async with asyncio.timeout(CALL_SECONDS):
            return coordinator.generation >= 0 and bool(await coordinator._do_heartbeat())

    async def fetch(self, wanted: set[TP], timeout_seconds: float) -> Fetched:
        """Takes records of some partitions that have come; where there are none, waits for them up to a time."""
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if not self.consumer.flow_active:
            return _NOTHING
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        # Faust never asks for these errors, and until they are asked for, aiokafka does not go on with the group.
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
                    # No await since the records were taken, so that no seek can have come between.
                    return Fetched(records, began, ended, dict(self._sought))
                await asyncio.wait([fetcher._create_fetch_waiter()], timeout=left)

    def _positions(self, wanted: set[TP]) -> dict[int, int]:
        """Where the next fetch begins: behind the last record, and behind markers and rolled-back records after it."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return {}
        known = {tp: subscription.assignment.state_value(tp) for tp in wanted}
        return {tp.partition: state.position for tp, state in known.items() if state and state.has_valid_position}

    async def check(self) -> None:
        """Raises the error that has ended the membership, if there is one.

        Raises:
            MembershipEnded: The task that keeps it up has ended.
            KafkaError: The group does not take this worker.
        """
        coordinator = self._ensure_consumer()._coordinator
        if coordinator._coordination_task.done() and not coordinator._closing.done():
            raise MembershipEnded(f"aiokafka's task has ended: {coordinator._coordination_task.exception()!r}")
        coordinator.check_errors()

    async def seek_to(self, tp: TP, offset: int, epoch: int) -> None:
        """Makes the next fetch of a partition begin at an offset, and belong to an epoch."""
        self._ensure_consumer().seek(tp, offset)
        self._sought[tp.partition] = epoch

    async def log_bounds(self, tp: TP) -> tuple[int, LogEnds]:
        """The first offset that the log still has, and the log's ends."""
        consumer = self._ensure_consumer()
        return (await consumer.beginning_offsets([tp]))[tp], (await log_ends(consumer, [tp]))[tp]

    async def commit_for_show(self, offsets: Mapping[TP, int]) -> None:
        """Commits offsets, only so that Kafka's own tools show them."""
        async with asyncio.timeout(CALL_SECONDS):
            await self._ensure_consumer().commit(
                {TopicPartition(*tp): OffsetAndMetadata(at, "") for tp, at in offsets.items()}
            )

    async def leave(self) -> None:
        """Leaves the group at once; a static member stays."""
        coordinator = self._ensure_consumer()._coordinator
        if coordinator._group_instance_id is not None:
            return  # a static member keeps its place for its next start
        member, node = coordinator.member_id, coordinator.coordinator_id
        # aiokafka leaves only after its join is answered, which may take as long as the slowest member takes. So this
        # asks to leave, on another connection, since on that of the join the broker first answers the join.
        closing = asyncio.ensure_future(coordinator.close())
        if member and node is not None:
            await self._ensure_consumer()._client.send(node, LeaveGroupRequest(coordinator.group_id, member))
        await closing

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Logs what Faust would print."""
        log.error(msg.format(*fmt))
