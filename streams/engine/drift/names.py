"""Durable small numbers for names and for combinations of names; rings and streams hold these."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Ints
from streams.engine.panes import Slot

T = TypeVar("T")

#: The number of all names beyond a table's bound, and the number that means no name.
OTHER, NONE = 0, 1
#: Bounds of tables: of people's names and of traits, of kinds of review, and of all others. Rows have 20, 16 and 15
#: bits for them.
MANY, SOME, FEW = 1_000_000, 65_000, 30_000
_CHUNK = 512


class _Numbered(Generic[T]):
    """A growing table of things, written to checkpoints in chunks, of which only the last one changes.

    Args:
        prefix: How the keys of its slots begin.
        most: Bound of the table; a new thing beyond it is `OTHER`.
        first: The entries that it starts with, `OTHER` first. They are reserved: an equal thing that comes later gets a
            number of its own.
        kind: Type of the things.
    """

    def __init__(self, prefix: bytes, most: int, first: Sequence[T], kind: Any) -> None:
        self._prefix = prefix
        self._most = most
        self._kind = kind
        self._things = list(first)
        self._numbers: dict[T, int] = {}
        self._first = self._saved = len(first)

    def __len__(self) -> int:
        return len(self._things)

    def __getitem__(self, number: int) -> T:
        return self._things[number]

    def _number(self, thing: T) -> int:
        """The number of a thing; a new one if it has none and there is room, else `OTHER`."""
        found = self._numbers.get(thing)
        if found is not None:
            return found
        if len(self._things) >= self._most:
            return OTHER
        number = self._numbers[thing] = len(self._things)
        self._things.append(thing)
        return number

    def slots(self) -> Iterator[Slot]:
        """The chunks that have grown since the last call."""
        if self._saved < len(self._things):
            for chunk in range(self._saved // _CHUNK, (len(self._things) - 1) // _CHUNK + 1):
                things = self._things[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                yield b"%s|%d" % (self._prefix, chunk), msgspec.msgpack.encode(things)
            self._saved = len(self._things)

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty table from its slots, by key."""
        chunk = 0
        things: list[T] = []
        while (packed := slots.get(b"%s|%d" % (self._prefix, chunk))) is not None:
            things += msgspec.msgpack.decode(packed, type=list[self._kind])  # type: ignore[name-defined]  # a value
            chunk += 1
        if things:
            self._things = things
            self._numbers = {thing: number for number, thing in enumerate(things) if number >= self._first}
            self._saved = len(things)


class Names(_Numbered[str]):
    """A table of names.

    Args:
        prefix: How the keys of its slots begin.
        most: Bound; names beyond it are `OTHER`.
    """

    def __init__(self, prefix: bytes, most: int) -> None:
        super().__init__(prefix, most, ("other", ""), str)

    def number(self, name: str | None) -> int:
        """The number of a name; a new one if it has none and there is room, else `OTHER`. `NONE` for no name."""
        return self._number(name) if name else NONE

    def find(self, name: str) -> int:
        """The number of a name; `OTHER` where it has none, `NONE` for the empty name."""
        return self._numbers.get(name, OTHER) if name else NONE


class Combinations(_Numbered[tuple[int, ...]]):
    """A table of names that come together, such as project, market and SOP version: one number for several names.

    Args:
        prefix: How the keys of its slots begin.
        most: Bound; in combinations beyond it every name is `OTHER`.
        names: The table of names of each dimension.
    """

    def __init__(self, prefix: bytes, most: int, names: Mapping[str, Names]) -> None:
        super().__init__(prefix, most, [(OTHER,) * len(names)], tuple[int, ...])
        self._names = names
        #: The combinations so far, one a row.
        self._rows = np.zeros((0, len(names)), np.int64)

    def number(self, *names: str | None) -> int:
        """The number of a combination, given one name for each dimension."""
        return self._number(tuple(table.number(name) for table, name in zip(self._names.values(), names, strict=True)))

    def columns(self, numbers: Ints) -> dict[str, Ints]:
        """The numbers of the names in combinations, by dimension."""
        known = len(self._rows)
        if known < len(self._things):
            self._rows = np.concatenate((self._rows, np.array(self._things[known:], np.int64)))
        return dict(zip(self._names, self._rows.take(numbers, axis=0).T, strict=True))

    def numbers(self, columns: Sequence[NDArray[np.integer[Any]]]) -> Ints:
        """The numbers of combinations, given the numbers of their names in one column for each dimension."""
        things, where = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        return np.array([self._number(tuple(thing)) for thing in things.tolist()], np.int64).take(where.reshape(-1))
