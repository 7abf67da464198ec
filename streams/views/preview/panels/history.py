"""Panels over time: time series, state timeline, heat map."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from streams.views.preview import axes, charts, colors, layout
from streams.views.preview.answers import PanelData
from streams.views.preview.board import Panel
from streams.views.preview.fields import DisplayField, FieldConfig, ShownValue
from streams.views.preview.frames import Frame, one_frame
from streams.views.preview.panels.canvas import Canvas, render
from streams.views.preview.panels.legend import FONT, ROW, Legend, rows_of


def _over_time(frames: Sequence[Frame], config: FieldConfig) -> Iterator[tuple[DisplayField, list[float]]]:
    """What panels over time draw of frames that have times: each field with these, in seconds."""
    for frame, fields in zip(frames, config.fields(frames), strict=True):
        times = frame.times()
        if times is not None:
            seconds = [at / 1000 for at in times.numbers()]
            yield from ((each, seconds) for each in fields if not each.hidden_from("viz"))


def time_series(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """Lines over time with their legend."""
    lines = [
        charts.GraphLine(each, seconds, each.column.numbers())
        for each, seconds in _over_time(frames, config)
        if each.column.kind == "number"
    ]
    if not any(math.isfinite(value) for line in lines for value in line.values):
        return None
    shown = [line for line in lines if not line.field.hidden_from("legend")]
    legend = Legend(
        panel.options.get("legend") or {}, [(line.field, line.field.column.values) for line in shown], canvas
    )
    width, height = legend.left_over(canvas)
    marks = [mark for mark in canvas.marks if mark.end >= answer.window.start and mark.start <= answer.window.end]
    svg = charts.time_series(lines, answer.window, answer.step, width, height, marks)
    return render("chart", svg=Markup(svg), legend=legend)


def state_timeline(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """A lane a series, coloured by what it was."""
    window, merges = answer.window, panel.options.get("mergeValues", True) is not False
    rows = [
        (each, _spells(each, seconds, answer.step, window.end, merges))
        for each, seconds in _over_time(frames, config)
        if each.column.kind != "time"
    ]
    if not any(spells for _, spells in rows):
        return None
    label = round(min(max(layout.text_width(each.name, FONT) for each, _ in rows) + 12, canvas.width * 0.3))
    legend = _states(rows) if (panel.options.get("legend") or {}).get("showLegend", True) is not False else []
    used = rows_of([layout.text_width(entry["name"], FONT) + 34 for entry in legend], canvas.width) * ROW
    tall = (canvas.height - 22 - used) / len(rows)
    width = canvas.width - label - 8
    share = float(panel.options.get("rowHeight") or 0.9)
    opacity = float(rows[0][0].custom.get("fillOpacity", 70)) / 100
    says = str(panel.options.get("showValue") or "auto")

    def place(at: float) -> float:
        return round(100 * (max(at, window.start) - window.start) / window.seconds, 3)

    def fits(text: str, start: float, end: float) -> bool:
        return tall > 12 and layout.text_width(text, FONT) + 8 < width * (end - start) / window.seconds

    drawn = [
        {
            "name": each.name,
            "spells": [
                {
                    "left": place(start),
                    "width": round(place(end) - place(start), 3),
                    "color": shown.color,
                    "text_color": colors.on(shown.color) if opacity > 0.6 else colors.TEXT,
                    "text": shown.text if says == "always" or (says == "auto" and fits(shown.text, start, end)) else "",
                    "title": shown.text,
                }
                for start, end, shown in spells
            ],
        }
        for each, spells in rows
    ]  # fmt: skip
    marks = [
        {"left": place(mark.start), "color": colors.hex_of(mark.color), "text": mark.text}
        for mark in canvas.marks
        if window.start <= mark.start <= window.end
    ]
    ticks = [{"left": place(at), "text": text} for at, text in axes.time_ticks(window, width)]
    return render(
        "timeline", rows=drawn, ticks=ticks, label=label, row_height=round(tall, 2), bar=round(tall * share, 2),
        marks=marks, opacity=opacity, legend=legend, font=round(max(min(tall * share * 0.65, 14.0), 10.0)),
    )  # fmt: skip


def _spells(
    each: DisplayField, seconds: Sequence[float], step: float, end: float, merges: bool
) -> list[tuple[float, float, ShownValue]]:
    """Spans in which a field shows the same."""
    spells: list[tuple[float, float, ShownValue]] = []
    for at, value in zip(seconds, each.column.values, strict=True):
        if (value is None or (isinstance(value, float) and math.isnan(value))) and not each.maps(value):
            continue
        shown = each.show(value)
        if spells and at - spells[-1][1] < step / 2:
            start, _, before = spells[-1]
            if merges and (before.text, before.color) == (shown.text, shown.color):
                spells[-1] = (start, min(at + step, end), before)
                continue
        spells.append((at, min(at + step, end), shown))
    return [spell for spell in spells if spell[1] > spell[0]]


def _states(rows: Sequence[tuple[DisplayField, Sequence[tuple[float, float, ShownValue]]]]) -> list[dict[str, str]]:
    """What the colours mean: every state that occurs, by its code, highest first."""
    known = {(shown.text, shown.color): shown.number for _, spells in rows for _, _, shown in spells}
    ordered = sorted(
        known, key=lambda state: (math.isnan(known[state]), -known[state] if known[state] == known[state] else 0)
    )
    return [{"name": text, "color": color} for text, color in ordered]


def heat_map(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """Rows of coloured cells over time."""
    fields = [each for fields in config.fields(frames) for each in fields]
    times = sorted({at / 1000 for frame in frames if (column := frame.times()) for at in column.numbers()})
    joined = one_frame(frames)
    numbers = [column for column in joined.columns if column.kind == "number"]
    if not numbers or not times:
        return None
    named = {id(each.column): each for each in fields if each.column.kind == "number"}
    labels = [_bucket(each.name, panel, each, canvas) for each in named.values()]
    # Grafana leaves cells out that are not above this: those in which nothing has happened.
    nothing = (panel.options.get("filterValues") or {}).get("le", -math.inf)
    rows = [
        (label, [value if value > nothing else math.nan for value in column.numbers()])
        for label, column in zip(labels, numbers, strict=True)
    ]
    known = [value for _, values in rows for value in values if math.isfinite(value)]
    if not known:
        return None
    scheme = dict(panel.options.get("color") or {})
    legend_height = 0 if (panel.options.get("legend") or {}).get("show") is False else ROW
    svg = charts.heat_map(rows, times, answer.window, answer.step, canvas.width, canvas.height - legend_height, scheme)
    low = float(scheme["min"]) if scheme.get("min") is not None else min(known)
    high = float(scheme["max"]) if scheme.get("max") is not None else max(known)
    cell = next(iter(named.values()))
    unit = (panel.options.get("cellValues") or {}).get("unit") or cell.unit
    scale = DisplayField(cell.column, {**cell.config, "unit": unit, "mappings": ()}, 0, canvas.moment)
    ends = [scale.show(end).text for end in (low, high)]
    palette = charts.color_map(scheme)
    stops = ", ".join(_css(palette(place / 8)) for place in range(9))
    return render("heatmap", svg=Markup(svg), low=ends[0], high=ends[1], stops=stops, has_legend=bool(legend_height))


def _bucket(name: str, panel: Panel, each: DisplayField, canvas: Canvas) -> str:
    """A row's name; the end of a bucket gets the unit of the axis."""
    unit = (panel.options.get("yAxis") or {}).get("unit")
    try:
        end = float(name)
    except ValueError:
        return name
    return DisplayField(each.column, {"unit": unit}, 0, canvas.moment).tick(end) if unit else name


def _css(color: Sequence[float]) -> str:
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in color[:3])
