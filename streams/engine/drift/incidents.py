"""Which drift belongs to which: a site's drift holds what is found within its scope, its way, and not before it."""

from collections.abc import Iterable

from schemas.drift import BUDGET_OF, CHILDREN_MAX, Member
from streams.engine.drift.episodes import Episode
from streams.engine.drift.stream import Stream

#: By signal and direction of a site's stream, those that are the same news: less accurate work has more errors found.
_WITHIN = {
    ("accuracy", "down"): (
        ("accuracy", "down"),
        ("accuracy_target", "down"),
        ("agent_accuracy", "down"),
        ("error_finding", "up"),
    ),
    ("error_finding", "down"): (("error_finding", "down"),),
    ("qa_accuracy", "down"): (("qa_accuracy", "down"),),
}
_OF = {within: of for of, several in _WITHIN.items() for within in several}


def parent_of(stream: Stream) -> Stream | None:
    """The site's stream that a stream lies within; None for itself, and for what lies within none.

    A site's `accuracy_target` holds nothing: it judges a level, and may be open for months.
    """
    of = _OF.get((stream.signal, stream.direction))
    parent = None if of is None else Stream(stream.site, "", "", *of)
    return None if parent == stream else parent


class Incidents:
    """The drifts that are open, in the order of the log, and what belongs to what.

    A drift that pages is part of an incident, which has one page: that of the drift that paged first. A site's drift
    that comes after those of its projects joins theirs, so that it does not page again; what is found after it joins
    its own.
    """

    def __init__(self) -> None:
        self._open: dict[Stream, Episode] = {}

    def restore(self, episodes: Iterable[tuple[Stream, Episode]]) -> None:
        """Takes open drifts; those of a checkpoint that knows no incidents are related anew."""
        for stream, episode in sorted(episodes, key=lambda pair: (pair[1].opened_at, pair[0])):
            if episode.incident_id:
                self._open[stream] = episode
            else:
                self.open(stream, episode, episode.drift_id)

    def open(self, stream: Stream, episode: Episode, incident_id: str) -> None:
        """Takes a drift that has opened.

        Args:
            stream: Whose.
            episode: The drift; incident, parent and children are put into it, and into those that become its children.
            incident_id: Of its own, unless it belongs to another's.
        """
        self._open[stream] = episode
        episode.incident_id = incident_id
        of = parent_of(stream)
        parent = None if of is None else self._open.get(of)
        if parent is not None and _belongs(episode, parent):
            self._join(episode, parent)
        elif of is None and stream in map(parent_of, self._open):
            self._adopt(stream, episode)

    def end(self, stream: Stream) -> Episode:
        """Takes a drift that has ended, and returns it."""
        return self._open.pop(stream)

    def within(self, episode: Episode) -> tuple[Member, ...]:
        """The projects and people whose open drifts belong to one, projects first; none of the site's own."""
        members = (_member(stream) for stream, child in self._open.items() if child.parent == episode.drift_id)
        found = {member for member in members if member is not None}
        ordered = sorted(found, key=lambda member: (member.by != "project", member.by, member.member))
        return tuple(ordered[:CHILDREN_MAX])

    def left(self) -> list[Stream]:
        """Tickets whose site's drift is over: to be watched afresh, each by itself. Pages stay: theirs is not over."""
        open_ids = {episode.drift_id for episode in self._open.values()}
        return sorted(
            stream
            for stream, episode in self._open.items()
            if episode.parent and episode.parent not in open_ids and BUDGET_OF[stream.signal] == "ticket"
        )

    def _adopt(self, site: Stream, episode: Episode) -> None:
        """Makes a site's drift the parent of what was found before it, and its page theirs."""
        children = [
            (stream, child)
            for stream, child in self._open.items()
            if parent_of(stream) == site and _belongs(child, episode)
        ]
        children.sort(key=lambda pair: (pair[1].opened_at, pair[1].drift_id))
        paged = [child.incident_id for stream, child in children if BUDGET_OF[stream.signal] == "page"]
        if paged and BUDGET_OF[site.signal] == "page":
            episode.incident_id = paged[0]
        for _, child in children:
            self._join(child, episode)

    @staticmethod
    def _join(child: Episode, parent: Episode) -> None:
        child.parent, child.incident_id = parent.drift_id, parent.incident_id
        if child.drift_id not in parent.children and len(parent.children) < CHILDREN_MAX:
            parent.children = (*parent.children, child.drift_id)


def _member(stream: Stream) -> Member | None:
    if stream.agent:
        return Member("reviewer" if stream.signal in ("error_finding", "qa_accuracy") else "agent", stream.agent)
    return Member("project", stream.project) if stream.project else None


def _belongs(child: Episode, parent: Episode) -> bool:
    """Whether a drift did not surely begin before its parent.

    One of twenty begins after its 90% interval, and a site has many people: half as much again leaves one of thousands.
    """
    spread = child.began_at_high - child.began_at_low
    return parent.began_earlier or child.began_at_high + spread // 2 >= parent.began_at_low
