"""The live terminal board: sites, worst first, from a worker's or Prometheus' samples."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.views.samples import Samples

#: Accuracy's window: at 1 h most sites have too few reviews to tell.
WINDOW = "24h"
#: Speed and utilization speak of now.
NOW_WINDOW = "1h"
SILENT_SECONDS = 900.0
LAG_SECONDS = 10.0
_BAR_WIDTH = 26


_BAR = "bar"
#: Heading, justification, and which goes first where the terminal is narrow (0 stays).
_COLUMNS: tuple[tuple[str, Literal["left", "right"], int], ...] = (
    ("", "left", 0),
    ("site", "left", 0),
    (f"accuracy {WINDOW}", "right", 1),
    (_BAR, "left", 7),
    ("95% interval", "right", 9),
    ("target", "right", 4),
    ("proven", "right", 8),
    ("reviews", "right", 5),
    (f"labels/{NOW_WINDOW}", "right", 2),
    ("s/label", "right", 10),
    ("utilized", "right", 3),
    ("working", "right", 6),
    ("of", "right", 11),
)


@dataclass(frozen=True, slots=True)
class State:
    """How a site stands: a code, and glyph, word and style, so that colour alone never says it."""

    code: int
    glyph: str
    word: str
    style: str


DRIFT = State(5, "▼", "DRIFT", "bold #ffffff on #B24A00")
SILENT = State(4, "■", "SILENT", "bold #000000 on #CC79A7")
BELOW = State(3, "▽", "BELOW", "bold #000000 on #E69F00")
BLIND = State(2, "?", "BLIND", "#ffffff on #6E6E6E")
NEAR = State(1, "≈", "near", "#D8DADF")
ABOVE = State(0, "✓", "above", "#56B4E9")
QUIET = State(-1, "☾", "quiet", "#9AA0A6")


@dataclass(slots=True)
class SiteLine:
    """One site as the board shows it. Ratios 0 to 1; None where there is not enough data."""

    site: str
    state: State
    target: float
    reviews: int
    accuracy: float | None
    lower: float | None
    upper: float | None
    labels_per_hour: float
    handle_seconds: float | None
    utilization: float | None
    people: dict[str, int] = field(default_factory=dict)
    silent_seconds: float = 0.0

    @property
    def proven_gap(self) -> float:
        """Points by which the interval clears the target: below 0 proven below, above 0 proven above, else 0."""
        if self.lower is None or self.upper is None:
            return 0.0
        return min(self.upper - self.target, 0.0) + max(self.lower - self.target, 0.0)

    @property
    def working(self) -> int:
        """People productive or available now."""
        return self.people.get("productive", 0) + self.people.get("available", 0)


@dataclass(slots=True)
class Pipeline:
    """How the monitor itself does."""

    lag_seconds: float
    lag_records: int
    watermark_seconds: float | None
    rejected: int
    duplicates: int
    late: int
    events: float
    not_ready: list[str]


@dataclass(slots=True)
class Reading:
    """Everything the board shows of one moment."""

    at_seconds: float
    sites: list[SiteLine]
    pipeline: Pipeline
    drifts: list[tuple[str, str, str, float]]


def read(samples: Samples, at_seconds: float) -> Reading:
    """Puts samples together by site, worst first.

    Args:
        samples: One scrape.
        at_seconds: Now, epoch seconds.

    Returns:
        What the board shows.
    """
    watermark = samples.value("labelwatch_watermark_timestamp_seconds")
    drifts = [
        (
            labels.get("site", ""),
            labels.get("project", ""),
            labels.get("signal", ""),
            samples.value("labelwatch_drift_evidence", **labels) or 0.0,
        )
        for labels, value in samples.select("labelwatch_drift_active")
        if value == 1 and not labels.get("agent")
    ]
    drifting = {site for site, *_ in drifts}
    sites = sorted({labels["site"] for labels, _ in samples.select("labelwatch_site_info")})
    lines = [_site(samples, site, site in drifting, watermark) for site in sites]
    lines.sort(key=lambda line: (-line.state.code, line.proven_gap, (line.accuracy or line.target) - line.target))
    return Reading(at_seconds, lines, _pipeline(samples, watermark), drifts)


def _site(samples: Samples, site: str, drifting: bool, watermark: float | None) -> SiteLine:
    def figure(name: str, **labels: str) -> float | None:
        return samples.value(f"labelwatch_site_{name}", site=site, **labels)

    target = samples.value("labelwatch_target_ratio", site=site, project="", market="", kind="accuracy")
    reviews = int(figure("reviews", role="agent", window=WINDOW) or 0)
    labels = figure("labels", window=NOW_WINDOW) or 0.0
    last_label = samples.value("labelwatch_site_last_event_timestamp_seconds", site=site, type="label_submitted")
    people = {
        found["state"]: int(value)
        for found, value in samples.select("labelwatch_site_agents", site=site, role="agent")
        if value
    }
    line = SiteLine(
        site=site,
        state=NEAR,
        target=math.nan if target is None else target,
        reviews=reviews,
        accuracy=figure("accuracy_ratio", role="agent", window=WINDOW),
        lower=figure("accuracy_lower_ratio", role="agent", window=WINDOW),
        upper=figure("accuracy_upper_ratio", role="agent", window=WINDOW),
        labels_per_hour=labels,
        handle_seconds=figure("handle_seconds_mean", window=NOW_WINDOW),
        utilization=figure("utilization_ratio", window=NOW_WINDOW),
        people=people,
        # Against the newest event of any site: in a replay of the past no site is silent for that.
        silent_seconds=0.0 if last_label is None or watermark is None else max(watermark - last_label, 0.0),
    )
    line.state = _state(line, drifting)
    return line


def _state(line: SiteLine, drifting: bool) -> State:
    if drifting:
        return DRIFT
    if line.silent_seconds > SILENT_SECONDS:
        return SILENT if line.working else QUIET
    if line.accuracy is None or line.lower is None or line.upper is None:
        return BLIND if line.labels_per_hour else QUIET
    if line.upper < line.target:
        return BELOW
    return ABOVE if line.lower >= line.target else NEAR


def _pipeline(samples: Samples, watermark: float | None) -> Pipeline:
    lags = [value for _, value in samples.select("labelwatch_consumer_lag_seconds")]
    return Pipeline(
        lag_seconds=max(lags, default=0.0),
        lag_records=int(samples.total("labelwatch_consumer_lag_records")),
        watermark_seconds=watermark,
        rejected=int(samples.total("labelwatch_rejected_total")),
        duplicates=int(samples.total("labelwatch_duplicates_total")),
        late=int(samples.total("labelwatch_late_events_total")),
        events=samples.total("labelwatch_event_delay_seconds_count"),
        not_ready=sorted({labels["reason"] for labels, value in samples.select("labelwatch_ready") if value != 1}),
    )


class Board:
    """The picture: a head line about the monitor, a line a site, a legend; fits the terminal's width.

    Args:
        reading: What to show; None while nothing has been read yet.
        events_per_second: From two readings; None before the second.
        trouble: Why the newest reading is not there; the figures are then shown as old.
        now_seconds: Now, epoch seconds.
        urls: Addresses to show below.
        note: A line about the scenario or the source.
    """

    def __init__(
        self,
        reading: Reading | None,
        *,
        events_per_second: float | None = None,
        trouble: str | None = None,
        now_seconds: float,
        urls: tuple[str, ...] = (),
        note: str = "",
    ) -> None:
        self._reading = reading
        self._rate = events_per_second
        self._trouble = trouble
        self._now = now_seconds
        self._urls = urls
        self._note = note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws it."""
        width, height = options.max_width, options.height or console.size.height
        yield Panel(self._head(), title="labelwatch", title_align="left", border_style=self._border(), padding=(0, 1))
        if self._reading is None:
            return
        room = max(height - 10, 3)
        shown, hidden = self._reading.sites[:room], self._reading.sites[room:]
        yield self._table(shown, width)
        if hidden:
            worst = max(line.state.code for line in hidden)
            calm = "all near, above or quiet" if worst <= NEAR.code else "make the window taller"
            yield Text(f"  +{len(hidden)} more sites, {calm}", style="dim")
        for site, project, signal, evidence in self._reading.drifts[:4]:
            yield Text.assemble(
                ("  ▼ ", "#E69F00"), f"{site} {project} {signal}", (f"  evidence {evidence:.1f}", "dim")
            )
        yield self._legend(width)
        if self._note:
            yield Text(f"  {self._note}", style="dim")
        if self._urls:
            yield Text("  " + "   ".join(self._urls), style="dim", no_wrap=True, overflow="ellipsis")

    def _border(self) -> str:
        return "#E69F00" if self._trouble or self._status()[1] != "LIVE" else "#3A3F47"

    def _status(self) -> tuple[str, str, str]:
        """Glyph, word and style of the monitor itself: a dead one must not look calm."""
        if self._trouble:
            return "■", "DOWN", "bold #000000 on #E69F00"
        if self._reading is None:
            return "…", "STARTING", "bold #ffffff on #6E6E6E"
        if self._reading.pipeline.not_ready:
            return "■", "NOT READY", "bold #000000 on #E69F00"
        if self._reading.pipeline.lag_seconds > LAG_SECONDS:
            return "▲", "BEHIND", "bold #000000 on #E69F00"
        return "●", "LIVE", "bold #ffffff on #0072B2"

    def _head(self) -> Text:
        glyph, word, style = self._status()
        head = Text.assemble((f" {glyph} {word} ", style), "  ")
        clock = datetime.fromtimestamp(self._now, UTC).strftime("%H:%M:%S UTC")
        if self._trouble:
            age = f"; figures are {_span(self._now - self._reading.at_seconds)} old" if self._reading else ""
            return head + Text(f"{self._trouble}{age}   {clock}")
        if self._reading is None:
            return head + Text(f"waiting for the first figures   {clock}")
        pipeline = self._reading.pipeline
        parts = [f"lag {_span(pipeline.lag_seconds)}" if pipeline.lag_records else "lag 0 s"]
        if pipeline.not_ready:
            parts.append("waiting for " + ", ".join(pipeline.not_ready))
        if pipeline.watermark_seconds is not None:
            parts.append(f"newest event {_span(max(self._now - pipeline.watermark_seconds, 0.0))} ago")
        if self._rate is not None:
            parts.append(f"{self._rate:,.0f} events/s")
        parts += [f"{pipeline.rejected:,} rejected", f"{pipeline.duplicates:,} duplicates", f"{pipeline.late:,} late"]
        parts.append(f"{len(self._reading.drifts)} drifts open")
        return head + Text("   ".join([*parts, clock]))

    def _table(self, lines: list[SiteLine], width: int) -> Table:
        table = Table(box=None, padding=(0, 1), expand=False, header_style="#9AA0A6", pad_edge=True)
        low = _scale_from(self._reading.sites if self._reading else [])
        rows = [_cells(line, low) for line in lines]
        headings = [f"{low:.0%}{'┃ target':^{_BAR_WIDTH - 7}}100%" if name is _BAR else name for name, _, _ in _COLUMNS]
        widths = [
            2 + max(len(heading), *(row[number].cell_len for row in rows)) if rows else len(heading) + 2
            for number, heading in enumerate(headings)
        ]
        chosen = set(range(len(_COLUMNS)))
        # The least important column goes first until the line fits.
        for number in sorted(chosen, key=lambda number: -_COLUMNS[number][2]):
            if sum(widths[each] for each in chosen) > width:
                chosen.discard(number)
        kept = sorted(chosen)
        for number in kept:
            table.add_column(headings[number], justify=_COLUMNS[number][1], no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(row[number] for number in kept), style="dim" if self._trouble else None)
        return table

    def _legend(self, width: int) -> Text:
        legend = Text("  ")
        for state, meaning in (
            (DRIFT, "a change was proven"),
            (SILENT, "people work, no labels"),
            (BELOW, "proven below target"),
            (BLIND, "too few reviews to tell"),
            (NEAR, "target within the interval"),
            (ABOVE, "proven at or above"),
        ):
            legend.append(f" {state.glyph} ", style=state.style)
            legend.append(f" {state.word if width < 170 else meaning}  ", style="#9AA0A6")
        return legend


def _cells(line: SiteLine, low: float) -> list[Text]:
    enough = line.accuracy is not None and line.lower is not None and line.upper is not None
    plain = Text("")
    accuracy = Text(f"{line.accuracy:.1%}" if line.accuracy is not None else "not enough data")
    if line.state in (BELOW, DRIFT):
        accuracy.stylize("bold #E69F00")
    elif line.accuracy is None:
        accuracy.stylize("#9AA0A6")
    gap = line.proven_gap * 100
    proven = "" if not enough else "≈" if gap == 0 else f"{gap:+.1f} pt"
    speed = f"{line.labels_per_hour:,.0f}"
    if line.state is SILENT:
        speed = f"none for {_span(line.silent_seconds)}"
    return [
        Text(f" {line.state.glyph} {line.state.word:<6} ", style=line.state.style),
        Text(line.site, style="bold"),
        accuracy,
        _bar(line, low) if enough else plain,
        Text(f"{line.lower:.1%} to {line.upper:.1%}" if enough else "", style="#9AA0A6"),
        Text(f"{line.target:.1%}"),
        Text(proven),
        Text(f"{line.reviews:,}"),
        Text(speed),
        Text(f"{line.handle_seconds:.1f}" if line.handle_seconds is not None else ""),
        Text(f"{line.utilization:.0%}" if line.utilization is not None else "no states"),
        Text(f"{line.working:,}" if line.people else ""),
        Text(f"{sum(line.people.values()) - line.people.get('offline', 0):,}" if line.people else ""),
    ]


def _scale_from(lines: list[SiteLine]) -> float:
    """Left end of the bars: one scale for all sites, in steps of 5 points."""
    lows = [low for line in lines for low in (line.lower, line.target) if low is not None and not math.isnan(low)]
    return min(math.floor((min(lows, default=0.9) - 0.005) * 20) / 20, 0.9)


def _bar(line: SiteLine, low: float) -> Text:
    """The interval on the scale, the figure in it and the target's mark."""

    def place(value: float) -> int:
        share = (value - low) / (1.0 - low)
        return min(max(round(share * (_BAR_WIDTH - 1)), 0), _BAR_WIDTH - 1)

    lower, upper = place(line.lower or 0.0), place(line.upper or 0.0)
    style = {BELOW.code: "#E69F00", DRIFT.code: "#E69F00", ABOVE.code: "#56B4E9"}.get(line.state.code, "#D8DADF")
    bar = Text()
    for position in range(_BAR_WIDTH):
        if position == place(line.accuracy or 0.0):
            bar.append("●", style=style)
        elif position == place(line.target):
            bar.append("┃", style="#ffffff")
        elif lower <= position <= upper:
            bar.append("━", style=style)
        else:
            bar.append("·", style="#3A3F47")
    return bar


def _span(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def plain_lines(reading: Reading) -> list[str]:
    """The board for scripts: a line for the monitor, a line a site, worst first; absent figures are left out."""
    pipeline = reading.pipeline
    lines = [
        f"monitor ready={int(not pipeline.not_ready)} lag_seconds={pipeline.lag_seconds:.1f} "
        f"lag_records={pipeline.lag_records} rejected={pipeline.rejected} duplicates={pipeline.duplicates} "
        f"late={pipeline.late} drifts={len(reading.drifts)} sites={len(reading.sites)}"
    ]
    for line in reading.sites:
        parts = [f"site={line.site!r}", f"state={line.state.word.lower()}", f"reviews={line.reviews}"]
        for name, value in (
            ("accuracy", line.accuracy),
            ("lower", line.lower),
            ("upper", line.upper),
            ("target", line.target),
            ("utilization", line.utilization),
        ):
            if value is not None and not math.isnan(value):
                parts.append(f"{name}={value:.4f}")
        parts.append(f"labels_1h={line.labels_per_hour:.0f}")
        parts.append(f"working={line.working}")
        lines.append("  ".join(parts))
    return lines
