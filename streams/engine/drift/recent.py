"""The newest reviews of each site and labels of each project, row by row: what a cause and examples are found in."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.engine.panes import Ints, Slot

Rows = NDArray[np.void]

#: Dimensions as columns hold them; people's names are many, the others' few.
REVIEW = np.dtype(
    [
        ("at", "<i8"),
        ("agent", "<i4"),
        ("reviewer", "<i4"),
        ("project", "<i2"),
        ("market", "<i2"),
        ("sop_version", "<i2"),
        ("label", "<i2"),
        ("error_type", "<i2"),
        ("stratum", "<i2"),
        ("wrong", "u1"),
        ("unused", "u1", 3),
    ]
)
#: Of a label whose time is watched; the time as `mean_shift.quantised` gives it.
LABEL = np.dtype(
    [
        ("agent", "<i4"),
        ("handled", "<i4"),
        ("market", "<i2"),
        ("sop_version", "<i2"),
        ("label", "<i2"),
        ("unused", "u1", 2),
    ]
)
#: Rows that a look at reviews goes back at most.
LOOK_BACK = 12_288
#: Rows of a slot.
_CHUNK = 256
#: Rows that wait at most: what lies between two checkpoints at full speed.
_WAITING_MAX = 65_536


def gathered(rows: Rows, places: NDArray[np.integer[Any]]) -> Rows:
    """The rows at places, as `rows[places]`."""
    chosen: Rows = _words(rows).take(places, axis=0).view(rows.dtype).reshape(-1)
    return chosen


def begins(numbers: NDArray[np.integer[Any]]) -> Ints:
    """Where in a column another number begins than the one before, its first place included."""
    is_new = np.ones(len(numbers), bool)
    np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
    return np.flatnonzero(is_new)


def lengths(starts: Ints, end: int) -> Ints:
    """How long the pieces are that begin at `starts` and end where the next one begins, the last one at `end`."""
    counts = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1:] = end - starts[-1:]
    return counts


class Groups(NamedTuple):
    """Places of a column put together by what they have in common.

    Attributes:
        order: The places, group by group, each in the order of the log, shape (n,).
        starts, counts: Where each group begins in it, and how many it has, shape (groups,).
    """

    order: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, numbers: Ints, places: Ints | None = None) -> "Groups":
        """Puts equal numbers together, 0 and above, of some places or of all."""
        # Of 16 bits numpy sorts by radix, several times faster.
        keys = numbers.astype(np.uint16) if numbers.max(initial=0) < 1 << 16 else numbers
        order = keys.argsort(kind="stable")
        starts = begins(keys.take(order))
        return cls(order if places is None else places.take(order), starts, lengths(starts, len(order)))

    @property
    def firsts(self) -> Ints:
        """The first place of each group."""
        return self.order.take(self.starts)

    def only(self, kept: NDArray[np.bool_]) -> "Groups":
        """Some of the groups, told by a flag each."""
        counts = self.counts[kept]
        return Groups(self.order[np.repeat(kept, self.counts)], np.cumsum(counts) - counts, counts)


def _words(rows: Rows) -> NDArray[np.int64]:
    """Rows as whole numbers of 64 bits: numpy copies these at once, rows field by field, in four to ten times that."""
    return rows.view(np.int64).reshape(-1, rows.dtype.itemsize // 8)


class Waiting:
    """Rows in the order of the log on their way into rings: where a batch adds to many, they are put there later.

    Args:
        kind: `REVIEW` or `LABEL`.
    """

    def __init__(self, kind: np.dtype[Any]) -> None:
        self.count = 0
        self._kind = kind
        self._rings: list[Ints] = []
        self._rows: list[NDArray[np.int64]] = []

    @property
    def is_full(self) -> bool:
        """Whether they should be put into their rings."""
        return self.count >= _WAITING_MAX

    def add(self, rings: Ints, rows: Rows) -> None:
        """Adds rows, with the number of the ring of each."""
        self._rings.append(rings)
        self._rows.append(_words(rows))
        self.count += len(rows)

    def taken(self) -> Iterator[tuple[int, Ints, Rows]]:
        """Takes all out, ring by ring: the ring's number, its rows' places among all that waited, and the rows."""
        if not self.count:
            return
        rings, rows = np.concatenate(self._rings), np.concatenate(self._rows).view(self._kind).reshape(-1)
        self._rings, self._rows, self.count = [], [], 0
        groups = Groups.of(rings)
        rows = gathered(rows, groups.order)
        for ring, start, count in zip(
            rings.take(groups.firsts).tolist(), groups.starts.tolist(), groups.counts.tolist(), strict=True
        ):
            yield ring, groups.order[start : start + count], rows[start : start + count]


class Recent:
    """A ring of rows in order of the log; it grows with its site or project up to its bound.

    Args:
        prefix: Of its slots' keys.
        kind: `REVIEW` or `LABEL`.
        look_back: Its bound: rows that a look goes back at most.
    """

    def __init__(self, prefix: bytes, kind: np.dtype[Any], look_back: int = LOOK_BACK) -> None:
        self.prefix = prefix
        self._capacity = look_back
        #: Rows ever added.
        self.count = 0
        self._hold(np.zeros(_CHUNK, kind))
        self._changed: set[int] = set()
        #: Chunks of a larger ring that it was restored from; to be deleted.
        self._surplus = range(0)

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._changed or self._surplus)

    def _hold(self, rows: Rows) -> None:
        self._rows, self._words = rows, _words(rows)

    def add(self, rows: Rows) -> None:
        """Adds rows."""
        added = _words(rows)
        for start in range(0, len(added), self._capacity):
            self._put(added[start : start + self._capacity], self.count + start)
        self.count += len(added)

    def _put(self, added: NDArray[np.int64], at: int) -> None:
        start, count = at % self._capacity, len(added)
        end = at + count
        if end > len(self._rows) < self._capacity:
            # While it grows it is no ring yet: every row stands at its number.
            room = max(-(-end // _CHUNK), len(self._rows) * 3 // 2 // _CHUNK) * _CHUNK
            grown, before = np.zeros(min(room, self._capacity), self._rows.dtype), self._words
            self._hold(grown)
            self._words[: len(before)] = before
        fits = min(count, self._capacity - start)
        self._words[start : start + fits] = added[:fits]
        self._changed.update(range(start // _CHUNK, (start + fits - 1) // _CHUNK + 1))
        if fits < count:
            self._words[: count - fits] = added[fits:]
            self._changed.update(range((count - fits - 1) // _CHUNK + 1))

    def newest(self, after: Rows) -> Rows:
        """The newest rows with others after them that are not in it yet, oldest first, as far as a look goes back."""
        after = after[-self._capacity :]
        start = max(self.count + len(after) - self._capacity, 0)
        return np.concatenate((gathered(self._rows, np.arange(start, self.count) % self._capacity), after))

    def revise(self, at: int, agent: int, old: bool, new: bool) -> None:
        """Changes a review of a time and an agent from `old` to `new` (whether wrong), if it is still there."""
        rows = self._rows[: min(self.count, self._capacity)]
        (found,) = np.nonzero((rows["at"] == at) & (rows["agent"] == agent) & (rows["wrong"] == old))
        if len(found):
            # Where the ring has come round, the newest of several may stand first; any of them serves.
            rows["wrong"][found[-1]] = new
            self._changed.add(int(found[-1]) // _CHUNK)

    def slots(self) -> Iterator[Slot]:
        """The chunks that have changed since the last call."""
        for chunk in sorted(self._changed):
            yield b"%s|%d" % (self.prefix, chunk), self._rows[chunk * _CHUNK : (chunk + 1) * _CHUNK].tobytes()
        self._changed.clear()
        for chunk in self._surplus:
            yield b"%s|%d" % (self.prefix, chunk), None
        self._surplus = range(0)

    def restore(self, count: int, slots: Mapping[bytes, bytes]) -> None:
        """Takes its slots, by key, and how many rows were ever added. Older builds have larger rings."""
        self.count = count
        packed: list[bytes] = []
        while (chunk := slots.get(b"%s|%d" % (self.prefix, len(packed)))) is not None:
            packed.append(chunk)
        rows = np.frombuffer(b"".join(packed), self._rows.dtype)
        held = min(count, len(rows), self._capacity)
        chunks = max(-(-held // _CHUNK), 1)
        self._hold(np.zeros(chunks * _CHUNK, self._rows.dtype))
        if held:
            numbers = np.arange(count - held, count)
            self._words[numbers % self._capacity] = _words(rows).take(numbers % len(rows), axis=0)
        if count > self._capacity < len(rows):
            self._changed.update(range(chunks))
        self._surplus = range(chunks, len(packed))
