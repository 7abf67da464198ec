"""Checkpoints of earlier builds are read by this one, to the last figure; what a newer one wrote is refused."""

import asyncio
import contextlib
import dataclasses
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.policy import Policy
from schemas.topics import topics
from streams.engine import partition as engine_partition
from streams.engine.partition import FormatError, PartitionEngine
from streams.ops.downgrade import downgrade
from streams.runtime.checkpoint_layout import CheckpointReader, Restored
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.settings import Settings
from tests.faults.recording import FOLDER, PARTITION, Recording, load, reader_of
from tests.oracle.compare import commit, differences
from tests.oracle.heard import Site
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import HOUR_MS
from tests.support.kafka import create_topics
from tests.support.tansu import Tansu

RECORDINGS = sorted(FOLDER.glob("*.msgpack.gz"))


class UpToFormat4(Oracle):
    """Counts as those builds did while `old`: every duration, errors of correct work, audits as any other review."""

    old = True

    def _note_times(self, site: str, event: dict[str, Any]) -> None:
        if not self.old:
            super()._note_times(site, event)

    def _queue(self, name: str, site: Site, event: dict[str, Any]) -> None:
        if not self.old:
            super()._queue(name, site, event)

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


def restored(recording: Recording) -> tuple[CheckpointReader, PartitionEngine]:
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
    with pytest.raises(
        FormatError, match=r"written by build 9\.9\.9 in format .*: run build 9\.9\.9 or newer, let its"
    ):
        PartitionEngine.restore(PARTITION, Policy(), {}, msgspec.msgpack.encode(manifest))


def test_the_build_of_this_format_is_the_package() -> None:
    project = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == engine_partition.BUILD
    page = (FOLDER.parents[2] / "docs" / "operations.md").read_text("utf-8")
    assert f"| {engine_partition.FORMAT} | {engine_partition.BUILD} |" in page


def shapes(slots: dict[bytes, bytes]) -> set[tuple[str, ...]]:
    """Tables with the names of their columns and scalars, and the kinds of other slots."""
    found: set[tuple[str, ...]] = set()
    for key, value in slots.items():
        name, *_, kind = key.decode().split("|")
        if name in ("site", "ids", "drift", "drift-labels"):
            found.add((name, key.decode().split("|")[1] if name.startswith("drift") else ""))
        elif kind == "s":
            found.update((name, "scalar", each) for each in msgspec.msgpack.decode(value))
        elif kind != "k":
            found.update((name, "column", each) for each in msgspec.msgpack.decode(value)[1])
    return found


async def test_a_downgrade_leaves_what_the_build_of_format_4_wrote_and_loses_no_figure(tansu: Tansu) -> None:
    """That build itself, run once by hand on such a state, showed the same figures and went on with open drifts."""
    recording = load(FOLDER / "format-1-4.msgpack.gz")
    known, manifest = reader_of(recording).slots()[0], reader_of(recording).manifest
    assert manifest is not None
    engine = PartitionEngine.restore(PARTITION, Policy(), known, manifest)
    engine.apply([event for event in recording.events if event.offset > recording.applied])
    create_topics(tansu.bootstrap, topics("main"), partitions=1)
    settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap)

    @contextlib.asynccontextmanager
    async def stored() -> AsyncIterator[tuple[CheckpointStore, Restored]]:
        store = CheckpointStore(settings, PARTITION, partitions=1, transactional=False)
        await store.start()
        try:
            yield store, await store.restore()
        finally:
            await store.close()

    checkpoint = engine.checkpoint()
    changed = dict(checkpoint.slots)
    slots = [*changed.items(), *((key, value) for key, value in known.items() if key not in changed)]
    async with stored() as (store, _):
        await store.write(dataclasses.replace(checkpoint, slots=slots))
    engine.committed(checkpoint)
    async with stored() as (_, newer):
        assert shapes(newer.slots) > shapes(known)
    (said,) = await asyncio.to_thread(lambda: list(downgrade(settings)))
    assert said == f"partition 0: written in format 4, for build 0.1.0, at offset {engine.applied + 1}"
    async with stored() as (_, older):
        assert older.manifest is not None
        assert msgspec.msgpack.decode(older.manifest)["format"] == 4
        assert shapes(older.slots) == shapes(known)
    again = PartitionEngine.restore(PARTITION, Policy(), older.slots, older.manifest)
    before, after = (each.figures(engine.clock_ms).samples for each in (engine, again))
    new = {"labelwatch_errors_window", "labelwatch_remarks_total", "labelwatch_implausible_times_total"}
    new.add("labelwatch_limit_used")  # remarks take some
    new |= {name for name in before if name.startswith("labelwatch_queue_")}
    for name in before.keys() - new:
        # Correct work since its last error is held to one baseline now where a stream was held to its strata.
        within = 0.01 if name == "labelwatch_drift_evidence" else 1e-12
        assert dict(after.get(name, [])) == pytest.approx(dict(before[name]), rel=1e-12, abs=within), name
    (said,) = await asyncio.to_thread(lambda: list(downgrade(settings)))
    assert said == "partition 0: of format 4 or older already"
