"""Rules, runbooks and their tests agree with the metric catalogue and with each other. Needs no Prometheus."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.metrics import METRICS, Kind, Origin
from schemas.policy import Limits
from schemas.words import DIMENSIONS, SUBJECTS
from streams.exporter.collector import MAX_SERIES
from tests.rules.stories import ROOT, RULE_FILES, TEST_FILES, groups

BOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
SECTIONS = [
    "What it means",
    "Is it real?",
    "Likely causes, in order",
    "What to do",
    "What to tell the site",
    "How to silence it",
]
#: What an alert says, in English and Chinese.
TEXTS = ("summary", "description", "summary_zh", "description_zh")
#: Labels beside the catalogue's: Prometheus' own, and the one that docs/operations.md gives to a new group's targets.
ADDED_LABELS = {"instance", "job", "le", "group", "receiver", "rule_group", "integration", "alertmanager"}
#: A difference of durable values, on purpose: the comment beside the rule says why.
COUNTERS_AS_VALUES = {"labelwatch_lost_records_total"}
#: How a durable counter goes into increase() and rate(): its greatest value, over steps (docs/metrics.md).
OF_WHOEVER_OWNS_IT = r"max without \(instance\) \(labelwatch_\w+(?:\{[^}]*\})?\)\[[\w$]+:\w*\]"
#: What a sentence says was counted within a time: exact from the first sample on, where increase() stretches it.
EXACT_DIFFERENCE = (
    r"max without \(instance\) \((labelwatch_\w+)\)\s+"
    r"- min without \(instance\) \(min_over_time\(\1\[\w+\]\)\)"
)

#: A copy of one: of a site's series their sum, since a worker shows a site whole or not at all; never of several sites.
COPY = re.compile(r"max without \(instance\) \((sum without \([\w, ]+\) \()?labelwatch_\w+_total(\{[^}]*\})?\)+")


def rules() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
SERIES = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS.values()
    for suffix in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
}


def promql(runbook: Path) -> list[str]:
    blocks = re.findall(r"```promql\n(.*?)```", runbook.read_text("utf-8"), re.S)
    return [line for block in blocks for line in block.splitlines() if line]


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and every PromQL text: rules, queries within annotations, runbooks, inputs of the tests."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
        for text in rule.get("annotations", {}).values():
            yield rule["alert"], text.replace('\\"', '"')
    for runbook in RUNBOOKS:
        for query in promql(runbook):
            yield runbook.name, query
    for file in TEST_FILES:
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for given in test["input_series"]:
                yield file.name, given["series"]


def boards() -> Iterator[tuple[str, str]]:
    """Where, and every query of a board."""
    for file in BOARDS:
        for query in re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', file.read_text("utf-8")):
            yield file.name, json.loads(query)


def test_every_metric_named_anywhere_exists() -> None:
    unknown = set()
    for where, text in expressions():
        text = re.sub(r"labelwatch_site_accuracy%s_ratio", "", text)
        for name in re.findall(r"[A-Za-z_:][\w:]*", text):
            plain = ":" not in name and name.startswith("labelwatch_") and name not in SERIES
            recorded = ":labelwatch_" in name and name not in RECORDED
            if plain or recorded:
                unknown.add((where, name))
    assert not unknown


def test_every_metric_named_in_prose_exists() -> None:
    named = {
        (file.name, name)
        for file in [*RUNBOOKS, *RULE_FILES]
        for name in re.findall(r"(?<![\w:])labelwatch_\w+", file.read_text("utf-8"))
    }
    assert {(file, name) for file, name in named if name not in SERIES and name not in METRICS} == set()


def test_every_label_asked_for_is_the_metrics_own() -> None:
    wrong = set()
    for where, text in expressions():
        for name, matchers in re.findall(r"(?<![\w:])(labelwatch_\w+)\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\"|%q)*)\}", text):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"(?:[^"\\]|\\.)*"', "", matchers)))
            wrong |= {(where, name, label) for label in asked - {*SERIES[name].labels, *ADDED_LABELS}}
    assert not wrong


def test_every_label_grouped_by_is_known() -> None:
    known = {label for metric in METRICS.values() for label in metric.labels} | ADDED_LABELS
    grouped = {
        (where, label)
        for where, text in expressions()
        for labels in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([\w\s,]*)\)", text)
        for label in re.findall(r"\w+", labels)
    }
    assert {(where, label) for where, label in grouped if label not in known} == set()


def test_counters_are_never_read_as_levels() -> None:
    levels = set()
    for where, text in [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]:
        # Whether a series is there is no level; a copy of a counter is one, and boards take its rate.
        if COPY.fullmatch(text) and where.endswith("_total:max"):
            continue
        text = re.sub(EXACT_DIFFERENCE, "", text)
        text = re.sub(rf"{OF_WHOEVER_OWNS_IT}|count by \([\w, ]+\) \(\w+\)", "", text)
        for match in re.finditer(r"(?<![\w:])(labelwatch_\w+_total)\b(?:\{[^}]*\})?(\[\w+\])?", text):
            if match[1] not in COUNTERS_AS_VALUES and not match[2]:
                levels.add((where, match[1]))
    assert not levels


def test_counters_are_added_up_within_a_site_alone() -> None:
    """A sum over sites falls, and looks like a counter that began anew, whenever a partition is not shown."""
    # No rule does it today; how boards may that need a site's counter by less.
    wrong = "max without (instance) (sum without (site, market) (labelwatch_labels_total))"
    right = "max without (instance) (sum without (project, market) (labelwatch_labels_total))"
    assert [_adds_up_sites(text) for text in (wrong, right)] == [True, False]
    assert not [rule["expr"] for rule in rules() if _adds_up_sites(rule["expr"])]


def _adds_up_sites(text: str) -> bool:
    dropped = re.findall(r"sum without \(([\w, ]+)\) \(labelwatch_\w+_total", text)
    return any({"site", "topic", "partition", "instance"} & set(labels.split(", ")) for labels in dropped)


def test_durable_counters_are_never_counted_worker_by_worker() -> None:
    """A partition that comes back to a worker would count again what another worker has counted meanwhile."""
    wrong = {
        (where, name)
        for where, text in itertools.chain(expressions(), boards())
        for name in re.findall(r"(?:rate|increase)\((labelwatch_\w+)", text)
        if SERIES[name].kind is not Kind.GAUGE and SERIES[name].origin is Origin.ENGINE
    }
    assert not wrong
    assert sum("max without (instance)" in query or "_total:max" in query for _, query in boards()) > 10


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_every_alert_must_say(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"Labelwatch[A-Z][A-Za-z]+", name)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"page", "ticket", "info"}
    texts = rule["annotations"]
    assert list(texts) == [*TEXTS, "runbook_url", "dashboard_url"]
    # Who is woken sees at once where and how much; the watchdog speaks of nothing.
    assert ("{{" in texts["summary"] and "{{" in texts["summary_zh"]) or name == "LabelwatchWatchdog"
    assert re.search(r" First(, [\w ]+)?:", texts["description"])
    assert re.search(r"首先\W", texts["description_zh"])
    assert rule["annotations"]["runbook_url"] == f"{{{{ $externalLabels.runbooks }}}}/{name}.md"
    assert rule["annotations"]["dashboard_url"].startswith("{{ $externalLabels.dashboards }}/d/labelwatch-")


@pytest.mark.parametrize("name", ALERTS)
def test_the_first_action_is_the_runbooks(name: str) -> None:
    """Commands that a text names are the runbook's, and the same in both languages."""
    texts, runbook = ALERTS[name]["annotations"], (ROOT / "docs" / "runbooks" / f"{name}.md").read_text("utf-8")
    command = (
        r"labelwatch [a-z]+(?: check| create)?\b|docker compose ps|timedatectl|chronyc tracking|amtool check-config"
    )
    first = set(re.findall(command, re.split(r"First[,:]", texts["description"])[-1]))
    assert {each for each in first if each not in runbook} == set()
    assert first == set(re.findall(command, texts["description_zh"].split("首先")[-1])), "in Chinese too"


def test_a_sites_name_comes_into_a_command_only_where_a_shell_takes_it_as_it_is() -> None:
    names = set()
    for rule in ALERTS.values():
        for text in TEXTS:
            names |= set(re.findall(r"labelwatch explain --site (.*?) --figure", rule["annotations"][text]))
    assert names == {r'{{ if match "^\\w[\\w.-]*$" $labels.site }}{{ $labels.site }}{{ else }}SITE{{ end }}'}


def test_every_text_tells_a_sites_time_alike() -> None:
    """What is copied into each text stays one thing."""
    asked = {
        line
        for rule in ALERTS.values()
        for text in TEXTS
        for line in re.findall(r"\{\{- \$offset := .*?\{\{ end -\}\}", rule["annotations"][text])
    }
    assert len(asked) == 1
    for name, rule in ALERTS.items():
        for text in TEXTS:
            timed = "humanizeTimestamp" in rule["annotations"][text]
            assert not timed or "$zone" in rule["annotations"][text] or '" UTC"' in rule["annotations"][text], name


def test_alerts_say_what_changed_and_why_in_the_words_of_the_drifts_own_sentences() -> None:
    found: dict[str, set[str]] = {}
    for name, rule in ALERTS.items():
        for field in TEXTS:
            text = rule["annotations"].get(field, "")
            for label, words in (("signal", SUBJECTS), ("Labels.by", DIMENSIONS)):
                for chain in re.findall(rf"\.{re.escape(label)} ((?:\| reReplaceAll \"[^\"]*\" \"[^\"]*\" ?)+)", text):
                    for key, each in words.items():
                        said = key
                        for pattern, word in re.findall(r'reReplaceAll "([^"]*)" "([^"]*)"', chain):
                            said = re.sub(pattern, word, said)
                        assert said == each.of("zh" if field.endswith("_zh") else "en"), (name, field, key)
                        found.setdefault(label, set()).add(field)
    assert found == {"signal": set(TEXTS), "Labels.by": {"description", "description_zh"}}


def test_the_page_in_the_documentation_is_one_that_the_rules_write() -> None:
    story = yaml.safe_load((ROOT / "prometheus" / "tests" / "pages_test.yml").read_text("utf-8"))["tests"][0]
    (page,) = story["alert_rule_test"][1]["exp_alerts"]
    document = (ROOT / "docs" / "alerting.md").read_text("utf-8")
    assert [text for text in TEXTS if page["exp_annotations"][text] not in document] == []


def test_only_a_drift_pages_for_quality() -> None:
    """A threshold over a rolling window is crossed by chance sooner or later; only the detectors keep a promise."""
    quality = re.compile(r"accuracy|_reviews|error_budget|labelwatch_errors")
    paging = {
        name for name, rule in ALERTS.items() if rule["labels"]["severity"] == "page" and quality.search(rule["expr"])
    }
    assert not paging
    assert ALERTS["LabelwatchSiteQualityDrift"]["expr"] == "incident:labelwatch_drift_active:max == 1"
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    assert recorded["stream:labelwatch_drift_active:max"].startswith("stream:labelwatch_drift_shown:max or ")
    assert 'labelwatch_drift_active{budget="page"}' in recorded["stream:labelwatch_drift_shown:max"]
    assert recorded["incident:labelwatch_drift_active:max"].startswith("incident:labelwatch_drift_shown:max or ")
    assert 'labelwatch_drift_info{budget="page"}' in recorded["incident:labelwatch_drift_shown:max"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {runbook.stem for runbook in RUNBOOKS} == set(ALERTS)


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_answers_the_same_questions(runbook: Path) -> None:
    text = runbook.read_text("utf-8")
    assert text.startswith(f"# {runbook.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.M) == SECTIONS
    assert f"Severity: {ALERTS[runbook.stem]['labels']['severity']}." in text
    assert promql(runbook), "a query that tells whether it is real"
    (silence,) = re.findall(rf"amtool silence add .* alertname={runbook.stem}((?: \w+=\S+)*)$", text, re.M)
    known = {label for metric in METRICS.values() for label in metric.labels} | ADDED_LABELS
    assert set(re.findall(r"(\w+)=", silence)) <= known


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tested_before_while_and_after(name: str) -> None:
    """In one group of promtool tests at least: nothing, then the exact text, then nothing."""
    stories = []
    for file in TEST_FILES:
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            asked = [each for each in test.get("alert_rule_test", []) if each["alertname"] == name]
            stories.append([bool(each["exp_alerts"]) for each in asked])
            for each in itertools.chain.from_iterable(each["exp_alerts"] for each in asked):
                assert each["exp_annotations"].keys() == ALERTS[name]["annotations"].keys()
                assert ALERTS[name]["labels"]["severity"] != "page" or "instance" not in each["exp_labels"]
    if ALERTS[name]["expr"] == "vector(1)":
        assert stories
        assert all(all(story) for story in stories if story), "it fires always"
        return
    assert any(story[0] is False and True in story and story[-1] is False for story in stories if story)


def test_the_scrapes_fit_the_worker() -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    sites, people, *watchers = config["scrape_configs"]
    assert (sites["job_name"], people["job_name"]) == ("labelwatch", "labelwatch-agents")
    assert [each["job_name"] for each in watchers] == ["prometheus", "alertmanager"]
    assert config["global"]["scrape_interval"] == "5s"
    assert people["scrape_interval"] == "60s"
    assert people["sample_limit"] > MAX_SERIES, "a page at the worker's own cap must pass"
    assert sites["static_configs"] == people["static_configs"]


def test_links_do_not_become_labels() -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    used = {name for rule in ALERTS.values() for name in re.findall(r"\$externalLabels\.(\w+)", str(rule))}
    assert used == set(config["global"]["external_labels"])
    (drop,) = config["alerting"]["alert_relabel_configs"]
    assert drop["action"] == "labeldrop"
    assert set(drop["regex"].split("|")) == used


def test_a_page_within_the_limits_is_never_dropped_by_prometheus() -> None:
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text("utf-8"))
    limit = {job["job_name"]: job.get("sample_limit", 0) for job in config["scrape_configs"]}
    assert limit["labelwatch"] >= 1.25 * Limits().series
    assert limit["labelwatch-agents"] >= 1.25 * MAX_SERIES
