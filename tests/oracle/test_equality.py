"""Engine and oracle side by side on the same records: every series, every record, at many times t."""

import csv
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.policy import Policy
from streams.engine.batch import DeadLetter
from streams.engine.partition import PartitionEngine
from streams.sources.scenarios import SCENARIOS
from streams.sources.simulate import Operation, Simulation

from .compare import Record, batches, commit, differences, engine_figures
from .decoder import MAX_MS
from .heard import ERROR_TYPES
from .oracle import Oracle
from .traffic import DAY_MS, HOUR_MS, MINUTE_MS, START_MS, adversarial, shuffled_states

CROWD = Path(__file__).parents[1] / "data" / "crowd"

#: Low bars, so that many ratios appear; scopes at every level.
POLICY = Policy.parse(
    """
[defaults]
min_reviews = 5
headline_sources = ["qa", "audit", "consensus"]
[site.manila-1]
vendor = "acme"
timezone = "Asia/Manila"
accuracy_target = 0.9
min_reviews = 3
[site."上海-2"]
qa_accuracy_target = 0.9
[site."上海-2".project.counterfeit.market.US]
accuracy_target = 0.91
[project.spam.market.ID]
handle_seconds_target = 12
[utilization]
logged_in = ["productive", "available", "training", "meeting"]
"""
)

#: Logged-in time that leaves the productive out: shares of it still stay within 0 and 1.
NOT_WORKING = Policy.parse(
    """
[defaults]
min_reviews = 1
headline_sources = ["gold"]
[utilization]
logged_in = ["available", "meeting", "offline"]
"""
)


def agree(
    records: list[Record], policy: Policy, rng: random.Random, looks: int, most: int = 500
) -> tuple[PartitionEngine, Oracle]:
    """Feeds both in random batches and compares them at `looks` times, some on the way, some at the end."""
    engine, oracle = PartitionEngine(3, policy), Oracle(policy, 3)
    letters: list[DeadLetter] = []
    stops = sorted(rng.sample(range(len(records)), min(len(records), looks // 4)))
    for batch in batches(records, rng, most):
        engine.apply(batch)
        oracle.feed(batch)
        if stops and batch[-1].offset >= records[stops[0]].offset:
            while stops and batch[-1].offset >= records[stops[0]].offset:
                stops.pop(0)
            letters += commit(engine).dead_letters
            assert not differences(engine, oracle, oracle.clock)
            assert not differences(engine, oracle, oracle.clock + rng.randrange(2 * HOUR_MS))
            looks -= 2
    letters += commit(engine).dead_letters
    assert engine.applied == records[-1].offset
    assert engine.clock_ms == oracle.clock
    for _ in range(looks):
        ahead = rng.choice((0, MINUTE_MS - 1, HOUR_MS, DAY_MS, 8 * DAY_MS))
        t = oracle.clock + rng.choice((-rng.randrange(300_001), 0, rng.randrange(MINUTE_MS), rng.randrange(ahead + 1)))
        assert not differences(engine, oracle, t)
    accounted(records, oracle, letters)
    return engine, oracle


def accounted(records: list[Record], oracle: Oracle, letters: list[DeadLetter]) -> None:
    """Every record is an event, a duplicate, unknown or rejected, and what was rejected stands in a dead letter."""
    by_metric: Counter[str] = Counter()
    for (metric, _), count in oracle.totals.items():
        by_metric[metric] += count
    kinds = ("events_total", "duplicates_total", "unknown_events_total", "rejected_total")
    assert sum(by_metric[kind] for kind in kinds) == len(records)
    by_offset = {record.offset: record for record in records}
    assert [(letter.offset, letter.reason) for letter in letters] == oracle.rejected
    for letter in letters:
        assert (letter.key, letter.value) == by_offset[letter.offset][2:]
        assert letter.detail


@pytest.mark.slow
def test_adversarial_traffic_at_a_hundred_times() -> None:
    records = adversarial(seed=2, count=20_000, span_ms=3 * DAY_MS)
    _, oracle = agree(records, POLICY, random.Random(2), looks=100, most=2_000)
    # What the comparison must have met.
    met = {metric for (metric, _), count in oracle.totals.items() if count}
    assert {"duplicates_total", "unchecked_events_total", "late_events_total", "late_states_total"} <= met
    assert {"forgotten_states_total", "handle_capped_total", "revised_reviews_total", "unknown_events_total"} <= met
    assert "remarks_total" in met
    assert {reason for _, reason in oracle.rejected} == {"null", "encoding", "json", "schema", "future"}
    keys = {key for hour in oracle.by_hour.values() for key in hour}
    people = {key[2] for key in keys if key[:2] in (("agent_labels", "manila-1"), ("agent_reviews", "manila-1"))}
    assert len(people) > 20 * 64
    assert any(len(site.error_types["errors"]) == ERROR_TYPES for site in oracle.sites.values())


@pytest.mark.parametrize("seed", range(30))
def test_adversarial_traffic_of_every_density(seed: int) -> None:
    rng = random.Random(seed)
    span_ms = int(rng.choice((0.005, 0.1, 1, 3, 20)) * DAY_MS)
    records = adversarial(seed, rng.choice((50, 300, 1_500)), span_ms, stamped=seed % 4 > 0)
    policy = rng.choice((POLICY, NOT_WORKING, Policy()))
    agree(records, policy, rng, looks=12)


@pytest.mark.parametrize("seed", range(12))
def test_states_far_out_of_order(seed: int) -> None:
    rng = random.Random(seed)
    start_ms = rng.choice((0, 1, START_MS, MAX_MS - 40 * DAY_MS))
    records = shuffled_states(seed, rng.choice((30, 300)), start_ms, rng.choice((1_000, 10 * MINUTE_MS, 4 * HOUR_MS)))
    agree(records, (POLICY, NOT_WORKING, Policy())[seed % 3], rng, looks=12)


def test_one_busy_person_outgrows_16_and_32_bits() -> None:
    label = {"type": "label_submitted", "site_id": "s", "agent_id": "a", "project_id": "p", "task_id": "t"}
    events = [
        label | {"event_id": f"e{number}", "at": START_MS + number, "handle_ms": 1_800_000} for number in range(33_000)
    ]
    records = [Record(offset, None, None, json.dumps(event).encode()) for offset, event in enumerate(events)]
    engine, oracle = PartitionEngine(3, Policy()), Oracle(partition=3)
    oracle.feed(records)
    for start in (0, 20_000):
        engine.apply(records[start : start + 20_000])
    checkpoint = commit(engine)
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    restored = PartitionEngine.restore(3, Policy(), slots, checkpoint.manifest)
    for other in (engine, restored):
        assert not differences(other, oracle, oracle.clock)
    assert oracle.figures(oracle.clock)["labelwatch_agent_labels"]["s", "a", "agent", "1h"] == 33_000


def test_numbered_events_are_all_different() -> None:
    profile = {"type": "agent_profiled", "site_id": "s", "agent_id": "a"}
    engine = PartitionEngine(3, Policy())
    events = (profile | {"event_id": str(number), "at": START_MS + number} for number in range(60_000))
    engine.apply([Record(offset, None, None, json.dumps(event).encode()) for offset, event in enumerate(events)])
    commit(engine)
    assert dict(engine.figures(engine.clock_ms).samples["labelwatch_duplicates_total"]) == {
        ("labeling.events.v1", "3"): 0
    }


def test_figures_may_be_read_by_another_thread_at_any_moment() -> None:
    records = adversarial(3, 3_000, DAY_MS)
    engine, oracle = PartitionEngine(3, POLICY), Oracle(POLICY, 3)
    done = threading.Event()

    def look() -> int:
        looks = 0
        while not done.is_set() or not looks:
            engine_figures(engine, engine.clock_ms)
            looks += 1
        return looks

    with ThreadPoolExecutor(1) as reader:
        looking = reader.submit(look)
        try:
            for batch in batches(records, random.Random(3), 60):
                engine.apply(batch)
        finally:
            done.set()
        assert looking.result() > 0
    commit(engine)
    oracle.feed(records)
    assert not differences(engine, oracle, oracle.clock)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_simulated_operation(scenario: str) -> None:
    end_ms = START_MS + 5 * HOUR_MS
    sent = Operation(Simulation(START_MS, end_ms, scenario, seed=5, rate=0.6, sites=3))
    records = [Record(offset, each.due_ms, None, each.value) for offset, each in enumerate(sent)]
    assert len(records) > 3_000
    agree(records, Policy(), random.Random(5), looks=12, most=3_000)


def crowd_events(rows: list[dict[str, str]]) -> Iterator[dict[str, object]]:
    """Real labels: a clock by worker from the seconds, gold as a review right after the label."""
    clocks: Counter[str] = Counter()
    for number, row in enumerate(rows):
        seconds = float(row["seconds"] or 30)
        clocks[row["worker"]] += int(min(seconds, 7_200) * 1000)
        at = START_MS + clocks[row["worker"]]
        common = {"site_id": "crowd", "agent_id": row["worker"], "project_id": "sentiment", "task_id": row["item"]}
        yield common | {
            "type": "label_submitted", "event_id": f"l{number}", "at": at, "label": row["label"],
            "handle_ms": int(seconds * 1000),
        }  # fmt: skip
        if row["gold"]:
            yield common | {
                "type": "label_reviewed", "event_id": f"r{number}", "at": at + 1_000, "labeled_at": at,
                "correct": row["label"] == row["gold"], "source": "gold", "purpose": "production",
                "label": row["label"], "expected": row["gold"],
            }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reviews", "accuracy"),
    [("sentiment_amt", 10_000, 0.89), ("zencrowd_us", 12_190, 0.77), ("hitspam", 3_822, 0.67)],
)
def test_real_crowd_labels(name: str, reviews: int, accuracy: float) -> None:
    path = CROWD / f"{name}.csv"
    with path.open(newline="") as file:
        events = sorted(crowd_events(list(csv.DictReader(file))), key=lambda event: int(str(event["at"])))
    records = [Record(offset, None, None, json.dumps(event).encode()) for offset, event in enumerate(events)]
    _, oracle = agree(records, Policy(), random.Random(1), looks=12, most=5_000)
    totals = oracle.figures(oracle.clock)
    scope = ("crowd", "sentiment", "", "agent", "gold")
    assert totals["labelwatch_reviews_total"][scope] == reviews
    assert totals["labelwatch_correct_reviews_total"][scope] / reviews == pytest.approx(accuracy, abs=0.01)
