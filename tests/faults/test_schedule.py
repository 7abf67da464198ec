"""Which rounds are driven: a hundred in the long run, every kind at least once, the same ones for the same seed."""

from tests.faults.__main__ import LONG_ONLY, schedule
from tests.faults.faults import FAULTS


def test_the_long_run_has_a_hundred_rounds_and_every_fault() -> None:
    rounds = list(schedule("long", 1))
    assert len(rounds) == 100
    assert {fault.name for fault, _ in rounds} == set(FAULTS)


def test_the_quick_run_has_every_kind_once() -> None:
    names = [fault.name for fault, _ in schedule("quick", 1)]
    assert sorted(names) == sorted(set(FAULTS) - LONG_ONLY)


def test_a_seed_decides_the_rounds() -> None:
    assert list(schedule("long", 5)) == list(schedule("long", 5))
    assert list(schedule("long", 5)) != list(schedule("long", 6))
