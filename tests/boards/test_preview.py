"""Pages of boards: what a Prometheus answers is what a viewer reads, whatever it answers."""

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from streams.ops.errors import CommandError
from streams.ops.preview import PreviewOptions, board_files, preview
from streams.views.preview.board import KINDS, board_of
from streams.views.preview.errors import PreviewError
from streams.views.preview.transform import TRANSFORMATIONS
from tests.boards.fake_prometheus import FakePrometheus, serving
from tests.boards.small import HOSTILE, LONG, board, config, every_answer, every_kind, instant, panel, target
from tests.support.ports import free_port

#: The last moment of the pages, epoch ms: whole hours, so that times at axes are known.
END_MS = 1_763_805_600_000


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with serving(FakePrometheus()) as fake:
        yield fake


class Page(HTMLParser):
    """A page as a browser reads it: texts, elements, attributes."""

    VOID = ("meta", "col", "br", "path", "use", "rect", "polygon", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.styles: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self._style = [""]
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href", "srcset")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in self.VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self._style.append(dict(attributes).get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and len(self._style) > 1:
            self._style.pop()

    def handle_data(self, data: str) -> None:
        if text := data.strip():
            self.texts.append(text)
            self.styles.append((text, " ".join(self._style[-2:])))

    def style_of(self, text: str) -> str:
        """The style of the element around a text, and of the one around that."""
        return next(style for each, style in self.styles if each == text)


def drawn(prometheus: FakePrometheus, tmp_path: Path, made: dict[str, Any], **more: Any) -> Page:
    folder = tmp_path / "boards"
    folder.mkdir(exist_ok=True)
    (folder / "one.json").write_text(json.dumps(made), "utf-8")
    times = {"end": str(END_MS), "start": str(END_MS - 6 * 3_600_000)}
    options = PreviewOptions(prometheus.url, tmp_path / "out", folder=folder, **times | more)
    (path,) = preview(options)
    assert path == tmp_path / "out" / f"{made['uid']}.html"
    return Page(path.read_text("utf-8"))


def alone(kind: str, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A board with one panel and nothing else that asks."""
    return board(panel(kind, "One", 0, 0, 12, 8, *targets, **more), templating={"list": []}, annotations={"list": []})


def test_every_kind_of_panel_shows_its_values(prometheus: FakePrometheus, tmp_path: Path) -> None:
    page = drawn(every_answer(prometheus), tmp_path, every_kind())

    assert {"▼ DRIFT", "≈ near", "not enough data"} <= set(page.texts), "stat, mapped"
    assert "background:#B24A00" in page.style_of("▼ DRIFT")
    assert "background:#6E6E6E" in page.style_of("not enough data")
    assert "1.50 s" in page.texts, "stat with a unit"
    assert "nothing is open" in page.texts, "noValue in place of an empty panel"
    assert {"80%", "90%", "30 s", "45 s", "19:00"} & set(page.texts) >= {"90%", "45 s"}, "axes of two units"
    assert page.texts.count("manila-1") >= 4, "legend, table, bars, lanes"
    assert {"50%", "120%", "95%"} <= set(page.texts), "bar gauge"
    assert {"labels an hour", "accuracy", "97.5%"} <= set(page.texts), "XY chart"
    assert {"All", "24h"} <= set(page.texts), "variables at the top and in text"


def test_names_of_every_kind_are_text_and_nothing_else(prometheus: FakePrometheus, tmp_path: Path) -> None:
    made = every_kind()
    page = drawn(every_answer(prometheus), tmp_path, made, chosen={"site": [HOSTILE]})
    assert "script" not in page.tags
    assert "<script" not in page.html
    assert HOSTILE in page.texts
    assert LONG in page.texts
    assert f"Accuracy of {HOSTILE}" in page.texts, "a variable in a title"


def test_a_page_loads_nothing_and_runs_nothing(prometheus: FakePrometheus, tmp_path: Path) -> None:
    page = drawn(every_answer(prometheus), tmp_path, every_kind())
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert [address for address in page.addresses if not address.startswith("#")] == []
    assert not re.search(r"url\((?!#)|@import", page.html)
    assert "default-src 'none'" in page.html


def test_a_tables_rows_are_merged_sorted_cut_and_coloured(prometheus: FakePrometheus, tmp_path: Path) -> None:
    page = drawn(every_answer(prometheus), tmp_path, every_kind())
    table = page.texts[page.texts.index("Drifts") : page.texts.index("Staffing")]
    assert table == ["Drifts", "Site", "Reviews", "Now", "manila-1", "412", "80.2%", LONG, "30", "95.1%"]
    assert "background:#B24A00;color:#f7f8fa" in page.style_of("80.2%")
    assert "background" not in page.style_of("95.1%"), "a transparent threshold has none"


def test_variables_are_put_into_queries_as_prometheus_reads_them(prometheus: FakePrometheus, tmp_path: Path) -> None:
    prometheus.labels["site"] = [HOSTILE, "a+b"]
    expression = 'x{site=~"$site",w="${window}"}[$__rate_interval] $__interval $__range $unknown'
    made = board(panel("timeseries", "One", 0, 0, 24, 8, target(expression)), annotations={"list": []})
    asked = set()
    for chosen in ({}, {"site": [HOSTILE]}, {"site": [HOSTILE, "a+b"], "window": ["1h"]}):
        prometheus.asked.clear()
        prometheus.answers = AnyAnswer()
        drawn(prometheus, tmp_path, made, chosen=chosen)
        asked |= set(prometheus.queries())
    # 6 hours on 1,864 pixels: a point in 15 s.
    hostile = r"\"<script>alert\\(1\\)<\\/script>\\\\"
    rest = "[20s] 15s 21600s $unknown"
    assert asked == {
        f'x{{site=~"({hostile}|a\\\\+b)",w="24h"}}{rest}',
        f'x{{site=~"{hostile}",w="24h"}}{rest}',
        f'x{{site=~"({hostile}|a\\\\+b)",w="1h"}}{rest}',
    }


class AnyAnswer(dict[str, Any]):
    """The same answer to whatever is asked."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> Any:
        return [({}, 1.0)]


def test_all_is_the_boards_own_value_where_it_has_one(prometheus: FakePrometheus, tmp_path: Path) -> None:
    variables = {
        "list": [
            {
                "name": "site",
                "type": "query",
                "query": "label_values(up, site)",
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"value": ["$__all"], "text": ["All"]},
            }
        ]
    }
    prometheus.labels["site"] = ["a", "b"]
    prometheus.answers = {'x{site=~".*"}': [({}, 7.0)]}
    made = board(
        panel("stat", "One", 0, 0, 4, 4, instant('x{site=~"$site"}')),
        templating=variables,
        annotations={"list": []},
    )
    assert "7" in drawn(prometheus, tmp_path, made).texts


@pytest.mark.parametrize("kind", ["bargauge", "heatmap", "stat", "state-timeline", "table", "timeseries", "xychart"])
@pytest.mark.parametrize("answer", [[], [({"site": "a"}, float("nan"))]], ids=["empty", "NaN"])
def test_no_figures_never_look_like_figures(prometheus: FakePrometheus, tmp_path: Path, kind: str, answer: Any) -> None:
    prometheus.answers = {"x": answer}
    form = {"format": "table"} if kind in ("table", "xychart") else {}
    asked = (
        target("x", "{{site}}")
        if kind in ("heatmap", "state-timeline", "timeseries")
        else instant("x", "{{site}}", **form)
    )
    page = drawn(
        prometheus, tmp_path, alone(kind, asked, fieldConfig=config(unit="percentunit", noValue="not enough data"))
    )
    assert not [text for text in page.texts if re.fullmatch(r"[\d.]+%", text) and text != "0%" and text != "100%"]
    assert "not enough data" in page.texts


def test_an_empty_panel_says_so_in_the_boards_language(prometheus: FakePrometheus, tmp_path: Path) -> None:
    prometheus.answers = {"x": []}
    assert "No data" in drawn(prometheus, tmp_path, alone("timeseries", target("x"))).texts
    chinese = drawn(prometheus, tmp_path, {**alone("timeseries", target("x")), "uid": "one-zh"})
    assert "无数据" in chinese.texts
    assert '<html lang="zh-CN">' in chinese.html


def test_a_gap_in_the_data_is_a_gap_in_the_line(prometheus: FakePrometheus, tmp_path: Path) -> None:
    prometheus.answers = {"x": [({}, [1.0, None, 2.0])]}
    blue = config(color={"mode": "fixed", "fixedColor": "#123456"})
    page = drawn(prometheus, tmp_path, alone("timeseries", target("x", "x"), fieldConfig=blue))
    (line,) = re.findall(r'<path d="(M [^"]*)"[^>]*style="fill: none; stroke: #123456', page.html)
    assert line.count("M") == 2


def test_a_column_of_the_grid_is_as_wide_as_in_grafana(prometheus: FakePrometheus, tmp_path: Path) -> None:
    page = drawn(every_answer(prometheus), tmp_path, every_kind())
    boxes = [
        tuple(map(float, match))
        for match in re.findall(
            r'<section[^>]*style="left:([\d.]+)px;top:([\d.]+)px;width:([\d.]+)px;height:([\d.]+)px', page.html
        )
    ]
    assert boxes[0] == (16.0, 0.0, 940.0, 220.0)
    # No two panels overlap, and none leaves the page.
    for number, (left, top, width, height) in enumerate(boxes):
        assert left + width <= 1904.1
        for other_left, other_top, other_width, other_height in boxes[number + 1 :]:
            apart = left + width <= other_left or other_left + other_width <= left
            assert apart or top + height <= other_top or other_top + other_height <= top


# --- what cannot be drawn


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "geomap"}, "panels of the kind 'geomap' are not drawn here"),
        ({"transformations": [{"id": "heatmap"}]}, "the transformation 'heatmap' is not drawn here"),
        ({"repeat": "site"}, "repeats"),
        ({"fieldConfig": config(custom={"cellOptions": {"type": "image"}})}, "cells of the kind 'image'"),
        ({"targets": [{"refId": "A", "expr": "x", "datasource": {"type": "loki"}}]}, "kind 'loki'"),
    ],
)
def test_what_is_not_known_is_named_with_its_place(change: dict[str, Any], words: str) -> None:
    made = board({**panel("stat", "Here", 0, 0, 4, 4, instant("x")), **change})
    with pytest.raises(PreviewError, match=rf"^board small, panel 'Here': .*{re.escape(words)}.*Change the board"):
        board_of(made)


def test_a_query_that_prometheus_refuses_is_named_with_its_place(prometheus: FakePrometheus, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"board small, panel 'One': Prometheus refuses its query: no answer for x"):
        drawn(prometheus, tmp_path, alone("stat", instant("x")))


def test_every_board_of_ours_can_be_drawn_and_nothing_else_is_kept_for_them() -> None:
    panels = [each for file in board_files() for each in board_of(json.loads(file.read_text("utf-8"))).panels]
    assert {panel.kind for panel in panels} == {*KINDS}
    assert {step["id"] for panel in panels for step in panel.transformations} == TRANSFORMATIONS.keys()


# --- the command


def test_nobody_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(every_kind()))
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CommandError, match=rf"^no answer from {address}: .*; start a Prometheus, or give"):
        list(preview(PreviewOptions(address, tmp_path / "out", folder=tmp_path)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"boards": ["labelwatch-nothing"]}, "no board 'labelwatch-nothing': use small"),
        ({"start": "yesterday"}, "'yesterday' is no time"),
        ({"start": "now", "end": "now-1h"}, "--from must be before --to"),
        ({"folder": Path("/nowhere")}, "/nowhere"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    (tmp_path / "one.json").write_text(json.dumps(every_kind()))
    with pytest.raises(CommandError, match=re.escape(words)):
        list(preview(PreviewOptions(**{"prometheus": "http://x", "out": tmp_path / "out", "folder": tmp_path, **more})))


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith(("streams.views.preview", "jinja2"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(CommandError, match=r"needs jinja2, which is not installed: install .*labelwatch\[boards\]"):
        list(preview(PreviewOptions("http://x", tmp_path)))
