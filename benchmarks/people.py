"""Scale in people: memory, rate, checkpoints, scrapes and recovery with 1,000 to 300,000 agents on one worker.

Their state is as full as it gets: every block of 64 people has someone busy in every hour of a week and every
minute of the last hour; and the last minutes hold as many events as so many people make (110 an hour each).

Run: python -m benchmarks.people [--people N ...] [--write]
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import cramjam
import msgspec
from confluent_kafka import Producer

from benchmarks import document
from benchmarks.exporter import measured, showing
from benchmarks.throughput import loaded
from benchmarks.worker import Worker
from schemas.policy import Policy
from schemas.topics import EVENTS
from streams.engine.panes import BLOCK
from streams.engine.partition import PartitionEngine
from streams.exporter.collector import PeopleCollector
from streams.exporter.pseudonyms import Pseudonyms
from streams.exporter.text import render
from streams.runtime.checkpoints import CheckpointStore
from streams.runtime.settings import Settings
from tests.support.kafka import missing_tools

SITES = 50
#: People of a partition, on average: a partition names 125,000, and sites spread unevenly.
PEOPLE_A_PARTITION = 75_000
EVENTS_AN_HOUR = 110
#: Events of the last minutes, at most: what a run can load.
MOST_RECENT = 3_000_000
CHECKPOINT_SECONDS = 5.0
_RESTORED = re.compile(r"restored from .* in ([0-9.]+) s")
HOUR_MS, MINUTE_MS = 3_600_000, 60_000


@dataclass(frozen=True, slots=True)
class Scale:
    """What so many people cost. Bytes and seconds; of one partition where it says so.

    Attributes:
        people: Agents.
        partitions: Of the events topic, all on one worker.
        rate: Events a second while catching up.
        resident, peak: Memory of the worker.
        state: Bytes of all slots, of one partition.
        cut: Time of taking a checkpoint of 5 s of events, of one partition; and the loop's worst gap meanwhile.
        checkpoint: Bytes of it, compressed as they are sent.
        scrape, page, series: Time, size and series of /metrics/agents; and the loop's worst gap meanwhile.
        sites_scrape, sites_page: The same of /metrics.
        restored: Reading the state back and building the engine, of the slower partition.
        back: From the start of a worker, after kill -9, until its state is back: Python's start and the session of
            the killed one, 10 s, included.
    """

    people: int
    partitions: int
    rate: float
    resident: float
    peak: float
    state: int
    cut: float
    cut_gap: float
    checkpoint: int
    scrape: float
    page: int
    series: int
    scrape_gap: float
    sites_scrape: float
    sites_page: int
    restored: float
    back: float

    @property
    def checkpoint_a_day(self) -> float:
        """Bytes of checkpoints a day, all partitions, when so many people work around the clock."""
        return self.partitions * self.checkpoint * 86_400 / CHECKPOINT_SECONDS


def history(people: int, now_ms: int) -> Iterator[dict[str, object]]:
    """Events that fill every block's panes, in order of time, and then the last minutes at their full rate."""
    numbers = count()
    by_site = max(people // SITES, 1)
    sites = [f"site-{number}" for number in range(min(SITES, people))]

    def event(type_name: str, at: int, site: str, agent: int, **more: Any) -> dict[str, object]:
        head = {"type": type_name, "event_id": f"01K9{next(numbers):012d}", "at": at, "site_id": site}
        return head | {"agent_id": f"a-{agent}"} | more

    def label(at: int, site: str, agent: int) -> dict[str, object]:
        work = {"project_id": f"p-{agent % 5}", "task_id": f"t-{at}", "market": "US", "handle_ms": 30_000 + agent}
        return event("label_submitted", at, site, agent, **work)

    week_ago = now_ms - 167 * HOUR_MS
    for agent in range(by_site):  # rows in this order
        for site in sites:
            yield label(week_ago, site, agent)
    busy = range(0, by_site, BLOCK)
    for hour in range(1, 167):
        for agent in busy:
            for site in sites:
                yield label(week_ago + hour * HOUR_MS, site, agent)
                if hour % 6 == 0:
                    yield event("state_changed", week_ago + hour * HOUR_MS, site, agent, state="productive")
    for minute in range(59, 15, -1):
        for agent in busy:
            for site in sites:
                yield label(now_ms - minute * MINUTE_MS, site, agent)
    recent = min(people * EVENTS_AN_HOUR // 4, MOST_RECENT)
    for number in range(recent):
        at = now_ms - 15 * MINUTE_MS + number * 15 * MINUTE_MS // recent
        site, agent = sites[number % len(sites)], number // len(sites) % by_site
        if number % 10 < 7:
            yield label(at, site, agent)
        else:
            more = {"project_id": f"p-{agent % 5}", "task_id": f"t-{at}", "market": "US", "sampling": "random"}
            yield event(
                "label_reviewed", at, site, agent, **more, reviewer_id=f"q-{agent % 200}", correct=number % 200 > 9
            )


def produce(bootstrap: str, happened: Iterator[dict[str, object]]) -> int:
    """Loads events; returns how many."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20, "compression.type": "lz4",
         "queue.buffering.max.messages": 500_000}
    )  # fmt: skip  # one setting beside the other
    encode = msgspec.json.Encoder().encode
    sent = 0
    for event in happened:
        sent += 1
        while True:
            try:
                producer.produce(EVENTS, encode(event), str(event["site_id"]))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return sent


def partitions_for(people: int) -> int:
    """Partitions that name so many people; two at least."""
    return max(2, -(-people // PEOPLE_A_PARTITION))


def restored(bootstrap: str, worker_id: str, partitions: int) -> tuple[PartitionEngine, int]:
    """The engine of partition 0 from its checkpoint, and the bytes of its state. Fences a worker that still runs."""

    async def read() -> tuple[PartitionEngine, int]:
        settings = Settings.resolve(environ={}, bootstrap=bootstrap, id=worker_id)
        store = CheckpointStore(settings, 0, partitions=partitions, transactional=True)
        try:
            await store.start()
            found = await store.restore()
        finally:
            await store.close()
        size = sum(len(key) + len(value) for key, value in found.slots.items())
        engine = PartitionEngine.restore(0, Policy(), found.slots, found.manifest, partitions=partitions)
        return engine, size

    return asyncio.run(read())


class _Taken:
    """A record of the engine's next seconds."""

    __slots__ = ("key", "offset", "timestamp", "value")

    def __init__(self, offset: int, value: bytes) -> None:
        self.offset, self.value, self.key, self.timestamp = offset, value, None, None


def checkpoint(engine: PartitionEngine, people: int, now_ms: int) -> tuple[float, float, int]:
    """Takes the checkpoint of 5 s of events: seconds, the loop's worst gap, and compressed bytes."""
    encode = msgspec.json.Encoder().encode
    sites = [site for site in engine.sites() if site != "*"]
    wanted = max(int(people / partitions_for(people) * EVENTS_AN_HOUR / 3600 * CHECKPOINT_SECONDS), 1)

    def five_seconds(turn: int) -> None:
        work = {"type": "label_submitted", "at": now_ms, "project_id": "p-1", "task_id": "t", "handle_ms": 1_000}
        records = []
        for number in range(wanted):
            who = {"site_id": sites[number % len(sites)], "agent_id": f"a-{number * 7919 % max(people // SITES, 1)}"}
            value = encode(work | who | {"event_id": f"{turn}-{number}"})
            records.append(_Taken(engine.applied + 1 + number, value))
        engine.apply(records)

    engine.checkpoint()  # what restoring has left
    five_seconds(1)
    seconds, gap = asyncio.run(measured(engine.checkpoint))
    five_seconds(2)
    packed = b"".join(key + (value or b"") for key, value in engine.checkpoint().slots)
    return seconds, gap, len(bytes(cramjam.zstd.compress(packed)))


def timed(work: Callable[[], bytes]) -> tuple[float, bytes]:
    """Seconds of a page, the better of three, as the first one meets a cold worker; and the page."""
    best, page = float("inf"), b""
    for _ in range(3):
        started = time.perf_counter()
        page = work()
        best = min(best, time.perf_counter() - started)
    return best, page


def measure(people: int) -> Scale:
    """Runs a worker with so many people."""
    partitions = partitions_for(people)
    with loaded(0, seed=0, partitions=partitions) as (bootstrap, folder, _):
        now_ms = time.time_ns() // 1_000_000
        events = produce(bootstrap, history(people, now_ms))
        print(f"{people:,} people: {events:,} events loaded", flush=True)
        with Worker(bootstrap, "people", folder, partitions=partitions) as worker:
            caught_up = worker.catch_up()
            seconds = caught_up.ended - caught_up.began
            time.sleep(2 * CHECKPOINT_SECONDS)
            sites_scrape, sites_page = timed(lambda: worker.page("/metrics"))
            scrape, page = timed(lambda: worker.page("/metrics/agents"))
            resident, peak = worker.resident_bytes(), worker.resident_bytes(peak=True)
            worker.kill()
        started = time.time()
        with Worker(bootstrap, "people", folder, partitions=partitions, is_first=False) as worker:
            back = worker.wait_until_opened() - started
            restoring = max(float(seconds) for seconds in _RESTORED.findall(worker.log()))
        engine, state = restored(bootstrap, "people", partitions)
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    cut, cut_gap, packed = checkpoint(engine, people, now_ms)
    collector = PeopleCollector(showing(engine), Pseudonyms(b"benchmark benchmark"))
    _, scrape_gap = asyncio.run(measured(lambda: b"".join(render(collector.collect()))))
    return Scale(
        people, partitions, events / seconds, resident, peak, state, cut, cut_gap, packed, scrape, len(page), series,
        scrape_gap, sites_scrape, len(sites_page), restoring, back,
    )  # fmt: skip  # in the order of the class


def table(found: Sequence[Scale]) -> str:
    """The scales as Markdown, a column for each number of people."""

    def row(title: str, cell: Callable[[Scale], str]) -> str:
        return f"| {title} | {' | '.join(cell(each) for each in found)} |"

    return "\n".join(
        [
            row("agents", lambda each: f"{each.people:,}"),
            "|---|" + "---:|" * len(found),
            row("partitions, all on one worker", lambda each: f"{each.partitions}"),
            row("events/s while catching up", lambda each: f"{each.rate:,.0f}"),
            row(
                "resident memory, MB (at its highest)",
                lambda each: f"{each.resident / 1e6:,.0f} ({each.peak / 1e6:,.0f})",
            ),
            row("state of a partition, MB", lambda each: f"{each.state / 1e6:,.1f}"),
            row(
                "taking a checkpoint of 5 s, ms (worst loop gap)",
                lambda each: f"{each.cut * 1e3:,.0f} ({each.cut_gap * 1e3:,.0f})",
            ),
            row("its bytes, compressed, kB", lambda each: f"{each.checkpoint / 1e3:,.0f}"),
            row("checkpoints a day, GB", lambda each: f"{each.checkpoint_a_day / 1e9:,.1f}"),
            row("/metrics, ms (kB)", lambda each: f"{each.sites_scrape * 1e3:,.0f} ({each.sites_page / 1e3:,.0f})"),
            row("/metrics/agents, ms (kB)", lambda each: f"{each.scrape * 1e3:,.0f} ({each.page / 1e3:,.0f})"),
            row("its series", lambda each: f"{each.series:,}"),
            row("its worst loop gap, ms", lambda each: f"{each.scrape_gap * 1e3:,.0f}"),
            row("state read back, s", lambda each: f"{each.restored:,.1f}"),
            row("after kill -9 of a worker, its session of 10 s included, s", lambda each: f"{each.back:,.1f}"),
        ]
    )


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1_000, 10_000, 100_000, 300_000])
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    if missing := missing_tools():
        print(f"The benchmark runs on real Kafka: install {' and '.join(missing)} first (Java 17 or newer, Maven).")
        return 2

    conditions = document.conditions()
    print(conditions, flush=True)
    found = []
    for people in arguments.people:
        found.append(measure(people))
        print(found[-1], flush=True)
    print(f"\n{table(found)}")
    if arguments.write:
        document.write(document.BENCHMARKS, "people", f"{conditions}\n\n{table(found)}")
        document.keep("people", [asdict(each) for each in found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
