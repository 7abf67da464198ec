"""What the worker knows of itself: written by the event loop, read by the thread that renders the pages."""

import math
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from schemas.conditions import WORKER_CLOCK_WRONG
from schemas.metrics import CATALOGUE, METRICS, Page
from schemas.topics import EVENTS
from streams import native
from streams.engine.figures import Figures, LabelValues, PeopleFigures
from streams.exporter.connections import CutOff

FigureClock = Literal["wall", "event"]

#: Why a worker is not ready, in the order in which it becomes so.
REASONS = ("member", "assigned", "restored", "caught_up", "dead_letters", "clock")
#: Clocks of worker and broker further apart move every window by more than its newest pane.
CLOCK_OFFSET_SECONDS_MAX = WORKER_CLOCK_WRONG.limit
#: Why a checkpoint can fail, as `streams.runtime.checkpoints.failure` says.
CHECKPOINT_FAILURES = ("fenced", "dead_letters", "too_large", "not_allowed", "no_topic", "no_answer", "refused")


class Engine(Protocol):
    """What the exporter asks of a partition's engine."""

    @property
    def clock_ms(self) -> int:
        """Highest event time seen, 0 before the first event."""

    def figures(self, at_ms: int) -> Figures:
        """Site and pipeline figures at a time."""

    def people(self, at_ms: int) -> PeopleFigures:
        """People's figures at a time."""


def wall_ms() -> int:
    """Now in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class _Histogram:
    """Counts by bucket and a sum; observed by batches."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, buckets: Sequence[float]) -> None:
        self._bounds = np.asarray(buckets)
        self.counts = np.zeros(len(buckets) + 1, np.int64)
        self.total = 0.0

    def observe(self, values: ArrayLike) -> None:
        # Below 0 only by clocks that disagree; a sum must never fall, or Prometheus takes it for a restart.
        flat = np.maximum(np.asarray(values, np.float64).reshape(-1), 0.0)
        self.counts += np.bincount(np.searchsorted(self._bounds, flat), minlength=len(self.counts))
        self.total += float(flat.sum())


def _histogram(name: str) -> Callable[[], _Histogram]:
    return lambda: _Histogram(METRICS[name].buckets)


@dataclass(slots=True)
class _Partition:
    """One partition as this process has met it; its counters outlive the ownership."""

    owned: bool = False
    engine: Engine | None = None
    caught_up: bool = False
    lag: tuple[int, float] | None = None
    figures_lag_seconds: float | None = None
    held_up: tuple[int, float] | None = None
    last_commit_seconds: float | None = None
    checkpoints: int = 0
    checkpoint_seconds: _Histogram = field(default_factory=_histogram("labelwatch_checkpoint_seconds"))
    checkpoint_failures: Counter[str] = field(default_factory=Counter)
    restore_failures: int = 0
    dead_letter_failures: int = 0
    dead_letters_refused: bool = False
    delays: _Histogram = field(default_factory=_histogram("labelwatch_event_delay_seconds"))

    def release(self) -> None:
        self.owned = self.caught_up = self.dead_letters_refused = False
        self.engine = self.lag = self.held_up = self.figures_lag_seconds = self.last_commit_seconds = None


@dataclass(frozen=True, slots=True)
class ShownPartitions:
    """The partitions whose figures may go out, all at one time.

    Attributes:
        at_ms: The time for which figures are asked.
        engines: Partition to its engine, restored and caught up.
    """

    at_ms: int
    engines: dict[int, Engine]


class Build(NamedTuple):
    """Who speaks, for `labelwatch_build_info`: two workers that differ in policy or key show other figures or names.

    Attributes:
        version: Of the package.
        commit: Of the sources that it was made of.
        policy: Fingerprint of the policy.
        key: Fingerprint of the key of people's names.
        reader: Which reader of records it began with, `native` or `python`.
    """

    version: str = "unknown"
    commit: str = "unknown"
    policy: str = "unknown"
    key: str = "unknown"
    reader: str = "python"


class MonitorState:
    """The one meeting point of the event loop and the rendering thread; knows nothing of Kafka or Faust.

    Methods are safe from any thread and take microseconds. A partition's figures show only while
    it is assigned, restored and caught up, and while membership in the consumer group is proven:
    a cut-off worker falls silent by itself, even when its event loop hangs.

    The life of a partition: `assign` -> `restored` -> `caught_up` -> (`dropped` -> `restored` -> ...) -> `revoke`.

    Args:
        topic: Name of the events topic, for labels.
        clock: `wall`: figures are for now. `event`: for the highest event time of all shown partitions.
        build: Of this worker, for `labelwatch_build_info`.
        loop_stall_seconds: A loop that has not turned for so long counts as dead.
        now_ms: The wall clock, epoch milliseconds.
        monotonic: The clock of deadlines, in seconds; the runtime's `until` values must come from the same.
    """

    def __init__(
        self,
        *,
        topic: str = EVENTS,
        clock: FigureClock = "wall",
        build: Build = Build(),  # noqa: B008 - immutable
        loop_stall_seconds: float = 30.0,
        now_ms: Callable[[], int] = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self.clock = clock
        self.build = build
        self.loop_stall_seconds = loop_stall_seconds
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}
        self._topic_partitions = 0
        self._assigned = False
        self._member_until = -math.inf
        self._clock_offset_seconds: float | None = None
        self._loop_turned = (monotonic(), now_ms())
        self._render_seconds: dict[Page, float] = {}
        self._render_errors: Counter[Page] = Counter()
        self._left_out: dict[Page, Mapping[str, int]] = {}
        self._readers_cut_off: Counter[CutOff] = Counter()
        self._certificates: dict[str, float] = {}
        self._memory_limit_bytes: int | None = None

    # The event loop's side.

    def assign(self, partitions: Iterable[int], topic_partitions: int) -> None:
        """The group gave this worker these partitions of the topic (none is a valid share); others are released."""
        mine = set(partitions)
        with self._lock:
            self._assigned = True
            self._topic_partitions = topic_partitions
            for number, known in self._partitions.items():
                if number not in mine:
                    known.release()
            for number in mine:
                self._partitions.setdefault(number, _Partition()).owned = True

    def revoke(self) -> None:
        """All partitions were taken away, or the worker stops: nothing of them shows from here on."""
        with self._lock:
            self._assigned = False
            for known in self._partitions.values():
                known.release()

    def restored(self, partition: int, engine: Engine) -> None:
        """The partition's engine stands; it is not shown before `caught_up`."""
        with self._lock:
            known = self._partitions[partition]
            known.engine, known.caught_up = engine, False

    def caught_up(self, partition: int) -> None:
        """The engine has reached the log end seen at assignment: its figures show from here on."""
        with self._lock:
            self._partitions[partition].caught_up = True

    def dropped(self, partition: int) -> None:
        """The engine is gone (fenced, failed checkpoint) while the partition is still assigned."""
        with self._lock:
            known = self._partitions[partition]
            known.engine, known.caught_up = None, False

    def prove_membership(self, until: float) -> None:
        """The group counts this worker as a member at least until then.

        Args:
            until: Monotonic seconds: when the last answered heartbeat was *sent*, plus the session time-out.
        """
        self._member_until = until

    def loop_turned(self) -> None:
        """The event loop is alive; a ticker calls this about every second."""
        self._loop_turned = (self._monotonic(), self._now_ms())

    def lag(self, partition: int, records: int, seconds: float) -> None:
        """How far durable state is behind the log end; `seconds` is the age of the oldest such record, 0 at the end."""
        with self._lock:
            self._partitions[partition].lag = (records, seconds)

    def figures_lag(self, partition: int, seconds: float) -> None:
        """Age of the oldest record that was not applied, 0 at the end."""
        with self._lock:
            self._partitions[partition].figures_lag_seconds = seconds

    def held_up(self, partition: int, records: int, seconds: float) -> None:
        """What an open transaction keeps from being read, by any worker; `seconds` is its age, 0 where none is open."""
        with self._lock:
            self._partitions[partition].held_up = (records, seconds)

    def committed(self, partition: int, took_seconds: float) -> None:
        """A checkpoint was acknowledged, its dead letters with it."""
        with self._lock:
            known = self._partitions[partition]
            known.checkpoints += 1
            known.checkpoint_seconds.observe(took_seconds)
            known.last_commit_seconds = self._now_ms() / 1000
            known.dead_letters_refused = False

    def committed_before(self, partition: int, at_seconds: float) -> None:
        """The checkpoint that was restored is from then."""
        with self._lock:
            self._partitions[partition].last_commit_seconds = at_seconds

    def clock_offset(self, seconds: float) -> None:
        """By how much this machine's clock is ahead of the broker's; below 0 it is behind."""
        self._clock_offset_seconds = seconds

    def checkpoint_failed(self, partition: int, reason: str) -> None:
        """A checkpoint was not written; one of `CHECKPOINT_FAILURES`."""
        with self._lock:
            self._partitions[partition].checkpoint_failures[reason] += 1

    def restore_failed(self, partition: int) -> None:
        """A partition's state could not be read back; it is tried again."""
        with self._lock:
            self._partitions[partition].restore_failures += 1

    def dead_letter_failed(self, partition: int) -> None:
        """Dead letters could not be written: not ready until the next `committed`."""
        with self._lock:
            known = self._partitions[partition]
            known.dead_letter_failures += 1
            known.dead_letters_refused = True

    def event_delays(self, partition: int, seconds: ArrayLike) -> None:
        """Event time to figure, of one batch's events."""
        with self._lock:
            self._partitions[partition].delays.observe(seconds)

    # The rendering thread's side.

    @property
    def is_member(self) -> bool:
        """Whether membership is proven now; asked before and after a page is rendered."""
        return self._monotonic() < self._member_until

    def shown(self) -> ShownPartitions:
        """The engines whose figures may go out now, and the one time to ask them for."""
        with self._lock:
            engines = (
                {n: p.engine for n, p in sorted(self._partitions.items()) if p.owned and p.caught_up and p.engine}
                if self.is_member
                else {}
            )
        if self.clock == "event":
            return ShownPartitions(max((engine.clock_ms for engine in engines.values()), default=0), engines)
        return ShownPartitions(self._now_ms(), engines)

    def not_ready(self) -> dict[str, str]:
        """What is missing: reason to a sentence; empty when ready."""
        with self._lock:
            return self._not_ready()

    def _not_ready(self) -> dict[str, str]:
        owned = {n: p for n, p in sorted(self._partitions.items()) if p.owned}
        missing = {}

        def partitions(reason: str, numbers: list[int], sentence: str) -> None:
            if numbers:
                missing[reason] = f"{sentence}: partition {', '.join(map(str, numbers))}"

        if not self.is_member:
            missing["member"] = "membership in the consumer group is not proven: broker away, or still joining"
        if not self._assigned:
            missing["assigned"] = "no assignment from the consumer group yet"
        partitions("restored", [n for n, p in owned.items() if p.engine is None], "state not restored yet")
        partitions(
            "caught_up", [n for n, p in owned.items() if not p.caught_up], "not at the log end seen at assignment yet"
        )
        partitions(
            "dead_letters", [n for n, p in owned.items() if p.dead_letters_refused], "dead letters cannot be written"
        )
        offset = self._clock_offset_seconds or 0.0
        if self.clock == "wall" and abs(offset) > CLOCK_OFFSET_SECONDS_MAX:
            direction = "ahead of" if offset > 0 else "behind"
            missing["clock"] = (
                f"this machine's clock is {abs(offset):.0f} s {direction} the broker's: figures are of then"
            )
        if not self._assigned:
            missing.setdefault("restored", "nothing assigned yet")
            missing.setdefault("caught_up", "nothing assigned yet")
        return missing

    @property
    def loop_age_seconds(self) -> float:
        """Seconds since the event loop last turned."""
        return self._monotonic() - self._loop_turned[0]

    @property
    def is_alive(self) -> bool:
        """Whether the event loop turned lately."""
        return self.loop_age_seconds < self.loop_stall_seconds

    def rendered(self, page: Page, seconds: float) -> None:
        """A page was rendered."""
        with self._lock:
            self._render_seconds[page] = seconds

    def render_failed(self, page: Page) -> None:
        """A page, or a partition's part of it, could not be rendered."""
        with self._lock:
            self._render_errors[page] += 1

    def left_out(self, page: Page, series: Mapping[str, int]) -> None:
        """Series by metric that the newest rendering of a page could not show."""
        with self._lock:
            self._left_out[page] = series

    def reader_cut_off(self, reason: CutOff) -> None:
        """Somebody who asked for a page does not get it whole."""
        with self._lock:
            self._readers_cut_off[reason] += 1

    def memory_limit(self, limit_bytes: int) -> None:
        """The container's memory, beyond which the kernel kills this process."""
        self._memory_limit_bytes = limit_bytes

    def certificate_expires(self, use: str, at_seconds: float) -> None:
        """A certificate of this worker ends then: `metrics`, the pages' own; `kafka`, that shown to the brokers."""
        with self._lock:
            self._certificates[use] = at_seconds

    def process_figures(self) -> Figures:
        """The worker's own values under catalogue names."""
        figures = Figures()
        with self._lock:
            missing = self._not_ready()
            member = "member" not in missing
            for number in sorted(set(range(self._topic_partitions)) | self._partitions.keys()):
                self._add_partition(figures, (self.topic, str(number)), self._partitions.get(number), member)
            if self._topic_partitions:
                figures.add("labelwatch_topic_partitions", (self.topic,), self._topic_partitions)
            self._add_pages(figures)
        for reason in REASONS:
            figures.add("labelwatch_ready", (reason,), int(reason not in missing))
        if self._clock_offset_seconds is not None:
            figures.add("labelwatch_worker_clock_offset_seconds", (), self._clock_offset_seconds)
        if self._memory_limit_bytes is not None:
            figures.add("labelwatch_memory_limit_bytes", (), self._memory_limit_bytes)
        figures.add("labelwatch_loop_timestamp_seconds", (), self._loop_turned[1] / 1000)
        figures.add("labelwatch_native_reader_failures_total", (), native.failures)
        figures.add("labelwatch_build_info", (self.build.version, platform.python_version(), *self.build[1:]), 1)
        return figures

    def _add_pages(self, figures: Figures) -> None:
        for page in Page:
            if page in self._render_seconds:
                figures.add("labelwatch_render_duration_seconds", (page.value,), self._render_seconds[page])
            figures.add("labelwatch_render_errors_total", (page.value,), self._render_errors[page])
        for reason in CutOff:
            figures.add("labelwatch_page_readers_cut_off_total", (reason.value,), self._readers_cut_off[reason])
        for use, at_seconds in self._certificates.items():
            figures.add("labelwatch_certificate_expiry_timestamp_seconds", (use,), at_seconds)
        dropped = Counter({metric.name: 0 for metric in CATALOGUE if metric.page is Page.AGENTS})
        for series in self._left_out.values():
            dropped.update(series)
        for name, count in dropped.items():
            figures.add("labelwatch_dropped_series", (name,), count)

    @staticmethod
    def _add_partition(figures: Figures, labels: LabelValues, known: _Partition | None, member: bool) -> None:
        # 0 for the others' partitions: so the sum over workers is 0, not absent, when nobody owns one.
        owned = member and known is not None and known.owned
        figures.add("labelwatch_partition_owned", labels, int(owned))
        if known is None:
            return
        if owned:
            figures.add("labelwatch_partition_restored", labels, int(known.engine is not None))
        if owned and known.lag is not None:
            figures.add("labelwatch_consumer_lag_records", labels, known.lag[0])
            figures.add("labelwatch_consumer_lag_seconds", labels, known.lag[1])
        if owned and known.figures_lag_seconds is not None:
            figures.add("labelwatch_figures_lag_seconds", labels, known.figures_lag_seconds)
        if owned and known.held_up is not None:
            figures.add("labelwatch_uncommitted_records", labels, known.held_up[0])
            figures.add("labelwatch_open_transaction_seconds", labels, known.held_up[1])
        if owned and known.last_commit_seconds is not None:
            figures.add("labelwatch_last_commit_timestamp_seconds", labels, known.last_commit_seconds)
        figures.add("labelwatch_checkpoints_total", labels, known.checkpoints)
        for reason in CHECKPOINT_FAILURES:
            figures.add("labelwatch_checkpoint_failures_total", (reason, *labels), known.checkpoint_failures[reason])
        figures.add("labelwatch_restore_failures_total", labels, known.restore_failures)
        figures.add("labelwatch_dead_letter_failures_total", labels, known.dead_letter_failures)
        for name, histogram in (
            ("labelwatch_checkpoint_seconds", known.checkpoint_seconds),
            ("labelwatch_event_delay_seconds", known.delays),
        ):
            figures.histograms.setdefault(name, []).append((labels, histogram.counts.tolist(), histogram.total))
