"""`labelwatch simulate`: refuses what would take days, and shows how far a long run is."""

import math
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from streams.ops.errors import WRONG_USE, CommandError
from streams.sources.simulation_run import SimulationOptions, Summary, run_simulation
from streams.sources.sinks import KafkaTarget

#: Above it a run is refused: about a day's work of one core, and 100 GB.
RECORDS_MOST = 400_000_000
_BYTES_A_RECORD = 270
#: Fifty years: an operation does not begin before 1970.
_DAYS_MOST = 18_000
_DAY_SECONDS = 86_400.0
_LINE_SECONDS = 30.0


def show_simulation(options: SimulationOptions, target: KafkaTarget | None, console: Console) -> Summary:
    """Runs a simulation, with a bar on a terminal and a line now and then elsewhere.

    Raises:
        CommandError: It would take days.
        SourceError: As `run_simulation`.
    """
    refuse_days(options)
    if not console.is_terminal:
        said = time.monotonic()

        def line(records: int, share: float) -> None:
            nonlocal said
            if time.monotonic() - said >= _LINE_SECONDS:
                said = time.monotonic()
                console.print(f"{records:,} records, {share:.0%}", highlight=False)

        return run_simulation(options, target, line)
    columns = (TextColumn("{task.fields[records]}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, records="")

        def move(records: int, share: float) -> None:
            bar.update(task, completed=share, records=f"{records:,} records")

        return run_simulation(options, target, move)


def refuse_days(options: SimulationOptions) -> None:
    """Refuses a run by its size, before anything is written.

    Raises:
        CommandError: It would take days.
    """
    sizes = (options.seconds, options.speed, options.rate, options.history_seconds)
    if not all(map(math.isfinite, sizes)) or options.speed < 1:
        raise CommandError("--seconds, --rate and --history-seconds must be numbers, and --speed 1x or more", WRONG_USE)
    asked = f"--seconds {options.seconds:g} --speed {options.speed:g}x --rate {options.rate:g}"
    event_days = (options.seconds * options.speed + options.history_seconds) / _DAY_SECONDS
    records = options.expected_records()
    if records > RECORDS_MOST or event_days > _DAYS_MOST:
        raise CommandError(
            f"{asked}: {event_days:,.0f} days of an operation, about {records:,.0f} records and "
            f"{records * _BYTES_A_RECORD / 1e9:,.0f} GB; at most {_DAYS_MOST:,} days and {RECORDS_MOST:,} records: "
            "give less of --seconds, --speed, --rate or --sites",
            WRONG_USE,
        )
    # At 1x a live run may last; at more the event time is what was meant.
    if options.out is None and options.speed > 1 and options.seconds > _DAY_SECONDS:
        raise CommandError(
            f"{asked}: would take {options.seconds / _DAY_SECONDS:,.1f} days by the wall clock for {event_days:,.0f} "
            f"days of events, about {records:,.0f} records; --seconds is by the wall clock: for "
            f"{options.seconds / _DAY_SECONDS:,.1f} days of events give --seconds {options.seconds / options.speed:g}, "
            "or --out FILE",
            WRONG_USE,
        )
