"""Panels of single values: stat and bar gauge."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from streams.views.preview import colors, layout
from streams.views.preview.answers import PanelData
from streams.views.preview.board import Panel
from streams.views.preview.fields import DisplayField, FieldConfig, ShownValue
from streams.views.preview.frames import Frame, reduced
from streams.views.preview.panels.canvas import Canvas, render

_TILE_GAP = 8
_LEAST_NAME = 14
#: The share of a tile's height that its line has.
_SPARKLINE = 0.3


@dataclass(frozen=True, slots=True)
class _Single:
    """One value of a panel that shows values."""

    name: str
    shown: ShownValue
    field: DisplayField
    frame: Frame


def _singles(panel: Panel, frames: Sequence[Frame], config: FieldConfig) -> list[_Single]:
    """The values that a panel's `reduceOptions` choose."""
    how = panel.options.get("reduceOptions") or {}
    wanted = str(how.get("fields") or "")
    pattern = re.compile(wanted[1:-1] if wanted.startswith("/") and wanted.endswith("/") else f"^{re.escape(wanted)}$")
    reducer = str((how.get("calcs") or ["lastNotNull"])[0])
    out = []
    for frame, fields in zip(frames, config.fields(frames), strict=True):
        for each in fields:
            is_chosen = pattern.search(each.column.title) if wanted else each.column.kind == "number"
            if not is_chosen or each.hidden_from("viz"):
                continue
            if how.get("values"):
                rows = range(min(frame.height, int(how.get("limit") or 25)))
                names = next((other.column for other in fields if other.column.kind == "string"), None)
                for row in rows:
                    name = str(names.values[row]) if names is not None and names is not each.column else each.name
                    out.append(_Single(name, each.show(each.column.values[row]), each, frame))
            else:
                out.append(_Single(each.name, each.show(reduced(each.column.values, reducer)), each, frame))
    return out


def stat(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """Tiles of values, all of one size."""
    values = _singles(panel, frames, config)
    if not values:
        return None
    options = panel.options
    across, down = _grid(str(options.get("orientation") or "auto"), canvas, len(values))
    width = (canvas.width - (across - 1) * _TILE_GAP) / across
    height = (canvas.height - (down - 1) * _TILE_GAP) / down
    mode = str(options.get("textMode") or "auto")
    has_name = mode in ("value_and_name", "name") or (mode == "auto" and len(values) > 1)
    has_value = mode not in ("name", "none")
    is_wide = options.get("wideLayout", True) is not False and width / height > 2.5
    sparkline = options.get("graphMode", "area") == "area" and not (options.get("reduceOptions") or {}).get("values")
    background = str(options.get("colorMode") or "value")
    sizes = options.get("text") or {}
    tiles = []
    padding = 12 if height > 100 else 8
    room, tall = width - 2 * padding, height - 2 * padding
    # All tiles of a panel have one size, that of the longest text.
    longest_name = max((each.name for each in values), key=lambda text: layout.text_width(text, 1))
    longest = max((each.shown.text for each in values), key=lambda text: layout.text_width(text, 1))
    beside = is_wide and has_name and has_value
    fitting = layout.font_size(longest_name, room * (0.6 if beside else 1), tall * (1 if beside else 0.3), 30)
    # A very long name is cut rather than made too small to read.
    name_size = sizes.get("titleSize") or max(fitting, _LEAST_NAME)
    drawing = 0.0 if not sparkline or beside else height * _SPARKLINE
    left = tall - drawing - (0 if beside or not has_name else name_size * 1.2)
    value_size = sizes.get("valueSize") or layout.font_size(longest, room * (0.38 if beside else 1), left, 120)
    for each in values:
        is_filled = background.startswith("background") and not colors.is_clear(each.shown.color)
        text_color = colors.on(each.shown.color) if is_filled else each.shown.color
        if background == "none" or (not is_filled and colors.is_clear(each.shown.color)):
            text_color = colors.TEXT
        tiles.append(
            {
                "name": each.name if has_name else "",
                "text": each.shown.text if has_value else "",
                "background": each.shown.color if is_filled else "transparent",
                "color": text_color,
                "name_color": text_color if is_filled else colors.TEXT,
                "line": _sparkline(each, width, height, is_filled) if sparkline and not beside else "",
                "change": _change(each) if options.get("showPercentChange") else "",
            }
        )
    is_centered = options.get("justifyMode") == "center" or not has_name
    return render(
        "stat", tiles=tiles, across=across, down=down, name_size=name_size, value_size=value_size, is_wide=beside,
        is_centered=is_centered, padding=padding, bottom=round(padding + drawing), gap=_TILE_GAP,
        last=len(values) - across * (down - 1),
    )  # fmt: skip


def _grid(orientation: str, canvas: Canvas, count: int) -> tuple[int, int]:
    if orientation == "horizontal":
        return 1, count
    if orientation == "vertical":
        return count, 1
    return layout.tiles(canvas.width, canvas.height, count)


def _change(single: _Single) -> str:
    """From the first value to the last, in percent; empty where that says nothing."""
    numbers = [value for value in single.field.column.numbers() if math.isfinite(value)]
    if len(numbers) < 2 or not numbers[0]:
        return ""
    change = numbers[-1] / numbers[0] - 1
    return f"{'▲' if change > 0 else '▼' if change < 0 else ''} {abs(change):.0%}".strip()


def _sparkline(single: _Single, width: float, height: float, is_filled: bool) -> Markup | str:
    """A line without axes in the lower half of a tile."""
    times = single.frame.times()
    if times is None or single.frame.height < 2:
        return ""
    known = [
        (at, value)
        for at, value in zip(times.numbers(), single.field.column.numbers(), strict=True)
        if math.isfinite(value)
    ]
    if len(known) < 2:
        return ""
    tall = height * _SPARKLINE
    low, high = min(value for _, value in known), max(value for _, value in known)
    start, end = known[0][0], known[-1][0]
    points = [
        (
            (at - start) / ((end - start) or 1.0) * width,
            tall - 2 - ((value - low) / (high - low) if high > low else 0.5) * (tall - 4),
        )
        for at, value in known
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    color = "#ffffff" if is_filled else single.shown.color
    return render("sparkline", width=round(width, 1), height=round(tall, 1), line=line, color=color)


def bar_gauge(
    panel: Panel, frames: Sequence[Frame], config: FieldConfig, answer: PanelData, canvas: Canvas
) -> Markup | None:
    """Bars of values on one scale."""
    values = _singles(panel, frames, config)
    if not values:
        return None
    options = panel.options
    orientation = str(options.get("orientation") or "auto")
    is_flat = orientation == "horizontal" or (orientation == "auto" and canvas.width <= canvas.height)
    # One scale for all: a bar means something beside the others only.
    low = min(0.0, *(each.field.low for each in values)) if _no_limit(values, "min") else min(_lows(values))
    high = max(each.field.high for each in values)
    scale = (high - low) or 1.0
    sizes = options.get("text") or {}
    longest = max((each.shown.text for each in values), key=lambda text: layout.text_width(text, 1))
    names = max((each.name for each in values), key=lambda text: layout.text_width(text, 1))
    gap = _TILE_GAP if canvas.height / len(values) > 30 else _TILE_GAP // 2
    row = (canvas.height - (len(values) - 1) * gap) / len(values)
    row = min(row, float(options.get("maxVizHeight") or 300) if is_flat else row)
    size = sizes.get("titleSize") or max(min(row * 0.6, 20.0), 11.0)
    value_size = sizes.get("valueSize") or max(min(row * 0.6, 24.0), 11.0)
    if is_flat:
        size, value_size = (min(each, max(row / 1.25, 11.0)) for each in (size, value_size))
    zero = min(max(-low / scale, 0.0), 1.0)
    bars = []
    for each in values:
        share = 0.0 if math.isnan(each.shown.number) else min(max((each.shown.number - low) / scale, 0.0), 1.0)
        bars.append(
            {
                "name": each.name,
                "text": each.shown.text,
                "color": each.shown.color,
                # From 0 on, to whichever side.
                "start": round(100 * min(share, zero), 2),
                "length": round(100 * abs(share - zero), 2),
            }
        )
    return render(
        "bargauge", bars=bars, is_flat=is_flat, size=size, value_size=value_size, gap=gap, row=round(row, 1),
        name_width=round(min(layout.text_width(names, size) + 8, canvas.width * 0.4)),
        value_width=round(layout.text_width(longest, value_size) + 8),
        is_shown_unfilled=options.get("showUnfilled", True) is not False,
    )  # fmt: skip


def _no_limit(values: Sequence[_Single], end: str) -> bool:
    return all(each.field.config.get(end) is None for each in values)


def _lows(values: Sequence[_Single]) -> list[float]:
    return [each.field.low for each in values]
