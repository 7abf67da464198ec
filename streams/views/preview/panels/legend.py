"""The names of a graph's series, beside or below it."""

from collections.abc import Sequence
from typing import Any

from streams.views.preview import layout
from streams.views.preview.fields import DisplayField
from streams.views.preview.frames import REDUCER_NAMES, Value, reduced
from streams.views.preview.panels.canvas import Canvas

ROW, FONT = 22, 12


class Legend:
    """The names of a graph's series, in HTML: it wraps, and has every glyph.

    Args:
        options: The panel's `legend` option.
        series: Fields with their values.
        canvas: What it shares with the graph.
    """

    def __init__(self, options: Any, series: Sequence[tuple[DisplayField, Sequence[Value]]], canvas: Canvas) -> None:
        is_shown = options.get("showLegend", True) is not False and options.get("displayMode", "list") != "hidden"
        self.is_right = options.get("placement") == "right"
        self.is_table = options.get("displayMode") == "table"
        reducers = [str(each) for each in options.get("calcs") or ()]
        self.heads = [REDUCER_NAMES.get(each, each) for each in reducers]
        self.entries = [
            {
                "name": each.name,
                "color": each.series_color,
                "values": [each.show(reduced(values, reducer)).text for reducer in reducers],
            }
            for each, values in series
        ] if is_shown else []  # fmt: skip
        widths = [
            layout.text_width(f"{entry['name']} {' '.join(entry['values'])}", FONT) + 34 + 8 * len(reducers)
            for entry in self.entries
        ]
        if self.is_right:
            self.width = round(min(options.get("width") or max(widths, default=0.0) + 16, canvas.width * 0.45))
            self.height = canvas.height
        else:
            rows = len(self.entries) + bool(reducers) if self.is_table else rows_of(widths, canvas.width)
            self.width = canvas.width
            self.height = min(rows * ROW, round(canvas.height * 0.4) // ROW * ROW)
        if not self.entries:
            self.width = self.height = 0

    def left_over(self, canvas: Canvas) -> tuple[int, int]:
        """Width and height that the graph has."""
        if self.is_right:
            return canvas.width - self.width, canvas.height
        return canvas.width, canvas.height - self.height


def rows_of(widths: Sequence[float], width: int) -> int:
    """Rows that entries of these widths take."""
    rows, used = 1, 0.0
    for each in widths:
        if used and used + each > width:
            rows, used = rows + 1, 0.0
        used += each
    return rows if widths else 0
