"""How a checkpoint is stored in its topic: keys, parts and headers of its records, and how slots are read from them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.runtime.broker import WorkerRefusal
from streams.runtime.packed import OutgoingRecord

#: Number of the layout below: keys, parts, headers. A worker refuses a newer one.
FORMAT = 1
#: A longer slot is cut into parts. This is far below the checkpoint topic's limit, headers and keys included.
PART_BYTES = 4 << 20

MANIFEST_KEY = b"m"
#: The manifest's header with the id of the events topic.
TOPIC_ID = "topic-id"
#: The header with the id of the checkpoint topic itself.
OWN_TOPIC_ID = "checkpoint-topic-id"
#: The header with the fingerprint of the key that gives people their names on the pages.
KEY_FINGERPRINT = "key-fingerprint"
_SLOT = b"s"
_PART = b"p"

Header = tuple[str, bytes]


class Restored(NamedTuple):
    """The last checkpoint, as read from the topic.

    Attributes:
        slots: The engine's slots.
        manifest: The engine's manifest, None before the first checkpoint.
        records: How many records of the topic were read.
        at_ms: When the checkpoint was written, epoch milliseconds by its writer's clock; 0 before the first.
    """

    slots: dict[bytes, bytes]
    manifest: bytes | None
    records: int
    at_ms: int = 0


class CheckpointReader:
    """Rebuilds the last complete checkpoint from all records of the topic, in their order."""

    def __init__(self, transactional: bool) -> None:
        self.records = 0
        self.at_ms = 0
        self.manifest: bytes | None = None
        self.format = FORMAT
        self.partitions = 0
        #: Ids of the events topic and of the checkpoint topic; empty where the checkpoint has none.
        self.topic_ids = ("", "")
        self.key_fingerprint = ""
        self._transactional = transactional
        self._values: dict[bytes, tuple[bytes, int]] = {}
        #: Plain form: records since the last manifest.
        self._pending: dict[bytes, tuple[bytes | None, int]] = {}

    def take(self, key: bytes, value: bytes | None, header_list: Iterable[Header], at_ms: int = 0) -> None:
        """Takes the next record of the topic."""
        self.records += 1
        headers = dict(header_list)
        parts = int(headers.get("parts", b"1"))
        if not self._transactional:
            if "checkpoint" not in headers:
                raise WorkerRefusal(
                    "The checkpoints were written in transactions, and this broker has none: point the worker at "
                    "the broker that wrote them, or start a new group with --id and replay."
                )
            if key != MANIFEST_KEY:
                self._pending[key] = (value, parts)
                return
            # Records of a torn checkpoint may be among these; the checkpoint that this manifest ends has healed them.
            for each, (slot, count) in self._pending.items():
                self._put(each, slot, count)
            self._pending.clear()
        if key == MANIFEST_KEY:
            self.manifest, self.at_ms = value, at_ms
            self.format = int(headers.get("format", b"0"))
            self.partitions = int(headers.get("partitions", b"0"))
            self.topic_ids = (headers.get(TOPIC_ID, b"").decode(), headers.get(OWN_TOPIC_ID, b"").decode())
            self.key_fingerprint = headers.get(KEY_FINGERPRINT, b"").decode()
        else:
            self._put(key, value, parts)

    def _put(self, key: bytes, value: bytes | None, parts: int) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = (value, parts)

    def slots(self) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
        """Whole slots by the engine's keys; and the number of parts, of slots that have several."""
        slots: dict[bytes, bytes] = {}
        counts: dict[bytes, int] = {}
        for stored, (value, parts) in self._values.items():
            if not stored.startswith(_SLOT):
                continue
            key = stored[1:]
            if parts > 1:
                counts[key] = parts
                value += b"".join(self._values[_part_key(index, key)][0] for index in range(1, parts))
            slots[key] = value
        return slots, counts

    def torn(self) -> dict[bytes, OutgoingRecord]:
        """Records to write again: of keys with records after the last manifest, the values that count."""
        healed: dict[bytes, OutgoingRecord] = {}
        for key in self._pending:
            value, parts = self._values.get(key, (None, 1))
            healed[key] = (key, value, [("parts", b"%d" % parts)] if parts > 1 else [])
        return healed


def records_of(slots: Iterable[tuple[bytes, bytes | None]], part_counts: dict[bytes, int]) -> Iterator[OutgoingRecord]:
    """The records of changed slots: long values in parts, and the deletion of parts no longer needed.

    Args:
        slots: Changed slots; None deletes one.
        part_counts: Number of parts of the slots that have several; updated.
    """
    for key, value in slots:
        before = part_counts.pop(key, 1)
        parts = _cut(value)
        if len(parts) > 1:
            part_counts[key] = len(parts)
            yield _SLOT + key, parts[0], [("parts", b"%d" % len(parts))]
        else:
            yield _SLOT + key, parts[0], []
        for index in range(1, max(before, len(parts))):
            yield _part_key(index, key), parts[index] if index < len(parts) else None, []


def _cut(value: bytes | None) -> list[bytes | None]:
    if value is None or len(value) <= PART_BYTES:
        return [value]
    return [value[start : start + PART_BYTES] for start in range(0, len(value), PART_BYTES)]


def _part_key(index: int, key: bytes) -> bytes:
    return _PART + index.to_bytes(2, "big") + key
