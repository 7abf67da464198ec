"""The simulated operation, recounted in plain Python: what was injected is there, and nothing else is odd."""

import io
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from schemas.events import AnyEvent
from streams.ops.simulate import show_simulation
from streams.sources.errors import SourceError
from streams.sources.scenarios import SCENARIOS
from streams.sources.simulate import Operation, Simulation
from streams.sources.simulation_run import SimulationOptions, run_simulation

END_MS = 1_763_800_000_000
HOUR_MS = 3_600_000
_decode = msgspec.json.Decoder(AnyEvent).decode


def operation(scenario: str, hours: float = 2, rate: float = 20, seed: int = 1) -> Operation:
    return Operation(Simulation(END_MS - int(hours * HOUR_MS), END_MS, scenario, seed=seed, rate=rate))


def events(scenario: str, **how: Any) -> tuple[Operation, list[dict[str, Any]]]:
    run = operation(scenario, **how)
    return run, [json.loads(sent.value) for sent in run]


def error_share(reviews: list[dict[str, Any]]) -> float:
    return sum(not review["correct"] for review in reviews) / len(reviews)


def split(
    run: Operation, found: list[dict[str, Any]], **wanted: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Agents' reviews of labels made before and after the change."""
    reviews = [
        event
        for event in found
        if event["type"] == "label_reviewed"
        and event.get("role", "agent") == "agent"
        and all(event.get(key) == value for key, value in wanted.items())
    ]
    at = run.truth.changes[0]["at_ms"]
    return [r for r in reviews if r["labeled_at"] < at], [r for r in reviews if r["labeled_at"] >= at]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(scenario: str) -> None:
    first, again, other = (list(operation(scenario, 0.2, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each != "late-and-dirty"])
def test_every_event_is_a_good_one_and_they_come_in_order(scenario: str) -> None:
    sent = list(operation(scenario, 0.5))
    ids = {_decode(each.value).event_id for each in sent}
    assert len(ids) == len(sent)
    assert [each.due_ms for each in sent] == sorted(each.due_ms for each in sent)
    assert all(json.loads(each.value)["at"] == each.due_ms for each in sent)


def test_a_steady_operation_is_believable() -> None:
    _, found = events("steady", hours=2)
    kinds = Counter(event["type"] for event in found)
    assert 0.10 < kinds["label_reviewed"] / kinds["label_submitted"] < 0.35
    by_site = defaultdict(list)
    for event in found:
        if event["type"] == "label_reviewed" and event.get("role", "agent") == "agent":
            by_site[event["site_id"]].append(event)
    assert len(by_site) == 6
    assert all(0.90 < 1 - error_share(reviews) < 0.98 for reviews in by_site.values())
    seconds = [event["handle_ms"] / 1000 for event in found if "handle_ms" in event]
    assert 20 < sum(seconds) / len(seconds) < 60
    assert all(event["handle_ms"] >= 1000 for event in found if "handle_ms" in event)


def test_people_label_only_between_their_states_and_every_site_works_at_any_hour() -> None:
    _, found = events("steady", hours=9, rate=6)
    state: dict[str, str] = {}
    wrong = labels = 0
    for event in found:
        if event["type"] == "state_changed":
            # Coming back to work may be said twice, never a pause within a pause.
            assert state.get(event["agent_id"]) != event["state"] or event["state"] == "productive"
            state[event["agent_id"]] = event["state"]
        elif event["type"] == "label_submitted":
            labels += 1
            # A task that was begun may be handed in while the break begins.
            wrong += state.get(event["agent_id"]) == "offline"
    assert wrong / labels < 0.02
    hours = {(event["site_id"], event["at"] // HOUR_MS) for event in found if event["type"] == "label_submitted"}
    assert all((site, hour) in hours for site, _ in hours for _, hour in hours)


def test_a_site_dip_is_of_the_size_that_was_injected_and_at_that_site_only() -> None:
    run, found = events("site-dip", hours=4, rate=20)
    site = run.truth.changes[0]["site"]
    before, after = split(run, found, site_id=site)
    rise = error_share(after) - error_share(before)
    # Reviewers find about 95% of the errors.
    assert rise == pytest.approx(0.95 * run.truth.changes[0]["error_points"], abs=0.035)
    for other in {event["site_id"] for event in found} - {site}:
        before, after = split(run, found, site_id=other)
        assert abs(error_share(after) - error_share(before)) < 0.035


@pytest.mark.slow
def test_one_agent_gets_worse_alone() -> None:
    run, found = events("one-agent", hours=8, rate=4)
    agent = run.truth.changes[0]["agent"]
    before, after = split(run, found, agent_id=agent)
    assert error_share(after) > error_share(before) + 0.05
    rest_before, rest_after = split(run, [event for event in found if event.get("agent_id") != agent])
    assert abs(error_share(rest_after) - error_share(rest_before)) < 0.02


@pytest.mark.slow
def test_a_new_sop_costs_accuracy_in_its_project_and_is_named() -> None:
    run, found = events("sop-change", hours=4, rate=15)
    change = run.truth.changes[0]
    assert {e["sop_version"] for e in found if e["type"] == "sop_published"} == {"v4"}
    before, after = split(run, found, project_id=change["project"])
    assert error_share(after) - error_share(before) == pytest.approx(0.95 * change["error_points"], abs=0.03)
    assert {r["sop_version"] for r in before} == {"v3"}
    assert {r["sop_version"] for r in after} == {"v4"}


@pytest.mark.slow
def test_harder_work_lowers_accuracy_without_anyone_doing_worse() -> None:
    run, found = events("mix-shift", hours=5, rate=15)
    site = run.truth.changes[0]["site"]
    before, after = split(run, found, site_id=site, sampling="random")
    assert error_share(after) > error_share(before) + 0.015
    for stratum in ("easy", "hard"):
        b, a = split(run, found, site_id=site, sampling="random", stratum=stratum)
        assert abs(error_share(a) - error_share(b)) < 0.045


def test_work_slows_down_by_half_at_one_site() -> None:
    run, found = events("handle-time", hours=2, rate=15)
    change = run.truth.changes[0]
    times: dict[bool, list[int]] = {False: [], True: []}
    for event in found:
        if event.get("handle_ms") and event["site_id"] == change["site"]:
            begun = event["at"] - event["handle_ms"]
            times[begun >= change["at_ms"]].append(event["handle_ms"])
    mean = {after: sum(values) / len(values) for after, values in times.items()}
    assert mean[True] / mean[False] == pytest.approx(change["handle_factor"], rel=0.06)


@pytest.mark.slow
def test_lenient_reviewers_find_fewer_errors() -> None:
    run, found = events("lenient-qa", hours=4, rate=15)
    site, at = run.truth.changes[0]["site"], run.truth.changes[0]["at_ms"]
    reviews = [e for e in found if e["type"] == "label_reviewed" and e["site_id"] == site and e.get("reviewer_id")]
    before, after = ([r for r in reviews if (r["at"] >= at) == late and "role" not in r] for late in (False, True))
    assert error_share(after) < 0.75 * error_share(before)


@pytest.mark.slow
def test_a_slow_drift_ends_worse_than_it_begins() -> None:
    run, found = events("slow-drift", hours=5, rate=15)
    _, after = split(run, found, site_id=run.truth.changes[0]["site"])
    after.sort(key=lambda review: review["labeled_at"])
    third = len(after) // 3
    assert error_share(after[-third:]) > error_share(after[:third]) + 0.02


def test_an_outage_is_silent() -> None:
    run, found = events("outage")
    change = run.truth.changes[0]
    assert not [e for e in found if e["site_id"] == change["site"] and e["at"] >= change["at_ms"]]
    assert [e for e in found if e["site_id"] == change["site"]]


def test_a_dirty_operation_has_what_its_truth_says() -> None:
    run = operation("late-and-dirty", hours=3, rate=10)
    sent = list(run)
    good = [json.loads(each.value) for each in sent if _is_good(each.value)]
    assert len(sent) - len(good) == run.truth.sent["broken"]
    repeated = Counter(event["event_id"] for event in good)
    # The last ones would arrive after the end.
    assert sum(n - 1 for n in repeated.values()) == pytest.approx(run.truth.sent["duplicate"], rel=0.1)
    late = sum(each.due_ms > json.loads(each.value)["at"] + 6 * 60_000 for each in sent if _is_good(each.value))
    assert 0.4 * run.truth.sent["late"] < late <= run.truth.sent["late"]
    assert Counter(event["type"] for event in good)["review_revised"] > 0


def _is_good(value: bytes) -> bool:
    try:
        _decode(value)
    except (ValueError, UnicodeDecodeError):
        return False
    return True


def test_a_file_has_its_truth_beside_it_and_compressed_time_ends_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = END_MS / 1000
    monkeypatch.setattr("streams.sources.simulation_run.time.time", lambda: now)
    out = tmp_path / "events.jsonl"
    summary = run_simulation(SimulationOptions("site-dip", rate=600, seconds=60, speed=60, out=out))
    times = [json.loads(line)["at"] for line in out.read_bytes().splitlines()]
    assert len(times) == summary.records
    assert max(times) < now * 1000
    assert min(times) >= (now - 3600) * 1000
    truth = json.loads((tmp_path / "events.jsonl.truth.json").read_text())
    assert truth["scenario"] == "site-dip"
    assert truth["changes"][0]["site"] == summary.truth.changes[0]["site"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (SimulationOptions("no-such"), "use steady, site-dip"),
        (SimulationOptions(speed=0.5), "--speed"),
        (SimulationOptions(rate=0), "above 0"),
        (SimulationOptions(), "--bootstrap or --out"),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_sentence(options: SimulationOptions, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        run_simulation(options)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 30.0, "seconds": 60.0, "speed": 60.0},
        {"rate": 2.0, "seconds": 60.0, "speed": 300.0, "sites": 9},
        {"rate": 20.0, "seconds": 30.0, "history_seconds": 300.0, "sites": 3},
    ],
)
def test_a_runs_size_is_known_before_and_its_progress_goes_from_begin_to_end(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So often that the last one is near the end, however the work of a run is spread over its time.
    monkeypatch.setattr("streams.sources.simulation_run._PROGRESS_RECORDS", 20)
    wanted = SimulationOptions(out=tmp_path / "events.jsonl", **options)
    seen: list[tuple[int, float]] = []
    made = run_simulation(wanted, progress=lambda records, share: seen.append((records, share))).records
    assert 0.6 * made < wanted.expected_records() < 1.6 * made
    assert seen == sorted(seen)
    assert seen[0][0] == 0
    assert 0 <= seen[0][1] < 0.1
    assert 0.5 < seen[-1][1] <= 1


def test_a_long_run_says_how_far_it_is_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ops.simulate._LINE_SECONDS", 0.0)
    said = io.StringIO()
    options = SimulationOptions(rate=30, seconds=60, speed=60, out=tmp_path / "events.jsonl")
    summary = show_simulation(options, None, Console(file=said, width=80))
    lines = said.getvalue().splitlines()
    assert lines[1].startswith("1,000 records, ")
    assert len(lines) == -(-summary.records // 1_000)
    with_bar = show_simulation(options, None, Console(file=io.StringIO(), force_terminal=True))
    assert with_bar.records > 0


def test_a_backlog_grows_at_one_site_and_its_oldest_task_waits_ever_longer() -> None:
    run, found = events("backlog", hours=6, rate=10)
    change = run.truth.changes[0]
    site, at = change["site"], change["at_ms"]
    waiting: dict[tuple[bool, int], int] = defaultdict(int)
    ages: dict[tuple[bool, int], int] = defaultdict(int)
    for event in found:
        if event["type"] == "queue_measured":
            key = (event["site_id"] == site, event["at"])
            waiting[key] += event["waiting"]
            ages[key] = max(ages[key], event["at"] - event["oldest_at"])
    times = sorted({at_ms for _, at_ms in waiting})
    labels = sum(
        event["type"] == "label_submitted" and event["site_id"] == site and at <= event["at"] <= times[-1]
        for event in found
    )
    before = max(at_ms for at_ms in times if at_ms <= at)
    grown = waiting[True, times[-1]] - waiting[True, before]
    assert grown == pytest.approx(labels * (change["arrivals_factor"] - 1), rel=0.1)
    assert ages[True, times[-1]] > 60 * 60_000 > max(age for (there, _), age in ages.items() if not there) / 2
    steady = [tasks for (there, at_ms), tasks in waiting.items() if not there and at_ms > times[2]]
    assert max(steady) < 3 * min(steady)


def test_a_measured_queue_adds_up() -> None:
    """What has arrived is what was taken, and what waits; and queues change nothing else of an operation."""
    run, found = events("steady", hours=3, rate=10)
    taken: Counter[tuple[str, str, str]] = Counter()
    for event in found:
        key = (event["site_id"], event.get("project_id", ""), event.get("queue", ""))
        if event["type"] == "label_submitted":
            taken[key] += 1
        elif event["type"] == "queue_measured":
            assert event["arrived_total"] == taken[key] + event["waiting"], key
            assert ("oldest_at" in event) == (event["waiting"] > 0)
    assert run.truth.sent["queue_measured"] == sum(event["type"] == "queue_measured" for event in found) > 100
