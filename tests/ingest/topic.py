"""What the topic holds in the end, read by a client that shares no code with the sender."""

import json
import time
from collections import Counter

from kafka import KafkaConsumer, TopicPartition

from schemas.topics import EVENTS


def written(bootstrap: str) -> Counter[str]:
    """Event ids in the topic, of two partitions, with how often each is there."""
    parts = [TopicPartition(EVENTS, number) for number in range(2)]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    found: Counter[str] = Counter()
    try:
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        deadline = time.monotonic() + 60
        while sum(found.values()) < sum(ends.values()) and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                found.update(json.loads(record.value)["event_id"] for record in records)
    finally:
        consumer.close()
    return found
