"""`labelwatch compute`: the contract's JSON, tables that say what they do not know, and lines named by number."""

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from schemas.metrics import METRICS
from schemas.policy import Policy
from streams.cli import app
from streams.ops.compute import Computed, as_json, compute, limit_lines, print_json, print_tables, trouble_lines
from streams.ops.errors import WRONG_USE, CommandError
from streams.views.fold import FoldedColumn, lines
from streams.views.reading import percent

AT = 1_763_985_600_000


def event(number: int, kind: str = "label_reviewed", **more: Any) -> dict[str, Any]:
    usual = {"site_id": "lima-1", "agent_id": "a-1", "project_id": "p", "task_id": f"t{number}"}
    return {"type": kind, "event_id": f"e{number}", "at": AT + number * 1000, **usual, **more}


def reviews(count: int, wrong: int, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [event(first + number, correct=number >= wrong, **more) for number in range(count)]


def computed(tmp_path: Path, *lines: dict[str, Any] | bytes, policy: str = "") -> Computed:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return compute(file, Policy.parse(policy))


def tables(result: Computed, width: int = 120, policy: str = "") -> str:
    out = io.StringIO()
    print_tables(result, Policy.parse(policy), Console(file=out, width=width))
    return out.getvalue()


def test_figures_stand_under_the_metrics_own_names_with_labels_and_value(tmp_path: Path) -> None:
    out = io.StringIO()
    label = event(90, "label_submitted", handle_ms=31_000)
    print_json(computed(tmp_path, *reviews(50, 3), label), out)
    figures = json.loads(out.getvalue())
    scope = {"site": "lima-1", "role": "agent", "window": "1h"}
    assert {**scope, "value": 0.94} in figures["labelwatch_site_accuracy_ratio"]
    person = {**scope, "agent": "a-1"}
    assert {**person, "value": 0.94} in figures["labelwatch_agent_accuracy_ratio"]
    (upper,) = (row["value"] for row in figures["labelwatch_site_accuracy_upper_ratio"] if row["window"] == "24h")
    assert upper == pytest.approx(0.979, abs=5e-4)
    assert {"site": "lima-1", "window": "15m", "value": 1} in figures["labelwatch_site_labels"]
    assert {"site": "lima-1", "project": "p", "value": 31.0} in figures["labelwatch_handle_seconds_sum"]
    buckets = {row["le"]: row["value"] for row in figures["labelwatch_handle_seconds_bucket"]}
    assert (buckets["30.0"], buckets["45.0"], buckets["+Inf"]) == (0, 1, 1)


def test_every_name_is_in_the_catalogue_and_every_row_has_its_labels(tmp_path: Path) -> None:
    for name, rows in as_json(computed(tmp_path, *reviews(40, 1), event(90, "label_submitted"))).items():
        base = next(base for end in ("_bucket", "_sum", "_count", "") if (base := name.removesuffix(end)) in METRICS)
        for row in rows:
            assert set(row) - {"value", "le"} == set(METRICS[base].labels), name


def test_the_clock_is_the_files_highest_event_time_whatever_the_order(tmp_path: Path) -> None:
    result = computed(tmp_path, event(7200, correct=True), *reviews(40, 0))
    assert result.at_ms == AT + 7_200_000
    rows = as_json(result)["labelwatch_site_reviews"]
    assert {row["window"]: row["value"] for row in rows} == {"15m": 1, "1h": 1, "24h": 41, "7d": 41}


def test_lines_that_cannot_be_used_are_counted_by_reason_and_named_by_number(tmp_path: Path) -> None:
    result = computed(tmp_path, *reviews(2, 0), b"{", b"", b'{"type": 3}', b"\xff", *[b"["] * 4)
    told, *named = trouble_lines(result.rejected)
    assert told == "7 lines could not be used: 5 json, 1 schema, 1 encoding"
    assert [line.split(":")[0] for line in named] == ["line 3", "line 5", "line 6", "line 7", "line 8", "..."]
    assert list(trouble_lines(computed(tmp_path, *reviews(2, 0)).rejected)) == []


def _with_a_label_ahead(tmp_path: Path, ahead_ms: int) -> Path:
    """50 reviews of two sites within the last days, and on line 21 a label of a third site that much ahead of now."""
    now = time.time_ns() // 1_000_000
    lines = [
        event(n, at=now - 3 * 86_400_000 + n * 60_000, correct=n % 10 > 0, site_id=f"site-{n % 2}") for n in range(50)
    ]
    lines.insert(20, event(99, "label_submitted", at=now + ahead_ms, site_id="tunis-1"))
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.mark.parametrize("ahead_ms", [8 * 86_400_000, 365 * 86_400_000, 10_000 * 86_400_000])
def test_a_label_of_the_future_moves_no_clock_and_blinds_no_site(tmp_path: Path, ahead_ms: int) -> None:
    file = _with_a_label_ahead(tmp_path, ahead_ms)
    result = compute(file, Policy())
    assert result.at_ms < time.time_ns() // 1_000_000
    weeks = [row for row in as_json(result)["labelwatch_site_reviews"] if row["window"] == "7d"]
    assert {row["site"]: row["value"] for row in weeks} == {"site-0": 25, "site-1": 25}
    *_, said = trouble_lines(result.rejected)
    assert said == (
        "1 event is dated more than 5 minutes after now, the first on line 21, and left out, as a worker would: check "
        "the clock of who wrote the file, and that `at` is in ms"
    )


def test_what_is_ahead_by_the_difference_of_two_clocks_counts(tmp_path: Path) -> None:
    result = compute(_with_a_label_ahead(tmp_path, 240_000), Policy())
    assert result.rejected == []
    assert {"site": "tunis-1", "window": "15m", "value": 1} in as_json(result)["labelwatch_site_labels"]


def test_the_time_to_hold_a_file_against_can_be_given(tmp_path: Path) -> None:
    file = _with_a_label_ahead(tmp_path, 8 * 86_400_000)
    result = compute(file, Policy(), now_ms=time.time_ns() // 1_000_000 + 9 * 86_400_000)
    assert result.rejected == []
    result = compute(file, Policy(), now_ms=0)
    assert [reason for _, reason, _ in result.rejected] == ["future"] * 51


def test_every_command_that_reads_a_file_says_what_is_of_the_future(tmp_path: Path) -> None:
    file, policy = _with_a_label_ahead(tmp_path, 365 * 86_400_000), tmp_path / "policy.toml"
    policy.write_text("")
    for words in (
        ["compute", str(file)],
        ["compute", str(file), "--json"],
        ["backtest", str(file)],
        ["policy", "check", str(policy), "--history", str(file)],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert "1 event is dated more than 5 minutes after now, the first on line 21" in done.stderr
        if words[0] == "backtest":
            assert "0.0 days of history" in done.stdout


def test_a_file_that_is_not_there_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.jsonl: No such file") as caught:
        compute(tmp_path / "none.jsonl", Policy())
    assert caught.value.code == WRONG_USE
    assert "No event in the file" in tables(computed(tmp_path))


# --- for reading


def rows_of(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def test_sites_stand_worst_first_with_their_state_in_words(tmp_path: Path) -> None:
    result = computed(
        tmp_path,
        *reviews(400, 4, site_id="good"),
        *reviews(400, 60, 1000, site_id="bad"),
        *reviews(5, 0, 2000, site_id="small"),
        *reviews(400, 40, 3000, site_id="good", role="qa"),
    )
    text = tables(result)
    sites = [line.split()[1:4] for line in rows_of(text.split("People")[0], "95.0%") + rows_of(text, " qa ")[:1]]
    assert sites == [
        ["BELOW", "bad", "agent"],
        ["BLIND", "small", "agent"],
        ["above", "good", "agent"],
        ["BELOW", "good", "qa"],
    ]
    assert "not enough data" in rows_of(text, "small")[0]
    assert "100.00%" not in rows_of(text, "small")[0]


def test_the_policy_decides_what_is_below(tmp_path: Path) -> None:
    strict = "[site.lima-1]\naccuracy_target = 0.999\n"
    result = computed(tmp_path, *reviews(400, 4), policy=strict)
    assert "▽ BELOW" in tables(result, policy=strict)
    assert "≈ near" in tables(result, policy="[defaults]\naccuracy_target = 0.99\n")


def test_people_at_risk_are_named_by_their_plain_ids_and_the_worst_first(tmp_path: Path) -> None:
    result = computed(
        tmp_path, *reviews(60, 20, agent_id="a-bad"), *reviews(60, 6, 1000, agent_id="a-so-so"), *reviews(9, 9, 2000)
    )
    people = tables(result).split("People, furthest below target first")[1].split("\n\n")[0]
    assert [line.split()[4] for line in people.splitlines()[2:]] == ["a-bad", "a-so-so"]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_tables_fit_and_never_cut_an_id(tmp_path: Path, width: int) -> None:
    long = "hyderabad-north"
    work = [event(n + 5000, "label_submitted", handle_ms=30_000, site_id=long) for n in range(3)]
    result = computed(tmp_path, *reviews(400, 60, site_id=long, agent_id="a-100777"), *work)
    text, _, drifts = tables(result, width).partition("\nDrifts, ")
    assert max(map(len, (*text.splitlines(), *drifts.splitlines()))) <= width
    assert len(rows_of(text, long)) == 2
    assert "a-100777" in text
    for heading, value in (("s/label", "30.0"), ("labels", "3"), ("target", "95.0%"), ("P(below)", "100.0%")):
        assert heading in text, "a column that has no room stands below its row"
        assert re.search(rf"(?<![\d.]){re.escape(value)}(?![\d.])", text)


def test_people_stand_by_how_far_the_whole_interval_is_below_target_then_by_n(tmp_path: Path) -> None:
    """A probability is 1.0 for each of them: a hundred such people stood in the order of their first review."""
    people = (("a-early", 400, 100), ("a-more", 800, 200), ("a-none-right", 35, 35), ("a-late", 900, 300))
    result = computed(
        tmp_path,
        *(
            each
            for n, (who, count, wrong) in enumerate(people)
            for each in reviews(count, wrong, n * 1000, agent_id=who)
        ),
        *reviews(40, 0, 5000, agent_id="a-all-right"),
        *reviews(80, 0, 6000, agent_id="a-all-right-too"),
    )
    text = tables(result).split("People, furthest below target first")[1].split("\n\n")[0]
    order = [re.search(r"a-[a-z-]+", line)[0] for line in text.splitlines()[2:]]  # type: ignore[index]  # each has one
    # Wilson's upper bounds: 0 of 35 9.9%, 600 of 900 69.7%, 600 of 800 77.9%, 300 of 400 79.0%, twice 100%.
    assert order == ["a-none-right", "a-late", "a-more", "a-early", "a-all-right-too", "a-all-right"]


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (0.996, "99.6%"),
        (0.9996, "99.96%"),
        (0.9999999, ">99.99%"),
        (1.0, "100.0%"),
        (0.0004, "0.04%"),
        (0.0, "0.0%"),
        (2.0, "200.0%"),
    ],
)
def test_what_is_below_100_percent_never_reads_100(ratio: float, shown: str) -> None:
    assert percent(ratio) == shown
    assert percent(0.996, 0) == "99.6%"


def test_names_beyond_a_limit_of_the_policy_are_said_with_what_to_do(tmp_path: Path) -> None:
    many = [event(number, site_id=f"site-{number}", correct=True) for number in range(5)]
    beyond = computed(tmp_path, *many, policy="[limits]\nsites = 2")
    (line,) = limit_lines([beyond.limits])
    assert line.startswith("3 events are beyond the policy's limit of sites, under `other`")
    assert "raise sites in [limits] of the policy" in line
    file, policy = tmp_path / "events.jsonl", tmp_path / "policy.toml"
    policy.write_text("[limits]\nsites = 2\n")
    for command in ("compute", "backtest"):
        said = CliRunner().invoke(app, [command, str(file), "--policy", str(policy)])
        assert said.exit_code == 0
        assert "beyond the policy's limit of sites" in said.stderr
    assert list(limit_lines([computed(tmp_path, *many).limits])) == []


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80])
def test_no_figure_of_a_table_is_cut_in_a_terminal_of_any_width(width: int) -> None:
    columns = [
        FoldedColumn(""),
        FoldedColumn("site", folds=True),
        FoldedColumn("accuracy", right=True),
        FoldedColumn("95% interval", right=True),
        FoldedColumn("reviews", right=True),
    ]
    row = [Text(each) for each in ("BELOW", "manila-1-of-the-north", "19.89%", "19.2 to 20.6", "13,939")]
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in lines(columns, [row, row], width):
        console.print(part)
    assert max(map(len, out.getvalue().splitlines())) <= width
    for figure in ("19.89%", "19.2 to 20.6", "13,939"):
        assert out.getvalue().count(figure) == 2
