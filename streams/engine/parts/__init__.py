"""The parts of the engine: each counts a batch's columns in its own tables and reports its own figures."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from detectors.arrays import Ints
from schemas.policy import Policy
from streams.engine.batch import EventBatch
from streams.engine.figures import Figures
from streams.engine.intake import CAP_MS, Intake
from streams.engine.panes import Key, Table

T = TypeVar("T")
#: The most people of a partition, in each table, who have figures of their own: about 700 MB when all are busy all
#: week. People who come later count for their site alone. Rows are durable, so that a restart changes nothing.
PEOPLE_MAX = 125_000
#: Adds what was read under the engine's lock to the figures; called without the lock.
Report = Callable[[Figures], None]


class Part(Protocol):
    """What the engine needs of a part. Parts do not know each other; a `View` reads the tables of several."""

    @property
    def tables(self) -> Sequence[Table]:
        """Its tables; the engine clears their panes, and writes and restores their slots."""

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Takes a batch, after the rings were moved to its newest time. Must not raise for any event."""

    def restored(self) -> None:
        """Called when its tables have been restored."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Copies what its figures at a time need. Called under the engine's lock, so it must be short."""


class View(Protocol):
    """Makes figures from the tables of several parts; changes none of them."""

    @property
    def reads(self) -> Sequence[Part]:
        """The parts whose tables it reads."""


class Numbers(Generic[T]):
    """A number (a row, a flag) for each thing that the intake has numbered; looked up once for each thing.

    Args:
        number: Gives the number of a thing; for a row, it makes the row where there is none.
    """

    def __init__(self, number: Callable[[T], int]) -> None:
        self._number = number
        self._known = np.zeros(0, np.int64)
        self._interned: Sequence[T] = ()
        #: Whether some things have none: a number of -1.
        self.incomplete = False

    def sync(self, interned: Sequence[T]) -> None:
        """Numbers new things. Called for every batch, so that it does not matter how the log is cut."""
        if interned is not self._interned:  # the intake has begun a new list
            self._interned, self._known = interned, np.zeros(0, np.int64)
        if len(self._known) < len(interned):
            new = [self._number(thing) for thing in interned[len(self._known) :]]
            self._known = np.concatenate((self._known, np.array(new, np.int64)))
            self.incomplete = self.incomplete or min(new) < 0

    def of(self, ids: Ints) -> Ints:
        """Numbers of things, given the intake's numbers of them."""
        return self._known.take(ids)


def rows_of(table: Table, key_of: Callable[[T], Key | None]) -> Numbers[T]:
    """Rows of a table for the intake's things; -1 for those without a key."""

    def row(thing: T) -> int:
        key = key_of(thing)
        return -1 if key is None else table.row(key, key[0])

    return Numbers(row)


def rows_of_people(table: Table) -> Numbers[Key]:
    """Rows of a table for people; -1 for those beyond `PEOPLE_MAX`."""

    def row(person: Key) -> int:
        return table.row(person, person[0]) if has_room(table, person) else -1

    return Numbers(row)


def has_room(table: Table, person: Key) -> bool:
    """Whether a person has a row, or can still get one."""
    return len(table.index) < PEOPLE_MAX or person in table.index


def handled_columns(handle_ms: Ints, weights: Ints | None = None) -> dict[str, Ints]:
    """What labels add to a table: their number, how many have a handling time, and the capped handling time."""
    ones = np.ones(len(handle_ms), np.int64) if weights is None else weights
    given = (handle_ms >= 0).astype(np.int64)
    return {
        "labels": ones,
        "handled": ones * given,
        "handle_ms": ones * np.clip(handle_ms, 0, CAP_MS),
    }


def histogram(bounds: Sequence[float]) -> tuple[str, ...]:
    """Names of the totals that hold a histogram: its buckets, +Inf last, and its sum in ms."""
    return (*(f"b{i}" for i in range(len(bounds) + 1)), "sum_ms")


def observe(table: Table, rows: Ints, values_ms: Ints, bounds_seconds: Sequence[float]) -> None:
    """Adds observations to histograms by row; a value equal to a bound is in the bucket of that bound."""
    buckets = np.searchsorted(np.array(bounds_seconds) * 1000, values_ms, side="left")
    for bucket in np.unique(buckets).tolist():
        chosen = rows[buckets == bucket]
        table.add_totals(chosen, {f"b{bucket}": np.ones(len(chosen), np.int64)})
    table.add_totals(rows, {"sum_ms": values_ms})


def read_histogram(table: Table, name: str, bounds: Sequence[float]) -> Report:
    """Copies the committed histograms of a table."""
    labels, rows = table.labels(), table.known_rows()
    counts = np.stack([table.committed_total(column)[rows] for column in histogram(bounds)])

    def report(figures: Figures) -> None:
        series = figures.histograms.setdefault(name, [])
        for row, column in zip(rows.tolist(), counts.T.tolist(), strict=True):
            series.append((labels[row], column[:-1], column[-1] / 1000))

    return report


def read_totals(table: Table, names: dict[str, str]) -> Report:
    """Copies committed totals; `names`: column to metric name."""
    labels, rows = table.labels(), table.known_rows()
    columns = [(metric, table.committed_total(column)[rows]) for column, metric in names.items()]

    def report(figures: Figures) -> None:
        for metric, values in columns:
            figures.add_column(metric, labels, rows, values)

    return report


def read_windows(table: Table, at_ms: int, windows: Sequence[str], names: dict[str, str]) -> Report:
    """Copies window sums, which are reported where above 0; `names`: column to metric name."""
    columns = [
        (metric, table.labels((window,)), table.window_sum(column, window, at_ms))
        for column, metric in names.items()
        for window in windows
    ]

    def report(figures: Figures) -> None:
        for metric, labels, sums in columns:
            rows = np.flatnonzero(sums > 0)
            figures.add_column(metric, labels, rows, sums[rows])

    return report


class Grouped(NamedTuple):
    """The rows of a table by a part of their keys, at one time.

    Attributes:
        rows: The rows in use.
        of_row: The group of each row.
        labels: By group its part of the keys; always the same list, which only grows.
    """

    rows: Ints
    of_row: Ints
    labels: list[Key]

    def sums(self, values: Ints) -> Ints:
        """Sums by group of values given by row of the table."""
        sums = np.bincount(self.of_row, weights=values[self.rows], minlength=len(self.labels))
        whole: Ints = sums.astype(np.int64)
        return whole


class Grouping:
    """Groups a table's rows by a part of their keys; groups anew only when there are new rows, since none is removed.

    Args:
        table: The table.
        part: Gives the part of a key.
    """

    def __init__(self, table: Table, part: Callable[[Key], Key]) -> None:
        self._table = table
        self._part = part
        self._numbers: dict[Key, int] = {}
        self._grouped = Grouped(np.zeros(0, np.int64), np.zeros(0, np.int64), [])

    def now(self) -> Grouped:
        """The present rows, grouped; call it under the engine's lock."""
        rows = self._table.known_rows()
        if len(rows) != len(self._grouped.rows):
            numbers, part = self._numbers, self._part
            of_row = [numbers.setdefault(part(key), len(numbers)) for key in self._table.index]
            labels = self._grouped.labels
            labels.extend(islice(numbers, len(labels), None))
            self._grouped = Grouped(rows, np.array(of_row, np.int64), labels)
        return self._grouped
