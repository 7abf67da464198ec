"""Faults of records, of the worker itself and of the source topic."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from schemas.topics import EVENTS, REJECTED
from tests.faults.fault import fault
from tests.faults.harness import (
    Checkpoints,
    Invalid,
    Round,
    Worker,
    read_topic,
    until,
)
from tests.faults.of_processes import (
    _replay_is_bounded,
)
from tests.oracle.compare import Record


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
    logged = re.findall(r"offsets (\d+) to (\d+) were deleted", second.log + third.log)
    expected = {(str(durable), str(at - 1)) for at, durable in zip(cut, sight.durable, strict=True)}
    r.expect(expected <= set(logged), f"each loss is logged: {logged}, {expected}")
