"""Webhook bodies recorded from a real Label Studio 1.23.2, and variations of them; a memory without a file."""

import copy
import json
from pathlib import Path
from typing import Any

from schemas.events import Event
from streams.ingest.label_studio import read
from streams.ingest.ledger import Ledger, Place, Remembered, RosterEntry

FILE = Path(__file__).parents[1] / "data" / "label_studio_webhooks.jsonl"
RECORDED: dict[str, dict[str, Any]] = {
    row["name"]: row["body"] for row in map(json.loads, FILE.read_text("utf-8").splitlines())
}


def body(name: str, **annotation: Any) -> bytes:
    """A recorded body, with other values in its annotation; a task's id goes into the task, too."""
    changed = copy.deepcopy(RECORDED[name])
    for key, value in annotation.items():
        changed["annotation"][key] = value
        if key == "task":
            changed["task"]["id"] = value
    return json.dumps(changed).encode()


class Dictionary:
    """A memory that the tests can look into."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Place, Remembered]] = {}
        self.sweeps: set[int] = set()

    def get(self, annotation: int) -> tuple[Place, Remembered] | None:
        return self.rows.get(annotation)

    def of_task(self, place: Place) -> dict[int, Remembered]:
        return {number: row for number, (where, row) in self.rows.items() if where == place}

    def put(self, annotation: int, place: Place, remembered: Remembered) -> None:
        self.rows[annotation] = (place, remembered)

    def want_sweep(self, project: int) -> None:
        self.sweeps.add(project)


class Receiver:
    """Bodies to events, as the receiver does it, without HTTP and disk."""

    def __init__(self) -> None:
        self.memory = Dictionary()
        self.ledger = Ledger(self.memory, "ls", lambda user: RosterEntry("manila-1", f"u-{user}"))

    def take(self, raw: bytes, seen_us: int = 1_795_390_700_000_000) -> list[Event]:
        _, facts = read(raw)
        return [event for fact in facts for event in self.ledger.take(fact, seen_us)]
