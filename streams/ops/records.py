"""Reads a topic back for a person, outside any group: one partition from a time on, or its newest records."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import EVENTS
from streams.ops.errors import CommandError
from streams.runtime.access import denied, why_not
from streams.runtime.ends import LogEnds, log_ends
from streams.runtime.settings import Settings

_REQUEST_MS = 10_000
#: A fetch waits for so long: with less, a busy broker could seem to have nothing more.
_FETCH_MS = 1_000
#: A broker that gives nothing so often, with records left to read, is not going to.
_STALLED_FETCHES = 20


def unreadable(
    topic: str,
    settings: Settings,
    error: BaseException,
    remedy: str = "check the address, that the broker runs, and the security settings",
) -> CommandError:
    """Why a topic could not be read, in a sentence.

    Args:
        topic: Which one.
        settings: Where and as whom.
        error: What came.
        remedy: What to do, or what has become of the work, where nothing else is known.
    """
    return CommandError(
        denied(error, settings)
        or asyncio.run(why_not(settings))
        or f"cannot read {topic} at {settings.bootstrap}: {error or type(error).__name__}; {remedy}"
    )


class TopicReader:
    """A topic, read and never written; leaves no trace in any group.

    Args:
        settings: Where and as whom.
        topic: Which one.
    """

    def __init__(self, settings: Settings, topic: str = EVENTS) -> None:
        self._topic = topic
        self._client: Mapping[str, Any] = {
            "bootstrap_servers": settings.bootstrap,
            "request_timeout_ms": _REQUEST_MS,
            **settings.security(),
        }
        self._where = settings.bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self.partitions = 0

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            CommandError: The topic does not exist.
            KafkaError: No broker answers.
        """
        self.partitions = await self._count()
        # Records of a producer's open or aborted transaction are none, as for the worker.
        self._consumer = AIOKafkaConsumer(
            enable_auto_commit=False, isolation_level="read_committed", auto_offset_reset="earliest", **self._client
        )
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def _count(self) -> int:
        admin = AIOKafkaAdminClient(**self._client)
        try:
            await admin.start()
            # All of them: asking for a topic by name creates it on brokers that create topics unasked.
            found = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
        finally:
            await admin.close()
        if self._topic not in found:
            raise CommandError(
                f"topic {self._topic} does not exist at {self._where}: create it with `labelwatch topics create`"
            )
        return len(found[self._topic])

    async def read(self, partition: int, from_ms: int | None) -> AsyncIterator[list[Any]]:
        """Batches of a partition's records, to where its log ended when this began.

        Args:
            partition: Which one.
            from_ms: Begin at the first record appended at this time or later; None begins at the oldest.

        Raises:
            CommandError: The broker stops giving records.
        """
        assert self._consumer is not None
        tp = TopicPartition(self._topic, partition)
        self._consumer.assign([tp])
        start = (await self._consumer.beginning_offsets([tp]))[tp]
        end = (await self._consumer.end_offsets([tp]))[tp]
        if from_ms is not None:
            found = (await self._consumer.offsets_for_times({tp: max(from_ms, 0)}))[tp]
            start = max(start, end if found is None else found.offset)
        async for batch in self._batches(tp, start, end):
            yield batch

    async def newest(self, partition: int, count: int) -> list[Any]:
        """About the newest `count` records of a partition; fewer where many of its newest offsets hold none."""
        assert self._consumer is not None
        tp = TopicPartition(self._topic, partition)
        self._consumer.assign([tp])
        begin = (await self._consumer.beginning_offsets([tp]))[tp]
        end = (await self._consumer.end_offsets([tp]))[tp]
        while True:
            start = max(begin, end - count)
            records = [record async for batch in self._batches(tp, start, end) for record in batch]
            if records or start == begin:
                return records[-count:]
            # What was rolled back, or compacted away, can be long: step back until there is something.
            count *= 8

    async def ends(self) -> dict[int, LogEnds]:
        """Where each partition's log ends, for readers and at all."""
        assert self._consumer is not None
        found = await log_ends(self._consumer, [TopicPartition(self._topic, n) for n in range(self.partitions)])
        return {tp.partition: ends for tp, ends in found.items()}

    async def _batches(self, tp: TopicPartition, start: int, end: int) -> AsyncIterator[list[Any]]:
        consumer = self._consumer
        assert consumer is not None
        consumer.seek(tp, start)
        empty = 0
        while True:
            batch = (await consumer.getmany(tp, timeout_ms=_FETCH_MS)).get(tp, [])
            position = await asyncio.wait_for(consumer.position(tp), _REQUEST_MS / 1000)
            if batch:
                empty = 0
                yield batch
            # The embedded broker tells the start of its last batch as the end: the fetch's own mark knows better.
            if position >= end and (not batch or position >= (consumer.highwater(tp) or 0)):
                return
            if not batch:
                empty += 1
                if empty == _STALLED_FETCHES:
                    raise CommandError(
                        f"the broker at {self._where} gives nothing after offset {position} of {self._topic} "
                        f"partition {tp.partition}, which ends at {end}; check the broker, and try again"
                    )
