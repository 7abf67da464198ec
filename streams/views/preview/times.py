"""Moments and spans of a board: `now-24h`, ISO times, Grafana's intervals."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.views.preview.errors import PreviewError

_UNIT_SECONDS = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "M": 2_592_000.0, "y": 31_536_000.0,
}  # fmt: skip
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwMy])")
_RELATIVE = re.compile(r"now(?:-(\S+?))?(?:/[smhdwMy])?")
#: Steps that a person likes to see between two points, seconds.
_ROUND_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What a board looks at, epoch seconds, and in which zone it writes times."""

    start: float
    end: float
    zone: tzinfo = UTC

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start

    def last(self, seconds: float) -> "TimeRange":
        """The same end with another length."""
        return TimeRange(self.end - seconds, self.end, self.zone)


def span_seconds(text: str) -> float:
    """The length of `90s`, `24h`, `7d`.

    Raises:
        PreviewError: It is no such span.
    """
    if not (match := _SPAN.fullmatch(text.strip())):
        raise PreviewError(f"{text!r} is no span of time: give a number and s, m, h, d or w, such as 24h")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def moment(text: str, now: float) -> float:
    """A moment as epoch seconds.

    Args:
        text: `now`, `now-6h`, epoch milliseconds, or an ISO time (UTC unless it names a zone).
        now: The page's own time, epoch seconds.

    Raises:
        PreviewError: It is none of these.
    """
    if match := _RELATIVE.fullmatch(text):
        return now - (span_seconds(match[1]) if match[1] else 0.0)
    if text.isdecimal():
        return int(text) / 1000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise PreviewError(f"{text!r} is no time: give now, now-6h, epoch ms or 2026-05-01T08:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def zone_of(name: str) -> tzinfo:
    """A board's zone; `browser` and what this machine does not know are UTC."""
    if name in ("", "browser", "utc"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def step_seconds(window: TimeRange, points: int, least_seconds: float) -> float:
    """The distance of two points of a graph: round, and not more points than wanted.

    Args:
        window: What is shown.
        points: How many points at most; a graph's width in pixels.
        least_seconds: Never less than this, the scrape's interval.
    """
    wanted = window.seconds / max(points, 1)
    step = next((step for step in _ROUND_STEPS if step >= wanted), _ROUND_STEPS[-1])
    return max(float(step), least_seconds)


def span_text(seconds: float) -> str:
    """A span as PromQL writes it."""
    whole = max(round(seconds), 1)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
