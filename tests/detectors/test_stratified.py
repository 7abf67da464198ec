"""Strata with rates of their own: the definition, shares that move, and a rise within a stratum."""

import random

import numpy as np
import pytest

from detectors import SelfStartingMixture, StratifiedMixture
from detectors.stratified import OUTCOMES_KEPT, STRATA_MAX

RATES = {"easy": 0.03, "hard": 0.20}


def reviews(rng: random.Random, count: int, share_of_hard: float, rise: float = 0.0) -> tuple[list[int], list[str]]:
    strata = ["hard" if rng.random() < share_of_hard else "easy" for _ in range(count)]
    return [int(rng.random() < RATES[each] + rise) for each in strata], strata


def test_the_class_is_its_definition() -> None:
    outcomes, strata = reviews(random.Random(1), 6_000, 0.3)
    detector = StratifiedMixture(1e9, temper=0.8)
    shifts = np.array([0.02, 0.05, 0.10])
    r = np.zeros(3)
    learned = {name: np.array([0.6, 9.4]) for name in RATES}
    seen = dict.fromkeys(RATES, 0)
    for x, name in zip(outcomes, strata, strict=True):
        p = learned[name][0] / learned[name].sum()
        if seen[name] >= max(100, 2_000 * (p - 0.1)):
            ratios = 1 + np.minimum(shifts, (1 - p) / 2) / p if x else 1 - np.minimum(shifts / (1 - p), 0.5)
            r = (r + 1) * ratios**0.8
        learned[name] += np.array([x, 1 - x]) * 0.8
        seen[name] += 1
        detector.update(x, name)
        assert detector.evidence * 1e9 == pytest.approx(r.mean(), rel=1e-9)
    assert detector.baseline("hard") == pytest.approx(learned["hard"][0] / learned["hard"].sum())


def test_shares_that_move_raise_no_alarm_though_the_rate_of_the_whole_moves() -> None:
    """In 20 streams of 30,000 reviews at A = 20,000 the promise allows 30 false alarms; one baseline has many more."""
    rng = random.Random(2)
    false, false_with_one_baseline = 0, 0
    for _ in range(20):
        stratified, plain = StratifiedMixture(20_000), SelfStartingMixture(20_000)
        for week in range(15):
            outcomes, strata = reviews(rng, 2_000, 0.15 if week % 3 else 0.5)
            for x, name in zip(outcomes, strata, strict=True):
                if stratified.update(x, name).drift_detected:
                    false += 1
                    stratified.reset()
                if plain.update(x).drift_detected:
                    false_with_one_baseline += 1
                    plain.reset()
    assert false <= 30 + 2 * 30**0.5
    assert false_with_one_baseline > 3 * max(false, 30)


def test_a_rise_within_the_strata_is_found_and_told() -> None:
    delays, covered, rates = [], 0, []
    for seed in range(60):
        rng = random.Random(100 + seed)
        detector = StratifiedMixture(20_000)
        if detector.update_many(*reviews(rng, 8_000, 0.3)) < 8_000:
            continue  # a false alarm, of which some are allowed
        delay = detector.update_many(*reviews(rng, 8_000, 0.3, rise=0.05))
        assert detector.drift_detected
        estimate = detector.estimate()
        delays.append(delay)
        covered += estimate.began_ago_low <= delay <= estimate.began_ago_high
        rates.append((estimate.old_rate, estimate.new_rate))
    assert len(delays) >= 35
    # 8% before (.7 x 3% + .3 x 20%), 13% since.
    assert np.median(delays) < 255
    assert covered >= 0.85 * len(delays)
    assert np.mean(rates, axis=0) == pytest.approx([0.08, 0.13], abs=0.01)


def test_strata_beyond_the_bound_share_one_and_the_state_stays_small() -> None:
    detector = StratifiedMixture(20_000)
    for number in range(3 * OUTCOMES_KEPT):
        detector.update(number % 10 == 0, f"stratum-{number % 1_000}")
    assert len(detector.to_bytes()) < OUTCOMES_KEPT + 60 * STRATA_MAX
    copy = StratifiedMixture.from_bytes(detector.to_bytes())
    for number in range(300):
        detector.update(number % 3 == 0, f"stratum-{number}")
        copy.update(number % 3 == 0, f"stratum-{number}")
    assert copy.to_bytes() == detector.to_bytes()
    assert copy.estimate() == detector.estimate()
