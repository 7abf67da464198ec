"""`labelwatch replay`: a file's events into Kafka: JSON lines as they are, or CSV through a map."""

import csv
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import EVERY_SITE
from streams.sources.errors import SourceError
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, pump, run, write_file

#: What a row may give, by our own names; `expected` makes a gold review of it.
MAPPED = ("agent_id", "task_id", "label", "expected", "handle_s", "project_id", "site_id", "market", "event_id")
#: The crowd files' header (worker, item, label, gold, seconds) needs no map.
CROWD_MAP = {"agent_id": "worker", "task_id": "item", "label": "label", "expected": "gold", "handle_s": "seconds"}

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What a person asks for.

    Attributes:
        file: JSON lines, or CSV (by its ending).
        mapping: For CSV: our name to the column's; the crowd files' own by default.
        constants: For CSV: our name to a value for every row, such as `site_id`.
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
        newest_ms: Highest event time; every partition's clock is set to it at the end.
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
    is_csv = options.file.suffix.lower() == ".csv"
    done = Replayed()
    total = 0
    if progress is not None or is_csv:
        total = _count_lines(options.file)
    records = _csv_events(options, done) if is_csv else _lines(options.file, done)
    if options.out is not None:
        done.records = write_file(options.out, (Outgoing(0, key, value) for _, key, value in records))
        return done
    if target is None:
        raise SourceError("neither a file nor a broker to write to; give --bootstrap or --out")
    sink = KafkaSink(target)

    async def work() -> None:
        async with sink.running():
            await pump(sink, _paced(records, options.speed), (lambda n: progress(n, total)) if progress else None)
            if done.newest_ms:
                await sink.put_to_all(EVERY_SITE.encode(), _clock(options.file, done.newest_ms))

    run(work)
    done.records = sink.sent
    return done


def _clock(file: Path, at_ms: int) -> bytes:
    return _encode(
        {"type": "clock_advanced", "event_id": f"replay-{file.name}-{at_ms}"[:128], "at": at_ms, "site_id": EVERY_SITE}
    )


def _paced(records: Iterator[tuple[int, bytes, bytes]], speed: float) -> Iterator[Outgoing]:
    begun, first_ms = time.time(), None
    for at_ms, key, value in records:
        due = 0.0
        if speed and at_ms:
            first_ms = at_ms if first_ms is None else first_ms
            due = begun + (at_ms - first_ms) / 1000 / speed
        yield Outgoing(due, key, value)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _lines(path: Path, done: Replayed) -> Iterator[tuple[int, bytes, bytes]]:
    """Lines as they are, byte for byte; what is no event goes on with an empty key."""
    decode = msgspec.json.Decoder(_Head).decode
    with path.open("rb") as file:
        for raw in file:
            line = raw.rstrip(b"\r\n")
            if not line:
                continue
            try:
                head = decode(line)
            except (ValueError, RecursionError):
                done.not_json += 1
                yield 0, b"", line
                continue
            done.newest_ms = max(done.newest_ms, head.at)
            yield head.at, head.site_id.encode(), line


def _csv_events(options: ReplayOptions, done: Replayed) -> Iterator[tuple[int, bytes, bytes]]:
    """A label for each row, and a gold review right after it where the row knows the truth.

    Such files have no clock: each person's rows follow one another, each taking its seconds.
    """
    rows = list(_rows(options))
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
            label["handle_ms"] = int(seconds * 1000)
        if row.get("label"):
            label["label"] = row["label"]
        key = work["site_id"].encode()
        done.newest_ms = max(done.newest_ms, at)
        yield at, key, _encode(label)
        if row.get("expected"):
            review = {
                **work, "type": "label_reviewed", "event_id": f"{work['event_id']}-gold", "at": at, "labeled_at": at,
                "source": "gold", "label": row.get("label", ""), "expected": row["expected"],
                "correct": row.get("label") == row["expected"],
            }  # fmt: skip  # an event in one glance
            yield at, key, _encode(review)


def _rows(options: ReplayOptions) -> Iterator[dict[str, str]]:
    unknown = [name for name in (*options.mapping, *options.constants) if name not in MAPPED]
    if unknown:
        raise SourceError(f"--map and --set know {', '.join(MAPPED)}; {', '.join(unknown)} is not among them")
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
                yield {ours: (row[column] or "").strip() for ours, column in options.mapping.items()}
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
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _work(row: Mapping[str, str], options: ReplayOptions, number: int) -> dict[str, str]:
    name = options.file.stem
    work = {
        "event_id": f"{name}-{number + 1}",
        "site_id": "crowd",
        "agent_id": "unknown",
        "project_id": name,
        "task_id": str(number + 1),
        **options.constants,
        **{ours: row[ours] for ours in row if ours not in ("label", "expected", "handle_s") and row[ours]},
    }
    return {ours: value[:128] for ours, value in work.items()}
