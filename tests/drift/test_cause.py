"""A change is taken apart exactly, and what it is named after is what was done to the data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.drift.cause import by_type, decompose, largest, verdict
from streams.engine.drift.names import NONE

sides = st.lists(st.tuples(st.integers(2, 9), st.booleans()), min_size=1, max_size=200)


def columns(side: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    members, wrong = zip(*side, strict=True)
    return np.array(members), np.array(wrong, np.float64)


@given(sides, sides)
def test_rate_and_mix_of_all_members_are_the_change(
    before: list[tuple[int, bool]], since: list[tuple[int, bool]]
) -> None:
    (m0, y0), (m1, y1) = columns(before), columns(since)
    parts = decompose("project", m0, m1, y0, y1)
    assert sum(part.points for part in parts) == pytest.approx(y1.mean() - y0.mean(), abs=1e-12)


@given(sides, sides)
def test_kinds_of_error_add_up_to_the_change(before: list[tuple[int, bool]], since: list[tuple[int, bool]]) -> None:
    was, now = (np.where(y > 0, m, NONE) for m, y in (columns(before), columns(since)))
    parts = by_type("error_type", was, now, NONE)
    change = (now != NONE).mean() - (was != NONE).mean()
    assert sum(part.points for part in parts) == pytest.approx(change, abs=1e-12)


def work(rng: np.random.Generator, n: int, hard: float, errors: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Members 5 (easy) and 6 (hard), and whether wrong."""
    member = np.where(rng.random(n) < hard, 6, 5)
    return member, (rng.random(n) < np.where(member == 6, errors[1], errors[0])).astype(np.float64)


def test_harder_work_is_named_as_mix_and_worse_work_is_not() -> None:
    rng = np.random.default_rng(1)
    m0, y0 = work(rng, 4000, 0.2, (0.03, 0.15))
    m1, y1 = work(rng, 600, 0.8, (0.03, 0.15))
    parts, change = decompose("stratum", m0, m1, y0, y1), y1.mean() - y0.mean()
    assert verdict(parts, change) == "mix"
    assert {(part.by, part.effect) for part in largest(parts, change, 2)} == {("stratum", "mix")}
    m1, y1 = work(rng, 600, 0.2, (0.03, 0.60))
    parts, change = decompose("stratum", m0, m1, y0, y1), y1.mean() - y0.mean()
    assert verdict(parts, change) == "rate"
    first = largest(parts, change, 1)[0]
    assert (first.member, first.effect) == (6, "rate")


def test_a_change_that_is_everywhere_the_same_has_no_culprit() -> None:
    rng = np.random.default_rng(2)
    m0, y0 = work(rng, 8000, 0.5, (0.05, 0.05))
    m1, y1 = work(rng, 4000, 0.5, (0.15, 0.15))
    assert verdict(decompose("stratum", m0, m1, y0, y1), y1.mean() - y0.mean()) == "spread"


def test_a_new_member_is_a_cause_by_its_name_and_no_mix() -> None:
    rng = np.random.default_rng(3)
    y0, y1 = (rng.random(3000) < 0.05).astype(np.float64), (rng.random(500) < 0.2).astype(np.float64)
    parts = decompose("sop_version", np.full(3000, 5), np.where(np.arange(500) < 400, 6, 5), y0, y1)
    assert verdict(parts, y1.mean() - y0.mean()) != "mix"
