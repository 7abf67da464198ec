"""Crashes at random points: what is restored and re-applied equals an undisturbed engine, and the oracle."""

import random
from typing import Any

import pytest

from schemas.policy import Policy
from streams.engine.batch import DeadLetter
from streams.engine.partition import Checkpoint, PartitionEngine

from .compare import COUNTERS, HISTOGRAMS, Record, commit, differences, engine_figures, engine_histograms
from .oracle import Oracle
from .test_equality import POLICY
from .traffic import DAY_MS, HOUR_MS, adversarial


class Store:
    """The checkpoints topic: slots by key, the manifest, the dead letters; all of one checkpoint or nothing."""

    def __init__(self) -> None:
        self.slots: dict[bytes, bytes] = {}
        self.manifest: bytes | None = None
        self.letters: list[DeadLetter] = []

    def write(self, checkpoint: Checkpoint) -> None:
        for key, value in checkpoint.slots:
            if value is None:
                self.slots.pop(key, None)
            else:
                self.slots[key] = value
        self.manifest = checkpoint.manifest
        self.letters += checkpoint.dead_letters

    def copy(self) -> "Store":
        twin = Store()
        twin.slots, twin.manifest, twin.letters = dict(self.slots), self.manifest, list(self.letters)
        return twin

    def restore(self, policy: Policy) -> PartitionEngine:
        return PartitionEngine.restore(3, policy, dict(self.slots), self.manifest)


def durable(engine: PartitionEngine) -> dict[str, Any]:
    """What the engine shows of counters and histograms: the values of its last committed checkpoint."""
    figures = engine.figures(engine.clock_ms)
    shown: dict[str, Any] = {}
    for name in COUNTERS:
        shown[name] = {key: count for key, count in figures.samples.get(name, []) if count}
    for name in HISTOGRAMS:
        shown[name] = {key: (counts, total) for key, counts, total in figures.histograms.get(name, []) if any(counts)}
    return shown


def live_with_crashes(records: list[Record], policy: Policy, rng: random.Random) -> tuple[PartitionEngine, Store]:
    """A worker's life: batches, checkpoints, failed transactions, crashes; until the log's end is committed."""
    store, older, engine = Store(), [Store()], PartitionEngine(3, policy)
    at, shown = 0, durable(engine)
    while True:
        batch = records[at : at + rng.choice((1, 5, rng.randint(1, 200)))]
        # What is fetched again, after a rebalance, is skipped.
        again = records[max(0, at - rng.choice((0, 0, 3))) : at]
        engine.apply([*again, *batch])
        at += len(batch)
        dice = rng.random()
        if dice < 0.3 or at >= len(records):
            checkpoint = engine.checkpoint()
            assert PartitionEngine.manifest_offset(checkpoint.manifest) == checkpoint.applied == engine.applied
            assert durable(engine) == shown
            older.append(store.copy())
            store.write(checkpoint)
            engine.committed(checkpoint)
            assert (engine.pending_records, engine.dead_letters_pending) == (0, 0)
            if at >= len(records):
                return engine, store
            shown = durable(engine)
        elif dice < 0.5:
            assert durable(engine) == shown
            if dice < 0.37:
                # The transaction fails: the engine has handed everything over and must be dropped.
                engine.checkpoint()
            elif dice < 0.41 and len(older) > 1:
                # The last checkpoint never reached the log.
                store = older.pop()
                shown = durable(store.restore(policy))
            engine = store.restore(policy)
            assert durable(engine) == shown
            at = sum(record.offset <= engine.applied for record in records)


@pytest.mark.parametrize("seed", range(9))
def test_crashes_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    span_ms = int(rng.choice((0.05, 1, 6, 20)) * DAY_MS)
    records = adversarial(seed + 1_000, rng.choice((200, 500, 1_000)), span_ms, stamped=seed % 3 > 0)
    engine, store = live_with_crashes(records, POLICY, rng)
    undisturbed, oracle = PartitionEngine(3, POLICY), Oracle(POLICY, 3)
    undisturbed.apply(records)
    oracle.feed(records)
    letters = commit(undisturbed).dead_letters
    assert store.letters == letters
    assert [(letter.offset, letter.reason) for letter in letters] == oracle.rejected
    restored = store.restore(POLICY)
    for t in (oracle.clock, oracle.clock + rng.randrange(3 * HOUR_MS), oracle.clock + rng.randrange(8 * DAY_MS)):
        assert not differences(engine, oracle, t)
        for other in (engine, restored):
            assert engine_figures(other, t) == engine_figures(undisturbed, t)
            assert engine_histograms(other, t) == engine_histograms(undisturbed, t)
    assert (restored.applied, restored.clock_ms) == (undisturbed.applied, undisturbed.clock_ms)


def test_an_empty_store_is_a_new_engine() -> None:
    engine = PartitionEngine.restore(3, Policy(), {}, None)
    assert (engine.applied, engine.clock_ms, engine.sites()) == (-1, 0, [])


def test_lost_records_are_counted_and_survive() -> None:
    engine, oracle, store = PartitionEngine(3, Policy()), Oracle(partition=3), Store()
    records = adversarial(7, 200, HOUR_MS)
    engine.apply(records)
    engine.count_deleted(12)
    oracle.feed(records)
    oracle.lost(12)
    store.write(commit(engine))
    assert not differences(engine, oracle, oracle.clock)
    assert not differences(store.restore(Policy()), oracle, oracle.clock)
