"""The state of a series of labels, and what its groups show: the figure, the class that moved, where shares went."""

import msgspec

from detectors import categorical
from detectors.categorical import Leading
from detectors.mean_shift import GROUPS_KEPT
from schemas.drift import Cause, DriftLevel
from streams.engine.drift.cause import CAUSES
from streams.engine.drift.label_kinds import LABEL_MIX, SeriesKind, Sums

#: A group as it is kept: sums of logarithms and of their squares, or counts by class; and its last label's time, ms.
Group = tuple[list[int], int]


class LabelSeries(msgspec.Struct):
    """The state of one stream of labels.

    Attributes:
        row: The detector's row.
        sums: Sums of the group that is being filled, as of the last checkpoint: of logarithms and their squares, or
            counts by class.
        labels: How many labels that group has so far.
        recent: The newest groups, oldest first.
        classes: Names of the classes with counts of their own, in order of appearance.
        back: While a drift is open, R, the statistic of the test of whether it is over.
        proven: The largest change that the drift has proven.
        first_ms: Time of its first group, as of the last checkpoint; -1 before it.
        rows: How many labels were ever put into its ring.
    """

    row: list[float]
    sums: list[int]
    labels: int = 0
    recent: list[Group] = []
    classes: list[str] = []
    back: float = 0.0
    proven: float = 0.0
    first_ms: int = -1
    rows: int = 0


def level_of(series: SeriesKind, state: LabelSeries, groups: Sums, lead: Leading, known: float) -> DriftLevel:
    """The figure of groups; the learned baseline where there is none."""
    n = len(groups) * series.size
    if not n:
        return DriftLevel(known, int(state.row[1]))
    # As many as are kept: there were older groups.
    return DriftLevel(series.figure(series.total(groups, lead) / n), n, at_least=len(state.recent) == GROUPS_KEPT)


def label_of(state: LabelSeries, lead: Leading) -> str:
    """Name of the class whose share has moved; the rare classes are together `other`."""
    return state.classes[lead.label] if lead.label < len(state.classes) else "other"


def moves_of(state: LabelSeries, since: Sums, before: Sums) -> tuple[Cause, ...]:
    """How the shares of classes have moved, the largest moves first: they show which class took another's place."""
    if not since or not before:
        return ()
    names = dict(enumerate(state.classes)) | {categorical.CLASSES - 1: "other"}
    moves = [(_share(since, place) - _share(before, place), name) for place, name in names.items()]
    moves.sort(key=lambda move: (-abs(move[0]), move[1]))
    return tuple(Cause("label", name, "mix", points) for points, name in moves[:CAUSES] if points)


def _share(groups: Sums, place: int) -> float:
    return sum(counts[place] for counts in groups) / (len(groups) * LABEL_MIX.size)


def append(recent: list[Group], groups: list[Group]) -> None:
    """Adds the newest groups, and drops the oldest beyond `GROUPS_KEPT`."""
    recent += groups
    del recent[:-GROUPS_KEPT]
