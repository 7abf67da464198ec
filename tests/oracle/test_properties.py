"""The engine's building blocks against the simplest possible models."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scipy.special import betainc

from streams.engine.panes import BLOCK, HOUR_MS, MINUTE_MS, Panes, Ring, Rings, Table
from streams.engine.parts.presence import spread
from streams.engine.ratios import below_target_probability, regularized_beta, wilson

from . import heard, statistics

Counts = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_check_value() -> None:
    lower, upper = wilson(np.array([47]), np.array([50]))
    assert (round(lower[0], 3), round(upper[0], 3)) == (0.838, 0.979)


@given(Counts)
def test_wilson_is_the_formula_and_holds_the_share(counts: tuple[int, int]) -> None:
    correct, n = counts
    (lower,), (upper,) = wilson(np.array([correct]), np.array([n]))
    np.testing.assert_allclose((lower, upper), statistics.wilson(correct, n), rtol=0, atol=1e-12)
    assert 0 <= lower <= correct / n + 1e-12
    assert correct / n - 1e-12 <= upper <= 1


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.01, 0.99))
def test_more_wrong_reviews_make_it_likelier_to_be_below_the_target(correct: int, wrong: int, target: float) -> None:
    k, n = np.array([correct, correct]), np.array([correct + wrong, correct + wrong + 1])
    first, second = below_target_probability(k, n, np.array([target, target]))
    assert first <= second + 1e-12
    np.testing.assert_allclose(first, statistics.beta_below(correct, correct + wrong, target), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("most", [3, 30, 1_000, 30_000])
def test_the_beta_distribution_is_scipys(most: int) -> None:
    rng = np.random.default_rng(most)
    n = rng.integers(0, most, 4_000)
    k = rng.binomial(n, rng.choice([0.0, 0.02, 0.5, 0.9, 0.97, 1.0], 4_000))
    x = np.where(rng.random(4_000) < 0.5, rng.random(4_000), np.clip(k / np.maximum(n, 1) + rng.normal(0, 0.02), 0, 1))
    a, b = (0.5 + counts.astype(np.float64) for counts in (k, n - k))
    found, expected = regularized_beta(a, b, x), betainc(a, b, x)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_beta_distribution_at_its_ends_and_of_nothing() -> None:
    ends = regularized_beta(np.array([0.5, 0.5, 3.5]), np.array([0.5, 0.5, 1.5]), np.array([0.0, 1.0, np.nan]))
    np.testing.assert_array_equal(ends, [0.0, 1.0, np.nan])
    assert len(regularized_beta(np.empty(0), np.empty(0), np.empty(0))) == 0


@given(st.integers(0, 500), st.integers(1, 60), st.integers(-30, 90))
def test_a_window_is_the_last_panes_that_the_ring_still_holds(head: int, panes: int, ahead: int) -> None:
    ring = Ring("m", MINUTE_MS, 72)
    ring.advance(head * MINUTE_MS)
    now = max(head + ahead, 0)
    positions = [
        position for part in ring.window(now * MINUTE_MS + 59_999, panes) for position in range(72)[part]
    ]  # fmt: skip
    held = [pane for pane in range(now - panes + 1, now + 1) if head - 72 < pane <= head and pane >= 0]
    assert sorted(positions) == sorted(pane % 72 for pane in held)


@given(
    st.integers(0, 10**9),
    st.lists(st.tuples(st.integers(0, 2 * 10**9), st.integers(0, 40 * 3_600_000)), max_size=8),
    st.sampled_from(["m", "h"]),
)
def test_an_interval_cut_at_panes_keeps_its_time(head_ms: int, spans: list[tuple[int, int]], name: str) -> None:
    ring = Ring("m", MINUTE_MS, 72) if name == "m" else Ring("h", HOUR_MS, 170)
    ring.advance(head_ms)
    newest_end = (ring.head + 1) * ring.pane_ms
    intervals = [(end - length, end) for end, length in ((min(end, newest_end), length) for end, length in spans)]
    intervals = [(max(start, 0), end) for start, end in intervals]
    starts, ends = (np.array(column, np.int64) for column in zip(*intervals, strict=True)) if intervals else (
        np.zeros(0, np.int64), np.zeros(0, np.int64)
    )  # fmt: skip
    found: Counter[tuple[int, int]] = Counter()
    for index, pane, ms in zip(*(column.tolist() for column in spread(ring, starts, ends)), strict=True):
        assert (index, pane) not in found
        found[index, pane] = ms
    expected = {
        (index, pane): overlap
        for index, (start, end) in enumerate(intervals)
        for pane in range(max(start // ring.pane_ms, ring.head - ring.size + 1), ring.head + 1)
        if (overlap := min(end, (pane + 1) * ring.pane_ms) - max(start, pane * ring.pane_ms)) > 0
    }
    assert +found == expected


class TableMachine(RuleBasedStateMachine):
    """A table beside a dictionary of (row, pane) to value: adds, time, window sums, checkpoints and restores."""

    def __init__(self) -> None:
        super().__init__()
        self.rings = Rings()
        self.table = self.new_table()
        self.now = 0
        self.sums: dict[int, Counter[tuple[str, int]]] = {MINUTE_MS: Counter(), HOUR_MS: Counter()}
        self.totals: Counter[str] = Counter()
        self.states: dict[str, int] = {}
        self.store: dict[bytes, bytes] = {}
        self.advance(10**12)

    def new_table(self) -> Table:
        columns = {"n": Panes(np.int16, np.int16), "ms": Panes(np.int32, np.int32)}
        return Table("t", self.rings, columns, totals=("total",), attributes=("state",))

    @rule(step=st.sampled_from([1, 30_000, MINUTE_MS, 20 * MINUTE_MS, HOUR_MS, 30 * HOUR_MS, 400 * HOUR_MS]))
    def advance(self, step: int) -> None:
        self.now += step
        for ring in self.rings:
            self.table.clear(ring, ring.advance(self.now))

    @rule(
        changes=st.lists(
            st.tuples(
                st.integers(0, 3 * BLOCK),
                st.sampled_from([0, 1, MINUTE_MS, 70 * MINUTE_MS, 75 * MINUTE_MS, 24 * HOUR_MS, 168 * HOUR_MS]),
                st.sampled_from([1, -1, 5, 32_767, -32_768, 1_800_000, 2**31, -(2**33)]),
            ),
            max_size=12,
        )
    )
    def add(self, changes: list[tuple[int, int, int]]) -> None:
        keys = [(("east", "west")[number % 2], str(number)) for number, _, _ in changes]
        rows = np.array([self.table.row(key, key[0]) for key in keys], np.int64)
        at = np.array([self.now - ago for _, ago, _ in changes], np.int64)
        values = np.array([value for _, _, value in changes], np.int64)
        self.table.add(rows, at, {"n": values, "ms": -values})
        self.table.add_totals(rows, {"total": np.abs(values)})
        for key, (_, ago, value) in zip(keys, changes, strict=True):
            for pane_ms, sums in self.sums.items():
                sums[key[1], (self.now - ago) // pane_ms] += value
            self.totals[key[1]] += abs(value)
            self.table.set(self.table.index[key], state=value)
            self.states[key[1]] = value

    @rule()
    def checkpoint(self) -> None:
        for key, value in self.table.slots():
            assert value is not None
            self.store[key] = value
        assert not list(self.table.slots())

    @rule()
    def restore(self) -> None:
        self.checkpoint()
        self.table = self.new_table()
        split = [(key.decode().split("|"), value) for key, value in self.store.items()]
        self.table.restore({(int(block), kind): value for (_, block, kind), value in split})

    @invariant()
    def sums_are_those_of_the_model(self) -> None:
        rows = {key[1]: row for key, row in self.table.index.items()}
        for window, (pane_ms, panes) in heard.WINDOWS.items():
            expected: Counter[str] = Counter()
            last = self.now // pane_ms
            for (name, pane), value in self.sums[pane_ms].items():
                if last - panes < pane <= last:
                    expected[name] += value
            n, ms = (self.table.window_sum(column, window, self.now) for column in ("n", "ms"))
            for name, row in rows.items():
                assert (n[row], ms[row]) == (expected[name], -expected[name]), (window, name)
        for name, row in rows.items():
            assert self.table.get(row, "total") == self.totals[name]
            assert self.table.get(row, "state") == self.states[name]


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
