"""The JSON Schemas beside the classes are theirs, and hold for what is really written."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from schemas.drift import DriftRecord
from schemas.events import AnyEvent
from schemas.json_schema import documents, path
from schemas.policy import Policy
from schemas.topics import DRIFT, EVENTS
from streams.engine.partition import PartitionEngine
from streams.sources.scenarios import SCENARIOS
from streams.sources.simulate import Operation, Simulation
from tests.oracle.compare import Record

START_MS = 1_764_000_000_000


def validator(topic: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(path(topic).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("topic", [EVENTS, DRIFT])
def test_the_file_is_up_to_date(topic: str) -> None:
    assert path(topic).read_text("utf-8") == documents()[topic], "run: python -m schemas.json_schema"


@pytest.mark.parametrize("scenario", ["late-and-dirty", "sop-change"])
def test_simulated_events_hold_where_the_worker_takes_them_and_only_there(scenario: str) -> None:
    assert scenario in SCENARIOS
    events, types = validator(EVENTS), set()
    plan = Simulation(START_MS, START_MS + 3 * 3_600_000, scenario, 5, rate=0.2, sites=2)
    for sent in Operation(plan):
        try:
            taken = msgspec.json.decode(sent.value, type=AnyEvent)
        except msgspec.MsgspecError:
            taken = None
        try:
            event = json.loads(sent.value)
        except ValueError:
            assert taken is None
            continue
        assert events.is_valid(event) == (taken is not None), event
        types.add(event.get("type"))
    assert {"label_submitted", "label_reviewed", "state_changed"} <= types


@pytest.mark.parametrize(
    "change",
    [{"site_id": ""}, {"at": -1}, {"correct": "yes"}, {"sampling_rate": 0}, {"role": "boss"}, {"task_id": None}],
)
def test_what_the_worker_rejects_the_schema_rejects(change: dict[str, Any]) -> None:
    event = {
        "type": "label_reviewed", "event_id": "e", "at": START_MS, "site_id": "s", "agent_id": "a",
        "project_id": "p", "task_id": "t", "correct": True,
    }  # fmt: skip  # an event in one glance
    assert validator(EVENTS).is_valid(event)
    assert not validator(EVENTS).is_valid(event | change)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(event | change), type=AnyEvent)


def test_records_of_real_drifts_hold_and_carry_every_field() -> None:
    policy = Policy.parse("[oncall]\nfalse_pages_per_month = 60\nfalse_tickets_per_month = 2000")
    engine = PartitionEngine(0, policy)
    plan = Simulation(START_MS, START_MS + 12 * 3_600_000, "site-dip", 3, rate=0.5, sites=2, points=0.2)
    engine.apply([Record(n, sent.due_ms + 5, None, sent.value) for n, sent in enumerate(Operation(plan))])
    written = [json.loads(value) for _, value in engine.checkpoint().drift_records]
    assert len(written) > 5
    fields = set(DriftRecord.__struct_fields__)
    for record in written:
        validator(DRIFT).validate(record)
        assert record.keys() == fields
        assert record["before"].keys() == record["since"].keys() == {"value", "n", "lower", "upper", "at_least"}
