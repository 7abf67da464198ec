"""One operation, three ways to its figures: `compute` over the file, `explain` from the topic, the worker's page."""

import time
from pathlib import Path
from typing import Any

import pytest

from schemas.policy import Policy
from streams.ops.compute import as_json, compute
from streams.ops.explain import Question, explain
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.replay import ReplayOptions, run_replay
from streams.sources.simulation_run import SimulationOptions, run_simulation
from streams.sources.sinks import KafkaTarget
from streams.views.reading import read
from streams.views.samples import read_worker
from tests.support.tansu import Tansu
from tests.support.worker import WorkerProcess


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Half an hour of a small operation with late, repeated, broken and revised records."""
    out = tmp_path / "events.jsonl"
    run_simulation(SimulationOptions("late-and-dirty", rate=8, seconds=1, history_seconds=1800, sites=3, out=out))
    return out


def test_the_file_the_topic_and_the_worker_say_the_same(tansu: Tansu, events: Path, tmp_path: Path) -> None:
    settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap, clock="event")
    list(create(settings, 2))
    run_replay(ReplayOptions(events), KafkaTarget(tansu.bootstrap))
    figures: dict[str, dict[tuple[Any, ...], Any]] = {
        name: {tuple(value for key, value in row.items() if key != "value"): row["value"] for row in rows}
        for name, rows in as_json(compute(events, Policy())).items()
    }
    sites = sorted(site for site, *_ in figures["labelwatch_site_info"])
    assert len(sites) == 3
    for site in sites:
        for window in ("15m", "1h", "24h"):
            accuracy = explain(Question(site, "accuracy", window), Policy(), settings)
            assert accuracy.n == figures["labelwatch_site_reviews"][site, "agent", window]
            assert accuracy.total == figures["labelwatch_site_correct_reviews"][site, "agent", window]
            labels = explain(Question(site, "labels", window), Policy(), settings)
            assert labels.n == figures["labelwatch_site_labels"][site, window]
    with WorkerProcess(tmp_path, tansu.bootstrap, clock="event") as worker:
        url = worker.wait_for(r"metrics at (http\S+)")[1]
        worker.wait_for("partition=0 caught up")
        worker.wait_for("partition=1 caught up")
        reading = read(read_worker(url), time.time())
    assert [line.site for line in sorted(reading.sites, key=lambda line: line.site)] == sites
    for line in reading.sites:
        assert line.accuracy.reviews == figures["labelwatch_site_reviews"][line.site, "agent", "24h"]
        assert line.accuracy.ratio == figures["labelwatch_site_accuracy_ratio"][line.site, "agent", "24h"]
        assert line.labels_per_hour == figures["labelwatch_site_labels"][line.site, "1h"]
