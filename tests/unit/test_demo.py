"""The demo's parts: a policy that fits the simulated sites, and a change that begins before the board opens."""

import json
from pathlib import Path

import pytest

from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from streams.ops.compute import FileRecord
from streams.ops.demo import CHANGE_SECONDS, HISTORY_SECONDS, PARTITIONS, POINTS, DemoOptions, demo_policy
from streams.sources.scenarios import SCENARIOS
from streams.sources.simulate import Operation, Simulation
from streams.sources.simulation_run import SimulationOptions, run_simulation
from streams.sources.world import PLACES


def test_the_policy_names_every_simulated_site_with_its_vendor_and_zone() -> None:
    policy = Policy.parse(demo_policy())
    for name, vendor, zone, *_ in PLACES:
        assert (policy.vendor(name), policy.timezone(name)) == (vendor, zone)
    targets = [policy.resolve(name).accuracy for name, *_ in PLACES]
    assert targets[0] > targets[1] == 0.95


@pytest.mark.parametrize(("asked", "expected"), [(-600.0, -600.0), (30.0, 30.0), (None, 25.0)])
def test_a_change_comes_when_it_is_asked_for_from_the_live_parts_begin(
    tmp_path: Path, asked: float | None, expected: float
) -> None:
    out = tmp_path / "events.jsonl"
    run_simulation(
        SimulationOptions("site-dip", rate=1, seconds=100, history_seconds=900, sites=1, change_seconds=asked, out=out)
    )
    truth = json.loads((tmp_path / "events.jsonl.truth.json").read_text())
    (change,) = truth["changes"]
    assert change["at_ms"] - (truth["end_ms"] - 100_000) == expected * 1000


def test_every_scenario_says_in_a_few_words_what_it_does() -> None:
    assert all(0 < len(what) < 60 for what in SCENARIOS.values())


@pytest.mark.parametrize("hour", [0, 8, 16])
def test_the_dip_is_found_within_two_minutes_of_the_board_whatever_the_time_of_day(hour: int) -> None:
    live_ms = 1_764_028_800_000 + hour * 3_600_000
    operation = Operation(
        Simulation(
            live_ms - HISTORY_SECONDS * 1000,
            live_ms + 120_000,
            "site-dip",
            rate=DemoOptions().rate,
            change_at_ms=live_ms + CHANGE_SECONDS * 1000,
            points=POINTS,
        )
    )
    engine = PartitionEngine(0, Policy.parse(demo_policy()), partitions=PARTITIONS)
    lines = [FileRecord(number, sent.value) for number, sent in enumerate(operation)]
    for start in range(0, len(lines), 10_000):
        engine.apply(lines[start : start + 10_000])
    pages = [stream for stream, _ in engine.drifts() if stream.signal == "accuracy"]
    assert ("manila-1", "", "", "accuracy", "down") in pages
    assert {stream.site for stream in pages} == {"manila-1"}
