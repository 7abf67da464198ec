"""Rings of the newest reviews and labels hold what a list would, also across restarts and from smaller rings."""

import random

import numpy as np
import pytest

from streams.engine.drift.recent import LABEL, Recent, Waiting

LOOK_BACK = 1_024


def rows_of(numbers: range) -> np.ndarray:
    rows = np.zeros(len(numbers), LABEL)
    rows["handled"] = numbers
    return rows


def filled(ring: Recent, rng: random.Random, count: int, look_back: int = LOOK_BACK) -> None:
    """Adds rows up to a count, few and many at a time, and looks back from what is not added yet, as segments do."""
    while ring.count < count:
        added = rng.randint(1, min(rng.choice((10, 700, 3_000)), count - ring.count))
        if rng.random() < 0.3:
            look(ring, look_back, rng.randint(0, added))
        ring.add(rows_of(range(ring.count, ring.count + added)))


def look(ring: Recent, look_back: int = LOOK_BACK, after: int = 0) -> None:
    end = ring.count + after
    found = ring.newest(rows_of(range(ring.count, end)))
    assert found["handled"].tolist() == list(range(max(end - look_back, 0), end))


def written(ring: Recent, slots: dict[bytes, bytes]) -> None:
    """Writes a ring's slots as a checkpoint does: None deletes."""
    for key, value in ring.slots():
        if value is None:
            del slots[key]
        else:
            slots[key] = value
    assert not ring.changed


def restored(ring: Recent, slots: dict[bytes, bytes], look_back: int = LOOK_BACK) -> Recent:
    again = Recent(b"ring", LABEL, look_back)
    again.restore(ring.count, slots)
    return again


@pytest.mark.parametrize("count", [1, 255, 256, 1_023, 1_024, 1_025, 9_000])
def test_looks_are_those_of_a_list_before_and_after_a_restart(count):
    rng, slots = random.Random(count), {}
    ring = Recent(b"ring", LABEL, LOOK_BACK)
    for stop in [*sorted(rng.sample(range(1, count + 1), min(count, 5))), count]:
        filled(ring, rng, stop)
        written(ring, slots)
        ring = restored(ring, slots)
        look(ring)
        assert not ring.changed


@pytest.mark.parametrize("count", [700, 1_024, 1_025, 1_791, 1_792, 1_793, 2_000, 2_304, 2_305, 9_001])
def test_a_larger_ring_of_an_older_build_is_taken_over(count):
    rng, slots = random.Random(count), {}
    large = Recent(b"ring", LABEL, 1_792)
    filled(large, rng, count, 1_792)
    written(large, slots)
    ring = restored(large, slots)
    look(ring)
    written(ring, slots)
    assert len(slots) == -(-min(count, LOOK_BACK) // 256), "nothing is left behind of the larger one"
    again = restored(ring, slots)
    look(again)
    filled(again, rng, count + 3_000)
    look(again)


@pytest.mark.parametrize("most", [3, 70_000])
def test_what_waits_comes_into_its_ring_in_the_order_of_the_log(most):
    rng = np.random.default_rng(most)
    waiting = Waiting(LABEL)
    rings, count = np.zeros(0, np.int64), 0
    assert list(waiting.taken()) == []
    while count < 100_000:
        added = rng.integers(0, most, rng.integers(0, 20_000))
        waiting.add(added, rows_of(range(count, count + len(added))))
        rings, count = np.concatenate((rings, added)), count + len(added)
    assert waiting.count == count
    assert waiting.is_full
    taken = list(waiting.taken())
    assert [ring for ring, _, _ in taken] == sorted({*rings.tolist()})
    for ring, places, rows in taken[:100]:
        assert places.tolist() == rows["handled"].tolist() == np.flatnonzero(rings == ring).tolist()
    assert waiting.count == 0
    assert not waiting.is_full
