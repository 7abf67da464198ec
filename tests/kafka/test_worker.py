"""The whole worker, as a process, on a real broker: exact through whatever happens, and clear when it cannot go on."""

import os
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from kafka.admin import KafkaAdminClient

from schemas.topics import DRIFT, EVENTS, REJECTED, checkpoints_topic
from tests.kafka.conftest import FreshTopics, committed_offsets, end_offsets, read_all
from tests.kafka.state import assert_same, durable, recomputed
from tests.support.kafka import RealKafka
from tests.support.worker import WAIT_SECONDS, Figures, Load, WorkerProcess, chunks, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def by_label(figures: Figures, name: str, label: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for labels, value in figures.get(name, {}).items():
        found[dict(labels)[label]] += int(value)
    return found


def assert_counted(figures: Figures, load: Load) -> None:
    assert by_label(figures, "labelwatch_labels_total", "site") == load.labels
    assert by_label(figures, "labelwatch_reviews_total", "site") == load.reviews
    assert by_label(figures, "labelwatch_correct_reviews_total", "site") == load.correct
    assert sum(figures["labelwatch_duplicates_total"].values()) == load.duplicates
    assert sum(figures["labelwatch_rejected_total"].values()) == len(load.broken)
    # The window holds all of the load, by the clock of events.
    assert by_label(figures, "labelwatch_site_labels", "window")["1h"] == load.labels.total()


def assert_dead_letters_once(broker: RealKafka, load: Load) -> None:
    letters = read_all(broker.bootstrap, REJECTED)
    assert Counter(m.value() for m in letters) == Counter(load.broken)
    origins = [origin(m) for m in letters]
    assert len(set(origins)) == len(origins)
    log = {(m.partition(), m.offset()): m.value() for m in read_all(broker.bootstrap, EVENTS, committed=False)}
    assert all(log[origin(m)] == m.value() for m in letters)


def origin(letter: Message) -> tuple[int, int]:
    headers = dict(letter.headers())
    return int(headers["origin-partition"]), int(headers["origin-offset"])


def test_figures_equal_a_batch_count(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    load = make_load(30_000, seed=1)
    produce(broker.bootstrap, EVENTS, load.records[:20_000])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_for("partition=1 caught up")
        produce(broker.bootstrap, EVENTS, load.records[20_000:])
        figures = worker.wait_until("labelwatch_events_total", load.accepted)
        assert_counted(figures, load)
        assert worker.get("/readyz") == (200, "ready\n")
        assert worker.get("/healthz")[0] == 200
        figures = worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert set(figures["labelwatch_consumer_lag_seconds"].values()) == {0.0}
        assert sum(figures["labelwatch_partition_owned"].values()) == 2
        assert set(figures["labelwatch_ready"].values()) == {1.0}
        assert (
            by_label(worker.figures("/metrics/agents"), "labelwatch_agent_labels", "window")["1h"]
            == load.labels.total()
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while committed_offsets(broker.bootstrap, f"labelwatch-{worker_id}", EVENTS) != end_offsets(
            broker.bootstrap, EVENTS
        ):
            assert time.monotonic() < deadline, "Kafka's own tools show no lag"
            time.sleep(0.1)
        assert worker.terminate() == 0
        assert "ERROR" not in worker.log
    assert_dead_letters_once(broker, load)
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def test_sigterm_while_the_broker_is_away_ends_in_time_and_loses_nothing(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics()
    load = make_load(20_000, seed=16)
    produce(broker.bootstrap, EVENTS, load.records[:10_000])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, checkpoint_seconds=600, stop_seconds=6) as worker:
        worker.wait_for("partition=0 caught up")
        worker.wait_for("partition=1 caught up")
        broker.kill9()
        try:
            assert worker.terminate() == 1, "not everything could be written, and it says so"
            assert "not everything was written" in worker.log
            assert "Traceback" not in worker.log
        finally:
            broker.start()
    produce(broker.bootstrap, EVENTS, load.records[10_000:])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert_counted(worker.wait_until("labelwatch_events_total", load.accepted), load)
        assert worker.terminate() == 0
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def test_transactional_producers_and_their_markers(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """A producer that writes in transactions leaves markers: no lag, no loss, and the worker is ready."""
    worker_id = fresh_topics()
    load = make_load(500, seed=7)
    for number, part in enumerate(chunks(load.records, 5)):
        producer = Producer(
            {"bootstrap.servers": broker.bootstrap, "transactional.id": f"p{number}", "partitioner": "murmur2_random"}
        )
        producer.init_transactions(WAIT_SECONDS)
        producer.begin_transaction()
        for key, value in part:
            producer.produce(EVENTS, value=value, key=key)
        producer.commit_transaction(WAIT_SECONDS)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_events_total", load.accepted)
        figures = worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert_counted(figures, load)
        assert worker.get("/readyz")[0] == 200
        assert worker.terminate() == 0
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def test_poison_in_every_place(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    load = make_load(1_000, seed=12)
    poison: list[tuple[bytes | None, bytes | None]] = [
        (None, None),
        (b"k", None),
        (None, b""),
        (b"\xff\xfe", b"\x00" * 1_000_000),
        (b"k", b'{"type":"label_submitted","event_id":"\\u0000"}'),
        (b"k", os.urandom(1_000_000)),
        *((b"flood", b"x" * 100) for _ in range(3_000)),
    ]
    load.records = poison[:3] + load.records[:500] + poison + load.records[500:] + poison
    load.broken += [value for _, value in poison[:3] + poison + poison]
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, checkpoint_seconds=60) as worker:
        # Long before their time: too many dead letters wait.
        worker.wait_for("caught up")
        deadline = time.monotonic() + WAIT_SECONDS
        while not read_all(broker.bootstrap, REJECTED):
            assert time.monotonic() < deadline
        assert worker.terminate() == 0
    letters = read_all(broker.bootstrap, REJECTED)
    assert Counter(m.value() for m in letters) == Counter(value or b"" for value in load.broken)
    nulls = sum(value is None for value in load.broken)
    assert sum(dict(m.headers()).get("origin-null") == b"1" for m in letters) == nulls
    assert Counter(dict(m.headers())["reason"] for m in letters)[b"null"] == nulls
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def test_an_engine_that_fails_is_never_checkpointed(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics()
    load = make_load(2_000, seed=14)
    produce(broker.bootstrap, EVENTS, load.records[:1_000])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert worker.terminate() == 0
    before = durable(broker.bootstrap, worker_id)
    program = (
        "import sys; from streams.engine.partition import PartitionEngine; whole = PartitionEngine.apply\n"
        "def half(self, records): whole(self, records[: len(records) // 2]); raise ZeroDivisionError\n"
        "PartitionEngine.apply = half\n"
        "from streams.runtime.settings import Settings; from streams.runtime.worker import run\n"
        "sys.exit(run(Settings.resolve()))"
    )
    produce(broker.bootstrap, EVENTS, load.records[1_000:])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, program=program) as worker:
        assert worker.wait() == 70
        assert "ZeroDivisionError" in worker.log
    assert_same(durable(broker.bootstrap, worker_id), before)


@pytest.mark.parametrize("left_out", [EVENTS, REJECTED, DRIFT, "checkpoints"])
def test_a_missing_topic_is_one_sentence(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, left_out: str
) -> None:
    worker_id = fresh_topics()
    name = checkpoints_topic(worker_id) if left_out == "checkpoints" else left_out
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.delete_topics([name])
    while name in admin.list_topics():
        time.sleep(0.05)
    admin.close()
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
    assert _errors(worker) == [
        f"Topic {name} does not exist at {broker.bootstrap}: create the topics with `labelwatch topics create`."
    ]


@pytest.mark.parametrize(
    ("topic", "config", "sentence"),
    [
        ("events", {"cleanup.policy": "compact"}, f"{EVENTS} has cleanup.policy=compact where delete is expected"),
        ("events", {"message.timestamp.type": "CreateTime"}, "message.timestamp.type=CreateTime where LogAppendTime"),
        ("checkpoints", {"cleanup.policy": "delete"}, "has cleanup.policy=delete where compact is expected"),
        ("checkpoints", {"max.message.bytes": "1000"}, "has max.message.bytes=1000, and at least 8388608 is needed"),
        ("rejected", {"max.message.bytes": "1048588"}, f"{REJECTED} has max.message.bytes=1048588, and at least"),
    ],
)
def test_settings_on_which_exactness_rests_are_checked(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, topic: str, config: dict[str, str], sentence: str
) -> None:
    worker_id = fresh_topics(**{topic: config})
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
    (error,) = _errors(worker)
    assert sentence in error


def test_no_broker_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with WorkerProcess(tmp_path, address) as worker:
            assert worker.wait() == 1
    (error,) = _errors(worker)
    assert error.startswith(f"No Kafka broker answers at {address} (PLAINTEXT): ")


def test_a_broker_that_never_answers_is_one_sentence_and_sigterm_ends_the_wait(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with WorkerProcess(tmp_path, address) as worker, WorkerProcess(tmp_path, address) as stopped:
            stopped.wait_for("starts, broker")
            assert stopped.terminate() == 0
            assert worker.wait() == 1
    (error,) = _errors(worker)
    assert error.startswith(f"No Kafka broker answers at {address}")


def test_a_port_in_use_is_one_sentence(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, metrics_port=port) as worker:
            assert worker.wait() == 1
    (error,) = _errors(worker)
    assert f"port {port}" in error
    assert "in use" in error


def test_a_broken_policy_is_one_sentence(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[defaults]\naccuracy_target = 95\n")
    with WorkerProcess(tmp_path, "127.0.0.1:1", policy=policy) as worker:
        assert worker.wait() == 2
    (error,) = _errors(worker)
    assert "accuracy_target" in error
    assert "95" in error


def _errors(worker: WorkerProcess) -> list[str]:
    lines = [line.split(None, 3) for line in worker.log.splitlines()]
    assert all(len(line) == 4 for line in lines), f"not one line an entry:\n{worker.log}"
    return [text for _, level, _, text in lines if level == "ERROR"]
