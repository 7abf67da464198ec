"""`labelwatch dump`: the whole topic in a file, or nothing that could be taken for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import EVENTS
from streams.ops.dump import dump
from streams.ops.embedded import EmbeddedBroker
from streams.ops.errors import CommandError
from streams.ops.records import TopicReader
from streams.ops.topics import create
from streams.runtime.settings import Settings

VALUES = [b'{"a":1}', b'{\n "a": 2}', b"\xff\xfe", None, b"last"]


async def _produce(bootstrap: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for number, value in enumerate(VALUES):
            await producer.send_and_wait(EVENTS, value, key=b"lima-1", partition=number % 2)
    finally:
        await producer.stop()


@pytest.fixture
def settings(tansu: EmbeddedBroker) -> Settings:
    made = Settings.resolve(environ={}, bootstrap=tansu.bootstrap)
    list(create(made, 2))
    return made


def test_every_record_is_a_line_and_the_file_is_its_owners(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    with pytest.raises(CommandError, match="holds no record: nothing was written"):
        dump(file, settings)
    assert list(tmp_path.iterdir()) == []
    asyncio.run(_produce(settings.bootstrap))
    done = dump(file, settings)
    assert (done.records, done.by_partition, done.joined) == (5, [3, 2], 1)
    assert file.read_bytes() == b'{"a":1}\n\xff\xfe\nlast\n{  "a": 2}\nnull\n'
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="is there already"):
        dump(file, settings)


def test_what_breaks_off_leaves_no_file(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_produce(settings.bootstrap))
    whole = TopicReader.read

    async def broken(self: TopicReader, partition: int, from_ms: int | None) -> AsyncIterator[Sequence[Any]]:
        async for batch in whole(self, partition, from_ms):
            yield batch
        if partition == 1:
            raise CommandError("the broker gives nothing after offset 1")

    monkeypatch.setattr(TopicReader, "read", broken)
    with pytest.raises(CommandError, match="gives nothing after"):
        dump(tmp_path / "history.jsonl", settings)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"history\.jsonl: No such file or directory; nothing was written"):
        dump(tmp_path / "none" / "history.jsonl", settings)
