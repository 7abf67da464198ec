import math
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as ClientFamily
from prometheus_client.registry import Collector

from schemas.metrics import CATALOGUE, METRICS, Kind, Page
from streams.engine.figures import SeriesColumn
from streams.exporter.text import (
    PIECE_LINES,
    Block,
    HistogramFamily,
    LabelText,
    MetricFamily,
    PeopleFamily,
    RowFamily,
    label_value,
    render,
)
from tests.support.exporter import series
from tests.support.worker import figures_of

AWKWARD = ['"', "\\", "\n", "\\n", '\\"', 'a"b\\c\nd', "质检员", "<b>&amp;</b>", "}", "=", "{,}", " ", "", "#", "é"]

names = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=128))
numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 999_999.0, 999_999.5, 1e6, 1e6 + 0.5, 12_345_678.0, 1e15, 1e16, 1e-7, -1e9]),
    st.integers(-(10**18), 10**18),
)


ThreeLabels = tuple[str, str, str]


class Only(Collector):
    """A collector of given families."""

    def __init__(self, *families: ClientFamily | MetricFamily) -> None:
        self.families: tuple[Any, ...] = families

    def collect(self) -> tuple[Any, ...]:
        return self.families


def by_client(*families: ClientFamily | MetricFamily) -> bytes:
    registry = CollectorRegistry()
    registry.register(Only(*families))
    return generate_latest(registry)


def by_us(*families: MetricFamily) -> bytes:
    return b"".join(render(families))


@given(st.dictionaries(st.tuples(names, names, names, names), numbers, min_size=1, max_size=20))
def test_gauges_are_written_to_the_byte_as_prometheus_client_writes_them(rows: Any) -> None:
    metric = METRICS["labelwatch_target_ratio"]
    client = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows.items():
        client.add_metric(labels, value)
    ours = RowFamily(metric, LabelText(metric.labels), list(rows.items()))
    assert by_us(ours) == by_client(client) == by_client(ours)


@given(st.dictionaries(st.tuples(names, names, names, names), numbers, min_size=1, max_size=20))
def test_tests_read_the_pages_of_workers_as_prometheus_client_does(rows: Any) -> None:
    metric = METRICS["labelwatch_target_ratio"]
    page = by_us(RowFamily(metric, LabelText(metric.labels), list(rows.items()))).decode()
    read = {(name, labels): value for name, found in figures_of(page).items() for labels, value in found.items()}
    # Not a number is equal to nothing.
    assert {key: repr(value) for key, value in read.items()} == {
        key: repr(value) for key, value in series(page).items()
    }


@given(st.dictionaries(st.tuples(names, names, names), numbers, min_size=1, max_size=20))
def test_counters_are_written_to_the_byte_as_prometheus_client_writes_them(rows: Any) -> None:
    metric = METRICS["labelwatch_labels_total"]
    client = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows.items():
        client.add_metric(labels, value)
    ours = RowFamily(metric, LabelText(metric.labels), list(rows.items()))
    assert by_us(ours) == by_client(client) == by_client(ours)
    assert b"_created" not in by_us(ours)


@given(
    st.dictionaries(
        st.tuples(names, names),
        st.tuples(st.lists(st.integers(0, 10**7), min_size=16, max_size=16), st.floats(0, 1e12)),
        min_size=1,
        max_size=5,
    )
)
def test_histograms_are_written_to_the_byte_as_prometheus_client_writes_them(rows: Any) -> None:
    metric = METRICS["labelwatch_handle_seconds"]
    client = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, (counts, total) in rows.items():
        bounds = [*map(str, metric.buckets), "+Inf"]
        client.add_metric(labels, [(bound, sum(counts[: i + 1])) for i, bound in enumerate(bounds)], total)
    ours = HistogramFamily(metric, LabelText(metric.labels), rows)
    assert by_us(ours) == by_client(client) == by_client(ours)


@given(
    st.lists(st.tuples(names, names, st.sampled_from(["agent", "qa"])), min_size=1, max_size=20, unique=True),
    st.data(),
)
def test_people_are_written_to_the_byte_as_prometheus_client_writes_them(
    people: list[ThreeLabels], data: st.DataObject
) -> None:
    metric = METRICS["labelwatch_agent_labels"]
    client = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    text = LabelText(metric.labels[:-1])
    blocks = []
    for window in ("1h", "24h"):
        column = data.draw(st.lists(numbers.map(float), min_size=len(people), max_size=len(people)))
        blocks.append(Block(people, text.all(people), np.array(column), window))
        for person, value in zip(people, column, strict=True):
            if not math.isnan(value):
                client.add_metric((*person, window), value)
    ours = PeopleFamily(metric, text, blocks)
    assert by_us(ours) == by_client(client) == by_client(ours)


@given(
    st.lists(st.tuples(names, names, names), min_size=1, max_size=20, unique=True),
    st.sampled_from([st.integers(0, 9_999), st.integers(-5, 10**9), numbers.map(float)]),
    st.data(),
)
def test_columns_are_written_to_the_byte_as_prometheus_client_writes_them(
    labels: list[ThreeLabels], kind: st.SearchStrategy[float], data: st.DataObject
) -> None:
    metric = METRICS["labelwatch_labels_total"]
    client = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    # Rows come into use one after the other, and not every one has a series each time.
    table: list[tuple[str, ...]] = [()] * (len(labels) + 2)
    text = LabelText(metric.labels)
    for in_use in range(1, len(labels) + 1):
        table[in_use - 1] = labels[in_use - 1]
        rows = data.draw(st.lists(st.sampled_from(range(in_use)), min_size=1, unique=True))
        values = np.array(data.draw(st.lists(kind, min_size=len(rows), max_size=len(rows))))
        client.samples.clear()
        for row, value in zip(rows, values.tolist(), strict=True):
            client.add_metric(labels[row], value)
        ours = RowFamily(metric, text, [], [SeriesColumn(table, np.array(rows), values)])
        assert len(ours) == len(rows)
        assert by_us(ours) == by_client(client) == by_client(ours)


def test_the_seams_between_pieces_do_not_show() -> None:
    count = 2 * PIECE_LINES + 3
    people = [(f"site-{i % 7}", f"a-{i}", "agent") for i in range(count)]
    values = np.where(np.arange(count) % 5 == 0, np.nan, np.arange(count) * 1.5)
    metric = METRICS["labelwatch_agent_labels"]
    text = LabelText(metric.labels[:-1])
    ours = PeopleFamily(metric, text, [Block(people, text.all(people), values, "1h")])
    assert by_us(ours) == by_client(ours)
    assert len(series(by_us(ours))) == np.count_nonzero(~np.isnan(values))

    rows = RowFamily(
        METRICS["labelwatch_policy_scope_missing"], LabelText(("site",)), [((f"s{i}",), i) for i in range(count)]
    )
    assert by_us(rows) == by_client(rows)

    table = SeriesColumn([labels for labels, _ in rows.rows], np.arange(count), np.arange(count))
    assert by_us(RowFamily(rows.metric, LabelText(("site",)), [], [table])) == by_us(rows)


def test_a_metric_without_labels_has_no_braces() -> None:
    metric = METRICS["labelwatch_loop_timestamp_seconds"]
    assert by_us(RowFamily(metric, LabelText(()), [((), 12.5)])).endswith(b"\nlabelwatch_loop_timestamp_seconds 12.5\n")


def test_every_label_value_comes_back_from_prometheus_own_escaping() -> None:
    metric = METRICS["labelwatch_policy_scope_missing"]
    page = by_us(RowFamily(metric, LabelText(metric.labels), [((text,), 1) for text in AWKWARD]))
    assert {dict(labels)["site"] for _, labels in series(page)} == set(AWKWARD)
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def test_label_values_are_capped_and_always_encodable() -> None:
    assert label_value("x" * 500) == "x" * 128
    assert label_value("质" * 500) == "质" * 128
    assert label_value("\ud800") == "?"
    metric = METRICS["labelwatch_policy_scope_missing"]
    ours = RowFamily(metric, LabelText(metric.labels), [(("\ud800" + '"' * 300,), 1)])
    assert by_us(ours) == by_client(ours)
    (_, labels), *_ = series(by_us(ours))
    assert dict(labels)["site"] == "?" + '"' * 127


def counted() -> tuple[Callable[[tuple[str, ...]], tuple[str, ...]], list[tuple[str, ...]]]:
    """A renamer that changes nothing, and what it was asked for."""
    made = []

    def rename(labels: tuple[str, ...]) -> tuple[str, ...]:
        made.append(labels)
        return labels

    return rename, made


def test_texts_of_series_that_are_gone_are_forgotten() -> None:
    rename, made = counted()
    text = LabelText(("site",), rename)
    rows = [(f"s{i}",) for i in range(3 * PIECE_LINES)]
    text.all(rows)
    text.all(rows)
    assert len(made) == len(rows)
    text.trim(used=len(rows))
    text.all(rows)
    assert len(made) == len(rows)
    text.trim(used=1)
    text.all(rows[:1])
    assert len(made) == len(rows) + 1


def test_texts_of_tables_are_kept_while_they_are_asked_for() -> None:
    rename, made = counted()
    text = LabelText(("site",), rename)
    tables = [SeriesColumn([(f"{table}{row}",) for row in range(5)], np.arange(5), np.arange(5)) for table in "ab"]
    for _ in range(3):
        for table in tables:
            assert text.column(table) == [f'site="{labels[0]}"' for labels in table.labels]
        text.trim(used=10)
    assert len(made) == 10
    text.column(tables[0])
    text.trim(used=5)
    assert len(made) == 10
    text.column(tables[1])
    assert len(made) == 15, "forgotten: nobody asked for the second table between two trims"


def test_the_catalogue_suits_the_renderers() -> None:
    for metric in CATALOGUE:
        if metric.page is Page.AGENTS:
            assert metric.labels[-1] == max(metric.labels) == "window", "a person's line ends with its window"
        if metric.kind is Kind.HISTOGRAM:
            assert metric.labels
            assert "le" not in metric.labels
