"""Charts as SVG text: bars and lines, readable on a light and on a dark page."""

from collections.abc import Mapping
from html import escape

_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.b{fill:#8c959f}.o{fill:#0969da}.g{stroke:#d0d7de}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.b{fill:#656c76}.o{fill:#4493f8}.g{stroke:#3d444d}}</style>"
)
_ROW, _LEFT, _WIDTH, _RIGHT = 26, 230, 420, 90


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


def largest_first(values: Mapping[str, float]) -> dict[str, float]:
    """The same, sorted for a chart."""
    return dict(sorted(values.items(), key=lambda each: -each[1]))
