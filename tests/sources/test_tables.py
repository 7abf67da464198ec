"""Tables of files: what they hold, by place; and files that are not what they seem, each named in a sentence."""

import codecs
import csv
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.sources.errors import SourceError
from streams.sources.tables.reading import open_table
from streams.sources.tables.table import BadRow, SourceTable, TableReading

CROWD = Path(__file__).parents[1] / "data" / "crowd"


def read(path: Path, **stated: str) -> tuple[SourceTable, list[tuple[int, BadRow | list[str]]]]:
    with open_table(path, TableReading(**stated)) as table:
        rows = [(row.place, row.cells if isinstance(row.cells, BadRow) else list(row.cells)) for row in
                table.rows(table.columns)]  # fmt: skip  # one expression
        return table, rows


def cells(path: Path, **stated: str) -> list[BadRow | list[str]]:
    return [row for _, row in read(path, **stated)[1]]


def a_file(folder: Path, data: bytes | str, name: str = "ours.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def zipped(data: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("name", ["sentiment_amt", "zencrowd_us", "hitspam"])
def test_the_crowd_files_are_read_as_the_csv_module_reads_them(name: str) -> None:
    with (CROWD / f"{name}.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    table, found = read(CROWD / f"{name}.csv")
    assert list(table.columns) == header
    assert [row for _, row in found] == rows
    assert [place for place, _ in found] == list(range(2, len(rows) + 2))


texts = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.lists(texts, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path: Path, rows: list[list[str]], delimiter: str, end: str, encoding: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    path = a_file(tmp_path, text.getvalue().encode(encoding))
    assert cells(path, delimiter=delimiter, encoding=encoding) == rows


@pytest.mark.parametrize(("sign", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_the_delimiter_is_told_by_the_first_lines_and_said(tmp_path: Path, sign: str, name: str) -> None:
    rows = [["who", "took", "note"], ["ann", "12,5" if sign == ";" else "12.5", 'a "b"; c'], ["bob", "7", "x"]]
    text = io.StringIO()
    csv.writer(text, delimiter=sign).writerows(rows)
    table, found = read(a_file(tmp_path, text.getvalue()))
    assert [list(table.columns), *(row for _, row in found)] == rows
    assert table.notes == [f"ours.csv: cells are separated by a {name}, by its first lines"]


@pytest.mark.parametrize(
    ("text", "encoding", "guessed"),
    [
        ("姓名,标签\n张三,合格\n李四,不合格\n", "gb18030", "gb18030"),
        ("姓名,标签\n张三,“好”,\n", "gbk", "gb18030"),
        ("Prüfer,Größe\nJosé,5 €\nBjörk,naïve\n", "cp1252", "cp1252"),
        ("Straße;Übung\nMüller;groß\n", "cp1252", "cp1252"),
        ("姓名,标签\n张三,合格\n", "utf-16", None),
        ("姓名,标签\n张三,合格\n", "utf-8-sig", None),
        ("姓名,标签\n张三,合格\n", "utf-8", None),
        ("姓名,标签\n张三,合格\n", "utf-32", None),
    ],
)
def test_encodings_are_told_by_their_bytes_and_a_guess_is_said(
    tmp_path: Path, text: str, encoding: str, guessed: str | None
) -> None:
    table, _ = read(a_file(tmp_path, text.encode(encoding)))
    header = next(csv.reader([text.splitlines()[0].replace(";", ",")]))
    assert list(table.columns) == header
    said = [note for note in table.notes if "guessed" in note]
    assert len(said) == (guessed is not None)
    assert not said or f"encoding guessed: {guessed}, since line" in said[0]


def test_a_file_that_is_utf_8_to_its_last_byte_but_one_is_not_utf_8(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"who,what\n" + b"ann,cat\n" * 150_000 + b"Jos\xe9,dog\n" + b"bob,eel\n" * 10)
    table, rows = read(path)
    assert len(rows) == 150_011
    assert rows[150_000] == (150_002, ["José", "dog"])
    assert "encoding guessed: cp1252, since line 150002 is not UTF-8" in table.notes[0]


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped(data, "t.csv", "__MACOSX/t.csv")])
def test_packed_files_are_read_as_what_they_hold(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = b"who,what\nann,cat\n"
    for name in ("t.csv.gz", "t.zip", "export"):
        if (name == "t.zip") == (pack is not gzip.compress) or name == "export":
            assert cells(a_file(tmp_path, pack(data), name)) == [["ann", "cat"]]


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress("姓名,标签\n张三,好\n".encode("gb18030"))))
    monkeypatch.setattr("sys.stdin", stdin)
    assert cells(Path("-")) == [["张三", "好"]]


# --- JSON


def test_objects_are_rows_and_pointers_are_columns(tmp_path: Path) -> None:
    objects = [
        {"who": 7, "took": 12.5, "data": {"kind": "a/b", "tags": ["x", "y"]}, "ok": True, "none": None},
        {"who": 7.0, "data": {"kind": "猫", "more~": {"deep": 1}}, "late": 1},
    ]
    expected = [
        ["7", "12.5", "a/b", "x|y", "true", "", "", ""],
        ["7", "", "猫", "", "", "", "1", "1"],
    ]
    for name, text in (
        ("t.json", json.dumps(objects, indent=2)),
        ("t.jsonl", "\n\n".join(map(json.dumps, objects))),
        ("t.ndjson", "\r\n".join(json.dumps(each, ensure_ascii=False) for each in objects)),
    ):
        table, rows = read(a_file(tmp_path, text, name))
        assert table.columns == (
            "who", "took", "/data/kind", "/data/tags", "ok", "none", "/data/more~0/deep", "late",
        )  # fmt: skip  # as below
        assert [row for _, row in rows] == expected


def test_cvats_xml_gives_a_row_for_each_image_with_a_shape_and_for_each_track(tmp_path: Path) -> None:
    def task(number: int, person: str) -> str:
        assignee = f"<assignee><username>{person}</username></assignee>" if person else "<assignee/>"
        return (
            f"<task><id>{number}</id><name>batch {number}</name><created>c{number}</created>"
            f"<updated>u{number}</updated><owner><username>boss</username></owner>{assignee}</task>"
        )

    shapes = '<box label="plate"><attribute name="x">1</attribute></box><polygon label="car"/><tag label="car"/>'
    one = (
        f"<?xml version='1.0' encoding='utf-8'?><annotations><version>1.1</version><meta>{task(4, 'ann')}</meta>"
        f"<image id='0' name='a &amp; b.jpg'>{shapes}</image><image id='1' name='empty.jpg'/>"
        "<track id='3' label='person'><box frame='0'/></track></annotations>"
    )
    table, rows = read(a_file(tmp_path, one, "export.xml"))
    assert (table.kind, table.place) == ("cvat", "image")
    known = ["4", "batch 4", "batch 4", "ann", "c4", "u4"]
    assert rows == [(1, ["a & b.jpg", "car|plate", *known]), (3, ["track 3", "person", *known])]
    assert any("images without a shape or tag are left out" in note for note in table.notes)
    # Of a project: images name their task.
    many = (
        f"<annotations><meta><project><name>roads</name><tasks>{task(4, 'ann')}{task(5, '')}</tasks></project></meta>"
        "<image name='a' task_id='5'><box label='x'/></image><image name='b' task_id='4'><box label='y'/></image>"
        "</annotations>"
    )
    assert cells(a_file(tmp_path, many, "export.xml")) == [
        ["a", "x", "5", "batch 5", "roads", "", "c5", "u5"],
        ["b", "y", "4", "batch 4", "roads", "ann", "c4", "u4"],
    ]


def test_an_array_larger_than_any_buffer_is_read_part_by_part(tmp_path: Path) -> None:
    chance = random.Random(3)
    objects = [{"n": n, "text": '猫\\"[{' * chance.randrange(400), "more": [n] * 3} for n in range(3_000)]
    data = json.dumps(objects, ensure_ascii=chance.random() < 0.5)
    assert len(data) > 3 << 20
    rows = cells(a_file(tmp_path, data, "t.json"))
    assert rows == [[str(each["n"]), each["text"], "|".join([str(each["n"])] * 3)] for each in objects]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_what_is_no_object_is_named_and_costs_itself_alone(tmp_path: Path, name: str) -> None:
    parts = ['{"a": 1}', "3", '"x"', "[1]", "null", '{"a": 2}']
    text = f"[{','.join(parts)}]" if name == "t.json" else "\n".join([*parts, '{"a": ', '{"a": 3}'])
    rows = cells(a_file(tmp_path, text, name))
    good = [row for row in rows if not isinstance(row, BadRow)]
    bad = [row for row in rows if isinstance(row, BadRow)]
    assert good == ([["1"], ["2"]] if name == "t.json" else [["1"], ["2"], ["3"]])
    assert [row.reason for row in bad] == ["JSON"] * (4 if name == "t.json" else 5)


def test_label_studios_export_gives_a_row_for_each_label(tmp_path: Path) -> None:
    def said(*choices: str) -> list[dict[str, object]]:
        return [{"type": "choices", "from_name": "c", "value": {"choices": list(choices)}}]

    def work(number: int, person: object, result: object, **more: object) -> dict[str, object]:
        usual = {"lead_time": 3.25, "was_cancelled": False, "ground_truth": False, "created_at": "2026-11-02T10:00:00Z"}
        return {"id": number, "completed_by": person, "result": result, "updated_at": "u", **usual, **more}

    span = {"type": "labels", "value": {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}}
    tasks = [
        {
            "id": 88, "project": 4, "data": {"text": "x"},
            "annotations": [
                work(1, 11, said("cat")),
                work(2, {"id": 12, "email": "b@example.com"}, said("dog", "cat"), ground_truth=True),
                work(3, 13, [], was_cancelled=True, lead_time=None),
            ],
        },
        {"id": 89, "project": 4, "data": {}, "annotations": [work(4, 11, [span, span, *said("news")])]},
        {"id": 90, "project": 4, "data": {}, "annotations": []},
        {"id": 91, "data": {}},
    ]  # fmt: skip  # a document
    table, rows = read(a_file(tmp_path, json.dumps(tasks), "export.json"))
    assert (table.kind, table.place) == ("label-studio", "task")
    shown = ("task", "project", "completed_by", "label", "lead_time", "was_cancelled", "ground_truth", "gold")
    places = [table.columns.index(name) for name in shown]
    good = [[row[place] for place in places] for _, row in rows if isinstance(row, list)]
    assert good == [
        ["88", "4", "11", "cat", "3.25", "false", "false", "cat|dog"],
        ["88", "4", "12", "cat|dog", "3.25", "false", "true", ""],
        ["88", "4", "13", "", "", "true", "false", ""],
        ["89", "4", "11", "PER|news", "3.25", "false", "false", ""],
    ]
    assert [(place, row.reason) for place, row in rows if isinstance(row, BadRow)] == [(4, "shape")]


# --- rows that are wrong cost themselves alone


def test_wrong_rows_are_named_by_line_and_the_others_kept(tmp_path: Path) -> None:
    lines = [
        "who;what;note",
        "1;a;x",
        '2;"b"c;x',
        "3;c",
        "4;d;x;y",
        '5;"e;x',
        "6;f;x",
        '7;"g",h;x',
        "8;h\0;x",
        "",
        '9;"two',
        'lines";x',
        f"10;{'z' * 140_000};x",
        '11;"last',
    ]
    _, rows = read(a_file(tmp_path, "\r\n".join(lines)))
    good = [(place, row[0]) for place, row in rows if isinstance(row, list)]
    assert good == [(2, "1"), (7, "6"), (11, "9")]
    assert [(place, row.reason) for place, row in rows if isinstance(row, BadRow)] == [
        (3, "quote"), (4, "length"), (5, "length"), (6, "quote"), (8, "quote"), (9, "NUL"), (13, "too large"),
        (14, "quote"),
    ]  # fmt: skip  # a table


def test_mixed_line_ends_are_line_ends(tmp_path: Path) -> None:
    assert cells(a_file(tmp_path, "a,b\r1,2\n3,4\r\n5,6\r\n\n7,8")) == [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]]


def test_quotes_may_be_text(tmp_path: Path) -> None:
    assert cells(a_file(tmp_path, 'a,b\n"x,1\n5" pipe,"2\n'), quote="none") == [['"x', "1"], ['5" pipe', '"2']]


# --- files that are not what they seem


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"", r"a\.csv: is empty; nothing was imported"),
        ("a.csv", b" \r\n\n", r"a\.csv: is empty"),
        ("a.csv.gz", gzip.compress(b""), r"a\.csv\.gz: is empty"),
        ("a.jsonl", zipped(b"a,b\n1,2\n", "t.csv"), r"a\.jsonl: is a zip archive by its content, not \.jsonl; rename"),
        ("a.csv", gzip.compress(b"a,b\n1,2\n"), r"a\.csv: is a gzip archive by its content, not \.csv; rename"),
        ("a.jsonl", b'[{"a": 1}]', r"a\.jsonl line 1: is one JSON array by its content, not what \.jsonl says"),
        ("a.csv", b'{"a": 1}\n{"a": 2}', r"a\.csv line 1: is JSON lines by its content"),
        ("a.json", b"a,b\n1,2\n", r"a\.json line 1: is no JSON by its content.*--format csv"),
        ("a.csv", b"<!DOCTYPE html>\n<html>502</html>", r"a\.csv: is an HTML page, such as an error or a log-in"),
        ("a.jsonl", b"\n <html><body>", r"a\.jsonl: is an HTML page"),
        ("a.csv", b"<?xml version='1.0'?>", r"a\.csv: is XML"),
        ("a.xml", b"<?xml version='1.0'?><page/>", r"a\.xml: is XML, and not CVAT's"),
        ("a.xml", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", r"is XML, and not CVAT's"),
        ("a.xml", b"<annotations><meta></annotations>", r"a\.xml: breaks off, or is no XML: mismatched"),
        ("a.xml", b"<annotations><image name='a'>", r"a\.xml: breaks off, or is no XML"),
        ("a.xml", b"<?xml version='1.0' encoding='ut8'?><annotations/>", r"is no XML: unknown encoding: ut8"),
        ("a.csv", b"PAR1....", r"a\.csv: is a Parquet file by its content, not \.csv"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", r"is an old Excel file"),
        ("a.xlsx", zipped(b"x", "[Content_Types].xml", "word/a.xml"), r"a\.xlsx: is a document of another office"),
        ("a.zip", zipped(b"x", "1.csv", "2.csv"), r"a\.zip: holds 2 files \(1\.csv, 2\.csv\); unpack it"),
        ("a.zip", zipped(b"a,b\n1,2\n" * 99, "1.csv")[:90], r"a\.zip: is a zip archive that is cut off or broken"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99)[:-12], r"a\.csv\.gz: cannot be unpacked \(.*\); get it again"),
        ("a.csv", b"a,b\n1,2\n\0\0,3\n", r"a\.csv line 3: has a NUL byte"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), r"looks like UTF-16 without a mark; .* --encoding utf-16-le"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-be"), r"--encoding utf-16-be"),
        ("a.csv", b"a,b\n1,2\n" + b"\0" * 4096, r"a\.csv line 3: has a NUL byte, which no text has; export the file"),
        ("a.csv", codecs.BOM_UTF16_LE + b"a", r"a\.csv: cannot be read as utf-16: .*; state another --encoding"),
        ("a.csv", b"a,b\n\x81\x8d,2\n\x81,\x8d\n", r"a\.csv line 2: is not UTF-8, nor text that can be guessed"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a\.csv line 1: column 'a' is there twice, as number 1 and 3; rename one"),
        ("a.csv", b"\n1,2,3\n4,5,6\n", r"a\.csv line 2: is no header, since every cell of it is a number"),
        ("a.csv", b",".join(b"c%d" % n for n in range(5_000)) + b"\n1\n", r"has 5,000 columns, 4,096 are allowed"),
        ("a.csv", b"c," * 1_000_000, r"has 1,000,001 columns"),
        ("a.csv", b"x" * (5 << 20), r"a\.csv line 1: is longer than 4,194,304 characters"),
        ("a.csv", b'a,"b\n1,2\n', r"a\.csv line 1: the header cannot be read: a quote opens a cell"),
        ("a.json", b'[{"a": 1}, {"a": ', r"a\.json: object 2 is no JSON: .*; it begins with"),
        ("a.json", b"[]", r"a\.json: has no object; nothing was imported"),
        ("a.json", b"[1, 2]", r"a\.json object 1: is a number, not an object with names and values"),
        ("a.jsonl", b'{"a": NaN}\n', r"a\.jsonl line 1: is no JSON: .*; each line must be one whole object"),
        ("a.jsonl", b'{"a": ' + b"[" * 9_999 + b"]" * 9_999 + b"}\n", r"a\.jsonl line 1: is no JSON: "),
        ("a.json", b'[{"a": 1}, ', r"a\.json: breaks off after object 1; get it again"),
        ("a.json", b'[{"a": 1} x', r"a\.json: object 2 is no JSON"),
        ("a.json", b"[" * 200_000, r"a\.json: object 1 is no JSON"),
        ("a.json", b'{"a": 1}\n{"a": 2}', r"a\.json: is neither a JSON array nor one object: .* --format jsonl"),
    ],
    # Packed bytes hold the time at which they were packed: as names of tests they would differ between processes.
    ids=lambda value: value if isinstance(value, str) else "data",
)  # fmt: skip  # a table
def test_a_file_that_is_not_what_it_seems_is_one_sentence(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        read(a_file(tmp_path, data, name))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_too_many_quotes_end_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_file(tmp_path, "a,b\n" + '"x,1\n' * 40_000)
    assert len(cells(path)) == 40_000
    monkeypatch.setattr("streams.sources.tables.delimited._REREAD_LINES", 30_000)
    with pytest.raises(SourceError, match=r"ours\.csv line \d+: too many quotes are not closed.* --quote none"):
        read(path)
    assert len(cells(path, quote="none")) == 40_000


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"format": "xml"}, r"format 'xml': use csv, tsv, json, jsonl, label-studio, excel, parquet or cvat"),
        ({"delimiter": ";;"}, r"delimiter ';;': give one character, or comma, semicolon"),
        ({"delimiter": '"'}, r"delimiter '\"'"),
        ({"encoding": "klingon"}, r"encoding 'klingon' is not known; use utf-8"),
        ({"encoding": "base64"}, r"encoding 'base64' is not known"),
        ({"encoding": "ascii"}, r"ours\.csv.*: cannot be read as ascii"),
        ({"quote": "single"}, r"quote 'single': use none"),
    ],
)
def test_what_is_stated_wrongly_is_named(tmp_path: Path, stated: dict[str, str], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        read(a_file(tmp_path, "a,é\n1,2\n"), **stated)


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"No such file|is a folder"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_numbers_of_json_are_ids_and_none_are_merged(tmp_path: Path, name: str) -> None:
    written = {
        "17": "17",
        "17.0": "17",
        "-3.5": "-3.5",
        "12345678901234567890123": "12345678901234567890123",
        # As floats these two are one.
        "12345678901234567.0": "12345678901234567.0",
        "12345678901234568.0": "12345678901234568.0",
        "1e30": "1e30",
    }
    parts = [f'{{"id": {each}}}' for each in written]
    text = f"[{','.join(parts)}]" if name == "t.json" else "\n".join(parts)
    assert cells(a_file(tmp_path, text, name)) == [[each] for each in written.values()]
