"""Every story of the rules' own tests once more, with holes in it: scrapes time out, partitions are handed over.

An alert that fires in a story fires in it with holes too, and one that does not still does not.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rules.stories import TEST_FILES, groups, read, tell, tool
from tests.rules.test_catalogue import ALERTS

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(900)]

#: How much later than in the whole story an alert may fire: the longest hole and an evaluation.
LATER_MINUTES = 15
_TERM = re.compile(r"(?P<first>_|stale|[-+.\deE]+?)(?:(?P<step>[+-][.\d]+))?(?:x(?P<times>\d+))?")


def expanded(values: str) -> list[str]:
    """The samples that promtool makes of its notation."""
    samples: list[str] = []
    for term in str(values).split():
        found = _TERM.fullmatch(term)
        assert found, term
        times = int(found["times"] or 0)
        if found["first"] in ("_", "stale"):
            samples += [found["first"]] * max(times, 1)
        else:
            step = float(found["step"] or 0)
            samples += [f"{float(found['first']) + step * n:.17g}" for n in range(times + 1)]
    return samples


def with_holes(samples: list[str], every: int, first: int) -> list[str]:
    """One sample of `every` missing, so that Prometheus sees the series end there and begin anew."""
    return ["stale" if n % every == first % every else sample for n, sample in enumerate(samples)]


def _worker(series: str) -> int:
    """A number of the worker that shows a series: a scrape that fails misses all of its series at once."""
    found = re.search(r'instance="\w*?(\d+)"', series)
    return int(found[1]) if found else 0


def seconds(text: str) -> int:
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def story_with_holes(test: dict[str, Any], every: int) -> dict[str, Any] | None:
    """The story with what its alerts must do, for promtool; None where it has no alert."""
    asked: dict[str, list[tuple[int, bool]]] = {}
    for each in test.get("alert_rule_test", []):
        asked.setdefault(each["alertname"], []).append((seconds(each["eval_time"]), bool(each["exp_alerts"])))
    expectations = []
    for name, looks in asked.items():
        fires = [at for at, firing in looks if firing]
        # Something fired within the time that an alert may be late; or nothing did until the last evaluation.
        at, back = (
            (fires[0] + LATER_MINUTES * 60, f"{LATER_MINUTES}m") if fires else (max(at for at, _ in looks), "30d")
        )
        fired = f'count(count_over_time(ALERTS{{alertname="{name}",alertstate="firing"}}[{back}])) > bool 0'
        expectations.append(
            {
                "expr": f"{fired} or vector(0)",
                "eval_time": f"{at}s",
                "exp_samples": [{"labels": "{}", "value": int(bool(fires))}],
            }
        )
    if not expectations:
        return None
    series = [
        # `up` is Prometheus' own and there whenever it looks: a scrape that times out makes it 0.
        given
        if given["series"].startswith("up{")
        else {
            "series": given["series"],
            "values": " ".join(with_holes(expanded(given["values"]), every, _worker(given["series"]))),
        }
        for given in test["input_series"]
    ]
    kept = ("name", "interval", "external_labels")
    return {key: test[key] for key in kept if key in test} | {
        "input_series": series,
        "promql_expr_test": expectations,
    }


#: Files of stories with an alert; recording rules alone have nothing to outlast.
WITH_ALERTS = [file for file in TEST_FILES if any("alert_rule_test" in test for test in read(file)["tests"])]


@pytest.mark.parametrize("every", [20])
@pytest.mark.parametrize("file", WITH_ALERTS, ids=lambda path: path.stem)
def test_an_alert_outlasts_holes_in_what_it_reads(file: Path, every: int, tmp_path: Path) -> None:
    whole = read(file)
    stories = [story for test in whole["tests"] if (story := story_with_holes(test, every))]
    assert stories
    tell(tmp_path, whole, stories)


def test_a_for_is_short() -> None:
    """A `for` begins anew at every hole; where one is left, what it waits for looks back further than any hole."""
    waits = {name: rule for name, rule in ALERTS.items() if "for" in rule}
    assert {rule["for"] for rule in waits.values()} == {"5m"}
    assert all(re.search(r"(increase|min_over_time)\(.*\[1h", rule["expr"]) for rule in waits.values())


def test_holes_are_where_they_are_said_to_be() -> None:
    assert expanded("1x2 stale _x2 0+5x2 7") == ["1", "1", "1", "stale", "_", "_", "0", "5", "10", "7"]
    assert expanded("10-2x2 -5+1x1 0.95x1") == [
        "10",
        "8",
        "6",
        "-5",
        "-4",
        "0.94999999999999996",
        "0.94999999999999996",
    ]
    assert with_holes(["1"] * 5, 2, 1) == ["1", "stale", "1", "stale", "1"]


def ask(
    tmp_path: Path,
    rules: list[dict[str, Any]],
    series: dict[str, list[str]],
    interval: str,
    asked: list[dict[str, Any]],
) -> None:
    """Puts one story to promtool with these groups of rules, evaluated as often as the series have samples."""
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": rules}, allow_unicode=True), "utf-8")
    story = {
        "interval": interval,
        "input_series": [{"series": name, "values": " ".join(values)} for name, values in series.items()],
        "promql_expr_test": asked,
    }
    file = tmp_path / "story.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": [story]}), "utf-8"
    )
    tool("promtool", "test", "rules", file)


def check_fired(
    tmp_path: Path, rules: str, series: dict[str, list[str]], interval: str, expected: dict[str, set[str]]
) -> None:
    """Which alerts have fired by when, of the rules whose names a pattern finds: a few, so that days are quick."""
    few = []
    for group in groups():
        chosen = [each for each in group["rules"] if re.search(rules, each.get("alert") or each["record"])]
        few += [{"name": group["name"], "rules": chosen}] if chosen else []
    asked = [
        {
            "expr": 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[30d]))',
            "eval_time": until,
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
        }
        for until, names in expected.items()
    ]
    ask(tmp_path, few, series, interval, asked)


def test_a_missing_minute_every_20_hours_does_not_keep_a_rule_over_a_day_silent(tmp_path: Path) -> None:
    minutes = range(96 * 60 + 1)
    series = {
        name: ["stale" if minute % 1_200 == 600 else value for minute in minutes]
        for name, value in {
            'labelwatch_target_ratio{site="a",project="",market="",kind="accuracy"}': "0.95",
            'labelwatch_site_accuracy_upper_ratio{site="a",role="agent",window="24h"}': "0.94",
        }.items()
    }
    rules = "AccuracyBelowTarget|accuracy_target|accuracy_below_target"
    below = {"LabelwatchSiteAccuracyBelowTarget"}
    check_fired(tmp_path, rules, series, "1m", {"22h": set(), "26h": below, "96h": below})


#: A worker answers so long after its process has begun.
STARTS_SECONDS = 4
#: The worker dies again and again for so long, and then stays up.
FIRST_CRASH, LOOP_SECONDS = 300, 600


def last_start(up_seconds: int, down_seconds: int) -> int:
    """When the worker is started for the last time."""
    turn = up_seconds + down_seconds
    return FIRST_CRASH + down_seconds + LOOP_SECONDS // turn * turn


def a_loop(up_seconds: int, down_seconds: int, missed: int) -> dict[str, list[str]]:
    """What Prometheus sees of a worker that was up for long, and then dies again and again from 5 minutes on.

    Args:
        up_seconds: How long each of its lives is.
        down_seconds: How long until it is started again.
        missed: A scrape of so many times out.
    """
    worker, partition = 'job="labelwatch",instance="w1"', 'topic="t",partition="0",job="labelwatch",instance="w1"'
    series: dict[str, list[str]] = {}
    turn = up_seconds + down_seconds
    last = last_start(up_seconds, down_seconds)
    for step, now in enumerate(range(0, 2_700, 5)):
        since = (now - FIRST_CRASH - down_seconds) % turn
        if now < FIRST_CRASH:
            began, alive = -1_000, True
        elif now >= last:
            began, alive = last, True
        else:
            began, alive = now - since, since < up_seconds and now >= FIRST_CRASH + down_seconds
        answers = alive and now - began >= STARTS_SECONDS and step % missed != 7
        # The group waits for the one that was killed, half a minute and more.
        joined = int(now - began >= 45)
        shown = {
            f"process_start_time_seconds{{{worker}}}": began,
            f'labelwatch_ready{{reason="member",{worker}}}': joined,
            f'labelwatch_ready{{reason="restored",{worker}}}': joined,
            f"labelwatch_partition_owned{{{partition}}}": joined,
            f"labelwatch_partition_restored{{{partition}}}": joined,
        }
        series.setdefault(f"up{{{worker}}}", []).append(str(int(answers)))
        for name, value in shown.items():
            series.setdefault(name, []).append(str(value) if answers else "stale")
    return series


@pytest.mark.parametrize("missed", [9_999, 20])
@pytest.mark.parametrize(
    ("up_seconds", "down_seconds", "name"),
    [
        (20, 5, "LabelwatchWorkerRestarting"),
        (30, 10, "LabelwatchWorkerRestarting"),
        (60, 10, "LabelwatchWorkerRestarting"),
        (10, 30, "LabelwatchAbsent"),
        (5, 60, "LabelwatchAbsent"),
    ],
)
def test_a_worker_that_comes_and_goes_is_one_page(
    tmp_path: Path, up_seconds: int, down_seconds: int, name: str, missed: int
) -> None:
    """Within two minutes of the first crash, until some minutes after the last, and nothing else that is not muted."""
    page = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
    pages = 'ALERTS{alertname=~"LabelwatchAbsent|LabelwatchWorkerRestarting",alertstate="firing"}'
    all_day, last = "[45m:5s]", last_start(up_seconds, down_seconds)
    asked: dict[str, float | None] = {
        f"min_over_time(timestamp({page}){all_day}) <= bool {FIRST_CRASH + 120}": 1,
        f"max_over_time(timestamp({page}){all_day}) <= bool {last + 380}": 1,
        f"max_over_time(timestamp({page}){all_day}) > bool {last}": 1,
        # Without a break, so that nobody is woken twice; and never another one that is not muted by it.
        f"(max_over_time(timestamp({page}){all_day}) - min_over_time(timestamp({page}){all_day})) / 5 + 1"
        f" - count_over_time({page}{all_day})": 0,
        f"count(count_over_time({pages}{all_day}))": 1,
        f'count_over_time((count(ALERTS{{alertstate="firing"}}) unless on () count({pages})){all_day})': None,
    }
    rules = [group for group in groups() if group["name"] == "labelwatch-page"]
    told = [
        {
            "expr": f"sum({expr})",
            "eval_time": "44m",
            "exp_samples": [] if expected is None else [{"labels": "{}", "value": expected}],
        }
        for expr, expected in asked.items()
    ]
    ask(tmp_path, rules, a_loop(up_seconds, down_seconds, missed), "5s", told)
