"""What a group has made durable, compared with an engine that read the whole log in one go."""

import asyncio
import math
from typing import Any, NamedTuple

import pytest

from schemas.policy import Policy
from schemas.topics import EVENTS
from streams.engine.partition import PartitionEngine
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.settings import Settings
from tests.kafka.conftest import read_all


class LogRecord(NamedTuple):
    """A record as the engine takes it."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


def durable(
    bootstrap: str, worker_id: str, partitions: int = 2, *, transactional: bool = True, policy: Policy | None = None
) -> list[PartitionEngine]:
    """The engine of each partition, as the next worker would restore it. Fences a worker that still runs."""

    async def restore(partition: int) -> PartitionEngine:
        settings = Settings.resolve(environ={}, bootstrap=bootstrap, id=worker_id)
        store = CheckpointStore(settings, partition, partitions=partitions, transactional=transactional)
        try:
            await store.start()
            restored = await store.restore()
        finally:
            await store.close()
        return PartitionEngine.restore(
            partition, policy or Policy(), restored.slots, restored.manifest, partitions=partitions
        )

    async def restore_all() -> list[PartitionEngine]:
        return [await restore(partition) for partition in range(partitions)]

    return asyncio.run(restore_all())


def recomputed(bootstrap: str, partitions: int = 2) -> list[PartitionEngine]:
    """An engine for each partition, fed with the whole log by another client."""
    engines = [PartitionEngine(partition, Policy.load(None), partitions=partitions) for partition in range(partitions)]
    records: dict[int, list[LogRecord]] = {partition: [] for partition in range(partitions)}
    for m in read_all(bootstrap, EVENTS, partitions, committed=False):
        records[m.partition()].append(LogRecord(m.offset(), m.timestamp()[1], m.key(), m.value()))
    for partition, engine in enumerate(engines):
        if records[partition]:
            engine.apply(records[partition])
        engine.committed(engine.checkpoint())
    return engines


def assert_same(found: list[PartitionEngine], expected: list[PartitionEngine]) -> None:
    """Every figure of sites and people is the same: integers equal, ratios to 1e-12."""
    for one, other in zip(found, expected, strict=True):
        assert (one.applied, one.clock_ms, sorted(one.sites())) == (
            other.applied,
            other.clock_ms,
            sorted(other.sites()),
        )
        at_ms = other.clock_ms
        assert _sites(one, at_ms) == pytest.approx(_sites(other, at_ms), rel=1e-12)
        assert _people(one, at_ms) == pytest.approx(_people(other, at_ms), rel=1e-12)


def _sites(engine: PartitionEngine, at_ms: int) -> dict[Any, float]:
    figures = engine.figures(at_ms)
    flat: dict[Any, float] = {
        (name, labels): value for name, samples in figures.samples.items() for labels, value in samples
    }
    for name, histograms in figures.histograms.items():
        for labels, counts, total in histograms:
            flat[name, labels, "sum"] = total
            flat |= {(name, labels, index): count for index, count in enumerate(counts)}
    return flat


def _people(engine: PartitionEngine, at_ms: int) -> dict[Any, float]:
    return {
        (metric, labels): float(value)
        for group in engine.people(at_ms).groups
        for metric, column in group.columns.items()
        for labels, value in zip(group.labels, column, strict=True)
        if not math.isnan(value)
    }
