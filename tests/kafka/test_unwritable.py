"""What cannot be made durable, on a real broker: figures go on, it is said and counted, nothing is lost or doubled."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka import KafkaException, Producer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from schemas.topics import DRIFT, EVENTS, REJECTED, checkpoints_topic, topics
from tests.kafka.conftest import FreshTopics, read_all
from tests.kafka.state import assert_same, durable, recomputed
from tests.support.kafka import RealKafka
from tests.support.worker import WAIT_SECONDS, Figures, WorkerProcess, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@contextmanager
def takes_nothing_above(broker: RealKafka, topic: str, most_bytes: int) -> Iterator[None]:
    """A topic that refuses longer records for the length of the block."""
    before = {each.name: each.config["max.message.bytes"] for each in topics("x") if "max.message.bytes" in each.config}
    usual = before.get(topic, before[checkpoints_topic("x")])
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        for value in (str(most_bytes), usual):
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": value})
            admin.alter_configs([resource])
            if value != usual:
                yield
    finally:
        admin.close()


def failures(figures: Figures) -> Counter[str]:
    found: Counter[str] = Counter()
    for labels, value in figures["labelwatch_checkpoint_failures_total"].items():
        found[dict(labels)["reason"]] += int(value)
    return +found


def test_checkpoints_that_cannot_be_written_cost_no_figure(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    load = make_load(9_000, seed=41)
    first, second, third = load.records[:3_000], load.records[3_000:6_000], load.records[6_000:]
    produce(broker.bootstrap, EVENTS, first)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        before = worker.figures()
        with takes_nothing_above(broker, checkpoints_topic(worker_id), 100):
            produce(broker.bootstrap, EVENTS, second)
            said = worker.wait_for(r"partition=0 checkpoint failed, its figures go on, tried again in 4\.0 s: (.*)")
            assert said[1].startswith(
                f"{checkpoints_topic(worker_id)} has max.message.bytes=100, and at least 8388608 is needed: run "
                f"`kafka-configs.sh --bootstrap-server {broker.bootstrap} --alter"
            )
            worker.wait_until("labelwatch_figures_lag_seconds", 0.0)
            now = worker.figures()
            assert failures(now)["too_large"] >= 4
            assert set(failures(now)) == {"too_large"}
            # The window holds what was applied; durable counters and the lag say what a crash would have to read again.
            hours = {
                name: sum(value for labels, value in now[name].items() if dict(labels)["window"] == "1h")
                for name in ("labelwatch_site_labels",)
            }
            assert hours["labelwatch_site_labels"] > sum(before["labelwatch_labels_total"].values())
            assert now["labelwatch_labels_total"] == before["labelwatch_labels_total"]
            assert sum(now["labelwatch_consumer_lag_records"].values()) == len(second)
            assert sum(now["labelwatch_consumer_lag_seconds"].values()) > 0
            assert worker.get("/readyz")[0] == 200
            lines = worker.log.count("checkpoint failed")
            time.sleep(3)
            assert worker.log.count("checkpoint failed") <= lines + 1, "retries back off"
        produce(broker.bootstrap, EVENTS, third)
        worker.wait_until("labelwatch_events_total", load.accepted)
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert "restored" not in worker.log.split("checkpoint failed", 1)[1], "nothing was read again"
        assert worker.terminate() == 0
    letters = read_all(broker.bootstrap, REJECTED, 1)
    assert Counter(m.value() for m in letters) == Counter(load.broken)
    assert len({dict(m.headers())["origin-offset"] for m in letters}) == len(letters)
    drifts = [m.value() for m in read_all(broker.bootstrap, DRIFT, 1)]
    assert len(set(drifts)) == len(drifts)
    assert_same(durable(broker.bootstrap, worker_id, 1), recomputed(broker.bootstrap, 1))


def test_fencing_in_a_loop_names_the_transactional_id_and_ends_by_itself(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    own = f"labelwatch-{worker_id}-0"
    load = make_load(2_000, seed=44)
    over = Event()

    def takes_it_away() -> None:
        while not over.wait(0.2):
            other = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": own, "log_level": 0})
            with suppress(KafkaException):
                other.init_transactions()

    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker, ThreadPoolExecutor(1) as pool:
        worker.wait_for("partition=0 caught up")
        fencing = pool.submit(takes_it_away)
        try:
            produce(broker.bootstrap, EVENTS, load.records)
            said = worker.wait_for(r"ERROR .*partition=0 fenced: .*; 2 times in a row: (.*)")[1]
            assert f"another program writes with the transactional id {own}" in said
            assert f"describe --transactional-id {own}`" in said
            assert failures(worker.figures()) == {"fenced": 2}
        finally:
            over.set()
        fencing.result()
        worker.wait_for(r"partition=0 checkpoints are written again, after \d failures")
        worker.wait_until("labelwatch_events_total", load.accepted)
        assert worker.terminate() == 0
    assert_same(durable(broker.bootstrap, worker_id, 1), recomputed(broker.bootstrap, 1))


def test_a_worker_that_ends_while_it_cannot_write_says_so_and_the_next_one_reads_again(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    load = make_load(4_000, seed=42)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        produce(broker.bootstrap, EVENTS, load.records[:2_000])
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        with takes_nothing_above(broker, checkpoints_topic(worker_id), 100):
            produce(broker.bootstrap, EVENTS, load.records[2_000:])
            worker.wait_for("checkpoint failed, its figures go on")
            assert worker.terminate() == 1
            assert "not everything was written" in worker.log
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_events_total", load.accepted)
        assert worker.terminate() == 0
    assert Counter(m.value() for m in read_all(broker.bootstrap, REJECTED, 1)) == Counter(load.broken)
    assert_same(durable(broker.bootstrap, worker_id, 1), recomputed(broker.bootstrap, 1))


def test_dead_letters_that_cannot_be_written_halt_their_own_partition_alone(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """Beyond what may wait; until then figures go on. Nothing passes a dead letter, and none is there twice."""
    worker_id = fresh_topics(2)
    load = make_load(2_000, seed=43)
    # Of `x` and `z` one is in each partition: see the assertion below.
    broken = [(b"x", b"%d" % n + b"x" * 2_000) for n in range(1_500)]
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_for("partition=1 caught up")
        with takes_nothing_above(broker, REJECTED, 600):
            produce(broker.bootstrap, EVENTS, broken)
            (flooded,) = {m.partition() for m in read_all(broker.bootstrap, EVENTS, committed=False)}
            worker.wait_for(rf"partition={flooded} checkpoint failed, its figures go on.*{REJECTED} has max\.message")
            # All of a batch is applied; the next one waits.
            produce(broker.bootstrap, EVENTS, load.records)
            deadline = time.monotonic() + WAIT_SECONDS
            while True:
                figures = worker.figures()
                behind = {dict(k)["partition"]: v for k, v in figures["labelwatch_figures_lag_seconds"].items()}
                if behind[str(flooded)] > 0 and behind[str(1 - flooded)] == 0:
                    break
                assert time.monotonic() < deadline, behind
                time.sleep(0.2)
            assert "dead letters cannot be written" in worker.get("/readyz")[1]
            assert failures(figures)["dead_letters"] > 0
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert worker.get("/readyz")[0] == 200
        assert worker.terminate() == 0
    letters = read_all(broker.bootstrap, REJECTED)
    assert Counter(m.value() for m in letters) == Counter([value for _, value in broken] + load.broken)
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))
