"""`labelwatch topics` on real Kafka: created as declared, checked, and mended by the very command that it names."""

import re

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from kafka.admin import KafkaAdminClient

from schemas.topics import EVENTS, topics
from streams.ops.topics import check, create
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka


def set_config(bootstrap: str, topic: str, setting: str, value: str) -> None:
    """As kafka-configs.sh does, by another client than ours."""
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = AdminClient({"bootstrap.servers": bootstrap})
    for done in client.incremental_alter_configs([resource]).values():
        done.result(30)


def test_missing_topics_are_created_as_declared(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    names = [topic.name for topic in topics("left-out")]
    worker_id = fresh_topics(leave_out=tuple(names))
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id)
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.delete_topics([topic.name for topic in topics(worker_id) if topic.name in admin.list_topics()])
    finally:
        admin.close()
    lines = list(create(settings, 3))
    assert f"{EVENTS}: created with 3 partitions, 1 of 3 replicas" in lines
    assert lines[-1].startswith("1 of 3 brokers: ")
    findings = check(settings)
    assert (findings.partitions, findings.problems, findings.warnings, findings.not_shown) == (3, [], [], [])
    assert all("exists with 3 partitions" in line for line in list(create(settings, 5))[:-1])


def test_what_differs_is_mended_by_the_command_that_is_named(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=fresh_topics())
    set_config(broker.bootstrap, EVENTS, "retention.ms", "3600000")
    set_config(broker.bootstrap, EVENTS, "message.timestamp.type", "CreateTime")
    findings = check(settings)
    (refused,), (warned,) = findings.problems, findings.warnings
    for sentence in (refused, warned):
        command = re.search(
            r"`kafka-configs\.sh --bootstrap-server (\S+) .* --entity-name (\S+) .*? (\S+)=(\S+)`", sentence
        )
        assert command is not None
        bootstrap, topic, setting, value = command.groups()
        set_config(bootstrap, topic, setting, value)
    findings = check(settings)
    assert (findings.problems, findings.warnings) == ([], [])
