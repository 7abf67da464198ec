"""Whose target a board's table and a page's text show: the project's at the site, the project's, or the site's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boards.queries import queries
from tests.rules.stories import PROMETHEUS, tool

pytestmark = pytest.mark.promtool
BOARDS = PROMETHEUS.parent / "grafana" / "dashboards"
TARGETS_OF_PROJECTS = 'labelwatch_target_ratio{site="",kind="accuracy",project!="",market=""}'
#: Site, project and market to the number that is exported.
EXPORTED = {
    ("", "", ""): 0.9,
    ("", "spam", ""): 0.91,
    ("", "spam", "US"): 0.5,
    ("named", "", ""): 0.92,
    ("named", "hate", ""): 0.93,
    ("named", "hate", "US"): 0.5,
}
#: Site and project to the target that applies.
APPLIES = {
    ("named", "hate"): 0.93,
    ("named", "spam"): 0.91,
    ("named", "violence"): 0.92,
    ("stranger", "hate"): 0.9,
    ("stranger", "spam"): 0.91,
}


def table() -> str:
    """The query of the table of a site's projects."""
    board = json.loads((BOARDS / "labelwatch-site.json").read_text("utf-8"))
    (expr,) = {asked.expr for asked in queries(board) if TARGETS_OF_PROJECTS in asked.expr}
    return expr


def page() -> list[str]:
    """The queries of the texts of the page, one a language, with a place for each name."""
    rules = (PROMETHEUS / "rules" / "alerts.yml").read_text("utf-8")
    of_project = r"\$labels\.site \$project \$project \$labels"
    return re.findall(r'query \(printf "(100 \* \(max\(labelwatch_target_ratio.*?)" ' + of_project, rules)


def quoted(template: str, site: str, project: str) -> str:
    names = iter((site, project, project, site))
    return re.sub("%q", lambda _: json.dumps(next(names)), template.replace('\\"', '"'))


def test_the_board_and_the_page_show_the_target_that_applies(tmp_path: Path) -> None:
    series = [
        (f'labelwatch_target_ratio{{site="{site}",project="{project}",market="{market}",kind="accuracy"}}', value)
        for (site, project, market), value in EXPORTED.items()
    ]
    series += [(f'labelwatch_site_info{{site="{site}",instance="w1"}}', 1.0) for site in ("named", "stranger")]
    series += [
        (f'labelwatch_labels_window{{site="{site}",project="{project}",market="US",window="24h",instance="w1"}}', 5.0)
        for site, project in APPLIES
    ]
    asked: list[dict[str, Any]] = []
    for site in ("named", "stranger"):
        expected = [
            {"labels": f'{{site="{site}",project="{project}"}}', "value": value}
            for (of, project), value in APPLIES.items()
            if of == site
        ]
        expr = table().replace("$site", site).replace("$window", "24h")
        asked.append({"expr": expr, "eval_time": "5m", "exp_samples": expected})
    english, chinese = page()
    for template in (english, chinese):
        for (site, project), value in APPLIES.items():
            expected = [{"labels": "{}", "value": 100 * value}]
            asked.append({"expr": quoted(template, site, project), "eval_time": "5m", "exp_samples": expected})
        # Of the site as a whole.
        for site, value in (("named", 92.0), ("stranger", 90.0)):
            expected = [{"labels": "{}", "value": value}]
            asked.append({"expr": quoted(template, site, ""), "eval_time": "5m", "exp_samples": expected})
    file = tmp_path / "targets.yml"
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x10"} for name, value in series],
        "promql_expr_test": asked,
    }
    rules = str(PROMETHEUS / "rules" / "recording.yml")
    file.write_text(yaml.safe_dump({"rule_files": [rules], "evaluation_interval": "1m", "tests": [test]}))
    assert "SUCCESS" in tool("promtool", "test", "rules", file)
