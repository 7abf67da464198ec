"""What one scrape says: the monitor's own state and each site's, worst first; between samples and board."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from schemas.conditions import FIGURES_STALE, SITE_SILENT, SITE_STALE, WORKER_CLOCK_WRONG
from schemas.states import (
    AT_TARGET,
    BELOW,
    BLIND,
    DOWN,
    DRIFT,
    LIVE,
    NEAR,
    NO_EVENTS,
    NO_SHIFT,
    REPLAY,
    SILENT,
    STALE,
    STARTING,
    UNSEEN,
    LiveStatus,
    SiteStatus,
)
from streams.views.samples import Samples

#: Accuracy's window: at 1 h most sites have too few reviews to tell.
WINDOW = "24h"
#: What happens now, where there are enough reviews.
RECENT_WINDOW = "15m"
#: Speed and utilization.
NOW_WINDOW = "1h"
#: A worker's loop turns each second; Prometheus may have asked it up to a minute ago.
HUNG_SECONDS = 75.0
#: Sites that are not on the page any more stay on the board for so long, as unknown.
REMEMBER_SECONDS = 3600.0
#: Events older than this beside a full last hour: the worker's clock is the events' own.
_REPLAY_SECONDS = 7200.0
#: Signals whose rates are shares of correct reviews of agents' work.
_ACCURACY = ("accuracy", "accuracy_target")
_AWAY = ("break", "training", "meeting")


#: What a worker that is not ready waits for, in words.
_WAITS = {
    "member": "it is not a member of its group: broker away, or still joining",
    "assigned": "it has no partitions yet",
    "restored": "it restores its state",
    "caught_up": "it reads what has piled up",
    "dead_letters": "dead letters cannot be written",
    "clock": f"its clock is off the broker's by more than {WORKER_CLOCK_WRONG.said.en}: figures are of another time",
}
#: Without these no figure is on the page.
_VITAL = ("member", "assigned")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of correct reviews with what it rests on.

    Attributes:
        reviews: How many reviews.
        ratio: 0 to 1; None where there is not enough data. `lower` and `upper` likewise.
        lower: Lower bound of the 95% interval.
        upper: Upper bound.
        target: The policy's target, 0 to 1; NaN where the page has none.
    """

    reviews: int = 0
    ratio: float | None = None
    lower: float | None = None
    upper: float | None = None
    target: float = math.nan

    @property
    def state(self) -> SiteStatus:
        """What the interval proves against the target."""
        if self.ratio is None or self.lower is None or self.upper is None:
            return BLIND
        if self.upper < self.target:
            return BELOW
        return AT_TARGET if self.lower >= self.target else NEAR

    @property
    def upper_gap(self) -> float:
        """The interval's upper bound minus the target: below 0 is proven below by so much. The lower, the worse."""
        return 0.0 if self.upper is None or math.isnan(self.target) else self.upper - self.target

    @property
    def proven_gap(self) -> float:
        """By how much the interval clears the target: below 0 proven below, above 0 proven above, else 0."""
        if self.lower is None or self.upper is None or math.isnan(self.target):
            return 0.0
        return min(self.upper - self.target, 0.0) + max(self.lower - self.target, 0.0)


@dataclass(frozen=True, slots=True)
class SiteLine:
    """One site as the board shows it. Ratios 0 to 1; None where there is no such figure."""

    site: str
    state: SiteStatus = NEAR
    accuracy: Accuracy = Accuracy()
    recent: Accuracy = Accuracy()
    qa: Accuracy = Accuracy()
    min_reviews: int | None = None
    labels_per_hour: float = 0.0
    handle_seconds: float | None = None
    handle_seconds_target: float = math.inf
    utilization: float | None = None
    utilization_target: float = 0.0
    #: Nobody reported states of the site: they are estimated from gaps between labels.
    is_presence_estimated: bool = False
    #: Share of the labels whose people report states: whom utilization and speed speak of.
    timed_labels: float = 1.0
    people: dict[str, int] = field(default_factory=dict)
    silent_seconds: float = 0.0
    #: Accuracy since the change, where a drift of accuracy is open; 0 to 1.
    since_change: float | None = None

    @property
    def working(self) -> int:
        """People on a task now."""
        return self.people.get("productive", 0)

    @property
    def waiting(self) -> int:
        """People who wait for work."""
        return self.people.get("available", 0)

    @property
    def away(self) -> int:
        """People logged in and at something else."""
        return sum(self.people.get(state, 0) for state in _AWAY)


@dataclass(frozen=True, slots=True)
class OpenDrift:
    """An open drift of a site or project. Ratios 0 to 1; None where the page does not say.

    Attributes:
        river: The detector of river that has it open: beside ours (it agrees), or alone.
        is_ours: Whether our own test has found it; of river's alone nothing is promised.
        is_within: Whether it belongs to its site's drift.
    """

    site: str
    project: str
    signal: str
    direction: str
    budget: str
    evidence: float
    baseline: float | None
    current: float | None
    reviews: int
    began_seconds: float | None
    river: str = ""
    is_ours: bool = True
    is_within: bool = False


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The monitor's own health."""

    answers: bool = False
    not_ready: tuple[str, ...] = ()
    lag_seconds: float = 0.0
    lag_records: int = 0
    held_up_seconds: float = 0.0
    held_up_records: int = 0
    newest_event_seconds: float | None = None
    loop_seconds: float | None = None
    events: float = 0.0
    rejected: int = 0
    duplicates: int = 0
    late: int = 0
    owned: int = 0
    partitions: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything the board shows of one moment, epoch seconds."""

    at_seconds: float
    sites: tuple[SiteLine, ...] = ()
    pipeline: Pipeline = Pipeline()
    drifts: tuple[OpenDrift, ...] = ()

    @property
    def total(self) -> tuple[int, int]:
        """Reviews of all known sites within the window, and how many were correct."""
        known = [line.accuracy for line in self.sites if line.accuracy.ratio is not None]
        return sum(each.reviews for each in known), sum(round(each.reviews * (each.ratio or 0.0)) for each in known)


def read(samples: Samples, at_seconds: float) -> Reading:
    """Puts the samples of one scrape together by site.

    Args:
        samples: One scrape of a worker, or the newest samples of a Prometheus.
        at_seconds: When, epoch seconds.
    """
    pipeline = _pipeline(samples)
    drifts = _drifts(samples)
    drifting: dict[str, float | None] = {}
    for drift in sorted((drift for drift in drifts if drift.is_ours), key=_whole_site_first):
        drifting.setdefault(drift.site, drift.current if drift.signal in _ACCURACY else None)
    sites = sorted({labels["site"] for labels, _ in samples.select("labelwatch_site_info")})
    lines = [
        replace(_site(samples, site, site in drifting, pipeline.newest_event_seconds), since_change=drifting.get(site))
        for site in sites
    ]
    return Reading(at_seconds, tuple(sorted(lines, key=_worst_first)), pipeline, drifts)


def remember(reading: Reading, before: Reading | None, seen: dict[str, float]) -> Reading:
    """Adds the sites of the last hour that the newest page lacks, as unknown: no site vanishes unnoticed.

    Args:
        reading: The newest.
        before: What was shown until now.
        seen: When each site was last on a page; kept by the caller, updated here.
    """
    here = {line.site for line in reading.sites}
    seen.update(dict.fromkeys(here, reading.at_seconds))
    gone = [
        replace(line, state=UNSEEN)
        for line in (before.sites if before else ())
        if line.site not in here and reading.at_seconds - seen.get(line.site, 0.0) < REMEMBER_SECONDS
    ]
    return replace(reading, sites=tuple(sorted([*reading.sites, *gone], key=_worst_first))) if gone else reading


def _whole_site_first(drift: OpenDrift) -> tuple[bool, bool, float]:
    """Of a site's drifts that of its own accuracy, else of the project that fell furthest."""
    moved = (drift.current or 0.0) - (drift.baseline or 0.0)
    return drift.signal not in _ACCURACY, bool(drift.project), moved


def unknown(reading: Reading) -> Reading:
    """The same figures when they may be out of date: every site is unknown, open drifts stay."""
    return replace(reading, sites=tuple(replace(line, state=UNSEEN) for line in reading.sites))


def monitor(reading: Reading | None, trouble: str | None, now_seconds: float) -> tuple[LiveStatus, str]:
    """The state of the monitor, and why if it is not live.

    Args:
        reading: The newest good one.
        trouble: Why a newer one could not be had.
        now_seconds: Now, epoch seconds.
    """
    if reading is None:
        return (STARTING, "waiting for the worker") if trouble is None else (DOWN, trouble)
    if trouble is not None:
        return DOWN, f"{trouble}; figures are {span(now_seconds - reading.at_seconds)} old"
    pipeline = reading.pipeline
    if not pipeline.answers:
        return DOWN, "no worker is scraped there: start one, or look at the scrape's targets"
    if pipeline.not_ready:
        why = _WAITS.get(pipeline.not_ready[0], f"it waits for {pipeline.not_ready[0]}")
        if not reading.sites:
            return STARTING, why
        return (DOWN if pipeline.not_ready[0] in _VITAL else STALE), why
    if pipeline.loop_seconds is not None and reading.at_seconds - pipeline.loop_seconds > HUNG_SECONDS:
        return STALE, f"the worker has hung for {span(reading.at_seconds - pipeline.loop_seconds)}"
    if pipeline.lag_seconds > FIGURES_STALE.limit:
        return STALE, f"{span(pipeline.lag_seconds)} behind, {pipeline.lag_records:,} records to read"
    if pipeline.held_up_seconds > SITE_STALE.limit:
        return STALE, (
            f"a producer's transaction, open for {span(pipeline.held_up_seconds)}, keeps "
            f"{pipeline.held_up_records:,} records from being read: see `labelwatch doctor`"
        )
    if pipeline.newest_event_seconds is None:
        return STARTING, "no event yet"
    age = now_seconds - pipeline.newest_event_seconds
    if age > _REPLAY_SECONDS and any(line.labels_per_hour for line in reading.sites):
        return REPLAY, ""
    return (NO_EVENTS, f"for {span(age)}") if age > SITE_SILENT.limit else (LIVE, "")


def percent(ratio: float, decimals: int = 1) -> str:
    """A share for people: with so many more digits that what is below 100% never reads 100%, nor above 0% reads 0%."""
    for digits in range(decimals, 5):
        shown = f"{ratio:.{digits}%}"
        # Bounds come from a square root: what differs by less than that is the same.
        if float(shown[:-1]) not in (0, 100) or min(abs(ratio), abs(1 - ratio)) < 1e-9:
            return shown
    return ">99.99%" if ratio > 0.5 else "<0.01%"


def span(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:,.0f} d"


def rank(state: SiteStatus) -> int:
    """How urgent a state is: one that nobody knows is no better than one without reviews."""
    return BLIND.code if state is UNSEEN else state.code


def _worst_first(line: SiteLine) -> tuple[float, ...]:
    ratio = line.accuracy.target if line.accuracy.ratio is None else line.accuracy.ratio
    distance = ratio - line.accuracy.target
    return (-rank(line.state), line.accuracy.proven_gap, 0.0 if math.isnan(distance) else distance)


def _pipeline(samples: Samples) -> Pipeline:
    ready = list(samples.select("labelwatch_ready"))
    waiting = {labels["reason"] for labels, value in ready if value != 1}
    return Pipeline(
        answers=bool(ready),
        not_ready=tuple(sorted(waiting, key=lambda reason: list(_WAITS).index(reason) if reason in _WAITS else 9)),
        lag_seconds=samples.value("labelwatch_figures_lag_seconds") or 0.0,
        lag_records=int(samples.total("labelwatch_consumer_lag_records")),
        held_up_seconds=samples.value("labelwatch_open_transaction_seconds") or 0.0,
        held_up_records=int(samples.total("labelwatch_uncommitted_records")),
        newest_event_seconds=samples.value("labelwatch_watermark_timestamp_seconds"),
        loop_seconds=min((value for _, value in samples.select("labelwatch_loop_timestamp_seconds")), default=None),
        events=samples.total("labelwatch_events_total"),
        rejected=int(samples.total("labelwatch_rejected_total")),
        duplicates=int(samples.total("labelwatch_duplicates_total")),
        late=int(samples.total("labelwatch_late_events_total")),
        owned=int(samples.total("labelwatch_partition_owned")),
        partitions=int(samples.value("labelwatch_topic_partitions") or 0),
    )


class _DriftMetrics(NamedTuple):
    """Under which names the page has a drift's figures; None for what a detector does not give."""

    active: str
    baseline: str
    current: str
    reviews: str
    began: str
    evidence: str | None = None


_OURS = _DriftMetrics(
    active="labelwatch_drift_active",
    baseline="labelwatch_drift_baseline_ratio",
    current="labelwatch_drift_current_ratio",
    reviews="labelwatch_drift_reviews",
    began="labelwatch_drift_began_timestamp_seconds",
    evidence="labelwatch_drift_evidence",
)
_RIVERS = _DriftMetrics(
    active="labelwatch_river_drift_active",
    baseline="labelwatch_river_drift_baseline_ratio",
    current="labelwatch_river_drift_current_ratio",
    reviews="labelwatch_river_drift_reviews",
    began="labelwatch_river_drift_began_timestamp_seconds",
)
_STREAM = ("site", "project", "signal", "direction")


def _drifts(samples: Samples) -> tuple[OpenDrift, ...]:
    """Ours, pages first, the surest first, below each what belongs to it; then river's that ours do not share."""
    of_river = _open(samples, _RIVERS)
    detectors = {tuple(labels.get(name, "") for name in _STREAM): labels["detector"] for labels in of_river}
    ours = [_drift(samples, _OURS, labels) for labels in _open(samples, _OURS)]
    ours = [replace(drift, river=detectors.pop(_stream(drift), "")) for drift in ours]
    alone = [
        replace(_drift(samples, _RIVERS, labels), river=labels["detector"], is_ours=False)
        for labels in of_river
        if tuple(labels.get(name, "") for name in _STREAM) in detectors
    ]
    infos = samples.select("labelwatch_drift_info")
    within = {tuple(labels.get(name, "") for name in _STREAM) for labels, _ in infos if labels.get("parent")}
    ours = sorted(ours, key=lambda drift: (drift.budget != "page", -drift.evidence))
    ours = [replace(drift, is_within=_stream(drift) in within) for drift in ours]
    of_sites = [(drift.site, n) for n, drift in enumerate(ours) if not (drift.is_within or drift.project)]
    places = dict(reversed(of_sites))
    order = [(places.get(drift.site, n) if drift.is_within else n, drift.is_within, n) for n, drift in enumerate(ours)]
    return (*(ours[n] for _, _, n in sorted(order)), *alone)


def _open(samples: Samples, names: _DriftMetrics) -> list[Mapping[str, str]]:
    found = samples.select(names.active)
    return [labels for labels, value in found if value == 1 and not labels.get("agent")]


def _stream(drift: OpenDrift) -> tuple[str, ...]:
    return drift.site, drift.project, drift.signal, drift.direction


def _drift(samples: Samples, names: _DriftMetrics, labels: Mapping[str, str]) -> OpenDrift:
    site, project, signal, direction, budget = (labels.get(name, "") for name in (*_STREAM, "budget"))
    return OpenDrift(
        *(site, project, signal, direction, budget),
        evidence=(samples.value(names.evidence, **labels) if names.evidence else None) or 0.0,
        baseline=samples.value(names.baseline, **labels),
        current=samples.value(names.current, **labels),
        reviews=int(samples.value(names.reviews, **labels) or 0),
        began_seconds=samples.value(names.began, **labels),
    )


def _site(samples: Samples, site: str, drifting: bool, newest_event_seconds: float | None) -> SiteLine:
    scope = {"site": site, "project": "", "market": ""}

    def figure(name: str, **labels: str) -> float | None:
        return samples.value(name, site=site, **labels)

    def by_policy(name: str, **labels: str) -> float | None:
        # A site that the policy does not name has the default's numbers.
        found = samples.value(name, **scope, **labels)
        return samples.value(name, site="", project="", market="", **labels) if found is None else found

    def target(kind: str, otherwise: float) -> float:
        found = by_policy("labelwatch_target_ratio", kind=kind)
        return otherwise if found is None else found

    def accuracy(role: str, window: str, kind: str) -> Accuracy:
        of_whom = {"role": role, "window": window}
        return Accuracy(
            int(figure("labelwatch_site_reviews", **of_whom) or 0),
            figure("labelwatch_site_accuracy_ratio", **of_whom),
            figure("labelwatch_site_accuracy_lower_ratio", **of_whom),
            figure("labelwatch_site_accuracy_upper_ratio", **of_whom),
            target(kind, math.nan),
        )

    last_label = samples.value("labelwatch_site_last_event_timestamp_seconds", site=site, type="label_submitted")
    handle_target = by_policy("labelwatch_target_handle_seconds")
    least = by_policy("labelwatch_policy_min_reviews")
    timed = figure("labelwatch_site_timed_labels_ratio", window=NOW_WINDOW)
    line = SiteLine(
        site=site,
        accuracy=accuracy("agent", WINDOW, "accuracy"),
        recent=accuracy("agent", RECENT_WINDOW, "accuracy"),
        qa=accuracy("qa", WINDOW, "qa_accuracy"),
        min_reviews=None if least is None else int(least),
        labels_per_hour=figure("labelwatch_site_labels", window=NOW_WINDOW) or 0.0,
        handle_seconds=figure("labelwatch_site_handle_seconds_mean", window=NOW_WINDOW),
        handle_seconds_target=math.inf if handle_target is None else handle_target,
        utilization=figure("labelwatch_site_utilization_ratio", window=NOW_WINDOW),
        utilization_target=target("utilization", 0.0),
        is_presence_estimated=samples.value("labelwatch_site_presence_estimated", site=site) is not None,
        timed_labels=1.0 if timed is None else timed,
        people={
            found["state"]: int(value)
            for found, value in samples.select("labelwatch_site_agents", site=site, role="agent")
            if value
        },
        # Against the newest event of any site: in a replay of the past no site is silent for that.
        silent_seconds=max((newest_event_seconds or 0.0) - last_label, 0.0) if last_label is not None else 0.0,
    )
    return replace(line, state=_state(line, drifting))


def _state(line: SiteLine, drifting: bool) -> SiteStatus:
    if drifting:
        return DRIFT
    if line.silent_seconds > SITE_SILENT.limit:
        return SILENT if line.working + line.waiting else NO_SHIFT
    if line.accuracy.ratio is None and not line.labels_per_hour:
        return NO_SHIFT
    return line.accuracy.state
