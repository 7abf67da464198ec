"""Random lives of annotations, with hooks lost, repeated and in any order: in the end, the tool's own figures."""

import itertools
import json
import random
from typing import Any

import pytest

from schemas.events import Event, LabelReviewed, LabelRevised, LabelSubmitted, ReviewRevised
from streams.ingest.label_studio import read_page
from streams.ingest.ledger import Ledger, RosterEntry
from tests.ingest.bodies import Dictionary, Receiver
from tests.ingest.label_studio import LabelStudio
from tests.ingest.test_gold import verdicts
from tests.ingest.test_label_studio import standing


def lived(seed: int) -> tuple[LabelStudio, list[bytes]]:
    """What people did at some tasks, with its hooks."""
    chance, tool = random.Random(seed), LabelStudio()
    hooks = []
    for number in range(1, 6):
        tool.make_task(number)
    for _ in range(40):
        task = chance.choice(sorted(tool.tasks))
        choice = chance.choice(["ok", "violating", None])
        what = chance.choice(["create", "create", "update", "update", "delete", "gold"])
        if what == "create":
            hooks.append(tool.create(task, chance.randint(1, 3), chance.randint(1, 90), choice))
        elif tool.tasks[task]["annotations"]:
            if what == "update":
                hooks.append(tool.update(task, chance.randint(1, 90), choice))
            elif what == "gold":
                hooks.append(tool.set_gold(task))
            else:
                hooks.append(tool.delete(task))
    return tool, hooks


def listed(tool: LabelStudio) -> list[Any]:
    tasks, _ = read_page(1, json.dumps({"tasks": list(tool.tasks.values()), "total": 5}).encode())
    return [task for _, task in tasks]


def truth(tool: LabelStudio) -> list[tuple[str | None, int | None, bool]]:
    """Label, milliseconds and skip of each annotation that is there."""
    found = []
    for each in itertools.chain.from_iterable(task["annotations"] for task in tool.tasks.values()):
        label = each["result"][0]["value"]["choices"][0] if each["result"] else None
        found.append((label, round(each["lead_time"] * 1000), each["was_cancelled"]))
    return sorted(found, key=str)


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_to_hooks_a_listing_makes_it_right(seed: int) -> None:
    tool, hooks = lived(seed)
    chance = random.Random(seed + 1_000)
    delivered = [hook for hook in hooks for _ in range(chance.choice([0, 1, 1, 1, 2]))]
    if seed % 2:
        chance.shuffle(delivered)
    receiver = Receiver()
    # Late: as a sweep is, after all that it sees.
    events = [event for hook in delivered for event in receiver.take(hook, seen_us=1_795_400_000_000_000)]
    ledger = Ledger(receiver.memory, "ls", lambda user: RosterEntry("manila-1", f"u-{user}"))
    for task in listed(tool):
        events += ledger.take(task, 1_795_400_000_000_001)
    assert sorted(standing(labels(events)).values(), key=str) == truth(tool)
    verdicts(events)
    # And then nothing is new, no matter who says it again.
    for hook in delivered:
        assert receiver.take(hook, seen_us=1_795_400_000_000_002) == []
    assert [event for task in listed(tool) for event in ledger.take(task, 1_795_400_000_000_003)] == []


@pytest.mark.parametrize("seed", range(40))
def test_with_every_hook_in_order_a_listing_finds_nothing(seed: int) -> None:
    tool, hooks = lived(seed)
    receiver = Receiver()
    events = [event for hook in hooks for event in receiver.take(hook)]
    assert sorted(standing(labels(events)).values(), key=str) == truth(tool)
    ledger = Ledger(receiver.memory, "ls", lambda user: RosterEntry("manila-1", f"u-{user}"))
    # A ground truth that another one has followed is unset without a hook: known, so no news.
    assert [event for task in listed(tool) for event in ledger.take(task, 1_795_400_000_000_000)] == []
    assert isinstance(receiver.memory, Dictionary)
    assert {type(event) for event in events} <= {LabelSubmitted, LabelRevised, LabelReviewed, ReviewRevised}


def labels(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, LabelSubmitted | LabelRevised)]
