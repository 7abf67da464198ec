"""`labelwatch bridge`: another topic's records as events, each exactly once, through crashes and rebalances.

Each partition of the source has a producer with a transactional id of its own. Its events, its dead letters and the
offset behind the records that they are of are one transaction. Who opens a partition begins with the producer, which
fences its last owner and ends that one's open transaction, and only then asks for the offset: so it is the last one
that counts, and no earlier owner can add anything.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from kafka import KafkaConsumer
from kafka import TopicPartition as PlainPartition
from kafka.errors import KafkaError as PlainKafkaError

from schemas.dead_letters import dead_letter_headers
from streams.sources.mapped_topic import MappedEvent, SourceRecord, TopicMapping
from streams.sources.mapping.errors import CellError
from streams.sources.sinks import KafkaTarget, partition_of

log = logging.getLogger(__name__)

#: Records of a transaction, at most: some thousand cost little more than one.
_RECORDS = 5_000
_WAIT_MS = 500
_FETCH_BYTES = 4 << 20
_BATCH_BYTES = 512 << 10
#: The broker ends a transaction that is open for longer; ours take moments.
_TRANSACTION_MS = 60_000
_REQUEST_MS = 20_000
_CLOSE_SECONDS = 5.0
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)


class BridgeCounts(Protocol):
    """What is counted; only of what was committed."""

    def committed(self, partition: int, done: "Bridged", behind: int) -> None:
        """A transaction counts; so many records of the partition wait behind it."""

    def failed(self) -> None:
        """Kafka failed, and everything begins anew at the last commit."""

    def assigned(self, partitions: Iterable[int]) -> None:
        """These are read from now on, and no others."""


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """What a person asks for.

    Attributes:
        source: Topic of the records.
        target: Where the events go; the source is on the same brokers.
        rejected: Topic of records that cannot be used.
        group: Consumer group; the transactional ids begin with it.
        session_seconds: A process that is dead for so long loses its partitions to others.
    """

    source: str
    target: KafkaTarget
    rejected: str
    group: str
    session_seconds: float = 10.0


@dataclass(slots=True)
class Bridged:
    """What some consecutive records of a partition came to.

    Attributes:
        records: How many they were.
        passed: Of these, of no event by the mapping.
        events: Events by type.
        rejected: Records that cannot be used, by a few words of why.
    """

    records: int = 0
    passed: int = 0
    events: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)


class Bridge(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads a topic and writes events.

    Args:
        options: Where from, where to.
        mapping: What a record becomes.
        counts: Counts what was committed.
        before_commit: Called when a transaction holds everything and is not committed yet; for tests.
    """

    def __init__(
        self,
        options: BridgeOptions,
        mapping: TopicMapping,
        counts: BridgeCounts,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._mapping = mapping
        self._counts = counts
        self._before_commit = before_commit
        #: Of open partitions; and all that were made, to be closed.
        self._producers: dict[int, AIOKafkaProducer] = {}
        self._closing: list[AIOKafkaProducer] = []
        #: Partitions are given and taken only between two transactions.
        self._between = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions = 0
        #: Why a partition that was given could not be opened.
        self._unopened: BaseException | None = None
        #: Since something was last committed.
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Bridges until it is to stop; whatever Kafka does, it begins anew at the last commit."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except (KafkaError, PlainKafkaError, TimeoutError, OSError, AssertionError) as error:
                # aiokafka asserts that a failed producer is not used again.
                self._counts.failed()
                wait_seconds = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
                self._failures += 1
                log.warning(
                    "%s: %s; what was not committed does not count, and begins anew in %.1f s",
                    self._options.source,
                    f"{type(error).__name__} {error}".strip(),
                    wait_seconds,
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait_seconds)

    async def _session(self, stop: asyncio.Event) -> None:
        self._unopened = None
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._options.target.bootstrap,
            group_id=self._options.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            request_timeout_ms=_REQUEST_MS,
            session_timeout_ms=round(self._options.session_seconds * 1000),
            heartbeat_interval_ms=round(self._options.session_seconds * 1000 / 4),
            **self._options.target.security,
        )
        consumer.subscribe([self._options.source], listener=self)
        self._consumer = consumer
        try:
            await consumer.start()
            self._partitions = await self._target_partitions(consumer)
            while not stop.is_set():
                async with self._between:
                    if self._unopened is not None:
                        raise self._unopened
                    found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_RECORDS)
                    for tp, records in found.items():
                        # Those of a partition that is given and not opened yet will be read again.
                        if tp.partition in self._producers:
                            await self._bridge(tp, records)
                # A rebalance that waits comes first.
                await asyncio.sleep(0)
        finally:
            self._consumer = None
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(asyncio.shield(consumer.stop()), _CLOSE_SECONDS)
            await self._close()

    async def _target_partitions(self, consumer: AIOKafkaConsumer) -> int:
        metadata = await consumer._client.fetch_all_metadata()
        return len(metadata.partitions_for_topic(self._options.target.topic) or ())

    # --- partitions

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Another process may own them from now on."""
        async with self._between:
            self._counts.assigned(())
            await self._close()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Fences their last owner, and begins behind what it has committed."""
        async with self._between:
            opened = await asyncio.gather(*(self._open(tp) for tp in assigned), return_exceptions=True)
            # The client would only log it, and read on from where it believes to be.
            self._unopened = next((each for each in opened if each is not None), None)
            self._counts.assigned(tp.partition for tp in assigned)

    async def _open(self, tp: TopicPartition) -> None:
        assert self._consumer is not None
        producer = AIOKafkaProducer(
            bootstrap_servers=self._options.target.bootstrap,
            transactional_id=f"{self._options.group}-{tp.topic}-{tp.partition}",
            transaction_timeout_ms=_TRANSACTION_MS,
            max_batch_size=_BATCH_BYTES,
            max_request_size=1 << 30,
            request_timeout_ms=_REQUEST_MS,
            **self._options.target.security,
        )
        self._closing.append(producer)
        await producer.start()
        committed = await asyncio.to_thread(self._committed, tp)
        if committed is None:
            await self._consumer.seek_to_beginning(tp)
        else:
            self._consumer.seek(tp, committed)
        # From here on its records are taken.
        self._producers[tp.partition] = producer
        log.info("%s partition=%d opened at offset=%s", tp.topic, tp.partition, committed)

    def _committed(self, tp: TopicPartition) -> int | None:
        """The offset that counts: kafka-python waits where a transaction that holds one is about to end.

        aiokafka's request is older than that, and could give the offset before.
        """
        reader = KafkaConsumer(
            bootstrap_servers=self._options.target.bootstrap,
            group_id=self._options.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            **self._options.target.security,
        )
        try:
            found: int | None = reader.committed(PlainPartition(tp.topic, tp.partition))
            return found
        finally:
            reader.close(autocommit=False)

    async def _close(self) -> None:
        self._producers = {}
        closing, self._closing = self._closing, []
        for producer in closing:
            try:
                await asyncio.wait_for(producer.stop(), _CLOSE_SECONDS)
            except (KafkaError, OSError, TimeoutError, AssertionError):
                with contextlib.suppress(KafkaError, OSError):
                    await producer.client.close()

    # --- records

    async def _bridge(self, tp: TopicPartition, records: Sequence[Any]) -> None:
        """One transaction: the events of some records, their dead letters, and the offset behind them."""
        producer = self._producers[tp.partition]
        done = Bridged(len(records))
        batches: dict[int, list[BatchBuilder]] = {}
        letters = []
        for record in records:
            source = SourceRecord(tp.partition, record.offset, record.timestamp, record.key, record.value)
            try:
                events = self._mapping(source)
            except CellError as error:
                done.rejected[error.reason] += 1
                letters.append(_letter(tp, source, error))
                continue
            done.passed += not events
            for event in events:
                done.events[event.type] += 1
                self._put(producer, batches, event)
        await producer.begin_transaction()
        sent = [
            await producer.send_batch(batch, self._options.target.topic, partition=partition)
            for partition, several in batches.items()
            for batch in several
        ]
        sent += [await producer.send(self._options.rejected, **letter) for letter in letters]
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        await producer.send_offsets_to_transaction({tp: records[-1].offset + 1}, self._options.group)
        self._before_commit()
        await producer.commit_transaction()
        self._failures = 0
        assert self._consumer is not None
        behind = (self._consumer.last_stable_offset(tp) or 0) - records[-1].offset - 1
        self._counts.committed(tp.partition, done, max(behind, 0))

    def _put(self, producer: AIOKafkaProducer, batches: dict[int, list[BatchBuilder]], event: MappedEvent) -> None:
        several = batches.setdefault(partition_of(event.key, self._partitions), [])
        if not several or several[-1].append(key=event.key, value=event.value, timestamp=None) is None:
            several.append(producer.create_batch())
            # The first record of a batch may be of any size; the broker has the last word.
            several[-1].append(key=event.key, value=event.value, timestamp=None)


def _letter(tp: TopicPartition, record: SourceRecord, error: CellError) -> dict[str, Any]:
    """A record that cannot be used, as the worker writes its own: the bytes as they were, why and where in headers."""
    headers = dead_letter_headers(
        error.reason, str(error), tp.topic, tp.partition, record.offset, int(time.time() * 1000)
    )
    return {"key": record.key, "value": record.value, "headers": headers}
