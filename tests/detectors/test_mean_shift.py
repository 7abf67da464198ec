import math

import numpy as np
import pytest
from scipy import stats

from detectors import LogNormalMeanShift, mean_shift

GROUP = mean_shift.GROUP
LONG = 12_800
RUN_LENGTH = 20_000


def logs(rng: np.random.Generator, n: int, typical: float = 30.0, deviation: float = 0.55) -> np.ndarray:
    """Quantised handling times."""
    return mean_shift.quantised((1000 * rng.lognormal(math.log(typical), deviation, n)).astype(np.int64))


def sums(values: np.ndarray) -> list[tuple[int, int]]:
    """Sum and sum of squares of each whole group."""
    groups = values[: len(values) // GROUP * GROUP].reshape(-1, GROUP)
    return list(zip(groups.sum(axis=1).tolist(), (groups**2).sum(axis=1).tolist(), strict=True))


def feed(row: list[float], values: np.ndarray, learns: bool = True) -> list[float]:
    return [mean_shift.advance(row, GROUP, total, squares, learns) for total, squares in sums(values)]


def found_after(row: list[float], values: np.ndarray) -> int | None:
    for number, (total, squares) in enumerate(sums(values), 1):
        if mean_shift.advance(row, GROUP, total, squares) >= RUN_LENGTH:
            return number * GROUP
    return None


def test_the_statistic_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    row = mean_shift.fresh()
    feed(row, logs(rng, LONG))
    _, learned, mean = row[:3]
    r = np.array(row[4:10])
    now = logs(rng, GROUP, 36.0)
    one, power = mean_shift.variance(row), mean_shift.temper(row) * learned / (learned + GROUP + 256)
    statistic = mean_shift.advance(row, GROUP, int(now.sum()), int((now**2).sum()))
    y, deviation = now.mean() / 1000, math.sqrt(one / GROUP)
    edge = math.log(1.05)
    for place, (factor, way) in enumerate((factor, way) for way in (1, -1) for factor in (1.15, 1.3, 1.6)):
        ratio = stats.norm.logpdf(y, mean + way * math.log(factor), deviation) - stats.norm.logpdf(
            y, mean + way * edge, deviation
        )
        r[place] = (r[place] + GROUP) * math.exp(min(power * ratio, 3.0))
    assert row[4:10] == pytest.approx(r.tolist(), rel=1e-9)
    assert statistic == pytest.approx(r.mean(), rel=1e-9)


def test_what_it_learns_is_the_mean_and_the_variance() -> None:
    rng = np.random.default_rng(2)
    row = mean_shift.fresh()
    feed(row, logs(rng, LONG))
    assert row[2] == pytest.approx(math.log(30), abs=4 * 0.55 / math.sqrt(9000))
    assert mean_shift.variance(row) == pytest.approx(0.55**2, rel=0.06)


def test_false_alarms_keep_to_the_run_length() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(40):
        row = mean_shift.fresh()
        for statistic in feed(row, logs(rng, 20_000)):
            if statistic >= RUN_LENGTH:
                alarms += 1
                row[4:10] = [0.0] * 6
    assert alarms <= 40


def test_slow_and_fast_shifts_are_no_news_once_known() -> None:
    rng = np.random.default_rng(4)
    row, alarms = mean_shift.fresh(), []
    # Three shifts a day of 2,000 labels each, of which one is 8% slower and one 8% faster.
    for day in range(30):
        for shift in (1.0, 1.08, 1 / 1.08):
            for statistic in feed(row, logs(rng, 2048, 30 * shift)):
                if statistic >= RUN_LENGTH:
                    alarms.append(day)
                    row[4:10] = [0.0] * 6
    assert len(alarms) <= 30 * 3 * 2048 / RUN_LENGTH
    assert not [day for day in alarms if day > 5]


@pytest.mark.parametrize(("factor", "most"), [(1.15, 1200), (1.3, 230), (1 / 1.3, 230), (1.6, 120)])
def test_a_change_is_found_and_which_way(factor: float, most: int) -> None:
    rng = np.random.default_rng(5)
    delays = []
    for _ in range(20):
        row = mean_shift.fresh()
        feed(row, logs(rng, LONG))
        delays.append(found_after(row, logs(rng, 6400, 30 * factor)))
        assert mean_shift.leaning(row) == ("up" if factor > 1 else "down")
    assert None not in delays
    assert np.mean([delay or 0 for delay in delays]) <= most


def test_within_the_tolerance_nothing_is_found() -> None:
    rng = np.random.default_rng(6)
    row = mean_shift.fresh()
    feed(row, logs(rng, LONG))
    assert found_after(row, logs(rng, 100_000, 30 * 1.04)) is None


def test_one_wild_group_is_no_change() -> None:
    rng = np.random.default_rng(7)
    for before in (GROUP, 10 * GROUP, LONG):
        row = mean_shift.fresh()
        feed(row, logs(rng, before))
        baseline = row[2]
        hours = np.full(GROUP, mean_shift.quantised(np.array([10**9]))[0])
        assert max(feed(row, hours)) < RUN_LENGTH
        assert row[2] - baseline < 0.5
        assert found_after(row, logs(rng, 3200)) is None


@pytest.mark.parametrize("same", [1, 3_000, 10**9])
def test_a_stream_that_never_varies_is_calm(same: int) -> None:
    row = mean_shift.fresh()
    assert max(feed(row, mean_shift.quantised(np.full(6400, same)))) < RUN_LENGTH


@pytest.mark.parametrize("factor", [1.3, 1.6])
def test_it_says_when_it_began_and_what_it_is_now(factor: float) -> None:
    rng = np.random.default_rng(8)
    covered, levels = [], []
    for _ in range(60):
        row = mean_shift.fresh()
        before = logs(rng, LONG)
        feed(row, before)
        values = logs(rng, 6400, 30 * factor)
        delay = found_after(row, values)
        assert delay is not None
        totals = [total for total, _ in (sums(before) + sums(values[:delay]))[::-1]]
        estimate = mean_shift.locate(totals[: mean_shift.GROUPS_KEPT], row)
        # The change stands between two groups.
        covered.append(estimate.began_ago_low - GROUP <= delay <= estimate.began_ago_high + GROUP)
        levels.append(estimate.new_rate)
        assert estimate.old_rate == pytest.approx(30, rel=0.05)
    assert np.mean(covered) >= 0.85
    assert np.mean(levels) == pytest.approx(30 * factor, rel=0.1)


def test_what_was_learned_of_a_change_can_be_unlearned() -> None:
    rng = np.random.default_rng(9)
    row = mean_shift.fresh()
    # The design effect is worked out after every eighth group.
    feed(row, logs(rng, 96 * GROUP))
    before = row[:3]
    changed = sums(logs(rng, 5 * GROUP, 36.0))
    for total, squares in changed:
        mean_shift.advance(row, GROUP, total, squares)
    assert row[2] > before[2]
    mean_shift.unlearn(row, GROUP, [total for total, _ in changed])
    assert row[1] == pytest.approx(before[1])
    assert row[2] == pytest.approx(before[2], abs=1e-9)


@pytest.mark.parametrize("wrong", [0.0, -3.0, float("nan"), float("inf")])
def test_a_handling_time_is_above_0(wrong: float) -> None:
    with pytest.raises(ValueError, match="a handling time must be"):
        LogNormalMeanShift(1000).update(wrong)


def test_the_state_stays_small() -> None:
    detector = LogNormalMeanShift(1e12)
    detector.update_many(np.random.default_rng(11).lognormal(3, 0.5, 5000).tolist())
    assert len(detector.to_bytes()) < 1024
