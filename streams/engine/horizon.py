"""Each site's clock, and the ids by which repeats are found: whether an event is new; and how both are kept durable."""

from collections.abc import Callable, Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from streams.engine.ids import NEW_SHARE, SealedIds
from streams.engine.panes import HOUR_MS, MINUTE_MS, WINDOW_PANES, Slot
from streams.engine.tally import Tally

#: A repeat is found if the event's minute is one of the last 15 up to the site's clock.
DUPLICATE_MINUTES = 15
#: Ids held in a partition (8 bytes each, about 75 in the newest minutes); beyond it the oldest minutes are forgotten.
DUPLICATE_IDS_MAX = 4_000_000

_WEEK_HOURS = WINDOW_PANES["7d"][1]

#: Project to market to SOP version to number of the kind of work; names as they came, None where not given. Three
#: look-ups by a name each cost half of one by a tuple of three.
WorkNumbers = dict[str, dict[str | None, dict[str | None, int]]]
#: Role, source, sampling, purpose and round of a review, as they came.
Given = tuple[str | None, str | None, str | None, str | None, int | None]
#: Project to market to SOP version to what is given to number of the kind of review.
VerdictNumbers = dict[str, dict[str | None, dict[str | None, dict[Given, int]]]]


#: Among the types of `SiteState.beats`: states that were estimated, not reported.
STATE_ESTIMATED = "state_estimated"


class SiteState:
    """A site's clock, its ids within the duplicate horizon, and its names as small numbers."""

    __slots__ = (
        "agents",
        "beats",
        "changed",
        "clock_ms",
        "first_ms",
        "forgotten_minute",
        "minute",
        "name",
        "qas",
        "reviewers",
        "saved",
        "saved_clock_ms",
        "seed",
        "seen",
        "skew_ms",
        "sops",
        "states",
        "verdicts",
        "works",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        #: Of the ids' hashes. The same in all processes and versions, unlike hash().
        self.seed = xxh3_64_intdigest(name.encode())
        #: Time of the first event, in the order of the log; -1 where an older checkpoint does not have it.
        self.first_ms = -1
        self.clock_ms = -1
        self.minute = -1
        #: Minutes up to this one were forgotten by the cap.
        self.forgotten_minute = -1
        #: Append time minus event time of the first event of the newest minute; None without append times.
        self.skew_ms: int | None = None
        #: Minute to the hashes of its ids. A dict keeps their order, and so those that no checkpoint has yet are the
        #: last ones. When a minute is over and all are in a checkpoint, they are packed (`SealedIds`).
        self.seen: dict[int, dict[int, None] | SealedIds] = {}
        #: Minute to how many of its hashes are in a checkpoint; and the clock that is in it.
        self.saved: dict[int, int] = {}
        self.saved_clock_ms = -1
        self.agents: dict[str, int] = {}
        self.qas: dict[str, int] = {}
        self.reviewers: dict[str, int] = {}
        self.works: WorkNumbers = {}
        self.verdicts: VerdictNumbers = {}
        #: Project as it came to state to number of the kind of state.
        self.states: dict[str | None, dict[str, int]] = {}
        self.sops: dict[tuple[str, str], int] = {}
        #: Newest event time by type, and of states that were estimated.
        self.beats: dict[str, int] = {}
        self.changed = True

    @property
    def floor_minute(self) -> int:
        """The newest minute behind the horizon: repeats in it or before it are no longer found."""
        return max(self.minute - DUPLICATE_MINUTES, self.forgotten_minute)

    def beat(self, type_name: str, at: int) -> None:
        """Keeps an event's time if it is the newest of its type."""
        if at > self.beats.get(type_name, -1):
            self.beats[type_name] = at
            self.changed = True

    def advance(self, minute: int, append_ms: int | None) -> None:
        """Moves on to a newer minute and drops the minutes that leave the horizon."""
        self.minute = minute
        self.skew_ms = None if append_ms is None else append_ms - self.clock_ms
        for old in [old for old in self.seen if old <= minute - DUPLICATE_MINUTES]:
            self.forget(old)

    def open_minute(self, minute: int) -> dict[int, None]:
        """Begins a minute that has no ids yet; returns its dict, to be filled."""
        held: dict[int, None] = {}
        self.seen[minute] = held
        return held

    def forget(self, minute: int) -> int:
        """Drops a minute; returns how many ids it had."""
        self.saved.pop(minute, None)
        return len(self.seen.pop(minute))

    def counts(self) -> dict[int, int]:
        """Minute to how many ids it has."""
        return {minute: len(held) for minute, held in self.seen.items()}

    def hold(self, minute: int, ids: NDArray[np.uint64]) -> None:
        """Takes a minute's ids from a checkpoint."""
        self.seen[minute] = SealedIds(ids) if minute < self.minute else dict.fromkeys(ids.tolist())
        self.saved[minute] = len(self.seen[minute])

    def fresh(self) -> dict[int, bytes]:
        """Minute to its ids since the last call, packed for a checkpoint; from then on they count as saved.

        Minutes that are over are sealed here, since now all of their ids are saved.
        """
        fresh = {}
        for minute, held in self.seen.items():
            unsaved = len(held) - self.saved.get(minute, 0)
            if unsaved:
                ids = np.fromiter(reversed(held), np.uint64, unsaved)
                fresh[minute] = ids[::-1].tobytes()
                self.saved[minute] = len(held)
            if isinstance(held, SealedIds):
                held.seal()
            elif minute < self.minute and unsaved * NEW_SHARE <= len(held):
                self.seen[minute] = SealedIds(np.fromiter(held, np.uint64, len(held)))
        return fresh


class Horizon:
    """The sites of a partition, with the clock and the ids of each.

    Args:
        tally: Counts events that could not be checked for repeats.
        new_site: Makes a site's state, given its name.
    """

    def __init__(self, tally: Tally, new_site: Callable[[str], SiteState] = SiteState) -> None:
        self._tally = tally
        self._new_site = new_site
        self.sites: dict[str, SiteState] = {}
        self.chunk = 0
        #: Site to (newest minute, slot key) of its chunks on the checkpoint topic.
        self._chunks: dict[str, list[tuple[int, bytes]]] = {}

    def add(self, name: str) -> SiteState:
        """Adds a site that is met for the first time."""
        site = self.sites[name] = self._new_site(name)
        return site

    def open_minute(self, site: SiteState, minute: int, at: int) -> dict[int, None] | None:
        """Begins a minute that has no ids yet; None where it is behind the horizon: its events are taken as new."""
        if minute > site.floor_minute:
            return site.open_minute(minute)
        self._tally.add("unchecked")
        if at // HOUR_MS <= site.clock_ms // HOUR_MS - _WEEK_HOURS:
            self._tally.add("late")
        return None

    def enforce_cap(self) -> None:
        """Forgets the oldest minutes while too many ids are held."""
        held = {(minute, site.name): n for site in self.sites.values() for minute, n in site.counts().items()}
        ids_held = sum(held.values())
        for minute, name in sorted(held):
            if ids_held <= DUPLICATE_IDS_MAX:
                break
            site = self.sites[name]
            ids_held -= held[minute, name]
            self._tally.add("forgotten_ids", site.forget(minute))
            site.forgotten_minute = max(site.forgotten_minute, minute)
            site.changed = True

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call: of each site its new ids, as one chunk, and its clock.

        Chunks whose minutes have all left the horizon are deleted.
        """
        for site in self.sites.values():
            chunks = self._chunks.setdefault(site.name, [])
            fresh = site.fresh()
            if fresh:
                self.chunk += 1
                key = b"ids|%d" % self.chunk
                yield key, msgspec.msgpack.encode((site.name, fresh))
                chunks.append((max(fresh), key))
            for chunk in [chunk for chunk in chunks if chunk[0] <= site.floor_minute]:
                yield chunk[1], None
                chunks.remove(chunk)
            if site.changed or site.clock_ms != site.saved_clock_ms:
                site.changed, site.saved_clock_ms = False, site.clock_ms
                state = _SiteSlot(
                    site.name,
                    site.clock_ms,
                    site.forgotten_minute,
                    site.skew_ms,
                    dict(sorted(site.beats.items())),
                    site.first_ms,
                )
                yield b"site|" + site.name.encode(), msgspec.msgpack.encode(state)

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores sites from the slots `site|` and `ids|` of a checkpoint; called while there are none."""
        for key, value in slots.items():
            if key.startswith(b"site|"):
                known = msgspec.msgpack.decode(value, type=_SiteSlot)
                site = self.add(known.name)
                site.clock_ms, site.minute = known.clock_ms, known.clock_ms // MINUTE_MS
                site.forgotten_minute, site.skew_ms, site.beats = known.forgotten_minute, known.skew_ms, known.beats
                site.changed, site.saved_clock_ms, site.first_ms = False, site.clock_ms, known.first_ms
        held: dict[tuple[str, int], list[bytes]] = {}  # by site and minute
        for number in sorted(int(key[4:]) for key in slots if key.startswith(b"ids|")):
            key = b"ids|%d" % number
            name, packed = msgspec.msgpack.decode(slots[key], type=tuple[str, dict[int, bytes]])
            self._chunks.setdefault(name, []).append((max(packed), key))
            for minute, ids in packed.items():
                if minute > self.sites[name].floor_minute:
                    held.setdefault((name, minute), []).append(ids)
        for (name, minute), saved in held.items():
            self.sites[name].hold(minute, np.frombuffer(b"".join(saved), np.uint64))


class _SiteSlot(msgspec.Struct):
    name: str
    clock_ms: int
    forgotten_minute: int
    skew_ms: int | None
    beats: dict[str, int]
    first_ms: int = -1
