"""Reviews that are kept to explain drifts: the newest of each site, row by row, and tasks of those with errors."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.arrays import Ints
from streams.engine.batch import Trait, VerdictKind
from streams.engine.drift import older
from streams.engine.drift.episodes import TASKS, Closed
from streams.engine.drift.names import FEW, MANY, NONE, SOME, Combinations, Names
from streams.engine.drift.recent import REVIEW, WAITING_MAX, Flip, PackedRows, Recent, Waiting, flip
from streams.engine.drift.segment import Revision, Segment
from streams.engine.drift.stream import Stream
from streams.engine.intake import Intake
from streams.engine.panes import Slot
from streams.engine.parts import Numbers

#: Of a ring's newest reviews with errors this many keep their task, as examples.
_MISTAKES_KEPT = 256
_NO_REVIEWS = np.zeros(0, np.int64)
#: How the keys of the slots begin.
PREFIX = b"drift"
#: The dimensions of causes, and the bound of each table of names; names beyond it are `other`.
DIMENSIONS = {
    "agent": MANY,
    "reviewer": MANY,
    "project": FEW,
    "market": FEW,
    "sop_version": FEW,
    "label": FEW,
    "error_type": FEW,
    "stratum": FEW,
}
#: Those of them that a row holds together as one number: of a kind of review, and of a trait.
_KIND, _TRAIT = ("project", "market", "sop_version"), ("label", "stratum", "error_type")


class Seen(NamedTuple):
    """The reviews of a stream that are still kept, up to one position in the log; newest first.

    Attributes:
        rows: Reviews since the stream's last drift was cleared.
        earlier: The same, and also those from before that drift began.
        numbers: The numbers of `earlier` in the ring.
        is_cut: Whether the ring has dropped older reviews.
    """

    rows: PackedRows
    earlier: PackedRows
    numbers: Ints
    is_cut: bool


class ReviewMemory:
    """Reviews as rows in rings, one ring for each site and role, with tables of the names in them."""

    def __init__(self) -> None:
        self.names = {by: Names(b"%s|%s" % (PREFIX, by.encode()), most) for by, most in DIMENSIONS.items()}
        self._of_kind = Combinations(PREFIX + b"|kind", SOME, {by: self.names[by] for by in _KIND})
        self._of_trait = Combinations(PREFIX + b"|trait", MANY, {by: self.names[by] for by in _TRAIT})
        self._numbered: tuple[Names | Combinations, ...] = (*self.names.values(), self._of_kind, self._of_trait)
        self.rings: list[Recent] = []
        self.ring_numbers: dict[tuple[str, str], int] = {}
        #: By ring, its newest reviews that found an error: the review's number in the ring, and its task.
        self._mistakes: list[deque[tuple[int, str]]] = []
        self._mistaken: set[int] = set()
        self._waiting = Waiting()
        #: Of the waiting reviews that found an error: index among those that wait to the task.
        self._tasks_waiting: dict[int, str] = {}
        #: By ring what waiting revisions invert; `before` is a place among all the reviews that wait.
        self._flips_waiting: dict[int, list[Flip]] = {}
        self._sops: Sequence[tuple[str, str, str]] = ()
        self._combined: Numbers[VerdictKind] = Numbers(
            lambda kind: self._of_kind.number(
                kind.project, kind.market, self._sops[kind.sop][2] if kind.sop >= 0 else None
            )
        )
        self._agents: Numbers[tuple[str, str, str]] = Numbers(lambda person: self.names["agent"].number(person[2]))
        self._reviewers: Numbers[tuple[str, str]] = Numbers(lambda made: self.names["reviewer"].number(made[1]))
        self._traits: Numbers[Trait] = Numbers(lambda trait: self._of_trait.number(*trait))
        self._strata: Numbers[Trait] = Numbers(lambda trait: self.names["stratum"].number(trait.stratum))

    def sync(self, intake: Intake) -> None:
        """Numbers the intake's new names. Called for every batch, so that it does not matter how the log is cut."""
        self._sops = intake.sops
        self._combined.sync(intake.verdicts)
        self._agents.sync(intake.persons)
        self._reviewers.sync(intake.reviewers)
        self._traits.sync(intake.traits)
        self._strata.sync(intake.traits)

    def ring(self, site: str, role: str) -> int:
        """The number of the ring of a site and role; a new ring if there is none."""
        key = (site, role)
        if key not in self.ring_numbers:
            self.ring_numbers[key] = len(self.rings)
            self.rings.append(Recent(b"%s|recent|%d" % (PREFIX, len(self.rings)), REVIEW))
            self._mistakes.append(deque(maxlen=_MISTAKES_KEPT))
        return self.ring_numbers[key]

    def rows(self, traits: Ints, reviewers: Ints, persons: Ints, kinds: Ints, at: Ints, correct: Ints) -> PackedRows:
        """Reviews packed as rows of a ring."""
        named = np.full(len(kinds), NONE)
        has = reviewers >= 0
        named[has] = self._reviewers.of(reviewers[has])
        return REVIEW.pack(
            at=at,
            kind=self._combined.of(kinds),
            agent=self._agents.of(persons),
            reviewer=named,
            trait=self._traits.of(traits),
            wrong=correct == 0,
        )

    def strata(self, traits: Ints) -> Ints:
        """The number of each review's stratum, given the traits of the intake."""
        return self._strata.of(traits)

    def strata_of(self, rows: PackedRows) -> Ints:
        """The number of each review's stratum, given rows."""
        return self._of_trait.columns(REVIEW.of(rows, "trait"))["stratum"]

    def ring_of(self, stream: Stream) -> int:
        """The number of the ring that a stream's reviews are in."""
        return self.ring_numbers[stream.site, "qa" if stream.signal == "qa_accuracy" else "agent"]

    def remember(self, segment: Segment, wrong: Ints) -> None:
        """Adds a segment's reviews to those that wait for their rings; `wrong`: the indices of those with an error."""
        tasks, before = segment.tasks, self._waiting.count
        found = zip((wrong + before).tolist(), map(tasks.__getitem__, segment.positions[wrong].tolist()), strict=True)
        self._tasks_waiting.update(found)
        self._waiting.add(segment.rings, segment.rows)
        self.revise(segment.revisions, segment.positions)
        if self._waiting.is_full:
            self.settle()

    def revise(self, revisions: Sequence[Revision], positions: Ints = _NO_REVIEWS) -> None:
        """Takes revisions: a review that was an error is correct now, or the other way round. They wait as reviews do.

        Args:
            revisions: In the order of the log.
            positions: Positions in the batch of the newest reviews that wait, where revisions come between them.
        """
        first = self._waiting.count - len(positions)
        for ring, flips in self._flips_of(revisions, positions, first).items():
            self._flips_waiting.setdefault(ring, []).extend(flips)
        if sum(map(len, self._flips_waiting.values())) >= WAITING_MAX:
            self.settle()

    def _flips_of(self, revisions: Iterable[Revision], positions: Ints, first: int) -> dict[int, list[Flip]]:
        """What revisions invert, by ring; `first` is the number of the first review of `positions`."""
        flips: dict[int, list[Flip]] = {}
        for position, ring, event, old, new in revisions:
            if old != bool(new):
                before = first + int(positions.searchsorted(position))
                each = Flip(event.reviewed_at, self.names["agent"].find(event.agent_id), old, before)
                flips.setdefault(ring, []).append(each)
        return flips

    def settle(self) -> None:
        """Puts the waiting reviews into their rings, tasks of those with errors beside them; then revises them."""
        tasks, self._tasks_waiting = self._tasks_waiting, {}
        added: dict[int, tuple[int, Ints]] = {}
        for ring, places, rows in self._waiting.taken():
            recent = self.rings[ring]
            added[ring] = (recent.count, places)
            wrong = np.flatnonzero(REVIEW.of(rows, "wrong"))[-_MISTAKES_KEPT:]
            if len(wrong):
                found = map(tasks.__getitem__, places[wrong].tolist())
                self._mistakes[ring].extend(zip((wrong + recent.count).tolist(), found, strict=True))
                self._mistaken.add(ring)
            recent.add(rows)
        for ring, flips in self._flips_waiting.items():
            recent = self.rings[ring]
            count, places = added.get(ring, (recent.count, _NO_REVIEWS))
            recent.flip([each._replace(before=count + int(places.searchsorted(each.before))) for each in flips])
        self._flips_waiting = {}

    def seen(self, stream: Stream, position: int, closed: Closed | None, segment: Segment) -> Seen:
        """The kept reviews of a stream, up to a position in the segment."""
        ring = self.ring_of(stream)
        self.settle()
        mine = segment.up_to(position, ring)
        rows = self.rings[ring].newest(segment.rows.take(mine, axis=0))
        end = self.rings[ring].count + len(mine)
        # The ring takes the segment's revisions when it takes its reviews; this copy takes those up to here.
        past = (each for each in segment.revisions if each.ring == ring and each.position <= position)
        for flips in self._flips_of(past, segment.positions.take(mine), self.rings[ring].count).values():
            flip(rows, end - len(rows), flips)
        chosen = np.ones(len(rows), bool)
        if stream.project:
            projects = self._of_kind.columns(REVIEW.of(rows, "kind"))["project"]
            chosen &= projects == self.names["project"].find(stream.project)
        if stream.signal == "error_finding":
            found = REVIEW.of(rows, "reviewer")
            chosen &= found == self.names["reviewer"].find(stream.agent) if stream.agent else found != NONE
        elif stream.agent:
            chosen &= REVIEW.of(rows, "agent") == self.names["agent"].find(stream.agent)
        numbers = np.flatnonzero(chosen)[::-1]
        newest_first = rows[numbers]
        later = np.ones(len(newest_first), bool)
        if closed is not None:
            at = REVIEW.of(newest_first, "at")
            # Reviews from within the last drift belong neither to this change nor to what is usual.
            usual = (at > closed.cleared_at) | (at < closed.began_at)
            newest_first, numbers, later = newest_first[usual], numbers[usual], at[usual] > closed.cleared_at
        return Seen(newest_first[later], newest_first, numbers + (end - len(rows)), end > len(rows))

    def columns(self, rows: PackedRows) -> dict[str, Ints]:
        """The names' numbers in rows, by dimension."""
        of_people = {by: REVIEW.of(rows, by) for by in ("agent", "reviewer")}
        kinds, traits = REVIEW.of(rows, "kind"), REVIEW.of(rows, "trait")
        return of_people | self._of_kind.columns(kinds) | self._of_trait.columns(traits)

    def examples(self, stream: Stream, numbers: set[int], position: int, segment: Segment) -> tuple[str, ...]:
        """Tasks of reviews that found an error, newest first.

        Args:
            stream: The stream of the drift.
            numbers: Numbers in its ring of the reviews to choose from.
            position: Position in the batch up to which the segment's reviews count.
            segment: The present segment.
        """
        ring = self.ring_of(stream)
        mine, count = segment.up_to(position, ring), self.rings[ring].count
        wrong = np.flatnonzero(REVIEW.of(segment.rows.take(mine, axis=0), "wrong"))
        here = map(segment.tasks.__getitem__, segment.positions.take(mine[wrong]).tolist())
        mistakes = [*self._mistakes[ring], *zip((wrong + count).tolist(), here, strict=True)]
        tasks = [task for number, task in reversed(mistakes[-_MISTAKES_KEPT:]) if number in numbers]
        return tuple(dict.fromkeys(tasks))[:TASKS]

    # --- the durable form

    @property
    def changed(self) -> bool:
        """Whether a ring has rows that no slots have yet. Call `settle` before, so that none wait."""
        return any(ring.changed for ring in self.rings)

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call."""
        for table in self._numbered:
            yield from table.slots()
        for ring in self.rings:
            yield from ring.slots()
        for number in sorted(self._mistaken):
            yield b"%s|mistakes|%d" % (PREFIX, number), msgspec.msgpack.encode(list(self._mistakes[number]))
        self._mistaken.clear()

    def counts(self) -> list[tuple[str, str, int]]:
        """Site, role, and how many rows there ever were, of each ring."""
        return [(*key, self.rings[number].count) for key, number in self.ring_numbers.items()]

    def restore(self, counts: Sequence[tuple[str, str, int]], slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty memory from its slots, by key, and from what `counts` gave."""
        for table in self._numbered:
            table.restore(slots)
        for site, role, count in counts:
            number = self.ring(site, role)
            self.rings[number].restore(count, slots)
            self._take_over(number, count, slots)
            if (mistakes := slots.get(b"%s|mistakes|%d" % (PREFIX, number))) is not None:
                self._mistakes[number].extend(msgspec.msgpack.decode(mistakes, type=list[tuple[int, str]]))

    def _take_over(self, number: int, count: int, slots: Mapping[bytes, bytes]) -> None:
        """Converts a ring of an older format."""
        rows, keys = older.rows(slots, b"%s|ring|%d" % (PREFIX, number), count, older.REVIEW)
        if keys:
            columns = {by: rows[by] for by in ("at", "agent", "reviewer", "wrong")}
            kinds, traits = (
                table.numbers([rows[each] for each in by])
                for table, by in ((self._of_kind, _KIND), (self._of_trait, _TRAIT))
            )
            self.rings[number].take_over(count, REVIEW.pack(kind=kinds, trait=traits, **columns), keys)
