"""Which drifts belong together: a project's or person's to its site's, if the change is the same and no older."""

from collections.abc import Iterable

from schemas.drift import BUDGET_OF, CHILDREN_MAX, Member
from streams.engine.drift.episodes import Episode
from streams.engine.drift.stream import Stream

#: By signal and direction of a site's stream, the signals and directions that report the same change: where work is
#: less accurate, reviewers find more errors.
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
    """The site's stream to whose drift a stream's drift can belong; None for that stream itself, or if there is none.

    Nothing belongs to a site's `accuracy_target`: it compares a level with the target and may be open for months.
    """
    of = _OF.get((stream.signal, stream.direction))
    parent = None if of is None else Stream(stream.site, "", "", *of)
    return None if parent == stream else parent


class Incidents:
    """The drifts that are open, in the order of the log, and which belong together.

    A drift that pages is part of an incident, and an incident pages once, by the drift that paged first. A site's drift
    that opens after those of its projects joins their incident, so that it does not page again. A drift that opens
    after the site's joins the site's.
    """

    def __init__(self) -> None:
        self._open: dict[Stream, Episode] = {}

    def restore(self, episodes: Iterable[tuple[Stream, Episode]]) -> None:
        """Takes the open drifts of a checkpoint; where it is too old to have incidents, they are worked out anew."""
        for stream, episode in sorted(episodes, key=lambda pair: (pair[1].opened_at, pair[0])):
            if episode.incident_id:
                self._open[stream] = episode
            else:
                self.open(stream, episode, episode.drift_id)

    def open(self, stream: Stream, episode: Episode, incident_id: str) -> None:
        """Takes a drift that has opened, and finds its incident.

        Args:
            stream: The stream that has drifted.
            episode: The drift. Incident, parent and children are set in it, and in the drifts that become its children.
            incident_id: The incident's id, unless the drift belongs to an incident that is there already.
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
        """Removes a drift that has ended, and returns it."""
        return self._open.pop(stream)

    def within(self, episode: Episode) -> tuple[Member, ...]:
        """The projects and people whose open drifts belong to this one, projects first."""
        members = (_member(stream) for stream, child in self._open.items() if child.parent == episode.drift_id)
        found = {member for member in members if member is not None}
        ordered = sorted(found, key=lambda member: (member.by != "project", member.by, member.member))
        return tuple(ordered[:CHILDREN_MAX])

    def left(self) -> list[Stream]:
        """Streams of open tickets whose parent is over, and which end with it. Pages stay open until proven over."""
        open_ids = {episode.drift_id for episode in self._open.values()}
        return sorted(
            stream
            for stream, episode in self._open.items()
            if episode.parent and episode.parent not in open_ids and BUDGET_OF[stream.signal] == "ticket"
        )

    def _adopt(self, site: Stream, episode: Episode) -> None:
        """Makes a site's drift the parent of drifts that opened before it, and puts it into the incident they paged."""
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
    """Whether a drift may have begun no earlier than its parent.

    One drift of twenty begins after its 90% interval ends, and a site has many people. With half the interval's length
    added to its end, it is one of thousands.
    """
    spread = child.began_at_high - child.began_at_low
    return parent.began_earlier or child.began_at_high + spread // 2 >= parent.began_at_low
