"""Why a figure moved: splits a change, exactly, into work that became worse and weaker work that became more."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats
from streams.engine.drift.names import NONE

Members = NDArray[np.integer]

#: Members with fewer observations than this both before and since are counted together: rates of their own would be
#: noise.
LEAST = 12
#: A drift names at most this many causes.
CAUSES = 5
#: The number of the member made of those that are counted together.
TOGETHER = -1
#: Dimensions of the work. Those of people are none: who is at work changes with every shift, and mix effects of people
#: say nothing about the work.
OF_WORK = ("project", "label", "sop_version", "market", "stratum")
#: Those of which another mix is another kind of work. Not so a label, which may itself be the error, or an SOP version,
#: which may be a new rule.
KINDS_OF_WORK = ("project", "market", "stratum")
#: From this share of the change on, mix effects explain it. No more than a third, because a change is found sooner
#: where chance has added to it, and what chance adds looks like a rate effect.
MAIN_SHARE = 1 / 3
#: From this share of the change on, a member stands out.
STANDS_OUT = 0.25


class Contribution(NamedTuple):
    """A member's part of a change.

    Attributes:
        by: The dimension.
        member: Number of the member, `TOGETHER` for the small ones.
        effect: `rate` or `mix`.
        points: This part of the change, in the outcome's unit.
        excess: By how much it exceeds the member's fair share; 0 where a change is the same everywhere.
        known: Whether the member was there both before and since, so that a mix effect means more or less of it.
    """

    by: str
    member: int
    effect: str
    points: float
    excess: float
    known: bool = True


def decompose(by: str, before: Members, since: Members, y_before: Floats, y_since: Floats) -> list[Contribution]:
    """Splits the change of a mean by the members of one dimension.

    With shares s and means r before (0) and since (1), a member's rate effect is (r1 - r0) (s0 + s1) / 2: the same work
    done worse. Its mix effect is (s1 - s0) ((r0 + r1) / 2 - c), with c the mean of the two totals: more or less of it.
    Over all members both effects add up to the change, exactly. The value of c does not matter for that, since the
    changes of shares add up to 0; it only sets what counts as weaker work. A member that was not there before, or is
    there no longer, has no rate effect: its whole part is mix.

    Args:
        by: The dimension's name.
        before: Number of the member of each observation before the change, shape (n0,), not empty.
        since: The same for observations since the change, shape (n1,), not empty.
        y_before: Outcome of each observation before.
        y_since: Outcome of each observation since.

    Returns:
        Two parts for each member: its rate effect and its mix effect.

    Source:
        Kitagawa 1955.
    """
    members, where = np.unique(np.concatenate((before, since)), return_inverse=True)
    at_0, at_1 = where[: len(before)], where[len(before) :]
    size = len(members)
    n0, n1 = np.bincount(at_0, minlength=size), np.bincount(at_1, minlength=size)
    small = (n0 < LEAST) & (n1 < LEAST)
    if small.any():
        # All small members become one.
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
    """Splits the change of an error rate by the type of error.

    Args:
        by: The dimension's name.
        before: Number of the type of each review's error before the change; `none` where there was no error.
        since: The same since the change.
        none: The number that means no error.

    Returns:
        One part for each type; all add up to the change.
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
    """The parts that explain a change best: in its direction, and furthest beyond their fair share.

    Mix effects of people are left out, since who is at work changes with every shift.

    Args:
        parts: Parts of all dimensions.
        change: The whole change.
        most: How many parts to keep.

    Returns:
        Largest first; never the members that are counted together.
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
    """What kind of change it is: `mix`, `rate`, or `spread` where no member stands out.

    It is `mix` where mix effects of one dimension explain at least `MAIN_SHARE` of the change; only members that were
    there both before and since count. A new member, such as a new SOP version, may be named as a cause, but does not
    make a change one of mix.

    Args:
        parts: Parts of all dimensions.
        change: The whole change.
        kinds_of_work: Dimensions of which another mix is another kind of work.
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
    """Parts of all dimensions with more than one member, and of the dimension of error types, named `error_types`."""
    parts: list[Contribution] = []
    for by, (before, since) in columns.items():
        if by == error_types:
            parts += by_type(by, before, since, none)
        elif len(np.unique(np.concatenate((before, since)))) > 1:
            parts += decompose(by, before, since, y_before, y_since)
    return parts
