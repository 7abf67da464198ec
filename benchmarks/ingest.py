"""Webhooks at a steady rate, open loop: how soon the receiver answers, and whether each counts once in Kafka.

A loader in a process of its own sends by the clock, whatever becomes of what it sent (no coordinated omission), each
hook on a connection of its own, as Label Studio does. A hook's time runs from the moment at which it was due to the end
of its answer: the loader's own lateness, the connection, and the write to disk are in it. Then the topic is read and
compared.

Run: python -m benchmarks.ingest [--hooks N] [--rate N] [--outage] [--write]
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks import document
from schemas.topics import EVENTS
from tests.ingest.bodies import body
from tests.ingest.process import SECRET, IngestProcess
from tests.ingest.topic import written
from tests.support.kafka import RealKafka, create_topics, missing_tools

GOAL_SECONDS = 0.05


async def send(port: int, hooks: int, rate: float) -> None:
    """The loader: prints what became of its hooks as JSON."""
    prepared = []
    for number in range(hooks):
        raw = body("ANNOTATION_CREATED", id=number, task=number)
        head = f"POST /label-studio HTTP/1.1\r\nHost: x\r\nX-Labelwatch-Secret: {SECRET}\r\n"
        prepared.append(f"{head}Connection: close\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
    seconds: list[float] = []
    statuses: Counter[str] = Counter()

    async def one(raw: bytes, due: float) -> None:
        answer = b""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(raw)
            answer = await reader.read()
            writer.close()
        seconds.append(time.perf_counter() - due)
        statuses[answer[9:12].decode() or "none"] += 1

    start, late = time.perf_counter() + 0.5, 0.0
    running = set()
    for number, raw in enumerate(prepared):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late = max(late, time.perf_counter() - due)
        running.add(task := asyncio.create_task(one(raw, due)))
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    print(json.dumps({"seconds": seconds, "statuses": statuses, "late": late}))


def processor_seconds(pid: int) -> float:
    """What a process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Runs the benchmark, or with --send its loader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hooks", type=int, default=10_000, help="in all (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="hooks a second (%(default)g)")
    parser.add_argument("--outage", action="store_true", help="the broker is killed for the middle third")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/ingest.md")
    parser.add_argument("--send", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        asyncio.run(send(arguments.send, arguments.hooks, arguments.rate))
        return 0
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    conditions = document.conditions()
    with tempfile.TemporaryDirectory(prefix="labelwatch-ingest-") as folder:
        broker = RealKafka(Path(folder) / "broker")
        broker.start()
        try:
            create_topics(broker.bootstrap, [EVENTS], partitions=2)
            with IngestProcess(Path(folder), broker.bootstrap) as ingest:
                command = [sys.executable, "-m", "benchmarks.ingest", "--send", str(ingest.port)]
                command += ["--hooks", str(arguments.hooks), "--rate", str(arguments.rate)]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loader:
                    if arguments.outage:
                        third = arguments.hooks / arguments.rate / 3
                        time.sleep(third)
                        broker.kill9()
                        time.sleep(third)
                        broker.restart()
                    printed, _ = loader.communicate()
                ingest.wait_until_sent()
                processor = processor_seconds(ingest.process.pid)
            found = written(broker.bootstrap)
        finally:
            broker.stop()
    sent = json.loads(printed)
    p50, p99 = np.percentile(sent["seconds"], [50, 99])
    lost = arguments.hooks - len(found)
    twice = sum(found.values()) - len(found)
    answers = ", ".join(f"{count:,} times {status}" for status, count in sorted(sent["statuses"].items()))
    made = (
        f"{arguments.hooks:,} hooks at {arguments.rate:g}/s"
        f"{', the broker killed for the middle third' if arguments.outage else ''}. Answers: {answers}; "
        f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, worst {max(sent['seconds']) * 1e3:.0f} ms "
        f"(the loader itself was late by {sent['late'] * 1e3:.0f} ms at worst); processor "
        f"{processor / arguments.hooks * 1e3:.1f} ms a hook. In Kafka: lost {lost}, counted twice {twice}."
    )
    print(made)
    if arguments.write:
        region = "ingest-outage" if arguments.outage else "ingest"
        document.write(Path("docs/ingest.md"), region, f"{conditions}\n\n{made}")
    return int(bool(lost or twice or p99 > GOAL_SECONDS))


if __name__ == "__main__":
    sys.exit(main())
