"""JSON arrays and JSON lines as tables: an object is a row, its keys and the pointers into it are the columns."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from schemas.text import visible
from streams.sources.errors import SourceError
from streams.sources.tables.opening import OpenedFile
from streams.sources.tables.table import BadRow, SourceTable, TableRow

#: The first objects, from which the columns are taken.
_SEEN = 200
_READ = 1 << 20
#: One object of more characters is no row.
_OBJECT = 64 << 20
_COLUMNS = 4096
_BLANKS = " \t\r\n"
#: From here on a float has lost digits: two ids could become one.
_EXACT = 2.0**53
#: An object's place, and it; or why it is none.
Placed = tuple[int, Any]


def open_objects(file: OpenedFile) -> SourceTable:
    """A table of a JSON array, or of JSON lines.

    Raises:
        SourceError: It is no such thing, or its first objects have too many keys.
    """
    objects = array_items if file.kind == "json" else _line_items
    columns: dict[str, None] = {}
    place = "object" if file.kind == "json" else "line"
    has_object, why_not = False, ": has no object; nothing was imported"
    for at, (number, found) in enumerate(islice(objects(file), _SEEN)):
        if isinstance(found, dict):
            has_object = True
            columns |= dict.fromkeys(pointers(found, ""))
        elif at == 0:
            why_not = f" {place} {number}: {_no_object(found).detail}"
        if len(columns) > _COLUMNS:
            raise SourceError(f"{file.name}: its objects have more than {_COLUMNS:,} keys; it is no table")
    if not has_object:
        raise SourceError(f"{file.name}{why_not}")

    def read(wanted: Sequence[str]) -> Iterator[TableRow]:
        getters = [getter_of(column) for column in wanted]
        for number, found in objects(file):
            if isinstance(found, dict):
                yield TableRow(number, [getter(found) for getter in getters])
            else:
                yield TableRow(number, _no_object(found))

    kind = "json" if file.kind == "json" else "jsonl"
    return SourceTable(file.name, kind, tuple(columns), read, place, file.notes, file.where, file.size)


def _no_object(found: Any) -> BadRow:
    """Why a part is no row."""
    if isinstance(found, BadRow):
        return found
    return BadRow("JSON", f"is a {_name(found)}, not an object with names and values")


def pointers(found: dict[str, Any], before: str) -> Iterator[str]:
    """Names of an object's values: keys, and JSON pointers into objects within it."""
    for key, value in found.items():
        pointer = f"{before}/{key.replace('~', '~0').replace('/', '~1')}"
        if isinstance(value, dict) and value:
            yield from pointers(value, pointer)
        else:
            yield pointer if before else key


def getter_of(column: str) -> Callable[[dict[str, Any]], str]:
    """What gives a column's text of an object; nothing where the object lacks it."""
    if not column.startswith("/"):
        return lambda found: text_of(found.get(column))
    keys = [part.replace("~1", "/").replace("~0", "~") for part in column[1:].split("/")]

    def get(found: Any) -> str:
        for key in keys:
            if isinstance(found, dict):
                found = found.get(key)
            elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                return ""
        return text_of(found)

    return get


def text_of(value: Any) -> str:
    """A JSON value as the text of a cell; a list is its parts with bars between, as sets of choices are compared."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return "|".join(map(text_of, value))
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    # 17.0 and 17 are one number to the person who wrote them, and must be one id.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(written: str) -> float | str:
    """A number with a point or an exponent; as it is written where a float is not exact."""
    value = float(written)
    return value if abs(value) < _EXACT else written


#: Of one value's JSON, text or bytes.
decode_json = msgspec.json.Decoder(float_hook=_number).decode


def _line_items(file: OpenedFile) -> Iterator[Placed]:
    with file.text() as text:
        number = 0
        while True:
            try:
                line = text.readline(_OBJECT)
            except UnicodeError as error:
                raise SourceError(
                    f"{file.name} line {number + 1}: cannot be read as {file.encoding}; state another --encoding"
                ) from error
            if not line:
                return
            number += 1
            if not line.strip():
                continue
            if len(line) >= _OBJECT:
                raise SourceError(f"{file.name} line {number}: is longer than {_OBJECT:,} characters; it is no line")
            try:
                yield number, decode_json(line)
            except (ValueError, RecursionError) as error:
                yield number, BadRow("JSON", f"is no JSON: {error}; each line must be one whole object")


def array_items(file: OpenedFile) -> Iterator[Placed]:
    """The parts of a JSON array, one by one: the whole array never is in memory.

    Yields:
        A part's number, from 1, and the part.

    Raises:
        SourceError: The array breaks off, or a part is no JSON.
    """
    decode = json.JSONDecoder(parse_float=_number).raw_decode
    with file.text() as text:
        buffer, at, number, ended = "", 0, 0, False

        def more() -> bool:
            nonlocal buffer, at, ended
            # Twice as much each time: an object that is long is not parsed over and over.
            chunk = text.read(max(_READ, len(buffer) - at))
            buffer, at, ended = buffer[at:] + chunk, 0, not chunk
            return not ended

        def skip(signs: str) -> str:
            """Passes blanks and these signs, and gives the next one; nothing at the end."""
            nonlocal at
            while True:
                while at < len(buffer) and buffer[at] in signs:
                    at += 1
                if at < len(buffer) or not more():
                    return buffer[at : at + 1]

        if skip(_BLANKS) == "{":
            # One object alone is a table of one row.
            yield 1, _whole(file, text, buffer[at:])
            return
        at += 1
        while True:
            sign = skip(_BLANKS + ("," if number else ""))
            if sign == "]":
                return
            if not sign:
                raise SourceError(f"{file.name}: breaks off after object {number:,}; get it again")
            try:
                found, end = decode(buffer, at)
            except (ValueError, RecursionError) as error:
                if len(buffer) - at < _OBJECT and not ended and more():
                    continue
                raise SourceError(
                    f"{file.name}: object {number + 1:,} is no JSON: {getattr(error, 'msg', error)}; it begins with "
                    f"{visible(buffer[at : at + 40])!r}"
                ) from error
            if end == len(buffer) and not ended and more():
                # A number may go on.
                continue
            at, number = end, number + 1
            yield number, found


def _whole(file: OpenedFile, text: Any, begun: str) -> Any:
    data = begun + text.read(_OBJECT)
    try:
        return json.loads(data, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file.name}: is neither a JSON array nor one object: {error}; state it: --format jsonl, if each line is "
            "an object"
        ) from error


def _name(value: Any) -> str:
    return {list: "list", str: "text", bool: "truth value", type(None): "null"}.get(type(value), "number")
