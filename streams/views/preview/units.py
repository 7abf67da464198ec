"""Numbers as a board shows them: Grafana's units and its choice of decimals."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

_SPAN_STEPS = (
    # Up to which size in seconds, divided by what, followed by which unit.
    (60.0, 1.0, "s"),
    (3600.0, 60.0, "min"),
    (86_400.0, 3600.0, "hours"),
    (604_800.0, 86_400.0, "days"),
    (31_536_000.0, 604_800.0, "weeks"),
    (math.inf, 31_536_000.0, "years"),
)
_SMALL_SPANS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"))
_SPAN_SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_THOUSANDS = ("", "K", "Mil", "Bil", "Tri")
_METRIC = ("", "k", "M", "G", "T", "P")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_RATES = {
    "cps": "c/s", "ops": "ops/s", "reqps": "req/s", "rps": "rd/s", "wps": "wr/s", "iops": "io/s", "eps": "evt/s",
    "mps": "msg/s", "cpm": "c/min", "opm": "ops/min", "reqpm": "req/min", "rpm": "rd/min", "wpm": "wr/min",
    "epm": "evt/min", "mpm": "msg/min",
}  # fmt: skip


def text_of(
    value: float,
    unit: str = "",
    decimals: int | None = None,
    *,
    now: float = 0.0,
    zone: tzinfo = UTC,
    language: str = "en",
) -> str:
    """A number with its unit.

    Args:
        value: The number; a ratio for `percentunit`, epoch milliseconds for dates.
        unit: Grafana's id of a unit; an id that Grafana does not know follows the number, as in Grafana.
        decimals: Digits after the point; None for Grafana's own choice.
        now: The moment of the page, epoch seconds, for `dateTimeFromNow`.
        zone: Of dates.
        language: Of distances in time; units are the same in all.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit.startswith("dateTime"):
        return _date(value, unit, now, zone, language)
    for prefix, before in (("prefix:", True), ("suffix:", False)):
        if unit.startswith(prefix):
            number = _fixed(value, decimals)
            word = unit.removeprefix(prefix)
            return f"{word}{number}" if before else f"{number} {word.strip()}".rstrip()
    known = _UNITS.get(unit)
    if known is not None:
        return known(value, decimals)
    if unit in _RATES:
        return f"{_scaled(value, decimals, _THOUSANDS)} {_RATES[unit]}"
    return f"{_fixed(value, decimals)} {unit}".rstrip()


def _fixed(value: float, decimals: int | None) -> str:
    """Decimals as Grafana chooses them: none for a whole number, else three digits or one after the point."""
    if decimals is None:
        decimals = max(1 - math.floor(math.log10(abs(value))), 0) + 1 if value % 1 else 0
    return f"{value:.{decimals}f}"


def _scaled(value: float, decimals: int | None, names: tuple[str, ...], step: float = 1000.0) -> str:
    size = 0
    while abs(value) >= step and size < len(names) - 1:
        value /= step
        size += 1
    return f"{_fixed(value, decimals)} {names[size]}".rstrip()


def _span(seconds: float, decimals: int | None) -> str:
    if seconds == 0:
        return f"{_fixed(0, decimals)} s"
    for below, factor, word in _SMALL_SPANS:
        if abs(seconds) < below:
            return f"{_fixed(seconds * factor, decimals)} {word}"
    for below, divisor, word in _SPAN_STEPS:
        if abs(seconds) < below:
            number = _fixed(seconds / divisor, decimals)
            return f"{number} {word.removesuffix('s') if number == '1' and word != 's' else word}"
    raise AssertionError  # the last step has no end


def _clock(seconds: float, _decimals: int | None) -> str:
    whole = int(abs(seconds))
    return f"{'-' if seconds < 0 else ''}{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"


def _date(milliseconds: float, unit: str, now: float, zone: tzinfo, language: str) -> str:
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, zone)
    except (OverflowError, OSError, ValueError):
        return "Invalid date"
    if unit == "dateTimeFromNow":
        return ago(now - milliseconds / 1000, language)
    if unit == "dateTimeAsIsoNoDateIfToday" and at.date() == datetime.fromtimestamp(now, zone).date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%Y-%m-%d %H:%M:%S")


_DISTANCES = (
    # Below which seconds, divided by what; of one and of many in English, in Chinese.
    (45, 1, "a few seconds", "", "几秒"),
    (90, 60, "a minute", "", "1 分钟"),
    (2700, 60, "", "minutes", "分钟"),
    (5400, 3600, "an hour", "", "1 小时"),
    (79_200, 3600, "", "hours", "小时"),
    (129_600, 86_400, "a day", "", "1 天"),
    (2_246_400, 86_400, "", "days", "天"),
    (math.inf, 2_629_800, "", "months", "个月"),
)


def ago(seconds: float, language: str = "en") -> str:
    """A distance in time in words, as Grafana's relative dates."""
    size = abs(seconds)
    for limit, divisor, one, many, chinese in _DISTANCES:
        if size < limit:
            number = "" if one else f"{round(size / divisor)} "
            if language == "zh":
                return f"{number}{chinese}{'前' if seconds >= 0 else '后'}"
            words = f"{number}{one or many}"
            return f"{words} ago" if seconds >= 0 else f"in {words}"
    raise AssertionError  # the last limit is infinite


def _span_of(unit: str) -> Callable[[float, int | None], str]:
    return lambda value, decimals: _span(value * _SPAN_SECONDS[unit], decimals)


_UNITS: dict[str, Callable[[float, int | None], str]] = {
    "": _fixed,
    "none": _fixed,
    "string": _fixed,
    "short": lambda value, decimals: _scaled(value, decimals, _THOUSANDS),
    "sishort": lambda value, decimals: _scaled(value, decimals, _METRIC),
    "locale": lambda value, decimals: f"{value:,.{decimals if decimals is not None else 0 if value % 1 == 0 else 2}f}",
    "percent": lambda value, decimals: f"{_fixed(value, decimals)}%",
    "percentunit": lambda value, decimals: f"{_fixed(value * 100, decimals)}%",
    "bytes": lambda value, decimals: _scaled(value, decimals, _BINARY, 1024.0),
    "decbytes": lambda value, decimals: _scaled(value, decimals, _DECIMAL),
    "Bps": lambda value, decimals: f"{_scaled(value, decimals, _DECIMAL)}/s",
    "dtdurations": _span,
    "dthms": _clock,
    "dtdhms": _clock,
    "bool": lambda value, _: "True" if value else "False",
    "bool_yes_no": lambda value, _: "Yes" if value else "No",
    "bool_on_off": lambda value, _: "On" if value else "Off",
    **{unit: _span_of(unit) for unit in _SPAN_SECONDS},
}
