"""The traffic of the fault rounds in process: drift records come out the same, byte for byte, through any crashes."""

import itertools
import random
import time
from collections import Counter

import pytest

from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from tests.faults.load import SPAN_MS, Traffic
from tests.oracle.compare import Record, batches, commit


def partition_of(seed: int, count: int) -> list[Record]:
    """The first partition's records."""
    now_ms = int(time.time() * 1000)
    written = itertools.islice(iter(Traffic(seed, 2, backlog=count, span_ms=SPAN_MS)), count)
    values = [each for each in written if each.partition == 0]
    return [Record(offset, now_ms, each.key, each.value) for offset, each in enumerate(values)]


def live(records: list[Record], rng: random.Random, crashes: float) -> "Counter[tuple[bytes, bytes]]":
    """What a worker writes of drift, which dies after so many of its checkpoints."""
    engine, slots = PartitionEngine(0, Policy(), partitions=2), dict[bytes, bytes]()
    told: Counter[tuple[bytes, bytes]] = Counter()
    for batch in [*batches(records, rng, 400), []]:
        if batch:
            engine.apply(batch)
        if rng.random() < 0.5 or not batch:
            checkpoint = commit(engine)
            told.update(checkpoint.drift_records)
            for key, value in checkpoint.slots:
                if value is None:
                    slots.pop(key, None)
                else:
                    slots[key] = value
            if rng.random() < crashes:
                engine = PartitionEngine.restore(0, Policy(), dict(slots), checkpoint.manifest, partitions=2)
    return told


@pytest.mark.parametrize("seed", [7, 8])
def test_drift_records_are_the_same_through_crashes(seed: int) -> None:
    records = partition_of(seed, 24_000)
    undisturbed = live(records, random.Random(seed), crashes=0)
    assert undisturbed, "the broken site is found"
    assert live(records, random.Random(seed + 1), crashes=0.4) == undisturbed
