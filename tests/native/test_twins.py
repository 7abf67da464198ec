"""The native reader does what Python's does, after each batch: columns, tallies, dead letters, checkpoint slots."""

import dataclasses
import json
import os
import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.load import events
from schemas.events import STATES
from schemas.policy import Limits
from streams import native
from streams.engine import horizon, numbering, panes, times
from streams.engine.batch import ColumnBatch, DeadLetter, KafkaRecord
from streams.engine.intake import Intake
from streams.engine.limits import Admitted
from streams.engine.native_reader import NativeReader, new_reader
from streams.engine.reader import PythonReader, Reader, Run
from streams.exporter import MonitorState
from tests.native.answers import natively
from tests.oracle.compare import Record
from tests.oracle.test_fuzz import RAW, VALUES, mutate
from tests.oracle.traffic import DAY_MS, START_MS, adversarial

MODULE = native.load()
# Without cargo there is no twin to compare. Never in CI: native/build fails there where it cannot build it.
# Cargo is no need of a developer; CI has it, where a skip is a failure (tests/conftest.py).
pytestmark = pytest.mark.skipif(MODULE is None, reason="the native reader was not built: no cargo")

ROOT = Path(__file__).parents[2]
#: Records of each kind, of which there are four.
COUNT = 25_000 if os.environ.get("CI") == "true" else 6_000


def native_reader() -> Reader:
    return NativeReader(MODULE)


def plain(count: int, seed: int) -> list[Record]:
    """What producers send all day, in order, with repeats."""
    rng = random.Random(seed)
    end_ms = START_MS + DAY_MS
    return [
        Record(n, end_ms, site.encode(), json.dumps(event, separators=rng.choice((None, (",", ":")))).encode())
        for n, (site, event) in enumerate(events(count, seed=seed, end_ms=end_ms, people=200))
    ]


def mutated(count: int, seed: int) -> list[Record]:
    rng = random.Random(seed)
    valid = [record.value for record in plain(1_000, seed)] + [record.value for record in adversarial(seed, 1_000)]
    return [Record(n, START_MS + 2 * DAY_MS, None, mutate(rng, rng.choice(valid) or b"")) for n in range(count)]


def typical(count: int, seed: int) -> list[Record]:
    """Labels, reviews and states of which each field is, now and then, what it may just be or may not."""
    rng = random.Random(seed)
    records = []
    label: dict[str, tuple[Any, ...]] = {
        "skipped": (True, False), "handle_ms": (0, 99, 100, 5_000, 604_800_000, 2**62), "label": ("a", "b", ""),
        "market": ("US", "DE"), "sop_version": ("1", "2"), "purpose": ("gold", "production"), "attempt": (1, 0),
        "stratum": ("hard",), "skip_reason": ("?",), "correct": (5,),
    }  # fmt: skip
    review: dict[str, tuple[Any, ...]] = {
        "reviewer_id": ("q1", "q2"), "sampling": ("random", "full", "x"), "label": ("a", ""), "role": ("qa", "agent"),
        "source": ("audit", "qa"), "review_round": (1, 2, 1.0), "score": (0, 1, 0.5, 1.5), "errors": ([], None),
        "review_ms": (0, 50, 5_000, 2**62), "sampling_rate": (1, 0.25, 0, 1e-3), "stratum": ("hard", "easy"),
        "error_type": ("wrong", ""), "severity": ("minor", "none"), "verdict": (True, 1), "skipped": (5,),
    }  # fmt: skip
    state: dict[str, tuple[Any, ...]] = {
        "state": ("offline", "asleep", 1), "queue": ("q",), "shift_id": ("early", ""), "reason": ("lunch", ""),
        "paid": (True, False, 1), "estimated": (True, False, None, 1),
        "project_id": ("p1", "p3", "", None), "task_id": (5,), "market": (5,),
    }  # fmt: skip
    all_fields = {"label_submitted": label, "label_reviewed": review, "state_changed": state}
    now_ms = START_MS
    for n in range(count):
        now_ms += rng.choice((0, 5, 500, 90_000))
        at = now_ms - rng.choice((0, 0, 0, 0, 60_000, 1_000_000, 700_000_000))
        event: dict[str, Any] = {
            "type": rng.choice(sorted(all_fields)), "event_id": f"e{rng.randrange(n, n + 50)}",
            "at": at, "site_id": rng.choice(("s1", "s2", "s3")), "agent_id": rng.choice("abcdef"),
            "project_id": rng.choice(("p1", "p2")), "task_id": f"t{n}",
        }  # fmt: skip
        fields = all_fields[event["type"]]
        if fields is review:
            event["correct"] = rng.random() < 0.8
            event["labeled_at"] = at - rng.choice((0, 5_000, -299_999, -300_001, 8_000_000_000))
        if fields is state:
            event["state"] = rng.choice(STATES)
            if rng.random() < 0.5:
                del event["project_id"]
        for name in rng.sample(sorted(fields), rng.randrange(6)):
            event[name] = rng.choice((*fields[name], *fields[name], None))
        if rng.random() < 0.02:
            event[rng.choice(sorted(event))] = rng.choice(VALUES)
        value = json.dumps(event, ensure_ascii=rng.random() < 0.5).encode()
        if rng.random() < 0.01:
            value = value.replace(b":", b":" + rng.choice(RAW) + b",", 1)
        records.append(Record(n, rng.choice((now_ms, now_ms, None)), None, value))
    return records


def same(of_python: ColumnBatch[Any], of_native: ColumnBatch[Any]) -> None:
    for each in dataclasses.fields(ColumnBatch):
        ours, theirs = getattr(of_python, each.name), getattr(of_native, each.name)
        if isinstance(ours, tuple):
            for left, right in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(left, right, each.name)
        else:
            assert ours == theirs, each.name


def cuts(records: list[Record], rng: random.Random) -> Iterator[list[Record]]:
    start = 0
    while start < len(records):
        stop = start + rng.choice((1, 3, 20, 100, 500))
        yield records[start:stop]
        start = stop


KINDS = {
    "plain": lambda: plain(COUNT, 1),
    "adversarial": lambda: adversarial(2, COUNT),
    "mutated": lambda: mutated(COUNT, 3),
    "typical": lambda: typical(COUNT, 4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_readers_decide_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "MODULE", MODULE)  # also where it is switched off
    monkeypatch.setattr(numbering, "NAMES_HELD_MAX", 300)
    monkeypatch.setattr(horizon, "DUPLICATE_IDS_MAX", 2_000)
    rng = random.Random(kind)
    limits = Limits(combinations=40) if kind == "typical" else Limits()

    def twins() -> list[Intake]:
        return [Intake(None, Admitted(limits), reader) for reader in (PythonReader(), native_reader())]

    both, slots = twins(), dict[bytes, bytes]()
    letters: list[list[DeadLetter]] = [[], []]
    restores = 0
    for records in cuts(KINDS[kind](), rng):
        # Half of them as the broker sends them; a record without an append time has none there, but -1.
        is_fetched = rng.random() < 0.5 and all(record.timestamp is not None for record in records)
        given = records, natively(records) if is_fetched else records
        same(*(intake.read(some, dead) for intake, some, dead in zip(both, given, letters, strict=True)))
        assert letters[0] == letters[1]
        assert both[0].manifest() == both[1].manifest()
        assert both[0].persons == both[1].persons
        assert both[0].verdicts == both[1].verdicts
        assert both[0].states == both[1].states
        dice = rng.random()
        if dice < 0.1:
            for intake in both:
                intake.enforce_cap()
        elif dice < 0.3 or not slots:
            written = [list(intake.slots()) for intake in both]
            assert written[0] == written[1]
            for key, value in written[0]:
                slots.pop(key, None)
                if value is not None:
                    slots[key] = value
            if dice < 0.15 or not restores:
                manifest = both[0].manifest()
                both = twins()
                for intake in both:
                    intake.restore(manifest, slots)
                restores += 1
    assert restores


def test_what_is_frequent_is_read_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare Python with itself."""
    intake = Intake(reader=native_reader())
    records = plain(5_000, 5)
    intake.read(records[:4_000], [])
    decided: list[KafkaRecord] = []
    loop = intake._read_chunk

    def noted(run: Run, some: Sequence[KafkaRecord]) -> None:
        decided.extend(some)
        loop(run, some)

    monkeypatch.setattr(intake, "_read_chunk", noted)
    intake.read(records[4_000:], [])
    assert len(decided) < 100

    def states(some: Sequence[KafkaRecord]) -> int:
        return sum(b"state_changed" in (record.value or b"") for record in some)

    assert states(decided) < states(records[4_000:])


@pytest.mark.parametrize(
    "hidden", ["\u3164", "\u115f", "\u034f", "\u200b", "\ufe0f", "\u2800", "\U000e0100"], ids=ascii
)
def test_neither_takes_the_twin_of_a_site_or_an_agent_that_it_knows(hidden: str) -> None:
    records = plain(2_000, 7)
    known = json.loads(records[-1].value or b"")
    for field in ("site_id", "agent_id"):
        for is_escaped in (False, True):
            twin = json.dumps(known | {field: known[field] + hidden}, ensure_ascii=is_escaped).encode()
            records.append(Record(len(records), START_MS + DAY_MS, None, twin))
    letters: list[list[DeadLetter]] = [[], []]
    for reader, dead in zip((PythonReader(), native_reader()), letters, strict=True):
        Intake(reader=reader).read(records, dead)
    assert letters[0] == letters[1]
    assert [(letter.offset, letter.reason) for letter in letters[0]] == [(2_000 + n, "schema") for n in range(4)]


def test_it_has_the_engines_numbers() -> None:
    assert MODULE.MINUTE_MS == panes.MINUTE_MS
    assert MODULE.AHEAD_MS == times.AHEAD_MS
    assert (MODULE.REFERS_BACK_MS, MODULE.LONGEST_MS) == (times.REFERS_BACK_MS, times.LONGEST_MS)
    assert MODULE.DUPLICATE_MINUTES == horizon.DUPLICATE_MINUTES


def decided_in_python(batches: list[list[Record]], monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Offsets of what the native reader leaves to Python."""
    intake = Intake(reader=native_reader())
    decided: set[int] = set()
    loop = intake._read_chunk

    def noted(run: Run, some: Sequence[KafkaRecord]) -> None:
        decided.update(record.offset for record in some)
        loop(run, some)

    monkeypatch.setattr(intake, "_read_chunk", noted)
    for batch in batches:
        intake.read(batch, [])
    return decided


@pytest.mark.parametrize(
    ("kind", "things"),
    [("label", 6), ("mistake", 17), ("repeat", 1), ("state", 5)],
)
def test_a_panic_at_any_change_leaves_nothing_of_the_record(
    kind: str, things: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A record fails in the midst of a batch, after each of the things it changes: nothing is lost, nothing twice."""
    # Of a site and state that were met before, as the native reader wants it.
    records = plain(5_000 if kind == "state" else 1_600, 6)
    batches = [records[:-600], records[-600:-100], records[-100:]]
    of_rare = decided_in_python(batches, monkeypatch)
    signs = {
        "label": b"label_submitted",
        "mistake": b'"error_type"',
        "repeat": b"label_submitted",
        "state": b"state_changed",
    }
    offset = next(
        record.offset
        for before, record in pairwise(records[-550:-100])
        if record.offset not in of_rare
        and signs[kind] in (record.value or b"")
        and (json.loads(before.value or b"") == json.loads(record.value or b"")) == (kind == "repeat")
    )
    of_python = Intake(reader=PythonReader())
    expected = [of_python.read(batch, []) for batch in batches]
    manifest, slots = of_python.manifest(), list(of_python.slots())
    failed = 0
    for changes in range(30):
        monkeypatch.setattr(native, "MODULE", MODULE)
        monkeypatch.setattr(native, "WHY_NOT", "")
        monkeypatch.setattr(native, "failures", 0)
        reader = native_reader()
        intake = Intake(reader=reader)
        for batch, right in zip(batches, expected, strict=True):
            fails_at = offset - batch[0].offset if batch is batches[1] else None
            reader._native.fail_at(fails_at, changes)  # type: ignore[attr-defined]  # the native one
            same(right, intake.read(batch, []))
        assert intake.manifest() == manifest
        assert list(intake.slots()) == slots
        if not native.failures:
            break
        failed += 1
        assert (native.name(), native.WHY_NOT) == ("python", f"failed at offset {offset}")
        assert MonitorState().process_figures().samples["labelwatch_native_reader_failures_total"] == [((), 1)]
        assert "as a test asked for" in capfd.readouterr().err
    # Before all of them, and after each; only then a run that does not fail.
    assert failed == 1 + things


def test_a_module_that_was_built_for_other_code_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update without `make setup`."""
    monkeypatch.delenv(native.SWITCH, raising=False)
    assert not native.is_stale()
    monkeypatch.delattr(MODULE, "INTERFACE")
    assert native.is_stale()
    assert native._look() == (None, "of another version of labelwatch: run make setup")
    monkeypatch.setattr(native, "MODULE", None)
    assert isinstance(new_reader(), PythonReader)


def test_the_page_names_the_licence_of_each_crate() -> None:
    locked = tomllib.loads((ROOT / "native" / "Cargo.lock").read_text("utf-8"))["package"]
    page = (ROOT / "docs" / "native.md").read_text("utf-8").partition("| crate | licence |")[2]
    named = {crate for line in re.findall(r"^\| ([a-z0-9_, -]+) \|", page, re.M) for crate in line.split(", ")}
    assert named == {crate["name"] for crate in locked if "source" in crate}
