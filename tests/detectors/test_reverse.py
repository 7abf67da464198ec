"""The end of a drift is promised as its beginning is: lasting ones do not end, and those that are over do."""

import math

import numpy as np
import pytest

from benchmarks.acceptance_ends import dips, ends_of_means, ends_of_mixes, old_rule
from detectors import ReverseTest, SelfStartingFall, SelfStartingMixture
from detectors.reverse import RUN_LENGTH


def definition(p0: float, n: float, errors: float, outcomes: list[int], temper: float = 1.0) -> list[float]:
    """R after each outcome, written as the docstring says it."""
    rs, r, known, edge = [], 0.0, 0.0, p0
    for x in [None, *outcomes]:
        if x is not None:
            ratio = (p0 / edge if x else (1 - p0) / (1 - edge)) ** temper
            r = (r + 1) * ratio
            rs.append(r)
            n, errors = n + 1, errors + x
        if x is None or n % 32 == 0:
            rate = (errors + 40 * p0) / (n + 40)
            known = max(known, rate - 1.645 * math.sqrt(rate * (1 - rate) / (n + 40) / temper) - p0)
            edge = p0 + max(0.02, known / 2)
    return rs


@pytest.mark.parametrize("temper", [1.0, 0.4])
def test_it_is_its_definition(temper: float) -> None:
    outcomes = (np.random.default_rng(1).random(900) < 0.12).astype(int).tolist()
    test = ReverseTest(0.05, 100, 14, temper)
    for x, r in zip(outcomes, definition(0.05, 100, 14, outcomes, temper), strict=True):
        test.update(x)
        assert test.evidence * RUN_LENGTH == pytest.approx(r, rel=1e-9)


def test_it_does_not_depend_on_how_a_log_is_cut_nor_on_being_packed() -> None:
    outcomes = (np.random.default_rng(2).random(4000) < 0.05).tolist()
    whole = ReverseTest(0.05, 300, 40, target=True)
    taken = whole.update_many(outcomes)
    parts, at = ReverseTest(0.05, 300, 40, target=True), 0
    while not parts.cleared and at < len(outcomes):
        parts = ReverseTest.from_bytes(parts.to_bytes())
        at += parts.update_many(outcomes[at : at + 7])
    assert (taken, whole.to_bytes()) == (at, parts.to_bytes())


def test_a_rate_at_the_edge_ends_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(3)
    lengths = [ReverseTest(0.05, 400, 28).update_many((rng.random(40_000) < 0.07).tolist()) for _ in range(40)]
    # Cut off at twice the promise, a mean of 20,000 and more reads as 17,300 and more.
    assert np.mean(lengths) > 17_300 * 0.85


@pytest.mark.parametrize("points", [0.04, 0.08, 0.15])
def test_a_lasting_dip_does_not_end_and_one_that_is_over_does(points: float) -> None:
    rng = np.random.default_rng(4)
    new, old = dips(0.05, points, 25, rng, lasting=30_000)
    assert new.false == 0
    # Of medians of 25, either may be off by a fifth.
    assert np.median(new.delays) <= 2.2 * 1.4 * np.median(old.delays)


def test_the_rule_before_ended_many_of_them() -> None:
    rng = np.random.default_rng(5)
    test = old_rule(0.05, 0.09)
    ended = sum(test((rng.random(30_000) < 0.09).tolist()) is not None for _ in range(20))
    assert ended >= 4


@pytest.mark.parametrize(("usual", "now"), [(0.20, 0.10), (0.10, 0.05), (0.20, 0.14)])
def test_a_lasting_fall_does_not_end_and_one_that_is_over_does(usual: float, now: float) -> None:
    rng = np.random.default_rng(6)
    false, delays = 0, []
    for _ in range(12):
        detector = SelfStartingFall(20_000)
        detector.update_many((rng.random(10_000) < usual).tolist())
        detector.reset()
        detector.update_many((rng.random(40_000) < now).tolist())
        assert detector.drift_detected
        estimate = detector.estimate()
        n = estimate.began_ago
        test = ReverseTest(1 - detector.baseline, n, n * (1 - estimate.new_rate))
        false += test.update_many((rng.random(30_000) >= now).tolist()) < 30_000
        test = ReverseTest(1 - detector.baseline, n, n * (1 - estimate.new_rate))
        test.update_many((rng.random(1_000) >= now).tolist())
        delays.append(test.update_many((rng.random(30_000) >= usual).tolist()))
    assert false == 0
    assert np.median(delays) < 4_000


@pytest.mark.parametrize("factor", [1.15, 1.5, 1 / 1.3])
def test_a_lasting_change_of_handling_time_does_not_end_and_one_that_is_over_does(factor: float) -> None:
    false, delays = ends_of_means(factor, 20, np.random.default_rng(7), lasting=30_000)
    assert false == 0
    assert np.median(delays) < 2_000


@pytest.mark.parametrize(("share", "now"), [(0.3, 0.36), (0.3, 0.5), (0.3, 0.2)])
def test_a_lasting_change_of_the_label_mix_does_not_end_and_one_that_is_over_does(share: float, now: float) -> None:
    false, delays = ends_of_mixes(share, now, 20, np.random.default_rng(8), lasting=30_000)
    assert false == 0
    assert np.median(delays) < 4_000


def test_steadily_two_points_below_a_target_is_one_episode() -> None:
    rng = np.random.default_rng(9)
    outcomes = (rng.random(30_000) < 0.07).tolist()
    ended = sum(ReverseTest(0.05, 2_000, 140, target=True).update_many(outcomes) < 30_000 for _ in range(1))
    assert ended == 0


@pytest.mark.parametrize("now", [0.03, 0.045])
def test_back_at_a_target_it_ends_with_a_figure_that_is_at_the_target(now: float) -> None:
    rng = np.random.default_rng(10)
    for _ in range(20):
        test = ReverseTest(0.05, 1_000, 80, target=True)
        test.update_many((rng.random(1_000) < 0.08).tolist())
        outcomes = (rng.random(30_000) < now).tolist()
        taken = test.update_many(outcomes)
        assert test.cleared
        assert sum(outcomes[:taken]) <= 0.05 * taken + 10


@pytest.mark.parametrize(("p0", "now"), [(0.6, 0.72), (0.9, 0.96), (0.001, 0.03)])
def test_it_holds_at_any_rate(p0: float, now: float) -> None:
    rng = np.random.default_rng(11)
    detector = SelfStartingMixture(20_000)
    detector.update_many((rng.random(10_000) < p0).tolist())
    detector.reset()
    detector.update_many((rng.random(20_000) < now).tolist())
    assert detector.drift_detected
    test = ReverseTest(detector.baseline, 500, 500 * now)
    assert test.update_many((rng.random(30_000) < now).tolist()) == 30_000
    assert test.update_many((rng.random(30_000) < p0).tolist()) < 10_000
