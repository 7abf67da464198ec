"""Watching: what is kept between readings, the rate of events, and who may be waited for."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from schemas.states import UNSEEN
from streams.ops.errors import CommandError
from streams.ops.watch import Rate, Watcher, save_svg, show, watch
from streams.views.http import Unreachable
from streams.views.samples import Samples


def page(site: str = "lima-1", **more: float) -> Samples:
    """A ready worker with one site."""
    return Samples(
        {
            "labelwatch_ready": [({"reason": "caught_up"}, 1.0)],
            "labelwatch_site_info": [({"site": site}, 1.0)],
            "labelwatch_site_labels": [({"site": site, "window": "1h"}, 10.0)],
            **{name: [({}, value)] for name, value in more.items()},
        }
    )


def unreachable() -> Samples:
    raise Unreachable("no answer from http://x: refused")


def plays(*sources: Callable[[], Samples]) -> Callable[[], Samples]:
    """One source after the other, the last one again and again."""
    left = list(sources)
    return lambda: (left.pop(0) if len(left) > 1 else left[0])()


def times(count: int) -> Callable[[], bool]:
    """Goes on so often."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def text_of(watcher: Watcher, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, height=40).print(watcher.board())
    return out.getvalue()


# --- rate


def test_the_rate_is_that_of_the_steps_and_the_first_value_is_none() -> None:
    rate = Rate()
    for second in range(41):
        # A hundred thousand at once, as a restart reads them, then 150 each 5 seconds.
        rate.add(1000.0 + second, 0.0 if second < 3 else 100_000.0 + 150 * (second // 5))
    assert rate.per_second == pytest.approx(30.0)


def test_a_counter_that_stands_still_or_restarts_gives_no_rate() -> None:
    rate = Rate()
    for second in range(20):
        rate.add(second, 500.0)
    assert rate.per_second is None
    for second, total in ((20, 600.0), (25, 700.0), (30, 5.0)):
        rate.add(second, total)
    assert rate.per_second is None


def test_a_rate_of_long_ago_is_not_shown_as_of_now() -> None:
    rate = Rate()
    for second in range(60):
        rate.add(second, 100.0 * second)
    assert rate.per_second == pytest.approx(100.0)
    for second in range(60, 160):
        rate.add(second, 5900.0)
    assert rate.per_second == 0


# --- watcher


def test_a_patient_watcher_waits_for_the_first_answer_and_then_complains() -> None:
    watcher = Watcher(plays(unreachable, page, unreachable), patient=True)
    watcher.turn()
    assert "STARTING" in text_of(watcher)
    watcher.turn()
    watcher.turn()
    assert watcher.trouble is not None
    text = text_of(watcher)
    assert "DOWN" in text
    assert "UNKNOWN" in next(line for line in text.splitlines() if "lima-1" in line)


def test_an_impatient_watcher_says_at_once_that_nobody_answers() -> None:
    with pytest.raises(CommandError, match=r"no answer from http://x: refused; start a worker, or give .* --url"):
        watch(Watcher(unreachable), Console(file=io.StringIO()), plain=False, seconds=None)


def test_a_site_that_leaves_the_page_stays_as_unknown() -> None:
    watcher = Watcher(plays(lambda: page("lima-1"), lambda: page("lima-2")))
    watcher.turn()
    watcher.turn()
    assert watcher.reading is not None
    assert {line.site for line in watcher.reading.sites if line.state is UNSEEN} == {"lima-1"}
    assert {line.site for line in watcher.reading.sites} == {"lima-1", "lima-2"}


def test_what_is_no_terminal_gets_lines_and_a_thing_is_said_once() -> None:
    out = io.StringIO()
    watcher = Watcher(plays(unreachable, unreachable, page), patient=True)
    show(watcher, Console(file=out, width=40), plain=False, go_on=times(40))
    lines = out.getvalue().splitlines()
    assert lines[0] == "monitor state=starting why='waiting for the worker'"
    assert lines[1].startswith("monitor state=")
    assert "lima-1" in lines[2]
    assert "\x1b" not in out.getvalue()


def test_the_picture_is_an_svg_of_the_board(tmp_path: Path) -> None:
    save_svg(Watcher(page), tmp_path / "board.svg")
    picture = (tmp_path / "board.svg").read_text()
    assert "lima-1" in picture
    assert "url(http" not in picture.replace(" ", "")
    with pytest.raises(CommandError, match="no answer"):
        save_svg(Watcher(unreachable), tmp_path / "none.svg")
    with pytest.raises(CommandError, match="can be written"):
        save_svg(Watcher(page), tmp_path / "no" / "board.svg")
