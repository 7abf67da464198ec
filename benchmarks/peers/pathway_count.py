"""Peer: Pathway, counts by person in memory; its own JSON reader, its own reducers."""

import os
from typing import Any

import pathway as pw

from benchmarks.peers.work import Meter, arguments


class PathwayEvent(pw.Schema):
    """The fields that are counted."""

    type: str
    site_id: str
    agent_id: str = pw.column_definition(default_value="")
    handle_ms: int = pw.column_definition(default_value=0)
    correct: bool = pw.column_definition(default_value=False)


def main(bootstrap: str, topic: str, meter: Meter) -> None:
    """Runs until the meter has seen enough."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": f"bench-pathway-{os.getpid()}",
        "auto.offset.reset": "earliest",
    }
    events = pw.io.kafka.read(settings, topic, format="json", schema=PathwayEvent, autocommit_duration_ms=1000)
    work = events.filter((pw.this.type == "label_submitted") | (pw.this.type == "label_reviewed"))
    people = work.groupby(pw.this.site_id, pw.this.agent_id).reduce(
        pw.this.site_id,
        pw.this.agent_id,
        labels=pw.reducers.sum(pw.if_else(pw.this.type == "label_submitted", 1, 0)),
        reviews=pw.reducers.sum(pw.if_else(pw.this.type == "label_reviewed", 1, 0)),
        correct=pw.reducers.sum(pw.if_else(pw.this.correct, 1, 0)),
        handle_ms=pw.reducers.sum(pw.this.handle_ms),
    )
    pw.io.null.write(people)
    # One row: what is seen of progress takes next to nothing.
    passed = events.reduce(events=pw.reducers.count())
    before = 0

    def saw(key: pw.Pointer, row: dict[str, Any], time: int, is_addition: bool) -> None:
        nonlocal before
        if is_addition:
            meter.saw(row["events"] - before)
            before = row["events"]

    pw.io.subscribe(passed, on_change=saw)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    given = arguments(__doc__)
    main(given.bootstrap, given.topic, Meter(given.wanted, given.uncounted))
