"""The receiver of webhooks on real Kafka: killed at any moment, the broker killed too, each event is there once."""

import itertools
import random
import signal
import time
from pathlib import Path

import pytest

from tests.ingest.bodies import body
from tests.ingest.process import IngestProcess
from tests.ingest.topic import written
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

HOOKS = 200


def hooks() -> list[bytes]:
    return [body("ANNOTATION_CREATED", id=number, task=number) for number in range(HOOKS)]


def test_kills_of_receiver_and_broker_lose_and_double_nothing(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    fresh_topics(2)
    chance = random.Random(21)
    waiting = hooks()
    kills = 0
    #: Two inside the sender, where it matters most: Kafka has a batch, and the spool does not know it yet.
    crashes = itertools.chain(["landing:1", "landing:3"], itertools.repeat(""))
    while waiting:
        with IngestProcess(tmp_path, broker.bootstrap, {"LABELWATCH_CRASH": next(crashes)}) as ingest:
            until = max(len(waiting) - 40, 0)
            while waiting and len(waiting) > until:
                # What got no answer is sent again, as a proxy would; it may have been taken.
                if ingest.post(waiting[0]) != 200:
                    break
                waiting.pop(0)
                if kills == 3 and len(waiting) == until + 20:
                    broker.kill9()
            if kills == 3:
                ingest.wait_for_log("events wait in the spool")
                broker.restart()
            time.sleep(chance.random() / 4)
            if ingest.process.poll() is None:
                ingest.process.kill()
            assert ingest.wait_for_end() == -signal.SIGKILL
            kills += 1
    assert kills >= 5
    with IngestProcess(tmp_path, broker.bootstrap) as ingest:
        ingest.wait_until_sent()
        # No broker without idempotent producers: they are what is used here.
        assert "idempotent" not in ingest.log()
    found = written(broker.bootstrap)
    assert {name: count for name, count in found.items() if count > 1} == {}
    assert len(found) == HOOKS
