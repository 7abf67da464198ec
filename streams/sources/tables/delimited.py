"""CSV and its kin, strictly: every row has the header's columns, and a stray quote costs its own line alone."""

import csv
import re
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from typing import Literal

from schemas.text import choice, visible
from streams.sources.errors import SourceError
from streams.sources.tables.opening import OpenedFile
from streams.sources.tables.table import BadRow, SourceTable, TableReading, TableRow

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}
_BY_NAME = {name: sign for sign, name in _NAMES.items()} | {"\\t": "\t"}
#: The first lines, from which the delimiter is guessed.
_SNIFFED = 50
#: More is no table that a person made; the longest line, and the longest cell, in characters.
_COLUMNS, _LINE, _CELL = 4096, 4 << 20, csv.field_size_limit()
#: Lines read again since a row of many lines was wrong: above it is the quotes, not the rows; some seconds of work.
_REREAD_LINES = 2_000_000


class _Lines:
    """Lines of a text with their numbers; those of a row that was wrong can be read again."""

    def __init__(self, file: OpenedFile) -> None:
        self._file, self._text = file, file.text()
        self._again: deque[str] = deque()
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._again:
            line = self._again.popleft()
        else:
            try:
                line = self._text.readline(_LINE)
            except UnicodeError as error:
                raise SourceError(
                    f"{self._file.name} line {self.number + 1}: cannot be read as {self._file.encoding}: "
                    f"{getattr(error, 'reason', error)}; state another --encoding"
                ) from error
            if not line:
                raise StopIteration
        self.number += 1
        if len(line) >= _LINE:
            raise SourceError(
                f"{self._file.name} line {self.number}: is longer than {_LINE:,} characters; it is no table of lines"
            )
        self.taken.append(line)
        return line

    def back_to_second(self) -> None:
        """Puts back what the last row took, but its first line."""
        self.number -= len(self.taken) - 1
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    def close(self) -> None:
        self._text.close()


def open_delimited(file: OpenedFile, reading: TableReading) -> SourceTable:
    """A table of delimited text; its first line that is not empty is the header.

    Raises:
        SourceError: There is no header, or it names a column twice.
    """
    delimiter = _stated(reading.delimiter) if reading.delimiter else "\t" if reading.format == "tsv" else None
    if delimiter is None:
        delimiter = _sniffed(file)
        file.notes.append(
            f"{file.name}: cells are separated by a {_NAMES.get(delimiter, delimiter)}, by its first lines"
        )
    if reading.quote not in (None, '"', "none"):
        raise SourceError(f"quote {reading.quote!r}: use none, or leave it out: cells may be in double quotes")
    quoting: Literal[0, 3] = csv.QUOTE_NONE if reading.quote == "none" else csv.QUOTE_MINIMAL
    rows = _rows(file, delimiter, quoting)
    header = next(rows, None)
    rows.close()
    if header is None:
        raise SourceError(f"{file.name}: is empty; nothing was imported")
    if isinstance(header.cells, BadRow):
        raise SourceError(f"{file.name} line {header.place}: the header cannot be read: {header.cells.detail}")
    columns = header_of(f"{file.name} line {header.place}", header.cells)

    def read(wanted: Sequence[str]) -> Iterator[TableRow]:
        again = _rows(file, delimiter, quoting)
        next(again)
        width = len(columns)
        for row in again:
            if type(row.cells) is list and len(row.cells) != width:
                yield TableRow(row.place, _other_length(row, width))
            else:
                yield row

    return SourceTable(file.name, "csv", columns, read, notes=file.notes, progress=file.where, size=file.size)


def _other_length(row: TableRow, width: int) -> BadRow:
    cells = row.cells
    more = "; a cell with the delimiter in it must be in double quotes" if len(cells) > width else ""
    return BadRow("length", f"has {len(cells):,} cell{'s' * (len(cells) != 1)}, the header has {width:,}{more}")


def _stated(name: str) -> str:
    delimiter = _BY_NAME.get(name, name)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise SourceError(f"delimiter {name!r}: give one character, or {choice(_BY_NAME)}")
    return delimiter


def _sniffed(file: OpenedFile) -> str:
    """The sign by which most of the first lines have equally many cells, and more than one."""
    lines = _Lines(file)
    try:
        first = [line for line, _ in zip(lines, range(_SNIFFED), strict=False)]
    finally:
        lines.close()
    best, most = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        widths = list(_widths(first, delimiter))
        (width, count), *_ = Counter(widths).most_common(1) or [(1, 0)]
        # A header decides where its rows are broken; then the more cells.
        score = (round(count / max(len(widths), 1), 1) + (widths[:1] == [width]), width)
        if width > 1 and score > most:
            best, most = delimiter, score
    return best


def _widths(lines: Sequence[str], delimiter: str) -> Iterator[int]:
    """Cells of each row that can be read."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue
        if row:
            yield len(row)


def _rows(file: OpenedFile, delimiter: str, quoting: Literal[0, 3]) -> Generator[TableRow]:
    """Rows with the number of their first line; what is wrong of several lines is read again from its second on."""
    lines, reread = _Lines(file), 0
    try:
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        width = 0
        while True:
            lines.taken.clear()
            begin = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                bad = _wrong(str(error), len(lines.taken))
            else:
                if not cells:
                    continue
                width = width or len(cells)
                taken = lines.taken
                if len(taken) == 1 or len(cells) == width:
                    if "\0" in taken[0] or (len(taken) > 1 and any("\0" in line for line in taken)):
                        yield TableRow(begin, BadRow("NUL", "has a NUL byte, which no text has; export the file again"))
                    else:
                        yield TableRow(begin, cells)
                    continue
                bad = BadRow(
                    "quote", f"a quote opens a cell that ends on line {lines.number}, and the row has {len(cells)} "
                    f"cells where the header has {width}; close the quote, or double one that is text"
                )  # fmt: skip  # a sentence
            if len(lines.taken) > 1:
                reread += len(lines.taken) - 1
                if reread > _REREAD_LINES:
                    raise SourceError(
                        f"{file.name} line {begin}: too many quotes are not closed; if quotes are text here, state it: "
                        "--quote none"
                    )
                lines.back_to_second()
            # A reader that has failed may keep a part of the row.
            reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
            yield TableRow(begin, bad)
    finally:
        lines.close()


def _wrong(error: str, lines: int) -> BadRow:
    if "field larger" in error:
        quote = "; a quote that is not closed makes one cell of what follows" if lines > 1 else ""
        return BadRow("too large", f"a cell has more than {_CELL:,} characters{quote}; shorten it, or close the quote")
    if "unexpected end" in error:
        return BadRow("quote", "a quote opens a cell and is not closed; close it, or double one that is text")
    return BadRow("quote", "text follows a closing quote; double a quote that is text")


def header_of(where: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The names of a table's columns.

    Args:
        where: File and line, for errors.
        cells: The first row.

    Raises:
        SourceError: They are too many, one is there twice, or all are numbers.
    """
    columns = tuple(cell.strip() for cell in cells)
    if len(columns) > _COLUMNS:
        raise SourceError(f"{where}: has {len(columns):,} columns, {_COLUMNS:,} are allowed; check the delimiter")
    places: dict[str, int] = {}
    for number, column in enumerate(columns, 1):
        if column and column in places:
            raise SourceError(
                f"{where}: column {visible(column)!r} is there twice, as number {places[column]} and {number}; "
                "rename one"
            )
        places[column] = number
    if all(re.fullmatch(r"[\d.,:\s-]*", column) for column in columns):
        raise SourceError(f"{where}: is no header, since every cell of it is a number; add a line of names")
    return columns
