"""What the topic holds in the end, read by a client that shares no code with the sender."""

import json
import time
from collections import Counter
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from schemas.topics import EVENTS


def records(bootstrap: str, topic: str = EVENTS) -> list[dict[str, Any]]:
    """All records of a topic, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    found: list[dict[str, Any]] = []
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(parts)
        ends = sum(consumer.end_offsets(parts).values())
        deadline = time.monotonic() + 60
        while len(found) < ends and time.monotonic() < deadline:
            for polled in consumer.poll(timeout_ms=500).values():
                found += [json.loads(record.value) for record in polled]
    finally:
        consumer.close()
    return found


def written(bootstrap: str) -> Counter[str]:
    """Event ids in the topic, with how often each is there."""
    return Counter(event["event_id"] for event in records(bootstrap))
