"""A worker as a process of its own, that tests start, ask and kill; and events whose figures are counted by hand."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

_RUN = (
    "import sys; from streams.runtime.settings import Settings; from streams.runtime.worker import run; "
    "sys.exit(run(Settings.resolve()))"
)
_ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 150.0

#: A line of the text format as this exporter writes it: no time, one space before the value.
_SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\]|\\[\\"n])*",?)*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")

Figures = dict[str, dict[frozenset[tuple[str, str]], float]]


class WorkerProcess:
    """One worker; ends with the block that opened it.

    Args:
        folder: For its log and data; made when missing. Workers may share one.
        bootstrap: The broker.
        program: Python source in place of the plain worker, to run one that misbehaves.
        environ: More environment, a crash point for example.
        settings: Of `Settings`, by their names.
    """

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        *,
        program: str = _RUN,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"worker-{time.monotonic_ns()}.log"
        values = {
            "metrics_port": 0,
            "data_dir": folder / "data",
            "clock": "event",
            "session_timeout_seconds": 2,
            "checkpoint_seconds": 0.3,
            "agent_labels": "plain",
            **settings,
            "bootstrap": bootstrap,
        }
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")},
            **{f"LABELWATCH_{name.upper()}": str(value) for name, value in values.items()},
            **(environ or {}),
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program], cwd=_ROOT, env=self._environ, stdout=log, stderr=log
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if error is not None:
            print(self.log)  # noqa: T201 - pytest shows it with the failure

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = WAIT_SECONDS) -> re.Match[str]:
        """Waits until its log holds a pattern."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.log)):
            ended = self.process.poll()
            assert ended is None, f"the worker ended with code {ended} before it said {pattern!r}:\n{self.log}"
            assert time.monotonic() < deadline, f"the worker did not say {pattern!r}:\n{self.log}"
            time.sleep(0.05)
        return found

    def said(self, pattern: str) -> str:
        """What a pattern's group has found in the log of a worker that has ended."""
        found = re.search(pattern, self.log)
        assert found, f"the worker did not say {pattern!r}:\n{self.log}"
        return found[1]

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """The exit code, once it has ended by itself."""
        return self.process.wait(seconds)

    def get(self, page: str) -> tuple[int, str]:
        """Status and text of one of its pages."""
        url = self.wait_for(r"metrics at (http\S+)")[1]
        try:
            with urllib.request.urlopen(f"{url}{page}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def figures(self, page: str = "/metrics") -> Figures:
        """Metric name to labels to value."""
        return figures_of(self.get(page)[1])

    def wait_until(self, name: str, value: float, seconds: float = WAIT_SECONDS) -> Figures:
        """Waits until a metric is there and its samples add up to a value."""
        deadline = time.monotonic() + seconds
        while True:
            figures = self.figures()
            is_now = sum(figures.get(name, {}).values())
            if name in figures and is_now == value:
                return figures
            assert time.monotonic() < deadline, f"{name} is {is_now}, not {value}:\n{self.log}"
            time.sleep(0.2)


def figures_of(page: str) -> Figures:
    """Metric name to labels to value: what prometheus_client's parser finds (a test compares), in a tenth of its time.

    A page is read several times a second, and has a line for each person and figure.
    """
    found: Figures = {}
    for line in page.split("\n"):
        if not line or line.startswith("#"):
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample, f"no line of a page: {line!r}"
        name, labels, value = sample.groups()
        if labels and "\\" in labels:
            pairs = [(label, _ESCAPE.sub(_unescaped, text)) for label, text in _LABEL.findall(labels)]
        else:
            pairs = _LABEL.findall(labels or "")
        found.setdefault(name, {})[frozenset(pairs)] = float(value)
    return found


def _unescaped(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]


@dataclass
class Load:
    """Records as produced, and what a batch count of them says."""

    records: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    reviews: Counter[str] = field(default_factory=Counter)
    correct: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    broken: list[bytes | None] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """Events that count."""
        return self.labels.total() + self.reviews.total()


def make_load(count: int, *, seed: int, sites: int = 8, start_ms: int | None = None) -> Load:
    """Labels and reviews of the last hour with duplicates and broken records among them."""
    rng = random.Random(seed)
    load = Load()
    start_ms = start_ms if start_ms is not None else int(time.time() * 1000) - 3_600_000
    recent: list[tuple[bytes, bytes]] = []
    for n in range(count):
        site = f"site-{rng.randrange(sites)}"
        event: dict[str, Any] = {
            "event_id": f"{seed}-{n}",
            "at": start_ms + n * 3_500_000 // count,
            "site_id": site,
            "agent_id": f"{site}-{rng.randrange(50)}",
            "project_id": f"p{rng.randrange(3)}",
            "task_id": f"t{n}",
        }
        if rng.random() < 0.7:
            event |= {"type": "label_submitted", "handle_ms": rng.randrange(1_000, 90_000)}
            load.labels[site] += 1
        else:
            right = rng.random() < 0.9
            event |= {"type": "label_reviewed", "correct": right, "reviewer_id": "q-1", "sampling": "random"}
            load.reviews[site] += 1
            load.correct[site] += right
        record = (site.encode(), json.dumps(event).encode())
        load.records.append(record)
        recent = [*recent[-20:], record]
        chance = rng.random()
        if chance < 0.02:
            load.records.append(rng.choice(recent))
            load.duplicates += 1
        elif chance < 0.025:
            bad = rng.choice(
                [b"{", b"\xff\xfe", b"[]", b"", record[1][: len(record[1]) // 2], b'{"type":"label_submitted"}']
            )
            load.records.append((site.encode(), bad))
            load.broken.append(bad)
    return load


def produce(bootstrap: str, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
    """Writes records with the Java partitioner, in order, and returns once the broker has them all."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            # A broker that has just come back refuses some batches: sent again without this, they change places, and a
            # repeat may then come after the 15 minutes in which it is found.
            "enable.idempotence": True,
            "message.max.bytes": 16 << 20,
        }
    )
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value=value, key=key)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(WAIT_SECONDS) == 0


def chunks(records: list[Any], count: int) -> Iterator[list[Any]]:
    """A list in so many parts of about the same length."""
    size = -(-len(records) // count)
    for start in range(0, len(records), size):
        yield records[start : start + size]
