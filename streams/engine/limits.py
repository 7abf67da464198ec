"""Which sites and combinations of a partition have figures of their own; what is beyond a limit counts as `other`."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from schemas.policy import OTHER, Limits
from streams.engine.panes import Key

#: What is limited, by the policy's keys.
KINDS = ("sites", "combinations", "series")
#: A limit is shared by so many partitions at most: a worker that holds no more of them stays within it.
SHARING_MAX = 10
#: The share of a limit from which on it is said.
NEAR = 0.8
#: Error types of a site that have a series of their own, of errors and of remarks each.
ERROR_TYPES_MAX = 100
#: Series of the page that a site can have at most without its projects.
SITE_SERIES = 150
#: The same of a project at a site (handling time, states, SOP versions, drift), of that at a market, and of the reviews
#: of one role, source and sampling there; sums over the partition's sites among them.
_PROJECT_SERIES, _MARKET_SERIES, _REVIEW_SERIES = 90, 8, 14
#: And of an error type.
_ERROR_SERIES = 4

#: Things to admit together, each with its series. Keys of different kinds differ in length.
_Things = dict[Key, int]
_COMBINATION_LENGTH = 3


class Admission(NamedTuple):
    """Where something counts.

    Attributes:
        project: Its own, or `other`.
        market: Its own, or none.
        over: The limit that it is beyond; empty where it has figures of its own.
    """

    project: str
    market: str
    over: str = ""


class LimitUse(NamedTuple):
    """How much of its share of a limit a partition uses.

    Attributes:
        used: Sites, combinations, or series at most.
        limit: The share.
        over: Events beyond it since the engine was made or restored: before, the limit may have been another.
    """

    used: int
    limit: int
    over: int

    @property
    def is_met(self) -> bool:
        """Whether what is new counts under `other`."""
        return self.over > 0 or self.used >= self.limit

    @property
    def is_near(self) -> bool:
        """Whether it is time to look into it."""
        return self.is_met or self.used >= NEAR * self.limit


class Admitted:
    """The names that have figures of their own: in the order in which they come, until a limit is met.

    Decided record by record, so that it does not depend on how the log is cut into batches. Whoever was admitted has a
    row in a table, and stays; a restart finds the same in the tables. What counts under `other` is never refused, so
    that sums stay exact.

    Args:
        limits: The policy's, of a worker's page.
        partitions: Partitions of the topic, which share them.
    """

    def __init__(self, limits: Limits = Limits(), partitions: int = 1) -> None:  # noqa: B008 - immutable
        sharing = min(max(partitions, 1), SHARING_MAX)
        given = {"sites": limits.sites, "combinations": limits.combinations, "series": limits.series}
        #: By kind: this partition's share of the limit, and how much of it is used.
        self.limit = {kind: -(-given[kind] // sharing) for kind in KINDS}
        self.used = dict.fromkeys(KINDS, 0)
        self.removed = frozenset(limits.removed_sites)
        self._known: set[Key] = set()
        #: By table and site.
        self._error_types: dict[tuple[str, str], set[str]] = {}

    def site(self, name: str) -> str:
        """The limit that a site that was not met before is beyond; empty: it has figures of its own from now on."""
        if self.used["sites"] >= self.limit["sites"]:
            return "sites"
        if self.used["series"] + SITE_SERIES > self.limit["series"]:
            return "series"
        self._take_site(name)
        return ""

    def other_site(self) -> None:
        """Counts the site of what is beyond the limit, when it is first needed."""
        self._take_site(OTHER)

    def _take_site(self, name: str) -> None:
        self.used["sites"] += name != OTHER
        self.used["series"] += SITE_SERIES

    def project(self, site: str, project: str) -> Admission:
        """Where a state counts."""
        return self._place(project, "", lambda project, _: _project(site, project))

    def work(self, site: str, project: str, market: str) -> Admission:
        """Where a label counts."""
        return self._place(project, market, lambda project, market: _work(site, project, market))

    def review(self, site: str, project: str, market: str, given: Key) -> Admission:
        """Where a review counts; `given` is its role, source and sampling."""
        return self._place(project, market, lambda project, market: _review(site, project, market, given))

    def _place(self, project: str, market: str, things_of: Callable[[str, str], _Things]) -> Admission:
        """Its own place where there is room for what is new of its things, else `other`; either is taken."""
        over = self._room_for(things_of(project, market))
        place = Admission(OTHER, "", over) if over else Admission(project, market)
        self._take(things_of(place.project, place.market))
        return place

    def knows_error(self, table: str, site: str, project: str, error_type: str, severity: str) -> bool:
        """Whether an error was met before, and counts under its own project and type."""
        return (table, site, project, error_type, severity) in self._known

    def error(self, table: str, site: str, project: str, error_type: str, severity: str) -> tuple[str, str]:
        """Project and error type under which an error counts, or a remark: the table tells."""
        if self.knows_error(table, site, project, error_type, severity):
            return project, error_type
        types = self._error_types.setdefault((table, site), set())
        if error_type not in types and len(types) >= ERROR_TYPES_MAX:
            error_type = OTHER
        if self._room_for(_error(table, site, project, error_type, severity)):
            project = error_type = OTHER
        self._take(_error(table, site, project, error_type, severity))
        if len(types) < ERROR_TYPES_MAX:
            types.add(error_type)
        return project, error_type

    def _room_for(self, things: _Things) -> str:
        """The limit that has no room for what is new of some things; empty where all have it."""
        new = things.keys() - self._known
        combinations = sum(map(_is_combination, new))
        if combinations and self.used["combinations"] + combinations > self.limit["combinations"]:
            return "combinations"
        if new and self.used["series"] + sum(things[key] for key in new) > self.limit["series"]:
            return "series"
        return ""

    def _take(self, things: _Things) -> None:
        for key in things.keys() - self._known:
            self._known.add(key)
            self.used["series"] += things[key]
            self.used["combinations"] += _is_combination(key)

    def restore(
        self,
        sites: Iterable[str],
        works: Iterable[Key],
        reviews: Iterable[Key],
        states: Iterable[Key],
        **errors: Iterable[Key],
    ) -> None:
        """Admits what has a row in a checkpoint, whatever the limits are now; a removed site needs no room.

        Args:
            sites: Sites met.
            works: Keys of `work`.
            reviews: Keys of `verdicts`.
            states: Keys of `states`.
            **errors: Keys of `errors` and `remarks`, by the table's name.
        """
        for name in sites:
            if name not in self.removed:
                self._take_site(name)
        found = [_work(*key) for key in works]
        found += [_review(site, project, market, (*given,)) for site, project, market, *given in reviews]
        found += [_project(key[0], key[1]) for key in states]
        for table, keys in errors.items():
            for key in keys:
                found.append(_error(table, *key))
                types = self._error_types.setdefault((table, key[0]), set())
                if len(types) < ERROR_TYPES_MAX:
                    types.add(key[2])
        for things in found:
            if next(iter(things))[0] not in self.removed:
                self._take(things)


def _is_combination(key: Key) -> bool:
    """Whether a thing counts as a combination: the one of what is beyond the limits needs no room."""
    return len(key) == _COMBINATION_LENGTH and key[1:] != (OTHER, "")


# The project first: its key begins with the site.


def _project(site: str, project: str) -> _Things:
    return {(site, project): _PROJECT_SERIES}


def _work(site: str, project: str, market: str) -> _Things:
    return {(site, project): _PROJECT_SERIES, (site, project, market): _MARKET_SERIES}


def _review(site: str, project: str, market: str, given: Key) -> _Things:
    return {**_work(site, project, market), (site, project, market, *given): _REVIEW_SERIES}


def _error(table: str, site: str, project: str, error_type: str, severity: str) -> _Things:
    return {(site, project): _PROJECT_SERIES, (table, site, project, error_type, severity): _ERROR_SERIES}
