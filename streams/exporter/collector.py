"""Engines' figures and the worker's own values, merged into metric families for a registry of our own."""

import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.metrics import CATALOGUE, METRICS, Merge, Page
from schemas.policy import OTHER
from streams.engine.figures import Figures, LabelValues, PeopleFigures, PeopleGroup, Sample, SeriesColumn
from streams.exporter.pseudonyms import AgentNames
from streams.exporter.state import Engine, MonitorState, ShownPartitions
from streams.exporter.text import Block, HistogramFamily, LabelText, MetricFamily, PeopleFamily, RowFamily

MAX_SERIES = 200_000

logger = logging.getLogger(__name__)
T = TypeVar("T")


_COMBINE: dict[Merge, Callable[[float, float], float]] = {Merge.SUM: operator.add, Merge.MAX: max, Merge.MIN: min}


class Merged:
    """Figures of several sources as one, each series once.

    Attributes:
        rows: Metric name to (label values, value).
        columns: Metric name to series that have a place in a table.
        histograms: Metric name to label values to (counts by bucket, sum).
        left_out: Metric name to the number of series that could not be merged.
    """

    def __init__(self, sources: Sequence[Figures]) -> None:
        self.rows: dict[str, list[Sample]] = {}
        self.columns: dict[str, list[SeriesColumn]] = {}
        self.histograms: dict[str, dict[LabelValues, tuple[list[int], float]]] = {}
        self.left_out: Counter[str] = Counter()
        self._sites_of_tables: dict[tuple[int, int], set[str]] = {}
        for name in dict.fromkeys(name for source in sources for name in (*source.rows, *source.columns)):
            of_metric = [(s.rows.get(name, []), s.columns.get(name, [])) for s in sources]
            self._merge(name, [(rows, columns) for rows, columns in of_metric if rows or columns])
        for source in sources:
            for name, histograms in source.histograms.items():
                sums = self.histograms.setdefault(name, {})
                for labels, counts, total in histograms:
                    if labels in sums:
                        before, total_before = sums[labels]
                        counts, total = [a + b for a, b in zip(before, counts, strict=True)], total_before + total
                    sums[labels] = counts, total

    def _merge(self, name: str, sources: list[tuple[list[Sample], list[SeriesColumn]]]) -> None:
        """Takes one metric: as it comes where one source has it or a site, series by series where several do."""
        if len(sources) < 2:
            for rows, columns in sources:
                self.rows[name], self.columns[name] = rows, columns
            return
        sites = Counter(chain.from_iterable(self._sites_of(name, *source) for source in sources))
        several = {site for site, count in sites.items() if count > 1}
        at, rule = _site_at(name), METRICS[name].merge
        apart: list[Sample] = []
        columns_apart: list[SeriesColumn] = []
        merged: dict[LabelValues, float] = {}
        unmergeable: set[LabelValues] = set()
        for rows, columns in sources:
            if not several:
                apart += rows
                columns_apart += columns
                continue
            shared = {labels: value for labels, value in rows if at is None or labels[at] in several}
            apart += [row for row in rows if row[0] not in shared]
            for column in columns:
                if at is not None and several.isdisjoint(self._sites_of(name, [], [column])):
                    columns_apart.append(column)
                    continue
                of_rows = (column.labels[row] for row in column.rows.tolist())
                both = np.fromiter((at is None or labels[at] in several for labels in of_rows), bool)
                shared.update(_take_rows(column, both).samples())
                columns_apart.append(_take_rows(column, ~both))
            twice = merged.keys() & shared.keys()
            if rule is Merge.NEITHER:
                unmergeable |= twice
            else:
                combine = _COMBINE[rule]
                shared.update((labels, combine(merged[labels], shared[labels])) for labels in twice)
            merged.update(shared)
        for labels in unmergeable:
            del merged[labels]
            # What is beyond the limits is in every partition that has met one.
            self.left_out[name] += at is None or labels[at] != OTHER
        self.rows[name], self.columns[name] = [*apart, *merged.items()], columns_apart

    def _sites_of(self, name: str, rows: list[Sample], columns: list[SeriesColumn]) -> set[str]:
        """The sites that a source's series of a metric may be of; one of no name where it has none."""
        at = _site_at(name)
        if at is None:
            return {""}
        sites = {labels[at] for labels, _ in rows}
        for labels in (column.labels for column in columns):
            if (id(labels), at) not in self._sites_of_tables:
                self._sites_of_tables[id(labels), at] = {row[at] for row in labels if row}
            sites |= self._sites_of_tables[id(labels), at]
        return sites


def _site_at(name: str) -> int | None:
    """Where the site stands among a metric's labels."""
    metric = METRICS.get(name)
    return metric.labels.index("site") if metric is not None and "site" in metric.labels else None


def _take_rows(column: SeriesColumn, chosen: NDArray[np.bool_]) -> SeriesColumn:
    return SeriesColumn(column.labels, column.rows[chosen], column.values[chosen])


def merge_people(figures: Sequence[PeopleFigures]) -> tuple[list[PeopleGroup], Counter[str]]:
    """Joins the people of several partitions, each series once.

    Args:
        figures: One a partition.

    Returns:
        Groups as they came, those of a site in two partitions merged; metric name to series that could not be.
    """
    groups = [group for of_partition in figures for group in of_partition.groups if group.labels]
    left_out: Counter[str] = Counter()
    if len(figures) < 2:
        return groups, left_out
    sites = Counter(chain.from_iterable({row[0] for g in f.groups for row in g.labels} for f in figures))
    split = {site for site, partitions in sites.items() if partitions > 1}
    if not split:
        return groups, left_out
    whole: list[PeopleGroup] = []
    parts: dict[tuple[tuple[str, str], ...], list[PeopleGroup]] = {}
    for group in groups:
        in_two = np.fromiter((row[0] in split for row in group.labels), bool, len(group.labels))
        whole.append(_take(group, np.flatnonzero(~in_two)))
        parts.setdefault(tuple(group.columns), []).append(_take(group, np.flatnonzero(in_two)))
    return whole + [_merge_rows(of_kind, left_out) for of_kind in parts.values()], left_out


def _take(group: PeopleGroup, rows: NDArray[np.intp]) -> PeopleGroup:
    return PeopleGroup(
        labels=[group.labels[i] for i in rows.tolist()],
        columns={key: values[rows] for key, values in group.columns.items()},
        priority=group.priority[rows],
    )


def _merge_rows(parts: list[PeopleGroup], left_out: Counter[str]) -> PeopleGroup:
    number: dict[LabelValues, int] = {}
    rows = np.array([number.setdefault(labels, len(number)) for part in parts for labels in part.labels], np.intp)
    # People of sites beyond the limits may have the same id in several partitions.
    named = np.fromiter((labels[0] != OTHER for labels in number), bool, len(number))
    columns = {}
    for key in parts[0].columns:
        values = np.concatenate([part.columns[key] for part in parts])
        present = ~np.isnan(values)
        given = np.bincount(rows[present], minlength=len(number))
        sums = np.bincount(rows[present], weights=values[present], minlength=len(number))
        usable = given == 1 if METRICS[key[0]].merge is Merge.NEITHER else given > 0
        columns[key] = np.where(usable, sums, np.nan)
        left_out[key[0]] += int(np.count_nonzero((given > 0) & ~usable & named))
    priority = np.full(len(number), -np.inf)
    np.maximum.at(priority, rows, np.concatenate([part.priority for part in parts]))
    return PeopleGroup(list(number), columns, priority)


def cap_people(groups: Sequence[PeopleGroup], series: int) -> tuple[list[PeopleGroup], Counter[str]]:
    """Keeps the people of the highest priority, each whole, while their series fit.

    Args:
        groups: All people.
        series: How many series may go out.

    Returns:
        The groups that are left; metric name to series left out.
    """
    sizes = [sum((~np.isnan(v) for v in g.columns.values()), np.zeros(len(g.labels), np.int64)) for g in groups]
    if sum(int(size.sum()) for size in sizes) <= series:
        return list(groups), Counter()
    order = np.argsort(-np.concatenate([group.priority for group in groups]), kind="stable")
    kept = np.zeros(len(order), bool)
    kept[order[np.cumsum(np.concatenate(sizes)[order]) <= series]] = True
    left, left_out = [], Counter[str]()
    for group, of_group in zip(groups, np.split(kept, np.cumsum([len(g.labels) for g in groups])[:-1]), strict=True):
        left.append(_take(group, np.flatnonzero(of_group)))
        for (name, _window), values in group.columns.items():
            left_out[name] += int(np.count_nonzero(~np.isnan(values[~of_group])))
    return left, left_out


class _PageCollector:
    """What both pages share: asking engines, naming people, remembering label texts."""

    def __init__(self, state: MonitorState, names: AgentNames, page: Page) -> None:
        self._state = state
        self._names = names
        self._page = page
        self._label_texts: dict[tuple[str, ...], LabelText] = {}
        self._histogram_heads: dict[str, dict[LabelValues, list[str]]] = {}

    def describe(self) -> list[MetricFamily]:
        """Describes nothing, so that registering it does not collect."""
        return []

    def _ask(self, shown: ShownPartitions, question: Callable[[Engine, int], T]) -> list[T]:
        """Asks every engine; one that fails costs its partition's series, not the page."""
        answers = []
        for partition, engine in shown.engines.items():
            try:
                answers.append(question(engine, shown.at_ms))
            except Exception:
                logger.exception("partition=%d gave no figures for %s", partition, self._page.value)
                self._state.render_failed(self._page)
        return answers

    def _label_text(self, names: tuple[str, ...]) -> LabelText:
        if names not in self._label_texts:
            self._label_texts[names] = LabelText(names, _renamer(names, self._names) if "agent" in names else None)
        return self._label_texts[names]

    def _families(self, merged: Merged) -> Iterator[MetricFamily]:
        """The families of this page in the catalogue's order; what speaks of a person goes to the people's page."""
        if unknown := (merged.rows.keys() | merged.histograms.keys()) - METRICS.keys():
            logger.error("Figures under names that the catalogue does not have: %s", ", ".join(sorted(unknown)))
            self._state.render_failed(self._page)
        used: Counter[tuple[str, ...]] = Counter()
        for metric in CATALOGUE:
            rows, columns = merged.rows.get(metric.name, []), merged.columns.get(metric.name, [])
            if "agent" in metric.labels:
                agent, wanted = metric.labels.index("agent"), self._page is Page.AGENTS
                rows = [row for row in rows if bool(row[0][agent]) is wanted]
            elif metric.page is not self._page:
                continue
            if rows or columns:
                family = RowFamily(metric, self._label_text(metric.labels), rows, columns)
                used[metric.labels] += len(family)
                yield family
            if histograms := merged.histograms.get(metric.name):
                used[metric.labels] += len(histograms)
                heads = self._histogram_heads.setdefault(metric.name, {})
                yield HistogramFamily(metric, self._label_text(metric.labels), histograms, heads)
        for names, count in used.items():
            self._label_text(names).trim(count)


class SitesCollector(_PageCollector):
    """`/metrics`: sites, pipeline and the worker itself; a prometheus_client collector."""

    def __init__(self, state: MonitorState, names: AgentNames) -> None:
        super().__init__(state, names, Page.SITES)

    def collect(self) -> Iterator[MetricFamily]:
        """Takes the figures now."""
        shown = self._state.shown()
        figures = self._ask(shown, lambda engine, at_ms: engine.figures(at_ms))
        merged = Merged([*figures, self._state.process_figures()])
        self._state.left_out(self._page, merged.left_out)
        yield from self._families(merged)


class PeopleCollector(_PageCollector):
    """`/metrics/agents`: people under a cap, their open drifts first; a prometheus_client collector.

    Args:
        state: Which engines show.
        names: How agents are called.
        max_series: Series of a scrape at most; keep it below the scrape's `sample_limit`.
    """

    def __init__(self, state: MonitorState, names: AgentNames, max_series: int = MAX_SERIES) -> None:
        super().__init__(state, names, Page.AGENTS)
        self._max_series = max_series

    def collect(self) -> Iterator[MetricFamily]:
        """Takes the figures now."""
        shown = self._state.shown()
        drifts = Merged(self._ask(shown, lambda engine, at_ms: _of_people(engine.figures(at_ms))))
        families = list(self._families(drifts))
        groups, unmergeable = merge_people(self._ask(shown, lambda engine, at_ms: engine.people(at_ms)))
        room = self._max_series - sum(len(family) for family in families if isinstance(family, RowFamily))
        groups, beyond = cap_people(groups, max(room, 0))
        self._state.left_out(self._page, drifts.left_out + unmergeable + beyond)
        yield from families
        yield from self._people(groups)

    def _people(self, groups: Sequence[PeopleGroup]) -> Iterator[MetricFamily]:
        blocks: dict[str, list[Block]] = {}
        rows: Counter[tuple[str, ...]] = Counter()
        for group in groups:
            if not group.labels:
                continue
            names = METRICS[next(iter(group.columns))[0]].labels[:-1]
            rows[names] += len(group.labels)
            texts = self._label_text(names).all(group.labels)
            for (name, window), values in group.columns.items():
                blocks.setdefault(name, []).append(Block(group.labels, texts, values, window))
        for metric in CATALOGUE:
            if metric.name in blocks:
                yield PeopleFamily(metric, self._label_text(metric.labels[:-1]), blocks[metric.name])
        for names, count in rows.items():
            self._label_text(names).trim(count)


def _of_people(figures: Figures) -> Figures:
    named = {name for name, metric in METRICS.items() if "agent" in metric.labels}
    return Figures({name: rows for name, rows in figures.rows.items() if name in named})


def _renamer(names: tuple[str, ...], agent_names: AgentNames) -> Callable[[LabelValues], LabelValues]:
    """Puts the shown names of people into label values; a drift's contributor may be a person too."""
    site, agent = names.index("site"), names.index("agent")
    by, member = (names.index("by"), names.index("member")) if "member" in names else (-1, -1)

    def rename(values: LabelValues) -> LabelValues:
        shown = list(values)
        shown[agent] = agent_names(values[site], values[agent])
        if member >= 0 and values[by] in ("agent", "reviewer"):
            shown[member] = agent_names(values[site], values[member])
        return tuple(shown)

    return rename
