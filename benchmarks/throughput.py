"""Events a second of one worker with everything on, beside other stream processors, on real Kafka.

They take turns on the same topic, so that a busy minute of the machine hits all of them; ratios are made
within a round, then the median of the rounds is taken. Time runs from the first event to the last: start-up,
joining the group and stopping do not count.

Run: python -m benchmarks.throughput [--write]
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import chart, document
from benchmarks.load import load
from benchmarks.peers import environment
from benchmarks.worker import PARTITIONS, Worker
from schemas.topics import EVENTS, topics
from tests.support.kafka import RealKafka, create_topics, missing_tools

PEER_SECONDS = 600


@dataclass(frozen=True, slots=True)
class PeerRun:
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
    run: Callable[[int], PeerRun]
    least_ratio: float | None = None


def run_command(command: list[str]) -> PeerRun:
    """Runs a peer in a process of its own; its last line is its result.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PEER_SECONDS)
    results = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not results:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr[-2000:]}")
    return PeerRun(**json.loads(results[-1]))


def make_peers(bootstrap: str, folder: Path, events: int, accepted: int, *, only_ours: bool = False) -> list[Peer]:
    """All peers, or those that need no environment of their own; labelwatch is the last.

    Slow ones read only the first part of the topic.
    """
    no_signals = folder / "no-signals.toml"
    no_signals.write_text("[detection]\nsignals = []\n", "utf-8")

    def labelwatch(name: str, policy: Path | None = None) -> Callable[[int], PeerRun]:
        def run(number: int) -> PeerRun:
            with Worker(bootstrap, f"{name}-{number}", folder, policy=policy) as worker, worker.scraped():
                seconds, cpu_seconds = worker.catch_up()
                worker.wait_for_checkpoint(accepted)
            return PeerRun(events, seconds, cpu_seconds)

        return run

    def of_module(module: str, share: float, *flags: str, python: str = sys.executable) -> Callable[[int], PeerRun]:
        command = [python, "-m", module, bootstrap, EVENTS, str(max(int(events * share), 1)), *flags]
        return lambda _: run_command(command)

    ours = [
        Peer(
            "plain Faust, table",
            "one event at a time; counts by person in its table with its changelog",
            of_module("benchmarks.plain_faust", 1 / 60, "--table"),
        ),
        Peer(
            "plain Faust",
            "one event at a time; counts by person in a dict that is lost with the process",
            of_module("benchmarks.plain_faust", 1 / 60),
            least_ratio=55,
        ),
        Peer(
            "librdkafka + msgspec",
            "batches: decodes each event, keeps nothing; settings as they come",
            of_module("benchmarks.librdkafka", 1),
            least_ratio=1.0,
        ),
        Peer(
            "the same, tuned",
            "the same without its pause of a second at a full queue (`fetch.queue.backoff.ms=10`)",
            of_module("benchmarks.librdkafka", 1, "--tuned"),
        ),
        Peer(
            "**labelwatch**",
            "all its figures: four windows of people and sites, accuracy, presence, duplicates, drift; exactly once, "
            "a transactional checkpoint every 5 s or 250,000 events; scraped every 5 s",
            labelwatch("bench"),
        ),
    ]
    if only_ours:
        return ours
    python, java = str(environment.python()), environment.streams_command()

    def streams(cached: str, share: float) -> Callable[[int], PeerRun]:
        command = [*java, bootstrap, EVENTS, str(int(events * share)), cached]
        return lambda _: run_command(command)

    others = [
        Peer(
            "Quix Streams 3.28.1",
            "counts by person in its store (RocksDB) with a changelog; at least once",
            of_module("benchmarks.peers.quix", 1 / 4, python=python),
            least_ratio=3,
        ),
        Peer(
            "Bytewax 0.21.1",
            "counts by person in memory; after a crash all is read again",
            of_module("benchmarks.peers.bytewax_flow", 1 / 2, python=python),
            least_ratio=1.5,
        ),
        Peer(
            "Bytewax 0.21.1, recovery",
            "the same with its recovery store, a snapshot every 5 s",
            of_module("benchmarks.peers.bytewax_flow", 1 / 2, "--recovery", python=python),
        ),
        Peer(
            "Kafka Streams 4.3.1, uncached",
            "Java, one thread; counts by person in RocksDB with a changelog; at least once",
            streams("uncached", 1 / 2),
        ),
        Peer(
            "Kafka Streams 4.3.1, cached",
            "the same with its cache of 64 MB before store and changelog, a commit every 5 s",
            streams("cached", 1),
            least_ratio=1.25,
        ),
    ]
    # Side by side with labelwatch itself: what is looked for is small beside a machine's moods.
    without = Peer(
        "labelwatch without drift",
        "the same as labelwatch with `signals = []` in its policy",
        labelwatch("without", no_signals),
        least_ratio=0.9,
    )
    return [*ours[:2], *others, *ours[2:-1], without, ours[-1]]


def table(peers: list[Peer], runs: dict[str, list[PeerRun]]) -> str:
    """Rates, work and ratios as Markdown."""
    lines = [
        "| | events/s | slowest to fastest | CPU us an event | labelwatch is | wanted | what it does with an event |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    ours = runs[peers[-1].name]
    for peer in peers:
        of_peer = runs[peer.name]
        rates = sorted(run.rate for run in of_peer)
        cpu_us = statistics.median(run.cpu_us for run in of_peer)
        ratio = statistics.median(mine.rate / other.rate for mine, other in zip(ours, of_peer, strict=True))
        wanted = ""
        if peer.least_ratio is not None:
            wanted = f"{peer.least_ratio:g} x: {'reached' if ratio >= peer.least_ratio else 'not reached'}"
        lines.append(
            f"| {peer.name} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} | {cpu_us:.2f} | "
            f"{f'{ratio:.2f} x' if peer is not peers[-1] else ''} | {wanted} | {peer.work} |"
        )
    return "\n".join(lines)


def numbers(peers: list[Peer], runs: dict[str, list[PeerRun]]) -> dict[str, dict[str, float]]:
    """Medians by peer, and the median of labelwatch's ratios to it."""
    ours = runs[peers[-1].name]
    return {
        name.strip("*"): {
            "events_per_second": round(statistics.median(run.rate for run in of_peer)),
            "cpu_us": round(statistics.median(run.cpu_us for run in of_peer), 2),
            "ratio": round(statistics.median(a.rate / b.rate for a, b in zip(ours, of_peer, strict=True)), 3),
        }
        for name, of_peer in runs.items()
    }


def measure(peers: list[Peer], rounds: int) -> dict[str, list[PeerRun]]:
    """Runs all in turns, and says so."""
    runs: dict[str, list[PeerRun]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        for peer in peers:
            run = peer.run(number)
            runs[peer.name].append(run)
            print(f"round {number + 1}: {peer.name:32}{run.rate:12,.0f} events/s", flush=True)
    return runs


@contextlib.contextmanager
def loaded(
    events: int, *, seed: int, people: int = 2_000, partitions: int = PARTITIONS
) -> Iterator[tuple[str, Path, int]]:
    """A broker with events in its topic: its address, a folder for what runs on it, and how many events count."""
    with tempfile.TemporaryDirectory(prefix="labelwatch-bench-") as temporary:
        folder = Path(temporary)
        kafka = RealKafka(folder / "kafka", heap="1g", java=()).start()  # as Java itself would run it
        try:
            wanted = [each for each in topics() if "checkpoints" not in each.name]
            create_topics(kafka.bootstrap, wanted, partitions=partitions)
            accepted = load(kafka.bootstrap, EVENTS, events, seed=seed, people=people) if events else 0
            print(f"loaded {events:,} events into {partitions} partitions (seed {seed})", flush=True)
            yield kafka.bootstrap, folder, accepted
        finally:
            kafka.stop()


def main() -> int:
    """Runs the benchmark; exit code 2 where the machine cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_200_000, help="in the topic (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    conditions = document.conditions()
    print(conditions, flush=True)
    with loaded(arguments.events, seed=arguments.seed) as (bootstrap, folder, accepted):
        peers = make_peers(bootstrap, folder, arguments.events, accepted)
        runs = measure(peers, arguments.rounds)
    made = table(peers, runs)
    print(f"\n{made}")
    if arguments.write:
        text = f"{arguments.events:,} events, {arguments.rounds} rounds in turns, medians. {conditions}"
        document.write(document.BENCHMARKS, "throughput", f"{text}\n\n{made}\n\n![Events a second](benchmarks.svg)")
        document.keep("throughput", numbers(peers, runs))
        rates = {peer.name.strip("*"): statistics.median(run.rate for run in runs[peer.name]) for peer in peers}
        Path("docs/benchmarks.svg").write_text(chart.bars(rates, "events a second, one process"), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
