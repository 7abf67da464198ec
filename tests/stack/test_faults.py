"""Faults of the monitor itself in the whole stack at the shipped intervals: one page each, of the right name."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest
from confluent_kafka import KafkaException, Producer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from schemas.topics import checkpoints_topic, topics
from tests.stack.native import NativeStack
from tests.stack.test_stack import ask, eventually, simulate, told, value
from tests.support.kafka import missing_tools

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(1200)]
log = logging.getLogger("stack")

_TOPIC = next(topic for topic in topics("main") if topic.name == checkpoints_topic("main"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeStack]:
    if missing := missing_tools():
        pytest.skip(f"real Kafka needs {' and '.join(missing)}: install Java 17 or newer and Maven")
    with NativeStack(tmp_path_factory.mktemp("faults")) as running:
        running.up("worker-1", "pager", "alertmanager", "prometheus")
        simulation = simulate(running, "--scenario", "steady", "--speed", "60x", "--seconds", "1200", "--rate", "100")
        try:
            eventually(lambda: value(running, "labelwatch_events_total") > 1_000, running)
            # A machine with other things to do may start them so slowly that somebody is paged for it.
            eventually(lambda: not open_pages(running), running, 600)
            yield running
        finally:
            simulation.kill()
            simulation.wait()


def open_pages(stack: NativeStack) -> set[str]:
    """Names of what was paged and has not been resolved, of any partition."""
    last = {tuple(sorted(each["labels"].items())): each for each in told(stack)}
    return {each["labels"]["alertname"] for each in last.values() if each["status"] == "firing"}


def let_topic_take(stack: NativeStack, most_bytes: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{stack.port('kafka', 9092)}")
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, _TOPIC.name, {"max.message.bytes": most_bytes})
        admin.alter_configs([resource])
    finally:
        admin.close()


def test_the_watchdog_reaches_its_switch(stack: NativeStack) -> None:
    (told_first, *_) = eventually(lambda: told(stack, "watchdog"), stack)
    assert told_first["labels"]["alertname"] == "LabelwatchWatchdog"


def test_checkpoints_that_cannot_be_written_are_one_page_that_resolves(stack: NativeStack) -> None:
    before = len(told(stack))
    let_topic_take(stack, "100")
    began = time.monotonic()
    page, *_ = eventually(lambda: told(stack, alertname="LabelwatchCheckpointsFailing"), stack, 300)
    log.info("checkpoints fail: paged after %.0f s: %s", time.monotonic() - began, page["annotations"]["description"])
    assert "Reason: too_large." in page["annotations"]["description"]

    let_topic_take(stack, _TOPIC.config["max.message.bytes"])
    began = time.monotonic()
    eventually(lambda: not open_pages(stack), stack, 600)
    log.info("resolved %.0f s after the topic took records again", time.monotonic() - began)
    # Of each partition, in one notification.
    assert {each["labels"]["alertname"] for each in told(stack)[before:]} == {"LabelwatchCheckpointsFailing"}
    eventually(lambda: value(stack, "max(labelwatch_consumer_lag_seconds)") < 60, stack)


def test_another_program_with_its_transactional_id_is_one_page_that_names_it(stack: NativeStack) -> None:
    """A copy of a worker, say: every few seconds it takes a partition, which then is restored, and so on."""
    before, over = len(told(stack)), Event()
    earlier = len(told(stack, alertname="LabelwatchCheckpointsFailing"))
    (partition, *_) = owned_with_sites(stack)

    def takes_it_away() -> None:
        while not over.wait(5):
            other = Producer(
                {
                    "bootstrap.servers": f"127.0.0.1:{stack.port('kafka', 9092)}",
                    "transactional.id": f"labelwatch-main-{partition}",
                    "log_level": 0,
                }
            )
            with suppress(KafkaException):
                other.init_transactions(10)

    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        fencing = pool.submit(takes_it_away)
        try:
            page = eventually(lambda: told(stack, alertname="LabelwatchCheckpointsFailing")[earlier:], stack, 300)[0]
        finally:
            over.set()
        fencing.result()
    log.info("fenced: paged after %.0f s: %s", time.monotonic() - began, page["annotations"]["description"])
    assert page["labels"]["partition"] == partition
    assert "another program writes with the transactional id" in page["annotations"]["description"]
    assert "First: end the other program" in page["annotations"]["description"]
    assert "停止另一个程序" in page["annotations"]["description_zh"]
    began = time.monotonic()
    eventually(lambda: not open_pages(stack), stack, 600)
    log.info("resolved %.0f s after the other program was gone", time.monotonic() - began)
    assert {each["labels"]["alertname"] for each in told(stack)[before:]} == {"LabelwatchCheckpointsFailing"}


def owned_with_sites(stack: NativeStack) -> list[str]:
    """Partitions that get events, so that their checkpoints are written all the time."""
    shown = ask(stack, "query", query="count by (partition) (labelwatch_site_info)")["result"]
    return sorted(each["metric"]["partition"] for each in shown)


def test_a_worker_that_dies_again_and_again_is_one_page(stack: NativeStack) -> None:
    before = len(told(stack))
    began = time.monotonic()
    while not told(stack, alertname="LabelwatchWorkerRestarting"):
        assert time.monotonic() - began < 600
        stack.kill("worker-1")
        stack.start("worker-1")
        time.sleep(20)
    log.info("restarts: paged within %.0f s", time.monotonic() - began)
    time.sleep(60)
    pages = told(stack)[before:]
    assert {each["labels"]["alertname"] for each in pages} == {"LabelwatchWorkerRestarting"}, pages
