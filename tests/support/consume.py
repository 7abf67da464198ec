"""What a topic holds, read by kafka-python: a client that shares no code with the sinks."""

import time
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from schemas.topics import EVENTS

_WAIT_SECONDS = 30.0


def read_all(bootstrap: str, partitions: int, count: int, topic: str = EVENTS) -> dict[int, list[Any]]:
    """Every record by partition, once there are `count` of them; asserts that no more follow at once."""
    parts = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    found: dict[int, list[Any]] = {number: [] for number in range(partitions)}
    try:
        consumer.assign(parts)
        deadline = time.monotonic() + _WAIT_SECONDS
        while sum(map(len, found.values())) < count and time.monotonic() < deadline:
            for part, records in consumer.poll(timeout_ms=500).items():
                found[part.partition] += records
        assert not consumer.poll(timeout_ms=100)
    finally:
        consumer.close()
    assert sum(map(len, found.values())) == count
    return found
