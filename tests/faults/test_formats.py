"""Checkpoints of earlier builds are read by this one, to the last figure; what a newer one wrote is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.policy import Policy
from streams.engine import partition as engine_partition
from streams.engine.partition import FormatError, PartitionEngine
from streams.runtime.checkpoints import _Reader
from tests.faults.recording import FOLDER, PARTITION, Recording, load, reader_of
from tests.oracle.compare import commit, differences
from tests.oracle.oracle import Oracle, Site
from tests.oracle.traffic import HOUR_MS

RECORDINGS = sorted(FOLDER.glob("*.msgpack.gz"))


class UpToFormat4(Oracle):
    """Counts as those builds did while `old`: every duration, errors of correct work, audits as any other review."""

    old = True

    def _note_times(self, site: str, event: dict[str, Any]) -> None:
        if not self.old:
            super()._note_times(site, event)

    def _is_duration(self, ms: int | None) -> bool:
        return ms is not None if self.old else super()._is_duration(ms)

    def _moment(self, when: int, *key: str, by: int = 1) -> None:
        if not self.old:
            super()._moment(when, *key, by=by)
        elif key[0] != "errors" and not key[0].startswith("reviewer_agent_"):
            super()._moment(when, *key, by=by)
            if key[0] in ("reviewer_reviews", "reviewer_errors"):
                super()._moment(when, key[0].replace("reviewer_", "reviewer_agent_"), *key[1:], by=by)

    def _error(self, site: str, current: Site, project: str, error: dict[str, Any], counted_as: str) -> str:
        return super()._error(site, current, project, error, "errors" if self.old else counted_as)


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

    oracle = UpToFormat4(Policy(), PARTITION)
    oracle.old = recording.engine_format <= 4
    oracle.feed(event for event in recording.events if event.offset <= recording.applied)
    oracle.old = False
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
