"""Mappings: what rows become, what is wrong in a mapping by line and key, and ids that are never cut or merged."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import AnyEvent
from streams.sources.mapping.compiled import CompiledMapping
from streams.sources.mapping.errors import CellError, MappingError
from streams.sources.mapping.model import MappingOverrides, RowMapping, from_pairs, from_toml
from streams.sources.mapping.values import joined

_decode = msgspec.json.Decoder(AnyEvent).decode
BASE = {"agent_id": "who", "task_id": "what", "at": "when"}
PLACE = {"site_id": "lima-2", "project_id": "pets"}
#: 2026-11-02 10:00 UTC, by `date -u -d '2026-11-02 10:00' +%s`.
TEN = 1_793_613_600_000
ROW = {"who": "ann", "what": "t1", "when": "2026-11-02T10:00:00Z"}


def events(mapping: RowMapping, row: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row's events, each of which the worker's own schema takes."""
    found = CompiledMapping(mapping, list(row), "ours.csv")(list(row.values()))
    for event in found:
        _decode(json.dumps({"event_id": "e", **event}).encode())
    return found


def toml(more: str, fields: str = "") -> RowMapping:
    base = "".join(f'{name} = "{column}"\n' for name, column in BASE.items())
    place = "".join(f'{name} = "{value}"\n' for name, value in PLACE.items())
    return from_toml(f"[constants]\n{place}[fields]\n{base}{fields}\n{more}", "ours.toml")


WORK = {"agent_id": "ann", "task_id": "t1", "at": TEN, **PLACE}


def test_pairs_of_the_command_line_make_a_label_and_its_gold_review() -> None:
    mapping = from_pairs({**BASE, "label": "said", "expected": "gold", "handle_s": "took"}, PLACE)
    row = {**ROW, "said": " cat ", "gold": "dog", "took": "1.5"}
    label = {"type": "label_submitted", **WORK, "label": "cat", "handle_ms": 1500}
    review = {
        "type": "label_reviewed", **WORK, "label": "cat", "expected": "dog", "correct": False, "source": "gold",
        "labeled_at": TEN,
    }  # fmt: skip  # an event in one glance
    assert events(mapping, row) == [label, review]
    assert events(mapping, {**row, "gold": "cat"})[1]["correct"] is True
    # Not every row has gold; a label that is empty is not judged.
    assert [each["type"] for each in events(mapping, {**row, "gold": ""})] == ["label_submitted"]
    assert [each["type"] for each in events(mapping, {**row, "said": ""})] == ["label_submitted"]


def test_a_file_says_what_a_row_is_by_its_columns() -> None:
    mapping = toml(
        """
        [[event]]
        type = "label"
        when = { kind = ["label", "relabel"] }
        attempt = "nth"
        [[event]]
        type = "review"
        when = { kind = "review" }
        reviewer_id = "by"
        correct = { column = "verdict", values = { Richtig = true, Falsch = false } }
        [[event]]
        type = "state"
        when = "now"
        state = { column = "now", values = { "午休" = "break" } }
        [[event]]
        type = "profile"
        when = { kind = "hired" }
        started_on = "verdict"
        languages = "by"
        """
    )
    row = {**ROW, "kind": "label", "nth": "2", "by": "", "verdict": "", "now": "", "what": "t1"}
    assert events(mapping, row) == [{"type": "label_submitted", **WORK, "attempt": 2}]
    (review,) = events(mapping, {**row, "kind": "review", "by": "q1", "verdict": "Falsch"})
    assert review == {"type": "label_reviewed", **WORK, "reviewer_id": "q1", "correct": False}
    state, profile = events(mapping, {**row, "kind": "hired", "now": "午休", "verdict": "2026-01-02", "by": "en|zh"})
    assert state == {"type": "state_changed", "state": "break", "site_id": "lima-2", "project_id": "pets", "agent_id":
                     "ann", "at": TEN}  # fmt: skip  # an event in one glance
    assert profile == {"type": "agent_profiled", "site_id": "lima-2", "agent_id": "ann", "at": TEN,
                       "started_on": "2026-01-02", "languages": ["en", "zh"]}  # fmt: skip  # likewise
    assert events(mapping, {**row, "kind": "other"}) == []


@pytest.mark.parametrize(
    ("compare", "label", "gold", "equal"),
    [
        ("exact", "Cat", "cat", False), ("no-case", "STRASSE", "straße", True), ("no-case", "cat", "dog", False),
        ("number", "1.50", "1,5", True), ("number", "1e1", "10", True), ("number", "n/a", "1", False),
        ("any", "b", "a | b", True), ("any", "ab", "a|b", False),
        ("set", "b|a", "a | b", True), ("set", "a|b", "a", False), ("set", "猫|狗", "狗|猫", True),
    ],
)  # fmt: skip  # a table
def test_label_and_gold_are_compared_as_stated(compare: str, label: str, gold: str, equal: bool) -> None:
    mapping = toml("", f'label = "said"\nexpected = "gold"\ncorrect = {{ compare = "{compare}" }}')
    assert events(mapping, {**ROW, "said": label, "gold": gold})[1]["correct"] is equal


def test_a_duration_may_be_from_a_begin_to_an_end() -> None:
    mapping = from_toml(
        '[time]\nzone = "Europe/Berlin"\nformat = "%d.%m.%Y %H:%M"\n[numbers]\ndecimal = ","\n'
        '[constants]\nsite_id = "köln-1"\nproject_id = "p"\n'
        '[fields]\nagent_id = "Wer"\ntask_id = ["Los", "Teil"]\nat = "Ende"\n'
        'handle_ms = { begin = "Anfang", end = "Ende" }\n[[event]]\ntype = "label"\n'
        '[[event]]\ntype = "review"\ncorrect = "OK"\nscore = "Note"\nlabeled_at = "Anfang"\n',
        "deutsch.toml",
    )
    row = {"Wer": "7", "Los": "A/1", "Teil": "2", "Anfang": "02.11.2026 10:58", "Ende": "02.11.2026 11:00", "OK": "yes",
           "Note": "0,75"}  # fmt: skip  # a row
    label, review = events(mapping, row)
    assert (label["handle_ms"], label["at"], label["agent_id"], label["task_id"]) == (120_000, TEN, "7", "A\\/1/2")
    assert (review["score"], review["labeled_at"]) == (0.75, TEN - 120_000)
    with pytest.raises(CellError, match=r"columns Anfang and Ende .* is before"):
        events(mapping, {**row, "Anfang": "02.11.2026 12:00"})


def test_times_are_made_for_each_person_where_there_are_none() -> None:
    columns = {"agent_id": "who", "task_id": "what", "expected": "gold", "label": "said", "handle_s": "took"}
    mapping = from_pairs(columns, PLACE, MappingOverrides(made_from="2026-11-02 18:00", zone="Asia/Shanghai"))
    compiled = CompiledMapping(mapping, ["who", "what", "said", "gold", "took"], "ours.csv")
    rows = [("ann", "1"), ("ann", ""), ("bob", "2"), ("ann", "100000000")]
    made = [compiled([who, "t", "a", "a", took]) for who, took in rows]
    assert [row[0]["at"] - TEN for row in made] == [1000, 31_000, 2000, 61_000]
    assert all(row[1]["at"] == row[1]["labeled_at"] == row[0]["at"] for row in made)


@given(st.lists(st.lists(st.text(alphabet="a/\\b", min_size=1, max_size=4), min_size=2, max_size=2), min_size=2))
def test_ids_of_several_parts_are_never_merged(lists: list[list[str]]) -> None:
    assert len({joined(parts, "/") for parts in lists}) == len({tuple(parts) for parts in lists})


@pytest.mark.parametrize(
    ("changed", "reason", "says"),
    [
        ({"who": "x" * 129}, "too long", r"column who \(agent_id\): 'x+'\.\.\. has 129 characters, 128 are allowed"),
        ({"who": "a\u202eb"}, "id", r"has a control or format character"),
        ({"who": "a\u3164"}, "id", r"has a control or format character"),
        ({"who": " "}, "empty", r"column who \(agent_id\) is empty, and label_submitted needs it"),
        ({"when": ""}, "empty", r"column when \(at\) is empty"),
        ({"when": "soon"}, "time", r"column when \(at\): 'soon' is no time"),
        ({"said": "x" * 1001}, "too long", r"column said \(label\): .* has 1,001 characters, 1,000 are allowed; it is"),
        ({"took": "-3"}, "number", r"column took \(handle_ms\): '-3' is no number of 0 or more"),
        ({"ok": "Richtig"}, "meaning", r"'Richtig' is none of true or false; .*\[values.correct\], \"Richtig\" = true"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_column_and_value(
    changed: dict[str, str], reason: str, says: str
) -> None:
    mapping = from_pairs({**BASE, "label": "said", "handle_s": "took", "correct": "ok"}, PLACE)
    with pytest.raises(CellError, match=says) as caught:
        events(mapping, {**ROW, "said": "a", "took": "1", "ok": "yes", **changed})
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_the_longest_id_is_kept_whole() -> None:
    assert events(from_pairs(BASE, PLACE), {**ROW, "who": "x" * 128})[0]["agent_id"] == "x" * 128


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fields]\nagent = 'who'", r"^m.toml: line 2: agent: is not known; use agent_id, "),
        ("[feilds]\nagent_id = 'who'", r"^m.toml: line 1: feilds: is not known; use constants, event, fields"),
        ("[fields]\nagent_id = 'a'\nagent_id = 'b'\n", r"^m.toml: is no TOML: .*twice.* line 3"),
        ("[fields]\nagent_id = ['a', 'a']", r"^m.toml: line 2: agent_id: names a column twice"),
        ("[fields]\nat = ['a', 'b']", r"^m.toml: line 2: at: has two columns; only an id is made of several"),
        ("[fields]\nat = { column = 'a', columns = ['b'] }", r"^m.toml: line 2: at: has column and columns"),
        ("[time]\nzone = 'Mars'", r"^m.toml: line 2: zone: zone 'Mars': no such zone"),
        ("[time]\nformat = '%Q'", r"^m.toml: line 2: format: format '%Q': %Q is not known; use %Y, "),
        ("[numbers]\ndecimal = ';'", r"^m.toml: line 2: decimal: ';': use '\.' or ','"),
        ("[fields]\nhandle_ms = { column = 'a', unit = 'days' }", r"line 2: unit: 'days': .* use ms, s, min"),
        ("[fields]\nlabel = { column = 'a', compare = 'set' }", r"line 2: compare: 'set': for correct alone"),
        ("[fields]\nlabel = { colum = 'a' }", r"^m.toml: line 2: colum: is not known; use begin, column"),
        ("[[event]]\ntype = 'labels'", r"^m.toml: line 2: type: 'labels': use label, review, state or profile"),
        ("[[event]]\ntype = 'state'\nlabel = 'a'", r"line 3: label: is no field of state_changed; use agent_id, at"),
        ("[constants]\nevent_id = 'e'", r"line 2: event_id: each event needs an id of its own"),
        ("[values]\ncorrect = 3", r"^m.toml: line 2: correct: give what each text means"),
        ("[time]\nassumed_seconds = -1", r"line 2: assumed_seconds: -1: give seconds above 0"),
        ("[constants]\nsite_id = 's'\n[fields]\nagent_id = 'a'\ntask_id = 'b'\nproject_id = 'c'",
         r"m.toml:.* at: label_submitted needs it: name the column of its time"),
        ("[fields]\nhandle_s = 'a'\nhandle_ms = 'b'", r"line 2: handle_s: handle_s and handle_ms are two columns"),
        ("x = ", r"^m.toml: is no TOML: "),
    ],
)  # fmt: skip  # a table
def test_what_is_wrong_in_a_mapping_is_named_by_line_and_key(text: str, says: str) -> None:
    with pytest.raises(MappingError, match=says) as caught:
        from_toml(text, "m.toml")
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(MappingError, match=r"^ours.csv: no column 'who'; the file has worker, item"):
        CompiledMapping(from_pairs(BASE, PLACE), ["worker", "item"], "ours.csv")


def test_a_value_for_every_row_that_is_none_stops_at_the_begin() -> None:
    with pytest.raises(MappingError, match=r"value of state: .* is none of productive"):
        CompiledMapping(from_pairs({"agent_id": "who", "at": "when"}, {**PLACE, "state": "lunch"}), list(ROW), "f")
