"""Numbers the strata of each site's reviews, in order of appearance; all streams of the site use these numbers."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from detectors.arrays import Ints
from detectors.rounds import STRATA
from streams.engine.batch import VerdictKind
from streams.engine.drift.memory import PREFIX, ReviewMemory
from streams.engine.drift.names import NONE
from streams.engine.drift.recent import PackedRows
from streams.engine.drift.stream import Stream, first_places
from streams.engine.panes import Slot

_UNKNOWN = -2
#: The stratum of reviews whose streams have a single baseline.
_PLAIN = -1


class SiteStrata:
    """The strata of each ring; a ring is of one site and role.

    Args:
        memory: Holds the rings, and the names of strata.
    """

    def __init__(self, memory: ReviewMemory) -> None:
        self._memory = memory
        #: The number of the name of each ring's strata, in order of appearance, shape (STRATA, rings); `_UNKNOWN` for
        #: those that have not come. Work without a stratum counts as a stratum.
        self._strata = np.full((STRATA, 0), _UNKNOWN)
        self._changed: set[int] = set()

    def second(self, kinds: Ints, rings: Ints, named: Ints, verdicts: Sequence[VerdictKind]) -> list[int]:
        """Places at which a site's second stratum appears; from there on its streams have a baseline for each stratum.

        Args:
            kinds: Number of each review's kind.
            rings: Number of each review's ring, below 0 where there is no ring yet.
            named: Number of the name of each review's stratum.
            verdicts: The kinds, by number.
        """
        self._grow()
        unmet, known = rings < 0, rings >= 0
        unmet[known] = self.counted(rings[known], named[known]) == _UNKNOWN
        (new,) = np.nonzero(unmet)
        if not len(new):
            return []
        found: dict[tuple[str, str], list[int]] = {}
        places = []
        for place in first_places(kinds * len(self._memory.names["stratum"]) + named, new):
            kind, name = verdicts[int(kinds[place])], int(named[place])
            key = (kind.site, kind.role)
            names = found.setdefault(key, self.names_of(self._memory.ring_numbers.get(key, -1)))
            if len(names) < 2 and name not in names:
                names.append(name)
                if len(names) == 2:
                    places.append(place)
        return places

    def here(self, rings: Ints, named: Ints) -> Ints | None:
        """The stratum of each review, for `Call.strata`; a name that is new to its site becomes the next stratum."""
        self._grow()
        strata = self.counted(rings, named)
        new = np.flatnonzero(strata == _UNKNOWN)
        if len(new):
            for place in first_places(rings * len(self._memory.names["stratum"]) + named, new):
                ring, count = int(rings[place]), len(self.names_of(int(rings[place])))
                if count < STRATA:
                    self._strata[count, ring] = named[place]
                    self._changed.add(ring)
            strata = self.counted(rings, named)
        # With one stratum only, a stream's single baseline is enough.
        held = self._strata[1].take(rings) != _UNKNOWN
        return np.where(held, strata, _PLAIN) if held.any() else None

    def counted(self, rings: Ints, named: Ints) -> Ints:
        """The number of each review's stratum; `_UNKNOWN` where its name is new to a ring that has room for it."""
        # Once a ring has `STRATA` names, all other names share the last number.
        strata: Ints = np.where(self._strata[-1].take(rings) == _UNKNOWN, _UNKNOWN, STRATA - 1)
        for stratum, names in enumerate(self._strata):
            if not (names != _UNKNOWN).any():
                break
            np.putmask(strata, names.take(rings) == named, stratum)
        return strata

    def names_of(self, ring: int) -> list[int]:
        """Numbers of the names of a ring's strata, in order of appearance; empty where there is no such ring."""
        return [] if ring < 0 else [name for name in self._strata[:, ring].tolist() if name != _UNKNOWN]

    def _grow(self) -> None:
        """Gives new rings a column in the table of strata."""
        more = len(self._memory.rings) - self._strata.shape[1]
        if more:
            self._strata = np.append(self._strata, np.full((STRATA, more), _UNKNOWN), axis=1)

    def of(self, stream: Stream, rows: PackedRows) -> Ints:
        """The strata of rows of reviews; a name that has no number counts as the first stratum."""
        names = self._memory.strata_of(rows)
        self._grow()
        strata: Ints = np.maximum(self.counted(np.full(len(names), self._memory.ring_of(stream)), names), 0)
        return strata

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call."""
        for number in sorted(self._changed):
            if (names := self.names_of(number)) != [NONE]:
                yield b"%s|strata-names|%d" % (PREFIX, number), msgspec.msgpack.encode(names)
        self._changed.clear()

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores the strata from slots, by key; to be called after the memory's rings are restored."""
        self._grow()
        # Where the checkpoint has no names, what was learned so far counts as work without a stratum.
        self._strata[0] = NONE
        for ring in range(self._strata.shape[1]):
            if (strata := slots.get(b"%s|strata-names|%d" % (PREFIX, ring))) is not None:
                names = msgspec.msgpack.decode(strata, type=list[int])
                self._strata[: len(names), ring] = names
