"""Events a second of one worker with everything on, beside other stream processors, on real Kafka.

They take turns on the same topic, so that a busy minute of the machine hits all of them; ratios are made
within a round, then the median of the rounds is taken. Time runs from a fifth of what a peer reads to the last of it:
start-up, joining the group, filling caches and compiling do not count. With --short it runs from the first event, and
no run is long enough for Java to be warm.

Run: python -m benchmarks.throughput [--short] [--write]
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
EVENTS_LONG, EVENTS_SHORT = 6_000_000, 1_200_000
#: Of what a peer reads in a long run, the share after which its clock starts.
UNCOUNTED = 0.2


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


def run_workers(
    bootstrap: str,
    name: str,
    folder: Path,
    workers: int,
    events: int,
    accepted: int,
    *,
    policy: Path | None,
    uncounted: float,
) -> PeerRun:
    """Workers of one group catch up with the topic.

    Raises:
        WorkerError: One ended, or what they counted is not `accepted`: the run was not exact.
        RuntimeError: No page showed where they were after the uncounted share: the run is too short for it.
    """
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(Worker(bootstrap, name, folder, is_first=not number, policy=policy))
            for number in range(workers)
        ]
        for worker in running:
            stack.enter_context(worker.scraped())
        of_each = [worker.catch_up(PARTITIONS // workers) for worker in running]
        running[0].wait_for_checkpoint(accepted, running[1:])
    if not uncounted:
        began = min(each.began for each in of_each)
        return PeerRun(events, max(each.ended for each in of_each) - began, sum(each.cpu_seconds for each in of_each))
    most_left = events / workers * (1 - uncounted)
    marks = [next((mark for mark in worker.marks if 0 < mark.left <= most_left), None) for worker in running]
    first = [mark for mark in marks if mark is not None]
    if len(first) < workers:
        raise RuntimeError(f"{name}: no page was read within the counted share of its run: give more --events")
    seconds = max(each.ended for each in of_each) - statistics.mean(mark.at for mark in first)
    shares = [
        (each.cpu_total_seconds - mark.cpu_seconds) / (each.seen_at - mark.seen_at)
        for each, mark in zip(of_each, first, strict=True)
    ]
    return PeerRun(sum(mark.left for mark in first), seconds, sum(shares) * seconds)


def make_peers(
    bootstrap: str, folder: Path, events: int, accepted: int, *, only_ours: bool = False, uncounted: float = 0.0
) -> list[Peer]:
    """All peers, or those that need no environment of their own; labelwatch is the last.

    Slow ones read only the first part of the topic.

    Args:
        bootstrap: `host:port` of the broker.
        folder: For data and logs of the workers.
        events: In the topic.
        accepted: Of these, those that count: each once.
        only_ours: Whether without those that need an environment of their own.
        uncounted: Share of what each reads after which its clock starts; for labelwatch at the first page after it.
    """
    no_signals = folder / "no-signals.toml"
    no_signals.write_text("[detection]\nsignals = []\n", "utf-8")

    def labelwatch(name: str, policy: Path | None = None, workers: int = 1) -> Callable[[int], PeerRun]:
        return lambda number: run_workers(
            bootstrap, f"{name}-{number}", folder, workers, events, accepted, policy=policy, uncounted=uncounted
        )

    def sized(share: float) -> tuple[str, str]:
        wanted = max(int(events * share), 1)
        return str(wanted), str(int(wanted * uncounted))

    def of_module(module: str, share: float, *flags: str, python: str = sys.executable) -> Callable[[int], PeerRun]:
        wanted, before = sized(share)
        command = [python, "-m", module, bootstrap, EVENTS, wanted, "--uncounted", before, *flags]
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
            least_ratio=35,
        ),
        Peer(
            "librdkafka + msgspec",
            "batches: decodes each event, keeps nothing; settings as they come",
            of_module("benchmarks.librdkafka", 1),
        ),
        Peer(
            "the same, tuned",
            "the same without its pause of a second at a full queue (`fetch.queue.backoff.ms=10`)",
            of_module("benchmarks.librdkafka", 1, "--tuned"),
            least_ratio=0.6,
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
    python, pathway = environment.python(), environment.python("requirements-pathway.txt")
    streams_java, flink_java = environment.streams_command(), environment.flink_command()

    def streams(cached: str, share: float) -> Callable[[int], PeerRun]:
        command = [*streams_java, bootstrap, EVENTS, *sized(share), cached]
        return lambda _: run_command(command)

    def flink(parallelism: int, mini_batch: str) -> Callable[[int], PeerRun]:
        command = [*flink_java, bootstrap, EVENTS, *sized(1), str(parallelism), mini_batch]
        return lambda _: run_command(command)

    others = [
        Peer(
            "Quix Streams 3.28.1",
            "counts by person in its store (RocksDB) with a changelog; at least once",
            of_module("benchmarks.peers.quix", 1 / 4, python=python),
            least_ratio=6,
        ),
        Peer(
            "Pathway 0.33.0",
            "counts by person in memory, its own JSON reader and reducers (Rust)",
            of_module("benchmarks.peers.pathway_count", 1 / 4, python=pathway),
        ),
        Peer(
            "Bytewax 0.21.1",
            "counts by person in memory; after a crash all is read again",
            of_module("benchmarks.peers.bytewax_flow", 1 / 2, python=python),
            least_ratio=3.5,
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
            least_ratio=1.6,
        ),
        Peer(
            "Flink SQL 2.2.0",
            "Java; counts by person in memory, exactly-once checkpoints every 5 s; parallelism 1",
            flink(1, "false"),
        ),
        Peer("Flink SQL 2.2.0, mini-batch", "the same with mini-batches of 20,000 or a second", flink(1, "true")),
        Peer(
            "Flink SQL 2.2.0, both cores",
            "the same with mini-batches and parallelism 2: it may use both cores",
            flink(2, "true"),
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
    both = Peer(
        "labelwatch, two workers",
        "the same as labelwatch in two processes, a partition each",
        labelwatch("both", workers=2),
    )
    return [*ours[:2], *others, *ours[2:-1], without, both, ours[-1]]


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
    parser.add_argument("--events", type=int, help=f"in the topic ({EVENTS_LONG:,}; {EVENTS_SHORT:,} with --short)")
    parser.add_argument("--short", action="store_true", help="the clock starts at the first event; Java is not warm")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    conditions = document.conditions()
    print(conditions, flush=True)
    events = arguments.events or (EVENTS_SHORT if arguments.short else EVENTS_LONG)
    uncounted = 0.0 if arguments.short else UNCOUNTED
    with loaded(events, seed=arguments.seed) as (bootstrap, folder, accepted):
        peers = make_peers(bootstrap, folder, events, accepted, uncounted=uncounted)
        runs = measure(peers, arguments.rounds)
    made = table(peers, runs)
    print(f"\n{made}")
    if arguments.write:
        counted = "counted from the first event" if arguments.short else "the first fifth of each run not counted"
        text = f"{events:,} events, {counted}, {arguments.rounds} rounds in turns, medians. {conditions}"
        document.write(document.BENCHMARKS, "throughput", f"{text}\n\n{made}\n\n![Events a second](benchmarks.svg)")
        document.keep("throughput", numbers(peers, runs))
        rates = {peer.name.strip("*"): statistics.median(run.rate for run in runs[peer.name]) for peer in peers}
        Path("docs/benchmarks.svg").write_text(chart.bars(rates, "events a second, one process"), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
