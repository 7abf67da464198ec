"""The live terminal board: the monitor's own state, and sites, worst first; drawn to fit 80 to 200 columns."""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.states import (
    AT_TARGET,
    BELOW,
    BLIND,
    DOWN,
    DRIFT,
    LIVE,
    NEAR,
    NO_SHIFT,
    REPLAY,
    SILENT,
    SITE_STATES,
    STARTING,
    UNSEEN,
)
from streams.views import fold
from streams.views.reading import (
    NOW_WINDOW,
    RECENT_WINDOW,
    WINDOW,
    Accuracy,
    OpenDrift,
    Reading,
    SiteLine,
    monitor,
    percent,
    rank,
    span,
    unknown,
)

_MUTED, _FAINT, _WARN = "#9AA0A6", "#4A4F57", "bold #E69F00"
_BAR_CELLS, _BAR_CELLS_MOST = 17, 41
#: Below this width columns stand closer together.
_NARROW = 110
_DRIFTS_SHOWN = 4
_NO_DATA = "not enough data"
_z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class _Column:
    """One column.

    Attributes:
        heading: At its top.
        justify: Its side.
        goes: How early it goes where the terminal is narrow; 0 stays.
        cell: Draws it for a site; given the ends of the bars' scale and their length.
        least: Cells that it always has: figures that come and go must not move the others.
    """

    heading: str
    justify: Literal["left", "right"]
    goes: int
    cell: Callable[[SiteLine, tuple[float, float], int], Text]
    least: int = 0


def _column(heading: str, goes: int, cell: Callable[[SiteLine], Text], least: int = 0, left: bool = False) -> _Column:
    return _Column(heading, "left" if left else "right", goes, lambda line, _scale, _cells: cell(line), least)


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
        yield Panel(head, title=title, title_align="left", border_style=_FAINT if calm else "#E69F00", padding=(0, 1))
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
        clock = Text(datetime.fromtimestamp(self._now, UTC).strftime("%H:%M:%S UTC"), style=_MUTED)
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
        parts.append(Text(f"{drifts} drift{'s' * (drifts != 1)} open", style=_WARN if drifts else _MUTED))
        if pipeline.partitions and pipeline.owned < pipeline.partitions:
            parts.append(Text(f"{pipeline.owned} of {pipeline.partitions} partitions here", style=_WARN))
        parts.append(clock)
        lines = [_packed(parts, width)]
        if reading.sites:
            lines.append(_packed(_operation(reading), width))
        return Text("\n").join(lines)

    # --- the sites

    def _sites(self, sites: Sequence[SiteLine], width: int, room: int) -> Iterable[Table | Text]:
        # The line that counts the hidden ones takes a site's place.
        dim = self._state is DOWN
        shown, hidden = _shown(sites, room)
        parts, left_out = _table(shown, sites, width, room=room - bool(hidden), dim=dim)
        # Never in silence: which they are, and where they are to be seen.
        what = f"no room for {', '.join(left_out)}: make the window wider or taller" if left_out else ""
        said = textwrap.wrap(what, max(width - 4, 1))[: max(room // 3, 0)]
        if len(shown) + bool(hidden) + len(said) > room:
            shown, hidden = _shown(sites, max(room - len(said), 1))
            parts, _ = _table(shown, sites, width, room=0, dim=dim)
        yield from parts
        yield from (Text(f"  {line}", style=_MUTED) for line in said)
        if hidden:
            calm = rank(hidden[0].state) <= NEAR.code
            what = (
                f"all {NEAR.short}, {AT_TARGET.short} or {NO_SHIFT.short}"
                if calm
                else "bad ones among them: make the window taller"
            )
            yield Text(f"  +{len(hidden)} more sites, {what}", style=_MUTED if calm else _WARN)

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
            rows.append(Text(f"  +{len(drifts) - most} more drifts", style=_WARN))
        return [Text(), *rows]

    def _notes(self, width: int) -> list[Text]:
        """What a person who knows the board can do without: legend, note, addresses."""
        room = max(width - 4, 1)
        legend = [_legend(room)] if self._reading is not None and self._reading.sites else []
        note = Text("\n".join(textwrap.wrap(self._note, room)), style=_MUTED)
        urls = _packed([Text(url, style=_MUTED) for url in self._urls], room)
        return [_indented(text) for text in (*legend, note, urls) if text.plain]


def _operation(reading: Reading) -> list[Text]:
    """The whole operation in a line: how many sites stand how, accuracy, work and people."""
    sites = reading.sites
    counts = Counter(line.state for line in sites)
    parts = [Text(f"{len(sites)} site{'s' * (len(sites) != 1)}", style="bold")]
    for state in (*SITE_STATES, UNSEEN):
        if number := counts[state]:
            what = f"{state.glyph} {number} {state.short}"
            parts.append(Text(f" {what} ", style=state.style) if state.is_bright else Text(what, style=_MUTED))
    reviews, correct = reading.total
    if reviews:
        low, high = _wilson(correct, reviews)
        parts.append(
            Text.assemble(
                f"all {percent(correct / reviews)}",
                (f" ({percent(low)[:-1]} to {percent(high)[:-1]}, n {reviews:,})", _MUTED),
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
    kind, style = (drift.budget or "drift", DRIFT.style) if drift.is_ours else ("river", _MUTED)
    where = " ".join(part for part in (drift.site, drift.project, drift.signal, drift.direction) if part)
    mark = (" └ within it ", _MUTED) if drift.is_within else (f" {DRIFT.glyph} {kind} ", style)
    parts = [Text.assemble(mark, " ", (where, "bold"))]
    if drift.baseline is not None and drift.current is not None:
        parts.append(Text(f"{percent(drift.baseline)} to {percent(drift.current)}"))
    if drift.reviews:
        parts.append(Text(f"n {drift.reviews:,}"))
    if drift.began_seconds is not None:
        began = datetime.fromtimestamp(drift.began_seconds, UTC).strftime("%H:%M UTC")
        parts.append(Text(f"for {span(now_seconds - drift.began_seconds)}, since {began}"))
    if drift.is_ours:
        parts.append(Text(f"evidence {drift.evidence:.1f} x", style=_MUTED))
    if drift.river:
        says = f"river agrees ({drift.river})" if drift.is_ours else f"river's {drift.river} alone, no promise"
        parts.append(Text(says, style=_MUTED))
    return parts


def _legend(width: int) -> Text:
    """The states, with what they mean where two lines are enough for it."""
    words = [Text(f" {state.glyph} {state.short} ", style=state.style) for state in SITE_STATES]
    full = [Text.assemble(word, (f" {state.brief}", _MUTED)) for word, state in zip(words, SITE_STATES, strict=True)]
    told = _packed(full, width)
    return told if _height(told) <= 2 else _packed(words, width)


# --- the table


def _shown(sites: Sequence[SiteLine], room: int) -> tuple[Sequence[SiteLine], Sequence[SiteLine]]:
    """The sites that have a line each, and the others, whose count takes one's place."""
    kept = room if len(sites) <= room else max(room - 1, 1)
    return sites[:kept], sites[kept:]


def _table(
    lines: Sequence[SiteLine], every: Sequence[SiteLine], width: int, room: int, dim: bool
) -> tuple[list[Table | Text], list[str]]:
    """A line a site; what is too wide stands below it, where the terminal is tall enough.

    Returns:
        What to draw, and the headings of columns for which there is no room either way.
    """
    scale = _scale_of(every)
    gap = 1 if width < _NARROW else 2
    cells = [[column.cell(line, scale, _BAR_CELLS) for column in _COLUMNS] for line in lines]
    widths = [
        gap + max(len(column.heading), column.least, *(row[number].cell_len for row in cells))
        for number, column in enumerate(_COLUMNS)
    ]
    # No column for what is not there: a drift is rare, and its figure is worth that the others move.
    present = [place for place in range(len(_COLUMNS)) if place != _SINCE or any(row[place].plain for row in cells)]
    kept = list(present)
    # The least important column goes first until the line fits.
    for number in sorted(kept, key=lambda number: -_COLUMNS[number].goes):
        if sum(widths[each] for each in kept) <= width or not _COLUMNS[number].goes:
            break
        kept.remove(number)
    bar = _BAR_CELLS
    if _BAR in kept:
        # What is left over makes the bar longer, by whole pairs: the scale keeps its middle.
        bar = min(_BAR_CELLS + max(width - sum(widths[each] for each in kept), 0) // 2 * 2, _BAR_CELLS_MOST)
    # The bar draws what the interval says in figures.
    gone = [number for number in present if number not in kept and number != _BAR]
    style = "dim" if dim else ""
    below = [
        list(fold.beside([(_COLUMNS[number].heading, row[number]) for number in gone if row[number].plain], width))
        for row in cells
    ]
    fits = 1 + sum(1 + len(each) for each in below) <= room
    drawn: list[Table | Text] = []
    pieces = [[line] for line in lines] if gone and fits else [lines]
    for number, piece in enumerate(pieces):
        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=_MUTED, show_header=not number)
        for place in kept:
            column = _COLUMNS[place]
            heading = Text(column.heading) if place != _BAR else _heading(scale, bar)
            table.add_column(
                heading,
                justify=column.justify,
                min_width=widths[place] - gap if place != _BAR else None,
                no_wrap=True,
                overflow="ellipsis",
            )
        for line in piece:
            table.add_row(*(_COLUMNS[place].cell(line, scale, bar) for place in kept), style=style or None)
        drawn.append(table)
        if gone and fits:
            drawn += [Text.assemble(each, style=style) for each in below[number]]
    return drawn, [] if fits else [_COLUMNS[number].heading for number in gone]


def _state_cell(line: SiteLine) -> Text:
    state = line.state
    return Text(f" {state.glyph} {state.short:<6} ", style=state.style)


def _ratio_cell(line: SiteLine) -> Text:
    accuracy = line.accuracy
    if accuracy.ratio is None:
        return Text("-", style=_MUTED)
    return Text(percent(accuracy.ratio), style=_WARN if accuracy.state is BELOW or line.state is DRIFT else "bold")


def _since_cell(line: SiteLine) -> Text:
    return Text("" if line.since_change is None else percent(line.since_change), style=_WARN)


def _interval_cell(line: SiteLine) -> Text:
    accuracy = line.accuracy
    if accuracy.lower is None or accuracy.upper is None:
        return Text(_NO_DATA, style=_MUTED)
    return Text(f"{percent(accuracy.lower)[:-1]} to {percent(accuracy.upper)[:-1]}", style=_MUTED)


def _reviews_cell(line: SiteLine) -> Text:
    n = line.accuracy.reviews
    if line.accuracy.ratio is None and line.min_reviews is not None:
        return Text(f"{n:,} of {line.min_reviews:,}", style=_MUTED)
    return Text(f"{n:,}")


def _proven_cell(line: SiteLine) -> Text:
    if line.accuracy.ratio is None:
        return Text()
    points = line.accuracy.proven_gap * 100
    if not points:
        return Text(NEAR.glyph)
    # What is proven is never shown as nothing.
    shown = f"{points:+.1f}" if abs(points) >= 0.05 else f"{math.copysign(max(abs(points), 0.01), points):+.2f}"
    return Text(f"{shown} pt", style=_WARN if points < 0 else "")


def _short(accuracy: Accuracy) -> Text:
    """A ratio with the glyph of what it proves; how few reviews there are where there is none."""
    if accuracy.ratio is None:
        return Text(f"{BLIND.glyph} n={accuracy.reviews:,}", style=_MUTED)
    state = accuracy.state
    style = {BELOW: _WARN, AT_TARGET: AT_TARGET.style}.get(state, "")
    return Text(f"{state.glyph} {percent(accuracy.ratio)}", style=style)


def _labels_cell(line: SiteLine) -> Text:
    if line.state is SILENT:
        return Text(f"{SILENT.glyph} {span(line.silent_seconds)}", style="bold #CC79A7")
    return Text(f"{line.labels_per_hour:,.0f}")


def _handle_cell(line: SiteLine) -> Text:
    if line.handle_seconds is None:
        return Text()
    return Text(f"{'△ ' * (line.handle_seconds > line.handle_seconds_target)}{line.handle_seconds:.1f}")


#: From this share of the site's labels on, the people who report states stand for all of them.
_TIMED_ENOUGH = 0.95


def _utilization_cell(line: SiteLine) -> Text:
    if line.utilization is None:
        return Text("no states", style=_MUTED)
    return Text(f"{'▽ ' * (line.utilization < line.utilization_target)}{percent(line.utilization, 0)}")


def _people_cell(number: int, line: SiteLine) -> Text:
    return Text(f"{number:,}" if line.people else "")


_BAR_GOES, _SINCE_HEADING = 7, "since change"
_COLUMNS = (
    _column("", 0, _state_cell, left=True),
    _column("site", 0, lambda line: Text(line.site, style="bold"), left=True),
    _column(f"accuracy {WINDOW}", 0, _ratio_cell),
    _column(_SINCE_HEADING, 2, _since_cell),
    _Column("", "left", _BAR_GOES, lambda line, scale, cells: _bar(line, scale, cells)),
    _column("95% interval", 1, _interval_cell, least=len(_NO_DATA)),
    _column("target", 2, lambda line: _percent(line.accuracy.target)),
    _column("proven", 10, _proven_cell),
    _column("reviews", 1, _reviews_cell, least=8),
    _column(f"now {RECENT_WINDOW}", 4, lambda line: _short(line.recent)),
    _column(f"QA {WINDOW}", 8, lambda line: _short(line.qa)),
    _column("labels/h", 3, _labels_cell),
    _column("s/label", 9, _handle_cell),
    _column("utilized", 6, _utilization_cell),
    _column("at work", 5, lambda line: _people_cell(line.working, line)),
    _column("waiting", 11, lambda line: _people_cell(line.waiting, line)),
    _column("away", 12, lambda line: _people_cell(line.away, line)),
)
_SINCE = next(number for number, column in enumerate(_COLUMNS) if column.heading == _SINCE_HEADING)
_BAR = next(number for number, column in enumerate(_COLUMNS) if column.goes == _BAR_GOES)


def _percent(ratio: float) -> Text:
    return Text("" if math.isnan(ratio) else percent(ratio))


def _scale_of(lines: Sequence[SiteLine]) -> tuple[float, float]:
    """Ends of the bars: one scale for all sites, in steps of 2 points."""
    every = [end for line in lines for end in (line.accuracy.lower, line.accuracy.upper, line.accuracy.target)]
    known = [end for end in every if end is not None and not math.isnan(end)] or [0.95]
    low = max(math.floor((min(known) - 0.005) * 50) / 50, 0.0)
    high = min(math.ceil((max(known) + 0.005) * 50) / 50, 1.0)
    return low, high


def _heading(scale: tuple[float, float], cells: int) -> Text:
    left, right = (f"{end:.0%}" for end in scale)
    return Text(f"{left}{'┃ target':^{cells - len(left) - len(right)}}{right}")


def _bar(line: SiteLine, scale: tuple[float, float], cells: int) -> Text:
    """The interval on the scale, the figure in it and the target's mark."""
    accuracy = line.accuracy
    if accuracy.ratio is None or accuracy.lower is None or accuracy.upper is None:
        return Text("·" * cells, style=_FAINT)

    def place(value: float) -> int:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return -1 if math.isnan(share) else min(max(round(share * (cells - 1)), 0), cells - 1)

    figure, target = place(accuracy.ratio), place(accuracy.target)
    style = {BELOW: _WARN, AT_TARGET: AT_TARGET.style}.get(accuracy.state, "#D8DADF")
    bar = Text()
    for cell in range(cells):
        if cell == figure:
            bar.append("●", style=style)
        elif cell == target:
            bar.append("┃", style="bold #ffffff")
        elif place(accuracy.lower) <= cell <= place(accuracy.upper):
            bar.append("━", style=style)
        else:
            bar.append("·", style=_FAINT)
    return bar


# --- text


def _counts(**numbers: int) -> list[Text]:
    """Each number that is above 0, and the others together."""
    none = ", ".join(what for what, number in numbers.items() if not number)
    some = [Text(f"{number:,} {what}") for what, number in numbers.items() if number]
    return [*some, Text(f"0 {none}", style=_MUTED)] if none else some


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
        ("utilization", line.utilization),
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
