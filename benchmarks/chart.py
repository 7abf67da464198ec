"""Charts as SVG text: bars and lines, readable on a light and on a dark page."""

import math
from collections.abc import Collection, Mapping
from html import escape

_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.b{fill:#8c959f}.o{fill:#0969da}.g{stroke:#d0d7de}"
    ".w{stroke:#57606a}@media(prefers-color-scheme:dark){text{fill:#9198a1}.b{fill:#656c76}.o{fill:#4493f8}"
    ".g{stroke:#3d444d}.w{stroke:#9198a1}}</style>"
)
_ROW, _LEFT, _WIDTH, _RIGHT = 26, 230, 420, 90
#: Marks of series: a circle, a square, a triangle; around the middle.
_MARKS = ("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M-4.5-4.5h9v9h-9z", "M0-6L6 5H-6z")


def bars(values: Mapping[str, float], title: str, *, ours: str = "labelwatch") -> str:
    """Horizontal bars, one a name, ours in another colour."""
    height = _ROW * len(values) + 40
    longest = max(values.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{height}" role="img" '
        f'aria-label="{escape(title)}">{_STYLE}<text x="{_LEFT}" y="18">{escape(title)}</text>'
    ]
    for number, (name, value) in enumerate(values.items()):
        top, width = 30 + _ROW * number, max(value / longest * _WIDTH, 1)
        parts.append(
            f'<text x="{_LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{"o" if name == ours else "b"}" x="{_LEFT}" y="{top}" width="{width:.1f}" height="20"/>'
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 15}">{value:,.0f}</text>'
        )
    return "".join([*parts, "</svg>\n"])


def dots(values: Mapping[str, Mapping[str, tuple[float, float]]], title: str, *, ours: Collection[str] = ()) -> str:
    """Marks on a logarithmic scale with their intervals: a row a name, a mark a series, ours in another colour.

    Args:
        values: Row to series to (value above 0, half of its interval); at most three series, the same in every row.
        title: Above it.
        ours: Rows in the other colour.
    """
    every = [value for row in values.values() for value, _ in row.values()]
    first, last = math.log10(min(every) / 1.5), math.log10(max(every) * 1.5)

    def across(value: float) -> float:
        return _LEFT + (math.log10(max(value, 10**first)) - first) / (last - first) * _WIDTH

    bottom = 64 + _ROW * len(values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{bottom + 30}" role="img" '
        f'aria-label="{escape(title)}">{_STYLE}<text x="{_LEFT}" y="18">{escape(title)}</text>'
    ]
    for tick in (digit * 10**power for power in range(7) for digit in (1, 2, 5)):
        if first <= math.log10(tick) <= last:
            x = across(tick)
            parts.append(
                f'<path class="g" d="M{x:.1f} 54V{bottom}"/><text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
                f"{tick:,}</text>"
            )
    for number, series in enumerate(next(iter(values.values()))):
        x = _LEFT + 6 + 90 * number
        parts.append(
            f'<path class="b" transform="translate({x} 37)" d="{_MARKS[number]}"/>'
            f'<text x="{x + 10}" y="42">{escape(series)}</text>'
        )
    for number, (name, row) in enumerate(values.items()):
        y = 72 + _ROW * number
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 5}" text-anchor="end">{escape(name)}</text>')
        colour = "o" if name in ours else "b"
        for mark, (value, half) in zip(_MARKS, row.values(), strict=False):
            parts.append(
                f'<path class="w" d="M{across(value - half):.1f} {y}H{across(value + half):.1f}"/>'
                f'<path class="{colour}" transform="translate({across(value):.1f} {y})" d="{mark}"/>'
            )
    return "".join([*parts, "</svg>\n"])
