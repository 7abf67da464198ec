"""Rules, boards and their declared conditions compare the same figures with the same limits. Needs no Prometheus."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from schemas import conditions
from schemas.conditions import DRIFT_BRIDGED, Condition
from tests.boards.queries import boards, filled, panels, queries
from tests.rules.test_catalogue import ALERTS, rules
from tests.support.promql import bare, comparisons, selectors

NAMED = {name: each for name, each in vars(conditions).items() if isinstance(each, Condition)}
RULES = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
#: Figures that are recorded series themselves.
FIGURES = {each.figure for each in NAMED.values()}
#: Numbers that a rule alone compares with: nothing else says from where on the figure is bad. Reasons are beside them.
OF_ONE_RULE = {
    "company:labelwatch_crash_loop:bool": {2},
    "LabelwatchCheckpointsFailing": {2},
    "LabelwatchNotificationsFailing": {2},
    "LabelwatchWorkerDown": {0.34},
    "LabelwatchRulesFailing": {2},
    "LabelwatchRecordsRejected": {0.001},
    "LabelwatchEventsLate": {0.001, 10},
    "LabelwatchTimesImplausible": {10},
    "LabelwatchEventsUnknown": {10},
    "LabelwatchEventsUnnamed": {10},
    "LabelwatchLimitNear": {0.8},
    "LabelwatchBridgeFailing": {10},
    "LabelwatchSpoolNotDraining": {300},
    "partition:labelwatch_checkpoint_overdue:bool": {60},
    "site:labelwatch_silent:bool": {5},
    "site:labelwatch_error_budget_burning:bool": {1.2, 1.4, 1.5, 2},
    "site:labelwatch_utilization_below_target:bool": {40},
    "site:labelwatch_labels_per_productive_hour:mean1h": {5},
    "site:labelwatch_throughput_low:bool": {5},
}


@pytest.mark.parametrize("name", NAMED)
def test_the_rules_compare_the_figure_with_the_limit(name: str) -> None:
    condition = NAMED[name]
    wanted = (condition.figure, condition.comparison, condition.limit)
    assert condition.rules
    assert [rule for rule in condition.rules if wanted not in set(comparisons(RULES[rule], RECORDED, FIGURES))] == []


def test_no_rule_has_a_limit_of_its_own_for_a_declared_figure() -> None:
    declared = {(each.figure, each.comparison, each.limit) for each in NAMED.values()}
    found: dict[str, set[float]] = {}
    for rule, expr in RULES.items():
        for each in comparisons(expr, RECORDED, FIGURES):
            # How often something was so, in evaluations; and whether it is so at all.
            if "sum_over_time" in each.figure or each.number in {0, 1} or each in declared:
                continue
            found.setdefault(rule, set()).add(each.number)
    assert found == OF_ONE_RULE


def asked() -> Iterator[tuple[str, str]]:
    """Where, and every query of a board."""
    for uid, board in boards().items():
        for query in queries(board):
            yield f"{uid}: {query.where}", filled(board, query.expr)


def test_boards_compare_a_declared_figure_with_its_limit() -> None:
    limits = {each.figure: each for each in NAMED.values()}
    found = set()
    for where, expr in asked():
        for each in comparisons(expr, RECORDED, FIGURES):
            condition = limits.get(each.figure)
            if condition is not None:
                assert f"{each.operator} {each.number:g}" in {condition.is_bad, condition.is_good}, where
                found.add(each.figure)
    assert found >= {"labelwatch_figures_lag_seconds", "labelwatch_drift_active", "labelwatch_river_drift_active"}


def steps(panel: dict[str, Any]) -> set[float]:
    """Where a panel changes colour, but at 0 and 1."""
    thresholds = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])
    return {abs(step["value"]) for step in thresholds if step["value"] is not None} - {0, 1}


def test_colours_of_a_figure_that_a_rule_judges_change_at_its_declared_limit() -> None:
    def signless(figure: str) -> str:
        return re.sub(r"^abs\((.*)\)$", r"\1", figure)

    judged = {signless(each.figure) for expr in RULES.values() for each in comparisons(expr, RECORDED, FIGURES)}
    limits = {signless(each.figure): each.limit for each in NAMED.values()}
    found = set()
    for uid, board in boards().items():
        for panel in panels(board):
            for target in panel.get("targets", []) if steps(panel) else ():
                figure = signless(bare(filled(board, target["expr"]), RECORDED, FIGURES))
                if figure in judged:
                    assert steps(panel) == {limits.get(figure)}, (uid, panel["title"])
                    found.add(figure)
    assert len(found) == 3


def test_a_drifts_last_value_is_taken_for_the_same_time_everywhere() -> None:
    taken = re.compile(
        r"last_over_time\((?:labelwatch|stream:labelwatch|incident:labelwatch)_(?:river_)?drift_[\w:]*(?:\{[^}]*\})?\[(\w+)"
    )
    texts = [*asked(), *RULES.items()]
    found = [length for _, text in texts for length in taken.findall(text)]
    assert len(found) > 100
    assert set(found) == {DRIFT_BRIDGED}


def series(expr: str, recorded: Mapping[str, str] = RECORDED) -> set[str]:
    """What an expression reads in the end, recorded series by their rules."""
    found = set()
    for selector in selectors(expr):
        if selector.name in recorded:
            rest = {name: rule for name, rule in recorded.items() if name != selector.name}
            found |= series(recorded[selector.name], rest)
        else:
            found |= {selector.name} if selector.name else set(re.findall(r"labelwatch_\w+", str(selector.matchers)))
    return found


def test_an_alert_leads_to_a_board_that_shows_its_figure() -> None:
    shown: dict[str, set[str]] = {}
    for uid, board in boards().items():
        shown[uid] = {name for query in queries(board) for name in series(filled(board, query.expr))}
    wrong = {}
    for name, rule in ALERTS.items():
        led = rule["annotations"]["dashboard_url"].split("/d/")[1].split("?")[0]
        # Which sites there are stands behind nearly every figure, and says nothing of it.
        asked_for = series(rule["expr"]) - {"labelwatch_site_info"}
        if not asked_for & shown[led] and any(asked_for & each for each in shown.values()):
            wrong[name] = led
    assert wrong == {}
