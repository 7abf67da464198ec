"""The rules under other names: the same alerts, and none beside a healthy worker."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rules.stories import PROMETHEUS, RULE_FILES, tool

_SPEC = importlib.util.spec_from_file_location("adapt", PROMETHEUS / "adapt.py")
assert _SPEC is not None
assert _SPEC.loader is not None
adapt = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(adapt)

_JOB = "monitoring/labelwatch-worker"
_OPTIONS = (
    *("--job", _JOB, "--agents-job", "monitoring/labelwatch-people"),
    *("--ingest-job", "monitoring/hooks", "--bridge-job", "monitoring/bridge"),
    *("--severity", "page=critical", "--severity", "ticket=warning", "--label", "team=data-quality"),
    *("--runbooks", "https://wiki.example/labelwatch/", "--dashboards", "https://grafana.example"),
)


def alerts(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        rule["alert"]: rule
        for file in sorted(folder.glob("*.yml"))
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def test_without_options_nothing_changes(tmp_path: Path) -> None:
    assert adapt.main([str(tmp_path)]) == 0
    assert [(tmp_path / file.name).read_bytes() for file in RULE_FILES] == [file.read_bytes() for file in RULE_FILES]


def test_every_name_is_another_one(tmp_path: Path) -> None:
    adapt.main([*_OPTIONS, str(tmp_path)])
    written = "".join(file.read_text("utf-8") for file in tmp_path.glob("*.yml"))
    # All of the shipped ones, however they are quoted.
    others = {"monitoring/labelwatch-people", "monitoring/hooks", "monitoring/bridge"}
    assert set(re.findall(r'job=\\?"([^"\\]*)', written)) == {_JOB, *others}
    # Beside the comment that tells of them.
    assert "$externalLabels" not in written
    ours, theirs = alerts(PROMETHEUS / "rules"), alerts(tmp_path)
    assert list(ours) == list(theirs)
    for name, rule in theirs.items():
        severity = ours[name]["labels"]["severity"]
        mapped = {"page": "critical", "ticket": "warning"}.get(severity, severity)
        assert rule["labels"] == {"severity": mapped, "team": "data-quality"}
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/labelwatch/{name}.md"
        assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example/d/labelwatch-")


def test_boards_ask_for_the_same_names(tmp_path: Path) -> None:
    adapt.main(["--boards", str(tmp_path / "same"), str(tmp_path / "rules")])
    adapt.main([*_OPTIONS, "--boards", str(tmp_path / "boards"), str(tmp_path / "rules")])
    shipped = sorted((PROMETHEUS.parent / "grafana" / "dashboards").glob("*.json"))
    assert shipped
    for file in shipped:
        assert (tmp_path / "same" / file.name).read_bytes() == file.read_bytes()
        text = (tmp_path / "boards" / file.name).read_text("utf-8")
        assert json.loads(text).keys() == json.loads(file.read_text("utf-8")).keys()
        # All that select by them, so none is left that asks for a name of ours.
        matchers = re.findall(r'\b(job|severity)[=!~]+\\"([^"\\]*)', text)
        assert matchers
        assert set(matchers) <= {
            ("job", _JOB), ("job", "monitoring/labelwatch-people"), ("job", "monitoring/hooks"),
            ("job", "monitoring/bridge"), ("severity", "critical|warning"),
            ("severity", "critical"),  # of an error that a review found
        }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        ("--job", 'a"b'),
        ("--severity", "urgent=critical"),
        ("--severity", "page"),
        ("--severity", "page=a|b"),
        ("--runbooks", "wiki"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        adapt.main([*wrong, str(tmp_path / "none")])
    assert ended.value.code == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.promtool
@pytest.mark.timeout(300)
def test_a_healthy_worker_of_another_job_pages_nobody_and_a_missing_one_does(tmp_path: Path) -> None:
    """With `job="monitoring/labelwatch-worker"` the shipped rules take a healthy worker for an absent one."""
    adapt.main([*_OPTIONS, str(tmp_path)])
    tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *sorted(tmp_path.glob("*.yml")))
    up = f'up{{job="{_JOB}",instance="10.0.0.7:9464"}}'
    firing = 'ALERTS{alertname="LabelwatchAbsent",alertstate="firing"}'
    page = (
        '{__name__="ALERTS",alertname="LabelwatchAbsent",alertstate="firing",severity="critical",team="data-quality"}'
    )
    stories = [
        {
            "interval": "5s",
            "input_series": [{"series": up, "values": values}],
            "promql_expr_test": [
                {"expr": firing, "eval_time": "3m", "exp_samples": [{"labels": page, "value": 1}] if fires else []}
            ],
        }
        for values, fires in (("1+0x40", False), ("0+0x40", True))
    ]
    file = tmp_path / "adapted_test.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(tmp_path / "*.yml")], "evaluation_interval": "5s", "tests": stories})
    )
    tool("promtool", "test", "rules", file)
