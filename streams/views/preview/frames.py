"""Tables of columns, the shape in which a panel's answers pass through transformations to its picture."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

ColumnKind = Literal["time", "number", "string"]
Value = float | str | None
_LEGEND = re.compile(r"\{\{\s*(.+?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """A column, in Grafana a field.

    Attributes:
        name: Its own name.
        kind: Times are epoch milliseconds.
        values: One a row; None where there is none.
        labels: Of the series that it came from.
        legend: The series' name by the query's legend; empty for none.
        query: The refId of its query.
    """

    name: str
    kind: ColumnKind
    values: tuple[Value, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    legend: str = ""
    query: str = ""

    @property
    def title(self) -> str:
        """The name by which matchers, transformations and viewers know it."""
        return self.legend or self.name

    def numbers(self) -> list[float]:
        """Its values as numbers; NaN where there is none."""
        return [float(value) if isinstance(value, (int, float)) else math.nan for value in self.values]

    def rows(self, order: Iterable[int]) -> "FrameColumn":
        """The same column with these rows, in this order."""
        return replace(self, values=tuple(self.values[row] for row in order))


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns of one length."""

    columns: tuple[FrameColumn, ...]

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values) if self.columns else 0

    def column(self, title: str) -> FrameColumn | None:
        """A column by its title."""
        return next((column for column in self.columns if column.title == title), None)

    def times(self) -> FrameColumn | None:
        """The first column of times."""
        return next((column for column in self.columns if column.kind == "time"), None)

    def rows(self, order: Sequence[int]) -> "Frame":
        """The same columns with these rows, in this order."""
        return Frame(tuple(column.rows(order) for column in self.columns))


def legend_of(form: str, metric: Mapping[str, str], query: str) -> str:
    """A series' name: `{{label}}` put in; without a form its labels, or the query where it has none."""
    if form and form != "__auto":
        return _LEGEND.sub(lambda match: metric.get(match[1], ""), form)
    labels = {key: value for key, value in metric.items() if key != "__name__"}
    if not labels:
        return metric.get("__name__", "") or query
    inner = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{metric.get('__name__', '')}{{{inner}}}"


def series_frames(answer: Iterable[Mapping[str, Any]], ref: str, form: str, query: str) -> list[Frame]:
    """A frame a series, with times and values."""
    frames = []
    for series in answer:
        points = series["values"] if "values" in series else [series["value"]]
        labels = {key: value for key, value in series["metric"].items() if key != "__name__"}
        times = FrameColumn("Time", "time", tuple(float(at) * 1000 for at, _ in points), query=ref)
        values = tuple(float(value) for _, value in points)
        legend = legend_of(form, series["metric"], query)
        frames.append(Frame((times, FrameColumn("Value", "number", values, labels, legend, ref))))
    return frames


def table_frame(answer: Sequence[Mapping[str, Any]], ref: str, value_name: str) -> Frame:
    """One frame for a whole query: time, a column a label, and the value."""
    names = sorted({key for series in answer for key in series["metric"]})
    rows = [
        (float(at) * 1000, series["metric"], float(value))
        for series in answer
        for at, value in (series["values"] if "values" in series else [series["value"]])
    ]
    return Frame(
        (
            FrameColumn("Time", "time", tuple(at for at, _, _ in rows), query=ref),
            *(
                FrameColumn(name, "string", tuple(metric.get(name, "") for _, metric, _ in rows), query=ref)
                for name in names
            ),
            FrameColumn(value_name, "number", tuple(value for _, _, value in rows), query=ref),
        )
    )


def buckets(frames: Sequence[Frame]) -> list[Frame]:
    """A histogram's cumulative series as one count a bucket, named by the bucket's upper end, lowest first."""
    found = []
    for frame in frames:
        bound = frame.columns[1].labels.get("le", "")
        try:
            found.append((float(bound), bound, frame))
        except ValueError:
            continue
    before: dict[Value, float] = {}
    out = []
    for _, bound, frame in sorted(found, key=lambda each: each[0]):
        times, counts = frame.columns
        now = dict(zip(times.values, counts.numbers(), strict=True))
        values = tuple(max(count - before.get(at, 0.0), 0.0) for at, count in now.items())
        out.append(Frame((times, replace(counts, values=values, legend=bound))))
        before = now
    return out


def one_frame(frames: Sequence[Frame]) -> Frame:
    """Series side by side over all their times, as a graph or a table shows them."""
    if len(frames) == 1:
        return frames[0]
    timed = [(frame, times) for frame in frames if (times := frame.times()) is not None]
    every = sorted({at for _, times in timed for at in times.values if isinstance(at, float)})
    columns = [FrameColumn("Time", "time", tuple(every))] if timed else []
    for frame, times in timed:
        for column in frame.columns:
            if column is not times:
                known = dict(zip(times.values, column.values, strict=True))
                columns.append(replace(column, values=tuple(known.get(at) for at in every)))
    return Frame(tuple(columns))


REDUCERS: dict[str, Callable[[list[float]], float]] = {
    "lastNotNull": lambda values: values[-1],
    "last": lambda values: values[-1],
    "firstNotNull": lambda values: values[0],
    "first": lambda values: values[0],
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "sum": sum,
    "range": lambda values: max(values) - min(values),
    "diff": lambda values: values[-1] - values[0],
}
#: What a reduced column is called in a table or a legend.
REDUCER_NAMES = {
    "lastNotNull": "Last *", "last": "Last", "firstNotNull": "First *", "first": "First", "mean": "Mean", "min": "Min",
    "max": "Max", "sum": "Total", "range": "Range", "diff": "Difference", "count": "Count",
}  # fmt: skip


def reduced(values: Sequence[Value], reducer: str) -> Value:
    """One value for many; None where there is nothing to reduce."""
    if reducer == "count":
        return float(len(values))
    if reducer in ("last", "lastNotNull", "first", "firstNotNull"):
        present = [value for value in values if value is not None]
        known = [value for value in present if not (isinstance(value, float) and math.isnan(value))] or present
        if reducer in ("last", "first") and present:
            known = present
        return None if not known else known[-1] if reducer.startswith("last") else known[0]
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
    return float(REDUCERS[reducer](numbers)) if numbers else None
