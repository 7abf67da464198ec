"""Ids of minutes that are over: sealed ones answer as a set does, and no repeat or late event is told differently."""

import json
import random
from typing import Any

import numpy as np
import pytest

from schemas.policy import Policy
from streams.engine import horizon
from streams.engine.ids import SealedIds
from streams.engine.partition import PartitionEngine
from streams.engine.reader import PythonReader
from tests.oracle.compare import Record, commit, differences
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import START_MS

MINUTE_MS = 60_000


@pytest.mark.parametrize("seed", range(5))
def test_sealed_ids_are_a_set_that_tells_its_newest(seed: int) -> None:
    rng = random.Random(seed)
    known = {rng.getrandbits(64) for _ in range(rng.choice((0, 1, 50, 3_000)))} | {0, (1 << 64) - 1}
    sealed = SealedIds(np.array([*known], np.uint64))
    newest: list[int] = []
    some = [*known][:50]
    for _ in range(500):
        digest = rng.choice((rng.getrandbits(64), rng.choice(some), max(some), min(some)))
        assert (digest in sealed) == (digest in known)
        if digest not in known:
            known.add(digest)
            newest.append(digest)
            sealed[digest] = None
        assert len(sealed) == len(known)
        if rng.random() < 0.02:
            assert [digest for digest, _ in zip(reversed(sealed), newest, strict=False)] == newest[::-1]
            newest.clear()
            sealed.seal()
    assert all(digest in sealed for digest in known)


def traffic(rng: random.Random, minutes: int) -> list[Record]:
    """A site that gets most events in time, some minutes late, and many twice."""
    records: list[Record] = []
    sent: list[bytes] = []
    for number in range(minutes * 40):
        now = START_MS + number * MINUTE_MS // 40
        late_ms = int(rng.choice((0, 0, 0, 0, 1, 5, 14, 20)) * MINUTE_MS * rng.random())
        event = {
            "type": "label_submitted", "event_id": f"e-{number}", "at": now - late_ms, "site_id": "x",
            "agent_id": rng.choice("abc"), "project_id": "p", "task_id": "t", "handle_ms": 1_000,
        }  # fmt: skip
        sent.append(json.dumps(event).encode())
        for value in (sent[-1], rng.choice(sent[-500:])):
            records.append(Record(len(records), now, None, value))
    return records


@pytest.mark.parametrize("share", [0, 1, 16])
def test_repeats_are_found_in_sealed_minutes_and_after_a_crash(share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a share of 0 every minute but the newest is sealed at each checkpoint."""
    monkeypatch.setattr(horizon, "NEW_SHARE", share)
    rng = random.Random(share)
    records = traffic(rng, 50)
    oracle, engine = Oracle(partition=3), PartitionEngine(3, Policy(), reader=PythonReader())
    oracle.feed(records)
    slots: dict[bytes, bytes] = {}
    start, sealed = 0, 0
    while start < len(records):
        stop = start + rng.randint(1, 120)
        engine.apply(records[start:stop])
        start = stop
        checkpoint = commit(engine)
        for key, value in checkpoint.slots:
            if value is None:
                del slots[key]
            else:
                slots[key] = value
        (site,) = engine._intake.sites.values()
        sealed += sum(isinstance(held, SealedIds) for held in site.seen.values())
        assert not isinstance(site.seen.get(site.minute), SealedIds)
        restored = PartitionEngine.restore(3, Policy(), dict(slots), checkpoint.manifest, reader=PythonReader())
        (same,) = restored._intake.sites.values()
        assert {minute: len(held) for minute, held in same.seen.items()} == {
            minute: len(held) for minute, held in site.seen.items()
        }
        if rng.random() < 0.3:
            engine = restored
    assert sealed
    assert not differences(engine, oracle, oracle.clock)


class Unsealed(dict[int, None]):
    """A minute that stays a dict."""

    def __init__(self, ids: np.ndarray) -> None:
        super().__init__(dict.fromkeys(ids.tolist()))

    def seal(self) -> None:
        """Nothing."""


def test_chunks_hold_the_same_bytes_whether_minutes_are_sealed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon, "NEW_SHARE", 0)
    records = traffic(random.Random(1), 30)
    written: list[Any] = []
    for kind in (SealedIds, Unsealed):
        monkeypatch.setattr(horizon, "SealedIds", kind)
        engine = PartitionEngine(3, Policy(), reader=PythonReader())
        written.append([])
        for start in range(0, len(records), 70):
            engine.apply(records[start : start + 70])
            written[-1].append(commit(engine))
        (site,) = engine._intake.sites.values()
        assert any(isinstance(held, kind) for held in site.seen.values())
    for sealed, unsealed in zip(*written, strict=True):
        assert (sealed.slots, sealed.manifest) == (unsealed.slots, unsealed.manifest)
