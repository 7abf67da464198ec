"""A board's JSON as the preview reads it, and whether all in it can be drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.text import choice
from streams.views.preview.errors import PreviewError
from streams.views.preview.transform import TRANSFORMATIONS, unknown

#: Kinds of panels that are drawn, by Grafana's ids.
KINDS = ("bargauge", "heatmap", "stat", "state-timeline", "table", "text", "timeseries", "xychart")
#: How a table's cell may look; the others are drawn as text.
CELLS = ("auto", "color-background", "color-text", "data-links", "gauge")


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        kind: Grafana's id of its plugin.
        title: As in the board, variables not put in.
        description: What a viewer reads behind the (i).
        x: Columns from the left, of 24.
        y: Rows from the top.
        width: In columns.
        height: In rows.
        queries: Its targets that are not hidden.
        options: Of its kind.
        field_config: Defaults and overrides.
        transformations: In order.
        is_transparent: Without a background of its own.
        min_interval: The least step of its queries, such as `1m`.
        max_points: How many points a query may give; None for its width.
        time_from: A time range of its own, such as `28d`.
    """

    kind: str
    title: str
    description: str
    x: int
    y: int
    width: int
    height: int
    queries: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    field_config: Mapping[str, Any] = field(default_factory=dict)
    transformations: Sequence[Mapping[str, Any]] = ()
    is_transparent: bool = False
    min_interval: str = ""
    max_points: int | None = None
    time_from: str = ""


@dataclass(frozen=True, slots=True)
class PreviewBoard:
    """A board with its panels in their places."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: Sequence[Mapping[str, Any]] = ()
    annotations: Sequence[Mapping[str, Any]] = ()
    time_from: str = "now-6h"
    time_to: str = "now"
    timezone: str = ""

    @property
    def language(self) -> str:
        """`zh` for a Chinese edition."""
        return "zh" if self.uid.endswith("-zh") else "en"


def board_of(data: Mapping[str, Any]) -> PreviewBoard:
    """A board from its JSON.

    Raises:
        PreviewError: It is no board, or something in it cannot be drawn here.
    """
    uid = str(data.get("uid") or "")
    if not uid or "panels" not in data:
        raise PreviewError("this is no Grafana board: it has no uid, or no panels")
    time = data.get("time") or {}
    annotations = (data.get("annotations") or {}).get("list") or ()
    board = PreviewBoard(
        uid,
        str(data.get("title") or uid),
        tuple(sorted((_panel(each, uid) for each in data["panels"]), key=lambda panel: (panel.y, panel.x))),
        (data.get("templating") or {}).get("list") or (),
        [each for each in annotations if _is_asked(each)],
        str(time.get("from") or "now-6h"),
        str(time.get("to") or "now"),
        str(data.get("timezone") or ""),
    )
    return board


def place(uid: str, title: str) -> str:
    """How errors name a panel."""
    return f"board {uid}, panel {title!r}"


def _is_asked(annotation: Mapping[str, Any]) -> bool:
    return bool(annotation.get("enable", True)) and bool(annotation.get("expr") or _expression(annotation))


def _expression(annotation: Mapping[str, Any]) -> str:
    return str((annotation.get("target") or {}).get("expr") or "")


def _panel(data: Mapping[str, Any], uid: str) -> Panel:
    grid, title = data["gridPos"], str(data.get("title") or "")
    panel = Panel(
        str(data["type"]),
        title,
        str(data.get("description") or ""),
        int(grid.get("x", 0)),
        int(grid.get("y", 0)),
        int(grid["w"]),
        int(grid["h"]),
        [each for each in data.get("targets") or () if not each.get("hide")],
        data.get("options") or {},
        data.get("fieldConfig") or {},
        data.get("transformations") or (),
        bool(data.get("transparent")),
        str(data.get("interval") or ""),
        data.get("maxDataPoints"),
        str(data.get("timeFrom") or ""),
    )
    if trouble := _trouble(panel, bool(data.get("repeat"))):
        where = place(uid, title or panel.kind)
        raise PreviewError(f"{where}: {trouble}. Change the board, or teach streams/views/preview to draw it.")
    return panel


def _trouble(panel: Panel, repeats: bool) -> str:
    if panel.kind not in KINDS:
        return f"panels of the kind {panel.kind!r} are not drawn here: use {choice(KINDS)}"
    if repeats:
        return "a panel that repeats by a variable is not drawn here"
    for step in panel.transformations:
        if step["id"] not in TRANSFORMATIONS:
            return unknown(step["id"])
    overrides = panel.field_config.get("overrides") or ()
    cells = [
        each.get("value")
        for override in overrides
        for each in override["properties"]
        if each["id"] == "custom.cellOptions"
    ]
    cells.append(((panel.field_config.get("defaults") or {}).get("custom") or {}).get("cellOptions"))
    for cell in cells:
        if cell and cell.get("type", "auto") not in CELLS:
            return f"table cells of the kind {cell['type']!r} are not drawn here: use {choice(CELLS)}"
    for query in panel.queries:
        source = query.get("datasource") or {}
        if isinstance(source, dict) and source.get("type", "prometheus") != "prometheus":
            return f"a query asks a data source of the kind {source['type']!r}; only prometheus is drawn here"
    return ""
