"""`labelwatch rejected`: what the worker rejected and why, from the dead-letter topic; and the original bytes."""

import asyncio
import base64
import heapq
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.text import Text

from schemas.text import visible
from schemas.topics import REJECTED
from streams.exporter.pseudonyms import AgentNames, PseudonymKeyError, agent_names, key_source
from streams.ops.errors import WRONG_USE, CommandError
from streams.ops.records import TopicReader, unreadable
from streams.runtime.settings import Settings
from streams.views import fold
from streams.views.fold import FoldedColumn

#: Fields of an event that name a person.
PERSONS = ("agent_id", "reviewer_id", "person_id", "owner")
#: A foreign writer's headers may say anything: further reasons count as this one.
_OTHER, _REASONS_MOST = "other", 50
_SHOWN_CHARACTERS = 200
_NAMELESS = "p-?"
_COLUMNS = (
    FoldedColumn("rejected (UTC)"),
    FoldedColumn("reason"),
    FoldedColumn("detail", folds=True),
    FoldedColumn("from", goes=2),
    FoldedColumn("key", folds=True, goes=1),
    FoldedColumn("bytes", right=True, goes=3),
    FoldedColumn("record", folds=True, goes=4),
)


class Letter(NamedTuple):
    """One dead letter.

    Attributes:
        rejected_at: When, epoch ms.
        partition: Where the record stood in the events topic; -1 where the header is missing.
        offset: Likewise.
        reason: Why, in one word.
        detail: Why, in words.
        key: Of the record.
        value: The record's bytes; None where it had none.
    """

    rejected_at: int
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class LettersFound:
    """What was found in the topic.

    Attributes:
        count: Letters by reason.
        newest: When the last of each reason was rejected, epoch ms.
        shown: The newest letters, newest first.
        written: Records written back out.
        empty: Records without bytes: nothing to write.
        broken: Records with a line break, which a file of lines cannot hold.
    """

    count: Counter[str] = field(default_factory=Counter)
    newest: dict[str, int] = field(default_factory=dict)
    shown: list[Letter] = field(default_factory=list)
    written: int = 0
    empty: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for.

    Attributes:
        reason: Only this one; empty is all.
        from_ms: Only what was rejected then or later, epoch ms; None is all.
        limit: How many letters to show; so many are held in memory.
        out: File for the records' bytes, one a line.
        out_dir: Folder for the records' bytes, a file each.
    """

    reason: str = ""
    from_ms: int | None = None
    limit: int = 20
    out: Path | None = None
    out_dir: Path | None = None


def rejected(wanted: Wanted, settings: Settings) -> LettersFound:
    """Reads the dead-letter topic from end to end, holding no more than is shown.

    Raises:
        CommandError: No broker answers, or a file cannot be written.
        SettingsError: A certificate or the password cannot be read.
    """
    try:
        with _Writer(wanted) as writer:
            return asyncio.run(_read(wanted, settings, writer))
    except (KafkaError, TimeoutError, ConnectionError) as error:
        raise unreadable(REJECTED, settings, error) from error
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}; give another --out or --out-dir", WRONG_USE) from error


async def _read(wanted: Wanted, settings: Settings, writer: "_Writer") -> LettersFound:
    found = LettersFound()
    newest: list[tuple[int, int, int, int, Letter]] = []
    number = 0
    async for letter in _letters(wanted, settings):
        number += 1
        reason = letter.reason if letter.reason in found.count or len(found.count) < _REASONS_MOST else _OTHER
        found.count[reason] += 1
        found.newest[reason] = max(found.newest.get(reason, 0), letter.rejected_at)
        writer.write(letter, number, found)
        # The number last: two letters are never compared.
        entry = (letter.rejected_at, letter.partition, letter.offset, number, letter)
        if len(newest) < wanted.limit:
            heapq.heappush(newest, entry)
        elif newest and entry > newest[0]:
            heapq.heapreplace(newest, entry)
    found.shown = [entry[-1] for entry in sorted(newest, reverse=True)]
    return found


async def _letters(wanted: Wanted, settings: Settings) -> AsyncIterator[Letter]:
    async with TopicReader(settings, REJECTED) as topic:
        for partition in range(topic.partitions):
            async for batch in topic.read(partition, wanted.from_ms):
                for record in batch:
                    letter = _letter(record)
                    if wanted.reason in ("", letter.reason) and letter.rejected_at >= (wanted.from_ms or 0):
                        yield letter


def _letter(record: Any) -> Letter:
    headers = {name: value or b"" for name, value in record.headers}

    def number(name: str, otherwise: int) -> int:
        text = headers.get(name, b"")
        return int(text) if text.isdigit() and len(text) < 20 else otherwise

    def text(name: str) -> str:
        return headers.get(name, b"").decode(errors="backslashreplace")

    return Letter(
        number("rejected-at", max(record.timestamp, 0)),
        number("origin-partition", -1),
        number("origin-offset", -1),
        text("reason") or "unknown",
        text("detail"),
        record.key,
        None if "origin-null" in headers else record.value,
    )


class _Writer:
    """Writes the records' bytes to where they are wanted; a file that is there already is never touched."""

    def __init__(self, wanted: Wanted) -> None:
        self._out, self._folder = wanted.out, wanted.out_dir
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_Writer":
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._out is not None:
            self._file = _own_file(self._out)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, letter: Letter, number: int, found: LettersFound) -> None:
        """Writes one, or counts why not."""
        if self._file is None and self._folder is None:
            return
        if not letter.value:
            found.empty += 1
            return
        if self._folder is not None:
            name = f"{letter.partition}-{letter.offset}-{number}.record"
            with _own_file(self._folder / name) as file:
                file.write(letter.value)
        if self._file is not None:
            # What a reader of lines takes for an end, or takes off.
            if b"\n" in letter.value or letter.value.endswith(b"\r"):
                found.broken += 1
                if self._folder is None:
                    return
            else:
                self._file.write(letter.value + b"\n")
        found.written += 1


def _own_file(path: Path) -> BinaryIO:
    """A new file that its owner alone can read: records name people."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


# --- for people


def names_of(settings: Settings) -> AgentNames | None:
    """How people are called; None: by their plain ids. Without a key none is made: nobody has a name then.

    Raises:
        CommandError: The key cannot be read.
    """
    if settings.agent_labels == "plain":
        return None
    if key_source(settings.data_dir) is None:
        return lambda site, agent: _NAMELESS
    try:
        return agent_names(settings.agent_labels, settings.data_dir)
    except PseudonymKeyError as error:
        raise CommandError(str(error)) from error


def notes(found: LettersFound, wanted: Wanted) -> Iterator[str]:
    """What was written back out, and what could not be."""
    where = " and ".join(str(path) for path in (wanted.out, wanted.out_dir) if path is not None)
    if not where:
        return
    yield f"{found.written:,} records written to {where}, byte for byte; they name people by their plain ids"
    if found.empty:
        yield f"{found.empty:,} records have no bytes: nothing to write"
    if found.broken:
        yield f"{found.broken:,} records hold a line break and are not in {wanted.out}: --out-dir has a file for each"


def json_lines(found: LettersFound, names: AgentNames | None) -> Iterator[str]:
    """One JSON object a letter, newest first."""
    for letter in found.shown:
        row: dict[str, Any] = {
            "rejected_at": letter.rejected_at,
            "reason": letter.reason,
            "detail": letter.detail,
            "partition": letter.partition,
            "offset": letter.offset,
            "key": None if letter.key is None else letter.key.decode(errors="backslashreplace"),
            "bytes": None if letter.value is None else len(letter.value),
        }
        if names is None:
            row["value_base64"] = None if letter.value is None else base64.b64encode(letter.value).decode()
        else:
            known = _Known(letter, names)
            row["detail"], row["key"] = known.hide(row["detail"]), row["key"] and known.hide(row["key"])
            row["value"] = known.text
        yield json.dumps(row, ensure_ascii=False)


def print_found(found: LettersFound, names: AgentNames | None, console: Console) -> None:
    """For reading: how many by reason, the newest first, and below them the newest letters."""
    if not found.count:
        console.print("Nothing was rejected.", highlight=False)
        return
    by_reason = sorted(found.count, key=lambda reason: found.newest[reason], reverse=True)
    rows = [
        [Text(visible(reason)), Text(f"{found.count[reason]:,}"), Text(_when(found.newest[reason]))]
        for reason in by_reason
    ]
    columns = (FoldedColumn("reason", folds=True), FoldedColumn("records", right=True), FoldedColumn("newest (UTC)"))
    for part in fold.lines(columns, rows, console.width):
        console.print(part)
    console.print()
    for part in fold.lines(_COLUMNS, [_row(letter, names) for letter in found.shown], console.width):
        console.print(part)
    left = found.count.total() - len(found.shown)
    if left:
        console.print(f"{left:,} older ones; --limit shows more, --reason one kind", style="dim", highlight=False)


def _row(letter: Letter, names: AgentNames | None) -> list[Text]:
    key = "" if letter.key is None else letter.key.decode(errors="backslashreplace")
    detail, record = letter.detail, (letter.value or b"").decode(errors="backslashreplace")
    if names is not None:
        known = _Known(letter, names)
        detail, key = known.hide(detail), known.hide(key)
        record = known.text if known.text is not None else "not shown: no JSON object, so people cannot be hidden in it"
    if len(record) > _SHOWN_CHARACTERS:
        record = f"{record[:_SHOWN_CHARACTERS]}..."
    place = "" if letter.partition < 0 else f"{letter.partition}@{letter.offset}"
    size = "none" if letter.value is None else f"{len(letter.value):,}"
    cells = (_when(letter.rejected_at), letter.reason, detail, place, key, size, record if letter.value else "")
    return [Text(visible(cell)) for cell in cells]


class _Known:
    """A letter's record with its people under other names.

    Attributes:
        text: The record; None where it is no JSON object, in which people cannot be distinguished from other text.
    """

    def __init__(self, letter: Letter, names: AgentNames) -> None:
        self.text: str | None = None
        self._names: dict[str, str] = {}
        try:
            event = msgspec.json.decode(letter.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        site = str(event.get("site_id", ""))
        for each in PERSONS:
            if event.get(each) is not None:
                plain = str(event[each])
                self._names[plain] = names(site, plain)
                event[each] = self._names[plain]
        # A person's id may be in another field too, a list of people for example.
        self.text = self.hide(json.dumps(event, ensure_ascii=False))

    def hide(self, text: str) -> str:
        """A text without the plain ids that the record has."""
        for plain, name in self._names.items():
            if plain:
                # A short one is a part of many a word.
                text = re.sub(rf"(?<![\w.-]){re.escape(plain)}(?![\w.-])", name, text)
        return text


def _when(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(ms)
