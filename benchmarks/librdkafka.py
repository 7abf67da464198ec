"""Peer: the least a Python consumer can do. librdkafka fetches, msgspec decodes each event, nothing is kept."""

from confluent_kafka import Consumer, TopicPartition

from benchmarks.peers.work import Meter, arguments, decode

BATCH = 10_000
WAIT_SECONDS = 30


def consume(bootstrap: str, topic: str, wanted: int, meter: Meter, *, tuned: bool) -> None:
    """Reads and decodes the first events, until the meter has seen enough."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "bench-librdkafka", "enable.auto.commit": False}
    if tuned:
        # As it comes, librdkafka pauses for a second whenever its queue is full, and a fast loop then starves.
        settings["fetch.queue.backoff.ms"] = 10
    consumer = Consumer(settings)
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    left = wanted
    # It waits for a full batch, so the last one must ask for no more than there is.
    while messages := consumer.consume(min(BATCH, left), WAIT_SECONDS):
        for message in messages:
            decode(message.value() or b"")
        left -= len(messages)
        meter.saw(len(messages))


if __name__ == "__main__":
    given = arguments(__doc__, "--tuned")
    meter = Meter(given.wanted, given.uncounted)
    consume(given.bootstrap, given.topic, given.wanted, meter, tuned=given.tuned)
