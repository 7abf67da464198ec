"""The engine of one partition, which the runtime drives: records in; checkpoints and figures out."""

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock

import msgspec

from detectors.arrays import Ints
from schemas.events import event_types
from schemas.metrics import SITE_WINDOWS
from schemas.policy import OTHER, Policy
from schemas.topics import EVENTS
from streams.engine.batch import DeadLetter, KafkaRecord
from streams.engine.drift.budgets import Plan
from streams.engine.drift.episodes import Episode
from streams.engine.drift.stream import Stream
from streams.engine.figures import Figures, PeopleFigures, without_people, without_sites
from streams.engine.horizon import STATE_ESTIMATED
from streams.engine.intake import CAP_CHECK_RECORDS, Intake
from streams.engine.limits import KINDS, Admitted, LimitUse
from streams.engine.panes import HOUR_MS, Rings, Slot, Table
from streams.engine.parts import Part, Report, View
from streams.engine.parts.drift import DriftPart, Opened
from streams.engine.parts.implausible import ImplausiblePart
from streams.engine.parts.people import PeoplePart, ReviewersPart
from streams.engine.parts.presence import FORGOTTEN_MS, PresencePart
from streams.engine.parts.queues import QueuesPart
from streams.engine.parts.sops import SopsPart
from streams.engine.parts.verdicts import VerdictsPart
from streams.engine.parts.work import WorkPart
from streams.engine.persons import Active, Paces, PeopleView, report_paces
from streams.engine.reader import Reader
from streams.engine.sites import SiteView
from streams.engine.tally import Tally

#: Format of manifests and slots. This build refuses a newer one and reads all older ones. Format 1 has no drift slots:
#: detectors start afresh. Formats 2 and 3 have larger rings of reviews and labels in another form, which are converted.
#: Format 4 has another test of whether a drift is over: the test starts afresh.
FORMAT = 5
#: The build that writes each format. Build 0.1.0 had four formats while it was made, and ends with format 4.
#: docs/operations.md has the table.
FORMATS = {1: "0.1.0", 2: "0.1.0", 3: "0.1.0", 4: "0.1.0", 5: "0.2.0"}
BUILD = FORMATS[FORMAT]

#: An estimated state is in figures for the longest window behind its end, which comes after 12 hours at the latest.
_ESTIMATED_MS = 7 * 24 * HOUR_MS + FORGOTTEN_MS
#: Every reason for which a record can be rejected.
REASONS = ("null", "encoding", "json", "schema", "future")
#: Names of the tally's counts to metrics with the labels topic and partition.
_TALLIES = {
    "hold_skipped": "labelwatch_hold_skipped_total",
    "unknown": "labelwatch_unknown_events_total",
    "duplicates": "labelwatch_duplicates_total",
    "unchecked": "labelwatch_unchecked_events_total",
    "late": "labelwatch_late_events_total",
    "revised_reviews": "labelwatch_revised_reviews_total",
    "lost": "labelwatch_lost_records_total",
    "unnamed": "labelwatch_unnamed_events_total",
    "removed_sites": "labelwatch_removed_site_events_total",
}


class FormatError(Exception):
    """A checkpoint that this version cannot read."""


@dataclass(slots=True)
class Checkpoint:
    """What one transaction makes durable.

    Attributes:
        applied: Offset of the last applied source record, -1 for none.
        slots: Changed slots; None deletes one.
        manifest: Written last, under a key of its own.
        dead_letters: Records for the dead-letter topic since the last checkpoint.
        drift_records: Keys and values for `labeling.drift.v1` since the last checkpoint.
    """

    applied: int
    slots: list[Slot]
    manifest: bytes
    dead_letters: list[DeadLetter] = field(default_factory=list)
    drift_records: list[tuple[bytes, bytes]] = field(default_factory=list)
    _totals: list[dict[str, Ints]] = field(default_factory=list)
    _opened: Opened = ({}, {})
    _tally: dict[str, int] = field(default_factory=dict)

    def with_earlier(self, earlier: "Checkpoint") -> "Checkpoint":
        """This checkpoint together with the one before it, which was not written: one transaction for both."""
        return dataclasses.replace(
            self,
            slots=list({**dict(earlier.slots), **dict(self.slots)}.items()),
            dead_letters=earlier.dead_letters + self.dead_letters,
            drift_records=earlier.drift_records + self.drift_records,
        )


class _Manifest(msgspec.Struct):
    format: int
    build: str
    topic: str
    partition: int
    applied: int
    intake: dict[str, object]


class PartitionEngine:
    """State of one partition of the events topic. Synchronous and deterministic; one thread changes it.

    Args:
        partition: Partition number.
        policy: The business' own numbers.
        topic: Topic name, for labels.
        partitions: Partitions of the topic, among which the false-alarm budgets are divided.
        now_ms: For records without an append time, such as a file's: those dated more than 5 minutes later are
            rejected. None: they are accepted whatever their time is.
        reader: Reads records; None: the native one where it can run, else Python's.
    """

    def __init__(
        self,
        partition: int,
        policy: Policy,
        topic: str = EVENTS,
        partitions: int = 1,
        now_ms: int | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.partition = partition
        self.topic = topic
        self.applied = -1
        self.pending_records = 0
        #: Held while the state changes or is read: figures are taken from another thread.
        self.lock = RLock()
        self._policy = policy
        self._removed = frozenset(policy.limits.removed_sites)
        self._rings = Rings()
        self._intake = Intake(now_ms, Admitted(policy.limits, partitions), reader)
        self._dead_letters: list[DeadLetter] = []
        self._committed_tally: dict[str, int] = {}
        #: The tally as restored from a checkpoint.
        self._tally_before: dict[str, int] = {}
        work, verdicts, sops = WorkPart(self._rings), VerdictsPart(self._rings, policy), SopsPart(self._rings)
        people, reviewers = PeoplePart(self._rings, policy), ReviewersPart(self._rings)
        presence = PresencePart(self._rings, policy)
        self._queues = QueuesPart(self._rings)
        self._drift = DriftPart(policy, partitions)
        self._parts: tuple[Part, ...] = (
            work,
            verdicts,
            sops,
            people,
            reviewers,
            presence,
            ImplausiblePart(self._rings),
            self._queues,
            self._drift,
        )
        self._work, self._verdicts, self._presence = work, verdicts, presence
        self._tables: tuple[Table, ...] = tuple(table for part in self._parts for table in part.tables)
        self._sites = SiteView(work, verdicts, presence, (topic, str(partition)))
        self._people = PeopleView(self.lock, people, reviewers, presence)
        self._views: tuple[View, ...] = (self._sites, self._people)

    # --- records

    @property
    def clock_ms(self) -> int:
        """Highest event time seen, or the time that a later `clock_advanced` has given; 0 before the first event."""
        return self._intake.clock_ms

    @property
    def dead_letters_pending(self) -> int:
        """How many dead letters no checkpoint has taken yet."""
        return len(self._dead_letters)

    @property
    def slots_pending(self) -> int:
        """How many slots of the tables have changed since the last checkpoint."""
        return sum(table.slots_pending for table in self._tables)

    @property
    def urgent(self) -> bool:
        """Whether a drift that pages has opened and no checkpoint has taken it yet."""
        return self._drift.pages_pending

    def drifts(self) -> list[tuple[Stream, Episode]]:
        """Copies of the drifts that are open, each with its stream."""
        with self.lock:
            return [(stream, msgspec.structs.replace(episode)) for stream, episode in self._drift.episodes()]

    def detection_plan(self) -> list[Plan]:
        """The run length that the false-alarm budgets give each stream."""
        with self.lock:
            return self._drift.plan()

    @property
    def notes(self) -> list[str]:
        """Sentences on what an operator should know about the restore."""
        return self._drift.notes

    def sites(self) -> list[str]:
        """Sites seen in this partition, sorted: after a restore from a compacted topic their order is another."""
        return sorted(self._intake.sites)

    def limits(self) -> dict[str, LimitUse]:
        """How much of each limit of the policy this partition uses."""
        admitted, tally, before = self._intake.admitted, self._intake.tally.counts, self._tally_before
        over = {kind: tally.get(f"over/{kind}", 0) - before.get(f"over/{kind}", 0) for kind in KINDS}
        return {kind: LimitUse(admitted.used[kind], admitted.limit[kind], over[kind]) for kind in KINDS}

    def apply(self, records: Sequence[KafkaRecord]) -> None:
        """Applies one fetched batch; records up to the offset `applied` are skipped. Never raises for a record."""
        with self.lock:
            if records and records[0].offset <= self.applied:
                records = records[bisect_right(records, self.applied, key=lambda record: record.offset) :]
            start = 0
            while start < len(records):
                cell = records[start].offset // CAP_CHECK_RECORDS
                if cell != self.applied // CAP_CHECK_RECORDS:
                    self._intake.enforce_cap()
                stop = len(records)
                if records[-1].offset // CAP_CHECK_RECORDS != cell:
                    stop = bisect_left(records, (cell + 1) * CAP_CHECK_RECORDS, key=lambda record: record.offset)
                self._apply(records[start:stop] if stop - start < len(records) else records)
                start = stop

    def _apply(self, records: Sequence[KafkaRecord]) -> None:
        self._intake.keeps_reviews = self._drift.holds
        batch = self._intake.read(records, self._dead_letters)
        for ring in self._rings:
            positions = ring.advance(self._intake.panes_ms)
            if positions:
                for table in self._tables:
                    table.clear(ring, positions)
        for part in self._parts:
            part.apply(batch, self._intake)
        self.applied = records[-1].offset
        self.pending_records += len(records)

    def count_deleted(self, records: int) -> None:
        """Counts records that retention deleted before they were read."""
        with self.lock:
            self._intake.tally.add("lost", records)
            self.pending_records += records

    # --- checkpoints

    def checkpoint(self) -> Checkpoint:
        """What has changed since the last checkpoint, to be written.

        If it cannot be written, either drop this engine, or write it with the next one (`Checkpoint.with_earlier`).
        """
        with self.lock:
            slots = [
                *self._intake.slots(),
                *(slot for table in self._tables for slot in table.slots()),
                *self._drift.slots(),
            ]
            manifest = _Manifest(FORMAT, BUILD, self.topic, self.partition, self.applied, self._intake.manifest())
            dead_letters, self._dead_letters = self._dead_letters, []
            self.pending_records = 0
            return Checkpoint(
                self.applied,
                slots,
                msgspec.msgpack.encode(manifest),
                dead_letters,
                self._drift.records(),
                _opened=self._drift.opened(),
                _totals=[table.totals_now() for table in self._tables],
                _tally=dict(self._intake.tally.counts),
            )

    def committed(self, checkpoint: Checkpoint) -> None:
        """Exports a checkpoint's durable counters from now on, since it is acknowledged."""
        with self.lock:
            for table, totals in zip(self._tables, checkpoint._totals, strict=True):
                table.committed = totals
            self._committed_tally = checkpoint._tally
            self._drift.committed(checkpoint._opened)

    @staticmethod
    def manifest_offset(manifest: bytes) -> int:
        """The offset of the last applied record, from a manifest."""
        return _read_manifest(manifest).applied

    @classmethod
    def restore(
        cls,
        partition: int,
        policy: Policy,
        slots: dict[bytes, bytes],
        manifest: bytes | None,
        topic: str = EVENTS,
        partitions: int = 1,
        reader: Reader | None = None,
    ) -> "PartitionEngine":
        """Builds an engine from a checkpoint; an empty one where there is none.

        Raises:
            FormatError: The checkpoint is of a newer format, or of another topic or partition.
        """
        engine = cls(partition, policy, topic, partitions, reader=reader)
        if manifest is None:
            return engine
        state = _read_manifest(manifest)
        if (state.topic, state.partition) != (topic, partition):
            raise FormatError(
                f"the checkpoint is of {state.topic} partition {state.partition}, not of {topic} partition "
                f"{partition}: give this worker another --id, or restore the right checkpoint topic"
            )
        intake: dict[bytes, bytes] = {}
        drift: dict[bytes, bytes] = {}
        by_table: dict[str, dict[tuple[int, str], bytes]] = {}
        for key, value in slots.items():
            if key.startswith((b"site|", b"ids|")):
                intake[key] = value
            elif key.startswith((b"drift|", b"drift-labels|")):
                drift[key] = value
            else:
                name, block, kind = key.decode().split("|")
                by_table.setdefault(name, {})[int(block), kind] = value
        engine._intake.restore(state.intake, intake)
        for ring in engine._rings:
            ring.advance(engine._intake.panes_ms)
        for table in engine._tables:
            table.restore(by_table.get(table.name, {}))
        engine._admit_again()
        engine._drift.restore(drift)
        for part in engine._parts:
            part.restored()
        engine.applied = state.applied
        engine._committed_tally = dict(engine._intake.tally.counts)
        engine._tally_before = dict(engine._intake.tally.counts)
        return engine

    def _admit_again(self) -> None:
        verdicts = self._verdicts
        self._intake.admitted.restore(
            self._intake.sites,
            self._work.work.index,
            verdicts.verdicts.index,
            self._presence.states.index,
            self._queues.known_queues(),
            errors=verdicts.errors.index,
            remarks=verdicts.remarks.index,
        )

    # --- figures

    def figures(self, at_ms: int) -> Figures:
        """Site and pipeline figures at a time, at which all windows end."""
        with self.lock:
            reports: list[Report] = [part.read(at_ms, self._policy) for part in self._parts]
            reports.append(self._sites.read(at_ms, self._policy, self.sites()))
            reports.append(self._read_pipeline(at_ms))
            # Taking the lock may mean waiting for a batch, so few people are counted here, while it is held.
            of_people = self._of_people(at_ms) if self._people.are_few else None
        figures = Figures()
        for report in reports:
            report(figures)
        active, paces = of_people or self._of_people(at_ms)
        for window, by_role in active.items():
            for role, by_site in by_role.items():
                for site, people in by_site.items():
                    figures.add("labelwatch_site_active_agents", (site, role, window), people)
        report_paces(figures, paces, self._policy)
        return without_sites(figures, self._removed) if self._removed else figures

    def _of_people(self, at_ms: int) -> tuple[Active, Paces]:
        return self._people.active(SITE_WINDOWS, at_ms), self._people.paces(SITE_WINDOWS, at_ms)

    def people(self, at_ms: int) -> PeopleFigures:
        """People's figures at a time, for the slower page."""
        groups = self._people.read(at_ms, self._policy)
        return PeopleFigures([without_people(group, self._removed) for group in groups] if self._removed else groups)

    def _read_pipeline(self, at_ms: int) -> Report:
        here = (self.topic, str(self.partition))
        tally = Tally(self._committed_tally).counts
        newest_ms = self._intake.newest_ms
        sites = [(site.name, site.first_ms, site.skew_ms, dict(site.beats)) for site in self._intake.sites.values()]
        limits = self.limits()

        def report(figures: Figures) -> None:
            for name in event_types():
                figures.add("labelwatch_events_total", (name, *here), tally.get(f"events/{name}", 0))
            for reason in REASONS:
                figures.add("labelwatch_rejected_total", (reason, *here), tally.get(f"rejected/{reason}", 0))
            for name, metric in _TALLIES.items():
                figures.add(metric, here, tally.get(name, 0))
            for kind, use in limits.items():
                figures.add("labelwatch_over_limit_events_total", (kind, *here), tally.get(f"over/{kind}", 0))
                figures.add("labelwatch_limit_used", (kind, *here), use.used)
                figures.add("labelwatch_limit", (kind, *here), use.limit)
            if newest_ms:
                figures.add("labelwatch_watermark_timestamp_seconds", here, newest_ms / 1000)
            for site, first_ms, skew_ms, beats in sites:
                if first_ms >= 0:
                    figures.add("labelwatch_site_first_event_timestamp_seconds", (site,), first_ms / 1000)
                zone = self._policy.timezone(site)
                figures.add("labelwatch_site_info", (site, self._policy.vendor(site), zone, here[1]), 1)
                offset_seconds = self._policy.utc_offset_seconds(site, at_ms)
                figures.add("labelwatch_site_utc_offset_seconds", (site, zone), offset_seconds)
                if site != OTHER:  # of many sites: it has no clock, and no policy names it
                    if skew_ms is not None:
                        figures.add("labelwatch_clock_skew_seconds", (site,), skew_ms / 1000)
                    figures.add("labelwatch_policy_scope_missing", (site,), 0 if self._policy.names_site(site) else 1)
                estimated_ms = beats.pop(STATE_ESTIMATED, None)
                if estimated_ms is not None and at_ms - estimated_ms < _ESTIMATED_MS:
                    figures.add("labelwatch_site_presence_estimated", (site,), 1)
                for name, beat_ms in beats.items():
                    figures.add("labelwatch_site_last_event_timestamp_seconds", (site, name), beat_ms / 1000)

        return report


def _read_manifest(manifest: bytes) -> _Manifest:
    version = msgspec.msgpack.decode(manifest, type=_Format)
    if version.format > FORMAT:
        raise FormatError(
            f"the checkpoint was written by build {version.build} in format {version.format}; this build, {BUILD}, "
            f"reads up to format {FORMAT}: run build {version.build} or newer, let its `labelwatch downgrade` rewrite "
            "the checkpoints, or start a new --id to count afresh"
        )
    return msgspec.msgpack.decode(manifest, type=_Manifest)


class _Format(msgspec.Struct):
    format: int
    build: str
