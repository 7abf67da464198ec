"""What every kind of file is to an import: columns, rows with their places, and notes on what was guessed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class BadRow(NamedTuple):
    """A row that its file does not hold as it should: a few words to count by, and a sentence."""

    reason: str
    detail: str


class TableRow(NamedTuple):
    """A row: the line, or the number of the task, that it is on, and its cells, or why it has none."""

    place: int
    cells: Sequence[str] | BadRow


@dataclass(slots=True)
class SourceTable:
    """An opened file.

    Attributes:
        name: For errors; the file's, with that of the member of an archive.
        kind: `csv`, `json`, `jsonl`, `label-studio`, `excel`, `parquet` or `cvat`.
        columns: In the order of the cells; of JSON: those of its first objects.
        rows: Reads from the begin, giving the columns that are asked for.
        place: What a row's place is: `line`, `row`, `object`, `task` or `image`.
        notes: What was found or guessed, in sentences.
        progress: Bytes read so far, of `size`.
        size: Bytes of the file; 0: not known.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    rows: Callable[[Sequence[str]], Iterator[TableRow]]
    place: str = "line"
    notes: list[str] = field(default_factory=list)
    progress: Callable[[], int] = lambda: 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class TableReading:
    """How a file is read, where a person states it.

    Attributes:
        format: A name of `reading.FORMATS`; None: by its content.
        delimiter: Between cells; None: by its first lines.
        encoding: A name that Python knows; None: by its bytes.
        quote: `none`: quotes are characters like any other.
        sheet: Of an Excel file; None: the one that has rows.
    """

    format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    quote: str | None = None
    sheet: str | None = None
