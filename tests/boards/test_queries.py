"""Every query of every board, answered by a real Prometheus: a site dip under a real worker; every state; no worker."""

import html
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.exporter import MetricsServer, MonitorState
from streams.exporter.pseudonyms import plain
from streams.ops.preview import PreviewOptions, preview
from streams.views.preview.panels.canvas import NO_DATA
from tests.boards import given, queries
from tests.boards.apart import pages_apart
from tests.boards.history import backfill
from tests.boards.stage import Operation, Prometheus
from tests.support.exporter import FakeEngine, showing

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(600)]
log = logging.getLogger("boards")

#: The Chinese edition asks the same: tests/boards/test_files.py compares.
BOARDS = {uid: board for uid, board in queries.boards().items() if not uid.endswith("-zh")}
#: What one scenario has found, by board and query: each query has data in one of them.
Found = dict[tuple[str, str], int]
SCRAPE = 5
TILES = next(
    panel["title"] for panel in BOARDS["labelwatch-operations"]["panels"] if panel["title"].startswith("Sites, worst")
)
_TOGETHER: Found = {}
#: Rules record nothing of a past that is written before Prometheus starts; panels over hours need these.
RECORDED = """\
site:labelwatch_productive_hours:sum1h{site="manila-1"} 20
site:labelwatch_agents:sum{site="manila-1",state="available"} 3
"""
#: A reviewer's drift that ended an hour ago: whether the simulation has one depends on the hour of the day.
FINDS_MORE = 'site="manila-1",project="",agent="q-strict",signal="error_finding",direction="up",budget="ticket"'
ENDED_AGO = 3600


def ask_all(prometheus: Prometheus, site: str, *, all_sites: bool = True) -> dict[tuple[str, str], list[Any]]:
    """Every query of every board: of all sites and of one where a board has one, or of that one alone."""
    now = time.time()
    answers = {}
    for uid, board in BOARDS.items():
        values = queries.variables(board, prometheus, concrete=not all_sites, prefer=site)
        for asked in queries.queries(board):
            answers[uid, asked.where] = queries.run(asked, values, board, prometheus, now)
    if all_sites:
        for key, series in answers.items():
            _TOGETHER[key] = _TOGETHER.get(key, 0) + len(series)
    return answers


def _earlier(name: str, labels: str, value: float, ago: float) -> tuple[str, float] | None:
    if name.startswith(("labelwatch_agent_", "labelwatch_reviewer_")) and ago > 600:
        return None  # many, and nothing asks for more
    if "error_finding" in labels and ago < ENDED_AGO:
        return None
    return labels.replace('sop="v3"', 'sop="v2"'), value


@pytest.fixture(scope="module")
def dip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operation, Prometheus]]:
    folder = tmp_path_factory.mktemp("dip")
    with Operation(folder / "operation") as operation:
        began = time.monotonic()
        pages = operation.wait_for_drift()
        log.info("the dip was found after %.0f s", time.monotonic() - began)
        prometheus = Prometheus(folder / "prometheus", [operation.target])
        now = time.time()
        # Three hours, and an SOP version that is replaced as Prometheus comes.
        ages = [*range(3 * 3600, 600, -300), *range(600, 0, -60)]
        ended = f"labelwatch_drift_active{{{FINDS_MORE}}} 1\n"
        ended += f"labelwatch_drift_began_timestamp_seconds{{{FINDS_MORE}}} {now - 2 * ENDED_AGO}\n"
        samples = backfill(
            folder / "prometheus" / "data",
            [
                ("labelwatch", operation.target, pages[0] + ended),
                ("labelwatch-agents", operation.target, pages[1]),
                ("", "", RECORDED),
            ],
            now,
            ages,
            _earlier,
        )
        # Scraped every 15 s; by themselves, since of a counter's begin Prometheus counts nothing.
        samples += backfill(folder / "prometheus" / "data", pages_apart(), now, range(1_200, 0, -15))
        log.info("%d samples of the past", samples)
        with prometheus:
            prometheus.wait_for('count(ALERTS{alertname="LabelwatchSiteQualityDrift",alertstate="firing"})')
            # The slowest rules, at a whole minute: panels that pick the worst look at those.
            prometheus.wait_for("count(count_over_time(site_project:labelwatch_handle_seconds:mean1d[10m:1m]))")
            prometheus.wait_for("count(count_over_time(project:labelwatch_accuracy:ratio[1m]) > 10)")
            # What only a process knows has no past: its rates need scrapes over a step of the longest panel.
            prometheus.wait_for("count(count_over_time(labelwatch_event_delay_seconds_count[2m]) >= 10)")
            yield operation, prometheus


def test_every_panel_has_data_during_a_site_dip(dip: tuple[Operation, Prometheus]) -> None:
    _, prometheus = dip
    faults = [
        (rule["name"], rule["lastError"])
        for group in prometheus.ask("rules")["groups"]
        for rule in group["rules"]
        if rule.get("lastError")
    ]
    assert not faults
    answers = ask_all(prometheus, "manila-1")
    with_data = {(uid, _panel(where)) for (uid, where), series in answers.items() if series}
    wanted = {(uid, asked.panel) for uid, board in BOARDS.items() for asked in queries.queries(board)}
    # Its worker speaks no TLS.
    assert sorted(wanted - with_data) == [("labelwatch-pipeline", "Certificates end in")]
    dropped = answers["labelwatch-operations", f"{TILES} A"]
    (tile,) = dropped
    assert tile["metric"].pop("day").startswith("24 h "), "the accuracy of 24 hours beside that since the change"
    assert tile["metric"]["site"] == "manila-1", "the drift is the first tile"
    alone = ask_all(prometheus, "manila-1", all_sites=False)
    for where in (
        "State now A",
        "Accuracy over $window, 95% interval B",
        "What has changed: drifts open now A",
        "Why: parts of the changes open now A",
    ):
        assert alone["labelwatch-site", where], where


def _panel(where: str) -> str:
    return where.removeprefix("annotation ") if where.startswith("annotation ") else where.rpartition(" ")[0]


def test_every_board_is_drawn_from_it_and_names_the_site_that_dips(
    dip: tuple[Operation, Prometheus], tmp_path: Path
) -> None:
    _, prometheus = dip
    pages = {path.stem: path.read_text("utf-8") for path in preview(PreviewOptions(prometheus.url, tmp_path))}
    assert pages.keys() == queries.boards().keys()
    assert "▼ DRIFT  manila-1" in pages["labelwatch-operations"]
    assert "▼ 漂移  manila-1" in pages["labelwatch-operations-zh"]
    assert not [uid for uid, page in pages.items() if NO_DATA["en"] in page or NO_DATA["zh"] in page]


def test_no_worker_is_told_on_every_board_and_nothing_looks_calm(dip: tuple[Operation, Prometheus]) -> None:
    operation, prometheus = dip
    operation.stop_worker()
    prometheus.wait_for('absent(labelwatch_figures_lag_seconds{job="labelwatch"})')
    prometheus.wait_for_rules()
    for gone in ("site:labelwatch_accuracy_target:ratio", "company:labelwatch_min_reviews:max"):
        assert prometheus.value(f"absent({gone})") == 1, gone
    # Only the site whose drift is still known has a state.
    assert prometheus.value("count(site:labelwatch_state:code)") == 1
    answers = ask_all(prometheus, "manila-1")
    for uid in BOARDS:
        live, late, _, down = (answers[uid, f"Monitor {letter}"] for letter in "ABCD")
        assert (live, late) == ([], []), uid
        assert [series["value"][1] for series in down] == ["1"], uid
    # A page's drift is known for ten minutes more; every other site turns grey.
    unseen = {series["metric"]["site"] for series in answers["labelwatch-operations", f"{TILES} E"]}
    drifting = {series["metric"]["site"] for series in answers["labelwatch-operations", f"{TILES} A"]}
    assert drifting == {"manila-1"}
    assert len(unseen | drifting) == 6
    for where in ("All sites, 24 hours B", f"{TILES} G", f"{TILES} H"):
        assert answers["labelwatch-operations", where] == []


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeEngine, Prometheus]]:
    folder = tmp_path_factory.mktemp("states")
    ahead, behind = FakeEngine(given.figures(given.SITES[:-10], 0)), FakeEngine(given.figures(given.SITES[-10:], 1))
    state = showing(ahead, behind, state=MonitorState(loop_stall_seconds=3600))
    state.assign([0, 1], 3)
    state.lag(0, 0, 0.0)
    state.lag(1, 5_000, 300.0)
    state.figures_lag(0, 0.0)
    state.figures_lag(1, 300.0)
    state.certificate_expires("metrics", time.time() + 3 * 86400)
    with MetricsServer(state, plain, host="127.0.0.1", port=0) as server:
        target = server.url.removeprefix("http://").rstrip("/")
        prometheus = Prometheus(folder, [target])
        past = 'labelwatch_site_labels{site="silent",window="15m"} 100\n'
        past += 'labelwatch_site_active_agents{site="silent",role="agent",window="15m"} 8\n'
        past += 'site:labelwatch_active_agents:max{site="silent"} 8\n'
        week = 7 * 86400
        ages = [*range(week + 1200, week - 1200, -60), *range(3600, 0, -60)]
        backfill(folder / "data", [("labelwatch", target, past)], time.time(), ages)
        with prometheus:
            prometheus.wait_for('count(ALERTS{alertname="LabelwatchSiteSilent",alertstate="firing"})')
            prometheus.wait_for("site:labelwatch_state:code == 4")
            ahead.site_figures = given.figures(tuple(site for site in given.SITES[:-10] if site != "gone"), 0)
            prometheus.wait_for('absent(site:labelwatch_state:code{site="gone"})')
            yield ahead, prometheus


def test_names_of_every_kind_are_drawn_as_they_are(states: tuple[FakeEngine, Prometheus], tmp_path: Path) -> None:
    _, prometheus = states
    (wall,) = preview(PreviewOptions(prometheus.url, tmp_path, ("labelwatch-operations",)))
    page = wall.read_text("utf-8")
    for name in (given.QUOTES, given.LONG):
        assert html.escape(name).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in page
    assert given.QUOTES not in page


def test_every_state_has_its_tile_and_no_site_vanishes(states: tuple[FakeEngine, Prometheus]) -> None:
    _, prometheus = states
    answers = ask_all(prometheus, given.QUOTES)
    tiles = {letter: answers["labelwatch-operations", f"{TILES} {letter}"] for letter in "ABCDEFGHIJ"}
    names = {letter: [series["metric"].get("site") for series in found] for letter, found in tiles.items()}
    assert set(names["A"]) == {given.QUOTES, given.LONG}, "names come through as they are"
    assert names["B"] == ["silent"]
    assert names["C"] == ["below"]
    assert names["D"] == ["blind"]
    assert names["E"] == ["gone"]
    assert names["F"] == ["few"], "not enough data is a state of its own, and no figure"
    assert set(names["G"]) == set(given.NEAR)
    assert set(names["H"]) < set(given.PROVEN)
    assert names["I"] == [], "who sleeps comes last, and does not fit"
    shown = sum(len(found) for letter, found in tiles.items() if letter not in "EJ")
    assert shown == 30, "as many as the wall has tiles for"
    (more,) = tiles["J"]
    assert float(more["value"][1]) == len(given.SITES) - 1 - 30
    values = {
        series["metric"]["site"]: series["value"][1] for found in tiles.values() for series in found if series["metric"]
    }
    assert float(values[given.LONG]) == pytest.approx(0.9), "since the change, not by how much it fell"
    assert float(values["below"]) == pytest.approx(0.88), "accuracy, not its distance from the target"
    intervals = {
        series["metric"]["site"]: (series["metric"]["low"], series["metric"]["high"])
        for letter in "CGH"
        for series in tiles[letter]
    }
    assert intervals["below"] == ("86", "90")
    assert intervals[names["H"][0]] == ("97.5", "99")
    assert intervals["near-01"] == ("93", "97"), "a calm tile says what it rests on, too"
    assert {series["metric"]["day"] for series in tiles["A"]} == {"24 h 95%"}
    assert float(values["blind"]) == 7
    assert float(values["silent"]) > 1_900
    assert float(values["few"]) == 7
    for uid in BOARDS:
        live, late, unread, down = (answers[uid, f"Monitor {letter}"] for letter in "ABCD")
        assert (live, down) == ([], []), uid
        assert float(late[0]["value"][1]) == 300, uid
        assert float(unread[0]["value"][1]) == 1, uid


@pytest.mark.parametrize("site", [given.QUOTES, given.LONG], ids=["quotes", "long"])
def test_a_name_of_any_kind_is_asked_for_and_found(states: tuple[FakeEngine, Prometheus], site: str) -> None:
    _, prometheus = states
    answers = ask_all(prometheus, site, all_sites=False)
    for where in (
        "State now A",
        "Accuracy over $window, 95% interval B",
        "Projects over $window A",
        "Markets over $window A",
    ):
        (series,) = answers["labelwatch-site", where]
        assert series["metric"]["site"] == site
    drifts = answers["labelwatch-site", "What has changed: drifts open now A"]
    assert {drift["metric"]["site"] for drift in drifts} == {site}
    (capacity,) = answers["labelwatch-capacity", "Sites over $window I"]
    assert capacity["metric"]["vendor"] == site


def test_what_belongs_to_a_drift_is_below_it_and_no_incident_of_its_own(
    states: tuple[FakeEngine, Prometheus], tmp_path: Path
) -> None:
    _, prometheus = states
    pages = 'count(max by (site, project) (labelwatch_drift_active{budget="page"}) == 1)'
    assert prometheus.value(pages) == 3, "a site's, its project's, another's"
    answers = ask_all(prometheus, given.QUOTES)
    (opened,) = answers["labelwatch-operations", "Drifts open A"]
    assert float(opened["value"][1]) == 2
    for letter in "ABCDEFGH":
        rows = answers["labelwatch-operations", f"What now {letter}"]
        assert sorted(row["metric"]["site"] for row in rows) == sorted([given.QUOTES, given.LONG]), letter
        assert not any(row["metric"].get("project") for row in rows), letter
    within = {row["metric"]["site"]: row["value"][1] for row in answers["labelwatch-operations", "What now F"]}
    assert within == {given.QUOTES: "2", given.LONG: "0"}, "its ticket against the target is no project's and nobody's"
    for uid, panel, below in (
        ("labelwatch-site", "What has changed: drifts open now", [given.PROJECT_WITHIN, given.AGENT_WITHIN, None]),
        ("labelwatch-coach", "People whose work has changed, drifts open now", [given.AGENT_WITHIN, None]),
    ):
        letter = [asked.where for asked in queries.queries(BOARDS[uid]) if asked.panel == panel][-1]
        order = sorted(answers[uid, letter], key=lambda row: -float(row["value"][1]))
        found = [
            (row["metric"].get("project") or row["metric"].get("agent"), row["metric"].get("under")) for row in order
        ]
        assert found == [(None, None), *((name, "↳") for name in below)], uid
    options = PreviewOptions(prometheus.url, tmp_path, ("labelwatch-site",), {"site": [given.QUOTES]})
    (page,) = (path.read_text("utf-8") for path in preview(options))
    assert 0 < page.index("↳") < page.index(given.PROJECT_WITHIN) < page.index(given.AGENT_WITHIN)


def test_too_few_reviews_are_no_accuracy(states: tuple[FakeEngine, Prometheus]) -> None:
    _, prometheus = states
    answers = ask_all(prometheus, "blind", all_sites=False)
    for where in ("Accuracy over $window, 95% interval B", "Projects over $window A", "Markets over $window A"):
        assert answers["labelwatch-site", where] == []
    (n,) = answers["labelwatch-site", "Target and n B"]
    assert float(n["value"][1]) == 7


def test_who_sleeps_stands_last(states: tuple[FakeEngine, Prometheus]) -> None:
    ahead, prometheus = states
    ahead.site_figures = given.figures((given.QUOTES, "asleep"), 0)
    prometheus.wait_for('absent(site:labelwatch_state:code{site="below"})')
    answers = ask_all(prometheus, given.QUOTES)
    (tile,) = answers["labelwatch-operations", f"{TILES} I"]
    assert tile["metric"]["site"] == "asleep"


def test_every_query_had_data_in_one_of_these(
    dip: tuple[Operation, Prometheus], states: tuple[FakeEngine, Prometheus]
) -> None:
    """After the others, in this file's order."""
    # No site of either has a third project, which would be neither of the two lowest.
    others = ("labelwatch-site", "Accuracy by project over $window B")
    assert sorted(key for key, count in _TOGETHER.items() if not count and key != others) == []
