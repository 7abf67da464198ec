"""The table of sites: which columns a width has room for, and what each cell says."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from schemas.states import (
    AT_TARGET,
    BELOW,
    BLIND,
    DRIFT,
    NEAR,
    SILENT,
)
from streams.views import fold
from streams.views.reading import (
    RECENT_WINDOW,
    WINDOW,
    Accuracy,
    SiteLine,
    percent,
    span,
)

MUTED = "#9AA0A6"
FAINT = "#4A4F57"
WARN = "bold #E69F00"
_BAR_CELLS = 17
_BAR_CELLS_MOST = 41
#: Below this width columns stand closer together.
NARROW = 110
NO_DATA = "not enough data"


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


def shown_sites(sites: Sequence[SiteLine], room: int) -> tuple[Sequence[SiteLine], Sequence[SiteLine]]:
    """The sites that have a line each, and the others, whose count takes one's place."""
    kept = room if len(sites) <= room else max(room - 1, 1)
    return sites[:kept], sites[kept:]


def site_table(
    lines: Sequence[SiteLine], every: Sequence[SiteLine], width: int, room: int, dim: bool
) -> tuple[list[Table | Text], list[str]]:
    """A line a site; what is too wide is below it, where the terminal is tall enough.

    Returns:
        What to draw, and the headings of columns for which there is no room either way.
    """
    scale = _scale_of(every)
    gap = 1 if width < NARROW else 2
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
        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=MUTED, show_header=not number)
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
        return Text("-", style=MUTED)
    return Text(percent(accuracy.ratio), style=WARN if accuracy.state is BELOW or line.state is DRIFT else "bold")


def _since_cell(line: SiteLine) -> Text:
    return Text("" if line.since_change is None else percent(line.since_change), style=WARN)


def _interval_cell(line: SiteLine) -> Text:
    accuracy = line.accuracy
    if accuracy.lower is None or accuracy.upper is None:
        return Text(NO_DATA, style=MUTED)
    return Text(f"{percent(accuracy.lower)[:-1]} to {percent(accuracy.upper)[:-1]}", style=MUTED)


def _reviews_cell(line: SiteLine) -> Text:
    n = line.accuracy.reviews
    if line.accuracy.ratio is None and line.min_reviews is not None:
        return Text(f"{n:,} of {line.min_reviews:,}", style=MUTED)
    return Text(f"{n:,}")


def _proven_cell(line: SiteLine) -> Text:
    if line.accuracy.ratio is None:
        return Text()
    points = line.accuracy.proven_gap * 100
    if not points:
        return Text(NEAR.glyph)
    # What is proven is never shown as nothing.
    shown = f"{points:+.1f}" if abs(points) >= 0.05 else f"{math.copysign(max(abs(points), 0.01), points):+.2f}"
    return Text(f"{shown} pt", style=WARN if points < 0 else "")


def accuracy_text(accuracy: Accuracy) -> Text:
    """A ratio with the glyph of what it proves; how few reviews there are where there is none."""
    if accuracy.ratio is None:
        return Text(f"{BLIND.glyph} n={accuracy.reviews:,}", style=MUTED)
    state = accuracy.state
    style = {BELOW: WARN, AT_TARGET: AT_TARGET.style}.get(state, "")
    return Text(f"{state.glyph} {percent(accuracy.ratio)}", style=style)


def _labels_cell(line: SiteLine) -> Text:
    if line.state is SILENT:
        return Text(f"{SILENT.glyph} {span(line.silent_seconds)}", style="bold #CC79A7")
    return Text(f"{line.labels_per_hour:,.0f}")


def _handle_cell(line: SiteLine) -> Text:
    if line.handle_seconds is None:
        return Text()
    return Text(f"{'△ ' * (line.handle_seconds > line.handle_seconds_target)}{line.handle_seconds:.1f}")


#: From this share of the site's labels on, the speed of the people who report states counts for all.
_TIMED_ENOUGH = 0.95


def _utilization_cell(line: SiteLine) -> Text:
    if line.utilization is None:
        return Text("no states", style=MUTED)
    # An estimate is below no target: it says too little of what people did between labels.
    if line.is_presence_estimated:
        return Text(f"~{percent(line.utilization, 0)}", style=MUTED)
    return Text(f"{'▽ ' * (line.utilization < line.utilization_target)}{percent(line.utilization, 0)}")


def _people_cell(number: int, line: SiteLine) -> Text:
    return Text(f"{'~' * line.is_presence_estimated}{number:,}" if line.people else "")


_BAR_GOES, _SINCE_HEADING = 7, "since change"
_COLUMNS = (
    _column("", 0, _state_cell, left=True),
    _column("site", 0, lambda line: Text(line.site, style="bold"), left=True),
    _column(f"accuracy {WINDOW}", 0, _ratio_cell),
    _column(_SINCE_HEADING, 2, _since_cell),
    _Column("", "left", _BAR_GOES, lambda line, scale, cells: _bar(line, scale, cells)),
    _column("95% interval", 1, _interval_cell, least=len(NO_DATA)),
    _column("target", 2, lambda line: _percent(line.accuracy.target)),
    _column("proven", 10, _proven_cell),
    _column("reviews", 1, _reviews_cell, least=8),
    _column(f"now {RECENT_WINDOW}", 4, lambda line: accuracy_text(line.recent)),
    _column(f"QA {WINDOW}", 8, lambda line: accuracy_text(line.qa)),
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
        return Text("·" * cells, style=FAINT)

    def place(value: float) -> int:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return -1 if math.isnan(share) else min(max(round(share * (cells - 1)), 0), cells - 1)

    figure, target = place(accuracy.ratio), place(accuracy.target)
    style = {BELOW: WARN, AT_TARGET: AT_TARGET.style}.get(accuracy.state, "#D8DADF")
    bar = Text()
    for cell in range(cells):
        if cell == figure:
            bar.append("●", style=style)
        elif cell == target:
            bar.append("┃", style="bold #ffffff")
        elif place(accuracy.lower) <= cell <= place(accuracy.upper):
            bar.append("━", style=style)
        else:
            bar.append("·", style=FAINT)
    return bar
