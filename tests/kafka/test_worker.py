"""The whole worker, as a process, on a real broker: exact through whatever happens, and clear when it cannot go on."""

import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from schemas.topics import DRIFT, EVENTS, REJECTED, checkpoints_topic, topics
from tests.kafka.conftest import FreshTopics, committed_offsets, end_offsets, read_all
from tests.kafka.state import assert_same, durable, recomputed
from tests.support.kafka import RealKafka, create_topics
from tests.support.worker import WAIT_SECONDS, Figures, Load, WorkerProcess, chunks, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

#: Checkpoints at a pace that puts many of them into a short load.
BUSY = {"checkpoint_records": 3_000, "checkpoint_seconds": 0.2}


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


def assert_lag(broker: RealKafka, worker_id: str) -> None:
    applied = [engine.applied for engine in durable(broker.bootstrap, worker_id)]
    ends = end_offsets(broker.bootstrap, EVENTS)
    assert sum(ends) - sum(at + 1 for at in applied) > 0, "the fault must come before the work is done"


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


def test_exact_through_kill_9_at_every_point_of_a_checkpoint(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics()
    load = make_load(320_000, seed=2)
    produce(broker.bootstrap, EVENTS, load.records)
    for point in ("half:5", "prepared:5", "committed:5", None):
        environ = {"LABELWATCH_CRASH": point} if point else {}
        with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, environ=environ, **BUSY) as worker:
            if point is None:
                begun = committed_offsets(broker.bootstrap, f"labelwatch-{worker_id}", EVENTS)
                worker.wait_for("partition=. opened")
                while committed_offsets(broker.bootstrap, f"labelwatch-{worker_id}", EVENTS) == begun:
                    assert worker.process.poll() is None
                worker.process.kill()
            assert worker.wait() == -signal.SIGKILL
            assert point is None or f"crash point {point.split(':')[0]} fires" in worker.log
        assert_lag(broker, worker_id)

    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, **BUSY) as worker:
        assert_counted(worker.wait_until("labelwatch_events_total", load.accepted), load)
        assert worker.terminate() == 0
    assert_dead_letters_once(broker, load)
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def test_sigterm_in_the_midst_of_a_load_loses_and_repeats_nothing(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics()
    load = make_load(120_000, seed=3)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, stop_seconds=5) as worker:
        worker.wait_for("partition=0 opened")
        worker.wait_for("partition=1 opened")
        assert worker.terminate() == 0
        released = [int(worker.said(rf"partition={n} released at offset=(\d+), everything")) for n in (0, 1)]
    assert_lag(broker, worker_id)
    assert [engine.applied + 1 for engine in durable(broker.bootstrap, worker_id)] == released
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert [int(worker.wait_for(rf"partition={n} opened at offset=(\d+)")[1]) for n in (0, 1)] == released
        assert_counted(worker.wait_until("labelwatch_events_total", load.accepted), load)
        assert worker.terminate() == 0
    assert_dead_letters_once(broker, load)
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def test_sigterm_in_a_rebalance_hands_over_at_once(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """The session is longer than the test waits: nobody may sit out its end."""
    worker_id = fresh_topics()
    load = make_load(20_000, seed=15)
    produce(broker.bootstrap, EVENTS, load.records[:10_000])
    patient = {"id": worker_id, "session_timeout_seconds": 2 * WAIT_SECONDS}
    with WorkerProcess(tmp_path, broker.bootstrap, **patient) as leaving:
        leaving.wait_for("partition=1 caught up")
        with WorkerProcess(tmp_path, broker.bootstrap, **patient) as staying:
            leaving.wait_for("released partitions=0,1")
            assert leaving.terminate() == 0
            staying.wait_for("assigned partitions=0,1")
            produce(broker.bootstrap, EVENTS, load.records[10_000:])
            assert_counted(staying.wait_until("labelwatch_events_total", load.accepted), load)
            assert staying.terminate() == 0
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


def test_a_slow_restore_ends_neither_membership_nor_faust(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """Longer than a session and than Faust's own limit of 10 s, after which it idled for ever."""
    worker_id = fresh_topics()
    load = make_load(2_000, seed=17)
    produce(broker.bootstrap, EVENTS, load.records)
    program = (
        "import sys, time; from streams.engine.partition import PartitionEngine; restore = PartitionEngine.restore\n"
        "PartitionEngine.restore = lambda *a, **b: time.sleep(12) or restore(*a, **b)\n"
        "from streams.runtime.settings import Settings; from streams.runtime.worker import run\n"
        "sys.exit(run(Settings.resolve()))"
    )
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, program=program, watchdog_seconds=1) as worker:
        worker.wait_for("assigned partitions=0,1")
        status, missing = worker.get("/readyz")
        assert status == 503
        assert "restored: state not restored yet: partition 0, 1" in missing
        assert_counted(worker.wait_until("labelwatch_events_total", load.accepted), load)
        assert worker.log.count("assigned") == 1
        assert worker.terminate() == 0


def test_exact_while_workers_join_and_leave(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    load = make_load(60_000, seed=4)
    parts = list(chunks(load.records, 6))
    produce(broker.bootstrap, EVENTS, parts[0])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, **BUSY) as first:
        first.wait_for("partition=. opened")
        produce(broker.bootstrap, EVENTS, parts[1])
        for round_number in (1, 3):
            with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, **BUSY) as second:
                produce(broker.bootstrap, EVENTS, parts[round_number + 1])
                second.wait_for("partition=. opened")
                if round_number == 3:
                    produce(broker.bootstrap, EVENTS, parts[5])
                    second.process.kill()
                    second.wait()
                else:
                    produce(broker.bootstrap, EVENTS, parts[3])
                    assert second.terminate() == 0
        assert_counted(first.wait_until("labelwatch_events_total", load.accepted), load)
        assert ", kept, in" in first.log, "a partition that stays need not be restored"
        assert first.terminate() == 0
    assert_dead_letters_once(broker, load)
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


@pytest.mark.parametrize("point", [None, "prepared:6:stop"])
def test_a_zombie_writes_nothing_and_shows_nothing(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, point: str | None
) -> None:
    """Stopped past its session, in the open or inside a transaction, while another takes over; then woken."""
    worker_id = fresh_topics()
    load = make_load(120_000, seed=5)
    produce(broker.bootstrap, EVENTS, load.records[:100_000])
    environ = {"LABELWATCH_CRASH": point} if point else {}
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, environ=environ, **BUSY) as zombie:
        zombie.wait_for("metrics at")
        if point is None:
            zombie.wait_for("partition=. opened")
            os.kill(zombie.process.pid, signal.SIGSTOP)
        else:
            zombie.wait_for("crash point prepared fires")
        with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, **BUSY) as owner:
            owner.wait_for("assigned partitions=0,1")
            produce(broker.bootstrap, EVENTS, load.records[100_000:])
            assert_counted(owner.wait_until("labelwatch_events_total", load.accepted), load)
            os.kill(zombie.process.pid, signal.SIGCONT)
            # Of its own, then, not of what it held.
            zombie.wait_for("assigned partitions=.*(?s:.*)assigned partitions=. of 2")
            owner.wait_for("assigned partitions=. of 2")
            both = [
                owner.wait_until("labelwatch_partition_owned", 1),
                zombie.wait_until("labelwatch_partition_owned", 1),
            ]
            assert both[0].keys()
            deadline = time.monotonic() + WAIT_SECONDS
            while sum(_shown(worker) for worker in (owner, zombie)) != load.accepted:
                assert time.monotonic() < deadline, owner.log + zombie.log
                time.sleep(0.2)
            assert zombie.terminate() == 0
            assert_counted(owner.wait_until("labelwatch_events_total", load.accepted), load)
            assert owner.terminate() == 0
    assert_dead_letters_once(broker, load)
    assert_same(durable(broker.bootstrap, worker_id), recomputed(broker.bootstrap))


def _shown(worker: WorkerProcess) -> float:
    return sum(worker.figures().get("labelwatch_events_total", {}).values())


def test_resumes_unaided_when_the_broker_was_killed(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics()
    load = make_load(120_000, seed=6)
    produce(broker.bootstrap, EVENTS, load.records[:100_000])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, **BUSY) as worker:
        worker.wait_for("partition=. opened")
        while sum(worker.figures()["labelwatch_checkpoints_total"].values()) < 3:
            assert worker.process.poll() is None
        assert "caught up" not in worker.log
        broker.kill9()
        try:
            worker.wait_for("broker away")
            deadline = time.monotonic() + WAIT_SECONDS
            while worker.get("/readyz")[0] == 200:
                assert time.monotonic() < deadline, "a worker that is cut off must not go on showing figures"
                time.sleep(0.1)
        finally:
            broker.start()
        produce(broker.bootstrap, EVENTS, load.records[100_000:])
        assert_counted(worker.wait_until("labelwatch_events_total", load.accepted), load)
        worker.wait_for("broker back")
        assert worker.terminate() == 0
    assert_dead_letters_once(broker, load)
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


def test_retention_that_overtook_the_worker_is_counted_once(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    load = make_load(3_000, seed=8)
    produce(broker.bootstrap, EVENTS, load.records[:1_000])
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_checkpoints_total", 1)
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert worker.terminate() == 0
    produce(broker.bootstrap, EVENTS, load.records[1_000:2_000])
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    partition = TopicPartition(EVENTS, 0, 1_700)
    admin.delete_records([partition])[partition].result()
    for start in range(2):
        with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
            worker.wait_until("labelwatch_lost_records_total", 700)
            worker.wait_until("labelwatch_consumer_lag_records", 0)
            assert ("lost offsets 1000 to 1699" in worker.log) == (start == 0)
            assert worker.terminate() == 0


def test_a_recreated_topic_is_refused(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    produce(broker.bootstrap, EVENTS, make_load(1_000, seed=9).records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert worker.terminate() == 0
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.delete_topics([EVENTS])
    while EVENTS in admin.list_topics():
        time.sleep(0.05)
    admin.close()
    create_topics(broker.bootstrap, [topic for topic in topics(worker_id) if topic.name == EVENTS], partitions=2)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
        assert "the topic was recreated or cut; start a new group with --id and replay." in worker.log


def test_more_partitions_are_refused(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    produce(broker.bootstrap, EVENTS, make_load(1_000, seed=10).records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_consumer_lag_records", 0)
        assert worker.terminate() == 0
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for result in admin.create_partitions([NewPartitions(EVENTS, 4)]).values():
        result.result()
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
        assert (
            f"{checkpoints_topic(worker_id)} has 2 partitions and {EVENTS} has 4: they must be the same" in worker.log
        )
    for result in admin.create_partitions([NewPartitions(checkpoints_topic(worker_id), 4)]).values():
        result.result()
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
        assert f"was written when {EVENTS} had 2 partitions, and now it has 4" in worker.log


def test_dead_letters_that_cannot_be_written_stop_the_partition_and_nothing_else(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics()
    load = make_load(2_000, seed=11, sites=1)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert_counted(worker.wait_until("labelwatch_events_total", load.accepted), load)
        _alter(broker, REJECTED, "max.message.bytes", "600")
        bad = os.urandom(2_000)
        produce(broker.bootstrap, EVENTS, [(b"site-0", bad)])
        worker.wait_for(f"stands still: {REJECTED} does not take a dead letter")
        deadline = time.monotonic() + WAIT_SECONDS
        while "dead letters cannot be written" not in worker.get("/readyz")[1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _alter(broker, REJECTED, "max.message.bytes", str(2 << 20))
        load.broken.append(bad)
        figures = worker.wait_until("labelwatch_rejected_total", len(load.broken))
        assert sum(figures["labelwatch_dead_letter_failures_total"].values()) >= 1
        assert worker.get("/readyz") == (200, "ready\n")
        assert worker.terminate() == 0
    assert_dead_letters_once(broker, load)


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


def test_a_stuck_worker_ends_with_code_70(broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path) -> None:
    worker_id = fresh_topics()
    program = (
        "import sys, time; from streams.engine.partition import PartitionEngine; "
        "PartitionEngine.apply = lambda self, records: time.sleep(600); "
        "from streams.runtime.settings import Settings; from streams.runtime.worker import run; "
        "sys.exit(run(Settings.resolve()))"
    )
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, watchdog_seconds=2, program=program) as worker:
        worker.wait_for("partition=1 caught up")
        time.sleep(4)
        assert worker.process.poll() is None, "an idle worker is not stuck"
        produce(broker.bootstrap, EVENTS, make_load(10, seed=13).records)
        assert worker.wait() == 70
        assert "stuck: no progress for 2 s with records waiting" in worker.log
        assert "waits for offset=0" in worker.log


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
    lines = [line.split(None, 2) for line in worker.log.splitlines()]
    assert all(len(line) == 3 for line in lines), f"not one line an entry:\n{worker.log}"
    return [text for _, level, text in lines if level == "ERROR"]


def _alter(broker: RealKafka, topic: str, name: str, value: str) -> None:
    admin: Any = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])
    admin.close()
