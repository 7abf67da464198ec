"""The monitor itself: a real worker process, started as a user starts it and watched by its log and its metrics."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import EVENTS, checkpoints_topic, topics
from streams.views.http import open_url, request_to
from tests.support.kafka import create_topics
from tests.support.ports import free_port

PARTITIONS = 2
START_SECONDS = 60
RUN_SECONDS = 600
STOP_SECONDS = 30
#: The worker's own words, with its own time: watching them takes nothing from it, as a poll of its pages would.
_OPENED = re.compile(r"^(\S+Z) .*partition=\d+ opened at", re.MULTILINE)
_CAUGHT_UP = re.compile(r"^(\S+Z) .*partition=\d+ caught up at", re.MULTILINE)
#: What a page says of a partition's last checkpoint: when, how far from the end, and how long they take.
_COMMIT = re.compile(
    rb"^labelwatch_(last_commit_timestamp_seconds|consumer_lag_records|checkpoint_seconds_sum|checkpoint_seconds_count)"
    rb'\{[^}]*partition="(\d+)"[^}]*\} (\S+)$',
    re.MULTILINE,
)


class RunMark(NamedTuple):
    """Where a worker was in the midst of a run.

    Attributes:
        at: When its last checkpoints were cut, epoch seconds, on average over the partitions.
        left: Records behind them, in all partitions.
        seen_at, cpu_seconds: When that was seen, and CPU time of its process until then.
    """

    at: float
    left: int
    seen_at: float
    cpu_seconds: float


class WorkerError(RuntimeError):
    """The worker did not do the work; the message ends with the last lines of its log."""


class CatchUp(NamedTuple):
    """How a worker caught up.

    Attributes:
        began, ended: First partition opened, last one caught up; epoch seconds.
        cpu_seconds: Of its process in between.
        seen_at, cpu_total_seconds: When its end was seen, and CPU time of its process until then.
    """

    began: float
    ended: float
    cpu_seconds: float
    seen_at: float
    cpu_total_seconds: float


class Worker:
    """One `labelwatch worker` with checkpoints and exporter on.

    Args:
        bootstrap: `host:port` of the broker.
        worker_id: Its `--id`; a new one starts at the beginning of the topic.
        folder: For its data directory and log.
        partitions: Of the events topic.
        is_first: Whether it is the first one with this id, for which the checkpoint topic is made.
        policy: Its policy file; the defaults where there is none.
    """

    def __init__(
        self,
        bootstrap: str,
        worker_id: str,
        folder: Path,
        *,
        partitions: int = PARTITIONS,
        is_first: bool = True,
        policy: Path | None = None,
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._partitions = partitions
        self._log = folder / f"{worker_id}-{port}.log"
        command = [
            *(str(Path(sys.executable).with_name("labelwatch")), "worker", "--bootstrap", bootstrap, "--id", worker_id),
            *("--metrics-port", str(port), "--data-dir", str(folder / worker_id)),
            *(("--policy", str(policy)) if policy else ()),
        ]
        if is_first:
            own = [each for each in topics(worker_id) if each.name == checkpoints_topic(worker_id)]
            create_topics(bootstrap, own, partitions=partitions)
        #: What the pages of `scraped` showed, oldest first.
        self.marks: list[RunMark] = []
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

    def catch_up(self, partitions: int | None = None) -> CatchUp:
        """Waits until everything is applied, of every partition or of so many.

        Raises:
            WorkerError: It ended, or took too long.
        """
        self._wait(START_SECONDS, lambda: bool(self._times(_OPENED)))
        cpu_started = self.cpu_seconds()
        self.wait_until_caught_up(partitions)
        cpu_seconds, seen_at = self.cpu_seconds(), time.time()
        began, ended = min(self._times(_OPENED)), max(self._times(_CAUGHT_UP))
        return CatchUp(began, ended, cpu_seconds - cpu_started, seen_at, cpu_seconds)

    def wait_until_caught_up(self, partitions: int | None = None) -> None:
        """Waits until every partition's figures show, or those of so many partitions.

        Raises:
            WorkerError: It ended, or took too long.
        """
        self._wait(RUN_SECONDS, lambda: len(self._times(_CAUGHT_UP)) >= (partitions or self._partitions))

    def wait_until_opened(self) -> float:
        """Waits until the state of every partition is back; the wall clock's seconds at which it was."""
        self._wait(RUN_SECONDS, lambda: len(self._times(_OPENED)) >= self._partitions)
        return max(self._times(_OPENED))

    def kill(self) -> None:
        """Kills it as a crash would."""
        self._process.kill()
        self._process.wait()

    def resident_bytes(self, *, peak: bool = False) -> float:
        """Resident memory, now or at its highest; NaN where the machine has no /proc."""
        wanted = "VmHWM:" if peak else "VmRSS:"
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith(wanted):
                    return int(line.split()[1]) * 1024
        return float("nan")

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    @contextlib.contextmanager
    def scraped(self, every_seconds: float = 5.0) -> Iterator[None]:
        """Reads its sites' page like Prometheus, as often as that does, from the moment it answers."""
        ended = threading.Event()

        def scrape() -> None:
            while not ended.wait(every_seconds):
                with contextlib.suppress(OSError):
                    self._mark(self.page("/metrics"))

        scraper = threading.Thread(target=scrape, daemon=True)
        scraper.start()
        try:
            yield
        finally:
            ended.set()
            scraper.join()

    def wait_for_checkpoint(self, events: int, beside: Sequence["Worker"] = ()) -> None:
        """Waits until its durable counter is `events`: none rejected, none counted twice, all checkpointed.

        Args:
            events: Different events in the topic.
            beside: Other workers of the group, whose counters add up with its own.

        Raises:
            WorkerError: It is another: the run was not exact.
        """
        group = (self, *beside)
        self._wait(START_SECONDS, lambda: sum(worker._accepted_events() for worker in group) == events)

    def cpu_seconds(self) -> float:
        """CPU time of the process so far; NaN where the machine has no /proc."""
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return float("nan")

    def _mark(self, page: bytes) -> None:
        """Keeps where it was, if every partition that it has read from has a checkpoint."""
        of: dict[str, dict[bytes, float]] = {}
        for name, partition, value in _COMMIT.findall(page):
            of.setdefault(name.decode(), {})[partition] = float(value)
        lags = of.get("consumer_lag_records", {})
        cut = [
            of["last_commit_timestamp_seconds"].get(partition, 0.0)
            - of["checkpoint_seconds_sum"].get(partition, 0.0) / of["checkpoint_seconds_count"][partition]
            for partition in lags
            if of.get("checkpoint_seconds_count", {}).get(partition)
        ]
        if lags and len(cut) == len(lags):
            left = int(sum(lags.values()))
            self.marks.append(RunMark(statistics.mean(cut), left, time.time(), self.cpu_seconds()))

    def _accepted_events(self) -> int:
        text = self.page("/metrics").decode()
        return sum(
            int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "labelwatch_events_total" and sample.labels["topic"] == EVENTS
        )

    def page(self, path: str) -> bytes:
        """One of its pages."""
        with open_url(request_to(f"{self.url}{path}"), 30) as answer:
            body: bytes = answer.read()
        return body

    def _times(self, pattern: re.Pattern[str]) -> list[float]:
        return [datetime.fromisoformat(found).timestamp() for found in pattern.findall(self._log.read_text())]

    def _wait(self, seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not is_done():
            if self._process.poll() is not None:
                raise WorkerError(f"The worker ended with code {self._process.returncode}.\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise WorkerError(f"The worker did not get there within {seconds:g} s.\n{self._last_lines()}")
            time.sleep(0.05)

    def _last_lines(self, count: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])
