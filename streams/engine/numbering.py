"""Gives small numbers to names, in order of appearance: people, reviewers, kinds of work or review, classes, traits.

Numbers are for speed alone. They may begin anew at any time, since rows of the tables are found by names.
"""

from schemas.policy import OTHER
from schemas.text import visible
from streams.engine.batch import ErrorFound, StateKind, Trait, VerdictKind, WorkKind
from streams.engine.headline import why_not_windowed
from streams.engine.horizon import Given, SiteState
from streams.engine.limits import Admitted
from streams.engine.tally import Tally

#: The most names that have numbers, of people and of kinds each. Beyond it numbers begin anew, so that a million names
#: cost no memory.
NAMES_HELD_MAX = 250_000

#: The key, in place of a project, of all that is beyond the limits; no event's project is empty.
_BEYOND = ""
#: Drift distinguishes labels by this many first characters, as many as an identifier has.
_LABEL_CHARACTERS = 128


class Numbering:
    """The names of a partition by number, and the number of each.

    Args:
        admitted: Which names have figures of their own.
        tally: Counts events beyond the limits.
    """

    def __init__(self, admitted: Admitted, tally: Tally) -> None:
        self.admitted = admitted
        self.tally = tally
        self.persons: list[tuple[str, str, str]] = []
        self.reviewers: list[tuple[str, str]] = []
        self.works: list[WorkKind] = []
        self.verdicts: list[VerdictKind] = []
        self.states: list[StateKind] = []
        self.sops: list[tuple[str, str, str]] = []
        self.classes: list[str | None] = []
        self.traits: list[Trait] = []
        self.class_ids: dict[str | None, int] = {}
        #: By label, stratum and error type, each leading to the next.
        self.trait_ids: dict[str | None, dict[str | None, dict[str | None, int]]] = {}

    def begin_anew_where_many(self, sites: dict[str, SiteState]) -> None:
        """Drops all numbers of a kind, for all sites, if there are too many of them."""
        if len(self.persons) + len(self.reviewers) > NAMES_HELD_MAX:
            self.persons, self.reviewers = [], []
            for site in sites.values():
                site.agents, site.qas, site.reviewers = {}, {}, {}
        if len(self.works) + len(self.verdicts) + len(self.states) + len(self.sops) > NAMES_HELD_MAX:
            self.works, self.verdicts, self.states, self.sops = [], [], [], []
            for site in sites.values():
                site.works, site.verdicts, site.states, site.sops = {}, {}, {}, {}
        if len(self.classes) + len(self.traits) > NAMES_HELD_MAX:
            self.classes, self.traits, self.class_ids, self.trait_ids = [], [], {}, {}

    # --- numbers of new names; known ones the loop looks up by itself

    def new_person(self, site: SiteState, people: dict[str, int], agent_id: str) -> int:
        """Numbers one of the site's `agents` or `qas`."""
        people[agent_id] = len(self.persons)
        self.persons.append((site.name, "qa" if people is site.qas else "agent", agent_id))
        return people[agent_id]

    def new_reviewer(self, site: SiteState, reviewer_id: str) -> int:
        """Numbers a reviewer."""
        site.reviewers[reviewer_id] = len(self.reviewers)
        self.reviewers.append((site.name, reviewer_id))
        return site.reviewers[reviewer_id]

    def new_class(self, label: str | None) -> int:
        """Numbers the class of a label."""
        self.class_ids[label] = len(self.classes)
        self.classes.append(_shown(label))
        return self.class_ids[label]

    def person(self, site: SiteState, role: str | None, agent_id: str) -> int:
        """The number of the person whose work it is."""
        people = site.qas if role == "qa" else site.agents
        known = people.get(agent_id)
        return self.new_person(site, people, agent_id) if known is None else known

    def trait(self, label: str | None, stratum: str | None, error_type: str | None) -> int:
        """The number of a review's label, stratum and error type together."""
        known = self.trait_ids.setdefault(label, {}).setdefault(stratum, {})
        if error_type not in known:
            known[error_type] = len(self.traits)
            self.traits.append(Trait(_shown(label), stratum, error_type))
        return known[error_type]

    def work_kind(
        self, site: SiteState, project: str, market: str | None, sop: str | None, *, counts: bool = True
    ) -> int:
        """The number of a kind of work.

        An event beyond a limit is counted as such, if `counts` is true and its site was not counted already. Names
        beyond a limit are checked again at every event and have no numbers of their own: these would take memory, and
        after a restart the limit can be another one.
        """
        place = self.admitted.work(site.name, project, market or "")
        if place.over:
            project, market = _BEYOND, None
            self.tally.add(f"over/{place.over}", counts and site.name != OTHER)
        kinds = site.works.setdefault(project, {}).setdefault(market, {})
        if sop not in kinds:
            kinds[sop] = len(self.works)
            number = self._sop(site, place.project, sop)
            self.works.append(WorkKind(site.name, place.project, place.market, number, bool(place.over)))
        return kinds[sop]

    def verdict_kind(
        self, site: SiteState, project: str, market: str | None, sop: str | None, given: Given, *, counts: bool = True
    ) -> int:
        """The number of a kind of review; beyond a limit as in `work_kind`."""
        role, source, sampling, purpose, review_round = given
        named = role or "agent", source or "qa", sampling or "unknown"
        place = self.admitted.review(site.name, project, market or "", named)
        if place.over:
            project, market = _BEYOND, None
            self.tally.add(f"over/{place.over}", counts and site.name != OTHER)
        kinds = site.verdicts.setdefault(project, {}).setdefault(market, {}).setdefault(sop, {})
        if given not in kinds:
            kinds[given] = len(self.verdicts)
            number, windowed = self._sop(site, place.project, sop), not why_not_windowed(purpose, review_round)
            self.verdicts.append(
                VerdictKind(site.name, place.project, place.market, number, *named, windowed, bool(place.over))
            )
        return kinds[given]

    def state_kind(self, site: SiteState, project: str | None, state: str) -> int:
        """The number of a kind of state; beyond a limit as in `work_kind`."""
        place = self.admitted.project(site.name, project or "")
        if place.over:
            project = _BEYOND
            self.tally.add(f"over/{place.over}", site.name != OTHER)
        kinds = site.states.setdefault(project, {})
        if state not in kinds:
            kinds[state] = len(self.states)
            self.states.append(StateKind(site.name, place.project, state))
        return kinds[state]

    def admitted_error(
        self, kind: int, error_type: str, severity: str | None, is_remark: bool
    ) -> tuple[type[ErrorFound], tuple[str, str, str, str, bool]] | None:
        """`ErrorFound` and its arguments but the time, for the native reader; None if the error was not met before."""
        of, table = self.verdicts[kind], "remarks" if is_remark else "errors"
        if not self.admitted.knows_error(table, of.site, of.project, error_type, severity or ""):
            return None
        return ErrorFound, (of.site, of.project, error_type, severity or "", is_remark)

    def _sop(self, site: SiteState, project: str, sop: str | None) -> int:
        if not sop:
            return -1
        key = (project, sop)
        if key not in site.sops:
            site.sops[key] = len(self.sops)
            self.sops.append((site.name, project, sop))
        return site.sops[key]


def _shown(label: str | None) -> str | None:
    """A label as drift records, metrics and sentences show it: cut to a bound, hidden characters written out."""
    return None if label is None else visible(label[:_LABEL_CHARACTERS])[:_LABEL_CHARACTERS]
