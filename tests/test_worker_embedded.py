"""The whole worker on the embedded broker, which has no transactions: the plain form of checkpoints."""

import signal
from pathlib import Path

from schemas.topics import EVENTS, topics
from tests.support.kafka import create_topics
from tests.support.tansu import Tansu
from tests.support.worker import WorkerProcess, make_load, produce


def test_exact_through_kill_9_and_restart(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, topics("main"), partitions=2)
    load = make_load(60_000, seed=1)
    produce(tansu.bootstrap, EVENTS, load.records)
    busy = {"checkpoint_records": 3_000, "checkpoint_seconds": 0.2}
    for point in ("prepared:4", "half:3"):
        environ = {"LABELWATCH_CRASH": point}
        with WorkerProcess(tmp_path, tansu.bootstrap, environ=environ, **busy) as worker:
            assert worker.wait() == -signal.SIGKILL
    with WorkerProcess(tmp_path, tansu.bootstrap, **busy) as worker:
        figures = worker.wait_until("labelwatch_events_total", load.accepted)
        assert sum(figures["labelwatch_labels_total"].values()) == load.labels.total()
        assert sum(figures["labelwatch_reviews_total"].values()) == load.reviews.total()
        assert sum(figures["labelwatch_duplicates_total"].values()) == load.duplicates
        assert sum(figures["labelwatch_rejected_total"].values()) == len(load.broken)
        assert worker.get("/readyz") == (200, "ready\n")
        assert "without transactions, for one worker only" in worker.log
        assert worker.terminate() == 0
        assert "ERROR" not in worker.log


def test_a_missing_topic_is_not_made_by_asking_for_it(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, [topic for topic in topics("main") if topic.name != EVENTS], partitions=2)
    for _ in range(2):
        with WorkerProcess(tmp_path, tansu.bootstrap) as worker:
            assert worker.wait() == 1
            assert f"Topic {EVENTS} does not exist" in worker.log
