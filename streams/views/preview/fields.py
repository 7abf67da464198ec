"""What a board says about columns: unit, mappings, thresholds, colours and overrides; and a value as it is shown."""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from streams.views.preview import colors
from streams.views.preview.errors import PreviewError
from streams.views.preview.frames import Frame, FrameColumn, Value
from streams.views.preview.units import text_of

_FIELD_NAME = re.compile(
    r"\$\{__(?:field|series|data\.fields)(?:\.(?P<part>name|labels))?(?:\.(?P<label>[\w:]+)|\[\"?(?P<quoted>[^\]\"]+)\"?\])?\}"
)


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value as it appears: its text and the colour that its meaning has."""

    text: str
    color: str
    number: float = math.nan


@dataclass(frozen=True, slots=True)
class Moment:
    """How dates are written: ages from the page's own time, epoch seconds; in its zone and language."""

    now: float = 0.0
    zone: tzinfo = UTC
    language: str = "en"


class DisplayField:
    """A column with its configuration resolved.

    Args:
        column: The values.
        config: The panel's defaults with the overrides that match the column.
        index: Its number among the panel's series, for colours in turn.
        moment: The time from which ages are counted.
    """

    def __init__(self, column: FrameColumn, config: Mapping[str, Any], index: int, moment: Moment) -> None:
        self.column = column
        self.config = config
        self.index = index
        self._moment = moment
        self._numbers = [each for each in column.numbers() if not math.isnan(each)] if column.kind == "number" else []

    @property
    def custom(self) -> Mapping[str, Any]:
        """What only this kind of panel knows."""
        custom: Mapping[str, Any] = self.config.get("custom") or {}
        return custom

    def hidden_from(self, where: str) -> bool:
        """Whether the board keeps it out of the drawing (`viz`) or of the `legend`."""
        return bool((self.custom.get("hideFrom") or {}).get(where))

    @property
    def unit(self) -> str:
        """Grafana's id of the unit."""
        return str(self.config.get("unit") or "")

    @property
    def name(self) -> str:
        """The name that viewers see."""
        form = self.config.get("displayName")
        if not form:
            return self.column.title

        def part(match: re.Match[str]) -> str:
            label = match["label"] or match["quoted"]
            if match["part"] == "labels" and label:
                return self.column.labels.get(label, "")
            return self.column.title

        return _FIELD_NAME.sub(part, str(form))

    @property
    def no_value(self) -> str:
        """What stands where there is no value."""
        return str(self.config.get("noValue") or "")

    @property
    def low(self) -> float:
        """The lower end of its scale: the board's, or its smallest value."""
        low = self.config.get("min")
        return float(low) if low is not None else min(self._numbers, default=0.0)

    @property
    def high(self) -> float:
        """The upper end of its scale."""
        high = self.config.get("max")
        return float(high) if high is not None else max(self._numbers, default=1.0)

    @property
    def series_color(self) -> str:
        """The colour of its line or bar as a whole."""
        mode, fixed = self._color_mode()
        if mode == "fixed":
            return colors.hex_of(fixed or "text")
        if mode == "shades":
            light = colors.between((colors.hex_of(fixed or "blue"), "#ffffff"), (self.index % 5) * 0.15)
            return light
        if mode.startswith("palette"):
            return colors.PALETTE[self.index % len(colors.PALETTE)]
        known = self._numbers[-1] if self._numbers else math.nan
        return self._by_value(known)

    def show(self, value: Value) -> ShownValue:
        """A value as its text and its colour, mapped if the board maps it."""
        number = float(value) if isinstance(value, (int, float)) else math.nan
        result = self._mapped(value)
        color = str(result.get("color") or "")
        text = result.get("text")
        if text is None:
            text = self._plain(value)
        return ShownValue(str(text), colors.hex_of(color) if color else self._by_value(number), number)

    def maps(self, value: Value) -> bool:
        """Whether the board gives a value a text or a colour of its own."""
        return bool(self._mapped(value))

    def tick(self, value: float) -> str:
        """A number at an axis: no mappings there, and no digits that say nothing."""
        return self._written(value, self.unit)

    def _plain(self, value: Value) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value) and self.no_value):
            return self.no_value
        if isinstance(value, str):
            return value
        unit = self.unit
        if self.column.kind == "time" and not unit.startswith("dateTime"):
            unit = "dateTimeAsIso"
        return self._written(float(value), unit)

    def _written(self, value: float, unit: str) -> str:
        moment = self._moment
        decimals = self.config.get("decimals")
        return text_of(value, unit, decimals, now=moment.now, zone=moment.zone, language=moment.language)

    def _mapped(self, value: Value) -> Mapping[str, Any]:
        for mapping in self.config.get("mappings") or ():
            options = mapping.get("options") or {}
            if mapping["type"] == "value":
                key = f"{value:g}" if isinstance(value, float) else str(value)
                if key in options:
                    return dict(options[key])
            elif _MATCHES[mapping["type"]](value, options):
                result = dict(options["result"])
                if mapping["type"] == "regex" and result.get("text"):
                    to = re.sub(r"\$(\d)", r"\\\1", result["text"])
                    result["text"] = re.sub(_inside(options["pattern"]), to, str(value), count=1)
                return result
        return {}

    def _color_mode(self) -> tuple[str, str]:
        color = self.config.get("color") or {}
        return str(color.get("mode") or "thresholds"), str(color.get("fixedColor") or "")

    def _by_value(self, number: float) -> str:
        mode, fixed = self._color_mode()
        if mode == "fixed":
            return colors.hex_of(fixed or "text")
        if scale := colors.continuous(mode):
            width = self.high - self.low
            return colors.between(scale, (number - self.low) / width if width and not math.isnan(number) else 0.0)
        if mode.startswith(("palette", "shades")):
            return self.series_color
        return self.threshold_color(number)

    def threshold_color(self, number: float) -> str:
        """The colour of the highest threshold that a number reaches."""
        reached = "green"
        for step, color in self.thresholds():
            if math.isinf(step) or number >= step:
                reached = color
        return colors.hex_of(reached)

    def thresholds(self) -> list[tuple[float, str]]:
        """Each threshold's least value and colour, lowest first; the first begins at minus infinity."""
        thresholds = self.config.get("thresholds") or {}
        given: Sequence[Mapping[str, Any]] = thresholds.get("steps") or ({"value": None, "color": "green"},)
        steps = [
            (float(-math.inf if step.get("value") is None else step["value"]), str(step["color"])) for step in given
        ]
        if thresholds.get("mode") == "percentage":
            width = self.high - self.low
            steps = [(self.low + step / 100 * width, color) for step, color in steps]
        return steps


def _inside(pattern: str) -> str:
    return pattern[1 : pattern.rindex("/")] if pattern.startswith("/") and "/" in pattern[1:] else pattern


def _in_range(value: Value, options: Mapping[str, Any]) -> bool:
    if not isinstance(value, (int, float)) or math.isnan(value):
        return False
    low: Any = options.get("from")
    high: Any = options.get("to")
    return (low is None or value >= float(low)) and (high is None or value <= float(high))


def _is_special(value: Value, options: Mapping[str, Any]) -> bool:
    is_nan = isinstance(value, float) and math.isnan(value)
    return {
        "null": value is None,
        "nan": is_nan,
        "null+nan": value is None or is_nan,
        "empty": value == "",
        "true": value is True,
        "false": value is False,
    }.get(str(options.get("match")), False)


_MATCHES = {
    "range": _in_range,
    "regex": lambda value, options: re.search(_inside(options["pattern"]), str(value)) is not None,
    "special": _is_special,
}


class FieldConfig:
    """A panel's `fieldConfig`: defaults and overrides.

    Args:
        config: As in the board.
        moment: The time from which ages are counted.
    """

    def __init__(self, config: Mapping[str, Any], moment: Moment) -> None:
        self._defaults: Mapping[str, Any] = config.get("defaults") or {}
        self._overrides: Sequence[Mapping[str, Any]] = config.get("overrides") or ()
        self._moment = moment

    @property
    def no_value(self) -> str:
        """What the panel says when it has no data at all."""
        return str(self._defaults.get("noValue") or "")

    def fields(self, frames: Sequence[Frame]) -> list[list[DisplayField]]:
        """The columns of each frame with their configuration; numbers are counted over all frames.

        Raises:
            PreviewError: An override that matches in a way that is not known here.
        """
        out, index = [], 0
        for frame in frames:
            fields = []
            for column in frame.columns:
                fields.append(DisplayField(column, self._config(column), index, self._moment))
                index += column.kind == "number"
            out.append(fields)
        return out

    def _config(self, column: FrameColumn) -> dict[str, Any]:
        config = copy.deepcopy(dict(self._defaults))
        for override in self._overrides:
            if matches(override["matcher"], column):
                for each in override.get("properties") or ():
                    _put(config, str(each["id"]), each.get("value"))
        return config


def matches(matcher: Mapping[str, Any], column: FrameColumn) -> bool:
    """Whether an override's matcher means a column.

    Raises:
        PreviewError: A matcher that is not known here.
    """
    how, options = matcher["id"], matcher.get("options")
    if how == "byName":
        return bool(column.title == options)
    if how == "byRegexp":
        return re.search(_inside(str(options)), column.title) is not None
    if how == "byFrameRefID":
        return bool(column.query == options)
    if how == "byType":
        return bool(column.kind == options)
    if how == "byNames":
        wanted = options.get("names") if isinstance(options, dict) else options
        excludes = isinstance(options, dict) and options.get("mode") == "exclude"
        return (column.title in (wanted or ())) != excludes
    raise PreviewError(
        f"an override matches by {how!r}, which is not drawn here: "
        "use byFrameRefID, byName, byNames, byRegexp or byType"
    )


def _put(config: dict[str, Any], path: str, value: Any) -> None:
    *folders, name = path.split(".")
    for folder in folders:
        config = config.setdefault(folder, {})
    config[name] = value
