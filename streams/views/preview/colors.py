"""Grafana's colours of the dark theme: names, the classic palette, scales, and text that can be read on them."""

import re
from collections.abc import Sequence

TEXT, DIM = "#ccccdc", "#9a9da4"
PANEL, PAGE, LINE = "#181b1f", "#111217", "#2c3235"
_ON_LIGHT, _ON_DARK = "#202226", "#f7f8fa"

_HUES = {
    # super-light, light, plain, semi-dark, dark
    "red": ("#FFA6B0", "#FF7383", "#F2495C", "#E02F44", "#C4162A"),
    "orange": ("#FFCB7D", "#FFB357", "#FF9830", "#FF780A", "#FA6400"),
    "yellow": ("#FFF899", "#FFEE52", "#FADE2A", "#F2CC0C", "#E0B400"),
    "green": ("#C8F2C2", "#96D98D", "#73BF69", "#56A64B", "#37872D"),
    "blue": ("#C0D8FF", "#8AB8FF", "#5794F2", "#3274D9", "#1F60C4"),
    "purple": ("#DEB6F2", "#CA95E5", "#B877D9", "#A352CC", "#8F3BB8"),
}
_SHADES = ("super-light-", "light-", "", "semi-dark-", "dark-")
NAMED = {
    **{f"{shade}{hue}": color for hue, colors in _HUES.items() for shade, color in zip(_SHADES, colors, strict=True)},
    "text": TEXT, "white": "#FFFFFF", "black": "#000000", "gray": "#808080", "grey": "#808080",
    "transparent": "#00000000",
}  # fmt: skip
#: What series get in turn; each differs from its neighbours in hue and in lightness.
PALETTE = (
    "#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0",
    "#37872D", "#FADE2A", "#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477",
)  # fmt: skip
#: Matplotlib's name of a heat map's scheme.
SCHEMES = {
    "Turbo": "turbo", "Cividis": "cividis", "Viridis": "viridis", "Magma": "magma", "Inferno": "inferno",
    "Plasma": "plasma", "Warm": "YlOrBr", "Cool": "cool", "Cubehelix": "cubehelix", "RdBu": "RdBu",
    "Spectral": "Spectral", "RdYlBu": "RdYlBu", "RdYlGn": "RdYlGn",
    "Blues": "Blues", "Greens": "Greens", "Greys": "Greys",
    "Oranges": "Oranges", "Purples": "Purples", "Reds": "Reds", "BuGn": "BuGn", "YlGnBu": "YlGnBu", "YlOrBr": "YlOrBr",
    "YlOrRd": "YlOrRd", "BuPu": "BuPu", "PuOr": "PuOr", "PRGn": "PRGn", "PiYG": "PiYG", "BrBG": "BrBG",
}  # fmt: skip
_CONTINUOUS = {
    "continuous-GrYlRd": ("#73BF69", "#FADE2A", "#F2495C"),
    "continuous-RdYlGr": ("#F2495C", "#FADE2A", "#73BF69"),
    "continuous-BlYlRd": ("#1F60C4", "#FADE2A", "#F2495C"),
    "continuous-YlRd": ("#FADE2A", "#F2495C"),
    "continuous-BlPu": ("#1F60C4", "#8F3BB8"),
    "continuous-YlBl": ("#FADE2A", "#1F60C4"),
    "continuous-blues": ("#181b1f", "#5794F2"),
    "continuous-reds": ("#181b1f", "#F2495C"),
    "continuous-greens": ("#181b1f", "#73BF69"),
    "continuous-purples": ("#181b1f", "#B877D9"),
}
_HEX = re.compile(r"#[0-9a-fA-F]{3,8}")
_RGB = re.compile(r"rgba?\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?:,\s*([\d.]+)\s*)?\)")


def hex_of(color: str) -> str:
    """A colour as `#rrggbb` or `#rrggbbaa`; grey for what is none, so that nothing else gets into a style."""
    color = NAMED.get(color, color)
    if match := _RGB.fullmatch(color):
        alpha = "" if match[4] is None else f"{round(float(match[4]) * 255):02x}"
        return "#" + "".join(f"{min(int(match[part]), 255):02x}" for part in (1, 2, 3)) + alpha
    if not _HEX.fullmatch(color):
        return NAMED["gray"]
    return color if len(color) > 5 else "#" + "".join(digit * 2 for digit in color[1:])


def channels(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255."""
    digits = hex_of(color)[1:7]
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def is_clear(color: str) -> bool:
    """Whether one sees what is behind it."""
    digits = hex_of(color)[7:9]
    return bool(digits) and int(digits, 16) < 77


def on(background: str) -> str:
    """The text colour that Grafana chooses on a background: dark from a brightness of 180 on."""
    red, green, blue = channels(background)
    brightness = (red * 299 + green * 587 + blue * 114) / 1000
    return _ON_LIGHT if brightness > 180 and not is_clear(background) else _ON_DARK


def between(colors: Sequence[str], share: float) -> str:
    """A colour on a scale, 0 at its first colour and 1 at its last."""
    place = min(max(share, 0.0), 1.0) * (len(colors) - 1)
    left = min(int(place), len(colors) - 2)
    part = place - left
    mixed = (round(a + (b - a) * part) for a, b in zip(channels(colors[left]), channels(colors[left + 1]), strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def continuous(mode: str) -> tuple[str, ...]:
    """The colours of a mode such as `continuous-BlPu`; empty for other modes."""
    return _CONTINUOUS.get(mode, ())
