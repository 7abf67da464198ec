"""The oracle: every engine figure of the catalogue from all events kept, recomputed from scratch for each time t.

It shares no code with the engine. Slow on purpose: the definitions of docs/contract.md, one after the other.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from .decoder import AHEAD_MS, EVENTS
from .heard import (
    FORGOTTEN_MS,
    HOUR_MS,
    MINUTE_MS,
    OLDEST_MS,
    PEOPLE_WINDOWS,
    REASONS,
    SOP_VERSIONS,
    TRILLION,
    WINDOWS,
    Heard,
    Interval,
    Labels,
)
from .statistics import beta_below, wilson


class Oracle(Heard):
    """All events of one partition, and what the contract says of them."""

    # Figures.

    def figures(self, t: int) -> dict[str, dict[Labels, float]]:
        """Every gauge at time t, and every counter of all records so far, under the catalogue's names."""
        found: dict[str, dict[Labels, float]] = defaultdict(dict)
        self._add_totals(found)
        week = self._sums(t, "7d")
        for window in WINDOWS:
            sums = self._sums(t, window)
            milliseconds = self._state_ms(t, window)
            self._add_window(found, window, sums, milliseconds, week)
        self._add_now(found, t)
        self._add_policy(found)
        self._add_queues(found, t)
        return {f"labelwatch_{metric}": series for metric, series in found.items()}

    def histogram_figures(self) -> dict[str, dict[Labels, tuple[list[int], float]]]:
        """Every histogram: counts by bucket, the last +Inf, not cumulative; and the sum in seconds."""
        found: dict[str, dict[Labels, tuple[list[int], float]]] = defaultdict(dict)
        for (metric, labels), (counts, total) in self.histograms.items():
            found[f"labelwatch_{metric}"][labels] = (counts, total[0] / 1000)
        return found

    def _add_totals(self, found: dict[str, dict[Labels, float]]) -> None:
        for kind in EVENTS:
            found["events_total"][kind, *self.topic_partition] = 0
        for reason in REASONS:
            found["rejected_total"][reason, *self.topic_partition] = 0
        for (metric, labels), count in self.totals.items():
            if metric == "state_ms":
                found["site_state_seconds_total"][labels] = count / 1000
            elif metric.endswith(" by version"):
                site, project, version = labels
                named = [known for known in self.sop_versions[site, project] if known != "older"]
                newest = named[-SOP_VERSIONS:]
                shown = (site, project, version if version in newest else "older")
                series = found[metric.replace(" by version", "_total")]
                series[shown] = series.get(shown, 0) + count
            else:
                found[metric][labels] = count

    def _sums(self, t: int, window: str) -> Counter[Labels]:
        pane_ms, panes = WINDOWS[window]
        store = self.by_minute if pane_ms == MINUTE_MS else self.by_hour
        last = t // pane_ms
        sums: Counter[Labels] = Counter()
        for pane in range(last - panes + 1, last + 1):
            for key, amount in store[pane].items() if pane in store else ():
                sums[key] = sums.get(key, 0) + amount
        return sums

    def _state_ms(self, t: int, window: str) -> Counter[tuple[str, str, str, str]]:
        """Milliseconds by (site, agent, state, project) within the window."""
        pane_ms, panes = WINDOWS[window]
        start = (t // pane_ms - panes + 1) * pane_ms
        spent: Counter[tuple[str, str, str, str]] = Counter()
        for interval in self._states_since(start, t):
            overlap = min(interval.until, t) - max(interval.since, start)
            if overlap > 0:
                spent[interval.site, interval.agent, interval.state, interval.project] += overlap
        return spent

    def _states_since(self, start: int, t: int) -> Iterator[Interval]:
        for hour, ended in self.intervals.items():
            if hour >= start // HOUR_MS:
                yield from ended
        for name, site in self.sites.items():
            for agent, now in site.open.items():
                yield Interval(name, agent, now.state, now.project, now.since, min(t, now.since + FORGOTTEN_MS))

    def _add_window(  # noqa: C901 - every kind of figure once, plainly
        self,
        found: dict[str, dict[Labels, float]],
        window: str,
        sums: Counter[Labels],
        milliseconds: Counter[tuple[str, str, str, str]],
        week: Counter[Labels],
    ) -> None:
        by_site: dict[Labels, Counter[str]] = defaultdict(Counter)
        by_agent: dict[Labels, Counter[str]] = defaultdict(Counter)
        by_project: Counter[Labels] = Counter()
        for (site, agent, state, project), spent in milliseconds.items():
            by_site[site,][state] += spent
            by_agent[site, agent][state] += spent
            by_project[site, project, "", state] += spent
        active: dict[Labels, set[str]] = defaultdict(set)
        people = window in PEOPLE_WINDOWS

        def positive(metric: str, labels: Labels, value: float) -> None:
            if value > 0:
                found[metric][*labels, window] = value

        for (metric, *rest), amount in sums.items():
            labels = tuple(rest)
            if metric == "active":
                active[labels[:2]].add(labels[2])
            elif metric in ("labels", "reviews", "correct_reviews", "errors"):
                if people:
                    positive(f"{metric}_window", labels, amount)
            elif metric == "queue_arrived_tasks" and people:
                positive("queue_arrived_tasks_window", labels, amount)
            elif metric in ("site_labels", "site_reviews"):
                positive(metric, labels, amount)
            elif metric == "site_correct_reviews":
                positive(metric, labels, amount if sums["site_reviews", *rest] > 0 else 0)
            elif metric == "agent_labels" and people:
                positive(metric, (*labels, "agent"), amount)
            elif metric == "agent_reviews" and people:
                positive(metric, labels, amount)
            elif re.fullmatch(r"reviewer_(agent_)?(reviews|errors)", metric) and people:
                positive(metric.replace("errors", "errors_found"), labels, amount)
            elif metric == "reviewer_ms" and people:
                positive("reviewer_seconds", labels, amount / 1000)
            if metric in ("site_handled", "agent_handled") and amount > 0:
                scope = metric.removesuffix("_handled")
                mean = sums[f"{scope}_handle_ms", *rest] / amount / 1000
                if scope == "site":
                    found["site_handle_seconds_mean"][*labels, window] = mean
                elif people:
                    found["agent_handle_seconds_mean"][*labels, "agent", window] = mean
            if metric == "site_reviews":
                correct = sums["site_correct_reviews", *rest]
                self._add_accuracy(found, "site", labels, window, correct, amount)
            if metric == "agent_reviews" and people:
                correct = sums["agent_correct_reviews", *rest]
                self._add_accuracy(found, "agent", labels, window, correct, amount)

        if people:
            self._add_partition(found, window, sums)
        for labels, persons in active.items():
            found["site_active_agents"][*labels, window] = len(persons)
        for labels, spent in by_project.items():
            if people:
                positive("state_seconds_window", labels, spent / 1000)
        for labels, states in by_site.items():
            self._add_shares(found, "site", labels, window, states)
        if people:
            for labels, states in by_agent.items():
                self._add_shares(found, "agent", labels, window, states)
        self._add_speed(found, window, sums, week, by_agent)

    def _add_speed(
        self,
        found: dict[str, dict[Labels, float]],
        window: str,
        sums: Counter[Labels],
        week: Counter[Labels],
        by_agent: dict[Labels, Counter[str]],
    ) -> None:
        """Labels and productive time of the same people: who label, are no QAs, and report states."""
        timed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (site, agent), states in by_agent.items():
            productive, done = states["productive"], sums["agent_labels", site, agent]
            if productive <= 0 or week["agent_labels", site, agent] <= 0:
                continue
            if window in PEOPLE_WINDOWS and productive >= self.policy.min_time_ms:
                speed = max(done, 0) / (productive / HOUR_MS)
                found["agent_labels_per_productive_hour"][site, agent, "agent", window] = speed
            if self.sites[site].roles.get(agent, "agent") == "agent":
                timed[site][0] += done
                timed[site][1] += productive
        for site, (done, productive) in timed.items():
            found["site_productive_seconds"][site, window] = productive / 1000
            if productive >= self.policy.min_time_ms:
                found["site_labels_per_productive_hour"][site, window] = max(done, 0) / (productive / HOUR_MS)
        for (metric, *rest), amount in sums.items():
            if metric == "site_labels" and amount > 0:
                (site,) = rest
                known = max(timed[site][0], 0) if site in timed else 0
                found["site_timed_labels_ratio"][site, window] = min(known / amount, 1)

    def _add_partition(self, found: dict[str, dict[Labels, float]], window: str, sums: Counter[Labels]) -> None:
        """Labels and headline reviews of all sites together, by project and market."""
        totals: dict[str, Counter[Labels]] = defaultdict(Counter)
        for (metric, *rest), amount in sums.items():
            if metric == "labels":
                _, project, market = rest
                totals["labels"][project, market, window] += amount
            elif metric in ("reviews", "correct_reviews"):
                _, project, market, role, _, _, headline = rest
                if headline == "true":
                    totals[f"headline_{metric}"][project, market, role, window] += amount
        for metric, series in totals.items():
            for labels, amount in series.items():
                if amount > 0 and (metric != "headline_correct_reviews" or totals["headline_reviews"][labels] > 0):
                    found[f"partition_{metric}_window"][*labels, *self.topic_partition] = amount

    def _add_shares(
        self, found: dict[str, dict[Labels, float]], scope: str, labels: Labels, window: str, states: Counter[str]
    ) -> None:
        """Utilization, and for sites occupancy and the available share; of enough time."""
        key = (*labels, window) if scope == "site" else (*labels, "agent", window)
        productive, available = states["productive"], states["available"]
        logged_in = {state: states[state] for state in self.policy.logged_in}
        present = sum(logged_in.values())
        if present >= self.policy.min_time_ms:
            found[f"{scope}_utilization_ratio"][key] = logged_in.get("productive", 0) / present
            if scope == "site":
                found["site_available_ratio"][key] = logged_in.get("available", 0) / present
        if scope == "site" and productive + available >= self.policy.min_time_ms:
            found["site_occupancy_ratio"][key] = productive / (productive + available)

    def _add_accuracy(
        self, found: dict[str, dict[Labels, float]], scope: str, labels: Labels, window: str, correct: int, n: int
    ) -> None:
        targets = self.policy.resolve(labels[0])
        if n < targets.min_reviews:
            return
        key = (*labels, window)
        # Revisions whose reviews never came may leave more correct reviews than reviews, or fewer than none.
        correct = min(max(correct, 0), n)
        lower, upper = wilson(correct, n)
        found[f"{scope}_accuracy_ratio"][key] = correct / n
        found[f"{scope}_accuracy_lower_ratio"][key] = lower
        found[f"{scope}_accuracy_upper_ratio"][key] = upper
        if scope == "agent":
            target = targets.qa_accuracy if labels[2] == "qa" else targets.accuracy
            found["agent_below_target_probability"][key] = beta_below(correct, n, target)

    def _add_now(self, found: dict[str, dict[Labels, float]], t: int) -> None:
        if self.watermark:
            found["watermark_timestamp_seconds"][self.topic_partition] = self.watermark / 1000
        for name, site in self.sites.items():
            for agent, now in site.open.items():
                if now.since <= t <= now.since + FORGOTTEN_MS:
                    key = (name, site.roles.get(agent, "agent"), now.state)
                    found["site_agents"][key] = found["site_agents"].get(key, 0) + 1
            if site.newest_estimate and t - site.newest_estimate < 7 * 24 * HOUR_MS + FORGOTTEN_MS:
                found["site_presence_estimated"][name,] = 1
            for kind, at in site.newest_event.items():
                found["site_last_event_timestamp_seconds"][name, kind] = at / 1000
            if site.skew is not None:
                found["clock_skew_seconds"][name,] = site.skew
            info = (name, self.policy.vendor(name), self.policy.timezone(name), self.topic_partition[1])
            found["site_info"][info] = 1
            found["site_utc_offset_seconds"][name, info[2]] = OFFSETS_SECONDS[info[2]]
            found["policy_scope_missing"][name,] = 0 if self.policy.names_site(name) else 1

    def _is_measured(self, queue: Labels, t: int) -> bool:
        site, *key = queue
        return bool(self.sites[site].queues[key[0], key[1], key[2]]["at"] > t - 24 * HOUR_MS)

    def _add_queues(self, found: dict[str, dict[Labels, float]], t: int) -> None:
        arrived = found.pop("queue_arrived_tasks_window", {})
        measured = {labels: tasks for labels, tasks in arrived.items() if self._is_measured(labels[:-1], t)}
        if measured:
            found["queue_arrived_tasks_window"] = measured
        for name, site in self.sites.items():
            for key, event in site.queues.items():
                labels, at = (name, *key), event["at"]
                if not self._is_measured(labels, t):
                    continue
                found["queue_waiting_tasks"][labels] = min(event["waiting"], TRILLION)
                found["queue_measured_timestamp_seconds"][labels] = at / 1000
                target = self.policy.resolve(name, key[0], key[1]).turnaround_target_seconds
                found["queue_turnaround_target_seconds"][labels] = target
                since = event.get("oldest_at", 0)
                if event["waiting"] > 0 and OLDEST_MS <= since <= at + AHEAD_MS:
                    found["queue_oldest_task_timestamp_seconds"][labels] = min(since, at) / 1000

    def _add_policy(self, found: dict[str, dict[Labels, float]]) -> None:
        for scope in self.policy.exported_scopes():
            if scope[0] and scope[0] not in self.sites:
                continue
            targets = self.policy.resolve(*scope)
            for kind in ("accuracy", "qa_accuracy", "critical_error", "utilization"):
                found["target_ratio"][*scope, kind] = getattr(targets, kind)
            found["target_handle_seconds"][scope] = targets.handle_seconds
            found["policy_min_reviews"][scope] = targets.min_reviews


#: Of the zones in the tests' policies; neither has summer time.
OFFSETS_SECONDS = {"UTC": 0, "Asia/Manila": 8 * 3600}
