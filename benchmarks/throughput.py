"""Events a second of one worker with everything on, beside plain Faust and a bare librdkafka loop, on real Kafka.

The three take turns on the same topic, so that a busy minute of the machine hits all of them; ratios are made
within a round, then the median of the rounds is taken. Time runs from the first batch to the last: start-up,
joining the group and stopping do not count.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

from benchmarks.load import load
from benchmarks.worker import PARTITIONS, Worker
from schemas.topics import EVENTS, topics
from tests.support.kafka import RealKafka, create_topics, missing_tools

PEER_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Run:
    """One peer's run: what it read, in what time. `cpu_seconds` is NaN where the machine does not tell."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds an event, all threads."""
        return self.cpu_seconds / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Peer:
    """One of those compared.

    Attributes:
        name: Its name in the table.
        work: What it does with an event: rates mean little without it.
        run: Runs it once, given the number of the round.
        least_ratio: labelwatch should reach this many times its rate.
    """

    name: str
    work: str
    run: Callable[[int], Run]
    least_ratio: float | None = None


def run_module(module: str, *arguments: str) -> Run:
    """Runs a peer in a process of its own; its last line is its result.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, timeout=PEER_SECONDS
    )
    results = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not results:
        raise RuntimeError(f"{module} ended with code {done.returncode}: {done.stderr[-2000:]}")
    return Run(**json.loads(results[-1]))


def make_peers(bootstrap: str, folder: Path, events: int, accepted: int, faust_events: int) -> list[Peer]:
    """All peers; labelwatch is the last."""

    def labelwatch(number: int) -> Run:
        with Worker(bootstrap, f"bench-{number}", folder) as worker:
            seconds, cpu_seconds = worker.catch_up()
            worker.wait_for_checkpoint(accepted)
        return Run(events, seconds, cpu_seconds)

    count, faust_count = str(events), str(faust_events)
    return [
        Peer(
            "plain Faust, table",
            "one event at a time: decode, count by person in a table with its changelog",
            lambda _: run_module("benchmarks.plain_faust", bootstrap, EVENTS, faust_count, "--table"),
        ),
        Peer(
            "plain Faust",
            "one event at a time: decode, count by person in a dict",
            lambda _: run_module("benchmarks.plain_faust", bootstrap, EVENTS, faust_count),
            least_ratio=35,
        ),
        Peer(
            "librdkafka + msgspec",
            "batches: decode each event, keep nothing; settings as they come",
            lambda _: run_module("benchmarks.librdkafka", bootstrap, EVENTS, count),
            least_ratio=0.8,
        ),
        Peer(
            "the same, tuned",
            "the same without its pause of a second at a full queue (fetch.queue.backoff.ms=10)",
            lambda _: run_module("benchmarks.librdkafka", bootstrap, EVENTS, count, "--tuned"),
        ),
        Peer(
            "labelwatch worker",
            "all: windows of people and sites, duplicates, presence, totals; transactional checkpoints; exporter",
            labelwatch,
        ),
    ]


def machine() -> str:
    """What it ran on, in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux: the plainer name will do
    load_average = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}, load before the run {load_average}"
    )


def versions() -> str:
    """Versions of all that takes part, in one line."""
    names = ("labelwatch", "faust-streaming", "aiokafka", "msgspec", "numpy")
    librdkafka = confluent_kafka.libversion()[0]
    return ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{name} {version(name)}" for name in names),
            f"librdkafka {librdkafka}",
        ]
    )


def report(peers: list[Peer], runs: dict[str, list[Run]]) -> None:
    """Prints rates, work and ratios."""
    print(f"\n{'':22}{'events':>11}{'events/s':>12}{'slowest':>11}{'fastest':>11}{'CPU us/event':>14}   work")
    for peer in peers:
        of_peer = runs[peer.name]
        rates = sorted(run.rate for run in of_peer)
        cpu_us = statistics.median(run.cpu_us for run in of_peer)
        print(
            f"{peer.name:22}{of_peer[0].events:11,}{statistics.median(rates):12,.0f}{rates[0]:11,.0f}{rates[-1]:11,.0f}"
            f"{cpu_us:14.2f}   {peer.work}"
        )
    ours = peers[-1]
    print("\nlabelwatch is, round by round:")
    for peer in peers[:-1]:
        ratios = [mine.rate / other.rate for mine, other in zip(runs[ours.name], runs[peer.name], strict=True)]
        median = statistics.median(ratios)
        wanted = ""
        if peer.least_ratio is not None:
            wanted = f"   wanted {peer.least_ratio:g}: {'reached' if median >= peer.least_ratio else 'NOT REACHED'}"
        print(f"  {median:7.2f} x {peer.name:22} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}){wanted}")


def main() -> int:
    """Runs the benchmark; exit code 2 where the machine cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_200_000, help="for labelwatch and librdkafka (%(default)s)")
    parser.add_argument("--faust-events", type=int, default=20_000, help="for plain Faust (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events (%(default)s)")
    arguments = parser.parse_args()
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    print(machine(), versions(), sep="\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="labelwatch-bench-") as temporary:
        folder = Path(temporary)
        kafka = RealKafka(folder / "kafka", heap="1g").start()
        try:
            create_topics(
                kafka.bootstrap, [each for each in topics() if "checkpoints" not in each.name], partitions=PARTITIONS
            )
            accepted = load(kafka.bootstrap, EVENTS, arguments.events, seed=arguments.seed)
            print(
                f"loaded {arguments.events:,} events into {PARTITIONS} partitions (seed {arguments.seed})", flush=True
            )
            peers = make_peers(kafka.bootstrap, folder, arguments.events, accepted, arguments.faust_events)
            runs: dict[str, list[Run]] = {peer.name: [] for peer in peers}
            for number in range(arguments.rounds):
                for peer in peers:
                    run = peer.run(number)
                    runs[peer.name].append(run)
                    print(f"round {number + 1}: {peer.name:22}{run.rate:12,.0f} events/s", flush=True)
        finally:
            kafka.stop()
    report(peers, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
