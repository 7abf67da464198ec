"""`labelwatch replay`: the replay with a progress bar and its summary."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.sources.replay import ReplayOptions, run_replay
from streams.sources.sinks import KafkaTarget


def show_replay(options: ReplayOptions, target: KafkaTarget | None, console: Console) -> None:
    """Replays a file and says what was written.

    Raises:
        SourceError: As `run_replay`.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(options.file.name, total=None, rate="")

        def progress(done: int, total: int) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, completed=done, total=max(total, done), rate=f"{speed:,.0f}/s" if speed else "")

        replayed = run_replay(options, target, progress)
    sys.stdout.write(f"{replayed.records:,} records\n")
    if replayed.not_json:
        sys.stdout.write(f"{replayed.not_json:,} lines name no site: sent as they are, the worker turns them away\n")
