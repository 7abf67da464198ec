"""`labelwatch replay`: a file's events into Kafka: JSON lines as they are, or CSV through a map."""

import contextlib
import csv
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import EVERY_SITE, AnyEvent
from schemas.text import choice
from streams.sources.errors import SourceError
from streams.sources.lines import json_lines
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, pump, run, write_file

#: What a row may give, by our own names; `expected` makes a gold review of it.
MAPPED = ("agent_id", "task_id", "label", "expected", "handle_s", "project_id", "site_id", "market", "event_id")
#: The crowd files' header (worker, item, label, gold, seconds) needs no map.
CROWD_MAP = {"agent_id": "worker", "task_id": "item", "label": "label", "expected": "gold", "handle_s": "seconds"}
#: As the worker's rule: an event that is later than now by more is turned away.
_FUTURE_MS = 300_000
#: Limits of the contract, with room for `-gold` in an event's id.
_IDENTIFIER, _TEXT = 123, 1000
#: More than a day on one label is no time at all; it would move a person's clock out of every window.
_LONGEST_SECONDS = 86_400.0

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What a person asks for.

    Attributes:
        file: JSON lines, or CSV (by its ending).
        mapping: For CSV: our name to the column's; the crowd files' own by default.
        constants: For CSV: our name to a value for every row that has none of its own, such as `site_id`.
        speed: Event time over wall time; 0 is as fast as possible.
        start_ms: For CSV: time of the first event; by default so that the last one is now.
        assumed_seconds: For CSV: seconds of a label where the file has none.
        out: A file in place of Kafka.
    """

    file: Path
    mapping: Mapping[str, str] = field(default_factory=lambda: dict(CROWD_MAP))
    constants: Mapping[str, str] = field(default_factory=dict)
    speed: float = 0.0
    start_ms: int | None = None
    assumed_seconds: float = 30.0
    out: Path | None = None


@dataclass(slots=True)
class Replayed:
    """What a replay has written.

    Attributes:
        records: Records written.
        not_json: Lines that are no event with `at` and `site_id`; sent too, the worker turns them away.
        newest_ms: Highest time of a good event; every partition's clock is set to it at the end.
    """

    records: int = 0
    not_json: int = 0
    newest_ms: int = 0


class _Head(msgspec.Struct):
    at: int
    site_id: str


def run_replay(
    options: ReplayOptions,
    target: KafkaTarget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Writes a file's events, and at the end the clock to every partition.

    Args:
        options: What to replay.
        target: Where to, unless `options.out` names a file.
        progress: Called with the records written so far, and their total.

    Raises:
        SourceError: The file cannot be read, its columns do not fit, or the target cannot be written.
    """
    if not options.file.is_file():
        raise SourceError(f"{options.file}: no such file; give JSON lines, or CSV with --map")
    if options.out is not None and options.out.exists() and options.out.samefile(options.file):
        raise SourceError(f"{options.out}: is the file to read from; give another one to write to")
    done = Replayed()
    if options.file.suffix.lower() == ".csv":
        rows = list(_rows(options))
        total = len(rows) + sum("expected" in row for row in rows)
        records = _csv_events(rows, options, done)
    else:
        total = _count_lines(options.file) if progress is not None else 0
        records = _lines(options.file, done)
    if options.out is not None:
        done.records = write_file(options.out, (Outgoing(0, key, value) for _, key, value in records))
        return done
    if target is None:
        raise SourceError("neither a file nor a broker to write to; give --bootstrap or --out")
    sink = KafkaSink(target)
    due = paced(records, options.speed, time.time())

    async def work() -> None:
        async with sink.running():
            await pump(sink, due, (lambda count: progress(count, total)) if progress else None)
            if done.newest_ms:
                await put_clock(sink, f"replay-{options.file.name}", done.newest_ms)

    run(work)
    done.records = sink.sent
    return done


async def put_clock(sink: KafkaSink, name: str, at_ms: int) -> None:
    """Sets every partition's clock to a time, by the name of who sends it."""
    event = {"type": "clock_advanced", "event_id": f"{name}-{at_ms}"[:128], "at": at_ms, "site_id": EVERY_SITE}
    await sink.put_to_all(EVERY_SITE.encode(), _encode(event))


def paced(records: Iterator[tuple[int, bytes, bytes]], speed: float, begun_seconds: float) -> Iterator[Outgoing]:
    """Says when each record is due.

    Args:
        records: Event time (ms; 0: none, due at once), key and value of each.
        speed: Event time over wall time; 0 is as fast as possible.
        begun_seconds: When the first one is due, epoch seconds.
    """
    first_ms = None
    for at_ms, key, value in records:
        due = 0.0
        if speed and at_ms:
            first_ms = at_ms if first_ms is None else first_ms
            due = begun_seconds + (at_ms - first_ms) / 1000 / speed
        yield Outgoing(due, key, value)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in json_lines(file, path))


def _lines(path: Path, done: Replayed) -> Iterator[tuple[int, bytes, bytes]]:
    """Lines as they are, byte for byte; what names no site goes on with an empty key."""
    decode_event, decode_head = msgspec.json.Decoder(AnyEvent).decode, msgspec.json.Decoder(_Head).decode
    # What the worker turns away as lying in the future must not set its clock, or be waited for.
    latest_ms = int(time.time() * 1000) + _FUTURE_MS
    with path.open("rb") as file:
        for _, line in json_lines(file, path):
            at_ms, site_id = 0, ""
            try:
                event = decode_event(line)
                at_ms, site_id = event.at, event.site_id
            except (ValueError, RecursionError):
                with contextlib.suppress(ValueError, RecursionError):
                    site_id = decode_head(line).site_id
            if not site_id:
                done.not_json += 1
            if at_ms > latest_ms:
                at_ms = 0
            done.newest_ms = max(done.newest_ms, at_ms)
            yield at_ms, site_id.encode(), line


def _csv_events(
    rows: list[dict[str, str]], options: ReplayOptions, done: Replayed
) -> Iterator[tuple[int, bytes, bytes]]:
    """A label for each row, and a gold review right after it where the row knows the truth.

    Such files have no clock: each person's rows follow one another, each taking its seconds.
    """
    ends = _clock_by_person(rows, options)
    span_ms = max(ends, default=0)
    start_ms = int(time.time() * 1000) - span_ms if options.start_ms is None else options.start_ms
    attempts: dict[tuple[str, str, str], int] = {}
    # In order of time over all people, as a live stream would come; equal times keep the file's order.
    for number in sorted(range(len(rows)), key=ends.__getitem__):
        row, at = rows[number], start_ms + ends[number]
        work = _work(row, options, number)
        who = (work["site_id"], work["agent_id"], work["task_id"])
        attempts[who] = attempts.get(who, 0) + 1
        label: dict[str, Any] = {"type": "label_submitted", **work, "at": at}
        if attempts[who] > 1:
            label["attempt"] = attempts[who]
        seconds = _seconds(row)
        if seconds is not None:
            label["handle_ms"] = round(seconds * 1000)
        if row.get("label"):
            label["label"] = row["label"][:_TEXT]
        key = work["site_id"].encode()
        done.newest_ms = max(done.newest_ms, at)
        yield at, key, _encode(label)
        if "expected" in row:
            review = {
                **work, "type": "label_reviewed", "event_id": f"{work['event_id']}-gold", "at": at, "labeled_at": at,
                "source": "gold", "label": row.get("label", "")[:_TEXT], "expected": row["expected"][:_TEXT],
                "correct": row.get("label") == row["expected"],
            }  # fmt: skip  # an event in one glance
            yield at, key, _encode(review)


def _rows(options: ReplayOptions) -> Iterator[dict[str, str]]:
    unknown = [name for name in (*options.mapping, *options.constants) if name not in MAPPED]
    if "event_id" in options.constants:
        raise SourceError("--set event_id: each row needs an id of its own; give --map event_id=COLUMN or leave it out")
    if unknown:
        raise SourceError(f"--map and --set {unknown[0]!r}: use {choice(MAPPED)}")
    try:
        with options.file.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            missing = [f"{ours}={column}" for ours, column in options.mapping.items() if column not in header]
            if missing:
                raise SourceError(
                    f"{options.file}: no column for {', '.join(missing)}; the file has {', '.join(header) or 'none'}: "
                    "give --map OURS=COLUMN"
                )
            for row in reader:
                given = {ours: (row[column] or "").strip() for ours, column in options.mapping.items()}
                yield {**options.constants, **{ours: value for ours, value in given.items() if value}}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{options.file}: cannot be read as CSV: {error}") from error


def _clock_by_person(rows: list[dict[str, str]], options: ReplayOptions) -> list[int]:
    """When each row's label was handed in, ms from the start: the sum of its person's seconds so far."""
    spent: dict[str, float] = {}
    ends = []
    for row in rows:
        person = row.get("agent_id", "")
        seconds = _seconds(row)
        spent[person] = spent.get(person, 0.0) + (options.assumed_seconds if seconds is None else seconds)
        ends.append(round(spent[person] * 1000))
    return ends


def _seconds(row: Mapping[str, str]) -> float | None:
    try:
        seconds = float(row.get("handle_s") or "nan")
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_SECONDS else None


def _work(row: Mapping[str, str], options: ReplayOptions, number: int) -> dict[str, str]:
    name = options.file.stem
    work = {
        "event_id": f"{name}-{number + 1}",
        "site_id": "crowd",
        "agent_id": "unknown",
        "project_id": name,
        "task_id": str(number + 1),
        **{ours: value for ours, value in row.items() if ours not in ("label", "expected", "handle_s")},
    }
    return {ours: value[:_IDENTIFIER] for ours, value in work.items()}
