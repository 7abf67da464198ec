"""Transformations between a panel's answers and its picture, by Grafana's ids: those that our boards use."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streams.views.preview.errors import PreviewError
from streams.views.preview.frames import REDUCER_NAMES, ColumnKind, Frame, FrameColumn, Value, one_frame, reduced

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
    return f"the transformation {name!r} is not drawn here; known: {', '.join(sorted(TRANSFORMATIONS))}"


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


def _rename_by_regex(frames: list[Frame], options: Options) -> list[Frame]:
    pattern = re.compile(str(options["regex"]).strip("/"))
    to = re.sub(r"\$(\d)", r"\\\1", str(options["renamePattern"]))
    return [Frame(tuple(_named(each, pattern.sub(to, each.title)) for each in frame.columns)) for frame in frames]


def _filter_fields(frames: list[Frame], options: Options) -> list[Frame]:
    include, exclude = options.get("include") or {}, options.get("exclude") or {}

    def keeps(column: FrameColumn) -> bool:
        wanted = not include or _is_named(column, include)
        return wanted and not (exclude and _is_named(column, exclude))

    kept = [Frame(tuple(filter(keeps, frame.columns))) for frame in frames]
    return [frame for frame in kept if frame.columns]


def _is_named(column: FrameColumn, options: Options) -> bool:
    pattern = options.get("pattern")
    return column.title in (options.get("names") or ()) or bool(
        pattern and re.search(str(pattern).strip("/"), column.title)
    )


def _filter_by_query(frames: list[Frame], options: Options) -> list[Frame]:
    pattern = re.compile(str(options.get("include") or ".*").strip("/"))
    return [frame for frame in frames if any(pattern.fullmatch(column.query) for column in frame.columns)]


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
            # A row that would overwrite what another frame says stands for itself.
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


def _labels_to_fields(frames: list[Frame], options: Options) -> list[Frame]:
    keep = options.get("keepLabels")
    if options.get("mode") == "rows":
        kept = [
            [(label, value) for label, value in column.labels.items() if not keep or label in keep]
            for frame in frames
            for column in frame.columns
            if column.labels
        ]
        return [
            Frame((FrameColumn("label", "string", labels), FrameColumn("value", "string", values)))
            for pairs in kept
            for labels, values in [tuple(zip(*pairs, strict=True))]
        ]
    out = []
    for frame in frames:
        columns: list[FrameColumn] = []
        named = options.get("valueLabel")
        for column in frame.columns:
            if column.kind != "number":
                columns.append(column)
                continue
            labels = {key: value for key, value in column.labels.items() if key != named and (not keep or key in keep)}
            have = {each.title for each in columns}
            columns += [
                FrameColumn(label, "string", (value,) * frame.height, query=column.query)
                for label, value in labels.items()
                if label not in have
            ]
            name = column.labels.get(named, column.name) if named else column.title if not labels else column.name
            columns.append(replace(column, name=name, legend="", labels={}))
        out.append(Frame(tuple(columns)))
    return _merge(out, {}) if len(out) > 1 else out


def _reduce(frames: list[Frame], options: Options) -> list[Frame]:
    """A row a series with its reductions, or every column reduced to one row."""
    reducers = options.get("reducers") or ["lastNotNull"]
    if options.get("mode") == "reduceFields":
        return [
            Frame(
                tuple(
                    replace(column, values=(reduced(column.values, reducer),))
                    for column in frame.columns
                    for reducer in reducers
                    if column.kind == "number"
                )
            )
            for frame in frames
        ]
    numbers = [column for frame in frames for column in frame.columns if column.kind == "number"]
    labels = sorted({key for column in numbers for key in column.labels}) if options.get("labelsToFields") else []
    columns = [FrameColumn("Field", "string", tuple(column.title for column in numbers))]
    columns += [FrameColumn(key, "string", tuple(column.labels.get(key) for column in numbers)) for key in labels]
    columns += [
        FrameColumn(
            REDUCER_NAMES.get(reducer, reducer), "number", tuple(reduced(column.values, reducer) for column in numbers)
        )
        for reducer in reducers
    ]
    return [Frame(tuple(columns))]


def _matrix(frames: list[Frame], options: Options) -> list[Frame]:
    """A table of rows and columns from three columns."""
    across, down = options.get("columnField", "Time"), options.get("rowField", "Time")
    value_field = options.get("valueField", "Value")
    empties: dict[str, Value] = {"zero": 0.0, "empty": ""}
    empty = empties.get(str(options.get("emptyValue", "")))
    out = []
    for frame in frames:
        columns, rows, values = _column(frame, across), _column(frame, down), _column(frame, value_field)
        cells = {
            (row, column): value for row, column, value in zip(rows.values, columns.values, values.values, strict=True)
        }
        names = list(dict.fromkeys(columns.values))
        heads = list(dict.fromkeys(rows.values))
        out.append(
            Frame(
                (
                    FrameColumn(f"{down}\\{across}", rows.kind, tuple(heads)),
                    *(
                        FrameColumn(str(name), values.kind, tuple(cells.get((head, name), empty) for head in heads))
                        for name in names
                    ),
                )
            )
        )
    return out


def _group(frames: list[Frame], options: Options) -> list[Frame]:
    """Rows with the same keys as one, the other columns reduced."""
    fields: Mapping[str, Any] = options.get("fields") or {}
    keys = [name for name, how in fields.items() if how.get("operation") == "groupby"]
    out = []
    for frame in frames:
        present = [column for name in keys if (column := frame.column(name)) is not None]
        groups: dict[tuple[Value, ...], list[int]] = {}
        for row in range(frame.height):
            groups.setdefault(tuple(column.values[row] for column in present), []).append(row)
        columns = [replace(each, values=tuple(key[at] for key in groups)) for at, each in enumerate(present)]
        for name, how in fields.items():
            column = frame.column(name)
            if column is None or how.get("operation") != "aggregate":
                continue
            for reducer in how.get("aggregations") or ():
                values = tuple(reduced([column.values[row] for row in rows], reducer) for rows in groups.values())
                kind: ColumnKind = column.kind if reducer != "count" else "number"
                columns.append(FrameColumn(f"{name} ({reducer})", kind, values, query=column.query))
        out.append(Frame(tuple(columns)))
    return out


_COMPARES: dict[str, Callable[[Value, Any], bool]] = {
    "equal": lambda value, options: str(value) == str(options.get("value")),
    "notEqual": lambda value, options: str(value) != str(options.get("value")),
    "greater": lambda value, options: isinstance(value, float) and value > float(options["value"]),
    "greaterOrEqual": lambda value, options: isinstance(value, float) and value >= float(options["value"]),
    "lower": lambda value, options: isinstance(value, float) and value < float(options["value"]),
    "lowerOrEqual": lambda value, options: isinstance(value, float) and value <= float(options["value"]),
    "isNull": lambda value, _options: value is None,
    "isNotNull": lambda value, _options: value is not None,
    "regex": lambda value, options: re.search(str(options["value"]), str(value)) is not None,
}


def _filter_rows(frames: list[Frame], options: Options) -> list[Frame]:
    every, includes = options.get("match") == "all", options.get("type", "include") == "include"
    out = []
    for frame in frames:
        kept = []
        for row in range(frame.height):
            hits = []
            for each in options.get("filters") or ():
                column, config = frame.column(each["fieldName"]), each["config"]
                if config["id"] not in _COMPARES:
                    raise PreviewError(f"filterByValue by {config['id']!r} is not drawn here; known: {[*_COMPARES]}")
                if column is not None:
                    hits.append(_COMPARES[config["id"]](column.values[row], config.get("options") or {}))
            if bool(hits and (all(hits) if every else any(hits))) == includes:
                kept.append(row)
        out.append(frame.rows(kept))
    return out


_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right if right else math.nan,
}


def _calculate(frames: list[Frame], options: Options) -> list[Frame]:
    """A new column from two others, or from all numbers of a row."""
    mode, alias = options.get("mode", "reduceRow"), options.get("alias")
    out = []
    for frame in frames:
        numbers = [column for column in frame.columns if column.kind == "number"]
        if mode == "binary":
            how = options["binary"]
            left, right = _operand(frame, how["left"]), _operand(frame, how["right"])
            values: tuple[Value, ...] = tuple(map(_OPERATORS[how["operator"]], left, right))
            name = alias or f"{how['left']} {how['operator']} {how['right']}"
        elif mode == "reduceRow":
            how = options.get("reduce") or {}
            wanted = [each for each in numbers if not how.get("include") or each.title in how["include"]]
            reducer = how.get("reducer", "sum")
            rows = zip(*(each.values for each in wanted), strict=True)
            values = tuple(value if isinstance(value := reduced(row, reducer), float) else math.nan for row in rows)
            name = alias or REDUCER_NAMES.get(reducer, reducer)
        else:
            raise PreviewError(f"calculateField in the mode {mode!r} is not drawn here; known: binary, reduceRow")
        kept = (
            [each for each in frame.columns if each.kind == "time"] if options.get("replaceFields") else frame.columns
        )
        out.append(Frame((*kept, FrameColumn(name, "number", values))))
    return out


def _operand(frame: Frame, operand: Any) -> list[float]:
    name = operand.get("matcher", {}).get("options", operand.get("fixed")) if isinstance(operand, dict) else operand
    column = frame.column(str(name))
    return column.numbers() if column is not None else [float(name)] * frame.height


def _convert(frames: list[Frame], options: Options) -> list[Frame]:
    to = {each["targetField"]: each["destinationType"] for each in options.get("conversions") or ()}

    def converted(column: FrameColumn) -> FrameColumn:
        kind = to.get(column.title)
        if kind == "string":
            return replace(column, kind="string", values=tuple(_plain(value) for value in column.values))
        if kind == "number":
            return replace(column, kind="number", values=tuple(_number(value) for value in column.values))
        return replace(column, kind="time") if kind == "time" else column

    return [Frame(tuple(map(converted, frame.columns))) for frame in frames]


def _plain(value: Value) -> Value:
    return f"{value:g}" if isinstance(value, float) else value


def _number(value: Value) -> Value:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _concatenate(frames: list[Frame], _options: Options) -> list[Frame]:
    height = max((frame.height for frame in frames), default=0)
    columns = [column for frame in frames for column in frame.columns]
    return [
        Frame(tuple(replace(each, values=(*each.values, *(None,) * (height - len(each.values)))) for each in columns))
    ]


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
    "calculateField": _calculate,
    "concatenate": _concatenate,
    "convertFieldType": _convert,
    "filterByRefId": _filter_by_query,
    "filterByValue": _filter_rows,
    "filterFieldsByName": _filter_fields,
    "groupBy": _group,
    "groupingToMatrix": _matrix,
    "joinByField": _join,
    "labelsToFields": _labels_to_fields,
    "limit": _limit,
    "merge": _merge,
    "organize": _organize,
    "reduce": _reduce,
    "renameByRegex": _rename_by_regex,
    "seriesToColumns": _join,
    "sortBy": _sort,
}
