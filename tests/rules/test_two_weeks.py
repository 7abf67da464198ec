"""Two weeks of steady work with deployments, restarts, hand-overs, missed scrapes and a Prometheus away: no page.

Fourteen days as half hours at the shipped interval, each with a day's disturbances, for what the rules say of the
monitor; and fourteen days in steps of five minutes, for what they say of sites.
"""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.rules.stories import tell
from tests.rules.test_catalogue import ALERTS

pytestmark = [pytest.mark.promtool, pytest.mark.slow, pytest.mark.timeout(1800)]

_STEP_SECONDS = 5
_STEPS = 360
_PARTITIONS = range(4)
_TOPIC = 'topic="labeling.events.v1"'
_REASONS = ("member", "assigned", "restored", "caught_up", "dead_letters", "clock")
#: Those that somebody hears of, by name: promtool is given these alone, and what they read.
_HEARD = "|".join(name for name, rule in ALERTS.items() if rule["labels"]["severity"] in ("page", "ticket"))
FIRED = f'count by (alertname) (count_over_time(ALERTS{{alertname=~"{_HEARD}",alertstate="firing"}}[30d]))'

Samples = dict[str, list[str]]


class _Fleet:
    """Two workers and their four partitions, scraped every 5 s; what a scrape finds is written down.

    Attributes:
        samples: Series to samples, `_` where there is none.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now = 0
        self._started = {"w1": 0, "w2": 0}
        self._up_again = {"w1": 0, "w2": 0}
        self._owner = {p: "w1" if p < 2 else "w2" for p in _PARTITIONS}
        self._open_again = dict.fromkeys(_PARTITIONS, 0)
        self._committed = dict.fromkeys(_PARTITIONS, 0)
        self._failures = {"w1": 0, "w2": 0}
        self.samples: Samples = defaultdict(lambda: ["_"] * self._now)

    def restart(self, worker: str, down_steps: int) -> None:
        """A worker goes and comes back; the other one has its partitions meanwhile, and gives half of them back."""
        other = "w2" if worker == "w1" else "w1"
        self._up_again[worker] = self._now + down_steps
        self._started[worker] = (self._now + down_steps) * _STEP_SECONDS
        self._failures[worker] = 0
        for partition, owner in self._owner.items():
            if owner == worker:
                self.hand_over(partition, other)

    def hand_over(self, partition: int, to: str) -> None:
        """A partition is shown by nobody while its new owner restores it."""
        self._owner[partition] = to
        self._open_again[partition] = self._now + self._rng.randrange(1, 6)

    def stumble(self, worker: str) -> None:
        """One checkpoint fails and the next one is written."""
        self._failures[worker] += 1

    def step(self, missed: set[str], away: bool) -> None:
        """One scrape of each worker; `missed` ones time out, and Prometheus may be away."""
        found: dict[str, float] = {}
        for worker in ("w1", "w2"):
            at = f'instance="{worker}",job="labelwatch"'
            answers = self._now >= self._up_again[worker] and worker not in missed
            found[f"up{{{at}}}"] = int(answers)
            if answers:
                self._worker(found, worker, at)
        for name in found.keys() | self.samples.keys():
            value = "_" if away else f"{found[name]:.17g}" if name in found else "stale"
            self.samples[name].append(value)
        self._now += 1

    def _worker(self, found: dict[str, float], worker: str, at: str) -> None:
        seconds = self._now * _STEP_SECONDS
        mine = [p for p, owner in self._owner.items() if owner == worker]
        is_open = all(self._now >= self._open_again[p] for p in mine)
        joined = seconds - self._started[worker] >= 10 or self._started[worker] == 0
        found[f"process_start_time_seconds{{{at}}}"] = self._started[worker] + 1
        for reason in _REASONS:
            fine = joined and (is_open or reason not in ("restored", "caught_up"))
            found[f'labelwatch_ready{{reason="{reason}",{at}}}'] = int(fine or reason in ("dead_letters", "clock"))
        for partition in _PARTITIONS:
            of = f'{_TOPIC},partition="{partition}",{at}'
            owned = partition in mine and joined
            found[f"labelwatch_partition_owned{{{of}}}"] = int(owned)
            if owned:
                found[f"labelwatch_partition_restored{{{of}}}"] = int(self._now >= self._open_again[partition])
            found[f'labelwatch_checkpoint_failures_total{{reason="no_answer",{of}}}'] = self._failures[worker]
            if not owned or self._now < self._open_again[partition]:
                continue
            self._committed[partition] = seconds
            found[f"labelwatch_consumer_lag_seconds{{{of}}}"] = self._rng.choice((2, 5, 7))
            found[f"labelwatch_figures_lag_seconds{{{of}}}"] = 0
            found[f"labelwatch_last_commit_timestamp_seconds{{{of}}}"] = self._committed[partition]
            site = f'site="site-{partition}"'
            found[f'labelwatch_site_info{{{site},vendor="",timezone="UTC",partition="{partition}",{at}}}'] = 1
            found[f'labelwatch_site_last_event_timestamp_seconds{{{site},type="label_submitted",{at}}}'] = seconds
            found[f'labelwatch_site_active_agents{{{site},role="agent",window="15m",{at}}}'] = 40
            found[f'labelwatch_site_labels{{{site},window="15m",{at}}}'] = 500


def a_day(seed: int) -> Samples:
    """A day's disturbances in half an hour."""
    rng = random.Random(seed)
    fleet = _Fleet(rng)
    deployment = rng.randrange(40, 100)
    away = rng.randrange(200, 240)
    for step in range(_STEPS):
        if step == deployment:
            fleet.restart("w1", rng.randrange(2, 5))
        elif step == deployment + 12:
            fleet.hand_over(0, "w1")
            fleet.restart("w2", rng.randrange(2, 5))
        elif step in (deployment + 24, 150, 310):
            fleet.hand_over(2, "w2")
            fleet.hand_over(3, rng.choice(("w1", "w2")))
        elif step in (deployment + 84, deployment + 96) and seed % 3 == 1:  # rolled back, seven minutes later
            fleet.restart("w1" if step == deployment + 84 else "w2", rng.randrange(2, 5))
        elif step == 280 and seed % 3 == 0:
            fleet.restart("w1", 6)  # a crash
        if step % 120 == 60:
            fleet.stumble("w1")
        fleet.step({worker for worker in ("w1", "w2") if rng.random() < 0.02}, away <= step < away + 12)
    return fleet.samples


def ran(tmp_path: Path, stories: list[tuple[Samples, str, list[dict[str, Any]]]], evaluation: str) -> None:
    told = [
        {
            "interval": evaluation,
            "input_series": [{"series": name, "values": " ".join(values)} for name, values in samples.items()],
            "promql_expr_test": [{"expr": FIRED, "eval_time": at, "exp_samples": expected}],
        }
        for samples, at, expected in stories
    ]
    tell(tmp_path, {"evaluation_interval": evaluation}, told)


@pytest.mark.parametrize("first", [0, 7])
def test_a_weeks_deployments_restarts_hand_overs_and_gaps_page_nobody(tmp_path: Path, first: int) -> None:
    ran(tmp_path, [(a_day(seed), "30m", []) for seed in range(first, first + 7)], "5s")


def test_the_same_fleet_pages_when_a_worker_dies_again_and_again(tmp_path: Path) -> None:
    """So that the silence above is not the harness'."""
    fleet = _Fleet(random.Random(1))
    for step in range(_STEPS):
        if step > 60 and step % 12 == 0:
            fleet.restart("w1", 2)
        fleet.step(set(), away=False)
    expected = [{"labels": '{alertname="LabelwatchWorkerRestarting"}', "value": 1}]
    ran(tmp_path, [(fleet.samples, "30m", expected)], "5s")


def test_two_weeks_of_sites_that_are_on_target_make_no_ticket(tmp_path: Path) -> None:
    rng = random.Random(3)
    steps = 14 * 288
    samples: Samples = {}
    for number in _PARTITIONS:
        at = f'site="site-{number}",instance="w1",job="labelwatch"'
        of_agents = f'{at},role="agent",window="24h"'
        figures = {
            f'labelwatch_target_ratio{{{at},project="",market="",kind="accuracy"}}': (0.95, 0.95),
            f'labelwatch_target_ratio{{{at},project="",market="",kind="utilization"}}': (0.75, 0.75),
            f'labelwatch_policy_min_reviews{{{at},project="",market=""}}': (30, 30),
            f"labelwatch_site_accuracy_ratio{{{of_agents}}}": (0.94, 0.965),
            # It dips below the target for an hour here and there, as it does by chance.
            f"labelwatch_site_accuracy_upper_ratio{{{of_agents}}}": (0.948, 0.98),
            f"labelwatch_site_accuracy_lower_ratio{{{of_agents}}}": (0.91, 0.94),
            f"labelwatch_site_reviews{{{of_agents}}}": (200, 400),
            f'labelwatch_site_labels{{{at},window="24h"}}': (4_000, 6_000),
            f'labelwatch_site_utilization_ratio{{{at},window="24h"}}': (0.72, 0.8),
        }
        for name, (low, high) in figures.items():
            samples[name] = [f"{rng.uniform(low, high):.6g}" for _ in range(steps)]
    for step in range(steps):
        if rng.random() < 0.02:  # a scrape that found nothing: a hand-over, a restart, a time-out
            for values in samples.values():
                values[step] = "stale"
    ran(tmp_path, [(samples, "14d", [])], "5m")
