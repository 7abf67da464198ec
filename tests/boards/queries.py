"""Every query of a board's JSON, as Grafana would send it: variables and its own `$__...` put in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.boards.stage import Prometheus

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
#: Grafana asks for as many points as a panel has pixels: here of one unit of the grid, on a screen 1,920 wide.
POINTS_A_UNIT = 80
#: Of an annotation, which has no width of its own. Grafana itself asks for fewer.
POINTS = 1_000
SCRAPE_SECONDS = 5


@dataclass(frozen=True)
class Asked:
    """One query.

    Attributes:
        where: Panel and letter, for messages.
        panel: Title of the panel, or name of the variable or annotation.
        expr: As it stands in the board.
        instant: Now, or over the time range.
        step: The least step, seconds.
        points: At most, over the time range.
    """

    where: str
    panel: str
    expr: str
    instant: bool
    step: float = 1.0
    points: int = POINTS


def boards() -> dict[str, dict[str, Any]]:
    """Uid to board, from the files that are committed."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return {board["uid"]: board for board in found}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, those of rows too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries(board: dict[str, Any]) -> Iterator[Asked]:
    """Of panels and annotations; those of variables are `label_values` and stand apart."""
    for panel in panels(board):
        for target in panel.get("targets", []):
            yield Asked(
                f"{panel['title']} {target['refId']}",
                panel["title"],
                target["expr"],
                bool(target.get("instant")),
                seconds(panel.get("interval", "1s")),
                POINTS_A_UNIT * panel["gridPos"]["w"],
            )
    for mark in board.get("annotations", {}).get("list", []):
        yield Asked(f"annotation {mark['name']}", mark["name"], mark["expr"], False, seconds(mark["step"]))


def seconds(text: str) -> float:
    """`5m` in seconds; `now-7d` as the length of the range."""
    match = re.fullmatch(r"(?:now-)?(\d+)([smhdw])", text)
    assert match, text
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]]


def variables(
    board: dict[str, Any], prometheus: Prometheus, *, concrete: bool, prefer: str | None = None
) -> dict[str, str]:
    """A value for each variable, escaped as Grafana does: all of them, or one that Prometheus knows."""
    found: dict[str, str] = {}
    for variable in board["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "custom":
            found[name] = variable["current"]["value"]
        elif variable["type"] == "query":
            values = known(variable["query"], found, prometheus)
            values = [prefer] if prefer in values else values
            if not values:  # Grafana leaves it empty
                found[name] = ".*" if variable.get("includeAll") else ""
                continue
            if variable.get("includeAll") and not concrete:
                found[name] = variable["allValue"]
            elif variable.get("multi"):
                found[name] = regex(values[0])
            else:
                found[name] = quoted(values[0])
    return found


def known(query: str, chosen: Mapping[str, str], prometheus: Prometheus) -> list[str]:
    """What `label_values(selector, label)` finds."""
    match = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query)
    assert match, query
    selector = substitute(match[1], chosen, 3600, 60)
    found = prometheus.ask(f"label/{match[2]}/values", **{"match[]": selector})
    return [value for value in found if value]


def regex(value: str) -> str:
    """Of a choice among several, within a quoted regular expression."""
    escaped = re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", "\\\\\\\\"))
    return escaped.replace('"', '\\"')


def quoted(value: str) -> str:
    """Of a single choice, within quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def names(text: str) -> set[str]:
    """Metrics that a text names."""
    return set(re.findall(r"(?<![\w:])(?:labelwatch|process)_\w+", text))


def substitute(expr: str, values: Mapping[str, str], range_seconds: float, step: float) -> str:
    """An expression as it is sent."""
    everything = {
        "__rate_interval": f"{int(max(step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS))}s",
        "__interval": f"{int(max(step, SCRAPE_SECONDS))}s",
        "__range": f"{int(range_seconds)}s",
        **values,
    }
    for name in sorted(everything, key=len, reverse=True):
        expr = re.sub(rf"\$(?:{name}\b|\{{{name}(?::\w+)?\}})", everything[name].replace("\\", r"\\"), expr)
    assert "$" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", expr), f"a variable that nobody fills: {expr}"
    return expr


def filled(board: dict[str, Any], expr: str) -> str:
    """An expression that parses: each variable stands for anything."""
    anything = {each["name"]: "1h" if each["name"] == "window" else "x" for each in board["templating"]["list"]}
    return substitute(expr, anything, seconds(board["time"]["from"]), 60)


def run(
    asked: Asked, values: Mapping[str, str], board: dict[str, Any], prometheus: Prometheus, now: float
) -> list[Any]:
    """The series that a query finds, those with nothing but NaN left out."""
    length = seconds(board["time"]["from"])
    step = max(asked.step, length / asked.points)
    expr = substitute(asked.expr, values, length, step)
    if asked.instant:
        return list(prometheus.ask("query", query=expr, time=now)["result"])
    found = prometheus.ask("query_range", query=expr, start=now - length, end=now, step=step)["result"]
    return [series for series in found if any(value != "NaN" for _, value in series["values"])]
