"""Tables."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from streams.views.preview import colors
from streams.views.preview.answers import PanelData
from streams.views.preview.board import Panel
from streams.views.preview.fields import DisplayField, FieldConfig
from streams.views.preview.frames import Frame, Value
from streams.views.preview.panels.canvas import Canvas, render
from streams.views.preview.transform import sorted_frame

#: Room below the rows for how many more there are.
_MORE_HEIGHT = 20
_ROW_HEIGHTS = {"sm": 36, "md": 42, "lg": 48}


def table(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """A table of the first frame."""
    frame = frames[0]
    for by in reversed(panel.options.get("sortBy") or ()):
        shown_names = {each.name: each.column.title for each in config.fields([frame])[0]}
        title = str(by.get("displayName", ""))
        frame = sorted_frame(frame, shown_names.get(title, title), bool(by.get("desc")))
    fields = [each for each in config.fields([frame])[0] if not is_hidden(each)]
    if not fields:
        return None
    height = _ROW_HEIGHTS.get(str(panel.options.get("cellHeight") or "sm"), 36)
    has_header = panel.options.get("showHeader", True) is not False
    fit = max(int((canvas.height - (height if has_header else 0)) // height), 1)
    if frame.height > fit > 1 and canvas.height - (fit + has_header) * height < _MORE_HEIGHT:
        fit -= 1
    rows = [[_cell(each, each.column.values[row]) for each in fields] for row in range(min(frame.height, fit))]
    return render(
        "table", heads=[(each.name, _align(each)) for each in fields], rows=rows, row_height=height,
        widths=_widths(fields, canvas.width), has_header=has_header, more=max(frame.height - fit, 0),
    )  # fmt: skip


def is_hidden(each: DisplayField) -> bool:
    """Whether the board leaves a column out of the picture."""
    return bool(each.custom.get("hidden")) or each.hidden_from("viz")


def _align(each: DisplayField) -> str:
    wanted = str(each.custom.get("align") or "auto")
    return wanted if wanted in ("left", "center", "right") else "right" if each.column.kind == "number" else "left"


def _widths(fields: Sequence[DisplayField], width: int) -> list[int]:
    fixed = [int(each.custom.get("width") or 0) for each in fields]
    free = fixed.count(0)
    rest = max(width - sum(fixed), 0)
    return [
        each or max(rest // free, int(field.custom.get("minWidth") or 60))
        for each, field in zip(fixed, fields, strict=True)
    ]


def _cell(each: DisplayField, value: Value) -> dict[str, Any]:
    shown = each.show(value)
    cell = each.custom.get("cellOptions") or {"type": each.custom.get("displayMode") or "auto"}
    kind, style, bar = str(cell.get("type") or "auto"), "", None
    # Plain cells have no colour; those without a value have no background.
    if kind == "color-background" and not colors.is_clear(shown.color) and value is not None:
        style = f"background:{shown.color};color:{colors.on(shown.color)}"
    elif kind == "color-text" and not colors.is_clear(shown.color):
        style = f"color:{shown.color}"
    elif kind == "gauge" and not math.isnan(shown.number):
        share = (shown.number - each.low) / ((each.high - each.low) or 1.0)
        bar = {"share": round(100 * min(max(share, 0.0), 1.0), 1), "color": shown.color}
    return {"text": shown.text, "style": style, "align": _align(each), "bar": bar}
