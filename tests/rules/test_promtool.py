"""What Prometheus' and Alertmanager's own tools say of the rules, their tests, the runbooks and the routes."""

import re
from pathlib import Path

import pytest
import yaml

from tests.rules.stories import PROMETHEUS, ROOT, RULE_FILES, TEST_FILES, needed, read, tell, tool

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))

pytestmark = pytest.mark.promtool


def test_the_configuration_holds() -> None:
    tool("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("file", RULE_FILES, ids=lambda path: path.stem)
def test_the_rules_pass_every_lint(file: Path) -> None:
    tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", file)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("file", TEST_FILES, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(file: Path, tmp_path: Path) -> None:
    whole = read(file)
    tell(tmp_path, whole, whole["tests"])


def test_a_story_is_read_as_promtool_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "story.yml"
    file.write_text("a: 0x46\nb: 0\nc: 0.5\nd: 10")
    assert read(file) == {"a": "0x46", "b": 0, "c": 0.5, "d": 10}


def test_a_story_has_the_rules_that_it_asks_about_and_what_they_read() -> None:
    assert needed({"alert_rule_test": [{"alertname": "LabelwatchSiteSilent"}]}) >= {"LabelwatchSiteSilent"}
    of_state = needed({"promql_expr_test": [{"expr": "count(site:labelwatch_state:code)"}]})
    assert {"site:labelwatch_state:code", "LabelwatchSiteSilent"} <= of_state, "it reads an alert"
    assert "LabelwatchAbsent" not in of_state
    everything = needed({"promql_expr_test": [{"expr": 'count(ALERTS{severity="page"})'}]})
    assert {"LabelwatchAbsent", "site:labelwatch_state:code"} <= everything


def test_every_query_of_a_runbook_parses(tmp_path: Path) -> None:
    blocks = [
        (runbook.stem, line)
        for runbook in RUNBOOKS
        for block in re.findall(r"```promql\n(.*?)```", runbook.read_text("utf-8"), re.S)
        for line in block.splitlines()
    ]
    rules = [{"record": f"runbook:{name}:{number}", "expr": query} for number, (name, query) in enumerate(blocks)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in tool("promtool", "check", "rules", file)


def test_the_routing_configuration_holds() -> None:
    assert "5 receivers" in tool("amtool", "check-config", PROMETHEUS / "alertmanager.yml")


@pytest.mark.parametrize("site", ["manila-1", '日本 "quoted" {braces} <b>tag</b> back\\slash \'', "站" * 128])
@pytest.mark.parametrize(
    ("severity", "receiver"), [("page", "oncall-operations"), ("ticket", "quality-team"), ("info", "nobody")]
)
def test_an_alert_about_a_site_reaches_who_talks_to_it(severity: str, receiver: str, site: str) -> None:
    value = site.replace("\\", "\\\\").replace('"', '\\"')
    assert routed(f"severity={severity}", f'site="{value}"') == receiver


def test_one_sop_change_at_many_sites_is_one_group_of_pages() -> None:
    assert routed("severity=page", "site=manila-1", 'incident="sop:counterfeit/v3"') == "oncall-operations"
    assert routed("severity=page", "site=manila-1", "incident=d-1") == "oncall-operations"
    config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text("utf-8"))
    (pages,) = [route for route in config["route"]["routes"] if "severity = page" in route["matchers"]]
    (of_sops,) = [route for route in pages["routes"] if route["matchers"] == ['incident =~ "sop:.+"']]
    assert of_sops["group_by"] == ["incident"], "not by site: each of them would be a page of its own"


def test_a_page_about_the_monitor_reaches_its_keepers() -> None:
    assert routed("severity=page", "alertname=LabelwatchAbsent") == "oncall-platform"


def test_the_watchdog_reaches_its_switch_and_nobody_else() -> None:
    assert routed("severity=info", "alertname=LabelwatchWatchdog") == "watchdog"


def routed(*labels: str) -> str:
    config = PROMETHEUS / "alertmanager.yml"
    return tool("amtool", "config", "routes", "test", f"--config.file={config}", *labels).strip()
