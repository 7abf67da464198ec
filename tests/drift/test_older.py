"""Rings of older checkpoints, recorded on a broker, hold after a restore what a new engine makes of the same events."""

import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors import mean_shift
from schemas.policy import Policy
from schemas.text import visible
from streams.engine.drift.names import NONE
from streams.engine.drift.recent import LABEL, REVIEW, Layout, Recent
from streams.engine.partition import PartitionEngine
from tests.drift.test_signals import Log
from tests.faults.recording import FOLDER, PARTITION, load, reader_of
from tests.oracle.compare import Record, commit

#: Format 1 had no rings, and those of format 4 are in today's form.
RECORDINGS = [FOLDER / f"format-1-{number}.msgpack.gz" for number in (2, 3)]


def reviews(engine: PartitionEngine) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """The rings of reviews, by site and role, with names in place of numbers."""
    memory = engine._drift.reviews.memory
    memory.settle()
    return {key: told(memory, memory.rings[number], REVIEW) for key, number in memory.ring_numbers.items()}


def labels(engine: PartitionEngine) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """The rings of labels, by site and project, with names in place of numbers."""
    found = engine._drift.labels
    found._settle()
    keys = [key for key in found._streams.keys if key is not None]
    assert len(keys) == len(found._streams.keys)
    return {(keys[n].site, keys[n].project): told(found, ring, LABEL) for n, ring in found._rings.items()}


def told(part: Any, ring: Recent, layout: Layout) -> list[tuple[object, ...]]:
    rows = ring.newest(layout.blank())
    if layout is LABEL:
        # Handling times beyond an hour are left out by now; older builds kept them as one of an hour.
        rows = rows[LABEL.of(rows, "handled") < mean_shift.quantised(np.array([3_600_000]))]
    tables = part.names if layout is REVIEW else {**part._members, "label": part._names}
    columns = part.columns(rows) if layout is REVIEW else part._columns(rows)
    if layout is REVIEW:
        # What a correct review says of an error is a remark by now; older builds kept it as one.
        columns["error_type"] = np.where(layout.of(rows, "wrong") > 0, columns["error_type"], NONE)
    by_name = {by: [tables[by][number] for number in column.tolist()] for by, column in columns.items()}
    # Older builds kept labels as they came.
    by_name["label"] = [visible(label[:128])[:128] for label in by_name["label"]]
    named = [column for _, column in sorted(by_name.items())]
    plain = [layout.of(rows, name).tolist() for name in (("at", "wrong") if layout is REVIEW else ("handled",))]
    return list(zip(*named, *plain, strict=True))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.split(".")[0])
def test_an_older_ring_is_taken_over_row_by_row(path: Path) -> None:
    recording = load(path)
    reader = reader_of(recording)
    (slots, _), manifest = reader.slots(), reader.manifest
    older = [key for key in slots if b"|ring|" in key]
    assert older
    engine = PartitionEngine.restore(PARTITION, Policy(), slots, manifest)
    fresh = PartitionEngine(PARTITION, Policy())
    fresh.apply([event for event in recording.events if event.offset <= recording.applied])
    assert reviews(engine) == reviews(fresh)
    assert labels(engine) == labels(fresh)
    assert sum(map(len, reviews(engine).values())) > 50

    # The next checkpoint has them in the new form alone, whether or not there are more events.
    for key, value in commit(engine).slots:
        if value is None:
            del slots[key]
        else:
            slots[key] = value
    assert not [key for key in slots if b"|ring|" in key]
    again = PartitionEngine.restore(PARTITION, Policy(), slots, manifest)
    assert reviews(again) == reviews(fresh)
    assert labels(again) == labels(fresh)


def test_signals_that_are_off_keep_nothing() -> None:
    engine = PartitionEngine(PARTITION, Policy.parse("[detection]\nsignals = []"))
    engine.apply(load(RECORDINGS[-1]).events)
    assert not [key for key, _ in engine.checkpoint().slots if key.startswith(b"drift")]


def test_a_drift_that_an_older_build_left_open_goes_on_with_the_new_test_of_its_end() -> None:
    log = Log()
    log.reviews(3000, 0.05)
    log.reviews(400, 0.25)
    policy = Policy.parse('[detection]\nsignals = ["accuracy"]')
    engine = PartitionEngine(PARTITION, policy)
    engine.apply([Record(n, each["at"], None, msgspec.json.encode(each)) for n, each in enumerate(log.events)])
    checkpoint = engine.checkpoint()
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    # The header is of this build; format 4 packed the test of the end in 32 bytes.
    header = msgspec.msgpack.decode(slots[b"drift|header"])
    assert header["episodes"]
    for _, episode in header["episodes"]:
        episode["test"] = struct.pack("<4d", 0.05, 0.15, 1.0, 2.5)
    slots[b"drift|header"] = msgspec.msgpack.encode(header)
    manifest = msgspec.msgpack.decode(checkpoint.manifest) | {"format": 4, "build": "0.1.0"}
    again = PartitionEngine.restore(PARTITION, policy, slots, msgspec.msgpack.encode(manifest))
    assert [stream for stream, _ in again.drifts()] == [stream for stream, _ in engine.drifts()]
    start = len(log.events)
    log.reviews(3000, 0.05)
    events = list(enumerate(log.events))[start:]
    again.apply([Record(n, each["at"], None, msgspec.json.encode(each)) for n, each in events])
    assert again.drifts() == []
