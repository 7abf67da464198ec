"""`labelwatch simulate`: runs a simulation into Kafka at its pace, or into a file with the truth beside it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.sources.errors import SourceError
from streams.sources.simulate import Operation, Sent, Simulation, Truth, people_of, rate_of
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, pump, run, write_file

_PROGRESS_RECORDS = 1_000


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """What a person asks for.

    Attributes:
        scenario: One of `SCENARIOS`.
        rate: Events a second, wall clock.
        seconds: Length of the live part, wall clock; in a file it ends now, in Kafka so long after now.
        seed: The same seed and times give the same events.
        speed: Event time over wall time; above 1 the run starts in the past and ends at now.
        history_seconds: Past that is written at once before the live part.
        sites: Number of sites.
        points: Size of a change of accuracy, in ratio points.
        change_seconds: When the scenario's change comes, by events' time from the live part's begin; below 0 it
            lies in the history. None: after a quarter of the live part.
        out: A file in place of Kafka; the truth goes to `<out>.truth.json`.
    """

    scenario: str = "steady"
    rate: float = 30.0
    seconds: float = 600.0
    seed: int = 1
    speed: float = 1.0
    history_seconds: float = 0.0
    sites: int = 6
    points: float = 0.08
    change_seconds: float | None = None
    out: Path | None = None

    def expected_records(self) -> float:
        """How many records there will be, about."""
        event_seconds = self.seconds * self.speed + self.history_seconds
        return event_seconds * rate_of(people_of(self.rate / self.speed, self.sites))


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has written."""

    records: int
    truth: Truth


def run_simulation(
    options: SimulationOptions,
    target: KafkaTarget | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Summary:
    """Runs a simulation to its end.

    Args:
        options: What to simulate.
        target: Where to, unless `options.out` names a file.
        progress: Called now and then with the records made so far, and the share of the simulated time.

    Raises:
        SourceError: Options that contradict each other, or the target cannot be written.
    """
    if options.speed < 1 or options.seconds <= 0:
        raise SourceError("--speed must be 1x or more, and --seconds above 0")
    begun = time.time()
    live_ms = int(options.seconds * options.speed * 1000)
    # A file is whole at once, and nothing in it may lie in the future.
    end_ms = int((begun + (0.0 if options.out else options.seconds)) * 1000)
    live_from_ms = end_ms - live_ms
    start_ms = live_from_ms - int(options.history_seconds * 1000)
    change_ms = live_ms // 4 if options.change_seconds is None else int(options.change_seconds * 1000)
    operation = Operation(
        Simulation(
            start_ms=start_ms,
            end_ms=end_ms,
            scenario=options.scenario,
            seed=options.seed,
            rate=options.rate / options.speed,
            sites=options.sites,
            change_at_ms=live_from_ms + change_ms,
            points=options.points,
        )
    )

    def made() -> Iterator[Sent]:
        for number, each in enumerate(operation):
            if progress is not None and number % _PROGRESS_RECORDS == 0:
                progress(number, (each.due_ms - start_ms) / max(end_ms - start_ms, 1))
            yield each

    if options.out is not None:
        count = write_file(options.out, (Outgoing(0, each.site_id.encode(), each.value) for each in made()))
        truth_file = options.out.with_name(options.out.name + ".truth.json")
        truth_file.write_bytes(operation.truth.as_json())
        return Summary(count, operation.truth)
    if target is None:
        raise SourceError("neither a file nor a broker to write to; give --bootstrap or --out")
    sink = KafkaSink(target)

    def due() -> Iterator[Outgoing]:
        for each in made():
            ahead_seconds = (each.due_ms - live_from_ms) / 1000 / options.speed
            yield Outgoing(begun + ahead_seconds, each.site_id.encode(), each.value)

    async def work() -> None:
        async with sink.running():
            await pump(sink, due())

    run(work)
    return Summary(sink.sent, operation.truth)
