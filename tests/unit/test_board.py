"""The board: how a site stands, in what order, and that it fits; absence of data is never a figure."""

import io
import re

import pytest
from rich.console import Console

from streams.views.board import (
    ABOVE,
    BELOW,
    BLIND,
    DRIFT,
    NEAR,
    QUIET,
    SILENT,
    Board,
    Reading,
    State,
    plain_lines,
    read,
)
from streams.views.samples import Samples

NOW = 1_763_985_600.0
WIDTHS = (80, 120, 160)


class Scrape:
    """Samples, site by site."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.add("labelwatch_watermark_timestamp_seconds", NOW)
        self.add("labelwatch_ready", 1, reason="caught_up")

    def add(self, name: str, value: float, **labels: str) -> None:
        self.samples.by_name.setdefault(name, []).append((labels, value))

    def site(
        self,
        site: str,
        interval: tuple[float, float, float] | None = None,
        *,
        reviews: int = 400,
        labels: int = 100,
        silent_seconds: float = 0.0,
        working: int = 12,
        target: float = 0.95,
    ) -> None:
        """A site; `interval` is accuracy with its lower and upper bound."""
        self.add("labelwatch_site_info", 1, site=site, vendor="", timezone="UTC", partition="0")
        self.add("labelwatch_target_ratio", target, site=site, project="", market="", kind="accuracy")
        scope = {"site": site, "role": "agent", "window": "24h"}
        if interval is not None:
            for name, value in zip(("accuracy", "accuracy_lower", "accuracy_upper"), interval, strict=True):
                self.add(f"labelwatch_site_{name}_ratio", value, **scope)
        if reviews:
            self.add("labelwatch_site_reviews", reviews, **scope)
        if labels:
            self.add("labelwatch_site_labels", labels, site=site, window="1h")
        if working:
            self.add("labelwatch_site_agents", working, site=site, role="agent", state="productive")
        at = NOW - silent_seconds
        self.add("labelwatch_site_last_event_timestamp_seconds", at, site=site, type="label_submitted")

    def drift(self, site: str, **labels: str) -> None:
        scope = {"site": site, "project": "spam", "agent": "", "signal": "accuracy", **labels}
        self.add("labelwatch_drift_active", 1, **scope)
        self.add("labelwatch_drift_evidence", 1.7, **scope)

    def reading(self) -> Reading:
        return read(self.samples, NOW)


def state_of(**more: object) -> State:
    scrape = Scrape()
    scrape.site("lima-1", **more)  # type: ignore[arg-type]  # what the case says
    (line,) = scrape.reading().sites
    return line.state


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"interval": (0.97, 0.955, 0.98)}, ABOVE),
        ({"interval": (0.97, 0.95, 0.98)}, ABOVE),
        ({"interval": (0.94, 0.93, 0.96)}, NEAR),
        ({"interval": (0.94, 0.93, 0.95)}, NEAR),
        ({"interval": (0.91, 0.88, 0.94)}, BELOW),
        ({"interval": None, "reviews": 12}, BLIND),
        ({"interval": None, "reviews": 0, "labels": 0}, QUIET),
        ({"interval": (0.97, 0.955, 0.98), "silent_seconds": 901}, SILENT),
        ({"interval": (0.97, 0.955, 0.98), "silent_seconds": 901, "working": 0}, QUIET),
        ({"interval": (0.97, 0.955, 0.98), "silent_seconds": 900}, ABOVE),
    ],
)
def test_a_site_stands_as_its_interval_and_its_labels_say(more: dict[str, object], state: State) -> None:
    assert state_of(**more) is state


def test_a_drift_of_the_site_shows_before_all_else_and_one_of_a_person_does_not() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.91, 0.88, 0.94))
    scrape.drift("lima-1")
    scrape.site("lima-2", (0.97, 0.955, 0.98))
    scrape.drift("lima-2", agent="p-abc")
    reading = scrape.reading()
    assert [(line.site, line.state) for line in reading.sites] == [("lima-1", DRIFT), ("lima-2", ABOVE)]
    assert reading.drifts == [("lima-1", "spam", "accuracy", 1.7)]


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
    assert [line.split("'")[1] for line in plain_lines(scrape.reading())[1:]] == order


# --- the picture


def drawn(board: Board, width: int = 160, height: int = 40) -> str:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(board)
    return out.getvalue()


def picture(reading: Reading | None, width: int = 160, height: int = 40, trouble: str | None = None) -> str:
    return drawn(
        Board(reading, trouble=trouble, now_seconds=NOW, urls=("http://x/metrics",), note="a note"), width, height
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
    for line in plain_lines(scrape.reading())[1:]:
        assert "accuracy=" not in line
        assert "lower=" not in line


def test_an_accuracy_of_nothing_right_is_a_figure() -> None:
    scrape = Scrape()
    scrape.site("lima-1", (0.0, 0.0, 0.11))
    assert "0.0%" in row_of(picture(scrape.reading()), "lima-1")
    assert "accuracy=0.0000" in plain_lines(scrape.reading())[1]


def test_a_state_is_told_by_glyph_and_word_not_by_colour_alone() -> None:
    states = (DRIFT, SILENT, BELOW, BLIND, NEAR, ABOVE, QUIET)
    assert len({state.glyph for state in states}) == len(states)
    assert len({state.word for state in states}) == len(states)
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
    rows = [set(row_of(picture(scrape.reading(), width), "lima-1").split()) for width in WIDTHS]
    assert rows[0] <= rows[1] <= rows[2]
    assert "88.0%" in rows[2]


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
    text = drawn(Board(reading, trouble="nobody answers", now_seconds=NOW + 90), width)
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
    behind.add("labelwatch_consumer_lag_seconds", 60, topic="t", partition="0")
    behind.add("labelwatch_consumer_lag_records", 5_000, topic="t", partition="0")
    text = picture(behind.reading())
    assert "BEHIND" in text
    assert "lag 60 s" in text
    waiting = Scrape()
    waiting.add("labelwatch_ready", 0, reason="restored")
    text = picture(waiting.reading())
    assert "NOT READY" in text
    assert "waiting for restored" in text
    assert plain_lines(waiting.reading())[0].startswith("monitor ready=0")


def test_names_of_sites_are_shown_as_they_are() -> None:
    scrape = Scrape()
    scrape.site("[bold]lima[/bold]", (0.97, 0.955, 0.98))
    assert "[bold]lima[/bold]" in picture(scrape.reading())
