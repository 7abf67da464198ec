"""`labelwatch import --to kafka`: what no earlier import has written, by one import at a time."""

import asyncio
import time
from array import array
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from aiokafka.errors import KafkaError

from schemas.topics import EVENTS
from streams.ops.errors import CommandError
from streams.ops.import_files import Imported
from streams.ops.records import TopicReader, unreadable
from streams.runtime.crash_point import CrashPoint
from streams.runtime.settings import Settings
from streams.sources.ordering import OrderedEvent
from streams.sources.replay import put_clock
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, pump

#: Of every import into this topic; its newest user ends all others.
TRANSACTIONAL_ID = "labelwatch-import"
#: Transactions of our own programs end, or are ended by the broker, within a minute.
_OPEN_SECONDS = 90.0
_OPEN_POLL_SECONDS = 0.2


def write_to_kafka(
    imported: Imported, settings: Settings, target: KafkaTarget, say: Callable[[str], None]
) -> "KnownIds":
    """Writes events that are not in the topic yet, keyed by site, and every partition's clock at the end.

    One import writes at a time. Connecting ends any other one, and its open transaction: from then on the topic holds
    all that it will ever hold of others, and only then is it read.

    Args:
        imported: Has the events.
        settings: Of the broker, for reading.
        target: The same broker, for writing.
        say: Gets a line on each step.

    Raises:
        CommandError: The topic cannot be read.
        SourceError: Kafka cannot be written, or another import has begun.
    """
    last_ms = imported.report.last_ms or 0
    crash = CrashPoint.armed()

    def prepared() -> None:
        if crash is not None and crash.at("prepared"):
            crash.fire()

    sink = KafkaSink(target, TRANSACTIONAL_ID, prepared)

    async def work() -> KnownIds:
        async with sink.running():
            if not sink.is_only_one:
                say("this broker has no transactions: what two imports write at the same time may count twice")
            say("reading the topic for what an earlier import has written")
            try:
                known = await known_ids(settings, sink.is_only_one)
            except (KafkaError, TimeoutError, ConnectionError) as error:
                raise _Unread from error
            await pump(sink, (Outgoing(0, event.key, event.value) for event in known.without(imported.events())))
            if known.passed_on:
                # The clock is no event of the file: it goes out where something did.
                await put_clock(sink, "import", last_ms)
        return known

    try:
        return asyncio.run(work())
    except _Unread as unread:
        error = unread.__cause__ or unread
        raise unreadable(EVENTS, settings, error, "nothing was written") from error


class _Unread(Exception):
    """The topic could not be read; of no class that the sink takes for an error of writing."""


class KnownIds:
    """Ids of a topic's events, so that what an earlier import has written is not written again.

    The worker knows an event again for some minutes alone, by the site's clock: of a file that spans days it would
    count most twice.

    Attributes:
        left_out: Events that were there.
        passed_on: Events that were not.
    """

    def __init__(self, ids: "array[int] | None" = None) -> None:
        self._ids = np.unique(np.frombuffer(ids, np.int64)) if ids else np.zeros(0, np.int64)
        self.left_out = self.passed_on = 0

    def without(self, events: Iterator[OrderedEvent]) -> Iterator[OrderedEvent]:
        """The events that are not there."""
        for event in events:
            if len(self._ids) and (found := _id_of(event.value)) is not None:
                place = int(np.searchsorted(self._ids, found))
                if place < len(self._ids) and self._ids[place] == found:
                    self.left_out += 1
                    continue
            self.passed_on += 1
            yield event


class _Id(msgspec.Struct):
    event_id: str
    at: int
    site_id: str


_decode_id = msgspec.json.Decoder(_Id).decode


def _id_of(value: bytes | None) -> int | None:
    try:
        found = _decode_id(value or b"")
    except (ValueError, RecursionError):
        return None
    return hash((found.event_id, found.at, found.site_id))


async def known_ids(settings: Settings, in_transactions: bool) -> KnownIds:
    """Reads the topic's ids.

    Args:
        settings: Of the broker.
        in_transactions: Whether it has them, so that an open one may hide what is committed behind it.

    Raises:
        CommandError: There is no such topic, or a transaction stays open.
        KafkaError: The topic cannot be read.
    """
    ids = array("q")
    async with TopicReader(settings) as topic:
        if in_transactions:
            await _until_all_can_be_read(topic)
        for partition in range(topic.partitions):
            async for batch in topic.read(partition, None):
                ids.extend(found for record in batch if (found := _id_of(record.value)) is not None)
    return KnownIds(ids)


async def _until_all_can_be_read(topic: TopicReader) -> None:
    """Waits for the end of transactions that are open now.

    Raises:
        CommandError: One stays open.
    """
    lasts = {partition: ends.last for partition, ends in (await topic.ends()).items()}
    deadline = time.monotonic() + _OPEN_SECONDS
    while hidden := [partition for partition, ends in (await topic.ends()).items() if ends.stable < lasts[partition]]:
        if time.monotonic() > deadline:
            raise CommandError(
                f"a transaction that stays open hides what is in {EVENTS}, partition {hidden[0]}, so what an earlier "
                "import has written is unknown, and nothing was written; `labelwatch doctor` says whose it is"
            )
        await asyncio.sleep(_OPEN_POLL_SECONDS)
