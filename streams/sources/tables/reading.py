"""Opens a file as the table that it is: by what a person states, else by its content."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from schemas.text import choice
from streams.sources.errors import SourceError
from streams.sources.tables.cvat import open_cvat
from streams.sources.tables.delimited import open_delimited
from streams.sources.tables.label_studio import is_label_studio, open_label_studio
from streams.sources.tables.objects import open_objects
from streams.sources.tables.opening import opened
from streams.sources.tables.parquet import open_parquet
from streams.sources.tables.table import SourceTable, TableReading
from streams.sources.tables.workbook import open_workbook

#: Formats by name, and the kind of content that each is.
FORMATS = {
    "csv": "delimited", "tsv": "delimited", "json": "json", "jsonl": "json lines", "label-studio": "json",
    "excel": "Excel", "parquet": "Parquet", "cvat": "CVAT",
}  # fmt: skip  # a table

_NOTHING = TableReading()


@contextlib.contextmanager
def open_table(path: Path, reading: TableReading = _NOTHING) -> Iterator[SourceTable]:
    """Opens a file, or standard input by the name `-`.

    Raises:
        SourceError: It is not there, is empty, or is not what its name or a person says.
    """
    if reading.format not in (*FORMATS, None):
        raise SourceError(f"format {reading.format!r}: use {choice(FORMATS)}")
    kind = FORMATS[reading.format] if reading.format else None
    if kind is None and reading.delimiter:
        kind = "delimited"
    with opened(path, reading.encoding, kind) as file:
        if file.kind == "Excel":
            with open_workbook(file, reading.sheet) as table:
                yield table
        elif file.kind == "CVAT":
            yield open_cvat(file)
        elif file.kind == "Parquet":
            yield open_parquet(file)
        elif file.kind == "delimited":
            yield open_delimited(file, reading)
        elif reading.format == "label-studio" or (reading.format is None and is_label_studio(file)):
            yield open_label_studio(file)
        else:
            yield open_objects(file)
