"""`labelwatch import`: a dry run of files, and where it is asked for, their events into Kafka, a file or blocks."""

import contextlib
import heapq
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from schemas.text import choice, visible
from streams.ops.dump import draft
from streams.ops.errors import WRONG_USE, CommandError
from streams.sources.consensus import RULES, Consensus
from streams.sources.importing import ImportOptions, ImportReport, read_rows
from streams.sources.mapping.errors import MappingError
from streams.sources.mapping.model import MappingOverrides, RowMapping, from_pairs, from_toml
from streams.sources.ordering import EventSorter, OrderedEvent
from streams.sources.presence import EstimatedPresence
from streams.sources.tables import cvat, label_studio
from streams.sources.tables.table import SourceTable, TableReading

#: Compared labels from which on it is said that none of them ever is a gold value.
_NEVER = 10
#: Mappings of exports that say themselves what is what.
_OF_KIND = {"label-studio": label_studio.FIELDS, "cvat": cvat.FIELDS}
_BAR_EVENTS = 5_000
_DAY_MS = 86_400_000
#: The longest live window.
_WINDOW_DAYS = 7


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a person asks for.

    Attributes:
        files: Tables, `-` is standard input.
        map: A mapping file, or pairs; None: the file is of a kind that needs none.
        constants: A value for every row, by field.
        overrides: Zone, format, decimal sign, made times.
        reading: How files are read, where it is stated.
        allow_bad: Rows that may be unusable.
        consensus: A rule of `RULES` by which labels are judged by each other; None: they are not.
        presence_gap_minutes: The longest gap between labels in which people count as there; None: presence is not
            estimated.
    """

    files: Sequence[Path]
    map: Path | Mapping[str, str] | None = None
    constants: Mapping[str, str] = field(default_factory=dict)
    overrides: MappingOverrides = field(default_factory=MappingOverrides)
    reading: TableReading = field(default_factory=TableReading)
    allow_bad: int = 0
    consensus: str | None = None
    presence_gap_minutes: float | None = None


@dataclass(slots=True)
class Imported:
    """A finished reading, whose events can be written once.

    Attributes:
        report: What became of the rows.
        sorter: Has the events.
        made: Has those that are made of labels: reviews by each other, estimated states.
        console: For a bar of progress.
    """

    report: ImportReport
    sorter: EventSorter
    made: EventSorter
    console: Console

    def events(self) -> Iterator[OrderedEvent]:
        """All events in order of time; what is made of a label behind it."""
        with _bar(self.console) as bar:
            task = bar.add_task("writing", total=self.sorter.taken)
            for number, event in enumerate(self._ordered(), 1):
                yield event
                if number % _BAR_EVENTS == 0:
                    # Those that are made are known when the first one goes out.
                    total = self.sorter.taken + self.made.taken
                    bar.update(task, completed=number, total=total, description=f"{number:,} events")

    def _ordered(self) -> Iterator[OrderedEvent]:
        if self.report.consensus is None and self.report.presence is None:
            return self.sorter.events()
        for event in self._made():
            self.made.add(event["at"], event["site_id"], msgspec.json.encode(event), 0)
        return heapq.merge(self.sorter.events(), self.made.events(), key=lambda event: event.at_ms)

    def _made(self) -> Iterator[dict[str, Any]]:
        consensus, presence = self.report.consensus, self.report.presence
        for ordered in self.sorter.events():
            event = msgspec.json.decode(ordered.value)
            if consensus is not None and (review := consensus.review(event)) is not None:
                yield review
            if presence is not None:
                yield from presence.take(event)
        if presence is not None:
            yield from presence.close()


def stated_mapping(
    map: Path | Mapping[str, str], constants: Mapping[str, str], overrides: MappingOverrides
) -> RowMapping:
    """The mapping of a file, or of pairs, with what the command line says besides.

    Raises:
        CommandError: The file cannot be read.
        MappingError: Something in it is wrong.
    """
    if not isinstance(map, Path):
        return from_pairs(map, constants, overrides)
    try:
        text = map.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise CommandError(
            f"--map {map}: {why}; give a mapping file, or pairs such as agent_id=worker", WRONG_USE
        ) from error
    return from_toml(text, map.name, overrides, constants)


def _mapping_of_kind(request: ImportRequest, table: SourceTable) -> RowMapping:
    """The mapping of a table whose kind is known; any other one needs a mapping that is stated."""
    fields = _OF_KIND.get(table.kind)
    if fields is None:
        raise MappingError(
            f"{table.name}: needs a mapping; `labelwatch map suggest {table.name}` proposes one for --map"
        )
    return from_pairs(fields, request.constants, request.overrides)


@contextlib.contextmanager
def importing(request: ImportRequest, console: Console, dry: bool, folder: Path | None = None) -> Iterator[Imported]:
    """Reads all files, and says what became of their rows.

    Args:
        request: What is asked for.
        console: For a bar of progress.
        dry: Events are counted, not kept.
        folder: For temporary files.

    Raises:
        CommandError: The mapping is wrong, or states too little for the data.
        SourceError: A file is not what it seems.
    """
    try:
        # Read before any file is opened.
        stated = None if request.map is None else stated_mapping(request.map, request.constants, request.overrides)
        reading = request.reading if stated is None else _with_stated(request.reading, stated.reading)

        def mapping(table: SourceTable) -> RowMapping:
            return _mapping_of_kind(request, table) if stated is None else stated

        consensus = None if request.consensus is None else Consensus(request.consensus)
        gap_minutes = request.presence_gap_minutes
        presence = None if gap_minutes is None else EstimatedPresence(gap_minutes)
        options = ImportOptions(request.files, mapping, reading, consensus=consensus, presence=presence)
        with (
            EventSorter(folder) as sorter,
            EventSorter(folder) as made,
            _bar(console) as bar,
        ):
            task = bar.add_task("reading", total=None)

            def progress(rows: int, done: int, size: int) -> None:
                bar.update(task, completed=done, total=size or None, description=f"{rows:,} rows")

            report = read_rows(options, None if dry else sorter, progress)
            bar.stop()
            yield Imported(report, sorter, made, console)
    except MappingError as error:
        raise CommandError(str(error), WRONG_USE) from error


def _bar(console: Console) -> Progress:
    """How far it is, and how long it will take yet; for a person alone, so nothing where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _with_stated(reading: TableReading, stated: Mapping[str, str]) -> TableReading:
    """What the command line says of reading goes before the mapping file."""
    parts = ("format", "delimiter", "encoding", "quote", "sheet")
    return TableReading(*(getattr(reading, part) or stated.get(part) for part in parts))


# --- the report


def report_lines(report: ImportReport) -> Iterator[str]:
    """What was found, in sentences: for a person who decides whether to go on."""
    yield from report.notes
    used = report.rows - report.bad_rows - report.passed
    passed = f", {report.passed:,} of no event by the mapping" if report.passed else ""
    yield f"rows: {report.rows:,} read, {used:,} used, {report.bad_rows:,} could not be used{passed}"
    yield f"events: {counted(report.events) or 'none'}"
    if report.events and not report.events.keys() - {"agent_profiled"}:
        yield "labels: none; rows became profiles of people; for labels, name a column for task_id"
    if report.first_ms is not None and report.last_ms is not None:
        days = (report.last_ms - report.first_ms) / _DAY_MS
        made = "; made by adding up each person's durations, the file has none" if report.made_times else ""
        yield f"time: {_when(report.first_ms)} to {_when(report.last_ms)}, {days:,.1f} days{made}"
        yield f"sites: {counted(report.sites)}"
    yield from _gold_lines(report)
    if report.consensus is not None:
        yield from _consensus_lines(report.consensus)
    if report.has_states:
        yield "utilization: yes, by state_changed events"
    elif report.presence is not None:
        yield from _presence_lines(report, report.presence)
    else:
        yield "utilization: no, it rests on state_changed events and there are none"
    if report.days_only:
        yield "some times have no time of day: midnight was taken"
    if report.twice:
        yield "some times are in an hour that the clocks showed twice: the first was taken"


def _gold_lines(report: ImportReport) -> Iterator[str]:
    labels, with_gold = report.events["label_submitted"], report.labels_with_gold()
    if labels:
        share = f"{100 * with_gold / labels:.1f}%"
        yield f"gold: {with_gold:,} of {labels:,} labels ({share}) meet gold"
        if reviewed := report.labels_with_review():
            yield f"reviews: {reviewed:,} of {labels:,} labels ({100 * reviewed / labels:.1f}%) are reviewed otherwise"
    if repeated := report.repeated_labels():
        yield (
            f"again: {repeated:,} labels are by a person who had labeled that task before: each is counted; name a "
            "column for attempt where they are rework"
        )
    if report.judged:
        share = f"{100 * report.equal / report.judged:.1f}%"
        yield f"gold: {report.equal:,} of {report.judged:,} labels compared are equal ({share})"
    if report.judged >= _NEVER and not report.equal and not report.labels & report.golds:
        yield (
            f"labels and gold never meet: labels are {_few(report.labels)}, gold is {_few(report.golds)}; give "
            "[values.label], or compare = 'no-case', 'number' or 'set' for correct"
        )
    if report.unjudged:
        yield f"{report.unjudged:,} rows have gold and no label: no review was made of them"


def _consensus_lines(found: Consensus) -> Iterator[str]:
    share = f" ({100 * found.equal / found.judged:.1f}%)" if found.judged else ""
    yield (
        f"consensus: {found.judged:,} of {found.labels:,} labels can be judged by {RULES[found.rule]}; "
        f"{found.equal:,} are so{share}"
    )
    if found.judged:
        yield (
            "consensus: what most get wrong counts as right, and where the others differ nobody is judged; read its "
            "accuracy as agreement"
        )
    elif found.labels:
        yield "consensus: no review can be made; three people are needed on a task: check the column of task_id"


def _presence_lines(report: ImportReport, presence: EstimatedPresence) -> Iterator[str]:
    labels = report.events["label_submitted"]
    yield (
        f"utilization: estimated, since nobody reported states: people count as there between labels that are at most "
        f"{presence.gap_minutes:g} minutes apart"
    )
    if report.timed < labels:
        yield f"utilization: {labels - report.timed:,} of {labels:,} labels have no duration and count as no time"


def bad_lines(report: ImportReport) -> Iterator[str]:
    """The rows that could not be used: how many for which reason, the first ones by their place."""
    if not report.bad_rows:
        return
    yield f"{report.bad_rows:,} row{'s' * (report.bad_rows != 1)} could not be used: {counted(report.bad)}"
    for row in report.named:
        yield f"{row.place}: {visible(row.detail)}"
    if report.bad_rows > len(report.named):
        yield "..."


def sample_lines(report: ImportReport) -> Iterator[str]:
    """The first mapped events, as they would go out but for their ids."""
    for event in report.shown:
        yield visible(msgspec.json.encode(event).decode())


def refuse_bad(report: ImportReport, allow_bad: int) -> None:
    """Ends the command where more rows are bad than may be.

    Raises:
        CommandError: So it is; nothing was written.
    """
    if report.bad_rows > allow_bad:
        rows = f"{report.bad_rows:,} row{'s' * (report.bad_rows != 1)}"
        raise CommandError(
            f"{rows} could not be used, {allow_bad:,} may be: nothing was written; mend them, or "
            f"leave them out: --allow-bad {report.bad_rows}"
        )
    if not report.events.total():
        raise CommandError("no event came of any row: nothing was written; check the mapping's when")


def counted(counts: Mapping[str, int], most: int = 8) -> str:
    """The largest counts with their names, and how many more there are."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(f"{count:,} {visible(name)}" for name, count in ordered[:most]) + more


def _few(values: set[str]) -> str:
    return choice(repr(visible(each[:40])) for each in sorted(values)[:4])


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def old_line(report: ImportReport) -> str | None:
    """Whether live windows show nothing of it."""
    days = 0 if report.last_ms is None else (time.time() * 1000 - report.last_ms) / _DAY_MS
    if days <= _WINDOW_DAYS:
        return None
    return (
        f"the newest event is {days:,.0f} days old, beyond every live window: Kafka counts it in totals alone; "
        "--backfill DIR writes history for the boards"
    )


# --- writing


def write_to_file(imported: Imported, path: Path, files: Sequence[Path]) -> int:
    """Writes the events as JSON lines, in order of time; the file is there when it is whole.

    Raises:
        CommandError: It cannot be written, or is one of those that were read.
    """
    if path.exists() and any(each.exists() and each.samefile(path) for each in files):
        raise CommandError(f"--out {path}: is a file to read from; give another one", WRONG_USE)
    count = 0
    try:
        with draft(path) as file:
            for event in imported.events():
                file.write(event.value + b"\n")
                count += 1
    except OSError as error:
        raise CommandError(f"--out {path}: {error.strerror}; nothing was written") from error
    return count
