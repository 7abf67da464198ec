"""Every panel of every board follows every selector that the board offers, in both languages. Needs no Prometheus."""

import re
from typing import Any

import pytest

from tests.boards.queries import boards, names, panels

BOARDS = boards()
#: What the policy says of a site, whatever else is chosen.
POLICY = re.compile(r"labelwatch_(target_\w+|policy_\w+)|site:labelwatch_(\w+_target|min_reviews):\w+")
#: The monitor itself, on every board: its figures are of no site.
MONITOR = {"Monitor", "监控"}
#: A panel of a length of time of its own says so.
OWN_TIME = re.compile(
    r"\b(now|hour|hours|day|range|moment|counted|change)\b|\d+ h\b|小时|每日|天|当前|范围|各时刻|全部已计|变化后"
)


def chosen(board: dict[str, Any]) -> tuple[list[str], bool]:
    """Selectors of what is shown, and whether there is one of how far back."""
    found = [each["name"] for each in board["templating"]["list"] if each["type"] != "datasource"]
    return [name for name in found if name != "window"], "window" in found


def is_policy(expr: str) -> bool:
    """Whether a query asks for nothing but targets."""
    asked = names(expr) | set(re.findall(r"\w+:labelwatch_[\w:]+", expr))
    return bool(asked) and all(POLICY.fullmatch(name) for name in asked)


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_follows_every_selector(uid: str) -> None:
    board = BOARDS[uid]
    selectors, has_window = chosen(board)
    deaf = []
    for panel in panels(board):
        if panel["title"] in MONITOR:
            continue
        for target in panel.get("targets", []):
            expr, where = target["expr"], f"{panel['title']} {target['refId']}"
            # A target is the site's, no matter which of its people is chosen.
            wanted = [name for name in selectors if not (name == "agent" and is_policy(expr))]
            # With "|" it is of a person, and of the site itself.
            deaf += [f"{where}: ${name}" for name in wanted if not re.search(rf'"\${name}\|?"', expr)]
            says = f"{panel['title']} {target['legendFormat']}"
            if has_window and not is_policy(expr) and '"$window"' not in expr and not OWN_TIME.search(says):
                deaf.append(f"{where}: $window, and it names no time of its own")
    for mark in board["annotations"]["list"]:
        if "process_start_time_seconds" not in mark["expr"]:
            deaf += [f"{mark['name']}: ${name}" for name in selectors if f'"${name}"' not in mark["expr"]]
    assert deaf == []


@pytest.mark.parametrize("uid", BOARDS)
def test_a_window_in_a_title_is_the_window_that_is_asked_for(uid: str) -> None:
    for panel in panels(BOARDS[uid]):
        if "$window" in panel["title"]:
            asked = [target["expr"] for target in panel["targets"] if not is_policy(target["expr"])]
            assert any('"$window"' in expr for expr in asked), panel["title"]


def test_the_walk_hears_a_panel_that_does_not_follow() -> None:
    """The board of before: Market and Project changed some panels and not others."""
    board = {
        "templating": {"list": [{"name": name, "type": "query"} for name in ("site", "market")]},
        "panels": [
            {
                "title": "n",
                "targets": [{"refId": "A", "legendFormat": "", "expr": 'labelwatch_site_reviews{site="$site"}'}],
            }
        ],
        "annotations": {"list": []},
    }
    BOARDS["broken"] = board
    try:
        with pytest.raises(AssertionError, match=r"n A: \$market"):
            test_every_panel_follows_every_selector("broken")
    finally:
        del BOARDS["broken"]
