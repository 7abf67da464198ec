"""Recorded bodies to events. Expected values are written by hand, from what was done at the server (its README)."""

import itertools
import json
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pytest

from schemas.events import AnyEvent, Event, LabelRevised, LabelSubmitted, LabelVersion
from streams.ingest.facts import Refused
from streams.ingest.label_studio import read
from streams.ingest.spool import encoded
from tests.ingest.bodies import RECORDED, Receiver, body

SEEN_US = 1_795_390_700_000_000


def ms(text: str) -> int:
    """Epoch milliseconds of a time of the day of the recording."""
    return int(datetime.fromisoformat(f"2026-11-22T{text}+00:00").timestamp() * 1000)


SPANS = "ner=INSULT*2,PERSON*2;verdict=violating"
#: Of one body that nothing came before: agent, project, task, seconds, label, skipped, handed in.
SUBMITTED: dict[str, tuple[str, str, str, float | None, str | None, bool, str]] = {
    "ANNOTATION_CREATED": ("u-1", "1", "1", 10.5, "ok", False, "23:35:31.355"),
    "ANNOTATION_CREATED_skip": ("u-1", "1", "6", 3.2, None, True, "23:35:32.772"),
    "ANNOTATION_CREATED_no_lead_time": ("u-1", "1", "9", None, "ok", False, "23:35:33.908"),
    "ANNOTATION_CREATED_from_draft": ("u-1", "1", "10", 6.5, "ok", False, "23:35:34.105"),
    "ANNOTATION_CREATED_ground_truth": ("u-1", "1", "8", 12, "violating", False, "23:35:33.491"),
    "ANNOTATION_CREATED_second_user": ("u-3", "1", "1", 8, "violating", False, "23:37:07.874"),
    # User 1 posted it: the work is of user 2.
    "ANNOTATION_CREATED_completed_by_other": ("u-2", "1", "11", 7, "ok", False, "23:35:34.480"),
    # Spans INSULT, PERSON, and one of both; the choice beside them.
    "ANNOTATION_CREATED_ner": (
        "u-1",
        "2",
        "33",
        41.7,
        "ner=INSULT*2,PERSON*2;verdict=violating",
        False,
        "23:37:10.719",
    ),
    "ANNOTATION_CREATED_empty_result": ("u-3", "2", "33", 5, None, False, "23:37:11.129"),
    "ANNOTATION_CREATED_label_not_in_config": ("u-1", "2", "33", 5, "nonsense", False, "23:37:11.264"),
    # Anyone who is heard of first by an update has handed in when it was created, with what it is by now.
    "ANNOTATION_UPDATED": ("u-1", "1", "1", 25, "violating", False, "23:35:31.355"),
    "ANNOTATION_UPDATED_nothing_changed": ("u-1", "1", "1", 25, "violating", False, "23:35:31.355"),
    "ANNOTATION_UPDATED_by_other_user": ("u-1", "1", "5", 20, "violating", False, "23:35:31.845"),
    "ANNOTATION_UPDATED_ground_truth": ("u-1", "1", "2", 30.25, "ok", False, "23:35:31.448"),
    "ANNOTATION_UPDATED_skip": ("u-1", "1", "3", 12.5, "ok", True, "23:35:31.562"),
    "ANNOTATION_UPDATED_unskip": ("u-1", "1", "7", 9, "ok", False, "23:35:32.851"),
    "ANNOTATION_UPDATED_ner": ("u-1", "2", "33", 55.1, "INSULT,PERSON", False, "23:37:10.719"),
}
#: Nothing of these was ever counted.
WITHOUT_EVENTS = {
    "ANNOTATIONS_DELETED", "ANNOTATIONS_DELETED_bulk", "PROJECT_CREATED", "PROJECT_DELETED", "PROJECT_UPDATED",
    "PROJECT_UPDATED_label_config", "TASKS_CREATED", "TASKS_CREATED_import30", "TASKS_CREATED_with_annotation",
    "TASKS_CREATED_with_prediction", "TASKS_DELETED", "TASKS_DELETED_bulk",
}  # fmt: skip


def test_every_recorded_body_is_in_a_table() -> None:
    named = [*SUBMITTED, *WITHOUT_EVENTS, "ANNOTATIONS_CREATED", "ANNOTATION_CREATED_no_payload"]
    assert sorted(named) == sorted(RECORDED)


@pytest.mark.parametrize("name", SUBMITTED)
def test_a_first_body_of_an_annotation_is_a_label(name: str) -> None:
    agent, project, task, seconds, label, skipped, at = SUBMITTED[name]
    (event,) = Receiver().take(body(name))
    assert isinstance(event, LabelSubmitted)
    assert (event.site_id, event.agent_id, event.project_id, event.task_id) == ("manila-1", agent, project, task)
    assert (event.label, bool(event.skipped), event.at) == (label, skipped, ms(at))
    assert event.handle_ms == (None if seconds is None else seconds * 1000)


@pytest.mark.parametrize("name", sorted(WITHOUT_EVENTS))
def test_what_changes_no_label_gives_no_event(name: str) -> None:
    receiver = Receiver()
    assert receiver.take(body(name)) == []
    # Imported annotations send no hook: only a look at the project finds them.
    assert receiver.memory.sweeps == ({1} if name == "TASKS_CREATED_with_annotation" else set())


def test_predictions_made_annotations_are_labels_without_seconds() -> None:
    events = Receiver().take(body("ANNOTATIONS_CREATED"))
    assert [(e.agent_id, e.task_id, e.label, e.handle_ms) for e in events if isinstance(e, LabelSubmitted)] == [
        ("u-1", "14", "violating", None),
        ("u-1", "15", "violating", None),
    ]
    assert len(events) == 2


def test_an_update_corrects_label_and_seconds_at_the_time_of_the_label() -> None:
    receiver = Receiver()
    (label,) = receiver.take(body("ANNOTATION_CREATED"))
    (event,) = receiver.take(body("ANNOTATION_UPDATED"))
    assert isinstance(label, LabelSubmitted)
    assert isinstance(event, LabelRevised)
    assert (event.cause, event.at, event.submitted_at) == ("updated", ms("23:35:32.013"), ms("23:35:31.355"))
    assert (event.old, event.new) == (LabelVersion("ok", 10_500), LabelVersion("violating", 25_000))
    assert (event.label_id, event.site_id, event.agent_id, event.by) == (label.label_id, "manila-1", "u-1", None)
    assert receiver.take(body("ANNOTATION_UPDATED_nothing_changed")) == []


def test_who_else_changed_a_label_is_named_and_the_work_stays_its_agents() -> None:
    receiver = Receiver()
    # As it was when user 1 had handed it in.
    receiver.take(body("ANNOTATION_UPDATED_by_other_user", lead_time=14.0, updated_at="2026-11-22T23:35:31.845930Z"))
    (event,) = receiver.take(body("ANNOTATION_UPDATED_by_other_user"))
    assert isinstance(event, LabelRevised)
    assert (event.agent_id, event.by, event.old.handle_ms) == ("u-1", "u-3", 14_000)


def test_spans_are_corrected() -> None:
    receiver = Receiver()
    receiver.take(body("ANNOTATION_CREATED_ner"))
    (event,) = receiver.take(body("ANNOTATION_UPDATED_ner"))
    assert isinstance(event, LabelRevised)
    assert event.old == LabelVersion(SPANS, 41_700)
    assert event.new == LabelVersion("INSULT,PERSON", 55_100)


def test_a_skip_and_its_end_are_corrections() -> None:
    receiver = Receiver()
    created = "2026-11-22T23:35:31.562040Z"
    receiver.take(body("ANNOTATION_UPDATED_skip", was_cancelled=False, updated_at=created))
    (skip,) = receiver.take(body("ANNOTATION_UPDATED_skip"))
    assert isinstance(skip, LabelRevised)
    assert (skip.cause, skip.old.skipped, skip.new) == ("updated", None, LabelVersion("ok", 12_500, True))
    created = "2026-11-22T23:35:32.851390Z"
    receiver.take(body("ANNOTATION_UPDATED_unskip", was_cancelled=True, result=[], lead_time=2.0, updated_at=created))
    (back,) = receiver.take(body("ANNOTATION_UPDATED_unskip"))
    assert isinstance(back, LabelRevised)
    assert (back.cause, back.old) == ("unskipped", LabelVersion(None, 2_000, True))
    assert back.new == LabelVersion("ok", 9_000)


def test_a_deletion_takes_back_what_counted() -> None:
    receiver = Receiver()
    receiver.take(body("ANNOTATION_CREATED"))
    receiver.take(body("ANNOTATION_CREATED_second_user"))
    events = receiver.take(body("ANNOTATIONS_DELETED_bulk"), SEEN_US)
    assert [(e.agent_id, e.old, e.new, e.cause, e.at) for e in events if isinstance(e, LabelRevised)] == [
        ("u-1", LabelVersion("ok", 10_500), None, "deleted", SEEN_US // 1000),
        ("u-3", LabelVersion("violating", 8_000), None, "deleted", SEEN_US // 1000),
    ]
    # Whatever comes late of before the deletion brings nothing back.
    for name in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED_bulk"):
        assert receiver.take(body(name)) == []


def test_a_deleted_task_takes_its_labels_along() -> None:
    receiver = Receiver()
    receiver.take(body("ANNOTATION_CREATED", task=33))
    receiver.take(body("ANNOTATION_CREATED_second_user"))
    # Task 33 of project 2 is another one.
    receiver.take(body("ANNOTATION_CREATED_ner"))
    (event,) = receiver.take(body("TASKS_DELETED"))
    assert isinstance(event, LabelRevised)
    assert (event.cause, event.label_id) == ("deleted", "ls-1-1795390531355972")


def test_a_replay_counts_once_and_order_does_not_matter() -> None:
    """All orders of an annotation's life give the same label and seconds in the end."""
    life = [body(name) for name in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_UPDATED_nothing_changed")]
    for order in itertools.permutations(life + life[:1]):
        receiver = Receiver()
        events = [event for each in order for event in receiver.take(each)]
        assert standing(events) == {"ls-1-1795390531355972": ("violating", 25_000, False)}
        assert [event for each in life for event in receiver.take(each)] == []


def standing(events: list[Event]) -> dict[str, tuple[str | None, int | None, bool]]:
    """What is counted after events, as the engine does it: each correction takes out exactly what stood."""
    labels: dict[str, tuple[str | None, int | None, bool]] = {}
    assert max(Counter(event.event_id for event in events).values(), default=1) == 1
    for event in events:
        if isinstance(event, LabelSubmitted):
            assert event.label_id is not None
            assert event.label_id not in labels
            labels[event.label_id] = (event.label, event.handle_ms, bool(event.skipped))
        elif isinstance(event, LabelRevised):
            old = (event.old.label, event.old.handle_ms, bool(event.old.skipped))
            assert labels.pop(event.label_id) == old
            if event.new is not None:
                labels[event.label_id] = (event.new.label, event.new.handle_ms, bool(event.new.skipped))
    return labels


def test_every_event_is_one_that_the_engine_takes() -> None:
    receiver = Receiver()
    for name in RECORDED:
        if name != "ANNOTATION_CREATED_no_payload":
            for event in receiver.take(body(name)):
                assert msgspec.json.decode(encoded(event), type=AnyEvent) == event
                assert b"null" not in encoded(event)


def test_nothing_of_a_project_but_its_id_leaves_a_body() -> None:
    for name, each in RECORDED.items():
        if name != "ANNOTATION_CREATED_no_payload":
            raw = json.dumps({**each, "project": {**each["project"], "token": "s3cret"}}).encode()
            receiver = Receiver()
            events = receiver.take(raw)
            assert "s3cret" not in repr((events, receiver.memory.rows))


# --- what cannot be used

NEEDED = ("id", "result", "was_cancelled", "ground_truth", "created_at", "updated_at", "lead_time", "task", "project")


def test_a_cut_body_is_refused_wherever_it_is_cut() -> None:
    raw = body("ANNOTATION_CREATED_ner")
    for length in range(0, len(raw), 7):
        with pytest.raises(Refused) as refused:
            read(raw[:length])
        assert refused.value.reason == "not_json"
        assert "cut" in str(refused.value)


@pytest.mark.parametrize("name", ["ANNOTATION_CREATED", "ANNOTATION_UPDATED_ner"])
def test_a_missing_field_is_refused_by_name_if_it_is_needed_and_no_matter_else(name: str) -> None:
    whole = Receiver().take(body(name))
    for field in RECORDED[name]["annotation"]:
        changed = json.loads(body(name))
        del changed["annotation"][field]
        raw = json.dumps(changed).encode()
        if field in (*NEEDED, "completed_by"):
            with pytest.raises(Refused, match=field) as refused:
                read(raw)
            assert refused.value.reason == "schema"
        else:
            assert Receiver().take(raw) == whole
    for field in ("annotation", "task", "project"):
        changed = json.loads(body(name))
        del changed[field]
        with pytest.raises(Refused, match=field):
            read(json.dumps(changed).encode())


@pytest.mark.parametrize("field", [*NEEDED, "completed_by"])
def test_a_value_of_the_wrong_type_is_refused_by_name(field: str) -> None:
    values: list[Any] = ["x", 1.5, True, {}, [1], None, "2026-13-01T00:00:00Z", "2026-11-22T23:35:31"]
    fitting = {
        "was_cancelled": (True,), "ground_truth": (True,), "lead_time": (1.5, None), "completed_by": (None,)
    }.get(field, ())  # fmt: skip
    for value in values:
        if any(value is each or (value == each and type(value) is type(each)) for each in fitting):
            continue
        with pytest.raises(Refused, match=field):
            read(body("ANNOTATION_CREATED", **{field: value}))


def test_a_hook_without_payload_is_told_what_to_tick() -> None:
    with pytest.raises(Refused, match="tick 'Send payload'") as refused:
        read(body("ANNOTATION_CREATED_no_payload"))
    assert refused.value.reason == "no_payload"


def test_other_json_and_unknown_actions_do_no_harm() -> None:
    for raw in (b"[]", b"1", b'"x"', b"{}", b'{"action":1}', b"[" * 100_000, b"\xff\xfe", b"", b"\0"):
        with pytest.raises(Refused):
            read(raw)
    assert read(b'{"action":"SOMETHING_NEW","x":1}') == ("SOMETHING_NEW", [])


@pytest.mark.parametrize("lead_time", [-1.0, 1e300])
def test_seconds_that_no_clock_measured_are_left_out_and_the_label_counts(lead_time: float) -> None:
    (event,) = Receiver().take(body("ANNOTATION_CREATED", lead_time=lead_time))
    assert isinstance(event, LabelSubmitted)
    assert event.handle_ms is None


# --- labels of any control


@pytest.mark.parametrize(
    ("result", "label"),
    [
        ([("choices", {"choices": ["b", "a"]})], "a,b"),
        ([("rating", {"rating": 4})], "4"),
        ([("number", {"number": 2.5})], "2.5"),
        ([("pairwise", {"selected": "left"})], "left"),
        ([("taxonomy", {"taxonomy": [["Animal", "Cat"], ["Plant"]]})], "Animal/Cat,Plant"),
        ([("rectanglelabels", {"x": at, "rectanglelabels": ["Car"]}) for at in (1, 7)], "Car*2"),
        ([("relation", {})], None),
        # Two values are not one value with a comma in it.
        ([("choices", {"choices": ["a,b"]})], '"a,b"'),
        ([("choices", {"choices": [""]})], '""'),
    ],
)  # fmt: skip
def test_the_answer_of_each_kind_of_control(result: list[tuple[str, dict[str, Any]]], label: str | None) -> None:
    results = [{"type": kind, "from_name": "c", "value": value} for kind, value in result]
    (event,) = Receiver().take(body("ANNOTATION_CREATED", result=results))
    assert isinstance(event, LabelSubmitted)
    assert event.label == label


def test_free_text_is_compared_and_not_kept() -> None:
    def label(text: str) -> str | None:
        results = [{"type": "textarea", "from_name": "c", "value": {"text": [text]}}]
        (event,) = Receiver().take(body("ANNOTATION_CREATED", result=results))
        assert isinstance(event, LabelSubmitted)
        return event.label

    assert label("my telephone is 555") == label("my telephone is 555") != label("my telephone is 556")
    assert "telephone" not in str(label("my telephone is 555"))


def test_a_long_answer_is_short_and_still_its_own() -> None:
    names = [f"name {number}" for number in range(100)]

    def label(choices: list[str]) -> str:
        results = [{"type": "choices", "from_name": "c", "value": {"choices": choices}}]
        (event,) = Receiver().take(body("ANNOTATION_CREATED", result=results))
        assert isinstance(event, LabelSubmitted)
        assert event.label is not None
        return event.label

    assert label(names) == label(names[::-1]) != label([*names, "z"])
    assert len(label(names)) <= 200
