"""Which strata a site's reviews have shown, in the order in which they came: the same numbers for all its streams."""

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
#: Of reviews whose streams are not held to strata.
_PLAIN = -1


class SiteStrata:
    """The strata of each ring, which is a site's of a role.

    Args:
        memory: Has the rings, and the names of strata.
    """

    def __init__(self, memory: ReviewMemory) -> None:
        self._memory = memory
        #: By stratum as streams count it, and by ring, its name's number, `_UNKNOWN` for one that has not come; in the
        #: order in which they came, shape (STRATA, rings). Work without one is one of them.
        self._strata = np.full((STRATA, 0), _UNKNOWN)
        self._changed: set[int] = set()

    def second(self, kinds: Ints, rings: Ints, named: Ints, verdicts: Sequence[VerdictKind]) -> list[int]:
        """Places at which a site's work shows a second stratum: from there on its streams are held to their strata.

        Args:
            kinds: Of reviews.
            rings: Of each its ring, below 0 where that is not there yet.
            named: Number of the name of each one's stratum.
            verdicts: The kinds.
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
        """The stratum of each review as `Call.strata` has it; a name that is new to its site gets the next one."""
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
        # With one only, streams need no more than their own columns.
        held = self._strata[1].take(rings) != _UNKNOWN
        return np.where(held, strata, _PLAIN) if held.any() else None

    def counted(self, rings: Ints, named: Ints) -> Ints:
        """The stratum of each review as streams count it, `_UNKNOWN` where its name is new to a ring that has room."""
        # Once a ring has `STRATA` of them, all others share the last one.
        strata: Ints = np.where(self._strata[-1].take(rings) == _UNKNOWN, _UNKNOWN, STRATA - 1)
        for stratum, names in enumerate(self._strata):
            if not (names != _UNKNOWN).any():
                break
            np.putmask(strata, names.take(rings) == named, stratum)
        return strata

    def names_of(self, ring: int) -> list[int]:
        """The names' numbers of a ring's strata, in the order in which they came; none of a ring that is not there."""
        return [] if ring < 0 else [name for name in self._strata[:, ring].tolist() if name != _UNKNOWN]

    def _grow(self) -> None:
        """Gives new rings room in the table of strata."""
        more = len(self._memory.rings) - self._strata.shape[1]
        if more:
            self._strata = np.append(self._strata, np.full((STRATA, more), _UNKNOWN), axis=1)

    def of(self, stream: Stream, rows: PackedRows) -> Ints:
        """The strata of reviews as their site's streams count them; what came before these counts as the first."""
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
        """Takes its slots, by key; to be called once the memory has its rings."""
        self._grow()
        # Without names, or of an older build: what was learned so far counts as work without a stratum.
        self._strata[0] = NONE
        for ring in range(self._strata.shape[1]):
            if (strata := slots.get(b"%s|strata-names|%d" % (PREFIX, ring))) is not None:
                names = msgspec.msgpack.decode(strata, type=list[int])
                self._strata[: len(names), ring] = names
