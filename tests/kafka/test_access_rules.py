"""The access rules of docs/security.md on a broker that asks for them: enough for each user, and nothing more."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from schemas.topics import DRIFT, EVENTS, REJECTED, checkpoints_topic
from tests.kafka.conftest import read_all
from tests.support.kafka import RealKafka
from tests.support.worker import WAIT_SECONDS, Load, WorkerProcess, make_load

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

PAGE = Path(__file__).parents[2] / "docs/security.md"
CHECKPOINTS = checkpoints_topic("main")
USERS = ("worker", "producer", "importer", "reader", "deployer")
#: What the broker answers a user without a rule for it, by librdkafka's codes.
FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


def rules() -> list[list[str]]:
    """The page's kafka-acls.sh lines, without where and as whom."""
    lines = re.findall(r"^kafka-acls\.sh --bootstrap-server BROKER:9092 --command-config admin\.properties (.*)$",
                       PAGE.read_text("utf-8"), re.MULTILINE)  # fmt: skip
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """A broker that allows nothing unasked; whoever comes by the plain listener is its administrator."""
    logins = " ".join(f'user_{user}="{user}-secret"' for user in USERS)
    plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {logins};"
    kafka = RealKafka(
        tmp_path_factory.mktemp("guarded"),
        listeners={"GUARDED": "SASL_PLAINTEXT"},
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": "User:ANONYMOUS",
            "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.guarded.plain.sasl.jaas.config": plain,
            "group.min.session.timeout.ms": "1000",
        },
    ).start()
    try:
        for rule in rules():
            kafka.run("kafka-acls.sh", "--bootstrap-server", kafka.bootstrap, *rule)
        ended = labelwatch(kafka, "deployer", "topics", "create", "--partitions", 2)
        assert ended.count(": created with") == 4, ended
        yield kafka
    finally:
        kafka.stop()


def environ(kafka: RealKafka, user: str) -> dict[str, str]:
    return {
        "LABELWATCH_BOOTSTRAP": kafka.addresses["GUARDED"],
        "LABELWATCH_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "LABELWATCH_SASL_USERNAME": user,
        "LABELWATCH_SASL_PASSWORD": f"{user}-secret",
    }


def labelwatch(kafka: RealKafka, user: str, *arguments: object, code: int = 0) -> str:
    """What a command says to a user."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *map(str, arguments)],
        env={**own, **environ(kafka, user)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def worker(kafka: RealKafka, folder: Path, **settings: Any) -> WorkerProcess:
    given: dict[str, Any] = {
        name.removeprefix("LABELWATCH_").lower(): value for name, value in environ(kafka, "worker").items()
    }
    return WorkerProcess(folder, given.pop("bootstrap"), id="main", **given, **settings)


def client(kafka: RealKafka, user: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": kafka.addresses["GUARDED"],
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": f"{user}-secret",
        "log_level": 0,
    }


def write(kafka: RealKafka, user: str, records: list[tuple[bytes | None, bytes | None]], topic: str = EVENTS) -> None:
    errors: list[KafkaError] = []
    producer = Producer({**client(kafka, user), "partitioner": "murmur2_random", "enable.idempotence": True})
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=lambda error, _: errors.append(error) if error else None)
    assert producer.flush(WAIT_SECONDS) == 0
    if errors:
        raise KafkaException(errors[0])


def counted(kafka: RealKafka, running: WorkerProcess, load: Load, before: float) -> None:
    running.wait_until("labelwatch_labels_total", before + load.labels.total())


def test_each_user_can_do_its_work(guarded: RealKafka, tmp_path: Path) -> None:
    load = make_load(3_000, seed=41)
    write(guarded, "producer", load.records)
    with worker(guarded, tmp_path) as first:
        counted(guarded, first, load, 0)
        first.process.kill()
        first.wait()
    with worker(guarded, tmp_path) as second:
        counted(guarded, second, load, 0)
        assert "ERROR" not in second.log
        assert second.terminate() == 0
    assert len(read_all(guarded.bootstrap, REJECTED)) == len(load.broken)
    assert labelwatch(guarded, "worker", "topics", "check") == "All topics are there, with their settings.\n"
    told = labelwatch(guarded, "producer", "simulate", "--seconds", 1, "--rate", 20)
    assert "records" in told
    rows = tmp_path / "rows.csv"
    rows.write_text("who,item,at\na-1,t-1,1790000000\n")
    mapped = ("--map", "agent_id=who,task_id=item,at=at", "--set", "site_id=site-9", "--set", "project_id=p")
    assert "1 events written" in labelwatch(guarded, "importer", "import", rows, *mapped, "--to", "kafka")
    told = labelwatch(guarded, "producer", "import", rows, *mapped, "--to", "kafka", code=1)
    assert "may not use transactional id labelwatch-import" in told
    asked = ("explain", "--site", "site-0", "--figure", "labels", "--window", "7d", "--clock", "event", "--plain")
    assert f"# labels: {load.labels['site-0']}" in labelwatch(guarded, "reader", *asked)

    # Before a topic is deleted: all of it, or no file and no code 0. The reader needs no rule for a group.
    file = tmp_path / "history.jsonl"
    assert f"records of 2 partitions: {file}" in labelwatch(guarded, "reader", "dump", file)
    assert file.read_bytes().count(b"\n") >= len(load.records)
    for user in ("producer", "deployer"):
        refused = tmp_path / f"{user}.jsonl"
        assert EVENTS in labelwatch(guarded, user, "dump", refused, code=1)
        assert list(tmp_path.glob(f"*{user}*")) == []
    found = labelwatch(guarded, "reader", "rejected", "--json", "--limit", len(load.broken))
    assert found.count('"reason"') == len(load.broken)


def _join(kafka: RealKafka, user: str, group: str) -> None:
    consumer = Consumer({**client(kafka, user), "group.id": group, "session.timeout.ms": 6_000})
    consumer.subscribe([EVENTS])
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and not consumer.assignment():
            if (message := consumer.poll(1)) is not None and message.error():
                raise KafkaException(message.error())
    finally:
        consumer.close()


def _read(kafka: RealKafka, user: str, topic: str) -> None:
    consumer = Consumer({**client(kafka, user), "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(WAIT_SECONDS)
        assert message is not None
        if message.error():
            raise KafkaException(message.error())
    finally:
        consumer.close()


def _fence(kafka: RealKafka, user: str, transactional_id: str) -> None:
    Producer({**client(kafka, user), "transactional.id": transactional_id}).init_transactions(WAIT_SECONDS)


def _create(kafka: RealKafka, user: str, topic: str) -> None:
    admin = AdminClient(client(kafka, user))
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WAIT_SECONDS)


def _delete(kafka: RealKafka, user: str, topic: str) -> None:
    admin = AdminClient(client(kafka, user))
    admin.delete_topics([topic])[topic].result(WAIT_SECONDS)


def _alter(kafka: RealKafka, user: str, topic: str) -> None:
    admin = AdminClient(client(kafka, user))
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(WAIT_SECONDS)


def _write(kafka: RealKafka, user: str, topic: str) -> None:
    write(kafka, user, [(b"s", b"forged")], topic)


MUST_NOT: list[tuple[str, Callable[[RealKafka, str, str], None], str]] = [
    ("producer", _write, CHECKPOINTS),
    ("producer", _write, REJECTED),
    ("producer", _write, DRIFT),
    ("producer", _read, EVENTS),
    ("producer", _read, CHECKPOINTS),
    ("producer", _fence, "labelwatch-main-0"),
    ("producer", _join, "labelwatch-main"),
    ("importer", _write, REJECTED),
    ("importer", _fence, "labelwatch-main-0"),
    ("reader", _write, EVENTS),
    ("reader", _write, CHECKPOINTS),
    ("reader", _read, CHECKPOINTS),
    ("reader", _fence, "labelwatch-main-0"),
    ("worker", _write, EVENTS),
    ("worker", _read, REJECTED),
    ("worker", _create, "labelwatch-main-checkpoints-2"),
    ("worker", _delete, EVENTS),
    ("worker", _alter, EVENTS),
    ("worker", _join, "another-group"),
    ("deployer", _write, EVENTS),
    ("deployer", _write, CHECKPOINTS),
    ("deployer", _delete, CHECKPOINTS),
]


@pytest.mark.parametrize(("user", "deed", "what"), MUST_NOT, ids=lambda each: getattr(each, "__name__", each))
def test_and_nothing_else(
    guarded: RealKafka, user: str, deed: Callable[[RealKafka, str, str], None], what: str
) -> None:
    with pytest.raises(KafkaException) as caught:
        deed(guarded, user, what)
    assert caught.value.args[0].code() in FORBIDDEN


def _rule(kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if name.endswith("-") else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, "User:worker", "*", operation, AclPermissionType.ALLOW)


def _change(kafka: RealKafka, *, add: Sequence[AclBinding] = (), remove: Sequence[AclBinding] = ()) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    filters = [
        AclBindingFilter(
            rule.restype, rule.name, rule.resource_pattern_type, rule.principal, rule.host, rule.operation,
            rule.permission_type,
        )
        for rule in remove
    ]  # fmt: skip
    if filters:
        assert all(done.result(WAIT_SECONDS) for done in admin.delete_acls(filters).values()), "there is no such rule"
    if add:
        for done in admin.create_acls(list(add)).values():
            done.result(WAIT_SECONDS)


_TOPIC, _GROUP, _TRANSACTIONS = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
_READ, _WRITE = AclOperation.READ, AclOperation.WRITE


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ((_TOPIC, EVENTS, _READ), f"User 'worker' may not use topic {EVENTS} as is needed"),
        ((_TOPIC, CHECKPOINTS, _READ), f"User 'worker' may not use topic {CHECKPOINTS} as is needed"),
        ((_TOPIC, CHECKPOINTS, _WRITE), f"User 'worker' may not use topic {CHECKPOINTS} as is needed"),
        ((_TOPIC, REJECTED, _WRITE), f"User 'worker' may not use topic {REJECTED} as is needed"),
        ((_GROUP, "labelwatch-main", _READ), "User 'worker' may not join group labelwatch-main"),
        ((_TRANSACTIONS, "labelwatch-main-", _WRITE), "allow Write and Describe on transactional ids that begin with"),
    ],
    ids=lambda each: "-".join(map(str, each)) if isinstance(each, tuple) else "",
)
def test_without_any_one_of_them_the_worker_says_what_is_missing(
    guarded: RealKafka, tmp_path: Path, missing: tuple[ResourceType, str, AclOperation], said: str
) -> None:
    kind, name, operation = missing
    described = [_rule(kind, name, AclOperation.DESCRIBE)] if kind == _TOPIC else []
    _change(guarded, add=described)
    _change(guarded, remove=[_rule(kind, name, operation)])
    try:
        with worker(guarded, tmp_path) as running:
            running.wait_for("metrics at|ERROR")
            write(guarded, "producer", [(b"site-0", b"{")] * 4)
            _wait_for(running, said)
            running.terminate()
    finally:
        _change(guarded, add=[_rule(kind, name, operation)], remove=described)


def test_a_topic_that_is_hidden_from_the_worker_may_be_there(guarded: RealKafka, tmp_path: Path) -> None:
    _change(guarded, remove=[_rule(_TOPIC, EVENTS, _READ), _rule(_TOPIC, EVENTS, AclOperation.DESCRIBE_CONFIGS)])
    try:
        with worker(guarded, tmp_path) as running:
            _wait_for(running, "`labelwatch topics create`, or allow this user to describe it.")
            assert running.wait() == 1
    finally:
        _change(guarded, add=[_rule(_TOPIC, EVENTS, _READ), _rule(_TOPIC, EVENTS, AclOperation.DESCRIBE_CONFIGS)])


def _wait_for(running: WorkerProcess, said: str) -> None:
    """As `wait_for`, of a worker that may end by it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while said not in running.log:
        assert time.monotonic() < deadline, running.log
        time.sleep(0.1)
    assert "Traceback" not in running.log
