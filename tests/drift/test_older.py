"""Rings of older checkpoints, recorded on a broker, hold after a restore what a new engine makes of the same events."""

from pathlib import Path

import pytest

from schemas.policy import Policy
from streams.engine.drift.recent import LABEL, REVIEW, Recent
from streams.engine.partition import PartitionEngine
from tests.faults.recording import FOLDER, PARTITION, load, reader_of
from tests.oracle.compare import commit

RECORDINGS = [path for path in sorted(FOLDER.glob("*.msgpack.gz")) if not path.name.startswith("format-1-1")]


def reviews(engine: PartitionEngine) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """The rings of reviews, by site and role, with names in place of numbers."""
    drift = engine._drift
    drift._settle()
    return {key: told(drift, drift._rings[number], REVIEW) for key, number in drift._ring_numbers.items()}


def labels(engine: PartitionEngine) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    """The rings of labels, by site and project, with names in place of numbers."""
    found = engine._drift._labels
    found._settle()
    keys = found._streams.keys
    return {(keys[n].site, keys[n].project): told(found, ring, LABEL) for n, ring in found._rings.items()}


def told(part, ring: Recent, layout) -> list[tuple[object, ...]]:
    rows = ring.newest(layout.blank())
    tables = part._names if layout is REVIEW else {**part._members, "label": part._names}
    named = [[tables[by][number] for number in column.tolist()] for by, column in sorted(part._columns(rows).items())]
    plain = [layout.of(rows, name).tolist() for name in (("at", "wrong") if layout is REVIEW else ("handled",))]
    return list(zip(*named, *plain, strict=True))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.split(".")[0])
def test_an_older_ring_is_taken_over_row_by_row(path: Path):
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


def test_signals_that_are_off_keep_nothing():
    engine = PartitionEngine(PARTITION, Policy.parse("[detection]\nsignals = []"))
    engine.apply(load(RECORDINGS[-1]).events)
    assert not [key for key, _ in engine.checkpoint().slots if key.startswith(b"drift")]
