"""Dead letters of a worker on real Kafka: read by plain kafka-python, shown by `labelwatch rejected`, sent again."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.codec import has_zstd

from schemas.topics import EVENTS, REJECTED
from streams.ops.rejected import Wanted, rejected
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka
from tests.support.worker import WorkerProcess, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def review(number: int, at: object) -> bytes:
    event = {"type": "label_reviewed", "event_id": f"r{number}", "at": at, "site_id": "lima-1", "agent_id": "ana"}
    return json.dumps({**event, "project_id": "p", "task_id": f"t{number}", "correct": True}).encode()


def test_a_clients_plain_reader_and_the_command_give_back_what_was_rejected(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    now = time.time_ns() // 1_000_000
    # Enough that packing is worth while, and of bytes that are no text.
    broken = [b"{\xff" + b"x" * 200 + b"%d" % n for n in range(50)] + [review(n, "noon") for n in range(50)]
    produce(broker.bootstrap, EVENTS, [(b"lima-1", value) for value in [*broken, review(1000, now)]])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_reviews_total", 1)
        worker.wait_until("labelwatch_rejected_total", 100)
    assert not has_zstd(), "this environment is no plain kafka-python"
    consumer = KafkaConsumer(
        REJECTED, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=5_000
    )
    try:
        read = [(record.value, dict(record.headers)["reason"]) for record in consumer]
    finally:
        consumer.close()
    assert [value for value, _ in read] == broken
    assert b"schema" in {reason for _, reason in read}

    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id)
    out = tmp_path / "again.jsonl"
    found = rejected(Wanted(reason="schema", out=out), settings)
    assert found.count == {"schema": 50}
    mended = tmp_path / "mended.jsonl"
    mended.write_bytes(out.read_bytes().replace(b'"noon"', str(now).encode()))
    replay = [sys.executable, "-m", "streams.cli", "replay", str(mended), "--bootstrap", broker.bootstrap, "--plain"]
    subprocess.run(replay, check=True, timeout=60, capture_output=True)
    with WorkerProcess(tmp_path / "second", broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_reviews_total", 51)
