"""The engine's figures at a time t: plain values under catalogue names, for the exporter and `labelwatch compute`."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.metrics import METRICS

LabelValues = tuple[str, ...]
Sample = tuple[LabelValues, float | int]


class SeriesColumn(NamedTuple):
    """Series of one metric as a column of a table: most series of a page are such, without a Python object for each.

    Attributes:
        labels: Label values by row of the table. Always the same list, which only grows, so that what is rendered of a
            row can be kept; a row that is not in use yet has an empty tuple.
        rows: The rows that have a series.
        values: Their values.
    """

    labels: list[LabelValues]
    rows: NDArray[np.int64]
    values: NDArray[Any]

    def samples(self) -> list[Sample]:
        """The series one by one."""
        labels = self.labels
        return [(labels[row], value) for row, value in zip(self.rows.tolist(), self.values.tolist(), strict=True)]


@dataclass(slots=True)
class Figures:
    """Site and pipeline figures of one partition.

    A series is in `rows` or in `columns`, once.

    Attributes:
        rows: Metric name to (label values in catalogue order, value).
        columns: Metric name to series that are rows of a table.
        histograms: Metric name to (label values, counts by bucket with +Inf last, sum in the metric's unit).
            Counts are not cumulative.
    """

    rows: dict[str, list[Sample]] = field(default_factory=dict)
    columns: dict[str, list[SeriesColumn]] = field(default_factory=dict)
    histograms: dict[str, list[tuple[LabelValues, list[int], float]]] = field(default_factory=dict)

    def add(self, name: str, labels: LabelValues, value: float | int) -> None:
        """Adds one series."""
        self.rows.setdefault(name, []).append((labels, value))

    def extend(self, name: str, rows: Iterable[Sample]) -> None:
        """Adds series of one metric."""
        self.rows.setdefault(name, []).extend(rows)

    def add_column(self, name: str, labels: list[LabelValues], rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Adds a column of a table."""
        self.columns.setdefault(name, []).append(SeriesColumn(labels, rows, values))

    @property
    def samples(self) -> dict[str, list[Sample]]:
        """Every series but the histograms', one by one: metric name to (label values in catalogue order, value)."""
        all_rows = {name: list(rows) for name, rows in self.rows.items()}
        for name, columns in self.columns.items():
            for column in columns:
                all_rows.setdefault(name, []).extend(column.samples())
        return all_rows


@dataclass(slots=True)
class PeopleGroup:
    """People's figures in columns: a row a person, NaN where a figure is absent.

    Attributes:
        labels: (site, agent, role), or (site, agent) for reviewers; ids are real ones, not yet pseudonyms.
        columns: (metric name, window) to values by row.
        priority: By row; where the number of series is capped, the rows with the highest are shown.
    """

    labels: list[LabelValues]
    columns: dict[tuple[str, str], NDArray[np.float64]]
    priority: NDArray[np.float64]


@dataclass(slots=True)
class PeopleFigures:
    """Figures of the people of one partition."""

    groups: list[PeopleGroup] = field(default_factory=list)


def without_sites(figures: Figures, removed: Collection[str]) -> Figures:
    """Figures without series of the removed sites. Sums over sites must leave these out where they are made."""
    left = Figures()
    for name in {**figures.rows, **figures.columns, **figures.histograms}:
        names = METRICS[name].labels
        at = names.index("site") if "site" in names else None
        for labels, value in figures.rows.get(name, ()):
            if at is None or labels[at] not in removed:
                left.add(name, labels, value)
        for column in figures.columns.get(name, ()):
            of_rows = (column.labels[row] for row in column.rows.tolist())
            kept = np.fromiter((at is None or labels[at] not in removed for labels in of_rows), bool)
            left.add_column(name, column.labels, column.rows[kept], column.values[kept])
        histograms = [each for each in figures.histograms.get(name, ()) if at is None or each[0][at] not in removed]
        if histograms:
            left.histograms[name] = histograms
    return left


def without_people(group: PeopleGroup, removed: Collection[str]) -> PeopleGroup:
    """A group of people without those of the removed sites."""
    kept = np.fromiter((labels[0] not in removed for labels in group.labels), bool, len(group.labels))
    return PeopleGroup(
        [labels for labels, is_kept in zip(group.labels, kept.tolist(), strict=True) if is_kept],
        {key: values[kept] for key, values in group.columns.items()},
        group.priority[kept],
    )
