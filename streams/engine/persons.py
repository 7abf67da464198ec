"""People's figures in columns, read in short pieces so that 100,000 people do not stall the event loop."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Ints
from schemas.events import ROLES
from schemas.metrics import WINDOWS
from schemas.policy import Policy
from streams.engine.figures import Figures, LabelValues, PeopleGroup
from streams.engine.panes import Key, Table
from streams.engine.parts import Part
from streams.engine.parts.people import PeoplePart, ReviewersPart
from streams.engine.parts.presence import PresencePart
from streams.engine.ratios import below_target_probability, ratio, wilson

#: Rows summed while the lock is held once: a few milliseconds.
_PIECE = 8192
#: From this probability on a person is at risk, and shown before others where the number of series is capped.
_AT_RISK = 0.9
_AT_RISK_PRIORITY = 1e9
#: A person without a label within this window does not label.
_LONGEST = "7d"
_AGENT = ROLES.index("agent")
#: Number of people with an event, by window, role and site.
Active = dict[str, dict[str, dict[str, int]]]
#: Labels and productive ms, by window and site, both of the same people.
Paces = dict[str, dict[str, tuple[int, int]]]


class PeopleView:
    """Makes people's figures from several parts' tables; called by the thread that renders the page."""

    def __init__(
        self, lock: AbstractContextManager[bool], people: PeoplePart, reviewers: ReviewersPart, presence: PresencePart
    ) -> None:
        self.reads: Sequence[Part] = (people, reviewers, presence)
        self._lock = lock
        self._people = people.table
        self._presence = presence
        self._reviewers = reviewers.table
        #: By row of presence the same person's row of people, -1 where there is none; and how many keys were paired.
        self._person_of = np.zeros(0, np.int64)
        self._presence_known = 0

    def read(self, at_ms: int, policy: Policy) -> list[PeopleGroup]:
        """Agents' and reviewers' figures in every window."""
        return [self._agents(at_ms, policy), self._made(at_ms)]

    def _agents(self, at_ms: int, policy: Policy) -> PeopleGroup:
        rows, keys = self._used(self._people)
        labels: list[LabelValues] = [(site, agent, role) for site, role, agent in keys]
        targets = {(key[0], key[1]) for key in keys}
        by_scope = {
            (site, role): (resolved.qa_accuracy if role == "qa" else resolved.accuracy, resolved.min_reviews)
            for site, role in targets
            for resolved in (policy.resolve(site=site),)
        }
        target, least = np.array([by_scope[key[0], key[1]] for key in keys], np.float64).reshape(-1, 2).T
        columns: dict[tuple[str, str], NDArray[np.float64]] = {}
        risk = np.zeros(len(rows))
        volume = np.zeros(len(rows))
        (of_week,) = self._sums(self._people, ("labels",), (_LONGEST,), at_ms)
        # Only people who label can have a speed of 0; reviewers have no speed.
        labels_at_all = of_week[rows] > 0
        # Productive time that the policy does not count as logged-in time is no part of utilization.
        counts_as_worked = "productive" in policy.logged_in
        for window in WINDOWS:
            sums = self._sums(self._people, ("labels", "handled", "handle_ms", "reviews", "correct"), (window,), at_ms)
            done, handled, handle_ms, n, k = (column[rows] for column in sums)
            productive, logged_in = (column[rows] for column in self._person_ms(window, at_ms))
            lower, upper = wilson(k, n)
            enough = (n >= least) & (n > 0)
            below = below_target_probability(k, n, target)
            volume += done + n
            risk = np.maximum(risk, np.where(enough & (below >= _AT_RISK), 1.0, 0.0))
            for name, values in (
                ("labelwatch_agent_accuracy_ratio", np.where(enough, np.clip(ratio(k, n), 0.0, 1.0), np.nan)),
                ("labelwatch_agent_accuracy_lower_ratio", np.where(enough, lower, np.nan)),
                ("labelwatch_agent_accuracy_upper_ratio", np.where(enough, upper, np.nan)),
                ("labelwatch_agent_reviews", _above_0(n)),
                ("labelwatch_agent_labels", _above_0(done)),
                (
                    "labelwatch_agent_labels_per_productive_hour",
                    np.where(
                        labels_at_all & (productive >= policy.min_time_ms),
                        ratio(np.maximum(done, 0) * 3_600_000.0, productive),
                        np.nan,
                    ),
                ),
                ("labelwatch_agent_handle_seconds_mean", ratio(handle_ms, handled) / 1000),
                (
                    "labelwatch_agent_utilization_ratio",
                    np.where(logged_in >= policy.min_time_ms, ratio(productive * counts_as_worked, logged_in), np.nan),
                ),
                ("labelwatch_agent_below_target_probability", np.where(enough, below, np.nan)),
            ):
                columns[name, window] = values
        return PeopleGroup(labels, columns, volume + risk * _AT_RISK_PRIORITY)

    @property
    def are_few(self) -> bool:
        """Whether there are so few people that all are counted at once, in a few milliseconds."""
        return self._people.rows + self._presence.people.rows + self._reviewers.rows <= _PIECE

    def active(self, windows: Sequence[str], at_ms: int) -> Active:
        """The number of people with an event within each window, by window, role and site; each person counts once.

        An agent is active by a label, a skip or a change of state; a reviewer by a review made.
        """
        people, presence, made = self._people, self._presence.people, self._reviewers
        acts, changes, reviews = (
            self._sums(table, (name,), windows, at_ms)
            for table, name in ((people, "acts"), (presence, "changes"), (made, "reviews"))
        )
        found: Active = {}
        with self._lock:
            presence_rows, person_rows = self._pairs(len(changes[0]), len(acts[0]))
            for window, act, change, review in zip(windows, acts, changes, reviews, strict=True):
                busy, alone = act > 0, change > 0
                alone[presence_rows] &= ~busy[person_rows]
                agents = people.by_group(busy.astype(np.int64))
                for site, count in presence.by_group(alone.astype(np.int64)).items():
                    agents[site] = agents.get(site, 0) + count
                found[window] = {"agent": agents, "qa": made.by_group((review > 0).astype(np.int64))}
        return found

    def paces(self, windows: Sequence[str], at_ms: int) -> Paces:
        """Labels and productive milliseconds by window and site, both of the same people: those whose speed is known.

        These have handed in a label within the longest window, are agents by their profile, and have productive time
        within the window. Labels of others say nothing about speed, nor does the time of people who only review.
        """
        labels = self._sums(self._people, ("labels",), (*windows, _LONGEST), at_ms)
        presence = self._presence.people
        productive = self._in_pieces(
            presence, len(windows), lambda piece: self._presence.productive_ms(windows, at_ms, piece)
        )
        with self._lock:
            of_presence, of_people = self._pairs(len(productive[0]), len(labels[0]))
            is_agent = presence.scalar("role")[of_presence] == _AGENT
            groups = self._people.groups_of(of_people)
            sites = list(self._people.group_names)
        labeling = is_agent & (labels[-1][of_people] > 0)
        found: Paces = {}
        for window, done, ms in zip(windows, labels, productive, strict=False):
            spent = ms[of_presence]
            chosen = labeling & (spent > 0)
            totals = [
                np.bincount(groups[chosen], weights=column[chosen], minlength=len(sites)).astype(np.int64).tolist()
                for column in (done[of_people], spent)
            ]
            found[window] = {
                site: (max(of_site, 0), site_ms)
                for site, of_site, site_ms in zip(sites, *totals, strict=True)
                if site_ms
            }
        return found

    def _made(self, at_ms: int) -> PeopleGroup:
        rows, keys = self._used(self._reviewers)
        columns: dict[tuple[str, str], NDArray[np.float64]] = {}
        volume = np.zeros(len(rows))
        for window in WINDOWS:
            sums = self._sums(
                self._reviewers, ("reviews", "review_ms", "errors", "audits", "audit_errors"), (window,), at_ms
            )
            reviews, review_ms, errors, audits, audit_errors = (column[rows] for column in sums)
            made = reviews > 0
            volume += reviews
            columns["labelwatch_reviewer_reviews", window] = _above_0(reviews)
            columns["labelwatch_reviewer_seconds", window] = np.where(made, review_ms / 1000, np.nan)
            columns["labelwatch_reviewer_errors_found", window] = np.where(made, errors, np.nan)
            columns["labelwatch_reviewer_agent_reviews", window] = _above_0(reviews - audits)
            columns["labelwatch_reviewer_agent_errors_found", window] = np.where(
                reviews > audits, errors - audit_errors, np.nan
            )
        return PeopleGroup(list(keys), columns, volume)

    def _used(self, table: Table) -> tuple[Ints, list[Key]]:
        with self._lock:
            keys = list(table.keys)
        used = [(row, key) for row, key in enumerate(keys) if key is not None]
        return np.array([row for row, _ in used], np.int64), [key for _, key in used]

    def _sums(self, table: Table, names: Sequence[str], windows: Sequence[str], at_ms: int) -> list[Ints]:
        """Sums by row of each column within each window; all windows of a column come before the next column."""
        wanted = [(name, window) for name in names for window in windows]
        return self._in_pieces(
            table, len(wanted), lambda piece: [table.window_sum(name, window, at_ms, piece) for name, window in wanted]
        )

    def _in_pieces(self, table: Table, columns: int, read: Callable[[slice], list[Ints]]) -> list[Ints]:
        """Reads columns piece by piece. All columns of a row are of one moment; different pieces may not be."""
        pieces: list[list[Ints]] = []
        first = 0
        while first < table.rows:
            with self._lock:
                pieces.append(read(slice(first, first + _PIECE)))
            first += _PIECE
        if not pieces:
            return [np.zeros(0, np.int64)] * columns
        return [np.concatenate(column) for column in zip(*pieces, strict=True)]

    def _person_ms(self, window: str, at_ms: int) -> tuple[Ints, Ints]:
        """Productive and logged-in milliseconds by row of the table of people."""
        presence = self._presence.people
        with self._lock:
            presence_rows, person_rows = self._pairs(presence.rows, self._people.rows)
        ms = self._in_pieces(presence, 2, lambda piece: self._presence.person_ms(window, at_ms, piece))
        out = []
        for column in ms:
            by_person = np.zeros(self._people.rows, np.int64)
            by_person[person_rows] = column[presence_rows]
            out.append(by_person)
        return out[0], out[1]

    def _pairs(self, presence_rows: int, people_rows: int) -> tuple[Ints, Ints]:
        """Pairs of rows of presence and of people that are the same agent. Call it under the lock.

        A key of presence is looked up once: an agent with a state either has a row of people by then, or there is no
        room for one and never will be.

        Args:
            presence_rows: How many rows of presence to pair, from the first on.
            people_rows: How many rows of people to pair, from the first on.
        """
        people, presence = self._people.index, self._presence.people.index
        if self._presence.people.rows > len(self._person_of):
            new = np.full(self._presence.people.rows - len(self._person_of), -1, np.int64)
            self._person_of = np.concatenate((self._person_of, new))
        for (site, agent), row in islice(presence.items(), self._presence_known, None):
            self._person_of[row] = people.get((site, "agent", agent), -1)
        self._presence_known = len(presence)
        person_of = self._person_of[:presence_rows]
        rows = np.flatnonzero((person_of >= 0) & (person_of < people_rows))
        return rows, person_of[rows]


def _above_0(values: NDArray[np.number]) -> NDArray[np.float64]:
    """Values as floats, NaN where not above 0."""
    return np.where(values > 0, values, np.nan).astype(np.float64)


def report_paces(figures: Figures, paces: Paces, policy: Policy) -> None:
    """Adds each site's speed, the productive time behind it, and the share of the site's labels that it is based on.

    Args:
        figures: Must have the sites' labels already.
        paces: By window and site, see `PeopleView.paces`.
        policy: How much productive time a speed needs.
    """
    for window, by_site in paces.items():
        for site, (labels, ms) in by_site.items():
            figures.add("labelwatch_site_productive_seconds", (site, window), ms / 1000)
            if ms >= policy.min_time_ms:
                rate = labels / (ms / 3_600_000)
                figures.add("labelwatch_site_labels_per_productive_hour", (site, window), rate)
    for (site, window), of_all in figures.rows.get("labelwatch_site_labels", ()):
        labels, _ = paces[window].get(site, (0, 0))
        figures.add("labelwatch_site_timed_labels_ratio", (site, window), min(labels / of_all, 1.0))
