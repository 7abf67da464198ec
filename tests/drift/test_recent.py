"""Rings of the newest reviews and labels hold what a list would, also across restarts and from smaller rings."""

import random

import numpy as np
import pytest

from streams.engine.drift.names import FEW, MANY, SOME
from streams.engine.drift.recent import LABEL, REVIEW, Flip, Layout, PackedRows, Recent, Waiting

#: PackedRows of a chunk: 512.
LOOK_BACK = 2_048
FIRST = -2_303


def rows_of(numbers: range) -> PackedRows:
    """PackedRows that tell their number by two of their fields."""
    n = np.array(numbers, np.int64)
    return LABEL.pack(agent=n // 10_000, kind=np.zeros_like(n), label=np.ones_like(n), handled=n % 10_000 + FIRST)


def numbers_of(rows: PackedRows) -> list[int]:
    numbers: list[int] = (LABEL.of(rows, "agent") * 10_000 + LABEL.of(rows, "handled") - FIRST).tolist()
    return numbers


#: The least value of each field of a row, and the largest.
ENDS = {
    LABEL: {"agent": (0, MANY), "kind": (0, FEW), "label": (0, FEW), "handled": (FIRST, 8_189)},
    REVIEW: {
        "at": (0, 253_402_300_799_999),
        "kind": (0, SOME),
        "agent": (0, MANY),
        "reviewer": (0, MANY),
        "trait": (0, MANY),
        "wrong": (0, 1),
    },
}


@pytest.mark.parametrize("layout", [LABEL, REVIEW], ids=["label", "review"])
def test_every_field_of_a_row_comes_back_whatever_stands_beside_it(layout: Layout) -> None:
    rng = random.Random(1)
    columns = {
        name: np.array([least, most, *(rng.choice((least, rng.randint(least, most), most)) for _ in range(500))])
        for name, (least, most) in ENDS[layout].items()
    }
    rows = layout.pack(**columns)
    assert rows.shape == (502, layout.words)
    for name, column in columns.items():
        assert layout.of(rows, name).tolist() == column.tolist(), name


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
    assert numbers_of(found) == list(range(max(end - look_back, 0), end))


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


@pytest.mark.parametrize("count", [1, 511, 512, 2_047, 2_048, 2_049, 9_000])
def test_looks_are_those_of_a_list_before_and_after_a_restart(count: int) -> None:
    rng = random.Random(count)
    slots: dict[bytes, bytes] = {}
    ring = Recent(b"ring", LABEL, LOOK_BACK)
    for stop in [*sorted(rng.sample(range(1, count + 1), min(count, 5))), count]:
        filled(ring, rng, stop)
        written(ring, slots)
        ring = restored(ring, slots)
        look(ring)
        assert not ring.changed


@pytest.mark.parametrize("count", [1, 700, 2_047, 2_048, 2_049, 9_001])
@pytest.mark.parametrize("held", [2_048, 2_500])
def test_rows_of_an_older_form_are_taken_over_as_far_as_a_look_goes_back(count: int, held: int) -> None:
    rng, slots = random.Random(count), {b"old|0": b"", b"old|1": b""}
    ring, held = Recent(b"ring", LABEL, LOOK_BACK), min(held, count)
    ring.take_over(count, rows_of(range(count - held, count)), list(slots))
    assert numbers_of(ring.newest(rows_of(range(0))))[-held:] == list(
        range(max(count - held, count - LOOK_BACK), count)
    )
    written(ring, slots)
    assert b"old|0" not in slots
    assert b"old|1" not in slots
    again = restored(ring, slots)
    filled(again, rng, count + LOOK_BACK)
    look(again)
    filled(again, rng, count + LOOK_BACK + 3_000)
    look(again)


def test_a_review_is_revised_where_it_stands() -> None:
    n = np.arange(3_000)
    ring = Recent(b"ring", REVIEW, LOOK_BACK)
    ring.add(REVIEW.pack(at=n // 2, kind=n % 7, agent=n % 5, reviewer=n % 3, trait=n % 11, wrong=n % 4 == 0))
    slots: dict[bytes, bytes] = {}
    written(ring, slots)
    before = ring.newest(REVIEW.blank()).copy()
    ring.flip([Flip(at=1_250, agent=0, old=True, before=3_000)])
    assert ring.changed
    after = restored_reviews(ring, slots).newest(REVIEW.blank())
    (changed,) = np.nonzero((before != after).any(axis=1))
    assert REVIEW.of(before[changed], "at").tolist() == [1_250]
    assert REVIEW.of(before[changed], "wrong").tolist() == [1]
    assert REVIEW.of(after[changed], "wrong").tolist() == [0]
    for name in ("at", "kind", "agent", "reviewer", "trait"):
        assert REVIEW.of(after, name).tolist() == REVIEW.of(before, name).tolist(), name
    ring.flip([Flip(at=1_250, agent=0, old=True, before=3_000)])
    assert not ring.changed, "there is no such review any more"


@pytest.mark.parametrize("seed", range(20))
def test_reviews_are_revised_as_in_a_list_wherever_revisions_come(seed: int) -> None:
    rng = random.Random(seed)
    ring, slots = Recent(b"ring", REVIEW, LOOK_BACK), dict[bytes, bytes]()
    listed: list[list[int]] = []  # time, agent, wrong
    inverted = 0
    while len(listed) < 3 * LOOK_BACK:
        came = [[rng.randrange(len(listed), len(listed) + 400), rng.randrange(3), rng.randrange(2)] for _ in range(300)]
        n = np.array(came)
        zero = np.zeros(len(n), np.int64)
        ring.add(REVIEW.pack(at=n[:, 0], agent=n[:, 1], wrong=n[:, 2], kind=zero, reviewer=zero, trait=zero))
        flips = []
        for before in sorted(rng.choices(range(len(listed), len(listed) + 301), k=40)):
            at, agent, _ = rng.choice([*listed[-LOOK_BACK - 200 :], *came])
            flips.append(Flip(at, agent, rng.random() < 0.5, before))
        listed += came
        for at, agent, old, before in flips:
            alike = [n for n, each in enumerate(listed[:before]) if each == [at, agent, old]]
            if alike:
                listed[alike[-1]][2] = not old
                inverted += 1
        ring.flip(flips)
        kept = restored_reviews(ring, slots).newest(REVIEW.blank())
        assert REVIEW.of(kept, "wrong").tolist() == [wrong for _, _, wrong in listed[-LOOK_BACK:]]
    assert inverted > 200


def restored_reviews(ring: Recent, slots: dict[bytes, bytes]) -> Recent:
    written(ring, slots)
    again = Recent(b"ring", REVIEW, LOOK_BACK)
    again.restore(ring.count, slots)
    return again


@pytest.mark.parametrize("most", [3, 70_000])
def test_what_waits_comes_into_its_ring_in_the_order_of_the_log(most: int) -> None:
    rng = np.random.default_rng(most)
    waiting = Waiting()
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
        assert places.tolist() == numbers_of(rows) == np.flatnonzero(rings == ring).tolist()
    assert waiting.count == 0
    assert not waiting.is_full
