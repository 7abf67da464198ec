"""One fetched batch is one Faust message: nothing lost, nothing twice, whatever the log and the group do."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import EVENTS
from streams.engine.batch import KafkaRecord
from streams.runtime.ends import LogEnds
from streams.runtime.fetched import BATCH_RECORDS, FetchedBatch
from streams.runtime.settings import Settings
from streams.runtime.transport import App
from tests.kafka.conftest import FreshTopics, committed_offsets, end_offsets, read_all
from tests.support.kafka import COMPACTS_SOON, RealKafka

pytestmark = pytest.mark.kafka

WAIT_SECONDS = 30


class Recorder:
    """An owner that keeps nothing but the offsets it was given; opens each partition where it is told to."""

    def __init__(self, *, opens: bool = True) -> None:
        self.app: App
        self.opens = opens
        self.begins: dict[int, int] = {}
        self.assignments: list[set[int]] = []
        self.revocations = 0
        self.offsets: dict[int, list[int]] = {}
        self.ends: dict[int, int] = {}
        self.runs: list[int] = []
        self.records: list[KafkaRecord] = []
        self.batches: list[FetchedBatch] = []
        self.stale = 0
        self.holes = 0
        self.members: list[float] = []
        self.slow_seconds = 0.0
        self._tasks: list[asyncio.Task[bool]] = []

    def assigned(self, partitions: set[int], topic_partitions: int) -> None:
        self.assignments.append(partitions)
        for partition in partitions if self.opens else ():
            at = self.begins[partition] = self.expected(partition)
            self._tasks.append(asyncio.ensure_future(self.app.batches.open_at(partition, at)))

    async def revoked(self) -> None:
        self.revocations += 1

    def consumer_failed(self, error: Exception) -> None:
        raise error

    def member_until(self, until: float) -> None:
        self.members.append(until)

    async def take(self, batch: FetchedBatch) -> None:
        if not self.app.batches.is_current(batch):
            self.stale += 1
            return
        self.holes += batch.follows >= self.expected(batch.partition)
        self.batches.append(batch)
        for records in batch.runs():
            self.runs.append(len(records))
            self.records += records
            self.offsets.setdefault(batch.partition, []).extend(record.offset for record in records)
        self.ends[batch.partition] = batch.ends
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)

    def expected(self, partition: int) -> int:
        return self.ends.get(partition, self.begins.get(partition, 0))

    def position(self, partition: int) -> int:
        return self.app.batches.reached(partition, self.expected(partition))

    @property
    def count(self) -> int:
        return sum(map(len, self.offsets.values()))


@asynccontextmanager
async def running(settings: Settings, recorder: Recorder) -> AsyncIterator[Recorder]:
    recorder.app = App(settings, recorder)
    assert recorder.app.batches
    starting = asyncio.ensure_future(recorder.app.start())
    try:
        await until(lambda: bool(recorder.assignments) or starting.done())
        yield recorder
    finally:
        await recorder.app.batches.leave()
        starting.cancel()
        await recorder.app.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():
            await asyncio.sleep(0.02)


def write(
    broker: RealKafka,
    count: int,
    partition: int = 0,
    *,
    transaction: str | None = None,
    commit: bool = True,
    key: Callable[[int], bytes] | None = None,
    size: int = 20,
) -> None:
    settings = {"bootstrap.servers": broker.bootstrap, "linger.ms": 5}
    producer = Producer(settings | ({"transactional.id": transaction} if transaction else {}))
    if transaction:
        producer.init_transactions(WAIT_SECONDS)
        producer.begin_transaction()
    for n in range(count):
        producer.produce(EVENTS, b"%0*d" % (size, n), key=key(n) if key else None, partition=partition)
        if n % 10_000 == 0:
            producer.flush()
    assert producer.flush(WAIT_SECONDS) == 0
    if transaction:
        (producer.commit_transaction if commit else producer.abort_transaction)(WAIT_SECONDS)


#: Longer than any pause of a busy machine, for tests in which nobody is to lose a partition.
PATIENT_SECONDS = 60.0


def settings_of(broker: RealKafka, worker_id: str, session_timeout_seconds: float = 2.0, **more: Any) -> Settings:
    return Settings.resolve(
        environ={}, bootstrap=broker.bootstrap, id=worker_id, session_timeout_seconds=session_timeout_seconds, **more
    )


async def test_every_record_once_and_in_order_from_several_partitions(
    broker: RealKafka, fresh_topics: FreshTopics
) -> None:
    settings = settings_of(broker, fresh_topics(3), PATIENT_SECONDS)
    counts = [60_000, 1, 25_000]
    for partition, count in enumerate(counts):
        write(broker, count, partition)
    async with running(settings, Recorder()) as recorder:
        seen: list[int] = []
        while recorder.count < sum(counts):
            await asyncio.sleep(0)  # a fast machine reads all of it within a hundredth of a second
            seen.append(sum(recorder.position(partition) for partition in range(3)))
        await until(lambda: [recorder.position(n) for n in range(3)] == counts)
        write(broker, 10, 1)
        await until(lambda: recorder.position(1) == 11)
        assert await recorder.app.batches.commit_for_show({0: 60_000, 1: 11, 2: 25_000})
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, "positions advance during the run"
    assert recorder.offsets == {0: list(range(60_000)), 1: list(range(11)), 2: list(range(25_000))}
    assert max(recorder.runs) <= 1.5 * BATCH_RECORDS
    assert len(recorder.batches) < 200, "batches, not records"
    assert recorder.holes == recorder.stale == 0
    assert committed_offsets(broker.bootstrap, settings.group, EVENTS, 3) == end_offsets(broker.bootstrap, EVENTS, 3)


async def test_records_are_given_as_they_are(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    settings = settings_of(broker, fresh_topics(1))
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": "zstd"})
    producer.produce(EVENTS, b"v", key=b"k", headers={"a": b"1"})
    producer.produce(EVENTS, None, key=b"null")
    producer.produce(EVENTS, b"\xff" * 900_000)
    producer.flush()
    async with running(settings, Recorder()) as recorder:
        await until(lambda: recorder.count == 3)
    assert [(record.key, record.value) for record in recorder.records] == [
        (b"k", b"v"),
        (b"null", None),
        (None, b"\xff" * 900_000),
    ]
    appended = [m.timestamp()[1] for m in read_all(broker.bootstrap, EVENTS, 1)]
    assert [record.timestamp for record in recorder.records] == appended


async def test_markers_and_aborted_transactions_are_no_gap_and_no_lag(
    broker: RealKafka, fresh_topics: FreshTopics
) -> None:
    """What was rolled back does not exist; the log goes on behind it."""
    settings = settings_of(broker, fresh_topics(1))
    async with running(settings, Recorder()) as recorder:
        for round_number in range(4):
            write(broker, 5, transaction=f"t{round_number}", commit=round_number % 2 == 0)
            write(broker, 3)
        write(broker, 2, transaction="last", commit=False)
        end = end_offsets(broker.bootstrap, EVENTS, 1)[0]
        await until(lambda: recorder.position(0) == end)
        assert recorder.count == 2 * 5 + 4 * 3
        assert recorder.offsets[0][-1] == end - 4, "the log ends with two records that do not count, and a marker"
        assert recorder.holes == 0


async def test_compaction_leaves_gaps_that_are_passed(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    settings = settings_of(broker, fresh_topics(1, events={"cleanup.policy": "compact", **COMPACTS_SOON}))
    for _ in range(5):
        write(broker, 200, key=lambda n: b"%d" % (n % 17), size=100)
        await asyncio.sleep(0.3)
    for _ in range(100):
        left = [m.offset() for m in read_all(broker.bootstrap, EVENTS, 1)]
        if len(left) < 500:
            break
        await asyncio.sleep(0.2)
        write(broker, 1, key=lambda n: b"roll")
    assert len(left) < 500, "the broker really compacted"
    async with running(settings, Recorder()) as recorder:
        end = end_offsets(broker.bootstrap, EVENTS, 1)[0]
        await until(lambda: recorder.position(0) == end)
    assert set(recorder.offsets[0]) >= {m.offset() for m in read_all(broker.bootstrap, EVENTS, 1)}
    assert recorder.offsets[0] == sorted(set(recorder.offsets[0]))
    assert recorder.holes == 0


async def test_deleted_records_are_missed(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    settings = settings_of(broker, fresh_topics(1))
    write(broker, 1000)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    partition = TopicPartition(EVENTS, 0, 400)
    admin.delete_records([partition])[partition].result()
    async with running(settings, Recorder()) as recorder:
        await until(lambda: recorder.position(0) == 1000)
        assert await recorder.app.batches.log_bounds(0) == (400, LogEnds(1000, 1000))
    assert recorder.offsets[0] == list(range(400, 1000))
    assert recorder.holes == 1, "the first batch says that 0 to 399 did not come"
    assert recorder.batches[0].follows == 399


async def test_nothing_comes_before_a_partition_is_opened(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    """The start race: Faust resumes the partitions before it seeks; the owner may need seconds to restore."""
    settings = settings_of(broker, fresh_topics(2), PATIENT_SECONDS)
    for partition in (0, 1):
        write(broker, 5_000, partition)
    async with running(settings, Recorder(opens=False)) as recorder:
        await until(lambda: recorder.assignments == [{0, 1}])
        await asyncio.sleep(1)
        assert recorder.batches == []
        assert await recorder.app.batches.open_at(1, 1234)
        await until(lambda: recorder.position(1) == 5_000)
        await asyncio.sleep(0.5)
    assert recorder.offsets == {1: list(range(1234, 5_000))}


async def test_after_every_seek_the_next_batch_begins_there(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    """Seeks in the midst of fetches and full queues: whatever was on the way must not pass for the new flow."""
    settings = settings_of(broker, fresh_topics(2), PATIENT_SECONDS)
    for partition in (0, 1):
        write(broker, 60_000, partition)
    rng = random.Random(20261123)
    async with running(settings, Recorder()) as recorder:
        recorder.slow_seconds = 0.003
        for _ in range(60):
            partition, offset = rng.randrange(2), rng.randrange(60_000)
            recorder.offsets[partition] = []
            recorder.ends[partition] = offset
            assert await recorder.app.batches.open_at(partition, offset)
            begin = len(recorder.offsets[partition])
            assert begin == 0
            await asyncio.sleep(rng.choice([0, 0, 0.01, 0.05]))
            got = recorder.offsets[partition]
            assert got == list(range(offset, offset + len(got)))
        await until(lambda: bool(recorder.offsets[0]) and bool(recorder.offsets[1]))
        await until(lambda: recorder.position(0) == recorder.position(1) == 60_000)
        for got in recorder.offsets.values():
            assert got == list(range(got[0], 60_000))
        assert recorder.stale > 0, "the race was really met"
        assert recorder.holes == 0


async def test_partitions_move_to_a_second_worker_and_back(broker: RealKafka, fresh_topics: FreshTopics) -> None:
    settings = settings_of(broker, fresh_topics(2))
    for partition in (0, 1):
        write(broker, 100, partition)
    async with running(settings, Recorder()) as first:
        await until(lambda: first.count == 200)
        async with running(settings, Recorder()) as second:
            await until(lambda: len(first.assignments) == 2 and len(first.assignments[-1]) == 1)
            assert first.assignments[-1] | second.assignments[-1] == {0, 1}
            assert first.revocations == 2
            for partition in (0, 1):
                write(broker, 100, partition)
            await until(lambda: first.count + second.count == 500)
            (moved,) = second.assignments[-1]
            assert second.offsets == {moved: list(range(200))}, "its owner restored nothing, so it begins at 0"
        await until(lambda: first.assignments[-1] == {0, 1})
        write(broker, 1, moved)
        await until(lambda: first.position(moved) == 201)
        assert first.offsets == {p: list(range(201 if p == moved else 200)) for p in (0, 1)}


async def test_a_stopped_worker_leaves_the_group_in_the_midst_of_a_rebalance(
    broker: RealKafka, fresh_topics: FreshTopics
) -> None:
    """A worker ends while the group waits for it: the others need not wait for its session to time out."""
    settings = Settings.resolve(
        environ={}, bootstrap=broker.bootstrap, id=fresh_topics(2), session_timeout_seconds=2 * WAIT_SECONDS
    )
    for partition in (0, 1):
        write(broker, 10, partition)

    class Slow(Recorder):
        """Holds a rebalance up: it is told that its partitions are taken, and takes its time."""

        async def revoked(self) -> None:
            await super().revoked()
            if self.revocations > 1:
                await asyncio.sleep(3)

    async with running(settings, Slow()) as slow:
        await until(lambda: slow.count == 20)
        joining = Recorder()
        joining.app = App(settings, joining)
        assert joining.app.batches
        starting = asyncio.ensure_future(joining.app.start())
        await until(lambda: slow.revocations == 2)
        await joining.app.batches.leave()
        starting.cancel()
        await joining.app.stop()
        await until(lambda: len(slow.assignments) >= 2 and slow.assignments[-1] == {0, 1})
        write(broker, 1)
        await until(lambda: slow.position(0) == 11)


async def test_membership_is_proven_by_heartbeats_and_lost_with_them(
    broker: RealKafka, fresh_topics: FreshTopics
) -> None:
    settings = settings_of(broker, fresh_topics(1))
    async with running(settings, Recorder()) as recorder:
        assert await recorder.app.batches.prove()
        await until(lambda: len(recorder.members) >= 3)
        assert recorder.members == sorted(recorder.members)
        await recorder.app.batches.leave()
        assert not await recorder.app.batches.prove()
