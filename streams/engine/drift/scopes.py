"""Finds the ring and the streams that a review belongs to, by its kind, person and reviewer."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from detectors.arrays import Ints
from streams.engine.batch import VerdictKind
from streams.engine.drift.memory import ReviewMemory
from streams.engine.drift.outcomes import OutcomeStreams
from streams.engine.drift.stream import Stream, first_places
from streams.engine.intake import Intake

_UNKNOWN = -2


class ReviewScopes:
    """Finds streams by the intake's numbers; makes new ones in the order of the log.

    Args:
        watched: The signals that are watched.
        streams: Makes the streams.
        memory: Makes the rings.
        is_open: Whether a stream, by its number, has a drift open.
    """

    def __init__(
        self, watched: Collection[str], streams: OutcomeStreams, memory: ReviewMemory, is_open: Callable[[int], bool]
    ) -> None:
        self._watched = watched
        self._streams = streams
        self._memory = memory
        self._is_open = is_open
        #: By site its only project so far; empty once there are several. A single project has no stream of its own: its
        #: outcomes are the site's.
        self.projects: dict[str, str] = {}
        self.projects_changed = False
        #: The intake's kinds of review, whose numbers are the rows of `by_kind`.
        self._kinds: Sequence[VerdictKind] = ()
        #: By kind of review: its ring, and its streams: of the site, against target, of the project, of errors found.
        self.by_kind = _table(5)
        #: The intake's people, whose numbers are the rows of `by_person`.
        self._persons: Sequence[tuple[str, str, str]] = ()
        self.by_person = _table(1)
        #: By reviewer: the streams of errors found, for a rise and for a fall.
        self.by_reviewer = _table(2)

    def forget_people(self) -> None:
        """Makes people's streams be looked up anew, since some of their numbers may become others'."""
        self.by_person[:] = self.by_reviewer[:] = _UNKNOWN

    def sync(self, intake: Intake) -> None:
        """Gives all of the intake's numbers a row in the tables."""
        if intake.persons is not self._persons:  # the intake has begun to number names anew
            self._persons, self.by_person, self.by_reviewer = intake.persons, _table(1), _table(2)
        if intake.verdicts is not self._kinds:
            self._kinds, self.by_kind = intake.verdicts, _table(5)
        self.by_kind = _longer(self.by_kind, len(intake.verdicts))
        self.by_person = _longer(self.by_person, len(intake.persons))
        self.by_reviewer = _longer(self.by_reviewer, len(intake.reviewers))

    def second_projects(self, kinds: Ints, intake: Intake) -> list[int]:
        """Places at which a site's second project is first reviewed; from there on its projects have streams."""
        only: dict[str, str] = {}
        places = []
        for place in first_places(kinds, np.flatnonzero(self.by_kind[:, 0].take(kinds) == _UNKNOWN)):
            kind = intake.verdicts[int(kinds[place])]
            if kind.role == "qa":
                continue
            project = _watched_project(kind)
            known = only.get(kind.site, self.projects.get(kind.site, project))
            only[kind.site] = known
            if known not in ("", project):
                only[kind.site] = ""
                places.append(place)
        return places

    def meet(self, kinds: Ints, persons: Ints, reviewers: Ints, intake: Intake) -> None:
        """Makes streams for kinds, people and reviewers that are new, in the order of the log."""
        made = np.flatnonzero(reviewers >= 0)
        new = {
            *first_places(kinds, np.flatnonzero(self.by_kind[:, 0].take(kinds) == _UNKNOWN)),
            *first_places(persons, np.flatnonzero(self.by_person[:, 0].take(persons) == _UNKNOWN)),
            *first_places(reviewers, made[self.by_reviewer[:, 0].take(reviewers[made]) == _UNKNOWN]),
        }
        for place in sorted(new):
            of = intake.verdicts[int(kinds[place])]
            person, reviewer = int(persons[place]), int(reviewers[place])
            if self.by_kind[kinds[place], 0] == _UNKNOWN:
                self.by_kind[kinds[place]] = self._kind_streams(of)
            if self.by_person[person, 0] == _UNKNOWN:
                site, role, agent = intake.persons[person]
                signal = "qa_accuracy" if role == "qa" else "agent_accuracy"
                self.by_person[person] = self._stream(signal, site, agent=agent)
            if reviewer >= 0 and self.by_reviewer[reviewer, 0] == _UNKNOWN:
                site, name = intake.reviewers[reviewer]
                self.by_reviewer[reviewer] = [
                    self._stream("error_finding", site, agent=name, direction=direction) for direction in ("up", "down")
                ]

    def _kind_streams(self, kind: VerdictKind) -> tuple[int, int, int, int, int]:
        ring = self._memory.ring(kind.site, kind.role)
        if kind.role == "qa":
            return ring, self._stream("qa_accuracy", kind.site), -1, -1, -1
        return (
            ring,
            self._stream("accuracy", kind.site),
            self._stream("accuracy_target", kind.site),
            self._project_stream(kind),
            self._stream("error_finding", kind.site),
        )

    def _project_stream(self, kind: VerdictKind) -> int:
        """The stream of a kind's project; -1 as long as it is the site's only one, whose outcomes are the site's.

        Projects beyond the limits count for the site, and have no stream.
        """
        project = _watched_project(kind)
        only = self.projects.setdefault(kind.site, project)
        if only == project:
            return -1
        if only:
            self.projects[kind.site] = ""
            self.projects_changed = True
            first, of_site = self._stream("accuracy", kind.site, only), self._stream("accuracy", kind.site)
            if first >= 0 <= of_site:
                self._streams.copy(first, of_site, restart=self._is_open(of_site))
            for number, known in enumerate(self._kinds):
                is_of_first = (known.site, _watched_project(known)) == (kind.site, only) and known.role != "qa"
                if is_of_first and self.by_kind[number, 0] != _UNKNOWN:
                    self.by_kind[number, 3] = first
        return self._stream("accuracy", kind.site, project) if project else -1

    def _stream(self, signal: str, site: str, project: str = "", agent: str = "", direction: str = "down") -> int:
        if signal not in self._watched:
            return -1
        return self._streams.number(Stream(site, project, agent, signal, direction))


def _watched_project(kind: VerdictKind) -> str:
    """The project of a kind; empty for `other`, the projects beyond the limits, which is never the only one."""
    return "" if kind.mixed else kind.project


def _table(width: int) -> Ints:
    return np.zeros((0, width), np.int64)


def _longer(table: Ints, rows: int) -> Ints:
    """The table with that many rows; new rows are `_UNKNOWN`."""
    if rows == len(table):
        return table
    return np.concatenate((table, np.full((rows - len(table), table.shape[1]), _UNKNOWN, np.int64)))
