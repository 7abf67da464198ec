"""The services of docker-compose.yml as plain processes: the same commands, environments and files, on free ports.

Nothing of the compose file is repeated here. What differs from Docker: images become the programs of this machine,
`service:port` and a service's own ports become free ports of the loopback interface, and paths below a volume become
folders of a scratch folder. Files that are mounted are copied with the same replacements.
"""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.kafka import RealKafka
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
START_SECONDS = 120
STOP_SECONDS = 30
#: What an image starts before its command, by the image's name without tag. The labelwatch image starts nothing.
ENTRYPOINTS = {"prom/prometheus": ["prometheus"], "prom/alertmanager": ["prometheus-alertmanager"]}
PROGRAMS = {"labelwatch": str(Path(sys.executable).with_name("labelwatch")), "python": sys.executable}
#: RealKafka gives itself listeners and folders; the broker's other settings come from the compose file.
KAFKA_OWN = re.compile(r"listener|quorum|log\.dirs|node\.id|process\.roles|heap\.opts")


class StackError(RuntimeError):
    """A service did not do as the compose file says; the message ends with the last lines of its log."""


def compose(path: Path = COMPOSE) -> dict[str, Any]:
    """The compose file with the variables of .env and of the environment put in."""
    variables = {
        **dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if re.match(r"\w+=", line)),
        **os.environ,
    }

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1]) or match[2] or ""

    return dict(yaml.safe_load(re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, path.read_text("utf-8"))))


class NativeStack:
    """Starts and ends services by name; ends all with the block that opened it.

    Args:
        folder: Scratch space; must be empty.
        settings: Environment of every labelwatch service beside the compose file's, to make a test quick.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._settings = settings or {}
        self._services: dict[str, dict[str, Any]] = compose()["services"]
        self._ports: dict[tuple[str, str], int] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._kafka: RealKafka | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in reversed(list(self._processes)):
            self.kill(name)
        if self._kafka is not None:
            self._kafka.kill9()

    # What others ask.

    def port(self, service: str, port: int) -> int:
        """The port of this machine that stands for a service's."""
        key = (service, str(port))
        if key not in self._ports:
            self._ports[key] = free_port()
        return self._ports[key]

    def url(self, service: str, port: int, path: str = "") -> str:
        """An address that a test can open."""
        return f"http://127.0.0.1:{self.port(service, port)}{path}"

    def output(self, service: str) -> str:
        """All that a service has printed."""
        log = self.folder / f"{service}.log"
        return log.read_text("utf-8", errors="replace") if log.exists() else ""

    def running(self) -> set[str]:
        """Services with a process, Kafka apart."""
        return set(self._processes)

    def up(self, *wanted: str) -> None:
        """Starts services and what they depend on, in order, each as healthy or completed as the file asks.

        Raises:
            StackError: One ended, or was not healthy in time.
        """
        graph: dict[str, set[str]] = {}
        todo = list(wanted)
        while todo:
            name = todo.pop()
            if name not in graph:
                graph[name] = set(self._services[name].get("depends_on", {}))
                todo += graph[name]
        conditions = {
            needed: options["condition"]
            for name in graph
            for needed, options in self._services[name].get("depends_on", {}).items()
        }
        for name in TopologicalSorter(graph).static_order():
            if name not in self._processes and not (name == "kafka" and self._kafka):
                self.start(name)
            if conditions.get(name) == "service_completed_successfully":
                self._wait_completed(name)
        for name in graph:
            self._wait_healthy(name)

    def start(self, name: str) -> None:
        """Starts one service without what it depends on."""
        service = self._services[name]
        if name == "kafka":
            self._start_kafka(service)
            return
        command = [self._text(name, word) for word in service["command"]]
        entry = ENTRYPOINTS.get(service["image"].rpartition(":")[0], [])
        if not entry:
            command[0] = PROGRAMS[command[0]]
        self._mount(name)
        environment = {key: self._text(name, str(value)) for key, value in service.get("environment", {}).items()}
        plain = {key: value for key, value in os.environ.items() if not key.startswith("LABELWATCH_")}
        settings = self._settings if service["image"].startswith("labelwatch") else {}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*entry, *command], cwd=self.folder, env={**plain, **environment, **settings}, stdout=log, stderr=log
            )

    def stop(self, name: str) -> int:
        """SIGTERM, as `docker compose stop`; returns the exit code."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise StackError(f"{name} did not end within {STOP_SECONDS} s.\n{self._last_lines(name)}") from None

    def kill(self, name: str) -> None:
        """SIGKILL."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    # How a service is made to run here.

    def _start_kafka(self, service: dict[str, Any]) -> None:
        named = {
            key.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
            for key, value in service["environment"].items()
            if key.startswith("KAFKA_")
        }
        broker = RealKafka(
            self.folder / "kafka",
            properties={key: value for key, value in named.items() if not KAFKA_OWN.search(key)},
        )
        self._kafka = broker.start()
        self._ports["kafka", "9092"] = int(broker.bootstrap.rpartition(":")[2])

    def _mount(self, name: str) -> None:
        for source, target in self._volumes(name):
            here = self._place(name, target)
            if not source.startswith("."):
                here.parent.mkdir(parents=True, exist_ok=True)
                (self.folder / "volumes" / source).mkdir(parents=True, exist_ok=True)
                if not here.exists():
                    here.symlink_to(self.folder / "volumes" / source)
                continue
            origin = (ROOT / source).resolve()
            for file in [origin] if origin.is_file() else sorted(path for path in origin.rglob("*") if path.is_file()):
                copy = here / file.relative_to(origin) if file != origin else here
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(self._text(name, file.read_text("utf-8"), own_ports=False), "utf-8")

    def _volumes(self, name: str) -> Iterator[tuple[str, str]]:
        for volume in self._services[name].get("volumes", []):
            source, target = volume.split(":")[:2]
            yield source, target

    def _place(self, name: str, target: str) -> Path:
        return self.folder / "root" / name / target.lstrip("/")

    def _address(self, service: str, found: re.Match[str]) -> str:
        return f"127.0.0.1:{self.port(service, int(found[1]))}"

    def _text(self, name: str, text: str, *, own_ports: bool = True) -> str:
        """A word of a command, a value or a file, as it must read on this machine."""
        for service in self._services:
            text = re.sub(rf"(?<![\w.-]){re.escape(service)}:(\d+)", partial(self._address, service), text)
        for published in self._services[name].get("ports", []):
            host, inner = published.split(":")[-2:]
            text = text.replace(f"localhost:{host}", f"localhost:{self.port(name, int(inner))}")
        if own_ports:
            for port in self._own_ports(name):
                text = re.sub(rf"(?<![\w.]){port}(?!\w)", str(self.port(name, int(port))), text)
            for _, target in self._volumes(name):
                text = re.sub(rf"(?<=[=]){target}(?=/|$)|^{target}(?=/|$)", str(self._place(name, target)), text)
                mounted = target.rpartition("/")[0]
                text = re.sub(rf"^{mounted}(?=/|$)", str(self._place(name, mounted)), text) if mounted else text
        return text

    def _own_ports(self, name: str) -> set[str]:
        """Ports that a service listens at: those its health check asks."""
        return set(re.findall(r"localhost:(\d+)", str(self._services[name].get("healthcheck", ""))))

    def _wait_completed(self, name: str) -> None:
        if name not in self._processes:
            return
        process = self._processes.pop(name)
        if code := process.wait(START_SECONDS):
            raise StackError(f"{name} ended with code {code}.\n{self._last_lines(name)}")
        self._processes.pop(name, None)

    def _wait_healthy(self, name: str) -> None:
        asked = re.search(r"http://localhost:(\d+)([^'\" ,\]]*)", str(self._services[name].get("healthcheck", "")))
        if name not in self._processes or not asked:
            return
        url, deadline = self.url(name, int(asked[1]), asked[2]), time.monotonic() + START_SECONDS
        while not answers(url):
            code = self._processes[name].poll()
            if code is not None or time.monotonic() > deadline:
                raise StackError(f"{name} is not healthy at {url} (exit code {code}).\n{self._last_lines(name)}")
            time.sleep(0.2)

    def _last_lines(self, name: str, count: int = 20) -> str:
        return "\n".join(self.output(name).splitlines()[-count:])


def answers(url: str) -> bool:
    """Whether an address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
