"""Transformations between a panel's answers and its picture, by Grafana's ids: those that our boards use."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.text import choice
from streams.views.preview.errors import PreviewError
from streams.views.preview.frames import Frame, FrameColumn, Value, one_frame

Options = Mapping[str, Any]


def transform(frames: list[Frame], steps: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """The frames after each step, in order.

    Raises:
        PreviewError: A step whose id is not known here.
    """
    for step in steps:
        if step.get("disabled"):
            continue
        if step["id"] not in TRANSFORMATIONS:
            raise PreviewError(unknown(step["id"]))
        frames = TRANSFORMATIONS[step["id"]](frames, step.get("options") or {})
    return frames


def unknown(name: str) -> str:
    """What to say about a transformation that is not known here."""
    return f"the transformation {name!r} is not drawn here: use {choice(sorted(TRANSFORMATIONS))}"


def _organize(frames: list[Frame], options: Options) -> list[Frame]:
    """Hides, orders and renames columns."""
    hidden, order = options.get("excludeByName") or {}, options.get("indexByName") or {}
    only, names = options.get("includeByName") or {}, options.get("renameByName") or {}
    out = []
    for frame in frames:
        kept = [column for column in frame.columns if not hidden.get(column.title)]
        if any(only.values()):
            kept = [column for column in kept if only.get(column.title)]
        kept.sort(key=lambda column: order.get(column.title, len(frame.columns)))
        out.append(Frame(tuple(_named(column, names.get(column.title) or column.title) for column in kept)))
    return out


def _named(column: FrameColumn, name: str) -> FrameColumn:
    return replace(column, name=name, legend="") if name != column.title else column


def _merge(frames: list[Frame], _options: Options) -> list[Frame]:
    """One table of all: rows whose common columns agree become one."""
    frames = [frame for frame in frames if frame.height]
    if len(frames) < 2:
        return frames
    columns: dict[str, FrameColumn] = {}
    for frame in frames:
        for column in frame.columns:
            columns.setdefault(column.title, column)
    shared = [title for title in columns if sum(frame.column(title) is not None for frame in frames) == len(frames)]
    rows: dict[tuple[Value, ...], list[dict[str, Value]]] = {}
    for frame in frames:
        for row in _rows(frame):
            there = rows.setdefault(tuple(row[title] for title in shared), [])
            # A row that would overwrite what another frame says stays a row of its own.
            fit = next((each for each in there if all(each.get(key, row[key]) == row[key] for key in row)), None)
            if fit is None:
                there.append(dict(row))
            else:
                fit.update(row)
    return [_frame(columns, [row for group in rows.values() for row in group])]


def _join(frames: list[Frame], options: Options) -> list[Frame]:
    """Frames side by side, where a column says the same: `inner`, `outer` or `outerTabular`."""
    by, mode = options.get("byField"), options.get("mode", "outer")
    frames = [frame for frame in frames if frame.columns]
    if not by:
        return [one_frame(frames)] if frames else []
    joined = [frame for frame in frames if frame.column(by) is not None]
    if not joined:
        return []
    columns: dict[str, FrameColumn] = {by: _column(joined[0], by)}
    rows: dict[Value, dict[str, Value]] = {}
    seen: dict[Value, int] = {}
    for number, frame in enumerate(joined, 1):
        names = {}
        for column in frame.columns:
            if column.title != by:
                # As in Grafana, a name that is there already gets the frame's number.
                name = column.title if column.title not in columns else f"{column.title} {number}"
                columns[name] = _named(column, name)
                names[column.title] = name
        for row in _rows(frame):
            key = row[by]
            rows.setdefault(key, {by: key}).update({names[title]: value for title, value in row.items() if title != by})
            seen[key] = seen.get(key, 0) + 1
    kept = [row for key, row in rows.items() if mode != "inner" or seen[key] >= len(joined)]
    return [_frame(columns, kept)]


def _sort(frames: list[Frame], options: Options) -> list[Frame]:
    for by in reversed(options.get("sort") or ()):
        frames = [sorted_frame(frame, str(by.get("field", "")), bool(by.get("desc"))) for frame in frames]
    return frames


def sorted_frame(frame: Frame, title: str, descending: bool) -> Frame:
    """Rows by a column's values; those without a value stand last."""
    column = frame.column(title)
    if column is None:
        return frame
    values = column.values
    known = [row for row, value in enumerate(values) if _is_known(value)]
    known.sort(key=lambda row: (isinstance(values[row], str), values[row]), reverse=descending)
    return frame.rows([*known, *(row for row, value in enumerate(values) if not _is_known(value))])


def _is_known(value: Value) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _limit(frames: list[Frame], options: Options) -> list[Frame]:
    most = int(options.get("limitField", 10))
    return [frame.rows(range(min(frame.height, most))) for frame in frames]


def _column(frame: Frame, title: str) -> FrameColumn:
    column = frame.column(title)
    if column is None:
        raise PreviewError(
            f"a transformation asks for the column {title!r}; there are {[each.title for each in frame.columns]}"
        )
    return column


def _rows(frame: Frame) -> list[dict[str, Value]]:
    titles = [column.title for column in frame.columns]
    return [dict(zip(titles, row, strict=True)) for row in zip(*(each.values for each in frame.columns), strict=True)]


def _frame(columns: Mapping[str, FrameColumn], rows: Sequence[Mapping[str, Value]]) -> Frame:
    return Frame(
        tuple(replace(column, values=tuple(row.get(title) for row in rows)) for title, column in columns.items())
    )


TRANSFORMATIONS: dict[str, Callable[[list[Frame], Options], list[Frame]]] = {
    "joinByField": _join,
    "limit": _limit,
    "merge": _merge,
    "organize": _organize,
    "sortBy": _sort,
}
