"""Looks taken in one pass leave each stream, to the last bit, as the detectors leave it look by look."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from detectors import cluster, falling, mixture, rounds, self_starting

NEVER = 1e150
#: One evaluation of a row by a detector: correct answers, whether a mistake, temper, place; the statistic.
Take = Callable[[list[float], int, bool, float, int], float]
#: Rows, evaluations taken, and which row reached a threshold with which statistic.
OneByOne = tuple[list[list[float]], list[int], list[tuple[int, float]]]


def looks_of(rng: random.Random, streams: int, most: int, falls: bool) -> rounds.Evaluations:
    counts = np.array([rng.randint(1, most) for _ in range(streams)])
    n = int(counts.sum())
    wrong = np.array([not falls or rng.random() < 0.4 for _ in range(n)])
    correct = [int(rng.expovariate(1 / 15)) for _ in range(n)]
    if falls:
        correct = [each % 16 if is_wrong else 16 for each, is_wrong in zip(correct, wrong.tolist(), strict=True)]
    temper = np.array([rng.choice((1.0, 0.93, 0.4)) for _ in range(n)])
    return rounds.Evaluations(np.cumsum(counts) - counts, counts, np.array(correct), wrong, temper)


class Thresholds:
    """A threshold for each look, the least one or up to twice as high; remembers which looks it was asked of."""

    def __init__(self, rng: random.Random, evaluations: rounds.Evaluations, least: float) -> None:
        self.least = least
        self.of = np.array([least * rng.choice((1.0, rng.uniform(1.0, 2.0))) for _ in evaluations.correct])
        self.asked: list[int] = []

    def __call__(self, evaluations: np.ndarray) -> np.ndarray:
        self.asked += evaluations.tolist()
        thresholds: np.ndarray = self.of[evaluations]
        return thresholds


def learned_rows(rng: random.Random, streams: int) -> np.ndarray:
    rows = []
    for _ in range(streams):
        # From fresh ones over those about to be tested or frozen to those that are frozen, calm and suspect.
        seen = rng.choice((0.0, 90.0, 2_000.0, 9_960.0, 10_000.0, 10_004.0))
        rate = rng.choice((0.02, 0.06, 0.49, 0.6))
        row = [0.6 + rate * seen, 9.4 + (1 - rate) * seen, seen]
        rows.append(row + [rng.uniform(0, 500) if seen >= 100 else 0.0 for _ in range(3)])
    return np.array(rows)


def one_by_one(
    rows: np.ndarray, evaluations: rounds.Evaluations, thresholds: Thresholds, take: Take
) -> tuple[list[list[float]], list[int], list[tuple[int, float]]]:
    """The same with the detectors' own functions."""
    out, taken, reached = [], [], []
    for place, (row, start, count) in enumerate(
        zip(rows.tolist(), evaluations.starts, evaluations.counts, strict=True)
    ):
        for look in range(start, start + count):
            statistic = take(
                row,
                int(evaluations.correct[look]),
                bool(evaluations.wrong[look]),
                float(evaluations.temper[look]),
                place,
            )
            if statistic >= thresholds.of[look]:
                reached.append((place, statistic))
                break
        out.append(row)
        taken.append(look - start + 1)
    return out, taken, reached


def taken_together(
    rows: np.ndarray,
    evaluations: rounds.Evaluations,
    thresholds: Thresholds,
    targets: Sequence[float] | None = None,
    falls: bool = False,
) -> rounds.Taken:
    of = np.full(len(rows), np.nan) if targets is None else np.array(targets)
    return rounds.take(rows, evaluations, of, np.full(len(rows), falls), thresholds, thresholds.least)


def the_same(found: rounds.Taken, expected: OneByOne) -> None:
    rows, taken, reached = expected
    assert found.evaluations.tolist() == taken
    assert found.reached == reached
    assert found.rows.tolist() == rows


@pytest.mark.parametrize("least", [NEVER, 3_000.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_rises_are_those_of_the_self_starting_detector(seed: int, least: float) -> None:
    rng = random.Random(seed)
    rows, evaluations = learned_rows(rng, 40), looks_of(rng, 40, rng.choice((1, 5, 60)), False)
    thresholds = Thresholds(rng, evaluations, least)

    def take(row: list[float], correct: int, _: object, temper: float, __: object) -> float:
        return self_starting.advance(row, correct, temper)

    the_same(taken_together(rows, evaluations, thresholds), one_by_one(rows, evaluations, thresholds, take))
    assert len(thresholds.asked) < len(evaluations.correct) or least == 1.0, "of calm looks no threshold is asked for"


@pytest.mark.parametrize("least", [NEVER, 3_000.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_rises_above_a_target_are_those_of_the_mixture(seed: int, least: float) -> None:
    rng = random.Random(seed)
    rows, evaluations = learned_rows(rng, 30)[:, 3:], looks_of(rng, 30, rng.choice((1, 5, 60)), False)
    targets = [rng.choice((0.005, 0.05, 0.3, 0.95)) for _ in range(30)]
    thresholds = Thresholds(rng, evaluations, least)

    def take(row: list[float], correct: int, _: object, temper: float, place: int) -> float:
        return mixture.advance(row, correct, targets[place], temper)

    expected = one_by_one(rows, evaluations, thresholds, take)
    found = taken_together(np.hstack((rows, np.full((30, 3), 7.0))), evaluations, thresholds, targets)
    assert (found.rows[:, 3:] == 7.0).all(), "what stands after a row of the mixture's is left alone"
    the_same(found._replace(rows=found.rows[:, :3]), expected)


@pytest.mark.parametrize("least", [NEVER, 3_000.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_falls_are_those_of_the_detector_of_falls(seed: int, least: float) -> None:
    rng = random.Random(seed)
    rows, evaluations = learned_rows(rng, 40), looks_of(rng, 40, rng.choice((1, 5, 60)), True)
    thresholds = Thresholds(rng, evaluations, least)

    def take(row: list[float], correct: int, wrong: bool, temper: float, _: object) -> float:
        return falling.advance(row, correct, wrong, temper)

    the_same(taken_together(rows, evaluations, thresholds, falls=True), one_by_one(rows, evaluations, thresholds, take))


@pytest.mark.parametrize("seed", range(6))
def test_streams_of_all_kinds_are_taken_together_as_each_kind_alone(seed: int) -> None:
    rng = random.Random(seed)
    kinds = [rng.choice(("rise", "target", "fall")) for _ in range(60)]
    rows = learned_rows(rng, 60)
    targets = np.array([0.05 if kind == "target" else np.nan for kind in kinds])
    falls = np.array([kind == "fall" for kind in kinds])
    evaluations = looks_of(rng, 60, 9, True)
    evaluations = evaluations._replace(wrong=evaluations.wrong | ~np.repeat(falls, evaluations.counts))
    found = rounds.take(rows, evaluations, targets, falls, lambda places: np.full(len(places), 300.0), 300.0)
    for kind in ("rise", "target", "fall"):
        chosen = np.array([each == kind for each in kinds])
        alone = rounds.take(
            rows[chosen],
            evaluations.of(chosen),
            targets[chosen],
            falls[chosen],
            lambda places: np.full(len(places), 300.0),
            300.0,
        )
        assert found.rows[chosen].tolist() == alone.rows.tolist()
        assert found.evaluations[chosen].tolist() == alone.evaluations.tolist()
        places = np.flatnonzero(chosen).tolist()
        reached = [(places.index(place), statistic) for place, statistic in found.reached if chosen[place]]
        assert reached == alone.reached
    assert found.reached


def test_looks_of_some_streams_are_theirs_alone() -> None:
    evaluations = looks_of(random.Random(1), 6, 5, False)
    chosen = np.array([True, False, True, True, False, False])
    some = evaluations.of(chosen)
    assert some.counts.tolist() == evaluations.counts[chosen].tolist()
    for place, stream in enumerate(np.flatnonzero(chosen)):
        ours = some.correct[some.starts[place] :][: some.counts[place]]
        assert ours.tolist() == evaluations.correct[evaluations.starts[stream] :][: evaluations.counts[stream]].tolist()


@pytest.mark.parametrize("wrong_at", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("falls", [True, False])
def test_looks_taken_together_tell_the_same_of_clusters_as_one_by_one(wrong_at: float, falls: bool) -> None:
    rng = random.Random(repr((wrong_at, falls)))
    streams, halved = 7, 0
    one_by_one = [cluster.fresh() for _ in range(streams)]
    since = [0] * streams
    rows = np.zeros((streams, len(cluster.ROW) + 1))
    for _ in range(400):
        evaluations = looks_of(rng, streams, 40, falls)
        if falls and rng.random() < 0.1:
            evaluations = evaluations._replace(wrong=np.zeros(len(evaluations.wrong), bool))
        gaps = [int(rng.expovariate(wrong_at)) * (rng.random() < 0.6) for _ in evaluations.correct]
        evaluations = evaluations._replace(correct=np.array(gaps) + ~evaluations.wrong)
        tempers = []
        for stream in range(streams):
            first = evaluations.starts[stream]
            for look in range(first, first + evaluations.counts[stream]):
                tempers.append(cluster.temper(one_by_one[stream]))
                since[stream] += int(evaluations.correct[look])
                if evaluations.wrong[look]:
                    before = one_by_one[stream][0]
                    cluster.advance(one_by_one[stream], since[stream])
                    halved += one_by_one[stream][0] < before
                    since[stream] = 0
        found, rows = rounds.clusters(rows, evaluations)
        assert found.tolist() == tempers
        assert rows.tolist() == [[*row, float(left)] for row, left in zip(one_by_one, since, strict=True)]
    assert halved or wrong_at == 0.5, "counts are halved on the way, too"
