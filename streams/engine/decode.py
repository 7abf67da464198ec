"""Decodes records: bytes to an event, or to the reason why not. The first step, and the only one that reads JSON."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import msgspec

from schemas.events import AnyEvent, Envelope, Event, Identifier, ReviewError, ReviewVersion, event_types
from schemas.text import HIDDEN, SUSPECT

#: Records checked together. A bad record sends only the records of its chunk the slow way, not the whole batch.
_CHUNK = 512
_PRINTABLE_ASCII = bytes(range(0x20, 0x7F))

_decode = msgspec.json.Decoder(AnyEvent).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_KNOWN = frozenset(event_types())


class Rejection(NamedTuple):
    """Why a record cannot be used: one of `REASONS` (`streams.engine.partition`), and a detail for people."""

    reason: str
    detail: str


class Unknown:
    """A well-formed event of a type that this version does not know."""


UNKNOWN = Unknown()
Decoded = Event | Rejection | Unknown


def decode(values: Sequence[bytes | None]) -> list[Any]:
    """Decodes record values.

    Args:
        values: Raw values; None where a record has none.

    Returns:
        For each value an event, a `Rejection`, or `UNKNOWN`. Never raises for a value.
    """
    out: list[Any] = []
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        events = _decode_clean(chunk)
        out.extend([decode_one(value) for value in chunk] if events is None else events)
    return out


def _decode_clean(chunk: Sequence[bytes | None]) -> list[Any] | None:
    """Decodes records if none of them can have a hidden character; None where each must be checked by itself.

    One scan of the joined text is cheaper than a scan of each record (.1 us a record), and a pattern on each field
    would cost 2 us. The blanks keep a UTF-8 sequence from running on into the next record.
    """
    try:
        # A None raises TypeError and sends the chunk the slow way.
        text = b" ".join(chunk)  # type: ignore[arg-type]  # a null raises TypeError
        if b"\\" in text or (b"\x7f" in text if text.isascii() else _may_hide(text)):
            return None
        return [_decode(value) for value in chunk]  # type: ignore[arg-type]  # a null raises TypeError
    except (TypeError, ValueError, RecursionError):
        return None


def _may_hide(text: bytes) -> bool:
    """Whether a text may have a character that identifiers must not have.

    Most of it is ASCII even where names are Chinese, so that is taken out first: 0.7 us a record, where a search of all
    would take 14.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    text.decode()  # as it came: without its ASCII, halves of characters could join
    return SUSPECT.search(text.translate(None, _PRINTABLE_ASCII).decode()) is not None


def decode_one(value: bytes | None) -> Decoded:
    """Decodes one record value, with the reason where it cannot be used."""
    if value is None:
        return Rejection("null", "the record has no value")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        return Rejection("encoding", f"not UTF-8: {error.reason} at byte {error.start}")
    try:
        event: Decoded = _decode(value)
    except msgspec.ValidationError as error:
        return _unknown_or(value, Rejection("schema", str(error)))
    except (ValueError, RecursionError) as error:
        return _malformed(error)
    if SUSPECT.search(text):
        return _without_control_characters(event)
    return event


def _malformed(error: Exception) -> Rejection:
    return Rejection("json", str(error) or type(error).__name__)


def _unknown_or(value: bytes, rejection: Rejection) -> Decoded:
    try:
        msgspec.json.decode(value)
    except (ValueError, RecursionError) as error:
        # A wrong field was met before the place where the JSON itself breaks.
        return _malformed(error)
    try:
        envelope = _decode_envelope(value)
    except (ValueError, RecursionError):
        return rejection
    if envelope.type in _KNOWN or any(
        HIDDEN.search(text) for text in (envelope.type, envelope.event_id, envelope.site_id)
    ):
        return rejection
    return UNKNOWN


def _mentions_identifier(kind: Any) -> bool:
    return kind == Identifier or any(_mentions_identifier(part) for part in get_args(kind) if not isinstance(part, str))


def _identifier_fields(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    nested = (ReviewError, ReviewVersion)
    return tuple(
        field.name
        for field in msgspec.structs.fields(cls)
        if _mentions_identifier(field.type) or any(kind.__name__ in str(field.type) for kind in nested)
    )


_CHECKED: tuple[type[msgspec.Struct], ...] = (*event_types().values(), ReviewError, ReviewVersion)
_IDENTIFIERS: dict[type, tuple[str, ...]] = {cls: _identifier_fields(cls) for cls in _CHECKED}


def _without_control_characters(event: Any) -> Decoded:
    found = _control_character_in(event)
    return (
        event
        if found is None
        else Rejection("schema", f"control, format, bidirectional or empty character in an identifier - at `$.{found}`")
    )


def _control_character_in(value: Any) -> str | None:
    """Path of the first identifier with a control character, or None."""
    for name in _IDENTIFIERS.get(type(value), ()):
        part = getattr(value, name)
        for item in part if isinstance(part, list) else (part,):
            if isinstance(item, str):
                if HIDDEN.search(item):
                    return name
            elif (inner := _control_character_in(item)) is not None:
                return f"{name}.{inner}"
    return None
