"""Tables of counts by row and by pane of time: the one store on which every part of the engine is built."""

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy import typing as npt
from numpy.typing import NDArray

from detectors.arrays import Ints

Key = tuple[str, ...]
Slot = tuple[bytes, bytes | None]

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
#: 60 for the longest window of minutes, 5 for events ahead of the append time, 5 for revisions ahead of their event,
#: 2 spare.
MINUTE_PANES = 72
#: A week of hours, one for the minutes ahead, one for the current hour.
HOUR_PANES = 170
#: Rows of a block, which is what one slot of a checkpoint holds. Smaller blocks make more slots, larger ones more bytes
#: for one changed row.
BLOCK = 64
_SHIFT = 6
#: From this size on a column gets memory pages of its own.
_OWN_PAGES_BYTES = 1 << 20

#: Window name to (ring, number of panes): at time t a window is the current pane and the ones before it.
WINDOW_PANES: dict[str, tuple[str, int]] = {
    "15m": ("m", 15),
    "1h": ("m", 60),
    "24h": ("h", 24),
    "7d": ("h", 168),
}

#: Name, beside the committed totals, of a column that is 1 for rows that the checkpoint has.
_KNOWN = ""

_WIDER: dict[str, type[np.signedinteger[Any]]] = {"int16": np.int32, "uint16": np.int32, "int32": np.int64}


@dataclass(slots=True)
class Ring:
    """Which pane of time is at which position; shared by all tables of a partition.

    Attributes:
        name: `m` for minutes, `h` for hours.
        pane_ms: Length of a pane.
        size: Panes held.
        head: Newest pane id (epoch time / pane_ms), -1 before the first event.
    """

    name: str
    pane_ms: int
    size: int
    head: int = -1

    def advance(self, at_ms: int) -> list[int]:
        """Moves the head to the pane of `at_ms`; returns the positions that must be cleared."""
        pane = at_ms // self.pane_ms
        if pane <= self.head:
            return []
        first = max(self.head + 1, pane - self.size + 1)
        self.head = pane
        return [p % self.size for p in range(first, pane + 1)]

    def held(self, pane: int) -> bool:
        """Whether a pane is in the ring."""
        return self.head - self.size < pane <= self.head

    def pane_at(self, position: int) -> int:
        """The id of the pane at a position."""
        return self.head - (self.head - position) % self.size

    def window(self, at_ms: int, panes: int) -> list[slice]:
        """Positions of the last `panes` panes up to the one of `at_ms`, as at most two slices."""
        newest = min(at_ms // self.pane_ms, self.head)
        oldest = max(at_ms // self.pane_ms - panes + 1, self.head - self.size + 1, 0)
        if newest < oldest:
            return []
        start, stop = oldest % self.size, newest % self.size
        if start <= stop:
            return [slice(start, stop + 1)]
        return [slice(start, self.size), slice(0, stop + 1)]


class Rings:
    """The minute and the hour ring of a partition."""

    __slots__ = ("hours", "minutes")

    def __init__(self) -> None:
        self.minutes = Ring("m", MINUTE_MS, MINUTE_PANES)
        self.hours = Ring("h", HOUR_MS, HOUR_PANES)

    def __iter__(self) -> Iterator[Ring]:
        return iter((self.minutes, self.hours))

    def window_start_ms(self, at_ms: int, window: str) -> int:
        """First millisecond of a window at time `at_ms`."""
        name, panes = WINDOW_PANES[window]
        pane_ms = MINUTE_MS if name == "m" else HOUR_MS
        return (at_ms // pane_ms - panes + 1) * pane_ms


@dataclass(frozen=True, slots=True)
class Panes:
    """The types of a windowed column in minute and hour panes.

    They are as narrow as usual values allow; a larger value widens the column.
    """

    minute: type[np.integer[Any]] = np.int64
    hour: type[np.integer[Any]] = np.int64


class Table:
    """Rows by key, in blocks; windowed columns in two rings, durable totals and live attributes.

    A block belongs to one group (a site), so that a quiet site's blocks stay unchanged. What a batch changes is marked
    by block and pane, and `slots` gives only that.

    Args:
        name: Short, and never changed: it is part of the slots' keys.
        rings: The partition's rings.
        windows: Windowed columns.
        totals: Durable counters; exported as of the last acknowledged checkpoint.
        attributes: Live values (a state, a time) that are no counters.
    """

    def __init__(
        self,
        name: str,
        rings: Rings,
        windows: Mapping[str, Panes] | None = None,
        totals: Sequence[str] = (),
        attributes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.rings = rings
        self.windows = dict(windows or {})
        self.totals_names = tuple(totals)
        self.scalar_names = (*totals, *attributes)
        self.index: dict[Key, int] = {}
        self.keys: list[Key | None] = []
        self.committed: dict[str, Ints] = {}
        #: Names of the groups, in order of appearance; and by row the index of its group.
        self.group_names: list[str] = []
        self._row_groups = np.zeros(0, np.int64)
        self._group_ids: dict[str, int] = {}
        #: Group to its newest block.
        self._groups: dict[str, int] = {}
        self._labels: dict[Key, list[Key]] = {}
        self._known_rows: Ints = np.zeros(0, np.int64)
        self._blocks: list[list[Key]] = []
        self._capacity = 0
        self._columns: dict[tuple[str, str], NDArray[Any]] = {}
        self._scalars: dict[str, Ints] = {}
        self._dirty_keys = np.zeros(0, bool)
        self._dirty_scalars = np.zeros(0, bool)
        self._dirty_panes: dict[str, NDArray[np.bool_]] = {}
        self._grow(4)

    # --- rows

    @property
    def rows(self) -> int:
        """Rows in use, the gaps at the ends of blocks included."""
        return len(self.keys)

    def row(self, key: Key, group: str) -> int:
        """The row of a key; if there is none, a new one in its group's newest block."""
        found = self.index.get(key)
        return self._add_row(key, group) if found is None else found

    def _add_row(self, key: Key, group: str) -> int:
        block = self._groups.get(group, -1)
        if block < 0 or len(self._blocks[block]) == BLOCK:
            block = len(self._blocks)
            self._blocks.append([])
            self.keys.extend([None] * BLOCK)
            if block >= self._capacity // BLOCK:
                self._grow(2 * block)
            self._assign(block, group)
        keys = self._blocks[block]
        row = block * BLOCK + len(keys)
        keys.append(key)
        self.keys[row] = key
        self.index[key] = row
        self._dirty_keys[block] = True
        for suffix, labels in self._labels.items():
            if row < len(labels):
                labels[row] = (*key, *suffix)
        return row

    def _assign(self, block: int, group: str) -> None:
        """Gives a block to a group, whose next rows go there."""
        number = self._group_ids.get(group)
        if number is None:
            number = self._group_ids[group] = len(self.group_names)
            self.group_names.append(group)
        self._groups[group] = block
        self._row_groups[block * BLOCK : (block + 1) * BLOCK] = number

    def _grow(self, blocks: int) -> None:
        self._row_groups = _longer(self._row_groups, blocks * BLOCK)
        old, self._capacity = self._capacity, blocks * BLOCK
        # Column by column, each old one freed before the next grows: this takes one column more memory, not a table.
        for name, kinds in self.windows.items():
            for ring, kind in ((self.rings.minutes, kinds.minute), (self.rings.hours, kinds.hour)):
                before = self._columns.pop((name, ring.name), None)
                after = _panes((ring.size, self._capacity), kind if before is None else before.dtype)
                if before is not None:
                    after[:, :old] = before
                self._columns[name, ring.name] = after
        for name in self.scalar_names:
            self._scalars[name] = _longer(self._scalars.get(name), self._capacity)
        self._dirty_keys = _longer(self._dirty_keys, blocks)
        self._dirty_scalars = _longer(self._dirty_scalars, blocks)
        if self.windows:
            for ring in self.rings:
                flags = np.zeros((ring.size, blocks), bool)
                before = self._dirty_panes.get(ring.name)
                if before is not None:
                    flags[:, : before.shape[1]] = before
                self._dirty_panes[ring.name] = flags

    # --- changes

    def clear(self, ring: Ring, positions: list[int]) -> None:
        """Empties the positions of panes that a ring has left."""
        if self.windows and positions:
            for name in self.windows:
                self._columns[name, ring.name][positions, : self.rows] = 0
            self._dirty_panes[ring.name][positions] = False

    def add(self, rows: Ints, at_ms: Ints, values: Mapping[str, Ints]) -> None:
        """Adds values to the panes of their times; values whose pane has left a ring are left out there.

        Args:
            rows: Row of each value.
            at_ms: Time of each value, not later than the ring's newest pane.
            values: Column name to values, which may be negative.
        """
        for ring in self.rings:
            self.add_panes(ring, rows, at_ms // ring.pane_ms, values)

    def add_panes(self, ring: Ring, rows: Ints, panes: Ints, values: Mapping[str, Ints]) -> None:
        """Adds values to panes of one ring, by pane id."""
        held = panes > ring.head - ring.size
        if not held.all():
            rows, panes = rows[held], panes[held]
            values = {name: column[held] for name, column in values.items()}
        if not len(rows):
            return
        positions = panes % ring.size
        flat = positions * self._capacity + rows
        for name, added in values.items():
            key = (name, ring.name)
            column = self._columns[key]
            cells = column.reshape(-1)
            # 64 bits hold any sum. For narrower columns a cheap bound first (two passes), the exact check if it fails.
            if column.dtype != np.int64 and (
                int(np.abs(cells.take(flat).astype(np.int64)).max()) + int(np.abs(added).sum())
                > int(np.iinfo(column.dtype).max)
                or (column.dtype.kind == "u" and int(added.min()) < 0)
            ):
                column = self._widened(key, flat, added)
                cells = column.reshape(-1)
            np.add.at(cells, flat, added.astype(column.dtype, copy=False))
        self._dirty_panes[ring.name][positions, rows >> _SHIFT] = True

    def _widened(self, key: tuple[str, str], flat: Ints, added: Ints) -> NDArray[Any]:
        column = self._columns[key]
        touched, inverse = np.unique(flat, return_inverse=True)
        after = column.reshape(-1)[touched].astype(np.int64)
        np.add.at(after, inverse, added)
        dtype = column.dtype
        while dtype.name in _WIDER and not _fits(after, dtype):
            dtype = np.dtype(_WIDER[dtype.name])
        return column if dtype == column.dtype else self._widen(key, dtype)

    def _widen(self, key: tuple[str, str], dtype: np.dtype[Any]) -> NDArray[Any]:
        before = self._columns[key]
        after = self._columns[key] = _panes(before.shape, dtype)
        after[:, : self.rows] = before[:, : self.rows]
        return after

    def add_totals(self, rows: Ints, values: Mapping[str, Ints]) -> None:
        """Adds values to durable totals."""
        for name, added in values.items():
            np.add.at(self._scalars[name], rows, added)
        self._dirty_scalars[rows >> _SHIFT] = True

    def add_total(self, row: int, name: str, value: int = 1) -> None:
        """Adds to one durable total of one row."""
        self._scalars[name][row] += value
        self._dirty_scalars[row >> _SHIFT] = True

    def get(self, row: int, name: str) -> int:
        """One total or attribute of one row."""
        return int(self._scalars[name][row])

    def set(self, row: int, **values: int) -> None:
        """Sets attributes of one row."""
        for name, value in values.items():
            self._scalars[name][row] = value
        self._dirty_scalars[row >> _SHIFT] = True

    # --- reading

    def scalar(self, name: str) -> Ints:
        """A total or attribute by row, as it is now; a view, valid until the next change."""
        return self._scalars[name][: self.rows]

    def committed_total(self, name: str) -> Ints:
        """A total by row as of the last acknowledged checkpoint; 0 for rows that are newer."""
        total = self.committed.get(name)
        return np.zeros(self.rows, np.int64) if total is None else _longer(total, self.rows)

    def window_sum(self, name: str, window: str, at_ms: int, rows: slice = slice(None)) -> Ints:
        """Sum of a column over a window that ends at `at_ms`, by row."""
        kind, panes = WINDOW_PANES[window]
        ring = self.rings.minutes if kind == "m" else self.rings.hours
        first, last, _ = rows.indices(self.rows)
        out = np.zeros(max(last - first, 0), np.int64)
        column = self._columns[name, kind]
        for part in ring.window(at_ms, panes):
            out += column[part, first:last].sum(axis=0, dtype=np.int64)
        return out

    def group_sums(self, values: Ints) -> Ints:
        """Sums by group of values given by row, in the order of `group_names`."""
        sums = np.bincount(self._row_groups[: len(values)], weights=values, minlength=len(self.group_names))
        whole: Ints = sums.astype(np.int64)
        return whole

    def by_group(self, values: Ints) -> dict[str, int]:
        """Sums by group of values given by row; groups with a sum of 0 are left out."""
        sums = self.group_sums(values)
        found = np.flatnonzero(sums)
        return {self.group_names[group]: n for group, n in zip(found.tolist(), sums[found].tolist(), strict=True)}

    def groups_of(self, rows: Ints) -> Ints:
        """The group of each row, as its index in `group_names`."""
        groups: Ints = self._row_groups[rows]
        return groups

    def in_group(self, group: str) -> NDArray[np.bool_]:
        """Which rows belong to a group."""
        rows: NDArray[np.bool_] = self._row_groups[: self.rows] == self._group_ids.get(group, -1)
        return rows

    def known_rows(self) -> Ints:
        """The rows in use, in order of appearance."""
        if len(self._known_rows) != len(self.index):
            self._known_rows = np.fromiter(self.index.values(), np.int64, len(self.index))
        return self._known_rows

    def labels(self, suffix: Key = ()) -> list[Key]:
        """Each row's key with a suffix. The list is kept, since the next scrape asks for the same one."""
        kept = self._labels.setdefault(suffix, [])
        kept.extend((*key, *suffix) if key is not None else () for key in self.keys[len(kept) :])
        return kept

    # --- the durable form

    @property
    def slots_pending(self) -> int:
        """How many slots have changed since the last call of `slots`."""
        panes = self._dirty_panes.values() if self.windows else ()
        return sum(int(np.count_nonzero(flags)) for flags in (self._dirty_keys, self._dirty_scalars, *panes))

    def slots(self) -> Iterator[Slot]:
        """The slots that have changed since the last call.

        Keys: `table|block|k` (the rows' keys), `|s` (totals and attributes), `|m17` or `|h3` (a pane's position).
        A pane's value starts with its id, which shows at a restore whether the pane has left the ring since.
        """
        for block in np.flatnonzero(self._dirty_keys).tolist():
            yield self._slot_key(block, "k"), msgspec.msgpack.encode(self._blocks[block])
        for block in np.flatnonzero(self._dirty_scalars).tolist():
            rows = slice(block * BLOCK, (block + 1) * BLOCK)
            yield (
                self._slot_key(block, "s"),
                msgspec.msgpack.encode({name: self._scalars[name][rows].tobytes() for name in self.scalar_names}),
            )
        for ring in self.rings if self.windows else ():
            flags = self._dirty_panes[ring.name]
            for position, block in zip(*(found.tolist() for found in np.nonzero(flags)), strict=True):
                yield self._slot_key(block, f"{ring.name}{position}"), self._pack_pane(ring, position, block)
            flags[:] = False
        self._dirty_keys[:] = False
        self._dirty_scalars[:] = False

    def _slot_key(self, block: int, kind: str) -> bytes:
        return f"{self.name}|{block}|{kind}".encode()

    def _pack_pane(self, ring: Ring, position: int, block: int) -> bytes:
        rows = slice(block * BLOCK, (block + 1) * BLOCK)
        packed: dict[str, tuple[str, bytes]] = {}
        for name in self.windows:
            cells = self._columns[name, ring.name][position, rows]
            if cells.any():
                packed[name] = (cells.dtype.str, cells.tobytes())
        return msgspec.msgpack.encode((ring.pane_at(position), packed))

    def totals_now(self) -> dict[str, Ints]:
        """A copy of the durable totals, which is exported once their checkpoint is acknowledged."""
        if not self.totals_names:
            return {}
        known = np.array([key is not None for key in self.keys], np.int64)
        return {_KNOWN: known, **{name: self._scalars[name][: self.rows].copy() for name in self.totals_names}}

    def committed_rows(self) -> NDArray[np.bool_]:
        """Which rows are in the last acknowledged checkpoint."""
        known = self.committed.get(_KNOWN)
        rows: NDArray[np.bool_] = _longer(known, self.rows) > 0
        return rows

    def restore(self, slots: Mapping[tuple[int, str], bytes]) -> None:
        """Restores an empty table from its slots, by (block, kind); the rings' heads must be restored before."""
        names = {block: value for (block, kind), value in slots.items() if kind == "k"}
        for block in range(len(names)):
            keys = [tuple(key) for key in msgspec.msgpack.decode(names[block], type=list[list[str]])]
            if (block + 1) * BLOCK > self._capacity:
                self._grow(max(len(names), 2 * block))
            self._blocks.append(keys)
            self.keys.extend([*keys, *([None] * (BLOCK - len(keys)))])
            for offset, key in enumerate(keys):
                self.index[key] = block * BLOCK + offset
            # A key's first part is its group; a later block of the same group replaces an earlier one as its newest.
            self._assign(block, keys[0][0])
        by_name = {ring.name: ring for ring in self.rings}
        for (block, kind), value in slots.items():
            rows = slice(block * BLOCK, (block + 1) * BLOCK)
            if kind == "s":
                for name, cells in msgspec.msgpack.decode(value, type=dict[str, bytes]).items():
                    if name in self._scalars:
                        self._scalars[name][rows] = np.frombuffer(cells, np.int64)
            elif kind != "k":
                ring, position = by_name[kind[0]], int(kind[1:])
                pane, packed = msgspec.msgpack.decode(value, type=tuple[int, dict[str, tuple[str, bytes]]])
                if ring.held(pane) and pane % ring.size == position:
                    for name, (dtype, cells) in packed.items():
                        self._restore_cells((name, ring.name), position, rows, np.frombuffer(cells, np.dtype(dtype)))
        self.committed = self.totals_now()

    def _restore_cells(self, key: tuple[str, str], position: int, rows: slice, cells: NDArray[Any]) -> None:
        column = self._columns.get(key)
        if column is None:
            return
        if cells.dtype.itemsize > column.dtype.itemsize:
            column = self._widen(key, cells.dtype)
        column[position, rows] = cells


def _panes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> NDArray[Any]:
    """A column of zeros; a large one in memory pages of its own, each of which takes memory from its first use on.

    numpy asks for huge pages, with which all that is reserved takes memory at once. And the allocator may keep a freed
    column for itself, where pages of its own go back to the system.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _OWN_PAGES_BYTES or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.ndarray(shape, dtype, pages)


def _fits(values: Ints, dtype: np.dtype[Any]) -> bool:
    bounds = np.iinfo(dtype)
    return bool(values.min() >= bounds.min and values.max() <= bounds.max)


def _longer(array: NDArray[Any] | None, length: int) -> NDArray[Any]:
    """A copy of an array with zeros behind it."""
    if array is None:
        return np.zeros(length, np.int64)
    out = np.zeros(length, array.dtype)
    out[: min(len(array), length)] = array[:length]
    return out
