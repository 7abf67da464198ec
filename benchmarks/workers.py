"""Scale in workers: one and two workers on the same four partitions, catching up with the same events.

Broker and workers share this machine. With two cores a second worker finds the time that the first one leaves, and
the broker takes some of it; what the machine allowed stands beside the ratio.

Run: python -m benchmarks.workers [--write]
"""

import argparse
import contextlib
import os
import re
import statistics
import sys
from datetime import datetime
from pathlib import Path

from benchmarks import document
from benchmarks.throughput import loaded
from benchmarks.worker import Worker
from tests.support.kafka import missing_tools

PARTITIONS = 4
_OPENED = re.compile(r"^(\S+Z) .*partition=(\d+) opened at offset=(\d+), (\d+) behind the end", re.MULTILINE)
_CAUGHT_UP = re.compile(r"^(\S+Z) .*partition=(\d+) caught up", re.MULTILINE)


def rate(bootstrap: str, folder: Path, name: str, workers: int) -> float:
    """Events a second of so many workers together, from when the group has settled to the end of the log."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(Worker(bootstrap, name, folder, partitions=PARTITIONS, is_first=not number))
            for number in range(workers)
        ]
        for worker in running:
            worker.wait_until_caught_up(PARTITIONS // workers)
        logs = [worker.log() for worker in running]
    behind: dict[int, int] = {}
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    for log in logs:
        for at, partition, _, left in _OPENED.findall(log):
            # The last opening of a partition counts: by then every worker has its own.
            when = datetime.fromisoformat(at).timestamp()
            if when > begun.get(int(partition), 0.0):
                begun[int(partition)], behind[int(partition)] = when, int(left)
        for at, partition in _CAUGHT_UP.findall(log):
            ended[int(partition)] = datetime.fromisoformat(at).timestamp()
    return sum(behind.values()) / (max(ended.values()) - max(begun.values()))


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_400_000, help="in the topic (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    conditions = document.conditions()
    print(conditions, flush=True)
    rates: dict[int, list[float]] = {1: [], 2: []}
    with loaded(arguments.events, seed=1, partitions=PARTITIONS) as (bootstrap, folder, _):
        for number in range(arguments.rounds):
            for workers, of_workers in rates.items():
                of_workers.append(rate(bootstrap, folder, f"workers-{workers}-{number}", workers))
                print(f"round {number + 1}: {workers} workers {of_workers[-1]:12,.0f} events/s", flush=True)
    one, two = (statistics.median(of_workers) for of_workers in rates.values())
    ratio = statistics.median(second / first for first, second in zip(rates[1], rates[2], strict=True))
    lines = [
        "| workers | events/s |",
        "|---:|---:|",
        f"| 1 | {one:,.0f} |",
        f"| 2 | {two:,.0f} |",
        "",
        f"Two workers make {ratio:.2f} x of one, on {os.cpu_count()} cores that they share with the broker.",
    ]
    made = "\n".join(lines)
    print(f"\n{made}")
    if arguments.write:
        document.write(document.BENCHMARKS, "workers", f"{conditions}\n\n{made}")
        document.keep("workers", {"1": round(one), "2": round(two), "ratio": round(ratio, 2)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
