"""From a panel and its data to its piece of the page."""

from collections.abc import Callable, Sequence

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from streams.views.preview import layout
from streams.views.preview.answers import PanelData
from streams.views.preview.board import Panel
from streams.views.preview.fields import FieldConfig
from streams.views.preview.frames import Frame
from streams.views.preview.panels import graphs, history, tables, values
from streams.views.preview.panels.canvas import NO_DATA, Canvas, render


def draw(panel: Panel, answer: PanelData, canvas: Canvas) -> Markup:
    """A panel's content.

    Raises:
        PreviewError: Something in the panel's configuration that is not known here.
    """
    if panel.kind == "text":
        return _text(panel, canvas)
    config = FieldConfig(panel.field_config, canvas.moment)
    frames = [frame for frame in answer.frames if frame.columns and frame.height]
    content = _KINDS[panel.kind](panel, frames, config, answer, canvas) if frames else None
    return content if content is not None else _nothing(config, canvas)


def _nothing(config: FieldConfig, canvas: Canvas) -> Markup:
    words = config.no_value or NO_DATA[canvas.language]
    return render("nothing", words=words, size=round(layout.font_size(words, canvas.width, canvas.height * 0.5, 18)))


def _text(panel: Panel, canvas: Canvas) -> Markup:
    content = str(panel.options.get("content") or "")
    # A variable may hold anything; the text itself is the board's own.
    safe = canvas.scope.text_with(content, lambda value: str(escape(value)))
    if panel.options.get("mode", "markdown") != "html":
        safe = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(safe)
    return Markup('<div class="words">{}</div>').format(Markup(safe))


_Draw = Callable[[Panel, Sequence[Frame], FieldConfig, PanelData, Canvas], Markup | None]
_KINDS: dict[str, _Draw] = {
    "bargauge": values.bar_gauge,
    "heatmap": history.heat_map,
    "stat": values.stat,
    "state-timeline": history.state_timeline,
    "table": tables.table,
    "timeseries": history.time_series,
    "xychart": graphs.xy_chart,
}
