import numpy as np
import pytest

from detectors import dispersion


def fed(values: np.ndarray) -> list[float]:
    row = [0.0] * dispersion.size(values.shape[1])
    for number, group in enumerate(values.tolist()):
        weights = [(place, 1.0 / values.shape[1]) for place in range(values.shape[1])]
        dispersion.add(row, 0, number, group, weights)
    return row


@pytest.mark.parametrize("groups", [1, 2, 7, 256, 777])
def test_neighbouring_sums_are_compared_at_every_level(groups: int) -> None:
    values = np.random.default_rng(1).normal(size=(groups, 3))
    row = fed(values)
    for level in range(dispersion.LEVELS):
        length = 2**level
        pairs = groups // (2 * length)
        halves = values[: pairs * 2 * length].reshape(pairs, 2, length, 3).sum(axis=2)
        squares = ((halves[:, 0] - halves[:, 1]) ** 2).mean(axis=1).sum() / (2 * length)
        assert row[level] == pytest.approx(squares)


def test_one_number_is_taken_as_several_are() -> None:
    values = np.random.default_rng(5).normal(size=(777, 1))
    row = [0.0] * dispersion.size(1)
    for number, value in enumerate(values[:, 0].tolist()):
        dispersion.add_one(row, 0, number, value, 1.0)
    assert row == fed(values)


def test_independent_groups_have_no_design_effect() -> None:
    rng = np.random.default_rng(2)
    effects = [dispersion.design_effect(fed(rng.normal(size=(1024, 1))), 0, 1024) for _ in range(50)]
    assert min(effects) >= 1
    assert np.mean(effects) < 1.3


def test_a_slow_wave_has_one() -> None:
    rng = np.random.default_rng(3)
    wave = np.repeat(rng.normal(0, 0.5, 64), 32)[:, None]
    row = fed(rng.normal(size=(2048, 1)) + wave)
    # A sum of 32 has variance 32 + 32^2 / 4.
    assert dispersion.design_effect(row, 0, 2048) == pytest.approx(9, rel=0.4)


def test_a_single_step_hardly_counts() -> None:
    rng = np.random.default_rng(4)
    row = fed(rng.normal(size=(1000, 1)) + (np.arange(1000) > 500)[:, None])
    assert dispersion.design_effect(row, 0, 1000) < 2.5
