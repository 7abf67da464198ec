"""Names as small numbers that outlive a restart: what rings and streams refer to instead of text."""

from collections.abc import Iterator, Mapping

import msgspec

from streams.engine.panes import Slot

#: Stands for every name beyond a table's bound, and for none at all.
OTHER, NONE = 0, 1
#: Bounds of tables: of people's names, and of all others.
MANY, FEW = 1_000_000, 30_000
_FIRST = ("other", "")
_CHUNK = 512


class Names:
    """A growing table of names, written to checkpoints in chunks of which only the last one changes.

    Args:
        prefix: Of its slots' keys.
        most: Bound; names beyond it are `OTHER`.
    """

    def __init__(self, prefix: bytes, most: int) -> None:
        self._prefix = prefix
        self._most = most
        self._names: list[str] = list(_FIRST)
        self._numbers: dict[str | None, int] = {None: NONE, "": NONE}
        self._saved = len(_FIRST)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def number(self, name: str | None) -> int:
        """The number of a name, a new one if it has none and there is room."""
        found = self._numbers.get(name)
        if found is not None:
            return found
        if len(self._names) >= self._most:
            return OTHER
        assert name is not None  # has a number from the start
        number = self._numbers[name] = len(self._names)
        self._names.append(name)
        return number

    def find(self, name: str) -> int:
        """The number of a name; `OTHER` where it has none."""
        return self._numbers.get(name, OTHER)

    def slots(self) -> Iterator[Slot]:
        """The chunks that have grown since the last call."""
        if self._saved < len(self._names):
            for chunk in range(self._saved // _CHUNK, (len(self._names) - 1) // _CHUNK + 1):
                names = self._names[chunk * _CHUNK : (chunk + 1) * _CHUNK]
                yield b"%s|%d" % (self._prefix, chunk), msgspec.msgpack.encode(names)
            self._saved = len(self._names)

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Takes its slots, by key, into an empty table."""
        chunk = 0
        names: list[str] = []
        while (packed := slots.get(b"%s|%d" % (self._prefix, chunk))) is not None:
            names += msgspec.msgpack.decode(packed, type=list[str])
            chunk += 1
        if names:
            self._names = names
            self._numbers |= {name: number for number, name in enumerate(names) if number >= len(_FIRST)}
            self._saved = len(names)
