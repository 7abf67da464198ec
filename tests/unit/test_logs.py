"""Lines of the log: text for people, JSON for a log store, the same for ours and a library's; and stacks on demand."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from streams.runtime import logs

ours, faust = logging.getLogger("streams.runtime.partitions"), logging.getLogger("faust.app")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    names = ("streams", "aiokafka", "asyncio", "faust", "kafka", "mode")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = kept
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(**options: Any) -> list[str]:
    out = io.StringIO()
    logs.configure(out, group="labelwatch-main", worker="w1", **options)
    ours.info("partition=%d opened at offset=%d", 3, 17)
    ours.debug("a detail")
    ours.error("no partition")
    faust.error("the app: %r", "crashed")
    faust.warning("its daily business")
    try:
        raise ValueError("日本")
    except ValueError:
        ours.exception("partition=%d the engine failed", 0)
    return out.getvalue().splitlines()


def test_text_names_worker_and_partition_in_every_line() -> None:
    first, second, third, fourth, *trace = lines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z INFO    labelwatch-main/w1 partition=3 opened at offset=17", first
    )
    assert second.split(None, 2)[1:] == ["ERROR", "labelwatch-main/w1 no partition"]
    assert third.endswith("labelwatch-main/w1 [faust] the app: 'crashed'")
    assert fourth.endswith("partition=0 the engine failed")
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ValueError: 日本"


def test_json_is_one_object_a_line_whoever_wrote_it() -> None:
    first, second, third, fourth = [json.loads(line) for line in lines(form="json")]
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "streams.runtime.partitions",
        "group": "labelwatch-main",
        "worker": "w1",
        "partition": 3,
        "message": "opened at offset=17",
    }
    assert "partition" not in second
    assert (third["logger"], third["message"], third["worker"]) == ("faust.app", "the app: 'crashed'", "w1")
    assert fourth["exception"].endswith("ValueError: 日本")


def test_levels_choose_what_is_said() -> None:
    assert any("a detail" in line for line in lines(level="debug"))
    assert any("its daily business" in line for line in lines(level="debug"))
    assert not any("opened" in line for line in lines(level="error"))


def test_usr1_writes_the_stacks_of_a_loop_that_hangs() -> None:
    program = (
        "import time; from streams.runtime import logs; logs.dump_on_signal()\n"
        "def the_place_where_it_hangs(): print('up', flush=True); time.sleep(600)\n"
        "the_place_where_it_hangs()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, signal.SIGUSR1)
        read: list[str] = []
        while not any("the_place_where_it_hangs" in line for line in read):
            read.append(process.stderr.readline())
            assert read[-1], "it ended"
        assert process.poll() is None, "it goes on"
        process.kill()
