"""Graphs with axes, drawn by matplotlib as SVG for the page."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.ticker import FixedLocator, LogLocator

from streams.views.preview import colors
from streams.views.preview.answers import Annotation
from streams.views.preview.axes import (
    FONT,
    STYLE,
    TICK_PIXELS_X,
    TICK_PIXELS_Y,
    Sides,
    cut,
    figure_of,
    nice_ticks,
    second_axis,
    svg_of,
    tick_labels,
    time_axis,
    time_sides,
)
from streams.views.preview.fields import DisplayField
from streams.views.preview.layout import text_width
from streams.views.preview.times import TimeRange

#: Units whose numbers stand at an axis as they are.
_COUNTS = ("", "none", "short", "locale")


@dataclass(frozen=True, slots=True)
class GraphLine:
    """A series of a graph: its field and its points, epoch seconds; NaN where there is none."""

    field: DisplayField
    times: Sequence[float]
    values: Sequence[float]


def time_series(
    lines: Sequence[GraphLine], window: TimeRange, step: float, width: int, height: int, happened: Sequence[Annotation]
) -> str:
    """Lines, areas, bars and points over time.

    Args:
        lines: Series, in the order of their colours.
        window: What the axis of time spans.
        step: Distance of two points, seconds; a longer one is a gap.
        width: Pixels.
        height: Pixels.
        happened: Annotations.

    Returns:
        SVG.
    """
    with mpl.rc_context(STYLE):
        figure, first = figure_of(width, height)
        axes = _scales(first, lines)
        ordered = sorted(lines, key=lambda line: not _drawn_below(line))
        stacked: dict[tuple[int, str, str], Any] = {}
        totals = _totals(lines)
        for line in ordered:
            _line(axes[id(line)], line, lines, step, stacked, totals)
        for axis in dict.fromkeys(axes.values()):
            _thresholds(axis, next(line.field for line in lines if axes[id(line)] is axis))
        _marks(first, happened)
        for axis in dict.fromkeys(axes.values()):
            _value_scale(axis, [line for line in lines if axes[id(line)] is axis], height)
        sides = time_sides(dict.fromkeys(axes.values()))
        time_axis(first, window, width - sides.left - sides.right)
        return svg_of(figure, sides, width, height)


def _scales(first: Axes, lines: Sequence[GraphLine]) -> dict[int, Axes]:
    """An axis a line: one for each unit and side, the first unit at the left, the next at the right."""
    known: dict[tuple[str, str], Axes] = {}
    out = {}
    for line in lines:
        placement = str(line.field.custom.get("axisPlacement") or "auto")
        key = (line.field.unit, placement)
        if key not in known:
            is_first = not known
            same_unit = next((axis for (unit, _), axis in known.items() if unit == line.field.unit), None)
            if placement in ("auto", "hidden") and same_unit is not None:
                known[key] = same_unit
            else:
                known[key] = first if is_first else second_axis(first)
                axis = known[key]
                if placement == "right" or (placement == "auto" and not is_first):
                    axis.yaxis.tick_right()
                if placement == "hidden":
                    axis.yaxis.set_visible(False)
        out[id(line)] = known[key]
    return out


def _value_scale(axis: Axes, lines: Sequence[GraphLine], height: int) -> None:
    field = lines[0].field
    custom = field.custom
    low, high = axis.get_ylim()
    finite = [value for line in lines for value in line.values if math.isfinite(value)]
    stacked = any(_stacking(line)[0] != "none" or _style(line) == "bars" for line in lines)
    if finite and not stacked:
        low, high = min(finite), max(finite)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
        low, high = low - (room if low != 0 else 0.0), high + room
        if min(finite) >= 0:
            low = max(low, 0.0)
    for config in (each.field for each in lines):
        soft_low, soft_high = config.custom.get("axisSoftMin"), config.custom.get("axisSoftMax")
        low = min(low, float(soft_low)) if soft_low is not None else low
        high = max(high, float(soft_high)) if soft_high is not None else high
    lows = [float(each.field.config["min"]) for each in lines if each.field.config.get("min") is not None]
    highs = [float(each.field.config["max"]) for each in lines if each.field.config.get("max") is not None]
    low, high = min(lows, default=low), max(highs, default=high)
    if high <= low:
        high = low + 1.0
    scale = custom.get("scaleDistribution") or {}
    if scale.get("type") in ("log", "symlog") and (finite or [0])[0] > 0:
        axis.set_yscale("log")
        positive = [value for value in finite if value > 0]
        axis.set_ylim(min(positive) * 0.8, max(positive) * 1.25)
        axis.yaxis.set_major_locator(LogLocator(base=10, numticks=max(height // TICK_PIXELS_Y, 2)))
        axis.yaxis.set_minor_locator(FixedLocator([]))
    else:
        axis.set_ylim(low, high)
        is_whole = field.config.get("decimals") == 0 and field.unit in _COUNTS
        axis.yaxis.set_major_locator(FixedLocator(nice_ticks(low, high, max(height // TICK_PIXELS_Y, 2), is_whole)))
    ticks = [tick for tick in axis.get_yticks() if axis.get_ylim()[0] <= tick <= axis.get_ylim()[1]]
    axis.yaxis.set_major_locator(FixedLocator(ticks))
    is_percent = _stacking(lines[0])[0] == "percent"
    axis.set_yticklabels([f"{tick:.0%}" for tick in ticks] if is_percent else tick_labels(field, ticks))
    if label := custom.get("axisLabel"):
        axis.set_ylabel(str(label), fontsize=FONT, color=colors.DIM)


# Series.


def _style(line: GraphLine) -> str:
    return str(line.field.custom.get("drawStyle") or "line")


def _stacking(line: GraphLine) -> tuple[str, str]:
    stacking = line.field.custom.get("stacking") or {}
    return str(stacking.get("mode") or "none"), str(stacking.get("group") or "A")


def _drawn_below(line: GraphLine) -> bool:
    return bool(line.field.custom.get("fillBelowTo"))


def _totals(lines: Sequence[GraphLine]) -> dict[float, float]:
    totals: dict[float, float] = {}
    for line in lines:
        if _stacking(line)[0] == "percent":
            for at, value in zip(line.times, line.values, strict=True):
                totals[at] = totals.get(at, 0.0) + (value if math.isfinite(value) else 0.0)
    return totals


def _line(
    axis: Axes,
    line: GraphLine,
    lines: Sequence[GraphLine],
    step: float,
    stacked: dict[tuple[int, str, str], Any],
    totals: dict[float, float],
) -> None:
    custom, color = line.field.custom, line.field.series_color
    mode, group = _stacking(line)
    opacity = float(custom.get("fillOpacity") or 0) / 100
    times, values = np.array(line.times, dtype=float), np.array(line.values, dtype=float)
    base: Any = 0.0
    if mode != "none":
        if mode == "percent":
            values = values / np.array([totals.get(at) or math.nan for at in line.times])
        key = (id(axis), group, _style(line))
        before: dict[float, float] = stacked.setdefault(key, {})
        base = np.array([before.get(at, 0.0) for at in line.times])
        values = np.nan_to_num(values) + base
        before.update(zip(line.times, values.tolist(), strict=True))
    if _style(line) == "bars":
        axis.bar(
            times, values - base, bottom=base, width=step * 0.85, color=color, alpha=max(opacity, 0.4), linewidth=0
        )
        return
    if not custom.get("spanNulls"):
        times, values, base = _with_gaps(times, values, base, step)
    where: Any = {"stepAfter": "post", "stepBefore": "pre"}.get(str(custom.get("lineInterpolation")))
    below = next((each for each in lines if each.field.column.title == custom.get("fillBelowTo")), None)
    if below is not None:
        known = dict(zip(below.times, below.values, strict=True))
        floor = np.array([known.get(at, math.nan) for at in times.tolist()])
        axis.fill_between(times, floor, values, color=color, alpha=max(opacity, 0.15), linewidth=0, step=where)
    elif opacity:
        axis.fill_between(times, base, values, color=color, alpha=opacity, linewidth=0, step=where)
    width = float(custom.get("lineWidth", 1))
    is_line = _style(line) == "line" and width > 0
    points = str(custom.get("showPoints") or "auto")
    lonely = _lonely(values)
    if is_line:
        dashes = (
            (custom.get("lineStyle") or {}).get("dash")
            if (custom.get("lineStyle") or {}).get("fill") == "dash"
            else None
        )
        (drawn,) = axis.plot(
            times, values, color=color, linewidth=width, drawstyle=f"steps-{where}" if where else "default",
            solid_joinstyle="round",
        )  # fmt: skip
        if (custom.get("lineStyle") or {}).get("fill") in ("dash", "dot"):
            drawn.set_linestyle((0, tuple(each / max(width, 1) for each in dashes or (2, 4))))
    size = float(custom.get("pointSize") or 5)
    if points == "always" or _style(line) == "points":
        axis.plot(times, values, linestyle="none", marker="o", markersize=size, color=color, markeredgewidth=0)
    elif lonely.any() and is_line:
        axis.plot(
            times[lonely], values[lonely], linestyle="none", marker="o", markersize=4, color=color, markeredgewidth=0
        )


def _with_gaps(times: Any, values: Any, base: Any, step: float) -> tuple[Any, Any, Any]:
    """A NaN where points are missing, so that no line crosses what nobody knows."""
    after = np.nonzero(np.diff(times) > 1.5 * step)[0] + 1
    new_base = np.insert(base, after, 0.0) if isinstance(base, np.ndarray) else base
    return np.insert(times, after, times[after] - step / 2), np.insert(values, after, math.nan), new_base


def _lonely(values: Any) -> Any:
    """Points without a neighbour: a line would not show them."""
    known = np.isfinite(values)
    before, after = np.roll(known, 1), np.roll(known, -1)
    if len(known):
        before[0], after[-1] = False, False
    return known & ~before & ~after


def _thresholds(axis: Axes, field: DisplayField) -> None:
    style = str((field.custom.get("thresholdsStyle") or {}).get("mode") or "off")
    if style == "off":
        return
    steps = field.thresholds()
    for number, (least, color) in enumerate(steps):
        shown = colors.hex_of(color)
        if math.isfinite(least) and ("line" in style or "dashed" in style):
            axis.axhline(least, color=shown, linewidth=1.5, linestyle=(0, (6, 4)) if "dashed" in style else "-")
        if "area" in style and not colors.is_clear(shown):
            top = steps[number + 1][0] if number + 1 < len(steps) else axis.get_ylim()[1]
            axis.axhspan(
                least if math.isfinite(least) else axis.get_ylim()[0], top, color=shown, alpha=0.1, linewidth=0
            )


def _marks(axis: Axes, happened: Iterable[Annotation]) -> None:
    for mark in happened:
        color = colors.hex_of(mark.color)
        axis.axvline(mark.start, color=color, linewidth=1.2, linestyle=(0, (4, 3)))
        if mark.end > mark.start:
            axis.axvline(mark.end, color=color, linewidth=1.2, linestyle=(0, (4, 3)))
            axis.axvspan(mark.start, mark.end, color=color, alpha=0.08, linewidth=0)


# Other graphs.


def heat_map(
    rows: Sequence[tuple[str, Sequence[float]]], times: Sequence[float], window: TimeRange, step: float,
    width: int, height: int, scheme: dict[str, Any],
) -> str:  # fmt: skip
    """Rows of cells, coloured by their values; the first row is the lowest.

    Args:
        rows: Each row's name and its values; NaN where there is none.
        times: The middle or start of each column, epoch seconds.
        window: What the axis of time spans.
        step: Width of a cell, seconds.
        width: Pixels.
        height: Pixels.
        scheme: The panel's `color` option.
    """
    with mpl.rc_context(STYLE):
        figure, axis = figure_of(width, height)
        axis.grid(False)
        edges = np.array([*times, (times[-1] if times else window.end) + step], dtype=float)
        cells = np.array([values for _, values in rows], dtype=float)
        _mesh(axis, edges, np.arange(len(rows) + 1), cells, scheme, width / len(edges) > 6)
        every = max(math.ceil(len(rows) * 16 / max(height - 32, 1)), 1)
        axis.set_yticks([place + 0.5 for place in range(0, len(rows), every)])
        axis.set_yticklabels([cut(rows[place][0], width * 0.3) for place in range(0, len(rows), every)])
        left = min(max((text_width(name, FONT) for name, _ in rows), default=0.0), width * 0.3) + 12
        time_axis(axis, window, width - left - 16)
        return svg_of(figure, Sides(left, 16), width, height)


def _mesh(axis: Axes, across: Any, down: Any, cells: Any, scheme: dict[str, Any], is_wide: bool) -> QuadMesh:
    cells = np.ma.masked_where(~np.isfinite(cells), cells)
    # Lines between cells would be all that one sees of narrow ones.
    lines: dict[str, Any] = {"edgecolors": colors.PANEL, "linewidth": 1} if is_wide else {}
    return axis.pcolormesh(across, down, cells, cmap=color_map(scheme), norm=_norm(scheme, cells), **lines)


def _norm(scheme: dict[str, Any], cells: Any) -> Any:
    low, high = scheme.get("min"), scheme.get("max")
    low = float(cells.min()) if low is None and cells.count() else float(low or 0.0)
    high = float(cells.max()) if high is None and cells.count() else float(high or 1.0)
    if scheme.get("scale") == "exponential" and scheme.get("mode") == "opacity":
        return PowerNorm(float(scheme.get("exponent") or 0.5), low, max(high, low + 1e-9))
    if scheme.get("scale") == "log" and low > 0:
        return LogNorm(low, max(high, low * 1.01))
    return mpl.colors.Normalize(low, max(high, low + 1e-9))


def color_map(scheme: dict[str, Any]) -> Any:
    """Matplotlib's colours for a heat map's `color` option."""
    if scheme.get("mode") == "opacity":
        return mpl.colors.LinearSegmentedColormap.from_list(
            "opacity", [colors.PANEL, colors.hex_of(str(scheme.get("fill") or "blue"))]
        )
    name = colors.SCHEMES.get(str(scheme.get("scheme") or "Oranges"), "YlOrBr")
    # Grafana's scales begin dark on the dark theme; matplotlib's sequential ones begin light.
    dark_first = name in ("turbo", "cividis", "viridis", "magma", "inferno", "plasma")
    reverse = bool(scheme.get("reverse"))
    return mpl.colormaps[name if dark_first != reverse or (not dark_first and not reverse) else f"{name}_r"]


def scatter(
    series: Sequence[tuple[DisplayField, DisplayField, Sequence[str]]], width: int, height: int
) -> str:  # fmt: skip
    """Points of two measures.

    Args:
        series: For each series the field across, the field upwards and each point's colour.
        width: Pixels.
        height: Pixels.
    """
    with mpl.rc_context(STYLE):
        figure, axis = figure_of(width, height)
        for across, upwards, shades in series:
            size = upwards.custom.get("pointSize") or {}
            pixels = float(size.get("fixed") or 7) if isinstance(size, dict) else float(size)
            axis.scatter(
                across.column.numbers(), upwards.column.numbers(), s=pixels**2, c=list(shades), alpha=0.75, linewidths=0
            )
        first_across, first_upwards = series[0][0], series[0][1]
        _thresholds(axis, first_upwards)
        _measure(
            axis.set_xlim, axis.set_xticks, axis.set_xticklabels, [each[0] for each in series], width // TICK_PIXELS_X
        )
        _measure(
            axis.set_ylim, axis.set_yticks, axis.set_yticklabels, [each[1] for each in series], height // TICK_PIXELS_Y
        )
        axis.set_xlabel(str(first_across.custom.get("axisLabel") or first_across.name))
        axis.set_ylabel(str(first_upwards.custom.get("axisLabel") or first_upwards.name))
        left = max((text_width(label.get_text(), FONT) for label in axis.get_yticklabels()), default=0.0) + 36
        return svg_of(figure, Sides(left, 20, bottom=44), width, height)


def _measure(limit: Any, ticks: Any, labels: Any, fields: Sequence[DisplayField], count: int) -> None:
    known = [value for field in fields for value in field.column.numbers() if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    low, high = low - room if low < 0 or low - room > 0 else 0.0, high + room
    config = fields[0].config
    low = float(config["min"]) if config.get("min") is not None else low
    high = float(config["max"]) if config.get("max") is not None else high
    places = nice_ticks(low, high, max(count, 2))
    limit(low, high)
    ticks(places)
    labels(tick_labels(fields[0], places))
