"""`labelwatch watch`: the live board in a terminal, from a worker's /metrics or from Prometheus."""

import contextlib
import io
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from streams.ops.errors import CommandError
from streams.views.board import TerminalBoard, plain_lines
from streams.views.http import Unreachable
from streams.views.reading import Reading, read, remember
from streams.views.samples import Samples, read_prometheus, read_worker

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 5.0
_SVG_WIDTH, _SVG_HEIGHT = 132, 30
#: A picture loads nothing from elsewhere: the viewer's own fonts.
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono"
#: The rate of events is that of about so long.
_RATE_SECONDS = 30.0


class Rate:
    """Events a second from a counter that moves in steps, as checkpoints do."""

    def __init__(self) -> None:
        # The first value is no step: what came before it was read at once, or by another worker.
        self._steps: deque[tuple[float, float]] = deque()
        self._newest: float | None = None
        self._at = 0.0

    def add(self, at_seconds: float, total: float) -> None:
        """Notes the counter's value at a time."""
        before, self._newest, self._at = self._newest, total, at_seconds
        if before is None or total == before:
            return
        if total < before:
            self._steps.clear()
            return
        self._steps.append((at_seconds, total))
        while len(self._steps) > 2 and at_seconds - self._steps[0][0] > _RATE_SECONDS:
            self._steps.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate; None before two steps, 0 when the last one is long ago."""
        if len(self._steps) < 2:
            return None
        (first_at, first), (last_at, last) = self._steps[0], self._steps[-1]
        if self._at - last_at > _RATE_SECONDS:
            return 0.0
        return (last - first) / (last_at - first_at) if last_at > first_at else None


class Watcher:
    """Reads the samples again and again, and keeps the newest good ones.

    Args:
        source: Reads one set of samples, or raises `Unreachable`.
        urls: Shown below the board.
        note: A line about what is watched.
        patient: Whether a worker that does not answer yet is starting, and not down.
    """

    def __init__(
        self, source: Callable[[], Samples], urls: Sequence[str] = (), note: str = "", *, patient: bool = False
    ) -> None:
        self._source = source
        self._urls = urls
        self._note = note
        self._patient = patient
        self._seen: dict[str, float] = {}
        self._rate = Rate()
        self.reading: Reading | None = None
        self.trouble: str | None = None

    def turn(self) -> None:
        """Reads once."""
        now = time.time()
        try:
            reading = read(self._source(), now)
        except Unreachable as error:
            waits = self._patient and self.reading is None
            self.trouble = None if waits else str(error)
            return
        self.trouble, self.reading = None, remember(reading, self.reading, self._seen)
        self._rate.add(now, reading.pipeline.events)

    def board(self) -> TerminalBoard:
        """The picture as it is now."""
        return TerminalBoard(
            self.reading,
            events_per_second=self._rate.per_second,
            trouble=self.trouble,
            now_seconds=time.time(),
            urls=self._urls,
            note=self._note,
        )

    def lines(self) -> list[str]:
        """The same for scripts."""
        return plain_lines(self.reading, self.trouble, time.time())


def source_of(
    url: str, prometheus: bool, login: tuple[str, str] | None = None, trust: ssl.SSLContext | None = None
) -> Callable[[], Samples]:
    """How to read samples from an address; a worker's pages may ask for a login and speak TLS."""
    return (lambda: read_prometheus(url, trust)) if prometheus else (lambda: read_worker(url, login, trust))


def watch(watcher: Watcher, console: Console, *, plain: bool, seconds: float | None) -> None:
    """Shows a monitor that runs elsewhere, until the time is over or Ctrl-C.

    Raises:
        CommandError: No answer at the first time of asking.
    """
    require(watcher)
    until = None if seconds is None else time.monotonic() + seconds
    with contextlib.suppress(KeyboardInterrupt):
        show(watcher, console, plain=plain, go_on=lambda: until is None or time.monotonic() < until)


def require(watcher: Watcher) -> None:
    """Reads once, and fails without an answer.

    Raises:
        CommandError: No answer.
    """
    watcher.turn()
    if watcher.trouble is not None:
        raise CommandError(f"{watcher.trouble}; start a worker, or give its address with --url")


def show(watcher: Watcher, console: Console, *, plain: bool, go_on: Callable[[], bool]) -> None:
    """Shows the board until `go_on` says no.

    Args:
        watcher: What to show.
        console: Where; what is no terminal gets lines.
        plain: Lines every few seconds, in place of a picture.
        go_on: Asked several times a second.
    """
    if plain or not console.is_terminal:
        said: list[str] = []
        for _ in _turns(watcher, go_on, PLAIN_SECONDS):
            lines = watcher.lines()
            # Until there are figures it looks often, and says a thing once.
            for line in lines if lines != said else ():
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            said = lines
        return
    with Live(watcher.board(), console=console, screen=True, auto_refresh=False) as live:
        for _ in _turns(watcher, go_on, REFRESH_SECONDS):
            live.update(watcher.board(), refresh=True)


def save_svg(watcher: Watcher, path: Path, seconds: float | None = None) -> None:
    """Writes one picture of the board, after having watched for so long: a rate of events needs some seconds.

    Raises:
        CommandError: No answer, or the file cannot be written.
    """
    require(watcher)
    until = time.monotonic() + (seconds or 0.0)
    while time.monotonic() < until:
        time.sleep(REFRESH_SECONDS)
        watcher.turn()
    console = Console(width=_SVG_WIDTH, height=_SVG_HEIGHT, record=True, force_terminal=True, file=io.StringIO())
    console.print(watcher.board())
    svg = _FONT_FACE.sub("", console.export_svg(title="labelwatch watch")).replace("Fira Code", _FONTS)
    try:
        path.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the path of a file that can be written") from error


def _turns(watcher: Watcher, go_on: Callable[[], bool], every_seconds: float) -> Iterator[None]:
    while True:
        watcher.turn()
        yield
        has_figures = watcher.reading is not None and bool(watcher.reading.sites)
        until = time.monotonic() + (every_seconds if has_figures else REFRESH_SECONDS)
        while time.monotonic() < until:
            if not go_on():
                return
            time.sleep(0.1)
