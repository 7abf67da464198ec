"""What must hold after a fault: nothing lost or twice, every figure the oracle's, state restored as it was kept."""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.metrics import METRICS
from schemas.policy import Policy
from schemas.topics import DRIFT, EVENTS, REJECTED
from streams.engine.partition import PartitionEngine
from tests.faults.harness import Round, Worker, read_topic
from tests.kafka.state import LogRecord, durable
from tests.oracle.compare import (
    ENGINE_METRICS,
    HISTOGRAMS,
    Record,
    _differing,
    commit,
    differences,
    engine_figures,
    engine_histograms,
    of_sites,
)
from tests.oracle.heard import HOUR_MS
from tests.oracle.oracle import Oracle

_TOTALS = ("events_total", "duplicates_total", "rejected_total", "unknown_events_total", "lost_records_total")
#: Records fed again to see that what was restored decides like what was kept.
_AGAIN = 2_000
_SHOW_SECONDS = 20.0


@dataclass
class Verdict:
    """What came of a round.

    Attributes:
        records: In the log.
        replayed: Records applied more than once, by whoever.
        lost, doubled: Events, dead letters and drift records missing, or there twice.
        wrong: Sentences; none when all is well.
    """

    records: int = 0
    replayed: int = 0
    lost: int = 0
    doubled: int = 0
    drifts: int = 0
    letters: int = 0
    wrong: list[str] = field(default_factory=list)


class _Truth:
    """The log, and what oracle and undisturbed engine make of one partition of it."""

    def __init__(self, partition: int, partitions: int, records: list[Record], policy: Policy, lost: int) -> None:
        self.partition = partition
        self.records = records
        self.oracle = Oracle(policy, partition)
        self.engine = PartitionEngine(partition, policy, partitions=partitions)
        if lost:
            self.oracle.lost(lost)
            self.engine.count_deleted(lost)
        self.oracle.feed(records)
        if records:
            self.engine.apply(records)
        checkpoint = commit(self.engine)
        self.letters = checkpoint.dead_letters
        self.drift = checkpoint.drift_records


def judge(round: Round, policy: Policy | None = None) -> Verdict:
    """Compares everything that a round has left with the truth. Workers that run are stopped on the way."""
    policy = policy or Policy()
    verdict = Verdict()
    truths = _truths(round, policy)
    verdict.records = sum(len(truth.records) for truth in truths)
    verdict.wrong += _log_is_whole(round, truths)
    # The exporter's counters may follow the last checkpoint by a moment.
    deadline = time.monotonic() + _SHOW_SECONDS
    while shown := _shown(round, truths):
        if time.monotonic() > deadline:
            verdict.wrong += shown
            break
        time.sleep(0.3)
    for worker in round.alive:
        if (code := worker.terminate()) != 0:
            verdict.wrong.append(f"a worker ended with code {code} on SIGTERM")
    verdict.replayed = sum(worker.progress.records for worker in round.workers) - verdict.records
    engines = durable(round.broker.bootstrap, round.worker_id, round.partitions, policy=policy)
    for truth, engine in zip(truths, engines, strict=True):
        for at_ms in (truth.oracle.clock, truth.oracle.clock + round.rng.randrange(2 * HOUR_MS)):
            verdict.wrong += _of_sites(round, differences(engine, truth.oracle, at_ms))
        _count(truth, engine, verdict)
    _letters(round, truths, verdict)
    _drift(round, truths, verdict)
    # Last, since it feeds both engines again.
    for truth, engine in zip(truths, engines, strict=True):
        verdict.wrong += _same_state(engine, truth)
    if verdict.lost or verdict.doubled:
        verdict.wrong.append(f"lost {verdict.lost}, double counted {verdict.doubled}")
    return verdict


def _truths(round: Round, policy: Policy) -> list[_Truth]:
    records: list[list[Record]] = [[] for _ in range(round.partitions)]
    for m in read_topic(round.broker.bootstrap, EVENTS, round.partitions):
        records[m.partition()].append(Record(m.offset(), m.timestamp()[1], m.key(), m.value()))
    for n, known in round.history.items():
        records[n] = known + records[n]
    return [_Truth(n, round.partitions, found, policy, round.lost[n]) for n, found in enumerate(records)]


def _log_is_whole(round: Round, truths: list[_Truth]) -> list[str]:
    """The broker kept what it acknowledged, and each producer's sequence has no hole."""
    held = {(truth.partition, record.offset) for truth in truths for record in truth.records}
    missing = {at for at in round.loader.acknowledged - held if at[1] >= round.cut[at[0]]}
    return [f"the broker lost {len(missing)} acknowledged records"] if missing else []


def _of_sites(round: Round, lines: list[str]) -> list[str]:
    """With more people than the cap allows, the oracle knows better only of sites."""
    return lines if round.people_max is None else of_sites(lines)


def _shown(round: Round, truths: list[_Truth]) -> list[str]:
    """What the workers' pages say, against the oracle."""
    found: list[str] = []
    owners: Counter[int] = Counter()
    for worker in round.alive:
        if worker.is_frozen():
            continue
        figures = worker.figures()
        owned = [int(dict(labels)["partition"]) for labels, v in figures["labelwatch_partition_owned"].items() if v]
        owners.update(owned)
        if owned and not round.pages_unchecked:
            for name, samples in worker.figures("/metrics/agents").items():
                figures.setdefault(name, {}).update(samples)
            found += _of_sites(round, _page_differs(worker, [truths[n] for n in owned], figures))
    if round.alive and owners != Counter(range(round.partitions)):
        found.append(f"partitions are shown by so many workers: {dict(owners)}")
    return found


def _page_differs(worker: Worker, truths: list[_Truth], figures: dict[str, Any]) -> list[str]:
    at_ms = max(truth.oracle.clock for truth in truths)
    expected: dict[str, dict[tuple[str, ...], float]] = {}
    for truth in truths:
        for name, series in truth.oracle.figures(at_ms).items():
            expected.setdefault(name, {}).update(series)
    got: dict[str, dict[tuple[str, ...], float]] = {}
    for name, samples in figures.items():
        if name in ENGINE_METRICS:
            order = METRICS[name].labels
            got[name] = {tuple(dict(labels).get(label, "") for label in order): v for labels, v in samples.items()}
    lines: list[str] = []
    for name in sorted(ENGINE_METRICS - HISTOGRAMS):
        lines += _differing(name, expected.get(name, {}), got.get(name, {}), got)
    histograms = {
        (f"{name}_{part}", labels): value
        for truth in truths
        for name, series in truth.oracle.histogram_figures().items()
        for labels, (counts, total) in series.items()
        for part, value in (("count", float(sum(counts))), ("sum", total))
    }
    for (name, labels), value in histograms.items():
        order = METRICS[name.rsplit("_", 1)[0]].labels
        have = figures.get(name, {}).get(frozenset(zip(order, labels, strict=True)))
        if have is None or abs(have - value) > 1e-9 * max(1.0, abs(value)):
            lines.append(f"{name}{labels}: expected {value}, got {have}")
    return [f"shown: {line}" for line in lines]


def _count(truth: _Truth, engine: PartitionEngine, verdict: Verdict) -> None:
    expected, got = truth.oracle.figures(truth.oracle.clock), engine_figures(engine, truth.oracle.clock)
    for total in _TOTALS:
        name = f"labelwatch_{total}"
        want, have = expected.get(name, {}), got.get(name, {})
        for labels in want.keys() | have.keys():
            difference = int(want.get(labels, 0) - have.get(labels, 0))
            verdict.lost += max(0, difference)
            verdict.doubled += max(0, -difference)


def _letters(round: Round, truths: list[_Truth], verdict: Verdict) -> None:
    """Dead letters, once each for a read_committed reader, with the exact bytes and the oracle's reason."""
    found: Counter[tuple[int, int]] = Counter()
    values = {(truth.partition, record.offset): record for truth in truths for record in truth.records}
    reasons = {(truth.partition, at): reason for truth in truths for at, reason in truth.oracle.rejected}
    for m in [*round.letters, *read_topic(round.broker.bootstrap, REJECTED, round.partitions)]:
        headers = dict(m.headers())
        origin = int(headers["origin-partition"]), int(headers["origin-offset"])
        found[origin] += 1
        record = values.get(origin)
        if record is not None and (
            (record.value or b"") != (m.value() or b"")
            or (record.value is None) != ("origin-null" in headers)
            or headers["reason"].decode() != reasons.get(origin)
        ):
            verdict.wrong.append(f"the dead letter of {origin} is not what was rejected")
    expected = set(reasons)
    verdict.letters = len(expected)
    kept = {origin for origin in found if origin in values}
    verdict.lost += len(expected - kept)
    verdict.doubled += sum(n - 1 for n in found.values()) + len(kept - expected)


def _drift(round: Round, truths: list[_Truth], verdict: Verdict) -> None:
    """Drift records, once each for a read_committed reader, as an undisturbed engine makes them of the same log."""
    expected = Counter(pair for truth in truths for pair in truth.drift)
    found = Counter((m.key(), m.value()) for m in read_topic(round.broker.bootstrap, DRIFT, round.partitions))
    verdict.drifts = expected.total()
    by_id = Counter(_drift_id(value) for _, value in found.elements())
    wanted = Counter(_drift_id(value) for _, value in expected.elements())
    verdict.lost += (wanted - by_id).total()
    verdict.doubled += (by_id - wanted).total()
    verdict.wrong += [f"drift record missing: {value!r}" for _, value in (expected - found).elements()][:3]
    verdict.wrong += [f"drift record not expected: {value!r}" for _, value in (found - expected).elements()][:3]
    if found != expected and by_id == wanted:
        verdict.wrong.append(f"drift records differ: {list((found - expected).elements())[:1]}, expected "
                             f"{list((expected - found).elements())[:1]}")  # fmt: skip


def _drift_id(value: bytes) -> tuple[str, str, int]:
    record = json.loads(value)
    return record["drift_id"], record["status"], record.get("opening", 1)


def _same_state(restored: PartitionEngine, truth: _Truth) -> list[str]:
    """Tables cell by cell; then both take the newest records again, repeats and new ones, and must agree on all."""
    kept, wrong = truth.engine, []
    if (restored.applied, restored.clock_ms, restored.sites()) != (kept.applied, kept.clock_ms, kept.sites()):
        wrong.append(f"restored at {restored.applied}, kept at {kept.applied}")
    for one, other in zip(restored._tables, kept._tables, strict=True):
        where = f"partition {truth.partition}, table {other.name}"
        if one.keys != other.keys:
            wrong.append(f"{where}: rows differ")
            continue
        wrong += [
            f"{where}: {name} differs"
            for name in other.scalar_names
            if not np.array_equal(one.scalar(name), other.scalar(name))
        ]
        wrong += [
            f"{where}: panes of {name} differ"
            for name in other._columns
            if not np.array_equal(one._columns[name][:, : one.rows], other._columns[name][:, : other.rows])
        ]
    newest = truth.records[-_AGAIN:]
    following = kept.applied + 1
    again = [LogRecord(following + n, r.timestamp, r.key, r.value) for n, r in enumerate(newest)]
    again += [
        LogRecord(following + len(newest) + n, r.timestamp, r.key, r.value and r.value.replace(b'_id":"', b'_id":"n'))
        for n, r in enumerate(newest)
    ]
    checkpoints = []
    for engine in (restored, kept):
        if again:
            engine.apply(again)
        checkpoints.append(commit(engine))
    at_ms = kept.clock_ms
    if engine_figures(restored, at_ms) != engine_figures(kept, at_ms):
        wrong.append(f"partition {truth.partition}: what was restored decides otherwise")
    if engine_histograms(restored, at_ms) != engine_histograms(kept, at_ms):
        wrong.append(f"partition {truth.partition}: what was restored observes otherwise")
    if checkpoints[0].dead_letters != checkpoints[1].dead_letters:
        wrong.append(f"partition {truth.partition}: what was restored rejects otherwise")
    if checkpoints[0].drift_records != checkpoints[1].drift_records:
        wrong.append(f"partition {truth.partition}: what was restored detects otherwise")
    return wrong
