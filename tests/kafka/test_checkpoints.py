"""What a checkpoint promises: all or nothing, fenced, exact bytes; on a real broker and in the plain form."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from schemas.topics import DRIFT, EVENTS, REJECTED, checkpoints_topic
from streams.engine.batch import DeadLetter
from streams.engine.partition import Checkpoint
from streams.runtime import checkpoints
from streams.runtime.broker import WorkerRefusal
from streams.runtime.checkpoint_layout import PART_BYTES
from streams.runtime.checkpoints import CheckpointsHidden, CheckpointStore, DeadLettersRefused, Fenced
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics, end_offsets, read_all
from tests.support.kafka import COMPACTS_SOON, RealKafka

pytestmark = pytest.mark.kafka

FORMS = pytest.mark.parametrize("transactional", [True, False], ids=["transactions", "plain"])


@pytest.fixture
def settings(broker: RealKafka, fresh_topics: FreshTopics) -> Settings:
    return Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=fresh_topics())


@asynccontextmanager
async def opened(
    settings: Settings, partition: int = 0, *, transactional: bool = True, partitions: int = 2
) -> AsyncIterator[CheckpointStore]:
    store = CheckpointStore(
        settings, partition, partitions=partitions, transactional=transactional, now_ms=lambda: 1_763_800_000_000
    )
    try:
        await store.start()
        yield store
    finally:
        await store.close()


async def restored(
    settings: Settings, partition: int = 0, *, transactional: bool = True
) -> tuple[dict[bytes, bytes], bytes | None]:
    async with opened(settings, partition, transactional=transactional) as store:
        return (await store.restore())[:2]


def checkpoint(manifest: bytes, **slots: bytes | None) -> Checkpoint:
    return Checkpoint(0, [(key.encode(), value) for key, value in slots.items()], manifest)


@FORMS
async def test_what_was_written_is_restored(settings: Settings, transactional: bool) -> None:
    async with opened(settings, transactional=transactional) as store:
        assert (await store.restore())[:2] == ({}, None)
        await store.write(checkpoint(b"one", a=b"1", b=b"2", c=b""))
        await store.write(checkpoint(b"two", a=b"3", b=None, d=os.urandom(100)))
        await store.write(checkpoint(b"three", d=b"4"))

    assert await restored(settings, transactional=transactional) == ({b"a": b"3", b"c": b"", b"d": b"4"}, b"three")
    assert await restored(settings, 1, transactional=transactional) == ({}, None)


@FORMS
async def test_slots_longer_than_a_record_may_be(settings: Settings, transactional: bool) -> None:
    first = {b"long": os.urandom(2 * PART_BYTES + 1), b"edge": os.urandom(PART_BYTES), b"short": b"s"}
    async with opened(settings, transactional=transactional) as store:
        await store.restore()
        await store.write(Checkpoint(0, list(first.items()), b"one"))
    assert await restored(settings, transactional=transactional) == (first, b"one")

    shorter = {b"long": os.urandom(PART_BYTES + 1), b"short": os.urandom(3 * PART_BYTES)}
    async with opened(settings, transactional=transactional) as store:
        await store.restore()
        await store.write(Checkpoint(0, list(shorter.items()), b"two"))
        await store.write(Checkpoint(0, [(b"short", None)], b"three"))
    assert await restored(settings, transactional=transactional) == (
        {b"long": shorter[b"long"], b"edge": first[b"edge"]},
        b"three",
    )
    live = {m.key() for m in read_all(settings.bootstrap, checkpoints_topic(settings.id))}
    dead = {m.key() for m in read_all(settings.bootstrap, checkpoints_topic(settings.id)) if m.value() is None}
    assert dead < live, "parts that are no longer needed are deleted, for compaction to remove"


async def test_a_later_owner_fences_the_earlier_one(settings: Settings) -> None:
    async with opened(settings) as zombie:
        await zombie.restore()
        await zombie.write(checkpoint(b"one", a=b"1"))
        async with opened(settings) as owner:
            assert (await owner.restore())[:2] == ({b"a": b"1"}, b"one")
            with pytest.raises(Fenced):
                await zombie.write(
                    Checkpoint(0, [(b"a", b"zombie")], b"z", [DeadLetter(1, b"k", b"v", "json", "")], [(b"d", b"z")])
                )
            assert not await zombie.prove()
            await owner.write(checkpoint(b"two", b=b"2"))
            assert await owner.prove()
    assert await restored(settings) == ({b"a": b"1", b"b": b"2"}, b"two")
    assert read_all(settings.bootstrap, REJECTED) == []
    assert read_all(settings.bootstrap, DRIFT) == []


async def test_what_an_open_transaction_of_another_hides_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older state would be shown, and written over the newer one slot by slot."""
    monkeypatch.setattr(checkpoints, "_HIDDEN_SECONDS", 0.5)
    other = Producer({"bootstrap.servers": settings.bootstrap, "transactional.id": f"other-{settings.id}"})
    other.init_transactions()
    async with opened(settings) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1"))
        other.begin_transaction()
        other.produce(checkpoints_topic(settings.id), key=b"x", value=b"x", partition=0)
        other.flush()
        await store.write(checkpoint(b"two", a=b"2"))
    with pytest.raises(CheckpointsHidden, match=f"open transaction.*partition 0 of {checkpoints_topic(settings.id)}"):
        await restored(settings)
    other.abort_transaction()
    assert await restored(settings) == ({b"a": b"2"}, b"two")


async def test_an_owner_that_stopped_in_the_midst_of_a_checkpoint_leaves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies with everything sent and nothing committed; the next owner need not wait for a time-out."""
    async with opened(settings) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1", b=b"2"))

    async def never(self: AIOKafkaProducer) -> None:
        raise asyncio.CancelledError

    dying = CheckpointStore(settings, 0, partitions=2, transactional=True)
    await dying.start()
    await dying.restore()
    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", never)
    letter = DeadLetter(5, b"k", b"v", "json", "")
    with pytest.raises(asyncio.CancelledError):
        await dying.write(Checkpoint(5, [(b"a", b"torn"), (b"c", b"torn")], b"torn", [letter], [(b"site", b"drift")]))
    monkeypatch.undo()
    assert len(read_all(settings.bootstrap, REJECTED, committed=False)) == 1, "it was really sent"

    assert await restored(settings) == ({b"a": b"1", b"b": b"2"}, b"one")
    assert read_all(settings.bootstrap, REJECTED) == []
    assert read_all(settings.bootstrap, DRIFT) == []
    await dying.close()


async def test_a_torn_plain_checkpoint_does_not_count_and_is_healed(settings: Settings) -> None:
    async with opened(settings, transactional=False) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1", b=b"2"))
    async with opened(settings, transactional=False) as dying:
        await dying.restore()
        headers = [("checkpoint", b"torn-1")]
        torn = [(b"sa", b"torn", headers), (b"sc", b"torn", headers)]
        await asyncio.gather(*await dying._send_state(dying._producer, torn))
    assert await restored(settings, transactional=False) == ({b"a": b"1", b"b": b"2"}, b"one")

    async with opened(settings, transactional=False) as store:
        await store.restore()
        await store.write(checkpoint(b"two", b=b"3"))
    assert await restored(settings, transactional=False) == ({b"a": b"1", b"b": b"3"}, b"two")
    last = {m.key(): m.value() for m in read_all(settings.bootstrap, checkpoints_topic(settings.id), committed=False)}
    assert last[b"sa"] == b"1", "compaction keeps the last value of a key, and that must be the one that counts"
    assert last[b"sc"] is None


async def test_dead_letters_hold_the_exact_bytes_and_where_they_came_from(settings: Settings) -> None:
    values = [b"\x00\xff not json", b"", None, os.urandom(1 << 20), "ok but späť".encode()]
    letters = [
        DeadLetter(10 + n, None if n % 2 else b"site-1", value, "json", f"detail {n} \udcff" + "x" * 3000 * (n == 4))
        for n, value in enumerate(values)
    ]
    async with opened(settings, 1) as store:
        await store.restore()
        await store.write(Checkpoint(14, [], b"m", letters))

    found = {dict(m.headers())["origin-offset"]: m for m in read_all(settings.bootstrap, REJECTED)}
    assert len(found) == len(values)
    for letter in letters:
        message = found[b"%d" % letter.offset]
        headers = dict(message.headers())
        assert message.value() == (letter.value or b"")
        assert message.key() == letter.key
        assert headers["reason"] == b"json"
        assert headers["origin-topic"] == EVENTS.encode()
        assert headers["origin-partition"] == b"1"
        assert headers["rejected-at"] == b"1763800000000"
        assert headers.get("origin-null") == (b"1" if letter.value is None else None)
        assert headers["detail"].startswith(b"detail ")
        assert len(headers["detail"]) <= 1000


async def test_dead_letters_that_the_topic_refuses_stop_the_checkpoint(settings: Settings) -> None:
    _alter(settings.bootstrap, REJECTED, "max.message.bytes", "1000")
    letter = DeadLetter(3, b"k", os.urandom(5000), "json", "")
    async with opened(settings) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1"))
        with pytest.raises(DeadLettersRefused, match=REJECTED):
            await store.write(Checkpoint(3, [(b"a", b"2")], b"two", [letter]))
    assert await restored(settings) == ({b"a": b"1"}, b"one")

    _alter(settings.bootstrap, REJECTED, "max.message.bytes", "100000")
    async with opened(settings) as store:
        await store.restore()
        await store.write(Checkpoint(3, [(b"a", b"2")], b"two", [letter]))
    assert await restored(settings) == ({b"a": b"2"}, b"two")
    assert [m.value() for m in read_all(settings.bootstrap, REJECTED)] == [letter.value]


async def test_another_number_of_partitions_is_refused(settings: Settings) -> None:
    async with opened(settings) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1"))
    async with opened(settings, partitions=4) as store:
        with pytest.raises(WorkerRefusal, match="had 2 partitions, and now it has 4"):
            await store.restore()


async def test_a_newer_form_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "FORMAT", 99)
    async with opened(settings) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1"))
    monkeypatch.undo()
    async with opened(settings) as store:
        with pytest.raises(WorkerRefusal, match="newer labelwatch"):
            await store.restore()


async def test_transactions_are_not_read_as_plain_records(settings: Settings) -> None:
    async with opened(settings) as store:
        await store.restore()
        await store.write(checkpoint(b"one", a=b"1"))
    async with opened(settings, transactional=False) as store:
        with pytest.raises(WorkerRefusal, match="written in transactions"):
            await store.restore()


@pytest.mark.parametrize("transactional", [True, False], ids=["transactions", "plain"])
async def test_compaction_keeps_the_state(broker: RealKafka, fresh_topics: FreshTopics, transactional: bool) -> None:
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=fresh_topics(1, checkpoints=COMPACTS_SOON))
    expected: dict[bytes, bytes] = {}
    async with opened(settings, transactional=transactional, partitions=1) as store:
        await store.restore()
        for round_number in range(12):
            slots: dict[bytes, bytes | None] = {b"slot-%d" % n: os.urandom(2000) for n in range(round_number, 40)}
            slots[b"gone-%d" % round_number] = b"x"
            slots[b"gone-%d" % (round_number - 1)] = None
            expected.update({key: value for key, value in slots.items() if value is not None})
            for key in [key for key, value in slots.items() if value is None]:
                expected.pop(key, None)
            await store.write(Checkpoint(0, list(slots.items()), b"round-%d" % round_number))
            await asyncio.sleep(0.25)
        topic = checkpoints_topic(settings.id)
        (end,) = end_offsets(broker.bootstrap, topic, 1)
        for _ in range(100):
            left = len(read_all(broker.bootstrap, topic, 1, committed=False))
            if left < end / 2:
                break
            await asyncio.sleep(0.2)
        assert left < end / 2, "the broker really compacted"
        await store.write(Checkpoint(0, [(b"slot-1", b"last")], b"end"))
    async with opened(settings, transactional=transactional, partitions=1) as store:
        assert (await store.restore())[:2] == (expected | {b"slot-1": b"last"}, b"end")


def _alter(bootstrap: str, topic: str, name: str, value: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])
    finally:
        admin.close()
