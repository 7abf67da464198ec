"""Excel and Parquet files: the same events as of their CSV, byte for byte; what Excel has lost is named."""

import csv
import datetime
import gzip
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pytest
from pyarrow import parquet

from streams.sources.errors import SourceError
from streams.sources.importing import ImportOptions, read_rows
from streams.sources.mapping.model import MappingOverrides, from_pairs
from streams.sources.ordering import EventSorter
from streams.sources.tables.reading import open_table
from streams.sources.tables.table import BadRow, TableReading

CROWD = Path(__file__).parents[1] / "data/crowd/zencrowd_us.csv"
ROWS = 400
LOCAL = datetime.datetime(2026, 11, 30, 8, 15, 2, 500_000)  # noqa: DTZ001  # sheets have no zones


def workbook(path: Path, sheets: dict[str, list[list[Any]]], hidden: str = "") -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if name == hidden:
            sheet.sheet_state = "hidden"
    book.save(path)
    return path


def rows_of(path: Path, sheet: str | None = None) -> list[tuple[int, Any]]:
    with open_table(path, TableReading(sheet=sheet)) as table:
        return [(row.place, row.cells if isinstance(row.cells, BadRow) else list(row.cells))
                for row in table.rows(table.columns)]  # fmt: skip  # one expression


def crowd() -> tuple[list[str], list[list[str]]]:
    with CROWD.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows[:ROWS]


def events_of(path: Path) -> list[bytes]:
    mapping = from_pairs(
        {"agent_id": "worker", "task_id": "item", "label": "label", "expected": "gold", "handle_s": "seconds"},
        {"site_id": "lima-2", "project_id": "crowd"},
        MappingOverrides(made_from="2026-11-01T08:00Z"),
    )
    with EventSorter(path.parent) as sorter:
        report = read_rows(ImportOptions([path], lambda table: mapping, now_ms=1_800_000_000_000), sorter)
        assert report.rows == ROWS
        assert report.bad_rows == 0
        return [event.value for event in sorter.events()]


def test_excel_and_parquet_give_the_events_of_the_csv_file(tmp_path: Path) -> None:
    header, rows = crowd()
    with (tmp_path / "crowd.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    # As a person's own sheet has it: numbers are numbers.
    typed = [[worker, item, int(label), int(gold), float(seconds)] for worker, item, label, gold, seconds in rows]
    workbook(tmp_path / "crowd.xlsx", {"Labels": [header, *typed]})
    columns = dict(zip(header, map(list, zip(*typed, strict=True)), strict=True))
    parquet.write_table(pyarrow.table(columns), tmp_path / "crowd.parquet", row_group_size=150)
    expected = events_of(tmp_path / "crowd.csv")
    assert len(expected) == 2 * ROWS
    assert events_of(tmp_path / "crowd.xlsx") == expected
    assert events_of(tmp_path / "crowd.parquet") == expected


def test_a_sheets_values_are_texts_in_the_forms_that_a_mapping_takes(tmp_path: Path) -> None:
    path = workbook(tmp_path / "ours.xlsx", {"A": [
        [],
        ["id", "at", "day", "took", "clock", "share", "ok", "note"],
        [17, LOCAL, datetime.date(2026, 11, 30),
         datetime.timedelta(hours=30, seconds=90), datetime.time(0, 1, 30), 1e-7, True, "x"],
        [],
        [17.5, None, None, None, None, None, False],
    ]})  # fmt: skip  # a sheet
    # Rows are numbered as Excel shows them.
    assert rows_of(path) == [
        (3, ["17", "2026-11-30 08:15:02.500", "2026-11-30 00:00:00", "30:01:30", "00:01:30", "0.0000001", "true", "x"]),
        (5, ["17.5", "", "", "", "", "", "false", ""]),
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("#N/A", "formula"), ("#DIV/0!", "formula"), (1_234_567_890_123_456, "digits")],
)
def test_what_excel_has_lost_costs_its_row_where_the_column_is_asked_for(
    tmp_path: Path, cell: Any, reason: str
) -> None:
    path = workbook(tmp_path / "ours.xlsx", {"A": [["id", "gold"], ["a", cell], ["b", "ok"]]})
    (_, bad), good = rows_of(path)
    assert isinstance(bad, BadRow)
    assert bad.reason == reason
    assert "gold" in bad.detail
    assert good == (3, ["b", "ok"])
    with open_table(path) as table:
        assert [row.cells for row in table.rows(["id"])] == [["a"], ["b"]]


def test_a_value_beyond_the_header_costs_its_row(tmp_path: Path) -> None:
    path = workbook(tmp_path / "ours.xlsx", {"A": [["id"], ["a", None, "stray"], ["b", None]]})
    (_, bad), good = rows_of(path)
    assert isinstance(bad, BadRow)
    assert good == (3, ["b"])


def test_the_sheet_that_has_rows_is_taken_and_of_two_one_must_be_named(tmp_path: Path) -> None:
    one = workbook(tmp_path / "one.xlsx", {"Empty": [], "Labels": [["id"], ["a"]], "Old": [["id"], ["z"]]}, "Old")
    assert rows_of(one) == [(2, ["a"])]
    assert rows_of(one, "Old") == [(2, ["z"])]
    two = workbook(tmp_path / "two.xlsx", {"May": [["id"], ["a"]], "June": [["id"], ["b"]]})
    with pytest.raises(SourceError, match=r"2 sheets with rows: May, June; name one: --sheet"):
        rows_of(two)
    with pytest.raises(SourceError, match=r"no sheet 'July'; it has May, June"):
        rows_of(two, "July")
    with pytest.raises(SourceError, match=r"sheet 'Empty' is empty"):
        rows_of(one, "Empty")


def test_parquets_types_are_texts_in_the_forms_that_a_mapping_takes(tmp_path: Path) -> None:
    path = tmp_path / "ours.parquet"
    parquet.write_table(
        pyarrow.table({
            "who": pyarrow.array(["a", "b"]).dictionary_encode(),
            "at": pyarrow.array([1_790_812_800_123_456_789, None], pyarrow.timestamp("ns", tz="Asia/Manila")),
            "local": pyarrow.array([datetime.datetime(2026, 1, 1, 5), None], pyarrow.timestamp("us")),  # noqa: DTZ001  # local
            "task": [{"id": 2**60 + 1, "in": {"kind": "q"}}, None],
            "labels": [["x", "y"], []],
            "took": pyarrow.array([datetime.timedelta(seconds=90.5), None]),
            "raw": pyarrow.array([b"caf\xc3\xa9", b"\xff"]),
        }),
        path,
    )  # fmt: skip  # a table
    with open_table(path) as table:
        assert table.columns == ("who", "at", "local", "/task/id", "/task/in/kind", "labels", "took", "raw")
    (_, first), (_, second) = rows_of(path)
    # By `date -u -d @1790812800`: 2026-10-01 00:00; Manila is eight hours ahead.
    assert first == [
        "a", "2026-10-01T08:00:00.123456+08:00", "2026-01-01T05:00:00", "1152921504606846977", "q", "x|y",
        "0:01:30.500", "café",
    ]  # fmt: skip  # a row
    assert second.reason == "text"


@pytest.mark.parametrize(
    ("name", "words"),
    [("ours.xlsx", r"openpyxl is needed: pip install 'labelwatch\[excel\]', or save it as CSV"),
     ("ours.parquet", r"pyarrow is needed: pip install 'labelwatch\[parquet\]', or write it as CSV")],
)  # fmt: skip  # a table
def test_without_its_extra_a_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    workbook(tmp_path / "ours.xlsx", {"A": [["id"], ["a"]]})
    parquet.write_table(pyarrow.table({"id": ["a"]}), tmp_path / "ours.parquet")
    for module in ("openpyxl", "pyarrow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError, match=words):
        rows_of(tmp_path / name)


def packed(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("ours.xlsx", data)
    return out.getvalue()


def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path) -> None:
    good = workbook(tmp_path / "good.xlsx", {"A": [["id"], ["a"]]}).read_bytes()
    parquet.write_table(pyarrow.table({"id": ["a"]}), tmp_path / "good.parquet")
    table = (tmp_path / "good.parquet").read_bytes()
    for name, data, words in (
        ("ours.csv", good, "is an Excel file by its content, not .csv; rename it to .xlsx"),
        ("ours.jsonl", table, "is a Parquet file by its content, not .jsonl"),
        ("text.xlsx", b"id\na\n", "is plain text by its content, not what .xlsx says"),
        ("page.xls", b"<html><table>", "is an HTML page"),
        ("cut.xlsx", good[:2000], "cut off or broken"),
        ("cut.parquet", table[:150], "cannot be read as Parquet"),
        ("ours.zip", packed(good), "holds an archive, an Excel or a Parquet file; unpack it"),
        ("ours.xlsx.gz", gzip.compress(good), "holds an archive, an Excel or a Parquet file; unpack it"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError) as caught:
            rows_of(tmp_path / name)
        assert words in str(caught.value)


def test_a_workbook_with_any_byte_wrong_is_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    good = workbook(tmp_path / "good.xlsx", {"A": [["id", "n"], *([f"r{n}", n] for n in range(20))]}).read_bytes()
    refused = 0
    for place in range(10, len(good), 97):
        (tmp_path / "bad.xlsx").write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            rows_of(tmp_path / "bad.xlsx")
        except SourceError:
            refused += 1
    assert refused > 10
