import itertools
import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from schemas.metrics import CATALOGUE, METRICS, WINDOWS, Kind, Merge, Origin, Page
from streams.engine.figures import Figures, PeopleFigures, PeopleGroup
from streams.exporter import MonitorState
from streams.exporter.collector import PeopleCollector, SitesCollector, cap_people, merge_people
from streams.exporter.pseudonyms import AgentNames, Pseudonyms, plain
from streams.exporter.text import render
from tests.support.exporter import BrokenEngine, FakeEngine, labelled, series, showing, values

NAMES = Pseudonyms(b"a key of enough length")
AGENT = [m.name for m in CATALOGUE if m.name.startswith("labelwatch_agent_")]
DRIFT = ("s", "p", "", "accuracy", "down", "page")


def sites_page(state: MonitorState, names: AgentNames = NAMES) -> bytes:
    return b"".join(render(SitesCollector(state, names).collect()))


def people_page(state: MonitorState, names: AgentNames = NAMES, max_series: int = 200_000) -> bytes:
    return b"".join(render(PeopleCollector(state, names, max_series).collect()))


def one_of_each(agent: str = "a-1") -> Figures:
    """Figures with one series of every metric that an engine gives."""
    figures = Figures()
    for metric in CATALOGUE:
        if metric.origin is Origin.ENGINE and metric.page is Page.SITES:
            labels = tuple(agent if label == "agent" else f"a {label}" for label in metric.labels)
            if metric.kind is Kind.HISTOGRAM:
                figures.histograms[metric.name] = [(labels, [1] * (len(metric.buckets) + 1), 2.5)]
            else:
                figures.add(metric.name, labels, 0.25)
    return figures


def group(
    rows: Sequence[tuple[str, ...]],
    priority: Sequence[float] | None = None,
    names: Sequence[str] = AGENT[:1],
    windows: Sequence[str] = ("1h",),
    value: float = 1.0,
) -> PeopleGroup:
    columns = {key: np.full(len(rows), value) for key in itertools.product(names, windows)}
    return PeopleGroup(list(rows), columns, np.array(priority or [0.0] * len(rows)))


def crowd() -> PeopleFigures:
    """People with every metric of the people's page."""
    reviewer = [m.name for m in CATALOGUE if m.name.startswith("labelwatch_reviewer_")]
    return PeopleFigures(
        [
            group([("manila-1", "a-1007", "agent"), ("manila-1", "q-12", "qa")], names=AGENT, windows=WINDOWS),
            group([("manila-1", "q-12")], names=reviewer, windows=WINDOWS),
        ]
    )


def test_every_metric_of_the_catalogue_is_served_on_its_page_with_its_labels() -> None:
    state = showing(FakeEngine(one_of_each(agent=""), crowd()))
    state.lag(0, 5, 1.5)
    state.figures_lag(0, 0.5)
    state.clock_offset(0.5)
    state.held_up(0, 3, 2.5)
    state.memory_limit(1 << 30)
    state.certificate_expires("metrics", 1_800_000_000)
    state.committed(0, 0.05)
    for page in Page:
        state.rendered(page, 0.1)
    found: dict[Page, dict[str, set[frozenset[str]]]] = {}
    for page, text in ((Page.SITES, sites_page(state)), (Page.AGENTS, people_page(state))):
        for name, labels in series(text):
            found.setdefault(page, {}).setdefault(name, set()).add(frozenset(dict(labels)))
    expected: dict[Page, dict[str, set[frozenset[str]]]] = {page: {} for page in Page}
    for metric in CATALOGUE:
        names = frozenset(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            expected[metric.page][f"{metric.name}_bucket"] = {names | {"le"}}
            expected[metric.page][f"{metric.name}_sum"] = expected[metric.page][f"{metric.name}_count"] = {names}
        else:
            expected[metric.page][metric.name] = {names}
    assert found == expected


def test_both_pages_are_what_prometheus_client_makes_of_the_same_families() -> None:
    state = showing(FakeEngine(one_of_each(), crowd()), FakeEngine(one_of_each(agent="")))
    collectors: list[Any] = [SitesCollector(state, NAMES), PeopleCollector(state, NAMES)]
    for collector in collectors:
        registry = CollectorRegistry()
        registry.register(collector)
        generate_latest(registry)  # what was left out is shown from the second rendering on
        assert b"".join(render(collector.collect())) == generate_latest(registry)


def test_promtool_finds_no_error_in_the_pages() -> None:
    state = showing(FakeEngine(one_of_each(), crowd()))
    for page in (sites_page(state), people_page(state)):
        assert b"_created" not in page
        if promtool := shutil.which("promtool"):
            done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
            # 1: the page cannot be read. 3: remarks on names, which the contract fixes.
            assert done.returncode in (0, 3), done.stderr


def test_registering_a_collector_asks_no_engine() -> None:
    engine = FakeEngine()
    sites: Any = SitesCollector(showing(engine), NAMES)
    people: Any = PeopleCollector(showing(engine), NAMES)
    CollectorRegistry().register(sites)
    CollectorRegistry(auto_describe=True).register(people)
    assert engine.asked_at_ms == []


def test_partitions_that_do_not_show_are_not_asked() -> None:
    engine = FakeEngine(one_of_each(), crowd())
    state = MonitorState()
    state.assign([0], 1)
    state.restored(0, engine)
    assert values(sites_page(state), "labelwatch_labels_total") == {}
    assert people_page(state) == b""
    assert engine.asked_at_ms == []
    assert values(sites_page(state), "labelwatch_partition_owned")


def test_all_partitions_are_asked_for_the_same_time() -> None:
    engines = [FakeEngine(clock_ms=5), FakeEngine(clock_ms=9)]
    state = showing(*engines, state=MonitorState(clock="event"))
    sites_page(state)
    people_page(state)
    assert {at for engine in engines for at in engine.asked_at_ms} == {9}


def test_a_defect_in_one_engine_costs_its_partition_only_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    good = Figures()
    good.add("labelwatch_site_labels", ("s", "1h"), 7)
    state = showing(BrokenEngine(), FakeEngine(good, crowd()))
    assert list(values(sites_page(state), "labelwatch_site_labels").values()) == [7]
    assert "partition=0 gave no figures for /metrics" in caplog.text
    assert len(series(people_page(state))) == len(series(people_page(showing(FakeEngine(good, crowd())))))
    errors = values(sites_page(state), "labelwatch_render_errors_total")
    assert errors == {frozenset({("page", "/metrics")}): 2, frozenset({("page", "/metrics/agents")}): 2}


def test_a_name_that_the_catalogue_does_not_have_is_counted_not_served(caplog: pytest.LogCaptureFixture) -> None:
    figures = Figures()
    figures.add("labelwatch_invented", ("s",), 1)
    state = showing(FakeEngine(figures))
    assert b"labelwatch_invented" not in sites_page(state)
    assert "labelwatch_invented" in caplog.text
    assert values(sites_page(state), "labelwatch_render_errors_total")[frozenset({("page", "/metrics")})] == 1


# One site in two partitions.


def test_each_metric_is_merged_by_its_meaning() -> None:
    rules = {m.name: m.merge for m in CATALOGUE if m.kind is Kind.GAUGE}
    by_rule = {rule: {name for name, of_name in rules.items() if of_name is rule} for rule in Merge}
    assert by_rule[Merge.MIN] == {
        "labelwatch_drift_began_timestamp_seconds",
        "labelwatch_river_drift_began_timestamp_seconds",
        "labelwatch_site_first_event_timestamp_seconds",
    }
    assert by_rule[Merge.MAX] == {
        *(
            "labelwatch_target_ratio",
            "labelwatch_target_handle_seconds",
            "labelwatch_policy_min_reviews",
            "labelwatch_policy_scope_missing",
            "labelwatch_queue_turnaround_target_seconds",
            "labelwatch_site_info",
        ),
        "labelwatch_site_utc_offset_seconds",
        *(
            "labelwatch_drift_active",
            "labelwatch_drift_info",
            "labelwatch_drift_opened_timestamp_seconds",
            "labelwatch_river_drift_active",
        ),
        "labelwatch_river_drift_opened_timestamp_seconds",
        "labelwatch_site_last_event_timestamp_seconds",
        "labelwatch_site_presence_estimated",
        *(
            "labelwatch_watermark_timestamp_seconds",
            "labelwatch_last_commit_timestamp_seconds",
            "labelwatch_loop_timestamp_seconds",
        ),
        "labelwatch_certificate_expiry_timestamp_seconds",
    }
    engine = {m.name for m in CATALOGUE if m.origin is Origin.ENGINE}
    assert by_rule[Merge.SUM] & engine == {
        *(
            "labelwatch_labels_window",
            "labelwatch_reviews_window",
            "labelwatch_correct_reviews_window",
            "labelwatch_state_seconds_window",
            "labelwatch_errors_window",
        ),
        *(
            "labelwatch_partition_labels_window",
            "labelwatch_partition_headline_reviews_window",
            "labelwatch_partition_headline_correct_reviews_window",
        ),
        *(
            "labelwatch_site_reviews",
            "labelwatch_site_correct_reviews",
            "labelwatch_site_labels",
            "labelwatch_site_agents",
            "labelwatch_site_active_agents",
        ),
        "labelwatch_site_productive_seconds",
        *(
            "labelwatch_agent_reviews",
            "labelwatch_agent_labels",
            "labelwatch_reviewer_reviews",
            "labelwatch_reviewer_seconds",
            "labelwatch_reviewer_errors_found",
        ),
        "labelwatch_reviewer_agent_reviews",
        "labelwatch_reviewer_agent_errors_found",
        "labelwatch_unwatched_streams",
        "labelwatch_held_reviews",
        "labelwatch_limit",
        "labelwatch_limit_used",
    }
    assert all(m.kind is Kind.GAUGE or m.merge is Merge.SUM for m in CATALOGUE)
    people = {m for m in CATALOGUE if m.page is Page.AGENTS}
    assert {m.merge for m in people} == {Merge.SUM, Merge.NEITHER}, "columns know no other rule"


def test_a_site_in_two_partitions_gives_each_series_once() -> None:
    parts = []
    for partition, scale in ((0, 1), (1, 10)):
        figures = Figures()
        figures.add("labelwatch_labels_total", ("s", "p", "US"), 3 * scale)
        figures.add("labelwatch_site_reviews", ("s", "agent", "1h"), 40 * scale)
        figures.add("labelwatch_site_accuracy_ratio", ("s", "agent", "1h"), 0.9)
        figures.add("labelwatch_site_accuracy_ratio", (f"only {partition}", "agent", "1h"), 0.8)
        figures.add("labelwatch_site_last_event_timestamp_seconds", ("s", "label_submitted"), 100 * scale)
        figures.add("labelwatch_drift_began_timestamp_seconds", DRIFT, 100 * scale)
        figures.add("labelwatch_site_info", ("s", "acme", "UTC", str(partition)), 1)
        figures.add("labelwatch_target_ratio", ("s", "", "", "accuracy"), 0.95)
        figures.histograms["labelwatch_review_delay_seconds"] = [(("s",), [scale] * 12, 5.0 * scale)]
        parts.append(FakeEngine(figures))
    state = showing(*parts)
    page = sites_page(state)
    assert list(values(page, "labelwatch_labels_total").values()) == [33]
    assert list(values(page, "labelwatch_site_reviews").values()) == [440]
    assert sorted(labelled(page, "labelwatch_site_accuracy_ratio", "site")) == ["only 0", "only 1"]
    assert list(values(page, "labelwatch_site_last_event_timestamp_seconds").values()) == [1000]
    assert list(values(page, "labelwatch_drift_began_timestamp_seconds").values()) == [100]
    assert sorted(labelled(page, "labelwatch_site_info", "partition")) == ["0", "1"]
    assert list(values(page, "labelwatch_target_ratio").values()) == [0.95]
    assert list(values(page, "labelwatch_review_delay_seconds_count").values()) == [132]
    assert list(values(page, "labelwatch_review_delay_seconds_sum").values()) == [55]
    dropped = values(sites_page(state), "labelwatch_dropped_series")
    assert dropped[frozenset({("metric", "labelwatch_site_accuracy_ratio")})] == 1


MERGED = ("labelwatch_labels_total", "labelwatch_site_accuracy_ratio", "labelwatch_site_reviews")
series_of = {
    name: st.tuples(
        *(st.sampled_from(["s", "t", ""] if label == "site" else ["a", "b"]) for label in METRICS[name].labels)
    )
    for name in MERGED
}


@given(
    st.lists(
        st.fixed_dictionaries(
            {name: st.dictionaries(labels, st.integers(0, 9), max_size=6) for name, labels in series_of.items()}
        ),
        min_size=1,
        max_size=3,
    ),
    st.data(),
)
def test_columns_merge_as_rows_do(parts: Any, data: st.DataObject) -> None:
    by_rows, by_columns = [], []
    for part in parts:
        rows, columns = Figures(), Figures()
        for name, told in part.items():
            for labels, value in told.items():
                rows.add(name, labels, value)
            in_rows = data.draw(st.sets(st.sampled_from(list(told)))) if told else set()
            columns.extend(name, ((labels, told[labels]) for labels in in_rows))
            table = [labels for labels in told if labels not in in_rows]
            if table:
                counts = np.array([told[labels] for labels in table])
                columns.add_column(name, [*table, ()], np.arange(len(table)), counts)
        assert {name: sorted(of) for name, of in columns.samples.items() if of} == {
            name: sorted(of) for name, of in rows.samples.items()
        }
        by_rows.append(FakeEngine(rows))
        by_columns.append(FakeEngine(columns))
    expected, found = (sites_page(showing(*engines)).splitlines() for engines in (by_rows, by_columns))
    ours = tuple(name.encode() for name in MERGED)
    assert sorted(line for line in found if line.startswith(ours)) == sorted(
        line for line in expected if line.startswith(ours)
    )


def test_merging_leaves_the_engines_figures_alone() -> None:
    figures = Figures()
    figures.add("labelwatch_site_labels", ("s", "1h"), 7)
    figures.histograms["labelwatch_review_delay_seconds"] = [(("s",), [1] * 12, 5.0)]
    state = showing(FakeEngine(figures), FakeEngine(figures))
    assert list(values(sites_page(state), "labelwatch_site_labels").values()) == [14]
    assert figures.samples["labelwatch_site_labels"] == [(("s", "1h"), 7)]
    assert figures.histograms["labelwatch_review_delay_seconds"] == [(("s",), [1] * 12, 5.0)]


COLUMNS = (("labelwatch_agent_reviews", "1h"), ("labelwatch_agent_accuracy_ratio", "1h"))
cells = st.one_of(st.just(math.nan), st.integers(0, 50).map(float))
persons = st.tuples(st.sampled_from("st"), st.sampled_from(["a", "b", "c"]), st.just("agent"))
partitions = st.lists(st.dictionaries(persons, st.tuples(cells, cells), max_size=6), min_size=1, max_size=3)


def figures_of(rows: dict[tuple[str, str, str], tuple[float, float]]) -> PeopleFigures:
    table = np.array(list(rows.values()), np.float64).reshape(len(rows), len(COLUMNS))
    columns = {key: table[:, i] for i, key in enumerate(COLUMNS)}
    return PeopleFigures([PeopleGroup(list(rows), columns, np.arange(len(rows), dtype=np.float64))])


def present(groups: Iterable[PeopleGroup]) -> dict[tuple[str, ...], float]:
    found = []
    for each in groups:
        for (name, window), column in each.columns.items():
            assert len(column) == len(each.labels) == len(each.priority)
            for labels, value in zip(each.labels, column.tolist(), strict=True):
                if not math.isnan(value):
                    found.append(((name, *labels, window), value))
    assert len(dict(found)) == len(found), "a series stands there twice"
    return dict(found)


@given(partitions)
def test_people_of_a_site_in_two_partitions_are_merged_like_the_site(parts: Any) -> None:
    groups, left_out = merge_people([figures_of(part) for part in parts])
    expected: dict[tuple[str, ...], float] = {}
    unmergeable: Counter[str] = Counter()
    for person in {person for part in parts for person in part}:
        for i, (name, window) in enumerate(COLUMNS):
            told = [part[person][i] for part in parts if person in part and not math.isnan(part[person][i])]
            if len(told) > 1 and name.endswith("_ratio"):
                unmergeable[name] += 1
            elif told:
                expected[(name, *person, window)] = sum(told)
    assert present(groups) == expected
    assert +left_out == unmergeable


def test_people_of_sites_beyond_the_limits_with_one_id_are_no_defect_of_a_site() -> None:
    parts = [{(site, "a-1", "agent"): (0.5, 3.0) for site in ("other", "manila-1")} for _ in range(2)]
    ratio = next(i for i, (name, _) in enumerate(COLUMNS) if name.endswith("_ratio"))
    _, left_out = merge_people([figures_of(part) for part in parts])
    assert left_out[COLUMNS[ratio][0]] == 1, "that of manila-1"


# The cap.


@given(
    st.lists(st.tuples(st.integers(0, 5), cells, cells), max_size=12),
    st.lists(st.tuples(st.integers(0, 5), cells, cells), max_size=12),
    st.integers(0, 30),
)
def test_the_cap_keeps_whole_people_by_priority(first: Any, second: Any, room: int) -> None:
    groups, everyone = [], []
    for number, rows in enumerate((first, second)):
        labels: list[tuple[str, ...]] = [(f"s{number}", f"a{i}", "agent") for i in range(len(rows))]
        columns = {key: np.array([row[1 + i] for row in rows], np.float64) for i, key in enumerate(COLUMNS)}
        groups.append(PeopleGroup(labels, columns, np.array([row[0] for row in rows], np.float64)))
        everyone += [
            (row[0], label, sum(not math.isnan(x) for x in row[1:])) for row, label in zip(rows, labels, strict=True)
        ]
    kept, left_out = cap_people(groups, room)
    before, after = present(groups), present(kept)
    assert len(after) <= room
    assert after.items() <= before.items()
    assert sum(left_out.values()) == len(before) - len(after)
    people, used = set(), 0
    for _, label, size in sorted(everyone, key=lambda person: -person[0]):
        used += size
        if used > room:
            break
        people.add(label)
    assert {key[1:4] for key in after} == {label for _, label, size in everyone if label in people and size}
    assert all((key in after) == (key[1:4] in people) for key in before)


def test_what_the_cap_left_out_is_told_by_metric() -> None:
    rows = [("s", f"a-{i}", "agent") for i in range(10)]
    people = PeopleFigures([group(rows, priority=list(range(10)), names=AGENT[:2])])
    state = showing(FakeEngine(people_figures=people))
    page = people_page(state, plain, max_series=7)
    assert sorted(labelled(page, AGENT[0], "agent")) == ["a-7", "a-8", "a-9"]
    dropped = {
        dict(labels)["metric"]: n for labels, n in values(sites_page(state), "labelwatch_dropped_series").items()
    }
    assert dropped[AGENT[0]] == dropped[AGENT[1]] == 7
    assert dropped[AGENT[2]] == 0, "known beforehand, so that a rise from nothing is seen"
    people_page(state, plain)
    assert set(values(sites_page(state), "labelwatch_dropped_series").values()) == {0}


def test_open_drifts_of_people_are_never_capped() -> None:
    figures = Figures()
    for i in range(5):
        figures.add("labelwatch_drift_active", ("s", "p", f"a-{i}", "accuracy", "down", "page"), 1)
    people = PeopleFigures([group([("s", f"a-{i}", "agent") for i in range(10)])])
    page = people_page(showing(FakeEngine(figures, people)), max_series=8)
    assert len(values(page, "labelwatch_drift_active")) == 5
    assert len(values(page, AGENT[0])) == 3


# People's names.


def test_no_page_has_a_plain_id_by_default() -> None:
    ids = ["a-1007", "q-12", "member-agent", "member-reviewer"]
    figures = one_of_each(agent=ids[0])
    for by, member in (("agent", ids[2]), ("reviewer", ids[3]), ("market", "market-9")):
        figures.add("labelwatch_drift_contribution", (*DRIFT, by, member, "rate"), 0.1)
    state = showing(FakeEngine(figures, crowd()))
    pages = sites_page(state) + people_page(state)
    assert not [each for each in ids if each.encode() in pages]
    assert b'member="market-9"' in pages
    assert NAMES("s", "member-agent").encode() in pages
    assert NAMES("manila-1", "a-1007").encode() in pages
    assert set(labelled(people_page(state), "labelwatch_agent_labels", "agent")) == {
        NAMES("manila-1", "a-1007"),
        NAMES("manila-1", "q-12"),
    }


def test_plain_names_are_the_ids() -> None:
    page = people_page(showing(FakeEngine(people_figures=crowd())), plain)
    assert set(labelled(page, "labelwatch_agent_labels", "agent")) == {"a-1007", "q-12"}


@pytest.mark.parametrize("agent", ["", "a-1"])
def test_drift_of_a_person_stands_on_the_peoples_page_only(agent: str) -> None:
    state = showing(FakeEngine(one_of_each(agent=agent)))
    with_agent = {name for name, metric in METRICS.items() if "agent" in metric.labels and metric.page is Page.SITES}
    on_sites = {name for name, _ in series(sites_page(state))} & with_agent
    on_people = {name for name, _ in series(people_page(state))} & with_agent
    assert (on_people, on_sites) == ((with_agent, set()) if agent else (set(), with_agent))


def test_a_person_keeps_the_name_from_scrape_to_scrape() -> None:
    state = showing(FakeEngine(people_figures=crowd()))
    collector = PeopleCollector(state, NAMES)
    assert b"".join(render(collector.collect())) == b"".join(render(collector.collect())) == people_page(state)
