"""When a worker counts as stuck, and above all when it does not."""

import pytest

from streams.runtime.watchdog import Progress, clock_offset_seconds


def stuck(*looks: tuple[float, dict[int, int], dict[int, int]], limit: float = 60.0) -> list[int]:
    progress = Progress(limit)
    found: list[int] = []
    for now, positions, ends in looks:
        found = progress.look(now, positions, ends)
    return found


def test_lag_without_progress_for_the_limit() -> None:
    assert stuck((0, {0: 5}, {0: 10}), (59, {0: 5}, {0: 10})) == []
    assert stuck((0, {0: 5}, {0: 10}), (30, {0: 5}, {0: 12}), (60, {0: 5}, {0: 12})) == [0]


def test_a_worker_that_just_woke_is_not_stuck() -> None:
    assert stuck((1_000_000, {0: 5}, {0: 10})) == []


def test_idle_is_not_stuck() -> None:
    assert stuck((0, {0: 10}, {0: 10}), (500, {0: 10}, {0: 10})) == []


def test_time_begins_when_a_record_comes_after_a_silence() -> None:
    looks = [(0.0, {0: 10}, {0: 10}), (500.0, {0: 10}, {0: 11}), (559.0, {0: 10}, {0: 11})]
    assert stuck(*looks) == []
    assert stuck(*looks, (560.0, {0: 10}, {0: 11})) == [0]


def test_progress_however_slow_is_not_stuck() -> None:
    assert stuck(*((n * 50.0, {0: n}, {0: 1_000}) for n in range(100))) == []


def test_one_partition_that_stands_still_is_found_among_others() -> None:
    assert stuck(*((n * 10.0, {0: n, 1: 7, 2: 9}, {0: 100, 1: 8, 2: 9}) for n in range(7))) == [1]


def test_a_partition_that_is_restored_is_not_watched_and_begins_anew() -> None:
    looks = [(0.0, {0: 5}, {0: 10}), (50.0, {}, {}), (100.0, {0: 5}, {0: 10})]
    assert stuck(*looks) == []
    assert stuck(*looks, (160.0, {0: 5}, {0: 10})) == [0]


def test_time_does_not_count_while_the_broker_is_away() -> None:
    progress = Progress(60)
    progress.look(0, {0: 5}, {0: 10})
    progress.forget()
    assert progress.look(100, {0: 5}, {0: 10}) == []
    assert progress.look(160, {0: 5}, {0: 10}) == [0]


def test_a_log_that_lost_its_end_is_not_stuck() -> None:
    assert stuck((0, {0: 50}, {0: 10}), (100, {0: 50}, {})) == []


@pytest.mark.parametrize(
    ("appended", "offset"), [(100.0, 0), (101.0, 0), (100.5, 0), (40.0, 60), (3701.0, -3600), (99.9, 0.1)]
)
def test_a_clock_is_right_where_a_record_came_between_two_looks_by_both(appended: float, offset: float) -> None:
    assert clock_offset_seconds(100.0, 101.0, appended) == pytest.approx(offset)
