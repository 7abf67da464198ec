"""`labelwatch demo` as a person starts it: it shows sites, ends in order, and leaves nothing behind."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.runtime.settings import variable_of
from tests.support.certificates import Authority
from tests.support.ports import free_port

_WAIT_SECONDS = 180


@contextmanager
def demo(folder: Path, *arguments: object, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """A demo whose temporary files go to a folder, with settings in its environment; ended with the block."""
    folder.mkdir(exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "demo", "--plain", *map(str, arguments)],
        env={
            **own,
            **{variable_of(name): str(value) for name, value in settings.items()},
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            # Its parts are in sessions of their own: only its own end ends them.
            process.terminate()
            process.communicate(timeout=_WAIT_SECONDS)


def descendants(pid: int) -> set[int]:
    """Every process below one, by Linux's own table."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything: state, then parent.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def first_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_it_shows_sites_for_a_while_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    with demo(tmp_path / "own", "--seconds", 60, "--metrics-port", port) as process:
        first = first_lines(process, 2)
        below = descendants(process.pid)
        out, err = process.communicate(timeout=_WAIT_SECONDS)
    assert process.returncode == 0, err
    assert f"metrics http://127.0.0.1:{port}/metrics" in first[0]
    sites = {line.split("'")[1] for line in out.splitlines() if line.startswith("site='")}
    assert len(sites) > 1
    assert "accuracy=" in out
    # Broker, worker and simulator.
    assert len(below) >= 3
    assert alive(below) == set()
    assert list((tmp_path / "own").iterdir()) == []
    assert err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_sigterm_and_a_closed_terminal_end_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path / "own", "--metrics-port", free_port()) as process:
        first_lines(process, 2)
        below = descendants(process.pid)
        process.send_signal(number)
        _, err = process.communicate(timeout=_WAIT_SECONDS)
    assert process.returncode == 0, err
    assert len(below) >= 3
    assert alive(below) == set()
    assert list((tmp_path / "own").iterdir()) == []
    assert err == ""


def test_its_pages_have_the_password_and_the_certificate_that_the_settings_name(tmp_path: Path) -> None:
    certificate = Authority(tmp_path / "tls").issue("demo", "demo.example")
    port = free_port()
    with demo(
        tmp_path / "own", "--metrics-port", port, metrics_password="secret", metrics_certfile=certificate
    ) as process:
        (first,) = first_lines(process, 1)
        assert f"metrics https://127.0.0.1:{port}/metrics" in first
        assert process.stdout is not None
        # The board has read the page with them.
        assert next(line for line in process.stdout if line.startswith("site="))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", timeout=10, context=context)
        refused.value.close()
    assert refused.value.code == 401


def test_a_certificate_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "no.pem"
    with demo(tmp_path / "own", "--metrics-port", free_port(), metrics_certfile=missing) as process:
        out, err = process.communicate(timeout=_WAIT_SECONDS)
    assert process.returncode == 2
    assert out == ""
    assert err.startswith(f"labelwatch: LABELWATCH_METRICS_CERTFILE: cannot use {missing}")
    assert err.count("\n") == 1


def test_a_part_that_ends_by_itself_ends_all_with_its_name(tmp_path: Path) -> None:
    with demo(tmp_path / "own", "--metrics-port", free_port()) as process:
        first_lines(process, 2)
        below = descendants(process.pid)
        (worker,) = (pid for pid in below if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        os.kill(worker, signal.SIGKILL)
        _, err = process.communicate(timeout=_WAIT_SECONDS)
    assert process.returncode == 1
    assert err.startswith("labelwatch: the worker ended with code -9")
    assert err.count("\n") == 1
    assert alive(below) == set()


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with demo(tmp_path / "own", "--metrics-port", port) as process:
            out, err = process.communicate(timeout=_WAIT_SECONDS)
    assert process.returncode == 1
    assert out == ""
    assert err.startswith(f"labelwatch: port {port} is in use")
    assert err.count("\n") == 1
