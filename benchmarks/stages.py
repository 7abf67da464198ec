"""Where a worker's time goes, event by event: each stage of one partition, in one process, on the same seeded events.

CPU time of this thread, the least of the rounds, so that a busy machine disturbs it little. There is no broker: what
the broker would answer is built beforehand. Waiting, Faust and the threads' changes are what `benchmarks.throughput`
shows beside the sum.

Run: python -m benchmarks.stages [--events N] [--people N] [--rounds N] [--write]
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks import document
from benchmarks.exporter import showing
from benchmarks.load import events
from schemas.policy import Policy
from streams.engine import intake
from streams.engine.decode import decode
from streams.engine.partition import PartitionEngine
from streams.exporter.collector import SitesCollector
from streams.exporter.pseudonyms import Pseudonyms
from streams.exporter.text import render
from streams.runtime import worker
from streams.runtime.fetched import BATCH_RECORDS, Unread, new_answer
from streams.runtime.settings import Settings

#: 2025-11-22; the events end there.
END_MS = 1_763_800_000_000
#: Records of one batch of the producer, as `benchmarks.load` makes them at full speed.
PRODUCER_BATCH = 2_000
#: Of them, how many the broker puts into one answer.
ANSWER_BATCHES = BATCH_RECORDS // PRODUCER_BATCH
#: A scrape comes every 5 s; this many events lie between two at 200,000 a second.
EVENTS_A_SCRAPE = 1_000_000

_T = TypeVar("_T")


class StageClock:
    """CPU seconds by stage; a stage within another is taken out of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []

    def timed(self, stage: str, work: Callable[..., _T]) -> Callable[..., _T]:
        """The same work, timed."""

        def run(*arguments: Any, **named: Any) -> _T:
            started = time.thread_time()
            self._within.append(0.0)
            try:
                return work(*arguments, **named)
            finally:
                took = time.thread_time() - started
                self.seconds[stage] = self.seconds.get(stage, 0.0) + took - self._within.pop()
                if self._within:
                    self._within[-1] += took

        return run


def answers(count: int, *, seed: int, people: int) -> list[bytes]:
    """The log of a partition as the broker answers it: producers' batches of records, several to an answer."""
    encode = msgspec.json.Encoder().encode
    batches: list[bytes] = []
    batch = None
    for offset, (site, event) in enumerate(events(count, seed=seed, end_ms=END_MS, people=people)):
        place = offset % PRODUCER_BATCH
        if not place:
            if batch is not None:
                batches.append(_built(batch, offset - PRODUCER_BATCH))
            batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
        assert batch is not None
        batch.append(place, END_MS, site.encode(), encode(event), [])
    assert batch is not None
    batches.append(_built(batch, (count - 1) // PRODUCER_BATCH * PRODUCER_BATCH))
    return [b"".join(batches[at : at + ANSWER_BATCHES]) for at in range(0, len(batches), ANSWER_BATCHES)]


def _built(batch: Any, base_offset: int) -> bytes:
    # The broker puts in the offset, which the checksum does not cover.
    return base_offset.to_bytes(8, "big") + bytes(batch.build())[8:]


def fetched(log: Sequence[bytes], clock: StageClock) -> Iterator[Any]:
    """The records of a log in the runs that the engine gets."""
    position = 0
    check = clock.timed("fetch: checksum", Unread)
    for answer in log:
        parsed = PartitionRecords(None, new_answer(answer), [], position, None, None, True, READ_UNCOMMITTED)
        while unread := check(parsed):
            runs = unread.runs()
            parse = clock.timed("fetch: parse", lambda runs=runs: next(runs, None))
            while records := parse():
                yield records
        position = parsed.next_fetch_offset


def run(log: Sequence[bytes], policy: Policy) -> tuple[StageClock, PartitionEngine]:
    """Everything that a worker does with a log, but for the network."""
    clock = StageClock()
    engine = PartitionEngine(0, policy)
    vars(intake)["decode"] = clock.timed("decode", decode)
    engine._intake.read = clock.timed("loop: clocks, duplicates, names", engine._intake.read)  # type: ignore[method-assign]  # timed
    for part in engine._parts:
        name = type(part).__name__.removesuffix("Part").lower()
        part.apply = clock.timed(f"part: {name}", part.apply)  # type: ignore[method-assign]  # timed
    apply = clock.timed("bookkeeping", engine.apply)
    checkpoint = clock.timed("checkpoint: cut", engine.checkpoint)
    for records in fetched(log, clock):
        apply(records)
        if engine.pending_records >= Settings().checkpoint_records:
            engine.committed(checkpoint())
    vars(intake)["decode"] = decode
    return clock, engine


def scrape(engine: PartitionEngine) -> float:
    """CPU seconds of one scrape of the sites' page."""
    clock = StageClock()
    names = Pseudonyms(b"benchmark benchmark")
    page = clock.timed("scrape", lambda: b"".join(render(SitesCollector(showing(engine), names).collect())))
    page()
    clock.seconds.clear()
    page()
    return clock.seconds["scrape"]


def measure(count: int, *, seed: int, people: int, rounds: int) -> dict[str, float]:
    """CPU microseconds an event by stage, the least of the rounds; the largest part of the sum first."""
    worker.tune_collector()
    log = answers(count, seed=seed, people=people)
    policy = Policy()
    gc.collect()
    gc.freeze()
    least: dict[str, float] = {}
    for _ in range(rounds):
        clock, engine = run(log, policy)
        for stage, seconds in clock.seconds.items():
            least[stage] = min(least.get(stage, seconds), seconds)
        least["scrape, every 5 s"] = min(
            least.get("scrape, every 5 s", float("inf")), scrape(engine) * count / EVENTS_A_SCRAPE
        )
    return {stage: seconds / count * 1e6 for stage, seconds in sorted(least.items(), key=lambda each: -each[1])}


def table(stages: dict[str, float]) -> str:
    """The stages as Markdown."""
    total = sum(stages.values())
    lines = ["| stage | CPU us an event | share |", "|---|---:|---:|"]
    lines += [f"| {stage} | {us:.3f} | {us / total:.0%} |" for stage, us in stages.items()]
    return "\n".join([*lines, f"| all | {total:.2f} | one core: {1e6 / total:,.0f} events/s |"])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000, help="of one partition (%(default)s)")
    parser.add_argument("--people", type=int, default=2_000, help="agents over all sites (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the least counts (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    stages = measure(arguments.events, seed=arguments.seed, people=arguments.people, rounds=arguments.rounds)
    print(table(stages))
    if arguments.write:
        text = f"{arguments.events:,} events of {arguments.people:,} people. {document.conditions()}"
        document.write(document.BENCHMARKS, "stages", f"{text}\n\n{table(stages)}")
        document.keep("stages", {stage: round(us, 3) for stage, us in stages.items()})


if __name__ == "__main__":
    main()
