"""The drift part: hands reviews and labels to the streams that watch them, and makes records and figures of drifts."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from schemas.drift import BUDGET_OF, BUDGETS, DriftRecord
from schemas.policy import Policy
from streams.engine.batch import EventBatch
from streams.engine.drift.budgets import MONTH_SECONDS, Plan
from streams.engine.drift.episodes import Episode, level, shown
from streams.engine.drift.hold import Hold
from streams.engine.drift.labels import LABEL_SHARE, SIGNALS_OF_LABELS, LabelDrifts
from streams.engine.drift.reviews import ReviewDrifts
from streams.engine.drift.river import RiverKey
from streams.engine.drift.stream import Stream
from streams.engine.figures import Figures
from streams.engine.intake import Intake
from streams.engine.panes import HOUR_MS, Slot, Table
from streams.engine.parts import Report

#: How often drifts have opened: ours by stream, and river's.
Opened = tuple[dict[Stream, int], dict[RiverKey, int]]


class DriftPart:
    """Watches reviews, held back until they count, and labels.

    Args:
        policy: Its budgets and targets, and which signals are watched.
        partitions: Partitions of the events topic, among which the budgets are divided.
    """

    def __init__(self, policy: Policy, partitions: int = 1) -> None:
        self.tables: Sequence[Table] = ()
        self._policy = policy
        oncall = policy.oncall
        false_a_month = dict(zip(BUDGETS, (oncall.false_pages_per_month, oncall.false_tickets_per_month), strict=True))
        self.labels = LabelDrifts(policy, partitions)
        if self.labels.watches:
            false_a_month["ticket"] *= 1 - LABEL_SHARE
        self.reviews = ReviewDrifts(policy, {budget: allowed / partitions for budget, allowed in false_a_month.items()})
        self._hold = Hold(int(policy.detection.hold_hours * HOUR_MS), policy.limits.removed_sites)
        #: Label values by index in the list of the streams of sites.
        self._labels_of_sites: list[tuple[str, ...]] = []
        self._committed: dict[Stream, int] = {}
        self._records: list[tuple[bytes, bytes]] = []

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Takes the labels of a batch in order, then its reviews in order; no stream has both."""
        batch = self._hold.take(batch, intake)
        self.labels.apply(batch, intake)
        for _, stream, record in self.labels.book.take_reported():
            if record.status == "opened":
                self.reviews.book.count(stream)
            self.reviews.book.changed = True
            self._put(record)
        if self.reviews.watches:
            for record in self.reviews.apply(batch, intake):
                self._put(record)

    def _put(self, record: DriftRecord) -> None:
        self._records.append((record.site_id.encode(), msgspec.json.encode(record)))

    def restored(self) -> None:
        """Nothing is kept in tables."""

    # --- what the engine needs

    @property
    def holds(self) -> bool:
        """Whether batches must keep the events of reviews, to hold them."""
        return self._hold.holds

    @property
    def pages_pending(self) -> bool:
        """Whether a drift that pages has opened since the last call of `records`."""
        return self.reviews.book.pages_pending

    @property
    def notes(self) -> list[str]:
        """Sentences on what an operator should know about the restore."""
        return self.reviews.river.notes

    def records(self) -> list[tuple[bytes, bytes]]:
        """Records for `labeling.drift.v1` since the last call."""
        records, self._records = self._records, []
        self.reviews.book.pages_pending = False
        return records

    def opened(self) -> Opened:
        """How often drifts have opened."""
        return dict(self.reviews.book.opened), self.reviews.river.opened()

    def committed(self, opened: Opened) -> None:
        """Exports counts from now on, since their checkpoint is acknowledged."""
        self._committed, of_river = opened
        self.reviews.river.committed(of_river)

    def plan(self) -> list[Plan]:
        """The run length that the budgets give each stream."""
        return self.reviews.streams.plan()

    def episodes(self) -> list[tuple[Stream, Episode]]:
        """The drifts that are open, by stream."""
        self.reviews.book.pack()
        both = [*self.reviews.book.open_drifts(), *self.labels.book.open_drifts()]
        return sorted(both, key=lambda pair: pair[0])

    # --- figures

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Figures of open drifts and, for sites and projects, of every stream."""
        book, streams = self.reviews.book, self.reviews.streams
        both = (*book.open_drifts(), *self.labels.book.open_drifts())
        open_now = [(stream, msgspec.structs.replace(each)) for stream, each in both]
        of_sites = streams.of_sites()
        self._labels_of_sites.extend(_labels(stream) for _, stream in of_sites[len(self._labels_of_sites) :])
        places = [place for place, (number, _) in enumerate(of_sites) if number not in book.drifts]
        calm = [of_sites[place] for place in places]
        run_lengths = np.array(streams.run_lengths_now([number for number, _ in calm]), np.float64)
        statistics = np.array(streams.evidences([number for number, _ in calm]), np.float64)
        baselines = [shown(stream, streams.shown_baseline(number)) for number, stream in calm]
        cleared = [book.key(number) for number in book.closed if number not in book.drifts]
        counts = dict(self._committed)
        unwatched, held = streams.unwatched, len(self._hold)
        report_river = self.reviews.river.read()

        def report(figures: Figures) -> None:
            for stream in cleared:
                if stream.agent:
                    figures.add("labelwatch_drift_active", _labels(stream), 0)
            for name, values in (
                ("labelwatch_drift_active", np.zeros(len(calm), np.int64)),
                ("labelwatch_drift_evidence", np.minimum(statistics / run_lengths, 1e6)),
                ("labelwatch_drift_run_length_reviews", run_lengths),
                ("labelwatch_drift_baseline_ratio", np.array(baselines, np.float64)),
                ("labelwatch_drifts_total", np.array([counts.pop(stream, 0) for _, stream in calm], np.int64)),
            ):
                figures.add_column(name, self._labels_of_sites, np.array(places, np.int64), values)
            is_open = {stream for stream, _ in open_now}
            for stream in counts:
                if stream.signal in SIGNALS_OF_LABELS and stream not in is_open:
                    figures.add("labelwatch_drift_active", _labels(stream), 0)
            for stream, episode in open_now:
                _report_open(figures, stream, episode)
            for stream, count in counts.items():
                figures.add("labelwatch_drifts_total", _labels(stream), count)
            figures.add("labelwatch_unwatched_streams", (), unwatched)
            figures.add("labelwatch_held_reviews", (), held)
            report_river(figures)

        return report

    # --- the durable form

    def slots(self) -> Iterator[Slot]:
        """What has changed since the last call."""
        yield from self.reviews.slots()
        yield from self.labels.slots()
        yield from self._hold.slots()

    def restore(self, slots: Mapping[bytes, bytes]) -> None:
        """Restores an empty part from its slots, by key."""
        self.labels.restore(slots)
        self._hold.restore(slots)
        self.reviews.restore(slots)
        self._committed = dict(self.reviews.book.opened)


def _labels(stream: Stream) -> tuple[str, ...]:
    return (*stream, BUDGET_OF[stream.signal])


def _report_open(figures: Figures, stream: Stream, episode: Episode) -> None:
    labels = _labels(stream)
    # The ratio of a handling time is one to the handling time before.
    scale = episode.before.value if stream.signal == "handle_time" else 1.0
    for name, value in (
        ("labelwatch_drift_active", 1),
        ("labelwatch_drift_evidence", min(episode.evidence, 1e6)),
        ("labelwatch_drift_baseline_ratio", episode.before.value / scale),
        ("labelwatch_drift_current_ratio", level(stream, episode.wrong, episode.n).value / scale),
        ("labelwatch_drift_reviews", episode.n),
        ("labelwatch_drift_began_timestamp_seconds", episode.began_at / 1000),
        ("labelwatch_drift_opened_timestamp_seconds", episode.opened_at / 1000),
        ("labelwatch_drift_run_length_reviews", episode.run_length),
    ):
        figures.add(name, labels, value)
    if episode.volume:
        seconds = episode.run_length / episode.volume * MONTH_SECONDS
        figures.add("labelwatch_drift_run_length_seconds", labels, seconds)
    ids = episode.drift_id, episode.parent, episode.incident_id or episode.drift_id
    figures.add("labelwatch_drift_info", (*labels, *ids), 1)
    for cause in episode.causes:
        figures.add("labelwatch_drift_contribution", (*labels, cause.by, cause.member, cause.effect), cause.points)
