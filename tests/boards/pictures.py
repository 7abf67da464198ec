"""The pictures of docs/boards.md: the whole stack during a site's dip, after weeks of calm, drawn and photographed.

Run: make pictures    (Java 17, Maven, Prometheus and Chromium; about 20 minutes)

Kafka, two workers and Prometheus run as docker-compose.yml says. The weeks before are written as `labelwatch backfill`
does, from the same events that the workers read; the dip begins about half an hour before the pictures.
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from PIL import Image

from schemas.policy import Policy
from streams.exporter.pseudonyms import ENVIRONMENT, agent_names
from streams.ops.backfill import NAME, RULES, Known, Past, keeping, names_in, rules_in
from streams.ops.preview import PreviewOptions, board_files, preview
from streams.sources.simulate import Operation, Simulation
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, pump, run
from tests.stack.native import NativeStack, answers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "boards"
SITES, RATE, POINTS, SEED = 8, 1.2, 0.2, 2
PARTITIONS = 4
#: Two more than Capacity shows: on the first day nobody has worked for a day yet.
DAYS = 30.0
#: The worker keeps seven days; the dip must be older than the pictures, and younger than an hour.
LIVE_FROM_SECONDS, DIP_BEFORE_SECONDS = 8 * 86_400, 2400
WAIT_SECONDS = 1800
ATTEMPTS = 3
#: Pixels below what is kept: on a busy machine the lowest part of a picture may not be painted yet.
SPARE = 600
#: On boards of one site: the one that dips.
CHOSEN = {"labelwatch-site": {"site": ["manila-1"]}, "labelwatch-coach": {"site": ["manila-1"]}}
#: The others look as far back as they do in Grafana: workers themselves have no past, and people's is a day long.
RANGES = {"labelwatch-pipeline": "now-5m", "labelwatch-coach": "now-24h"}
CHROMIUM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--run-all-compositor-stages-before-draw",
)
_COLORS, _MOST_BYTES = 128, 200_000


def main() -> None:
    """Makes the pictures; `--keep` leaves the stack running until Enter, to look at boards by hand."""
    parser = argparse.ArgumentParser(description="Pictures of all boards, from a running stack.")
    parser.add_argument("--days", type=float, default=DAYS, help="how much past there is")
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--every-edition", action="store_true", help="the Chinese boards too, not their wall alone")
    parser.add_argument("--keep", action="store_true", help="leave the stack running until Enter")
    options = parser.parse_args()
    # One key for all, so that people of the past and of now have the same names.
    os.environ[ENVIRONMENT] = "a key for pictures only"
    with tempfile.TemporaryDirectory(prefix="labelwatch-pictures-") as folder:
        settings = {ENVIRONMENT: os.environ[ENVIRONMENT]}
        with NativeStack(Path(folder), settings) as stack, _Running(stack, options.days):
            take(stack.url("prometheus", 9090), options.out, every_edition=options.every_edition)
            if options.keep:
                say(f"{stack.url('prometheus', 9090)} is up until Enter")
                sys.stdin.readline()


class _Running:
    """The stack with a past, fed by a simulator of its own, when the dip has been found."""

    def __init__(self, stack: NativeStack, days: float) -> None:
        self._stack = stack
        now_ms = int(time.time() * 1000) // 1000 * 1000
        self._simulation = Simulation(
            start_ms=now_ms - int(days * 86_400_000),
            end_ms=now_ms + 12 * 3_600_000,
            scenario="site-dip",
            seed=SEED,
            rate=RATE,
            sites=SITES,
            change_at_ms=now_ms - DIP_BEFORE_SECONDS * 1000,
            points=POINTS,
        )
        self._feeder: BaseProcess | None = None

    def __enter__(self) -> "_Running":
        stack = self._stack
        events = (
            Known(each.due_ms, each.site_id.encode(), each.value, number)
            for number, each in enumerate(Operation(self._simulation))
        )
        wanted = names_in(ROOT / "grafana")
        rules = rules_in(RULES, wanted)
        backlog: deque[Known] = deque()
        past = Past(
            keeping(events, int((time.time() - LIVE_FROM_SECONDS) * 1000), backlog),
            self._simulation.start_ms / 1000,
            None,
            Policy.load(ROOT / "policy.toml"),
            agent_names("pseudonym", stack.folder),
            stack.folder,
            rules,
            PARTITIONS,
            wanted | {word for rule in rules for word in NAME.findall(rule.expr)},
            say,
        )
        data, blocks = stack.folder / "volumes" / "prometheus-data", stack.folder / "blocks"
        past.store(blocks)
        say("the past is written")
        data.mkdir(parents=True)
        _move(blocks, data)
        # A worker waits for its topics.
        stack.up("worker-1")
        stack.stop("worker-1")
        bootstrap, url = f"127.0.0.1:{stack.port('kafka', 9092)}", stack.url("prometheus", 9090)
        fork = multiprocessing.get_context("fork")
        is_written = fork.Event()
        # Forked, so that the simulation goes on where the past ends. The workers come when they can read all of it:
        # until then what they show would be of half a week.
        self._feeder = fork.Process(target=feed, args=(bootstrap, backlog, events, is_written), daemon=True)
        self._feeder.start()
        while not is_written.wait(1):
            if not self._feeder.is_alive():
                sys.exit("the simulator ended before its time; its error stands above")
        say("the last days are in Kafka")
        stack.up("worker-1", "worker-2", "alertmanager", "prometheus", "pager")
        say("Kafka, two workers and Prometheus are up")

        def added(add: Callable[[], object]) -> None:
            add()
            _move(blocks, data)

        past.evaluate(blocks, url, lambda add: self._restart(lambda: added(add)))
        say("waiting for the dip to be found")
        wait_for(url, 'count(max by (site) (labelwatch_drift_active{budget="page",project=""}) == 1)')
        wait_for(url, 'count(ALERTS{alertname="LabelwatchSiteQualityDrift",alertstate="firing"})')
        # For five minutes Prometheus shows the newest samples of the past beside those of the workers.
        time.sleep(330)
        return self

    def __exit__(self, *_: object) -> None:
        if self._feeder is not None:
            self._feeder.kill()
            self._feeder.join()

    def _restart(self, meanwhile: Callable[[], object]) -> None:
        self._stack.stop("prometheus")
        meanwhile()
        self._stack.start("prometheus")
        ready = self._stack.url("prometheus", 9090, "/-/ready")
        while not answers(ready):
            time.sleep(0.2)


def feed(bootstrap: str, backlog: Iterable[Known], events: Iterable[Known], is_written: Event) -> None:
    """Writes events into Kafka: the backlog at once, the others when each is due."""
    sink = KafkaSink(KafkaTarget(bootstrap))

    def due(sent: Iterable[Known]) -> Iterator[Outgoing]:
        return (Outgoing(each.at_ms / 1000, each.site, each.value) for each in sent)

    async def work() -> None:
        async with sink.running():
            await pump(sink, due(backlog))
            await sink.flush()
            is_written.set()
            await pump(sink, due(events))

    run(work)


def take(url: str, out: Path, *, every_edition: bool) -> None:
    """Draws every board from a Prometheus and photographs it at 1920x1080, the wall also at 960x540.

    Raises:
        CommandError: A board cannot be drawn.
        SystemExit: There is no Chromium.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is missing: on Debian, install chromium and fonts-noto-cjk")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for file in board_files():
            uid = file.name.removesuffix(".json")
            base = uid.removesuffix("-zh")
            if uid != base and base != "labelwatch-operations" and not every_edition:
                continue
            options = PreviewOptions(url, Path(folder), (uid,), CHOSEN.get(base, {}), RANGES.get(base))
            for page in preview(options):
                picture = out / f"{uid.removeprefix('labelwatch-')}.png"
                photograph(chromium, page, picture, 1920, 1080)
                if uid == "labelwatch-operations":
                    photograph(chromium, page, picture.with_name(f"{picture.stem}-540.png"), 1920, 1080, 0.5)
                say(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


def photograph(chromium: str, page: Path, picture: Path, width: int, height: int, scale: float = 1.0) -> None:
    """One picture of a page, with few colours, so that it is small."""
    for attempt in range(1, ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command: Sequence[str] = [
                *(chromium, *CHROMIUM, f"--user-data-dir={profile}", f"--window-size={width},{height + SPARE}"),
                *(f"--force-device-scale-factor={scale}", f"--screenshot={picture}", page.as_uri()),
            ]
            # A session of its own, so that what hangs ends with all its processes.
            browser = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            try:
                if browser.wait(60) == 0:
                    break
            except subprocess.TimeoutExpired:
                os.killpg(browser.pid, signal.SIGKILL)
                browser.wait()
        if attempt == ATTEMPTS:
            sys.exit(f"Chromium takes no picture of {page}")
    with Image.open(picture) as taken:
        image = taken.convert("RGB").crop((0, 0, round(width * scale), round(height * scale)))
    for colors in (_COLORS, _COLORS // 2, _COLORS // 4):
        # Refined twice more, or white would come out as the yellow that is used most.
        few = image.quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        few.save(picture, optimize=True)
        if picture.stat().st_size < _MOST_BYTES:
            break


def wait_for(url: str, query: str) -> None:
    """Waits until a query has an answer."""
    deadline = time.monotonic() + WAIT_SECONDS
    asked = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    while True:
        with urllib.request.urlopen(asked, timeout=30) as response:
            if b'"metric"' in response.read():
                return
        if time.monotonic() > deadline:
            sys.exit(f"Nothing within {WAIT_SECONDS} s: {query}")
        time.sleep(2)


def say(line: str) -> None:
    """Tells how far it is."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def _move(blocks: Path, data: Path) -> None:
    for block in blocks.iterdir():
        shutil.move(block, data / block.name)


if __name__ == "__main__":
    main()
