"""What producers roll back does not exist, for the worker and for every command; what they leave open delays nobody."""

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.policy import Policy
from schemas.topics import EVENTS, checkpoints_topic
from streams.ops import doctor
from streams.ops.doctor import Check, CheckMark, examine_all
from streams.ops.explain import Question, explain
from streams.runtime import fetched
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics, read_all
from tests.kafka.test_transport import WAIT_SECONDS, Recorder, running, settings_of, until, write
from tests.support.kafka import COMPACTS_SOON, RealKafka
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

CODECS = ("none", "gzip", "zstd", "none")


def review(number: int, at: int, *, correct: bool) -> bytes:
    event = {"type": "label_reviewed", "event_id": f"r{number}", "at": at, "site_id": "lima-1", "agent_id": "ana"}
    return json.dumps({**event, "project_id": "p", "task_id": f"t{number}", "correct": correct}).encode()


def producer(broker: RealKafka, transaction: str | None = None, codec: str = "none") -> Producer:
    settings = {"bootstrap.servers": broker.bootstrap, "linger.ms": 2, "compression.type": codec}
    if transaction is None:
        return Producer(settings)
    made = Producer({**settings, "transactional.id": transaction, "transaction.timeout.ms": 600_000})
    made.init_transactions(WAIT_SECONDS)
    return made


def send(to: Producer, values: Iterator[bytes] | list[bytes], partition: int = 0, key: bytes = b"lima-1") -> None:
    for value in values:
        to.produce(EVENTS, value, key=key, partition=partition)
    assert to.flush(WAIT_SECONDS) == 0


@contextmanager
def opened(broker: RealKafka, name: str, values: list[bytes]) -> Iterator[Producer]:
    """A transaction that is open within the block; what is still open then is rolled back."""
    made = producer(broker, name)
    made.begin_transaction()
    send(made, values)
    yield made
    producer(broker, name)  # takes the transactional id over, and so ends what is open


def accuracy(running: WorkerProcess) -> float:
    of_agents = frozenset({("site", "lima-1"), ("role", "agent"), ("window", "1h")})
    return running.figures()["labelwatch_site_accuracy_ratio"][of_agents]


def test_reviews_that_were_rolled_back_are_neither_wrong_nor_repeats(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    now = int(time.time() * 1000)
    writer = producer(broker, "reviews")
    for correct, end in ((False, writer.abort_transaction), (True, writer.commit_transaction)):
        writer.begin_transaction()
        send(writer, [review(n, now - 1_000 + n, correct=correct) for n in range(100)])
        end(WAIT_SECONDS)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        figures = worker.wait_until("labelwatch_reviews_total", 100)
        assert accuracy(worker) == 1.0
        assert sum(figures["labelwatch_duplicates_total"].values()) == 0
        assert not any(figures.get("labelwatch_drift_active", {}).values())
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert worker.terminate() == 0
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id)
    answer = explain(Question("lima-1", "accuracy", "1h", at_ms=now), Policy(), settings)
    assert (answer.n, answer.total) == (100, 100)


def interleave(broker: RealKafka, rng: random.Random, steps: int, size: int = 40) -> set[bytes]:
    """Several producers write into one partition in turns: plain, committing, rolling back. Returns what counts."""
    writers = [producer(broker, f"w{n}-{rng.random()}", codec) for n, codec in enumerate(CODECS)]
    plain = producer(broker, codec="zstd")
    counts: set[bytes] = set()
    open_now: dict[int, list[bytes]] = {}
    for step in range(steps):
        values = [b"%d-%d-" % (step, n) + b"x" * size for n in range(rng.randrange(1, 40))]
        if rng.random() < 0.25:
            send(plain, values)
            counts |= set(values)
            continue
        n = rng.randrange(len(writers))
        if n not in open_now:
            writers[n].begin_transaction()
            open_now[n] = []
        send(writers[n], values, key=b"k%d" % rng.randrange(10))
        open_now[n] += values
        if rng.random() < 0.5:
            counts |= _end(writers[n], open_now.pop(n), commit=rng.random() < 0.5)
    for n, values in open_now.items():
        counts |= _end(writers[n], values, commit=n % 2 == 0)
    return counts


def _end(writer: Producer, values: list[bytes], *, commit: bool) -> set[bytes]:
    (writer.commit_transaction if commit else writer.abort_transaction)(WAIT_SECONDS)
    return set(values) if commit else set()


@pytest.mark.parametrize("batch", [fetched.BATCH_RECORDS, 25])
async def test_exactly_what_was_committed_comes_whoever_writes_in_between(
    broker: RealKafka, fresh_topics: FreshTopics, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Also from the middle of a transaction, and where an answer of the broker is taken in many pieces."""
    monkeypatch.setattr(fetched, "BATCH_RECORDS", batch)
    monkeypatch.setattr(fetched.Unread.__init__, "__defaults__", (batch,))
    rng = random.Random(batch)
    settings = settings_of(broker, fresh_topics(1))
    counts = interleave(broker, rng, 120)
    committed = [(m.offset(), m.value()) for m in read_all(broker.bootstrap, EVENTS, 1)]
    everything = [m.offset() for m in read_all(broker.bootstrap, EVENTS, 1, committed=False)]
    assert {value for _, value in committed} == counts
    assert len(committed) < len(everything), "something was rolled back"
    async with running(settings, Recorder()) as recorder:
        end = (await recorder.app.batches.log_bounds(0))[1].stable
        await until(lambda: recorder.position(0) == end)
        assert [(record.offset, record.value) for record in recorder.records] == committed
        for begin in sorted(rng.sample(everything, 12)):
            recorder.records, recorder.offsets, recorder.ends[0] = [], {}, begin
            assert await recorder.app.batches.open_at(0, begin)
            await until(lambda: recorder.position(0) == end)
            assert [(r.offset, r.value) for r in recorder.records] == [c for c in committed if c[0] >= begin]
        assert recorder.holes == 0


def _roll(turn: int, _: int) -> bytes:
    """Few keys, each written again and again: so that segments are closed and compacted."""
    return b"roll%d" % (turn % 3)


async def test_what_is_rolled_back_and_compacted_away_is_no_gap(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    settings = settings_of(broker, fresh_topics(1, events={"cleanup.policy": "compact", **COMPACTS_SOON}))
    rng = random.Random(3)
    written = 0
    for _ in range(6):
        written += len(interleave(broker, rng, 25))
        await asyncio.sleep(0.3)
    for turn in range(200):
        committed = [(m.offset(), m.value()) for m in read_all(broker.bootstrap, EVENTS, 1)]
        if len(committed) < written / 2:
            break
        await asyncio.sleep(0.2)
        write(broker, 1, key=partial(_roll, turn))
    assert len(committed) < written / 2, "the broker really compacted"
    async with running(settings, Recorder()) as recorder:
        end = (await recorder.app.batches.log_bounds(0))[1].stable
        await until(lambda: recorder.position(0) == end)
        held = {m.offset() for m in read_all(broker.bootstrap, EVENTS, 1)}
        assert {record.offset for record in recorder.records} >= held
        assert {record.offset for record in recorder.records} <= {offset for offset, _ in committed} | held
        assert recorder.holes == 0


def _doctor_on_transactions(broker: RealKafka, worker_id: str, folder: Path) -> list[Check]:
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=folder, metrics_port=0)
    return [line for line in examine_all(settings) if line.about == "open transactions"]


def test_an_open_transaction_is_no_lag_and_holds_no_worker_back(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the figures up, which the metrics say; the watchdog, readiness and a restart do not mind it."""
    worker_id = fresh_topics(1)
    now = int(time.time() * 1000)
    send(producer(broker), [review(n, now - 2_000 + n, correct=True) for n in range(50)])
    hanging = [review(n, now - 1_000 + n, correct=False) for n in range(50, 80)]
    settings: dict[str, Any] = {"id": worker_id, "watchdog_seconds": 1}
    with opened(broker, "hanging", hanging) as hangs:
        send(producer(broker), [review(n, now - 500 + n, correct=True) for n in range(80, 100)])
        for _ in range(2):
            with WorkerProcess(tmp_path, broker.bootstrap, **settings) as worker:
                worker.wait_until("labelwatch_reviews_total", 50)
                worker.wait_until("labelwatch_uncommitted_records", 50)
                deadline = time.monotonic() + WAIT_SECONDS
                while sum(worker.figures()["labelwatch_open_transaction_seconds"].values()) < 4:
                    assert time.monotonic() < deadline, worker.log
                    time.sleep(0.2)
                time.sleep(3)
                assert worker.process.poll() is None, "the watchdog is quiet"
                assert worker.get("/readyz")[0] == 200
                figures = worker.figures()
                assert sum(figures["labelwatch_consumer_lag_records"].values()) == 0
                assert sum(figures["labelwatch_consumer_lag_seconds"].values()) == 0
                assert sum(figures["labelwatch_reviews_total"].values()) == 50
                assert worker.terminate() == 0
        # No matter how long a busy machine took until here.
        monkeypatch.setattr(doctor, "NOTED_SECONDS", 3_600)
        (line,) = _doctor_on_transactions(broker, worker_id, tmp_path)
        assert line.mark is CheckMark.OK
        monkeypatch.setattr(doctor, "NOTED_SECONDS", 3)
        (line,) = _doctor_on_transactions(broker, worker_id, tmp_path)
        assert line.mark is CheckMark.NOTE
        assert "a transaction of transactional id 'hanging' (producer id " in line.text
        assert "is open, and 50 records from offset 50 on cannot be read before it ends" in line.text
        monkeypatch.setattr(doctor, "FAILS_SECONDS", 3)
        (line,) = _doctor_on_transactions(broker, worker_id, tmp_path)
        assert line.mark is CheckMark.FAIL
        with WorkerProcess(tmp_path, broker.bootstrap, **settings) as worker:
            worker.wait_until("labelwatch_reviews_total", 50)
            hangs.commit_transaction(WAIT_SECONDS)
            worker.wait_until("labelwatch_reviews_total", 100)
            assert accuracy(worker) == 0.7
            worker.wait_until("labelwatch_uncommitted_records", 0)
            worker.wait_until("labelwatch_open_transaction_seconds", 0)
            assert worker.terminate() == 0


def test_the_doctor_says_who_hides_the_checkpoints_and_since_when(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_id = fresh_topics(1)
    topic = checkpoints_topic(worker_id)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=tmp_path, metrics_port=0)

    def lines() -> list[Check]:
        return [line for line in examine_all(settings) if line.about == "checkpoints"]

    foreign = producer(broker, "foreign")
    foreign.begin_transaction()
    began = datetime.now(UTC)
    foreign.produce(topic, b"state", key=b"slot", partition=0)
    assert foreign.flush(WAIT_SECONDS) == 0
    assert [line.text for line in lines()] == ["none yet"], "checkpoints take some seconds to write"
    monkeypatch.setattr(doctor, "NOTED_SECONDS", 0)
    _, noted = lines()
    assert noted.mark is CheckMark.NOTE
    said = re.match(rf"partition 0 of {topic} is held up since (\S+ \S+) UTC", noted.text)
    assert said
    assert abs(datetime.fromisoformat(f"{said[1]}+00:00") - began) < timedelta(seconds=30)
    assert "a transaction of transactional id 'foreign' (producer id " in noted.text
    assert "so no worker that starts or takes the partition over has its state" in noted.text
    monkeypatch.setattr(doctor, "FAILS_SECONDS", 0)
    assert lines()[1].mark is CheckMark.FAIL
    foreign.abort_transaction(WAIT_SECONDS)
    assert [line.text for line in lines()] == ["none yet"]


def test_a_log_that_ends_with_what_was_rolled_back_is_caught_up_with(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """Also by a worker whose checkpoint stands before it, and by one without a checkpoint."""
    worker_id = fresh_topics(1)
    now = int(time.time() * 1000)
    send(producer(broker), [review(n, now - 2_000 + n, correct=True) for n in range(50)])
    for turn in range(3):
        writer = producer(broker, "rolls-back", CODECS[turn])
        writer.begin_transaction()
        send(writer, [review(1_000 * turn + n, now, correct=False) for n in range(100)])
        writer.abort_transaction(WAIT_SECONDS)
    for _ in range(2):
        with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, watchdog_seconds=1) as worker:
            worker.wait_until("labelwatch_reviews_total", 50)
            worker.wait_for("caught up at offset=")
            worker.wait_until("labelwatch_consumer_lag_records", 0)
            time.sleep(2)
            assert worker.get("/readyz")[0] == 200
            assert accuracy(worker) == 1.0
            assert worker.terminate() == 0


def test_the_documented_command_ends_a_transaction_that_nobody_else_ends(
    broker: RealKafka, fresh_topics: FreshTopics
) -> None:
    fresh_topics(1)
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    command = re.search(r"^kafka-transactions\.sh .* (abort --topic .*)$", page, re.MULTILINE)
    assert command
    send(producer(broker), [b"before"])
    with opened(broker, "left", [b"left open"]):
        send(producer(broker), [b"behind"])
        assert [m.value() for m in read_all(broker.bootstrap, EVENTS, 1)] == [b"before"]
        words = command[1].replace("TOPIC", EVENTS).replace("PARTITION", "0").replace("OFFSET", "1").split()
        broker.run("kafka-transactions.sh", "--bootstrap-server", broker.bootstrap, *words)
        assert [m.value() for m in read_all(broker.bootstrap, EVENTS, 1)] == [b"before", b"behind"]
