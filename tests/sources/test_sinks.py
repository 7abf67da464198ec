"""Sinks: Kafka's own partitions, order and bytes kept, due times met, and one sentence when there is nowhere to go."""

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiokafka.partitioner import DefaultPartitioner as AiokafkaPartitioner
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner as KafkaPythonPartitioner

from schemas.topics import EVENTS
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.errors import SourceError
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, partition_of, pump, run, write_file
from tests.support.consume import read_all
from tests.support.tansu import Tansu

PARTITIONS = 3


def write(target: KafkaTarget, records: list[Outgoing]) -> int:
    sink = KafkaSink(target)

    async def work() -> None:
        async with sink.running():
            await pump(sink, iter(records))

    run(work)
    return sink.sent


@pytest.mark.parametrize(
    ("key", "murmur2"),
    # From the tests of Apache Kafka's Utils.murmur2.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 7, 64])
def test_a_key_goes_where_apache_kafka_sends_it(key: bytes, murmur2: int, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


@given(key=st.binary(max_size=140), partitions=st.integers(1, 300))
def test_a_key_goes_where_kafka_python_and_aiokafka_send_it(key: bytes, partitions: int) -> None:
    every = list(range(partitions))
    cluster = SimpleNamespace(
        topics=lambda: {EVENTS}, partitions_for_topic=lambda _: every, available_partitions_for_topic=lambda _: every
    )
    expected = KafkaPythonPartitioner().partition(EVENTS, key, key, b"", b"", cluster)
    assert partition_of(key, partitions) == expected == AiokafkaPartitioner()(key, every, every)


def test_every_record_arrives_untouched_and_in_order(tansu: Tansu) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    chance = random.Random(3)
    # Any bytes at all, some batches' worth of them.
    records = [
        Outgoing(0, b"site-%d" % chance.randrange(9), b"%d " % number + chance.randbytes(chance.randrange(900)))
        for number in range(6_000)
    ]
    # One that is larger than a batch.
    records[3_000] = Outgoing(0, b"site-1", chance.randbytes(600_000))
    assert write(KafkaTarget(tansu.bootstrap), records) == len(records)
    found = read_all(tansu.bootstrap, PARTITIONS, len(records))
    for number, arrived in found.items():
        expected = [(each.key, each.value) for each in records if partition_of(each.key, PARTITIONS) == number]
        assert [(record.key, record.value) for record in arrived] == expected


def test_a_broker_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(SourceError, match=r"^no Kafka answers at 127\.0\.0\.1:1; start it, or [^.]*$"):
        write(KafkaTarget("127.0.0.1:1"), [])


def test_a_topic_that_is_not_there_is_one_sentence_and_is_not_made_by_asking(tansu: Tansu) -> None:
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^no topic absent at \S+; `labelwatch topics create` creates it$"):
            write(KafkaTarget(tansu.bootstrap, "absent"), [])


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no-folder.*; give the path of a file that can be written"):
        write_file(tmp_path / "no-folder" / "out.jsonl", [])


class Clock:
    """Wall time that passes only while somebody sleeps."""

    def __init__(self, at_seconds: float) -> None:
        self.at_seconds = at_seconds

    def now(self) -> float:
        return self.at_seconds

    async def sleep(self, seconds: float) -> None:
        self.at_seconds += seconds


class Notes:
    """A sink that notes when it was given what."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.taken: list[tuple[float, bytes]] = []

    async def put(self, record: Outgoing) -> None:
        self.taken.append((self._clock.at_seconds, record.value))

    async def send_waiting(self) -> None:
        pass


async def pumped(records: Iterator[Outgoing], clock: Clock) -> tuple[list[tuple[float, bytes]], list[int]]:
    notes, counts = Notes(clock), list[int]()
    await pump(cast(KafkaSink, notes), records, counts.append, clock.now, clock.sleep)
    return notes.taken, counts


async def test_a_record_waits_until_it_is_due_and_no_longer() -> None:
    due = [100.0, 100.0, 100.7, 0.0, 99.0, 130.2]
    records = (Outgoing(seconds, b"", b"%d" % number) for number, seconds in enumerate(due))
    taken, counts = await pumped(records, Clock(100.0))
    assert [value for _, value in taken] == [b"%d" % number for number in range(len(due))]
    assert [at for at, _ in taken] == pytest.approx([100.0, 100.0, 100.7, 100.7, 100.7, 130.2])
    assert counts == sorted(counts)
    assert counts[-1] == len(due)


async def test_progress_ends_with_all_of_them() -> None:
    for number in (0, 1, 999, 1000, 2500):
        _, counts = await pumped((Outgoing(0, b"", b"") for _ in range(number)), Clock(0.0))
        assert counts[-1] == number
