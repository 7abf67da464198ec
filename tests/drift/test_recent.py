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


def filled(ring: Recent, rng: random.Random, count: int, at_once: int) -> None:
    """Adds rows up to a count, and looks back from within what was added last, as segments do."""
    begin = ring.count
    while ring.count < count:
        most = min(at_once, count - ring.count)
        ring.add(rows_of(range(ring.count, ring.count + rng.randint(1, most))))
        if rng.random() < 0.3:
            look(ring, rng.randint(max(ring.count - at_once, begin), ring.count))


def look(ring: Recent, end: int) -> None:
    assert ring.before(end)["handled"].tolist() == list(range(max(end - LOOK_BACK, 0), end))


def restored(ring: Recent, slots: dict[bytes, bytes | None], at_once: int) -> Recent:
    again = Recent(b"ring", LABEL, LOOK_BACK, at_once)
    again.restore(ring.count, slots)
    return again


@pytest.mark.parametrize("count", [1, 255, 256, 1_500, 1_792, 1_793, 9_000])
def test_looks_are_those_of_a_list_before_and_after_a_restart(count):
    rng = random.Random(count)
    ring, slots = Recent(b"ring", LABEL, LOOK_BACK, 768), {}
    for stop in [*sorted(rng.sample(range(1, count + 1), min(count, 5))), count]:
        filled(ring, rng, stop, 768)
        slots |= ring.slots()
        assert not ring.changed
        ring = restored(ring, slots, 768)
        look(ring, ring.count)
        assert not ring.changed


@pytest.mark.parametrize("count", [700, 1_792, 1_793, 2_000, 2_303, 2_304, 2_305, 9_001])
def test_a_ring_of_an_older_build_is_taken_into_a_larger_one(count):
    rng = random.Random(count)
    small = Recent(b"ring", LABEL, LOOK_BACK, 768)
    filled(small, rng, count, 768)
    slots = dict(small.slots())
    large = restored(small, slots, 1_280)
    look(large, count)
    slots |= large.slots()
    again = restored(large, slots, 1_280)
    look(again, count)
    filled(again, rng, count + 3_000, 1_280)
    look(again, again.count)


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
