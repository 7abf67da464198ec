import math

import numpy as np
import pytest

from detectors import MixtureShiryaevRoberts
from detectors.budget import adapted, delay_reviews, plan, run_length
from tests.detectors.reference import run_lengths


def test_the_streams_together_keep_the_budget() -> None:
    volumes = {f"s{number}": 40.0 + 13 * number for number in range(50)}
    lines = plan(volumes, false_a_month=2)
    assert sum(line.reviews_a_month / line.run_length for line in lines) == pytest.approx(2)


@pytest.mark.parametrize("p0", [0.02, 0.06, 0.10])
@pytest.mark.parametrize("points", [0.02, 0.05, 0.10])
def test_the_delay_told_is_the_delay_simulated(p0: float, points: float) -> None:
    simulated = run_lengths(p0, 20_000, p0 + points, streams=600, seed=4, warm=600).mean()
    assert delay_reviews(p0, points, 20_000) == pytest.approx(simulated, rel=0.15)


def delays(p0: float, p1: float, temper: float) -> float:
    """Mean outcomes from a change to the signal against a known rate, after 600 before it."""
    rng, found = np.random.default_rng(5), []
    for _ in range(60):
        detector = MixtureShiryaevRoberts(p0, 20_000, temper=temper)
        if detector.update_many((rng.random(600) < p0).tolist()) == 600:
            found.append(detector.update_many((rng.random(60_000) < p1).tolist()))
    return float(np.mean(found))


@pytest.mark.parametrize(("p0", "points"), [(0.005, 0.02), (0.6, 0.05), (0.9, 0.05)])
def test_the_delay_told_holds_at_any_rate(p0: float, points: float) -> None:
    assert delay_reviews(p0, points, 20_000) == pytest.approx(delays(p0, p0 + points, 1.0), rel=0.30)


@pytest.mark.parametrize("points", [0.05, 0.10])
def test_clusters_make_it_longer_as_told(points: float) -> None:
    told = delay_reviews(0.06, points, 20_000, design_effect=4)
    assert told == pytest.approx(delays(0.06, 0.06 + points, 0.25), rel=0.30)
    assert told > 2.5 * delay_reviews(0.06, points, 20_000)


def test_there_is_no_delay_to_a_rise_that_cannot_be() -> None:
    assert delay_reviews(0.95, 0.1, 20_000) == math.inf


def test_the_volume_moves_slowly() -> None:
    assert adapted(0, 400) == 400
    assert adapted(400, 800) == 500
    assert adapted(400, 0) == 300


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        run_length(100, 10, 0)


def test_an_idle_stream_has_a_finite_run_length() -> None:
    assert math.isfinite(run_length(0, 10, 1))
