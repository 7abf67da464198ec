"""The faults, one function each: drives a round until its fault is over and somebody is left to finish the work."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from schemas.topics import EVENTS, REJECTED
from tests.faults.harness import (
    BATCH_RECORDS,
    CHECKPOINT_RECORDS,
    Checkpoints,
    Invalid,
    Round,
    Worker,
    read_topic,
    until,
)
from tests.oracle.compare import Record

Drive = Callable[[Round], None]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: As the command line and the table have it.
        drive: Drives it.
        about: What is done, for the table.
        weight: Rounds of a hundred.
        topics: Settings of the round's topics, by topic name; `checkpoints` for that one.
    """

    name: str
    drive: Drive
    about: str
    weight: int
    topics: dict[str, dict[str, str]]


FAULTS: dict[str, Fault] = {}


def fault(weight: int, about: str, **topics: dict[str, str]) -> Callable[[Drive], Drive]:
    """Declares a fault under its function's name."""

    def declare(drive: Drive) -> Drive:
        FAULTS[drive.__name__] = Fault(drive.__name__, drive, about, weight, topics)
        return drive

    return declare


# --- crashes


def _replay_is_bounded(r: Round, dead: Worker) -> None:
    """At most one checkpoint interval since the last cut, and one checkpoint on its way."""
    limit = 2 * CHECKPOINT_RECORDS + BATCH_RECORDS
    assert r.sight is not None
    for partition, durable in enumerate(r.sight.durable):
        applied, cut = dead.progress.applied(partition), max(dead.progress.cut(partition), 0) or durable
        since, in_flight = applied - cut, cut - durable
        if applied:
            r.expect(since <= limit, f"partition {partition}: {since} records since the last cut, at most {limit}")
            r.expect(in_flight <= limit, f"partition {partition}: {in_flight} records on their way, at most {limit}")
            r.measured["since the last cut"] = max(r.measured.get("since the last cut", 0), since)
            r.measured["in flight"] = max(r.measured.get("in flight", 0), in_flight)


def _crash_at(r: Round, point: str) -> None:
    membership: dict[str, Any] = {"instance_id": "static"} if r.rng.random() < 0.3 else {}
    worker = r.start(f"{point}:{r.rng.randrange(7, 14)}", **membership)
    r.feed()
    r.expect(worker.wait() == -signal.SIGKILL, "the worker dies at its crash point")
    r.expect(f"crash point {point} fires" in worker.log, "the crash point fires")
    r.fire()
    _replay_is_bounded(r, worker)
    r.start(**membership)


@fault(4, "kill -9 with half of a checkpoint's slots sent")
def kill_half_sent(r: Round) -> None:
    _crash_at(r, "half")


@fault(4, "kill -9 with all of a checkpoint sent, before its transaction's commit")
def kill_before_commit(r: Round) -> None:
    _crash_at(r, "prepared")


@fault(4, "kill -9 after the commit, before it is announced and the group's offsets are committed")
def kill_after_commit(r: Round) -> None:
    _crash_at(r, "committed")


@fault(6, "kill -9 at random, two or three times")
def kill_at_random(r: Round) -> None:
    r.feed()
    for life in range(r.rng.choice((2, 3))):
        worker = r.start()
        worker.wait_for("partition=. opened")
        if life == 0:
            r.await_checkpoints()
        time.sleep(r.rng.random() * 0.5)
        worker.kill()
        r.fire()
        _replay_is_bounded(r, worker)
    r.start()


@fault(3, "kill -9 of one of two workers, which the other takes over from")
def kill_one_of_two(r: Round) -> None:
    first, second = r.start(), r.start()
    for worker in (first, second):
        worker.wait_for("partition=. opened")
    r.feed()
    r.await_checkpoints(2 * 5)
    victim = r.rng.choice((first, second))
    victim.kill()
    r.fire()
    _replay_is_bounded(r, victim)


@fault(4, "SIGTERM in the midst of batches: exit 0 within the deadline, nothing replayed afterwards")
def sigterm_mid_batch(r: Round) -> None:
    worker = r.start(stop_seconds=5)
    r.feed()
    r.await_checkpoints()
    r.fire()
    before = time.monotonic()
    r.expect(worker.terminate() == 0, "SIGTERM ends with code 0")
    r.expect(time.monotonic() - before < 5, "within the deadline")
    durable = [worker.progress.applied(n) for n in range(r.partitions)]
    # The broker writes a commit's markers a moment after it has answered.
    until(lambda: r.look().durable == durable, f"what was applied is durable: {durable}", 10)
    follower = r.start()
    for partition, at in enumerate(durable):
        opened = int(follower.wait_for(rf"partition={partition} opened at offset=(\d+)")[1])
        r.expect(opened == at, f"partition {partition} goes on at {at}, not {opened}")


# --- zombies


def _zombie(r: Round, zombie: Worker) -> None:
    owner = r.start()
    owner.wait_for("assigned partitions=0,1")
    r.fire()
    r.await_checkpoints(r.sight.checkpoints + 4 if r.sight else 9)
    said = len(zombie.log)
    zombie.thaw()
    # While it still believes to own the partitions, its page must not show them.
    for _ in range(5):
        with contextlib.suppress(OSError):
            shown = zombie.figures().get("labelwatch_labels_total", {})
            owned = sum(zombie.figures().get("labelwatch_partition_owned", {}).values())
            r.expect(not shown or owned == 1, "a zombie shows nothing of what it has lost")
    until(lambda: "assigned partitions=" in zombie.log[said:], "the zombie joins again")


@fault(4, "SIGSTOP past the session time-out while another takes over, then SIGCONT")
def zombie(r: Round) -> None:
    worker = r.start()
    r.feed()
    r.await_checkpoints()
    worker.freeze()
    _zombie(r, worker)


@fault(4, "the same inside an open transaction")
def zombie_in_transaction(r: Round) -> None:
    worker = r.start(f"prepared:{r.rng.randrange(7, 12)}:stop")
    r.feed()
    until(worker.is_frozen, "the worker stops inside a transaction")
    _zombie(r, worker)


# --- the group


@fault(3, "workers join and leave ten times under load, by SIGTERM and kill -9 in turn")
def churn(r: Round) -> None:
    staying = r.start()
    r.feed(rate=500)
    r.await_checkpoints()
    r.fire()
    before = [0] * r.partitions
    # The next one has its modules loaded already, so that joins follow one another without a rest.
    coming = [r.start(told={"go": str(r.folder / f"go-{turn}")}) for turn in range(2)]
    for turn in range(10):
        worker = coming.pop(0)
        (r.folder / f"go-{turn}").touch()
        worker.wait_for("assigned partitions=")
        if turn < 8:
            coming.append(r.start(told={"go": str(r.folder / f"go-{turn + 2}")}))
        durable = r.look().durable
        r.expect(all(a <= b for a, b in zip(before, durable, strict=True)), "what is durable never decreases")
        before = durable
        if r.rng.random() < 0.3:
            worker.kill()
        else:
            r.expect(worker.terminate() == 0, "a leaving worker ends with code 0")
    r.expect(", kept, in" in staying.log, "a partition that stays need not be restored")


def _idle_is_ready(worker: Worker) -> None:
    """Of two partitions a third worker gets none, and is ready to take over."""
    until(lambda: worker.get("/readyz")[0] == 200 or not worker.log.rstrip().endswith("=none of 2"), "it is ready")


@fault(4, "two rebalances at once: two workers join and leave within moments of one another")
def two_rebalances(r: Round) -> None:
    r.start()
    r.feed(rate=1_500)
    r.await_checkpoints()
    joining = [r.start(), r.start()]
    joining[0].wait_for("2 partitions, checkpoints")
    time.sleep(r.rng.random() * 0.5)
    r.fire()
    joining[1].wait_for("assigned partitions=")
    for worker in r.alive:
        if re.findall(r"assigned partitions=(\S+)", worker.log)[-1:] == ["none"]:
            _idle_is_ready(worker)
    for worker in joining:
        os.kill(worker.process.pid, r.rng.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)))
    for worker in joining:
        r.expect(worker.wait() in (0, -signal.SIGKILL), "a leaving worker ends with code 0")


@fault(5, "SIGTERM of the joining or the staying worker during a rebalance: no partition waits for a session")
def sigterm_in_rebalance(r: Round) -> None:
    session: dict[str, Any] = {"session_timeout_seconds": 20}
    staying = r.start(**session)
    r.feed(rate=1_500)
    r.await_checkpoints()
    joining = r.start(**session)
    joining.wait_for("2 partitions, checkpoints")
    # The rebalance is noticed by a heartbeat, within a second.
    time.sleep(r.rng.random() * 1.5)
    r.fire()
    leaving, left = r.rng.choice(((staying, joining), (joining, staying)))
    r.expect(leaving.terminate() == 0, "SIGTERM ends with code 0")
    left.wait_for(r"assigned partitions=0,1", 15)
    sight = r.look()
    until(lambda: all(a > b for a, b in zip(r.look().durable, sight.durable, strict=True)), "both go on", 15)
    r.expect(r.pause_seconds() < 10, f"a partition stood still for {r.pause_seconds():.1f} s")


# --- the broker


def _restart_broker(r: Round, away_seconds: float) -> None:
    r.broker.kill9()
    time.sleep(away_seconds)
    r.restart_broker()


@fault(4, "the broker is killed (-9) and restarted")
def broker_kill(r: Round) -> None:
    r.start()
    r.feed(rate=300)
    r.await_checkpoints()
    r.fire()
    _restart_broker(r, r.rng.random() * 2)


@fault(3, "the same with a transaction open")
def broker_kill_in_transaction(r: Round) -> None:
    worker = r.start(f"prepared:{r.rng.randrange(7, 12)}:stop", session_timeout_seconds=20)
    r.feed(rate=300)
    until(worker.is_frozen, "the worker stops inside a transaction")
    r.fire()
    _restart_broker(r, 0)
    worker.thaw()


def _broker_away(r: Round, seconds: float) -> None:
    # Less than the time without a broker; more than a busy machine takes for a batch of the backlog after it.
    worker = r.start(watchdog_seconds=10)
    r.feed(rate=200)
    r.await_checkpoints()
    r.fire()
    r.broker.kill9()
    try:
        worker.wait_for("broker away")
        time.sleep(seconds)
        r.expect(worker.alive, "the watchdog stays quiet while the broker is away")
        r.expect(worker.get("/healthz")[0] == 200, "the loop turns")
        r.expect(worker.get("/readyz")[0] == 503, "and the worker is not ready")
        r.expect(not worker.figures().get("labelwatch_labels_total"), "nor does it show what it cannot vouch for")
    finally:
        r.restart_broker()
    worker.wait_for("broker back")


@fault(2, "the broker is gone for 15 s: the watchdog stays quiet")
def broker_away(r: Round) -> None:
    _broker_away(r, 15)


@fault(1, "the broker is gone for two minutes")
def broker_away_two_minutes(r: Round) -> None:
    _broker_away(r, 120)


@fault(3, "a transaction runs into its time-out: the broker ends it, the worker stays a member")
def transaction_timeout(r: Round) -> None:
    worker = r.start(
        f"prepared:{r.rng.randrange(7, 12)}:stop", told={"transaction_seconds": 1}, session_timeout_seconds=20
    )
    r.feed()
    until(worker.is_frozen, "the worker stops inside a transaction")
    r.fire()
    time.sleep(3)
    worker.thaw()
    worker.wait_for("fenced: its state is dropped and restored")


@fault(
    3,
    "compaction of the checkpoint topic runs (small segments), then kill -9 and a restore",
    checkpoints={"segment.ms": "300", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"},
)
def compaction(r: Round) -> None:
    worker = r.start()
    r.feed(rate=1_500)
    r.await_checkpoints()
    written = sum(map(len, r.checkpoints.commits))

    def compacted() -> bool:
        reader = Checkpoints(r.broker.bootstrap, r.topic, r.partitions)
        reader.look()
        reader.close()
        r.checkpoints.look()
        return sum(map(len, reader.commits)) < sum(map(len, r.checkpoints.commits)) - 3

    def goes_on() -> bool:
        r.checkpoints.look()
        return sum(map(len, r.checkpoints.commits)) > written

    until(compacted, "the broker compacts")
    # It may have done so before: with segments of .3 s it takes no longer than the first checkpoints.
    until(goes_on, "checkpoints go on meanwhile")
    worker.kill()
    r.fire()
    r.start()


@fault(3, "a restore slower than Faust's own limit, and than the session: neither membership nor Faust ends")
def slow_restore(r: Round) -> None:
    worker = r.start()
    r.feed()
    r.await_checkpoints()
    worker.kill()
    r.fire()
    slow = r.start(told={"slow_restore": 6, "request_seconds": 2}, watchdog_seconds=5)
    slow.wait_for("assigned partitions=0,1")
    r.expect(slow.get("/readyz")[0] == 503, "not ready while it restores")
    slow.wait_for("partition=0 opened")
    slow.wait_for("partition=1 opened")
    r.expect(slow.log.count("assigned partitions") == 1, "it stayed a member")
    took = [float(seconds) for seconds in re.findall(r"opened at offset=.* in ([\d.]+) s", slow.log)]
    r.expect(min(took) >= 6, "each restore was slow")


# --- what cannot be written


@fault(2, "the checkpoint topic takes nothing for a while")
def checkpoints_unwritable(r: Round) -> None:
    worker = r.start()
    r.feed(rate=500)
    r.await_checkpoints()
    r.alter(r.topic, "max.message.bytes", "200")  # room for the marks of a transaction
    try:
        r.fire()
        worker.wait_for("checkpoint failed, its figures go on(?s:.*)checkpoint failed, its figures go on")
        r.expect(worker.alive, "it goes on trying")
    finally:
        r.alter(r.topic, "max.message.bytes", str(8 << 20))


@fault(2, "the dead-letter topic is deleted under the worker: nothing goes past it, SIGTERM works, and it comes back")
def dead_letters_deleted(r: Round) -> None:
    worker = r.start(told={"request_seconds": 2, "write_seconds": 4}, stop_seconds=8)
    r.feed(rate=500)
    r.await_checkpoints()
    # What was written is read before it is deleted.
    r.loader.held.set()
    until(lambda: r.look().lag == 0, "all is durable")
    r.letters = read_topic(r.broker.bootstrap, REJECTED, r.partitions)
    with r.admin() as admin:
        admin.delete_topics([REJECTED])
    r.loader.held.clear()
    until(lambda: r.look().lag > 300, "records wait")
    r.fire()
    stuck = r.look().durable
    worker.wait_for("checkpoint failed|not restored")
    r.expect(r.look().durable == stuck or r.look().lag > 0, "no checkpoint goes past a dead letter")
    before = time.monotonic()
    r.expect(worker.terminate() in (0, 1), "SIGTERM ends it")
    r.expect(time.monotonic() - before < 9, "within the deadline")
    r.make_missing_topics()
    r.start()


@fault(2, "the dead-letter topic refuses a record for its size: readiness falls, the partition waits")
def dead_letter_refused(r: Round) -> None:
    worker = r.start()
    r.feed(rate=500)
    r.await_checkpoints()
    r.alter(REJECTED, "max.message.bytes", "600")
    producer = Producer({"bootstrap.servers": r.broker.bootstrap})
    producer.produce(EVENTS, os.urandom(5_000), partition=0)
    producer.flush()
    try:
        r.fire()
        worker.wait_for(f"checkpoint failed, .*: {REJECTED} has max.message.bytes=600, and at least")
        until(lambda: "dead letters cannot be written" in worker.get("/readyz")[1], "readiness says why")
    finally:
        r.alter(REJECTED, "max.message.bytes", str(13 << 20))
    until(lambda: worker.get("/readyz")[0] == 200, "ready again")


# --- records


@fault(3, "poison: batches of nothing else, null values, records of 10 MB, then kill -9")
def poison(r: Round) -> None:
    worker = r.start(told={"batch": 2_000})
    r.feed()
    r.await_checkpoints()
    bad: list[bytes | None] = [None, b"", b"{", b"\xff\xfe", b"[]", b'{"type":"label_submitted"}', b"\x00" * 50_000]
    producer = Producer({"bootstrap.servers": r.broker.bootstrap, "message.max.bytes": 16 << 20, "linger.ms": 50})
    for partition in range(r.partitions):
        for _ in range(3_000):
            producer.produce(EVENTS, r.rng.choice(bad[:-1]), partition=partition)
        for value in (os.urandom(10 << 20), b'{"type":"label_submitted","x":"' + b"y" * (10 << 20), bad[-1]):
            producer.produce(EVENTS, value, partition=partition)
            producer.flush()
    producer.flush()
    time.sleep(r.rng.random())
    worker.kill()
    r.fire()
    r.start(told={"batch": 2_000})


@fault(
    3,
    "producers roll back in turns with plain ones, kill -9; one leaves a transaction open, kill -9; the log ends with "
    "what was rolled back",
)
def transactions(r: Round) -> None:
    r.loader.undo(r.rng)
    worker = r.start()
    r.feed()
    r.await_checkpoints()
    worker.kill()
    r.fire()
    _replay_is_bounded(r, worker)
    worker = r.start()
    dies = r.loader.undoing("dies", timeout_seconds=12)
    dies.leave_open([record for n in range(r.partitions) for record in r.loader.some(5, n)])

    def held_up() -> bool:
        ages = worker.figures().get("labelwatch_open_transaction_seconds", {}).values()
        return len(ages) == r.partitions and min(ages) > 0

    until(held_up, "the open transaction shows")
    worker.kill()
    follower = r.start()
    for partition in range(r.partitions):
        follower.wait_for(f"partition={partition} caught up")
    until(lambda: follower.get("/readyz")[0] == 200, "an open transaction keeps nobody from being ready")
    r.loader.stop()
    # The broker ends what its producer has left; what was written behind it comes then.
    until(lambda: r.look().lag == 0, "all that counts is durable")
    undoing = r.loader.undoing("last")
    for partition in range(r.partitions):
        undoing.roll_back(r.loader.some(50, partition))
    r.expect(follower.terminate() == 0, "SIGTERM ends with code 0")
    last = r.start(watchdog_seconds=6)
    until(lambda: last.get("/readyz")[0] == 200, "what was rolled back at the end is caught up with")
    figures = last.wait_until("labelwatch_consumer_lag_records", 0)
    r.expect(sum(figures["labelwatch_uncommitted_records"].values()) == 0, "no transaction is open")
    time.sleep(8)
    r.expect(last.alive, "nor does the watchdog take it for lag")


@fault(2, "what producers sent is sent once more, then the group's offsets are rewound to the start")
def rewound_group(r: Round) -> None:
    worker = r.start()
    r.feed()
    r.await_checkpoints()
    log = read_topic(r.broker.bootstrap, EVENTS, r.partitions)
    producer = Producer({"bootstrap.servers": r.broker.bootstrap})
    for m in log[-1_500:]:
        producer.produce(EVENTS, m.value(), key=m.key(), partition=m.partition())
    producer.flush()
    r.expect(worker.terminate() == 0, "SIGTERM ends with code 0")
    group = f"labelwatch-{r.worker_id}"
    consumer = Consumer({"bootstrap.servers": r.broker.bootstrap, "group.id": group, "enable.auto.commit": False})

    def rewound() -> bool:
        with contextlib.suppress(Exception):
            offsets = [TopicPartition(EVENTS, n, 0) for n in range(r.partitions)]
            consumer.commit(offsets=offsets, asynchronous=False)
            return True
        return False

    until(rewound, "the group's offsets are rewound")
    consumer.close()
    r.fire()
    before = r.look().durable
    follower = r.start()
    for partition, at in enumerate(before):
        opened = int(follower.wait_for(rf"partition={partition} opened at offset=(\d+)")[1])
        r.expect(opened == at, "the checkpoint says where to go on, not the group's offset")


@fault(2, "late and future events, one site's clock an hour ahead and another's an hour behind, then kill -9")
def clocks_wrong(r: Round) -> None:
    r.traffic.places[0].ahead_ms = 3_600_000
    r.traffic.places[-1].ahead_ms = -3_600_000
    r.traffic._span_ms = 600_000
    worker = r.start()
    r.feed(backlog=4_000, rate=2_000)
    r.await_checkpoints()
    until(lambda: r.look().checkpoints >= 15 and r.look().lag > 0, "some of it is of now")
    worker.kill()
    r.fire()
    r.start()


@fault(2, "a source partition falls quiet, then kill -9: idle is not stuck")
def quiet_partition(r: Round) -> None:
    worker = r.start(watchdog_seconds=6)
    r.feed()
    r.await_checkpoints()
    r.traffic.quiet = {r.rng.randrange(r.partitions)}
    time.sleep(9)
    r.expect(worker.alive, "the watchdog does not bark at an idle partition")
    until(lambda: worker.get("/readyz")[0] == 200, "and the worker is ready")
    r.await_checkpoints()
    worker.kill()
    r.fire()
    r.start(watchdog_seconds=6)
    time.sleep(2)
    r.traffic.quiet = set()
    time.sleep(1)


@fault(2, "sites are in two partitions, then kill -9: figures of each stay consistent, sums right")
def site_in_two_partitions(r: Round) -> None:
    r.traffic.splits = r.pages_unchecked = True
    worker = r.start()
    r.feed()
    r.await_checkpoints()
    worker.kill()
    r.fire()
    r.start()


@fault(2, "more people than the cap (here 200 a partition), then kill -9: sites exact, memory bounded")
def many_people(r: Round) -> None:
    r.people_max = 200
    told = {"people": r.people_max}
    worker = r.start(told=told)
    r.feed()
    r.await_checkpoints()
    worker.kill()
    r.fire()
    r.start(told=told)


@fault(1, "100,000 people over 50 sites, then kill -9: how soon the state is back")
def large_state(r: Round) -> None:
    # More series than a page shows.
    r.pages_unchecked = True
    producer = Producer({"bootstrap.servers": r.broker.bootstrap, "linger.ms": 20})
    start_ms = int(time.time() * 1000) - 7_200_000
    for n in range(200_000):
        site, agent = n % 50, n % 100_000
        label = (
            f'{{"type":"label_submitted","event_id":"big-{n}","at":{start_ms + n * 30},"site_id":"big-{site}",'
            f'"agent_id":"a{agent}","project_id":"p{site % 7}","task_id":"t{n}","handle_ms":{n % 90_000}}}'
        )
        while True:
            try:
                producer.produce(EVENTS, label.encode(), key=b"big", partition=site % r.partitions)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()
    usual: dict[str, Any] = {"checkpoint_records": 100_000, "checkpoint_seconds": 1}
    told = {"batch": 10_000, "fetch": 4 << 20, "pace": 0}
    worker = r.start(told=told, **usual)
    until(lambda: r.look().lag == 0, "the large state is durable", 120)
    r.feed(backlog=2_000, rate=1_000)
    r.await_checkpoints()
    worker.kill()
    r.fire()
    began = time.monotonic()
    follower = r.start(told=told, **usual)
    for partition in range(r.partitions):
        follower.wait_for(f"partition={partition} caught up")
    r.measured["100,000 people back in seconds"] = time.monotonic() - began
    for seconds in re.findall(r"restored from \d+ slots in \d+ records, in ([\d.]+) s", follower.log):
        key = "of which reading a partition's state"
        r.measured[key] = max(r.measured.get(key, 0.0), float(seconds))


# --- the worker itself


def _resident_bytes(worker: Worker) -> int:
    pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@fault(2, "a slow body: memory bounded, lag visible, the watchdog quiet as long as there is progress")
def slow_body(r: Round) -> None:
    worker = r.start(told={"slow_body": 0.3, "pace": 0}, watchdog_seconds=6)
    r.feed(backlog=6_000, rate=1_500)
    r.await_checkpoints()
    resident = _resident_bytes(worker)
    until(lambda: sum(worker.figures().get("labelwatch_consumer_lag_records", {}).values()) > 1_000, "the lag shows")
    r.fire()
    time.sleep(8)
    r.expect(worker.alive, "slow is not stuck")
    r.expect(_resident_bytes(worker) < resident + (200 << 20), "what waits stays on the broker")
    r.expect(worker.terminate() == 0, "SIGTERM ends with code 0")
    r.start()


@fault(2, "the loop hangs: the watchdog ends the worker with code 70, its successor is exact")
def hung_loop(r: Round) -> None:
    worker = r.start(told={"hang_after": 5_000}, watchdog_seconds=2)
    r.feed()
    r.expect(worker.wait(30) == 70, "the watchdog ends it with code 70")
    r.expect("stuck: no progress for 2 s with records waiting" in worker.log, "and says why")
    r.fire()
    r.start()


@fault(2, "the disk is full: no key for pseudonyms is one sentence; no room for logs stops nothing")
def disk_full(r: Round) -> None:
    refused = r.start(told={"full_disk": True}, agent_labels="pseudonym", data_dir=r.folder / "full")
    r.expect(refused.wait() == 1, "it refuses")
    errors = [line for line in refused.log.splitlines() if " ERROR " in line]
    r.expect(len(errors) == 1 and "No space left on device" in errors[0], f"in one sentence: {errors}")
    r.expect(not list((r.folder / "full").iterdir()), "and leaves no half key behind")
    silent = r.start(told={"log_bytes": 600})
    r.feed()
    r.await_checkpoints()
    silent.kill()
    r.expect(len(silent.log) <= 600, "its log was full")
    r.fire()
    r.start()


@fault(2, "the policy is changed between two lives of a worker: what was counted stays, what is judged follows")
def policy_changed(r: Round) -> None:
    first, second = r.folder / "first.toml", r.folder / "second.toml"
    first.write_text("[defaults]\nmin_reviews = 50\n")
    r.policy_text = '[defaults]\nmin_reviews = 5\nhandle_seconds_target = 9\n[site."large-0"]\nvendor = "acme"\n'
    second.write_text(r.policy_text)
    worker = r.start(policy=first)
    r.feed()
    r.await_checkpoints()
    worker.kill()
    r.fire()
    r.start(policy=second)


# --- the topic


def _new_group(r: Round) -> None:
    """What the refusal asks for: a new group, which replays."""
    r.worker_id = f"{r.worker_id}-new"
    r.checkpoints.close()
    r.notes.append("a new group replays everything")


@fault(1, "the partition count is raised under a running worker: it ends with a sentence, a new group replays")
def partitions_raised(r: Round) -> None:
    worker = r.start()
    r.feed()
    r.await_checkpoints()
    r.fire()
    admin = AdminClient({"bootstrap.servers": r.broker.bootstrap})
    for done in admin.create_partitions([NewPartitions(EVENTS, r.partitions + 1)]).values():
        done.result()
    r.expect(worker.wait(90) == 1, "it ends with code 1")
    r.expect("start a new group with --id and replay" in worker.log, "and says what to do")
    r.expect("now" in worker.log, "and why")
    refused = r.start()
    r.expect(refused.wait() == 1, "so does the next one")
    r.expect("they must be the same" in refused.log, "with its own sentence")
    _new_group(r)
    r.partitions += 1
    r.lost.append(0)
    with r.admin() as admin_client:
        for name in (REJECTED, "labeling.drift.v1"):
            admin_client.delete_topics([name])
        until(lambda: not {REJECTED, "labeling.drift.v1"} & set(admin_client.list_topics()), "topics are gone")
    r.make_missing_topics()
    r.checkpoints = Checkpoints(r.broker.bootstrap, r.topic, r.partitions)
    r.start()


@fault(2, "the topic is recreated: the worker refuses, a new group counts from the start")
def topic_recreated(r: Round) -> None:
    worker = r.start()
    r.feed(backlog=8_000, rate=1_500)
    r.await_checkpoints()
    r.loader.stop()
    r.await_checkpoints()
    worker.kill()
    r.fire()
    r.make_topics(only=EVENTS)
    r.loader.acknowledged.clear()
    refused = r.start()
    r.expect(refused.wait() == 1, "it refuses")
    r.expect("the topic was recreated or cut; start a new group with --id and replay." in refused.log, "and says why")
    _new_group(r)
    r.make_topics()
    r.checkpoints = Checkpoints(r.broker.bootstrap, r.topic, r.partitions)
    r.fresh_loader()
    r.feed()
    r.start()


@fault(2, "retention overtakes a worker that was down: what is lost is counted, once, through a kill -9")
def retention_overtakes(r: Round) -> None:
    worker = r.start()
    r.feed(rate=3_000)
    r.await_checkpoints(10)
    worker.kill()
    sight = r.fire()
    if any(end - durable < 4 or not durable for durable, end in zip(sight.durable, sight.ends, strict=True)):
        raise Invalid(f"a partition has nothing to lose: {sight}")
    cut = [durable + r.rng.randrange(1, max(2, (end - durable) // 2)) for durable, end in zip(
        sight.durable, sight.ends, strict=True)]  # fmt: skip
    for m in read_topic(r.broker.bootstrap, EVENTS, r.partitions):
        if m.offset() < sight.durable[m.partition()]:
            record = Record(m.offset(), m.timestamp()[1], m.key(), m.value())
            r.history.setdefault(m.partition(), []).append(record)
    r.lost = [at - durable for at, durable in zip(cut, sight.durable, strict=True)]
    r.cut = cut
    admin = AdminClient({"bootstrap.servers": r.broker.bootstrap})
    wanted = [TopicPartition(EVENTS, n, at) for n, at in enumerate(cut)]
    for done in admin.delete_records(wanted).values():
        done.result()
    second = r.start("committed:2")
    r.expect(second.wait() == -signal.SIGKILL, "it dies after it has counted the loss")
    third = r.start()
    third.wait_for("partition=0 opened")
    told = re.findall(r"lost offsets (\d+) to (\d+)", second.log + third.log)
    expected = {(str(durable), str(at - 1)) for at, durable in zip(cut, sight.durable, strict=True)}
    r.expect(expected <= set(told), f"each loss is told: {told}, {expected}")
