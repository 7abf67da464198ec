"""Calls the native reader from Python. What it does, and what it leaves to Python's loop, is in docs/native.md."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Ints
from streams import native
from streams.engine.batch import (
    DelayColumns,
    EventBatch,
    Gathered,
    Growing,
    KafkaRecord,
    LabelColumns,
    ReviewColumns,
    ReviewsMadeColumns,
    SkipColumns,
    StateColumns,
    column,
    gather,
    settled,
)
from streams.engine.horizon import SiteState
from streams.engine.ids import NEW_SHARE
from streams.engine.numbering import Numbering
from streams.engine.reader import Loop, PythonReader, Reader, Run


def new_reader() -> Reader:
    """Chooses the reader: the native one where it can run, else Python's."""
    return PythonReader() if native.MODULE is None else NativeReader(native.MODULE)


class NativeSite(SiteState):
    """A site whose clock and ids are in the native module; both readers use them there."""

    __slots__ = ("native",)

    def __init__(self, name: str, clock: Any) -> None:
        self.native = clock
        super().__init__(name)
        self.seen = clock

    # Plain attributes in `SiteState`.
    clock_ms = property(lambda self: self.native.clock_ms, lambda self, ms: setattr(self.native, "clock_ms", ms))
    minute = property(lambda self: self.native.minute, lambda self, minute: setattr(self.native, "minute", minute))
    forgotten_minute = property(
        lambda self: self.native.forgotten_minute, lambda self, minute: setattr(self.native, "forgotten_minute", minute)
    )

    def advance(self, minute: int, append_ms: int | None) -> None:
        """As in Python."""
        self.minute = minute
        self.skew_ms = None if append_ms is None else append_ms - self.clock_ms
        self.native.drop_before(minute)

    def open_minute(self, minute: int) -> Any:
        """As in Python."""
        return self.native.open_minute(minute)

    def forget(self, minute: int) -> int:
        """As in Python."""
        return int(self.native.forget(minute))

    def counts(self) -> dict[int, int]:
        """As in Python."""
        return dict(self.native.counts())

    def hold(self, minute: int, ids: NDArray[np.uint64]) -> None:
        """As in Python."""
        self.native.hold(minute, ids.tolist())

    def fresh(self) -> dict[int, bytes]:
        """As in Python."""
        return dict(self.native.fresh(NEW_SHARE))


class NativeColumn:
    """A column in the native reader, to which Python's loop can append as to a list."""

    __slots__ = ("_native", "_number", "append")

    def __init__(self, native: Any, number: int) -> None:
        self._native, self._number = native, number
        self.append: Callable[[int], None] = partial(native.append, number)

    def __len__(self) -> int:
        return int(self._native.length(self._number))

    def __iter__(self) -> Iterator[int]:
        return iter(self.take().tolist())

    def take(self) -> Ints:
        """Its values; may be called once, since it empties the column."""
        return np.frombuffer(self._native.take(self._number), np.int64)


class NativeReader:
    """The native loop. Records about which it is not certain go to Python's loop, and it goes on after them."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._native = module.Reader()
        self._numbered: tuple[Any, ...] = ()
        self._columns = [NativeColumn(self._native, number) for number in range(module.Reader.COLUMNS)]
        self._fails = False

    def new_site(self, name: str) -> SiteState:
        """A site whose state is in the native module."""
        return NativeSite(name, self._module.SiteClock())

    def gather(self) -> Gathered:
        """A batch of native columns; the rare ones are lists."""
        columns = iter(self._columns)
        batch = gather()
        batch.labels, batch.skips, batch.reviews, batch.made, batch.delays, batch.states = (
            LabelColumns(*islice(columns, 5)),
            SkipColumns(*islice(columns, 3)),
            ReviewColumns(*islice(columns, 6)),
            ReviewsMadeColumns(*islice(columns, 5)),
            DelayColumns(*islice(columns, 2)),
            StateColumns(*islice(columns, 4)),
        )
        return batch

    def read(self, run: Run, records: Sequence[KafkaRecord], names: Numbering, loop: Loop) -> None:
        """As the protocol says. With a hold on reviews Python's loop reads everything, since it keeps the events."""
        if self._fails or run.keeps_reviews:
            PythonReader().read(run, records, names, loop)
            return
        # Compared by identity: when names are numbered anew, these are new lists.
        numbered = (names.persons, names.works, names.classes)
        if any(now is not before for now, before in zip(numbered, self._numbered, strict=False)):
            self._native.forget_names()
        self._numbered = numbered
        self._native.load(records)
        at = 0
        try:
            while at < len(records):
                at = self._read_on(run, records, names, loop, at)
        finally:
            self._native.unload()
            names.tally.add("duplicates", self._native.duplicates())

    def _read_on(self, run: Run, records: Sequence[KafkaRecord], names: Numbering, loop: Loop, at: int) -> int:
        """Reads natively up to records that Python must decide about, then these; returns the next record's index."""
        start, stop, fails = self._native.run(at, run.suspicious_ms, names, run.batch)
        if fails:
            # The native reader has undone what it had done with that record.
            self._fails = True
            native.failed(records[start].offset)
            stop = len(records)
        PythonReader().read(run, records[start:stop], names, loop)
        return int(stop)

    def settle(self, batch: Gathered) -> EventBatch:
        """The batch with its columns, native ones and lists, as arrays."""
        return settled(batch, _array)


def _array(values: Growing) -> Ints:
    return values.take() if isinstance(values, NativeColumn) else column(values)
