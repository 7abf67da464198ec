"""Presence estimated from gaps between labels, beside a count minute by minute that shares no code with it."""

import csv
import json
import random
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.console import Run

MS = 1_764_000_000_000
SECOND = 1_000
HEADER = ("who", "item", "at", "took", "label")
MAP = "agent_id=who,task_id=item,at=at,label=label,handle_s=took"
PLACE = ("--set", "site_id=lima-2", "--set", "project_id=spam", "--time-format", "epoch_ms", "--plain")


def written(folder: Path, rows: list[tuple[str, int, int]]) -> Path:
    """A sheet of labels: person, second at which it was handed in, seconds that it took; in any order."""
    path = folder / "labels.csv"
    with path.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(HEADER)
        for number, (who, at, took) in enumerate(rows):
            writer.writerow((who, f"t{number}", MS + at * SECOND, took, "x"))
    return path


def counted(rows: list[tuple[str, int, int]], gap_seconds: int) -> dict[str, int]:
    """Seconds by state, of a picture in which each second of each person is painted."""
    found: dict[str, int] = defaultdict(int)
    for who in {row[0] for row in rows}:
        mine = sorted((at, took) for name, at, took in rows if name == who)
        busy: set[int] = set()
        for at, took in mine:
            busy |= set(range(at - min(took, 1_800), at))
        # What a label took does not reach behind the label before it, which is busy or a gap of its own.
        at_of = [at for at, _ in mine]
        painted = set()
        for place, (at, took) in enumerate(mine):
            before = at_of[place - 1] if place else at - 10**6
            painted |= {second for second in range(at - min(took, 1_800), at) if second >= before}
        found["productive"] += len(painted)
        free = [second for second in range(min(painted), at_of[-1]) if second not in painted]
        runs: list[list[int]] = []
        for second in free:
            if runs and runs[-1][-1] == second - 1:
                runs[-1].append(second)
            else:
                runs.append([second])
        found["available"] += sum(len(run) for run in runs if len(run) <= gap_seconds)
    return dict(found)


@pytest.mark.parametrize("seed", range(3))
def test_seconds_of_states_are_those_of_a_picture_second_by_second(run: Run, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = []
    for who in ("a", "b", "c"):
        at = 4_000
        for _ in range(40):
            at += rng.choice((5, 60, 299, 300, 301, 900))
            rows.append((who, at, rng.choice((1, 30, 200, 2_500))))
    rng.shuffle(rows)
    out = tmp_path / "events.jsonl"
    done = run("import", written(tmp_path, rows), "--map", MAP, *PLACE, "--presence-gap-minutes", 5, "--out", out)
    assert (done.code, done.err) == (0, "")
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    states = [event for event in events if event["type"] == "state_changed"]
    assert all(event["estimated"] is True for event in states)
    figures = json.loads(run("compute", out, "--json").out)
    spent = {
        each["state"]: each["value"]
        for each in figures["labelwatch_state_seconds_window"]
        if each["window"] == "7d" and each["state"] != "offline"
    }
    wanted = counted(rows, 300)
    assert spent == wanted
    (utilization,) = (e["value"] for e in figures["labelwatch_site_utilization_ratio"] if e["window"] == "7d")
    assert utilization == pytest.approx(wanted["productive"] / sum(wanted.values()), rel=1e-12)
    assert [each["site"] for each in figures["labelwatch_site_presence_estimated"]] == ["lima-2"]


def test_each_figure_that_rests_on_it_says_so(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, [("a", 60 * n, 30) for n in range(100)])
    dry = run("import", path, "--map", MAP, *PLACE, "--presence-gap-minutes", 15)
    assert "utilization: estimated, since nobody reported states" in dry.out
    assert "15 minutes apart" in dry.out
    out = tmp_path / "events.jsonl"
    assert run("import", path, "--map", MAP, *PLACE, "--presence-gap-minutes", 15, "--out", out).code == 0
    table = " ".join(run("compute", out).out.split())
    assert "Utilization and labels/h of lima-2 are estimates" in table
    assert re.search(r"labels/h ~[\d.]+ .*utilized ~\d+%", table)
    plain = tmp_path / "plain.jsonl"
    assert run("import", path, "--map", MAP, *PLACE, "--out", plain).code == 0
    told = run("compute", plain).out
    assert "estimate" not in told
    assert "~" not in told
    assert "state_changed" not in plain.read_text()


def test_a_day_and_a_week_later_the_mark_is_gone(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, [("a", 60 * n, 30) for n in range(100)])
    out = tmp_path / "events.jsonl"
    assert run("import", path, "--map", MAP, *PLACE, "--presence-gap-minutes", 15, "--out", out).code == 0
    newest = max(json.loads(line)["at"] for line in out.read_text().splitlines())
    for hours, marked in ((7 * 24 + 11, True), (7 * 24 + 12, False)):
        later = {"type": "label_submitted", "event_id": "e", "at": newest + hours * 3_600_000, "site_id": "lima-2"}
        later |= {"agent_id": "a", "project_id": "spam", "task_id": "t"}
        both = tmp_path / f"{hours}.jsonl"
        both.write_text(out.read_text() + json.dumps(later) + "\n")
        figures = json.loads(run("compute", both, "--json").out)
        assert bool(figures.get("labelwatch_site_presence_estimated")) == marked


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--presence-gap-minutes", "0"), "use minutes from above 0 to 1,440"),
        (("--presence-gap-minutes", "nan"), "use minutes from above 0 to 1,440"),
        (("--presence-gap-minutes", "15", "--map", MAP.removesuffix(",handle_s=took")), "no label has a duration"),
    ],
)
def test_what_cannot_be_estimated_is_refused(run: Run, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    path = written(tmp_path, [("a", 60, 30)])
    done = run("import", path, "--map", MAP, *PLACE, *arguments)
    assert done.code == 2
    assert says in done.err


def test_times_that_were_made_have_no_gaps(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, [("a", 60, 30)])
    place = ("--set", "site_id=s", "--set", "project_id=p", "--times-from", "2025-11-01T08:00Z", "--plain")
    done = run("import", path, "--map", MAP.replace("at=at,", ""), *place, "--presence-gap-minutes", 15)
    assert (done.code, "they have no gaps" in done.err) == (2, True)
