"""Queues: held to figures computed on paper, to the oracle under any cut and restart, and at the limits."""

import json
import random
from typing import Any

import pytest

from schemas.metrics import WINDOWS
from schemas.policy import Policy
from streams.engine.limits import QUEUES_MAX
from streams.engine.partition import PartitionEngine
from streams.engine.parts import queues

from .compare import Record, commit, differences, engine_figures
from .heard import Labels
from .oracle import Oracle
from .test_splits import everything, fed

#: A Monday, 08:00:00 UTC.
T = 1_763_971_200_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
Q: Labels = ("s", "p", "", "q")


def measured(at: int, offset: int = 0, **fields: Any) -> Record:
    event = {"type": "queue_measured", "event_id": f"e{offset}", "at": at, "site_id": "s", "project_id": "p"}
    event |= {"queue": "q", "waiting": 5, **fields}
    return Record(offset, None, None, json.dumps(event).encode())


def log(*events: dict[str, Any]) -> list[Record]:
    return [measured(offset=offset, **event) for offset, event in enumerate(events)]


def shown(records: list[Record], t: int, policy: str = "") -> dict[str, dict[Labels, float]]:
    """What the engine shows of queues, and of implausible times; the oracle says the same."""
    engine, oracle = PartitionEngine(0, Policy.parse(policy)), Oracle(Policy.parse(policy))
    engine.apply(records)
    oracle.feed(records)
    commit(engine)
    assert not differences(engine, oracle, t)
    return {
        name.removeprefix("labelwatch_queue_"): series
        for name, series in engine_figures(engine, t).items()
        if "queue_" in name or "implausible" in name
    }


def test_the_newest_measurement_holds_and_arrivals_are_the_rises_of_the_total() -> None:
    policy = "[site.s]\nturnaround_target_seconds = 7200\n[site.s.project.p.market.US]\nturnaround_target_seconds = 60"
    found = shown(
        log(
            {"at": T, "waiting": 9, "arrived_total": 1_000},
            {"at": T + 10 * MINUTE, "waiting": 12, "arrived_total": 1_030, "oldest_at": T - HOUR},
            {"at": T + 2 * HOUR, "waiting": 7, "arrived_total": 1_034, "oldest_at": T},
            {"at": T + 2 * HOUR, "waiting": 3, "market": "US"},
        ),
        T + 2 * HOUR,
        policy,
    )
    us = ("s", "p", "US", "q")
    assert found["waiting_tasks"] == {Q: 7, us: 3}
    assert found["oldest_task_timestamp_seconds"] == {Q: T / 1000}
    assert found["measured_timestamp_seconds"] == {Q: T / 1000 + 7200, us: T / 1000 + 7200}
    assert found["turnaround_target_seconds"] == {Q: 7200, us: 60}
    assert found["arrived_tasks_window"] == {(*Q, "1h"): 4, (*Q, "24h"): 34, (*Q, "7d"): 34}


@pytest.mark.parametrize(
    ("later", "waiting", "arrived"),
    [
        ({"at": T - MINUTE, "waiting": 99, "arrived_total": 5_000}, 5, 20),  # an older one, after a newer one
        ({"at": T, "waiting": 6, "arrived_total": 130}, 6, 30),  # twice: the later record holds
        ({"at": T, "waiting": 6, "arrived_total": 3}, 6, 20),  # the count began anew
        ({"at": T + 1, "waiting": 6}, 6, 20),  # without a count
        ({"at": T + 1, "waiting": 0, "oldest_at": 0, "arrived_total": 120}, 0, 20),  # nothing waits
        ({"at": T + 1, "waiting": 2**80, "arrived_total": 2**80}, 10**12, 10**12 - 100),  # huge
        ({"at": T + 1, "waiting": -1, "arrived_total": 130}, 5, 20),  # refused
        ({"at": T + 1, "waiting": 6, "arrived_total": -1}, 5, 20),  # refused
    ],
)
def test_what_a_producer_may_send_besides(later: dict[str, Any], waiting: int, arrived: int) -> None:
    before = ({"at": T - HOUR // 2, "arrived_total": 100}, {"at": T, "waiting": 5, "arrived_total": 120})
    found = shown(log(*before, later), T + MINUTE)
    assert found["waiting_tasks"] == {Q: waiting}
    assert {found["arrived_tasks_window"][*Q, window] for window in WINDOWS} == {arrived}
    assert "oldest_task_timestamp_seconds" not in found
    assert "labelwatch_implausible_times_total" not in found


def test_a_repeated_record_counts_once() -> None:
    first, second = log({"at": T, "arrived_total": 1}, {"at": T + 1, "arrived_total": 4})
    again = [first, second, *(each._replace(offset=each.offset + 2) for each in (second, first))]
    assert shown(again, T + MINUTE)["arrived_tasks_window"][*Q, "1h"] == 3


@pytest.mark.parametrize(
    ("oldest_at", "since", "reason"),
    [
        (T - 400 * DAY, T - 400 * DAY, None),  # a task may wait for a year: that is what the figure is for
        (T + 300_000, T, None),
        (T + 300_001, None, "ahead"),
        (T // 1000, None, "seconds"),
        (0, None, "zero"),
    ],
)
def test_a_time_that_cannot_be_meant_is_left_out_and_counted(
    oldest_at: int, since: int | None, reason: str | None
) -> None:
    found = shown(log({"at": T, "waiting": 1, "oldest_at": oldest_at}), T)
    assert found["waiting_tasks"] == {Q: 1}
    assert found.get("oldest_task_timestamp_seconds") == (None if since is None else {Q: since / 1000})
    counted = {("s", "oldest_at", reason): 1} if reason else None
    assert found.get("labelwatch_implausible_times_total") == counted


def test_a_queue_that_nobody_measures_has_no_figures_after_a_day() -> None:
    records = log({"at": T, "arrived_total": 1}, {"at": T + 1, "arrived_total": 9, "oldest_at": T})
    assert len(shown(records, T + DAY)) == 5
    assert shown(records, T + 1 + DAY) == {}


def test_a_removed_site_has_none() -> None:
    engine = PartitionEngine(0, Policy())
    engine.apply(log({"at": T}))
    checkpoint = engine.checkpoint()
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    again = PartitionEngine.restore(0, Policy.parse("[limits]\nremoved_sites = ['s']"), slots, checkpoint.manifest)
    assert not [name for name, series in engine_figures(again, T).items() if "queue" in name and series]


def random_log(seed: int) -> list[Record]:
    """Measurements of a few queues, many out of order, repeated, or odd."""
    rng = random.Random(seed)
    records: list[Record] = []
    for offset in range(400):
        if records and rng.random() < 0.1:
            records.append(rng.choice(records)._replace(offset=offset))
            continue
        at = T + offset * 3 * MINUTE - rng.choice((0, 0, 0, MINUTE, 40 * MINUTE, 5 * HOUR))
        fields: dict[str, Any] = {"waiting": rng.choice((0, 1, 500, 2**65)), "site_id": rng.choice("ab")}
        fields |= {"queue": rng.choice("qrs"), "project_id": rng.choice(("p", "other"))}
        if rng.random() < 0.8:
            fields["arrived_total"] = rng.choice((offset * 10, offset * 10, rng.randrange(4_000), 2**65))
        if rng.random() < 0.8:
            fields["oldest_at"] = rng.choice((at, at - DAY, at + 300_000, at + 300_001, at // 1000, 0))
        if rng.random() < 0.3:
            fields["market"] = rng.choice(("", "US")) or None
        records.append(measured(at, offset, **fields))
    return records


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_any_restart_and_repeats_give_what_a_batch_computation_gives(seed: int) -> None:
    records, rng = random_log(seed), random.Random(seed)
    whole = everything(fed(records, [len(records)], Policy()))
    assert everything(fed(records, [1, 7, 60], Policy())) == whole
    engine, oracle, start = PartitionEngine(3, Policy()), Oracle(Policy(), 3), 0
    slots: dict[bytes, bytes] = {}
    while start < len(records):
        stop = start + rng.randrange(1, 60)
        engine.apply(records[start:stop])
        oracle.feed(records[start:stop])
        checkpoint = commit(engine)
        slots.update({key: value for key, value in checkpoint.slots if value is not None})
        for key in [key for key, value in checkpoint.slots if value is None]:
            slots.pop(key, None)
        # Half of the next records were read already when the worker died, and are read again.
        engine.apply(records[stop : stop + 20])
        engine = PartitionEngine.restore(3, Policy(), slots, checkpoint.manifest)
        assert not differences(engine, oracle, oracle.clock)
        start = stop
    assert engine_figures(engine, engine.clock_ms) == whole["figures"]


def test_queues_beyond_the_limit_are_added_up_by_the_newest_of_each() -> None:
    policy = Policy()
    names = [f"q{number}" for number in range(QUEUES_MAX + 3)]
    events = [{"at": T, "queue": name, "arrived_total": 10, "waiting": 1} for name in names]
    events += [
        {"at": T + MINUTE, "queue": name, "arrived_total": 14, "waiting": number, "oldest_at": T - number}
        for number, name in enumerate(names)
    ]
    records = log(*events)
    engine = fed(records, [50, 3], policy)
    assert everything(fed(records, [len(records)], policy)) == everything(engine)

    def beyond(engine: PartitionEngine) -> tuple[int, dict[str, float]]:
        found = engine_figures(engine, T + MINUTE)
        waiting = found["labelwatch_queue_waiting_tasks"]
        assert sum(waiting.values()) == sum(range(len(names)))
        other = ("s", "p", "", "other")
        values = {
            name.removeprefix("labelwatch_queue_"): value
            for name, series in found.items()
            for labels, value in series.items()
            if labels[:4] == other and labels[4:] in ((), ("1h",))
        }
        return len(waiting), values

    last = QUEUES_MAX + 2
    expected = {
        "waiting_tasks": sum(range(QUEUES_MAX, last + 1)),
        "oldest_task_timestamp_seconds": (T - last) / 1000,
        "measured_timestamp_seconds": T / 1000 + 60,
        "turnaround_target_seconds": 86_400,
        "arrived_tasks_window": 3 * 4,
    }
    assert beyond(engine) == (QUEUES_MAX + 1, expected)
    again = PartitionEngine(3, policy)
    again.apply(records)
    checkpoint = again.checkpoint()
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    restored = PartitionEngine.restore(3, policy, slots, checkpoint.manifest)
    assert restored.limits()["series"].used == again.limits()["series"].used
    restored.apply([measured(T + MINUTE, len(records), queue="new", waiting=0)])
    assert beyond(restored)[0] == QUEUES_MAX + 1


def test_queues_that_nobody_can_remember_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ROWS_MAX", 2)
    engine = PartitionEngine(3, Policy())
    engine.apply(log(*({"at": T, "queue": name} for name in "abcdd")))
    commit(engine)
    found = engine_figures(engine, T)
    assert len(found["labelwatch_queue_waiting_tasks"]) == 2
    assert found["labelwatch_over_limit_events_total"]["series", "labeling.events.v1", "3"] == 3
