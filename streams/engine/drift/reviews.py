"""Watches reviews for drifts: takes them in order to their streams, whose tests open drifts. `labels` is its twin."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.arrays import Flags, Ints
from detectors.falling import EVALUATE_EVERY
from detectors.rounds import STRATA
from schemas.drift import BUDGET_OF, DriftRecord
from schemas.events import ReviewRevised, ReviewVersion
from schemas.policy import OTHER, Policy
from streams.engine.batch import EventBatch, VerdictKind
from streams.engine.drift.episodes import Closed, Episode
from streams.engine.drift.labels import SIGNALS_OF_LABELS
from streams.engine.drift.memory import PREFIX, ReviewMemory
from streams.engine.drift.outcomes import OutcomeStreams
from streams.engine.drift.recent import REVIEW, Groups, PackedRows
from streams.engine.drift.review_casebook import ReviewCasebook
from streams.engine.drift.review_changes import ReviewChanges
from streams.engine.drift.river import RiverDrifts, Scene
from streams.engine.drift.scopes import ReviewScopes
from streams.engine.drift.segment import Revision, Segment
from streams.engine.drift.site_strata import SiteStrata
from streams.engine.drift.stream import DAY_SECONDS, Call, Crossing, Stream, stretches, watches_fall
from streams.engine.headline import is_headline
from streams.engine.intake import Intake
from streams.engine.panes import Slot
from streams.engine.parts import Numbers

#: The most reviews that are taken together, which bounds the memory: a hold may let many go at once.
_AT_ONCE = 32_768


class _Taken(NamedTuple):
    """Reviews of a batch that count for the headline, in columns, shape (n,) each.

    Attributes:
        positions: Their positions in the batch.
        rows: The reviews packed as rows.
        strata: Number of the name of each review's stratum.
        kinds, persons, reviewers: Numbers of the intake.
    """

    positions: Ints
    rows: PackedRows
    strata: Ints
    kinds: Ints
    persons: Ints
    reviewers: Ints

    def between(self, start: int, stop: int) -> "_Taken":
        """The reviews from index `start` to before `stop`."""
        return _Taken(*(column[start:stop] for column in self))


class _Header(msgspec.Struct):
    """The part's state beside its columns."""

    day: int
    unwatched: int
    rings: list[tuple[str, str, int]]
    episodes: list[tuple[Stream, Episode]]
    closed: list[tuple[Stream, Closed]]
    opened: list[tuple[Stream, int]]
    #: Absent in checkpoints of builds in which a site with one project had a stream for the project too.
    projects: list[tuple[str, str]] = []


class ReviewDrifts:
    """Watches accuracy of sites, projects, people and reviewers, review by review.

    Args:
        policy: Its targets, and which signals are watched.
        false_a_month: Budget name to false alarms a month allowed in this partition.
    """

    def __init__(self, policy: Policy, false_a_month: Mapping[str, float]) -> None:
        self._policy = policy
        watched = frozenset(policy.detection.signals)
        #: Whether any signal of reviews is switched on.
        self.watches = bool(watched - SIGNALS_OF_LABELS)
        self.streams = OutcomeStreams(false_a_month, BUDGET_OF, self._target_error)
        self.memory = ReviewMemory()
        self._strata = SiteStrata(self.memory)
        self._changes = ReviewChanges(self.streams, self.memory, self._strata)
        self.book = ReviewCasebook(policy, self.streams, self.memory, self._changes)
        self._scopes = ReviewScopes(watched, self.streams, self.memory, self.book.drifts.__contains__)
        self.river = RiverDrifts(policy)
        self._day = -1
        # Sites beyond the limits are not watched: their sum changes whenever another site joins them.
        self._headline: Numbers[VerdictKind] = Numbers(lambda kind: kind.site != OTHER and is_headline(kind, policy))
        self._agents_work: Numbers[VerdictKind] = Numbers(lambda kind: kind.role != "qa")

    def _target_error(self, stream: Stream) -> float | None:
        if stream.signal != "accuracy_target":
            return None
        return 1.0 - self._policy.resolve(site=stream.site).accuracy

    # --- reviews

    def apply(self, batch: EventBatch, intake: Intake) -> list[DriftRecord]:
        """Takes the reviews of a batch; returns records of drifts opened and cleared, in the order of the log."""
        self._headline.sync(intake.verdicts)
        self._agents_work.sync(intake.verdicts)
        self.memory.sync(intake)
        if not (len(batch.reviews.at) or batch.revised):
            return []
        persons, kinds, at, correct, traits, reviewers = batch.reviews
        clock = at if batch.clock_ms is None else batch.clock_ms
        positions = np.flatnonzero(self._headline.of(kinds) > 0)
        rows = self.memory.rows(traits, reviewers, persons, kinds, at, correct)
        if len(positions) < len(rows):
            rows = rows.take(positions, axis=0)
        self._scopes.sync(intake)
        strata, kinds = self.memory.strata(traits.take(positions)), kinds.take(positions)
        taken = _Taken(positions, rows, strata, kinds, persons.take(positions), reviewers.take(positions))
        seconds = self._scopes.second_projects(kinds, intake)
        seconds += self._strata.second(kinds, self._scopes.by_kind[:, 0].take(kinds), strata, intake.verdicts)
        revised, places = batch.revised, [place for place, _ in batch.revised]
        done = 0
        for start, stop, day in self._cuts(clock.take(positions), seconds):
            here = taken.between(start, stop)
            first, last = here.positions[[0, -1]].tolist()
            within, until = bisect_right(places, first), bisect_right(places, last)
            self._revise(revised[done:within])
            if day > self._day:
                self._next_day(day, first)
            rings = self._rings_of(here, intake)
            revisions = self._revisions(revised[within:until])
            segment = Segment(rings, here.positions, here.rows, batch.ids, at, clock, batch.mistakes, revisions)
            self._take(here, segment)
            done = until
        self._revise(revised[done:])
        reported = sorted(self.book.take_reported(), key=lambda each: (each.position, each.stream))
        return [self.river.agreed(stream, record) if self.river.watches else record for _, stream, record in reported]

    def _next_day(self, day: int, position: int) -> None:
        """Begins a day at a position in the batch."""
        days = day - self._day if self._day >= 0 else 1
        self._day = day
        kept = self.book.drifts.keys() | self.river.book.drifts.keys()
        for number in self.streams.next_day(day * DAY_SECONDS, days, kept):
            self._scopes.forget_people()
            self.book.closed.pop(number, None)
            self.river.forget(number)
        for stream in self.book.incidents.left():
            self.book.end_with_parent(stream, position, day)
        self.book.changed = True

    def _cuts(self, at_ms: Ints, seconds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Cuts reviews where something else happens between them: a new day, a second project or stratum.

        Yields:
            Begin, end and day of each stretch.
        """
        for start, stop, day in stretches(at_ms, self._day):
            begins = sorted({*range(start, stop, _AT_ONCE), *(place for place in seconds if start < place < stop)})
            for begin, end in zip(begins, [*begins[1:], stop], strict=True):
                yield begin, end, day

    def _rings_of(self, here: _Taken, intake: Intake) -> Ints:
        """The ring of each review; makes streams for projects, people and reviewers that are new."""
        self._scopes.meet(here.kinds, here.persons, self._reviewers_of_work(here), intake)
        return self._scopes.by_kind[:, 0].take(here.kinds)

    def _reviewers_of_work(self, here: _Taken) -> Ints:
        """The reviewer of each review, -1 where none is named; audits count as none."""
        return np.where(self._agents_work.of(here.kinds) > 0, here.reviewers, -1)

    def _take(self, here: _Taken, segment: Segment) -> None:
        """Takes a segment: feeds our detectors and river's, and keeps the reviews."""
        call = self._call(here, segment)
        wrong = REVIEW.of(here.rows, "wrong") > 0
        self.streams.begin(call, self._day * DAY_SECONDS)
        self._begin(segment.revisions)
        reported = len(self.book.reported)
        self._feed(call, wrong, segment)
        if len(self.book.reported) > reported:
            self.book.relate(reported)
        if self.river.watches:
            scene = Scene(
                key=self.book.key,
                seen=lambda stream, position, closed: self.memory.seen(stream, position, closed, segment).rows,
                explain=lambda stream, episode, position, closed, searched: self._changes.explain(
                    stream, episode, position, closed, segment, searched
                ),
                temper=self.streams.temper,
                ids=segment.ids,
                clock=segment.clock,
            )
            self.river.take(call, wrong, scene)
            self.book.reported += self.river.book.take_reported()
        self.memory.remember(segment, np.flatnonzero(wrong))
        self._correct()

    def _call(self, here: _Taken, segment: Segment) -> Call:
        """The outcomes of a segment's reviews, stream by stream."""
        scopes, rings, persons, reviewers = self._scopes, segment.rings, here.persons, self._reviewers_of_work(here)
        _, by_site, by_target, by_project, by_finding = scopes.by_kind.take(here.kinds, axis=0).T
        made = np.flatnonzero(reviewers >= 0)
        # Streams with the same outcomes share one grouping. Projects' streams are shifted by 1, since -1 is no stream.
        of_sites, of_projects, of_persons = Groups.of(rings), Groups.of(by_project + 1), Groups.of(persons)
        of_finding = of_sites if len(made) == len(rings) else Groups.of(rings.take(made), made)
        of_reviewers = Groups.of(reviewers.take(made), made)
        found_more, found_fewer = scopes.by_reviewer.take(reviewers.take(of_reviewers.firsts), axis=0).T
        return Call.of(
            here.positions,
            segment.clock.take(here.positions) // 1000,
            rising=(
                (of_sites, by_site.take(of_sites.firsts)),
                (of_sites, by_target.take(of_sites.firsts)),
                (of_projects, by_project.take(of_projects.firsts)),
                (of_persons, scopes.by_person[persons.take(of_persons.firsts), 0]),
                (of_reviewers, found_more),
            ),
            falling=((of_finding, by_finding.take(of_finding.firsts)), (of_reviewers, found_fewer)),
            strata=self._strata.here(rings, here.strata),
        )

    def _feed(self, call: Call, wrong: Flags, segment: Segment) -> None:
        """Feeds a segment's outcomes to the tests; drifts open and end."""
        book = self.book
        evaluations = self.streams.take(call, wrong)
        if book.drifts:
            evaluations = evaluations.of(~np.isin(evaluations.stream, list(book.drifts)))
        crossings = self.streams.evaluate(evaluations)
        for crossing in crossings:
            book.cross(crossing, segment)
        follow_from = {crossing.stream: crossing.position for crossing in crossings}
        for stream in sorted(book.drifts.keys() & call.touched.tolist()) if book.drifts else ():
            self._follow(stream, follow_from.get(stream, -1), call, wrong, segment)

    def _follow(self, stream: int, after: int, call: Call, wrong: Flags, segment: Segment) -> None:
        """Takes a stream's outcomes after a position: while its drift is open, and then the rest one by one."""
        mine = call.of_stream(stream, after)
        positions, bad = call.positions.take(mine).tolist(), wrong.take(mine).tolist()
        seconds = call.at_s.take(mine).tolist()
        falls = watches_fall(self.book.key(stream))
        has_strata = self.streams.holds_strata(stream)
        strata = [0] * len(bad) if call.strata is None or not has_strata else call.strata.take(mine).tolist()
        passed = [0] * STRATA
        nth = since = 0
        while nth < len(bad):
            if stream in self.book.drifts:
                nth += self.book.go_on(stream, positions, bad, nth, strata if has_strata else None, segment.clock)
                since, passed = 0, [0] * STRATA
                continue
            passed[strata[nth]] += not bad[nth]
            if bad[nth] or (falls and since == EVALUATE_EVERY - 1):
                left, second = len(bad) - nth - 1, seconds[nth]
                if falls:
                    statistic = self.streams.fall(stream, since, bad[nth], passed, strata[nth] if bad[nth] else -1)
                else:
                    statistic = self.streams.advance(stream, since, second, passed, strata[nth])
                since, passed = 0, [0] * STRATA
                run_length = self.streams.run_length(stream, left, second, positions[nth])
                if statistic >= run_length:
                    volume = self.streams.volume(stream, left, second)
                    self.book.cross(Crossing(stream, positions[nth], statistic, run_length, volume), segment)
            else:
                since += 1
            nth += 1
        self.streams.set_gap(stream, since, passed)

    # --- revisions

    def _revise(self, revised: Sequence[tuple[int, ReviewRevised]]) -> None:
        """Takes revisions that come between two segments."""
        if revised:
            revisions = self._revisions(revised)
            self.memory.revise(revisions)
            self._begin(revisions)
            self._correct()

    def _revisions(self, revised: Sequence[tuple[int, ReviewRevised]]) -> list[Revision]:
        """The revisions of reviews at sites that have rings by now."""
        revisions = []
        for position, event in revised:
            ring = self.memory.ring_numbers.get((event.site_id, "qa" if event.role == "qa" else "agent"))
            old = _error_of(event.old)
            if ring is not None and old is not None:
                revisions.append(Revision(position, ring, event, old, _error_of(event.new)))
        return revisions

    def _begin(self, revisions: Sequence[Revision]) -> None:
        """Lets drifts that end take in the revisions before it, ours and river's."""
        self.book.begin(revisions)
        self.river.book.begin(revisions)

    def _correct(self) -> None:
        """Corrects the figures of open drifts, ours and river's."""
        self.book.revise()
        if self.river.book.revise():
            self.river.revised()

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call."""
        self.memory.settle()
        yield from self.streams.slots(PREFIX)
        yield from self.river.slots()
        # The header has the numbers of rows in rings, so it changes with them.
        changed = self.book.changed or self._scopes.projects_changed or self.memory.changed
        yield from self.memory.slots()
        yield from self._strata.slots()
        if changed:
            self.book.changed = self._scopes.projects_changed = False
            self.book.pack()
            header = _Header(
                self._day,
                self.streams.unwatched,
                self.memory.counts(),
                self.book.open_drifts(),
                self.book.closed_drifts(),
                sorted(self.book.opened.items()),
                list(self._scopes.projects.items()),
            )
            yield b"%s|header" % PREFIX, msgspec.msgpack.encode(header)

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty one from its slots, by key."""
        packed = slots.get(b"%s|header" % PREFIX)
        if packed is None:
            return
        header = msgspec.msgpack.decode(packed, type=_Header)
        self._day = header.day
        self._scopes.projects = dict(header.projects)
        dropped = set() if header.projects else self._only_projects(slots, header)
        self.streams.restore(PREFIX, slots, header.day * DAY_SECONDS, header.unwatched, dropped)
        self.memory.restore(header.rings, slots)
        self._strata.restore(slots)
        self.book.restore(header.episodes, header.closed, header.opened, dropped)
        self.river.restore(slots, {stream: episode.drift_id for stream, episode in header.episodes})

    def _only_projects(self, slots: Mapping[bytes, bytes], header: _Header) -> set[Stream]:
        """Finds in an older checkpoint which sites have one project; returns these projects' streams, to be dropped.

        A stream with an open drift stays: its site is treated as one with several projects.
        """
        projects: dict[str, list[Stream]] = {}
        for stream in self.streams.kept(PREFIX, slots):
            if stream.signal == "accuracy" and stream.project:
                projects.setdefault(stream.site, []).append(stream)
        is_open = {stream for stream, _ in header.episodes}
        only = {site: of[0] for site, of in projects.items() if len(of) == 1 and of[0] not in is_open}
        self._scopes.projects = {site: only[site].project if site in only else "" for site in projects}
        return set(only.values())


def _error_of(version: ReviewVersion | None) -> bool | None:
    return None if version is None else not version.correct
