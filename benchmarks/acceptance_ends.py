"""Point 9 of acceptance: when a drift is said to be over."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.acceptance import (
    PROMISED,
    Finding,
    median_error,
)
from detectors import (
    ReverseTest,
    SelfStartingMixture,
    categorical,
    mean_shift,
)
from detectors.arrays import Floats
from schemas.drift import Direction


@dataclass(slots=True)
class DriftEnds:
    """What became of drifts.

    Attributes:
        false: Lasting ones that were said to be over.
        delays: Outcomes from the recovery of others to their end, shape (n,); those that ended before are not counted.
    """

    false: int
    delays: Floats


def old_rule(p0: float, changed: float) -> Callable[[list[bool]], int | None]:
    """The test of the end that formats before 5 had: a CUSUM at odds of 20; how many outcomes it takes to end."""
    edge = min(max(p0 + 0.02, (p0 + changed) / 2), 0.999)
    on_error, on_correct, limit = math.log(p0 / edge), math.log((1 - p0) / (1 - edge)), math.log(20)
    total = 0.0

    def ended(outcomes: list[bool]) -> int | None:
        nonlocal total
        for taken, x in enumerate(outcomes, 1):
            total = max(total + (on_error if x else on_correct), 0.0)
            if total >= limit:
                return taken
        return None

    return ended


def dips(
    p0: float, points: float, runs: int, rng: np.random.Generator, lasting: int = 30_000
) -> tuple[DriftEnds, DriftEnds]:
    """Drifts found after 10,000 outcomes, ended by the test as it is and as it was.

    Args:
        p0: Error rate before, and after the recovery.
        points: What it rose by.
        runs: How many drifts.
        rng: Source of chance.
        lasting: Outcomes of each that lasts; those that are over end after 1,000.

    Returns:
        Of the test as it is, and of the one before.
    """
    ends = DriftEnds(0, np.zeros(0)), DriftEnds(0, np.zeros(0))
    for _ in range(runs):
        detector = SelfStartingMixture(PROMISED)
        while detector.update_many((rng.random(10_000) < p0).tolist()) < 10_000:
            detector = SelfStartingMixture(PROMISED)
        detector.update_many((rng.random(100_000) < p0 + points).tolist())
        estimate = detector.estimate()
        since = detector._outcomes.newest_first()[: estimate.began_ago]
        stays = (rng.random(lasting) < p0 + points).tolist()
        over = (rng.random(1_000) < p0 + points).tolist(), (rng.random(30_000) < p0).tolist()

        def new_test(detector: SelfStartingMixture = detector, since: list[int] = since) -> ReverseTest:
            return ReverseTest(detector.baseline, len(since), sum(since))

        test = new_test()
        test.update_many(stays)
        ends[0].false += test.cleared
        ends[1].false += old_rule(detector.baseline, estimate.new_rate)(stays) is not None
        test, old = new_test(), old_rule(detector.baseline, estimate.new_rate)
        test.update_many(over[0])
        if not test.cleared:
            ends[0].delays = np.append(ends[0].delays, test.update_many(over[1]))
        if old(over[0]) is None:
            ends[1].delays = np.append(ends[1].delays, old(over[1]) or len(over[1]))
    return ends


def ends_of_means(factor: float, runs: int, rng: np.random.Generator, lasting: int = 30_000) -> tuple[int, list[int]]:
    """Changes of handling time by a factor: how many lasting ones ended, and labels from a recovery to the end."""
    size, false, delays = 64, 0, []

    def sums(seconds: float, count: int) -> list[tuple[int, int]]:
        logs = mean_shift.quantised((rng.lognormal(math.log(seconds), 0.5, (count // size, size)) * 1000).astype(int))
        return list(zip(logs.sum(axis=1).tolist(), (logs * logs).sum(axis=1).tolist(), strict=True))

    way: Direction = "up" if factor > 1 else "down"
    for _ in range(runs):
        row = mean_shift.fresh()
        for total, squares in sums(30.0, 10_000):
            mean_shift.advance(row, size, total, squares)
        for stays in (True, False):
            r = known = found = 0.0
            values, taken = 0, 0
            changed = sums(30.0 * factor, lasting if stays else 1_280)
            for at, (total, _) in enumerate([*changed, *(() if stays else sums(30.0, 20_000))]):
                r = mean_shift.back(r, row, way, known, size, total)
                found, values = found + total / mean_shift.UNIT, values + size
                known = max(known, mean_shift.proven(row, way, found, values, size))
                taken = max(at + 1 - len(changed), 0) * size
                if r >= PROMISED:
                    break
            false += stays and r >= PROMISED
            if not stays:
                delays.append(taken)
    return false, delays


def ends_of_mixes(
    share: float, now: float, runs: int, rng: np.random.Generator, lasting: int = 30_000
) -> tuple[int, list[int]]:
    """Changes of a class's share: how many lasting ones ended, and labels from a recovery to the end."""
    size, false, delays = 128, 0, []

    def groups(of: float, count: int) -> list[list[int]]:
        found = rng.multinomial(size, [of, 1 - of], count // size).tolist()
        return [[*each, *[0] * (categorical.CLASSES - 2)] for each in found]

    lead = categorical.Leading(0, "up" if now > share else "down")
    for _ in range(runs):
        row = categorical.fresh()
        for counts in groups(share, 10_000):
            categorical.advance(row, counts)
        for stays in (True, False):
            r = known = 0.0
            of = items = taken = 0
            changed = groups(now, lasting if stays else 1_280)
            for at, counts in enumerate([*changed, *(() if stays else groups(share, 20_000))]):
                r = categorical.back(r, row, lead, known, counts)
                of, items = of + counts[0], items + size
                known = max(known, categorical.proven(row, lead, of, items, size))
                taken = max(at + 1 - len(changed), 0) * size
                if r >= PROMISED:
                    break
            false += stays and r >= PROMISED
            if not stays:
                delays.append(taken)
    return false, delays


def point_9(rng: np.random.Generator, runs: int = 200) -> Iterator[Finding]:
    """The end: lasting drifts do not, and those that are over do not take much longer than they did."""
    everywhere: tuple[list[Floats], list[Floats]] = ([], [])
    false: list[float] = []
    for p0, points in ((0.04, 0.04), (0.04, 0.08), (0.04, 0.15), (0.06, 0.04), (0.06, 0.05), (0.06, 0.10)):
        new, old = dips(p0, points, runs, rng)
        name = f"{p0:.0%} to {p0 + points:.0%}"
        share = new.false / runs
        false.append(share)
        yield Finding(9, f"false ends in 30,000, {name}", share, 0, "", None)
        yield Finding(9, f"the same by the rule before format 5, {name}", old.false / runs, 0, "", None)
        ours, before = float(np.median(new.delays)), float(np.median(old.delays))
        yield Finding(9, f"delay of the end, median, {name}", ours, median_error(new.delays), "", None)
        yield Finding(9, f"the same by the rule before format 5, {name}", before, median_error(old.delays), "", None)
        for each, ends in zip(everywhere, (new, old), strict=True):
            each.append(ends.delays)
    share = sum(false) / len(false)
    yield Finding(9, "false ends in 30,000, all of these", share, 0, "at most 0.01", share <= 0.01)
    ratio = float(np.median(np.concatenate(everywhere[0])) / np.median(np.concatenate(everywhere[1])))
    yield Finding(9, "delay of the end over that of before, all of these", ratio, 0, "at most 2.2", ratio <= 2.2)
    for factor in (1.15, 1.5):
        ended, delays = ends_of_means(factor, runs, rng)
        share = ended / runs
        yield Finding(9, f"false ends in 30,000, handling time x {factor:g}", share, 0, "at most 0.01", share <= 0.01)
        yield Finding(9, f"delay of the end, median, handling time x {factor:g}", float(np.median(delays)), 0, "", None)
    for now in (0.36, 0.5):
        ended, delays = ends_of_mixes(0.3, now, runs, rng)
        share = ended / runs
        yield Finding(9, f"false ends in 30,000, share 30% to {now:.0%}", share, 0, "at most 0.01", share <= 0.01)
        yield Finding(9, f"delay of the end, median, share 30% to {now:.0%}", float(np.median(delays)), 0, "", None)
