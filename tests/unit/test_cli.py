"""The command line from outside: exit codes, and one sentence for whatever goes wrong."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from schemas.topics import EVENTS
from streams import cli
from streams.exporter import MetricsServer, MonitorState
from streams.exporter.pseudonyms import plain
from streams.ops.embedded import EmbeddedBroker
from tests.support.console import Ended, Run
from tests.support.ports import free_port

NOWHERE = "127.0.0.1:1"
SITE = "上海-2"
NOBODY = "http://127.0.0.1:1"


def run_worker(*arguments: object, **environ: str) -> Ended:
    """A worker is a process of its own: it takes signals and configures logging."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    command = [sys.executable, "-m", "streams.cli", "worker", *map(str, arguments)]
    done = subprocess.run(command, env={**own, **environ}, capture_output=True, text=True, timeout=60, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Forty reviews, one of them wrong, and a line that is none."""
    file = tmp_path / "events.jsonl"
    usual = {"type": "label_reviewed", "site_id": "lima-1", "agent_id": "a", "project_id": "p", "task_id": "t"}
    lines = [
        json.dumps({**usual, "event_id": f"review-{n}", "at": 1_763_985_600_000 + n, "correct": n > 0})
        for n in range(40)
    ]
    file.write_text("\n".join([*lines, "{", ""]))
    return file


@pytest.fixture
def broken_policy(tmp_path: Path) -> Path:
    file = tmp_path / "broken.toml"
    file.write_text("[defaults]\naccuracy_target = 95\n")
    return file


def one_sentence(ended: Ended) -> str:
    """What it said, which must be one line without a traceback."""
    assert ended.err.startswith("labelwatch: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    assert "a defect" not in ended.err
    return ended.err


def commands(group: object, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name)
        yield from commands(command, *path, name)


@pytest.mark.parametrize("path", list(commands(typer.main.get_command(cli.app))), ids=" ".join)
def test_every_command_helps(run: Run, path: tuple[str, ...]) -> None:
    ended = run(*path, "--help")
    assert ended.code == 0
    assert re.search(rf"Usage: .* {' '.join(path)} ", ended.out)
    assert run(*path, "--no-such-flag").code == 2


def test_every_command_of_the_contract_is_there() -> None:
    names = {" ".join(path) for path in commands(typer.main.get_command(cli.app))}
    assert names >= {
        *("demo", "worker", "simulate", "replay", "compute", "explain", "topics create", "topics check"),
        *("watch", "doctor", "policy check"),
    }


# --- wrong use: code 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("topics", "check", "--bootstrap", "nowhere"), "--bootstrap 'nowhere'"),
        (("topics", "create", "--id", "a b"), "--id 'a b'"),
        (("demo", "--scenario", "calm"), "--scenario 'calm': use steady, "),
        (("simulate", "--scenario", "calm"), "--scenario 'calm': use steady, "),
        (("simulate", "--speed", "fast"), "--speed 'fast'"),
        (
            ("simulate", "--seconds", "604800", "--speed", "1000x", "--rate", "5000", "--out", "never.jsonl"),
            "7,000 days of an operation, about 3,",
        ),
        (
            ("simulate", "--seconds", "604800", "--speed", "60x"),
            "would take 7.0 days by the wall clock for 420 days of events, about 17,974,",
        ),
        (("simulate", "--seconds", "inf", "--out", "never.jsonl"), "must be numbers"),
        (("simulate", "--speed", "max", "--out", "never.jsonl"), "--speed 1x or more"),
        (("simulate", "--seconds", "604800", "--speed", "60x"), "7.0 days of events give --seconds 10080, or --out"),
        (("replay", "x.csv", "--map", "agent_id"), "--map 'agent_id'"),
        (("replay", "x.csv", "--set", "a=1", "--set", "a=2"), "--set 'a=1,a=2'"),
        (("explain", "--site", "s", "--figure", "speed", "--window", "1h"), "--figure 'speed'"),
        (("explain", "--site", "s", "--figure", "labels", "--window", "2h"), "--window '2h'"),
        (("compute", "no-such-file.jsonl"), "no-such-file.jsonl"),
        (("policy", "check", "no-such-file.toml"), "no-such-file.toml: cannot be read"),
        (("doctor", "--metrics-port", "70000"), "--metrics-port 70000"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else None,
)
def test_wrong_use_is_named_with_what_is_allowed(run: Run, arguments: tuple[str, ...], named: str) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert named in one_sentence(ended)


def test_a_broken_policy_is_refused_by_every_command_that_reads_one(
    run: Run, broken_policy: Path, events: Path
) -> None:
    for arguments in (
        ("policy", "check", broken_policy),
        ("compute", events, "--policy", broken_policy),
        ("demo", "--policy", broken_policy),
        ("explain", "--site", "s", "--figure", "labels", "--window", "1h", "--policy", broken_policy),
    ):
        ended = run(*arguments)
        assert ended.code == 2, arguments
        assert "defaults.accuracy_target = 95" in one_sentence(ended)


def test_a_setting_of_the_environment_is_named_as_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_METRICS_PORT", "abc")
    ended = run("doctor")
    assert ended.code == 2
    assert "LABELWATCH_METRICS_PORT 'abc': a whole number is needed" in one_sentence(ended)


def test_no_command_fails_for_a_setting_that_it_does_not_use(
    run: Run, monkeypatch: pytest.MonkeyPatch, events: Path
) -> None:
    for name in ("METRICS_PORT", "CHECKPOINT_SECONDS", "CLOCK", "METRICS_USERNAME", "BOOTSTRAP"):
        monkeypatch.setenv(f"LABELWATCH_{name}", "a:b c")
    assert run("compute", events).code == 0
    monkeypatch.delenv("LABELWATCH_BOOTSTRAP")
    assert NOWHERE in one_sentence(run("topics", "check", "--bootstrap", NOWHERE))


def test_a_service_of_kubernetes_is_no_port_and_is_told_where_a_port_is_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, events: Path
) -> None:
    for name in ("METRICS_PORT", "PORT"):
        monkeypatch.setenv(f"LABELWATCH_{name}", "tcp://10.96.0.5:9464")
    monkeypatch.setenv("LABELWATCH_SERVICE_HOST", "10.96.0.5")
    assert "ignored" not in run("compute", events).err
    told = "LABELWATCH_METRICS_PORT=tcp://10.96.0.5:9464 is ignored: Kubernetes sets it for a service of that name"
    ended = run("demo", "--rate", 0)
    assert ended.code == 2
    ended = run("doctor", "--bootstrap", NOWHERE)
    assert ended.code == 1
    assert f"note  environment: {told}" in ended.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--checkpoint-seconds", "0"), "--checkpoint-seconds '0"), (("--clock", "sun"), "--clock 'sun'")],
    ids=["seconds", "clock"],
)
def test_a_worker_with_wrong_settings_does_not_start(arguments: tuple[str, ...], named: str) -> None:
    ended = run_worker(*arguments)
    assert ended.code == 2
    assert named in one_sentence(ended)


# --- something is not there: code 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("topics", "check"),
        ("topics", "create"),
        ("simulate", "--seconds", "1"),
        ("explain", "--site", "s", "--figure", "labels", "--window", "1h"),
    ],
    ids=" ".join,
)
def test_without_a_broker_the_address_is_named(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, "--bootstrap", NOWHERE)
    assert ended.code == 1
    assert NOWHERE in one_sentence(ended)
    assert "check" in ended.err


def test_a_replay_without_a_broker_or_a_file_fails_by_name(run: Run, events: Path) -> None:
    assert NOWHERE in one_sentence(run("replay", events, "--bootstrap", NOWHERE, "--plain"))
    ended = run("replay", "no-such-file.jsonl", "--bootstrap", NOWHERE, "--plain")
    assert ended.code in (1, 2)
    assert "no-such-file.jsonl" in one_sentence(ended)


def test_a_worker_without_a_broker_ends_with_a_sentence() -> None:
    ended = run_worker("--bootstrap", NOWHERE)
    assert ended.code == 1
    assert f"No Kafka broker answers at {NOWHERE}" in ended.err
    assert "Traceback" not in ended.err


def test_a_worker_on_a_port_in_use_names_it(tansu: EmbeddedBroker, run: Run, tmp_path: Path) -> None:
    assert run("topics", "create", "--bootstrap", tansu.bootstrap, "--partitions", 1).code == 0
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        ended = run_worker("--bootstrap", tansu.bootstrap, "--metrics-port", port, "--data-dir", tmp_path)
    assert ended.code == 1
    assert str(port) in ended.err
    assert "--metrics-port" in ended.err
    assert "Traceback" not in ended.err


def test_a_demo_on_a_port_in_use_names_it(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        ended = run("demo", "--metrics-port", held.getsockname()[1], "--plain")
        assert ended.code == 1
        assert f"port {held.getsockname()[1]} is in use" in one_sentence(ended)


def test_watching_nobody_fails_by_name(run: Run, tmp_path: Path) -> None:
    ended = run("watch", "--url", NOBODY, "--seconds", 0, "--plain")
    assert ended.code == 1
    assert NOBODY in one_sentence(ended)
    port = free_port()
    ended = run("watch", "--prometheus", "--url", f"http://127.0.0.1:{port}", "--seconds", 0, "--plain")
    assert ended.code == 1
    assert str(port) in one_sentence(ended)


def test_a_password_in_an_address_is_refused(run: Run) -> None:
    ended = run("watch", "--url", "http://prometheus:s3cret@127.0.0.1:1", "--seconds", 0, "--plain")
    assert ended.code == 2
    assert "s3cret" not in one_sentence(ended)


def test_a_file_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    ended = run("simulate", "--seconds", 1, "--out", tmp_path / "no" / "such" / "file.jsonl")
    assert ended.code == 1
    assert "file.jsonl" in one_sentence(ended)


def test_a_doctor_that_finds_a_failure_says_so_by_its_code(run: Run, tmp_path: Path) -> None:
    ended = run("doctor", "--bootstrap", NOWHERE, "--data-dir", tmp_path, "--metrics-port", 0)
    assert ended.code == 1
    assert ended.out.splitlines()[-1].startswith(f"FAIL  broker: No Kafka broker answers at {NOWHERE}")
    assert ended.out.startswith("ok    python: ")


# --- what works: code 0


def test_compute_gives_figures_and_says_which_lines_are_none(run: Run, events: Path) -> None:
    ended = run("compute", events, "--json")
    assert ended.code == 0
    figures = json.loads(ended.out)
    row = {"site": "lima-1", "role": "agent", "window": "1h"}
    assert {**row, "value": 39 / 40} in figures["labelwatch_site_accuracy_ratio"]
    assert ended.err.splitlines()[0] == "1 line could not be used: 1 json"
    assert ended.err.splitlines()[1].startswith("line 41: json: ")
    assert "lima-1" in run("compute", events).out


def test_a_good_policy_is_shown(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[site.lima-1]\naccuracy_target = 0.97\n")
    ended = run("policy", "check", file)
    assert ended.code == 0
    assert "97%" in ended.out


def test_topics_are_made_checked_filled_and_explained(tansu: EmbeddedBroker, run: Run, events: Path) -> None:
    broker = ("--bootstrap", tansu.bootstrap)
    ended = run("topics", "check", *broker)
    assert ended.code == 1
    assert EVENTS in ended.out
    assert f"{EVENTS}: created with 2 partitions" in run("topics", "create", *broker, "--partitions", 2).out
    assert f"{EVENTS}: exists with 2 partitions" in run("topics", "create", *broker).out
    assert run("topics", "check", *broker).code == 0
    # The end of a replay goes to both partitions.
    assert run("replay", events, *broker, "--plain").out.startswith("43 records")
    ended = run(
        *("explain", "--site", "lima-1", "--figure", "accuracy", "--window", "7d", "--clock", "event"),
        *("--plain", "--limit", "2", *broker),
    )
    assert ended.code == 0
    assert "# reviews: 40; correct: 39; ratio 0.975000" in ended.out
    shown = [line.split("\t") for line in ended.out.splitlines() if not line.startswith("#")]
    assert [(cells[0], cells[5]) for cells in shown] == [("review-0", "false"), ("review-39", "true")]
    assert "2 of 40 events shown" in ended.err


@pytest.fixture
def histories(tmp_path: Path) -> Path:
    """A folder with reviews of a site that no western encoding can write, and a policy for it."""
    usual = {"type": "label_reviewed", "site_id": SITE, "agent_id": "é-1", "project_id": "p≈", "task_id": "t"}
    lines = [
        json.dumps({**usual, "event_id": f"r{n}", "at": 1_763_985_600_000 + n, "correct": n > 9}, ensure_ascii=False)
        for n in range(40)
    ]
    text = "\n".join([*lines, '{"\u4e0a"', ""])
    (tmp_path / "events.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "policy.toml").write_bytes(b"\xef\xbb\xbf" + f'[site."{SITE}"]\naccuracy_target = 0.97\n'.encode())
    return tmp_path


def encoded(run: Run, monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: object) -> tuple[Ended, bytes]:
    """A command whose standard output and error have an encoding: how it ended, and the bytes of its output."""
    with monkeypatch.context() as patch:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(sys, "argv", ["labelwatch", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        texts = [stream.buffer.getvalue().decode(stream.encoding) for stream in (out, err)]
        return Ended(code, *texts), out.buffer.getvalue()


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_every_command_writes_to_a_terminal_of_any_encoding(
    encoding: str, run: Run, monkeypatch: pytest.MonkeyPatch, histories: Path, tansu: EmbeddedBroker
) -> None:
    def ended(*arguments: object, code: int = 0) -> str:
        found, _ = encoded(run, monkeypatch, encoding, *arguments)
        assert found.code == code, found
        assert "Traceback" not in found.err
        assert "a defect" not in found.err
        return found.out + found.err

    for path in commands(typer.main.get_command(cli.app)):
        assert "Usage:" in ended(*path, "--help")
    shown = SITE if encoding == "utf-8" else r"\u4e0a\u6d77-2"
    events, policy = histories / "events.jsonl", histories / "policy.toml"
    broker = ("--bootstrap", tansu.bootstrap)
    assert "1 line could not be used: 1 json" in ended("compute", events)
    ended("policy", "check", policy)
    ended("backtest", events, "--policy", policy)
    ended("policy", "check", policy, "--history", events)
    ended("simulate", "--seconds", 1, "--out", histories / "上.jsonl")
    ended("topics", "create", *broker, "--partitions", 1)
    ended("topics", "check", *broker)
    ended("replay", events, *broker, "--plain")
    explained = ("explain", "--site", SITE, "--figure", "accuracy", "--window", "7d", "--clock", "event", *broker)
    assert shown in ended(*explained, "--plain")
    ended(*explained)
    ended("doctor", *broker, "--data-dir", histories / SITE, "--metrics-port", 0)
    with MetricsServer(MonitorState(), plain, port=0) as server:
        ended("watch", "--url", server.url, "--seconds", 0, "--plain")
    missing = ended("compute", f"{SITE}.jsonl", code=2)
    assert f"labelwatch: {shown}.jsonl: No such file" in missing
    for command in ("compute", "backtest"):
        found, output = encoded(run, monkeypatch, encoding, command, events, "--json")
        assert found.code == 0
        json.loads(output.decode("utf-8"))
    assert SITE.encode() in encoded(run, monkeypatch, encoding, "compute", events, "--json")[1]


def test_a_real_process_in_another_encoding_prints_and_keeps_json_in_utf_8(histories: Path) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "streams.cli", "compute", str(histories / "events.jsonl")]
    table = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=True)
    assert b"\\u4e0a" in table.stdout
    assert b"Traceback" not in table.stderr
    figures = subprocess.run([*command, "--json"], env=environ, capture_output=True, timeout=60, check=True)
    assert SITE.encode() in figures.stdout


# --- defects


def test_a_defect_is_one_sentence_and_a_traceback_when_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, events: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr("streams.ops.compute.compute", broken)
    ended = run("compute", events)
    assert ended.code == 1
    assert ended.err.startswith("labelwatch: ZeroDivisionError: by design (a defect")
    monkeypatch.setenv("LABELWATCH_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("compute", events)
