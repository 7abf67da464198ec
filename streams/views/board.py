"""The live terminal board: the monitor's own state, and sites, worst first; drawn to fit 80 to 200 columns."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.states import (
    AT_TARGET,
    DOWN,
    DRIFT,
    LIVE,
    NEAR,
    NO_SHIFT,
    REPLAY,
    SITE_STATES,
    STARTING,
    UNSEEN,
)
from streams.views.reading import (
    NOW_WINDOW,
    RECENT_WINDOW,
    OpenDrift,
    Reading,
    SiteLine,
    monitor,
    percent,
    rank,
    span,
    unknown,
)
from streams.views.site_table import (
    FAINT,
    MUTED,
    WARN,
    shown_sites,
    site_table,
)

_DRIFTS_SHOWN = 4
_z = 1.959963984540054


class TerminalBoard:
    """The picture: a head about the monitor, a line a site, open drifts, a legend.

    Args:
        reading: What to show; None while nothing has been read yet.
        events_per_second: From several readings; None before that.
        trouble: Why the newest reading could not be had; the figures are then shown as old.
        now_seconds: Now, epoch seconds.
        urls: Addresses to show below.
        note: A line about what is watched.
    """

    def __init__(
        self,
        reading: Reading | None,
        *,
        events_per_second: float | None = None,
        trouble: str | None = None,
        now_seconds: float,
        urls: Sequence[str] = (),
        note: str = "",
    ) -> None:
        self._state, self._why = monitor(reading, trouble, now_seconds)
        self._reading = unknown(reading) if reading is not None and self._state is DOWN else reading
        self._rate = events_per_second
        self._now = now_seconds
        self._urls = urls
        self._note = note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws it."""
        width, height = options.max_width, options.height or console.size.height
        calm = self._state in (LIVE, REPLAY, STARTING)
        title = Text(" labelwatch ", style="bold")
        head = self._head(width - 4)
        yield Panel(head, title=title, title_align="left", border_style=FAINT if calm else "#E69F00", padding=(0, 1))
        reading = self._reading
        sites = reading.sites if reading is not None else ()
        room = height - 2 - _height(head) - 1
        drifts = self._drifts(width, max(min(_DRIFTS_SHOWN, room // 4), 1), room // 3)
        # Where the terminal is low, sites and drifts stay, and the legend goes first.
        notes = self._notes(width)
        while notes and room - len(drifts) - _height(*notes) - 1 < len(sites) + 1:
            notes.pop(0)
        if sites:
            yield from self._sites(sites, width, max(room - len(drifts) - (_height(*notes) + 1 if notes else 0) - 1, 1))
        yield from drifts
        yield from [Text(), *notes] if sites and notes else notes

    # --- the monitor

    def _head(self, width: int) -> Text:
        state = self._state
        parts = [Text.assemble((f" {state.glyph} {state.word.en} ", state.style))]
        if self._why:
            parts.append(Text(self._why, style="" if state is STARTING else "bold"))
        reading = self._reading
        clock = Text(datetime.fromtimestamp(self._now, UTC).strftime("%H:%M:%S UTC"), style=MUTED)
        if reading is None or state is DOWN:
            return _packed([*parts, clock], width)
        pipeline = reading.pipeline
        if state in (LIVE, REPLAY):
            parts.append(Text(f"lag {span(pipeline.lag_seconds)}" if pipeline.lag_records else "lag 0 s"))
        if pipeline.newest_event_seconds is not None:
            parts.append(Text(f"newest event {span(self._now - pipeline.newest_event_seconds)} ago"))
        if self._rate is not None:
            parts.append(Text(f"{self._rate:,.0f} events/s"))
        parts += _counts(rejected=pipeline.rejected, duplicates=pipeline.duplicates, late=pipeline.late)
        drifts = sum(drift.is_ours for drift in reading.drifts)
        parts.append(Text(f"{drifts} drift{'s' * (drifts != 1)} open", style=WARN if drifts else MUTED))
        if pipeline.partitions and pipeline.owned < pipeline.partitions:
            parts.append(Text(f"{pipeline.owned} of {pipeline.partitions} partitions here", style=WARN))
        parts.append(clock)
        lines = [_packed(parts, width)]
        if reading.sites:
            lines.append(_packed(_operation(reading), width))
        return Text("\n").join(lines)

    # --- the sites

    def _sites(self, sites: Sequence[SiteLine], width: int, room: int) -> Iterable[Table | Text]:
        # The line that counts the hidden ones takes a site's place.
        dim = self._state is DOWN
        shown, hidden = shown_sites(sites, room)
        parts, left_out = site_table(shown, sites, width, room=room - bool(hidden), dim=dim)
        # Never in silence: which they are, and where they are to be seen.
        what = f"no room for {', '.join(left_out)}: make the window wider or taller" if left_out else ""
        said = textwrap.wrap(what, max(width - 4, 1))[: max(room // 3, 0)]
        if len(shown) + bool(hidden) + len(said) > room:
            shown, hidden = shown_sites(sites, max(room - len(said), 1))
            parts, _ = site_table(shown, sites, width, room=0, dim=dim)
        yield from parts
        yield from (Text(f"  {line}", style=MUTED) for line in said)
        if hidden:
            calm = rank(hidden[0].state) <= NEAR.code
            what = (
                f"all {NEAR.short}, {AT_TARGET.short} or {NO_SHIFT.short}"
                if calm
                else "bad ones among them: make the window taller"
            )
            yield Text(f"  +{len(hidden)} more sites, {what}", style=MUTED if calm else WARN)

    def _drifts(self, width: int, most: int, room: int) -> list[Text]:
        if self._reading is None or not self._reading.drifts:
            return []
        drifts = self._reading.drifts
        rows = [
            line
            for drift in drifts[:most]
            for line in _indented(_packed(_drift(drift, self._now), max(width - 2, 1))).split("\n")
        ]
        if len(rows) > max(room, most):
            # On so low a terminal a line each, which says that it goes on.
            rows = [Text.assemble("  ", Text("  ").join(_drift(drift, self._now))) for drift in drifts[:most]]
            for row in rows:
                row.truncate(width, overflow="ellipsis")
        if len(drifts) > most:
            rows.append(Text(f"  +{len(drifts) - most} more drifts", style=WARN))
        return [Text(), *rows]

    def _notes(self, width: int) -> list[Text]:
        """What a person who knows the board can do without: legend, note, addresses."""
        room = max(width - 4, 1)
        legend = [_legend(room)] if self._reading is not None and self._reading.sites else []
        note = Text("\n".join(textwrap.wrap(self._note, room)), style=MUTED)
        urls = _packed([Text(url, style=MUTED) for url in self._urls], room)
        return [_indented(text) for text in (*legend, note, urls) if text.plain]


def _operation(reading: Reading) -> list[Text]:
    """The whole operation in a line: sites by state, accuracy, work and people."""
    sites = reading.sites
    counts = Counter(line.state for line in sites)
    parts = [Text(f"{len(sites)} site{'s' * (len(sites) != 1)}", style="bold")]
    for state in (*SITE_STATES, UNSEEN):
        if number := counts[state]:
            what = f"{state.glyph} {number} {state.short}"
            parts.append(Text(f" {what} ", style=state.style) if state.is_bright else Text(what, style=MUTED))
    reviews, correct = reading.total
    if reviews:
        low, high = _wilson(correct, reviews)
        parts.append(
            Text.assemble(
                f"all {percent(correct / reviews)}",
                (f" ({percent(low)[:-1]} to {percent(high)[:-1]}, n {reviews:,})", MUTED),
            )
        )
    parts.append(Text(f"{sum(line.labels_per_hour for line in sites):,.0f} labels/h"))
    if any(line.people for line in sites):
        working, waiting = (sum(getattr(line, kind) for line in sites) for kind in ("working", "waiting"))
        parts.append(Text(f"{working:,} at work, {waiting:,} waiting"))
    return parts


def _drift(drift: OpenDrift, now_seconds: float) -> list[Text]:
    """What is known of a drift, in parts that a narrow terminal puts below each other."""
    # River's alone is no state of the site: nothing is promised of it.
    kind, style = (drift.budget or "drift", DRIFT.style) if drift.is_ours else ("river", MUTED)
    where = " ".join(part for part in (drift.site, drift.project, drift.signal, drift.direction) if part)
    mark = (" └ within it ", MUTED) if drift.is_within else (f" {DRIFT.glyph} {kind} ", style)
    parts = [Text.assemble(mark, " ", (where, "bold"))]
    if drift.baseline is not None and drift.current is not None:
        parts.append(Text(f"{percent(drift.baseline)} to {percent(drift.current)}"))
    if drift.reviews:
        parts.append(Text(f"n {drift.reviews:,}"))
    if drift.began_seconds is not None:
        began = datetime.fromtimestamp(drift.began_seconds, UTC).strftime("%H:%M UTC")
        parts.append(Text(f"for {span(now_seconds - drift.began_seconds)}, since {began}"))
    if drift.is_ours:
        parts.append(Text(f"evidence {drift.evidence:.1f} x", style=MUTED))
    if drift.river:
        says = f"river agrees ({drift.river})" if drift.is_ours else f"river's {drift.river} alone, no promise"
        parts.append(Text(says, style=MUTED))
    return parts


def _legend(width: int) -> Text:
    """The states, with what they mean where two lines are enough for it."""
    words = [Text(f" {state.glyph} {state.short} ", style=state.style) for state in SITE_STATES]
    full = [Text.assemble(word, (f" {state.brief}", MUTED)) for word, state in zip(words, SITE_STATES, strict=True)]
    listed = _packed(full, width)
    return listed if _height(listed) <= 2 else _packed(words, width)


# --- the table


# --- text


def _counts(**numbers: int) -> list[Text]:
    """Each number that is above 0, and the others together."""
    none = ", ".join(what for what, number in numbers.items() if not number)
    some = [Text(f"{number:,} {what}") for what, number in numbers.items() if number]
    return [*some, Text(f"0 {none}", style=MUTED)] if none else some


def _packed(parts: Sequence[Text], width: int) -> Text:
    """Parts side by side, with a new line where the next one does not fit."""
    lines: list[Text] = []
    for part in parts:
        part.truncate(max(width, 1), overflow="ellipsis")
        if lines and lines[-1].cell_len + 2 + part.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], "  ", part)
        else:
            lines.append(part)
    return Text("\n").join(lines)


def _indented(text: Text) -> Text:
    return Text("\n").join([Text.assemble("  ", line) for line in text.split("\n")])


def _height(*texts: Text) -> int:
    return sum(text.plain.count("\n") + 1 for text in texts)


def _wilson(correct: int, n: int) -> tuple[float, float]:
    """The Wilson 95% interval, for the sum of sites that the page does not have."""
    p, z2 = correct / n, _z * _z
    middle, half = p + z2 / (2 * n), _z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)


def plain_lines(reading: Reading | None, trouble: str | None, now_seconds: float) -> list[str]:
    """The board for scripts: a line for the monitor, a line a site, worst first; absent figures are left out."""
    state, why = monitor(reading, trouble, now_seconds)
    lines = [f"monitor state={_word(state.word.en)}" + (f" why={why!r}" if why else "")]
    if reading is None:
        return lines
    shown, pipeline = unknown(reading) if state is DOWN else reading, reading.pipeline
    lines[0] += (
        f" lag_seconds={pipeline.lag_seconds:.1f} lag_records={pipeline.lag_records}"
        f" rejected={pipeline.rejected} duplicates={pipeline.duplicates} late={pipeline.late}"
        f" drifts={len(reading.drifts)} sites={len(reading.sites)}"
    )
    for drift in reading.drifts:
        lines.append(
            f"drift site={drift.site!r} project={drift.project!r} signal={drift.signal} direction={drift.direction}"
            + (f" budget={drift.budget} evidence={drift.evidence:.2f}" if drift.is_ours else " no-promise")
            + (f" river={drift.river}" if drift.river else "")
        )
    return lines + [_plain_site(line) for line in shown.sites]


def _plain_site(line: SiteLine) -> str:
    accuracy = line.accuracy
    figures = (
        ("accuracy", accuracy.ratio),
        ("lower", accuracy.lower),
        ("upper", accuracy.upper),
        ("target", accuracy.target),
        (f"accuracy_{RECENT_WINDOW}", line.recent.ratio),
        ("qa_accuracy", line.qa.ratio),
        ("utilization_estimated" if line.is_presence_estimated else "utilization", line.utilization),
    )
    return " ".join(
        [
            f"site={line.site!r} state={_word(line.state.short)} reviews={accuracy.reviews}",
            *(f"{name}={value:.4f}" for name, value in figures if value is not None and not math.isnan(value)),
            f"labels_{NOW_WINDOW}={line.labels_per_hour:.0f}",
            f"at_work={line.working} waiting={line.waiting} away={line.away}",
        ]
    )


def _word(word: str) -> str:
    return word.lower().replace(" ", "_")
