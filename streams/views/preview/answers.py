"""Asks what a panel asks, at the steps that Grafana would take; between a board and its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.views.preview.board import Panel, PreviewBoard, place
from streams.views.preview.errors import PreviewError
from streams.views.preview.frames import Frame, buckets, series_frames, table_frame
from streams.views.preview.prometheus import Prometheus, QueryRefused
from streams.views.preview.times import TimeRange, moment, span_seconds, span_text, step_seconds
from streams.views.preview.transform import transform
from streams.views.preview.variables import VariableScope, range_names

#: As provisioned for the boards' data source: how often Prometheus scrapes.
SCRAPE_SECONDS = 5.0
_ANNOTATION_STEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PanelData:
    """A panel's data.

    Attributes:
        frames: After the transformations.
        window: The time range that was asked for.
        step: Distance of two points of a graph, seconds.
    """

    frames: list[Frame]
    window: TimeRange
    step: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """Something that happened, drawn over graphs: epoch seconds; a moment ends when it begins."""

    start: float
    end: float
    color: str
    text: str


def ask(
    panel: Panel, uid: str, scope: VariableScope, prometheus: Prometheus, window: TimeRange, pixels: int
) -> PanelData:
    """Runs a panel's queries and its transformations.

    Args:
        panel: What asks.
        uid: Its board, for errors.
        scope: The board's variables.
        prometheus: Who answers.
        window: The board's time range.
        pixels: The panel's width.

    Raises:
        PreviewError: A query that Prometheus refuses, or a transformation that does not fit the answer.
        Unreachable: Prometheus is not there.
    """
    if panel.time_from:
        own = panel.time_from if panel.time_from.startswith("now") else f"now-{panel.time_from}"
        window = TimeRange(moment(own, window.end), window.end, window.zone)
    least = span_seconds(scope.text(panel.min_interval).lstrip(">")) if panel.min_interval else 0.0
    frames: list[Frame] = []
    steps = [SCRAPE_SECONDS]
    tables = {query["refId"] for query in panel.queries if query.get("format") == "table"}
    try:
        for query in panel.queries:
            interval = span_seconds(scope.text(query["interval"]).lstrip(">")) if query.get("interval") else least
            step = step_seconds(window, panel.max_points or pixels, max(interval, SCRAPE_SECONDS))
            steps.append(step)
            frames += _frames(query, scope, prometheus, window, step, len(tables) > 1)
        return PanelData(transform(frames, panel.transformations), window, max(steps))
    except QueryRefused as error:
        raise PreviewError(f"{place(uid, panel.title)}: Prometheus refuses its query: {error}") from error
    except PreviewError as error:
        raise PreviewError(f"{place(uid, panel.title)}: {error}") from error


def _frames(
    query: Mapping[str, Any],
    scope: VariableScope,
    prometheus: Prometheus,
    window: TimeRange,
    step: float,
    numbered: bool,
) -> list[Frame]:
    ref, form = str(query["refId"]), str(query.get("format") or "time_series")
    text = in_query(scope, str(query["expr"]), window, step)
    if query.get("instant") and not query.get("range"):
        answer = prometheus.instant(text, window.end)
    else:
        answer = prometheus.range(text, *aligned(window, step), step)
    if form == "table":
        return [table_frame(answer, ref, f"Value #{ref}" if numbered else "Value")] if answer else []
    frames = series_frames(answer, ref, scope.text(str(query.get("legendFormat") or "")), text)
    return buckets(frames) if form == "heatmap" else frames


def in_query(scope: VariableScope, text: str, window: TimeRange, step: float) -> str:
    """A query with variables and Grafana's own names put in."""
    rate = max(step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)
    return scope.with_built_in(
        **range_names(window),
        __rate_interval=span_text(rate),
        __rate_interval_ms=str(round(rate * 1000)),
        __interval=span_text(step),
        __interval_ms=str(round(step * 1000)),
    ).query(text)


def aligned(window: TimeRange, step: float) -> tuple[float, float]:
    """Start and end at whole steps, so that a page that is drawn again asks for the same moments."""
    return window.start // step * step, window.end // step * step


def marks(board: PreviewBoard, scope: VariableScope, prometheus: Prometheus, window: TimeRange) -> list[Annotation]:
    """The board's annotations within its time range.

    Raises:
        PreviewError: A query that Prometheus refuses.
        Unreachable: Prometheus is not there.
    """
    found: list[Annotation] = []
    for each in board.annotations:
        asked = each.get("target") or {}
        text = str(each.get("expr") or asked.get("expr"))
        step = max(span_seconds(str(each.get("step") or "60s")), step_seconds(window, 1000, _ANNOTATION_STEP_SECONDS))
        try:
            answer = prometheus.range(in_query(scope, text, window, step), *aligned(window, step), step)
        except QueryRefused as error:
            raise PreviewError(f"board {board.uid}, annotation {each.get('name')!r}: {error}") from error
        color, form = str(each.get("iconColor") or "blue"), str(each.get("titleFormat") or each.get("name") or "")
        by_value = each.get("useValueForTime") in (True, "on")
        for series in answer:
            title = _titled(form, series["metric"])
            points = [(float(at), float(value)) for at, value in series["values"]]
            if by_value:
                moments = sorted({value / 1000 for _, value in points})
                found += [Annotation(at, at, color, title) for at in moments if window.start <= at <= window.end]
            else:
                found += [Annotation(start, end, color, title) for start, end in _runs(points, step)]
    return found


def _titled(form: str, metric: dict[str, str]) -> str:
    for key, value in metric.items():
        form = form.replace(f"{{{{{key}}}}}", value).replace(f"{{{{ {key} }}}}", value)
    return form


def _runs(points: Sequence[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    """Spans without a gap in which the value is not 0."""
    runs: list[tuple[float, float]] = []
    for at, value in points:
        if not value:
            continue
        if runs and at - runs[-1][1] <= 1.5 * step:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))
    return runs
