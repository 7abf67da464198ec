"""Records of somebody else's topic to events, by a mapping: what `labelwatch bridge` does with each record."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import xxhash

from schemas.text import visible
from streams.sources.mapping.compiled import CompiledMapping
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.model import RowMapping
from streams.sources.tables.objects import decode_json, getter_of, text_of

_encode = msgspec.json.encode


class SourceRecord(NamedTuple):
    """A record as it is in its topic; the time is its own or the broker's, epoch ms."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class MappedEvent(NamedTuple):
    """An event for the events topic: its type, its site as a key, its JSON."""

    type: str
    key: bytes
    value: bytes


#: Columns that a record has beside those of its JSON.
_OF_RECORDS: dict[str, Callable[[SourceRecord], str]] = {
    "@timestamp": lambda record: str(record.timestamp_ms),
    "@key": lambda record: (record.key or b"").decode(errors="replace"),
    "@partition": lambda record: str(record.partition),
    "@offset": lambda record: str(record.offset),
}


class TopicMapping:
    """Turns records into events.

    An event without an id of its own gets one from the record's place in its topic: however often a record is read,
    its event is the same.

    Args:
        mapping: What a record becomes.
        topic: Where the records are from.

    Raises:
        MappingError: The mapping asks for what only a file can give.
    """

    def __init__(self, mapping: RowMapping, topic: str) -> None:
        if mapping.made_from is not None:
            raise MappingError(
                "made_from (--times-from): times are made from the rows of a file; of a topic take a field, or the "
                'record\'s own time: at = { column = "@timestamp", format = "epoch_ms" }'
            )
        columns = mapping.columns()
        self._of_record = [(place, _OF_RECORDS[name]) for place, name in enumerate(columns) if name in _OF_RECORDS]
        self._of_value = [getter_of(name) for name in columns]
        self._compiled = CompiledMapping(mapping, columns, topic)
        self._id = f"{xxhash.xxh3_64_hexdigest(topic.encode())}-".encode()

    def __call__(self, record: SourceRecord) -> list[MappedEvent]:
        """A record's events; none where the mapping makes nothing of it, or it has no value.

        Raises:
            CellError: It cannot be used.
        """
        if record.value is None:
            return []
        try:
            found: Any = decode_json(record.value)
        except (ValueError, RecursionError) as error:
            raise CellError("json", f"is no JSON: {error}") from error
        if type(found) is not dict:
            raise CellError("json", f"is no JSON object: {visible(text_of(found)[:40])}")
        cells = [get(found) for get in self._of_value]
        for place, get in self._of_record:
            cells[place] = get(record)
        try:
            events = self._compiled(cells)
            return [self._event(record, number, event) for number, event in enumerate(events)]
        except MappingError as error:
            # Of a file it ends the import; a topic goes on.
            raise CellError("mapping", str(error)) from error

    def _event(self, record: SourceRecord, number: int, event: dict[str, Any]) -> MappedEvent:
        content = _encode(event)
        if "event_id" not in event:
            own = b"%s%d-%d" % (self._id, record.partition, record.offset)
            if number:
                own += b"-%d" % number
            # Behind the type, which readers look for first.
            cut = content.index(b",") + 1
            content = b'%s"event_id":"%s",%s' % (content[:cut], own, content[cut:])
        return MappedEvent(event["type"], event["site_id"].encode(), content)
