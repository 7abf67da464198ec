"""Points 6 to 8 of acceptance: weeks, late verdicts and strata; when and how much; cost."""

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.acceptance import (
    P0,
    PROMISED,
    RATIO,
    Finding,
    false_alarms,
    mean_and_error,
)
from benchmarks.acceptance_alarms import tempered_alarms
from detectors import (
    MixtureShiryaevRoberts,
    SelfStartingMixture,
    StratifiedMixture,
    rounds,
    self_starting,
)
from detectors.arrays import Flags

#: Reviews a day on weekdays and at weekends; days from a label to its review by outcome; the hold.
WEEKDAY = 120
WEEKEND = 25
CORRECT_AFTER = 0.5
ERROR_AFTER = 2.5
HOLD_DAYS = 14.0


def latent(rng: np.random.Generator, reviews: int, hold_days: float) -> Flags:
    """Outcomes in the order in which they are scored, where errors are confirmed later than correct work.

    Args:
        rng: Source of chance.
        reviews: How many labels are reviewed.
        hold_days: A review is scored so long after its label, or as it comes where that is later; 0 for as it comes.
    """
    days = int(reviews / ((5 * WEEKDAY + 2 * WEEKEND) / 7)) + 7
    a_day = np.where(np.arange(days) % 7 < 5, WEEKDAY, WEEKEND)
    labeled = np.sort(np.concatenate([day + rng.random(count) for day, count in enumerate(a_day.tolist())]))[:reviews]
    wrong = rng.random(len(labeled)) < P0
    reviewed = labeled + rng.exponential(np.where(wrong, ERROR_AFTER, CORRECT_AFTER))
    # Nobody reviews at the weekend: what would come then comes on Monday.
    day = np.floor(reviewed) % 7
    reviewed = np.where(day >= 5, np.floor(reviewed) + (7 - day) + reviewed % 1 / 4, reviewed)
    return wrong[np.argsort(np.maximum(reviewed, labeled + hold_days), kind="stable")]


#: Error rates of work that is easy and hard; share of hard work among the reviews of a usual and of a third week.
EASY = 0.03
HARD = 0.20
HARD_SHARES = (0.15, 0.15, 0.50)


def stratified(rng: np.random.Generator, reviews: int, a_week: int = 1_000) -> tuple[Flags, list[str]]:
    """Outcomes of work of two strata in control, sampled in other shares every third week; and their strata."""
    share = np.array(HARD_SHARES)[np.arange(reviews) // a_week % len(HARD_SHARES)]
    hard = rng.random(reviews) < share
    return rng.random(reviews) < np.where(hard, HARD, EASY), np.where(hard, "hard", "easy").tolist()


def stratified_alarms(outcomes: Flags, strata: list[str]) -> int:
    """False alarms of one stream that holds each stratum to its own past."""
    detector, alarms, taken = StratifiedMixture(PROMISED), 0, 0
    while taken < len(outcomes):
        taken += detector.update_many(outcomes[taken:].tolist(), strata[taken:])
        if detector.drift_detected:
            alarms += 1
            detector.reset()
    return alarms


def engine_alarms(drawn: list[tuple[Flags, list[str]]]) -> NDArray[np.int64]:
    """False alarms of streams as the engine holds them to their strata, each going on from R = 0 after one."""
    passed, failed, counts = [], [], []
    for wrong, names in drawn:
        strata = np.where(np.array(names) == "hard", 2, 1)
        look: np.ndarray = np.cumsum(wrong) - wrong
        errors = int(wrong.sum())
        right = ~wrong & (look < errors)
        keys = look[right] * rounds.STRATA + strata[right]
        passed.append(np.bincount(keys, minlength=errors * rounds.STRATA).reshape(errors, rounds.STRATA))
        failed.append(strata[wrong])
        counts.append(errors)
    alarms = np.zeros(len(drawn), np.int64)
    for stream, errors in enumerate(counts):
        r, known, taken = np.zeros((1, 3)), np.array([[self_starting.fresh()[:3]] * rounds.STRATA]), 0
        while taken < errors:
            correct, error = passed[stream][taken:], failed[stream][taken:]
            n = len(error)
            looks = rounds.Evaluations(
                np.zeros(1, np.int64), np.array([n]), correct.sum(axis=1), error >= 0, np.ones(n)
            )
            found, known = rounds.take_strata(
                r, known, looks, correct, error, np.zeros(1, bool), lambda at: np.full(len(at), PROMISED), PROMISED
            )
            r, taken = np.zeros((1, 3)), taken + int(found.evaluations[0])
            alarms[stream] += len(found.reached)
    return alarms


def point_6(rng: np.random.Generator, streams: int = 1000) -> Iterator[Finding]:
    """A weekly cycle, errors that are confirmed later, and reviews that are sampled by stratum."""
    for hold, count in ((0.0, streams // 5), (HOLD_DAYS, streams)):
        alarms = [tempered_alarms(latent(rng, 20_000, hold), tempered=False) for _ in range(count)]
        if hold:
            yield false_alarms(6, f"FA, scored {hold:.0f} days after the label", alarms)
        else:
            value, error = mean_and_error(np.array(alarms, np.float64))
            yield Finding(6, "FA, scored as reviews come", value, error, "", None)
    drawn = [stratified(rng, 20_000) for _ in range(streams // 4)]
    yield false_alarms(6, "FA, strata, each against its own past", [stratified_alarms(*each) for each in drawn])
    yield false_alarms(6, "FA, strata, as the engine holds them", engine_alarms(drawn).tolist())
    value, error = mean_and_error(np.array([tempered_alarms(each, tempered=False) for each, _ in drawn], np.float64))
    yield Finding(6, "FA, strata, one baseline for all", value, error, "", None)


def point_7(rng: np.random.Generator, runs: int = 1500) -> Iterator[Finding]:
    """The interval of the change, and the new rate."""
    for rise, least in ((0.02, 0.83), (0.05, 0.90), (0.10, 0.90)):
        covered: list[bool] = []
        rates: list[float] = []
        while len(covered) < runs:
            detector = MixtureShiryaevRoberts(P0, PROMISED / RATIO)
            if detector.update_many((rng.random(1500) < P0).tolist()) < 1500:
                continue
            delay = detector.update_many((rng.random(20_000) < P0 + rise).tolist())
            estimate = detector.estimate()
            covered.append(estimate.began_ago_low <= delay <= estimate.began_ago_high)
            rates.append(estimate.new_rate)
        share, error = mean_and_error(np.array(covered, np.float64))
        reached = share >= least - 2 * error
        yield Finding(7, f"interval covers a rise of {rise * 100:.0f} points", share, error, f"{least:.0%}", reached)
        if rise == 0.05:
            value, error = mean_and_error(np.array(rates))
            yield Finding(
                7, "new rate reported after a rise to 11%", value, error, "10% to 12%", abs(value - 0.11) <= 0.01
            )


def point_8(rng: np.random.Generator, outcomes: int = 300_000) -> Iterator[Finding]:
    """Time of an update and size of the state."""
    stream = (rng.random(outcomes) < P0).astype(int).tolist()
    makers: tuple[tuple[str, Callable[[], MixtureShiryaevRoberts | SelfStartingMixture]], ...] = (
        ("known rate", lambda: MixtureShiryaevRoberts(P0, 1e12)),
        ("own baseline", lambda: SelfStartingMixture(1e12)),
    )
    for name, make in makers:
        took = []
        for _ in range(5):
            detector = make()
            begun = time.process_time()
            detector.update_many(stream)
            took.append((time.process_time() - begun) / outcomes * 1e6)
        best = min(took)
        yield Finding(8, f"us of CPU an outcome, {name}", best, statistics.stdev(took), "at most 1", best <= 1)
        size = 0
        for rate in (0.005, 0.01, 0.02, 0.06, 0.15):
            detector = make()
            for _ in range(40):
                detector.update_many((rng.random(500) < rate).tolist())
                size = max(size, len(detector.to_bytes()))
        yield Finding(8, f"bytes at most, {name}", size, 0, "below 200", size < 200)
