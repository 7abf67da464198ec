"""More people than a partition holds: sites stay exact, what is left out is counted, memory is bounded."""

import random
from collections import Counter

import pytest

from schemas.policy import Policy
from streams.engine import intake, numbering, partition, parts
from streams.engine.partition import PartitionEngine
from tests.oracle.compare import Record, batches, commit, differences, engine_figures, of_sites
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import DAY_MS, START_MS, adversarial


@pytest.fixture
def small_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PEOPLE_MAX", 300)
    monkeypatch.setattr(numbering, "NAMES_HELD_MAX", 400)
    monkeypatch.setattr(partition, "CAP_CHECK_RECORDS", 256)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("small_caps")
def test_sites_are_exact_and_crashes_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    records = adversarial(seed, 6_000, DAY_MS)
    oracle, whole = Oracle(Policy(), 3), PartitionEngine(3, Policy())
    oracle.feed(records)
    whole.apply(records)
    commit(whole)
    lines = differences(whole, oracle, oracle.clock)
    assert any("unnamed" in line for line in lines), "the cap was met"
    assert not of_sites(lines)

    slots: dict[bytes, bytes] = {}
    engine = PartitionEngine(3, Policy())
    for batch in batches(records, rng, 700):
        engine.apply(batch)
        if rng.random() < 0.3:
            checkpoint = commit(engine)
            slots |= {key: value for key, value in checkpoint.slots if value is not None}
            for key in [key for key, value in checkpoint.slots if value is None]:
                slots.pop(key, None)
            if rng.random() < 0.5:
                engine = PartitionEngine.restore(3, Policy(), slots, checkpoint.manifest)
    commit(engine)
    assert engine_figures(engine, oracle.clock) == engine_figures(whole, oracle.clock)
    assert all(len(table.index) <= 300 for table in (engine._people._people, engine._people._reviewers))
    assert len(engine._intake.persons) < 400 + 256 + 700


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_people() -> None:
    """Real caps: a million labels, each by somebody new."""
    count, sites = 1_000_000, 20
    engine = PartitionEngine(3, Policy())
    label = '{"type":"label_submitted","event_id":"%d","at":%d,"site_id":"s%d","agent_id":"a%d","project_id":"p",'
    expected: Counter[str] = Counter()
    for start in range(0, count, 5_000):
        numbers = range(start, start + 5_000)
        expected.update(f"s{n % sites}" for n in numbers)
        engine.apply(
            [
                Record(n, None, None, (label % (n, START_MS + n, n % sites, n) + '"task_id":"t"}').encode())
                for n in numbers
            ]
        )
    checkpoint = commit(engine)
    figures = engine_figures(engine, engine.clock_ms)
    assert {labels[0]: n for labels, n in figures["labelwatch_labels_total"].items()} == expected
    assert sum(figures["labelwatch_unnamed_events_total"].values()) == count - parts.PEOPLE_MAX
    named = [n for labels, n in figures["labelwatch_agent_labels"].items() if labels[-1] == "1h"]
    assert (len(named), sum(named)) == (parts.PEOPLE_MAX, parts.PEOPLE_MAX)
    assert len(engine._intake.persons) <= numbering.NAMES_HELD_MAX + intake.CAP_CHECK_RECORDS
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    restored = PartitionEngine.restore(3, Policy(), slots, checkpoint.manifest)
    assert engine_figures(restored, engine.clock_ms) == figures
