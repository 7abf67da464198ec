"""What a record of another topic becomes, and what of it cannot be used."""

import json
from typing import Any

import pytest

from schemas.events import LabelReviewed, LabelSubmitted
from streams.engine.decode import decode
from streams.sources.mapped_topic import SourceRecord, TopicMapping
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.model import from_toml

MAPPING = """
[constants]
project_id = "spam"

[fields]
site_id = "/office/name"
agent_id = "who"
task_id = ["batch", "item"]
at = { column = "@timestamp", format = "epoch_ms" }
label = "answer"

[[event]]
type = "label"

[[event]]
type = "review"
when = "truth"
expected = "truth"
source = { value = "gold" }
"""
RECORD = {"office": {"name": "köln-1"}, "who": 17, "batch": "b", "item": 4, "answer": "ok", "truth": "ok"}


def record(value: bytes | None, offset: int = 5) -> SourceRecord:
    return SourceRecord(2, offset, 1_764_000_000_123, b"any", value)


def mapped(value: Any, **more: Any) -> list[Any]:
    return TopicMapping(from_toml(MAPPING, "m.toml"), "tool")(record(json.dumps(value).encode(), **more))


def test_a_record_is_a_label_and_its_gold_review_keyed_by_site() -> None:
    events = mapped(RECORD)
    assert [event.key for event in events] == ["köln-1".encode()] * 2
    label, review = decode([event.value for event in events])
    assert isinstance(label, LabelSubmitted)
    assert (label.agent_id, label.task_id, label.at, label.label) == ("17", "b/4", 1_764_000_000_123, "ok")
    assert isinstance(review, LabelReviewed)
    assert (review.correct, review.source) == (True, "gold")


def test_ids_are_of_the_records_place_whatever_it_holds() -> None:
    def ids(value: Any, offset: int) -> list[str]:
        return [json.loads(event.value)["event_id"] for event in mapped(value, offset=offset)]

    first = ids(RECORD, 5)
    assert len(set(first)) == 2
    assert ids(RECORD, 5) == first
    assert not set(ids(RECORD, 6)) & set(first)
    other = TopicMapping(from_toml(MAPPING, "m.toml"), "another")(record(json.dumps(RECORD).encode()))
    assert json.loads(other[0].value)["event_id"] not in first


def test_an_id_of_the_records_own_is_kept() -> None:
    mapping = TopicMapping(from_toml(MAPPING.replace("[fields]", '[fields]\nevent_id = "answer"'), "m.toml"), "tool")
    assert [json.loads(event.value)["event_id"] for event in mapping(record(json.dumps(RECORD).encode()))] == [
        "ok",
        "ok",
    ]


def test_a_record_without_a_value_is_of_no_event() -> None:
    assert TopicMapping(from_toml(MAPPING, "m.toml"), "tool")(record(None)) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "json"),
        (b"\xff\xfe", "json"),
        (b"[1]", "json"),
        (b"null", "json"),
        (b"[" * 100_000, "json"),
        (b'{"a": \x00}', "json"),
        (b'{"office": {"name": "x"}, "who": "", "batch": "b", "item": 4}', "empty"),
        (b'{"office": {"name": "\\ud800"}, "who": "a", "batch": "b", "item": 4, "answer": "ok"}', "json"),
    ],
)
def test_what_cannot_be_used_says_why(value: bytes, reason: str) -> None:
    with pytest.raises(CellError) as raised:
        TopicMapping(from_toml(MAPPING, "m.toml"), "tool")(record(value))
    assert raised.value.reason == reason


def test_what_the_mapping_must_state_costs_a_record_not_the_stream() -> None:
    text = MAPPING.replace('at = { column = "@timestamp", format = "epoch_ms" }', 'at = "done"')
    with pytest.raises(CellError, match="zone"):
        TopicMapping(from_toml(text, "m.toml"), "tool")(
            record(json.dumps({**RECORD, "done": "2026-11-30 10:00"}).encode())
        )


def test_times_are_not_made_of_a_topics_records() -> None:
    text = MAPPING.replace("[constants]", '[time]\nmade_from = "2026-11-01T08:00Z"\n[constants]').replace(
        'at = { column = "@timestamp", format = "epoch_ms" }', ""
    )
    with pytest.raises(MappingError, match="@timestamp"):
        TopicMapping(from_toml(text, "m.toml"), "tool")
