"""Freed memory: it goes back where the allocator allows, and an answer goes with its last record."""

import gc
import weakref

import pytest
from aiokafka.consumer.fetcher import PartitionRecords

from streams.runtime import memory
from streams.runtime.memory import FreedMemory, break_circle


def test_growth_is_due_and_giving_back_ends_it(monkeypatch: pytest.MonkeyPatch):
    resident = 100 << 20
    given = []
    monkeypatch.setattr(memory, "_resident_bytes", lambda: resident)
    freed = FreedMemory()
    freed._trim = given.append
    assert not freed.is_due
    resident += (32 << 20) - 1
    assert not freed.is_due
    resident += 1
    assert freed.is_due
    freed.give_back()
    assert given == [0]
    assert not freed.is_due
    resident -= 50 << 20  # partitions went away
    assert not freed.is_due
    resident += 32 << 20
    assert freed.is_due


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    resident = 0
    monkeypatch.setattr(memory, "_resident_bytes", lambda: resident)
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    freed = FreedMemory()
    resident = 1 << 30
    assert not freed.is_due
    freed.give_back()


def test_the_real_one_can_be_called():
    FreedMemory().give_back()


def test_an_answer_goes_without_the_garbage_collector():
    class Answer:
        """Stands in for the bytes."""

    answer = Answer()
    parsed = PartitionRecords(None, answer, [], 0, None, None, True, 0)
    gone = weakref.ref(answer)
    gc.disable()
    try:
        break_circle(parsed)
        del parsed, answer
        assert gone() is None
    finally:
        gc.enable()
