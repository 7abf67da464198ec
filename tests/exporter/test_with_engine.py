"""The real engine behind the pages: what one gives, the other must be able to show."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from schemas.metrics import METRICS
from schemas.policy import Policy
from streams.engine import partition as engines
from streams.exporter import MonitorState
from streams.exporter.collector import PeopleCollector, SitesCollector
from streams.exporter.pseudonyms import plain
from streams.exporter.text import render
from tests.support.exporter import labelled, series, showing, values

START_MS = 1_763_800_000_000


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes
    value: bytes


def records() -> Iterator[Record]:
    """80 labels by two people, each reviewed, every tenth wrong; a state each; one record that is broken."""
    events: list[dict[str, object]] = [
        {"type": "agent_profiled", "agent_id": "a-1", "role": "agent"},
        {"type": "state_changed", "agent_id": "a-1", "state": "productive"},
        {"type": "state_changed", "agent_id": "a-2", "state": "break"},
    ]
    for i in range(80):
        work: dict[str, object] = {
            "agent_id": f"a-{i % 2 + 1}",
            "project_id": "counterfeit",
            "task_id": f"t-{i}",
            "market": "US",
        }
        events.append({"type": "label_submitted", **work, "handle_ms": 31_200, "sop_version": "v3"})
        review: dict[str, object] = {
            "reviewer_id": "q-12",
            "sampling": "random",
            "correct": i % 10 > 0,
            "labeled_at": START_MS,
        }
        wrong: dict[str, object] = {} if i % 10 else {"error_type": "brand_confusion", "severity": "major"}
        events.append({"type": "label_reviewed", **work, **review, **wrong, "review_ms": 9_000, "sop_version": "v3"})
    for offset, event in enumerate(events):
        at = START_MS + offset * 1_000
        event |= {"event_id": f"e-{offset}", "at": at, "site_id": "manila-1"}
        yield Record(offset, at, b"manila-1", json.dumps(event).encode())
    yield Record(len(events), START_MS, b"manila-1", b"\xff not json")


@pytest.fixture(scope="module")
def state() -> MonitorState:
    engine = engines.PartitionEngine(0, Policy.load(None))
    engine.apply(list(records()))
    engine.committed(engine.checkpoint())
    return showing(engine, state=MonitorState(clock="event"))


@pytest.fixture(scope="module")
def sites(state: MonitorState) -> bytes:
    return b"".join(render(SitesCollector(state, plain).collect()))


@pytest.fixture(scope="module")
def people(state: MonitorState) -> bytes:
    return b"".join(render(PeopleCollector(state, plain).collect()))


def test_the_sites_figures_are_on_the_page(sites: bytes) -> None:
    reviewed = {"site": "manila-1", "role": "agent", "window": "1h"}
    assert values(sites, "labelwatch_site_accuracy_ratio")[frozenset(reviewed.items())] == 0.9
    labels = {"site": "manila-1", "project": "counterfeit", "market": "US"}
    assert values(sites, "labelwatch_labels_total")[frozenset(labels.items())] == 80
    assert list(values(sites, "labelwatch_handle_seconds_count").values()) == [80]
    assert list(values(sites, "labelwatch_rejected_total").values()).count(1) == 1


def test_peoples_figures_are_on_theirs(people: bytes) -> None:
    assert set(labelled(people, "labelwatch_agent_labels", "agent")) == {"a-1", "a-2"}
    assert set(labelled(people, "labelwatch_reviewer_reviews", "agent")) == {"q-12"}
    assert set(values(people, "labelwatch_agent_reviews").values()) == {40}


def test_no_part_of_a_page_failed_and_every_name_is_of_the_catalogue(
    state: MonitorState, sites: bytes, people: bytes
) -> None:
    suffixes = ("_bucket", "_sum", "_count")
    for name, _ in [*series(sites), *series(people)]:
        family = next((name.removesuffix(end) for end in suffixes if name.removesuffix(end) in METRICS), name)
        assert family in METRICS
    again = b"".join(render(SitesCollector(state, plain).collect()))
    assert set(values(again, "labelwatch_render_errors_total").values()) == {0}
