"""Rings of the newest reviews of each site and labels of each project, in which causes and examples are found."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Ints
from streams.engine.panes import Slot

#: Rows of whole numbers, shape (n, words): what a `Layout` packs.
PackedRows = NDArray[np.int64]


class BitField(NamedTuple):
    """The bits of a row that hold a number.

    Attributes:
        word: Index of the word in the row.
        shift, bits: Its lowest bit in the word, and how many bits it has.
        least: The least value, which is stored as 0.
    """

    word: int
    shift: int
    bits: int
    least: int = 0


class Layout:
    """Packs rows into words of 64 bits, several numbers in a word: half the memory of columns, and one copy a row.

    Args:
        fields: The bits of each number, by name; its values must fit into them.
    """

    def __init__(self, **fields: BitField) -> None:
        self._fields = fields
        self.words = 1 + max(field.word for field in fields.values())

    def pack(self, **columns: NDArray[Any]) -> PackedRows:
        """Packs columns, shape (n,) each, into rows."""
        rows = self.blank(len(next(iter(columns.values()))))
        for name, (word, shift, _, least) in self._fields.items():
            rows[:, word] |= (columns[name].astype(np.int64) - least) << shift
        return rows

    def blank(self, n: int = 0) -> PackedRows:
        """Rows that are all 0."""
        return np.zeros((n, self.words), np.int64)

    def of(self, rows: PackedRows, name: str) -> Ints:
        """One field of all rows, as a column."""
        word, shift, bits, least = self._fields[name]
        return ((rows[:, word] >> shift) & ((1 << bits) - 1)) + least

    def flip(self, rows: PackedRows, place: int, name: str) -> None:
        """Inverts a flag of a row."""
        word, shift, _, _ = self._fields[name]
        rows[place, word] ^= 1 << shift


#: A review: its time, whose work, who reviewed it, and whether it found an error. `kind` and `trait` are numbers in
#: `names.Combinations`.
REVIEW = Layout(
    at=BitField(0, 0, 48),
    kind=BitField(0, 48, 16),
    agent=BitField(1, 0, 20),
    reviewer=BitField(1, 20, 20),
    trait=BitField(1, 40, 20),
    wrong=BitField(1, 60, 1),
)
#: A label whose handling time is watched; `handled` is the time as `mean_shift.quantised` gives it.
LABEL = Layout(
    agent=BitField(0, 0, 20),
    kind=BitField(0, 20, 15),
    label=BitField(0, 35, 15),
    handled=BitField(0, 50, 14, -2_303),
)


class Flip(NamedTuple):
    """A review of a ring whose error is to be inverted.

    Attributes:
        at: Time of the review, ms.
        agent: Number of the agent's name.
        old: Whether the review is an error until now.
        before: Number in the ring of the first review that came after the revision.
    """

    at: int
    agent: int
    old: bool
    before: int


def flip(rows: PackedRows, first: int, flips: Sequence[Flip]) -> list[int]:
    """Inverts whether reviews are errors, one after another.

    Where several reviews are alike, the newest one of those that had come by then is meant; where none is, because it
    is no longer kept, nothing happens.

    Args:
        rows: Reviews in the order of the log; changed in place.
        first: Number in the ring of the first of them.
        flips: The reviews, in the order of the log of their revisions.

    Returns:
        The places in `rows` that were inverted, one for each time.
    """
    times = np.unique([each.at for each in flips])
    at = REVIEW.of(rows, "at")
    places = np.flatnonzero(times.take(np.searchsorted(times, at), mode="clip") == at)
    found = rows.take(places, axis=0)
    alike: dict[tuple[int, int], list[int]] = {}
    columns = (REVIEW.of(found, "at").tolist(), REVIEW.of(found, "agent").tolist(), places.tolist())
    for time, agent, place in zip(*columns, strict=True):
        alike.setdefault((time, agent), []).append(place)
    is_wrong = dict(zip(places.tolist(), REVIEW.of(found, "wrong").tolist(), strict=True))
    inverted = []
    for time, agent, old, before in flips:
        for place in reversed(alike.get((time, agent), ())):
            if first + place < before and is_wrong[place] == old:
                is_wrong[place] = not old
                REVIEW.flip(rows, place, "wrong")
                inverted.append(place)
                break
    return inverted


#: The most rows that a ring of reviews holds.
RING_ROWS = 12_288
#: Bytes of a slot.
_CHUNK_BYTES = 4_096
#: From so many rows on they wait no longer: about what comes between two checkpoints at full speed.
WAITING_MAX = 65_536


def begins(numbers: NDArray[np.integer[Any]]) -> Ints:
    """The places of a column at which the number is not the one before; the first place is one of them."""
    is_new = np.ones(len(numbers), bool)
    np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
    return np.flatnonzero(is_new)


def lengths(starts: Ints, end: int) -> Ints:
    """Lengths of pieces that begin at `starts`: each ends where the next one begins, the last one at `end`."""
    counts = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1:] = end - starts[-1:]
    return counts


class Groups(NamedTuple):
    """The places of a column, grouped by their number.

    Attributes:
        order: The places, group by group, within a group in the order of the log, shape (n,).
        starts, counts: Where each group begins in `order`, and how many places it has, shape (groups,).
    """

    order: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, numbers: Ints, places: Ints | None = None) -> "Groups":
        """Groups equal numbers, which must not be negative. `places`: the place of each number; None: its index."""
        # 16 bits numpy sorts by radix, several times faster.
        keys = numbers.astype(np.uint16) if numbers.max(initial=0) < 1 << 16 else numbers
        order = keys.argsort(kind="stable")
        starts = begins(keys.take(order))
        return cls(order if places is None else places.take(order), starts, lengths(starts, len(order)))

    @property
    def firsts(self) -> Ints:
        """The first place of each group."""
        return self.order.take(self.starts)

    def only(self, kept: NDArray[np.bool_]) -> "Groups":
        """The groups whose flag is set."""
        counts = self.counts[kept]
        return Groups(self.order[np.repeat(kept, self.counts)], np.cumsum(counts) - counts, counts)


class Waiting:
    """Rows, in the order of the log, that wait to be put into their rings: many at once cost less than few by few."""

    def __init__(self) -> None:
        self.count = 0
        self._rings: list[Ints] = []
        self._rows: list[PackedRows] = []

    @property
    def is_full(self) -> bool:
        """Whether the rows should be put into their rings now."""
        return self.count >= WAITING_MAX

    def add(self, rings: Ints, rows: PackedRows) -> None:
        """Adds rows, with the number of the ring of each."""
        self._rings.append(rings)
        self._rows.append(rows)
        self.count += len(rows)

    def taken(self) -> Iterator[tuple[int, Ints, PackedRows]]:
        """Takes all rows out, ring by ring: number of the ring, places of its rows among all that waited, its rows."""
        if not self.count:
            return
        rings, rows = np.concatenate(self._rings), np.concatenate(self._rows)
        self._rings, self._rows, self.count = [], [], 0
        groups = Groups.of(rings)
        rows = rows.take(groups.order, axis=0)
        for ring, start, count in zip(
            rings.take(groups.firsts).tolist(), groups.starts.tolist(), groups.counts.tolist(), strict=True
        ):
            yield ring, groups.order[start : start + count], rows[start : start + count]


class Recent:
    """A ring of rows in the order of the log; it grows with its site or project up to its bound.

    Args:
        prefix: How the keys of its slots begin.
        layout: `REVIEW` or `LABEL`.
        rows_max: The most rows that it holds.
    """

    def __init__(self, prefix: bytes, layout: Layout, rows_max: int = RING_ROWS) -> None:
        self.prefix = prefix
        self._layout = layout
        self._capacity = rows_max
        #: Rows in one slot.
        self._chunk = _CHUNK_BYTES // (8 * layout.words)
        #: How many rows were ever added.
        self.count = 0
        self._rows = self._room(0)
        self._changed: set[int] = set()
        #: Keys of slots in the older form from which it was restored; to be deleted.
        self._outdated: list[bytes] = []

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._changed or self._outdated)

    def _room(self, rows: int) -> PackedRows:
        """Blank rows: at least `rows` of them, unless the bound is lower."""
        chunks = max(-(-rows // self._chunk), 1)
        return self._layout.blank(min(chunks * self._chunk, self._capacity))

    def add(self, rows: PackedRows) -> None:
        """Adds rows, oldest first."""
        for start in range(0, len(rows), self._capacity):
            self._put(rows[start : start + self._capacity], self.count + start)
        self.count += len(rows)

    def _put(self, added: PackedRows, at: int) -> None:
        start, count = at % self._capacity, len(added)
        end = at + count
        if end > len(self._rows) < self._capacity:
            # While it grows it is no ring yet: each row is at the index of its number.
            grown = self._room(max(end, len(self._rows) * 3 // 2))
            grown[: len(self._rows)] = self._rows
            self._rows = grown
        fits = min(count, self._capacity - start)
        self._rows[start : start + fits] = added[:fits]
        self._changed.update(range(start // self._chunk, (start + fits - 1) // self._chunk + 1))
        if fits < count:
            self._rows[: count - fits] = added[fits:]
            self._changed.update(range((count - fits - 1) // self._chunk + 1))

    def newest(self, after: PackedRows) -> PackedRows:
        """The newest rows, followed by others that are not in the ring yet; oldest first, as many as a ring holds."""
        after = after[-self._capacity :]
        start = max(self.count + len(after) - self._capacity, 0)
        return np.concatenate((self._rows.take(self._places(start), axis=0), after))

    def _places(self, start: int) -> Ints:
        """Where the rows from number `start` on are, in the order of the log."""
        return np.arange(start, self.count) % self._capacity

    def flip(self, flips: Sequence[Flip]) -> None:
        """Inverts whether reviews are errors, as far as they are still in the ring: see `flip`."""
        start = max(self.count - self._capacity, 0)
        places = self._places(start)
        for place in flip(self._rows.take(places, axis=0), start, flips):
            at = int(places[place])
            self._layout.flip(self._rows, at, "wrong")
            self._changed.add(at // self._chunk)

    def slots(self) -> Iterator[Slot]:
        """The chunks that have changed since the last call."""
        for chunk in sorted(self._changed):
            rows = self._rows[chunk * self._chunk : (chunk + 1) * self._chunk]
            # All first bytes, then all second ones: zstd takes half of the time, and the result is a quarter smaller.
            yield b"%s|%d" % (self.prefix, chunk), rows.view(np.uint8).T.tobytes()
        self._changed.clear()
        for key in self._outdated:
            yield key, None
        self._outdated.clear()

    def restore(self, count: int, slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty ring from its slots, by key, and from how many rows were ever added."""
        self.count = count
        chunks: list[PackedRows] = []
        while (chunk := slots.get(b"%s|%d" % (self.prefix, len(chunks)))) is not None:
            planes = np.frombuffer(chunk, np.uint8).reshape(8 * self._layout.words, -1)
            chunks.append(np.ascontiguousarray(planes.T).view(np.int64))
        if chunks:
            self._rows = np.concatenate(chunks)

    def take_over(self, count: int, rows: PackedRows, outdated: Iterable[bytes]) -> None:
        """Restores an empty ring from rows of an older form.

        Args:
            count: How many rows were ever added to the ring.
            rows: The newest of them, oldest first.
            outdated: Keys of the slots that held them, to be deleted.
        """
        self.count = count
        rows = rows[-self._capacity :]
        self._rows = self._room(len(rows))
        self._rows[np.arange(count - len(rows), count) % self._capacity] = rows
        self._changed.update(range(-(-len(rows) // self._chunk)))
        self._outdated.extend(outdated)
