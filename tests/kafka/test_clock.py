"""A worker whose own clock is wrong, on a real broker: it says so on its page, in its readiness and in its log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from schemas.topics import EVENTS
from streams.ops.doctor import CheckMark, examine_all
from streams.runtime.settings import Settings
from tests.kafka.conftest import FreshTopics
from tests.support.kafka import RealKafka
from tests.support.worker import WorkerProcess, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

_HOUR, _THREE_DAYS = 3_600, 3 * 86_400
#: The whole process sees another time of day; how long something takes is the same by any clock.
_PROGRAM = """
import time
right, right_ns = time.time, time.time_ns
time.time = lambda: right() + {offset}
time.time_ns = lambda: right_ns() + {offset} * 10**9
import sys
from streams.runtime.settings import Settings
from streams.runtime.worker import run
sys.exit(run(Settings.resolve()))
"""


@contextmanager
def flowing(bootstrap: str) -> Iterator[None]:
    """Some events every half second for the length of the block."""
    done = Event()

    def flow() -> None:
        seed = 0
        while not done.wait(0.5):
            seed += 1
            produce(bootstrap, EVENTS, make_load(20, seed=seed).records)

    thread = Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (_HOUR, "3600 s ahead of the broker"),
        (-_HOUR, "3600 s behind the broker"),
        (_THREE_DAYS, r"259\d{3} s ahead of the"),
    ],
)
def test_a_wrong_clock_is_said_at_once(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, offset: int, words: str
) -> None:
    program = _PROGRAM.format(offset=offset)
    with (
        WorkerProcess(tmp_path, broker.bootstrap, id=fresh_topics(1), clock="wall", program=program) as worker,
        flowing(broker.bootstrap),
    ):
        # Seconds of slack: a busy machine looks late, and what is late looks like a clock that is wrong.
        worker.wait_for("ERROR .* this machine's clock is " + words.replace("3600", r"3(59|60)\d"), 240)
        status, why = worker.get("/readyz")
        assert status == 503
        assert "clock" in why
        (shown,) = worker.figures()["labelwatch_worker_clock_offset_seconds"].values()
        assert shown == pytest.approx(offset, abs=20)
        # Ages of records go by the broker's clock all the same: the one beside which the clock was found wrong is from
        # before, the next one, a second later, is right.
        deadline = time.monotonic() + 60
        while True:
            (age,) = worker.figures()["labelwatch_consumer_lag_seconds"].values()
            if age < 60 or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert age < 60
        assert worker.terminate() == 0


def test_a_right_clock_is_said_by_worker_and_doctor(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_id = fresh_topics(1)
    settings = Settings.resolve(environ={}, bootstrap=broker.bootstrap, id=worker_id, metrics_port=0, data_dir=tmp_path)
    with (
        WorkerProcess(tmp_path, broker.bootstrap, id=worker_id, clock="wall") as worker,
        flowing(broker.bootstrap),
    ):
        deadline = time.monotonic() + 240
        while not (shown := worker.figures().get("labelwatch_worker_clock_offset_seconds")):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert abs(next(iter(shown.values()))) < 20
        assert worker.get("/readyz")[0] == 200
        assert "this machine's clock" not in worker.log
        (found,) = [line for line in examine_all(settings) if line.about == "clock"]
        assert found.mark is CheckMark.OK
        assert found.text.startswith("the newest record was appended")
        right = time.time
        monkeypatch.setattr(time, "time", lambda: right() + _HOUR)
        (found,) = [line for line in examine_all(settings) if line.about == "clock"]
        assert found.mark is CheckMark.FAIL
        assert "is 3" in found.text
        assert found.text.endswith("s ahead of the broker's: set both by NTP")
        assert worker.terminate() == 0
