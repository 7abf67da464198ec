"""`labelwatch rejected`: newest first, by reason, without people's names; and every byte back out."""

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from rich.console import Console

from schemas.topics import REJECTED
from streams.exporter.pseudonyms import ENVIRONMENT, agent_names
from streams.ops import rejected as ops
from streams.ops.embedded import EmbeddedBroker
from streams.ops.errors import WRONG_USE, CommandError
from streams.ops.rejected import Letter, Wanted
from streams.ops.topics import create
from streams.runtime.settings import Settings

AT = 1_763_985_600_000
KEY = "k" * 32
WRONG = {"type": "label_reviewed", "site_id": "lima-1", "agent_id": "ana", "reviewer_id": "rui", "correct": "perhaps"}
#: Reason, when, value; in the order of the log.
LETTERS = [
    ("schema", AT, json.dumps(WRONG).encode()),
    ("json", AT + 5_000, b"{\xff\x00 ana"),
    ("null", AT + 2_000, None),
    ("json", AT + 3_000, b'{\n "pretty": 1'),
    ("schema", AT + 4_000, json.dumps({**WRONG, "label": "a\u202eb\x1b[31m"}, ensure_ascii=False).encode()),
]


async def _produce(bootstrap: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for offset, (reason, at, value) in enumerate(LETTERS):
            headers = [
                ("reason", reason.encode()),
                ("detail", b"by ana of `$.correct`, an analyst"),
                ("origin-partition", b"3"),
                ("origin-offset", b"%d" % (100 + offset)),
                ("rejected-at", b"%d" % at),
                *([("origin-null", b"1")] if value is None else []),
            ]
            await producer.send_and_wait(REJECTED, value or b"", key=b"lima-1", partition=offset % 2, headers=headers)
    finally:
        await producer.stop()


@pytest.fixture
def settings(tansu: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A broker that holds the letters."""
    monkeypatch.setenv(ENVIRONMENT, KEY)
    made = Settings.resolve(environ={}, bootstrap=tansu.bootstrap, data_dir=tmp_path / "data")
    list(create(made, 2))
    asyncio.run(_produce(tansu.bootstrap))
    return made


def printed(found: ops.LettersFound, names: Any, width: int = 200) -> str:
    out = io.StringIO()
    ops.print_found(found, names, Console(file=out, width=width))
    return out.getvalue()


def test_they_come_newest_first_by_reason_within_the_limit(settings: Settings) -> None:
    found = ops.rejected(Wanted(limit=3), settings)
    assert found.count == {"schema": 2, "json": 2, "null": 1}
    assert [letter.rejected_at - AT for letter in found.shown] == [5_000, 4_000, 3_000]
    assert [letter.offset for letter in found.shown] == [101, 104, 103]
    assert {letter.partition for letter in found.shown} == {3}
    only = ops.rejected(Wanted("schema"), settings)
    assert only.count == {"schema": 2}
    assert [letter.rejected_at - AT for letter in only.shown] == [4_000, 0]
    assert ops.rejected(Wanted(from_ms=AT + 4_000), settings).count == {"schema": 1, "json": 1}
    text = printed(found, None)
    assert [line.split()[:2] for line in text.splitlines()[1:4]] == [["json", "2"], ["schema", "2"], ["null", "1"]]
    assert "2 older ones; --limit shows more" in text
    assert printed(ops.rejected(Wanted("none-such"), settings), None) == "Nothing was rejected.\n"


def test_people_are_called_as_everywhere_and_nothing_steers_the_terminal(settings: Settings) -> None:
    found = ops.rejected(Wanted(), settings)
    ana = agent_names("pseudonym", settings.data_dir)("lima-1", "ana")
    for text in (printed(found, ops.names_of(settings)), "\n".join(ops.json_lines(found, ops.names_of(settings)))):
        assert ana in text
        assert "rui" not in text
        # What is no JSON object is not shown: no id can be distinguished from other text there. Words stay whole.
        assert "pretty" not in text
        assert "an analyst" in text
    text = printed(found, None, width=400)
    assert "ana" in text
    assert "rui" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"a\u202eb" in text


def test_json_lines_hold_the_exact_bytes_where_people_may_be_named(settings: Settings) -> None:
    rows = [json.loads(line) for line in ops.json_lines(ops.rejected(Wanted(), settings), None)]
    values = [None if row["value_base64"] is None else base64.b64decode(row["value_base64"]) for row in rows]
    newest_first = sorted(LETTERS, key=lambda letter: -letter[1])
    assert values == [value for _, _, value in newest_first]
    assert [row["reason"] for row in rows] == [reason for reason, _, _ in newest_first]
    assert [row["bytes"] for row in rows][3] is None


def test_without_a_key_none_is_made_and_nobody_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT)
    text = "\n".join(ops.json_lines(ops.rejected(Wanted("schema"), settings), ops.names_of(settings)))
    assert not settings.data_dir.exists()
    assert "rui" not in text
    assert "p-?" in text


def test_every_byte_comes_back_out(settings: Settings, tmp_path: Path) -> None:
    lines, folder = tmp_path / "again.jsonl", tmp_path / "each"
    wanted = Wanted(out=lines)
    found = ops.rejected(wanted, settings)
    values = [value for _, _, value in LETTERS if value is not None]
    whole = [value for value in values if b"\n" not in value]
    assert sorted(lines.read_bytes().removesuffix(b"\n").split(b"\n")) == sorted(whole)
    assert lines.stat().st_mode & 0o077 == 0
    assert (found.written, found.empty, found.broken) == (3, 1, 1)
    assert list(ops.notes(found, wanted)) == [
        f"3 records written to {lines}, byte for byte; they name people by their plain ids",
        "1 records have no bytes: nothing to write",
        f"1 records hold a line break and are not in {lines}: --out-dir has a file for each",
    ]
    ops.rejected(Wanted(out_dir=folder), settings)
    assert sorted(file.read_bytes() for file in folder.iterdir()) == sorted(values)
    with pytest.raises(CommandError, match=r"again\.jsonl: File exists; give another --out") as caught:
        ops.rejected(wanted, settings)
    assert caught.value.code == WRONG_USE


def test_headers_of_a_foreign_writer_break_nothing() -> None:
    class Record:
        headers = (("reason", b"\xff"), ("rejected-at", b"9" * 40), ("origin-partition", b"x"), ("detail", None))
        timestamp, key, value = AT, None, b"\xff"

    letter = ops._letter(Record())
    assert letter == Letter(AT, -1, -1, "\\xff", "", None, b"\xff")
    found = ops.LettersFound(shown=[letter._replace(rejected_at=10**18)])
    found.count["x"], found.newest["x"] = 1, 10**18
    assert "1000000000000000000" in printed(found, None)
