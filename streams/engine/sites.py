"""Figures that need several parts together: a site's accuracy, speed, utilization, targets; sums over sites."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.events import ROLES, STATES
from schemas.metrics import SITE_WINDOWS, WINDOWS
from schemas.policy import Policy, Targets
from streams.engine.figures import Figures, Sample
from streams.engine.panes import Ints, Key, Table
from streams.engine.parts import Tell
from streams.engine.parts.presence import OpenStates, Presence
from streams.engine.parts.verdicts import Verdicts
from streams.engine.parts.work import Work
from streams.engine.ratios import wilson

Flags = NDArray[np.bool_]
_TARGET_KINDS = ("accuracy", "qa_accuracy", "critical_error", "utilization")


class SiteView:
    """Puts the parts' tables together: by site, and over the partition's sites by project and market.

    Args:
        work: Labels.
        verdicts: Reviews.
        presence: States.
        here: Topic and partition, for labels.
    """

    def __init__(self, work: Work, verdicts: Verdicts, presence: Presence, here: tuple[str, str]) -> None:
        self._here = here
        self._work = work
        self._verdicts = verdicts
        self._presence = presence
        self._of_work, self._of_verdicts = _ByProject(work.work), _ByProject(verdicts.verdicts)
        self._targets: dict[str, list[Sample]] = {}
        self._targets_seen: tuple[Policy | None, int, int, int] = (None, 0, 0, 0)

    def read(self, at_ms: int, policy: Policy, sites: list[str]) -> Tell:
        """Sums of every window (under the engine's lock), and the targets of all that was seen."""
        headline = {role: self._headline(role, policy) for role in ROLES}
        in_state = {
            state: np.array([key is not None and key[2] == state for key in self._presence.states.keys], bool)
            for state in STATES
        }
        opened = self._presence.open_states(at_ms)
        windows = [(window, self._window(window, at_ms, headline, in_state, opened)) for window in SITE_WINDOWS]
        projects = self._of_work.now(), self._of_verdicts.now()
        targets = self._targets_of(sites, policy)

        def tell(figures: Figures) -> None:
            for window, sums in windows:
                sums.tell(figures, window, policy)
                if window in WINDOWS:
                    sums.tell_projects(figures, window, projects, self._here)
            for name, rows in targets.items():
                figures.samples.setdefault(name, []).extend(rows)

        return tell

    def _targets_of(self, sites: list[str], policy: Policy) -> dict[str, list[Sample]]:
        """The targets of all that was seen; kept, since they change only with what is seen, of which nothing leaves."""
        work, verdicts = self._work.work.index, self._verdicts.verdicts.index
        seen = (policy, len(sites), len(work), len(verdicts))
        if seen != self._targets_seen:
            scopes: list[Key] = [(site, "", "") for site in sites]
            scopes += [*work, *(key[:3] for key in verdicts)]
            self._targets, self._targets_seen = _targets(policy, scopes), seen
        return self._targets

    def _headline(self, role: str, policy: Policy) -> Flags:
        """Which rows of verdicts make the headline accuracy of a role."""
        return np.array(
            [
                key is not None and key[3] == role and key[4] in policy.headline_sources and key[5] != "targeted"
                for key in self._verdicts.verdicts.keys
            ],
            bool,
        )

    def _window(
        self, window: str, at_ms: int, headline: dict[str, Flags], in_state: dict[str, Flags], opened: OpenStates
    ) -> "_Sums":
        sums = _Sums()
        work, verdicts, states = self._work.work, self._verdicts.verdicts, self._presence.states
        labels = work.window_sum("labels", window, at_ms)
        sums.labels = work.by_group(labels)
        sums.labels_by_row = labels
        sums.handled = work.by_group(work.window_sum("handled", window, at_ms))
        sums.handle_ms = work.by_group(work.window_sum("handle_ms", window, at_ms))
        reviews, correct = verdicts.window_sum("reviews", window, at_ms), verdicts.window_sum("correct", window, at_ms)
        for role, counts in headline.items():
            by_row = reviews * counts, correct * counts
            sums.reviews[role], sums.correct[role] = map(verdicts.by_group, by_row)
            sums.verdicts_by_row[role] = by_row
        ms = self._presence.state_ms(window, at_ms, opened)
        for state, rows in in_state.items():
            sums.state_ms[state] = states.by_group(ms * rows)
        return sums


class _Projects(NamedTuple):
    """Rows of a table by project and market."""

    of_row: Ints
    scopes: list[Key]

    def sums(self, values: Ints) -> dict[Key, int]:
        """Sums of a column over sites where above 0."""
        sums = np.bincount(self.of_row, weights=values, minlength=len(self.scopes))
        return {self.scopes[number]: int(sums[number]) for number in np.flatnonzero(sums > 0).tolist()}


class _ByProject:
    """Tells a table's rows apart by project and market; looks again only when there are new ones, since none leaves.

    Args:
        table: Its rows' keys begin with site, project, market.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._seen = 0
        self._projects = _Projects(np.zeros(0, np.int64), [])

    def now(self) -> _Projects:
        """For the rows of now; under the engine's lock."""
        if self._seen != len(self._table.index):
            self._seen = len(self._table.index)
            numbers: dict[Key, int] = {}
            scopes = [numbers.setdefault(key[1:3] if key else (), len(numbers)) for key in self._table.keys]
            self._projects = _Projects(np.array(scopes, np.int64), list(numbers))
        return self._projects


class _Sums:
    """One window's sums by site, and what they are sums of by row."""

    def __init__(self) -> None:
        self.labels_by_row: Ints = np.zeros(0, np.int64)
        self.verdicts_by_row: dict[str, tuple[Ints, Ints]] = {}
        self.labels: dict[str, int] = {}
        self.handled: dict[str, int] = {}
        self.handle_ms: dict[str, int] = {}
        self.reviews: dict[str, dict[str, int]] = {}
        self.correct: dict[str, dict[str, int]] = {}
        self.state_ms: dict[str, dict[str, int]] = {}

    def tell(self, figures: Figures, window: str, policy: Policy) -> None:
        """Says the window's figures of every site."""
        for role, by_site in self.reviews.items():
            self._tell_accuracy(figures, window, role, by_site, policy)
        productive, available = self.state_ms["productive"], self.state_ms["available"]
        for site, labels in self.labels.items():
            if labels > 0:
                figures.add("labelwatch_site_labels", (site, window), labels)
                if productive.get(site, 0) > 0:
                    rate = labels / (productive[site] / 3_600_000)
                    figures.add("labelwatch_site_labels_per_productive_hour", (site, window), rate)
        for site, handled in self.handled.items():
            if handled > 0:
                mean = self.handle_ms.get(site, 0) / handled / 1000
                figures.add("labelwatch_site_handle_seconds_mean", (site, window), mean)
        logged_in: dict[str, int] = {}
        for state in policy.logged_in:
            for site, ms in self.state_ms[state].items():
                logged_in[site] = logged_in.get(site, 0) + ms
        for site, ms in logged_in.items():
            if ms > 0:
                # What is not logged-in time by the policy cannot be worked in it.
                worked = productive.get(site, 0) if "productive" in policy.logged_in else 0
                waited = available.get(site, 0) if "available" in policy.logged_in else 0
                figures.add("labelwatch_site_utilization_ratio", (site, window), worked / ms)
                figures.add("labelwatch_site_available_ratio", (site, window), waited / ms)
        for site in productive.keys() | available.keys():
            on_tasks, waited = productive.get(site, 0), available.get(site, 0)
            if on_tasks + waited > 0:
                figures.add("labelwatch_site_occupancy_ratio", (site, window), on_tasks / (on_tasks + waited))

    def tell_projects(
        self, figures: Figures, window: str, projects: tuple[_Projects, _Projects], here: tuple[str, str]
    ) -> None:
        """Says the window's labels and headline reviews of the partition: all sites together, by project and market."""
        of_work, of_verdicts = projects
        for scope, labels in of_work.sums(self.labels_by_row).items():
            figures.add("labelwatch_partition_labels_window", (*scope, window, *here), labels)
        for role, (reviews, correct) in self.verdicts_by_row.items():
            right = of_verdicts.sums(correct)
            for scope, n in of_verdicts.sums(reviews).items():
                of = (*scope, role, window, *here)
                figures.add("labelwatch_partition_headline_reviews_window", of, n)
                figures.add("labelwatch_partition_headline_correct_reviews_window", of, right.get(scope, 0))

    def _tell_accuracy(self, figures: Figures, window: str, role: str, reviews: dict[str, int], policy: Policy) -> None:
        sites = [site for site, n in reviews.items() if n > 0]
        n = np.array([reviews[site] for site in sites], np.int64)
        k = np.array([self.correct[role].get(site, 0) for site in sites], np.int64)
        lower, upper = wilson(k, n)
        for site, total, right, low, high in zip(
            sites, n.tolist(), k.tolist(), lower.tolist(), upper.tolist(), strict=True
        ):
            labels = (site, role, window)
            figures.add("labelwatch_site_reviews", labels, total)
            if right > 0:
                figures.add("labelwatch_site_correct_reviews", labels, right)
            if total >= policy.resolve(site=site).min_reviews:
                figures.add("labelwatch_site_accuracy_ratio", labels, min(max(right / total, 0.0), 1.0))
                figures.add("labelwatch_site_accuracy_lower_ratio", labels, low)
                figures.add("labelwatch_site_accuracy_upper_ratio", labels, high)


def _targets(policy: Policy, scopes: list[Key]) -> dict[str, list[Sample]]:
    """The policy, resolved for each scope seen and for the sums over it, so that rules hold no number."""
    wanted = {("", "", "")}
    for site, project, market in scopes:
        wanted |= {(site, "", ""), ("", project, ""), (site, project, ""), (site, project, market)}
    figures = Figures()
    for scope in sorted(wanted):
        targets: Targets = policy.resolve(*scope)
        for kind in _TARGET_KINDS:
            figures.add("labelwatch_target_ratio", (*scope, kind), getattr(targets, kind))
        figures.add("labelwatch_target_handle_seconds", scope, targets.handle_seconds)
        figures.add("labelwatch_policy_min_reviews", scope, targets.min_reviews)
    return figures.samples
