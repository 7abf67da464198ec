"""Holds an engine's figures against the oracle's: what differs, in words."""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.metrics import METRICS, Kind, Origin, Page
from schemas.policy import Policy
from streams.engine.partition import Checkpoint, PartitionEngine

from .heard import Labels
from .oracle import Oracle

#: A figure of an existing row may be shown as 0 here: 0 of n is data.
ZERO_IS_DATA = {
    "labelwatch_site_correct_reviews": "labelwatch_site_reviews",
    "labelwatch_correct_reviews_window": "labelwatch_reviews_window",
    "labelwatch_partition_headline_correct_reviews_window": "labelwatch_partition_headline_reviews_window",
    "labelwatch_reviewer_errors_found": "labelwatch_reviewer_reviews",
    "labelwatch_reviewer_seconds": "labelwatch_reviewer_reviews",
    "labelwatch_reviewer_agent_errors_found": "labelwatch_reviewer_agent_reviews",
}
#: Before the highest event time, seconds of a minute that is still running are not defined by the contract.
FROM_HIGHEST_EVENT_TIME = (
    "state_seconds",
    "utilization",
    "occupancy",
    "available",
    "productive",
    "timed_labels",
    "site_agents",
)
#: What people beyond their cap are missing from, though it is of sites.
_OF_PEOPLE = (
    "unnamed",
    "timed_labels",
    "active_agents",
    "site_agents",
    "state",
    "utilization",
    "occupancy",
    "available",
    "productive",
)
#: Drift has tests of its own.
DRIFT = {
    name
    for name in METRICS
    if name.startswith("labelwatch_drift") or name in ("labelwatch_unwatched_streams", "labelwatch_held_reviews")
}
#: What the engine counts of itself, and what older checkpoints do not know: tests/oracle/test_limits.py looks at them.
OWN = {"labelwatch_limit", "labelwatch_limit_used", "labelwatch_site_first_event_timestamp_seconds"}
ENGINE_METRICS = {name for name, metric in METRICS.items() if metric.origin is Origin.ENGINE} - DRIFT - OWN
COUNTERS = {name for name in ENGINE_METRICS if METRICS[name].kind is Kind.COUNTER}
HISTOGRAMS = {name for name in ENGINE_METRICS if METRICS[name].kind is Kind.HISTOGRAM}


class Record(NamedTuple):
    """A record of the events topic, as far as the engine looks at it."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


def engine_figures(engine: PartitionEngine, t: int, twice: list[str] | None = None) -> dict[str, dict[Labels, float]]:
    """Every series of the engine but histograms, people's included, in one table; notes what is given twice."""
    found: dict[str, dict[Labels, float]] = {}
    twice = [] if twice is None else twice
    for name, samples in engine.figures(t).samples.items():
        if name in DRIFT:
            continue
        series = found.setdefault(name, {})
        for labels, value in samples:
            assert len(labels) == len(METRICS[name].labels), f"{name}: labels {labels}"
            if labels in series:
                twice.append(f"{name}{labels}: given twice")
            series[labels] = value
    for group in engine.people(t).groups:
        for (name, window), column in group.columns.items():
            series = found.setdefault(name, {})
            assert len(column) == len(group.labels)
            present = np.flatnonzero(~np.isnan(column))
            for row, value in zip(present.tolist(), column[present].tolist(), strict=True):
                labels = (*group.labels[row], window)
                if labels in series:
                    twice.append(f"{name}{labels}: given twice")
                series[labels] = value
    return found


def engine_histograms(engine: PartitionEngine, t: int) -> dict[str, dict[Labels, tuple[list[int], float]]]:
    return {
        name: {labels: (list(counts), total) for labels, counts, total in samples if any(counts)}
        for name, samples in engine.figures(t).histograms.items()
    }


def commit(engine: PartitionEngine) -> Checkpoint:
    """A checkpoint whose write is acknowledged: durable counters show it."""
    checkpoint = engine.checkpoint()
    engine.committed(checkpoint)
    return checkpoint


def differences(engine: PartitionEngine, oracle: Oracle, t: int, counters: bool = True) -> list[str]:
    """What differs at time t; counters too, when the engine has just committed."""
    found: list[str] = []
    expected, got = oracle.figures(t), engine_figures(engine, t, found)
    strangers = (expected.keys() | got.keys()) - ENGINE_METRICS - OWN
    found += [f"{name}: not a metric of the engine" for name in sorted(strangers)]
    for name in sorted(ENGINE_METRICS - HISTOGRAMS):
        if name in COUNTERS and not counters:
            continue
        if t < oracle.clock and any(part in name for part in FROM_HIGHEST_EVENT_TIME):
            continue
        found += _differing(name, expected.get(name, {}), got.get(name, {}), got)
    if counters:
        ours, theirs = oracle.histogram_figures(), engine_histograms(engine, t)
        for name in sorted(HISTOGRAMS):
            for labels in sorted(ours.get(name, {}).keys() | theirs.get(name, {}).keys()):
                want, have = ours.get(name, {}).get(labels), theirs.get(name, {}).get(labels)
                if want is None or have is None or want[0] != have[0] or not _same(want[1], have[1]):
                    found.append(f"{name}{labels}: expected {want}, got {have}")
    return [f"t={t}: {line}" for line in found]


def _differing(
    name: str, expected: dict[Labels, float], got: dict[Labels, float], everything: dict[str, dict[Labels, float]]
) -> list[str]:
    found = []
    for labels in expected.keys() | got.keys():
        want, have = expected.get(labels), got.get(labels)
        if name in COUNTERS:
            want, have = want or 0, have or 0
        elif want is None and have == 0 and labels in everything.get(ZERO_IS_DATA.get(name, ""), {}):
            continue
        if want is None or have is None or not _same(want, have):
            found.append(f"{name}{dict(zip(METRICS[name].labels, labels, strict=True))}: expected {want}, got {have}")
    return sorted(found)


def _same(want: float, have: float) -> bool:
    if isinstance(want, int):
        return want == have
    return math.isclose(want, have, rel_tol=1e-12, abs_tol=1e-12)


def batches(records: Sequence[Any], rng: random.Random, most: int = 500) -> Iterable[Sequence[Any]]:
    """The records in order, in batches of random size, single records among them."""
    start = 0
    while start < len(records):
        size = rng.choice((1, 2, 7, rng.randint(1, most)))
        yield records[start : start + size]
        start += size


def both(
    records: Sequence[Record], policy: Policy, rng: random.Random, most: int = 500
) -> tuple[PartitionEngine, Oracle]:
    """An engine, committed, and an oracle that have seen the same records."""
    engine, oracle = PartitionEngine(3, policy), Oracle(policy, 3)
    for batch in batches(records, rng, most):
        engine.apply(batch)
    commit(engine)
    oracle.feed(records)
    return engine, oracle


def of_sites(lines: list[str]) -> list[str]:
    """Of differences, those in figures that the cap of people must not touch."""
    names = [line.split(": ", 1)[1].split("{")[0] for line in lines]
    return [
        line
        for line, name in zip(lines, names, strict=True)
        if METRICS[name].page is not Page.AGENTS and not any(part in name for part in _OF_PEOPLE)
    ]
