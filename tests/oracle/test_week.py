"""A week of a site of 2,000 agents: exactly the oracle's figures. Some minutes, so for .ci/run only."""

import heapq
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.policy import Policy
from streams.engine.partition import PartitionEngine

from .compare import Record, commit, differences
from .oracle import Oracle
from .traffic import DAY_MS, HOUR_MS, MINUTE_MS, START_MS

AGENTS = 2_000
MARKETS = ("US", "ID", "BR", "")
PROJECTS = ("counterfeit", "spam", "hate")


def shift(rng: random.Random, number: int, start: int) -> Iterator[tuple[int, dict[str, object]]]:
    """A person's day as (arrival, event): states, labels, reviews with a delay, revisions, a few late and twice."""
    agent, project = f"a-{number}", PROJECTS[number % 3]
    skill, seconds = 0.85 + 0.14 * rng.random(), 20 + 60 * rng.random()
    now, end = start + rng.randrange(20 * MINUTE_MS), start + 8 * HOUR_MS + rng.randrange(10 * MINUTE_MS)

    def event(kind: str, at: int, **more: Any) -> tuple[int, dict[str, object]]:
        event_id = f"{rng.getrandbits(64):016x}"
        return at, {"type": kind, "event_id": event_id, "at": at, "site_id": "manila-1", "agent_id": agent, **more}

    yield event("agent_profiled", now - 1, role="qa" if number % 20 == 0 else "agent")
    while now < end:
        yield event("state_changed", now, state="productive", project_id=project)
        pause = now + rng.randint(40, 110) * MINUTE_MS
        while now < min(pause, end):
            now += int(rng.expovariate(1 / 600_000))
            market = rng.choice(MARKETS)
            work = {"project_id": project, "task_id": f"t{rng.getrandbits(30)}"} | (
                {"market": market} if market else {}
            )
            handle_ms = int(seconds * 1000 * rng.lognormvariate(0, 0.5))
            skipped = rng.random() < 0.03
            arrival, label = event("label_submitted", now, handle_ms=handle_ms, skipped=skipped, **work)
            late = rng.random()
            arrival += (
                0 if late < 0.9 else rng.randrange(10 * MINUTE_MS) if late < 0.99 else rng.randrange(30 * HOUR_MS)
            )
            yield arrival, label
            if late > 0.98:
                yield arrival + rng.randrange(9 * MINUTE_MS), label
            if not skipped and rng.random() < 0.25:
                at = now + int(rng.expovariate(1 / 1_800_000))
                review = {"correct": rng.random() < skill, "sampling": rng.choice(("random", "targeted", "full"))}
                said = work | {"labeled_at": now, "reviewer_id": f"a-{rng.randrange(AGENTS // 20) * 20}"}
                yield event("label_reviewed", at, review_ms=handle_ms, **review, **said)
                if not review["correct"] and rng.random() < 0.1:
                    revision = {"reviewed_at": at, "old": review, "new": review | {"correct": True}, "cause": "appeal"}
                    later = at + rng.randrange(3 * DAY_MS)
                    yield event("review_revised", later, review_id="r", **work, **revision)
        yield event("state_changed", now, state=rng.choice(("break", "meeting", "available", "training")))
        now += rng.randint(5, 30) * MINUTE_MS
    # Some forget to sign off.
    if rng.random() < 0.97:
        yield event("state_changed", now, state="offline")


def week(seed: int) -> Iterator[list[Record]]:
    """Records in order of arrival, an hour at a time."""
    rng = random.Random(seed)
    waiting: list[tuple[int, int, bytes]] = []
    offset = count = 0
    for hour in range(7 * 24 + 12):
        start = START_MS + hour * HOUR_MS
        if hour < 7 * 24:
            # Three shifts; a person has the same one every day, and two days off.
            for number in range(AGENTS):
                day, of_day = divmod(hour, 24)
                if of_day == (number % 3) * 8 and (day + number) % 7 < 5:
                    for arrival, event in shift(rng, number, start):
                        count += 1
                        heapq.heappush(waiting, (arrival, count, json.dumps(event).encode()))
        records = []
        while waiting and waiting[0][0] < start + HOUR_MS:
            arrival, _, value = heapq.heappop(waiting)
            records.append(Record(offset, arrival + 50, b"manila-1", value))
            offset += 1
        yield records


@pytest.mark.slow
def test_a_week_of_a_site_of_2000_agents() -> None:
    rng, policy = random.Random(7), Policy()
    engine, oracle = PartitionEngine(3, policy), Oracle(policy, 3)
    slots: dict[bytes, bytes | None] = {}
    for hour, records in enumerate(week(7)):
        for start in range(0, len(records), 3_000):
            engine.apply(records[start : start + 3_000])
        oracle.feed(records)
        checkpoint = commit(engine)
        slots |= dict(checkpoint.slots)
        if hour % 12 == 11:
            assert not differences(engine, oracle, oracle.clock)
            oracle.drop_minutes_before(oracle.clock - HOUR_MS)
        if hour % 48 == 40:
            kept = {key: value for key, value in slots.items() if value is not None}
            engine = PartitionEngine.restore(3, policy, kept, checkpoint.manifest)
    assert oracle.records > 500_000
    assert len(oracle.sites["manila-1"].newest_state) == AGENTS
    for _ in range(10):
        assert not differences(engine, oracle, oracle.clock + rng.randrange(7 * DAY_MS))
