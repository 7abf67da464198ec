"""Why a figure moved: the change taken apart, exactly, into what became worse and what there is more of."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats
from streams.engine.drift.names import NONE

Members = NDArray[np.integer]

#: Members with fewer observations than this before or since are told together: their own rates would be noise.
LEAST = 12
#: Parts of a change that are kept.
CAUSES = 5
#: Stands for the members told together.
TOGETHER = -1
#: Dimensions of the work, not of people: who works changes with every shift, and says nothing about the work.
OF_WORK = ("project", "label", "sop_version", "market", "stratum")
#: Those of which more or less is another kind of work: a label may be the error itself, an SOP version a new rule.
KINDS_OF_WORK = ("project", "market", "stratum")
#: From this share of the change on, mix effects explain it. A third: a change is found sooner where chance has
#: added to it, and what chance adds looks like a rate.
MAIN_SHARE = 1 / 3
#: From this share on, a member stands out.
STANDS_OUT = 0.25


class Contribution(NamedTuple):
    """A member's part of a change.

    Attributes:
        by: Dimension.
        member: Number of the member, `TOGETHER` for the small ones.
        effect: `rate` or `mix`.
        points: Part of the change, in the outcome's unit.
        excess: What of it goes beyond the member's fair share; a change that is the same everywhere has none.
        known: Whether the member was there both before and since, so that mix means more or less of it.
    """

    by: str
    member: int
    effect: str
    points: float
    excess: float
    known: bool = True


def decompose(by: str, before: Members, since: Members, y_before: Floats, y_since: Floats) -> list[Contribution]:
    """Takes the change of a mean apart by the members of one dimension.

    With shares s and means r before (0) and since (1), a member's rate effect is
    (r1 - r0) (s0 + s1) / 2 and its mix effect (s1 - s0) ((r0 + r1) / 2 - c), c being the mean of both
    totals. Summed over members both together are the change, exactly: the shares' changes add up to
    0, so that c only says against what a member counts as weak. Who was not there before, or is no
    longer, has changed no rate: all of it is mix.

    Args:
        by: The dimension's name.
        before: Member of each observation before the change, shape (n0,), not empty.
        since: The same since the change, shape (n1,), not empty.
        y_before: Outcome of each before.
        y_since: Outcome of each since.

    Returns:
        Two parts a member.

    Source:
        Kitagawa 1955.
    """
    members, where = np.unique(np.concatenate((before, since)), return_inverse=True)
    at_0, at_1 = where[: len(before)], where[len(before) :]
    size = len(members)
    n0, n1 = np.bincount(at_0, minlength=size), np.bincount(at_1, minlength=size)
    small = (n0 < LEAST) & (n1 < LEAST)
    if small.any():
        # Small ones become one more member.
        place = np.where(small, size, np.arange(size))
        members = np.append(members.astype(np.int64), TOGETHER)
        at_0, at_1, size = place[at_0], place[at_1], size + 1
        n0, n1 = np.bincount(at_0, minlength=size), np.bincount(at_1, minlength=size)
    sum0 = np.bincount(at_0, weights=y_before, minlength=size)
    sum1 = np.bincount(at_1, weights=y_since, minlength=size)
    there = (n0 + n1) > 0
    members, n0, n1, sum0, sum1 = members[there], n0[there], n1[there], sum0[there], sum1[there]
    s0, s1 = n0 / len(before), n1 / len(since)
    r0, r1 = sum0 / np.maximum(n0, 1), sum1 / np.maximum(n1, 1)
    r0, r1 = np.where(n0 > 0, r0, r1), np.where(n1 > 0, r1, r0)
    rate = (r1 - r0) * (s0 + s1) / 2
    center = (sum0.sum() / len(before) + sum1.sum() / len(since)) / 2
    mix = (s1 - s0) * ((r0 + r1) / 2 - center)
    fair = rate.sum() * (s0 + s1) / 2
    known = (n0 >= LEAST) & (n1 >= LEAST)
    parts = []
    for number, of_rate, of_mix, share, there_always in zip(
        members.tolist(), rate.tolist(), mix.tolist(), fair.tolist(), known.tolist(), strict=True
    ):
        parts.append(Contribution(by, number, "rate", of_rate, of_rate - share, there_always))
        parts.append(Contribution(by, number, "mix", of_mix, of_mix, there_always))
    return parts


def by_type(by: str, before: Members, since: Members, none: int) -> list[Contribution]:
    """Takes the change of an error rate apart by the kind of error, which correct work has none of.

    Args:
        by: The dimension's name.
        before: Kind of each review's error before the change; `none` where there was no error.
        since: The same since the change.
        none: Stands for no error.

    Returns:
        A part a kind; all add up to the change.
    """
    kinds = np.unique(np.concatenate((before, since)))
    kinds = kinds[kinds != none]
    changes = [(int(kind), float((since == kind).mean() - (before == kind).mean())) for kind in kinds]
    rates = [float((before == kind).mean() + (since == kind).mean()) for kind in kinds]
    total, weight = sum(change for _, change in changes), sum(rates)
    return [
        Contribution(by, kind, "rate", change, change - (total * rate / weight if weight else 0.0))
        for (kind, change), rate in zip(changes, rates, strict=True)
    ]


def largest(parts: list[Contribution], change: float, most: int) -> list[Contribution]:
    """The parts that say most about a change: those that go furthest beyond their fair share, its way.

    That other people are at work than before is not among them: every shift changes that.

    Args:
        parts: Of all dimensions.
        change: The whole change.
        most: How many to keep.

    Returns:
        Largest first; the ones told together are never among them.
    """
    sign = 1.0 if change >= 0 else -1.0
    reported = [
        part
        for part in parts
        if part.member not in (TOGETHER, NONE)
        and sign * part.points > 0
        and (part.effect == "rate" or part.by in OF_WORK)
    ]
    return sorted(reported, key=lambda part: (-sign * part.excess, -sign * part.points, part.by, part.member))[:most]


def verdict(parts: list[Contribution], change: float, kinds_of_work: Collection[str] = KINDS_OF_WORK) -> str:
    """What a change is: `mix`, `rate`, or `spread` where no member stands out.

    Mix where more or less of known kinds of work, of one dimension, explains at least `MAIN_SHARE` of it. A
    member that is new, such as an SOP version, is a cause by its name and no matter of mix.

    Args:
        parts: Of all dimensions.
        change: The whole change.
        kinds_of_work: Dimensions of which more or less is another kind of work.
    """
    if change == 0:
        return "spread"
    sums: dict[str, float] = {}
    for part in parts:
        if part.effect == "mix" and part.known and part.by in kinds_of_work:
            sums[part.by] = sums.get(part.by, 0.0) + part.points
    if sums and max(total / change for total in sums.values()) >= MAIN_SHARE:
        return "mix"
    best = max((part.excess / change for part in parts if part.member not in (TOGETHER, NONE)), default=0.0)
    return "rate" if best >= STANDS_OUT else "spread"


def contributions(
    columns: Mapping[str, tuple[Members, Members]], y_before: Floats, y_since: Floats, error_types: str, none: int
) -> list[Contribution]:
    """Parts of every dimension that has more than one member; `error_types` names the one by kind of error."""
    parts: list[Contribution] = []
    for by, (before, since) in columns.items():
        if by == error_types:
            parts += by_type(by, before, since, none)
        elif len(np.unique(np.concatenate((before, since)))) > 1:
            parts += decompose(by, before, since, y_before, y_since)
    return parts
