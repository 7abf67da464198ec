"""Faults of the broker: away, restarted, slow, and topics that take nothing."""

import os
import re
import time

from confluent_kafka import Producer

from schemas.topics import EVENTS, REJECTED
from tests.faults.fault import fault
from tests.faults.harness import (
    Checkpoints,
    Round,
    read_topic,
    until,
)


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
    # More than a busy machine takes for a transaction, or none comes to the place where the worker stops.
    worker = r.start(
        f"prepared:{r.rng.randrange(7, 12)}:stop", told={"transaction_seconds": 5}, session_timeout_seconds=20
    )
    r.feed()
    until(worker.is_frozen, "the worker stops inside a transaction")
    r.fire()
    time.sleep(7)
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
