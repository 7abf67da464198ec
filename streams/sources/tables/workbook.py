"""A sheet of an Excel file as a table: values as they are, with a sentence for those that Excel has lost."""

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from schemas.text import visible
from streams.sources.errors import SourceError
from streams.sources.tables.delimited import header_of
from streams.sources.tables.opening import OpenedFile
from streams.sources.tables.table import BadRow, SourceTable, TableRow

#: What a cell says whose formula has failed.
_FAILED = {"#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"}
#: Excel keeps 15 digits of a number, and writes zeros for the others.
_DIGITS = 10**15


@contextlib.contextmanager
def open_workbook(file: OpenedFile, sheet: str | None = None) -> Iterator[SourceTable]:
    """A table of a sheet; its first row that is not empty is the header.

    Args:
        file: An Excel file.
        sheet: Its name; None: the one that has rows.

    Raises:
        SourceError: openpyxl is not installed, there is no such sheet, or several could be meant.
    """
    try:
        import openpyxl
    except ImportError:
        raise SourceError(
            f"{file.name}: is an Excel file, for which openpyxl is needed: pip install 'labelwatch[excel]', or save it "
            "as CSV UTF-8 in Excel"
        ) from None
    try:
        # openpyxl checks nothing: of a broken file it raises whatever its parts raise.
        # Read-only: row by row, never the whole sheet. Values are those that Excel has computed last.
        book = openpyxl.load_workbook(file.path, read_only=True, data_only=True, keep_links=False)
    except Exception as error:
        raise _broken(file, error) from error
    with contextlib.closing(book):
        chosen = _chosen(file, book, sheet)
        number, header = next(_rows(file, chosen), (0, ()))
        width = max((place for place, cell in enumerate(header, 1) if cell is not None), default=0)
        columns = header_of(f"{file.name} row {number}", [_text(cell) for cell in header[:width]])
        rows = max((chosen.max_row or 0) - number, 0)
        # What a program has written wrongly as the sheet's size would cut it.
        chosen.reset_dimensions()
        done = 0

        def read(wanted: Sequence[str]) -> Iterator[TableRow]:
            nonlocal done
            places = [columns.index(column) for column in wanted]
            again = _rows(file, chosen)
            next(again)
            for place, cells in again:
                done = place
                if any(cell is not None for cell in cells[len(columns) :]):
                    yield TableRow(place, BadRow("length", f"has a value beyond the header's {len(columns)} columns"))
                else:
                    yield TableRow(place, _cells(columns, places, cells))

        yield SourceTable(file.name, "excel", columns, read, "row", file.notes, lambda: done, rows)


def _chosen(file: OpenedFile, book: Any, sheet: str | None) -> Any:
    if sheet is not None:
        if sheet not in book.sheetnames:
            names = ", ".join(map(visible, book.sheetnames))
            raise SourceError(f"{file.name}: has no sheet {sheet!r}; it has {names}: give one as --sheet")
        chosen = book[sheet]
        if next(_rows(file, chosen), None) is None:
            raise SourceError(f"{file.name}: sheet {sheet!r} is empty; nothing was imported")
        return chosen
    filled = [each for each in book.worksheets if next(_rows(file, each), None) is not None]
    if not filled:
        raise SourceError(f"{file.name}: is empty; nothing was imported")
    shown = [each for each in filled if each.sheet_state == "visible"] or filled
    if len(shown) > 1:
        names = ", ".join(visible(each.title) for each in shown)
        raise SourceError(f"{file.name}: has {len(shown)} sheets with rows: {names}; name one: --sheet")
    if len(book.sheetnames) > 1:
        file.notes.append(f"{file.name}: sheet {visible(shown[0].title)!r} is read, the only one with rows to be seen")
    return shown[0]


def _rows(file: OpenedFile, sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Rows that have a value, with their numbers as Excel shows them."""
    try:
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if any(cell is not None for cell in cells):
                yield number, cells
    except Exception as error:
        raise _broken(file, error) from error


def _broken(file: OpenedFile, error: Exception) -> SourceError:
    return SourceError(
        f"{file.name}: cannot be read as an Excel file ({type(error).__name__}: {visible(str(error)[:100])}); open it "
        "in Excel and save it anew, or save it as CSV UTF-8"
    )


def _cells(columns: Sequence[str], places: Sequence[int], cells: Sequence[Any]) -> list[str] | BadRow:
    found = []
    for place in places:
        cell = cells[place] if place < len(cells) else None
        if isinstance(cell, str):
            if cell in _FAILED:
                name = visible(columns[place])
                return BadRow("formula", f"column {name} is {cell}: its formula has failed; mend it, or empty the cell")
            found.append(cell)
        elif isinstance(cell, int | float) and abs(cell) >= _DIGITS:
            return BadRow(
                "digits",
                f"column {visible(columns[place])} is a number of more than 15 digits, of which Excel keeps 15: two "
                "ids may have become one; make the column a text and fill it anew, or export CSV",
            )
        else:
            found.append(_text(cell))
    return found


def _text(cell: Any) -> str:
    """A cell as CSV would have it, in the forms that a mapping takes."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        # 17.0 is the 17 that a person has typed; nobody types exponents.
        return str(int(cell)) if cell.is_integer() else f"{Decimal(repr(cell)):f}"
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ", "milliseconds" if cell.microsecond else "seconds")
    if isinstance(cell, datetime.timedelta):
        seconds = f"{cell.seconds % 60 + cell.microseconds / 1e6:06.3f}".removesuffix(".000")
        return f"{cell.days * 24 + cell.seconds // 3600}:{cell.seconds // 60 % 60:02}:{seconds}"
    return str(cell)
