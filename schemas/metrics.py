"""The metric catalogue: each metric declared once; exporter, docs/metrics.md, rules, boards and tests derive from it."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Page(Enum):
    """Where a metric is served: sites and pipeline often, people at a slower scrape of its own."""

    SITES = "/metrics"
    AGENTS = "/metrics/agents"


class Origin(Enum):
    """Who knows the value."""

    #: The engine, from records alone; a durable counter shows its last checkpointed value.
    ENGINE = "engine"
    #: The worker process: starts at 0 with it.
    PROCESS = "process"


class Merge(Enum):
    """What becomes of a series that two partitions give: a site whose producers choose partitions differently."""

    #: Counts and seconds: the parts make the whole.
    SUM = "sum"
    #: Facts that are the same everywhere, flags, and the newest of times.
    MAX = "max"
    #: The oldest of times.
    MIN = "min"
    #: A ratio of a part says nothing of the whole, and people are judged by it: neither goes out.
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as users, rules and boards know it.

    Attributes:
        name: Full Prometheus name; a counter's ends in `_total`.
        kind: Prometheus type.
        help: One sentence: what it is, and what a bad value means where that is not plain.
        labels: Label names in the order of every value tuple.
        unit: Base unit: `seconds`, `ratio`, `bytes`, or `""` for a plain count.
        page: The scrape page that serves it.
        origin: Engine (exact, restored) or process.
        buckets: Upper bounds of a histogram in its unit, without +Inf.
        merge: How the values of a series in two partitions become one; counters and histograms add up.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    page: Page = Page.SITES
    origin: Origin = Origin.ENGINE
    buckets: tuple[float, ...] = ()
    merge: Merge = Merge.SUM


WINDOWS: tuple[str, ...] = ("1h", "24h", "7d")
SITE_WINDOWS: tuple[str, ...] = ("15m", *WINDOWS)
#: Seconds per label, from a glance to the cap of 30 minutes.
HANDLE_BUCKETS_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0)
#: Label to review: a minute to a week.
REVIEW_DELAY_BUCKETS_SECONDS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172800.0, 604800.0)
EVENT_DELAY_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86400.0)
ANSWER_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CHECKPOINT_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_SPM = ("site", "project", "market")
_QUEUE = (*_SPM, "queue")
_TP = ("topic", "partition")
_REVIEWED = (*_SPM, "role", "source")
_HEADLINES = ("project", "market", "role", "window", *_TP)
_DRIFT = ("site", "project", "agent", "signal", "direction", "budget")
_RIVER = ("site", "project", "agent", "signal", "direction", "detector")


def _counter(name: str, labels: tuple[str, ...], help: str, origin: Origin = Origin.ENGINE, unit: str = "") -> Metric:
    return Metric(name, Kind.COUNTER, help, labels, unit, Page.SITES, origin)


def _gauge(
    name: str, merge: Merge, labels: tuple[str, ...], help: str, origin: Origin = Origin.ENGINE, unit: str = ""
) -> Metric:
    return Metric(name, Kind.GAUGE, help, labels, unit, Page.SITES, origin, merge=merge)


def _apart(
    name: str, kind: Kind, labels: tuple[str, ...], help: str, unit: str = "", buckets: tuple[float, ...] = ()
) -> Metric:
    return Metric(name, kind, help, labels, unit, Page.SITES, Origin.PROCESS, buckets)


def _agent(name: str, merge: Merge, help: str, unit: str = "") -> Metric:
    return Metric(name, Kind.GAUGE, help, ("site", "agent", "role", "window"), unit, Page.AGENTS, merge=merge)


def _reviewer(name: str, merge: Merge, help: str, unit: str = "") -> Metric:
    return Metric(name, Kind.GAUGE, help, ("site", "agent", "window"), unit, Page.AGENTS, merge=merge)


_HEADLINE = "first-round production reviews of the policy's headline_sources, targeted ones left out"

CATALOGUE: tuple[Metric, ...] = (
    # Work, durable counters: first verdicts, never revised, so that they only rise.
    _counter("labelwatch_labels_total", _SPM, "Labels submitted (skipped tasks apart)."),
    _counter("labelwatch_skips_total", _SPM, "Tasks skipped. A rise means unclear tasks or a broken queue."),
    _counter("labelwatch_reviews_total", _REVIEWED, "Reviews of every round, purpose and sampling, as first given."),
    _counter("labelwatch_correct_reviews_total", _REVIEWED, "Reviews that found the work correct, as first given."),
    _counter("labelwatch_sop_labels_total", ("site", "project", "sop"), "Labels by SOP version; the newest 3 of a project, older ones together."),
    _counter("labelwatch_sop_reviews_total", ("site", "project", "sop"), "Reviews by the SOP version of the label."),
    _counter("labelwatch_sop_correct_reviews_total", ("site", "project", "sop"), "Correct reviews by the SOP version of the label."),
    _counter("labelwatch_errors_total", ("site", "project", "error_type", "severity"), "Errors of work that a review found wrong; past the cap of types: other."),
    _counter("labelwatch_remarks_total", ("site", "project", "error_type", "severity"), "Errors named by reviews that found the work correct all the same: in no error figure. Many: the producer fills error_type always, or correct wrongly."),
    # Work, live windows: additive, present where above 0.
    _gauge("labelwatch_labels_window", Merge.SUM, (*_SPM, "window"), "Labels submitted within the window."),
    _gauge("labelwatch_reviews_window", Merge.SUM, (*_REVIEWED, "sampling", "headline", "window"), 'First-round production reviews within the window, as they are now, revisions included. headline="true": those that make the headline accuracy by the policy; sums of them are its n.'),
    _gauge("labelwatch_correct_reviews_window", Merge.SUM, (*_REVIEWED, "sampling", "headline", "window"), "Correct ones of labelwatch_reviews_window."),
    _gauge("labelwatch_errors_window", Merge.SUM, ("site", "project", "error_type", "severity", "window"), "Errors of agents' work that first-round production reviews found within the window, as first given."),
    _gauge("labelwatch_state_seconds_window", Merge.SUM, (*_SPM, "state", "window"), "People's seconds in a state within the window, open states up to now.", unit="seconds"),
    # The same of a partition's sites together: what spans sites is a sum of these few, not of every site's series.
    _gauge("labelwatch_partition_labels_window", Merge.SUM, ("project", "market", "window", *_TP), "Labels submitted within the window, all sites of the partition."),
    _gauge("labelwatch_partition_headline_reviews_window", Merge.SUM, _HEADLINES, f"All sites of the partition: {_HEADLINE}."),
    _gauge("labelwatch_partition_headline_correct_reviews_window", Merge.SUM, _HEADLINES, "Correct ones of labelwatch_partition_headline_reviews_window; 0 is said."),
    # Sites.
    _gauge("labelwatch_site_accuracy_ratio", Merge.NEITHER, ("site", "role", "window"), f"Correct share of {_HEADLINE}; absent below the policy's min_reviews.", unit="ratio"),
    _gauge("labelwatch_site_accuracy_lower_ratio", Merge.NEITHER, ("site", "role", "window"), "Lower bound of the Wilson 95% interval of the site's accuracy.", unit="ratio"),
    _gauge("labelwatch_site_accuracy_upper_ratio", Merge.NEITHER, ("site", "role", "window"), "Upper bound of the interval. Below the target: proven below it.", unit="ratio"),
    _gauge("labelwatch_site_reviews", Merge.SUM, ("site", "role", "window"), f"The n of the site's accuracy: {_HEADLINE}."),
    _gauge("labelwatch_site_correct_reviews", Merge.SUM, ("site", "role", "window"), "The correct ones of labelwatch_site_reviews."),
    _gauge("labelwatch_site_labels", Merge.SUM, ("site", "window"), "Labels submitted at the site within the window."),
    _gauge("labelwatch_site_labels_per_productive_hour", Merge.NEITHER, ("site", "window"), "Labels an hour of productive time, both of the people who label and report states; 0 is said. Low: slow work or harder tasks."),
    _gauge("labelwatch_site_productive_seconds", Merge.SUM, ("site", "window"), "Productive time of the people whom labelwatch_site_labels_per_productive_hour speaks of.", unit="seconds"),
    _gauge("labelwatch_site_timed_labels_ratio", Merge.NEITHER, ("site", "window"), "Share of the site's labels that labelwatch_site_labels_per_productive_hour covers. Low: most people report no states, and their speed is not known.", unit="ratio"),
    _gauge("labelwatch_site_handle_seconds_mean", Merge.NEITHER, ("site", "window"), "Mean seconds per label, each capped.", unit="seconds"),
    _gauge("labelwatch_site_utilization_ratio", Merge.NEITHER, ("site", "window"), "Productive share of logged-in time. Low: paid time not worked.", unit="ratio"),
    _gauge("labelwatch_site_occupancy_ratio", Merge.NEITHER, ("site", "window"), "Productive / (productive + available). Low: people wait for work.", unit="ratio"),
    _gauge("labelwatch_site_available_ratio", Merge.NEITHER, ("site", "window"), "Share of logged-in time spent waiting for work: the client's fault, not the site's.", unit="ratio"),
    _counter("labelwatch_site_state_seconds_total", ("site", "state"), "Seconds in a state, added when the state ends.", unit="seconds"),
    _gauge("labelwatch_site_agents", Merge.SUM, ("site", "role", "state"), "People now in a state."),
    _gauge("labelwatch_site_active_agents", Merge.SUM, ("site", "role", "window"), "People with an event within the window."),
    _gauge("labelwatch_site_last_event_timestamp_seconds", Merge.MAX, ("site", "type"), "Event time of the newest event of a type. Old: the site is silent.", unit="seconds"),
    _gauge("labelwatch_site_first_event_timestamp_seconds", Merge.MIN, ("site",), "Event time of the first event of the site that was read. Of a moment ago: a new site, or a forged one.", unit="seconds"),
    _gauge("labelwatch_site_info", Merge.MAX, ("site", "vendor", "timezone", "partition"), "Always 1; joins vendor, time zone and partition to a site."),
    _gauge("labelwatch_site_utc_offset_seconds", Merge.MAX, ("site", "timezone"), "What the site's clocks are ahead of UTC now, summer time included; below 0 west of it. Added to a time, the time at the site.", unit="seconds"),
    Metric("labelwatch_handle_seconds", Kind.HISTOGRAM, "Seconds per label, each capped.", ("site", "project"), "seconds", buckets=HANDLE_BUCKETS_SECONDS),
    Metric("labelwatch_review_delay_seconds", Kind.HISTOGRAM, "From label to review. Long: accuracy speaks of old work.", ("site",), "seconds", buckets=REVIEW_DELAY_BUCKETS_SECONDS),
    _counter("labelwatch_handle_capped_total", ("site",), "Labels whose handling time was above the cap. Many: timers that run while nobody works."),
    _counter("labelwatch_implausible_times_total", ("site", "field", "reason"), "Times that cannot be meant (seconds for milliseconds, 0, years before), left out of delays, holds and handling time; the event counts. Any: the producer fills a field wrongly."),
    _gauge("labelwatch_site_presence_estimated", Merge.MAX, ("site",), "1 where states of the last week were estimated from gaps between labels, absent elsewhere: nobody reported them, and utilization, occupancy, staffing and labels per productive hour are estimates."),
    _counter("labelwatch_forgotten_states_total", ("site",), "States other than offline open for more than 12 h, closed by the monitor. Many: tools that do not report the end of a shift."),
    _counter("labelwatch_late_states_total", ("site",), "State changes older than the agent's newest, ignored."),
    # People.
    _agent("labelwatch_agent_accuracy_ratio", Merge.NEITHER, f"Correct share of {_HEADLINE}; absent below min_reviews.", "ratio"),
    _agent("labelwatch_agent_accuracy_lower_ratio", Merge.NEITHER, "Lower bound of the Wilson 95% interval.", "ratio"),
    _agent("labelwatch_agent_accuracy_upper_ratio", Merge.NEITHER, "Upper bound of the Wilson 95% interval.", "ratio"),
    _agent("labelwatch_agent_reviews", Merge.SUM, "The n of the agent's accuracy."),
    _agent("labelwatch_agent_labels", Merge.SUM, "Labels submitted within the window."),
    _agent("labelwatch_agent_labels_per_productive_hour", Merge.NEITHER, "Labels an hour of productive time; absent below the policy's min_minutes and for who hands in none."),
    _agent("labelwatch_agent_handle_seconds_mean", Merge.NEITHER, "Mean seconds per label, each capped.", "seconds"),
    _agent("labelwatch_agent_utilization_ratio", Merge.NEITHER, "Productive share of logged-in time; absent below the policy's min_minutes of it.", "ratio"),
    _agent("labelwatch_agent_below_target_probability", Merge.NEITHER, "Probability that the true accuracy is below the target (Jeffreys posterior).", "ratio"),
    _reviewer("labelwatch_reviewer_reviews", Merge.SUM, "Reviews made by this reviewer."),
    _reviewer("labelwatch_reviewer_seconds", Merge.SUM, "Seconds spent reviewing.", "seconds"),
    _reviewer("labelwatch_reviewer_errors_found", Merge.SUM, "Reviews in which this reviewer found the work wrong; an auditor of reviewers finds few by right."),
    _reviewer("labelwatch_reviewer_agent_reviews", Merge.SUM, "Those of labelwatch_reviewer_reviews that judge agents' work: audits of other reviewers left out."),
    _reviewer("labelwatch_reviewer_agent_errors_found", Merge.SUM, "Those in which the agents' work was wrong. Near 0: lenient."),
    # Policy, resolved, so that rules hold no number.
    _gauge("labelwatch_target_ratio", Merge.MAX, (*_SPM, "kind"), "The policy's target: accuracy, qa_accuracy, critical_error or utilization. Only of scopes that the policy names, and once with all names empty: the default. A scope without one has that of project + market, project or site, else the default.", unit="ratio"),
    _gauge("labelwatch_target_handle_seconds", Merge.MAX, _SPM, "The policy's target for handling time, of the scopes that labelwatch_target_ratio has.", unit="seconds"),
    _gauge("labelwatch_policy_min_reviews", Merge.MAX, _SPM, "Fewer reviews than this: not enough data. Of the scopes that labelwatch_target_ratio has."),
    _gauge("labelwatch_policy_scope_missing", Merge.MAX, ("site",), "1 where no policy names the site: the defaults apply."),
    # Queues of work, by their newest measurement; none of a queue that was not measured for 24 hours.
    _gauge("labelwatch_queue_waiting_tasks", Merge.NEITHER, _QUEUE, "Tasks that wait in a queue, as last measured; 0 is data."),
    _gauge("labelwatch_queue_oldest_task_timestamp_seconds", Merge.NEITHER, _QUEUE, "Since when the oldest of them waits; absent where none waits or the tool does not say.", unit="seconds"),
    _gauge("labelwatch_queue_measured_timestamp_seconds", Merge.NEITHER, _QUEUE, "When the queue was last measured; of several queues together (`other`) the least recent time.", unit="seconds"),
    _gauge("labelwatch_queue_turnaround_target_seconds", Merge.MAX, _QUEUE, "The policy's turnaround_target_seconds for the queue's site, project and market. The oldest task waits longer: LabelwatchQueueOverdue.", unit="seconds"),
    _gauge("labelwatch_queue_arrived_tasks_window", Merge.NEITHER, (*_QUEUE, "window"), "Tasks that arrived within the window: rises of arrived_total, each at the time of the measurement that shows it. Absent at 0."),
    # Drift.
    _gauge("labelwatch_drift_active", Merge.MAX, _DRIFT, "1 while a drift is open."),
    _gauge("labelwatch_drift_evidence", Merge.NEITHER, _DRIFT, "Statistic / threshold; 1 and more opens a drift.", unit="ratio"),
    _gauge("labelwatch_drift_baseline_ratio", Merge.NEITHER, _DRIFT, "The rate before the change; 1 for handling time.", unit="ratio"),
    _gauge("labelwatch_drift_current_ratio", Merge.NEITHER, _DRIFT, "The rate since the change; for handling time relative to before.", unit="ratio"),
    _gauge("labelwatch_drift_reviews", Merge.NEITHER, _DRIFT, "Reviews since the change."),
    _gauge("labelwatch_drift_began_timestamp_seconds", Merge.MIN, _DRIFT, "When the change began, estimated.", unit="seconds"),
    _gauge("labelwatch_drift_opened_timestamp_seconds", Merge.MAX, _DRIFT, "When the drift was found.", unit="seconds"),
    _gauge("labelwatch_drift_run_length_reviews", Merge.NEITHER, _DRIFT, "Promised mean number of reviews to a false alarm."),
    _gauge("labelwatch_drift_run_length_seconds", Merge.NEITHER, _DRIFT, "How long the reviews of labelwatch_drift_run_length_reviews take at the volume at which the drift opened; absent where that is not known.", unit="seconds"),
    _gauge("labelwatch_drift_info", Merge.MAX, (*_DRIFT, "drift_id", "parent", "incident"), "1 for an open drift: its id; the id of the site's drift that it belongs to, empty where it stands alone; and the incident, which has one page: the id of the drift that paged first, or sop:PROJECT/VERSION."),
    _counter("labelwatch_drifts_total", _DRIFT, "Drifts opened."),
    _gauge("labelwatch_drift_contribution", Merge.NEITHER, (*_DRIFT, "by", "member", "effect"), "The cause: the largest rate and mix effects, in ratio points; of handling time, of its logarithm.", unit="ratio"),
    _gauge("labelwatch_river_drift_active", Merge.MAX, _RIVER, "1 while a drift of river's detector is open: a second opinion, whose false alarms nobody has promised."),
    _gauge("labelwatch_river_drift_baseline_ratio", Merge.NEITHER, _RIVER, "The rate before the change.", unit="ratio"),
    _gauge("labelwatch_river_drift_current_ratio", Merge.NEITHER, _RIVER, "The rate since the change.", unit="ratio"),
    _gauge("labelwatch_river_drift_reviews", Merge.NEITHER, _RIVER, "Reviews since the change."),
    _gauge("labelwatch_river_drift_began_timestamp_seconds", Merge.MIN, _RIVER, "When the change began, estimated.", unit="seconds"),
    _gauge("labelwatch_river_drift_opened_timestamp_seconds", Merge.MAX, _RIVER, "When river's detector found it.", unit="seconds"),
    _counter("labelwatch_river_drifts_total", _RIVER, "Drifts that river's detector opened."),
    _gauge("labelwatch_unwatched_streams", Merge.SUM, (), "Streams for which no detector has room. Any: some people's drifts cannot be found."),
    _gauge("labelwatch_held_reviews", Merge.SUM, (), "Reviews that do not count for drift yet: their label is younger than the policy's hold."),
    # Pipeline, durable.
    _counter("labelwatch_events_total", ("type", *_TP), "Events accepted, by type."),
    _counter("labelwatch_rejected_total", ("reason", *_TP), "Records that could not be used; their bytes are in labeling.rejected.v1."),
    _counter("labelwatch_hold_skipped_total", _TP, "Reviews that counted for drift at once in spite of a hold: without labeled_at, or no room."),
    _counter("labelwatch_unknown_events_total", _TP, "Events of a type that this version does not know, skipped."),
    _counter("labelwatch_duplicates_total", _TP, "Repeated events, counted once."),
    _counter("labelwatch_unchecked_events_total", _TP, "Events older than the duplicate horizon, or forgotten by its cap: taken as new."),
    _counter("labelwatch_late_events_total", _TP, "Events older than every window: in totals only."),
    _counter("labelwatch_revised_reviews_total", _TP, "Reviews changed after the fact."),
    _counter("labelwatch_lost_records_total", _TP, "Records that the topic's retention deleted before they were read."),
    _counter("labelwatch_unnamed_events_total", _TP, "Events left out of people's figures and headcount, since the partition has 125,000 people already; labels and reviews count for the site."),
    _counter("labelwatch_over_limit_events_total", ("kind", *_TP), "Events of names beyond a limit of the policy, counted under `other`, each once: of a site beyond it every event, of projects and markets labels, reviews and states. Any: a producer makes names up, or the company has outgrown the limit."),
    _counter("labelwatch_removed_site_events_total", _TP, "Events skipped, since the policy has removed their site."),
    _gauge("labelwatch_limit_used", Merge.SUM, ("kind", *_TP), "How many of its share of a limit the partition uses: sites, combinations of site, project and market, series at most. At the limit what is new counts under `other`."),
    _gauge("labelwatch_limit", Merge.SUM, ("kind", *_TP), "The partition's share of the policy's limit, a tenth of it at least."),
    # Pipeline, of this process.
    _counter("labelwatch_dead_letter_failures_total", _TP, "Failed writes to the dead-letter topic. Any: the partition stands still.", Origin.PROCESS),
    _counter("labelwatch_checkpoints_total", _TP, "Checkpoints committed.", Origin.PROCESS),
    Metric("labelwatch_checkpoint_seconds", Kind.HISTOGRAM, "Time of a checkpoint.", _TP, "seconds", origin=Origin.PROCESS, buckets=CHECKPOINT_BUCKETS_SECONDS),
    _counter("labelwatch_checkpoint_failures_total", ("reason", *_TP), "Checkpoints that could not be written, by reason; each is tried again. Rising: figures go on, but nothing of them is durable.", Origin.PROCESS),
    _counter("labelwatch_restore_failures_total", _TP, "Times that a partition's state could not be read back; each is tried again. Rising: its figures are missing.", Origin.PROCESS),
    _gauge("labelwatch_consumer_lag_records", Merge.SUM, _TP, "Records that are not durable yet: those that the next owner would read, as Kafka's own tools count lag; those behind an open transaction apart.", Origin.PROCESS),
    _gauge("labelwatch_consumer_lag_seconds", Merge.SUM, _TP, "Age of the oldest record that is not durable; 0 at the end. Some seconds under load, a checkpoint's interval; more: behind, or no checkpoint can be written.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_figures_lag_seconds", Merge.SUM, _TP, "Age of the oldest record that no figure holds yet; 0 at the end. Grows while stuck.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_uncommitted_records", Merge.SUM, _TP, "Records behind the begin of the oldest open transaction, its own included: nobody may read them before it ends.", Origin.PROCESS),
    _gauge("labelwatch_open_transaction_seconds", Merge.SUM, _TP, "Age of the oldest open transaction; 0 where none is open. Minutes: its producer hangs, and figures wait for it.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_partition_owned", Merge.SUM, _TP, "1 for a partition that this worker owns.", Origin.PROCESS),
    _gauge("labelwatch_partition_restored", Merge.SUM, _TP, "1 for a partition that this worker owns once its state was read back, 0 before. 0 for longer than seconds: its sites have no live figures.", Origin.PROCESS),
    _gauge("labelwatch_topic_partitions", Merge.SUM, ("topic",), "Partitions of the topic.", Origin.PROCESS),
    _gauge("labelwatch_last_commit_timestamp_seconds", Merge.MAX, _TP, "Time of the last checkpoint, by whichever worker.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_watermark_timestamp_seconds", Merge.MAX, _TP, "Highest event time seen.", Origin.ENGINE, "seconds"),
    Metric("labelwatch_event_delay_seconds", Kind.HISTOGRAM, "Event time to figure.", _TP, "seconds", origin=Origin.PROCESS, buckets=EVENT_DELAY_BUCKETS_SECONDS),
    _gauge("labelwatch_ready", Merge.SUM, ("reason",), "1 when ready; else 0 with the reason.", Origin.PROCESS),
    _gauge("labelwatch_loop_timestamp_seconds", Merge.MAX, (), "When the event loop last turned. Old: the worker hangs.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_memory_limit_bytes", Merge.SUM, (), "The memory of the worker's container; beyond it the kernel kills it (exit code 137). process_resident_memory_bytes says how much it uses. Absent where there is no limit.", Origin.PROCESS, "bytes"),
    _gauge("labelwatch_worker_clock_offset_seconds", Merge.SUM, (), "This worker's clock minus the broker's, at least, by a record that came a moment ago; 0 where they agree within a second. Beyond 60 either way windows end at the wrong time.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_clock_skew_seconds", Merge.NEITHER, ("site",), "Broker time minus event time of the first event of the site's newest minute; below 0 the site's clock is ahead.", Origin.ENGINE, "seconds"),
    _gauge("labelwatch_render_duration_seconds", Merge.SUM, ("page",), "Time to render a page.", Origin.PROCESS, "seconds"),
    _counter("labelwatch_render_errors_total", ("page",), "Pages rendered without a part that failed. Any: a defect, the log has it.", Origin.PROCESS),
    _counter("labelwatch_page_readers_cut_off_total", ("reason",), "Readers of a page who did not get it whole: slow, less than 16 KiB a second; place, the slowest of more than 16; memory, an older page beside newer ones; full, turned away, since 64 wait for a page.", Origin.PROCESS),
    _gauge("labelwatch_certificate_expiry_timestamp_seconds", Merge.MAX, ("use",), "When a certificate of the worker ends: of the metrics pages (use metrics), or the one that it shows to the brokers (use kafka). Past: nobody can scrape it, or it is locked out.", Origin.PROCESS, "seconds"),
    _gauge("labelwatch_dropped_series", Merge.SUM, ("metric",), "Series left out by the cap.", Origin.PROCESS),
    _counter("labelwatch_native_reader_failures_total", (), "Failures of the native reader, after which Python's goes on. Any: a defect, the log has the offset.", Origin.PROCESS),
    _gauge("labelwatch_build_info", Merge.SUM, ("version", "python", "commit", "policy", "key", "reader"), "Always 1. Fingerprints of the policy and of the pseudonym key (`plain`: none); workers of one group must agree in both. The reader of records that the worker began with: `native` or `python`, which is slower and does the same.", Origin.PROCESS),
)

#: Of the receiver of webhooks (`labelwatch ingest`), a process of its own: no worker serves these.
INGEST_CATALOGUE: tuple[Metric, ...] = (
    _apart("labelwatch_ingest_hooks_total", Kind.COUNTER, ("action",), "Webhooks that were read and kept, by what they say happened; `other` is an action that this version does not know. Still while people label: the tool sends none."),
    _apart("labelwatch_ingest_refused_total", Kind.COUNTER, ("reason",), "Requests that were refused. `secret`: a stranger, or the tool has another secret. `spool`: the disk is full, hooks get lost until the next sweep. Others: the body cannot be used; `refused` of the spool says why."),
    _apart("labelwatch_ingest_events_total", Kind.COUNTER, ("type",), "Events made of webhooks and sweeps, by type."),
    _apart("labelwatch_ingest_repeated_total", Kind.COUNTER, (), "Webhooks that said nothing new: repeated, late, or of a change that no figure has."),
    _apart("labelwatch_ingest_missing_total", Kind.COUNTER, ("kind",), "Annotations that a sweep found created, updated or deleted without a webhook; their events are made then. Rising: hooks get lost between the tool and here."),
    _apart("labelwatch_ingest_unknown_people", Kind.GAUGE, (), "Users of the tool who are not in the roster: they count at the default site, under the tool's number."),
    _apart("labelwatch_ingest_answer_seconds", Kind.HISTOGRAM, (), "From a whole request to its answer, the write to disk included. Near 1 s the tool hangs up.", "seconds", ANSWER_BUCKETS_SECONDS),
    _apart("labelwatch_ingest_sent_total", Kind.COUNTER, (), "Events that Kafka has acknowledged."),
    _apart("labelwatch_ingest_send_failures_total", Kind.COUNTER, (), "Connections to Kafka that failed; each is tried again. Rising: events wait in the spool."),
    _apart("labelwatch_ingest_spool_records", Kind.GAUGE, (), "Events in the spool that Kafka does not have yet."),
    _apart("labelwatch_ingest_spool_age_seconds", Kind.GAUGE, (), "Age of the oldest of them; 0 where none waits. Minutes: Kafka is away.", "seconds"),
    _apart("labelwatch_ingest_spool_size_bytes", Kind.GAUGE, (), "Size of the spool's file: what is remembered of annotations, and what waits. At its limit hooks are refused.", "bytes"),
    _apart("labelwatch_ingest_last_sweep_timestamp_seconds", Kind.GAUGE, ("project", "kind"), "When a project was last compared with the tool: what changed (`changed`), or all of it (`all`).", "seconds"),
    _apart("labelwatch_ingest_sweep_failures_total", Kind.COUNTER, ("project",), "Sweeps that failed; the next one does its work. Rising: lost hooks stay lost."),
)

#: Of `labelwatch bridge`, a process of its own: no worker serves these. All of them are of what was committed.
BRIDGE_CATALOGUE: tuple[Metric, ...] = (
    _apart("labelwatch_bridge_records_total", Kind.COUNTER, ("outcome",), "Records read: `mapped` to events, `passed` since the mapping makes nothing of them, `rejected` to the dead letters."),
    _apart("labelwatch_bridge_events_total", Kind.COUNTER, ("type",), "Events written, by type."),
    _apart("labelwatch_bridge_rejected_total", Kind.COUNTER, ("reason",), "Records that cannot be used, by a few words of why. Rising at once: the tool or the mapping has changed."),
    _apart("labelwatch_bridge_transactions_total", Kind.COUNTER, (), "Transactions committed: events, dead letters and offset of up to some thousand records each. Still while records wait: nothing goes on."),
    _apart("labelwatch_bridge_failures_total", Kind.COUNTER, (), "Times that Kafka failed and all began anew at the last commit; nothing is lost or doubled by it."),
    _apart("labelwatch_bridge_waiting_records", Kind.GAUGE, ("partition",), "Records of a partition of the source behind the last commit. Rising: one process is too slow, start a second one."),
    _apart("labelwatch_bridge_last_commit_timestamp_seconds", Kind.GAUGE, ("partition",), "When something of the partition was last committed; a still topic commits nothing.", "seconds"),
)

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*CATALOGUE, *INGEST_CATALOGUE, *BRIDGE_CATALOGUE)
}
