"""The commands of docs/operations.md, as they stand there, on a real broker."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.topics import EVENTS, REJECTED
from schemas.topics import topics as all_topics
from tests.kafka.conftest import end_offsets, read_all
from tests.support.kafka import RealKafka, create_topics, missing_tools
from tests.support.worker import WAIT_SECONDS, Load, WorkerProcess, make_load, produce

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
SHELL = ["bash", "-euo", "pipefail", "-c"]
#: The window of the page's example: its day, and the time at which `explain` asks.
DAY_MS, NIGHT_MS = 1_763_769_600_000, 1_763_856_000_000


def block(section: str, number: int = 0) -> list[str]:
    """The lines of one of a section's blocks of shell, the worker's own line left out."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert text, section
    lines = re.findall(r"^```sh\n(.*?)^```", text[1], re.MULTILINE | re.DOTALL)[number].splitlines()
    return [line for line in lines if not line.startswith("labelwatch worker")]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[RealKafka]:
    """A broker of its own for each test, since these commands delete topics."""
    if missing := missing_tools():
        pytest.skip(f"real Kafka needs {' and '.join(missing)}: install Java 17 or newer and Maven")
    broker = RealKafka(tmp_path / "broker", properties={"group.min.session.timeout.ms": "1000"}).start()
    yield broker
    broker.stop()


Type = Callable[[list[str]], str]


@pytest.fixture
def typed(kafka: RealKafka, tmp_path: Path) -> Type:
    """Types lines at a shell in an empty folder, with Kafka's scripts at hand; gives back what they print."""
    assert shutil.which("jq"), "the page's commands need jq: install it"
    programs = tmp_path / "bin"
    programs.mkdir()
    kafka.write_scripts(programs)
    (programs / "labelwatch").symlink_to(Path(sys.executable).with_name("labelwatch"))
    shutil.copy(ROOT / "policy.toml", tmp_path)
    create_topics(kafka.bootstrap, all_topics("main"), partitions=2)
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}

    def run(lines: list[str]) -> str:
        # The page's ten seconds are for brokers far away.
        script = "\n".join(lines).replace("BROKER:9092", kafka.bootstrap)
        done = subprocess.run(
            [*SHELL, script],
            cwd=tmp_path,
            env={**own, "PATH": f"{programs}:{own['PATH']}"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


def worker(kafka: RealKafka, folder: Path, group: str) -> WorkerProcess:
    return WorkerProcess(folder / group, kafka.bootstrap, id=group, clock="wall", policy=ROOT / "policy.toml")


def counts(running: WorkerProcess, load: Load) -> None:
    """Waits until a worker shows the load, each event once."""
    running.wait_until("labelwatch_labels_total", load.labels.total())
    running.wait_until("labelwatch_reviews_total", load.reviews.total())
    running.wait_until("labelwatch_rejected_total", len(load.broken))


def test_drain_and_a_second_group_beside_the_first(kafka: RealKafka, typed: Type, tmp_path: Path) -> None:
    load = make_load(4_000, seed=51)
    produce(kafka.bootstrap, EVENTS, load.records)
    with worker(kafka, tmp_path, "main") as first:
        counts(first, load)
        assert len(typed(block("Scale out and in", 1)).split("labelwatch-main-")) == 2, "one member"
        deadline = time.monotonic() + WAIT_SECONDS
        while not re.fullmatch(r"(?:.*\s0\s.*\n){2}", lags := lag_lines(typed(block("Drain")))):
            assert time.monotonic() < deadline, lags
        typed(block("Rewind, and replay a day"))
        with worker(kafka, tmp_path, "again") as second:
            counts(second, load)
            assert first.terminate() == 0
            assert "everything written" in first.log
            typed(block("Rewind, and replay a day", 1))
            counts(second, load)
            assert second.terminate() == 0
    letters = [dict(message.headers()) for message in read_all(kafka.bootstrap, REJECTED)]
    origins = {(letter["origin-partition"], letter["origin-offset"]) for letter in letters}
    assert (len(letters), len(origins)) == (2 * len(load.broken), len(load.broken))


def lag_lines(told: str) -> str:
    """The lag of each partition, as the tool tells it."""
    rows = [line.split() for line in told.splitlines() if line.startswith("labelwatch-main")]
    return "".join(f"partition {row[2]} lag {row[5]} .\n" for row in rows)


def test_a_day_is_asked_for_and_the_missing_part_of_it_sent(kafka: RealKafka, typed: Type, tmp_path: Path) -> None:
    load = make_load(3_000, seed=52, start_ms=DAY_MS + 1)
    as_manila = [((k or b"").replace(b"site-1", b"manila-1"), (v or b"").replace(b"site-1", b"manila-1"))
                 for k, v in load.records]  # fmt: skip
    arrived, lost = [each for n, each in enumerate(as_manila) if n % 5], as_manila[::5]
    produce(kafka.bootstrap, EVENTS, arrived)
    told = typed(block("Rewind, and replay a day", 2))
    assert "manila-1" in told
    sent = [value for _, value in as_manila if is_event(value)]
    (tmp_path / "sent.jsonl").write_bytes(b"\n".join(sent) + b"\n")
    typed(block("Rewind, and replay a day", 3))
    there = {(event["site_id"], event["at"], event["event_id"]) for event in events(v for _, v in arrived)}
    wanted = {key_of(value): json.loads(value) for value in sent if key_of(value) not in there}
    assert 0 < len(wanted) < len(lost)
    written = (tmp_path / "missing.jsonl").read_bytes().splitlines()
    assert len(written) == len(wanted), "each once"
    assert {key_of(line): json.loads(line) for line in written} == wanted
    with worker(kafka, tmp_path, "main") as running:
        running.wait_until("labelwatch_labels_total", load.labels.total())
        running.wait_until("labelwatch_reviews_total", load.reviews.total())
        assert running.terminate() == 0


def test_rejected_records_are_mended_and_sent_again(kafka: RealKafka, typed: Type, tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    usual = {"type": "label_submitted", "site_id": "manila-1", "agent_id": "ana", "project_id": "p"}
    # A producer that counts in seconds with a fraction: no event has such a time.
    wrong = [{**usual, "event_id": f"e{n}", "task_id": f"t{n}", "at": now / 1000 - n - 0.5} for n in range(20)]
    right = [{**usual, "event_id": f"g{n}", "task_id": f"u{n}", "at": now - n} for n in range(5)]
    produce(kafka.bootstrap, EVENTS, [(b"manila-1", json.dumps(event).encode()) for event in (*wrong, *right)])
    with worker(kafka, tmp_path, "main") as running:
        running.wait_until("labelwatch_rejected_total", 20)
        told = typed(block("Rewind, and replay a day", 4))
        assert re.search(r"^schema +20 ", told, re.MULTILINE)
        assert "ana" not in told
        running.wait_until("labelwatch_labels_total", 25)
        assert running.terminate() == 0
    assert (tmp_path / "mended.jsonl").read_bytes().count(b"\n") == 20


def is_event(value: bytes) -> bool:
    try:
        return "event_id" in json.loads(value)
    except (ValueError, TypeError):
        return False


def events(values: Iterator[bytes]) -> Iterator[dict[str, object]]:
    return (json.loads(value) for value in values if is_event(value))


def key_of(value: bytes) -> tuple[object, ...]:
    event = json.loads(value)
    return event["site_id"], event["at"], event["event_id"]


def test_more_partitions(kafka: RealKafka, typed: Type, tmp_path: Path) -> None:
    load = make_load(4_000, seed=53, sites=16)
    produce(kafka.bootstrap, EVENTS, load.records)
    with worker(kafka, tmp_path, "main") as old:
        counts(old, load)
        assert old.terminate() == 0
    offsets = re.search(r"`(kafka-get-offsets\.sh [^`]+)`", PAGE)
    assert offsets
    ends = typed([offsets[1]])
    typed(block("Change the number of partitions"))
    lines = (tmp_path / "history.jsonl").read_bytes().count(b"\n")
    assert lines == sum(int(line.rpartition(":")[2]) for line in ends.splitlines()) == len(load.records)
    assert sum(1 for end in end_offsets(kafka.bootstrap, EVENTS, 8) if end > 1) > 2
    with worker(kafka, tmp_path, "wide") as new:
        new.wait_until("labelwatch_labels_total", load.labels.total())
        figures = new.wait_until("labelwatch_reviews_total", load.reviews.total())
        assert sum(figures["labelwatch_site_info"].values()) == 16, "no site stands in two partitions"
        assert new.terminate() == 0
