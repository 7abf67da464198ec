"""`labelwatch doctor`: what stands well is said to, and what does not is named with what to do."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import EVENTS
from streams.exporter import MetricsServer
from streams.exporter.pseudonyms import ENVIRONMENT, FILE_ENVIRONMENT
from streams.ops.doctor import Check, CheckMark, _producers, _skew, examine_all
from streams.ops.embedded import EmbeddedBroker
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, partition_of, pump
from tests.support.exporter import FakeEngine, showing
from tests.support.ports import free_port

NOWHERE = "127.0.0.1:1"


class Row:
    """A record as aiokafka gives it."""

    def __init__(
        self, value: bytes = b"", timestamp: int = 0, key: bytes | None = None, timestamp_type: int = 1
    ) -> None:
        self.value, self.timestamp, self.key, self.timestamp_type = value, timestamp, key, timestamp_type


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def lines(tmp_path: Path, **flags: Any) -> dict[str, Check]:
    """The last line about each thing."""
    usual = {"bootstrap": NOWHERE, "data_dir": tmp_path, "metrics_port": 0}
    return {line.about: line for line in examine_all(Settings.resolve(environ={}, **{**usual, **flags}))}


def event(site: str, at: int) -> bytes:
    return json.dumps(
        {"type": "state_changed", "event_id": "1", "at": at, "site_id": site, "agent_id": "a", "state": "break"}
    ).encode()


def test_a_machine_without_a_broker_fails_for_that_alone(tmp_path: Path) -> None:
    found = lines(tmp_path)
    assert {about for about, line in found.items() if line.mark is CheckMark.FAIL} == {"broker"}
    assert "No Kafka broker answers at 127.0.0.1:1" in found["broker"].text


def test_a_broken_policy_is_told_in_its_own_sentence(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[defaults]\naccuracy_target = 95\n")
    line = lines(tmp_path, policy=file)["policy"]
    assert line.mark is CheckMark.FAIL
    assert "defaults.accuracy_target = 95" in line.text


def test_a_data_folder_that_is_a_file_and_one_that_cannot_be_written_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in lines(tmp_path, data_dir=tmp_path / "file" / "data")["data folder"].text
    # Root may write anywhere, whatever the mode says.
    monkeypatch.setattr("os.access", lambda *_: False)
    line = lines(tmp_path)["data folder"]
    assert line.mark is CheckMark.FAIL
    assert "--data-dir" in line.text


def test_looking_makes_neither_folder_nor_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    found = lines(tmp_path, data_dir=data)
    assert found["data folder"].text.endswith("will be made at the first start")
    assert "will be made at the first start" in found["agents' key"].text
    assert not data.exists()


@pytest.mark.parametrize(
    ("text", "mode", "named"), [("no key", 0o600, "holds no pseudonym key"), ("ab" * 32, 0o644, "chmod 600")]
)
def test_a_key_that_is_damaged_or_open_to_others_fails(tmp_path: Path, text: str, mode: int, named: str) -> None:
    file = tmp_path / "pseudonym.key"
    file.write_text(text)
    file.chmod(mode)
    line = lines(tmp_path)["agents' key"]
    assert line.mark is CheckMark.FAIL
    assert named in line.text
    assert lines(tmp_path, agent_labels="plain")["agents' key"].mark is CheckMark.OK


def test_a_key_from_a_mounted_file_is_taken_for_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mounted"
    monkeypatch.setenv(FILE_ENVIRONMENT, str(file))
    assert "there is no such file" in lines(tmp_path)["agents' key"].text
    file.write_text("ab" * 32)
    line = lines(tmp_path)["agents' key"]
    assert line.mark is CheckMark.OK
    assert line.text.endswith(f", from {FILE_ENVIRONMENT}")


def test_a_port_is_free_or_labelwatchs_own_or_somebody_elses(tmp_path: Path) -> None:
    port = free_port()
    assert lines(tmp_path, metrics_port=port)["metrics port"] == Check(CheckMark.OK, "metrics port", f"{port} is free")
    server = MetricsServer(showing(FakeEngine()), lambda site, agent: agent, host="127.0.0.1", port=port)
    server.start()
    try:
        assert "a labelwatch worker answers" in lines(tmp_path, metrics_port=port)["metrics port"].text
    finally:
        server.stop()
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        line = lines(tmp_path, metrics_port=other.server_port)["metrics port"]
        other.shutdown()
    assert line.mark is CheckMark.FAIL
    assert "--metrics-port" in line.text


def test_who_may_read_the_metrics_is_said(tmp_path: Path) -> None:
    for host, environ, mark, text in (
        ("127.0.0.1", {}, "ok", "this machine alone"),
        (
            "0.0.0.0",
            {},
            "note",
            "anyone who can connect to 0.0.0.0 can read them: set LABELWATCH_METRICS_",
        ),
        ("0.0.0.0", {"LABELWATCH_METRICS_PASSWORD": "s3cret"}, "note", "user 'prometheus' with the password, unencryp"),
        ("127.0.0.1", {"LABELWATCH_METRICS_PASSWORD": "s3cret"}, "ok", "user 'prometheus' with the password"),
        ("127.0.0.1", {"LABELWATCH_METRICS_PASSWORD_FILE": str(tmp_path / "none")}, "FAIL", "cannot read"),
    ):
        settings = Settings.resolve(environ=environ, bootstrap=NOWHERE, data_dir=tmp_path, metrics_host=host)
        (line,) = [line for line in examine_all(settings) if line.about == "metrics readers"]
        assert line.mark == mark
        assert text in line.text
        assert "s3cret" not in line.text


def test_an_older_package_whose_private_members_are_used_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.13.9")
    line = lines(tmp_path)["packages"]
    assert line.mark is CheckMark.FAIL
    assert "aiokafka is 0.13.9 where 0.14." in line.text


# --- clocks and partitioner


def test_the_brokers_clock_is_judged_by_append_times_alone() -> None:
    now = 1_763_985_600
    newest = Row(timestamp=now * 1000 - 2_000)
    assert _skew([newest], now) == Check(CheckMark.OK, "clock", "the newest record was appended 2 s ago")
    assert _skew([Row(timestamp=now * 1000 + 60_000, timestamp_type=0)], now) is None
    assert _skew([Row(timestamp=now * 1000 - 3_600_000)], now) is None, "old, or this machine's clock is ahead"
    ahead = _skew([newest, Row(timestamp=now * 1000 + 60_000)], now)
    assert ahead is not None
    assert ahead.mark is CheckMark.FAIL
    assert "60 s ahead" in ahead.text


def test_a_site_in_the_wrong_partition_is_named_with_why() -> None:
    at = 1_763_985_600_000
    right = partition_of(b"lima-1", 4)
    wrong = (right + 1) % 4

    def judged(partition: int, row: Row) -> Check:
        newest: list[list[Row]] = [[], [], [], []]
        newest[partition].append(row)
        return next(iter(_producers(newest)))

    value = event("lima-1", at)
    assert judged(right, Row(value, at, b"lima-1")).mark is CheckMark.OK
    for row, why in (
        (Row(value, at, b"lima-1"), "partitioner=murmur2_random"),
        (Row(value, at, None), "its records have no key"),
        (Row(value, at, b"a-7"), "have the key 'a-7'"),
    ):
        line = judged(wrong, row)
        assert line.mark is CheckMark.FAIL
        assert line.text.startswith(f"site 'lima-1' is in partition {wrong} and belongs in {right}")
        assert why in line.text
    the_end = b'{"type":"clock_advanced","event_id":"1","at":1,"site_id":"*"}'
    assert "unknown" in judged(0, Row(the_end, at, b"*")).text
    assert "unknown" in judged(0, Row(b"{", at, b"x")).text


def test_a_site_whose_events_will_be_rejected_as_future_is_named() -> None:
    at = 1_763_985_600_000
    *_, fine = _producers([[Row(event("lima-1", at + 300_000), at, b"lima-1")]])
    assert fine.mark is CheckMark.OK
    *_, ahead = _producers([[Row(event("lima-1", at + 300_001), at, b"lima-1")]])
    assert ahead.mark is CheckMark.FAIL
    assert "site 'lima-1' is 300 s ahead" in ahead.text


def test_times_that_cannot_be_meant_are_named_once_with_an_event() -> None:
    at = 1_763_985_600_000
    usual = {"at": at, "site_id": "lima-1", "agent_id": "a", "project_id": "p", "task_id": "t"}
    sent = [
        {"type": "label_reviewed", "event_id": f"e{n}", "correct": True, "labeled_at": at // 1000, **usual}
        for n in range(3)
    ]
    sent += [{"type": "label_submitted", "event_id": "e9", "handle_ms": 0, **usual}]
    rows = [Row(json.dumps(each).encode(), at, b"lima-1") for each in sent]
    *_, times, _ = _producers([rows])
    assert times.mark is CheckMark.FAIL
    assert "labeled_at of site 'lima-1' (seconds, as in event 'e0')" in times.text
    assert "handle_ms of site 'lima-1' (zero, as in event 'e9')" in times.text
    assert "e1" not in times.text
    *_, times, _ = _producers([[Row(event("lima-1", at), at, b"lima-1")]])
    assert times.mark is CheckMark.OK


# --- with a broker


def test_missing_topics_fail_and_made_ones_are_listed(tmp_path: Path, tansu: EmbeddedBroker) -> None:
    found = lines(tmp_path, bootstrap=tansu.bootstrap)
    assert found["broker"].mark is CheckMark.OK
    assert found["topics"].mark is CheckMark.FAIL
    assert "labelwatch topics create" in found["topics"].text
    settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap)
    list(create(settings, 3))
    found = lines(tmp_path, bootstrap=tansu.bootstrap)
    assert not [line for line in found.values() if line.mark is CheckMark.FAIL]
    assert found["partitions"].text == f"3 of {EVENTS}"
    assert found["transactions"].mark is CheckMark.NOTE
    assert found["partitioner"].text == "unknown: no events yet"


async def test_records_on_the_topic_tell_of_the_partitioner(tmp_path: Path, tansu: EmbeddedBroker) -> None:
    settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap)
    await asyncio.to_thread(lambda: list(create(settings, 3)))
    now = time.time_ns() // 1_000_000
    sink = KafkaSink(KafkaTarget(tansu.bootstrap))
    async with sink.running():
        await pump(sink, (Outgoing(0, site.encode(), event(site, now)) for site in ("a", "b", "c", "d")))
    found = await asyncio.to_thread(lines, tmp_path, bootstrap=tansu.bootstrap)
    assert found["partitioner"] == Check(CheckMark.OK, "partitioner", "murmur2, by 4 events")
    async with AIOKafkaProducer(bootstrap_servers=tansu.bootstrap, enable_idempotence=False) as producer:
        wrong = (partition_of(b"a", 3) + 1) % 3
        await producer.send_and_wait(EVENTS, event("a", now), key=b"a", partition=wrong)
    found = await asyncio.to_thread(lines, tmp_path, bootstrap=tansu.bootstrap)
    assert found["partitioner"].mark is CheckMark.FAIL
    assert f"site 'a' is in partition {wrong}" in found["partitioner"].text


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_held_by_something_that_never_answers_fails_all_the_same(tmp_path: Path, silent_port: int) -> None:
    assert lines(tmp_path, metrics_port=silent_port)["metrics port"].mark is CheckMark.FAIL
