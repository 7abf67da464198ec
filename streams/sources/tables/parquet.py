"""A Parquet file as a table, batch by batch: columns by name, objects within by JSON pointers."""

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from schemas.text import visible
from streams.sources.errors import SourceError
from streams.sources.tables.objects import getter_of, text_of
from streams.sources.tables.opening import OpenedFile
from streams.sources.tables.table import BadRow, SourceTable, TableRow

_BATCH = 2_000


def open_parquet(file: OpenedFile) -> SourceTable:
    """A table of the file's columns.

    Raises:
        SourceError: pyarrow is not installed, or the file is broken.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise SourceError(
            f"{file.name}: is a Parquet file, for which pyarrow is needed: pip install 'labelwatch[parquet]', or write "
            "it as CSV or JSON lines"
        ) from None
    broken = (pyarrow.ArrowException, OSError, ValueError)

    def wrong(error: Exception) -> SourceError:
        said = visible(str(error).split("\n", 1)[0][:100])
        return SourceError(f"{file.name}: cannot be read as Parquet ({said}); write it anew")

    try:
        opened = parquet.ParquetFile(file.path)
    except broken as error:
        raise wrong(error) from error
    done = 0

    def read(wanted: Sequence[str]) -> Iterator[TableRow]:
        nonlocal done
        getters = [getter_of(column) for column in wanted]
        roots = list(dict.fromkeys(_root(column) for column in wanted))
        number = 0
        try:
            for batch in opened.iter_batches(_BATCH, columns=roots):
                columns = [_in_microseconds(pyarrow, column).to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True):
                    number = done = number + 1
                    try:
                        found = {name: _plain(value) for name, value in zip(batch.schema.names, values, strict=True)}
                    except UnicodeDecodeError:
                        yield TableRow(number, BadRow("text", "has bytes that are no UTF-8; write the column as text"))
                        continue
                    yield TableRow(number, [getter(found) for getter in getters])
        except broken as error:
            raise wrong(error) from error

    names = tuple(_pointers(pyarrow, opened.schema_arrow, ""))
    rows = opened.metadata.num_rows
    if not names:
        raise SourceError(f"{file.name}: has no columns; nothing was imported")
    return SourceTable(file.name, "parquet", names, read, "row", file.notes, lambda: done, rows)


def _root(column: str) -> str:
    return column.split("/")[1].replace("~1", "/").replace("~0", "~") if column.startswith("/") else column


def _pointers(pyarrow: Any, fields: Any, before: str) -> Iterator[str]:
    for field in fields:
        pointer = f"{before}/{field.name.replace('~', '~0').replace('/', '~1')}"
        if pyarrow.types.is_struct(field.type) and field.type.num_fields:
            yield from _pointers(pyarrow, field.type, pointer)
        else:
            yield pointer if before else field.name


def _in_microseconds(pyarrow: Any, column: Any) -> Any:
    """Python's times have no nanoseconds."""
    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    return column


def _plain(value: Any) -> Any:
    """A value as JSON would have it; times in ISO's form, durations as of a clock."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, datetime.timedelta):
        seconds = value // datetime.timedelta(milliseconds=1) / 1000
        return f"{seconds // 3600:.0f}:{seconds // 60 % 60:02.0f}:{seconds % 60:06.3f}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else text_of(str(value))
