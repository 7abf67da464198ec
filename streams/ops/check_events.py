"""`labelwatch events check`: each line of a file as the worker's own decoder takes it, before anything is sent."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.events import Event
from schemas.text import visible
from streams.engine.decode import Rejection, Unknown, decode
from streams.ops.errors import WRONG_USE, CommandError
from streams.sources.lines import json_lines

_BATCH = 5_000
#: As the worker's rule: an event that is later than now by more is turned away.
_FUTURE_MS = 300_000


@dataclass(slots=True)
class CheckedEvents:
    """What a file's lines are to a worker.

    Attributes:
        events: Good ones by type.
        rejected: By reason.
        unknown: Of a type that this version does not know: counted and skipped.
        disordered: Events older than one before them at the same site.
    """

    events: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    disordered: int = 0
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
    """Checks every line.

    Args:
        path: JSON lines; `-` is standard input.
        limit: Lines that are named; 0 names all.
        say: Is given a sentence for each line that would be rejected.
        now_ms: What is dated later by more than 5 minutes would be rejected; None: by the wall clock.

    Raises:
        CommandError: The file cannot be read, or holds no line.
    """
    checked = CheckedEvents()
    latest_ms = (time.time_ns() // 1_000_000 if now_ms is None else now_ms) + _FUTURE_MS
    try:
        if str(path) == "-":
            _check(json_lines(sys.stdin.buffer, "standard input"), latest_ms, limit, say, checked)
        else:
            with path.open("rb") as file:
                _check(json_lines(file, path), latest_ms, limit, say, checked)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the path of a file of JSON lines", WRONG_USE) from error
    if not (checked.events or checked.rejected or checked.unknown):
        raise CommandError(f"{path}: holds no line; give a file of JSON lines, one event each")
    return checked


def _check(
    lines: Iterable[tuple[int, bytes]],
    latest_ms: int,
    limit: int,
    say: Callable[[str], None],
    checked: CheckedEvents,
) -> None:
    batch: list[tuple[int, bytes]] = []

    def flush() -> None:
        for (number, _), found in zip(batch, decode([line for _, line in batch]), strict=True):
            if isinstance(found, Unknown):
                checked.unknown += 1
                continue
            if not isinstance(found, Rejection) and found.at > latest_ms:
                found = Rejection("future", f"`at` {found.at} is more than 5 minutes after now; it is in milliseconds")
            if isinstance(found, Rejection):
                checked.rejected[found.reason] += 1
                if not limit or checked.rejected.total() <= limit:
                    say(f"line {number + 1}: {found.reason}: {visible(found.detail)}")
                continue
            checked.take(found)
        batch.clear()

    for each in lines:
        batch.append(each)
        if len(batch) == _BATCH:
            flush()
    flush()
    if limit and checked.rejected.total() > limit:
        say("...")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {visible(name)}" for name, count in counts.most_common())
