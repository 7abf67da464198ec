"""Slower work names what made it slower: a version of the SOP, a person, another kind of work, or nothing."""

import math
import random
from typing import Any

import msgspec
import pytest

from schemas.drift import DriftRecord
from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from tests.oracle.compare import Record

START_MS = 1_764_000_000_000
EVERY_MS = 40_000
AGENTS = 12


def labels(days: float, slow: Any, seed: int = 1, changed: bool = False, start: int = 0) -> list[dict[str, Any]]:
    """Labels of one project, one every 40 s, typically of 30 s; `slow` changes an event once things have changed."""
    rng = random.Random(f"{seed}/{changed}")
    events = []
    for number in range(start, start + int(days * 86_400_000 / EVERY_MS)):
        event: dict[str, Any] = {
            "type": "label_submitted",
            "event_id": f"e{number}",
            "at": START_MS + number * EVERY_MS,
            "site_id": "s",
            "project_id": "p",
            "agent_id": f"a-{rng.randrange(AGENTS)}",
            "task_id": f"t{number}",
            "label": rng.choices(["plain", "long"], [8, 2])[0],
            "sop_version": "v1",
            "handle_ms": int(30_000 * math.exp(rng.gauss(0, 0.5))),
        }
        if changed:
            slow(event, rng)
        event["handle_ms"] *= 3 if event["label"] == "long" else 1
        events.append(event)
    return events


def opened(slow: Any, policy: str = "", days: float = 4) -> tuple[DriftRecord, list[dict[str, Any]], int]:
    """The first drift of handling time, the log up to it, and when things had changed, after so many days."""
    events = labels(days, slow)
    began = events[-1]["at"]
    events += labels(3, slow, changed=True, start=len(events))
    engine = PartitionEngine(0, Policy.parse(policy))
    records = [Record(n, each["at"] + 5, None, msgspec.json.encode(each)) for n, each in enumerate(events)]
    for at in range(0, len(records), 900):
        engine.apply(records[at : at + 900])
    found = [msgspec.json.decode(value, type=DriftRecord) for _, value in engine.checkpoint().drift_records]
    drift = next(each for each in found if each.signal == "handle_time")
    assert drift.at > began
    return drift, [each for each in events if each["at"] <= drift.at], began


def named(drift: DriftRecord) -> set[tuple[str, str, str]]:
    return {(cause.by, cause.member, cause.effect) for cause in drift.causes}


def test_a_new_sop_that_takes_longer_is_named() -> None:
    def slow(event: dict[str, Any], rng: random.Random) -> None:
        if rng.random() < 0.5:
            event["sop_version"] = "v2"
            event["handle_ms"] *= 2

    drift, _, began = opened(slow)
    assert ("sop_version", "v2", "mix") in named(drift)
    assert drift.verdict == "rate"
    assert drift.began_at_low <= began + EVERY_MS * 64
    assert began - EVERY_MS * 64 <= drift.began_at_high


def test_a_change_while_a_stream_was_still_being_learned_is_of_no_sure_beginning() -> None:
    def slow(event: dict[str, Any], rng: random.Random) -> None:
        event["handle_ms"] = int(event["handle_ms"] * 1.6)

    late, _, _ = opened(slow, days=4)
    assert not late.began_earlier
    assert "or earlier" not in late.text
    early, _, began = opened(slow, days=2.7)
    assert early.began_earlier
    assert "or earlier" in early.text
    assert f"at least {early.since.n:,} labels" in early.text
    assert "或更早" in early.text_zh
    assert early.at > began


def test_a_person_who_takes_twice_as_long_is_named() -> None:
    def slow(event: dict[str, Any], rng: random.Random) -> None:
        if event["agent_id"] in ("a-3", "a-4"):
            event["handle_ms"] *= 4

    drift, events, _ = opened(slow)
    first, second = drift.causes[:2]
    assert {(each.by, each.member, each.effect) for each in (first, second)} == {
        ("agent", "a-3", "rate"),
        ("agent", "a-4", "rate"),
    }
    # An oracle of its own: the change of the mean logarithm is what both persons' rate effects make of it.
    since = [math.log(each["handle_ms"] / 1000) for each in events[-drift.since.n :]]
    before = [math.log(each["handle_ms"] / 1000) for each in events[-drift.since.n - drift.before.n : -drift.since.n]]
    change = sum(since) / len(since) - sum(before) / len(before)
    assert math.log(drift.since.value / drift.before.value) == pytest.approx(change, abs=0.002)
    assert first.points + second.points == pytest.approx(change, rel=0.35)
    # Of the seconds, the first person's part is the same share as of the logarithm.
    share = first.points / math.log(drift.since.value / drift.before.value)
    seconds = share * (drift.since.value - drift.before.value)
    assert f"agent {first.member} (changed in itself, {seconds:+.1f} s)" in drift.text


def test_more_of_the_longer_kind_is_mix() -> None:
    def slow(event: dict[str, Any], rng: random.Random) -> None:
        event["label"] = rng.choices(["plain", "long"], [3, 7])[0]

    drift, _, _ = opened(slow, '[detection]\nsignals = ["handle_time"]')
    assert drift.verdict == "mix"
    assert ("label", "long", "mix") in named(drift)


def test_everybody_slower_is_spread() -> None:
    def slow(event: dict[str, Any], rng: random.Random) -> None:
        event["handle_ms"] = int(event["handle_ms"] * 1.5)

    drift, _, _ = opened(slow)
    assert drift.verdict == "spread"
    assert drift.since.value / drift.before.value == pytest.approx(1.5, rel=0.1)
