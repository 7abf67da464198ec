"""`labelwatch backfill`: what boards would have shown of a file's history, as blocks for a Prometheus' data folder.

The same engine and exporter go over the events, step by step, and promtool stores what their pages would have shown.
The recording rules are then evaluated over it, each after those that it uses.
"""

import json
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from schemas.policy import Policy
from streams.engine.limits import LimitUse
from streams.engine.partition import PartitionEngine
from streams.engine.times import AHEAD_MS
from streams.exporter import MonitorState
from streams.exporter.collector import PeopleCollector, SitesCollector
from streams.exporter.pseudonyms import AgentNames
from streams.exporter.text import render
from streams.ops.blocks import Blocks, Evaluator, ask
from streams.ops.errors import WRONG_USE, CommandError
from streams.sources.lines import json_lines
from streams.sources.sinks import partition_of

#: Where the rules are in a clone; a wheel has none.
RULES = Path(__file__).parents[2] / "prometheus" / "rules"
#: From how long before the end on there are figures how often. A graph's steps are round, and the longer its time range
#: the longer they are: each finds a figure at its very moment, or one less than five minutes old.
SEGMENTS = ((float("inf"), 3600), (8 * 86_400.0, 600), (25 * 3600.0, 120))
#: People's pages are large: so often in the last segment, each hour in the one before, and never earlier.
PEOPLE_SECONDS = (0, 3600, 240)
#: Of no use to trends: windows by project and market, and the policy's targets for each of them.
_FINE_ONLY = re.compile(r'labelwatch_(labels|reviews|correct_reviews)_window\b|.*(target|policy).*project="[^"]')
#: A name in PromQL.
NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_RECORDS = 5_000
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
#: A worker that is gone when the live ones begin: its counters do not go on in theirs.
_INSTANCE = "past:9464"
_SAY_SECONDS = 5.0


class Known(NamedTuple):
    """An event, and when the monitor received it.

    Attributes:
        at_ms: The broker's append time, or the highest event time up to there.
        site: The key.
        value: The record.
        number: Place in its source, rising.
    """

    at_ms: int
    site: bytes
    value: bytes
    number: int


class _Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Rule:
    """A recording rule and how many others must come before it."""

    name: str
    expr: str
    level: int


def rules_in(folder: Path, wanted: set[str] | None = None) -> list[Rule]:
    """The recording rules of a folder that some names depend on, directly or not; None takes all."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise CommandError(
            "reading rules needs pyyaml: pip install 'labelwatch[boards]' (`make setup` does)"
        ) from error
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            found |= {rule["record"]: rule["expr"] for rule in group["rules"] if "record" in rule}

    def uses(name: str) -> set[str]:
        return {word for word in NAME.findall(found[name]) if word in found and word != name}

    def level(name: str) -> int:
        return 1 + max(map(level, uses(name)), default=0)

    needed, todo = set(), [name for name in found if wanted is None or name in wanted]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += uses(name)
    return [Rule(name, found[name], level(name)) for name in found if name in needed]


def names_in(folder: Path) -> set[str]:
    """Every name in the boards of a folder, metrics and rules among them."""
    return set(NAME.findall(" ".join(file.read_text("utf-8") for file in folder.rglob("*.json"))))


@dataclass(slots=True)
class Past:
    """Writes the past of an operation as blocks.

    Attributes:
        events: In the order in which they became known.
        begin_seconds: Epoch seconds of the first figures.
        end_seconds: Of the last; None: now, which goes on meanwhile.
        policy: The workers' own.
        names: Pseudonyms of people; as the live workers make them.
        partitions: Of the events topic.
        rules: Recording rules.
        wanted: Names of metrics that matter; None takes all.
        scratch: A folder for the texts that promtool reads.
        say: Is given a line on how far it is.
        samples: How many were written.
        taken: How many events were read.
        rejected: (number from 1, reason, detail) of events that cannot be used.
        limits: How much of each limit of the policy each partition used at the end.
    """

    events: Iterator[Known]
    begin_seconds: float
    end_seconds: float | None
    policy: Policy
    names: AgentNames
    scratch: Path
    rules: Sequence[Rule] = ()
    partitions: int = 1
    wanted: set[str] | None = None
    say: Callable[[str], None] = lambda line: None
    samples: int = 0
    taken: int = 0
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    limits: list[dict[str, LimitUse]] = field(default_factory=list)
    _began: float = field(default_factory=time.time)
    _last: float = 0.0
    _said: float = 0.0

    def store(self, data: Path) -> None:
        """Writes blocks of the workers' pages into a folder."""
        with Blocks(self.scratch, data) as blocks:
            for at_seconds, lines in self._pages():
                self.samples += blocks.write(at_seconds, lines)
                self._last = at_seconds

    def evaluate(self, data: Path, url: str, restart: Callable[[Callable[[], None]], None]) -> None:
        """Evaluates the rules over what is stored, each level with the results of the one before.

        Args:
            data: Where to.
            url: The address of the Prometheus that has the past.
            restart: Stops Prometheus, calls what it is given, and starts it again.
        """
        spans = self._spans(self._last)
        levels = sorted({rule.level for rule in self.rules})
        for level in levels:
            found: dict[int, list[str]] = {}
            for rule in self.rules:
                if rule.level != level:
                    continue
                for begin, end, step in spans:
                    for series in ask(url, rule.expr, begin, end, step):
                        labels = {key: value for key, value in series["metric"].items() if key != "__name__"}
                        head = rule.name + "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}"
                        for at, value in series["values"]:
                            found.setdefault(int(at), []).append(f"{head} {value} {int(at)}\n")

            def add(found: dict[int, list[str]] = found) -> None:
                with Blocks(self.scratch, data) as blocks:
                    for at in sorted(found):
                        self.samples += blocks.write(at, found[at])

            restart(add)
            self.say(f"rules of level {level} of {len(levels)}: {sum(map(len, found.values())):,} samples")

    def _spans(self, end: float) -> list[tuple[int, int, int]]:
        """Begin, end and step of each segment, seconds, at whole steps."""
        newest = self._began if self.end_seconds is None else self.end_seconds
        begins = [max(self.begin_seconds, newest - before) for before, _ in SEGMENTS]
        return [
            (int(begin // step + 1) * step, int(stop), step)
            for begin, stop, (_, step) in zip(begins, [*begins[1:], end], SEGMENTS, strict=True)
        ]

    def _steps(self) -> Iterator[tuple[int, int]]:
        """Moments up to the end, epoch seconds, and the segment of each; now goes on meanwhile."""
        *spans, (begin, _, step) = self._spans(self._began if self.end_seconds is None else self.end_seconds)
        for number, span in enumerate(spans):
            yield from ((at, number) for at in range(*span))
        while begin < (time.time() if self.end_seconds is None else self.end_seconds + step):
            yield begin, len(spans)
            begin += step

    def _pages(self) -> Iterator[tuple[int, list[str]]]:
        engines = [
            PartitionEngine(number, self.policy, partitions=self.partitions) for number in range(self.partitions)
        ]
        now_ms = int(self.begin_seconds * 1000)
        state = MonitorState(now_ms=lambda: now_ms)
        state.assign(range(self.partitions), self.partitions)
        for number, engine in enumerate(engines):
            state.restored(number, engine)
            state.caught_up(number)
        state.prove_membership(float("inf"))
        sites, people = SitesCollector(state, self.names), PeopleCollector(state, self.names)
        event = next(self.events, None)
        of_site: dict[bytes, int] = {}
        for at, segment in self._steps():
            now_ms = at * 1000
            batches: list[list[_Record]] = [[] for _ in engines]
            while event is not None and event.at_ms < now_ms:
                number = of_site.setdefault(event.site, partition_of(event.site, self.partitions))
                batches[number].append(_Record(event.number, event.at_ms, event.site, event.value))
                self.taken += 1
                event = next(self.events, None)
                if len(batches[number]) == _RECORDS:
                    engines[number].apply(batches[number])
                    batches[number] = []
            for number, (engine, batch) in enumerate(zip(engines, batches, strict=True)):
                engine.apply(batch)
                checkpoint = engine.checkpoint()
                engine.committed(checkpoint)
                self.rejected += [(dead.offset + 1, dead.reason, dead.detail) for dead in checkpoint.dead_letters]
                state.lag(number, 0, 0.0)
                state.figures_lag(number, 0.0)
                state.committed(number, 0.05)
            state.loop_turned()
            lines = [f'up{{job="labelwatch",instance="{_INSTANCE}"}} 1 {at}\n']
            lines += self._lines("labelwatch", sites, at, segment)
            if (every := PEOPLE_SECONDS[segment]) and at % every == 0:
                lines += self._lines("labelwatch-agents", people, at, segment)
            yield at, lines
            if time.monotonic() - self._said > _SAY_SECONDS:
                self._said = time.monotonic()
                self.say(f"to {_when(at)}: {self.taken:,} events, {self.samples:,} samples")
        self.limits = [engine.limits() for engine in engines]

    def _lines(self, job: str, collector: Any, at: int, segment: int) -> Iterator[str]:
        add = f'job="{job}",instance="{_INSTANCE}"'
        for line in b"".join(render(collector.collect())).decode().splitlines():
            if line.startswith("#"):
                continue
            name = line[:end] if (end := line.find("{")) > 0 else line.partition(" ")[0]
            if self.wanted is not None and not {name, _SUFFIX.sub("", name)} & self.wanted:
                continue
            if segment < len(SEGMENTS) - 1 and _FINE_ONLY.match(line):
                continue
            rest = line[len(name) :]
            yield f"{name}{{{add},{rest[1:]} {at}\n" if rest.startswith("{") else f"{name}{{{add}}}{rest} {at}\n"


def keeping(events: Iterable[Known], from_ms: int, kept: "deque[Known]") -> Iterator[Known]:
    """Passes the events on, and keeps those from a time on."""
    for event in events:
        if event.at_ms >= from_ms:
            kept.append(event)
        yield event


# --- a file


class _Head(msgspec.Struct):
    at: int
    site_id: str


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """What a person asks for.

    Attributes:
        file: JSON lines, one event each, in the order of the log.
        prometheus_dir: Prometheus' data folder.
        policy: The workers' own.
        names: How people are called, as the workers do.
        days: At most so much of the newest past gets figures; what is before it only counts.
        partitions: Of the events topic.
        rules: Folder of the recording rules; None: those that come with labelwatch.
    """

    file: Path
    prometheus_dir: Path
    policy: Policy
    names: AgentNames
    days: float = 35.0
    partitions: int = 1
    rules: Path | None = None


def backfill(options: BackfillOptions, say: Callable[[str], None]) -> Past:
    """Writes what boards would have shown of a file's history into Prometheus' folder.

    Args:
        options: What is asked for.
        say: Is given lines on how far it is and what was written.

    Raises:
        CommandError: The file cannot be used, promtool is missing, or the folder cannot be written.
    """
    if shutil.which("promtool") is None:
        raise CommandError(
            "promtool is missing, which writes blocks for Prometheus: it comes with Prometheus; install that"
        )
    now_ms = time.time_ns() // 1_000_000
    events, begin_ms, end_ms = _extent(options.file, now_ms)
    begin_seconds = max(begin_ms, end_ms - int(options.days * 86_400_000)) / 1000
    rules = _rules(options.rules, say)
    say(
        f"{events:,} events, {_when(begin_ms / 1000)} to {_when(end_ms / 1000)}; figures from {_when(begin_seconds)} on"
    )
    try:
        options.prometheus_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".labelwatch-", dir=options.prometheus_dir.parent) as folder:
            scratch, blocks = Path(folder), Path(folder) / "blocks"
            blocks.mkdir()
            known = _known(options.file, now_ms)
            past = Past(
                known,
                begin_seconds,
                end_ms / 1000,
                options.policy,
                options.names,
                scratch,
                rules,
                options.partitions,
                say=say,
            )
            past.store(blocks)
            if rules:
                with Evaluator(blocks, scratch) as evaluator:
                    past.evaluate(blocks, evaluator.url, evaluator.restart)
            made = [block for block in blocks.iterdir() if (block / "meta.json").exists()]
            size = sum(file.stat().st_size for block in made for file in block.rglob("*") if file.is_file())
            for block in made:
                block.rename(options.prometheus_dir / block.name)
    except OSError as error:
        raise CommandError(
            f"{options.prometheus_dir} cannot be written: {error.strerror}; give --prometheus-dir, and run as its owner"
        ) from error
    say(f"{past.samples:,} samples in {len(made)} blocks, {size / 1e6:,.1f} MB, in {options.prometheus_dir}")
    return past


def _rules(folder: Path | None, say: Callable[[str], None]) -> list[Rule]:
    where = RULES if folder is None else folder
    rules = rules_in(where) if where.is_dir() else []
    if folder is not None and not rules:
        raise CommandError(
            f"--rules {folder}: no recording rules there; give the folder of the rules' .yml files", WRONG_USE
        )
    if not rules:
        say("no recording rules here: give --rules, or states, trends and sums over sites stay empty")
    elif shutil.which("prometheus") is None:
        say("prometheus is missing, which evaluates the recording rules: states, trends and sums over sites stay empty")
        return []
    return rules


def _extent(path: Path, now_ms: int) -> tuple[int, int, int]:
    """How many events a file has, the first time and the last."""
    events = begin_ms = end_ms = 0
    for event in _known(path, now_ms):
        if event.at_ms:
            begin_ms, end_ms = begin_ms or event.at_ms, event.at_ms
        events += 1
    if not end_ms:
        raise CommandError(f"{path}: no event in the file; give JSON lines, one event each", WRONG_USE)
    return events, begin_ms, end_ms


def _known(path: Path, now_ms: int) -> Iterator[Known]:
    """A file's events, each known from the highest event time up to it; what is ahead of now moves no clock."""
    decoder = msgspec.json.Decoder(_Head)
    clock_ms = 0
    try:
        with path.open("rb") as file:
            for number, line in json_lines(file, path):
                site = b""
                try:
                    head = decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    pass  # the engine says what is wrong with it
                else:
                    site = head.site_id.encode()
                    if head.at <= now_ms + AHEAD_MS:
                        clock_ms = max(clock_ms, head.at)
                yield Known(clock_ms, site, line, number)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the path of a file of JSON lines", WRONG_USE) from error


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
