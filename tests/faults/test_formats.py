"""Checkpoints of earlier builds are read by this one, to the last figure; what a newer one wrote is refused."""

from pathlib import Path

import msgspec
import pytest

from schemas.policy import Policy
from streams.engine import partition as engine_partition
from streams.engine.partition import FormatError, PartitionEngine
from streams.runtime.checkpoints import _Reader
from tests.faults.recording import FOLDER, PARTITION, Recording, load, reader_of
from tests.oracle.compare import commit, differences
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import HOUR_MS

RECORDINGS = sorted(FOLDER.glob("*.msgpack.gz"))


def restored(recording: Recording) -> tuple[_Reader, PartitionEngine]:
    reader = reader_of(recording)
    slots, _ = reader.slots()
    return reader, PartitionEngine.restore(PARTITION, Policy(), slots, reader.manifest)


def test_there_are_recordings() -> None:
    assert RECORDINGS


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.split(".")[0])
def test_an_older_checkpoint_is_read_and_continued(path: Path) -> None:
    recording = load(path)
    reader, engine = restored(recording)
    assert (reader.format, reader.partitions) == (recording.store_format, 2)
    assert engine.applied == recording.applied

    oracle = Oracle(Policy(), PARTITION)
    oracle.feed(event for event in recording.events if event.offset <= recording.applied)
    for at_ms in (oracle.clock, oracle.clock + HOUR_MS):
        assert not differences(engine, oracle, at_ms)

    rest = [event for event in recording.events if event.offset > recording.applied]
    assert len(rest) > 100
    engine.apply(rest)
    oracle.feed(rest)
    checkpoint = commit(engine)
    assert not differences(engine, oracle, oracle.clock)
    # What it writes from here on is of this build's own format, and read as such.
    assert msgspec.msgpack.decode(checkpoint.manifest)["format"] == engine_partition.FORMAT


def test_a_newer_engine_format_is_refused_by_name() -> None:
    engine = PartitionEngine(PARTITION, Policy())
    manifest = msgspec.msgpack.decode(engine.checkpoint().manifest) | {
        "format": engine_partition.FORMAT + 1,
        "build": "9.9.9",
    }
    with pytest.raises(FormatError, match=r"written by build 9\.9\.9 in format .*: run build 9\.9\.9 or newer"):
        PartitionEngine.restore(PARTITION, Policy(), {}, msgspec.msgpack.encode(manifest))
