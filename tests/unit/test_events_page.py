"""docs/reference/events.md: what it says of each field, asked of the decoder that a worker has."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.events import Event
from streams.engine.decode import decode

PAGE = (Path(__file__).parents[2] / "docs/reference/events.md").read_text("utf-8")
#: Before the first event; a part of an event has no example of its own.
EVENT = re.compile(r"^## (\w+)\n\n.+\n\n```json\n(.+)\n```\n\n((?:\|.*\n)+)", re.MULTILINE)
PART = re.compile(r"^## (\w+)\n\n[^`|]+\n\n((?:\|.*\n)+)", re.MULTILINE)


class Row(NamedTuple):
    field: str
    required: bool
    kind: str
    example: Any
    means: str


def rows(table: str) -> list[Row]:
    found = []
    for line in table.splitlines()[2:]:
        field, need, kind, example, means = (cell.strip() for cell in line.strip("|").split(" | "))
        assert need in ("required", "optional")
        found.append(Row(field.strip("`"), need == "required", kind, json.loads(example.strip("`")), means))
    return found


EVENTS = {tag: (json.loads(example), rows(table)) for tag, example, table in EVENT.findall(PAGE)}
PARTS = {name: rows(table) for name, table in PART.findall(PAGE)}


def taken(event: dict[str, Any]) -> bool:
    return isinstance(decode([json.dumps(event).encode()])[0], Event)


def values(kind: str) -> tuple[list[Any], list[Any]]:
    """Of what a cell says: values at its edges that are taken, and beyond them that are not."""
    good: list[Any] = []
    bad: list[Any] = [[[]]]
    for each in kind.split(" or "):
        if each == "id":
            good, bad = [*good, "x", "x" * 128], [*bad, "", "x" * 129]
        elif found := re.fullmatch(r"text, up to ([\d,]+) characters", each):
            longest = int(found[1].replace(",", ""))
            good, bad = [*good, "", "x" * longest], [*bad, "x" * (longest + 1)]
        elif each == "time, ms":
            good, bad = [*good, 0, 253_402_300_799_999], [*bad, -1, 253_402_300_800_000, 0.5]
        elif each == "date, `YYYY-MM-DD`":
            good, bad = [*good, "2025-12-31"], [*bad, "31.12.2025", "2025-13-01"]
        elif found := re.fullmatch(r"(whole number|number)(?:, ms)?, (from|above) ([\d,.]+)(?: to ([\d,.]+))?", each):
            least = float(found[3].replace(",", ""))
            step = 1 if found[1] == "whole number" else 0.001
            number = int if step == 1 else float
            good.append(number(least if found[2] == "from" else least + step))
            bad.append(number(least - step if found[2] == "from" else least))
            if found[4]:
                most = number(found[4].replace(",", ""))
                good, bad = [*good, most], [*bad, most + step]
            if step == 1:
                bad.append(least + 0.5)
        elif found := re.fullmatch(r"list of (ids|\[`(\w+)`\]\(#\w+\)), up to (\d+)", each):
            one = "x" if found[2] is None else smallest(PARTS[found[2]])
            good, bad = [*good, [], [one] * int(found[3])], [*bad, [one] * (int(found[3]) + 1), [7]]
        elif found := re.fullmatch(r"\[`(\w+)`\]\(#\w+\)", each):
            part = smallest(PARTS[found[1]])
            good.append(part)
            bad += [{key: value for key, value in part.items() if key != gone} for gone in part]
        else:
            choices = [json.loads(choice) for choice in re.findall(r"`([^`]+)`", each)]
            assert choices, each
            good, bad = [*good, *choices], [*bad, "neither"]
    # A number is an id nowhere, but for one field that may be either.
    return good, bad if "number" in kind or "time" in kind else [*bad, 7]


def smallest(part: list[Row]) -> dict[str, Any]:
    return {row.field: row.example for row in part if row.required}


def test_every_event_and_part_is_on_the_page() -> None:
    assert len(EVENTS) == 16
    assert set(PARTS) == {"ReviewError", "ReviewVersion", "LabelVersion"}


@pytest.mark.parametrize("tag", EVENTS)
def test_the_worker_takes_what_the_page_says_and_nothing_beyond(tag: str) -> None:
    example, table = EVENTS[tag]
    assert taken(example)
    assert example["type"] == tag
    for row in table:
        assert row.means
        without = {key: value for key, value in example.items() if key != row.field}
        assert taken(without) == (not row.required), row
        assert taken(example | {row.field: None}) == (not row.required), row
        assert taken(example | {row.field: row.example}), row
        if row.field == "type":
            continue
        good, bad = values(row.kind)
        for value in good:
            assert taken(example | {row.field: value}), (row, value)
        for value in bad:
            assert not taken(example | {row.field: value}), (row, value)


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_taken_as_the_page_says(name: str) -> None:
    example, where = next(
        (event, row) for event, table in EVENTS.values() for row in table if f"#{name.lower()}" in row.kind
    )
    whole = {row.field: row.example for row in PARTS[name]}

    def in_event(part: dict[str, Any]) -> dict[str, Any]:
        return {**example, where.field: [part] if where.kind.startswith("list") else part}

    assert taken(in_event(whole))
    for row in PARTS[name]:
        assert taken(in_event({key: value for key, value in whole.items() if key != row.field})) == (not row.required)
        good, bad = values(row.kind)
        assert all(taken(in_event(whole | {row.field: value})) for value in good), row
        assert not any(taken(in_event(whole | {row.field: value})) for value in bad), row
