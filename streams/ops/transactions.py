"""What holds a partition of a topic up: its oldest open transaction, and whose it is; for the doctor."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from schemas.conditions import TRANSACTION_HANGS
from schemas.topics import EVENTS
from streams.runtime.ends import LogEnds
from streams.runtime.settings import Settings

#: Producers end their transactions within seconds, or with a checkpoint of their own.
NOTED_SECONDS = 60.0
FAILS_SECONDS = TRANSACTION_HANGS.limit
_ANSWER_MS = 5_000


class OpenTransaction(NamedTuple):
    """A partition's oldest open transaction.

    Attributes:
        topic: Of the partition.
        partition: Its number.
        begins: Offset of its first record; nothing from there on can be read.
        records: Offsets from there to the end of the log, of other producers too.
        since_ms: When its first record was appended, epoch milliseconds.
    """

    topic: str
    partition: int
    begins: int
    records: int
    since_ms: int


async def oldest_open(settings: Settings, topic: str, ends: Mapping[int, LogEnds]) -> list[OpenTransaction]:
    """The oldest open transaction of each partition that has one.

    Args:
        settings: Where and as whom.
        topic: Whose partitions.
        ends: Partition to the ends of its log.

    Raises:
        KafkaError: No broker answers.
    """
    held = {partition: each for partition, each in ends.items() if each.last > each.stable}
    if not held:
        return []
    found = []
    # Its records are not committed.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_uncommitted",
        **settings.security(),
    )
    try:
        await consumer.start()
        for partition, each in held.items():
            tp = TopicPartition(topic, partition)
            consumer.assign([tp])
            consumer.seek(tp, each.stable)
            records = (await consumer.getmany(tp, timeout_ms=_ANSWER_MS, max_records=1)).get(tp)
            if records:
                waiting = each.last - each.stable
                found.append(OpenTransaction(topic, partition, each.stable, waiting, records[0].timestamp))
    finally:
        await consumer.stop()
    return found


async def whose(settings: Settings, held: OpenTransaction) -> str:
    """The producer in words, as far as this user may see it; empty where it may not."""
    return await asyncio.to_thread(_whose, settings, held)


def _whose(settings: Settings, held: OpenTransaction) -> str:
    tp = TopicPartition(held.topic, held.partition)
    with contextlib.suppress(KafkaError, OSError, ValueError):
        admin = KafkaAdminClient(
            bootstrap_servers=settings.bootstrap.split(","), bootstrap_timeout_ms=_ANSWER_MS, **settings.security()
        )
        try:
            for producer in admin.describe_producers([tp])[tp].active_producers:
                if producer.current_transaction_start_offset == held.begins:
                    return _named(admin, producer.producer_id)
        finally:
            admin.close()
    return ""


def _named(admin: KafkaAdminClient, producer_id: int) -> str:
    with contextlib.suppress(KafkaError, OSError):
        listed = admin.list_transactions(producer_id_filters=[producer_id])
        for each in (listing for several in listed.values() for listing in several):
            return f"transactional id {each.transactional_id!r} (producer id {producer_id})"
    return f"producer id {producer_id}, whose transactional id is gone or hidden from this user"


def described(held: OpenTransaction, producer: str, now_seconds: float) -> str:
    """Since when, what it costs and what to do, in a sentence."""
    since = datetime.fromtimestamp(held.since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    age_seconds = now_seconds - held.since_ms / 1000
    by = f" of {producer}" if producer else ""
    waits = "" if held.topic == EVENTS else ", so no worker that starts or takes the partition over has its state"
    return (
        f"partition {held.partition} of {held.topic} is held up since {since} ({age_seconds:.0f} s): "
        f"a transaction{by} is open, and {held.records:,} records from offset {held.begins} on cannot be read before "
        f"it ends{waits}; restart that producer, or roll it back as docs/operations.md says "
        "(A transaction that stays open)"
    )
