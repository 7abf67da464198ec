"""The nine points that drift detection must reach, measured on the detectors as the engine drives them.

Run: python -m benchmarks.acceptance_detection           prints the table, in a few minutes
     python -m benchmarks.acceptance_detection 1 5       only these points
     python -m benchmarks.acceptance_detection --write   writes the table into docs/detection.md
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from detectors import (
    MixtureShiryaevRoberts,
    ReverseTest,
    SelfStartingMixture,
    StratifiedMixture,
    categorical,
    cluster,
    mean_shift,
    mixture,
    rounds,
    self_starting,
)
from detectors.arrays import Flags, Floats
from detectors.budget import DAYS_A_MONTH, run_length
from schemas.drift import Direction

DOCUMENT = Path("docs/detection.md")
BEGIN, END = "<!-- acceptance: begin -->", "<!-- acceptance: end -->"
PROMISED = 20_000.0
P0 = 0.06
#: Run length of the mixture over its A at 6%: with A = 20,000 / this it has a true one of 20,000.
RATIO = 1.24
WARM = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a point.

    Attributes:
        point: Number in the list of acceptance.
        what: What was measured.
        value: Figure.
        error: Its standard error; 0 where it is exact.
        limit: What it must reach, in words.
        reached: Whether it does; None for a figure that only explains.
    """

    point: int
    what: str
    value: float
    error: float
    limit: str
    reached: bool | None


# --- streams


def gaps(rng: np.random.Generator, rate: float, block: int = 4096) -> Iterator[int]:
    """Correct outcomes before each error of an endless independent stream."""
    while True:
        yield from (rng.geometric(rate, block) - 1).tolist()


def run_gaps(rng: np.random.Generator, rate: float, outcomes: int) -> list[int]:
    """Correct outcomes before each error among so many outcomes."""
    errors = np.flatnonzero(rng.random(outcomes) < rate)
    return [int(gap) for gap in np.diff(errors, prepend=-1) - 1]


def clustered(rng: np.random.Generator, outcomes: int, rate: float, size: int, rho: float) -> Flags:
    """One stream whose errors come in clusters of a size, with a correlation within; shape (outcomes,)."""
    if rho == 0:
        return rng.random(outcomes) < rate
    strength = 1 / rho - 1
    rates = rng.beta(rate * strength, (1 - rate) * strength, outcomes // size + 2)
    begun = rng.integers(size)
    return rng.random(outcomes) < np.repeat(rates, size)[begun : begun + outcomes]


# --- 1 and 2: against a known rate


def run_lengths(p0: float, limit: float, streams: int, rng: np.random.Generator) -> Floats:
    """Outcomes to a false alarm, by stream."""
    return np.array([_alarm([0.0, 0.0, 0.0], p0, limit, gaps(rng, p0, 512)) for _ in range(streams)], np.float64)


def delays(limit: float, rate: float, streams: int, rng: np.random.Generator) -> Floats:
    """Outcomes from a change to its signal, in streams that have run for long at 6% before."""
    out = []
    for _ in range(streams):
        row, seen = [0.0, 0.0, 0.0], 0
        for gap in gaps(rng, P0, 128):
            seen += gap + 1
            if seen > WARM:
                break
            if mixture.advance(row, gap, P0) >= limit:
                row = [0.0, 0.0, 0.0]
        # What is left of the time before the change is correct: the next error comes after it.
        correct = WARM - (seen - gap - 1)
        first = gaps(rng, rate, 128)
        waited = next(first)
        if mixture.advance(row, correct + waited, P0) >= limit:
            out.append(waited + 1)
        else:
            out.append(waited + 1 + _alarm(row, P0, limit, first))
    return np.array(out, np.float64)


def _alarm(row: list[float], p0: float, limit: float, source: Iterator[int]) -> int:
    seen = 0
    for gap in source:
        seen += gap + 1
        if mixture.advance(row, gap, p0) >= limit:
            break
    return seen


def oracle(rate: float, states: int = 1200) -> float:
    """Steady-state delay of the CUSUM tuned for the very change, with a true run length of 20,000.

    Source:
        Page 1954; Brook and Evans 1972 (as a Markov chain, here with linear interpolation between states).
    """
    on_error, on_correct = np.log(rate / P0), np.log((1 - rate) / (1 - P0))
    eye = np.eye(states)

    def chain(limit: float, p: float) -> Floats:
        grid = np.linspace(0, limit, states + 1)[:-1]
        width = limit / states
        moves = np.zeros((states, states))
        rows = np.arange(states)
        for step, chance in ((on_error, p), (on_correct, 1 - p)):
            to = np.maximum(grid + step, 0) / width
            low = np.floor(to + 1e-9).astype(int)
            share = np.clip(to - low, 0, 1)
            for place, weight in ((low, 1 - share), (low + 1, share)):
                inside = place < states
                moves[rows[inside], place[inside]] += chance * weight[inside]
        return moves

    def lasts(limit: float) -> float:
        return float(np.linalg.solve(eye - chain(limit, P0), np.ones(states))[0])

    low, high = 2.0, 12.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if lasts(middle) < PROMISED else (low, middle)
    calm = chain((low + high) / 2, P0)
    at = np.full(states, 1 / states)
    for _ in range(WARM):
        at = at @ calm
        at /= at.sum()
    after = np.linalg.solve(eye - chain((low + high) / 2, rate), np.ones(states))
    return float(at @ after)


def point_1(rng: np.random.Generator, streams: int = 4000) -> Iterator[Finding]:
    """Run length against a known rate."""
    lengths = run_lengths(P0, PROMISED, streams, rng)
    value, error = _mean(lengths)
    near = abs(value - 24_800) <= 0.03 * 24_800 + 2 * error
    yield Finding(1, "run length, p0 = 6%", value, error, "24,800 +- 3%", near)
    for p0 in (0.02, 0.04, 0.10):
        value, error = _mean(run_lengths(p0, PROMISED, streams // 4, rng))
        yield Finding(1, f"run length, p0 = {p0:.0%}", value, error, "at least 20,000", value >= PROMISED)


def point_2(rng: np.random.Generator, streams: int = 6000) -> Iterator[Finding]:
    """Delay at a true run length of 20,000, beside the best possible test."""
    most = {0.08: 980, 0.11: 255, 0.16: 98}
    for rise in range(2, 11):
        rate = P0 + rise / 100
        value, error = _mean(delays(PROMISED / RATIO, rate, streams, rng))
        if rate in most:
            yield Finding(2, f"delay to {rate:.0%}", value, error, f"at most {most[rate]}", value <= most[rate])
        best = oracle(rate)
        ratio = value / best
        yield Finding(
            2, f"delay to {rate:.0%} over the oracle's {best:.0f}", ratio, error / best, "at most 1.12",
            ratio <= 1.12 + 2 * error / best,
        )  # fmt: skip  # one figure in one glance


# --- 3: against its own baseline


def self_starting_alarms(errors: list[int], warm: int) -> int:
    """False alarms of a stream given by its gaps, after so many outcomes that it only learned from."""
    row, seen, alarms = self_starting.fresh(), 0, 0
    for gap in errors:
        seen += gap + 1
        found = self_starting.advance(row, gap) >= PROMISED
        if seen <= warm or found:
            row[3:] = 0.0, 0.0, 0.0
            alarms += found and seen > warm
    return alarms


def self_starting_delays(warm: int, rate: float, streams: int, rng: np.random.Generator, most: int = 20_000) -> Floats:
    """Outcomes from a change after `warm` outcomes at 6% to its signal; `most` where none came before."""
    out = []
    for _ in range(streams):
        row, seen = self_starting.fresh(), 0
        for gap in run_gaps(rng, P0, warm):
            seen += gap + 1
            if self_starting.advance(row, gap) >= PROMISED:
                row[3:] = 0.0, 0.0, 0.0
        correct, taken = warm - seen, 0
        for gap in gaps(rng, rate, 256):
            taken += gap + 1
            if taken >= most or self_starting.advance(row, correct + gap) >= PROMISED:
                break
            correct = 0
        out.append(min(taken, most))
    return np.array(out, np.float64)


def never_found(warm: int, rise: float, odds: float) -> float:
    """Share of streams in which no test can ever be sure, though it knows the moment and the size of the rise.

    Such a test weighs Beta posteriors: after any number of reviews since, it knows the new rate q and
    has to tell "it was q - rise before" from "it was q before" by the reviews before alone. Their
    odds never pass the limit where these happened to hold too many errors.

    Args:
        warm: Reviews before.
        rise: In ratio points.
        odds: Odds asked for.
    """
    k = np.arange(warm + 1)
    a, b = k + 0.6, warm - k + 9.4
    log_odds = stats.beta.logpdf(P0, a, b) - stats.beta.logpdf(P0 + rise, a, b)
    return float(stats.binom.pmf(k, warm, P0)[log_odds < np.log(odds)].sum())


def point_3(rng: np.random.Generator, streams: int = 700) -> Iterator[Finding]:
    """False alarms and delay of the self-starting form."""
    for p in (0.02, 0.06, 0.12):
        for warm in (0, 50, 200, 500):
            count = 3 * streams if p == 0.12 else streams  # the nearest to the limit, so the most exactly
            alarms = [self_starting_alarms(run_gaps(rng, p, warm + 20_000), warm) for _ in range(count)]
            yield _false_alarms(3, f"FA, own baseline, p = {p:.0%}, warm-up {warm}", alarms)
    found = self_starting_delays(500, P0 + 0.05, 4 * streams, rng)
    value, error = _mean(found)
    yield Finding(3, "delay to 11% after 500, mean (20,000 where not found)", value, error, "at most 360", value <= 360)
    value, error = float(np.median(found)), _median_error(found)
    yield Finding(3, "the same, median", value, error, "", None)
    share, error = _mean((found <= 360).astype(np.float64))
    yield Finding(3, "the same, found within 360", share, error, "", None)
    for most in (2_000, 20_000):
        share, error = _mean((found >= most).astype(np.float64))
        yield Finding(3, f"the same, not found within {most:,}", share, error, "", None)
    for odds in (20, 56, 200):
        what = f"never at odds of {odds} by a test that knows moment and size"
        yield Finding(3, what, never_found(500, 0.05, odds), 0, "", None)
    value, error = _mean(self_starting_delays(2_000, P0 + 0.05, 2 * streams, rng))
    yield Finding(3, "delay to 11% after 2,000, mean", value, error, "", None)


# --- 4: a fleet within its budget


@dataclass(frozen=True, slots=True)
class AgentFleet:
    """Agents with their reviews a week and their error rates, shape (n,) each."""

    a_week: Floats
    rates: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator, agents: int = 400) -> "AgentFleet":
        """50 to 300 reviews a week, errors of 2 to 10%."""
        return cls(rng.uniform(50, 300, agents), rng.uniform(0.02, 0.10, agents))

    def limits(self, false_a_month: float = 2.0) -> Floats:
        """Run length of each agent's stream."""
        volumes = self.a_week * DAYS_A_MONTH / 7
        return np.array([run_length(volume, len(volumes), false_a_month) for volume in volumes.tolist()])


def false_a_month(fleet: AgentFleet, months: int, rng: np.random.Generator) -> int:
    """False alarms of a whole fleet from a cold start."""
    alarms = 0
    for a_week, rate, limit in zip(fleet.a_week, fleet.rates, fleet.limits(), strict=True):
        row = self_starting.fresh()
        for gap in run_gaps(rng, rate, int(a_week * months * DAYS_A_MONTH / 7)):
            if self_starting.advance(row, gap) >= limit:
                alarms += 1
                row[3:] = 0.0, 0.0, 0.0
    return alarms


def weeks_to_find(fleet: AgentFleet, rise: float, rng: np.random.Generator, before: int = 26, most: int = 26) -> Floats:
    """Weeks from a rise, which comes at every agent after half a year, to its signal."""
    out = []
    for a_week, rate, limit in zip(fleet.a_week, fleet.rates, fleet.limits(), strict=True):
        row, reviews = self_starting.fresh(), int(a_week * before)
        errors = [*(rng.random(reviews) < rate), *(rng.random(int(a_week * most)) < rate + rise)]
        weeks = float(most)
        last = -1
        for place in np.flatnonzero(errors).tolist():
            found = self_starting.advance(row, place - last - 1) >= limit
            last = place
            if found and place >= reviews:
                weeks = (place - reviews + 1) / a_week
                break
            if found:
                row[3:] = 0.0, 0.0, 0.0
        out.append(weeks)
    return np.array(out)


def point_4(rng: np.random.Generator, fleets: int = 15, months: int = 12) -> Iterator[Finding]:
    """A budget of two false alarms a month over 400 agents."""
    made = [AgentFleet.drawn(rng) for _ in range(fleets)]
    monthly = np.array([false_a_month(fleet, months, rng) / months for fleet in made])
    value, error = _mean(monthly)
    yield Finding(4, "false alarms a month, N = 2", value, error, "at most 2.0", value <= 2.0)
    for rise in (0.05, 0.10):
        weeks = np.concatenate([weeks_to_find(fleet, rise, rng) for fleet in made[: max(fleets // 3, 1)]])
        for within, least in ((4, 0.70), (8, 0.90)):
            share, error = _mean((weeks <= within).astype(np.float64))
            limit = f"at least {least:.0%}" if rise == 0.05 else ""
            reached = share >= least if rise == 0.05 else None
            yield Finding(
                4, f"rise of {rise * 100:.0f} points found within {within} weeks", share, error, limit, reached
            )


# --- 5: clusters


def tempered_alarms(outcomes: Flags, tempered: bool = True) -> int:
    """False alarms of one stream whose design effect is estimated from cold."""
    row, effect, alarms, last = self_starting.fresh(), cluster.fresh(), 0, -1
    for place in np.flatnonzero(outcomes).tolist():
        gap, last = place - last - 1, place
        power = cluster.temper(effect) if tempered else 1.0
        if self_starting.advance(row, gap, power) >= PROMISED:
            alarms += 1
            row[3:] = 0.0, 0.0, 0.0
        cluster.advance(effect, gap)
    return alarms


def point_5(rng: np.random.Generator, streams: int = 1000) -> Iterator[Finding]:
    """Clusters of errors, tempered by their estimated design effect."""
    for size, rho in ((10, 0.05), (10, 0.10), (30, 0.05), (30, 0.10), (1, 0.0)):
        what = f"clusters of {size}, rho {rho:.2f}" if rho else "no clusters"
        alarms = [tempered_alarms(clustered(rng, 20_000, P0, size, rho)) for _ in range(streams)]
        yield _false_alarms(5, f"FA, {what}, tempered", alarms)
        plain = [tempered_alarms(clustered(rng, 20_000, P0, size, rho), False) for _ in range(streams // 5)]
        value, error = _mean(np.array(plain, np.float64))
        yield Finding(5, f"FA, {what}, not tempered", value, error, "", None)


# --- 6: weeks, latency and strata

#: Reviews a day on weekdays and at weekends; days from a label to its review by outcome; the hold.
WEEKDAY, WEEKEND = 120, 25
CORRECT_AFTER, ERROR_AFTER = 0.5, 2.5
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
EASY, HARD = 0.03, 0.20
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
            yield _false_alarms(6, f"FA, scored {hold:.0f} days after the label", alarms)
        else:
            value, error = _mean(np.array(alarms, np.float64))
            yield Finding(6, "FA, scored as reviews come", value, error, "", None)
    drawn = [stratified(rng, 20_000) for _ in range(streams // 4)]
    yield _false_alarms(6, "FA, strata, each against its own past", [stratified_alarms(*each) for each in drawn])
    yield _false_alarms(6, "FA, strata, as the engine holds them", engine_alarms(drawn).tolist())
    value, error = _mean(np.array([tempered_alarms(each, tempered=False) for each, _ in drawn], np.float64))
    yield Finding(6, "FA, strata, one baseline for all", value, error, "", None)


# --- 7: when and how much


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
        share, error = _mean(np.array(covered, np.float64))
        reached = share >= least - 2 * error
        yield Finding(7, f"interval covers a rise of {rise * 100:.0f} points", share, error, f"{least:.0%}", reached)
        if rise == 0.05:
            value, error = _mean(np.array(rates))
            yield Finding(
                7, "new rate reported after a rise to 11%", value, error, "10% to 12%", abs(value - 0.11) <= 0.01
            )


# --- 8: cost


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


# --- 9: the end of a drift


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
        yield Finding(9, f"delay of the end, median, {name}", ours, _median_error(new.delays), "", None)
        yield Finding(9, f"the same by the rule before format 5, {name}", before, _median_error(old.delays), "", None)
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


# --- the table


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def _median_error(values: Floats) -> float:
    """Half of the distance between the order statistics one standard error around the middle."""
    ordered, half = np.sort(values), len(values) ** 0.5 / 2
    return float(ordered[int(len(values) / 2 + half)] - ordered[int(len(values) / 2 - half)]) / 2


def _false_alarms(point: int, what: str, alarms: list[int]) -> Finding:
    value, error = _mean(np.array(alarms, np.float64))
    return Finding(point, what, value, error, "at most 1.0", value <= 1.0)


POINTS = (point_1, point_2, point_3, point_4, point_5, point_6, point_7, point_8, point_9)


def measured(points: list[int]) -> Iterator[Finding]:
    """The figures of some points, each from a seed of its own."""
    for number in points:
        yield from POINTS[number - 1](np.random.default_rng(100 + number))


def shown(line: Finding) -> str:
    """One row of the Markdown table."""
    digits = 0 if line.value >= 100 else 2 if line.value >= 1 else 3
    error = f" +- {line.error:,.{digits}f}" if line.error else ""
    verdict = {True: "reached", False: "**not reached**", None: ""}[line.reached]
    return f"| {line.point} | {line.what} | {line.value:,.{digits}f}{error} | {line.limit} | {verdict} |"


def main() -> None:
    """Prints the table line by line; with --write puts it into the document."""
    chosen = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(range(1, len(POINTS) + 1))
    rows = ["| point | measured | figure | must reach | |", "|---|---|---|---|---|"]
    print("\n".join(rows))
    for line in measured(chosen):
        rows.append(shown(line))
        print(rows[-1], flush=True)
    if "--write" in sys.argv:
        before, rest = DOCUMENT.read_text("utf-8").split(BEGIN)
        made = "\n".join(rows)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
