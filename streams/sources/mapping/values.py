"""Cells to values: ids, texts, booleans, choices, numbers, dates and lists; and whether a label equals its gold."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from schemas.text import HIDDEN, choice, visible
from streams.sources.mapping.durations import duration_reader, number_reader
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.fields import EventField
from streams.sources.mapping.model import FieldSource
from streams.sources.mapping.times import TimeReader

#: Gives a field's value of a row's cells; None: the row has none.
CellReader = Callable[[Sequence[str]], Any]
#: Gives the value of a text that is not empty.
Read = Callable[[str], Any]

_IDENTIFIER, _TEXT = 128, 1000
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_SHOWN = 60


def shown(text: str) -> str:
    """A value within a sentence: made visible, and no longer than one reads."""
    return repr(visible(text[:_SHOWN])) + ("..." if len(text) > _SHOWN else "")


def joined(parts: Sequence[str], separator: str) -> str:
    r"""An id of several parts, so that no two lists of parts give the same: a separator within a part is escaped.

    >>> joined(["a/b", "c"], "/"), joined(["a", "b/c"], "/")
    ('a\\/b/c', 'a/b\\/c')
    """
    if any(separator in part or "\\" in part for part in parts):
        parts = [part.replace("\\", "\\\\").replace(separator, "\\" + separator) for part in parts]
    return separator.join(parts)


def reader(
    field: EventField, source: FieldSource, places: Mapping[str, int], times: dict[tuple[object, ...], TimeReader]
) -> CellReader:
    """The function that reads a field, made once for a mapping.

    Args:
        field: What it is for.
        source: Where its value comes from.
        places: Place of each column among the cells.
        times: Readers of times that were made, by column and form, and those made here: fields share them.
    """
    where = f"column {' and '.join(source.columns) or '-'} ({field.name})"
    if source.span is not None:
        return _span(field, source, places, times)
    read = _read(field, source, where, times)
    constant = None if source.constant is None else _constant(field, source, read)
    if not source.columns:
        return lambda cells: constant
    values = source.values
    if len(source.columns) == 1 and not values:
        return _single(field, places[source.columns[0]], read, constant, where)
    text_of = _cell(source, places)

    def get(cells: Sequence[str]) -> Any:
        text = text_of(cells)
        text = values.get(text, text)
        return read(text) if text else constant

    return get


def _single(field: EventField, index: int, read: Read, constant: Any, where: str) -> CellReader:
    """Of one column without a value map, as nearly all are: a call less for each cell of a million rows."""

    def get(cells: Sequence[str]) -> Any:
        text = cells[index].strip()
        return read(text) if text else constant

    def get_id(cells: Sequence[str]) -> Any:
        text = cells[index].strip()
        if not text:
            return constant
        return text if len(text) <= _IDENTIFIER and text.isascii() and text.isprintable() else _identifier(text, where)

    def get_text(cells: Sequence[str]) -> Any:
        text = cells[index].strip()
        return (text if len(text) <= _TEXT else _too_long(text, where, _TEXT)) if text else constant

    return {"id": get_id, "text": get_text}.get(field.kind, get)


def _cell(source: FieldSource, places: Mapping[str, int]) -> Callable[[Sequence[str]], str]:
    indexes = [places[column] for column in source.columns]
    if len(indexes) == 1:
        (index,) = indexes
        return lambda cells: cells[index].strip()
    separator = source.separator or "/"

    def several(cells: Sequence[str]) -> str:
        parts = [cells[index].strip() for index in indexes]
        # An id of which a part is missing is another id.
        return joined(parts, separator) if all(parts) else ""

    return several


def _constant(field: EventField, source: FieldSource, read: Read) -> Any:
    text = source.values.get(source.constant or "", source.constant or "")
    try:
        return read(text) if text else None
    except CellError as error:
        raise MappingError(f"value of {field.name}: {str(error).removeprefix('column - ')}") from error


def _read(field: EventField, source: FieldSource, where: str, times: dict[tuple[object, ...], TimeReader]) -> Read:
    if field.kind == "time":
        return _time(source.columns, source, where, times)
    if field.kind == "duration":
        return duration_reader(where, source.unit or "ms", source.decimal)
    if field.kind == "number":
        return _number(field, where, source.decimal)
    if field.kind in ("boolean", "choice"):
        return _word(field, where)
    if field.kind == "date":
        return lambda text: _date(text, where)
    if field.kind == "ids":
        separator = source.separator or "|"
        return lambda text: [_identifier(part.strip(), where) for part in text.split(separator) if part.strip()]
    if field.kind == "id":
        return lambda text: (
            text if len(text) <= _IDENTIFIER and text.isascii() and text.isprintable() else _identifier(text, where)
        )
    return lambda text: text if len(text) <= _TEXT else _too_long(text, where, _TEXT)


def _time(
    columns: Sequence[str], source: FieldSource, where: str, times: dict[tuple[object, ...], TimeReader]
) -> TimeReader:
    key = (tuple(columns), source.format, source.zone)
    if key not in times:
        times[key] = TimeReader(where, source.format, source.zone)
    return times[key]


def _span(
    field: EventField, source: FieldSource, places: Mapping[str, int], times: dict[tuple[object, ...], TimeReader]
) -> CellReader:
    assert source.span is not None, "the caller has asked"
    names = source.span
    first, last = (places[name] for name in names)
    begin, end = (_time([name], source, f"column {name} ({field.name})", times) for name in names)

    def get(cells: Sequence[str]) -> int | None:
        before, after = cells[first].strip(), cells[last].strip()
        if not before or not after:
            return None
        took_ms = end(after) - begin(before)
        if took_ms < 0:
            raise CellError(
                "duration", f"columns {names[0]} and {names[1]} ({field.name}): {after!r} is before {before!r}"
            )
        return took_ms

    return get


def _identifier(text: str, where: str) -> str:
    if len(text) > _IDENTIFIER:
        return _too_long(text, where, _IDENTIFIER)
    if HIDDEN.search(text):
        raise CellError(
            "id",
            f"{where}: {shown(text)} has a control or format character, or one drawn as nothing, which no id may have",
        )
    return text


def _too_long(text: str, where: str, most: int) -> str:
    raise CellError(
        "too long", f"{where}: {shown(text)} has {len(text):,} characters, {most:,} are allowed; it is not cut"
    )


def _word(field: EventField, where: str) -> Read:
    words: dict[str, Any] = _BOOLEANS if field.kind == "boolean" else {word: word for word in field.words}
    allowed = "true or false" if field.kind == "boolean" else choice(field.words)

    def read(text: str) -> Any:
        found = words.get(text)
        if found is None:
            found = words.get(text.lower())
        if found is None:
            example = "true" if field.kind == "boolean" else f'"{field.words[0]}"'
            raise CellError(
                "meaning",
                f"{where}: {shown(text)} is none of {allowed}; say what it means under [values.{field.name}], "
                f'"{visible(text[:_SHOWN])}" = {example}',
            )
        return found

    return read


def _number(field: EventField, where: str, decimal: str | None) -> Read:
    number = number_reader(where, decimal)

    def read(text: str) -> Any:
        exact = number(text)
        value = int(exact) if exact == exact.to_integral_value() else float(exact)
        try:
            return msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            raise CellError("number", f"{where}: {shown(text)} is out of range: {error}") from None

    return read


def _date(text: str, where: str) -> str:
    if _DATE.fullmatch(text) is None:
        raise CellError("date", f"{where}: {shown(text)} is no date in the form 2026-11-30")
    return text


def comparison(how: str, separator: str) -> Callable[[str, str], bool]:
    """Whether a label equals its gold: `exact`, `no-case`, `number`, `set` (choices, in any order), `any` of them."""
    if how == "no-case":
        return lambda label, gold: label.casefold() == gold.casefold()
    if how == "number":
        return _equal_numbers
    if how == "set":
        return lambda label, gold: _choices(label, separator) == _choices(gold, separator)
    if how == "any":
        return lambda label, gold: label in _choices(gold, separator)
    return str.__eq__


def _choices(text: str, separator: str) -> set[str]:
    return {part.strip() for part in text.split(separator)}


def _equal_numbers(label: str, gold: str) -> bool:
    if label == gold:
        return True
    try:
        return Decimal(label.replace(",", ".")) == Decimal(gold.replace(",", "."))
    except InvalidOperation:
        return False
