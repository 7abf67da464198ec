"""The drift part of the engine: feeds every stream, opens and clears episodes, and says what they are."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Ints
from detectors.falling import EVALUATE_EVERY, locate_fall
from detectors.mixture import SHIFTS
from detectors.outcomes import from_gaps, locate_change
from detectors.protocol import Estimate
from detectors.reverse import PACKED_BYTES, ReverseTest
from detectors.rounds import STRATA
from schemas.drift import BUDGET_OF, BUDGETS, Cause, DriftLevel, DriftRecord
from schemas.events import ReviewRevised, ReviewVersion
from schemas.policy import OTHER, Policy
from streams.engine.batch import EventBatch, Trait, VerdictKind
from streams.engine.drift import older
from streams.engine.drift.budgets import MONTH_SECONDS, Plan
from streams.engine.drift.cause import CAUSES, MAIN_SHARE, Contribution, contributions, largest, verdict
from streams.engine.drift.episodes import (
    TASKS,
    Closed,
    Episode,
    again,
    drift_id,
    level,
    record_of,
    related,
    reverse_test,
    shows_accuracy,
)
from streams.engine.drift.hold import Hold
from streams.engine.drift.incidents import Incidents, parent_of
from streams.engine.drift.labels import LABEL_SHARE, SIGNALS_OF_LABELS, Happened, LabelDrifts
from streams.engine.drift.names import FEW, MANY, NONE, SOME, Combinations, Names
from streams.engine.drift.outcomes import OutcomeStreams
from streams.engine.drift.recent import REVIEW, Groups, PackedRows, Recent, Waiting
from streams.engine.drift.river import RiverDrifts, RiverKey, Scene
from streams.engine.drift.stream import DAY_SECONDS, Call, Stream, first_places, stretches, watches_fall
from streams.engine.figures import Figures
from streams.engine.intake import Intake
from streams.engine.panes import HOUR_MS, Slot, Table
from streams.engine.parts import Numbers, Report
from streams.engine.parts.people import is_headline

#: A figure from before a change needs so many reviews; with fewer, the learned baseline speaks.
_LEAST_BEFORE = 30
#: Outcomes that a change is located in, where a ring has more.
_LOCATED_IN = 6_000
#: Reviews that are taken together at most, and so the memory that this needs: a hold may let many go at once.
_AT_ONCE = 32_768
#: Examples that a ring keeps of its newest errors.
_MISTAKES_KEPT = 256
_PREFIX = b"drift"
#: What causes are told by, and the bound of each table of names; what is beyond it is told as `other`.
_DIMENSIONS = {
    "agent": MANY,
    "reviewer": MANY,
    "project": FEW,
    "market": FEW,
    "sop_version": FEW,
    "label": FEW,
    "error_type": FEW,
    "stratum": FEW,
}
#: Those of them that a row holds as one number: of a kind of review, and of what it says beside it.
_KIND, _TRAIT = ("project", "market", "sop_version"), ("label", "stratum", "error_type")
_UNKNOWN = -2
#: Of reviews whose streams are not held to strata.
_PLAIN = -1
#: A stratum below this share of the work since a change needs no counterpart before it.
_LEAST_SHARE = 0.05


class _Here(NamedTuple):
    """Reviews on their way to their rings: of each the ring, the position in the batch, and the row."""

    rings: Ints
    positions: Ints
    rows: PackedRows


class _Seen(NamedTuple):
    """The newest reviews of a stream's scope as of a place in the log, newest first.

    Attributes:
        rows: Reviews, none from before the stream's last drift was cleared.
        earlier: Those from before that drift began, too.
        numbers: Their numbers in the ring.
        is_cut: Whether there were older reviews in the ring.
    """

    rows: PackedRows
    earlier: PackedRows
    numbers: Ints
    is_cut: bool


class _Change(NamedTuple):
    """What is known of a change as it is found."""

    began_at: int
    began_at_low: int
    began_at_high: int
    began_earlier: bool
    before: DriftLevel
    n: int
    wrong: int
    estimate: Estimate


#: How often drifts have opened: ours by stream, and river's.
Opened = tuple[dict[Stream, int], dict[RiverKey, int]]


class _Header(msgspec.Struct):
    """What the part keeps beside its columns."""

    day: int
    unwatched: int
    rings: list[tuple[str, str, int]]
    episodes: list[tuple[Stream, Episode]]
    closed: list[tuple[Stream, Closed]]
    opened: list[tuple[Stream, int]]
    #: Absent before a site with one project had one stream.
    projects: list[tuple[str, str]] = []


class DriftPart:
    """Watches accuracy of sites, projects, people and reviewers, review by review.

    Args:
        policy: Budgets, targets, which signals are watched.
        partitions: Of the events topic: each has its share of the budgets.
    """

    def __init__(self, policy: Policy, partitions: int = 1) -> None:
        self.tables: Sequence[Table] = ()
        self._policy = policy
        self._watched = frozenset(policy.detection.signals)
        oncall = policy.oncall
        false_a_month = dict(zip(BUDGETS, (oncall.false_pages_per_month, oncall.false_tickets_per_month), strict=True))
        self._watches_reviews = bool(self._watched - SIGNALS_OF_LABELS)
        self._labels = LabelDrifts(policy, partitions)
        #: By place in the list of the streams of sites.
        self._labels_of_sites: list[tuple[str, ...]] = []
        self._hold = Hold(int(policy.detection.hold_hours * HOUR_MS), policy.limits.removed_sites)
        self._river = RiverDrifts(policy)
        if self._labels.watches:
            false_a_month["ticket"] *= 1 - LABEL_SHARE
        self._streams = OutcomeStreams(
            {budget: allowed / partitions for budget, allowed in false_a_month.items()},
            BUDGET_OF,
            self._target_error,
        )
        self._names = {by: Names(b"%s|%s" % (_PREFIX, by.encode()), most) for by, most in _DIMENSIONS.items()}
        self._of_kind = Combinations(_PREFIX + b"|kind", SOME, {by: self._names[by] for by in _KIND})
        self._of_trait = Combinations(_PREFIX + b"|trait", MANY, {by: self._names[by] for by in _TRAIT})
        self._numbered: tuple[Names | Combinations, ...] = (*self._names.values(), self._of_kind, self._of_trait)
        self._rings: list[Recent] = []
        self._ring_numbers: dict[tuple[str, str], int] = {}
        #: By ring, of its newest reviews that found an error: its number in the ring, and its task.
        self._mistakes: list[deque[tuple[int, str]]] = []
        self._mistaken: set[int] = set()
        self._waiting = Waiting()
        #: By place among the reviews that wait, the task of one that found an error.
        self._tasks_waiting: dict[int, str] = {}
        #: Of the segment at hand.
        self._here = _Here(np.zeros(0, np.int64), np.zeros(0, np.int64), REVIEW.blank())
        #: By stratum as streams count it, and by ring, its name's number, `_UNKNOWN` for one that has not come; in the
        #: order in which they came, shape (STRATA, rings). Work without one is one of them.
        self._strata = np.full((STRATA, 0), _UNKNOWN)
        self._strata_changed: set[int] = set()
        self._episodes: dict[int, Episode] = {}
        self._tests: dict[int, ReverseTest] = {}
        self._closed: dict[int, Closed] = {}
        #: What belongs to what, as of the end of the segment before; and drifts that have opened since.
        self._incidents = Incidents()
        self._new: dict[tuple[str, int], Episode] = {}
        #: By site its only project so far; empty once there are several. One project's stream would be the site's.
        self._projects: dict[str, str] = {}
        self._opened: dict[Stream, int] = {}
        self._committed: dict[Stream, int] = {}
        self._records: list[tuple[bytes, bytes]] = []
        self._reported: list[tuple[int, Stream, DriftRecord]] = []
        #: By position in the batch: a review's id and time, and its task where it found an error.
        self._ids: Sequence[str] = ()
        self._at = np.zeros(0, np.int64)
        self._tasks: Mapping[int, str] = {}
        #: By position in the batch, when a review counts, ms: its own time, or when its label was old enough.
        self._clock = np.zeros(0, np.int64)
        self._sops: Sequence[tuple[str, str, str]] = ()
        self._changed = False
        self._day = -1
        self.pages_pending = False

        # Of sites beyond the limits nothing is watched: what they do together changes with who is among them.
        self._headline: Numbers[VerdictKind] = Numbers(lambda kind: kind.site != OTHER and is_headline(kind, policy))
        self._agents_work: Numbers[VerdictKind] = Numbers(lambda kind: kind.role != "qa")
        #: Whose numbers index the next.
        self._kinds: Sequence[VerdictKind] = ()
        #: By kind of review: its ring, and its streams by site, against the target, by project, of errors found.
        self._by_kind = _table(5)
        #: Whose numbers index this and the next.
        self._persons: Sequence[tuple[str, str, str]] = ()
        self._by_person = _table(1)
        #: A reviewer's streams of errors found, for a rise and for a fall.
        self._by_reviewer = _table(2)
        self._combined: Numbers[VerdictKind] = Numbers(
            lambda kind: self._of_kind.number(
                kind.project, kind.market, self._sops[kind.sop][2] if kind.sop >= 0 else None
            )
        )
        self._agents: Numbers[tuple[str, str, str]] = Numbers(lambda person: self._names["agent"].number(person[2]))
        self._reviewers: Numbers[tuple[str, str]] = Numbers(lambda made: self._names["reviewer"].number(made[1]))
        self._traits: Numbers[Trait] = Numbers(lambda trait: self._of_trait.number(*trait))
        self._strata_named: Numbers[Trait] = Numbers(lambda trait: self._names["stratum"].number(trait.stratum))

    # --- which streams there are

    def _target_error(self, stream: Stream) -> float | None:
        if stream.signal != "accuracy_target":
            return None
        return 1.0 - self._policy.resolve(site=stream.site).accuracy

    def _stream(self, signal: str, site: str, project: str = "", agent: str = "", direction: str = "down") -> int:
        if signal not in self._watched:
            return -1
        return self._streams.number(Stream(site, project, agent, signal, direction))

    def _ring(self, site: str, role: str) -> int:
        key = (site, role)
        if key not in self._ring_numbers:
            self._ring_numbers[key] = len(self._rings)
            self._rings.append(Recent(b"%s|recent|%d" % (_PREFIX, len(self._rings)), REVIEW))
            self._mistakes.append(deque(maxlen=_MISTAKES_KEPT))
        return self._ring_numbers[key]

    def _sync(self, intake: Intake) -> None:
        """Gives whatever the intake has a number for a row."""
        if intake.persons is not self._persons:  # the intake has begun to number names anew
            self._persons, self._by_person, self._by_reviewer = intake.persons, _table(1), _table(2)
        if intake.verdicts is not self._kinds:
            self._kinds, self._by_kind = intake.verdicts, _table(5)
        self._by_kind = _longer(self._by_kind, len(intake.verdicts))
        self._by_person = _longer(self._by_person, len(intake.persons))
        self._by_reviewer = _longer(self._by_reviewer, len(intake.reviewers))

    def _second_projects(self, kinds: Ints, intake: Intake) -> list[int]:
        """Places at which a site's second project is reviewed for the first time: there its projects' streams begin."""
        only: dict[str, str] = {}
        places = []
        for place in first_places(kinds, np.flatnonzero(self._by_kind[:, 0].take(kinds) == _UNKNOWN)):
            kind = intake.verdicts[int(kinds[place])]
            if kind.role == "qa":
                continue
            project = _watched_project(kind)
            known = only.get(kind.site, self._projects.get(kind.site, project))
            only[kind.site] = known
            if known not in ("", project):
                only[kind.site] = ""
                places.append(place)
        return places

    def _second_strata(self, kinds: Ints, named: Ints, intake: Intake) -> list[int]:
        """Places at which a site's work shows a second stratum: from there on its streams are held to their strata.

        Args:
            kinds: Of reviews.
            named: Number of the name of each one's stratum.
            intake: Has the kinds.
        """
        self._grow_strata()
        rings = self._by_kind[:, 0].take(kinds)
        unmet, known = rings < 0, rings >= 0
        unmet[known] = self._counted_strata(rings[known], named[known]) == _UNKNOWN
        (new,) = np.nonzero(unmet)
        if not len(new):
            return []
        found: dict[tuple[str, str], list[int]] = {}
        places = []
        for place in first_places(kinds * len(self._names["stratum"]) + named, new):
            kind, name = intake.verdicts[int(kinds[place])], int(named[place])
            key = (kind.site, kind.role)
            names = found.setdefault(key, self._strata_names(self._ring_numbers.get(key, -1)))
            if len(names) < 2 and name not in names:
                names.append(name)
                if len(names) == 2:
                    places.append(place)
        return places

    def _strata_here(self, rings: Ints, named: Ints) -> Ints | None:
        """The stratum of each review as `Call.strata` has it; a name that is new to its site gets the next one."""
        self._grow_strata()
        strata = self._counted_strata(rings, named)
        new = np.flatnonzero(strata == _UNKNOWN)
        if len(new):
            for place in first_places(rings * len(self._names["stratum"]) + named, new):
                ring, count = int(rings[place]), len(self._strata_names(int(rings[place])))
                if count < STRATA:
                    self._strata[count, ring] = named[place]
                    self._strata_changed.add(ring)
            strata = self._counted_strata(rings, named)
        # With one only, streams need no more than their own columns.
        held = self._strata[1].take(rings) != _UNKNOWN
        return np.where(held, strata, _PLAIN) if held.any() else None

    def _counted_strata(self, rings: Ints, named: Ints) -> Ints:
        """The stratum of each review as streams count it, `_UNKNOWN` where its name is new to a ring that has room."""
        # Once a ring has `STRATA` of them, all others share the last one.
        strata: Ints = np.where(self._strata[-1].take(rings) == _UNKNOWN, _UNKNOWN, STRATA - 1)
        for stratum, names in enumerate(self._strata):
            if not (names != _UNKNOWN).any():
                break
            np.putmask(strata, names.take(rings) == named, stratum)
        return strata

    def _strata_names(self, ring: int) -> list[int]:
        """The names' numbers of a ring's strata, in the order in which they came; none of a ring that is not there."""
        return [] if ring < 0 else [name for name in self._strata[:, ring].tolist() if name != _UNKNOWN]

    def _grow_strata(self) -> None:
        """Gives new rings room in the table of strata."""
        more = len(self._rings) - self._strata.shape[1]
        if more:
            self._strata = np.append(self._strata, np.full((STRATA, more), _UNKNOWN), axis=1)

    def _meet(self, kinds: Ints, persons: Ints, reviewers: Ints, intake: Intake) -> None:
        """Makes streams for what is reviewed for the first time, in the order of the log."""
        made = np.flatnonzero(reviewers >= 0)
        new = {
            *first_places(kinds, np.flatnonzero(self._by_kind[:, 0].take(kinds) == _UNKNOWN)),
            *first_places(persons, np.flatnonzero(self._by_person[:, 0].take(persons) == _UNKNOWN)),
            *first_places(reviewers, made[self._by_reviewer[:, 0].take(reviewers[made]) == _UNKNOWN]),
        }
        for place in sorted(new):
            of = intake.verdicts[int(kinds[place])]
            person, reviewer = int(persons[place]), int(reviewers[place])
            if self._by_kind[kinds[place], 0] == _UNKNOWN:
                self._by_kind[kinds[place]] = self._kind_streams(of)
            if self._by_person[person, 0] == _UNKNOWN:
                site, role, agent = intake.persons[person]
                signal = "qa_accuracy" if role == "qa" else "agent_accuracy"
                self._by_person[person] = self._stream(signal, site, agent=agent)
            if reviewer >= 0 and self._by_reviewer[reviewer, 0] == _UNKNOWN:
                site, name = intake.reviewers[reviewer]
                self._by_reviewer[reviewer] = [
                    self._stream("error_finding", site, agent=name, direction=direction) for direction in ("up", "down")
                ]

    def _kind_streams(self, kind: VerdictKind) -> tuple[int, int, int, int, int]:
        ring = self._ring(kind.site, kind.role)
        if kind.role == "qa":
            return ring, self._stream("qa_accuracy", kind.site), -1, -1, -1
        return (
            ring,
            self._stream("accuracy", kind.site),
            self._stream("accuracy_target", kind.site),
            self._project_stream(kind),
            self._stream("error_finding", kind.site),
        )

    def _project_stream(self, kind: VerdictKind) -> int:
        """The stream of a kind's project: none as long as it is the site's only one, whose outcomes are the site's.

        Projects beyond the limits are part of the site's outcomes, and have no stream.
        """
        project = _watched_project(kind)
        only = self._projects.setdefault(kind.site, project)
        if only == project:
            return -1
        if only:
            self._projects[kind.site] = ""
            self._changed = True
            first, of_site = self._stream("accuracy", kind.site, only), self._stream("accuracy", kind.site)
            if first >= 0 <= of_site:
                self._streams.copy(first, of_site, restart=of_site in self._episodes)
            for number, known in enumerate(self._kinds):
                is_of_first = (known.site, _watched_project(known)) == (kind.site, only) and known.role != "qa"
                if is_of_first and self._by_kind[number, 0] != _UNKNOWN:
                    self._by_kind[number, 3] = first
        return self._stream("accuracy", kind.site, project) if project else -1

    # --- reviews

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Takes the labels of a batch, in order, and its reviews, in order: no stream has both."""
        batch = self._hold.take(batch, intake)
        self._labels.apply(batch, intake)
        for happened in self._labels.happened:
            self._opened_or_cleared(happened)
        self._labels.happened.clear()
        if not self._watches_reviews:
            return
        self._sops = intake.sops
        for numbers in (self._headline, self._agents_work, self._combined):
            numbers.sync(intake.verdicts)
        self._agents.sync(intake.persons)
        self._reviewers.sync(intake.reviewers)
        self._traits.sync(intake.traits)
        self._strata_named.sync(intake.traits)
        if not (len(batch.reviews.at) or batch.revised):
            return
        persons, kinds, at, correct, traits, reviewers = batch.reviews
        self._ids, self._tasks, self._at = batch.ids, batch.mistakes, at
        self._clock = at if batch.clock_ms is None else batch.clock_ms
        positions = np.flatnonzero(self._headline.of(kinds) > 0)
        rows = self._rows(traits, reviewers, persons, kinds, at, correct)
        if len(positions) < len(rows):
            rows = rows.take(positions, axis=0)
        revised = batch.revised
        self._sync(intake)
        named = self._strata_named.of(traits.take(positions))
        seconds = self._second_projects(kinds.take(positions), intake)
        seconds += self._second_strata(kinds.take(positions), named, intake)
        for start, stop, day in self._cuts(self._clock.take(positions), positions, revised, seconds):
            while revised and revised[0][0] <= positions[start]:
                self._revise(revised[0][1])
                revised = revised[1:]
            if day > self._day:
                days = day - self._day if self._day >= 0 else 1
                self._day = day
                kept = self._episodes.keys() | self._river.open_numbers()
                for number in self._streams.next_day(day * DAY_SECONDS, days, kept):
                    self._by_person[:] = self._by_reviewer[:] = _UNKNOWN
                    self._closed.pop(number, None)
                    self._river.forget(number)
                for stream in self._incidents.left():
                    self._end_with_parent(stream, int(positions[start]))
                self._changed = True
            here = positions[start:stop]
            self._segment(
                here,
                rows[start:stop],
                named[start:stop],
                kinds.take(here),
                persons.take(here),
                reviewers.take(here),
                intake,
            )
        for _, event in revised:
            self._revise(event)
        self._report()
        # Not with the next batch, whose events could have had their memory.
        self._ids, self._tasks = (), {}

    @property
    def holds(self) -> bool:
        """Whether it wants the events of reviews, to hold them."""
        return self._hold.holds

    def _opened_or_cleared(self, happened: Happened) -> None:
        _, stream, status, episode, at_ms = happened
        if status == "opened":
            self._opened[stream] = self._opened.get(stream, 0) + 1
        self._changed = True
        self._put(record_of(stream, episode, status, at_ms, self._policy))

    def _cuts(
        self, at_ms: Ints, positions: Ints, revised: Sequence[tuple[int, ReviewRevised]], seconds: Sequence[int]
    ) -> Iterator[tuple[int, int, int]]:
        """Stretches of reviews between which something else happens: a new day, a revision, a second project ..."""
        cuts = {*seconds, *(int(np.searchsorted(positions, place)) for place, _ in revised)}
        for start, stop, day in stretches(at_ms, self._day):
            begins = sorted({*range(start, stop, _AT_ONCE), *(place for place in cuts if start < place < stop)})
            for begin, end in zip(begins, [*begins[1:], stop], strict=True):
                yield begin, end, day

    def _rows(self, traits: Ints, reviewers: Ints, persons: Ints, kinds: Ints, at: Ints, correct: Ints) -> PackedRows:
        """The ring's rows of reviews."""
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

    def _segment(
        self,
        positions: Ints,
        rows: PackedRows,
        named: Ints,
        kinds: Ints,
        persons: Ints,
        reviewers: Ints,
        intake: Intake,
    ) -> None:
        # Who checks reviewers is no reviewer of work.
        reviewers = np.where(self._agents_work.of(kinds) > 0, reviewers, -1)
        self._meet(kinds, persons, reviewers, intake)
        rings, by_site, by_target, by_project, by_finding = self._by_kind.take(kinds, axis=0).T
        self._here = _Here(rings, positions, rows)
        at_s, wrong = self._clock.take(positions) // 1000, REVIEW.of(rows, "wrong") > 0
        made = np.flatnonzero(reviewers >= 0)
        # Streams that share their outcomes are put together once. 0 stands for no stream.
        of_sites, of_projects, of_persons = Groups.of(rings), Groups.of(by_project + 1), Groups.of(persons)
        of_finding = of_sites if len(made) == len(rings) else Groups.of(rings.take(made), made)
        of_reviewers = Groups.of(reviewers.take(made), made)
        found_more, found_fewer = self._by_reviewer.take(reviewers.take(of_reviewers.firsts), axis=0).T
        call = Call.of(
            positions,
            at_s,
            rising=(
                (of_sites, by_site.take(of_sites.firsts)),
                (of_sites, by_target.take(of_sites.firsts)),
                (of_projects, by_project.take(of_projects.firsts)),
                (of_persons, self._by_person[persons.take(of_persons.firsts), 0]),
                (of_reviewers, found_more),
            ),
            falling=((of_finding, by_finding.take(of_finding.firsts)), (of_reviewers, found_fewer)),
            strata=self._strata_here(rings, named),
        )
        self._streams.begin(call, self._day * DAY_SECONDS)
        reported = len(self._reported)
        self._feed(call, wrong)
        if len(self._reported) > reported:
            self._relate(reported)
        if self._river.watches:
            scene = Scene(
                key=self._key,
                seen=lambda *of: self._seen(*of).rows,
                explain=self._explain,
                temper=self._streams.temper,
                ids=self._ids,
                clock=self._clock,
            )
            self._reported += self._river.take(call, wrong, scene)
        self._remember(np.flatnonzero(wrong))

    def _remember(self, wrong: Ints) -> None:
        """Lets the reviews of the segment wait for their rings; `wrong` are the places of those that found an error."""
        rings, positions, rows = self._here
        tasks, before = self._tasks, self._waiting.count
        found = zip((wrong + before).tolist(), map(tasks.__getitem__, positions[wrong].tolist()), strict=True)
        self._tasks_waiting.update(found)
        self._waiting.add(rings, rows)
        if self._waiting.is_full:
            self._settle()

    def _settle(self) -> None:
        """Puts the reviews that wait into their rings, and the errors among them beside these."""
        tasks, self._tasks_waiting = self._tasks_waiting, {}
        for ring, places, rows in self._waiting.taken():
            recent = self._rings[ring]
            wrong = np.flatnonzero(REVIEW.of(rows, "wrong"))[-_MISTAKES_KEPT:]
            if len(wrong):
                found = map(tasks.__getitem__, places[wrong].tolist())
                self._mistakes[ring].extend(zip((wrong + recent.count).tolist(), found, strict=True))
                self._mistaken.add(ring)
            recent.add(rows)

    def _feed(self, call: Call, wrong: NDArray[np.bool_]) -> None:
        evaluations = self._streams.take(call, wrong)
        if self._episodes:
            evaluations = evaluations.of(~np.isin(evaluations.stream, list(self._episodes)))
        crossings = self._streams.evaluate(evaluations)
        for crossing in crossings:
            self._open(*crossing)
        follow_from = {crossing.stream: crossing.position for crossing in crossings}
        for stream in sorted(self._episodes.keys() & call.touched.tolist()) if self._episodes else ():
            self._follow(stream, follow_from.get(stream, -1), call, wrong)

    def _follow(self, stream: int, after: int, call: Call, wrong: NDArray[np.bool_]) -> None:
        """Takes a stream's outcomes while a drift is open, and one by one for the rest of the segment."""
        mine = call.of_stream(stream, after)
        positions, bad = call.positions.take(mine).tolist(), wrong.take(mine).tolist()
        seconds = call.at_s.take(mine).tolist()
        falls = watches_fall(self._key(stream))
        has_strata = self._streams.holds_strata(stream)
        strata = [0] * len(bad) if call.strata is None or not has_strata else call.strata.take(mine).tolist()
        passed = [0] * STRATA
        nth = since = 0
        while nth < len(bad):
            if stream in self._episodes:
                nth += self._continue(stream, positions, bad, nth, strata if has_strata else None)
                since, passed = 0, [0] * STRATA
                continue
            passed[strata[nth]] += not bad[nth]
            if bad[nth] or (falls and since == EVALUATE_EVERY - 1):
                left, second = len(bad) - nth - 1, seconds[nth]
                if falls:
                    statistic = self._streams.fall(stream, since, bad[nth], passed, strata[nth] if bad[nth] else -1)
                else:
                    statistic = self._streams.advance(stream, since, second, passed, strata[nth])
                since, passed = 0, [0] * STRATA
                run_length = self._streams.run_length(stream, left, second, positions[nth])
                if statistic >= run_length:
                    volume = self._streams.volume(stream, left, second)
                    self._open(stream, positions[nth], statistic, run_length, volume)
            else:
                since += 1
            nth += 1
        self._streams.set_gap(stream, since, passed)

    # --- episodes

    def _relate(self, first: int) -> None:
        """Says what belongs to what of the drifts told from a place on, in the order of the log."""
        # Of those at one review, the site's comes first: it holds the others.
        reported = sorted(self._reported[first:], key=lambda each: (each[0], parent_of(each[1]) is not None, each[1]))
        for place, (position, stream, record) in enumerate(reported):
            if record.status == "opened":
                episode = self._new.pop((record.drift_id, record.opening))
                self._incidents.open(stream, episode, episode.incident_id or episode.drift_id)
                within = self._incidents.within(episode) if episode.children else ()
            else:
                episode, within = self._incidents.end(stream), ()
            reported[place] = position, stream, related(record, episode, within, self._policy)
        self._reported[first:] = reported

    def _end_with_parent(self, stream: Stream, position: int) -> None:
        """Ends a drift whose parent is over: who has not recovered is found again, and stands alone then."""
        number, episode = self._streams.number(stream), self._incidents.end(stream)
        at = max(self._day * DAY_SECONDS * 1000, episode.opened_at)
        record = record_of(stream, episode, "cleared", at, self._policy, with_parent=True)
        self._reported.append((position, stream, record))
        self._end(number, at)

    def _end(self, number: int, at: int) -> None:
        """Forgets a drift but for its name, and starts the stream's test afresh."""
        episode = self._episodes.pop(number)
        del self._tests[number]
        self._closed[number] = Closed(episode.drift_id, episode.opening, at, episode.began_at)
        self._streams.restart(number)

    def _key(self, number: int) -> Stream:
        stream = self._streams.keys[number]
        assert stream is not None  # an idle stream is forgotten only without a drift open
        return stream

    def _open(self, number: int, position: int, statistic: float, run_length: float, volume: float) -> None:
        stream, at = self._key(number), int(self._clock[position])
        closed = self._closed.pop(number, None)
        change = self._locate(number, stream, position, int(self._at[position]), closed)
        same = again(closed, at)
        episode = Episode(
            drift_id=same.drift_id if same else drift_id(stream, self._ids[position]),
            opening=same.opening + 1 if same else 1,
            opened_at=at,
            # Events may be out of order; a drift begins before it is found.
            began_at=(began := min(change.began_at, at)),
            began_at_low=min(change.began_at_low, began),
            began_at_high=max(change.began_at_high, began),
            began_earlier=change.began_earlier,
            before=change.before,
            n=change.n,
            wrong=change.wrong,
            estimate=self._shown(stream, change.estimate.new_rate),
            evidence=statistic / run_length,
            run_length=run_length,
            test=b"",
            verdict="unknown",
            volume=volume,
        )
        self._explain(stream, episode, position, closed)
        self._episodes[number] = episode
        self._tests[number] = reverse_test(
            stream,
            # Of the very strata that the drift has shown so far.
            change.estimate.old_rate if self._streams.holds_strata(number) else self._streams.baseline(number),
            change.n,
            change.wrong,
            self._streams.temper(number),
        )
        self._new[episode.drift_id, episode.opening] = episode
        self._opened[stream] = self._opened.get(stream, 0) + 1
        self._changed = True
        self.pages_pending |= BUDGET_OF[stream.signal] == "page"
        self._reported.append((position, stream, record_of(stream, episode, "opened", at, self._policy)))

    def _continue(
        self, number: int, positions: list[int], bad: list[bool], start: int, strata: Sequence[int] | None
    ) -> int:
        """Takes outcomes of a stream with a drift open, up to the one that clears it; returns how many.

        Args:
            number: Of the stream.
            positions: Of its outcomes, in the batch.
            bad: Whether each is an error.
            start: The first that is taken.
            strata: Of each its stratum, where the stream is held to them.
        """
        episode, test, stream = self._episodes[number], self._tests[number], self._key(number)
        left = bad[start:] if start else bad
        falls = watches_fall(stream)
        outcomes = [not each for each in left] if falls else left
        if strata is None:
            taken = test.update_many(outcomes)
        else:
            rates = self._streams.rates(number, 1.0 - test.p0 if falls else test.p0)
            usual = (1.0 - rates if falls else rates).tolist()
            taken = test.update_strata(outcomes, [usual[stratum] for stratum in strata[start:]])
        episode.n += taken
        episode.wrong += sum(left[:taken])
        self._changed = True
        if test.cleared:
            position = positions[start + taken - 1]
            # The review may be an old one that comes late; a drift ends after it was found.
            at = max(int(self._clock[position]), episode.opened_at)
            self._reported.append((position, stream, record_of(stream, episode, "cleared", at, self._policy)))
            self._end(number, at)
        return taken

    @staticmethod
    def _shown(stream: Stream, error_rate: float) -> float:
        return 1.0 - error_rate if shows_accuracy(stream) else error_rate

    def _seen(self, stream: Stream, position: int, closed: Closed | None) -> _Seen:
        """The reviews of a stream's scope up to a position."""
        role = "qa" if stream.signal == "qa_accuracy" else "agent"
        ring = self._ring_numbers[stream.site, role]
        self._settle()
        mine = self._up_to(position, ring)
        rows = self._rings[ring].newest(self._here.rows.take(mine, axis=0))
        end = self._rings[ring].count + len(mine)
        chosen = np.ones(len(rows), bool)
        if stream.project:
            projects = self._of_kind.columns(REVIEW.of(rows, "kind"))["project"]
            chosen &= projects == self._names["project"].find(stream.project)
        if stream.signal == "error_finding":
            found = REVIEW.of(rows, "reviewer")
            chosen &= found == self._names["reviewer"].find(stream.agent) if stream.agent else found != NONE
        elif stream.agent:
            chosen &= REVIEW.of(rows, "agent") == self._names["agent"].find(stream.agent)
        numbers = np.flatnonzero(chosen)[::-1]
        newest_first = rows[numbers]
        later = np.ones(len(newest_first), bool)
        if closed is not None:
            at = REVIEW.of(newest_first, "at")
            # What lies within the drift before is neither this change nor what is usual.
            usual = (at > closed.cleared_at) | (at < closed.began_at)
            newest_first, numbers, later = newest_first[usual], numbers[usual], at[usual] > closed.cleared_at
        return _Seen(newest_first[later], newest_first, numbers + (end - len(rows)), end > len(rows))

    def _up_to(self, position: int, ring: int) -> Ints:
        """Places of a ring's reviews within the segment, up to a position in the batch."""
        return np.flatnonzero((self._here.rings == ring) & (self._here.positions <= position))

    def _locate(self, number: int, stream: Stream, position: int, at: int, closed: Closed | None) -> _Change:
        """When the change began and what the figure was before; what was learned of it is unlearned."""
        seen = self._seen(stream, position, closed)
        wrong = REVIEW.of(seen.rows[:_LOCATED_IN], "wrong").astype(np.uint8)
        gaps, times = self._streams.outcomes(number)
        remembered = from_gaps(0, gaps)
        from_ring = len(wrong) >= min(len(remembered), _LOCATED_IN)
        outcomes = wrong if from_ring else np.array(remembered, np.uint8)
        temper = self._streams.temper(number)
        # Of errors that are remembered beyond the ring it is not known of which stratum they were; and there may be no
        # review since the last drift was over, where old ones come late.
        strata = None
        if from_ring and len(wrong) and self._streams.holds_strata(number):
            strata = self._strata_of(stream, seen.rows[: len(wrong)])

        def estimate() -> Estimate:
            usual = self._streams.baseline(number)
            rates = usual if strata is None else self._streams.rates(number, usual).take(strata)
            p0 = np.clip(rates, 1e-4, 1 - 1e-4) if strata is not None else min(max(usual, 1e-4), 1 - 1e-4)
            return (
                locate_fall(outcomes, p0, temper)
                if watches_fall(stream)
                else locate_change(outcomes, p0, SHIFTS, temper)
            )

        first = estimate()
        errors = int(outcomes[: first.began_ago].sum())
        by_stratum = None
        if strata is not None:
            of_change, failed = strata[: first.began_ago], outcomes[: first.began_ago] > 0
            by_stratum = np.stack([np.bincount(of_change[each], minlength=STRATA) for each in (failed, ~failed)])
        self._streams.unlearn(number, errors, first.began_ago - errors, by_stratum)
        found = estimate()
        n, errors = found.began_ago, int(outcomes[: found.began_ago].sum())
        if from_ring:
            when = REVIEW.of(seen.rows, "at")
        else:
            # Errors' times are known; those of correct outcomes lie between them.
            ago = np.cumsum([1, *(gap + 1 for gap in gaps[:-1])])
            when = np.interp(np.arange(1, len(outcomes) + 1), ago, np.array(times) * 1000.0).astype(np.int64)
        began, low, high = (
            int(when[min(back, len(when)) - 1]) if back and len(when) else at
            for back in (found.began_ago, found.began_ago_high, found.began_ago_low)
        )
        earlier = seen.earlier[n:]
        if strata is not None:
            earlier = self._like_for_like(stream, seen.earlier[:n], earlier)
        earlier = REVIEW.of(earlier, "wrong")
        before = level(stream, float(earlier.sum()), len(earlier), at_least=seen.is_cut)
        falls = watches_fall(stream)
        # Where the ring holds too little of before, or another time than the baseline was learned in, this one speaks.
        if (
            not from_ring
            or len(earlier) < _LEAST_BEFORE
            or (self._target_error(stream) is None and (earlier.mean() * n > errors) != falls)
        ):
            baseline = self._streams.baseline(number) if strata is None else found.old_rate
            before = DriftLevel(self._shown(stream, baseline), self._streams.known(number))
        earliest = 0 < len(outcomes) <= found.began_ago_high
        return _Change(began, low, high, earliest, before, n, errors, found)

    def _strata_of(self, stream: Stream, rows: PackedRows) -> Ints:
        """The strata of reviews as their site's streams count them; what came before these counts as the first."""
        ring = self._ring_numbers[stream.site, "qa" if stream.signal == "qa_accuracy" else "agent"]
        names = self._of_trait.columns(REVIEW.of(rows, "trait"))["stratum"]
        self._grow_strata()
        strata: Ints = np.maximum(self._counted_strata(np.full(len(names), ring), names), 0)
        return strata

    def _like_for_like(self, stream: Stream, since: PackedRows, before: PackedRows) -> PackedRows:
        """Of reviews before a change, newest first, as many as have strata in the shares that these have since."""
        strata = self._strata_of(stream, before)
        shares = np.bincount(self._strata_of(stream, since), minlength=STRATA) / max(len(since), 1)
        there = np.bincount(strata, minlength=STRATA)
        counted = shares >= _LEAST_SHARE
        if not counted.any():
            return before[:0]
        most = (shares * (there[counted] / shares[counted]).min()).astype(np.int64)
        kept = np.zeros(len(before), bool)
        for stratum, many in enumerate(most.tolist()):
            kept[np.flatnonzero(strata == stratum)[:many]] = True
        return before[kept]

    def _explain(self, stream: Stream, episode: Episode, position: int, closed: Closed | None) -> None:
        """Puts causes and examples into an episode."""
        seen = self._seen(stream, position, closed)
        since, before = seen.earlier[: episode.n], seen.earlier[episode.n :]
        number = self._streams.find(stream)
        if len(before) != episode.before.n and number is not None and self._streams.holds_strata(number):
            before = self._like_for_like(stream, since, before)
        # Parts are of the change that is shown: they need the very reviews of its figures.
        if len(since) == episode.n > 0 and len(before) == episode.before.n >= _LEAST_BEFORE:
            columns_before, columns_since = self._columns(before), self._columns(since)
            for each, rows in ((columns_before, before), (columns_since, since)):
                # A review that was revised to correct, or that older builds took a remark of, has no error.
                each["error_type"] = np.where(REVIEW.of(rows, "wrong") > 0, each["error_type"], NONE)
            columns = {by: (columns_before[by], columns_since[by]) for by in _DIMENSIONS}
            y_before, y_since = (REVIEW.of(each, "wrong").astype(np.float64) for each in (before, since))
            parts = contributions(columns, y_before, y_since, "error_type", NONE)
            change = float(y_since.mean() - y_before.mean())
            episode.verdict = verdict(parts, change)
            reported = largest(parts, change, CAUSES)
            episode.causes = tuple(self._cause(stream, part) for part in reported)
            for part in reported:
                # The same at every site, whichever worker has it: one incident.
                if part.by == "sop_version" and not part.known and part.points / change >= MAIN_SHARE:
                    projects = columns_since["project"][columns_since["sop_version"] == part.member]
                    if len(projects):
                        project = self._names["project"][int(np.bincount(projects).argmax())]
                        episode.incident_id = f"sop:{project}/{self._names['sop_version'][part.member]}"
                        break
        numbers = set(seen.numbers[: episode.n].tolist())
        role = "qa" if stream.signal == "qa_accuracy" else "agent"
        ring = self._ring_numbers[stream.site, role]
        mine, count = self._up_to(position, ring), self._rings[ring].count
        wrong = np.flatnonzero(REVIEW.of(self._here.rows.take(mine, axis=0), "wrong"))
        here = map(self._tasks.__getitem__, self._here.positions.take(mine[wrong]).tolist())
        mistakes = [*self._mistakes[ring], *zip((wrong + count).tolist(), here, strict=True)]
        tasks = [task for number, task in reversed(mistakes[-_MISTAKES_KEPT:]) if number in numbers]
        episode.task_ids = tuple(dict.fromkeys(tasks))[:TASKS]

    def _columns(self, rows: PackedRows) -> dict[str, Ints]:
        """What rows say, by dimension."""
        of_people = {by: REVIEW.of(rows, by) for by in ("agent", "reviewer")}
        kinds, traits = REVIEW.of(rows, "kind"), REVIEW.of(rows, "trait")
        return of_people | self._of_kind.columns(kinds) | self._of_trait.columns(traits)

    def _cause(self, stream: Stream, part: Contribution) -> Cause:
        points = -part.points if shows_accuracy(stream) else part.points
        return Cause(part.by, self._names[part.by][part.member], part.effect, points)  # type: ignore[arg-type]  # of _DIMENSIONS

    def _revise(self, event: ReviewRevised) -> None:
        """Moves the figures of open drifts that hold the review, and the review in its ring.

        What a statistic has made of the first verdict stays: it cannot be taken back, and the
        promise is about first verdicts.
        """
        old, new = _error_of(event.old), _error_of(event.new)
        ring = self._ring_numbers.get((event.site_id, "qa" if event.role == "qa" else "agent"))
        if ring is None or old is None:
            return
        agent = self._names["agent"].find(event.agent_id)
        self._settle()
        if old != bool(new):
            self._rings[ring].revise(event.reviewed_at, agent, old)
        both = [(self._key(number), episode) for number, episode in self._episodes.items()]
        for stream, episode in (*both, *self._river.episodes()):
            of_role = (stream.signal == "qa_accuracy") == (event.role == "qa")
            in_scope = stream.project in ("", event.project_id) and stream.agent in ("", event.agent_id)
            # Of a reviewer's work a revision does not say whose it was.
            if (
                of_role
                and in_scope
                and stream.site == event.site_id
                and not (stream.signal == "error_finding" and stream.agent)
                and event.reviewed_at >= episode.began_at
            ):
                episode.n -= new is None
                episode.wrong += (new or 0) - old
                self._changed = True
                self._river.revised()

    # --- records and figures

    def _report(self) -> None:
        """Puts what has happened in the batch into records, in the order of the log."""
        for _, stream, record in sorted(self._reported, key=lambda reported: (reported[0], reported[1])):
            self._put(self._river.agreed(stream, record) if self._river.watches else record)
        self._reported.clear()

    def _put(self, record: DriftRecord) -> None:
        self._records.append((record.site_id.encode(), msgspec.json.encode(record)))

    def records(self) -> list[tuple[bytes, bytes]]:
        """Records for `labeling.drift.v1` since the last call."""
        records, self._records = self._records, []
        self.pages_pending = False
        return records

    def restored(self) -> None:
        """Nothing is kept in tables."""

    def opened(self) -> Opened:
        """How often drifts have opened."""
        return dict(self._opened), self._river.opened()

    def committed(self, opened: Opened) -> None:
        """Shows counts, now that their checkpoint is acknowledged."""
        self._committed, of_river = opened
        self._river.committed(of_river)

    @property
    def notes(self) -> list[str]:
        """What an operator should know of a restore."""
        return self._river.notes

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Figures of open drifts and, for sites and projects, of every stream."""
        open_now = [(self._key(number), msgspec.structs.replace(each)) for number, each in self._episodes.items()]
        open_now += [(stream, msgspec.structs.replace(each)) for stream, each in self._labels.episodes.values()]
        of_sites = self._streams.of_sites()
        self._labels_of_sites.extend(_labels(stream) for _, stream in of_sites[len(self._labels_of_sites) :])
        places = [place for place, (number, _) in enumerate(of_sites) if number not in self._episodes]
        calm = [of_sites[place] for place in places]
        run_lengths = np.array(self._streams.run_lengths_now([number for number, _ in calm]), np.float64)
        statistics = np.array(self._streams.evidences([number for number, _ in calm]), np.float64)
        baselines = [self._shown(stream, self._streams.shown_baseline(number)) for number, stream in calm]
        cleared = [self._key(number) for number in self._closed if number not in self._episodes]
        counts = dict(self._committed)
        unwatched, held = self._streams.unwatched, len(self._hold)
        report_river = self._river.read()

        def report(figures: Figures) -> None:
            for stream in cleared:
                if stream.agent:
                    figures.add("labelwatch_drift_active", _labels(stream), 0)
            for name, values in (
                ("drift_active", np.zeros(len(calm), np.int64)),
                ("drift_evidence", np.minimum(statistics / run_lengths, 1e6)),
                ("drift_run_length_reviews", run_lengths),
                ("drift_baseline_ratio", np.array(baselines, np.float64)),
                ("drifts_total", np.array([counts.pop(stream, 0) for _, stream in calm], np.int64)),
            ):
                figures.add_column(f"labelwatch_{name}", self._labels_of_sites, np.array(places, np.int64), values)
            calm_of_labels = [stream for stream in counts if stream.signal in SIGNALS_OF_LABELS]
            is_open = {stream for stream, _ in open_now}
            for stream in calm_of_labels:
                if stream not in is_open:
                    figures.add("labelwatch_drift_active", _labels(stream), 0)
            for stream, episode in open_now:
                _report_open(figures, stream, episode)
            for stream, count in counts.items():
                figures.add("labelwatch_drifts_total", _labels(stream), count)
            figures.add("labelwatch_unwatched_streams", (), unwatched)
            figures.add("labelwatch_held_reviews", (), held)
            report_river(figures)

        return report

    def plan(self) -> list[Plan]:
        """What the budgets give each stream."""
        return self._streams.plan()

    def episodes(self) -> list[tuple[Stream, Episode]]:
        """The drifts that are open, by stream."""
        self._pack_tests()
        both = [(self._key(number), each) for number, each in self._episodes.items()]
        return sorted(both + list(self._labels.episodes.values()), key=lambda pair: pair[0])

    def _pack_tests(self) -> None:
        for number, test in self._tests.items():
            self._episodes[number].test = test.to_bytes()

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call."""
        self._settle()
        yield from self._streams.slots(_PREFIX)
        yield from self._labels.slots()
        yield from self._hold.slots()
        yield from self._river.slots()
        for table in self._numbered:
            yield from table.slots()
        for ring in self._rings:
            if ring.changed:
                self._changed = True  # the header counts its rows
            yield from ring.slots()
        for number in sorted(self._mistaken):
            yield b"%s|mistakes|%d" % (_PREFIX, number), msgspec.msgpack.encode(list(self._mistakes[number]))
        self._mistaken.clear()
        for number in sorted(self._strata_changed):
            if (names := self._strata_names(number)) != [NONE]:
                yield b"%s|strata-names|%d" % (_PREFIX, number), msgspec.msgpack.encode(names)
        self._strata_changed.clear()
        if self._changed:
            self._changed = False
            self._pack_tests()
            header = _Header(
                self._day,
                self._streams.unwatched,
                [(*key, self._rings[number].count) for key, number in self._ring_numbers.items()],
                # Numbers are given in the order of the log, whereas a batch opens and clears stream by stream.
                [(self._key(number), self._episodes[number]) for number in sorted(self._episodes)],
                [(self._key(number), self._closed[number]) for number in sorted(self._closed)],
                sorted(self._opened.items()),
                list(self._projects.items()),
            )
            yield b"%s|header" % _PREFIX, msgspec.msgpack.encode(header)

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Takes its slots, by key, into an empty part."""
        self._labels.restore(slots)
        self._hold.restore(slots)
        packed = slots.get(b"%s|header" % _PREFIX)
        if packed is None:
            return
        header = msgspec.msgpack.decode(packed, type=_Header)
        for table in self._numbered:
            table.restore(slots)
        self._day = header.day
        self._projects = dict(header.projects)
        dropped = set() if header.projects else self._only_projects(slots, header)
        self._streams.restore(_PREFIX, slots, header.day * DAY_SECONDS, header.unwatched, dropped)
        for site, role, count in header.rings:
            number = self._ring(site, role)
            self._rings[number].restore(count, slots)
            self._take_over(number, count, slots)
            if (mistakes := slots.get(b"%s|mistakes|%d" % (_PREFIX, number))) is not None:
                self._mistakes[number].extend(msgspec.msgpack.decode(mistakes, type=list[tuple[int, str]]))
        self._grow_strata()
        # Without names, or of an older build: what was learned so far counts as work without a stratum.
        self._strata[0] = NONE
        for ring in range(len(self._rings)):
            if (strata := slots.get(b"%s|strata-names|%d" % (_PREFIX, ring))) is not None:
                names = msgspec.msgpack.decode(strata, type=list[int])
                self._strata[: len(names), ring] = names
        for stream, episode in header.episodes:
            number = self._streams.number(stream)
            self._episodes[number] = episode
            self._tests[number] = self._test(number, stream, episode)
        self._incidents.restore(header.episodes)
        self._closed = {
            self._streams.number(stream): closed for stream, closed in header.closed if stream not in dropped
        }
        self._opened = dict(header.opened)
        self._committed = dict(header.opened)
        self._river.restore(slots, {stream: episode.drift_id for stream, episode in header.episodes})

    def _only_projects(self, slots: Mapping[bytes, bytes], header: _Header) -> set[Stream]:
        """Takes from an older checkpoint which sites have one project; returns these projects' streams.

        One whose drift is open stays: its site is taken for one with several.
        """
        projects: dict[str, list[Stream]] = {}
        for stream in self._streams.kept(_PREFIX, slots):
            if stream.signal == "accuracy" and stream.project:
                projects.setdefault(stream.site, []).append(stream)
        is_open = {stream for stream, _ in header.episodes}
        only = {site: of[0] for site, of in projects.items() if len(of) == 1 and of[0] not in is_open}
        self._projects = {site: only[site].project if site in only else "" for site in projects}
        return set(only.values())

    def _test(self, number: int, stream: Stream, episode: Episode) -> ReverseTest:
        """The test of an open drift's end; before format 5 it was another one, and this one starts with the figures."""
        if len(episode.test) == PACKED_BYTES:
            return ReverseTest.from_bytes(episode.test)
        baseline, temper = self._streams.baseline(number), self._streams.temper(number)
        return reverse_test(stream, baseline, episode.n, episode.wrong, temper)

    def _take_over(self, number: int, count: int, slots: Mapping[bytes, bytes]) -> None:
        """Takes a ring of an older form."""
        rows, keys = older.rows(slots, b"%s|ring|%d" % (_PREFIX, number), count, older.REVIEW)
        if keys:
            columns = {by: rows[by] for by in ("at", "agent", "reviewer", "wrong")}
            kinds, traits = (
                table.numbers([rows[each] for each in by])
                for table, by in ((self._of_kind, _KIND), (self._of_trait, _TRAIT))
            )
            self._rings[number].take_over(count, REVIEW.pack(kind=kinds, trait=traits, **columns), keys)


def _watched_project(kind: VerdictKind) -> str:
    """The project of a kind; empty where it is a mixture of those beyond the limits, which is never the only one."""
    return "" if kind.mixed else kind.project


def _table(width: int) -> NDArray[np.int64]:
    return np.zeros((0, width), np.int64)


def _longer(table: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """The table with a row for everything that the intake has a number for; new ones are unknown yet."""
    if rows == len(table):
        return table
    return np.concatenate((table, np.full((rows - len(table), table.shape[1]), _UNKNOWN, np.int64)))


def _labels(stream: Stream) -> tuple[str, ...]:
    return (*stream, BUDGET_OF[stream.signal])


def _error_of(version: ReviewVersion | None) -> bool | None:
    return None if version is None else not version.correct


def _report_open(figures: Figures, stream: Stream, episode: Episode) -> None:
    labels = _labels(stream)
    # A ratio of seconds is one to what was before.
    scale = episode.before.value if stream.signal == "handle_time" else 1.0
    for name, value in (
        ("active", 1),
        ("evidence", min(episode.evidence, 1e6)),
        ("baseline_ratio", episode.before.value / scale),
        ("current_ratio", level(stream, episode.wrong, episode.n).value / scale),
        ("reviews", episode.n),
        ("began_timestamp_seconds", episode.began_at / 1000),
        ("opened_timestamp_seconds", episode.opened_at / 1000),
        ("run_length_reviews", episode.run_length),
    ):
        figures.add(f"labelwatch_drift_{name}", labels, value)
    if episode.volume:
        seconds = episode.run_length / episode.volume * MONTH_SECONDS
        figures.add("labelwatch_drift_run_length_seconds", labels, seconds)
    ids = episode.drift_id, episode.parent, episode.incident_id or episode.drift_id
    figures.add("labelwatch_drift_info", (*labels, *ids), 1)
    for cause in episode.causes:
        figures.add("labelwatch_drift_contribution", (*labels, cause.by, cause.member, cause.effect), cause.points)
