"""The oracle itself, held to figures computed on paper."""

import json
import random
from typing import Any

import pytest

from schemas.policy import Policy

from .compare import Record, both, differences
from .decoder import decide
from .heard import Labels
from .oracle import Oracle
from .statistics import beta_below, wilson

#: A Monday, 08:00:00 UTC: a whole hour and a whole minute.
T = 1_763_971_200_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def record(kind: str, at: int, offset: int = 0, appended: int | None = None, **fields: Any) -> Record:
    event = {"type": kind, "event_id": f"e{offset}", "at": at, "site_id": "s", "agent_id": "a"} | fields
    return Record(offset, appended, None, json.dumps(event).encode())


def work(kind: str, at: int, offset: int, **fields: Any) -> Record:
    return record(kind, at, offset, **({"project_id": "p", "task_id": "t"} | fields))


def figures(records: list[Record], t: int, policy: str = "") -> dict[str, dict[Labels, float]]:
    oracle = Oracle(Policy.parse(policy))
    oracle.feed(records)
    return oracle.figures(t)


def differences_of(records: list[Record], t: int, policy: str = "") -> list[str]:
    """Where the engine does not say the same."""
    engine, oracle = both(records, Policy.parse(policy), random.Random(1))
    return differences(engine, oracle, t)


def test_wilson_check_value() -> None:
    lower, upper = wilson(47, 50)
    assert (round(lower, 3), round(upper, 3)) == (0.838, 0.979)


@pytest.mark.parametrize(
    ("correct", "n", "target", "expected"),
    [
        # Beta(1/2, 1/2) is the arcsine law: 2/pi asin(sqrt(x)).
        (0, 0, 0.5, 0.5),
        (0, 0, 0.75, 2 / 3),
        # Beta(3/2, 1/2) at 1/2: 1/2 - 1/pi.
        (1, 1, 0.5, 0.18169011381620934),
        # Symmetric.
        (7, 14, 0.5, 0.5),
        # Beta(1/2, 3/2) at 1/2: 1/2 + 1/pi.
        (0, 1, 0.5, 0.8183098861837907),
    ],
)
def test_jeffreys_posterior(correct: int, n: int, target: float, expected: float) -> None:
    assert beta_below(correct, n, target) == pytest.approx(expected, rel=1e-14)


def test_the_hour_window_is_the_current_minute_and_the_59_before() -> None:
    times = [T, T + 30_000, T + 59 * MINUTE + 59_999, T + HOUR]
    records = [work("label_submitted", at, offset) for offset, at in enumerate(times)]
    counts = {t: figures(records, t)["labelwatch_site_labels"] for t in (T + HOUR - 1, T + HOUR, T + HOUR + MINUTE)}
    # 08:59:59.999: 08:00 to 08:59. 09:00:00: 08:01 to 09:00. 09:01:00: 08:02 to 09:01.
    assert [counts[t]["s", "1h"] for t in counts] == [3, 2, 2]
    # 15m at 09:01: from 08:47 on.
    assert counts[T + HOUR + MINUTE]["s", "15m"] == 2
    # 24h and 7d at 08:59 hold the hour of 08; the event of 09:00 has not come.
    assert (counts[T + HOUR - 1]["s", "24h"], counts[T + HOUR]["s", "7d"]) == (3, 4)


def test_day_and_week_windows_end_with_their_hour() -> None:
    records = [work("label_submitted", T + 59 * MINUTE, 0)]
    last_hour = [figures(records, T + 24 * HOUR - 1), figures(records, T + 24 * HOUR)]
    assert [("s", "24h") in found["labelwatch_site_labels"] for found in last_hour] == [True, False]
    last_hour = [figures(records, T + 7 * DAY - 1), figures(records, T + 7 * DAY)]
    assert [("s", "7d") in found.get("labelwatch_site_labels", {}) for found in last_hour] == [True, False]


def test_headline_leaves_out_targeted_re_reviews_and_other_purposes() -> None:
    kinds: list[dict[str, Any]] = [
        {"correct": True},
        {"correct": False, "sampling": "random", "source": "gold"},
        {"correct": True, "sampling": "targeted"},
        {"correct": True, "review_round": 2},
        {"correct": True, "purpose": "training"},
        {"correct": True, "role": "qa"},
        {"correct": True, "source": None, "sampling": None, "purpose": None, "role": None},
    ]
    records = [work("label_reviewed", T, offset, **kind) for offset, kind in enumerate(kinds)]
    found = figures(records, T, "[defaults]\nmin_reviews = 2\n")
    assert found["labelwatch_site_reviews"]["s", "agent", "1h"] == 3
    assert found["labelwatch_site_accuracy_ratio"]["s", "agent", "1h"] == 2 / 3
    assert found["labelwatch_site_reviews"]["s", "qa", "1h"] == 1
    assert ("s", "qa", "1h") not in found["labelwatch_site_accuracy_ratio"]
    assert found["labelwatch_reviews_window"]["s", "p", "", "agent", "qa", "targeted", "false", "1h"] == 1
    assert found["labelwatch_reviews_total"]["s", "p", "", "agent", "qa"] == 5
    without_gold = figures(records, T, '[defaults]\nheadline_sources = ["qa", "audit", "consensus"]\n')
    assert without_gold["labelwatch_site_reviews"]["s", "agent", "1h"] == 2


def test_handling_time_is_capped_and_counted_and_skips_have_none() -> None:
    seconds: list[dict[str, Any]] = [
        {"handle_ms": 10_000},
        {"handle_ms": 3_600_000},
        {"handle_ms": 1_800_000},
        {},
        {"handle_ms": 99_000, "skipped": True},
    ]
    oracle = Oracle()
    oracle.feed([work("label_submitted", T, offset, **fields) for offset, fields in enumerate(seconds)])
    found = oracle.figures(T)
    # (10 + 1800 + 1800) / 3, the third exactly at the cap and not counted as capped.
    assert found["labelwatch_site_handle_seconds_mean"]["s", "1h"] == pytest.approx(3_610 / 3, rel=1e-15)
    assert found["labelwatch_handle_capped_total"]["s",] == 1
    assert found["labelwatch_site_labels"]["s", "1h"] == 4
    assert found["labelwatch_skips_total"]["s", "p", ""] == 1
    counts, total = oracle.histogram_figures()["labelwatch_handle_seconds"]["s", "p"]
    assert (counts[3], counts[14], counts[15], total) == (1, 2, 0, 3_610)


def test_states_last_until_the_next_and_give_the_ratios() -> None:
    states = [(0, "productive"), (30, "break"), (40, "available"), (50, "productive")]
    records = [record("state_changed", T + at * MINUTE, n, state=state) for n, (at, state) in enumerate(states)]
    records += [work("label_submitted", T + 5 * MINUTE, 10 + number) for number in range(20)]
    # At 08:59:30: productive 30 + 9.5, break 10, available 10 minutes; the hour began at 08:00.
    found = figures(records, T + 59 * MINUTE + 30_000)
    seconds = {labels[3]: value for labels, value in found["labelwatch_state_seconds_window"].items() if "1h" in labels}
    assert seconds == {"productive": 2_370, "break": 600, "available": 600}
    assert found["labelwatch_site_utilization_ratio"]["s", "1h"] == pytest.approx(2_370 / 3_570, rel=1e-15)
    assert found["labelwatch_site_occupancy_ratio"]["s", "1h"] == pytest.approx(2_370 / 2_970, rel=1e-15)
    assert found["labelwatch_site_available_ratio"]["s", "1h"] == pytest.approx(600 / 3_570, rel=1e-15)
    assert found["labelwatch_site_labels_per_productive_hour"]["s", "1h"] == pytest.approx(20 / (2_370 / 3_600))
    assert found["labelwatch_agent_utilization_ratio"]["s", "a", "agent", "1h"] == pytest.approx(2_370 / 3_570)
    assert found["labelwatch_site_agents"] == {("s", "agent", "productive"): 1}
    # Closed: 30 minutes; the open one does not count in the total.
    assert found["labelwatch_site_state_seconds_total"]["s", "productive"] == 1_800


def test_a_sites_speed_is_of_the_people_who_report_states_and_says_for_how_many_labels() -> None:
    """Ten people make 60 labels an hour each; one of them reports states, and a reviewer does."""
    records = [
        work("label_submitted", T + minute * MINUTE, 100 * person + minute, agent_id=f"a-{person}")
        for person in range(10)
        for minute in range(60)
    ]
    records += [
        record("state_changed", T, 2_000, agent_id="a-0", state="productive"),
        record("state_changed", T, 2_001, agent_id="q-0", state="productive"),
        record("state_changed", T, 2_002, agent_id="q-1", state="productive"),
        record("agent_profiled", T, 2_003, agent_id="q-1", role="qa"),
        work("label_submitted", T + MINUTE, 2_004, agent_id="q-1"),
    ]
    now = T + HOUR - 1_000
    found = figures(records, now)
    hours = (HOUR - 1_000) / HOUR
    assert found["labelwatch_site_labels_per_productive_hour"]["s", "1h"] == pytest.approx(60 / hours)
    assert found["labelwatch_site_productive_seconds"]["s", "1h"] == 3_599
    assert found["labelwatch_site_timed_labels_ratio"]["s", "1h"] == pytest.approx(60 / 601)
    assert found["labelwatch_agent_labels_per_productive_hour"]["s", "a-0", "agent", "1h"] == pytest.approx(60 / hours)
    assert ("s", "q-0", "agent", "1h") not in found["labelwatch_agent_labels_per_productive_hour"]
    assert differences_of(records, now) == []


def test_ten_minutes_are_needed_for_a_speed_and_for_a_share_of_time_unless_the_policy_says_otherwise() -> None:
    records = [
        record("state_changed", T, 0, state="productive"),
        *(work("label_submitted", T, number) for number in range(1, 4)),
        record("state_changed", T + 10 * MINUTE - 1, 4, state="offline"),
    ]
    now = T + 20 * MINUTE
    rates = (
        "site_labels_per_productive_hour",
        "site_utilization_ratio",
        "site_occupancy_ratio",
        "site_available_ratio",
    )
    people = ("agent_labels_per_productive_hour", "agent_utilization_ratio")
    found = figures(records, now)
    assert not {f"labelwatch_{name}" for name in (*rates, *people)} & found.keys()
    assert found["labelwatch_site_timed_labels_ratio"]["s", "1h"] == 1
    assert differences_of(records, now) == []
    policy = "[utilization]\nmin_minutes = 9.5\n"
    found = figures(records, now, policy)
    assert {f"labelwatch_{name}" for name in (*rates, *people)} <= found.keys()
    assert found["labelwatch_site_labels_per_productive_hour"]["s", "1h"] == pytest.approx(18, rel=1e-4)
    assert differences_of(records, now, policy) == []


def test_who_is_productive_for_nothing_has_a_speed_of_0() -> None:
    records = [
        work("label_submitted", T, 0),
        record("state_changed", T + 2 * HOUR, 1, state="productive"),
    ]
    now = T + 3 * HOUR
    found = figures(records, now)
    assert found["labelwatch_site_labels_per_productive_hour"]["s", "1h"] == 0
    assert found["labelwatch_agent_labels_per_productive_hour"]["s", "a", "agent", "1h"] == 0
    assert differences_of(records, now) == []


def test_a_state_is_forgotten_after_12_hours_of_the_sites_clock() -> None:
    start = record("state_changed", T, 0, state="productive")
    in_time = work("label_submitted", T + 12 * HOUR, 1, agent_id="b")
    too_late = work("label_submitted", T + 12 * HOUR + 1, 2, agent_id="b")
    kept = figures([start, in_time], T + 12 * HOUR)
    assert "labelwatch_forgotten_states_total" not in kept
    assert kept["labelwatch_site_agents"] == {("s", "agent", "productive"): 1}
    forgotten = figures([start, in_time, too_late], T + 20 * HOUR)
    assert forgotten["labelwatch_forgotten_states_total"]["s",] == 1
    assert forgotten["labelwatch_site_state_seconds_total"]["s", "productive"] == 12 * 3600
    assert "labelwatch_site_agents" not in forgotten


def test_a_state_older_than_the_newest_is_ignored_and_the_later_record_wins_at_the_same_time() -> None:
    records = [
        record("state_changed", T, 0, state="productive"),
        record("state_changed", T - 1, 1, state="break"),
        record("state_changed", T, 2, state="meeting"),
    ]
    found = figures(records, T + MINUTE)
    assert found["labelwatch_late_states_total"]["s",] == 1
    assert found["labelwatch_site_agents"] == {("s", "agent", "meeting"): 1}
    assert found["labelwatch_state_seconds_window"] == {
        ("s", "", "", "meeting", window): 60 for window in ("1h", "24h", "7d")
    }


def test_duplicates_count_once_within_15_minutes_of_the_sites_clock() -> None:
    first = work("label_submitted", T, 0)
    same = first._replace(offset=1)
    other_time = work("label_submitted", T + 1, 2, event_id="e0")
    ahead = work("label_submitted", T + 14 * MINUTE, 3)
    too_far = work("label_submitted", T + 15 * MINUTE, 5)
    found = figures([first, same, other_time, ahead, same, too_far, same], T + 15 * MINUTE)
    assert found["labelwatch_duplicates_total"]["labeling.events.v1", "0"] == 2
    assert found["labelwatch_unchecked_events_total"]["labeling.events.v1", "0"] == 1
    assert found["labelwatch_labels_total"]["s", "p", ""] == 5


def test_late_is_168_hours_behind_the_sites_clock_and_in_totals_only() -> None:
    records = [
        work("label_submitted", T + 168 * HOUR, 0),
        work("label_submitted", T + HOUR, 1),
        work("label_submitted", T + HOUR - 1, 2),
    ]
    found = figures(records, T + 168 * HOUR)
    assert found["labelwatch_late_events_total"]["labeling.events.v1", "0"] == 1
    assert found["labelwatch_labels_total"]["s", "p", ""] == 3
    assert found["labelwatch_site_labels"]["s", "7d"] == 2


def test_the_future_is_more_than_five_minutes_after_the_append_time() -> None:
    edge = record("agent_profiled", T + 300_000, 0, appended=T)
    beyond = record("agent_profiled", T + 300_001, 1, appended=T)
    unstamped = record("agent_profiled", T + DAY, 2)
    found = figures([edge, beyond, unstamped], T)
    assert found["labelwatch_rejected_total"]["future", "labeling.events.v1", "0"] == 1
    assert found["labelwatch_events_total"]["agent_profiled", "labeling.events.v1", "0"] == 2


def test_a_revision_moves_the_windows_of_the_reviews_time_and_no_total() -> None:
    review = work("label_reviewed", T, 0, correct=False, sampling="random", market="US")
    revision = work(
        "review_revised", T + 2 * HOUR, 1, review_id="e0", reviewed_at=T, cause="appeal",
        old={"correct": False, "sampling": "random", "market": "US"}, new={"correct": True, "sampling": "targeted"},
    )  # fmt: skip
    found = figures([review, revision], T + 2 * HOUR)
    # The review was within the headline, its successor is targeted: nothing is left there.
    assert "labelwatch_site_reviews" not in found
    assert found["labelwatch_correct_reviews_window"] == {
        ("s", "p", "", "agent", "qa", "targeted", "false", window): 1 for window in ("24h", "7d")
    }
    assert found["labelwatch_correct_reviews_total"]["s", "p", "US", "agent", "qa"] == 0
    assert found["labelwatch_revised_reviews_total"]["labeling.events.v1", "0"] == 1


def test_sop_versions_the_newest_three_by_name() -> None:
    order = ["v1", "v2", "v1", "v3", "v4", "v2"]
    records = [work("label_submitted", T, offset, sop_version=version) for offset, version in enumerate(order)]
    found = figures(records, T)["labelwatch_sop_labels_total"]
    assert found == {("s", "p", "older"): 2, ("s", "p", "v2"): 2, ("s", "p", "v3"): 1, ("s", "p", "v4"): 1}


def test_the_101st_error_type_is_other() -> None:
    kinds = [f"type-{number}" for number in range(101)] + ["type-0"]
    records = [
        work("label_reviewed", T, offset, correct=False, error_type=kind, severity="major")
        for offset, kind in enumerate(kinds)
    ]
    found = figures(records, T)["labelwatch_errors_total"]
    assert len(found) == 101
    assert (found["s", "p", "type-0", "major"], found["s", "p", "other", "major"]) == (2, 1)


def test_times_that_cannot_be_meant_are_left_out_and_counted() -> None:
    sent = [T - HOUR, T // 1000, 0, T - 91 * DAY, T - 90 * DAY]
    records = [work("label_reviewed", T, n, correct=True, labeled_at=then) for n, then in enumerate(sent)]
    spent = [30_000, 31, 0, 99, 100, 7 * DAY - 1, 7 * DAY, T]
    records += [work("label_submitted", T, 10 + n, handle_ms=ms) for n, ms in enumerate(spent)]
    records += [work("label_reviewed", T, 20, correct=True, reviewer_id="q", review_ms=40)]
    old = {"correct": True}
    records += [
        work("review_revised", T, 21, review_id="r", reviewed_at=T // 1000, old=old, cause="void"),
        work("label_revised", T, 22, label_id="l", submitted_at=0, old={}, cause="deleted"),
        work("label_submitted", T // 1000, 23),
    ]
    oracle = Oracle()
    oracle.feed(records)
    found = oracle.figures(T)
    assert found["labelwatch_implausible_times_total"] == {
        ("s", "labeled_at", "seconds"): 1, ("s", "labeled_at", "zero"): 1, ("s", "labeled_at", "too_old"): 1,
        ("s", "handle_ms", "too_short"): 2, ("s", "handle_ms", "zero"): 1, ("s", "handle_ms", "too_long"): 2,
        ("s", "review_ms", "too_short"): 1, ("s", "reviewed_at", "seconds"): 1, ("s", "submitted_at", "zero"): 1,
        ("s", "at", "seconds"): 1,
    }  # fmt: skip
    # An hour, and the 90 days.
    _, seconds = oracle.histogram_figures()["labelwatch_review_delay_seconds"]["s",]
    assert seconds == 3_600 + 90 * 86_400
    # 30 s, a tenth of a second, and the cap.
    assert found["labelwatch_site_handle_seconds_mean"]["s", "1h"] == pytest.approx((30 + 0.1 + 1_800) / 3)
    assert found["labelwatch_site_labels"]["s", "1h"] == len(spent)
    assert differences_of(records, T) == []


def test_an_error_of_correct_work_is_a_remark() -> None:
    records = [
        work("label_reviewed", T, 0, correct=True, error_type="none"),
        work("label_reviewed", T, 1, correct=True, errors=[{"type": "typo", "severity": "minor"}, {"type": "typo"}]),
        work("label_reviewed", T, 2, correct=False, error_type="typo", severity="critical"),
    ]
    found = figures(records, T)
    assert differences_of(records, T) == []
    assert found["labelwatch_errors_total"] == {("s", "p", "typo", "critical"): 1}
    assert found["labelwatch_remarks_total"] == {
        ("s", "p", "none", ""): 1, ("s", "p", "typo", "minor"): 1, ("s", "p", "typo", ""): 1,
    }  # fmt: skip


def test_a_night_is_no_forgotten_state() -> None:
    records = [
        record("state_changed", T, 0, state="offline"),
        record("state_changed", T, 1, agent_id="b", state="productive"),
        record("state_changed", T + 13 * HOUR, 2, state="productive"),
        record("state_changed", T + 13 * HOUR, 3, agent_id="b", state="productive"),
    ]
    found = figures(records, T + 13 * HOUR)
    assert differences_of(records, T + 13 * HOUR) == []
    assert found["labelwatch_forgotten_states_total"] == {("s",): 1}
    # Both are closed where 12 h are over.
    assert found["labelwatch_site_state_seconds_total"] == {("s", "offline"): 43_200, ("s", "productive"): 43_200}


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        (None, "rejected", "null"),
        (b"\xff", "rejected", "encoding"),
        (b"", "rejected", "json"),
        (b'{"type":NaN}', "rejected", "json"),
        (b"null", "rejected", "schema"),
        (b"[]", "rejected", "schema"),
        (b'{"type":"robot","event_id":"e","at":1,"site_id":"s"}', "unknown", ""),
        (b'{"type":"robot","event_id":"e","at":1.0,"site_id":"s"}', "rejected", "schema"),
        (b'{"type":"agent_profiled","event_id":"e","at":1,"site_id":"s","agent_id":"a","role":null}', "accepted", ""),
        (b'{"type":"agent_profiled","event_id":"e","at":1,"site_id":"s","agent_id":null}', "rejected", "schema"),
        (b'{"type":"agent_profiled","event_id":"e","at":true,"site_id":"s","agent_id":"a"}', "rejected", "schema"),
        (b'{"type":"agent_profiled","event_id":"\\u0085","at":1,"site_id":"s","agent_id":"a"}', "rejected", "schema"),
        (b'{"type":"agent_profiled","event_id":"","at":1,"site_id":"s","agent_id":"a"}', "rejected", "schema"),
    ],
)
def test_decisions(value: bytes | None, kind: str, reason: str) -> None:
    assert decide(value)[:2] == (kind, reason)
