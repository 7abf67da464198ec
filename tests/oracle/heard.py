"""What the oracle has heard: every event kept, by the definitions of docs/contract.md, one after the other."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.policy import Policy

from .decoder import AHEAD_MS, decide

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
CAP_MS = 1_800_000
FORGOTTEN_MS = 12 * HOUR_MS
DUPLICATE_MINUTES = 15
#: A label or a review that an event refers to is not older than a quarter; an event not older than March 1973.
QUARTER_MS = 90 * 24 * HOUR_MS
OLDEST_MS = 10**11
WEEK_HOURS = 168
TRILLION = 10**12
SOP_VERSIONS = 3
ERROR_TYPES = 100
#: Window name: (pane, number of panes).
WINDOWS = {"15m": (MINUTE_MS, 15), "1h": (MINUTE_MS, 60), "24h": (HOUR_MS, 24), "7d": (HOUR_MS, 168)}
PEOPLE_WINDOWS = ("1h", "24h", "7d")
REASONS = ("null", "encoding", "json", "schema", "future")
HANDLE_BOUNDS = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800)
DELAY_BOUNDS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800)

Labels = tuple[str, ...]


class RawRecord(Protocol):
    """A record as the log has it."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int | None: ...

    @property
    def value(self) -> bytes | None: ...


@dataclass
class OpenState:
    """The state that a person is in."""

    since: int
    state: str
    project: str


@dataclass
class Interval:
    """A state that has ended."""

    site: str
    agent: str
    state: str
    project: str
    since: int
    until: int


class Site:
    """What the order of a site's records decides."""

    def __init__(self) -> None:
        self.clock = self.first = -1
        self.seen: set[tuple[str, int]] = set()
        self.open: dict[str, OpenState] = {}
        self.newest_state: dict[str, int] = {}
        self.newest_estimate = 0
        self.oldest_first: list[tuple[int, str]] = []
        self.roles: dict[str, str] = {}
        self.error_types: dict[str, set[str]] = {"errors": set(), "remarks": set()}
        self.newest_event: dict[str, int] = {}
        #: Project, market and queue to its newest measurement, and to the last total of arrivals.
        self.queues: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.arrived: dict[tuple[str, str, str], int] = {}
        self.skew: float | None = None


class Heard:
    """All that came, in the order of the log."""

    def __init__(self, policy: Policy | None = None, partition: int = 0, topic: str = "labeling.events.v1") -> None:
        self.policy = policy or Policy()
        self.topic_partition = (topic, str(partition))
        #: The clock of `--clock event`, which a `clock_advanced` moves too; and the highest time of a site's event.
        self.clock = 0
        self.watermark = 0
        self.records = 0
        self.sites: dict[str, Site] = {}
        self.totals: Counter[tuple[str, Labels]] = Counter()
        self.histograms: dict[tuple[str, Labels], tuple[list[int], list[int]]] = {}
        self.by_minute: dict[int, Counter[Labels]] = defaultdict(Counter)
        self.by_hour: dict[int, Counter[Labels]] = defaultdict(Counter)
        self.intervals: dict[int, list[Interval]] = defaultdict(list)
        self.sop_versions: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.rejected: list[tuple[int, str]] = []

    # Records, in order.

    def feed(self, records: Iterable[RawRecord]) -> None:
        """Takes the next records of the log."""
        for record in records:
            self.records += 1
            decision = decide(record.value)
            reason = decision.reason
            if decision.kind == "unknown":
                self._count("unknown_events_total", *self.topic_partition)
                continue
            if decision.kind == "accepted":
                assert decision.event is not None
                ahead = record.timestamp is not None and decision.event["at"] > record.timestamp + AHEAD_MS
                if not ahead:
                    self._accept(decision.event, record.timestamp)
                    continue
                reason = "future"
            self.rejected.append((record.offset, reason))
            self._count("rejected_total", reason, *self.topic_partition)

    def lost(self, records: int) -> None:
        """Takes note of records that nobody can read any more."""
        self._count("lost_records_total", *self.topic_partition, by=records)

    def drop_minutes_before(self, t: int) -> None:
        """Gives back the memory of minutes that no window of a later time sees."""
        for minute in [minute for minute in self.by_minute if minute < t // MINUTE_MS]:
            del self.by_minute[minute]

    def _count(self, metric: str, *labels: str, by: int = 1) -> None:
        self.totals[metric, labels] += by

    def _accept(self, event: dict[str, Any], appended: int | None) -> None:
        kind, at = event["type"], event["at"]
        if kind == "clock_advanced":
            self._count("events_total", kind, *self.topic_partition)
            self.clock = max(self.clock, at)
            return
        name = event["site_id"]
        site = self.sites.get(name) or Site()
        clock = max(site.clock, at)
        if at // MINUTE_MS > clock // MINUTE_MS - DUPLICATE_MINUTES:
            if (event["event_id"], at) in site.seen:
                self._count("duplicates_total", *self.topic_partition)
                return
            site.seen.add((event["event_id"], at))
        else:
            self._count("unchecked_events_total", *self.topic_partition)
        if at // HOUR_MS <= clock // HOUR_MS - WEEK_HOURS:
            self._count("late_events_total", *self.topic_partition)
        self._count("events_total", kind, *self.topic_partition)
        if name not in self.sites:
            site.first = at
        self.sites[name] = site
        self._note_times(name, event)
        self.watermark = max(self.watermark, at)
        self.clock = max(self.clock, at)
        if at // MINUTE_MS > site.clock // MINUTE_MS:
            site.skew = None if appended is None else (appended - at) / 1000
        site.clock = clock
        site.newest_event[kind] = max(at, site.newest_event.get(kind, 0))
        self._forget(name, site)
        if kind == "label_submitted":
            self._label(name, event)
        elif kind == "label_reviewed":
            self._review(name, site, event)
        elif kind == "state_changed":
            if event.get("estimated"):
                site.newest_estimate = max(at, site.newest_estimate)
            self._state(name, site, event)
        elif kind == "agent_profiled":
            site.roles[event["agent_id"]] = event.get("role", site.roles.get(event["agent_id"], "agent"))
        elif kind == "review_revised":
            self._review_revised(name, event)
        elif kind == "label_revised":
            self._label_revised(name, event)
        elif kind == "queue_measured":
            self._queue(name, site, event)

    def _note_times(self, site: str, event: dict[str, Any]) -> None:
        """Counts times that nobody can have meant."""
        at, kind = event["at"], event["type"]
        if at < OLDEST_MS:
            self._count("implausible_times_total", site, "at", "seconds" if at else "zero")
        for field in ("labeled_at", "reviewed_at", "submitted_at"):
            uses = {"label_reviewed": "labeled_at", "review_revised": "reviewed_at", "label_revised": "submitted_at"}
            if field == uses.get(kind) and field in event and at - event[field] > QUARTER_MS:
                then = event[field]
                reason = "zero" if then == 0 else "seconds" if then < OLDEST_MS else "too_old"
                self._count("implausible_times_total", site, field, reason)
        if kind == "queue_measured" and event["waiting"] > 0 and "oldest_at" in event:
            since = event["oldest_at"]
            odd = "zero" if since == 0 else "seconds" if since < OLDEST_MS else "ahead" if since > at + AHEAD_MS else ""
            if odd:
                self._count("implausible_times_total", site, "oldest_at", odd)
        durations = {}
        if kind == "label_submitted" and not event.get("skipped"):
            durations["handle_ms"] = event.get("handle_ms")
        elif kind == "label_reviewed" and "reviewer_id" in event:
            durations["review_ms"] = event.get("review_ms")
        elif kind == "label_revised" and not (event.get("new") or {}).get("skipped"):
            durations["handle_ms"] = (event.get("new") or {}).get("handle_ms")
        for field, ms in durations.items():
            if ms is not None and not self._is_duration(ms):
                reason = "zero" if ms == 0 else "too_short" if ms < 100 else "too_long"
                self._count("implausible_times_total", site, field, reason)

    def _is_duration(self, ms: int | None) -> bool:
        """A tenth of a second to a week; the week itself is none."""
        return ms is not None and 100 <= ms < 7 * 24 * HOUR_MS

    def _moment(self, when: int, *key: str, by: int = 1) -> None:
        """Adds to what happened at a time; windows are sums of this and nothing else."""
        self.by_minute[when // MINUTE_MS][key] += by
        self.by_hour[when // HOUR_MS][key] += by

    def _observe(self, metric: str, labels: Labels, bounds: tuple[int, ...], value_ms: int) -> None:
        counts, total = self.histograms.setdefault((metric, labels), ([0] * (len(bounds) + 1), [0]))
        counts[sum(value_ms > bound * 1000 for bound in bounds)] += 1
        total[0] += value_ms

    # Queues.

    def _queue(self, name: str, site: Site, event: dict[str, Any]) -> None:
        """The newest measurement holds; what has arrived is told by the rises of the total, from one to the next."""
        key = (event["project_id"], event.get("market", ""), event["queue"])
        if key in site.queues and event["at"] < site.queues[key]["at"]:
            return
        site.queues[key] = event
        if "arrived_total" in event:
            total = min(event["arrived_total"], TRILLION)
            if total > site.arrived.get(key, total):
                self._moment(event["at"], "queue_arrived_tasks", name, *key, by=total - site.arrived[key])
            site.arrived[key] = total

    # Labels.

    def _label(self, site: str, event: dict[str, Any]) -> None:
        at, agent, project, market = event["at"], event["agent_id"], event["project_id"], event.get("market", "")
        self._moment(at, "active", site, "agent", agent)
        if "sop_version" in event:
            self._sop("sop_labels", site, project, event["sop_version"], by=not event.get("skipped", False))
        if event.get("skipped", False):
            self._count("skips_total", site, project, market)
            return
        self._count("labels_total", site, project, market)
        self._labels(at, site, agent, project, market, 1)
        if self._is_duration(event.get("handle_ms")):
            capped = min(event["handle_ms"], CAP_MS)
            self._handled(at, site, agent, capped, 1)
            self._observe("handle_seconds", (site, project), HANDLE_BOUNDS, capped)
            if event["handle_ms"] > CAP_MS:
                self._count("handle_capped_total", site)

    def _labels(self, when: int, site: str, agent: str, project: str, market: str, by: int) -> None:
        self._moment(when, "labels", site, project, market, by=by)
        self._moment(when, "site_labels", site, by=by)
        self._moment(when, "agent_labels", site, agent, by=by)

    def _handled(self, when: int, site: str, agent: str, capped_ms: int, by: int) -> None:
        self._moment(when, "site_handled", site, by=by)
        self._moment(when, "site_handle_ms", site, by=by * capped_ms)
        self._moment(when, "agent_handled", site, agent, by=by)
        self._moment(when, "agent_handle_ms", site, agent, by=by * capped_ms)

    def _label_revised(self, site: str, event: dict[str, Any]) -> None:
        when, agent, project, market = (
            event["submitted_at"], event["agent_id"], event["project_id"], event.get("market", "")
        )  # fmt: skip
        for version, by in ((event["old"], -1), (event.get("new"), 1)):
            if version is None or version.get("skipped"):
                continue
            self._labels(when, site, agent, project, market, by)
            if self._is_duration(version.get("handle_ms")):
                self._handled(when, site, agent, min(version["handle_ms"], CAP_MS), by)

    # Reviews.

    def _review(self, site: str, current: Site, event: dict[str, Any]) -> None:
        at, project, market = event["at"], event["project_id"], event.get("market", "")
        role, source = event.get("role", "agent"), event.get("source", "qa")
        correct = event["correct"]
        self._count("reviews_total", site, project, market, role, source)
        self._count("correct_reviews_total", site, project, market, role, source, by=correct)
        if "sop_version" in event:
            self._sop("sop_reviews", site, project, event["sop_version"])
            self._sop("sop_correct_reviews", site, project, event["sop_version"], by=correct)
        single = [{"type": event["error_type"], "severity": event.get("severity")}] if "error_type" in event else []
        # An empty list beside an error type says nothing against it.
        for error in event.get("errors") or single:
            kind = self._error(site, current, project, error, "remarks" if correct else "errors")
            of_work = role == "agent" and event.get("review_round", 1) == 1
            if of_work and not correct and event.get("purpose", "production") == "production":
                self._moment(at, "errors", site, project, kind, error.get("severity") or "")
        if "labeled_at" in event and at - event["labeled_at"] <= QUARTER_MS:
            self._observe("review_delay_seconds", (site,), DELAY_BOUNDS, max(0, at - event["labeled_at"]))
        if event.get("review_round", 1) == 1 and event.get("purpose", "production") == "production":
            self._reviewed(at, site, event["agent_id"], project, role, event, 1)
        if "reviewer_id" in event:
            reviewer = event["reviewer_id"]
            spent = event["review_ms"] if self._is_duration(event.get("review_ms")) else 0
            self._moment(at, "active", site, "qa", reviewer)
            self._moment(at, "reviewer_reviews", site, reviewer)
            self._moment(at, "reviewer_errors", site, reviewer, by=not correct)
            if role == "agent":
                self._moment(at, "reviewer_agent_reviews", site, reviewer)
                self._moment(at, "reviewer_agent_errors", site, reviewer, by=not correct)
            self._moment(at, "reviewer_ms", site, reviewer, by=min(spent, CAP_MS))

    def _reviewed(
        self, when: int, site: str, agent: str, project: str, role: str, version: dict[str, Any], by: int
    ) -> None:
        """Moves the windows by one first-round production review."""
        source, sampling = version.get("source") or "qa", version.get("sampling") or "unknown"
        headline = sampling != "targeted" and source in self.policy.headline_sources
        full = (site, project, version.get("market") or "", role, source, sampling, str(headline).lower())
        correct = by * version["correct"]
        self._moment(when, "reviews", *full, by=by)
        self._moment(when, "correct_reviews", *full, by=correct)
        if headline:
            self._moment(when, "site_reviews", site, role, by=by)
            self._moment(when, "site_correct_reviews", site, role, by=correct)
            self._moment(when, "agent_reviews", site, agent, role, by=by)
            self._moment(when, "agent_correct_reviews", site, agent, role, by=correct)

    def _review_revised(self, site: str, event: dict[str, Any]) -> None:
        self._count("revised_reviews_total", *self.topic_partition)
        for version, by in ((event["old"], -1), (event.get("new"), 1)):
            if version is not None:
                self._reviewed(
                    event["reviewed_at"], site, event["agent_id"], event["project_id"], event.get("role", "agent"),
                    version, by,
                )  # fmt: skip

    def _sop(self, name: str, site: str, project: str, version: str, by: int = 1) -> None:
        versions = self.sop_versions[site, project]
        if version not in versions:
            versions.append(version)
        self._count(f"{name} by version", site, project, version, by=by)

    def _error(self, site: str, current: Site, project: str, error: dict[str, Any], counted_as: str) -> str:
        kind, known = error["type"], current.error_types[counted_as]
        if kind not in known and len(known) >= ERROR_TYPES:
            kind = "other"
        else:
            known.add(kind)
        self._count(f"{counted_as}_total", site, project, kind, error.get("severity") or "")
        return str(kind)

    # Presence.

    def _state(self, name: str, site: Site, event: dict[str, Any]) -> None:
        agent, at = event["agent_id"], event["at"]
        self._moment(at, "active", name, "agent", agent)
        if at < site.newest_state.get(agent, at):
            self._count("late_states_total", name)
            return
        if agent in site.open:
            self._end(name, agent, site.open[agent], at)
        site.newest_state[agent] = at
        site.open[agent] = OpenState(at, event["state"], event.get("project_id", ""))
        heapq.heappush(site.oldest_first, (at, agent))
        self._forget(name, site)

    def _forget(self, name: str, site: Site) -> None:
        """Closes states that are open for more than 12 hours by the site's clock."""
        while site.oldest_first and site.clock - site.oldest_first[0][0] > FORGOTTEN_MS:
            since, agent = heapq.heappop(site.oldest_first)
            if agent in site.open and site.open[agent].since == since:
                was = site.open.pop(agent)
                self._end(name, agent, was, since + FORGOTTEN_MS)
                self._count("forgotten_states_total", name, by=was.state != "offline")

    def _end(self, site: str, agent: str, was: OpenState, until: int) -> None:
        self._count("state_ms", site, was.state, by=until - was.since)
        self.intervals[until // HOUR_MS].append(Interval(site, agent, was.state, was.project, was.since, until))
