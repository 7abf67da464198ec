"""Which state each person is in, and for how long: the basis of utilization, occupancy and headcount."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from detectors.arrays import Ints
from schemas.events import ROLES, STATES
from schemas.metrics import WINDOWS
from schemas.policy import Policy
from streams.engine.batch import EventBatch, StateColumns, StateKind
from streams.engine.figures import Figures
from streams.engine.intake import Intake
from streams.engine.panes import HOUR_MS, Key, Panes, Ring, Rings, Table
from streams.engine.parts import Grouping, Numbers, Report, has_room, read_totals, rows_of

#: A state that is open for longer is closed after this time. It counts as forgotten unless it is `offline`, which is a
#: night or a weekend.
FORGOTTEN_MS = 12 * HOUR_MS
#: Codes of states in the attribute `state`; 0 means none.
_CODES = {state: code for code, state in enumerate(STATES, start=1)}
PRODUCTIVE, _OFFLINE = _CODES["productive"], _CODES["offline"]


class Interval(NamedTuple):
    """A state that ended: row of the person, row of (site, project, state), code of the state, start and end in ms."""

    person: int
    cell: int
    state: int
    start_ms: int
    end_ms: int


class OpenStates(NamedTuple):
    """Open states at one time, in columns as of `Interval`; the end is the one so far, in ms."""

    persons: Ints
    cells: Ints
    states: Ints
    start_ms: Ints
    end_ms: Ints


class PresencePart:
    """States of people; one ends with the next one, or is forgotten when the site's clock is too far ahead.

    Tables: `presence` (site, agent), `states` (site, project, state), `presence_sites` (site).

    Args:
        rings: The partition's rings.
        policy: Which states are logged-in time.
    """

    def __init__(self, rings: Rings, policy: Policy) -> None:
        self._rings = rings
        # A minute has 60,000 ms, which fits 16 bits without a sign.
        time = Panes(np.uint16, np.int32)
        self.people = Table(
            "presence",
            rings,
            {"productive_ms": time, "logged_in_ms": time, "changes": Panes(np.int16, np.int16)},
            attributes=("state", "since_ms", "cell", "newest_ms", "role"),
        )
        self.states = Table("states", rings, {"ms": Panes()}, totals=("ms",))
        self._cells: Numbers[StateKind] = rows_of(self.states, lambda kind: kind)
        #: The intake's people, and by number the row of each who has entered a state; -1 beyond `PEOPLE_MAX`.
        self._persons: list[tuple[str, str, str]] = []
        self._row_of: dict[int, int] = {}
        self._of_window = {window: Grouping(self.states, _within_window(window)) for window in WINDOWS}
        self._of_site = Grouping(self.states, lambda key: (key[0], key[2]))
        self._sites = Table("presence_sites", rings, totals=("forgotten", "late"))
        self.tables: Sequence[Table] = (self.people, self.states, self._sites)
        self._logged_in = np.array([False, *(state in policy.logged_in for state in STATES)])
        #: By site, the start of its oldest open state or an earlier time: shows when to look for forgotten ones.
        self._oldest_ms: dict[str, int] = {}

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Takes states and profiles in order, then closes states that the sites' clocks show to be forgotten."""
        # All that the intake has admitted gets a row, even where its state is then left out.
        self._cells.sync(intake.states)
        if intake.persons is not self._persons:  # the intake has begun a new list
            self._persons, self._row_of = intake.persons, {}
        closed: list[Interval] = []
        changed: list[tuple[int, int]] = []
        begin = 0
        for place, number, profile in (*batch.profiles, (len(batch.states.at), -1, None)):
            self._take_states(StateColumns(*(column[begin:place] for column in batch.states)), intake, closed, changed)
            begin = place
            if profile is not None:
                person = self._row(number)
                if person < 0:
                    intake.tally.add("unnamed")
                elif profile.role is not None:
                    self.people.set(person, role=ROLES.index(profile.role))
        for site, oldest_ms in list(self._oldest_ms.items()):
            clock_ms = intake.sites[site].clock_ms
            if clock_ms - oldest_ms > FORGOTTEN_MS:
                self._forget(site, clock_ms, closed)
        if closed:
            self._add(closed)
        if changed:
            rows, at = np.array(changed, np.int64).T
            self.people.add(rows, at, {"changes": np.ones(len(rows), np.int64)})

    def _row(self, number: int) -> int:
        """The row of a person by number; -1 for one beyond `PEOPLE_MAX`."""
        row = self._row_of.get(number)
        if row is None:
            site, _, agent_id = self._persons[number]
            row = -1
            if has_room(self.people, (site, agent_id)):
                row = self.people.row((site, agent_id), site)
                self._sites.row((site,), site)
            self._row_of[number] = row
        return row

    def _take_states(
        self, states: StateColumns[Ints], intake: Intake, closed: list[Interval], changed: list[tuple[int, int]]
    ) -> None:
        people, kinds = self.people, intake.states
        cells = self._cells.of(states.kind).tolist()
        for cell, number, kind, at, clock_ms in zip(cells, *(column.tolist() for column in states), strict=True):
            person = self._row(number)
            if person < 0:
                intake.tally.add("unnamed")
                continue
            changed.append((person, at))
            site, _, entered = kinds[kind]
            # `newest_ms` is stored plus one, so that 0 means none.
            if at < people.get(person, "newest_ms") - 1:
                self._sites.add_total(self._sites.row((site,), site), "late")
                continue
            state = people.get(person, "state")
            if state:
                since_ms = people.get(person, "since_ms")
                end_ms = at
                if clock_ms - since_ms > FORGOTTEN_MS:
                    end_ms = since_ms + FORGOTTEN_MS
                    self._count_forgotten(site, state)
                closed.append(Interval(person, people.get(person, "cell"), state, since_ms, end_ms))
            people.set(person, state=_CODES[entered], since_ms=at, cell=cell, newest_ms=at + 1)
            self._oldest_ms[site] = min(self._oldest_ms.get(site, at), at)

    def _forget(self, site: str, clock_ms: int, closed: list[Interval]) -> None:
        """Closes states of a site that have been open for too long."""
        people = self.people
        rows = np.flatnonzero((people.scalar("state") > 0) & people.in_group(site))
        since = people.scalar("since_ms")[rows]
        for row, since_ms in zip(rows.tolist(), since.tolist(), strict=True):
            if clock_ms - since_ms > FORGOTTEN_MS:
                state, end_ms = people.get(row, "state"), since_ms + FORGOTTEN_MS
                closed.append(Interval(row, people.get(row, "cell"), state, since_ms, end_ms))
                people.set(row, state=0)
                self._count_forgotten(site, state)
        left = since[clock_ms - since <= FORGOTTEN_MS]
        if len(left):
            self._oldest_ms[site] = int(left.min())
        else:
            del self._oldest_ms[site]

    def _count_forgotten(self, site: str, state: int) -> None:
        if state != _OFFLINE:
            self._sites.add_total(self._sites.row((site,), site), "forgotten")

    def _add(self, closed: list[Interval]) -> None:
        persons, cells, states, start, end = np.array(closed, np.int64).T
        self.states.add_totals(cells, {"ms": end - start})
        for ring in self._rings:
            chosen, panes, ms = spread(ring, start, end)
            self.states.add_panes(ring, cells[chosen], panes, {"ms": ms})
            code = states[chosen]
            self.people.add_panes(
                ring,
                persons[chosen],
                panes,
                {"productive_ms": ms * (code == PRODUCTIVE), "logged_in_ms": ms * self._logged_in[code]},
            )

    def restored(self) -> None:
        """Finds each site's oldest open state again."""
        open_rows = np.flatnonzero(self.people.scalar("state") > 0)
        since = self.people.scalar("since_ms")[open_rows].tolist()
        for row, since_ms in zip(open_rows.tolist(), since, strict=True):
            key = self.people.keys[row]
            if key is not None:
                self._oldest_ms[key[0]] = min(self._oldest_ms.get(key[0], since_ms), since_ms)

    # --- reading

    def open_states(self, at_ms: int, piece: slice = slice(None)) -> OpenStates:
        """Open states at a time, in a piece of the rows; each ends at that time, or when it is forgotten."""
        first, last, _ = piece.indices(self.people.rows)
        rows = first + np.flatnonzero(self.people.scalar("state")[first:last] > 0)
        since = self.people.scalar("since_ms")[rows]
        return OpenStates(
            rows,
            self.people.scalar("cell")[rows],
            self.people.scalar("state")[rows],
            since,
            np.minimum(at_ms, since + FORGOTTEN_MS),
        )

    def state_ms(self, window: str, at_ms: int, opened: OpenStates) -> Ints:
        """Milliseconds within a window by row of `states`, open states included."""
        ms = self.states.window_sum("ms", window, at_ms)
        np.add.at(ms, opened.cells, self._within(window, at_ms, opened))
        return ms

    def person_ms(self, window: str, at_ms: int, piece: slice) -> list[Ints]:
        """Productive and logged-in milliseconds within a window, by row of a piece of `people`."""
        opened = self.open_states(at_ms, piece)
        logged_in = self.people.window_sum("logged_in_ms", window, at_ms, piece)
        ms = self._within(window, at_ms, opened) * self._logged_in[opened.states]
        np.add.at(logged_in, opened.persons - piece.start, ms)
        return [self._productive_ms(window, at_ms, piece, opened), logged_in]

    def productive_ms(self, windows: Sequence[str], at_ms: int, piece: slice) -> list[Ints]:
        """Productive milliseconds within each window, by row of a piece of `people`."""
        opened = self.open_states(at_ms, piece)
        return [self._productive_ms(window, at_ms, piece, opened) for window in windows]

    def _productive_ms(self, window: str, at_ms: int, piece: slice, opened: OpenStates) -> Ints:
        productive = self.people.window_sum("productive_ms", window, at_ms, piece)
        ms = self._within(window, at_ms, opened) * (opened.states == PRODUCTIVE)
        np.add.at(productive, opened.persons - piece.start, ms)
        return productive

    def _within(self, window: str, at_ms: int, opened: OpenStates) -> Ints:
        start = np.maximum(opened.start_ms, self._rings.window_start_ms(at_ms, window))
        return np.maximum(opened.end_ms - start, 0)

    def read(self, at_ms: int, policy: Policy) -> Report:
        """State seconds, headcount, forgotten and late states."""
        opened = self.open_states(at_ms)
        sums = [
            (grouped.labels, grouped.sums(self.state_ms(window, at_ms, opened)))
            for window, groups in self._of_window.items()
            for grouped in (groups.now(),)
        ]
        of_site = self._of_site.now()
        closed_ms = of_site.sums(self.states.committed_total("ms"))
        totals = read_totals(
            self._sites,
            {"forgotten": "labelwatch_forgotten_states_total", "late": "labelwatch_late_states_total"},
        )
        here = opened.persons[at_ms - opened.start_ms <= FORGOTTEN_MS]
        cells = self.people.groups_of(here), self.people.scalar("role")[here], self.people.scalar("state")[here] - 1
        sites = self.people.group_names
        shape = len(sites), len(ROLES), len(STATES)
        heads = np.bincount(np.ravel_multi_index(cells, shape), minlength=math.prod(shape)).reshape(shape)

        def report(figures: Figures) -> None:
            for labels, ms in sums:
                rows = np.flatnonzero(ms > 0)
                figures.add_column("labelwatch_state_seconds_window", labels, rows, ms[rows] / 1000)
            figures.add_column(
                "labelwatch_site_state_seconds_total", of_site.labels, np.arange(len(closed_ms)), closed_ms / 1000
            )
            for site, role, state in np.argwhere(heads).tolist():
                head = sites[site], ROLES[role], STATES[state]
                figures.add("labelwatch_site_agents", head, int(heads[site, role, state]))
            totals(figures)

        return report


def _within_window(window: str) -> Callable[[Key], Key]:
    """Gives the label values of a row of `states` in a window; the market is empty, since states have none."""
    return lambda key: (key[0], key[1], "", key[2], window)


def spread(ring: Ring, start_ms: Ints, end_ms: Ints) -> tuple[Ints, Ints, Ints]:
    """Cuts intervals at the panes of a ring.

    Args:
        ring: The ring; time in panes that it has left is left out.
        start_ms: Start of each interval.
        end_ms: End of each, not before the start and not after the ring's newest pane.

    Returns:
        For each piece: index of its interval, pane id, milliseconds. The pieces of an interval add up to its time in
        the ring.
    """
    first = np.maximum(start_ms // ring.pane_ms, ring.head - ring.size + 1)
    last = np.minimum((end_ms - 1) // ring.pane_ms, ring.head)
    counts = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(start_ms)), counts)
    panes = first[index] + np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    ms = np.minimum(end_ms[index], (panes + 1) * ring.pane_ms) - np.maximum(start_ms[index], panes * ring.pane_ms)
    return index, panes, ms
