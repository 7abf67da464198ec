"""One definition of the headline: with a policy that is not the default, all who show it count the same reviews."""

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from grafana import signals
from schemas.events import SAMPLINGS, SOURCES
from schemas.metrics import METRICS
from schemas.policy import Policy
from streams.engine.figures import Figures
from streams.engine.partition import PartitionEngine
from streams.ops.explain import Explainer, Question
from tests.oracle.compare import Record
from tests.rules.stories import PROMETHEUS, ROOT, tool

NOON = 1_763_985_600_000
#: Gold and consensus reviews are no headline here.
POLICY = Policy.parse('[defaults]\nmin_reviews = 5\nheadline_sources = ["qa", "audit"]\n')
MARKETS = ("US", "BR")
RUNBOOK = ROOT / "docs/runbooks/LabelwatchSiteAccuracyBelowTarget.md"


def reviews() -> list[dict[str, Any]]:
    """Each way to choose and to judge, by another count: a sum over the wrong ones cannot come out right."""
    made = []
    kinds = itertools.product(SOURCES, SAMPLINGS, MARKETS)
    for number, (source, sampling, market) in enumerate(kinds, start=1):
        for each in range(number):
            event = {"type": "label_reviewed", "event_id": f"{number}-{each}", "at": NOON, "site_id": "manila-1"}
            event |= {"agent_id": "a", "project_id": "spam", "task_id": "t", "correct": each % 3 > 0}
            made.append(event | {"source": source, "sampling": sampling, "market": market})
    return made


def by_hand(events: list[dict[str, Any]]) -> Counter[str]:
    """Headline reviews and correct ones by market."""
    counted: Counter[str] = Counter()
    for event in events:
        if event["source"] in ("qa", "audit") and event["sampling"] != "targeted":
            counted[event["market"]] += 1
            counted[f"{event['market']} correct"] += event["correct"]
    return counted


def series(figures: Figures) -> list[dict[str, str]]:
    """The engine's series, as promtool takes them, and what only a worker says."""
    rows = [
        (f'{name}{{instance="w1",{",".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in pairs)}}}', value)
        for name, samples in figures.samples.items()
        for labels, value in samples
        for pairs in (list(zip(METRICS[name].labels, labels, strict=True)),)
    ]
    rows.append(('labelwatch_topic_partitions{instance="w1",topic="labeling.events.v1"}', 1))
    return [{"series": name, "values": f"{value}x20"} for name, value in rows]


def filled(expr: str) -> str:
    """A board's query with its variables chosen."""
    chosen = (("<of>", 'site=~".+"'), ("<window>", "24h"), ("$project", ".*"), ("$market", ".*"))
    for variable, value in chosen:
        expr = expr.replace(variable, value)
    return expr


@pytest.mark.promtool
def test_the_engine_the_rules_the_boards_a_runbook_and_explain_count_the_same(tmp_path: Path) -> None:
    events = reviews()
    counted = by_hand(events)
    n, correct = (sum(counted[f"{market}{more}"] for market in MARKETS) for more in ("", " correct"))
    records = [Record(at, None, b"manila-1", msgspec.json.encode(event)) for at, event in enumerate(events)]
    engine = PartitionEngine(0, POLICY)
    engine.apply(records)
    engine.committed(engine.checkpoint())
    figures = engine.figures(NOON)

    shown = {name: dict(samples) for name, samples in figures.samples.items()}
    assert shown["labelwatch_site_reviews"]["manila-1", "agent", "24h"] == n != len(events)
    assert shown["labelwatch_site_correct_reviews"]["manila-1", "agent", "24h"] == correct
    of_people = engine.people(NOON).groups[0].columns
    assert of_people["labelwatch_agent_reviews", "24h"].tolist() == [n]

    explainer = Explainer(Question("manila-1", "accuracy", "24h", at_ms=NOON), POLICY)
    explainer.add(records)
    assert (explainer.answer().n, explainer.answer().total) == (n, correct)

    (runbook,) = [line for line in RUNBOOK.read_text("utf-8").splitlines() if line.startswith("sum by (project)")]
    expected: list[tuple[str, list[tuple[str, float]]]] = [
        (filled(signals.PROJECT_REVIEWS.expr), [('{project="spam",site="manila-1"}', n)]),
        (filled(signals.PROJECT_ACCURACY.expr), [('{project="spam",site="manila-1"}', correct / n)]),
        (
            filled(signals.MARKET_REVIEWS.expr),
            [(f'{{market="{market}",site="manila-1"}}', counted[market]) for market in MARKETS],
        ),
        (runbook.replace("SITE", "manila-1"), [('{project="spam"}', correct / n)]),
        ('sum(project:labelwatch_headline_reviews:sum{window="24h"})', [("{}", n)]),
        ('sum(market:labelwatch_headline_correct_reviews:sum{window="24h"})', [("{}", correct)]),
        ('sum(company:labelwatch_headline_reviews:sum{role="agent",window="24h"})', [("{}", n)]),
    ]
    file = tmp_path / "headline.yml"
    tests = [
        {
            "expr": expr,
            "eval_time": "5m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in found],
        }
        for expr, found in expected
    ]
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(PROMETHEUS / "rules/recording.yml")],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series(figures), "promql_expr_test": tests}],
            }
        )
    )
    tool("promtool", "test", "rules", file)


def test_nobody_but_the_engine_puts_the_definition_together() -> None:
    #: Shows how reviews were chosen, side by side.
    beside = 'sampling!~"random|stratified|targeted"'
    queries = [
        *(ROOT / "grafana").glob("*.py"),
        *(ROOT / "prometheus/rules").glob("*.yml"),
        *(ROOT / "docs/runbooks").glob("*.md"),
        *(ROOT / "streams").rglob("*.py"),
    ]
    rebuilt = [path for path in queries if re.search("sampling(!=|!~|=~)", path.read_text("utf-8").replace(beside, ""))]
    assert rebuilt == []
    code = [path for path in (ROOT / "streams").rglob("*.py") if "headline_sources" in path.read_text("utf-8")]
    # The other one prints the policy.
    assert {path.name for path in code} == {"headline.py", "policy.py"}
    assert len(queries) > 100
