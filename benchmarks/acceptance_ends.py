"""Point 9 of acceptance: when a drift is said to be over."""

import math
from collections.abc import Callable, Iterator, Sequence
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
from detectors.categorical import Leading
from streams.engine.drift.label_kinds import HANDLE_TIME, LABEL_MIX, NO_CLASS, SeriesKind


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


def _ends(
    series: SeriesKind,
    lead: Leading,
    groups: Callable[[bool, int], Sequence[Sequence[int]]],
    runs: int,
    lasting: int,
) -> tuple[int, list[int]]:
    """Changes of labels: how many lasting ones ended, and labels from the recovery of others to their end.

    Args:
        series: What the labels are: the very steps that the engine takes.
        lead: What the change is of.
        groups: Makes groups of so many labels, during the change or outside it.
        runs: How many streams, each with a change that lasts and with one of 1,280 labels.
        lasting: Labels of one that lasts.
    """
    false, delays = 0, []
    for _ in range(runs):
        row = series.fresh()
        for usual in groups(False, 10_000):
            series.run(row, [usual], [True])
        for stays in (True, False):
            r = known = total = 0.0
            n = taken = 0
            changed = groups(True, lasting if stays else 1_280)
            for at, group in enumerate([*changed, *(() if stays else groups(False, 20_000))]):
                r = series.back(r, row, lead, known, group)
                total, n = total + series.total([group], lead), n + series.size
                known = max(known, series.proven(row, lead, total, n))
                taken = max(at + 1 - len(changed), 0) * series.size
                if r >= PROMISED:
                    break
            false += stays and r >= PROMISED
            if not stays:
                delays.append(taken)
    return false, delays


def ends_of_means(factor: float, runs: int, rng: np.random.Generator, lasting: int = 30_000) -> tuple[int, list[int]]:
    """Changes of handling time by a factor, as `_ends`."""
    size = HANDLE_TIME.size

    def groups(changed: bool, count: int) -> list[tuple[int, int]]:
        seconds = rng.lognormal(math.log(30.0 * factor if changed else 30.0), 0.5, (count // size, size))
        logs = mean_shift.quantised((seconds * 1000).astype(int))
        return list(zip(logs.sum(axis=1).tolist(), (logs * logs).sum(axis=1).tolist(), strict=True))

    return _ends(HANDLE_TIME, Leading(NO_CLASS, "up" if factor > 1 else "down"), groups, runs, lasting)


def ends_of_mixes(
    share: float, now: float, runs: int, rng: np.random.Generator, lasting: int = 30_000
) -> tuple[int, list[int]]:
    """Changes of a class's share, as `_ends`."""
    size = LABEL_MIX.size

    def groups(changed: bool, count: int) -> list[list[int]]:
        of = now if changed else share
        found = rng.multinomial(size, [of, 1 - of], count // size).tolist()
        return [[*each, *[0] * (categorical.CLASSES - 2)] for each in found]

    return _ends(LABEL_MIX, Leading(0, "up" if now > share else "down"), groups, runs, lasting)


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
