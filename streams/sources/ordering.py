"""Events in order of time, however many: sorted runs on disk, merged; what is there twice by content goes out once."""

import heapq
import marshal
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import xxhash

from streams.sources.errors import SourceError

#: Of a run in memory, counted with what Python's objects take around the bytes.
_RUN_BYTES = 64 << 20
_AROUND = 350
#: Events read of each run at a time while they are merged.
_BLOCK = 1000
#: Time, order of arrival, digest of the content, number of the file, has an id of its own, site, content.
_Entry = tuple[int, int, bytes, int, bool, bytes, bytes]


class OrderedEvent(NamedTuple):
    """An event as it goes out: its time, its site as a key, its JSON."""

    at_ms: int
    key: bytes
    value: bytes


class EventSorter:
    """Takes events in any order and gives them in order of time; of equal times, in order of arrival.

    An event without an id gets one from its content: the same row gives the same id wherever it is in a file,
    whatever the file is called. Rows of one file with the same content are events of their own, numbered; the same in
    two files is counted once, as often as the file has it that has it most often.

    Memory is bounded by a run; the disk holds every event once.

    Args:
        folder: For the runs; None: the system's for temporary files.
        run_bytes: Of a run in memory.

    Attributes:
        taken: Events taken.
        doubles: Events left out since they were there already; complete when all have been given.
    """

    def __init__(self, folder: Path | None = None, run_bytes: int = _RUN_BYTES) -> None:
        self._folder, self._run_bytes = folder, run_bytes
        self._entries: list[_Entry] = []
        self._bytes = 0
        self._keys: dict[str, bytes] = {}
        self._runs: list[list[tuple[int, int]]] = []
        self._end = 0
        self.taken = self.doubles = 0

    def __enter__(self) -> Self:
        # Without a name from the begin, where the system can: nothing is left behind, whatever happens.
        try:
            self._file = tempfile.TemporaryFile(prefix="labelwatch-import-", dir=self._folder)
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise SourceError(
                f"{where}: {error.strerror}; a folder that can be written is needed to sort in"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, at_ms: int, site: str, content: bytes, file: int, has_id: bool = False) -> None:
        """Takes an event: its JSON, which begins with its type, and the number of its file."""
        digest = xxhash.xxh3_128_digest(content)
        key = self._keys.get(site)
        if key is None:
            key = self._keys[site] = site.encode()
        self._entries.append((at_ms, self.taken, digest, file, has_id, key, content))
        self.taken += 1
        self._bytes += len(content) + _AROUND
        if self._bytes >= self._run_bytes:
            self._spill()

    def _spill(self) -> None:
        entries = self._entries
        entries.sort()
        blocks = []
        try:
            for begin in range(0, len(entries), _BLOCK):
                data = marshal.dumps(entries[begin : begin + _BLOCK])
                self._file.write(data)
                blocks.append((self._end, len(data)))
                self._end += len(data)
            self._file.flush()
        except OSError as error:
            raise SourceError(
                f"no room to sort {self.taken:,} events: {error.strerror}; set TMPDIR to a folder with more"
            ) from error
        self._runs.append(blocks)
        self._entries, self._bytes = [], 0

    def _run(self, blocks: list[tuple[int, int]]) -> Iterator[_Entry]:
        for offset, size in blocks:
            yield from marshal.loads(os.pread(self._file.fileno(), size, offset))

    def events(self) -> Iterator[OrderedEvent]:
        """All events, when all were added."""
        self.doubles = 0
        self._entries.sort()
        runs = [self._run(blocks) for blocks in self._runs]
        merged = heapq.merge(*runs, self._entries) if runs else iter(self._entries)
        now_ms = -1
        in_file: dict[tuple[bytes, int], int] = {}
        given: dict[bytes, int] = {}
        for at_ms, _, digest, file, has_id, site, content in merged:
            # What is the same has the same time.
            if at_ms != now_ms:
                now_ms, in_file, given = at_ms, {}, {}
            number = in_file[digest, file] = in_file.get((digest, file), 0) + 1
            if number <= given.get(digest, 0) or (has_id and number > 1):
                self.doubles += 1
                continue
            given[digest] = number
            if not has_id:
                own = digest.hex() if number == 1 else f"{digest.hex()}-{number}"
                # Behind the type, which readers look for first.
                cut = content.index(b",") + 1
                content = b'%s"event_id":"%s",%s' % (content[:cut], own.encode(), content[cut:])
            yield OrderedEvent(at_ms, site, content)
