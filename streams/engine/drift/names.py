"""Names, and combinations of them, as small numbers that outlive a restart: what rings and streams refer to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Ints
from streams.engine.panes import Slot

T = TypeVar("T")

#: Stands for every name beyond a table's bound, and for none at all.
OTHER, NONE = 0, 1
#: Bounds of tables: of people's names and the like, of combinations, and of all others. Rows have 20, 16 and 15 bits
#: for them.
MANY, SOME, FEW = 1_000_000, 65_000, 30_000
_CHUNK = 512


class _Numbered(Generic[T]):
    """A growing table of things, written to checkpoints in chunks of which only the last one changes.

    Args:
        prefix: Of its slots' keys.
        most: Bound; what comes beyond it is `OTHER`.
        first: What it starts with, `OTHER` first; a thing that looks like one of these gets a number of its own.
        kind: Of the things.
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
        """Its number, a new one if it has none and there is room."""
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
        """Takes its slots, by key, into an empty table."""
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
        prefix: Of its slots' keys.
        most: Bound; names beyond it are `OTHER`.
    """

    def __init__(self, prefix: bytes, most: int) -> None:
        super().__init__(prefix, most, ("other", ""), str)

    def number(self, name: str | None) -> int:
        """The number of a name, a new one if it has none and there is room; `NONE` for none."""
        return self._number(name) if name else NONE

    def find(self, name: str) -> int:
        """The number of a name; `OTHER` where it has none."""
        return self._numbers.get(name, OTHER) if name else NONE


class Combinations(_Numbered[tuple[int, ...]]):
    """A table of what comes together, such as a project's markets and SOP versions: one number for several names.

    Args:
        prefix: Of its slots' keys.
        most: Bound; of combinations beyond it every name is `OTHER`.
        names: The tables of the names, by dimension.
    """

    def __init__(self, prefix: bytes, most: int, names: Mapping[str, Names]) -> None:
        super().__init__(prefix, most, [(OTHER,) * len(names)], tuple[int, ...])
        self._names = names
        #: The combinations so far as rows.
        self._rows = np.zeros((0, len(names)), np.int64)

    def number(self, *names: str | None) -> int:
        """The number of a combination, one name by dimension."""
        return self._number(tuple(table.number(name) for table, name in zip(self._names.values(), names, strict=True)))

    def columns(self, numbers: Ints) -> dict[str, Ints]:
        """The names' numbers of combinations, by dimension."""
        known = len(self._rows)
        if known < len(self._things):
            self._rows = np.concatenate((self._rows, np.array(self._things[known:], np.int64)))
        return dict(zip(self._names, self._rows.take(numbers, axis=0).T, strict=True))

    def numbers(self, columns: Sequence[NDArray[np.integer[Any]]]) -> Ints:
        """The numbers of combinations given by their names' numbers, a column by dimension."""
        things, where = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        return np.array([self._number(tuple(thing)) for thing in things.tolist()], np.int64).take(where.reshape(-1))
