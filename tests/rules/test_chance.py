"""The simulation behind docs/alerting.md, against facts known otherwise; and the document against the rules."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import alert_chance
from tests.rules.test_catalogue import ALERTS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "alerting.md").read_text("utf-8")


def test_a_window_is_the_current_hour_and_those_before_it() -> None:
    counts = np.arange(30 * alert_chance.STEPS_AN_HOUR, dtype=np.int64).reshape(1, -1)
    summed = alert_chance.window(counts, 24)
    step = 27 * alert_chance.STEPS_AN_HOUR + 2
    assert summed[0, step] == sum(range(4 * alert_chance.STEPS_AN_HOUR, step + 1))
    assert summed[0, 5] == sum(range(6))


def test_a_firing_needs_the_whole_time_and_is_one_while_it_is_kept() -> None:
    first = alert_chance.WARM_UP_DAYS * alert_chance.STEPS_A_DAY
    condition = np.zeros((1, first + 10 * alert_chance.STEPS_A_DAY), bool)
    condition[0, first : first + 7] = True  # an hour and one evaluation
    condition[0, first + 20 : first + 26] = True  # an evaluation too short
    condition[0, first + 40 : first + 50] = True
    assert alert_chance.fired(condition, 1).per_site == 2
    assert alert_chance.fired(condition, 1, 24).per_site == 1
    assert alert_chance.fired(~condition[:, :0], 1).per_site == 0


@pytest.mark.parametrize(("cluster", "rho"), [(1, 0.0), (10, 0.05)])
def test_reviews_have_the_accuracy_and_the_clusters_asked_for(cluster: int, rho: float) -> None:
    n, correct = alert_chance.reviews(np.random.default_rng(1), 300, 1000, 0.95, cluster, rho)
    assert n.sum() / 300 == pytest.approx(1000 * (alert_chance.DAYS + alert_chance.WARM_UP_DAYS), rel=0.01)
    assert correct.sum() / n.sum() == pytest.approx(0.95, abs=0.001)
    days_n = n.reshape(300, -1, alert_chance.STEPS_A_DAY).sum(axis=2)
    days_k = correct.reshape(300, -1, alert_chance.STEPS_A_DAY).sum(axis=2)
    excess = np.var((days_k - 0.95 * days_n) / np.sqrt(0.95 * 0.05 * days_n))
    assert excess == pytest.approx(1 + (cluster - 1) * rho, rel=0.05)


def test_a_threshold_on_target_is_crossed_nearly_everywhere_and_the_ticket_is_rare() -> None:
    rules = alert_chance.accuracy_rules(*alert_chance.reviews(np.random.default_rng(2), 200, 1000, 0.95))
    assert rules["the same threshold as a page, at once"].sites_ratio > 0.9
    assert rules["LabelwatchSiteAccuracyBelowTarget"].sites_ratio < 0.08
    assert rules["LabelwatchSiteErrorBudgetBurn, 24h"].sites_ratio < 0.02


def test_the_document_lists_every_alert_with_its_severity_and_its_chance() -> None:
    listed = dict(re.findall(r"^\| `(Labelwatch\w+)` \| (\w+) \|", DOCUMENT, re.M))
    assert listed == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    made = DOCUMENT.split(alert_chance.BEGIN)[1].split(alert_chance.END)[0]
    of_figures = {
        name
        for name, rule in ALERTS.items()
        if re.search(r"accuracy|unreviewed|burn|utilization|throughput", rule["expr"])
    }
    assert of_figures == set(re.findall(r"Labelwatch\w+", made))
