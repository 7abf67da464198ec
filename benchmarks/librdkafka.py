"""Peer: the least a Python consumer can do. librdkafka fetches, msgspec decodes each event, nothing is kept."""

import argparse
import json
import time

import msgspec
from confluent_kafka import Consumer, TopicPartition

from schemas.events import AnyEvent

BATCH = 10_000
WAIT_SECONDS = 30


def consume(bootstrap: str, topic: str, count: int, *, tuned: bool) -> dict[str, float]:
    """Reads the first `count` events and decodes them; time runs from the first batch to the last."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "bench-librdkafka", "enable.auto.commit": False}
    if tuned:
        # As it comes, librdkafka pauses for a second whenever its queue is full, and a fast loop then starves.
        settings["fetch.queue.backoff.ms"] = 10
    consumer = Consumer(settings)
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    decode = msgspec.json.Decoder(AnyEvent).decode
    left = count
    messages = consumer.consume(min(BATCH, left), WAIT_SECONDS)
    started, cpu_started = time.perf_counter(), time.process_time()
    while messages:
        for message in messages:
            decode(message.value() or b"")
        left -= len(messages)
        if left <= 0:
            break
        # It waits for a full batch, so the last one must ask for no more than there is.
        messages = consumer.consume(min(BATCH, left), WAIT_SECONDS)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    consumer.close()
    return {"events": count - left, "seconds": seconds, "cpu_seconds": cpu_seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("count", type=int)
    parser.add_argument("--tuned", action="store_true")
    print(json.dumps(consume(**vars(parser.parse_args()))))
