"""Decides which sites and combinations have figures of their own; what is beyond a limit counts as `other`."""

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from schemas.policy import OTHER, Limits
from streams.engine.panes import Key

#: What is limited, by the policy's keys.
KINDS = ("sites", "combinations", "series")
#: A limit is divided among at most this many partitions: a worker with no more of them stays within the limit.
SHARING_MAX = 10
#: From this share of a limit on, operators are warned.
NEAR = 0.8
#: Error types of a site that have a series of their own, of errors and of remarks each.
ERROR_TYPES_MAX = 100
#: Queues of a site that have series of their own.
QUEUES_MAX = 100
#: The most series that a site can have on the page, those of its projects aside.
SITE_SERIES = 150
#: The most that a project at a site adds (handling time, states, SOP versions, drift), that a market of it adds, and
#: that the reviews of one role, source and sampling there add; sums over the partition's sites are among them.
_PROJECT_SERIES, _MARKET_SERIES, _REVIEW_SERIES = 90, 8, 14
#: The most that are added by an error type.
_ERROR_SERIES = 4
#: The most that are added by a queue.
_QUEUE_SERIES = 7

#: Things that are admitted together, each with the number of its series. The length of a key shows its kind.
_Things = dict[Key, int]
_COMBINATION_LENGTH = 3


class Admission(NamedTuple):
    """Under which names something counts.

    Attributes:
        project: Its own project, or `other`.
        market: Its own market, or empty.
        over: The limit that it is beyond; empty where it has figures of its own.
    """

    project: str
    market: str
    over: str = ""


class QueuePlace(IntEnum):
    """Under which names a queue is shown; the values are in checkpoints."""

    #: Its own.
    OWN = 0
    #: The queue `other` of its project.
    PROJECT = 1
    #: The queue `other` of the site's project `other`.
    SITE = 2


def shown_as(key: Key, place: QueuePlace) -> Key:
    """The site, project, market and queue under which a queue is shown: its own, or those of what is beyond a limit."""
    if place is QueuePlace.OWN:
        return key
    return (key[0], key[1] if place is QueuePlace.PROJECT else OTHER, "", OTHER)


class LimitUse(NamedTuple):
    """How much of its share of a limit a partition uses.

    Attributes:
        used: Sites, combinations, or the most series that these can have.
        limit: The partition's share of the limit.
        over: Events beyond it since the engine was made or restored; before that the limit may have been another.
    """

    used: int
    limit: int
    over: int

    @property
    def is_met(self) -> bool:
        """Whether new names count under `other`."""
        return self.over > 0 or self.used >= self.limit

    @property
    def is_near(self) -> bool:
        """Whether an operator should look into it."""
        return self.is_met or self.used >= NEAR * self.limit


class Admitted:
    """The names that have figures of their own: first come, first served, until a limit is met.

    This is decided record by record, so it does not depend on how the log is cut into batches. A name that was admitted
    has a row in a table and stays; after a restart the tables give the same names. Events beyond a limit are not
    refused: they count under `other`, so that sums stay exact.

    Args:
        limits: The policy's limits, for a worker's page.
        partitions: Partitions of the topic, among which the limits are divided.
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
        #: By site, how many queues have series of their own.
        self._queues: dict[str, int] = {}

    def site(self, name: str) -> str:
        """Admits a site that is met for the first time; returns the limit that it is beyond, or empty if admitted."""
        if self.used["sites"] >= self.limit["sites"]:
            return "sites"
        if self.used["series"] + SITE_SERIES > self.limit["series"]:
            return "series"
        self._take_site(name)
        return ""

    def other_site(self) -> None:
        """Counts the series of the site `other`, when an event first counts there."""
        self._take_site(OTHER)

    def _take_site(self, name: str) -> None:
        self.used["sites"] += name != OTHER
        self.used["series"] += SITE_SERIES

    def project(self, site: str, project: str) -> Admission:
        """The names under which a state counts."""
        return self._place(project, "", lambda project, _: _project(site, project))

    def work(self, site: str, project: str, market: str) -> Admission:
        """The names under which a label counts."""
        return self._place(project, market, lambda project, market: _work(site, project, market))

    def review(self, site: str, project: str, market: str, given: Key) -> Admission:
        """The names under which a review counts; `given` is its role, source and sampling."""
        return self._place(project, market, lambda project, market: _review(site, project, market, given))

    def _place(self, project: str, market: str, things_of: Callable[[str, str], _Things]) -> Admission:
        """Its own names where the limits have room for what is new among its things, else `other`; admits either."""
        over = self._room_for(things_of(project, market))
        place = Admission(OTHER, "", over) if over else Admission(project, market)
        self._take(things_of(place.project, place.market))
        return place

    def knows_error(self, table: str, site: str, project: str, error_type: str, severity: str) -> bool:
        """Whether an error was met before and counts under its own project and type."""
        return (table, site, project, error_type, severity) in self._known

    def error(self, table: str, site: str, project: str, error_type: str, severity: str) -> tuple[str, str]:
        """Project and error type under which an error counts (table `errors`) or a remark (table `remarks`)."""
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

    def queue(self, site: str, project: str, market: str, queue: str) -> QueuePlace:
        """The names under which a queue is shown."""
        key = (site, project, market, queue)
        things = {place: _queue(*shown_as(key, place)) for place in QueuePlace}
        if things[QueuePlace.OWN].keys() <= self._known:
            return QueuePlace.OWN
        if self._queues.get(site, 0) < QUEUES_MAX and not self._room_for(things[QueuePlace.OWN]):
            place = QueuePlace.OWN
            self._queues[site] = self._queues.get(site, 0) + 1
        elif not self._room_for(things[QueuePlace.PROJECT]) and (site, project) in self._known:
            place = QueuePlace.PROJECT
        else:
            place = QueuePlace.SITE
        self._take(things[place])
        return place

    def _room_for(self, things: _Things) -> str:
        """The limit that has no room for what is new among some things; empty where all limits have."""
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
        queues: Iterable[tuple[Key, QueuePlace]] = (),
        **errors: Iterable[Key],
    ) -> None:
        """Admits what has a row in a checkpoint, even beyond the limits of today; removed sites are left out.

        Args:
            sites: Names of the sites met.
            works: Keys of the table `work`.
            reviews: Keys of the table `verdicts`.
            states: Keys of the table `states`.
            queues: Keys of the table `queues`, each with the names under which it is shown.
            **errors: Keys of the tables `errors` and `remarks`, by the table's name.
        """
        for name in sites:
            if name not in self.removed:
                self._take_site(name)
        found = [_work(*key) for key in works]
        found += [_review(site, project, market, (*given,)) for site, project, market, *given in reviews]
        found += [_project(key[0], key[1]) for key in states]
        for key, place in queues:
            found.append(_queue(*shown_as(key, place)))
            if place is QueuePlace.OWN:
                self._queues[key[0]] = self._queues.get(key[0], 0) + 1
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
    """Whether a thing counts for the limit of combinations; the combination `other` does not."""
    return len(key) == _COMBINATION_LENGTH and key[1:] != (OTHER, "")


# The project comes first in each: `restore` reads the site from the first key.


def _project(site: str, project: str) -> _Things:
    return {(site, project): _PROJECT_SERIES}


def _work(site: str, project: str, market: str) -> _Things:
    return {(site, project): _PROJECT_SERIES, (site, project, market): _MARKET_SERIES}


def _review(site: str, project: str, market: str, given: Key) -> _Things:
    return {**_work(site, project, market), (site, project, market, *given): _REVIEW_SERIES}


def _queue(site: str, project: str, market: str, queue: str) -> _Things:
    return {(site, project): _PROJECT_SERIES, ("queues", site, project, market, queue): _QUEUE_SERIES}


def _error(table: str, site: str, project: str, error_type: str, severity: str) -> _Things:
    return {(site, project): _PROJECT_SERIES, (table, site, project, error_type, severity): _ERROR_SERIES}
