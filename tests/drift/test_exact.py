"""Drift is decided by records alone: however the log is cut, and whenever the worker dies, the same drifts."""

import random
from collections.abc import Iterator

import msgspec
import pytest

from schemas.drift import DriftRecord
from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from streams.sources.simulate import Operation, Simulation
from tests.oracle.compare import Record

DAY_MS = 86_400_000
START_MS = 1_764_000_000_000
POLICY = Policy.parse("[oncall]\nfalse_pages_per_month = 30\nfalse_tickets_per_month = 300")


def history(scenario: str, seed: int, hours: float = 12, rate: float = 0.6) -> list[Record]:
    plan = Simulation(START_MS, START_MS + int(hours * 3_600_000), scenario, seed, rate=rate, sites=3, points=0.12)
    return [Record(n, sent.due_ms + 5, None, sent.value) for n, sent in enumerate(Operation(plan))]


def with_revisions(records: list[Record], rng: random.Random, share: float) -> list[Record]:
    """The log with revisions of a share of its reviews, each some reviews after the review, some of them twice."""
    log: list[tuple[float, bytes, int]] = []
    for n, record in enumerate(records):
        value = record.value or b""
        log.append((n, value, record.timestamp or 0))
        event = msgspec.json.decode(value) if b'"label_reviewed"' in value else {}
        place, correct = float(n), event.get("correct")
        while event and rng.random() < share:
            place += rng.choice((0.1, 1, 30, 3_000)) * rng.random()
            new = rng.choice((None, {"correct": True}, {"correct": False}))
            revision = {
                "type": "review_revised",
                "event_id": f"r-{event['event_id']}-{place}",
                "at": event["at"],
                "reviewed_at": event["at"],
                "review_id": event["event_id"],
                "old": {"correct": correct},
                "cause": "audit" if new else "void",
                **{name: event[name] for name in ("site_id", "agent_id", "project_id", "task_id")},
                **({"role": event["role"]} if event.get("role") else {}),
                **({"new": new} if new else {}),
            }
            log.append((place, msgspec.json.encode(revision), record.timestamp or 0))
            if new is None:
                break
            correct = new["correct"]
    return [Record(n, at_ms, None, value) for n, (_, value, at_ms) in enumerate(sorted(log, key=lambda each: each[0]))]


def batches(records: list[Record], rng: random.Random, most: int) -> Iterator[list[Record]]:
    start = 0
    while start < len(records):
        stop = start + rng.randint(1, most)
        yield records[start:stop]
        start = stop


def run(
    records: list[Record], seed: int, most: int, crash: float = 0.0, policy: Policy = POLICY
) -> tuple[PartitionEngine, list[bytes]]:
    """Applies a log in random batches; with `crash`, the engine is now and then restored and the rest applied again."""
    rng = random.Random(seed)
    engine, told = PartitionEngine(0, policy), []
    slots: dict[bytes, bytes] = {}
    manifest = None
    while engine.applied + 1 < len(records):
        for batch in batches(records[engine.applied + 1 :], rng, most):
            engine.apply(batch)
            if rng.random() < 0.3:
                checkpoint = engine.checkpoint()
                told += [value for _, value in checkpoint.drift_records]
                for key, value in checkpoint.slots:
                    if value is None:
                        slots.pop(key, None)
                    else:
                        slots[key] = value
                manifest = checkpoint.manifest
                engine.committed(checkpoint)
            if rng.random() < crash:
                engine = PartitionEngine.restore(0, policy, dict(slots), manifest)
                break
    checkpoint = engine.checkpoint()
    engine.committed(checkpoint)
    return engine, told + [value for _, value in checkpoint.drift_records]


@pytest.mark.parametrize("scenario", ["site-dip", "one-agent", "lenient-qa", "late-and-dirty", "handle-time"])
@pytest.mark.parametrize("seed", range(2))
def test_the_same_drifts_however_the_log_is_cut_and_whenever_the_worker_dies(scenario: str, seed: int) -> None:
    # Handling time is learned for three days before it is watched.
    records = history(scenario, seed, *((150, 0.12) if scenario == "handle-time" else ()))
    whole, expected = run(records, 1, most=100_000)
    if scenario in ("site-dip", "one-agent", "handle-time"):
        assert expected, "the scenario's change was found"
    for most, crash in ((150, 0.0), (2_000, 0.0), (400, 0.05)):
        engine, told = run(records, seed + most, most, crash)
        assert sorted(told) == sorted(expected)
        assert engine.drifts() == whole.drifts()
        at_ms = whole.clock_ms
        ours, theirs = engine.figures(at_ms).samples, whole.figures(at_ms).samples
        for name in ours.keys() | theirs.keys():
            if name.startswith("labelwatch_drift"):
                assert sorted(ours[name]) == sorted(theirs[name]), name
    assert all(msgspec.json.decode(value, type=DriftRecord).drift_id for value in expected)
