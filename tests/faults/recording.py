"""Checkpoint topics of earlier formats, as they stood on a broker, with the events before and after them.

Record one before a format is raised: `python -m tests.faults.recording`. Each later build must read it.
"""

import asyncio
import gzip
import tempfile
from pathlib import Path

import msgspec

from schemas.policy import Policy
from schemas.topics import checkpoints_topic, topics
from streams.engine import partition as engine_partition
from streams.engine.partition import PartitionEngine
from streams.runtime.checkpoint_layout import FORMAT, CheckpointReader
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.settings import Settings
from tests.kafka.conftest import read_all
from tests.oracle.traffic import HOUR_MS, adversarial
from tests.support.kafka import RealKafka, create_topics

FOLDER = Path(__file__).with_name("recorded")
PARTITION = 0


class Event(msgspec.Struct, array_like=True):
    """A record of the events topic."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


class Stored(msgspec.Struct, array_like=True):
    """A record of the checkpoint topic."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Recording(msgspec.Struct):
    """What an earlier build left: the events, how many of them the last checkpoint knows, and the topic."""

    build: str
    engine_format: int
    store_format: int
    applied: int
    events: list[Event]
    topic: list[Stored]


def load(path: Path) -> Recording:
    """Reads a recording."""
    return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=Recording)


def reader_of(recording: Recording) -> CheckpointReader:
    """Reads the topic of a recording as a worker that starts."""
    reader = CheckpointReader(transactional=True)
    for stored in recording.topic:
        reader.take(stored.key, stored.value, stored.headers)
    return reader


async def _write(bootstrap: str, worker_id: str, events: list[Event]) -> int:
    """Three checkpoints over the first two thirds of the events."""
    store = CheckpointStore(
        Settings.resolve(environ={}, bootstrap=bootstrap, id=worker_id), PARTITION, partitions=2, transactional=True
    )
    await store.start()
    await store.restore()
    engine = PartitionEngine(PARTITION, Policy())
    part = len(events) * 2 // 9
    for start in (0, part, 2 * part):
        engine.apply(events[start : start + part])
        checkpoint = engine.checkpoint()
        await store.write(checkpoint)
        engine.committed(checkpoint)
    await store.close()
    return engine.applied


def record() -> Path:
    """Starts a broker, writes checkpoints with this build, and keeps what stands on it."""
    events = [Event(*record) for record in adversarial(seed=1, count=900, span_ms=10 * HOUR_MS)]
    with tempfile.TemporaryDirectory() as folder:
        broker = RealKafka(Path(folder) / "kafka").start()
        try:
            create_topics(broker.bootstrap, topics("recorded"), partitions=2)
            applied = asyncio.run(_write(broker.bootstrap, "recorded", events))
            topic = [
                Stored(m.key(), m.value(), m.headers() or [])
                for m in read_all(broker.bootstrap, checkpoints_topic("recorded"))
            ]
        finally:
            broker.stop()
    recording = Recording(engine_partition.BUILD, engine_partition.FORMAT, FORMAT, applied, events, topic)
    path = FOLDER / f"format-{FORMAT}-{engine_partition.FORMAT}.msgpack.gz"
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(recording), mtime=0))
    return path


if __name__ == "__main__":
    print(record())  # noqa: T201 - a command's answer
