"""Streams of several strata side by side: what is made of their looks is the definition, outcome by outcome."""

import random
from functools import partial

import numpy as np
import pytest

from detectors import rounds
from detectors.arrays import Floats
from detectors.reverse import ReverseTest

SHIFTS, FALLS = (0.02, 0.05, 0.10), (0.75, 0.5, 0.25)
NEVER = 1e150


def never(evaluations: np.ndarray) -> Floats:
    """Thresholds that nothing reaches."""
    return np.full(len(evaluations), NEVER)


class Reference:
    """One stream, written from the definition; it takes a look at a time, stratum by stratum, in plain Python."""

    def __init__(self, falls: bool) -> None:
        self.falls = falls
        self.strata = {stratum: [0.6, 9.4, 0] for stratum in range(rounds.STRATA)}
        self.r = [0.0, 0.0, 0.0]

    def judged(self) -> list[int]:
        rates = {stratum: a / (a + b) for stratum, (a, b, _) in self.strata.items()}
        return [
            stratum for stratum, known in self.strata.items() if known[2] >= max(100, 2_000 * (rates[stratum] - 0.1))
        ]

    def bets(self, rates: list[float]) -> list[float]:
        a, b = (sum(self.strata[stratum][place] for stratum in self.judged()) for place in (0, 1))
        if not a:
            return [0.0, 0.0, 0.0]
        p = a / (a + b)
        return [min(min(d, (1 - p) / 2) / (p * (1 - p)), 0.5 / max(rates)) for d in SHIFTS]

    def factor(self, p: float, d: int, wrong: bool, bets: list[float]) -> float:
        if self.falls:
            return FALLS[d] if wrong else (1 - FALLS[d] * p) / (1 - p)
        return 1 + bets[d] * ((1 if wrong else 0) - p)

    def look(self, passed: list[int], failed: int, temper: float) -> float:
        tested, on_error = {}, [1.0, 1.0, 1.0]
        judges, tests = False, self.judged()
        known = [self.strata[stratum] for stratum in tests]
        middles = [
            a / (a + b + temper * min(passed[stratum], 10_000 - seen) / 2)
            for stratum, (a, b, seen) in zip(tests, known, strict=True)
        ]
        bets = self.bets([*middles, *(a / (a + b) for a, b, _ in known)])
        for stratum, correct in enumerate(passed):
            history = self.strata[stratum]
            a, b, seen = history
            judged = stratum in tests
            learns = temper * min(correct, 10_000 - seen)
            middle = a / (a + b + learns / 2)
            history[1] += learns
            history[2] = min(seen + correct, 10_000)
            if judged and correct:
                tested[stratum] = correct, [self.factor(middle, d, False, bets) ** temper for d in range(3)]
            if stratum == failed:
                p = a / (a + history[1])
                if judged:
                    judges = True
                    on_error = [self.factor(p, d, True, bets) ** temper for d in range(3)]
                if history[2] < 10_000:
                    history[0] += temper
                    history[2] += 1
        n = sum(correct for correct, _ in tested.values())
        for d in range(3):
            logs = sum(correct * np.log(factors[d]) for correct, factors in tested.values())
            # Each correct outcome is a step of the same size: the strata took turns.
            step = np.exp(logs / n) if n else 1.0
            for _ in range(n):
                self.r[d] = (self.r[d] + 1) * step
            if judges:
                self.r[d] = (self.r[d] + 1) * on_error[d]
        return sum(self.r) / 3


@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_looks_at_strata_are_the_definition_however_they_are_cut(seed: int, falls: bool) -> None:
    rng = random.Random(seed)
    streams = 6
    references = [Reference(falls) for _ in range(streams)]
    r, known = np.zeros((streams, 3)), np.array([[[0.6, 9.4, 0.0]] * rounds.STRATA] * streams)
    r_by_one, known_by_one = r.copy(), known.copy()
    for _ in range(25):
        counts = np.array([rng.randint(1, 12) for _ in range(streams)])
        n = int(counts.sum())
        passed = np.array([[int(rng.expovariate(0.2)) * (rng.random() < 0.4) for _ in range(8)] for _ in range(n)])
        failed = np.array([rng.choice((-1, 1, 2, 7)) if falls else rng.choice((0, 1, 1, 2, 6)) for _ in range(n)])
        temper = np.array([rng.choice((1.0, 0.9, 0.4)) for _ in range(n)])
        evaluations = rounds.Evaluations(np.cumsum(counts) - counts, counts, passed.sum(axis=1), failed >= 0, temper)
        is_fall = np.full(streams, falls)
        taken, known = rounds.take_strata(r, known, evaluations, passed, failed, is_fall, never, NEVER)
        r = taken.rows
        assert taken.evaluations.tolist() == counts.tolist()
        for stream in range(streams):
            for look in range(evaluations.starts[stream], evaluations.starts[stream] + counts[stream]):
                references[stream].look(passed[look].tolist(), int(failed[look]), temper[look])
                one = rounds.Evaluations(
                    np.zeros(1, np.int64), np.ones(1, np.int64), passed[look : look + 1].sum(axis=1),
                    failed[look : look + 1] >= 0, temper[look : look + 1],
                )  # fmt: skip
                here = slice(stream, stream + 1)
                alone, known_by_one[here] = rounds.take_strata(
                    r_by_one[here], known_by_one[here], one, passed[look : look + 1], failed[look : look + 1],
                    is_fall[:1], never, NEVER,
                )  # fmt: skip
                r_by_one[here] = alone.rows
        assert r.tolist() == r_by_one.tolist(), "to the last bit"
        assert known.tolist() == known_by_one.tolist()
        assert r == pytest.approx(np.array([each.r for each in references]), rel=1e-7)
        expected = [[each.strata[stratum] for stratum in range(rounds.STRATA)] for each in references]
        assert known == pytest.approx(np.array(expected))
    assert (r > 1).any()


def test_a_threshold_ends_a_stream_where_it_is_reached() -> None:
    passed, failed = np.zeros((400, 8), np.int64), np.full(400, 2)
    passed[:, 1] = 3
    passed[:200, 2] = 20
    evaluations = rounds.Evaluations(
        np.zeros(1, np.int64), np.array([400]), passed.sum(axis=1), failed >= 0, np.ones(400)
    )
    fresh = np.array([[[0.6, 9.4, 0.0]] * 8])
    falls = np.zeros(1, bool)

    def take(count: int, limit: float) -> tuple[rounds.Taken, np.ndarray]:
        some = evaluations.first(0, count)
        return rounds.take_strata(
            np.zeros((1, 3)),
            fresh,
            some,
            passed[:count],
            failed[:count],
            falls,
            lambda at: np.full(len(at), limit),
            limit,
        )

    found, known = take(400, 5_000.0)
    ((stream, statistic),) = found.reached
    assert (stream, statistic >= 5_000.0) == (0, True)
    assert 200 < found.evaluations[0] < 230
    upto, known_then = take(int(found.evaluations[0]), NEVER)
    assert found.rows.tolist() == upto.rows.tolist()
    assert known.tolist() == known_then.tolist()


def outcomes_of(
    rng: np.random.Generator, n: int, hard_share: float, rise: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    strata = np.where(rng.random(n) < hard_share, 2, 1)
    return rng.random(n) < np.where(strata == 2, 0.20, 0.03) + rise, strata


@pytest.mark.parametrize(
    "rises", [(0.0, 0.0), (0.05, 0.05), (0.0, 0.25), (0.05, 0.0)], ids=["none", "all", "hard", "easy"]
)
def test_false_alarms_are_as_few_as_promised_and_a_rise_is_found_wherever_it_is(rises: tuple[float, float]) -> None:
    """300 streams of 4,000 reviews after 2,000 to learn from, A = 4,000."""
    rng = np.random.default_rng(5)
    found, delays = 0, []
    for _ in range(300):
        hard = rng.random(6_000) < np.where(np.arange(6_000) // 500 % 3 == 2, 0.5, 0.15)
        risen = np.arange(6_000) >= 2_000
        wrong = rng.random(6_000) < np.where(hard, 0.20 + rises[1] * risen, 0.03 + rises[0] * risen)
        r, known = np.zeros((1, 3)), np.array([[[0.6, 9.4, 0.0]] * 8])
        for begin, end in ((0, 2_000), (2_000, 6_000)):
            bad, strata = wrong[begin:end], 1 + hard[begin:end]
            look: np.ndarray = np.cumsum(bad) - bad
            n = int(bad.sum())
            chosen = ~bad & (look < n)
            passed = np.bincount(look[chosen] * 8 + strata[chosen], minlength=8 * n).reshape(n, 8)
            evaluations = rounds.Evaluations(
                np.zeros(1, np.int64), np.array([n]), passed.sum(axis=1), np.ones(n, bool), np.ones(n)
            )
            limit = NEVER if begin == 0 else 4_000.0
            taken, known = rounds.take_strata(
                r,
                known,
                evaluations,
                passed,
                strata[bad],
                np.zeros(1, bool),
                partial(np.full_like, fill_value=limit, dtype=np.float64),
                limit,
            )
            r = taken.rows * (begin > 0)
        found += len(taken.reached)
        delays.append(np.flatnonzero(bad)[taken.evaluations[0] - 1] if taken.reached else 4_000)
    if rises == (0.0, 0.0):
        # At most one in 4,000 reviews; who has had one is not watched on.
        assert found <= 300 * (1 - np.exp(-1)) + 2 * 8.3
    else:
        assert found >= 285
        assert np.median(delays) < 700, np.median(delays)


def test_an_end_with_one_stratum_is_that_without_strata() -> None:
    rng = random.Random(3)
    outcomes = [int(rng.random() < 0.06) for _ in range(5_000)]
    plain, by_strata = ReverseTest(0.05, 400, 60, 0.8), ReverseTest(0.05, 400, 60, 0.8)
    assert plain.update_many(outcomes) == by_strata.update_strata(outcomes, [0.05] * len(outcomes))
    assert by_strata.evidence == pytest.approx(plain.evidence, rel=1e-9)


@pytest.mark.parametrize("rises", [(0.05, 0.05), (0.0, 0.25)], ids=["all", "hard alone"])
def test_a_lasting_drift_does_not_end_since_its_work_has_become_easier(rises: tuple[float, float]) -> None:
    """It was found in weeks of much hard work; these end, and each stratum is as bad as before."""
    rng = np.random.default_rng(7)
    ended_plain = ended = 0
    for _ in range(8):
        plain, by_strata = (ReverseTest(0.5 * 0.03 + 0.5 * 0.20, 300, 48) for _ in range(2))
        hard = rng.random(20_000) < 0.2
        wrong = rng.random(20_000) < np.where(hard, 0.20 + rises[1], 0.03 + rises[0])
        plain.update_many(wrong.tolist())
        by_strata.update_strata(wrong.tolist(), np.where(hard, 0.20, 0.03).tolist())
        ended_plain += plain.cleared
        ended += by_strata.cleared
    assert ended == 0
    assert ended_plain == 8, "one baseline for all takes the easier work for a recovery"


def test_a_drift_of_strata_ends_when_each_is_back() -> None:
    rng = np.random.default_rng(8)
    delays = []
    for _ in range(40):
        test = ReverseTest(0.5 * 0.03 + 0.5 * 0.20, 300, 75)
        wrong, strata = outcomes_of(rng, 6_000, 0.2)
        delays.append(test.update_strata(wrong.tolist(), np.where(strata == 2, 0.20, 0.03).tolist()))
        assert test.cleared
    assert np.median(delays) < 1_000
