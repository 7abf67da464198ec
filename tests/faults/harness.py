"""One round: fresh topics, a loader, workers as processes, a fault; and what was seen when the fault came."""

import contextlib
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from schemas.topics import EVENTS, Topic, checkpoints_topic, topics
from streams.engine.partition import PartitionEngine
from tests.faults.load import SPAN_MS, Loader, Traffic
from tests.faults.worker import PROGRAM, VARIABLE, Progress
from tests.oracle.compare import Record
from tests.support.kafka import RealKafka, create_topics
from tests.support.worker import WAIT_SECONDS, WorkerProcess

#: A round in which fewer checkpoints came before the fault says nothing.
CHECKPOINTS_BEFORE = 5
SESSION_SECONDS = 2
#: A small load must take many checkpoints, and must not be over before the fault: small batches, with a pause each.
CHECKPOINT_RECORDS = 600
BATCH_RECORDS = 200
_PACE_SECONDS = 0.012
#: No fault needs more; on an idle machine few rounds come so far.
_ENOUGH_RECORDS = 20_000
#: So that partitions take turns.
_FETCH_BYTES = 100_000
#: Beside those of `tests/kafka`: the broker ends what a dead transaction left within a second.
BROKER = {
    "log.cleaner.backoff.ms": "200",
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
    "log.segment.delete.delay.ms": "500",
    "group.min.session.timeout.ms": "1000",
    "message.max.bytes": str(16 << 20),
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}
#: Records of a megabyte and more are among the traffic of some rounds.
_LARGE = {EVENTS: str(12 << 20), "labeling.rejected.v1": str(13 << 20)}


class Invalid(Exception):
    """The fault did not come as meant: the round proves nothing, and is driven again."""


@dataclass
class Sight:
    """What stood on the broker at one moment.

    Attributes:
        at: Epoch seconds.
        checkpoints: Complete ones so far, of all partitions.
        durable: By partition, one above the last offset that a checkpoint knows.
        ends: By partition, the end of the log.
    """

    at: float
    checkpoints: int
    durable: list[int]
    ends: list[int]

    @property
    def lag(self) -> int:
        """Records that no checkpoint knows."""
        return sum(self.ends) - sum(self.durable)


class Checkpoints:
    """The checkpoint topic as another client reads it: when each checkpoint was committed, and how far it is."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._reached = [0] * partitions
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "sight",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "reconnect.backoff.max.ms": 500,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        self._assigned = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
        self._consumer.assign(self._assigned)
        self._consumer.pause(self._assigned)
        #: By partition: (epoch seconds, one above the applied offset) of each checkpoint.
        self.commits: list[list[tuple[float, int]]] = [[] for _ in range(partitions)]

    def look(self) -> None:
        """Reads what is committed by now; between two looks nothing is fetched, which costs the broker as well."""
        self._consumer.resume(self._assigned)
        try:
            self._read_on()
        finally:
            self._consumer.pause(self._assigned)

    def _read_on(self) -> None:
        ends = [log_bounds(self._consumer, self._topic, n)[1] for n in range(self._partitions)]
        deadline = time.monotonic() + WAIT_SECONDS
        while any(at < end for at, end in zip(self._reached, ends, strict=True)):
            assert time.monotonic() < deadline, "the checkpoint topic cannot be read"
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            partition = message.partition()
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._reached[partition] = max(self._reached[partition], message.offset())
                continue
            self._reached[partition] = message.offset() + 1
            if message.key() == b"m":
                applied = PartitionEngine.manifest_offset(message.value())
                self.commits[partition].append((message.timestamp()[1] / 1000, applied + 1))

    @property
    def durable(self) -> list[int]:
        """By partition, one above the last offset that a checkpoint knows."""
        return [commits[-1][1] if commits else 0 for commits in self.commits]

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()


class Worker(WorkerProcess):
    """A worker that tells its progress."""

    def __init__(self, round: "Round", number: int, told: Mapping[str, Any], crash: str, settings: Any) -> None:
        path = round.folder / f"progress-{number}"
        self.progress = Progress(path)
        told = {
            "batch": BATCH_RECORDS,
            "fetch": _FETCH_BYTES,
            "pace": _PACE_SECONDS,
            "progress": str(path),
            **told,
        }
        environ = {VARIABLE: json.dumps(told)}
        if crash:
            environ["LABELWATCH_CRASH"] = crash
        values = {
            "id": round.worker_id,
            "session_timeout_seconds": SESSION_SECONDS,
            "checkpoint_records": CHECKPOINT_RECORDS,
            "checkpoint_seconds": 0.2,
            **settings,
        }
        super().__init__(round.folder, round.broker.bootstrap, program=PROGRAM, environ=environ, **values)

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is stopped)."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def is_frozen(self) -> bool:
        """Whether it is stopped by a signal."""
        state = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1][0]
        return state in "Tt"


@dataclass
class Round:
    """What a fault has to work with.

    Attributes:
        broker: Real Kafka.
        seed: Of everything that is decided by chance.
        folder: For logs and progress.
        worker_id: Of the group.
        partitions: Of the events topic.
        topic_config: Settings of topics by name; `checkpoints` for that one.
    """

    broker: RealKafka
    seed: int
    folder: Path
    worker_id: str
    partitions: int = 2
    topic_config: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.workers: list[Worker] = []
        #: Of workers that are done for: what they had applied.
        self.sight: Sight | None = None
        #: Time of the fault; where the pause is looked for.
        self.fired_at = 0.0
        #: When a broker that was away answered again: until then no worker can do anything.
        self.back_at = 0.0
        #: What the checks must know.
        self.lost = [0] * self.partitions
        self.policy_text = ""
        self.notes: list[str] = []
        self.people_max: int | None = None
        #: Whether the workers' pages are left out of the comparison.
        self.pages_unchecked = False
        self.measured: dict[str, float] = {}
        #: Where the log's begin was deleted: records from before that, which a checkpoint knows; and where it begins.
        self.history: dict[int, list[Record]] = {}
        self.cut = [0] * self.partitions
        #: Dead letters of a topic that was deleted since.
        self.letters: list[Message] = []
        self.make_topics()
        self.checkpoints = Checkpoints(self.broker.bootstrap, self.topic, self.partitions)
        self.fresh_loader()

    def fresh_loader(self) -> None:
        """A loader whose traffic begins anew."""
        self.traffic = Traffic(self.seed, self.partitions, backlog=8_000, span_ms=SPAN_MS)
        self.loader = Loader(self.broker.bootstrap, self.traffic, enough=_ENOUGH_RECORDS)

    @property
    def topic(self) -> str:
        """The checkpoint topic."""
        return checkpoints_topic(self.worker_id)

    # --- topics

    def make_topics(self, *, only: str | None = None) -> None:
        """Empty topics, in place of those of the round before."""
        wanted = [topic for topic in topics(self.worker_id) if only in (None, topic.name)]
        with self.admin() as admin:
            stale = [topic.name for topic in wanted if topic.name in admin.list_topics()]
            if stale:
                admin.delete_topics(stale)
            until(lambda: not set(stale) & set(admin.list_topics()), "the broker deletes topics")
        self._create(wanted)

    def make_missing_topics(self) -> None:
        """Those that are not there."""
        with self.admin() as admin:
            there = set(admin.list_topics())
        self._create([topic for topic in topics(self.worker_id) if topic.name not in there])

    def _create(self, wanted: list[Topic]) -> None:
        for topic in wanted:
            config = {"max.message.bytes": _LARGE[topic.name]} if topic.name in _LARGE else {}
            config |= self.topic_config.get("checkpoints" if topic.copartitioned else topic.name, {})
            create_topics(self.broker.bootstrap, [topic], partitions=self.partitions, config=config)

    @contextlib.contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """An admin client for a moment."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            yield admin
        finally:
            admin.close()

    def alter(self, topic: str, name: str, value: str) -> None:
        """Changes a setting of a topic, all others kept."""
        with self.admin() as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])

    def ends(self) -> list[int]:
        """The end of each partition's log: of the records that count, where others may follow them."""
        if (ends := self.loader.ends) is not None:
            return [ends.get(n, 0) for n in range(self.partitions)]
        consumer = self.checkpoints._consumer
        return [log_bounds(consumer, EVENTS, n)[1] for n in range(self.partitions)]

    # --- workers

    def start(self, crash: str = "", *, told: Mapping[str, Any] | None = None, **settings: Any) -> Worker:
        """Starts a worker of the group."""
        worker = Worker(self, len(self.workers), told or {}, crash, settings)
        self.workers.append(worker)
        return worker

    @property
    def alive(self) -> list[Worker]:
        """Workers that run."""
        return [worker for worker in self.workers if worker.alive]

    def feed(self, backlog: int = 7_000, rate: float = 800) -> None:
        """Writes a backlog and goes on at a rate."""
        self.loader.write(backlog)
        self.loader.start(rate)

    # --- the moment of the fault

    def look(self) -> Sight:
        """What stands on the broker now."""
        self.checkpoints.look()
        commits = sum(map(len, self.checkpoints.commits))
        return Sight(time.time(), commits, self.checkpoints.durable, self.ends())

    def await_checkpoints(self, count: int = CHECKPOINTS_BEFORE) -> Sight:
        """Waits until so many checkpoints stand, with records waiting."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (sight := self.look()).checkpoints < count or sight.lag == 0:
            if time.monotonic() > deadline:
                raise Invalid(f"{sight.checkpoints} checkpoints and a lag of {sight.lag} after {WAIT_SECONDS} s")
            if not self.alive:
                raise Invalid("no worker runs")
            time.sleep(0.02)
        return sight

    def fire(self, at: float | None = None) -> Sight:
        """Notes the moment of the fault; what stands then decides whether the round is valid."""
        sight = self.sight = self.look()
        self.fired_at = at or sight.at
        if sight.checkpoints < CHECKPOINTS_BEFORE:
            raise Invalid(f"the fault came after {sight.checkpoints} checkpoints")
        if sight.lag <= 0:
            raise Invalid("the fault came with nothing left to do")
        return sight

    def expect(self, condition: bool, sentence: str) -> None:
        """What the fault itself must show."""
        assert condition, sentence

    def restart_broker(self) -> None:
        """Starts the broker that was killed."""
        self.broker.start()
        self.back_at = time.time()

    # --- the end

    def await_end(self, seconds: float = WAIT_SECONDS) -> None:
        """Stops the loader and waits until checkpoints know all of the log: as long as each interval brings some."""
        self.loader.stop()
        deadline, least = time.monotonic() + seconds, math.inf
        while (sight := self.look()).lag > 0:
            assert self.alive, f"no worker runs, and {sight.lag} records wait"
            if sight.lag < least:
                deadline, least = time.monotonic() + seconds, sight.lag
            assert time.monotonic() < deadline, f"{sight.lag} records wait, and none was read in {seconds} s: {sight}"
            time.sleep(0.05)

    def pause_seconds(self) -> float:
        """The longest time without a checkpoint of one partition, of those that end after the fault.

        Where the broker was away, from when it answered again.
        """
        longest = 0.0
        for commits in self.checkpoints.commits:
            times = [at for at, _ in commits]
            gaps = [b - max(a, self.back_at) for a, b in itertools.pairwise(times) if b > self.fired_at]
            longest = max([longest, *gaps])
        return longest

    def close(self) -> None:
        """Ends what still runs."""
        self.loader._stopped.set()
        for worker in self.workers:
            if worker.alive:
                worker.kill()
        with contextlib.suppress(KafkaException, RuntimeError):
            self.checkpoints.close()

    def logs(self) -> str:
        """What all workers have said."""
        return "\n".join(f"--- worker {n}\n{worker.log}" for n, worker in enumerate(self.workers))


def log_bounds(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """Where a partition's log begins and ends; asked again while a partition just made has no leader yet."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            begin, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            return begin, end
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            assert time.monotonic() < deadline, f"partition {partition} of {topic} has no leader"
            time.sleep(0.2)


def read_topic(
    bootstrap: str, topic: str, partitions: int, *, committed: bool = True, since: Sequence[int] = ()
) -> list[Message]:
    """Every record up to the end that a topic has now, though it may grow meanwhile.

    Args:
        bootstrap: The broker.
        topic: Its name.
        partitions: How many it has.
        committed: Whether only what counts is read: nothing that was rolled back or is in an open transaction.
        since: By partition, the first offset that is wanted; all where there are none.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "sight",
            "enable.auto.commit": False,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    found: list[Message] = []
    try:
        for number in range(partitions):
            begin, end = log_bounds(consumer, topic, number)
            begin = max(begin, since[number]) if since else begin
            consumer.assign([TopicPartition(topic, number, begin)])
            reached, deadline = begin, time.monotonic() + 2 * WAIT_SECONDS
            while reached < end:
                assert time.monotonic() < deadline, f"{topic} cannot be read to {end}, only to {reached}"
                for message in consumer.consume(5_000, 0.2):
                    if message.error() is None:
                        reached = message.offset() + 1
                        if reached <= end:
                            found.append(message)
                    elif message.error().code() == KafkaError._PARTITION_EOF and message.partition() == number:
                        reached = max(reached, message.offset())
    finally:
        consumer.close()
    return found


def until(holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
