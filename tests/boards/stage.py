"""A real worker under the simulator, scraped by a real Prometheus with the shipped rules, quickened; no Java needed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from streams.ops.embedded import EmbeddedBroker
from streams.ops.topics import create
from streams.runtime.settings import Settings
from tests.support.ports import free_port
from tests.support.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 180
#: As `labelwatch demo`, and larger: the dip begins within the history, so that it is found within seconds.
DIP = (
    *("--scenario", "site-dip", "--points", "0.25", "--seed", "2", "--rate", "12"),
    *("--history-seconds", "10800", "--change-seconds", "-5400", "--seconds", "3600"),
)


class Prometheus:
    """Prometheus 2.42 with the rules of this project at intervals of a second; ends with the block that opened it.

    Args:
        folder: Scratch space; a folder `data` in it holds what was stored before.
        targets: `host:port` of pages to scrape.
        options: More of its command line.
    """

    def __init__(self, folder: Path, targets: Sequence[str], options: Sequence[str] = ()) -> None:
        if shutil.which("prometheus") is None:
            pytest.skip("prometheus is missing: on Debian, install the package prometheus")
        self.folder = folder
        self._options = options
        self.url = f"http://127.0.0.1:{free_port()}"
        self._configure(targets)

    def __enter__(self) -> Self:
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self.folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    "--storage.tsdb.retention.time=90d",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._ready():
            assert self._process.poll() is None, (self.folder / "prometheus.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "Prometheus is not ready"
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        """CPU time that it has taken so far, which a busy machine does not change. Linux."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def restart(self) -> None:
        """Ends and starts it, so that it sees blocks that were put into its folder."""
        self.__exit__(None, None, None)
        self.__enter__()

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer; the message of Prometheus where it refuses."""
        body = urllib.parse.urlencode(parameters, doseq=True).encode()
        get = path.startswith(("label/", "rules"))
        url = f"{self.url}/api/v1/{path}" + (f"?{body.decode()}" if get else "")
        try:
            with urllib.request.urlopen(url, data=None if get else body, timeout=60) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters.get('query', path)}: {error.read().decode()}") from None

    def value(self, query: str) -> float:
        """Sum of what an instant query finds."""
        return sum(float(each["value"][1]) for each in self.ask("query", query=query)["result"])

    def wait_for(self, query: str, seconds: float = WAIT_SECONDS) -> None:
        """Waits until a query finds something other than 0."""
        deadline = time.monotonic() + seconds
        while not self.value(query):
            assert time.monotonic() < deadline, f"not within {seconds} s: {query}"
            time.sleep(0.5)

    def wait_for_rules(self, seconds: float = WAIT_SECONDS) -> None:
        """Waits until what the pages show now has gone through every chain of rules.

        A group is evaluated by its own clock and sees what others recorded before: what one group has to say of a page
        has reached every other after as many evaluations as there are groups.
        """
        seen: dict[str, set[str]] = {}
        deadline = time.monotonic() + seconds
        # The first that is seen was before this, and the second may have begun before it.
        while not seen or min(map(len, seen.values())) < len(seen) + 2:
            assert time.monotonic() < deadline, f"rules were not evaluated within {seconds} s: {seen}"
            for group in self.ask("rules")["groups"]:
                seen.setdefault(group["name"], set()).add(group["lastEvaluation"])
            time.sleep(0.25)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _configure(self, targets: Sequence[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
        del config["alerting"]
        config["global"] |= {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            job |= {"scrape_interval": "5s", "scrape_timeout": "5s", "static_configs": [{"targets": list(targets)}]}
        for file in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
            rules = yaml.safe_load(file.read_text("utf-8"))
            for group in rules["groups"]:
                group["interval"] = "1s"
                for rule in group["rules"]:
                    if "for" in rule:
                        rule["for"] = "1s"
            (self.folder / "rules").mkdir(exist_ok=True)
            (self.folder / "rules" / file.name).write_text(yaml.safe_dump(rules, allow_unicode=True), "utf-8")
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")


class Operation:
    """Broker, worker and simulator; ends with the block that opened it.

    Args:
        folder: Scratch space.
        simulation: Options of `labelwatch simulate`.
    """

    def __init__(self, folder: Path, simulation: Sequence[str] = DIP) -> None:
        self._folder = folder
        self._simulation = simulation
        self._broker = EmbeddedBroker()

    def __enter__(self) -> Self:
        self._broker.__enter__()
        bootstrap = self._broker.bootstrap
        list(create(Settings.resolve(environ={}, bootstrap=bootstrap), 2))
        self.worker = WorkerProcess(
            self._folder, bootstrap, clock="wall", agent_labels="pseudonym", policy=ROOT / "policy.toml"
        )
        self.worker.wait_for(r"metrics at (http\S+)")
        command: list[str | Path] = [Path(sys.executable).with_name("labelwatch"), "simulate", "--bootstrap", bootstrap]
        with (self._folder / "simulate.log").open("ab") as log:
            self._simulator = subprocess.Popen([*command, *self._simulation], stdout=log, stderr=log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._simulator.kill()
        self._simulator.wait()
        self.worker.__exit__(kind, error, at)
        self._broker.__exit__(kind, error, at)

    @property
    def target(self) -> str:
        """`host:port` of the worker's pages."""
        return self.worker.wait_for(r"metrics at http://(\S+)")[1].rstrip("/")

    def wait_for_drift(self) -> tuple[str, str]:
        """Waits until the worker shows a drift that pages, and every site live; its two pages as they are then."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            page = self.worker.get("/metrics")[1]
            opened = re.findall(r'^labelwatch_drift_active\{.*budget="page".*\} 1(?:\.0)?$', page, re.M)
            # Past its history, too: a site has labels within the last minutes.
            live = re.findall(r'^labelwatch_site_labels\{.*window="15m"\}', page, re.M)
            if opened and len(live) == 6 and "labelwatch_drift_contribution" in page:
                return page, self.worker.get("/metrics/agents")[1]
            assert time.monotonic() < deadline, "no drift was found"
            time.sleep(1)

    def stop_worker(self) -> None:
        """Kills the worker, as a crash would."""
        self.worker.process.kill()
        self.worker.process.wait()
