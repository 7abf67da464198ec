"""The one loop over events: future, duplicates, late; names become small numbers; parts then work on columns."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from schemas.events import (
    AgentProfiled,
    ClockAdvanced,
    Event,
    LabelReviewed,
    LabelRevised,
    LabelSubmitted,
    ReviewRevised,
    StateChanged,
    event_types,
)
from schemas.policy import OTHER
from schemas.text import visible
from streams.engine.decode import UNKNOWN, Refusal, decode
from streams.engine.headline import why_not_windowed
from streams.engine.ids import NEW_SHARE, SealedIds
from streams.engine.limits import Admitted
from streams.engine.panes import HOUR_MS, MINUTE_MS, WINDOW_PANES, Ints, Slot
from streams.engine.times import (
    LONGEST_MS,
    OLDEST_MS,
    REFERS_BACK_MS,
    SHORTEST_MS,
    implausible,
    why_not_duration,
    why_not_event_time,
    why_not_time,
)

#: An event may be this far ahead of the broker's append time, or refer to a time this far ahead of itself.
AHEAD_MS = 300_000
#: A repeat is found while its minute is among the last 15 behind the site's clock.
DUPLICATE_MINUTES = 15
#: Handling and reviewing time of one item count up to here.
CAP_MS = 1_800_000
#: Ids held in a partition (8 bytes each, about 75 in the newest minutes); above it the oldest minute is forgotten.
DUPLICATE_IDS_MAX = 4_000_000
#: Where the log is cut for `enforce_cap`: by offset, so that batches do not change what is forgotten.
CAP_CHECK_RECORDS = 262_144
#: Names kept as numbers, of people and of kinds of work; above it they are looked up afresh, so that a million of
#: them cost no memory.
NAMES_HELD_MAX = 250_000

#: Records that are decoded and decided about at a time.
CHUNK = 512

#: The project of what is beyond the limits, among the numbers of a site's work; no event's, since theirs are not empty.
_BEYOND = ""
_WEEK_HOURS = WINDOW_PANES["7d"][1]
_TYPE_NAMES = {cls: tag for tag, cls in event_types().items()}


class Record(Protocol):
    """What the engine needs of a Kafka record; aiokafka's fits."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def timestamp(self) -> int | None:
        """Append time in ms, if the broker gave one."""

    @property
    def key(self) -> bytes | None:
        """The record's key."""

    @property
    def value(self) -> bytes | None:
        """The record's bytes."""


class DeadLetter(NamedTuple):
    """A record that cannot be used, as it came."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str


class WorkKind(NamedTuple):
    """A combination under which labels are counted."""

    site: str
    project: str
    market: str
    #: Id of the SOP version, -1 for none.
    sop: int
    #: Whether it is what is beyond the limits: a mixture, of which nobody expects that it stays as it is.
    mixed: bool


class VerdictKind(NamedTuple):
    """A combination under which reviews are counted."""

    site: str
    project: str
    market: str
    sop: int
    role: str
    source: str
    sampling: str
    windowed: bool
    #: As above.
    mixed: bool


#: Project, market and SOP version as they came, None for a default, each leading to the next: three look-ups cost half
#: of one with a tuple of three.
Works = dict[str, dict[str | None, dict[str | None, int]]]
#: The same, then role, source, sampling, purpose and round.
Given = tuple[str | None, str | None, str | None, str | None, int | None]
Verdicts = dict[str, dict[str | None, dict[str | None, dict[Given, int]]]]


class Trait(NamedTuple):
    """What a review says beside its kind: what drifts are explained by."""

    label: str | None
    stratum: str | None
    #: The first, where it names several.
    error_type: str | None


class Site:
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
        "verdicts",
        "works",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        #: Stable over processes and versions, unlike hash().
        self.seed = xxh3_64_intdigest(name.encode())
        #: Time of the first event, in the order of the log; -1 where a checkpoint of before does not say.
        self.first_ms = -1
        self.clock_ms = -1
        self.minute = -1
        #: Minutes up to this one were forgotten by the cap.
        self.forgotten_minute = -1
        #: Append time minus event time of the first event of the newest minute; None without append times.
        self.skew_ms: int | None = None
        #: Minute to the hashes of its ids, in order; a dict, so that the newest can be told from the saved. Those of a
        #: minute that is over are sealed when all are saved.
        self.seen: dict[int, dict[int, None] | SealedIds] = {}
        #: Minute to how many of its hashes are in a checkpoint; and the clock that is.
        self.saved: dict[int, int] = {}
        self.saved_clock_ms = -1
        self.agents: dict[str, int] = {}
        self.qas: dict[str, int] = {}
        self.reviewers: dict[str, int] = {}
        self.works: Works = {}
        self.verdicts: Verdicts = {}
        self.sops: dict[tuple[str, str], int] = {}
        #: Newest event time by type.
        self.beats: dict[str, int] = {}
        self.changed = True


def column(values: Sequence[int]) -> Ints:
    """Whole numbers as an array that is not written to: by `struct` in half of the time that numpy takes."""
    return np.frombuffer(struct.pack(f"{len(values)}q", *values), np.int64)


@dataclass(slots=True)
class Columns:
    """Parallel lists of one kind of event while the loop runs; arrays for the parts after it."""

    person: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    value: list[int] = field(default_factory=list)
    _arrays: tuple[Ints, Ints, Ints, Ints] | None = None

    def add(self, person: int, kind: int, at: int, value: int) -> None:
        """Adds one event; the frequent kinds are appended column by column in the loop."""
        self.person.append(person)
        self.kind.append(kind)
        self.at.append(at)
        self.value.append(value)

    def arrays(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Person ids, kind ids, times in ms, values; made once, when the loop is over."""
        if self._arrays is None:
            self._arrays = column(self.person), column(self.kind), column(self.at), column(self.value)
        return self._arrays

    def replace(self, person: Ints, kind: Ints, at: Ints, value: Ints) -> None:
        """Puts other arrays in the place of these, of the same length."""
        self._arrays = person, kind, at, value


class ReviewError(NamedTuple):
    """One error found by a first-given review; a remark where the review found the work correct all the same."""

    site: str
    project: str
    error_type: str
    severity: str
    is_remark: bool
    #: Time of the review, ms; -1 where the windows leave it out: a later round, gold, an audit.
    windowed_at: int


class Batch:
    """One batch after the loop: columns for what is frequent, events for what is rare.

    Attributes:
        labels: value = handling time in ms, -1 where not given.
        skips: value = 0.
        reviews: value = 1 when correct, else 0.
        label_changes, review_changes: as above with a weight of +1 or -1 from revisions: windows only.
        made: reviews by reviewer: person = reviewer id, kind = review_ms (-1: not given), value = 1 where an error was
            found, 2 more where the work is a reviewer's.
        delays: label to review: kind = verdict kind, value = ms.
        implausible: times that cannot be meant and are left out, by site, field and reason.
        errors: errors found, and remarks on correct work, one by one.
        states: `state_changed` and `agent_profiled` with the site's name and its clock after the event.
        classes: id of the class given by each of `labels`.
        ids: `event_id` of each of `reviews`.
        mistakes: the task of each of `reviews` that found an error, by its place.
        verdicts: the event behind each of `reviews`, where the intake keeps them.
        traits: id of what each of `reviews` says beside its kind.
        reviewers: id of who gave each of `reviews`, -1 where it does not say.
        revised: each `review_revised`, with the number of reviews in the batch that came before it.
        clock: when each of `reviews` counts, epoch ms, where that is not its own time.
    """

    def __init__(self) -> None:
        self.labels = Columns()
        self.skips = Columns()
        self.reviews = Columns()
        self.made = Columns()
        self.delays = Columns()
        self.label_changes = Columns()
        self.label_weights: list[int] = []
        self.review_changes = Columns()
        self.review_weights: list[int] = []
        self.errors: list[ReviewError] = []
        self.implausible: Counter[tuple[str, str, str]] = Counter()
        self.states: list[tuple[str, StateChanged | AgentProfiled, int]] = []
        self.classes: list[int] = []
        self.ids: list[str] = []
        self.mistakes: dict[int, str] = {}
        self.verdicts: list[LabelReviewed] = []
        self.traits: list[int] = []
        self.reviewers: list[int] = []
        self.revised: list[tuple[int, ReviewRevised]] = []
        self.clock: list[int] | None = None

    def leave_out(self, field: str, sites: Iterable[str], reasons: Iterable[str]) -> None:
        """Counts times that cannot be meant: the site of each, and why."""
        self.implausible.update((site, field, reason) for site, reason in zip(sites, reasons, strict=True))


class Tally:
    """Durable counts of a partition's records; what `labelwatch_*_total{topic,partition}` show."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts: dict[str, int] = dict(counts or {})

    def add(self, name: str, n: int = 1) -> None:
        """Adds n to a count; names are `events/<type>`, `rejected/<reason>`, `duplicates` and the like."""
        if n:
            self.counts[name] = self.counts.get(name, 0) + n


class Intake:
    """Turns records into a `Batch`, and keeps what decides about them: clocks and duplicate ids.

    Args:
        now_ms: No record was there later than that, of those without an append time; None: nobody knows.
        admitted: Which names have figures of their own; None: by the default limits.
    """

    def __init__(self, now_ms: int | None = None, admitted: Admitted | None = None) -> None:
        self._now_ms = now_ms
        self.admitted = Admitted() if admitted is None else admitted
        self.sites: dict[str, Site] = {}
        #: Those that go by their own name: neither `other` nor a removed one.
        self._named: dict[str, Site] = {}
        self.tally = Tally()
        #: Whether a batch has the events of its reviews: somebody holds them. Else they are freed while they are in the
        #: core's cache.
        self.keeps_reviews = False
        #: Highest accepted event time; panes follow it.
        self.newest_ms = 0
        #: The same, or where `clock_advanced` has put it.
        self.clock_ms = 0
        #: The same, or a later time that a revision refers to: where the newest pane stands.
        self.panes_ms = 0
        self.persons: list[tuple[str, str, str]] = []
        self.reviewers: list[tuple[str, str]] = []
        self.works: list[WorkKind] = []
        self.verdicts: list[VerdictKind] = []
        self.sops: list[tuple[str, str, str]] = []
        self.classes: list[str | None] = []
        self.traits: list[Trait] = []
        self._class_ids: dict[str | None, int] = {}
        #: By label, stratum and error type, each leading to the next.
        self._trait_ids: dict[str | None, dict[str | None, dict[str | None, int]]] = {}
        self._chunk = 0
        #: Site to (newest minute, slot key) of its chunks on the checkpoint topic.
        self._chunks: dict[str, list[tuple[int, bytes]]] = {}

    # --- the loop

    def read(self, records: Sequence[Record], dead_letters: list[DeadLetter]) -> Batch:
        """Decides about each record, in order.

        The loop is the engine's cost: subscripts with `try` beat `.get()`, locals beat attributes, and
        labels and reviews share no helper, since a call costs as much as a look-up.

        Args:
            records: One fetched batch of the partition.
            dead_letters: Records that cannot be used are appended.

        Returns:
            The accepted ones, in columns.
        """
        batch = Batch()
        suspicious_ms = self._suspicious_ms(records)
        # Few at a time: decoded, used and freed while they are in the core's cache, events cost 5% less.
        for start in range(0, len(records), CHUNK):
            self._read_chunk(batch, records[start : start + CHUNK], suspicious_ms, dead_letters)
        self._settle(batch)
        return batch

    def _read_chunk(
        self, batch: Batch, records: Sequence[Record], suspicious_ms: int, dead_letters: list[DeadLetter]
    ) -> None:
        sites, minute_ms, ahead_ms, hashed = self._named, MINUTE_MS, AHEAD_MS, xxh3_64_intdigest
        labels, reviews, made, delays = batch.labels, batch.reviews, batch.made, batch.delays
        label_person, label_kind = labels.person.append, labels.kind.append
        label_at, label_value = labels.at.append, labels.value.append
        review_person, review_kind = reviews.person.append, reviews.kind.append
        review_at, review_value = reviews.at.append, reviews.value.append
        made_person, made_ms, made_at, made_value = (
            made.person.append, made.kind.append, made.at.append, made.value.append,
        )  # fmt: skip  # one append by column, side by side
        delay_kind, delay_value = delays.kind.append, delays.value.append
        review_id, mistakes, reviewed = batch.ids.append, batch.mistakes, reviews.at
        verdict = batch.verdicts.append if self.keeps_reviews else None
        label_class, classes = batch.classes.append, self._class_ids
        review_trait, traits, review_reviewer = batch.traits.append, self._trait_ids, batch.reviewers.append
        duplicates = 0
        labeled_at = None
        refers_back_ms, longest_ms = REFERS_BACK_MS, LONGEST_MS
        # By number, not beside its event: a record that is only looked past need not come into the cache.
        for index, event in enumerate(decode([record.value for record in records])):
            cls = event.__class__
            if cls is LabelSubmitted:
                at = event.at
            elif cls is LabelReviewed:
                at = event.at
                labeled_at = event.labeled_at
                if labeled_at is not None and labeled_at > at + ahead_ms:
                    refusal = Refusal("schema", "labeled_at is more than 5 min after at")
                    self._dead(records[index], refusal, dead_letters)
                    continue
            elif self._is_refused(records[index], event, dead_letters):
                continue
            else:
                at = event.at
                if cls is ClockAdvanced:
                    self._clock_advanced(records[index], at, dead_letters)
                    continue
            if at > suspicious_ms and self._is_future(records[index], at, dead_letters):
                continue
            try:
                site = sites[event.site_id]
            except KeyError:
                found = self._unnamed_site(event, records[index], dead_letters)
                if found is None:
                    continue
                site, event = found
            minute = at // minute_ms
            if at > site.clock_ms:
                site.clock_ms = at
                if minute > site.minute:
                    self._advance(site, minute, records[index].timestamp)
            held: dict[int, None] | SealedIds | None
            try:
                held = site.seen[minute]
            except KeyError:
                held = self._open_minute(site, minute, at)
            if held is not None:
                # The time beside the hash, not in its seed: xxh3 mixes the seed of a short id by a plain xor.
                digest = hashed(event.event_id.encode(), site.seed) ^ at
                if digest in held:
                    duplicates += 1
                    continue
                held[digest] = None

            if cls is LabelSubmitted:
                try:
                    kind = site.works[event.project_id][event.market][event.sop_version]
                except KeyError:
                    kind = self._work_kind(site, event.project_id, event.market, event.sop_version)
                try:
                    person = site.agents[event.agent_id]
                except KeyError:
                    person = self._person(site, site.agents, event.agent_id)
                if event.skipped:
                    batch.skips.add(person, kind, at, 0)
                else:
                    handle_ms = event.handle_ms
                    label_person(person)
                    label_kind(kind)
                    try:
                        label_class(classes[event.label])
                    except KeyError:
                        label_class(self._class(event.label))
                    label_at(at)
                    # The cap is applied by the part that counts it; numpy needs 64 bits.
                    label_value(-1 if handle_ms is None else handle_ms if handle_ms < longest_ms else longest_ms)
            elif cls is LabelReviewed:
                role = event.role
                given = (role, event.source, event.sampling, event.purpose, event.review_round)
                try:
                    kind = site.verdicts[event.project_id][event.market][event.sop_version][given]
                except KeyError:
                    kind = self._verdict_kind(site, event.project_id, event.market, event.sop_version, given)
                people = site.qas if role == "qa" else site.agents
                try:
                    person = people[event.agent_id]
                except KeyError:
                    person = self._person(site, people, event.agent_id)
                correct = event.correct
                review_person(person)
                review_kind(kind)
                review_at(at)
                review_value(correct)
                review_id(event.event_id)
                if not correct:
                    mistakes[len(reviewed) - 1] = event.task_id
                if verdict is not None:
                    verdict(event)
                error_type = event.error_type
                if error_type is not None or event.errors:
                    self._errors(batch, event, kind)
                    error_type = _error_type(event)
                try:
                    review_trait(traits[event.label][event.stratum][error_type])
                except KeyError:
                    review_trait(self._trait(event.label, event.stratum, error_type))
                reviewer_id = event.reviewer_id
                if reviewer_id is None:
                    review_reviewer(-1)
                else:
                    try:
                        reviewer = site.reviewers[reviewer_id]
                    except KeyError:
                        reviewer = self._reviewer(site, reviewer_id)
                    review_reviewer(reviewer)
                    review_ms = event.review_ms
                    made_person(reviewer)
                    made_ms(-1 if review_ms is None else review_ms if review_ms < longest_ms else longest_ms)
                    made_at(at)
                    made_value(not correct if role != "qa" else 2 + (not correct))
                if labeled_at is not None:
                    delay_ms = at - labeled_at
                    if delay_ms > refers_back_ms:
                        batch.implausible[site.name, "labeled_at", why_not_time(labeled_at, at)] += 1
                    else:
                        delay_kind(kind)
                        delay_value(delay_ms if delay_ms > 0 else 0)
            else:
                self._rare(batch, site, event)
        self.tally.add("duplicates", duplicates)

    def again(self, events: Sequence[LabelReviewed]) -> Batch:
        """Numbers reviews that were accepted earlier.

        Args:
            events: Reviews of sites of this partition.

        Returns:
            A batch with `reviews`, `ids`, `mistakes`, `traits` and `reviewers`.
        """
        batch = Batch()
        for event in events:
            site = self.sites[event.site_id]
            given = (event.role, event.source, event.sampling, event.purpose, event.review_round)
            kind = self._verdict_kind(site, event.project_id, event.market, event.sop_version, given, counts=False)
            people = site.qas if event.role == "qa" else site.agents
            person = people.get(event.agent_id)
            if person is None:
                person = self._person(site, people, event.agent_id)
            batch.reviews.add(person, kind, event.at, event.correct)
            batch.ids.append(event.event_id)
            if not event.correct:
                batch.mistakes[len(batch.reviews.at) - 1] = event.task_id
            batch.traits.append(self._trait(event.label, event.stratum, _error_type(event)))
            reviewer = -1
            if event.reviewer_id is not None:
                known = site.reviewers.get(event.reviewer_id)
                reviewer = self._reviewer(site, event.reviewer_id) if known is None else known
            batch.reviewers.append(reviewer)
        return batch

    def _settle(self, batch: Batch) -> None:
        """Counts labels and reviews, moves the partition's clocks and the sites' newest events past the batch."""
        self.tally.add("events/label_submitted", len(batch.labels.at) + len(batch.skips.at))
        self.tally.add("events/label_reviewed", len(batch.reviews.at))
        for columns, kinds, name in (
            (batch.labels, self.works, "label_submitted"),
            (batch.skips, self.works, "label_submitted"),
            (batch.reviews, self.verdicts, "label_reviewed"),
        ):
            if columns.at:
                _, kind_ids, at, _ = columns.arrays()
                newest = np.full(len(kinds), -1, np.int64)
                np.maximum.at(newest, kind_ids, at)
                for kind in np.flatnonzero(newest >= 0).tolist():
                    self._beat(self.sites[kinds[kind].site], name, int(newest[kind]))
        self._leave_out_implausible(batch)
        if self.sites:
            self.newest_ms = max(self.newest_ms, max(site.clock_ms for site in self.sites.values()))
        self.clock_ms = max(self.clock_ms, self.newest_ms)
        self.panes_ms = max(self.panes_ms, self.newest_ms, *batch.label_changes.at, *batch.review_changes.at)

    def _leave_out_implausible(self, batch: Batch) -> None:
        """Takes durations that cannot be meant out of the columns; counts them, and event times of 1973 and before."""
        for columns, kinds in ((batch.labels, self.works), (batch.skips, self.works), (batch.reviews, self.verdicts)):
            _, kind_ids, at, _ = columns.arrays()
            old = at < OLDEST_MS
            if old.any():
                sites = (kinds[kind].site for kind in kind_ids[old].tolist())
                batch.leave_out("at", sites, map(why_not_event_time, at[old].tolist()))
        persons, kind_ids, at, handle_ms = batch.labels.arrays()
        odd = _odd_durations(handle_ms)
        if odd.any():
            sites = (self.works[kind].site for kind in kind_ids[odd].tolist())
            batch.leave_out("handle_ms", sites, map(why_not_duration, handle_ms[odd].tolist()))
            batch.labels.replace(persons, kind_ids, at, np.where(odd, -1, handle_ms))
        made_by, review_ms, at, found = batch.made.arrays()
        odd = _odd_durations(review_ms)
        if odd.any():
            sites = (self.reviewers[reviewer][0] for reviewer in made_by[odd].tolist())
            batch.leave_out("review_ms", sites, map(why_not_duration, review_ms[odd].tolist()))
            batch.made.replace(made_by, np.where(odd, -1, review_ms), at, found)

    @staticmethod
    def _beat(site: Site, type_name: str, at: int) -> None:
        if at > site.beats.get(type_name, -1):
            site.beats[type_name] = at
            site.changed = True

    # --- decisions off the usual way

    def _unnamed_site(self, event: Event, record: Record, dead_letters: list[DeadLetter]) -> tuple[Site, Event] | None:
        """The site of an event whose site has not been met, is beyond the limit, or removed; None: it is left out."""
        name = event.site_id
        if name in self.admitted.removed:
            self.tally.add("removed_sites")
            return None
        if name == OTHER:
            # Its figures would be mixed with those of strangers one day, without a word.
            what = f"site_id {OTHER} is reserved for sites beyond the limits: give the site another name"
            self._dead(record, Refusal("schema", what), dead_letters)
            return None
        over = self.admitted.site(name)
        if not over:
            site = self.sites[name] = self._named[name] = Site(name)
            site.first_ms = event.at
            return site, event
        if OTHER not in self.sites:
            self.admitted.other_site()
            self.sites[OTHER] = Site(OTHER)
            self.sites[OTHER].first_ms = event.at
        site = self.sites[OTHER]
        # Equal ids of two sites are no duplicates.
        site.seed = xxh3_64_intdigest(name.encode())
        self.tally.add(f"over/{over}")
        return site, msgspec.structs.replace(event, site_id=OTHER)

    def _is_refused(self, record: Record, event: object, dead_letters: list[DeadLetter]) -> bool:
        """Whether a record is no event, or one that contradicts itself; if so, it is dealt with here."""
        if event is UNKNOWN:
            self.tally.add("unknown")
            return True
        refusal = event if isinstance(event, Refusal) else _contradiction(event)
        if refusal is None:
            return False
        self._dead(record, refusal, dead_letters)
        return True

    def _dead(self, record: Record, refusal: Refusal, dead_letters: list[DeadLetter]) -> None:
        self.tally.add(f"rejected/{refusal.reason}")
        dead_letters.append(DeadLetter(record.offset, record.key, record.value, refusal.reason, refusal.detail[:500]))

    def _suspicious_ms(self, records: Sequence[Record]) -> int:
        """Event times up to here are not ahead of any append time; what is later is looked at one by one."""
        stamps = [record.timestamp for record in records]
        try:
            return min(stamps, default=0) + AHEAD_MS  # type: ignore[type-var,operator]  # None raises
        except TypeError:
            # Files have no append times; where only some records have one, each is looked at.
            if any(stamp is not None for stamp in stamps):
                return -1
            return 1 << 62 if self._now_ms is None else self._now_ms + AHEAD_MS

    def _is_future(self, record: Record, at: int, dead_letters: list[DeadLetter]) -> bool:
        latest_ms = self._now_ms if record.timestamp is None else record.timestamp
        if latest_ms is None or at <= latest_ms + AHEAD_MS:
            return False
        what = "now" if record.timestamp is None else "the broker's append time"
        self._dead(record, Refusal("future", f"at is {(at - latest_ms) / 1000:.0f} s after {what}"), dead_letters)
        return True

    def _clock_advanced(self, record: Record, at: int, dead_letters: list[DeadLetter]) -> None:
        """The end of a replay speaks to the partition, not to a site: it moves no site's clock."""
        if not self._is_future(record, at, dead_letters):
            self.tally.add("events/clock_advanced")
            self.clock_ms = max(self.clock_ms, at)

    def _advance(self, site: Site, minute: int, append_ms: int | None) -> None:
        """Moves a site's minute; minutes that leave the horizon are dropped."""
        site.minute = minute
        site.skew_ms = None if append_ms is None else append_ms - site.clock_ms
        for old in [old for old in site.seen if old <= minute - DUPLICATE_MINUTES]:
            del site.seen[old]
            site.saved.pop(old, None)

    def _open_minute(self, site: Site, minute: int, at: int) -> dict[int, None] | None:
        """The ids of a minute without any yet; None beyond the horizon, where an event is taken as new."""
        if minute > max(site.minute - DUPLICATE_MINUTES, site.forgotten_minute):
            held: dict[int, None] = {}
            site.seen[minute] = held
            return held
        self.tally.add("unchecked")
        if at // HOUR_MS <= site.clock_ms // HOUR_MS - _WEEK_HOURS:
            self.tally.add("late")
        return None

    def enforce_cap(self) -> None:
        """Forgets the oldest minutes while too many ids are held; called at fixed offsets of the log."""
        ids_held = sum(len(held) for site in self.sites.values() for held in site.seen.values())
        while ids_held > DUPLICATE_IDS_MAX:
            minute, name = min((minute, site.name) for site in self.sites.values() for minute in site.seen)
            site = self.sites[name]
            forgotten = len(site.seen.pop(minute))
            site.saved.pop(minute, None)
            ids_held -= forgotten
            self.tally.add("forgotten_ids", forgotten)
            site.forgotten_minute = max(site.forgotten_minute, minute)
            site.changed = True
        if len(self.persons) + len(self.reviewers) > NAMES_HELD_MAX:
            # Numbers are for speed alone: who has a row in the tables is found there again.
            self.persons, self.reviewers = [], []
            for site in self.sites.values():
                site.agents, site.qas, site.reviewers = {}, {}, {}
        if len(self.works) + len(self.verdicts) + len(self.sops) > NAMES_HELD_MAX:
            self.works, self.verdicts, self.sops = [], [], []
            for site in self.sites.values():
                site.works, site.verdicts, site.sops = {}, {}, {}
        if len(self.classes) + len(self.traits) > NAMES_HELD_MAX:
            self.classes, self.traits, self._class_ids, self._trait_ids = [], [], {}, {}

    # --- names become numbers, in order of appearance

    def _person(self, site: Site, people: dict[str, int], agent_id: str) -> int:
        people[agent_id] = len(self.persons)
        self.persons.append((site.name, "qa" if people is site.qas else "agent", agent_id))
        return people[agent_id]

    def _reviewer(self, site: Site, reviewer_id: str) -> int:
        site.reviewers[reviewer_id] = len(self.reviewers)
        self.reviewers.append((site.name, reviewer_id))
        return site.reviewers[reviewer_id]

    def _work_kind(self, site: Site, project: str, market: str | None, sop: str | None, *, counts: bool = True) -> int:
        """The number of a kind of work; an event beyond a limit is counted, if it `counts` and its site has not been.

        What is beyond a limit is looked at event by event and has no number of its own: it would take memory, and its
        limit could be another one after a restart.
        """
        place = self.admitted.work(site.name, project, market or "")
        if place.over:
            project, market = _BEYOND, None
            self.tally.add(f"over/{place.over}", counts and site.name != OTHER)
        kinds = site.works.setdefault(project, {}).setdefault(market, {})
        if sop not in kinds:
            kinds[sop] = len(self.works)
            number = self._sop(site, place.project, sop)
            self.works.append(WorkKind(site.name, place.project, place.market, number, bool(place.over)))
        return kinds[sop]

    def _verdict_kind(
        self, site: Site, project: str, market: str | None, sop: str | None, given: Given, *, counts: bool = True
    ) -> int:
        """The number of a kind of review; beyond a limit as for work."""
        role, source, sampling, purpose, review_round = given
        named = role or "agent", source or "qa", sampling or "unknown"
        place = self.admitted.review(site.name, project, market or "", named)
        if place.over:
            project, market = _BEYOND, None
            self.tally.add(f"over/{place.over}", counts and site.name != OTHER)
        kinds = site.verdicts.setdefault(project, {}).setdefault(market, {}).setdefault(sop, {})
        if given not in kinds:
            kinds[given] = len(self.verdicts)
            number, windowed = self._sop(site, place.project, sop), not why_not_windowed(purpose, review_round)
            self.verdicts.append(
                VerdictKind(site.name, place.project, place.market, number, *named, windowed, bool(place.over))
            )
        return kinds[given]

    def _class(self, label: str | None) -> int:
        self._class_ids[label] = len(self.classes)
        self.classes.append(_shown(label))
        return self._class_ids[label]

    def _trait(self, label: str | None, stratum: str | None, error_type: str | None) -> int:
        known = self._trait_ids.setdefault(label, {}).setdefault(stratum, {})
        if error_type not in known:
            known[error_type] = len(self.traits)
            self.traits.append(Trait(_shown(label), stratum, error_type))
        return known[error_type]

    def _sop(self, site: Site, project: str, sop: str | None) -> int:
        if not sop:
            return -1
        key = (project, sop)
        if key not in site.sops:
            site.sops[key] = len(self.sops)
            self.sops.append((site.name, project, sop))
        return site.sops[key]

    # --- rare events

    def _errors(self, batch: Batch, event: LabelReviewed, kind: int) -> None:
        found = [(error.type, error.severity) for error in event.errors or ()]
        of_work = event.role != "qa" and not why_not_windowed(event.purpose, event.review_round)
        at = event.at if of_work else -1
        site, table = event.site_id, "remarks" if event.correct else "errors"
        for error_type, severity in found or [(event.error_type or "", event.severity)]:
            project, shown = self.admitted.error(table, site, self.verdicts[kind].project, error_type, severity or "")
            batch.errors.append(ReviewError(site, project, shown, severity or "", event.correct, at))

    def _rare(self, batch: Batch, site: Site, event: Event) -> None:
        name = _TYPE_NAMES[type(event)]
        self.tally.add(f"events/{name}")
        self._beat(site, name, event.at)
        batch.implausible.update((site.name, field, reason) for field, reason in implausible(event))
        if isinstance(event, StateChanged | AgentProfiled):
            if event.agent_id not in site.agents:
                self._person(site, site.agents, event.agent_id)
            if isinstance(event, StateChanged):
                place = self.admitted.project(site.name, event.project_id or "")
                if place.over:
                    self.tally.add(f"over/{place.over}", site.name != OTHER)
                    event = msgspec.structs.replace(event, project_id=place.project)
            batch.states.append((site.name, event, site.clock_ms))
        elif isinstance(event, ReviewRevised):
            self._review_revised(batch, site, event)
        elif isinstance(event, LabelRevised):
            self._label_revised(batch, site, event)

    def _review_revised(self, batch: Batch, site: Site, event: ReviewRevised) -> None:
        self.tally.add("revised_reviews")
        batch.revised.append((len(batch.reviews.at), event))
        people = site.qas if event.role == "qa" else site.agents
        person = people.get(event.agent_id)
        if person is None:
            person = self._person(site, people, event.agent_id)
        for version, weight in ((event.old, -1), (event.new, 1)):
            if version is not None:
                # Without SOP version, whose totals no revision moves.
                given = (event.role, version.source, version.sampling, None, None)
                kind = self._verdict_kind(site, event.project_id, version.market, None, given, counts=False)
                batch.review_changes.add(person, kind, event.reviewed_at, int(version.correct))
                batch.review_weights.append(weight)

    def _label_revised(self, batch: Batch, site: Site, event: LabelRevised) -> None:
        person = site.agents.get(event.agent_id)
        if person is None:
            person = self._person(site, site.agents, event.agent_id)
        kind = self._work_kind(site, event.project_id, event.market, None, counts=False)
        for version, weight in ((event.old, -1), (event.new, 1)):
            if version is not None and not version.skipped:
                handle_ms = version.handle_ms
                capped_ms = -1 if handle_ms is None or why_not_duration(handle_ms) else handle_ms
                batch.label_changes.add(person, kind, event.submitted_at, capped_ms)
                batch.label_weights.append(weight)

    # --- the durable form of ids and clocks

    def slots(self) -> Iterator[Slot]:
        """Ids since the last call, in one chunk a site; chunks whose minutes have all left are deleted.

        All ids are then saved, which is the moment to seal those of minutes that are over.
        """
        for site in self.sites.values():
            chunks = self._chunks.setdefault(site.name, [])
            fresh = {}
            for minute, held in site.seen.items():
                unsaved = len(held) - site.saved.get(minute, 0)
                if unsaved:
                    ids = np.fromiter(reversed(held), np.uint64, unsaved)
                    fresh[minute] = ids[::-1].tobytes()
                    site.saved[minute] = len(held)
                if isinstance(held, SealedIds):
                    held.seal()
                elif minute < site.minute and unsaved * NEW_SHARE <= len(held):
                    site.seen[minute] = SealedIds(np.fromiter(held, np.uint64, len(held)))
            if fresh:
                self._chunk += 1
                key = b"ids|%d" % self._chunk
                yield key, msgspec.msgpack.encode((site.name, fresh))
                chunks.append((max(fresh), key))
            floor = max(site.minute - DUPLICATE_MINUTES, site.forgotten_minute)
            for chunk in [chunk for chunk in chunks if chunk[0] <= floor]:
                yield chunk[1], None
                chunks.remove(chunk)
            if site.changed or site.clock_ms != site.saved_clock_ms:
                site.changed, site.saved_clock_ms = False, site.clock_ms
                state = _SiteState(
                    site.name,
                    site.clock_ms,
                    site.forgotten_minute,
                    site.skew_ms,
                    dict(sorted(site.beats.items())),
                    site.first_ms,
                )
                yield b"site|" + site.name.encode(), msgspec.msgpack.encode(state)

    def manifest(self) -> dict[str, object]:
        """What the partition's manifest holds of the intake."""
        return {
            "newest_ms": self.newest_ms,
            "clock_ms": self.clock_ms,
            "panes_ms": self.panes_ms,
            "chunk": self._chunk,
            "tally": dict(sorted(self.tally.counts.items())),
        }

    def restore(self, manifest: Mapping[str, object], slots: Mapping[bytes, bytes]) -> None:
        """Takes the manifest and the slots `site|` and `ids|` into an empty intake."""
        state = msgspec.convert(manifest, _IntakeState)
        self.newest_ms, self.clock_ms, self.panes_ms = state.newest_ms, state.clock_ms, state.panes_ms
        self._chunk = state.chunk
        self.tally = Tally(state.tally)
        for key, value in slots.items():
            if key.startswith(b"site|"):
                known = msgspec.msgpack.decode(value, type=_SiteState)
                site = self.sites[known.name] = Site(known.name)
                site.clock_ms, site.minute = known.clock_ms, known.clock_ms // MINUTE_MS
                site.forgotten_minute, site.skew_ms, site.beats = known.forgotten_minute, known.skew_ms, known.beats
                site.changed, site.saved_clock_ms, site.first_ms = False, site.clock_ms, known.first_ms
                if site.name != OTHER and site.name not in self.admitted.removed:
                    self._named[site.name] = site
        held: dict[tuple[str, int], list[bytes]] = {}  # by site and minute
        for number in sorted(int(key[4:]) for key in slots if key.startswith(b"ids|")):
            key = b"ids|%d" % number
            name, packed = msgspec.msgpack.decode(slots[key], type=tuple[str, dict[int, bytes]])
            site = self.sites[name]
            self._chunks.setdefault(name, []).append((max(packed), key))
            floor = max(site.minute - DUPLICATE_MINUTES, site.forgotten_minute)
            for minute, ids in packed.items():
                if minute > floor:
                    held.setdefault((name, minute), []).append(ids)
        for (name, minute), saved in held.items():
            site, hashes = self.sites[name], np.frombuffer(b"".join(saved), np.uint64)
            site.seen[minute] = SealedIds(hashes) if minute < site.minute else dict.fromkeys(hashes.tolist())
            site.saved[minute] = len(site.seen[minute])


def _odd_durations(ms: Ints) -> NDArray[np.bool_]:
    """Which durations cannot be meant; -1, for none given, can."""
    return ((ms < SHORTEST_MS) & (ms >= 0)) | (ms >= LONGEST_MS)


#: Characters of a label that drift tells apart: as many as an identifier has.
_LABEL_CHARACTERS = 128


def _shown(label: str | None) -> str | None:
    """A label as drifts name it, in records, metrics and sentences: bounded, hidden characters written out."""
    return None if label is None else visible(label[:_LABEL_CHARACTERS])[:_LABEL_CHARACTERS]


def _error_type(event: LabelReviewed) -> str | None:
    """The first error that a review found; None where it found the work correct: what it says of it is a remark."""
    if event.correct:
        return None
    return event.errors[0].type if event.errors else event.error_type


def _contradiction(event: object) -> Refusal | None:
    """Why an event that fits its schema still cannot be meant, if so."""
    if isinstance(event, ReviewRevised):
        name, refers_to_ms, gone = "reviewed_at", event.reviewed_at, event.cause == "void"
    elif isinstance(event, LabelRevised):
        name, refers_to_ms, gone = "submitted_at", event.submitted_at, event.cause == "deleted"
    else:
        return None
    if refers_to_ms > event.at + AHEAD_MS:
        return Refusal("schema", f"{name} is more than 5 min after at")
    if gone == (event.new is not None):
        # A forgotten field must not make a review vanish.
        return Refusal("schema", f"cause {event.cause} {'has no' if gone else 'needs a'} new")
    return None


class _SiteState(msgspec.Struct):
    name: str
    clock_ms: int
    forgotten_minute: int
    skew_ms: int | None
    beats: dict[str, int]
    first_ms: int = -1


class _IntakeState(msgspec.Struct):
    newest_ms: int
    clock_ms: int
    panes_ms: int
    chunk: int
    tally: dict[str, int]
