"""Event to /metrics: how late a figure is while events come at a steady rate, open loop.

A loader in a process of its own sends by the clock, whatever becomes of what it sent (no coordinated omission):
at 10%, 50% and 80% of the rate at which this machine catches up, and 20 probes a second among them. A reader
polls /metrics every 100 ms. A probe's latency runs from the moment at which it was due to the end of the first
answer that counts it; so it holds the loader's own lateness, broker, worker, and the scrape.

Run: python -m benchmarks.latency [--seconds N] [--write]
"""

import argparse
import subprocess
import sys
import time
from bisect import bisect_left
from dataclasses import dataclass

import msgspec
import numpy as np
from confluent_kafka import Producer

from benchmarks import document
from benchmarks.load import events
from benchmarks.throughput import loaded
from benchmarks.worker import PARTITIONS, Worker
from schemas.topics import EVENTS
from tests.support.kafka import missing_tools

SHARES = (0.1, 0.5, 0.8)
PROBES_PER_SECOND = 20
POLL_SECONDS = 0.1
SETTLE_SECONDS = 10
#: Events prepared, and sent again and again with new ids and times.
PREPARED = 50_000
_ID, _AT = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class Latency:
    """Event to /metrics at one rate, in seconds.

    Attributes:
        rate: Events a second that were due, and those that came.
        median, p99, worst: Of the probes.
        loader_late: By how much the loader itself was late at worst.
        probes: How many.
    """

    rate: float
    median: float
    p99: float
    worst: float
    loader_late: float
    probes: int


def send(bootstrap: str, rate: float, seconds: float, seed: int) -> None:
    """The loader: prints the time at which it began, then its worst lateness."""
    encode = msgspec.json.Encoder().encode
    prepared = []
    for site, event in events(PREPARED, seed=seed, end_ms=0):
        event = {**event, "event_id": "\x00", "at": 0}
        event.pop("labeled_at", None)
        before, after = encode(event).split(b'"\\u0000"')
        prepared.append((site, before + b'"', b'"' + after.replace(b'"at":0', b'"at":%d', 1)))
    probe = (
        b'{"type":"label_submitted","event_id":"probe-%d-%d","at":%d,"site_id":"probe-%d","agent_id":"probe",'
        b'"project_id":"probe","task_id":"probe"}'
    )
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20, "compression.type": "lz4"}
    )
    start = time.time() + 0.5
    print(start, flush=True)
    sent = probes = 0
    late, nonce = 0.0, time.time_ns()
    while True:
        time.sleep(max(0.0, start + min((sent + 1) / rate, (probes + 1) / PROBES_PER_SECOND) - time.time()))
        elapsed = time.time() - start
        late = max(late, elapsed - sent / rate)
        now_ms = int(time.time() * 1000)
        while probes < min(elapsed, seconds) * PROBES_PER_SECOND:
            for partition in range(PARTITIONS):
                value = probe % (nonce, probes, now_ms, partition)
                producer.produce(EVENTS, value, f"probe-{partition}", partition=partition)
            probes += 1
        if elapsed >= seconds:
            break
        due = int(elapsed * rate)
        for number in range(sent, due):
            site, before, after = prepared[number % PREPARED]
            producer.produce(EVENTS, b"%b%d-%d%b" % (before, nonce, number, after % now_ms), site)
            if not number % 1000:
                producer.poll(0)
        sent = due
        producer.poll(0)
    producer.flush()
    print(late, flush=True)


def counted(worker: Worker) -> list[int]:
    """Probes that /metrics counts, by partition."""
    counts = [0] * PARTITIONS
    for line in worker.page("/metrics").splitlines():
        if line.startswith(b"labelwatch_labels_window{") and b'project="probe"' in line and b'window="1h"' in line:
            site = line.split(b'site="probe-', 1)[1]
            counts[int(site[: site.index(b'"')])] = int(float(line.rsplit(b" ", 1)[1]))
    return counts


def measure(bootstrap: str, worker: Worker, rate: float, seconds: float) -> Latency:
    """Runs the loader and reads along until every probe is counted."""
    earlier = counted(worker)
    command = [sys.executable, "-m", "benchmarks.latency", "--send", bootstrap, str(rate), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loader:
        assert loader.stdout is not None
        start = float(loader.stdout.readline())
        wanted = int(seconds * PROBES_PER_SECOND)
        ends: list[float] = []
        seen: list[list[int]] = [[] for _ in range(PARTITIONS)]
        while not ends or min(counts[-1] for counts in seen) < wanted:
            if ends and ends[-1] > start + 3 * seconds + 60:
                break
            time.sleep(max(0.0, POLL_SECONDS - (time.time() - ends[-1] if ends else 0)))
            counts = counted(worker)
            ends.append(time.time())
            for partition, count in enumerate(counts):
                seen[partition].append(count - earlier[partition])
        late = float(loader.stdout.readline())
    latencies = []
    for counts in seen:
        for probe in range(wanted):
            first = bisect_left(counts, probe + 1)
            shown = ends[first] if first < len(ends) else float("inf")
            latencies.append(shown - (start + probe / PROBES_PER_SECOND))
    median, p99 = np.percentile(latencies, [50, 99])
    return Latency(rate, float(median), float(p99), max(latencies), late, len(latencies))


def table(full: float, found: dict[float, Latency]) -> str:
    """The latencies as Markdown."""
    lines = [
        "| share of the full rate | events/s | p50 s | p99 s | worst s | loader late at worst s |",
        "|---|" + "---:|" * 5,
    ]
    lines += [
        f"| {share:.0%} | {each.rate:,.0f} | {each.median:.2f} | {each.p99:.2f} | {each.worst:.2f} | "
        f"{each.loader_late:.2f} |"
        for share, each in found.items()
    ]
    return "\n".join([f"Full rate in this run: {full:,.0f} events/s.", "", *lines])


def main() -> int:
    """Runs the benchmark, or with --send its loader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="at each rate (%(default)g)")
    parser.add_argument("--events", type=int, default=1_000_000, help="to find the full rate with (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    parser.add_argument("--send", nargs=3, metavar=("BOOTSTRAP", "RATE", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        bootstrap, rate, seconds = arguments.send
        send(bootstrap, float(rate), float(seconds), arguments.seed)
        return 0
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    conditions = document.conditions()
    print(conditions, flush=True)
    found: dict[float, Latency] = {}
    with (
        loaded(arguments.events, seed=arguments.seed) as (bootstrap, folder, _),
        Worker(bootstrap, "late", folder) as worker,
    ):
        caught_up = worker.catch_up()
        seconds = caught_up.ended - caught_up.began
        full = arguments.events / seconds
        for share in SHARES:
            time.sleep(SETTLE_SECONDS)
            found[share] = measure(bootstrap, worker, full * share, arguments.seconds)
            print(f"{share:.0%}: {found[share]}", flush=True)
    made = table(full, found)
    print(f"\n{made}")
    if arguments.write:
        document.write(document.BENCHMARKS, "latency", f"{arguments.seconds:g} s at each rate. {conditions}\n\n{made}")
        document.keep(
            "latency", {f"{share:.0%}": {"p50": each.median, "p99": each.p99} for share, each in found.items()}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
