"""Sites' figures that need several parts' tables: accuracy, handling time, utilization, targets; sums over sites."""

from collections.abc import Sequence

import numpy as np

from detectors.arrays import Flags, Ints
from schemas.events import ROLES, STATES
from schemas.metrics import SITE_WINDOWS, WINDOWS
from schemas.policy import Policy, Targets
from streams.engine.figures import Figures, LabelValues
from streams.engine.panes import Key, Table
from streams.engine.parts import Grouped, Grouping, Part, Report
from streams.engine.parts.presence import OpenStates, PresencePart
from streams.engine.parts.verdicts import HEADLINE, VerdictsPart
from streams.engine.parts.work import WorkPart
from streams.engine.ratios import wilson

_TARGET_KINDS = ("accuracy", "qa_accuracy", "critical_error", "utilization")


class SiteView:
    """Makes figures from several parts' tables: by site; and over all sites of the partition by project and market.

    Args:
        work: The part with labels.
        verdicts: The part with reviews.
        presence: The part with people's states.
        here: Topic and partition, for the labels of series.
    """

    def __init__(self, work: WorkPart, verdicts: VerdictsPart, presence: PresencePart, here: tuple[str, str]) -> None:
        self.reads: Sequence[Part] = (work, verdicts, presence)
        self._here = here
        self._work = work
        self._verdicts = verdicts
        self._presence = presence
        self._of_work = Grouping(work.work, _project_and_market)
        self._of_verdicts = Grouping(verdicts.verdicts, _project_and_market)
        self._purposes = Grouping(verdicts.verdicts, lambda key: (key[3], verdicts.headline_of(key)))
        self._states = Grouping(presence.states, lambda key: key[2:])
        self._site_labels: dict[tuple[str, str], list[LabelValues]] = {
            (role, window): [] for role in ROLES for window in SITE_WINDOWS
        }
        self._targets: tuple[Policy | None, int, Figures] = (None, 0, Figures())

    def read(self, at_ms: int, policy: Policy, sites: list[str]) -> Report:
        """Takes the sums of every window and the sites' targets, under the engine's lock; the report needs no lock."""
        verdicts, states = self._verdicts.verdicts, self._presence.states
        purposes = self._purposes.now()
        headline = {
            role: _flags(verdicts, purposes, [purpose == (role, HEADLINE) for purpose in purposes.labels])
            for role in ROLES
        }
        by_state = self._states.now()
        in_state = {state: _flags(states, by_state, [name == (state,) for name in by_state.labels]) for state in STATES}
        opened = self._presence.open_states(at_ms)
        removed = policy.limits.removed_sites
        kept = _kept(self._work.work, removed), _kept(verdicts, removed)
        windows = [(window, self._window(window, at_ms, headline, in_state, opened, kept)) for window in SITE_WINDOWS]
        least = np.array([policy.resolve(site=site).min_reviews for site in verdicts.group_names], np.int64)
        for (role, window), labels in self._site_labels.items():
            labels.extend((site, role, window) for site in verdicts.group_names[len(labels) :])
        projects = self._of_work.now(), self._of_verdicts.now()
        targets = self._targets_of(sites, policy)

        def report(figures: Figures) -> None:
            for window, sums in windows:
                sums.report(figures, window, policy)
                for role in ROLES:
                    _tell_accuracy(
                        figures, self._site_labels[role, window], sums.reviews[role], sums.correct[role], least
                    )
                if window in WINDOWS:
                    sums.tell_projects(figures, window, projects, self._here)
            for name, rows in targets.rows.items():
                figures.extend(name, rows)

        return report

    def _targets_of(self, sites: list[str], policy: Policy) -> Figures:
        """The policy's targets for the sites seen; made again only for another policy or a new site."""
        known_policy, known_sites, targets = self._targets
        if known_policy is not policy or known_sites != len(sites):
            targets = _targets(policy, sites)
            self._targets = policy, len(sites), targets
        return targets

    def _window(
        self,
        window: str,
        at_ms: int,
        headline: dict[str, Flags],
        in_state: dict[str, Flags],
        opened: OpenStates,
        kept: tuple[Flags | None, Flags | None],
    ) -> "_Sums":
        sums = _Sums()
        work, verdicts, states = self._work.work, self._verdicts.verdicts, self._presence.states
        labels = work.window_sum("labels", window, at_ms)
        sums.labels = work.by_group(labels)
        sums.labels_by_row = labels if kept[0] is None else labels * kept[0]
        sums.handled = work.by_group(work.window_sum("handled", window, at_ms))
        sums.handle_ms = work.by_group(work.window_sum("handle_ms", window, at_ms))
        reviews, correct = verdicts.window_sum("reviews", window, at_ms), verdicts.window_sum("correct", window, at_ms)
        if kept[1] is not None:
            reviews, correct = reviews * kept[1], correct * kept[1]
        for role, counts in headline.items():
            by_row = reviews * counts, correct * counts
            sums.reviews[role], sums.correct[role] = map(verdicts.group_sums, by_row)
            sums.verdicts_by_row[role] = by_row
        ms = self._presence.state_ms(window, at_ms, opened)
        for state, rows in in_state.items():
            sums.state_ms[state] = states.by_group(ms * rows)
        return sums


class _Sums:
    """One window's sums by site, and the counts by row that they are sums of."""

    def __init__(self) -> None:
        self.labels_by_row: Ints = np.zeros(0, np.int64)
        self.verdicts_by_row: dict[str, tuple[Ints, Ints]] = {}
        self.labels: dict[str, int] = {}
        self.handled: dict[str, int] = {}
        self.handle_ms: dict[str, int] = {}
        self.reviews: dict[str, Ints] = {}
        self.correct: dict[str, Ints] = {}
        self.state_ms: dict[str, dict[str, int]] = {}

    def report(self, figures: Figures, window: str, policy: Policy) -> None:
        """Adds the window's figures of every site."""
        productive, available = self.state_ms["productive"], self.state_ms["available"]
        for site, labels in self.labels.items():
            if labels > 0:
                figures.add("labelwatch_site_labels", (site, window), labels)
        for site, handled in self.handled.items():
            if handled > 0:
                mean = self.handle_ms.get(site, 0) / handled / 1000
                figures.add("labelwatch_site_handle_seconds_mean", (site, window), mean)
        logged_in: dict[str, int] = {}
        for state in policy.logged_in:
            for site, ms in self.state_ms[state].items():
                logged_in[site] = logged_in.get(site, 0) + ms
        for site, ms in logged_in.items():
            if ms >= policy.min_time_ms:
                # Productive time that the policy does not count as logged-in time is no part of utilization.
                worked = productive.get(site, 0) if "productive" in policy.logged_in else 0
                waited = available.get(site, 0) if "available" in policy.logged_in else 0
                figures.add("labelwatch_site_utilization_ratio", (site, window), worked / ms)
                figures.add("labelwatch_site_available_ratio", (site, window), waited / ms)
        for site in productive.keys() | available.keys():
            on_tasks, waited = productive.get(site, 0), available.get(site, 0)
            if on_tasks + waited >= policy.min_time_ms:
                figures.add("labelwatch_site_occupancy_ratio", (site, window), on_tasks / (on_tasks + waited))

    def tell_projects(
        self, figures: Figures, window: str, projects: tuple[Grouped, Grouped], here: tuple[str, str]
    ) -> None:
        """Adds the window's labels and headline reviews of all sites of the partition, by project and market."""
        of_work, of_verdicts = projects
        for scope, labels in zip(of_work.labels, of_work.sums(self.labels_by_row).tolist(), strict=False):
            if labels > 0:
                figures.add("labelwatch_partition_labels_window", (*scope, window, *here), labels)
        for role, (reviews, correct) in self.verdicts_by_row.items():
            sums = of_verdicts.sums(reviews).tolist(), of_verdicts.sums(correct).tolist()
            for scope, n, right in zip(of_verdicts.labels, *sums, strict=False):
                if n > 0:
                    of = (*scope, role, window, *here)
                    figures.add("labelwatch_partition_headline_reviews_window", of, n)
                    figures.add("labelwatch_partition_headline_correct_reviews_window", of, max(right, 0))


def _tell_accuracy(figures: Figures, labels: list[LabelValues], n: Ints, k: Ints, least: Ints) -> None:
    """Adds every site's reviews of a role in a window, and the accuracy where there are enough of them.

    Args:
        figures: Get the series.
        labels: Label values of the series, by site.
        n: Headline reviews by site.
        k: Correct ones among them, by site.
        least: Reviews that the policy asks for, by site.
    """
    # Revisions of reviews that never came can leave correct reviews where there are no reviews.
    reviewed, right = np.flatnonzero(n > 0), np.flatnonzero((n > 0) & (k > 0))
    figures.add_column("labelwatch_site_reviews", labels, reviewed, n[reviewed])
    figures.add_column("labelwatch_site_correct_reviews", labels, right, k[right])
    enough = np.flatnonzero((n > 0) & (n >= least))
    n, k = n[enough], k[enough]
    lower, upper = wilson(k, n)
    figures.add_column("labelwatch_site_accuracy_ratio", labels, enough, np.clip(k / n, 0.0, 1.0))
    figures.add_column("labelwatch_site_accuracy_lower_ratio", labels, enough, lower)
    figures.add_column("labelwatch_site_accuracy_upper_ratio", labels, enough, upper)


def _project_and_market(key: Key) -> Key:
    return key[1:3]


def _flags(table: Table, grouped: Grouped, chosen: list[bool]) -> Flags:
    """Which rows of a table are of the chosen groups."""
    flags = np.zeros(table.rows, bool)
    flags[grouped.rows] = np.array(chosen, bool)[grouped.of_row]
    return flags


def _kept(table: Table, removed: Sequence[str]) -> Flags | None:
    """Which rows of a table are of no removed site; None where no site was removed."""
    if not removed:
        return None
    flags = np.ones(table.rows, bool)
    for site in removed:
        flags &= ~table.in_group(site)
    return flags


def _targets(policy: Policy, sites: Sequence[str]) -> Figures:
    """The policy's targets for each scope that it names, so that rules hold no numbers; of sites only those seen.

    Every partition gives the targets that hold for all sites; the page shows them once.
    """
    figures, seen = Figures(), {"", *sites}
    for scope in policy.exported_scopes():
        if scope[0] in seen:
            targets: Targets = policy.resolve(*scope)
            for kind in _TARGET_KINDS:
                figures.add("labelwatch_target_ratio", (*scope, kind), getattr(targets, kind))
            figures.add("labelwatch_target_handle_seconds", scope, targets.handle_seconds)
            figures.add("labelwatch_policy_min_reviews", scope, targets.min_reviews)
    return figures
