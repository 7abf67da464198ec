"""The newest errors of each stream: they show when a change began where its reviews are no longer kept."""

import struct
from collections.abc import Iterator, Mapping

import numpy as np

from detectors.arrays import Ints
from streams.engine.drift.budgets import BLOCK
from streams.engine.drift.stream import DueEvaluations
from streams.engine.panes import Slot

#: How many errors of a stream are kept.
PAST = 32
_COUNT, _GAP = struct.Struct("<I"), struct.Struct("<H")
_MOST = 0xFFFF
_PAST = np.dtype([("errors", "<u4"), ("at_s", "<u4", PAST), ("gaps", "<u2", PAST)])
_BYTES = _PAST.itemsize
_BLANK = struct.Struct(f"{_BYTES}x")
#: Offsets in bytes of the times and of the gaps in a row of `_PAST`.
_AT, _GAPS = 4, 4 + 4 * PAST


class ErrorPast:
    """A ring of errors for each stream: the time of each, epoch seconds, and how many correct outcomes came before."""

    def __init__(self) -> None:
        self._past = np.zeros(0, _PAST)
        #: The same as bytes: this way one field of one stream is read and written many times faster.
        self._bytes = memoryview(b"")
        self._changed: set[int] = set()

    def grow(self, capacity: int) -> None:
        """Makes room for streams."""
        grown = np.zeros(capacity, _PAST)
        grown[: len(self._past)] = self._past
        self._past, self._bytes = grown, grown.view(np.uint8).data

    def blank(self, stream: int) -> None:
        """Empties a stream's ring."""
        _BLANK.pack_into(self._bytes, stream * _BYTES)

    def copy(self, stream: int, other: int) -> None:
        """Gives a stream the errors of another."""
        self._past[stream] = self._past[other]
        self._changed.add(stream // BLOCK)

    def restart(self, stream: int) -> None:
        """Forgets the errors of a stream."""
        self._past["errors"][stream] = 0
        self._changed.add(stream // BLOCK)

    def add(self, stream: int, gap: int, at_s: int) -> None:
        """Adds an error that came after `gap` correct outcomes."""
        start = stream * _BYTES
        (errors,) = _COUNT.unpack_from(self._bytes, start)
        place = errors % PAST
        _COUNT.pack_into(self._bytes, start, errors + 1)
        _COUNT.pack_into(self._bytes, start + _AT + 4 * place, at_s)
        _GAP.pack_into(self._bytes, start + _GAPS + 2 * place, gap if gap < _MOST else _MOST)
        self._changed.add(stream // BLOCK)

    def take(self, evaluations: DueEvaluations, streams: Ints, starts: Ints, counts: Ints, taken: Ints) -> None:
        """Adds the errors of evaluations.

        Args:
            evaluations: The evaluations, stream by stream.
            streams: Numbers of their streams, shape (streams,).
            starts: Index of each stream's first evaluation, shape (streams,).
            counts: How many evaluations each stream has, shape (streams,).
            taken: How many of them each stream has taken, shape (streams,).
        """
        nth = np.arange(len(evaluations.stream)) - np.repeat(starts, counts)
        (errors,) = np.nonzero(nth < np.repeat(taken, counts))
        of, past = evaluations.stream[errors], self._past
        places = (past["errors"][of] + nth[errors]) % PAST
        # Where several go to one place of a ring, the last one stays.
        past["at_s"][of, places] = evaluations.at_s[errors]
        past["gaps"][of, places] = np.minimum(evaluations.correct[errors], _MOST)
        past["errors"][streams] += taken.astype(np.uint32)
        self._changed.update((streams[taken > 0] // BLOCK).tolist())

    def newest(self, stream: int) -> tuple[list[int], list[int]]:
        """The errors of a stream, newest first: correct outcomes before each, and its time in seconds."""
        past = self._past[stream]
        errors = int(past["errors"])
        places = [number % PAST for number in range(errors - 1, max(errors - PAST, 0) - 1, -1)]
        return past["gaps"][places].tolist(), past["at_s"][places].tolist()

    # --- the durable form

    def slots(self, prefix: bytes) -> Iterator[Slot]:
        """The blocks that have changed since the last call."""
        for block in sorted(self._changed):
            yield b"%s|past|%d" % (prefix, block), self._past[block * BLOCK : (block + 1) * BLOCK].tobytes()
        self._changed.clear()

    def restore(self, prefix: bytes, slots: Mapping[bytes, bytes], streams: int) -> None:
        """Restores the empty rings of so many streams from slots, by key."""
        for block in range(-(-streams // BLOCK)):
            if (rows := slots.get(b"%s|past|%d" % (prefix, block))) is not None:
                found = np.frombuffer(rows, _PAST)
                self._past[block * BLOCK : block * BLOCK + len(found)] = found
