"""Asks where a partition's log ends: for readers of committed records, and for readers of all."""

import copy
from collections.abc import Collection
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED

_ANSWER_MS = 10_000


class LogEnds(NamedTuple):
    """The two ends of one partition's log.

    Attributes:
        stable: Kafka's last stable offset. Records below it are committed, rolled back or of no transaction, and only
            these may be read. At it the oldest open transaction begins, if there is one.
        last: Kafka's high watermark: the offset after the last record, those of open transactions included.
    """

    stable: int
    last: int


async def log_ends(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, LogEnds]:
    """Both ends of some partitions, no matter what the consumer's own isolation level is.

    Raises:
        KafkaError: The broker failed; try again.
    """
    # The stable ends first, so that a transaction that ends in between cannot put them above the others.
    stable = await _ends(consumer, partitions, READ_COMMITTED)
    last = await _ends(consumer, partitions, READ_UNCOMMITTED)
    return {tp: LogEnds(stable[tp], last[tp]) for tp in partitions}


async def _ends(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], isolation_level: int
) -> dict[TopicPartition, int]:
    # aiokafka has one level for each consumer, and a second consumer would need another connection to each broker. So
    # this asks by a copy of its fetcher with the other level; the copy shares the client and fetches nothing.
    fetcher = copy.copy(consumer._fetcher)
    fetcher._isolation_level = isolation_level
    found: dict[TopicPartition, int] = await fetcher.end_offsets(partitions, _ANSWER_MS)
    return found
