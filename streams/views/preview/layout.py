"""Sizes: Grafana's grid at one width, how wide a text is, and how tiles share a panel."""

import math
import unicodedata
from dataclasses import dataclass

PAGE_WIDTH = 1920
COLUMNS = 24
_ROW, GAP, MARGIN = 30, 8, 16
HEADER = 40
_TITLE, _PADDING = 32, 8
_NARROW, _WIDE = 0.56, 1.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the page, pixels."""

    left: float
    top: float
    width: float
    height: float


def box(x: int, y: int, width: int, height: int) -> Box:
    """Where a panel stands, from its place in the grid."""
    column = (PAGE_WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    return Box(
        MARGIN + x * (column + GAP),
        y * (_ROW + GAP),
        width * (column + GAP) - GAP,
        height * (_ROW + GAP) - GAP,
    )


def inner(outer: Box, has_title: bool) -> tuple[int, int]:
    """Width and height that a panel's content has."""
    title = _TITLE if has_title else _PADDING
    return round(outer.width - 2 * _PADDING) - 2, round(outer.height - title - _PADDING) - 2


def text_width(text: str, size: float) -> float:
    """About how wide a text is, pixels; Chinese is as wide as high."""
    return size * sum(_WIDE if unicodedata.east_asian_width(char) in "WF" else _NARROW for char in text)


def font_size(text: str, width: float, height: float, most: float = 200.0) -> float:
    """The largest size at which a text fits a rectangle."""
    one = text_width(text, 1.0) or 1.0
    return max(min(width / one, height / 1.2, most), 8.0)


def tiles(width: float, height: float, count: int) -> tuple[int, int]:
    """Columns and rows of tiles that are as near to squares as the rectangle lets them, as Grafana's own."""
    side = max(min(width / across, height / math.ceil(count / across)) for across in range(1, count + 1))
    rows = math.ceil(count / max(math.floor(width / side + 1e-9), 1))
    return math.ceil(count / rows), rows
