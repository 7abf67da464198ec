"""The frame of a graph: its figure, the room around it, round ticks and their labels."""

import io
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from streams.views.preview import colors
from streams.views.preview.fields import DisplayField
from streams.views.preview.layout import text_width
from streams.views.preview.times import TimeRange

FONT = 12
_GRID = "#26292e"
TICK_PIXELS_X, TICK_PIXELS_Y = 90, 42
_DAY = 86_400
_TIME_STEPS = (
    1, 5, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY,
)  # fmt: skip
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "labelwatch",
    "font.family": "sans-serif",
    "font.size": FONT,
    "text.color": colors.DIM,
    "axes.labelcolor": colors.DIM,
    "xtick.color": colors.DIM,
    "ytick.color": colors.DIM,
    "axes.unicode_minus": False,
    "text.parse_math": False,
}
_FONT_STYLE = re.compile(r"font-family: [^;\"]*")


@dataclass(frozen=True, slots=True)
class Sides:
    """Room around a graph for its axes, pixels."""

    left: float
    right: float
    top: float = 8.0
    bottom: float = 24.0


def figure_of(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure of so many pixels and its axes, without frame or background."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    axis = figure.add_subplot()
    _plain(axis)
    return figure, axis


def _plain(axis: Axes) -> None:
    axis.set_facecolor("none")
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.tick_params(length=0, pad=6, labelsize=FONT)
    axis.grid(True, color=_GRID, linewidth=1)
    axis.set_axisbelow(True)


def svg_of(figure: Figure, sides: Sides, width: int, height: int) -> str:
    """The figure as SVG for a page, its text left to the viewer's fonts."""
    figure.subplots_adjust(
        left=sides.left / width,
        right=1 - sides.right / width,
        top=1 - sides.top / height,
        bottom=sides.bottom / height,
    )
    out = io.StringIO()
    with warnings.catch_warnings():
        # The viewer's browser has glyphs that matplotlib's own font lacks, Chinese among them.
        warnings.filterwarnings("ignore", message="Glyph|Matplotlib currently does not support")
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Type", "Format"))
        )
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(f'width="{width}pt"', f'width="{width}"')
    text = _FONT_STYLE.sub("font-family: inherit", text)
    return text.replace(f'height="{height}pt"', f'height="{height}"')


def second_axis(first: Axes) -> Axes:
    """A second axis of values over the same times, without a grid of its own."""
    axis: Axes = first.twinx()
    _plain(axis)
    axis.grid(False)
    return axis


def nice_ticks(low: float, high: float, count: int, is_whole: bool = False) -> list[float]:
    """Round numbers between two ends; whole ones where a label has no decimals."""
    steps = [1, 2, 5, 10] if is_whole else [1, 2, 2.5, 5, 10]
    values = MaxNLocator(nbins=max(count, 1), steps=steps, integer=is_whole).tick_values(low, high)
    return [float(value) for value in values if low - 1e-12 <= value <= high + 1e-12]


def tick_labels(field: DisplayField, ticks: Sequence[float]) -> list[str]:
    """Labels with as many decimals as it takes to tell one tick from the next."""
    if field.unit in ("percentunit", "percent", "none", "") and len(ticks) > 1:
        factor = 100 if field.unit == "percentunit" else 1
        size = min(abs(after - before) for before, after in pairwise(ticks)) * factor
        digits = next((digits for digits in range(6) if abs(round(size, digits) - size) < 1e-9 * max(size, 1.0)), 6)
        sign = "%" if field.unit.startswith("percent") else ""
        return [f"{tick * factor:.{digits}f}{sign}".replace("-0%", "0%") for tick in ticks]
    return [_trimmed(field.tick(tick)) for tick in ticks]


def _trimmed(text: str) -> str:
    number, _, unit = text.partition(" ")
    if "." in number and number.replace(".", "").lstrip("-").isdigit():
        number = number.rstrip("0").rstrip(".")
    return f"{number} {unit}".rstrip()


def time_sides(axes: Iterable[Axes]) -> Sides:
    """Room for the axes' labels left and right."""
    left, right = 8.0, 16.0
    for axis in axes:
        if not axis.yaxis.get_visible():
            continue
        labels = max((text_width(label.get_text(), FONT) for label in axis.get_yticklabels()), default=0.0)
        room = labels + 12 + (20 if axis.get_ylabel() else 0)
        if axis.yaxis.get_ticks_position() == "right":
            right = max(right, room)
        else:
            left = max(left, room)
    return Sides(left, right)


def time_axis(axis: Axes, window: TimeRange, width: float) -> None:
    """The axis of time: the window, with as many ticks as fit."""
    axis.set_xlim(window.start, window.end)
    ticks = time_ticks(window, width)
    axis.xaxis.set_major_locator(FixedLocator([at for at, _ in ticks]))
    axis.set_xticklabels([label for _, label in ticks])


def time_ticks(window: TimeRange, width: float) -> list[tuple[float, str]]:
    """Moments at whole hours or days of the board's zone with their labels, as many as fit."""
    most = max(width / TICK_PIXELS_X, 1)
    step = next((step for step in _TIME_STEPS if window.seconds / step <= most), _TIME_STEPS[-1])
    shift = (datetime.fromtimestamp(window.end, window.zone).utcoffset() or timedelta()).total_seconds()
    at = math.ceil((window.start + shift) / step) * step - shift
    out = []
    while at <= window.end:
        moment = datetime.fromtimestamp(at, window.zone)
        is_midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
        if step >= _DAY or (is_midnight and window.seconds > _DAY / 2):
            form = "%m-%d"
        else:
            form = "%H:%M" if step >= 60 else "%H:%M:%S"
        out.append((at, moment.strftime(form)))
        at += step
    # A label at the very edge would be cut.
    room = window.seconds / max(width, 1) * 18
    return [(at, label) for at, label in out if window.start + room / 2 <= at <= window.end - room / 2]


def cut(text: str, width: float) -> str:
    """A text that fits into so many pixels, with an ellipsis where it had to be cut."""
    while text and text_width(text, FONT) > width:
        text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
    return text
