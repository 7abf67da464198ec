"""The embedded broker that quick tests and the demo rely on."""

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.kafka import create_topics
from tests.support.tansu import Tansu


def test_it_keeps_what_it_is_given_in_order(tansu: Tansu) -> None:
    create_topics(tansu.bootstrap, ["kept"], partitions=2)
    producer = Producer({"bootstrap.servers": tansu.bootstrap})
    values = [b"%d" % number for number in range(500)]
    for value in values:
        producer.produce("kept", value, partition=1)
    assert producer.flush(30) == 0

    consumer = Consumer({"bootstrap.servers": tansu.bootstrap, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition("kept", 1, 0)])
    read: list[bytes] = []
    while len(read) < len(values):
        read += [message.value() for message in consumer.consume(len(values) - len(read), 5)]
    consumer.close()
    assert read == values


def test_two_brokers_stand_side_by_side_and_know_nothing_of_each_other(tansu: Tansu) -> None:
    with Tansu() as other:
        assert other.bootstrap != tansu.bootstrap
        create_topics(tansu.bootstrap, ["here"])
        create_topics(other.bootstrap, ["there"])
        listed = Producer({"bootstrap.servers": other.bootstrap}).list_topics(timeout=30).topics
        assert "there" in listed
        assert "here" not in listed
