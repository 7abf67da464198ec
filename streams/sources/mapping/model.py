"""A mapping as a person writes it: a TOML file, or pairs on the command line; what is wrong is named by its line."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from schemas.text import choice, visible
from streams.sources.mapping.durations import DECIMALS, UNITS
from streams.sources.mapping.errors import MappingError
from streams.sources.mapping.fields import EVENT_WORDS, FIELDS, NAMES, SECONDS
from streams.sources.mapping.times import NAMED, TimeReader, pattern_of, zone_of

COMPARISONS = ("exact", "no-case", "number", "set", "any")
_TABLES = {
    "source": {"format", "delimiter", "encoding", "quote", "sheet"},
    "time": {"zone", "format", "made_from", "assumed_seconds"},
    "numbers": {"decimal"},
}
_OF_A_FIELD = {
    "column", "columns", "separator", "format", "zone", "unit", "decimal", "values", "compare", "begin", "end", "value",
}  # fmt: skip  # a list of words
#: Filled with the content's own hash where no column is named.
_OWN_ID = "event_id"


@dataclass(frozen=True, slots=True)
class FieldSource:
    """Where a field's value comes from.

    Attributes:
        columns: Names or JSON pointers; several make one id.
        separator: Between the parts of an id, or of a set.
        constant: What is taken where the columns are empty, or there are none.
        values: What is meant by a text, before anything else; an empty one is no value.
        format: Of times.
        zone: Of times that name none.
        unit: Of durations.
        decimal: Sign of numbers.
        compare: How a label and its gold are compared.
        span: Columns of begin and end, whose difference is a duration.
    """

    columns: tuple[str, ...] = ()
    separator: str | None = None
    constant: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    zone: str | None = None
    unit: str | None = None
    decimal: str | None = None
    compare: str | None = None
    span: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EventMapping:
    """An event that a row becomes.

    Attributes:
        type: As on the wire.
        fields: Sources by field.
        when: Columns, and the texts one of which each must have; None: anything but empty.
    """

    type: str
    fields: Mapping[str, FieldSource]
    when: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowMapping:
    """What a table's rows become.

    Attributes:
        events: Each row's, in this order.
        reading: How the file is read: format, delimiter, encoding, quote, sheet.
        made_from: Times are made from here on by adding up each person's durations; None: the rows have times.
        made_zone: Of `made_from`, where it names none.
        assumed_seconds: Of a label without a duration, where times are made.
    """

    events: tuple[EventMapping, ...]
    reading: Mapping[str, str] = field(default_factory=dict)
    made_from: str | None = None
    made_zone: str | None = None
    assumed_seconds: float = 30.0

    def needed_columns(self) -> tuple[str, ...]:
        """Columns without which there is no event at all."""
        needed: dict[str, None] = {}
        for event in self.events:
            for name, source in event.fields.items():
                if FIELDS[event.type][name].required and source.constant is None:
                    needed |= dict.fromkeys(source.columns)
        return tuple(needed)

    def columns(self) -> tuple[str, ...]:
        """Every column that is named, once."""
        names: dict[str, None] = {}
        for event in self.events:
            names |= dict.fromkeys(event.when)
            for source in event.fields.values():
                names |= dict.fromkeys((*source.columns, *(source.span or ())))
        return tuple(names)


@dataclass(frozen=True, slots=True)
class MappingOverrides:
    """What the command line says besides: it goes before the file, and is the default of every time and number."""

    zone: str | None = None
    format: str | None = None
    decimal: str | None = None
    made_from: str | None = None


_NOTHING = MappingOverrides()


def from_pairs(
    columns: Mapping[str, str], constants: Mapping[str, str], given: MappingOverrides = _NOTHING
) -> RowMapping:
    """The mapping of `--map agent_id=worker,...` and `--set site_id=lima-2`; several columns of an id are `a+b`.

    Raises:
        MappingError: A name is unknown, or something needed is missing.
    """
    fields: dict[str, Any] = {name: column.split("+") if "+" in column else column for name, column in columns.items()}
    return _Reader("--map and --set", "", given).mapping({"fields": fields, "constants": dict(constants)})


def from_toml(
    text: str, name: str, given: MappingOverrides = _NOTHING, constants: Mapping[str, str] = MappingProxyType({})
) -> RowMapping:
    """The mapping of a file.

    Args:
        text: TOML.
        name: The file's, for errors.
        given: What the command line says besides.
        constants: Values for every row from the command line, before those of the file.

    Raises:
        MappingError: Something in it is wrong; its line and key are named.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error).replace("Cannot overwrite a value", "a key is there twice; give each once")
        raise MappingError(f"{name}: is no TOML: {said}") from error
    if constants and isinstance(found.get("constants", {}), dict):
        found["constants"] = {**found.get("constants", {}), **constants}
    return _Reader(name, text, given).mapping(found)


class _Reader:
    """Checks a mapping's tables, one by one."""

    def __init__(self, name: str, text: str, given: MappingOverrides) -> None:
        self._name, self._text, self._given = name, text, given
        self._time: dict[str, Any] = {}
        self._decimal: str | None = None
        self._values: dict[str, dict[str, str]] = {}
        self._constants: dict[str, str] = {}

    def _wrong(self, key: str, why: str) -> MappingError:
        line = re.search(rf"^.*?(?<![\w-])[\"']?{re.escape(key)}[\"']?(?![\w-])", self._text, re.MULTILINE)
        place = f" line {self._text.count(chr(10), 0, line.end()) + 1}:" if line and self._text else ""
        return MappingError(f"{self._name}:{place} {visible(key)}: {why}")

    def _known(self, given: Any, allowed: Any, key: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise self._wrong(key, "give a table of names and values")
        for each in given:
            if each not in allowed:
                raise self._wrong(each, f"is not known; use {choice(sorted(allowed))}")
        return given

    def mapping(self, found: dict[str, Any]) -> RowMapping:
        self._known(found, {*_TABLES, "fields", "constants", "values", "event"}, "the file")
        parts = {key: self._known(found.get(key, {}), allowed, key) for key, allowed in _TABLES.items()}
        self._time = parts["time"]
        for key in ("zone", "format", "made_from"):
            self._texts(self._time, key)
            if (value := getattr(self._given, key)) is not None:
                self._time[key] = value
        for key in _TABLES["source"]:
            self._texts(parts["source"], key)
        self._decimal = self._given.decimal or parts["numbers"].get("decimal")
        if self._decimal not in (*DECIMALS, None):
            raise self._wrong("decimal", f"{self._decimal!r}: use {choice(map(repr, DECIMALS))}")
        self._check_time(self._time)
        constants = self._known(found.get("constants", {}), NAMES, "constants")
        self._constants = {name: self._text_of(name, value) for name, value in constants.items()}
        for name, value in self._known(found.get("values", {}), NAMES, "values").items():
            self._values[name] = self._value_map(name, value)
        shared = {
            name: self._source(name, each)
            for name, each in self._known(found.get("fields", {}), NAMES, "fields").items()
        }
        for name, value in self._constants.items():
            shared[name] = replace(shared[name], constant=value) if name in shared else self._source(name, None)
        self._check_event_id(shared)
        listed = found.get("event")
        if listed is None:
            events = list(self._usual_events(shared))
        elif isinstance(listed, list) and listed and all(isinstance(each, dict) for each in listed):
            events = [self._event(each, shared) for each in listed]
        else:
            raise self._wrong("event", "give one or more tables, each begun by [[event]]")
        seconds = self._time.get("assumed_seconds", 30.0)
        if not isinstance(seconds, int | float) or not 0 < seconds <= 86_400:
            raise self._wrong("assumed_seconds", f"{seconds!r}: give seconds above 0, up to 86400")
        made = RowMapping(
            tuple(events), parts["source"], self._time.get("made_from"), self._time.get("zone"), float(seconds)
        )
        self._check_whole(made)
        return made

    def _texts(self, table: Mapping[str, Any], key: str) -> None:
        if key in table and not (isinstance(table[key], str) and table[key]):
            raise self._wrong(key, f"{table[key]!r}: give a text")

    def _text_of(self, key: str, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        raise self._wrong(key, f"{value!r}: give a text, a number, true or false")

    def _value_map(self, key: str, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self._wrong(key, "give what each text means, such as Correct = true")
        return {text.strip(): self._text_of(key, meant) for text, meant in value.items()}

    def _check_time(self, table: Mapping[str, Any]) -> None:
        try:
            if zone := table.get("zone"):
                zone_of(zone)
            if (form := table.get("format")) and form not in NAMED:
                pattern_of(form)
        except MappingError as error:
            raise self._wrong("zone" if str(error).startswith("zone") else "format", str(error)) from error

    def _source(self, name: str, given: Any) -> FieldSource:
        """A field's source: a column's name, several of an id, or a table with more."""
        short: Any = {} if given is None else given
        if isinstance(given, str | list):
            short = {"column" if isinstance(given, str) else "columns": given}
        table = self._known(short, _OF_A_FIELD, name)
        for key in ("column", "separator", "format", "zone", "unit", "decimal", "compare", "begin", "end"):
            self._texts(table, key)
        if "column" in table and "columns" in table:
            raise self._wrong(name, "has column and columns; give one of them")
        columns = table.get("columns", [table["column"]] if "column" in table else [])
        if not isinstance(columns, list) or not all(isinstance(each, str) and each for each in columns):
            raise self._wrong(name, "give the name of a column, or a list of names for an id of several")
        if len(set(columns)) < len(columns):
            raise self._wrong(name, "names a column twice; give each once")
        kind = self._kind(name)
        if len(columns) > 1 and kind not in ("id", "ids"):
            raise self._wrong(name, "has two columns; only an id is made of several: give one")
        span = (table["begin"], table["end"]) if "begin" in table and "end" in table else None
        if ("begin" in table) != ("end" in table) or (span and (columns or kind != "duration")):
            raise self._wrong(name, "begin and end are two columns of times, for a duration alone, in place of column")
        if (unit := table.get("unit")) is not None and (unit not in UNITS or kind != "duration" or name in SECONDS):
            raise self._wrong("unit", f"{unit!r}: for handle_ms and review_ms alone; use {choice(UNITS)}")
        if (compare := table.get("compare")) is not None and (compare not in COMPARISONS or name != "correct"):
            raise self._wrong("compare", f"{compare!r}: for correct alone; use {choice(COMPARISONS)}")
        if table.get("decimal") not in (*DECIMALS, None):
            raise self._wrong("decimal", f"{table['decimal']!r}: use {choice(map(repr, DECIMALS))}")
        self._check_time(table)
        values = self._value_map("values", table["values"]) if "values" in table else self._values.get(name, {})
        is_time = kind == "time" or span is not None
        constant = self._text_of(name, table["value"]) if "value" in table else self._constants.get(name)
        return FieldSource(
            tuple(each.strip() for each in columns),
            table.get("separator"),
            constant,
            values,
            table.get("format", self._time.get("format")) if is_time else None,
            table.get("zone", self._time.get("zone")) if is_time else None,
            "s" if name in SECONDS else table.get("unit", "ms") if kind == "duration" else None,
            table.get("decimal", self._decimal),
            compare,
            span,
        )

    def _kind(self, name: str) -> str:
        name = SECONDS.get(name, name)
        return next(fields[name].kind for fields in FIELDS.values() if name in fields)

    def _check_event_id(self, shared: Mapping[str, FieldSource]) -> None:
        if (source := shared.get(_OWN_ID)) is not None and source.constant is not None:
            raise self._wrong(_OWN_ID, "each event needs an id of its own; name a column, or leave it out")

    def _event(self, table: dict[str, Any], shared: Mapping[str, FieldSource]) -> EventMapping:
        table = dict(table)
        word = table.pop("type", None)
        kind = EVENT_WORDS.get(word, word) if isinstance(word, str) else None
        if kind not in FIELDS:
            raise self._wrong("type", f"{word!r}: use {choice(EVENT_WORDS)}")
        when = self._when(table.pop("when", {}))
        own = FIELDS[kind]
        allowed = {*own, *(short for short, name in SECONDS.items() if name in own)}
        for name in table:
            if name not in allowed:
                raise self._wrong(name, f"is no field of {kind}; use {choice(sorted(allowed))}")
        fields = {name: each for name, each in shared.items() if name in allowed}
        fields |= {name: self._source(name, each) for name, each in table.items()}
        return EventMapping(kind, self._without_seconds(fields), when)

    def _when(self, given: Any) -> dict[str, tuple[str, ...] | None]:
        """`"gold"`: that column is not empty; `{kind = "label"}` or `{kind = ["a", "b"]}`: it has one of these."""
        if isinstance(given, str):
            return {given: None}
        if not isinstance(given, dict):
            raise self._wrong("when", 'give a column\'s name, or {column = "text"}')
        return {
            column: tuple(self._text_of("when", each) for each in (texts if isinstance(texts, list) else [texts]))
            for column, texts in given.items()
        }

    def _without_seconds(self, fields: Mapping[str, FieldSource]) -> dict[str, FieldSource]:
        for short, name in SECONDS.items():
            if short in fields and name in fields:
                raise self._wrong(short, f"{short} and {name} are two columns for one field; give one")
        return {SECONDS.get(name, name): each for name, each in fields.items()}

    def _usual_events(self, shared: Mapping[str, FieldSource]) -> Iterator[EventMapping]:
        """What the fields speak of, where no [[event]] says it: a review next to a label if its verdict is known."""

        def made(kind: str, more: Mapping[str, Any], when: str | None = None) -> EventMapping:
            event = self._event({"type": kind, **more}, shared)
            return replace(event, when={when: None}) if when else event

        has = shared.keys()
        judged = has & {"correct", "expected"}
        is_label = has & {"label", "handle_ms", "handle_s", "skipped"} or ("task_id" in has and not judged)
        if is_label:
            yield made("label", {})
        if judged:
            more: dict[str, Any] = {}
            verdict = shared.get("correct", FieldSource())
            by_gold = "expected" in has and not verdict.columns and verdict.constant is None
            if by_gold and "source" not in has:
                more["source"] = {"value": "gold"}
            # Not every row has a verdict: those without are labels alone.
            about = shared["expected"].columns if by_gold else verdict.columns
            review = made("review", more, about[0] if about and is_label else None)
            # A row of both has one time: that of the label.
            same = {"labeled_at": shared["at"]} if is_label and "labeled_at" not in has and "at" in has else {}
            yield replace(review, fields={**review.fields, **same})
        if "state" in has:
            yield made("state", {}, shared["state"].columns[0] if is_label and shared["state"].columns else None)
        if not is_label and not judged and "state" not in has:
            yield made("profile", {})

    def _check_whole(self, made: RowMapping) -> None:
        """Every event has what it needs."""
        if made.made_from is not None:
            TimeReader("made_from", None, self._time.get("zone"))(made.made_from)
        for event in made.events:
            for name, about in FIELDS[event.type].items():
                if not about.required or name in event.fields or name == _OWN_ID:
                    continue
                if name == "at" and made.made_from is not None:
                    continue
                if name == "correct" and {"label", "expected"} <= event.fields.keys():
                    continue
                remedy = {
                    "at": "name the column of its time, at = ..., or let times be made (--times-from)",
                    "correct": "name its column, or those of label and expected, which are then compared",
                }.get(name, f"name its column, {name} = ..., or a value for every row, --set {name}=...")
                raise self._wrong(name, f"{event.type} needs it: {remedy}")
            if made.made_from is not None and "agent_id" not in event.fields:
                raise self._wrong("made_from", "times are made for each agent_id; name its column")
