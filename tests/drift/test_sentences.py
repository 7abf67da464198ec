"""What is said of every scenario agrees with its record, as `labelwatch backtest` tells it: figures, way and order."""

from pathlib import Path

import pytest

from schemas.policy import Policy
from streams.ops.backtest import backtest
from streams.sources.scenarios import SCENARIOS
from streams.sources.simulate import Operation, Simulation
from tests.unit.sentences import disagreements

START_MS = 1_764_000_000_000
#: Budgets that let many drifts open, by chance alone too: what is seldom is where sentences go wrong.
POLICY = """
[oncall]
false_pages_per_month = 60
false_tickets_per_month = 2000
[defaults]
accuracy_target = 0.95
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_sentence_of_a_scenario_contradicts_its_record(tmp_path: Path, scenario: str) -> None:
    # Labels are learned from for three days before they are watched.
    hours, rate = (110, 0.08) if scenario == "handle-time" else (16, 0.5)
    plan = Simulation(START_MS, START_MS + hours * 3_600_000, scenario, 3, rate=rate, sites=3, points=0.12)
    file = tmp_path / "history.jsonl"
    file.write_bytes(b"".join(sent.value + b"\n" for sent in Operation(plan)))
    drifts = backtest(file, Policy.parse(POLICY)).run.drifts
    assert drifts, "the budgets let drifts open by chance, too"
    for record in drifts:
        assert not disagreements(record, "UTC"), (record.text, record.text_zh)
    assert [record.at for record in drifts] == sorted(record.at for record in drifts)
