"""The monitor itself: a real worker process, started as a user starts it and watched through its own pages."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import EVENTS, topics
from tests.support.kafka import create_topics
from tests.support.ports import free_port

START_SECONDS = 60
RUN_SECONDS = 600
STOP_SECONDS = 30
POLL_SECONDS = 0.01
#: Reasons of /readyz that pass before the first batch is read; `caught_up` stays until the last is applied.
BEFORE_THE_FLOW = {"unreachable", "member", "assigned", "restored"}


class WorkerError(RuntimeError):
    """The worker did not do the work; the message ends with the last lines of its log."""


class Worker:
    """One `labelwatch worker` with checkpoints and exporter on.

    Args:
        bootstrap: `host:port` of the broker.
        worker_id: Its `--id`; a new one starts at the beginning of the topic.
        folder: For its data directory and log.
    """

    def __init__(self, bootstrap: str, worker_id: str, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._log = folder / f"{worker_id}.log"
        command = [
            *(str(Path(sys.executable).with_name("labelwatch")), "worker", "--bootstrap", bootstrap, "--id", worker_id),
            *("--metrics-port", str(port), "--data-dir", str(folder / worker_id)),
        ]
        create_topics(bootstrap, [each for each in topics(worker_id) if worker_id in each.name], partitions=2)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def catch_up(self) -> tuple[float, float]:
        """Waits until everything is applied.

        Returns:
            Seconds and CPU seconds from "restored" (the flow starts) to "caught up" (the last event is applied).

        Raises:
            WorkerError: It ended, or took too long.
        """
        self._wait(START_SECONDS, lambda: not self._lacks() & BEFORE_THE_FLOW)
        started, cpu_started = time.perf_counter(), self.cpu_seconds()
        self._wait(RUN_SECONDS, lambda: not self._lacks())
        return time.perf_counter() - started, self.cpu_seconds() - cpu_started

    def accepted_events(self) -> int:
        """Events that its durable counter holds: none counted twice, none rejected, all checkpointed."""
        text = self._get("/metrics")[1]
        return sum(
            int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "labelwatch_events_total" and sample.labels["topic"] == EVENTS
        )

    def wait_for_checkpoint(self, events: int) -> None:
        """Waits until the durable counter stands at `events`.

        Raises:
            WorkerError: It stands elsewhere: the run was not exact.
        """
        self._wait(START_SECONDS, lambda: self.accepted_events() == events, pause_seconds=0.25)

    def cpu_seconds(self) -> float:
        """CPU time of the process so far; NaN where the machine has no /proc."""
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return float("nan")

    def _lacks(self) -> set[str]:
        """What the worker says is missing until it is ready; `unreachable` while it does not answer."""
        try:
            status, text = self._get("/readyz")
        except OSError:
            return {"unreachable"}
        return set() if status == 200 else {line.split(":", 1)[0] for line in text.splitlines()}

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _wait(self, seconds: float, is_done: Callable[[], bool], *, pause_seconds: float = POLL_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not is_done():
            if self._process.poll() is not None:
                raise WorkerError(f"The worker ended with code {self._process.returncode}.\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise WorkerError(
                    f"The worker did not get there in {seconds:g} s: {self._lacks()}.\n{self._last_lines()}"
                )
            time.sleep(pause_seconds)

    def _last_lines(self, count: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])
