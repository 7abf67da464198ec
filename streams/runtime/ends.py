"""Where a partition's log ends: for readers of committed records, and for all."""

import copy
from collections.abc import Collection
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED

_ANSWER_MS = 10_000


class LogEnds(NamedTuple):
    """The two ends of one partition's log.

    Attributes:
        stable: Kafka's last stable offset: what is below it is committed, rolled back, or of no transaction, and is
            all that may be read. Above it begins the oldest open transaction, or nothing.
        last: Kafka's high watermark: one above the last record, of open transactions too.
    """

    stable: int
    last: int


async def log_ends(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, LogEnds]:
    """Both ends of some partitions, whatever the consumer's own isolation level is.

    Raises:
        KafkaError: The broker failed; try again.
    """
    # The stable ends first: so a transaction that ends in between never puts them above the others.
    stable = await _ends(consumer, partitions, READ_COMMITTED)
    last = await _ends(consumer, partitions, READ_UNCOMMITTED)
    return {tp: LogEnds(stable[tp], last[tp]) for tp in partitions}


async def _ends(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], isolation_level: int
) -> dict[TopicPartition, int]:
    # aiokafka has one level a consumer, and a consumer of the other level would be another connection to each broker.
    # Its fetcher only asks here: it keeps the level, the client and how long to wait between two attempts.
    fetcher = copy.copy(consumer._fetcher)
    fetcher._isolation_level = isolation_level
    found: dict[TopicPartition, int] = await fetcher.end_offsets(partitions, _ANSWER_MS)
    return found
