"""The board: how a site stands, in what order, and that it fits; absence of data is never a figure."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from schemas.states import (
    AT_TARGET,
    BELOW,
    BLIND,
    DRIFT,
    NEAR,
    NO_SHIFT,
    SILENT,
    UNSEEN,
    SiteStatus,
)
from streams.views.board import TerminalBoard, plain_lines
from streams.views.reading import OpenDrift, Reading, monitor, read, remember
from streams.views.samples import Samples
from tests.unit.scrape import NOW, Scrape

WIDTHS = (80, 120, 160)


def state_of(**more: Any) -> SiteStatus:
    scrape = Scrape()
    scrape.site("lima-1", **more)
    (line,) = scrape.reading().sites
    return line.state


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"interval": (0.97, 0.955, 0.98)}, AT_TARGET),
        ({"interval": (0.97, 0.95, 0.98)}, AT_TARGET),
        ({"interval": (0.94, 0.93, 0.96)}, NEAR),
        ({"interval": (0.94, 0.93, 0.95)}, NEAR),
        ({"interval": (0.91, 0.88, 0.94)}, BELOW),
        ({"interval": None, "reviews": 12}, BLIND),
        ({"interval": None, "reviews": 0, "labels": 0}, NO_SHIFT),
        ({"interval": (0.97, 0.955, 0.98), "silent_seconds": 901}, SILENT),
        ({"interval": (0.97, 0.955, 0.98), "silent_seconds": 901, "working": 0}, NO_SHIFT),
        ({"interval": (0.97, 0.955, 0.98), "silent_seconds": 900}, AT_TARGET),
    ],
)
def test_a_site_stands_as_its_interval_and_its_labels_say(more: dict[str, object], state: SiteStatus) -> None:
    assert state_of(**more) is state


@pytest.mark.parametrize(
    ("upper", "shown"), [(0.94, "-1.0 pt"), (0.9496, "-0.04 pt"), (0.949999, "-0.01 pt"), (0.95, NEAR.glyph)]
)
def test_what_is_proven_is_never_shown_as_nothing(upper: float, shown: str) -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.93, 0.92, upper))
    assert f" {shown} " in picture(scrape.reading())


def test_a_drift_of_the_site_shows_before_all_else_and_one_of_a_person_does_not() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.91, 0.88, 0.94))
    scrape.drift("lima-1")
    scrape.site("lima-2", (0.97, 0.955, 0.98))
    scrape.drift("lima-2", agent="p-abc")
    reading = scrape.reading()
    assert [(line.site, line.state) for line in reading.sites] == [("lima-1", DRIFT), ("lima-2", AT_TARGET)]
    assert reading.drifts == (OpenDrift("lima-1", "spam", "accuracy", "down", "page", 1.7, 0.96, 0.88, 312, NOW - 660),)


def test_river_agrees_beside_ours_and_alone_makes_no_state_of_a_site() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.91, 0.88, 0.94))
    scrape.drift("lima-1")
    scrape.site("lima-2", (0.97, 0.955, 0.98))
    for site, project in (("lima-1", "spam"), ("lima-2", "")):
        of = {"site": site, "project": project, "agent": "", "signal": "accuracy", "direction": "down"}
        scrape.add("labelwatch_river_drift_active", 1, **of, detector="ADWIN")
        scrape.add("labelwatch_river_drift_baseline_ratio", 0.97, **of, detector="ADWIN")
        scrape.add("labelwatch_river_drift_current_ratio", 0.91, **of, detector="ADWIN")
    reading = scrape.reading()
    assert [(line.site, line.state) for line in reading.sites] == [("lima-1", DRIFT), ("lima-2", AT_TARGET)]
    shown = picture(reading)
    assert "river agrees (ADWIN)" in shown
    assert "lima-2 accuracy down  97.0% to 91.0%  river's ADWIN alone, no promise" in shown
    assert "1 drift open" in shown
    ours, alone = (line for line in plain_lines(reading, None, NOW) if line.startswith("drift "))
    assert ours.endswith("budget=page evidence=1.70 river=ADWIN")
    assert alone.endswith("direction=down no-promise river=ADWIN")


def test_the_worst_stands_first_and_among_the_below_the_one_proven_furthest() -> None:
    scrape = Scrape()
    scrape.site("above", (0.99, 0.98, 0.995))
    scrape.site("near", (0.94, 0.93, 0.96))
    scrape.site("near-but-lower", (0.935, 0.92, 0.955))
    scrape.site("below", (0.91, 0.88, 0.94))
    scrape.site("far-below", (0.80, 0.75, 0.84))
    scrape.site("blind", None, reviews=3)
    scrape.site("silent", (0.99, 0.98, 0.995), silent_seconds=3600)
    scrape.site("quiet", None, reviews=0, labels=0, working=0)
    scrape.site("drifting", (0.99, 0.98, 0.995))
    scrape.drift("drifting")
    order = [line.site for line in scrape.reading().sites]
    assert order == [
        *("drifting", "silent", "far-below", "below", "blind", "near-but-lower", "near", "above", "quiet"),
    ]
    assert [line.split("'")[1] for line in plain(scrape.reading()) if line.startswith("site=")] == order


# --- the picture


def plain(reading: Reading) -> list[str]:
    return plain_lines(reading, None, NOW)


def drawn(board: TerminalBoard, width: int = 160, height: int = 40) -> str:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(board)
    return out.getvalue()


def picture(reading: Reading | None, width: int = 160, height: int = 40, trouble: str | None = None) -> str:
    return drawn(
        TerminalBoard(reading, trouble=trouble, now_seconds=NOW, urls=("http://x/metrics",), note="a note"),
        width,
        height,
    )


def row_of(text: str, site: str) -> str:
    return next(line for line in text.splitlines() if site in line)


@pytest.mark.parametrize("width", WIDTHS)
def test_too_few_reviews_are_said_in_words_and_never_as_a_ratio(width: int) -> None:
    scrape = Scrape()
    scrape.site("lima-1", None, reviews=12)
    scrape.site("lima-2", None, reviews=0, labels=0)
    text = picture(scrape.reading(), width)
    for site in ("lima-1", "lima-2"):
        row = row_of(text, site)
        assert "not enough data" in row
        # The target is the only ratio there is.
        assert set(re.findall(r"[\d.]+%", row)) <= {"95.0%"}
    for line in plain(scrape.reading())[1:]:
        assert "accuracy=" not in line
        assert "lower=" not in line


def test_an_accuracy_of_nothing_right_is_a_figure() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.0, 0.0, 0.11))
    assert "0.0%" in row_of(picture(scrape.reading()), "lima-1")
    assert "accuracy=0.0000" in plain(scrape.reading())[1]


def test_a_state_is_told_by_glyph_and_word_not_by_colour_alone() -> None:
    states = (DRIFT, SILENT, BELOW, BLIND, NEAR, AT_TARGET, NO_SHIFT)
    assert len({state.glyph for state in states}) == len(states)
    assert len({state.short for state in states}) == len(states)
    scrape = Scrape()
    scrape.site("lima-1", (0.91, 0.88, 0.94))
    row = row_of(picture(scrape.reading(), 80), "lima-1")
    assert "▽ BELOW" in row


@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_fits_and_the_site_its_state_and_accuracy_stay(width: int) -> None:
    scrape = Scrape()
    for number in range(6):
        scrape.site(f"a-site-of-a-long-name-{number}", (0.9234, 0.9, 0.94 + number / 100), labels=12_345, working=1_999)
    scrape.site("blind", None, reviews=3)
    scrape.drift("blind")
    text = picture(scrape.reading(), width)
    assert max(map(len, text.splitlines())) <= width
    row = row_of(text, "a-site-of-a-long-name-0")
    assert "BELOW" in row
    assert "92.3%" in row
    assert "…" not in row


def test_a_wider_terminal_shows_no_less() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.91, 0.88, 0.94))
    # All but the bar, which grows.
    rows = [set(re.sub(r"[·━●┃]+", "", row_of(picture(scrape.reading(), w), "lima-1")).split()) for w in WIDTHS]
    assert rows[0] <= rows[1] <= rows[2]
    assert {"88.0", "94.0", "400"} <= rows[0]


FIGURES = {"labelwatch_site_utilization_ratio": 0.996, "labelwatch_site_handle_seconds_mean": 31.4}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_column_that_has_no_room_stands_below_its_site_or_is_named(width: int) -> None:
    scrape = Scrape()
    for site in ("lima-1", "lima-2"):
        scrape.site(site, (0.91, 0.88, 0.94), labels=123)
        for name, value in FIGURES.items():
            scrape.add(name, value, site=site, window="1h")
    scrape.drift("lima-1", project="")
    headings = (
        "since change",
        "target",
        "proven",
        "now 15m",
        "QA 24h",
        "labels/h",
        "s/label",
        "utilized",
        "at work",
        "away",
    )
    tall, low = picture(scrape.reading(), width, 60), picture(scrape.reading(), width, 22)
    for heading in headings:
        assert heading in tall
        assert heading in " ".join(low.split()), "named, where there is no room for it either way"
    assert tall.count("31.4") == tall.count("99.6%") == 2, "and no share reads 100% that is below it"
    assert len(low.splitlines()) <= 22
    assert max(map(len, tall.splitlines())) <= width


def test_accuracy_since_the_change_stands_beside_that_of_24_hours() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.91, 0.88, 0.94))
    scrape.drift("lima-1", signal="handle_time", project="")
    scrape.drift("lima-1", project="")
    (line,) = scrape.reading().sites
    assert line.since_change == 0.88
    text = picture(scrape.reading(), 80)
    assert {"91.0%", "88.0%"} <= set(row_of(text, "lima-1").split())
    assert "since 11:49 UTC" in text, "no part of a drift's line is cut"
    assert "evidence 1.7 x" in text


def test_sites_that_do_not_fit_are_the_calm_ones_and_are_counted() -> None:
    scrape = Scrape()
    for number in range(30):
        scrape.site(f"calm-{number}", (0.97, 0.955, 0.98))
    scrape.site("worst", (0.80, 0.75, 0.84))
    text = picture(scrape.reading(), 120, 20)
    assert len(text.splitlines()) <= 20
    assert "worst" in text
    assert re.search(r"\+\d+ more sites, all near, above or quiet", text)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_monitor_that_does_not_answer_is_down_with_its_old_figures_called_old(width: int) -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    reading = scrape.reading()
    text = drawn(TerminalBoard(reading, trouble="no answer", now_seconds=NOW + 90), width)
    assert "DOWN" in text
    assert "LIVE" not in text
    assert "figures are 90 s old" in " ".join(text.replace("│", " ").split())
    assert max(map(len, text.splitlines())) <= width


def test_before_the_first_figures_it_is_starting_and_after_them_live() -> None:
    assert "STARTING" in picture(None)
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    assert "LIVE" in picture(scrape.reading())


def test_a_monitor_behind_or_not_ready_does_not_look_live() -> None:
    behind = Scrape()
    behind.site("lima-1", (0.97, 0.955, 0.98))
    behind.add("labelwatch_figures_lag_seconds", 75, topic="t", partition="0")
    behind.add("labelwatch_consumer_lag_records", 5_000, topic="t", partition="0")
    text = picture(behind.reading())
    assert "STALE" in text
    assert "75 s behind, 5,000 records" in text
    held_up = Scrape()
    held_up.site("lima-1", (0.97, 0.955, 0.98))
    held_up.add("labelwatch_open_transaction_seconds", 300, topic="t", partition="0")
    held_up.add("labelwatch_uncommitted_records", 1_200, topic="t", partition="0")
    text = picture(held_up.reading())
    assert "STALE" in text
    assert "open for 5 min, keeps 1,200 records from being read" in " ".join(text.split())
    waiting = Scrape()
    waiting.site("lima-1", (0.97, 0.955, 0.98))
    waiting.add("labelwatch_ready", 0, reason="restored")
    text = picture(waiting.reading())
    assert "STALE" in text
    assert "restores its state" in text
    assert plain(waiting.reading())[0].startswith("monitor state=stale why=")


def test_a_hung_worker_is_stale_by_its_loops_clock() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    scrape.add("labelwatch_loop_timestamp_seconds", NOW - 90)
    assert "hung for 90 s" in picture(scrape.reading())


def test_a_worker_out_of_its_group_is_down_and_its_sites_are_unknown_not_gone() -> None:
    before = Scrape()
    before.site("lima-1", (0.97, 0.955, 0.98))
    seen: dict[str, float] = {}
    first = remember(before.reading(), None, seen)
    after = Scrape()
    after.add("labelwatch_ready", 0, reason="member")
    cut_off = remember(after.reading(), first, seen)
    assert [(line.site, line.state) for line in cut_off.sites] == [("lima-1", UNSEEN)]
    text = picture(cut_off)
    assert "DOWN" in text
    assert "✓ above" not in row_of(text, "lima-1")


def test_a_site_that_left_the_page_is_unknown_for_an_hour() -> None:
    both = Scrape()
    both.site("lima-1", (0.97, 0.955, 0.98))
    both.site("lima-2", (0.97, 0.955, 0.98))
    seen: dict[str, float] = {}
    shown = remember(both.reading(), None, seen)
    one = Scrape()
    one.site("lima-2", (0.97, 0.955, 0.98))
    for minutes, expected in ((1, ["lima-1", "lima-2"]), (59, ["lima-1", "lima-2"]), (61, ["lima-2"])):
        shown = remember(read(one.samples, NOW + 60 * minutes), shown, seen)
        assert [line.site for line in shown.sites] == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_no_site_looks_calm_or_known_under_a_dead_monitor(width: int) -> None:
    scrape = Scrape()
    for number, interval in enumerate(((0.97, 0.955, 0.98), (0.94, 0.93, 0.96), (0.91, 0.88, 0.94))):
        scrape.site(f"lima-{number}", interval)
    board = TerminalBoard(scrape.reading(), trouble="no answer", events_per_second=30, now_seconds=NOW + 5)
    text = drawn(board, width)
    for number in range(3):
        assert row_of(text, f"lima-{number}").split()[:2] == ["·", "UNKNOWN"]
    assert "events/s" not in text
    lines = plain_lines(scrape.reading(), "no answer", NOW + 5)
    assert lines[0].startswith("monitor state=down why=")
    assert all("state=unknown" in line for line in lines[1:])


def test_a_prometheus_without_a_worker_is_down() -> None:
    state, why = monitor(read(Samples(), NOW), None, NOW)
    assert state.word.en == "DOWN"
    assert "no worker is scraped" in why


def test_silence_of_every_site_is_said_and_old_events_of_a_replay_are_not_silence() -> None:
    silent = Scrape()
    silent.site("lima-1", (0.97, 0.955, 0.98))
    state, why = monitor(silent.reading(), None, NOW + 1200)
    assert (state.word.en, why) == ("NO EVENTS", "for 20 min")
    assert monitor(silent.reading(), None, NOW + 86_400)[0].word.en == "REPLAY"
    nothing_in_the_last_hour = Scrape()
    nothing_in_the_last_hour.site("lima-1", (0.97, 0.955, 0.98), labels=0)
    assert monitor(nothing_in_the_last_hour.reading(), None, NOW + 86_400)[0].word.en == "NO EVENTS"


def test_a_worker_without_figures_yet_is_starting() -> None:
    scrape = Scrape()
    scrape.add("labelwatch_ready", 0, reason="assigned")
    assert "STARTING" in picture(scrape.reading())
    empty = Scrape()
    del empty.samples.by_name["labelwatch_watermark_timestamp_seconds"]
    assert "no event yet" in picture(empty.reading())


@pytest.mark.parametrize("width", WIDTHS)
def test_an_open_drift_says_where_how_far_and_since_when(width: int) -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    scrape.drift("lima-1")
    scrape.drift("lima-1", project="hate", budget="ticket")
    text = picture(scrape.reading(), width)
    line = row_of(text, "spam accuracy down")
    assert "page" in line
    assert "96.0% to 88.0%" in line
    assert "n 312" in line
    assert "11 min" in text
    assert text.index("spam accuracy") < text.index("hate accuracy")
    assert "drift site='lima-1' project='spam' signal=accuracy direction=down budget=page" in plain(scrape.reading())[1]


def test_people_are_told_by_what_they_do() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98), working=187)
    for state, people in (("available", 4), ("break", 10), ("meeting", 3), ("training", 2), ("offline", 99)):
        scrape.add("labelwatch_site_agents", people, site="lima-1", role="agent", state=state)
    assert "at_work=187 waiting=4 away=15" in plain(scrape.reading())[1]
    assert "187 at work, 4 waiting" in picture(scrape.reading())


def test_all_sites_together_have_the_sum_of_reviews_and_its_interval() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.96, 0.9, 0.99), reviews=25)
    scrape.site("lima-2", (0.92, 0.8, 0.97), reviews=25)
    scrape.site("blind", None, reviews=9)
    # 47 of 50: Wilson 83.8 to 97.9.
    assert "all 94.0% (83.8 to 97.9, n 50)" in picture(scrape.reading())


def test_what_is_slower_or_less_utilized_than_the_policy_wants_is_marked() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    scope = {"site": "lima-1", "project": "", "market": ""}
    scrape.add("labelwatch_target_ratio", 0.8, kind="utilization", **scope)
    scrape.add("labelwatch_target_handle_seconds", 45, **scope)
    scrape.add("labelwatch_site_utilization_ratio", 0.67, site="lima-1", window="1h")
    scrape.add("labelwatch_site_handle_seconds_mean", 51.25, site="lima-1", window="1h")
    row = row_of(picture(scrape.reading(), 200), "lima-1")
    assert "▽ 67%" in row
    assert "△ 51.2" in row


def test_what_rests_on_estimated_presence_is_marked_and_below_no_target() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    scrape.add("labelwatch_target_ratio", 0.8, kind="utilization", site="lima-1", project="", market="")
    scrape.add("labelwatch_site_utilization_ratio", 0.67, site="lima-1", window="1h")
    assert " utilization=0.6700 " in plain(scrape.reading())[1]
    scrape.add("labelwatch_site_presence_estimated", 1, site="lima-1")
    row = row_of(picture(scrape.reading(), 200), "lima-1")
    assert " ~67%" in row
    assert "▽" not in row
    assert " ~12 " in row
    assert " utilization_estimated=0.6700 " in plain(scrape.reading())[1]


def test_reviewers_and_the_last_minutes_are_judged_by_their_own_intervals() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.97, 0.955, 0.98))
    scrape.add("labelwatch_target_ratio", 0.98, site="lima-1", project="", market="", kind="qa_accuracy")
    for role, window, interval in (("qa", "24h", (0.90, 0.85, 0.94)), ("agent", "15m", (0.88, 0.80, 0.93))):
        scope = {"site": "lima-1", "role": role, "window": window}
        for name, value in zip(("accuracy", "accuracy_lower", "accuracy_upper"), interval, strict=True):
            scrape.add(f"labelwatch_site_{name}_ratio", value, **scope)
    row = row_of(picture(scrape.reading(), 200), "lima-1")
    assert "▽ 90.0%" in row
    assert "▽ 88.0%" in row
    assert "✓ above" in row


def test_names_of_sites_are_shown_as_they_are() -> None:
    scrape = Scrape()
    scrape.site("[bold]lima[/bold]", (0.97, 0.955, 0.98))
    assert "[bold]lima[/bold]" in picture(scrape.reading())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [14, 20, 24, 40])
@pytest.mark.parametrize("trouble", [None, "no answer from http://127.0.0.1:9464/metrics: Connection refused"])
def test_it_fits_its_terminal_whatever_is_to_tell(width: int, height: int, trouble: str | None) -> None:
    scrape = Scrape()
    for number in range(40):
        scrape.site(f"site-{number}", (0.9, 0.88, 0.92) if number % 2 else None, reviews=number)
    for number in range(6):
        scrape.drift(f"site-{number}")
    text = picture(scrape.reading(), width, height, trouble)
    lines = text.splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "site-" in text
    assert "more sites" in text


def test_what_belongs_to_a_sites_drift_is_shown_below_it() -> None:
    scrape = Scrape()
    for site, project, parent in (("b", "", ""), ("a", "", ""), ("b", "spam", "d-1"), ("a", "other", "")):
        scrape.drift(site, project=project)
        ids = {"drift_id": "d", "parent": parent, "incident": "d-1"}
        of = {"site": site, "project": project, "agent": "", "signal": "accuracy", "direction": "down"}
        scrape.add("labelwatch_drift_info", 1, **of, budget="page", **ids)
    drifts = read(scrape.samples, NOW).drifts
    assert [(drift.site, drift.project, drift.is_within) for drift in drifts] == [
        ("b", "", False),
        ("b", "spam", True),
        ("a", "", False),
        ("a", "other", False),
    ]
