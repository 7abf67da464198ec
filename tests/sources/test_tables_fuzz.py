"""Files that are cut, flipped and mixed: a table, rows that are named, or one sentence; never anything else."""

import csv
import gzip
import io
import json
import random
import zipfile
from pathlib import Path

import pytest

from streams.sources.errors import SourceError
from streams.sources.importing import ImportOptions, read_rows
from streams.sources.mapping.model import MappingOverrides, from_pairs
from streams.sources.ordering import EventSorter
from streams.sources.tables.table import SourceTable

MAPPING = from_pairs(
    {"agent_id": "who", "task_id": "what", "at": "when", "label": "said", "expected": "gold", "handle_s": "took"},
    {"site_id": "s", "project_id": "p"},
    MappingOverrides(zone="Asia/Shanghai", decimal="."),
)
ROWS = [
    {
        "who": f"人{n % 5}", "what": f"t{n}", "when": f"2026-11-02 10:{n % 60:02}:00", "said": 'a,"b"\n', "gold": "é",
        "took": n,
    }
    for n in range(60)
]  # fmt: skip  # a row


def as_csv(delimiter: str, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([list(ROWS[0]), *(list(row.values()) for row in ROWS)])
    return text.getvalue().encode(encoding)


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", data)
    return out.getvalue()


STUDIO = [
    {"id": n, "project": 1, "data": {}, "annotations": [
        {"id": n, "completed_by": n % 5, "lead_time": 2.5, "created_at": "2026-11-02T10:00:00Z", "was_cancelled": False,
         "ground_truth": n % 2 == 0, "result": [{"type": "choices", "value": {"choices": ["a"]}}]}]}
    for n in range(30)
]  # fmt: skip  # a document
FILES = {
    "a.csv": as_csv(",", "utf-8"), "b.csv": as_csv(";", "utf-16"), "c.tsv": as_csv("\t", "gb18030"),
    "d.json": json.dumps(ROWS, ensure_ascii=False).encode(), "e.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "f.csv.gz": gzip.compress(as_csv(",", "utf-8")), "g.zip": zipped(as_csv("|", "utf-8")),
    "h.json": json.dumps(STUDIO).encode(),
}  # fmt: skip  # a table
EVIL = (b'"', b"\0", b"\n", b"\r", b",", b"\xff\xfe", b"\xef\xbb\xbf", b"[", b"{", b"}", b"\\u0000", b"\\ud800",
        b"1e999",
        "\u202e".encode(), b"null", b"<html", b"PK\x03\x04", b"\x80" * 40, b"9" * 5000, b"-", b"[" * 2000)  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            data = data[:place] + chance.choice(EVIL) + data[place:]
        elif kind == 2 and place < len(data):
            data = data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
        else:
            data = data[place:] + data[: place // 2]
    return data


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_named_or_its_rows_are(tmp_path: Path, name: str) -> None:
    chance, used, refused = random.Random(name), 0, []
    path = tmp_path / name

    def mapping(table: SourceTable) -> object:
        if table.kind != "label-studio":
            return MAPPING
        columns = {"agent_id": "completed_by", "task_id": "task", "at": "created_at", "label": "label"}
        return from_pairs(columns, {"site_id": "s", "project_id": "p"})

    for _ in range(80):
        path.write_bytes(mutated(FILES[name], chance))
        try:
            with EventSorter() as sorter:
                report = read_rows(ImportOptions([path], mapping), sorter)  # type: ignore[arg-type]  # as above
                events = list(sorter.events())
        except SourceError as error:
            refused.append(str(error))
            continue
        used += 1
        assert len(events) == report.events.total()
        assert report.bad_rows >= len(report.named)
        assert all("\n" not in row.detail for row in report.named)
    # A checksum finds every fault of an archive.
    assert used > 5 or name in ("f.csv.gz", "g.zip")
    assert len(refused) > 5
    assert not [each for each in refused if "\n" in each]
