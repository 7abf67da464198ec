"""Faults of processes: crashes, zombies, members that join and leave."""

import contextlib
import os
import re
import signal
import time
from bisect import bisect_left
from typing import Any

from schemas.topics import EVENTS
from tests.faults.fault import fault
from tests.faults.harness import (
    BATCH_RECORDS,
    CHECKPOINT_RECORDS,
    Round,
    Worker,
    read_topic,
    until,
)


def _replay_is_bounded(r: Round, dead: Worker) -> None:
    """At most one checkpoint interval since the last cut, and one checkpoint on its way.

    Counted in records that the log has: what was rolled back, and the marks of a transaction's end, take offsets that
    no interval counts.
    """
    limit = 2 * CHECKPOINT_RECORDS + BATCH_RECORDS
    assert r.sight is not None
    log: list[list[int]] = [[] for _ in range(r.partitions)]
    for m in read_topic(r.broker.bootstrap, EVENTS, r.partitions, since=r.sight.durable):
        log[m.partition()].append(m.offset())
    for partition, durable in enumerate(r.sight.durable):
        applied, cut = dead.progress.applied(partition), max(dead.progress.cut(partition), 0) or durable
        if applied:
            in_flight, since = (
                bisect_left(log[partition], end) - bisect_left(log[partition], begin)
                for begin, end in ((durable, cut), (cut, applied))
            )
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
