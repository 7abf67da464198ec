"""The fields that a mapping may fill, by event, and what each takes: read off the events' schema."""

import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from schemas.events import (
    DurationMs,
    EpochMs,
    Event,
    FreeText,
    Identifier,
    Identifiers,
    IsoDate,
    Positive,
    PositiveRatio,
    Ratio,
    event_types,
)

#: Events that rows become, by the word of the command line.
EVENT_WORDS = {
    "label": "label_submitted",
    "review": "label_reviewed",
    "state": "state_changed",
    "profile": "agent_profiled",
}
#: A second name for a duration, whose column is in seconds.
SECONDS = {"handle_s": "handle_ms", "review_s": "review_ms"}
#: What the schema's types are to a mapping.
_KINDS: tuple[tuple[Any, str], ...] = (
    (Identifier, "id"), (FreeText, "text"), (EpochMs, "time"), (DurationMs, "duration"), (bool, "boolean"),
    (Positive, "number"), (Ratio, "number"), (PositiveRatio, "number"), (IsoDate, "date"), (Identifiers, "ids"),
)  # fmt: skip  # a table


@dataclass(frozen=True, slots=True)
class EventField:
    """A field of an event.

    Attributes:
        name: As on the wire.
        kind: `id`, `text`, `time`, `duration`, `boolean`, `choice`, `number`, `date` or `ids`.
        required: The event is none without it.
        words: What a choice allows.
        type: The field's own, for its limits.
    """

    name: str
    kind: str
    required: bool
    words: tuple[str, ...] = ()
    type: Any = None


def _field(field: msgspec.structs.FieldInfo) -> EventField | None:
    kind = field.type
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return EventField(field.name, "choice", field.required, get_args(kind), kind)
    for known, name in _KINDS:
        if kind == known:
            return EventField(field.name, name, field.required, (), kind)
    # What is a number with limits of its own; lists of objects have no column.
    return EventField(field.name, "number", field.required, (), kind) if get_args(kind)[:1] == (float,) else None


def _fields_of(cls: type[Event]) -> dict[str, EventField]:
    return {each.name: found for each in msgspec.structs.fields(cls) if (found := _field(each)) is not None}


#: Fields by event type.
FIELDS: dict[str, dict[str, EventField]] = {tag: _fields_of(event_types()[tag]) for tag in EVENT_WORDS.values()}
#: Every name that a mapping may fill.
NAMES: tuple[str, ...] = (*dict.fromkeys(name for fields in FIELDS.values() for name in fields), *SECONDS)
