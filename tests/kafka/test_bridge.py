"""`labelwatch bridge` on real Kafka: every record once, through kills, a broker's restart and rebalances."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as PlainPartition

from schemas.topics import EVENTS, Topic
from streams.runtime.crash_point import CRASH_VARIABLE
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka, create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PARTITIONS = 3
DEATHS = 11
MAPPING = """
[constants]
project_id = "spam"

[fields]
agent_id = "/who/id"
task_id = "item"
site_id = "office"
at = { column = "done", format = "epoch_s" }
label = "answer"

[[event]]
type = "label"
handle_ms = { column = "took", unit = "s" }

[[event]]
type = "review"
when = "truth"
expected = "truth"
source = { value = "gold" }
"""


class BridgeProcess:
    """One `labelwatch bridge`, to be killed."""

    def __init__(self, broker: RealKafka, group: str, source: str, folder: Path) -> None:
        self._command: list[str | Path] = [
            *(Path(sys.executable).with_name("labelwatch"), "bridge", "--from", source, "--map", folder / "m.toml"),
            *("--to", "kafka", "--bootstrap", broker.bootstrap, "--id", group, "--metrics-port", "0"),
            *("--rejected", f"{source}.rejected", "--session-timeout-seconds", "2"),
        ]
        (folder / "m.toml").write_text(MAPPING, "utf-8")
        self._log = (folder / "bridge.log").open("ab")

    def start(self, crash: str = "") -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
        self._process = subprocess.Popen(
            self._command, env={**own, CRASH_VARIABLE: crash}, stdout=self._log, stderr=self._log
        )

    @property
    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def kill9(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(60)


def made(number: int, rng: random.Random) -> bytes:
    """A record of a tool: most can be used, some not, some are of nothing."""
    if number % 50 == 7:
        return rng.choice(
            [b"\xff\xfe no text", b"[1, 2]", b'{"item": "t1"}', b"", b'{"who": {"id": "a"}, "done": "soon"}']
        )
    found: dict[str, object] = {
        "who": {"id": f"a-{number % 40}"},
        "item": number,
        "office": f"site-{number % 7}",
        "done": 1_764_000_000 + number,
        "answer": rng.choice(["ok", "spam"]),
        "took": 12.5,
    }
    if number % 3 == 0:
        found["truth"] = "spam"
    return json.dumps(found).encode()


def wanted(records: list[bytes]) -> tuple[Counter[str], Counter[bytes]]:
    """What must come of the records, by a way of its own: events without their ids, and dead letters."""
    events: Counter[str] = Counter()
    letters: Counter[bytes] = Counter()
    for value in records:
        try:
            found = json.loads(value)
            label = {
                "type": "label_submitted",
                "agent_id": found["who"]["id"],
                "task_id": str(found["item"]),
                "site_id": found["office"],
                "at": found["done"] * 1000,
                "project_id": "spam",
                "label": found["answer"],
                "handle_ms": 12_500,
            }
        except (ValueError, TypeError, KeyError):
            letters[value] += 1
            continue
        events[json.dumps(label, sort_keys=True)] += 1
        if "truth" in found:
            review = {**label, "type": "label_reviewed", "expected": "spam", "source": "gold"}
            review["correct"] = found["answer"] == "spam"
            del review["handle_ms"]
            events[json.dumps(review, sort_keys=True)] += 1
    return events, letters


def read(broker: RealKafka, topic: str, partitions: int, isolation: str = "read_committed") -> list[bytes]:
    """Every record's value, by a client that shares no code with the bridge."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "any",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
        }
    )
    values: list[bytes] = []
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
        while partitions:
            message = consumer.poll(30)
            assert message is not None, "the broker does not answer"
            if message.error() is None:
                values.append(message.value())
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                partitions -= 1
        return values
    finally:
        consumer.close()


def ends(broker: RealKafka, isolation: str) -> dict[PlainPartition, int]:
    """Where the events topic ends, with or without what an open transaction hides."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, isolation_level=isolation)
    try:
        found: dict[PlainPartition, int] = consumer.end_offsets([PlainPartition(EVENTS, number) for number in range(4)])
        return found
    finally:
        consumer.close()


def committed(broker: RealKafka, group: str, source: str) -> int:
    """How many records of the source the bridge has committed."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=f"labelwatch-bridge-{group}")
    try:
        return sum(consumer.committed(PlainPartition(source, number)) or 0 for number in range(PARTITIONS))
    finally:
        consumer.close(autocommit=False)


@pytest.fixture
def source(broker: RealKafka, fresh_topics: FreshTopics) -> tuple[str, str]:
    """The group, and an empty topic of a tool."""
    group = fresh_topics(4)
    topic = f"tool.{group}"
    create_topics(broker.bootstrap, [Topic(topic)], partitions=PARTITIONS)
    return group, topic


@pytest.fixture
def running() -> Iterator[list[BridgeProcess]]:
    """Bridges of a test, which do not outlive it."""
    started: list[BridgeProcess] = []
    yield started
    for each in started:
        if not each.is_dead:
            each.kill9()


def test_every_record_counts_once_through_ten_kills(
    broker: RealKafka, source: tuple[str, str], running: list[BridgeProcess], tmp_path: Path
) -> None:
    group, topic = source
    rng = random.Random(11)
    records = [made(number, rng) for number in range(30_000)]
    producer = Producer({"bootstrap.servers": broker.bootstrap, "queue.buffering.max.messages": 1_000_000})
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    running += [BridgeProcess(broker, group, topic, folder) for folder in folders]
    for each in running:
        each.start("prepared:2")
    sent = deaths = 0
    deadline = time.monotonic() + 240
    while deaths < DEATHS or committed(broker, group, topic) < len(records):
        assert time.monotonic() < deadline, (folders[0] / "bridge.log").read_text("utf-8")[-3000:]
        for value in records[sent : sent + 500]:
            producer.produce(topic, value, partition=rng.randrange(PARTITIONS))
        sent = min(sent + 500, len(records))
        producer.flush()
        time.sleep(0.2)
        if deaths in (3, 7) or (deaths < DEATHS and committed(broker, group, topic) == len(records)):
            # Not only between two steps of ours; and where nothing is left that would kill them.
            rng.choice(running).kill9()
        for each in running:
            if each.is_dead:
                deaths += 1
                # By itself when a transaction holds everything, and is not committed.
                each.start(f"prepared:{rng.randint(1, 3)}" if deaths < DEATHS - 1 else "")
    # A transaction of the one that was killed last is rolled back when its partition is opened again.
    while ends(broker, "read_committed") != ends(broker, "read_uncommitted"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # It may not have begun.
    assert {each.stop() for each in running} <= {0, -15}

    events, letters = wanted(records)
    found = [json.loads(value) for value in read(broker, EVENTS, 4)]
    ids = [event.pop("event_id") for event in found]
    assert len(set(ids)) == len(ids)
    assert Counter(json.dumps(event, sort_keys=True) for event in found) == events
    assert Counter(read(broker, f"{topic}.rejected", 1)) == letters
    # The kills came in the midst of transactions: some of what was written was rolled back.
    assert len(read(broker, EVENTS, 4, "read_uncommitted")) > len(found)
