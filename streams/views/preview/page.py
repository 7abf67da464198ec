"""A board's whole page: every panel asked, drawn and put in its place."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from schemas.text import visible
from streams.views.preview import layout
from streams.views.preview.answers import PanelData, ask, marks
from streams.views.preview.board import Panel, PreviewBoard, place
from streams.views.preview.draw import draw
from streams.views.preview.errors import PreviewError
from streams.views.preview.fields import Moment
from streams.views.preview.panels.canvas import APPROXIMATION, Canvas, render
from streams.views.preview.prometheus import Prometheus
from streams.views.preview.times import TimeRange
from streams.views.preview.variables import VariableScope, resolve


def page(board: PreviewBoard, prometheus: Prometheus, window: TimeRange, given: Mapping[str, Sequence[str]]) -> str:
    """A board as one static HTML page that loads nothing from elsewhere.

    Args:
        board: What to draw.
        prometheus: Where the data comes from.
        window: What the board looks at.
        given: Chosen values of variables, by name.

    Raises:
        PreviewError: A query that is refused, or something that cannot be drawn here.
        Unreachable: Prometheus is not there.
    """
    try:
        scope = VariableScope(resolve(board.variables, given, prometheus, window))
    except PreviewError as error:
        raise PreviewError(f"board {board.uid}: {error}") from error
    happened = marks(board, scope, prometheus, window)
    moment = Moment(window.end, window.zone, board.language)
    drawn: list[dict[str, Any]] = []
    for panel in board.panels:
        outer = layout.box(panel.x, panel.y, panel.width, panel.height)
        width, height = layout.inner(outer, bool(panel.title))
        canvas = Canvas(width, height, scope, moment, board.language, happened)
        drawn.append(
            {
                "box": outer,
                "title": scope.text(panel.title),
                "about": scope.text(panel.description),
                "is_clear": panel.is_transparent,
                "content": _content(board, panel, prometheus, window, canvas),
            }
        )
    html = render(
        "page",
        title=scope.text(board.title),
        language={"zh": "zh-CN"}.get(board.language, "en"),
        span=_span(window),
        approximation=APPROXIMATION[board.language],
        chosen=[(each.label, each.shown) for each in scope.variables.values() if not each.is_hidden],
        panels=drawn,
        width=layout.PAGE_WIDTH,
        margin=layout.MARGIN,
        header=layout.HEADER,
        height=max((each["box"].top + each["box"].height for each in drawn), default=0.0),
    )
    # No matter who wrote the names: nothing on the page may hide or turn the text beside it.
    return "\n".join(map(visible, str(html).split("\n")))


def _content(board: PreviewBoard, panel: Panel, prometheus: Prometheus, window: TimeRange, canvas: Canvas) -> Markup:
    answer = (
        ask(panel, board.uid, canvas.scope, prometheus, window, canvas.width)
        if panel.kind != "text"
        else PanelData([], window, 1.0)
    )
    try:
        return draw(panel, answer, canvas)
    except PreviewError as error:
        raise PreviewError(f"{place(board.uid, panel.title)}: {error}") from error


def _span(window: TimeRange) -> str:
    start, end = (datetime.fromtimestamp(at, window.zone) for at in (window.start, window.end))
    return f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M} {end:%Z}"  # noqa: RUF001  # a dash between two times
