"""From a query to Grafana's field options: units, mapped values, thresholds, widths, in one language."""

import re
from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard
from grafana_foundation_sdk.models import dashboard as models

from grafana.query import BoardSignal, PanelQuery, ValueWords
from schemas.states import SITE_STATES
from schemas.words import Language, Words

#: x, y, width and height in grid units.
PanelPlace = tuple[int, int, int, int]


def state_mapping() -> ValueWords:
    """Codes of states to what is shown."""
    return {state.code: (state.name, state.colour) for state in SITE_STATES}


def _nearly(signal: BoardSignal) -> ValueWords:
    """What would be rounded to 100% and is below it, and to 0% and is above it, in words."""
    if signal.unit != "percentunit" or signal.decimals is None:
        return {}
    step = 10.0**-signal.decimals
    half = step / 200
    # Bounds come from a square root: what differs by less than a billionth is the same.
    return {
        f"{1 - half:.9g}..{1 - 1e-9:.12g}": (f">{100 - step:.{signal.decimals}f}%", None),
        f"{1e-9:.9f}..{half * (1 - 1e-6):.12f}": (f"<{step:.{signal.decimals}f}%", None),
    }


#: Units that are words, which differ by language.
UNITS = {
    "points": Words("suffix: pt", "suffix: 点"),
    "n =": Words("prefix:n = ", "prefix:n = "),
    "hours": Words("suffix: h", "suffix: 小时"),
}


def link_of(link: dict[str, Any]) -> dashboard.DashboardLink:
    """A link of a panel's data."""
    return dashboard.DashboardLink(link["title"]).type(models.DashboardLinkType.LINK).url(link["url"])


def width_of(head: str, unit: str) -> int:
    """Pixels of a column of figures, by its head; `26 minutes ago` needs more."""
    letters = sum(2 if ord(letter) > 0x2E80 else 1 for letter in head)
    return max(22 + 7 * letters, 118 if unit == "dateTimeFromNow" else 66)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def values_of(props: dict[str, Any]) -> list[models.DynamicConfigValue]:
    """Field options of an override."""
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in props.items()]


def grid_of(at: PanelPlace) -> models.GridPos:
    """A panel's place on the board."""
    x, y, w, h = at
    return models.GridPos(x=x, y=y, w=w, h=h)


def last_value() -> common.ReduceDataOptions:
    """The last value of a series."""
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")


def thresholds_of(steps: Iterable[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    """The colour from each value on."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def color_by(mode: str) -> dashboard.FieldColor:
    """How a panel colours its series."""
    return dashboard.FieldColor().mode(models.FieldColorModeId(mode))


def unit_of(signal: BoardSignal, language: Language) -> str:
    """Grafana's name of a signal's unit; its words, if any, in the language."""
    unit = _counted(signal)
    return UNITS[unit].of(language) if unit in UNITS else unit


def _counted(signal: BoardSignal) -> str:
    """Whole numbers in full: 1,234 people, not 1 K."""
    return "locale" if signal.unit == "short" and signal.decimals == 0 else signal.unit


def properties_of(query: PanelQuery, language: Language) -> list[models.DynamicConfigValue]:
    """A query's field options."""
    found: dict[str, Any] = {}
    found["unit"] = unit_of(query.signal, language)
    if query.signal.decimals is not None:
        found["decimals"] = query.signal.decimals
    if query.colour is not None:
        found["color"] = {"mode": "shades" if query.shades else "fixed", "fixedColor": query.colour}
    mapping = state_mapping() if query.states else {**_nearly(query.signal), **(query.mapping or {})}
    if mapping:
        found["mappings"] = mappings_of(mapping, language)
    return values_of({**found, **query.props})


def mappings_of(mapping: ValueWords, language: Language) -> list[dict[str, Any]]:
    """Values shown as words, as Grafana's field option."""
    found = []
    for index, (value, (words, colour)) in enumerate(mapping.items()):
        result = {"text": (words if isinstance(words, str) else words.of(language)), "index": index} | (
            {"color": colour} if colour else {}
        )
        if value == "nothing":
            found.append({"type": "special", "options": {"match": "null+nan", "result": result}})
        elif isinstance(value, str) and (limits := re.fullmatch(r"(-?[\d.]+)?\.\.(-?[\d.]+)?", value)):
            ends = {"from": _number(limits[1]), "to": _number(limits[2])}
            found.append({"type": "range", "options": {**ends, "result": result}})
        else:
            key = value if isinstance(value, str) else f"{value:g}"
            found.append({"type": "value", "options": {key: result}})
    return found
