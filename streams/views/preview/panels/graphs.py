"""A graph of two measures: XY chart."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from streams.views.preview import charts
from streams.views.preview.answers import PanelData
from streams.views.preview.board import Panel
from streams.views.preview.fields import DisplayField, FieldConfig, matches
from streams.views.preview.frames import Frame
from streams.views.preview.panels.canvas import Canvas, render
from streams.views.preview.panels.legend import Legend
from streams.views.preview.panels.tables import is_hidden


def xy_chart(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """Points of two measures."""
    series = []
    pairs: Sequence[Mapping[str, Any]] = panel.options.get("series") or ({},)
    for frame_fields in config.fields(frames):
        numbers = [each for each in frame_fields if each.column.kind == "number" and not is_hidden(each)]
        for wanted in pairs:
            across = _matched(numbers, wanted.get("x")) or (numbers[0] if numbers else None)
            upwards = _matched(numbers, wanted.get("y")) or next((each for each in numbers if each is not across), None)
            if across is None or upwards is None:
                continue
            by = _matched(frame_fields, wanted.get("color"))
            values = (by or upwards).column.values
            shades = [(by or upwards).show(value).color if by else upwards.series_color for value in values]
            series.append((across, upwards, shades))
    if not any(_has_points(across, upwards) for across, upwards, _ in series):
        return None
    names = [(upwards, upwards.column.values) for _, upwards, _ in series] if len(series) > 1 else []
    legend = Legend(panel.options.get("legend") or {}, names, canvas)
    width, height = legend.left_over(canvas)
    return render("chart", svg=Markup(charts.scatter(series, width, height)), legend=legend)


def _has_points(across: DisplayField, upwards: DisplayField) -> bool:
    pairs = zip(across.column.numbers(), upwards.column.numbers(), strict=True)
    return any(math.isfinite(x) and math.isfinite(y) for x, y in pairs)


def _matched(fields: Sequence[DisplayField], wanted: Any) -> DisplayField | None:
    matcher = (wanted or {}).get("matcher")
    return next((each for each in fields if matcher and matches(matcher, each.column)), None)
