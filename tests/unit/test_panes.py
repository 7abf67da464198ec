"""Columns in pages of their own hold what numpy's hold: grown, widened, cleared, written and restored."""

import numpy as np
import pytest

from schemas.policy import Policy
from streams.engine import panes
from streams.engine.partition import PartitionEngine
from tests.oracle.compare import commit, differences, engine_figures
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import DAY_MS, adversarial


def test_columns_in_pages_of_their_own_hold_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    records = adversarial(5, 1_500, 9 * DAY_MS)
    oracle = Oracle(partition=3)
    oracle.feed(records)
    written, engines = [], []
    for least_bytes in (1, 1 << 40):
        monkeypatch.setattr(panes, "_OWN_PAGES_BYTES", least_bytes)
        engine = PartitionEngine(3, Policy())
        for start in range(0, len(records), 100):
            engine.apply(records[start : start + 100])
        checkpoint = commit(engine)
        assert not differences(engine, oracle, oracle.clock)
        slots = {key: value for key, value in checkpoint.slots if value is not None}
        engines.append(PartitionEngine.restore(3, Policy(), slots, checkpoint.manifest))
        written.append(checkpoint.slots)
    assert written[0] == written[1]
    assert engine_figures(engines[0], oracle.clock) == engine_figures(engines[1], oracle.clock)


@pytest.mark.parametrize("least_bytes", [1, 1 << 40])
def test_growing_and_widening_lose_nothing(least_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panes, "_OWN_PAGES_BYTES", least_bytes)
    rings = panes.Rings()
    table = panes.Table("t", rings, {"n": panes.Panes(np.int16, np.uint16)})
    expected: dict[int, int] = {}
    for ring in rings:
        ring.advance(0)
    for number in range(1_000):
        row = table.row((f"s{number % 7}", f"k{number}"), f"s{number % 7}")
        expected[row] = number if number % 50 else 40_000 * number
        value = np.array([expected[row]])
        table.add(np.array([row]), np.array([0]), {"n": value})
    for window in ("15m", "24h"):
        sums = table.window_sum("n", window, 0)
        assert {row: int(sums[row]) for row in expected} == expected
        assert int(sums.sum()) == sum(expected.values())
