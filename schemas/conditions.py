"""From where on a figure is bad: each limit once, for rules and alerts, boards, the terminal, `doctor` and workers."""

from typing import NamedTuple

from schemas.words import Words

_GOOD = {">": "<=", ">=": "<", "<": ">=", "==": "!="}


class Condition(NamedTuple):
    """What an alert fires on and something else shows, too. tests/rules/test_conditions.py compares the rules with it.

    Attributes:
        figure: PromQL of the figure of one thing, without matchers and without what brings workers together.
        comparison: Under which it is bad.
        limit: From where on, in the figure's unit.
        rules: Alerts and recorded series that compare the figure with the limit.
        said: The limit in words, where a text names it.
    """

    figure: str
    comparison: str
    limit: float
    rules: tuple[str, ...]
    said: Words = Words("", "")

    @property
    def is_bad(self) -> str:
        """PromQL behind a figure: those that are bad."""
        return f"{self.comparison} {self.limit:.15g}"

    @property
    def is_good(self) -> str:
        """PromQL behind a figure: all others."""
        return f"{_GOOD[self.comparison]} {self.limit:.15g}"


_MINUTE = Words("a minute", "一分钟")

#: Figures speak of the past. In seconds, not records: a minute means the same at every site.
FIGURES_STALE = Condition("labelwatch_figures_lag_seconds", ">", 60, ("LabelwatchPartitionLagging",), _MINUTE)
#: A site's figures speak of the past: by lag of the worker, or behind an open transaction.
SITE_STALE = Condition(
    "site:labelwatch_lag:seconds",
    ">",
    60,
    ("LabelwatchSiteFiguresStale", "site:labelwatch_silent:bool", "site:labelwatch_throughput_low:bool"),
    _MINUTE,
)
#: No checkpoint for so long. Bad only with lag: a quiet night writes none.
CHECKPOINT_OLD = Condition(
    "time() - labelwatch_last_commit_timestamp_seconds",
    ">",
    60,
    ("partition:labelwatch_checkpoint_overdue:bool",),
    _MINUTE,
)
#: Kafka ends a producer's transaction after 15 minutes; one that is open a minute longer is nobody's any more.
TRANSACTION_HANGS = Condition(
    "labelwatch_open_transaction_seconds", ">", 960, ("LabelwatchTransactionHanging",), Words("16 minutes", "16 分钟")
)
#: No label of a site where people work.
SITE_SILENT = Condition(
    "time() - labelwatch_site_last_event_timestamp_seconds", ">", 900, ("site:labelwatch_silent:bool",)
)
#: A pane of the shortest window. Five minutes ahead, and the site's events are rejected.
SITE_CLOCK_WRONG = Condition(
    "abs(labelwatch_clock_skew_seconds)", ">", 60, ("site:labelwatch_clock_skewed:bool",), Words("60 s", "60 秒")
)
#: The same of a worker's clock, which is then not ready either.
WORKER_CLOCK_WRONG = Condition(
    "abs(labelwatch_worker_clock_offset_seconds)", ">", 60, ("LabelwatchWorkerClockWrong",), _MINUTE
)
#: Time to renew a certificate.
CERTIFICATE_ENDS = Condition(
    "labelwatch_certificate_expiry_timestamp_seconds - time()",
    "<",
    14 * 86_400,
    ("LabelwatchCertificateExpiring",),
    Words("14 days", "14 天"),
)
#: So many records within an hour are no single slip of a producer.
RECORDS_REJECTED = Condition("increase(labelwatch_rejected_total[1h])", ">=", 10, ("LabelwatchRecordsRejected",))
#: What a process may use before the container's limit ends it.
MEMORY_NEAR_LIMIT = Condition(
    "process_resident_memory_bytes / labelwatch_memory_limit_bytes",
    ">",
    0.85,
    ("LabelwatchMemoryNearLimit",),
    Words("85%", "85%"),
)
#: How long a drift's last value is taken where it has no newer one: through a hand-over, or a restart of Prometheus.
DRIFT_BRIDGED = "10m"
DRIFT_OPEN = Condition(
    "labelwatch_drift_active",
    "==",
    1,
    ("LabelwatchStreamDrift", "LabelwatchRiverDrift", "stream:labelwatch_drift_shown:max"),
)
#: The same by river's detector.
RIVER_DRIFT_OPEN = Condition("labelwatch_river_drift_active", "==", 1, ("LabelwatchRiverDrift",))
