"""Metric families as Prometheus text 0.0.4, byte for byte as prometheus_client writes them, in a fraction of its time.

A family here is a prometheus_client family to whoever asks for `samples`, so `generate_latest`
can render it, in tests and elsewhere; the pages ask for `pieces` and never build a sample.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, islice

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as ClientFamily
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from schemas.metrics import Kind, Metric
from streams.engine.figures import Labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABEL_LENGTH_MAX = 128

#: Lines between two pauses: about a millisecond.
PIECE_LINES = 2_000
#: A real sleep, since a mere yield often gets the interpreter back before the event loop wakes.
_PAUSE_SECONDS = 50e-6
_PIECE_BYTES = 200_000
#: From here on Go, and so Prometheus, writes an exponent where Python does not yet.
_EXPONENT_FROM = 1e6


def label_value(text: str) -> str:
    """A value as it may stand on a page: at most 128 characters, and encodable whatever it holds."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text[:LABEL_LENGTH_MAX]


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _numbers(values: Iterable[float]) -> list[str]:
    return [repr(value) if 0 <= value < _EXPONENT_FROM else floatToGoString(value) for value in map(float, values)]


class LabelText:
    """`name="value",...` in prometheus_client's order, remembered by label values.

    Escaping and naming cost more than the rest of a line, and series come back scrape after scrape.

    Args:
        names: Label names in the order of the values.
        rename: Turns the engine's label values into the ones to show.
    """

    def __init__(self, names: Sequence[str], rename: Callable[[Labels], Labels] | None = None) -> None:
        self.names = tuple(names)
        self._columns = sorted((name, i) for i, name in enumerate(names))
        self._rename = rename
        self._texts: dict[Labels, str] = {}

    def shown(self, values: Labels) -> Labels:
        """The values as they go out, not escaped."""
        return tuple(map(label_value, self._rename(values) if self._rename else values))

    def __call__(self, values: Labels) -> str:
        """The values as they go out, as text."""
        text = self._texts.get(values)
        if text is None:
            shown = self.shown(values)
            text = ",".join(f'{name}="{_escape(shown[i])}"' for name, i in self._columns)
            self._texts[values] = text
        return text

    def piece(self, rows: Sequence[Labels]) -> list[str]:
        """The texts of some rows: a call for each only where one is new."""
        texts = self._texts
        try:
            return [texts[values] for values in rows]
        except KeyError:
            return [self(values) for values in rows]

    def all(self, rows: Sequence[Labels]) -> list[str]:
        """The texts of many rows, with pauses."""
        texts: list[str] = []
        for start in range(0, len(rows), PIECE_LINES):
            texts.extend(self.piece(rows[start : start + PIECE_LINES]))
            time.sleep(_PAUSE_SECONDS)
        return texts

    def trim(self, used: int) -> None:
        """Forgets all once most of it belongs to series that are gone."""
        if len(self._texts) > 2 * used + PIECE_LINES:
            self._texts.clear()

    def sample(self, name: str, values: Labels, value: float) -> Sample:
        """One row as prometheus_client knows it."""
        return Sample(name, dict(zip(self.names, self.shown(values), strict=True)), value)


@dataclass(slots=True)
class Family(ABC):
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
class Rows(Family):
    """A counter or a gauge.

    Attributes:
        rows: Label values in catalogue order to value.
    """

    rows: dict[Labels, float]

    @property
    def samples(self) -> list[Sample]:
        """See Family."""
        return [self.label_text.sample(self.metric.name, labels, value) for labels, value in self.rows.items()]

    def _body(self) -> Iterator[str]:
        name = self.metric.name
        if not self.metric.labels:
            yield "".join(f"{name} {number}\n" for number in _numbers(self.rows.values()))
            return
        rows = iter(self.rows.items())
        while piece := list(islice(rows, PIECE_LINES)):
            texts = self.label_text.piece([labels for labels, _ in piece])
            numbers = _numbers(value for _, value in piece)
            yield "".join([f"{name}{{{text}}} {number}\n" for text, number in zip(texts, numbers, strict=True)])


@dataclass(slots=True)
class Histograms(Family):
    """A histogram; every one of the catalogue has labels.

    Attributes:
        bucket_text: Renders the label values and `le`.
        rows: Label values to (counts by bucket, not cumulative, +Inf last; sum).
    """

    bucket_text: LabelText
    rows: dict[Labels, tuple[list[int], float]]

    def _series(self) -> Iterator[tuple[str, LabelText, Labels, float]]:
        name = self.metric.name
        bounds = [floatToGoString(bound) for bound in (*self.metric.buckets, math.inf)]
        for labels, (counts, total) in self.rows.items():
            cumulative = list(accumulate(counts))
            for bound, count in zip(bounds, cumulative, strict=True):
                yield f"{name}_bucket", self.bucket_text, (*labels, bound), count
            yield f"{name}_count", self.label_text, labels, cumulative[-1]
            yield f"{name}_sum", self.label_text, labels, total

    @property
    def samples(self) -> list[Sample]:
        """See Family."""
        return [text.sample(name, labels, value) for name, text, labels, value in self._series()]

    def _body(self) -> Iterator[str]:
        series = self._series()
        while piece := list(islice(series, PIECE_LINES)):
            numbers = _numbers(value for *_, value in piece)
            yield "".join(
                [
                    f"{name}{{{text(labels)}}} {number}\n"
                    for (name, text, labels, _), number in zip(piece, numbers, strict=True)
                ]
            )


@dataclass(slots=True)
class Block:
    """People's values of one metric and window.

    Attributes:
        labels: Label values by row, without the window, as the engine knows them.
        texts: The same as they go out.
        values: By row, NaN where absent.
        window: The last label.
    """

    labels: Sequence[Labels]
    texts: Sequence[str]
    values: NDArray[np.float64]
    window: str


@dataclass(slots=True)
class People(Family):
    """A gauge by person and window, in columns.

    `window` is the last label by name as well, so a line is the person's remembered text and a fixed tail.

    Attributes:
        blocks: The columns.
    """

    blocks: list[Block]

    @property
    def samples(self) -> list[Sample]:
        """See Family."""
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
                common = not (np.abs(values) >= _EXPONENT_FROM).any()
                numbers = map(repr if common else floatToGoString, values.tolist())
                yield "".join([f"{head}{text}{tail}{number}\n" for text, number in zip(texts, numbers, strict=True)])


def render(families: Iterable[ClientFamily | Family]) -> list[bytes]:
    """Renders families in pieces, with a pause after each so that the event loop gets its turn.

    Args:
        families: Ours, or prometheus_client's own.

    Returns:
        The page in pieces.
    """
    page: list[bytes] = []
    size = 0
    for family in families:
        if not isinstance(family, Family):
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
