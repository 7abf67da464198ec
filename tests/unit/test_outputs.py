"""What a producer or a page smuggles in, character class by character class, through every output that people read.

Metrics and drift records, and so alerts, are in test_text.py; explain and rejected in their own files.
"""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from schemas.policy import Policy
from schemas.text import HIDDEN, cell
from streams.ops import backtest, compute
from streams.ops.preview import PreviewOptions, preview
from streams.views import samples
from streams.views.board import TerminalBoard, plain_lines
from streams.views.reading import read
from tests.boards.fake_prometheus import FakePrometheus, serving
from tests.boards.small import board, panel, target

AT = 1_763_985_600_000
#: By class: controls, format characters, separators; every one that turns or hides text is in HIDDEN (test_text.py).
CLASSES = {
    "Cc": "\x00\x07\x1b[31m\x7f\x85\x9b",
    "Cf": "\xad\u061c\u180e\u200b\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041",
    "Zl, Zp": "\u2028\u2029",
    "joiners between Latin letters": "a\u200da\u200cb",
    "drawn as nothing": "a\u034f\u115f\u1160\u17b4\u180b\u2800\u3164\ufe00\ufe0f\uffa0\U000e0100",
}
EACH = pytest.mark.parametrize("hidden", CLASSES.values(), ids=CLASSES)
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=\u202e1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)")


def lines_of(text: str) -> list[str]:
    return text.split("\n")


def no_line_hides_anything(text: str) -> None:
    for line in lines_of(text):
        assert not HIDDEN.search(line), ascii(line)


@pytest.fixture(scope="module", params=list(CLASSES.values()), ids=list(CLASSES))
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label with the class among the causes of a drift, and lines that are refused for it."""
    hidden = request.param
    common = {"type": "label_reviewed", "site_id": "s", "project_id": "p", "source": "qa"}
    events: list[dict[str, Any]] = [
        common
        | {"event_id": f"e{n}", "at": AT + 60_000 * n, "agent_id": f"a-{n % 20}", "task_id": f"t{n}"}
        | {"label": f"bad{hidden}label" if n % 2 else "ok", "correct": n % 25 > 0 and not (n > 3_000 and n % 2)}
        for n in range(3_400)
    ]
    for field in ("site_id", "type", "source", f"x{hidden}"):
        events.append(events[0] | {"event_id": f"refused-{field[0]}", field: f"qa{hidden}"})
    events.append(events[0] | {"event_id": "no number", "at": f"soon{hidden}"})
    file = tmp_path_factory.mktemp("history") / "history.jsonl"
    file.write_text("\n".join(map(json.dumps, events)), "utf-8")
    return file


def test_backtest_and_compute_write_out_what_hides(history: Path) -> None:
    policy = Policy()
    out = io.StringIO()
    console = Console(file=out, width=400)
    judged = backtest.backtest(history, policy)
    assert any(cause.by == "label" for record in judged.run.drifts for cause in record.causes), "the label is a cause"
    assert judged.run.rejected, "some are refused"
    backtest.print_report(judged, policy, console)
    backtest.print_json(judged, out)
    computed = compute.compute(history, policy)
    compute.print_tables(computed, policy, console)
    compute.print_json(computed, out)
    out.write("\n".join(compute.trouble_lines(judged.run.rejected)))
    no_line_hides_anything(out.getvalue())


@EACH
def test_the_terminal_and_its_lines_write_out_what_a_page_hides(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site = f"manila{hidden}-1".replace("\n", "")
    page = f'labelwatch_ready{{reason="caught_up"}} 1\nlabelwatch_site_info{{site="{site}",vendor="{site}"}} 1\n'
    of = f'site="{site}",project="{site}",signal="accuracy",direction="down",budget="page"'
    page += f"labelwatch_drift_active{{{of}}} 1\n"
    answer = [
        {"metric": {"__name__": "labelwatch_site_info", "site": site, "vendor": site}, "value": [0, "1"]},
        {"metric": {"__name__": "labelwatch_ready", "reason": site}, "value": [0, "0"]},
    ]
    for text, source in (
        (page, samples.read_worker),
        (json.dumps({"data": {"result": answer}}), samples.read_prometheus),
    ):
        monkeypatch.setattr(samples, "_get", lambda *_, text=text, **__: text)
        reading = read(source("http://x"), AT / 1000)
        out = io.StringIO()
        Console(file=out, width=300, height=40).print(TerminalBoard(reading, now_seconds=AT / 1000))
        out.write("\n".join(plain_lines(reading, None, AT / 1000)))
        assert "manila" in out.getvalue()
        no_line_hides_anything(out.getvalue())


@EACH
def test_a_board_as_html_writes_out_what_hides(hidden: str, tmp_path: Path) -> None:
    name = f"manila{hidden}-1"
    kinds = ("table", "stat", "bargauge", "timeseries")
    made = board(
        *(panel(kind, f"{kind} $site", 0, 8 * n, 12, 8, target("x", "{{site}}")) for n, kind in enumerate(kinds)),
        annotations={"list": []},
    )
    fake = FakePrometheus()
    fake.answers["x"] = [({"site": name}, 1.0)]
    fake.labels["site"] = [name]
    (tmp_path / "one.json").write_text(json.dumps(made), "utf-8")
    with serving(fake):
        options = PreviewOptions(fake.url, tmp_path / "out", chosen={"site": [name]}, folder=tmp_path)
        (page,) = preview(options)
    text = page.read_text("utf-8")
    assert text.count("manila") >= len(kinds)
    no_line_hides_anything(text)


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    assert cell(text)[0] == "'"
    assert not HIDDEN.search(cell(text))
    assert cell("p-7 = ok") == "p-7 = ok"
