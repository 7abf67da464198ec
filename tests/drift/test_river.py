"""River's detectors in the engine: river's own signals, exact through crashes, told without a promise."""

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from river import drift

from schemas.drift import DriftRecord
from schemas.policy import Policy
from streams.engine.drift import river as room
from streams.engine.drift.river_signals import split
from streams.engine.partition import PartitionEngine
from tests.drift.test_exact import history, run
from tests.drift.test_signals import Log
from tests.faults.recording import FOLDER, PARTITION, load, reader_of
from tests.oracle.compare import Record, commit

BUDGET = "[oncall]\nfalse_pages_per_month = 30\nfalse_tickets_per_month = 300\n"
SITES = Policy.parse(BUDGET + '[detection.river]\naccuracy = {name = "ADWIN", of = ["sites"]}')
EVERYONE = Policy.parse(
    BUDGET
    + """
[detection.river]
accuracy = "ADWIN"
agent_accuracy = {name = "PageHinkley", threshold = 8}
qa_accuracy = {name = "DDM", of = ["sites", "people"]}
[detection.river.error_finding]
name = "HDDMA"
of = ["sites", "people"]
drift_confidence = 0.05
warning_confidence = 0.1
two_sided_test = true
"""
)
NONE = Policy.parse(BUDGET)


def decoded(told: list[bytes]) -> list[DriftRecord]:
    return [msgspec.json.decode(value, type=DriftRecord) for value in told]


def of_river(told: list[bytes]) -> list[DriftRecord]:
    return [record for record in decoded(told) if record.detector != "labelwatch"]


@pytest.mark.parametrize("scenario", ["site-dip", "lenient-qa"])
def test_the_same_however_the_log_is_cut_and_whenever_the_worker_dies(scenario: str) -> None:
    records = history(scenario, 0)
    whole, expected = run(records, 1, most=100_000, policy=EVERYONE)
    assert {"HDDMA", "ADWIN"} <= {record.detector for record in of_river(expected)} or scenario == "lenient-qa"
    assert of_river(expected)
    for most, crash in ((150, 0.0), (2_000, 0.0), (400, 0.05)):
        engine, told = run(records, most, most, crash, EVERYONE)
        # By partition they are in the order of the log, ours and river's together.
        assert told == expected
        ours, theirs = engine.figures(whole.clock_ms).samples, whole.figures(whole.clock_ms).samples
        names = {name for name in ours.keys() | theirs.keys() if name.startswith("labelwatch_river")}
        assert names
        for name in names:
            assert sorted(ours[name]) == sorted(theirs[name]), name
        assert states(engine) == states(whole)


def states(engine: PartitionEngine) -> dict[tuple[str, ...], bytes]:
    found = engine._drift.reviews.river._beside.values()
    return {beside.stream: beside.detector.to_bytes() for beside in found if beside.detector}


def test_a_drift_opens_at_the_review_at_which_river_itself_signals_a_rise_of_errors() -> None:
    records = history("site-dip", 0)
    _, told = run(records, 3, 700, policy=SITES)
    outcomes: dict[str, list[tuple[int, int]]] = {}
    for record in records:
        event = json.loads(record.value or b"")
        if (
            event["type"] == "label_reviewed"
            and event.get("role", "agent") == "agent"
            and event.get("sampling") != "targeted"
            and event.get("round", 1) == 1
            and (event.get("source") or "qa") in ("qa", "audit", "consensus", "gold")
        ):
            outcomes.setdefault(event["site_id"], []).append((event["at"], int(not event["correct"])))
    expected = {}
    for site, found in outcomes.items():
        adwin: Any = drift.ADWIN  # river has no types
        detector, before = adwin(), 0
        for place, (at, wrong) in enumerate(found):
            detector.update(wrong)
            if detector.drift_detected:
                n, total = detector.width, detector.total
                older = [each for _, each in found[before : place + 1 - int(n)]]
                if older and total / n > sum(older) / len(older):
                    expected[site] = at
                    break
                before = place + 1
    opened: dict[str, int] = {}
    for opening in of_river(told):
        assert (opening.signal, opening.project_id, opening.budget, opening.run_length) == (
            "accuracy",
            "",
            "ticket",
            None,
        )
        if opening.status == "opened":
            opened.setdefault(opening.site_id, opening.opened_at)
    assert opened == expected
    assert "manila-1" in opened


def test_ours_are_as_without_river_but_for_what_is_said_of_it() -> None:
    records = history("site-dip", 0)
    _, with_river = run(records, 1, 5_000, policy=EVERYONE)
    engine, without = run(records, 1, 5_000, policy=NONE)
    ours = [record for record in decoded(with_river) if record.detector == "labelwatch"]
    plain = [msgspec.structs.replace(record, agrees_with="", text="", text_zh="") for record in ours]
    expected = [msgspec.structs.replace(record, text="", text_zh="") for record in decoded(without)]
    assert plain == expected
    assert not [name for name in engine.figures(engine.clock_ms).samples if "river" in name]
    assert not [key for key, _ in engine.checkpoint().slots if b"river" in key]


def test_who_agrees_is_told_in_both_records_and_languages() -> None:
    # In one of ten histories river is the first to find a dip, and ours agrees: as in this one.
    records = decoded(run(history("site-dip", 5), 1, 5_000, policy=EVERYONE)[1])
    open_now: dict[tuple[str, ...], dict[bool, str]] = {}
    said: Counter[bool] = Counter()
    for record in records:
        river = record.detector != "labelwatch"
        here = open_now.setdefault(
            (record.site_id, record.project_id, record.agent_id, record.signal, record.direction), {}
        )
        assert record.agrees_with == here.get(not river, "")
        said[river] += bool(record.agrees_with)
        if river:
            assert f"river's {record.detector}, no promise" in record.text
            assert f"river 的 {record.detector}" in record.text_zh
            assert ("own test agrees" in record.text) == bool(record.agrees_with) or record.status == "cleared"
        else:
            assert ("River's " in record.text) == bool(record.agrees_with)
        if record.status == "opened":
            here[river] = record.drift_id
        else:
            del here[river]
    assert said[True]
    assert said[False]


def test_causes_are_said_where_more_is_known_than_is_searched() -> None:
    log = Log()
    log.reviews(8_000, 0.05)
    log.reviews(600, 0.3, error_type="brand")
    _, records = log.run('[detection]\nsignals = ["accuracy"]\n[detection.river]\naccuracy = "ADWIN"')
    (opened,) = [record for record in records if record.detector == "ADWIN"]
    assert opened.before.n > 5_000
    assert "Too little is known" not in opened.text
    assert opened.causes


# --- what a restore finds


def stored(records: list[Record], policy: Policy) -> tuple[dict[bytes, bytes], bytes, PartitionEngine]:
    engine = PartitionEngine(0, policy)
    engine.apply(records)
    checkpoint = commit(engine)
    return {key: value for key, value in checkpoint.slots if value is not None}, checkpoint.manifest, engine


def active(engine: PartitionEngine) -> dict[tuple[str, ...], float]:
    return dict(engine.figures(engine.clock_ms).samples.get("labelwatch_river_drift_active", []))


@pytest.fixture(scope="module")
def dipped() -> tuple[dict[bytes, bytes], bytes, PartitionEngine]:
    return stored(history("site-dip", 0), SITES)


def test_another_river_starts_afresh_with_a_word_and_the_open_drift_stays(
    dipped: tuple[dict[bytes, bytes], bytes, PartitionEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, manifest, engine = dipped
    monkeypatch.setattr("detectors.river_adapter.river_version", lambda: "0.99.1")
    again = PartitionEngine.restore(0, SITES, slots, manifest)
    (note,) = again.notes
    assert note.startswith("3 detectors of river start afresh: the state of ADWIN is river 0.26.")
    assert note.endswith("and this is 0.99.1")
    assert active(again) == active(engine)
    assert [
        beside.detector and beside.detector.since_drift for beside in again._drift.reviews.river._beside.values()
    ] == [
        0,
        0,
        0,
    ]


def test_other_parameters_start_afresh_with_a_word_and_the_same_go_on_in_silence(
    dipped: tuple[dict[bytes, bytes], bytes, PartitionEngine],
) -> None:
    slots, manifest, engine = dipped
    assert PartitionEngine.restore(0, SITES, slots, manifest).notes == []
    other = Policy.parse(BUDGET + '[detection.river]\naccuracy = {name = "ADWIN", delta = 0.1, of = ["sites"]}')
    again = PartitionEngine.restore(0, other, slots, manifest)
    assert again.notes == ["3 detectors of river start afresh: the policy names ADWIN with other parameters"]
    assert active(again) == active(engine)
    damaged = {key: value.replace(b"ADWIN", b"ADWEN") if b"river" in key else value for key, value in slots.items()}
    assert "start afresh" in PartitionEngine.restore(0, SITES, damaged, manifest).notes[0]


def test_a_drift_ends_although_the_policy_has_river_no_more(
    dipped: tuple[dict[bytes, bytes], bytes, PartitionEngine],
) -> None:
    slots, manifest, engine = dipped
    kept = dict(slots)
    again = PartitionEngine.restore(0, NONE, slots, manifest)
    assert [labels for labels, value in active(again).items() if value] == [
        ("manila-1", "", "", "accuracy", "down", "ADWIN")
    ]
    # A steady stretch after it, at which the site is right as before.
    rng = random.Random(5)
    review = next(
        event
        for event in (msgspec.json.decode(record.value or b"") for record in history("site-dip", 0))
        if event["type"] == "label_reviewed" and event["site_id"] == "manila-1"
    )
    review = {key: value for key, value in review.items() if key not in ("revision", "supersedes")}
    more = []
    for n in range(6_000):
        at = engine.clock_ms + 1_000 * (n + 1)
        event = review | {
            "event_id": f"calm-{n}",
            "task_id": f"calm-{n}",
            "at": at,
            "labeled_at": at,
            "correct": rng.random() > 0.03,
            "source": "qa",
            "sampling": "random",
        }
        more.append(Record(engine.applied + 1 + n, at, None, msgspec.json.encode(event)))
    again.apply(more)
    checkpoint = commit(again)
    records = of_river([value for _, value in checkpoint.drift_records])
    assert [(record.status, record.detector) for record in records] == [("cleared", "ADWIN")]
    for key, value in checkpoint.slots:
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value
    assert not [key for key in kept if b"river" in key]
    assert not active(again)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.msgpack.gz")), ids=lambda path: path.name.split(".")[0])
def test_river_can_be_switched_on_over_an_older_checkpoint(path: Path) -> None:
    recording = load(path)
    reader = reader_of(recording)
    engine = PartitionEngine.restore(PARTITION, EVERYONE, reader.slots()[0], reader.manifest)
    engine.apply([event for event in recording.events if event.offset > recording.applied])
    assert [key for key, _ in commit(engine).slots if key.startswith(room._PREFIX)]
    assert engine.notes == []


# --- the change behind a signal


def test_the_place_of_a_change_is_that_of_the_highest_likelihood() -> None:
    rng = random.Random(2)
    newest_first = [int(rng.random() < 0.3) for _ in range(120)] + [int(rng.random() < 0.05) for _ in range(800)]
    found = split(np.array(newest_first, np.uint8), None)
    assert found is not None

    def likelihood(k: int) -> float:
        total = 0.0
        for part in (newest_first[:k], newest_first[k:]):
            for wrong in (sum(part), len(part) - sum(part)):
                total += wrong * math.log(wrong / len(part)) if wrong else 0.0
        return total

    assert found[0] == max(range(5, 891), key=likelihood)
    assert 100 < found[0] < 140
    assert found[1]
    assert split(np.array(newest_first, np.uint8), False) != found
    assert split(np.array(newest_first[:34], np.uint8), None) is None
    assert split(np.zeros(500, np.uint8), None) is None
