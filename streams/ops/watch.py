"""`labelwatch watch`: the live board in a terminal, from a worker's /metrics or from Prometheus."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from streams.views.board import Board, Reading, plain_lines, read
from streams.views.samples import Samples, Unreachable, read_prometheus, read_worker

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 5.0
_SVG_WIDTH, _SVG_HEIGHT = 132, 32


class Watcher:
    """Reads the samples again and again, and keeps the newest good ones.

    Args:
        source: Reads one set of samples, or raises `Unreachable`.
        urls: Shown below the board.
        note: A line about what is watched.
    """

    def __init__(self, source: Callable[[], Samples], urls: tuple[str, ...] = (), note: str = "") -> None:
        self._source = source
        self._urls = urls
        self._note = note
        self.reading: Reading | None = None
        self.trouble: str | None = None
        self._rate: float | None = None

    def turn(self) -> None:
        """Reads once."""
        now = time.time()
        try:
            reading = read(self._source(), now)
        except Unreachable as error:
            self.trouble = str(error)
            return
        before = self.reading
        self.trouble, self.reading = None, reading
        if before is not None and reading.at_seconds > before.at_seconds:
            grown = reading.pipeline.events - before.pipeline.events
            self._rate = max(grown, 0.0) / (reading.at_seconds - before.at_seconds)

    def board(self) -> Board:
        """The picture as it is now."""
        return Board(
            self.reading,
            events_per_second=self._rate,
            # Before the first figures a worker that is starting is no trouble.
            trouble=self.trouble if self.reading is not None else None,
            now_seconds=time.time(),
            urls=self._urls,
            note=self._note,
        )


def source_of(url: str, prometheus: bool) -> Callable[[], Samples]:
    """How to read samples from an address."""
    return (lambda: read_prometheus(url)) if prometheus else (lambda: read_worker(url))


def show(watcher: Watcher, console: Console, *, plain: bool, go_on: Callable[[], bool]) -> None:
    """Shows the board until `go_on` says no.

    Args:
        watcher: What to show.
        console: Where.
        plain: A line a site every few seconds, in place of a picture.
        go_on: Asked after every turn.
    """
    if plain:
        for _ in _turns(watcher, PLAIN_SECONDS, go_on):
            if watcher.trouble or watcher.reading is None:
                console.print(f"monitor down: {watcher.trouble}", markup=False, highlight=False, soft_wrap=True)
            else:
                for line in plain_lines(watcher.reading):
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    with Live(watcher.board(), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        for _ in _turns(watcher, REFRESH_SECONDS, go_on):
            live.update(watcher.board(), refresh=True)


def save_svg(watcher: Watcher, path: Path) -> None:
    """Writes one picture of the board, with a rate from two readings."""
    watcher.turn()
    time.sleep(REFRESH_SECONDS)
    watcher.turn()
    console = Console(width=_SVG_WIDTH, height=_SVG_HEIGHT, record=True, force_terminal=True, file=io.StringIO())
    console.print(watcher.board())
    console.save_svg(str(path), title="labelwatch watch")


def _turns(watcher: Watcher, every_seconds: float, go_on: Callable[[], bool]) -> Iterator[None]:
    while True:
        watcher.turn()
        yield
        until = time.monotonic() + every_seconds
        while time.monotonic() < until:
            if not go_on():
                return
            time.sleep(0.1)
