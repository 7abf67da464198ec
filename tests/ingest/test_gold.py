"""Ground truth as gold: who is judged by it, and what becomes of verdicts when labels or gold change."""

import itertools
from typing import Any

from schemas.events import Event, LabelReviewed, ReviewRevised
from tests.ingest.bodies import Receiver, body

#: Set at 23:35:33 of the recording, on task 8, "violating".
GOLD = body("ANNOTATION_CREATED_ground_truth")
CHOICE: dict[str, Any] = {"from_name": "verdict", "to_name": "text", "type": "choices"}


def answer(label: str, number: int = 900, at: str = "23:40:00", updated: str = "", **others: Any) -> bytes:
    """An annotation of user 3 on task 8 at a time of that day."""
    created = f"2026-11-22T{at}.000001Z"
    return body(
        "ANNOTATION_CREATED_second_user",
        **{
            "id": number,
            "task": 8,
            "created_at": created,
            "updated_at": f"2026-11-22T{updated}.000001Z" if updated else created,
            "result": [{**CHOICE, "value": {"choices": [label]}}],
            **others,
        },
    )


def with_task_of_gold(raw: bytes) -> bytes:
    """The recorded bodies are of tasks of several times: this is of the gold's task."""
    return raw.replace(b"2026-11-22T23:35:31.192225Z", b"2026-11-22T23:35:31.192428Z")


def verdicts(events: list[Event]) -> dict[str, bool]:
    """Verdicts by review after events; a correction takes out exactly what stood."""
    found: dict[str, bool] = {}
    for event in events:
        if isinstance(event, LabelReviewed):
            assert event.event_id not in found
            found[event.event_id] = event.correct
        elif isinstance(event, ReviewRevised):
            assert found.pop(event.review_id) == event.old.correct
            assert (event.new is None) == (event.cause == "void")
            if event.new is not None:
                found[event.review_id] = event.new.correct
    return found


def taken(*bodies: bytes) -> tuple[Receiver, list[Event]]:
    receiver = Receiver()
    return receiver, [event for raw in bodies for event in receiver.take(with_task_of_gold(raw))]


def test_later_annotations_are_judged_by_gold() -> None:
    _, events = taken(GOLD, answer("violating"), answer("ok", 901))
    right, wrong = (event for event in events if isinstance(event, LabelReviewed))
    assert (right.correct, right.source, right.agent_id, right.expected) == (True, "gold", "u-3", "violating")
    assert (wrong.correct, wrong.label, wrong.expected) == (False, "ok", "violating")
    assert right.at == right.labeled_at


def test_earlier_annotations_skips_and_other_tasks_are_not() -> None:
    before = answer("ok", 902, "23:35:32")
    other = body("ANNOTATION_CREATED_second_user", created_at="2026-11-22T23:40:00Z")
    _, events = taken(before, GOLD, answer("ok", was_cancelled=True), other)
    assert verdicts(events) == {}


def test_a_new_task_of_an_old_number_has_no_gold() -> None:
    receiver = Receiver()
    receiver.take(GOLD)
    assert not verdicts(receiver.take(answer("ok")))


def test_gold_that_was_heard_of_late_judges_the_same() -> None:
    bodies = [GOLD, answer("violating"), answer("ok", 901), answer("ok", 902, "23:35:32")]
    found = {
        frozenset(verdicts(taken(*order)[1]).items())
        for order in itertools.permutations([bodies[0], bodies[1], bodies[2], bodies[3]])
    }
    ((one, two),) = found
    assert {one[1], two[1]} == {True, False}


def test_a_verdict_follows_the_label() -> None:
    receiver, events = taken(GOLD, answer("ok"))
    events += receiver.take(with_task_of_gold(answer("violating", updated="23:50:00")))
    assert list(verdicts(events).values()) == [True]
    events += receiver.take(with_task_of_gold(answer("violating", updated="23:51:00", was_cancelled=True)))
    assert verdicts(events) == {}
    events += receiver.take(with_task_of_gold(answer("ok", updated="23:52:00")))
    assert list(verdicts(events).values()) == [False]
    events += receiver.take(b'{"action":"ANNOTATIONS_DELETED","annotations":[{"id":900}],"project":{"id":1}}')
    assert verdicts(events) == {}


def test_a_verdict_follows_the_golds_label_but_not_its_end() -> None:
    receiver, events = taken(GOLD, answer("ok"))
    corrected = body(
        "ANNOTATION_CREATED_ground_truth",
        updated_at="2026-11-22T23:55:00.000001Z",
        result=[{**CHOICE, "value": {"choices": ["ok"]}}],
    )
    events += receiver.take(corrected)
    assert list(verdicts(events).values()) == [True]
    assert [event.cause for event in events if isinstance(event, ReviewRevised)] == ["audit"]
    unset = corrected.replace(b'"ground_truth": true', b'"ground_truth": false').replace(b"23:55:00", b"23:56:00")
    events += receiver.take(unset)
    events += receiver.take(with_task_of_gold(answer("violating", 903, "23:57:00")))
    assert list(verdicts(events).values()) == [True]


def test_the_newest_gold_judges_and_the_one_before_ends_without_a_hook() -> None:
    second = answer("ok", 910, "23:41:00", ground_truth=True)
    early, late = answer("ok", 911, "23:40:30"), answer("ok", 912, "23:41:30")
    for order in itertools.permutations([GOLD, second, early, late]):
        receiver, events = taken(*order)
        judged = {number: row.verdict.gold for number, (_, row) in receiver.memory.rows.items() if row.verdict}
        assert judged == {911: 8, 912: 910}
        # Both say "ok": the first gold says "violating", the second one "ok".
        found = {review.split("-")[1]: correct for review, correct in verdicts(events).items()}
        assert found == {"911": False, "912": True}
