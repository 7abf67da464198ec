"""The broker that the other tests rely on: it keeps what it acknowledged through a kill -9."""

import os
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from schemas.topics import EVENTS, topics
from tests.support.kafka import BrokerError, RealKafka, create_topics


def produce(broker: RealKafka, topic: str, values: list[bytes], *, transactional_id: str | None = None) -> None:
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap} | ({"transactional.id": transactional_id} if transactional_id else {})
    )
    if transactional_id:
        producer.init_transactions(30)
        producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0
    if transactional_id:
        producer.commit_transaction(30)


def read(broker: RealKafka, topic: str) -> list[bytes]:
    """All committed values of partition 0, up to the end offset of now."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.auto.commit": False})
    partition = TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=30)
    consumer.assign([partition])
    values = []
    while consumer.position([partition])[0].offset < end:
        if (message := consumer.poll(1)) is not None:
            assert message.error() is None
            values.append(message.value())
    consumer.close()
    return values


def test_acknowledged_records_survive_kill_9_and_restart(kafka: RealKafka) -> None:
    create_topics(kafka.bootstrap, ["survives"])
    before = [b"before-%d" % n for n in range(1000)]
    produce(kafka, "survives", before)
    first_pid = kafka.pid
    kafka.kill9()
    with pytest.raises(ProcessLookupError):
        os.kill(first_pid, 0)

    kafka.start()

    assert kafka.pid != first_pid
    assert read(kafka, "survives") == before
    produce(kafka, "survives", [b"after"])
    assert read(kafka, "survives") == [*before, b"after"]


def test_transactions_work_across_a_restart(kafka: RealKafka) -> None:
    create_topics(kafka.bootstrap, ["transactions"])
    produce(kafka, "transactions", [b"one"], transactional_id="t")
    kafka.restart()
    produce(kafka, "transactions", [b"two"], transactional_id="t")
    assert read(kafka, "transactions") == [b"one", b"two"]


def test_topics_are_created_with_the_settings_of_the_schemas(kafka: RealKafka) -> None:
    create_topics(kafka.bootstrap, topics("real-kafka-test"), partitions=3)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    described = admin.list_topics(timeout=30).topics
    for topic in topics("real-kafka-test"):
        assert len(described[topic.name].partitions) == 3
        resource = ConfigResource(ResourceType.TOPIC, topic.name)
        found = admin.describe_configs([resource])[resource].result(30)
        assert {key: found[key].value for key in topic.config} == topic.config
    assert EVENTS in described


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    broker = RealKafka(tmp_path / "broken", properties={"num.io.threads": "1"})
    config = tmp_path / "broken" / "server.properties"
    config.write_text(config.read_text().replace("num.io.threads=1", "num.io.threads=none"))
    with pytest.raises(BrokerError, match=r"num\.io\.threads"):
        broker.start()
