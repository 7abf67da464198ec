"""`labelwatch demo`: broker, topics, simulator, worker and board on this machine, and all of it gone at the end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from streams.ops.embedded import EmbeddedBroker
from streams.ops.errors import CommandError
from streams.ops.ports import is_free
from streams.ops.topics import create
from streams.ops.watch import Watcher, show, source_of
from streams.runtime.certificates import trust_only
from streams.runtime.settings import PROTECTION, Settings, variable_of
from streams.sources.scenarios import SCENARIOS
from streams.sources.world import PLACES

HISTORY_SECONDS = 3600
#: Longer than anybody looks; the operation's people work in shifts, so it never runs dry.
LIVE_SECONDS = 8 * 3600
#: Reviews come minutes after labels: a change this long ago begins to show when the board does.
CHANGE_SECONDS = -900
#: Large enough to be found while one watches: a drop of a few points takes hours of reviews, not minutes.
POINTS = 0.18
PARTITIONS = 2
_STOP_SECONDS = 15.0
_LAST_LINES = 5
#: Variables that a part of the demo gets, too.
_PASSED_ON = frozenset(map(variable_of, PROTECTION))
#: What ends the demo in order; a closed terminal is a hang-up.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person asks for.

    Attributes:
        scenario: What the simulated operation goes through.
        seconds: End after so long; None: until Ctrl-C.
        plain: Lines for scripts in place of a picture.
        rate: Events a second.
        settings: Port of /metrics, how its pages are protected, and the policy file; without one, one that fits the
            simulated sites.
    """

    scenario: str = "site-dip"
    seconds: float | None = None
    plain: bool = False
    rate: float = 30.0
    settings: Settings = field(default_factory=lambda: Settings.resolve(environ={}))


def run_demo(options: DemoOptions, console: Console) -> None:
    """Runs the demo to its end: its time is over, Ctrl-C, SIGTERM, or the terminal is closed.

    Raises:
        CommandError: A port is in use, the embedded broker is missing, or a part of the demo ended by itself.
    """
    port = options.settings.metrics_port
    # Wrong files are said before anything is started.
    options.settings.metrics_login()
    options.settings.metrics_certificate()
    if not is_free(port):
        raise CommandError(f"port {port} is in use, perhaps by another worker; end that one or give --metrics-port")
    with _stoppable() as stopped, tempfile.TemporaryDirectory(prefix="labelwatch-demo-") as folder:
        watcher = _run(options, console, Path(folder), stopped)
    if console.is_terminal and not options.plain and watcher.reading is not None:
        # A terminal that was closed takes no farewell.
        with contextlib.suppress(OSError):
            console.print(watcher.board())
            console.print("The demo has ended, and nothing of it is left running.", style="bold")


def _run(options: DemoOptions, console: Console, folder: Path, stopped: threading.Event) -> Watcher:
    settings = options.settings
    scheme, trust = "http", None
    if settings.metrics_certfile is not None:
        scheme, trust = "https", trust_only(settings.metrics_certfile)
    url = f"{scheme}://127.0.0.1:{settings.metrics_port}"
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        urls = (f"{url}/metrics", f"{url}/metrics/agents", f"{url}/readyz", f"kafka {broker.bootstrap}")
        if options.plain:
            console.print("metrics {}  agents {}  ready {}  {}".format(*urls), soft_wrap=True, highlight=False)
        watcher = Watcher(
            source_of(url, False, settings.metrics_login(), trust),
            urls,
            f"{_story(options.scenario)} An hour of history, then live. Ctrl-C ends everything.",
            patient=True,
        )
        for _ in create(Settings.resolve(environ={}, bootstrap=broker.bootstrap), PARTITIONS):
            pass
        simulator = stack.enter_context(_Child("simulator", folder, _simulator(options, broker.bootstrap)))
        worker = stack.enter_context(_Child("worker", folder, _worker(options, broker.bootstrap, folder)))
        until = None if options.seconds is None else time.monotonic() + options.seconds

        def go_on() -> bool:
            if stopped.is_set() or (until is not None and time.monotonic() >= until):
                return False
            worker.check()
            simulator.check(may_end=True)
            return True

        try:
            show(watcher, console, plain=options.plain, go_on=go_on)
        except OSError:
            # A terminal that was closed cannot be written to.
            if not stopped.is_set():
                raise
    if not stopped.is_set() and (watcher.reading is None or not watcher.reading.sites):
        raise CommandError("the demo ended before the first figures; give it --seconds 20 or more")
    return watcher


def _story(scenario: str) -> str:
    """What a person will see, in a few lines."""
    began = datetime.fromtimestamp(time.time() + CHANGE_SECONDS, UTC).strftime("%H:%M UTC")
    if scenario == "steady":
        return "Demo, scenario steady: nothing changes."
    where = "" if "every site" in SCENARIOS[scenario] else f"{PLACES[0][0]}, "
    return f"Demo, scenario {scenario}: {where}from {began} on, {SCENARIOS[scenario]}."


def _worker(options: DemoOptions, bootstrap: str, folder: Path) -> list[str]:
    policy = options.settings.policy
    if policy is None:
        policy = folder / "policy.toml"
        policy.write_text(demo_policy(), encoding="utf-8")
    return [
        *("worker", "--bootstrap", bootstrap, "--metrics-port", str(options.settings.metrics_port)),
        # A short session: the embedded broker answers a join after half of it.
        *("--data-dir", str(folder / "data"), "--session-timeout-seconds", "6", "--policy", str(policy)),
    ]


def _simulator(options: DemoOptions, bootstrap: str) -> list[str]:
    return [
        *("simulate", "--bootstrap", bootstrap, "--scenario", options.scenario, "--rate", str(options.rate)),
        *("--seconds", str(LIVE_SECONDS), "--history-seconds", str(HISTORY_SECONDS)),
        *("--change-seconds", str(CHANGE_SECONDS), "--points", str(POINTS)),
    ]


def demo_policy() -> str:
    """The simulated operation's policy, in TOML: each site with its vendor and zone, the first one stricter."""
    sites = [f'[site.{name}]\nvendor = "{vendor}"\ntimezone = "{zone}"\n' for name, vendor, zone, *_ in PLACES]
    sites[0] += "accuracy_target = 0.96\n"
    river = '[detection.river]\naccuracy = { name = "ADWIN", of = ["sites"] }\n'
    return "\n".join(["[defaults]\nutilization_target = 0.75\n", *sites, river])


class _Child:
    """A part of the demo as a process of its own, with its log in the demo's folder; ended with the `with` block."""

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
                # What a person's shell says for a worker of their own is not for the demo's, but for who may read it.
                env={
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith("LABELWATCH_") or name in _PASSED_ON
                },
            )

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check(self, *, may_end: bool = False) -> None:
        """Raises CommandError with the last words of a part that has ended by itself."""
        code = self._process.poll()
        if code is None or (may_end and code == 0):
            return
        last = self._log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        raise CommandError(f"the {self._name} ended with code {code}: {' / '.join(last) or 'it said nothing'}")


@contextlib.contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Notes a signal to end and raises nothing: an exception between two lines could leave a part running."""
    stopped = threading.Event()
    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, lambda *_: stopped.set()) for number in _SIGNALS
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
