"""A broker whose housekeeping runs at once, and fresh topics for each test."""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from kafka.admin import KafkaAdminClient

from schemas.topics import topics
from tests.support.kafka import RealKafka, create_topics, missing_tools

_numbers = itertools.count(1)

FreshTopics = Callable[..., str]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """Real Kafka that compacts and forgets within a second, and takes short sessions."""
    if missing := missing_tools():
        pytest.skip(f"real Kafka needs {' and '.join(missing)}: install Java 17 or newer and Maven")
    properties = {
        "log.cleaner.backoff.ms": "200",
        "log.retention.check.interval.ms": "500",
        "log.initial.task.delay.ms": "500",
        "log.segment.delete.delay.ms": "500",
        "group.min.session.timeout.ms": "1000",
        "message.max.bytes": str(16 << 20),
    }
    kafka = RealKafka(tmp_path_factory.mktemp("broker"), properties=properties)
    kafka.start()
    yield kafka
    kafka.stop()


@pytest.fixture
def fresh_topics(broker: RealKafka) -> FreshTopics:
    """Makes empty topics and gives back the id of a group that nobody has used."""

    def make(partitions: int = 2, *, leave_out: tuple[str, ...] = (), **config: dict[str, str]) -> str:
        worker_id = f"test{next(_numbers)}"
        wanted = topics(worker_id)
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        try:
            stale = [topic.name for topic in wanted if topic.name in admin.list_topics()]
            if stale:
                admin.delete_topics(stale)
            deadline = time.monotonic() + 30
            while set(stale) & set(admin.list_topics()):
                assert time.monotonic() < deadline, "the broker does not delete topics"
                time.sleep(0.05)
        finally:
            admin.close()
        for topic in wanted:
            short = topic.name.split(".")[1] if "." in topic.name else "checkpoints"
            if topic.name not in leave_out:
                create_topics(broker.bootstrap, [topic], partitions=partitions, config=config.get(short))
        return worker_id

    return make


def read_all(bootstrap: str, topic: str, partitions: int = 2, *, committed: bool = True) -> list[Message]:
    """Every record of a topic by another client than ours; only committed ones, or all."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.partition.eof": True,
        }
    )
    found: list[Message] = []
    try:
        for number in range(partitions):
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING)])
            while (message := consumer.poll(30)) is not None:
                if (error := message.error()) is None:
                    found.append(message)
                    continue
                assert error.code() == KafkaError._PARTITION_EOF, error
                break
    finally:
        consumer.close()
    return found


def committed_offsets(bootstrap: str, group: str, topic: str, partitions: int = 2) -> list[int]:
    """The group's offsets as Kafka's own tools show them; -1001 for none."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        return [each.offset for each in consumer.committed(wanted, timeout=30)]
    finally:
        consumer.close()


def end_offsets(bootstrap: str, topic: str, partitions: int = 2) -> list[int]:
    """The end of each partition's log."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    try:
        return [consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=30)[1] for n in range(partitions)]
    finally:
        consumer.close()
