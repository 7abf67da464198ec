import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.metrics import CATALOGUE, METRICS, Origin
from schemas.topics import EVENTS
from streams.exporter import MonitorState
from streams.exporter.state import REASONS, FigureClock
from tests.support.exporter import FOREVER, Clocks, FakeEngine, showing


def sample(state: MonitorState, name: str, *labels: str) -> float | None:
    rows = dict(state.process_figures().samples.get(name, []))
    return rows.get(labels)


def histogram(state: MonitorState, name: str, *labels: str) -> tuple[list[int], float]:
    return {row: (counts, total) for row, counts, total in state.process_figures().histograms[name]}[labels]


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def state(clocks: Clocks) -> MonitorState:
    return MonitorState(monotonic=clocks.monotonic, now_ms=clocks.now_ms)


def test_a_partition_shows_from_catching_up_to_revocation(state: MonitorState) -> None:
    engine = FakeEngine()
    state.prove_membership(FOREVER)
    assert state.shown().engines == {}
    assert sample(state, "labelwatch_partition_restored", EVENTS, "3") is None, "nothing to restore before it is owned"
    state.assign([3], 4)
    assert state.shown().engines == {}
    assert sample(state, "labelwatch_partition_restored", EVENTS, "3") == 0
    state.restored(3, engine)
    assert state.shown().engines == {}
    assert sample(state, "labelwatch_partition_restored", EVENTS, "3") == 1
    state.caught_up(3)
    assert state.shown().engines == {3: engine}
    state.dropped(3)
    assert state.shown().engines == {}
    assert sample(state, "labelwatch_partition_restored", EVENTS, "3") == 0
    state.restored(3, engine)
    assert state.shown().engines == {}, "a restored engine has to catch up again"
    state.caught_up(3)
    assert state.shown().engines == {3: engine}
    state.revoke()
    assert state.shown().engines == {}


def test_an_assignment_releases_what_it_does_not_name_and_keeps_the_rest(state: MonitorState) -> None:
    engines = [FakeEngine(), FakeEngine()]
    showing(*engines, state=state)
    state.assign([1], 2)
    assert state.shown().engines == {1: engines[1]}
    state.assign([0, 1], 2)
    assert state.shown().engines == {1: engines[1]}
    assert list(state.not_ready()) == ["restored", "caught_up"]


def test_membership_that_is_no_longer_proven_hides_everything_of_partitions(
    state: MonitorState, clocks: Clocks
) -> None:
    showing(FakeEngine(), state=state)
    state.lag(0, 5, 1.5)
    state.figures_lag(0, 0.5)
    state.clock_offset(0.5)
    state.held_up(0, 3, 2.5)
    state.committed(0, 0.05)
    state.prove_membership(clocks.seconds + 6)
    gauges = ("labelwatch_consumer_lag_records", "labelwatch_last_commit_timestamp_seconds")

    clocks.seconds += 5.99
    assert list(state.shown().engines) == [0]
    assert sample(state, "labelwatch_partition_owned", EVENTS, "0") == 1
    assert all(sample(state, name, EVENTS, "0") is not None for name in gauges)
    assert state.not_ready() == {}

    clocks.seconds += 0.01
    assert state.shown().engines == {}
    assert sample(state, "labelwatch_partition_owned", EVENTS, "0") == 0
    assert all(sample(state, name, EVENTS, "0") is None for name in gauges)
    assert sample(state, "labelwatch_checkpoints_total", EVENTS, "0") == 1, "the process's own counters stay"
    assert list(state.not_ready()) == ["member"]
    assert sample(state, "labelwatch_ready", "member") == 0


def test_nothing_shows_before_membership_was_ever_proven() -> None:
    state = MonitorState()
    state.assign([0], 1)
    state.restored(0, FakeEngine())
    state.caught_up(0)
    assert state.shown().engines == {}


def test_readiness_says_step_by_step_what_is_missing(state: MonitorState) -> None:
    assert list(state.not_ready()) == ["member", "assigned", "restored", "caught_up"]
    state.prove_membership(FOREVER)
    assert list(state.not_ready()) == ["assigned", "restored", "caught_up"]
    state.assign([2, 5], 6)
    assert state.not_ready()["restored"].endswith("partition 2, 5")
    state.restored(2, FakeEngine())
    state.restored(5, FakeEngine())
    state.caught_up(2)
    assert state.not_ready() == {"caught_up": "not at the log end seen at assignment yet: partition 5"}
    state.caught_up(5)
    assert state.not_ready() == {}
    state.dead_letter_failed(5)
    assert state.not_ready() == {"dead_letters": "dead letters cannot be written: partition 5"}
    assert sample(state, "labelwatch_dead_letter_failures_total", EVENTS, "5") == 1
    state.committed(5, 0.05)
    assert state.not_ready() == {}
    state.revoke()
    assert list(state.not_ready()) == ["assigned", "restored", "caught_up"]


def test_a_worker_without_a_share_is_ready(state: MonitorState) -> None:
    state.prove_membership(FOREVER)
    state.assign([], 2)
    assert state.not_ready() == {}


def test_every_reason_has_its_series(state: MonitorState) -> None:
    assert [labels for labels, _ in state.process_figures().samples["labelwatch_ready"]] == [(r,) for r in REASONS]


def test_the_loop_is_dead_when_it_has_not_turned_for_long(state: MonitorState, clocks: Clocks) -> None:
    assert state.is_alive, "a start takes a while"
    clocks.seconds += 31
    clocks.wall_ms += 31_000
    assert state.is_alive is False
    assert state.loop_age_seconds == 31  # type: ignore[unreachable]  # a property changes
    state.loop_turned()
    assert state.is_alive
    assert sample(state, "labelwatch_loop_timestamp_seconds") == clocks.wall_ms / 1000


def test_the_wall_clock_asks_for_now(state: MonitorState, clocks: Clocks) -> None:
    showing(FakeEngine(clock_ms=5), state=state)
    assert state.shown().at_ms == clocks.wall_ms


def test_the_event_clock_asks_for_the_highest_event_time_of_all_shown_partitions(clocks: Clocks) -> None:
    state = MonitorState(clock="event", monotonic=clocks.monotonic, now_ms=clocks.now_ms)
    assert state.shown().at_ms == 0
    showing(FakeEngine(clock_ms=7_000), FakeEngine(clock_ms=9_000), FakeEngine(clock_ms=8_000), state=state)
    assert state.shown().at_ms == 9_000
    state.dropped(1)
    assert state.shown().at_ms == 8_000


def test_partitions_of_others_are_owned_by_0_so_that_a_sum_over_workers_is_never_absent(state: MonitorState) -> None:
    state.prove_membership(FOREVER)
    state.assign([1], 3)
    owned = [sample(state, "labelwatch_partition_owned", EVENTS, str(n)) for n in range(3)]
    assert owned == [0, 1, 0]
    assert sample(state, "labelwatch_topic_partitions", EVENTS) == 3
    assert sample(state, "labelwatch_checkpoints_total", EVENTS, "1") == 0, "known counters start at 0"
    assert sample(state, "labelwatch_checkpoints_total", EVENTS, "0") is None


def test_counters_of_the_process_outlive_a_partitions_stay(state: MonitorState) -> None:
    showing(FakeEngine(), state=state)
    state.committed(0, 0.2)
    state.revoke()
    assert sample(state, "labelwatch_checkpoints_total", EVENTS, "0") == 1
    state.assign([0], 1)
    state.committed(0, 0.2)
    assert sample(state, "labelwatch_checkpoints_total", EVENTS, "0") == 2
    assert sample(state, "labelwatch_consumer_lag_records", EVENTS, "0") is None


@given(st.lists(st.lists(st.one_of(st.floats(-10, 10**6), st.sampled_from([0.1, 1.0, 86_400.0])), max_size=20)))
def test_delays_are_counted_in_the_buckets_that_prometheus_means(batches: list[list[float]]) -> None:
    state = showing(FakeEngine())
    for batch in batches:
        state.event_delays(0, np.array(batch))
    counts, total = histogram(state, "labelwatch_event_delay_seconds", EVENTS, "0")
    delays = [max(0.0, delay) for batch in batches for delay in batch]
    bounds = METRICS["labelwatch_event_delay_seconds"].buckets
    assert [sum(counts[: i + 1]) for i in range(len(counts))] == [
        *(sum(delay <= bound for delay in delays) for bound in bounds),
        len(delays),
    ]
    assert total == pytest.approx(sum(delays))


def test_the_state_gives_every_process_metric_of_the_catalogue_and_no_other() -> None:
    state = showing(FakeEngine())
    state.lag(0, 5, 1.5)
    state.figures_lag(0, 0.5)
    state.clock_offset(0.5)
    state.held_up(0, 3, 2.5)
    state.committed(0, 0.05)
    state.memory_limit(1 << 30)
    state.certificate_expires("metrics", 1_800_000_000.0)
    for page in {metric.page for metric in METRICS.values()}:
        state.rendered(page, 0.1)
    figures = state.process_figures()
    expected = {metric.name for metric in CATALOGUE if metric.origin is Origin.PROCESS}
    assert figures.samples.keys() | figures.histograms.keys() == expected
    for name, rows in figures.samples.items():
        assert all(len(labels) == len(METRICS[name].labels) for labels, _ in rows)


def test_a_reader_never_sees_half_of_a_write() -> None:
    state = showing(FakeEngine())
    halves, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            counts, total = histogram(state, "labelwatch_event_delay_seconds", EVENTS, "0")
            if sum(counts) != total:
                halves.append((counts, total))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(2_000):
            state.event_delays(0, np.ones(10))
    finally:
        stop.set()
        reader.join()
        sys.setswitchinterval(interval)
    assert halves == []


def test_a_clock_that_is_wrong_makes_a_worker_unready_where_windows_go_by_it() -> None:
    cases: list[tuple[FigureClock, set[str]]] = [("wall", {"clock"}), ("event", set())]
    for clock, missing in cases:
        state = MonitorState(clock=clock)
        state.prove_membership(float("inf"))
        state.assign((), 1)
        state.clock_offset(-59.0)
        assert state.not_ready() == {}
        state.clock_offset(3600.0)
        assert state.not_ready().keys() == missing
        assert sample(state, "labelwatch_worker_clock_offset_seconds") == 3600.0
    state = MonitorState()
    state.clock_offset(-259_200.0)
    assert state.not_ready()["clock"].startswith("this machine's clock is 259200 s behind the broker's")
