"""A topic that is deleted, and perhaps created anew, under a group that has counted it: said as what it is."""

import re
import time
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from schemas.topics import EVENTS, checkpoints_topic, topics
from streams.ops.doctor import CheckMark, examine_all
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka, create_topics
from tests.support.worker import WAIT_SECONDS, WorkerProcess, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def delete(broker: RealKafka, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.delete_topics([topic])
        deadline = time.monotonic() + WAIT_SECONDS
        while topic in admin.list_topics():
            assert time.monotonic() < deadline, f"the broker does not delete {topic}"
            time.sleep(0.05)
    finally:
        admin.close()


def recreate(broker: RealKafka, topic: str, worker_id: str) -> None:
    delete(broker, topic)
    create_topics(broker.bootstrap, [each for each in topics(worker_id) if each.name == topic], partitions=1)


def errors(worker: WorkerProcess) -> list[str]:
    return re.findall(r"ERROR\s+(.*)", worker.log)


def test_a_topic_recreated_while_the_worker_was_down_is_refused_however_long_it_is(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """6,000 events are counted; of 9,000 new ones in a new topic, 6,000 would never be read."""
    worker_id = fresh_topics(1)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=tmp_path, metrics_port=0)
    load = make_load(600, seed=1)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        assert worker.terminate() == 0
    lines = {line.about: line for line in examine_all(settings)}
    assert lines["checkpoints"].mark is CheckMark.OK
    assert lines["checkpoints"].text == f"of 1 partitions, of this {EVENTS}"
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        assert worker.terminate() == 0
    recreate(broker, EVENTS, worker_id)
    produce(broker.bootstrap, EVENTS, make_load(900, seed=2).records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
        (said,) = errors(worker)
        assert f"{EVENTS} is not the topic that {checkpoints_topic(worker_id)} was written for" in said
        assert "start a new group with --id and replay" in said
    lines = {line.about: line for line in examine_all(settings)}
    assert lines["checkpoints"].mark is CheckMark.FAIL
    assert "was deleted and created since" in lines["checkpoints"].text


def test_a_topic_recreated_under_a_worker_within_a_moment_ends_it(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    """No look at the log's end has seen it shorter: only its id tells."""
    worker_id = fresh_topics(1)
    load = make_load(300, seed=6)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        # It must not happen to ask in the moment between.
        worker.freeze()
        recreate(broker, EVENTS, worker_id)
        produce(broker.bootstrap, EVENTS, make_load(900, seed=7).records)
        worker.thaw()
        assert worker.wait() == 1
        assert f"{EVENTS} is not the topic that {checkpoints_topic(worker_id)} was written for" in worker.log
    # Whatever it has counted of the new one meanwhile is refused with all the rest.
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        assert worker.wait() == 1
        assert f"{EVENTS} is not the topic that" in worker.log


def test_a_checkpoint_topic_recreated_under_an_idle_worker_ends_it(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    own = checkpoints_topic(worker_id)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, data_dir=tmp_path, metrics_port=0)
    load = make_load(300, seed=8)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        recreate(broker, own, worker_id)
        # What changes now would be alone in the new topic, and pass for the whole state.
        produce(broker.bootstrap, EVENTS, make_load(300, seed=9).records)
        assert worker.wait() == 1
        assert f"{own} was deleted and created under the group" in worker.log
    if {line.about: line for line in examine_all(settings)}["checkpoints"].text != "none yet":
        with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
            assert worker.wait() == 1
            assert f"{own} was deleted and created under the group" in worker.log


def test_a_topic_deleted_under_a_worker_is_called_deleted(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(2)
    load = make_load(300, seed=3)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        delete(broker, EVENTS)
        assert worker.wait() == 1
        assert f"{EVENTS} was deleted while this worker ran" in " ".join(errors(worker))
        assert "has 0 partitions" not in worker.log


def test_a_checkpoint_topic_deleted_under_a_worker_is_named(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    worker_id = fresh_topics(1)
    load = make_load(300, seed=4)
    produce(broker.bootstrap, EVENTS, load.records)
    with WorkerProcess(tmp_path, broker.bootstrap, id=worker_id) as worker:
        worker.wait_until("labelwatch_labels_total", load.labels.total())
        delete(broker, checkpoints_topic(worker_id))
        produce(broker.bootstrap, EVENTS, make_load(100, seed=5).records)
        # Its figures must not go on into a new one: the next owner would take the changes alone for the whole state.
        assert worker.wait(120) == 1
        said = " ".join(errors(worker))
        assert f"Topic {checkpoints_topic(worker_id)} does not exist" in said
        assert "It was deleted while this worker ran" in said
        assert "TimeoutError" not in worker.log
