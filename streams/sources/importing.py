"""`labelwatch import`: tables through a mapping to events in order of time, and a report of what became of each row."""

import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from streams.sources.consensus import Consensus
from streams.sources.errors import SourceError
from streams.sources.mapping.compiled import CompiledMapping, Fields
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.model import RowMapping
from streams.sources.ordering import EventSorter
from streams.sources.presence import EstimatedPresence
from streams.sources.tables.reading import open_table
from streams.sources.tables.table import BadRow, SourceTable, TableReading

#: As the worker's rule: an event that is later than now by more is turned away.
_FUTURE_MS = 300_000
#: Mapped events that are kept to be shown, rows that are named, distinct labels by which it is seen that none is gold.
_SHOWN, _NAMED, _VALUES = 10, 20, 200
_PROGRESS_ROWS = 5_000

_encode = msgspec.json.encode


class NamedRow(msgspec.Struct, frozen=True):
    """A row that could not be used: where it is, and why."""

    place: str
    detail: str


@dataclass(slots=True)
class ImportReport:
    """What became of the rows.

    Attributes:
        rows: Read.
        bad: Rows that could not be used, by a few words of why.
        named: The first of them.
        passed: Rows that the mapping makes nothing of.
        events: By type.
        shown: The first mapped events.
        first_ms: Earliest event time.
        last_ms: Latest.
        sites: Events by site.
        judged: Reviews made by comparing label and gold, and how many were equal.
        labels: Distinct labels that were compared, not all.
        golds: Distinct gold values that they were compared with, not all.
        unjudged: Rows with gold and no label.
        days_only: Times without a time of day.
        twice: Times in an hour that the clocks showed twice.
        made_times: The rows had no times: they were made.
        notes: What was found or guessed about the files.
        timed: Labels with a duration.
        consensus: By which labels are judged; None: they are not, by each other.
        presence: By which presence is estimated; None: it is not.
    """

    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    named: list[NamedRow] = field(default_factory=list)
    passed: int = 0
    events: Counter[str] = field(default_factory=Counter)
    shown: list[Fields] = field(default_factory=list)
    first_ms: int | None = None
    last_ms: int | None = None
    sites: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    equal: int = 0
    labels: set[str] = field(default_factory=set)
    golds: set[str] = field(default_factory=set)
    unjudged: int = 0
    days_only: int = 0
    twice: int = 0
    made_times: bool = False
    notes: list[str] = field(default_factory=list)
    timed: int = 0
    consensus: Consensus | None = None
    presence: EstimatedPresence | None = None
    _of_labels: "array[int]" = field(default_factory=lambda: array("q"))
    _of_golds: "array[int]" = field(default_factory=lambda: array("q"))
    _of_reviews: "array[int]" = field(default_factory=lambda: array("q"))

    @property
    def has_states(self) -> bool:
        """Whether there are states, on which utilization rests."""
        return self.events["state_changed"] > 0

    @property
    def bad_rows(self) -> int:
        """Rows that could not be used."""
        return self.bad.total()

    def labels_with_gold(self) -> int:
        """Labels of a piece of work that a gold review is about, too."""
        return _found_in(self._of_labels, self._of_golds)

    def labels_with_review(self) -> int:
        """Labels of a piece of work that any other review is about, too."""
        return _found_in(self._of_labels, self._of_reviews)

    def repeated_labels(self) -> int:
        """Labels of a person on a task that the same person had labeled before."""
        return len(self._of_labels) - len(np.unique(np.frombuffer(self._of_labels, np.int64))) if self._of_labels else 0

    def reject(self, place: str, reason: str, detail: str) -> None:
        """Counts a row that cannot be used."""
        self.bad[reason] += 1
        if len(self.named) < _NAMED:
            self.named.append(NamedRow(place, detail))

    def count(self, event: Fields) -> None:
        """Counts an event of a row that can be used."""
        at_ms, kind, site = event["at"], event["type"], event["site_id"]
        self.events[kind] += 1
        self.sites[site] += 1
        if self.last_ms is None or at_ms > self.last_ms:
            self.last_ms = at_ms
        if self.first_ms is None or at_ms < self.first_ms:
            self.first_ms = at_ms
        if len(self.shown) < _SHOWN:
            self.shown.append(event)
        if kind == "label_submitted":
            self._of_labels.append(_work(event))
            self.timed += "handle_ms" in event
        elif kind == "label_reviewed":
            (self._of_golds if event.get("source") == "gold" else self._of_reviews).append(_work(event))
            if "expected" in event and "label" in event:
                self.judged += 1
                self.equal += event["correct"]
                if len(self.labels) < _VALUES:
                    self.labels.add(event["label"])
                if len(self.golds) < _VALUES:
                    self.golds.add(event["expected"])


def _found_in(labels: "array[int]", reviews: "array[int]") -> int:
    if not labels or not reviews:
        return 0
    return int(np.isin(np.frombuffer(labels, np.int64), np.frombuffer(reviews, np.int64)).sum())


def _work(event: Fields) -> int:
    return hash((event["site_id"], event["agent_id"], event["project_id"], event["task_id"]))


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a person asks for.

    Attributes:
        files: Tables, `-` is standard input.
        mapping: What rows become, given what a file is: `csv`, `json`, `jsonl`, `label-studio`.
        reading: How the files are read, where it is stated.
        now_ms: What is dated later by more than 5 minutes is refused; None: by the wall clock.
        consensus: Is given every label; None: labels are not judged by each other.
        presence: Estimates states of the labels' people; None: they are not estimated.
    """

    files: Sequence[Path]
    mapping: Callable[[SourceTable], RowMapping]
    reading: TableReading = field(default_factory=TableReading)
    now_ms: int | None = None
    consensus: Consensus | None = None
    presence: EstimatedPresence | None = None


def read_rows(
    options: ImportOptions, sorter: EventSorter | None = None, progress: Callable[[int, int, int], None] | None = None
) -> ImportReport:
    """Reads every row, and gives its events to a sorter.

    Args:
        options: What to read.
        sorter: Takes the events; None: they are counted alone.
        progress: Called with rows so far, and bytes read and in all of the file that is being read.

    Raises:
        MappingError: The mapping does not fit the data, or the data asks for something that it must state.
        SourceError: A file is not what it seems.
    """
    if [str(each) for each in options.files].count("-") > 1:
        raise SourceError("standard input (-) can be read once; give it once")
    report, consensus = ImportReport(presence=options.presence), options.consensus
    latest_ms = (int(time.time() * 1000) if options.now_ms is None else options.now_ms) + _FUTURE_MS
    for number, path in enumerate(options.files):
        with open_table(path, options.reading) as table:
            mapping = options.mapping(table)
            if consensus is not None and any(each.type == "label_reviewed" for each in mapping.events):
                raise MappingError("consensus is for files without reviews, and the mapping makes some; leave out one")
            if options.presence is not None:
                _check_presence(mapping)
            _read_file(table, mapping, latest_ms, number, report, sorter, progress, consensus)
    if options.presence is not None and report.events["label_submitted"] and not report.timed:
        raise MappingError(
            "presence cannot be estimated: no label has a duration, so time at work is unknown; map handle_ms, or "
            "leave out --presence-gap-minutes"
        )
    if consensus is not None:
        consensus.close()
        report.consensus = consensus
    return report


def _check_presence(mapping: RowMapping) -> None:
    """Refuses to estimate what is known, or what was made.

    Raises:
        MappingError: So it is.
    """
    if any(each.type == "state_changed" for each in mapping.events):
        raise MappingError("presence is estimated for files without states, and the mapping makes some; leave out one")
    if mapping.made_from is not None:
        raise MappingError(
            "presence cannot be estimated of times that --times-from makes: they have no gaps; leave out "
            "--presence-gap-minutes"
        )


def _read_file(
    table: SourceTable,
    mapping: RowMapping,
    latest_ms: int,
    number: int,
    report: ImportReport,
    sorter: EventSorter | None,
    progress: Callable[[int, int, int], None] | None,
    consensus: Consensus | None,
) -> None:
    columns = _columns_to_read(table, mapping)
    compiled = CompiledMapping(mapping, columns, table.name)
    before = report.rows
    for place, cells in table.rows(columns):
        report.rows += 1
        if progress is not None and report.rows % _PROGRESS_ROWS == 0:
            progress(report.rows, table.progress(), table.size)
        if type(cells) is BadRow:
            report.reject(f"{table.name} {table.place} {place}", *cells)
            continue
        try:
            events = compiled(cells)
            if not events:
                report.passed += 1
                continue
            for event in events:
                if event["at"] > latest_ms:
                    raise CellError("future", f"its time is after now ({event['at']}); check zone and format")
            contents = [_encode(event) for event in events]
        except UnicodeEncodeError:
            detail = "has half of a character (a surrogate without its other), which no text has; export it again"
            report.reject(f"{table.name} {table.place} {place}", "text", detail)
            continue
        except CellError as error:
            report.reject(f"{table.name} {table.place} {place}", error.reason, str(error))
            continue
        except MappingError as error:
            raise MappingError(f"{table.name} {table.place} {place}: {error}") from error
        for event, content in zip(events, contents, strict=True):
            report.count(event)
            if consensus is not None:
                consensus.take(event)
            if sorter is not None:
                sorter.add(event["at"], event["site_id"], content, number, "event_id" in event)
    if report.rows == before:
        raise SourceError(f"{table.name}: has a header and no rows; nothing was imported")
    report.notes += table.notes
    report.unjudged += compiled.unjudged
    report.days_only += compiled.days_only
    report.twice += compiled.twice
    report.made_times |= mapping.made_from is not None


def _columns_to_read(table: SourceTable, mapping: RowMapping) -> Sequence[str]:
    """The mapping's columns; all that the file has where it lacks one that is needed, for the error to name them.

    Of JSON an object may lack what another has. A line of CSV is read whole.
    """
    if table.kind in ("excel", "parquet"):
        return mapping.columns() if set(mapping.columns()) <= set(table.columns) else table.columns
    if table.kind not in ("json", "jsonl"):
        return table.columns

    def is_there(column: str) -> bool:
        return any(
            each == column or each.startswith(f"{column}/") or column.startswith(f"/{each.removeprefix('/')}/")
            for each in table.columns
        )

    absent = [column for column in mapping.columns() if not is_there(column)]
    if set(absent) & set(mapping.needed_columns()):
        return table.columns
    table.notes += [f"{table.name}: none of the first objects has {column!r}; check its name" for column in absent]
    return mapping.columns()
