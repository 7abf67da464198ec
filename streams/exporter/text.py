"""Metric families as Prometheus text 0.0.4, byte for byte as prometheus_client writes them, in a fraction of its time.

A family here is a prometheus_client family for anyone who asks for `samples`, so `generate_latest`
can render it, in tests and elsewhere; the pages ask for `pieces` and never build a sample.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress, islice
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as ClientFamily
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from schemas.metrics import Kind, Metric
from streams.engine.figures import LabelValues, SeriesColumn
from streams.engine.figures import Sample as Row

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABEL_LENGTH_MAX = 128

#: Lines between two pauses: about a millisecond.
PIECE_LINES = 2_000
#: A real sleep, since a mere yield often gets the interpreter back before the event loop wakes.
_PAUSE_SECONDS = 50e-6
_PIECE_BYTES = 200_000
#: From here on Go, and so Prometheus, writes an exponent where Python does not yet.
_EXPONENT_FROM = 1e6
#: Most counts are small, and to look one up takes a fifth of the time that writing it takes.
_SMALL_BELOW = 10_000
_SMALL = [f"{count}.0" for count in range(_SMALL_BELOW)]
#: prometheus_client gives this one no types.
_go_float: Callable[[float], str] = floatToGoString


def label_value(text: str) -> str:
    """A value as a page may have it: at most 128 characters, and encodable whatever it holds."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text[:LABEL_LENGTH_MAX]


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _numbers(values: Iterable[float]) -> list[str]:
    return [
        _SMALL[value]
        if type(value) is int and 0 <= value < _SMALL_BELOW
        else repr(number)
        if 0 <= (number := float(value)) < _EXPONENT_FROM
        else _go_float(number)
        for value in values
    ]


def _column_numbers(values: NDArray[Any]) -> list[str]:
    if not len(values):
        return []
    if values.dtype.kind == "f" and values.min() >= 0 and values.max() < _EXPONENT_FROM:
        return list(map(repr, values.tolist()))
    if values.dtype.kind == "i" and values.min() >= 0 and values.max() < _SMALL_BELOW:
        return [_SMALL[value] for value in values.tolist()]
    return _numbers(values.tolist())


class LabelText:
    """`name="value",...` in prometheus_client's order, remembered by label values.

    Escaping and naming cost more than the rest of a line, and series come back scrape after scrape.

    Args:
        names: Label names in the order of the values.
        rename: Turns the engine's label values into the ones to show.
    """

    def __init__(self, names: Sequence[str], rename: Callable[[LabelValues], LabelValues] | None = None) -> None:
        self.names = tuple(names)
        self._columns = sorted((name, i) for i, name in enumerate(names))
        self._rename = rename
        self._texts: dict[LabelValues, str] = {}
        #: By list of a table's labels (its id): that list, and its rows' texts where there are some.
        self._of_tables: dict[int, tuple[list[LabelValues], list[str | None]]] = {}
        self._tables_used: set[int] = set()

    def shown(self, values: LabelValues) -> LabelValues:
        """The values as they go out, not escaped."""
        return tuple(map(label_value, self._rename(values) if self._rename else values))

    def __call__(self, values: LabelValues) -> str:
        """The values as they go out, as text."""
        text = self._texts.get(values)
        if text is None:
            text = self._texts[values] = self._made(values)
        return text

    def _made(self, values: LabelValues) -> str:
        shown = self.shown(values)
        return ",".join([f'{name}="{_escape(shown[i])}"' for name, i in self._columns])

    def piece(self, rows: Sequence[LabelValues]) -> list[str]:
        """The texts of some rows: a call for each only where one is new."""
        texts = self._texts
        try:
            return [texts[values] for values in rows]
        except KeyError:
            return [self(values) for values in rows]

    def column(self, column: SeriesColumn) -> list[str]:
        """The texts of a column's rows: found by row, which takes a fifth of the time that label values take."""
        labels = column.labels
        self._tables_used.add(id(labels))
        _, known = self._of_tables.setdefault(id(labels), (labels, []))
        known.extend([None] * (len(labels) - len(known)))
        rows = column.rows.tolist()
        texts = [known[row] for row in rows]
        if None in texts:
            for row in rows:
                known[row] = known[row] or self._made(labels[row])
            texts = [known[row] for row in rows]
        return cast(list[str], texts)

    def all(self, rows: Sequence[LabelValues]) -> list[str]:
        """The texts of many rows, with pauses."""
        texts: list[str] = []
        for start in range(0, len(rows), PIECE_LINES):
            texts.extend(self.piece(rows[start : start + PIECE_LINES]))
            time.sleep(_PAUSE_SECONDS)
        return texts

    def trim(self, used: int) -> None:
        """Forgets all once most of it belongs to series that are gone, and tables that nobody has asked for since."""
        if len(self._texts) > 2 * used + PIECE_LINES:
            self._texts.clear()
        for gone in self._of_tables.keys() - self._tables_used:
            del self._of_tables[gone]
        self._tables_used.clear()

    def sample(self, name: str, values: LabelValues, value: float) -> Sample:
        """One row as prometheus_client knows it."""
        return Sample(name, dict(zip(self.names, self.shown(values), strict=True)), value)


@dataclass(slots=True)
class MetricFamily(ABC):
    """One metric of the catalogue and its series.

    Attributes:
        metric: From the catalogue.
        label_text: Renders the label values.
    """

    metric: Metric
    label_text: LabelText

    #: Part of prometheus_client's interface; the text format does not know it.
    unit = ""

    @property
    def name(self) -> str:
        """The name as prometheus_client knows it: a counter's without `_total`."""
        return self.metric.name.removesuffix("_total") if self.metric.kind is Kind.COUNTER else self.metric.name

    @property
    def type(self) -> str:
        """Prometheus type."""
        return self.metric.kind.value

    @property
    def documentation(self) -> str:
        """The HELP text."""
        return self.metric.help

    @property
    @abstractmethod
    def samples(self) -> list[Sample]:
        """The series as prometheus_client samples, in the order of the lines."""

    @abstractmethod
    def _body(self) -> Iterator[str]:
        """The lines, about PIECE_LINES at a time."""

    def pieces(self) -> Iterator[str]:
        """The text, about PIECE_LINES lines at a time."""
        text = self.metric.help.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {self.metric.name} {text}\n# TYPE {self.metric.name} {self.metric.kind.value}\n"
        yield from self._body()


@dataclass(slots=True)
class RowFamily(MetricFamily):
    """A counter or a gauge.

    Attributes:
        rows: Label values in catalogue order, and value.
        columns: Series that have a place in a table.
    """

    rows: Sequence[Row]
    columns: Sequence[SeriesColumn] = ()

    def __len__(self) -> int:
        """Series."""
        return len(self.rows) + sum(len(column.rows) for column in self.columns)

    @property
    def samples(self) -> list[Sample]:
        """See MetricFamily."""
        rows = [*self.rows, *(row for column in self.columns for row in column.samples())]
        return [self.label_text.sample(self.metric.name, labels, value) for labels, value in rows]

    def _body(self) -> Iterator[str]:
        head = f"{self.metric.name}{{"
        if not self.metric.labels:
            yield "".join(f"{self.metric.name} {number}\n" for number in _numbers(value for _, value in self.rows))
            return
        for start in range(0, len(self.rows), PIECE_LINES):
            piece = self.rows[start : start + PIECE_LINES]
            texts = self.label_text.piece([labels for labels, _ in piece])
            numbers = _numbers([value for _, value in piece])
            yield "".join([f"{head}{text}}} {number}\n" for text, number in zip(texts, numbers, strict=True)])
        for column in self.columns:
            for start in range(0, len(column.rows), PIECE_LINES):
                part = slice(start, start + PIECE_LINES)
                few = SeriesColumn(column.labels, column.rows[part], column.values[part])
                found = zip(self.label_text.column(few), _column_numbers(few.values), strict=True)
                yield "".join([f"{head}{text}}} {number}\n" for text, number in found])


@dataclass(slots=True)
class HistogramFamily(MetricFamily):
    """A histogram; every one of the catalogue has labels.

    Attributes:
        heads: What is before the values of a histogram's lines, by label values; kept from page to page.
        rows: Label values to (counts by bucket, not cumulative, +Inf last; sum).
    """

    rows: dict[LabelValues, tuple[list[int], float]]
    heads: dict[LabelValues, list[str]] = field(default_factory=dict)

    def _bounds(self) -> list[str]:
        return [_go_float(bound) for bound in (*self.metric.buckets, math.inf)]

    @property
    def samples(self) -> list[Sample]:
        """See MetricFamily."""
        samples, name, text = [], self.metric.name, self.label_text
        buckets = LabelText((*self.metric.labels, "le"))
        for labels, (counts, total) in self.rows.items():
            cumulative = list(accumulate(counts))
            for bound, count in zip(self._bounds(), cumulative, strict=True):
                samples.append(buckets.sample(f"{name}_bucket", (*labels, bound), count))
            samples.append(text.sample(f"{name}_count", labels, cumulative[-1]))
            samples.append(text.sample(f"{name}_sum", labels, total))
        return samples

    def _body(self) -> Iterator[str]:
        if len(self.heads) > 2 * len(self.rows):
            self.heads.clear()
        histograms = iter(self.rows.items())
        while piece := list(islice(histograms, PIECE_LINES // (len(self.metric.buckets) + 3))):
            lines: list[str] = []
            for labels, (counts, total) in piece:
                heads = self.heads.get(labels)
                if heads is None:
                    heads = self.heads[labels] = self._heads(labels)
                cumulative = list(accumulate(counts))
                numbers = _numbers([*cumulative, cumulative[-1], total])
                lines += [f"{head}{number}\n" for head, number in zip(heads, numbers, strict=True)]
            yield "".join(lines)

    def _heads(self, labels: LabelValues) -> list[str]:
        name, buckets = self.metric.name, LabelText((*self.metric.labels, "le"))
        heads = [f"{name}_bucket{{{buckets((*labels, bound))}}} " for bound in self._bounds()]
        whole = self.label_text(labels)
        return [*heads, f"{name}_count{{{whole}}} ", f"{name}_sum{{{whole}}} "]


@dataclass(slots=True)
class Block:
    """People's values of one metric and window.

    Attributes:
        labels: Label values by row, without the window, as the engine knows them.
        texts: The same as they go out.
        values: By row, NaN where absent.
        window: The last label.
    """

    labels: Sequence[LabelValues]
    texts: Sequence[str]
    values: NDArray[np.float64]
    window: str


@dataclass(slots=True)
class PeopleFamily(MetricFamily):
    """A gauge by person and window, in columns.

    `window` is the last label by name as well, so a line is the person's remembered text and a fixed tail.

    Attributes:
        blocks: The columns.
    """

    blocks: list[Block]

    @property
    def samples(self) -> list[Sample]:
        """See MetricFamily."""
        samples = []
        for block in self.blocks:
            for labels, value in zip(block.labels, block.values.tolist(), strict=True):
                if not math.isnan(value):
                    person = self.label_text.sample(self.metric.name, labels, value)
                    samples.append(person._replace(labels=person.labels | {"window": block.window}))
        return samples

    def _body(self) -> Iterator[str]:
        head = f"{self.metric.name}{{"
        for block in self.blocks:
            tail = f',window="{_escape(block.window)}"}} '
            for start in range(0, len(block.texts), PIECE_LINES):
                texts: Iterable[str] = block.texts[start : start + PIECE_LINES]
                values = block.values[start : start + PIECE_LINES]
                present = ~np.isnan(values)
                if not present.all():
                    texts, values = compress(texts, present.tolist()), values[present]
                found = zip(texts, _column_numbers(values), strict=True)
                yield "".join([f"{head}{text}{tail}{number}\n" for text, number in found])


def render(families: Iterable[ClientFamily | MetricFamily]) -> list[bytes]:
    """Renders families in pieces, with a pause after each so that the event loop gets its turn.

    Args:
        families: Ours, or prometheus_client's own.

    Returns:
        The page in pieces.
    """
    page: list[bytes] = []
    size = 0
    for family in families:
        if not isinstance(family, MetricFamily):
            page.append(_client_text(family))
            continue
        for piece in family.pieces():
            page.append(piece.encode())
            size += len(page[-1])
            if size >= _PIECE_BYTES:
                time.sleep(_PAUSE_SECONDS)
                size = 0
    return page


class _One:
    """A collector of one family."""

    def __init__(self, family: ClientFamily) -> None:
        self._family = family

    def collect(self) -> Iterable[ClientFamily]:
        return (self._family,)


def _client_text(family: ClientFamily) -> bytes:
    registry = CollectorRegistry()
    registry.register(_One(family))
    return generate_latest(registry)
