import math

import numpy as np
import pytest
from scipy import stats

from detectors import CategoricalMixture, categorical
from detectors.categorical import CLASSES, GROUP, Leading

TWO = (0.7, 0.3)
MANY = (0.3, 0.25, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01)
RUN_LENGTH = 20_000


def groups(rng: np.random.Generator, items: int, shares: tuple[float, ...]) -> list[list[int]]:
    padded = [*shares, *[0.0] * (CLASSES - len(shares))]
    found: list[list[int]] = rng.multinomial(GROUP, padded, size=items // GROUP).tolist()
    return found


def moved(shares: tuple[float, ...], label: int, points: float) -> tuple[float, ...]:
    """One class's share moved; the others keep their proportions."""
    rest = (1 - shares[label] - points) / (1 - shares[label])
    return tuple(share + points if place == label else share * rest for place, share in enumerate(shares))


def found_after(row: list[float], given: list[list[int]]) -> int | None:
    for number, counts in enumerate(given, 1):
        if categorical.advance(row, counts) >= RUN_LENGTH:
            return number * GROUP
    return None


def warm(rng: np.random.Generator, shares: tuple[float, ...], items: int = 12_800) -> list[float]:
    row = categorical.fresh()
    for counts in groups(rng, items, shares):
        categorical.advance(row, counts)
    return row


def test_the_statistic_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    row = warm(rng, MANY)
    learned = row[1]
    p = [(of + 0.5) / (learned + 4.5) for of in row[2 : 2 + CLASSES]]
    before = list(row)
    (counts,) = groups(rng, GROUP, MANY)
    power = categorical.temper(row) * learned / (learned + GROUP)
    statistic = categorical.advance(row, counts)
    expected = []
    for way, start in ((1, 11), (-1, 29)):
        for label, count in enumerate(counts):
            for number, shift in enumerate((0.05, 0.15)):
                place = start + 2 * label + number
                assert row[place] >= 0
                # Near 0 a fall stays on its side; those are looked at elsewhere.
                if way < 0 and p[label] < 0.2:
                    expected.append(row[place])
                    continue
                ratio = stats.binom.logpmf(count, GROUP, p[label] + way * shift) - stats.binom.logpmf(
                    count, GROUP, p[label] + way * 0.02
                )
                expected.append((before[place] + GROUP) * math.exp(min(power * ratio, 3.0)))
                assert row[place] == pytest.approx(expected[-1], rel=1e-9)
    assert statistic == pytest.approx(np.mean(expected), rel=1e-9)


@pytest.mark.parametrize("shares", [TWO, MANY])
def test_false_alarms_keep_to_the_run_length(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(2)
    assert sum(found_after(categorical.fresh(), groups(rng, 20_000, shares)) is not None for _ in range(20)) <= 20


def test_a_mix_that_changes_with_every_shift_is_no_news_once_known() -> None:
    rng = np.random.default_rng(3)
    row, alarms = categorical.fresh(), []
    for day in range(30):
        for points in (0.0, 0.06, -0.06):
            for counts in groups(rng, 2048, moved(TWO, 1, points)):
                if categorical.advance(row, counts) >= RUN_LENGTH:
                    alarms.append(day)
                    row[11:47] = [0.0] * 36
    assert len(alarms) <= 30 * 3 * 2048 / RUN_LENGTH
    assert not [day for day in alarms if day > 5]


@pytest.mark.parametrize(
    ("shares", "label", "points", "most"),
    [(TWO, 1, 0.10, 1600), (TWO, 1, 0.20, 400), (MANY, 3, 0.10, 1200), (MANY, 0, -0.15, 800), (MANY, 8, 0.05, 3000)],
)
def test_a_change_is_found_with_its_class_and_its_way(
    shares: tuple[float, ...], label: int, points: float, most: int
) -> None:
    rng = np.random.default_rng(4)
    delays, named = [], []
    for _ in range(20):
        row = warm(rng, shares)
        delays.append(found_after(row, groups(rng, 25_600, moved(shares, label, points))))
        lead = categorical.leading(row)
        # With two classes, one rises exactly as the other falls.
        named.append(lead == Leading(label, "up" if points > 0 else "down") or len(shares) == 2)
    assert None not in delays
    assert None not in delays
    assert np.mean([delay or 0 for delay in delays]) <= most
    assert np.mean(named) >= 0.9


def test_a_class_never_seen_before_is_found_but_not_at_once() -> None:
    rng = np.random.default_rng(5)
    row = warm(rng, TWO)
    found = found_after(row, groups(rng, 6400, (0.6, 0.28, 0.12)))
    assert found is not None
    assert found > GROUP
    assert categorical.leading(row) == Leading(2, "up")


def test_within_the_tolerance_nothing_is_found() -> None:
    rng = np.random.default_rng(6)
    row = warm(rng, TWO)
    assert found_after(row, groups(rng, 100_000, moved(TWO, 1, 0.015))) is None


@pytest.mark.parametrize("before", [10 * GROUP, 12_800])
def test_one_batch_of_one_kind_is_no_change(before: int) -> None:
    rng = np.random.default_rng(7)
    row = warm(rng, TWO, before)
    assert found_after(row, [[0, GROUP, *[0] * 7]]) is None
    assert found_after(row, groups(rng, 6400, TWO)) is None


def test_a_single_class_is_calm() -> None:
    assert found_after(categorical.fresh(), [[GROUP, *[0] * 8]] * 200) is None


def test_it_says_when_it_began_and_what_the_share_is_now() -> None:
    rng = np.random.default_rng(8)
    covered, levels = [], []
    for _ in range(60):
        before = groups(rng, 12_800, MANY)
        row = categorical.fresh()
        for counts in before:
            categorical.advance(row, counts)
        after = groups(rng, 6400, moved(MANY, 1, 0.15))
        delay = found_after(row, after)
        assert delay is not None
        newest_first = (before + after[: delay // GROUP])[::-1][: categorical.GROUPS_KEPT]
        estimate = categorical.locate(newest_first, row, categorical.leading(row))
        covered.append(estimate.began_ago_low - GROUP <= delay <= estimate.began_ago_high + GROUP)
        levels.append(estimate.new_rate)
        assert estimate.old_rate == pytest.approx(0.25, abs=0.03)
    assert np.mean(covered) >= 0.85
    assert np.mean(levels) == pytest.approx(0.40, abs=0.03)


def test_what_was_learned_of_a_change_can_be_unlearned() -> None:
    rng = np.random.default_rng(9)
    row = warm(rng, TWO, 64 * 41)
    before = row[:11]
    changed = groups(rng, 3 * GROUP, (0.5, 0.5))
    for counts in changed:
        categorical.advance(row, counts)
    categorical.unlearn(row, changed)
    assert row[1:11] == pytest.approx(before[1:])


@pytest.mark.parametrize("wrong", [-1, 9, 0.5, float("nan")])
def test_a_class_has_a_number(wrong: float) -> None:
    with pytest.raises(ValueError, match="a class must be"):
        CategoricalMixture(1000).update(wrong)
