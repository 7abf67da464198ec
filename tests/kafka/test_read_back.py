"""`explain` and `doctor` on real Kafka: append times, and records of transactions that count or do not."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.policy import Policy
from schemas.topics import EVENTS
from streams.ops.doctor import CheckMark, examine_all
from streams.ops.errors import CommandError
from streams.ops.explain import Question, explain
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka
from tests.support.worker import produce


def review(event_id: str, at: int, **more: Any) -> tuple[bytes, bytes]:
    event = {"type": "label_reviewed", "event_id": event_id, "at": at, "site_id": "lima-1", "agent_id": "a"}
    return b"lima-1", json.dumps({**event, "project_id": "p", "task_id": "t", "correct": True, **more}).encode()


def test_only_committed_records_count_and_the_read_begins_by_append_time(
    broker: RealKafka, fresh_topics: FreshTopics
) -> None:
    worker_id = fresh_topics(3)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id)
    now = time.time_ns() // 1_000_000
    produce(broker.bootstrap, EVENTS, [review("plain", now), review("future", now + 400_000)])
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "transactional.id": "t", "partitioner": "murmur2_random"}
    )
    producer.init_transactions(30)
    for end, event_id in ((producer.commit_transaction, "committed"), (producer.abort_transaction, "aborted")):
        producer.begin_transaction()
        key, value = review(event_id, now)
        producer.produce(EVENTS, value=value, key=key)
        producer.flush(30)
        end(30)
    answer = explain(Question("lima-1", "accuracy", "1h", at_ms=now), Policy(), settings)
    assert [item.event_id for item in answer.items] == ["plain", "committed"]
    # A window of days to come: nothing was appended since then, and nothing is read.
    later = Question("lima-1", "accuracy", "1h", at_ms=now + 3 * 86_400_000)
    with pytest.raises(CommandError, match="no event of site 'lima-1'"):
        explain(later, Policy(), settings)


def test_the_doctor_finds_nothing_wrong_on_a_good_broker(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(3)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=tmp_path, metrics_port=0)
    produce(broker.bootstrap, EVENTS, [review("1", time.time_ns() // 1_000_000)])
    lines = {line.about: line for line in examine_all(settings)}
    assert [line for line in lines.values() if line.mark is CheckMark.FAIL] == []
    assert lines["transactions"].mark is CheckMark.OK
    assert lines["clock"].text.startswith("the newest record was appended")
    assert lines["partitioner"].text == "murmur2, by 1 events"


def test_the_doctor_names_a_setting_that_breaks_the_promises(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1, events={"message.timestamp.type": "CreateTime"})
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=tmp_path, metrics_port=0)
    failed = [line for line in examine_all(settings) if line.mark is CheckMark.FAIL]
    assert [line.about for line in failed] == ["topics"]
    assert "message.timestamp.type=CreateTime where LogAppendTime is expected" in failed[0].text


def test_the_doctor_looks_past_what_was_rolled_back(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=tmp_path, metrics_port=0)
    now = time.time_ns() // 1_000_000
    produce(broker.bootstrap, EVENTS, [review("1", now)])
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "rolls-back"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for n in range(2_000):
        key, value = review(f"n{n}", now)
        producer.produce(EVENTS, value=value, key=key)
    producer.flush(30)
    producer.abort_transaction(30)
    lines = {line.about: line for line in examine_all(settings)}
    assert lines["partitioner"].text == "murmur2, by 1 events"
    assert lines["clock"].text.startswith("the newest record was appended")
    assert lines["open transactions"].mark is CheckMark.OK
