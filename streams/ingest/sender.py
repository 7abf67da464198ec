"""From the spool to Kafka: in order, until acknowledged, each event once, however often either side goes away.

A batch is noted before it is sent, with the offsets from which its records can be. Where its fate is not known, after a
kill or an error, the topic is read from there on: what is found is not sent again. Beyond that the engine counts an
event id once within its duplicate horizon.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.ingest.metrics import IngestMetrics
from streams.ingest.spool import Flight, Spool, SpooledEvent, SpoolError, Transaction
from streams.sources.errors import SourceError
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing

_BATCH_MAX = 500
#: The spool is asked so often while there is nothing.
_IDLE_SECONDS = 1.0
#: Between two batches that are not full: a batch costs a write to disk and a request, whatever is in it.
_GATHER_SECONDS = 0.1
#: So long offsets of a batch's begin may be old: then more is read after an error.
_OFFSETS_SECONDS = 5.0
#: What a killed process has sent may still be on its way into the log.
_SETTLE_SECONDS = 1.0
#: After so long without an answer it is said that events wait.
_UNACKNOWLEDGED_SECONDS = 15.0
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
_CALL_SECONDS = 15.0

log = logging.getLogger(__name__)


class _EventId(msgspec.Struct):
    event_id: str


_event_id = msgspec.json.Decoder(_EventId)


class Sender:
    """Empties a spool into the events topic.

    Args:
        spool: Where from.
        target: Where to.
        metrics: Counts what was sent, and failures.
        before_landing: Called when a batch is acknowledged, before that is noted; for tests of what happens then.
    """

    def __init__(
        self,
        spool: Spool,
        target: KafkaTarget,
        metrics: IngestMetrics,
        before_landing: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool = spool
        self._target = target
        self._metrics = metrics
        self._before_landing = before_landing
        self._more = asyncio.Event()
        #: Since something was last acknowledged.
        self._failures = 0

    def wake(self) -> None:
        """There is something to send."""
        self._more.set()

    async def run(self) -> None:
        """Sends until it is cancelled; what goes wrong is said, and tried again."""
        while True:
            try:
                await self._session()
            except (SourceError, SpoolError) as error:
                wait_seconds = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
                self._failed(error)
                await asyncio.sleep(wait_seconds)

    async def _session(self) -> None:
        """One connection; it ends by an error, or by being cancelled.

        Raises:
            SourceError: Kafka cannot be had, or is gone.
            SpoolError: The spool cannot be written.
        """
        async with KafkaSink(self._target).running() as sink, self._reader() as reader:
            partitions = [TopicPartition(self._target.topic, number) for number in range(sink.partitions)]
            await self._settle(reader, partitions)
            positions, asked_at = await self._ends(reader, partitions), time.monotonic()
            landed: int | None = None
            while True:
                self._more.clear()
                if time.monotonic() - asked_at > _OFFSETS_SECONDS:
                    positions, asked_at = await self._ends(reader, partitions), time.monotonic()
                batch = await self._spool.run(_next_batch(landed, positions))
                landed = None
                if not batch:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._more.wait(), _IDLE_SECONDS)
                    continue
                for waiting in batch:
                    await sink.put(Outgoing(0.0, waiting.key, waiting.value))
                await self._flush(sink)
                self._before_landing()
                landed = batch[-1].number
                if self._failures:
                    log.info("events go to Kafka again")
                    self._failures = 0
                self._metrics.sent.inc(len(batch))
                if len(batch) < _BATCH_MAX:
                    await asyncio.sleep(_GATHER_SECONDS)

    async def _flush(self, sink: KafkaSink) -> None:
        """Waits until Kafka has acknowledged the batch, and says it where that takes long.

        The producer tries again for as long as it takes. It is left to that: another one could write the batch twice.
        """
        flushing = asyncio.ensure_future(sink.flush())
        try:
            while not (await asyncio.wait({flushing}, timeout=_UNACKNOWLEDGED_SECONDS))[0]:
                self._failed(f"Kafka has not acknowledged them for {_UNACKNOWLEDGED_SECONDS:.0f} s and more")
            flushing.result()
        finally:
            flushing.cancel()

    def _failed(self, why: object) -> None:
        """Counts a failure; the first one since something was acknowledged is said."""
        self._metrics.send_failures.inc()
        if not self._failures:
            log.warning("events wait in the spool: %s", why)
        self._failures += 1

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[Any]:
        reader = AIOKafkaConsumer(
            bootstrap_servers=self._target.bootstrap, enable_auto_commit=False, **self._target.security
        )
        await asyncio.wait_for(reader.start(), _CALL_SECONDS)
        try:
            yield reader
        finally:
            with contextlib.suppress(KafkaError, TimeoutError, OSError):
                await asyncio.wait_for(reader.stop(), 5)

    async def _ends(self, reader: Any, partitions: list[TopicPartition]) -> dict[int, int]:
        found = await asyncio.wait_for(reader.end_offsets(partitions), _CALL_SECONDS)
        return {each.partition: offset for each, offset in found.items()}

    async def _settle(self, reader: Any, partitions: list[TopicPartition]) -> None:
        """Finds out which records of a batch of unknown fate are in the topic, and removes them from the spool."""
        flight = await self._spool.run(Transaction.flight)
        if flight is None:
            return
        await asyncio.sleep(_SETTLE_SECONDS)
        batch = await self._spool.run(lambda file: file.waiting(_BATCH_MAX))
        numbers = {
            _event_id.decode(waiting.value).event_id: waiting.number
            for waiting in batch
            if waiting.number <= flight.through
        }
        ends = await self._ends(reader, partitions)
        begins = await asyncio.wait_for(reader.beginning_offsets(partitions), _CALL_SECONDS)
        found: list[int] = []
        for each in partitions:
            end = ends[each.partition]
            start = max(begins[each], min(flight.positions.get(each.partition, 0), end))
            if start < end:
                found += [numbers[name] async for name in _ids(reader, each, start, end) if name in numbers]
        log.info("%d of %d events of the last batch had reached Kafka", len(found), len(numbers))
        await self._spool.run(lambda file: file.found(found))


def _next_batch(landed: int | None, positions: dict[int, int]) -> Callable[[Transaction], list[SpooledEvent]]:
    """In one transaction: what has landed is removed, and what goes out next is noted."""

    def body(file: Transaction) -> list[SpooledEvent]:
        if landed is not None:
            file.land(landed)
        batch = file.waiting(_BATCH_MAX)
        if batch:
            file.begin_flight(Flight(batch[-1].number, positions))
        return batch

    return body


async def _ids(reader: Any, partition: TopicPartition, start: int, end: int) -> AsyncIterator[str]:
    """Event ids of a partition's records between two offsets."""
    reader.assign([partition])
    reader.seek(partition, start)
    deadline = time.monotonic() + _CALL_SECONDS
    while await reader.position(partition) < end:
        if time.monotonic() > deadline:
            raise TimeoutError
        for record in (await reader.getmany(partition, timeout_ms=500)).get(partition, ()):
            deadline = time.monotonic() + _CALL_SECONDS
            with contextlib.suppress(msgspec.MsgspecError):
                yield _event_id.decode(record.value or b"").event_id
