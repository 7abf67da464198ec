"""docs/reference/events.md from the classes of schemas/events.py, for `make documents`: as the worker reads them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from schemas.event_fields import about
from schemas.events import LabelVersion, ReviewError, ReviewVersion, event_types
from schemas.json_schema import description
from schemas.topics import EVENTS

PATH = Path("docs/reference/events.md")
#: Fields of an example beside those that are needed: what most producers send.
_USUAL = {
    "label_submitted": ("label", "handle_ms", "market", "sop_version"),
    "label_reviewed": ("reviewer_id", "sampling", "label", "expected", "error_type", "severity", "labeled_at"),
    "agent_profiled": ("role", "status", "team", "started_on"),
    "review_revised": ("new", "by"),
    "label_revised": ("new", "by"),
    "appeal_closed": ("outcome",),
    "request_opened": ("due_at",),
    "request_closed": ("outcome",),
    "queue_measured": ("oldest_at",),
}
#: Parts of events, each in a table of its own.
_PARTS = (ReviewError, ReviewVersion, LabelVersion)
_HEAD = f"""<!-- Made from schemas/events.py by `make documents`; a test compares. Do not edit. -->
# Events

What producers write to `{EVENTS}`: one JSON object a record, UTF-8, keyed by `site_id`.
[Events from a program of your own](../guide/producer.md) has producers to start from; the same as JSON Schema is in
[`schemas/json`](../../schemas/json/{EVENTS}.json); `labelwatch events check FILE` says line by line what a worker would
reject.

- An optional field may be absent or null: both mean its default.
- A required field that is missing, a value of another type or out of range: the record is rejected, to
  `labeling.rejected.v1`, byte for byte.
- A field that is not listed is passed over. A type that is not listed is counted (`labelwatch_unknown_events_total`)
  and passed over.
- An **id** is a text of 1 to 128 characters, none of them invisible. Numbers are no texts: `"7"`, not `7`.
- A **time** is a whole number of milliseconds since 1970 (UTC), up to the end of the year 9999.
"""


def document() -> str:
    """The whole page as Markdown."""
    types = event_types()
    links = ", ".join(f"[`{tag}`](#{tag})" for tag in types)
    parts = [_HEAD, links]
    for tag, cls in types.items():
        parts.append(f"## {tag}\n\n{description(cls)}\n\n```json\n{_line(example(tag))}\n```\n\n{_table(cls)}")
    parts += [f"## {cls.__name__}\n\n{description(cls)}\n\n{_table(cls)}" for cls in _PARTS]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def example(tag: str) -> dict[str, Any]:
    """An event as most producers send it."""
    cls = event_types()[tag]
    wanted = _USUAL.get(tag, ())
    values = {
        field.name: about(cls.__name__, field.name).example
        for field in msgspec.structs.fields(cls)
        if field.required or field.name in wanted
    }
    return {"type": tag, **values}


def _table(cls: type[msgspec.Struct]) -> str:
    rows = ["| field | | value | example | what it is |", "|---|---|---|---|---|"]
    rows += _rows(cls)
    return "\n".join(rows)


def _rows(cls: type[msgspec.Struct]) -> Iterator[str]:
    tag = cls.__struct_config__.tag
    if tag is not None:
        yield f'| `type` | required | `"{tag}"` | `"{tag}"` | {about(cls.__name__, "type").means} |'
    kinds = {field.name: field.type for field in inspect.type_info(cls).fields}  # type: ignore[attr-defined]  # of a struct
    for field in msgspec.structs.fields(cls):
        said = about(cls.__name__, field.name)
        need = "required" if field.required else "optional"
        shown = _line(said.example)
        yield f"| `{field.name}` | {need} | {_kind(field.name, kinds[field.name])} | `{shown}` | {said.means} |"


def _kind(name: str, kind: inspect.Type) -> str:
    """A type in words: what a value is, its unit, and its bounds."""
    match kind:
        case inspect.UnionType():
            return " or ".join(_kind(name, each) for each in kind.types if not isinstance(each, inspect.NoneType))
        case inspect.LiteralType():
            return ", ".join(f"`{_line(each)}`" for each in kind.values)
        case inspect.BoolType():
            return "`true`, `false`"
        case inspect.StrType(pattern=None):
            if kind.max_length == 128:
                return "id"
            return f"text, up to {kind.max_length:,} characters"
        case inspect.StrType():
            return "date, `YYYY-MM-DD`"
        case inspect.IntType(le=253_402_300_799_999):
            return "time, ms"
        case inspect.IntType() | inspect.FloatType():
            return _number(name, kind)
        case inspect.ListType():
            inner = _kind(name, kind.item_type)
            return f"list of {inner}{'s' * (inner == 'id')}, up to {kind.max_length}"
        case inspect.StructType():
            return f"[`{kind.cls.__name__}`](#{kind.cls.__name__.lower()})"
        case _:
            raise TypeError(f"schemas/events_page.py: say in words what {kind} is")


def _number(name: str, kind: inspect.IntType | inspect.FloatType) -> str:
    what = "whole number" if isinstance(kind, inspect.IntType) else "number"
    unit = ", ms" if name.endswith("_ms") else ""
    least = f"above {kind.gt:g}" if kind.gt is not None else f"from {kind.ge:,}"
    most = "" if kind.le is None else f" to {kind.le:,}"
    return f"{what}{unit}, {least}{most}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
