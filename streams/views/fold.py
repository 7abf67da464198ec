"""Tables that keep every column: what has no room is below its row, each value behind its heading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

_MUTED = "#9AA0A6"
#: A column of names folds to no less.
_LEAST = 8
_INDENT = 4


@dataclass(frozen=True, slots=True)
class FoldedColumn:
    """One column.

    Attributes:
        heading: At its top.
        right: Figures stand at the right.
        goes: How early it goes below where the terminal is narrow, the greatest first; 0 last, from the right.
        folds: A name, which goes on in the next line where it is too long.
    """

    heading: str
    right: bool = False
    goes: int = 0
    folds: bool = False


def lines(
    columns: Sequence[FoldedColumn],
    rows: Sequence[Sequence[Text]],
    width: int,
    *,
    gap: int = 2,
    header_style: str = "dim",
) -> Iterator[Table | Text]:
    """Draws rows into so many cells of width: in one line each where that is enough.

    Args:
        columns: From left to right.
        rows: By row a cell for each column.
        width: Of the terminal.
        gap: Cells between two columns.
        header_style: Of the headings.
    """
    widths = [
        max([len(column.heading), *(row[number].cell_len for row in rows)]) for number, column in enumerate(columns)
    ]
    kept, below = _places(columns, widths, width, gap)
    _shrink(columns, widths, kept, width, gap)
    pieces = [[row] for row in rows] if below else [rows]
    for number, piece in enumerate(pieces):
        table = Table(
            box=None, padding=(0, gap, 0, 0), pad_edge=False, show_header=not number, header_style=header_style
        )
        for place in kept:
            column = columns[place]
            table.add_column(
                Text(column.heading),
                justify="right" if column.right else "left",
                width=widths[place],
                no_wrap=not column.folds,
                overflow="fold",
            )
        for row in piece:
            table.add_row(*(row[place] for place in kept))
        yield table
        if below:
            pairs = [(columns[place].heading, piece[0][place]) for place in below if piece[0][place].plain]
            yield from beside(pairs, width)


def _places(
    columns: Sequence[FoldedColumn], widths: Sequence[int], width: int, gap: int
) -> tuple[list[int], list[int]]:
    """Which columns stay in the line, and which are below it."""
    kept = list(range(len(columns)))
    for place in sorted(kept, key=lambda place: -columns[place].goes):
        if sum(widths[each] + gap for each in kept) - gap <= width or not columns[place].goes:
            break
        kept.remove(place)
    # Where not even names at their narrowest make room, figures go from the right: none is ever cut.
    least = [min(each, _LEAST) if column.folds else each for column, each in zip(columns, widths, strict=True)]
    while len(kept) > 1 and sum(least[each] + gap for each in kept) - gap > width:
        kept.pop()
    return kept, [place for place in range(len(columns)) if place not in kept]


def _shrink(columns: Sequence[FoldedColumn], widths: list[int], kept: Sequence[int], width: int, gap: int) -> None:
    """Shortens the widest names until the line fits."""
    folding = [place for place in kept if columns[place].folds]
    while folding and sum(widths[each] + gap for each in kept) - gap > width:
        widest = max(folding, key=lambda place: widths[place])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def beside(pairs: Sequence[tuple[str, Text]], width: int) -> Iterator[Text]:
    """`heading value` side by side, in as many lines as it takes."""
    line = Text()
    for heading, value in pairs:
        pair = Text.assemble((f"{heading} " if heading else "", _MUTED), value)
        if line.plain and line.cell_len + 2 + pair.cell_len > width:
            yield line
            line = Text()
        line = Text.assemble(line, "  ", pair) if line.plain else Text.assemble(" " * _INDENT, pair)
        line.no_wrap, line.overflow = False, "fold"
    if line.plain:
        yield line
