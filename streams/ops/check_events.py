"""`labelwatch events check`: a file's lines before they are sent, or a topic's records, by the worker's own decoder."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from schemas.events import Event
from schemas.text import visible
from schemas.topics import EVENTS
from streams.engine.decode import Rejection, Unknown, decode
from streams.ops.errors import WRONG_USE, CommandError
from streams.ops.records import TopicReader, unreadable
from streams.runtime.settings import Settings
from streams.sources.lines import json_lines

_BATCH = 5_000
#: As the worker's rule: an event that is later than now by more is turned away.
_FUTURE_MS = 300_000


@dataclass(slots=True)
class CheckedEvents:
    """What a file's lines, or a topic's records, are to a worker.

    Attributes:
        events: Good ones by type.
        rejected: By reason.
        unknown: Of a type that this version does not know: counted and skipped.
        disordered: Events older than one before them at the same site.
        keyed_otherwise: Records of a topic with another key than their site.
    """

    events: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    disordered: int = 0
    keyed_otherwise: int = 0
    _clocks: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The summary."""
        yield f"{self.events.total():,} good: {_counted(self.events) or 'none'}"
        if self.unknown:
            yield f"{self.unknown:,} of a type that this version does not know: a worker counts and skips them"
        if self.disordered:
            yield (
                f"{self.disordered:,} are older than one before them at their site: figures have them at their own time"
            )
        if self.keyed_otherwise:
            yield (
                f"{self.keyed_otherwise:,} have another key than their site_id: a site's events are in several "
                "partitions, and its figures in parts; mend the producer"
            )
        if self.rejected:
            yield f"{self.rejected.total():,} would be rejected: {_counted(self.rejected)}"

    def take(self, event: Event) -> None:
        """Counts a good event."""
        self.events[str(event.__struct_config__.tag)] += 1
        newest = self._clocks.get(event.site_id, 0)
        if event.at < newest:
            self.disordered += 1
        else:
            self._clocks[event.site_id] = event.at


def check(path: Path, limit: int, say: Callable[[str], None], now_ms: int | None = None) -> CheckedEvents:
    """Checks every line of a file.

    Args:
        path: JSON lines; `-` is standard input.
        limit: Lines that are named; 0 names all.
        say: Is given a sentence for each line that would be rejected.
        now_ms: What is dated later by more than 5 minutes would be rejected; None: by the wall clock.

    Raises:
        CommandError: The file cannot be read, or holds no line.
    """
    checker = _Checker(limit, say, now_ms)
    try:
        if str(path) == "-":
            checker.take(
                (f"line {number + 1}", line) for number, line in json_lines(sys.stdin.buffer, "standard input")
            )
        else:
            with path.open("rb") as file:
                checker.take((f"line {number + 1}", line) for number, line in json_lines(file, path))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the path of a file of JSON lines", WRONG_USE) from error
    checked = checker.close()
    if not (checked.events or checked.rejected or checked.unknown):
        raise CommandError(f"{path}: holds no line; give a file of JSON lines, one event each")
    return checked


async def check_topic(settings: Settings, limit: int, say: Callable[[str], None]) -> CheckedEvents:
    """Checks every record of the events topic, as `check` does; and its key, which decides about the partition.

    Raises:
        CommandError: The topic cannot be read, or holds no record.
    """
    checker = _Checker(limit, say, None)
    try:
        async with TopicReader(settings) as topic:
            for partition in range(topic.partitions):
                async for batch in topic.read(partition, None):
                    checker.take(
                        (f"partition {partition} offset {record.offset}", record.value or b"") for record in batch
                    )
                    checker.checked.keyed_otherwise += sum(_is_keyed_otherwise(record) for record in batch)
    except (KafkaError, TimeoutError, ConnectionError) as error:
        raise unreadable(EVENTS, settings, error) from error
    checked = checker.close()
    if not (checked.events or checked.rejected or checked.unknown):
        raise CommandError(f"{EVENTS} at {settings.bootstrap} holds no record: nothing to check")
    return checked


class _Head(msgspec.Struct):
    site_id: str


_decode_head = msgspec.json.Decoder(_Head).decode


def _is_keyed_otherwise(record: Any) -> bool:
    try:
        return bool(_decode_head(record.value or b"").site_id.encode() != record.key)
    except (ValueError, RecursionError):
        # No site; it is rejected for that.
        return False


class _Checker:
    """Decodes values in batches, as a worker does, and names what it would reject."""

    def __init__(self, limit: int, say: Callable[[str], None], now_ms: int | None) -> None:
        self.checked = CheckedEvents()
        self._limit, self._say = limit, say
        self._latest_ms = (time.time_ns() // 1_000_000 if now_ms is None else now_ms) + _FUTURE_MS
        self._batch: list[tuple[str, bytes]] = []

    def take(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Takes values with their places."""
        for each in values:
            self._batch.append(each)
            if len(self._batch) == _BATCH:
                self._flush()

    def close(self) -> CheckedEvents:
        """What was found, when all were taken."""
        self._flush()
        if self._limit and self.checked.rejected.total() > self._limit:
            self._say("...")
        return self.checked

    def _flush(self) -> None:
        checked = self.checked
        for (place, _), found in zip(self._batch, decode([value for _, value in self._batch]), strict=True):
            if isinstance(found, Unknown):
                checked.unknown += 1
                continue
            if not isinstance(found, Rejection) and found.at > self._latest_ms:
                found = Rejection("future", f"`at` {found.at} is more than 5 minutes after now; it is in milliseconds")
            if isinstance(found, Rejection):
                checked.rejected[found.reason] += 1
                if not self._limit or checked.rejected.total() <= self._limit:
                    self._say(f"{place}: {found.reason}: {visible(found.detail)}")
                continue
            checked.take(found)
        self._batch.clear()


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {visible(name)}" for name, count in counts.most_common())
