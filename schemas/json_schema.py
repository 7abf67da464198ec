"""schemas/json/ from the classes that read and write the topics: JSON Schema 2020-12 of events and drift records.

Run: python -m schemas.json_schema
"""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from schemas.drift import DriftRecord
from schemas.event_fields import about
from schemas.events import AnyEvent
from schemas.topics import DRIFT, EVENTS

FOLDER = Path(__file__).parent / "json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ABOUT = {
    EVENTS: "An event, as producers write it. Fields that are not named here are passed over; an optional field may be "
    "null. A type that is not named here is counted and passed over.",
    DRIFT: "A drift as it opened or cleared. Every field is written; later versions may add some.",
}


def documents() -> dict[str, str]:
    """By topic, its schema as in the file."""
    kinds: dict[str, Any] = {EVENTS: AnyEvent, DRIFT: DriftRecord}
    return {topic: _document(topic, kind) for topic, kind in kinds.items()}


def path(topic: str) -> Path:
    """Where a topic's schema stands."""
    return FOLDER / f"{topic}.json"


def _document(topic: str, kind: Any) -> str:
    schema = msgspec.json.schema(kind)
    for struct in _structs(kind):
        _describe(schema["$defs"][struct.__name__], struct, topic)
    whole = {"$schema": _DIALECT, "title": topic, "description": _ABOUT[topic], **schema}
    return json.dumps(_portable(whole), indent=2, ensure_ascii=False) + "\n"


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Every class of a type, those of its fields included."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__name__ not in found:
            found[each.__name__] = each
            waiting += [field.type for field in msgspec.structs.fields(each)]
        waiting += get_args(each)
    yield from found.values()


def description(struct: type[msgspec.Struct]) -> str:
    """What a class's docstring says of it before its attributes."""
    # One of a base class says nothing of this one.
    text = inspect.cleandoc(struct.__dict__.get("__doc__") or "")
    return " ".join(text.partition("\nAttributes:\n")[0].split())


def _describe(schema: dict[str, Any], struct: type[msgspec.Struct], topic: str) -> None:
    """Puts what is said of a class above, and of its fields beside each property."""
    schema["description"] = description(struct)
    if topic == EVENTS:
        for name, described in schema["properties"].items():
            described["description"] = about(struct.__name__, name).means
        return
    attributes = inspect.cleandoc(struct.__dict__.get("__doc__") or "").partition("\nAttributes:\n")[2]
    for names, said in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        for name in names.split(", "):
            schema["properties"][name]["description"] = " ".join(said.split())


def _portable(value: Any) -> Any:
    """A schema whose patterns every validator reads alike: Python has a sign of its own for the end of a text."""
    if isinstance(value, dict):
        return {
            key: each.replace("\\Z", "$") if key == "pattern" and isinstance(each, str) else _portable(each)
            for key, each in value.items()
        }
    return [_portable(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for topic, text in documents().items():
        path(topic).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
