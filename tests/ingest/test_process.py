"""Whole receivers with a broker: killed, cut off and restarted, none of their events is lost or there twice."""

import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from schemas.topics import EVENTS
from tests.ingest.bodies import body
from tests.ingest.process import IngestProcess
from tests.ingest.topic import written
from tests.support.kafka import create_topics
from tests.support.ports import free_port
from tests.support.tansu import Tansu, tansu

__all__ = ["tansu"]


def hooks(numbers: Iterable[int]) -> list[bytes]:
    return [body("ANNOTATION_CREATED", id=number, task=number) for number in numbers]


def ids(numbers: Iterable[int]) -> Counter[str]:
    return Counter(f"ls-{number}-1795390531355972-submitted" for number in numbers)


def test_events_reach_the_topic_in_order_and_leave_the_spool(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, [EVENTS], partitions=2)
    with IngestProcess(tmp_path, tansu.bootstrap) as ingest:
        assert {ingest.post(raw) for raw in [*hooks(range(30)), body("ANNOTATION_UPDATED", id=5, task=5)]} == {200}
        ingest.wait_until_sent()
        assert ingest.figure("labelwatch_ingest_sent_total") == 31
        found = written(tansu.bootstrap)
        assert ids(range(30)) <= found
        assert sum(found.values()) == 31
        ingest.process.send_signal(signal.SIGTERM)
        assert ingest.wait_for_end() == 0


def test_a_kill_between_write_and_answer_loses_and_doubles_nothing(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, [EVENTS], partitions=2)
    with IngestProcess(tmp_path, tansu.bootstrap, {"LABELWATCH_CRASH": "answer:4"}) as ingest:
        # The fourth is on disk, and the tool does not know.
        assert [ingest.post(raw) for raw in hooks(range(4))] == [200, 200, 200, None]
        assert ingest.wait_for_end() == -signal.SIGKILL
    with IngestProcess(tmp_path, tansu.bootstrap) as ingest:
        # A proxy that repeats what was not answered changes nothing.
        assert [ingest.post(raw) for raw in hooks(range(2, 6))] == [200, 200, 200, 200]
        ingest.wait_until_sent()
    assert written(tansu.bootstrap) == ids(range(6))


def test_a_kill_between_kafka_and_the_spool_doubles_nothing(tansu: Tansu, tmp_path: Path) -> None:
    create_topics(tansu.bootstrap, [EVENTS], partitions=2)
    with IngestProcess(tmp_path, tansu.bootstrap, {"LABELWATCH_CRASH": "landing:2"}) as ingest:
        for raw in hooks(range(50)):
            ingest.post(raw)
        assert ingest.wait_for_end() == -signal.SIGKILL
    before = written(tansu.bootstrap)
    with IngestProcess(tmp_path, tansu.bootstrap) as ingest:
        for raw in hooks(range(50)):
            assert ingest.post(raw) == 200
        ingest.wait_until_sent()
        assert written(tansu.bootstrap) == ids(range(50))
        # The fault fired where it was meant to: something was in Kafka of which the spool did not know.
        said = ingest.wait_for_log(r"(\d+) of (\d+) events of the last batch had reached Kafka")
        assert int(said[1]) == int(said[2]) > 0
    assert before


def test_without_a_broker_hooks_wait_and_go_out_once_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    with Tansu(port) as first:
        create_topics(first.bootstrap, [EVENTS], partitions=2)
        with IngestProcess(tmp_path, first.bootstrap) as ingest:
            assert {ingest.post(raw) for raw in hooks(range(10))} == {200}
            ingest.wait_until_sent()
            before = written(first.bootstrap)
            first.stop()
            assert {ingest.post(raw) for raw in hooks(range(10, 20))} == {200}
            ingest.wait_for_log("events wait in the spool")
            assert ingest.figure("labelwatch_ingest_spool_records") == 10
            # And the receiver itself goes away meanwhile.
            ingest.process.kill()
        with IngestProcess(tmp_path, first.bootstrap) as ingest:
            assert {ingest.post(raw) for raw in hooks(range(15, 30))} == {200}
            assert ingest.figure("labelwatch_ingest_spool_records") == 20
            # It keeps what it holds in memory: this one is empty.
            with Tansu(port) as second:
                create_topics(second.bootstrap, [EVENTS], partitions=2)
                ingest.wait_until_sent()
                after = written(second.bootstrap)
    assert before == ids(range(10))
    assert after == ids(range(10, 30))
