"""`labelwatch demo`: broker, topics, simulator, worker and board on this machine, and all of it gone at the end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from streams.ops.embedded import EmbeddedBroker
from streams.ops.errors import CommandError
from streams.ops.ports import is_free
from streams.ops.topics import create
from streams.ops.watch import Watcher, show, source_of
from streams.runtime.settings import Settings

HISTORY_SECONDS = 3600
#: The scenario's change comes after a quarter of the live part: soon enough to be watched.
LIVE_SECONDS = 1200
PARTITIONS = 2
_STOP_SECONDS = 15.0
_GRACE_SECONDS = 60.0
_LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person asks for.

    Attributes:
        scenario: What the simulated operation goes through.
        seconds: End after so long, but not before the first figures; None: until Ctrl-C.
        plain: Lines for scripts in place of a picture.
        rate: Events a second.
        metrics_port: Port of /metrics.
        policy: Policy file.
    """

    scenario: str = "site-dip"
    seconds: float | None = None
    plain: bool = False
    rate: float = 30.0
    metrics_port: int = 9464
    policy: Path | None = None


class _Stopped(Exception):
    """SIGTERM or SIGINT."""


def run_demo(options: DemoOptions, console: Console) -> None:
    """Runs the demo to its end.

    Raises:
        CommandError: A port is in use, the embedded broker is missing, or a part of the demo ended by itself.
    """
    port = options.metrics_port
    if not is_free(port):
        raise CommandError(f"port {port} is in use, perhaps by another worker; end that one or give --metrics-port")
    with _stoppable(), tempfile.TemporaryDirectory(prefix="labelwatch-demo-") as folder, contextlib.suppress(_Stopped):
        _run(options, console, Path(folder))


def _run(options: DemoOptions, console: Console, folder: Path) -> None:
    url = f"http://127.0.0.1:{options.metrics_port}"
    with EmbeddedBroker() as broker, contextlib.ExitStack() as stack:
        for _ in create(Settings.resolve(environ={}, bootstrap=broker.bootstrap), PARTITIONS):
            pass
        worker = _Child("worker", folder, _worker_arguments(options, broker.bootstrap, folder))
        stack.callback(worker.stop)
        simulator = _Child("simulator", folder, _simulator_arguments(options, broker.bootstrap))
        stack.callback(simulator.stop)
        if options.plain:
            console.print(f"metrics {url}/metrics  agents {url}/metrics/agents  ready {url}/readyz", soft_wrap=True)
        watcher = Watcher(
            source_of(url, prometheus=False),
            (f"{url}/metrics", f"{url}/metrics/agents", f"{url}/readyz"),
            f"demo, scenario {options.scenario}: an hour of history, then live. Ctrl-C ends everything.",
            patient=True,
        )
        until = None if options.seconds is None else time.monotonic() + options.seconds

        def shown() -> bool:
            return watcher.reading is not None and bool(watcher.reading.sites)

        def go_on() -> bool:
            worker.check()
            simulator.check(may_end=True)
            if until is None or time.monotonic() < until:
                return True
            # On a busy machine the first figures take longer: a demo that shows nothing is none.
            return not shown() and time.monotonic() < until + _GRACE_SECONDS

        show(watcher, console, plain=options.plain, go_on=go_on)
        if not shown():
            raise CommandError(f"no figures within {_GRACE_SECONDS:g} s of the demo's end; is this machine very busy?")


def _worker_arguments(options: DemoOptions, bootstrap: str, folder: Path) -> list[str]:
    # A short session: the embedded broker answers a join after half of it.
    policy = [] if options.policy is None else ["--policy", str(options.policy)]
    return [
        *("worker", "--bootstrap", bootstrap, "--metrics-port", str(options.metrics_port)),
        *("--data-dir", str(folder / "data"), "--session-timeout-seconds", "6", *policy),
    ]


def _simulator_arguments(options: DemoOptions, bootstrap: str) -> list[str]:
    return [
        *("simulate", "--bootstrap", bootstrap, "--scenario", options.scenario, "--rate", str(options.rate)),
        *("--seconds", str(LIVE_SECONDS), "--history-seconds", str(HISTORY_SECONDS)),
    ]


class _Child:
    """A part of the demo as a process of its own, with its log in the demo's folder."""

    def __init__(self, name: str, folder: Path, arguments: list[str]) -> None:
        self._name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches the demo alone, which then ends its parts in order.
                start_new_session=True,
                # What a person's shell says for a worker of their own is not for the demo's.
                env={name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")},
            )

    def check(self, *, may_end: bool = False) -> None:
        """Raises CommandError with the last words of a part that has ended by itself."""
        code = self._process.poll()
        if code is None or (may_end and code == 0):
            return
        last = self._log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        raise CommandError(f"the {self._name} ended with code {code}: {' / '.join(last) or 'it said nothing'}")

    def stop(self) -> None:
        """Ends it in order, and by force if it does not."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Turns SIGTERM and Ctrl-C into one exception, so that every part is ended on the way out."""

    def stop(number: int, frame: object) -> None:
        # A second Ctrl-C must not interrupt the ending of the parts.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped

    before: dict[int, Callable[..., object] | int | None] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, stop)  # type: ignore[assignment]  # signal's own union
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as it came
