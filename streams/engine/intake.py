"""The one loop over events: it rejects, drops repeats, counts late ones, and puts what is accepted into columns."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from detectors.arrays import Ints
from schemas.events import (
    AgentProfiled,
    ClockAdvanced,
    Event,
    LabelReviewed,
    LabelRevised,
    LabelSubmitted,
    QueueMeasured,
    ReviewRevised,
    StateChanged,
    event_types,
)
from schemas.policy import OTHER
from streams.engine.accepted import review_taker, revise_label, revise_review, take_profile, take_queue, take_state
from streams.engine.batch import DeadLetter, EventBatch, Gathered, KafkaRecord, column, gather, settled
from streams.engine.decode import UNKNOWN, Rejection, decode
from streams.engine.horizon import Horizon, SiteState
from streams.engine.ids import SealedIds
from streams.engine.limits import Admitted
from streams.engine.native_reader import new_reader
from streams.engine.numbering import Numbering
from streams.engine.panes import MINUTE_MS, Slot
from streams.engine.reader import Reader, Run
from streams.engine.tally import Tally
from streams.engine.times import (
    AHEAD_MS,
    LONGEST_MS,
    OLDEST_MS,
    SHORTEST_MS,
    implausible,
    why_not_duration,
    why_not_event_time,
)

#: Handling and reviewing time of one task count up to here.
CAP_MS = 1_800_000
#: `enforce_cap` runs at every multiple of this offset, so that what is forgotten does not depend on the batches.
CAP_CHECK_RECORDS = 262_144

_TYPE_NAMES = {cls: tag for tag, cls in event_types().items()}


class Intake(Numbering):
    """Turns records into a batch of columns, and keeps the clocks and the ids by which it decides.

    Args:
        now_ms: Used as append time for records without one; None: whether these are from the future is not checked.
        admitted: Which names have figures of their own; None: by the default limits.
        reader: Reads records; None: the one that `new_reader` chooses.
    """

    def __init__(
        self, now_ms: int | None = None, admitted: Admitted | None = None, reader: Reader | None = None
    ) -> None:
        super().__init__(Admitted() if admitted is None else admitted, Tally())
        self._now_ms = now_ms
        self._reader = new_reader() if reader is None else reader
        self._horizon = Horizon(self.tally, self._reader.new_site)
        self.sites = self._horizon.sites
        #: Sites with figures of their own: neither `other` nor removed.
        self._named: dict[str, SiteState] = {}
        #: Whether a batch keeps the events of its reviews, for a hold. Otherwise they are freed at once, while they are
        #: still in the core's cache.
        self.keeps_reviews = False
        #: Highest accepted event time.
        self.newest_ms = 0
        #: The same, or the time that a later `clock_advanced` has given.
        self.clock_ms = 0
        #: The same as `newest_ms`, or a later time that a revision refers to. The newest pane is the one of this time.
        self.panes_ms = 0

    # --- the loop

    def read(self, records: Sequence[KafkaRecord], dead_letters: list[DeadLetter]) -> EventBatch:
        """Decides about each record, in order.

        Args:
            records: One fetched batch of the partition.
            dead_letters: Records that cannot be used are appended to it.

        Returns:
            The accepted events, in columns.
        """
        reader = self._reader
        batch, keeps = reader.gather(), self.keeps_reviews
        take_review = review_taker(self, batch, keep=keeps)
        run = Run(batch, self._suspicious_ms(records), dead_letters, keeps, take_review)
        reader.read(run, records, self, self._read_chunk)
        decided = reader.settle(batch)
        self._settle(decided)
        return decided

    def _read_chunk(self, run: Run, records: Sequence[KafkaRecord]) -> None:  # noqa: C901, PLR0915 - see below
        """Decides about a few records.

        Most of the engine's time is spent here. Subscripts with `try` are quicker than `.get()`, local variables than
        attributes. Labels, seven of ten events, are taken here, since a call for each would cost 2% of all time.
        """
        sites, minute_ms, ahead_ms, hashed = self._named, MINUTE_MS, AHEAD_MS, xxh3_64_intdigest
        suspicious_ms, dead_letters = run.suspicious_ms, run.dead_letters
        label_person, label_kind, label_at, label_ms, label_class = (each.append for each in run.batch.labels)
        classes, longest_ms = self.class_ids, LONGEST_MS
        take_review = run.take_review
        duplicates = 0
        # Records are fetched by index only where they are needed, so that the others do not come into the cache.
        for index, event in enumerate(decode([record.value for record in records])):
            cls = event.__class__
            if cls is LabelSubmitted:
                at = event.at
            elif cls is LabelReviewed:
                at = event.at
                labeled_at = event.labeled_at
                if labeled_at is not None and labeled_at > at + ahead_ms:
                    rejection = Rejection("schema", "labeled_at is more than 5 min after at")
                    self._reject(records[index], rejection, dead_letters)
                    continue
            elif self._is_rejected(records[index], event, dead_letters):
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
                    site.advance(minute, records[index].timestamp)
            held: dict[int, None] | SealedIds | None
            try:
                held = site.seen[minute]
            except KeyError:
                held = self._horizon.open_minute(site, minute, at)
            if held is not None:
                # The time is mixed in after the hash, not into its seed: xxh3 mixes a short id's seed by a plain xor.
                digest = hashed(event.event_id.encode(), site.seed) ^ at
                if digest in held:
                    duplicates += 1
                    continue
                held[digest] = None
            if cls is LabelSubmitted:
                try:
                    kind = site.works[event.project_id][event.market][event.sop_version]
                except KeyError:
                    kind = self.work_kind(site, event.project_id, event.market, event.sop_version)
                try:
                    person = site.agents[event.agent_id]
                except KeyError:
                    person = self.new_person(site, site.agents, event.agent_id)
                if event.skipped:
                    for values, value in zip(run.batch.skips, (person, kind, at), strict=True):
                        values.append(value)
                    continue
                label_person(person)
                label_kind(kind)
                label_at(at)
                handle_ms = event.handle_ms
                # The cap is applied by the part that counts it; numpy needs 64 bits.
                label_ms(-1 if handle_ms is None else handle_ms if handle_ms < longest_ms else longest_ms)
                try:
                    label_class(classes[event.label])
                except KeyError:
                    label_class(self.new_class(event.label))
            elif cls is LabelReviewed:
                take_review(site, event)
            elif cls is StateChanged:
                take_state(self, run.batch, site, event)
            else:
                self._take_rare(run.batch, site, event)
        self.tally.add("duplicates", duplicates)

    def _take_rare(self, batch: Gathered, site: SiteState, event: Event) -> None:
        name = _TYPE_NAMES[type(event)]
        self.tally.add(f"events/{name}")
        site.beat(name, event.at)
        batch.implausible.update((site.name, field, reason) for field, reason in implausible(event))
        if isinstance(event, AgentProfiled):
            take_profile(self, batch, site, event)
        elif isinstance(event, ReviewRevised):
            revise_review(self, batch, site, event)
        elif isinstance(event, LabelRevised):
            revise_label(self, batch, site, event)
        elif isinstance(event, QueueMeasured):
            take_queue(self, batch, site, event)

    def again(self, events: Sequence[LabelReviewed]) -> EventBatch:
        """A batch of reviews that were accepted earlier, which are not counted a second time.

        Args:
            events: Reviews of sites of this partition.
        """
        batch = gather()
        take = review_taker(self, batch, again=True)
        for event in events:
            take(self.sites[event.site_id], event)
        return settled(batch, column)

    # --- after the loop

    def _settle(self, batch: EventBatch) -> None:
        """Counts the events in columns, and moves the partition's clocks and the sites' newest times past the batch."""
        self.tally.add("events/label_submitted", len(batch.labels.at) + len(batch.skips.at))
        self.tally.add("events/label_reviewed", len(batch.reviews.at))
        self.tally.add("events/state_changed", len(batch.states.at))
        for columns, kinds, name in (
            (batch.labels, self.works, "label_submitted"),
            (batch.skips, self.works, "label_submitted"),
            (batch.reviews, self.verdicts, "label_reviewed"),
            (batch.states, self.states, "state_changed"),
        ):
            if len(columns.at):
                newest = np.full(len(kinds), -1, np.int64)
                np.maximum.at(newest, columns.kind, columns.at)
                for kind in np.flatnonzero(newest >= 0).tolist():
                    self.sites[kinds[kind].site].beat(name, int(newest[kind]))
        self._leave_out_implausible(batch)
        if self.sites:
            self.newest_ms = max(self.newest_ms, max(site.clock_ms for site in self.sites.values()))
        self.clock_ms = max(self.clock_ms, self.newest_ms)
        self.panes_ms = max(
            self.panes_ms, self.newest_ms, *batch.label_changes.at.tolist(), *batch.review_changes.at.tolist()
        )

    def _leave_out_implausible(self, batch: EventBatch) -> None:
        """Takes implausible durations out of the columns; counts them, and event times of 1973 and before."""
        for columns, kinds in (
            (batch.labels, self.works),
            (batch.skips, self.works),
            (batch.reviews, self.verdicts),
            (batch.states, self.states),
        ):
            old = columns.at < OLDEST_MS
            if old.any():
                sites = (kinds[kind].site for kind in columns.kind[old].tolist())
                batch.leave_out("at", sites, map(why_not_event_time, columns.at[old].tolist()))
        handle_ms = batch.labels.handle_ms
        odd = _odd_durations(handle_ms)
        if odd.any():
            sites = (self.works[kind].site for kind in batch.labels.kind[odd].tolist())
            batch.leave_out("handle_ms", sites, map(why_not_duration, handle_ms[odd].tolist()))
            batch.labels = batch.labels._replace(handle_ms=np.where(odd, -1, handle_ms))
        review_ms = batch.made.review_ms
        odd = _odd_durations(review_ms)
        if odd.any():
            sites = (self.reviewers[reviewer][0] for reviewer in batch.made.reviewer[odd].tolist())
            batch.leave_out("review_ms", sites, map(why_not_duration, review_ms[odd].tolist()))
            batch.made = batch.made._replace(review_ms=np.where(odd, -1, review_ms))

    def enforce_cap(self) -> None:
        """Forgets ids, and numbers of names, if there are too many; called at fixed offsets of the log."""
        self._horizon.enforce_cap()
        self.begin_anew_where_many(self.sites)

    # --- decisions off the usual way

    def _unnamed_site(
        self, event: Event, record: KafkaRecord, dead_letters: list[DeadLetter]
    ) -> tuple[SiteState, Event] | None:
        """The site under which an event counts whose own site is new, beyond a limit or removed, and the event.

        None where the event is left out.
        """
        name = event.site_id
        if name in self.admitted.removed:
            self.tally.add("removed_sites")
            return None
        if name == OTHER:
            # Its figures would one day be mixed with those of all sites beyond the limits, and nobody would notice.
            what = f"site_id {OTHER} is reserved for sites beyond the limits: give the site another name"
            self._reject(record, Rejection("schema", what), dead_letters)
            return None
        over = self.admitted.site(name)
        if not over:
            site = self._named[name] = self._horizon.add(name)
            site.first_ms = event.at
            return site, event
        if OTHER not in self.sites:
            self.admitted.other_site()
            self._horizon.add(OTHER).first_ms = event.at
        site = self.sites[OTHER]
        # Equal ids of two sites beyond the limit are no repeats.
        site.seed = xxh3_64_intdigest(name.encode())
        self.tally.add(f"over/{over}")
        return site, msgspec.structs.replace(event, site_id=OTHER)

    def _is_rejected(self, record: KafkaRecord, event: object, dead_letters: list[DeadLetter]) -> bool:
        """Whether a record is no event, or one that contradicts itself; such a record is counted and rejected here."""
        if event is UNKNOWN:
            self.tally.add("unknown")
            return True
        rejection = event if isinstance(event, Rejection) else _contradiction(event)
        if rejection is None:
            return False
        self._reject(record, rejection, dead_letters)
        return True

    def _reject(self, record: KafkaRecord, rejection: Rejection, dead_letters: list[DeadLetter]) -> None:
        self.tally.add(f"rejected/{rejection.reason}")
        dead_letters.append(
            DeadLetter(record.offset, record.key, record.value, rejection.reason, rejection.detail[:500])
        )

    def _suspicious_ms(self, records: Sequence[KafkaRecord]) -> int:
        """Event times up to this one are ahead of no append time; events of later times are checked one by one."""
        # Records that were fetched natively know it; looking at each would cost more than reading them.
        smallest_timestamp = getattr(records, "smallest_timestamp", None)
        if smallest_timestamp is not None and (smallest := smallest_timestamp()) is not None:
            return int(smallest) + AHEAD_MS
        stamps = [record.timestamp for record in records]
        try:
            return min(stamps, default=0) + AHEAD_MS  # type: ignore[type-var,operator]  # None raises
        except TypeError:
            # Files have no append times; where only some records have one, each is checked by itself.
            if any(stamp is not None for stamp in stamps):
                return -1
            return 1 << 62 if self._now_ms is None else self._now_ms + AHEAD_MS

    def _is_future(self, record: KafkaRecord, at: int, dead_letters: list[DeadLetter]) -> bool:
        latest_ms = self._now_ms if record.timestamp is None else record.timestamp
        if latest_ms is None or at <= latest_ms + AHEAD_MS:
            return False
        what = "now" if record.timestamp is None else "the broker's append time"
        self._reject(record, Rejection("future", f"at is {(at - latest_ms) / 1000:.0f} s after {what}"), dead_letters)
        return True

    def _clock_advanced(self, record: KafkaRecord, at: int, dead_letters: list[DeadLetter]) -> None:
        """Moves the partition's clock at the end of a replay; the clocks of sites stay."""
        if not self._is_future(record, at, dead_letters):
            self.tally.add("events/clock_advanced")
            self.clock_ms = max(self.clock_ms, at)

    # --- the durable form of ids and clocks

    def slots(self) -> Iterator[Slot]:
        """Slots of ids and clocks that have changed since the last call."""
        return self._horizon.slots()

    def manifest(self) -> dict[str, object]:
        """The intake's entries of the partition's manifest."""
        return {
            "newest_ms": self.newest_ms,
            "clock_ms": self.clock_ms,
            "panes_ms": self.panes_ms,
            "chunk": self._horizon.chunk,
            "tally": dict(sorted(self.tally.counts.items())),
        }

    def restore(self, manifest: Mapping[str, object], slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty intake from the manifest and the slots `site|` and `ids|`."""
        state = msgspec.convert(manifest, _IntakeState)
        self.newest_ms, self.clock_ms, self.panes_ms = state.newest_ms, state.clock_ms, state.panes_ms
        self._horizon.chunk = state.chunk
        self.tally.counts.update(state.tally)
        self._horizon.restore(slots)
        for site in self.sites.values():
            if site.name != OTHER and site.name not in self.admitted.removed:
                self._named[site.name] = site


def _odd_durations(ms: Ints) -> NDArray[np.bool_]:
    """Which durations are implausible; -1, for none given, is not."""
    return ((ms < SHORTEST_MS) & (ms >= 0)) | (ms >= LONGEST_MS)


def _contradiction(event: object) -> Rejection | None:
    """Why an event that fits its schema contradicts itself; None where it does not."""
    if isinstance(event, ReviewRevised):
        name, refers_to_ms, gone = "reviewed_at", event.reviewed_at, event.cause == "void"
    elif isinstance(event, LabelRevised):
        name, refers_to_ms, gone = "submitted_at", event.submitted_at, event.cause == "deleted"
    else:
        return None
    if refers_to_ms > event.at + AHEAD_MS:
        return Rejection("schema", f"{name} is more than 5 min after at")
    if gone == (event.new is not None):
        # A revision that lacks `new` by mistake must not remove a review.
        return Rejection("schema", f"cause {event.cause} {'has no' if gone else 'needs a'} new")
    return None


class _IntakeState(msgspec.Struct):
    newest_ms: int
    clock_ms: int
    panes_ms: int
    chunk: int
    tally: dict[str, int]
