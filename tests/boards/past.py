"""Weeks of figures for a Prometheus in minutes: the engine over simulated events, its pages at past times, the rules.

What a worker would have shown is asked of the same engine and exporter, step by step, and stored as blocks. The
recording rules are then evaluated over it, each after those that it uses.
"""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from schemas.metrics import METRICS
from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from streams.exporter import MonitorState
from streams.exporter.collector import PeopleCollector, SitesCollector
from streams.exporter.pseudonyms import AgentNames
from streams.exporter.text import render
from streams.sources.simulate import Operation, Sent, Simulation
from streams.sources.sinks import partition_of

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
#: From how long before the end on there are figures how often. A graph's steps are round, and the longer its time range
#: the longer they are: each finds a figure at its very moment, or one less than five minutes old.
SEGMENTS = ((float("inf"), 3600), (8 * 86_400.0, 600), (25 * 3600.0, 60))
#: People's pages are large; theirs come each so often, and in the last segment alone.
PEOPLE_SECONDS = 240
#: Of no use to trends: windows by project and market, and the policy's targets for each of them.
_FINE_ONLY = re.compile(r'labelwatch_(labels|reviews|correct_reviews)_window\b|.*(target|policy).*project="[^"]')
#: A block each, so that promtool reads every file once.
BLOCK_HOURS = 18
_RECORDS = 5_000
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
#: A worker that is gone when the live ones begin: its counters do not go on in theirs.
_INSTANCE = "past:9464"


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


def rules(wanted: set[str]) -> list[Rule]:
    """The recording rules that some names need, with those that these need."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    found[rule["record"]] = rule["expr"]

    def uses(name: str) -> set[str]:
        return {word for word in _NAME.findall(found[name]) if word in found and word != name}

    def level(name: str) -> int:
        return 1 + max(map(level, uses(name)), default=0)

    needed, todo = set(), [name for name in found if name in wanted]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += uses(name)
    return [Rule(name, found[name], level(name)) for name in found if name in needed]


def names_in(folder: Path) -> set[str]:
    """Every name in the boards of a folder, metrics and rules among them."""
    return set(_NAME.findall(" ".join(file.read_text("utf-8") for file in folder.rglob("*.json"))))


class Past:
    """Writes the past of an operation into a Prometheus' folder of data.

    Args:
        simulation: The operation; a live part may follow it.
        policy: The workers' own.
        names: Pseudonyms of people; as the live workers make them.
        wanted: Names of metrics and rules that matter; the others are left out.
        scratch: A folder for the texts that promtool reads.
        say: Told how far it is.
    """

    def __init__(
        self,
        simulation: Simulation,
        policy: Policy,
        names: AgentNames,
        wanted: set[str],
        scratch: Path,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._simulation = simulation
        self._rules = rules(wanted)
        used = wanted | {word for rule in self._rules for word in _NAME.findall(rule.expr)}
        self._metrics = {name for name in METRICS if any(_SUFFIX.sub("", word) == name for word in used)}
        self._began_ms = self._end_ms = time.time_ns() // 1_000_000
        self._policy, self._names, self._scratch, self._say = policy, names, scratch, say

    def store(self, data: Path, kept_seconds: float) -> tuple[Sequence[Sent], Iterator[Sent]]:
        """Writes blocks up to now.

        Args:
            data: Where to.
            kept_seconds: How much of the newest past live workers are to read.

        Returns:
            The events of that past, and those that come after it.
        """
        kept: deque[Sent] = deque()
        events = iter(Operation(self._simulation))
        from_ms = self._began_ms - int(kept_seconds * 1000)

        def seen() -> Iterator[Sent]:
            for event in events:
                if event.due_ms >= from_ms:
                    kept.append(event)
                yield event

        source = seen()
        with _Blocks(self._scratch, data) as blocks:
            for at_seconds, lines in self._pages(source):
                blocks.write(at_seconds, lines)
                self._end_ms = at_seconds * 1000
        return kept, events

    def evaluate(self, data: Path, url: str, restart: Callable[[Callable[[], None]], None]) -> None:
        """Evaluates the rules over what is stored, each level with the results of the one before.

        Args:
            data: Where to.
            url: The address of the Prometheus that has the past.
            restart: Stops Prometheus, calls what it is given, and starts it again.
        """
        spans = self._spans(self._end_ms / 1000)
        for level in sorted({rule.level for rule in self._rules}):
            found: dict[int, list[str]] = {}
            for rule in self._rules:
                if rule.level != level:
                    continue
                for begin, end, step in spans:
                    for series in _ask(url, rule.expr, begin, end, step):
                        labels = {key: value for key, value in series["metric"].items() if key != "__name__"}
                        head = rule.name + "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}"
                        for at, value in series["values"]:
                            found.setdefault(int(at), []).append(f"{head} {value} {int(at)}\n")

            def add(found: dict[int, list[str]] = found) -> None:
                with _Blocks(self._scratch, data) as blocks:
                    for at in sorted(found):
                        blocks.write(at, found[at])

            restart(add)
            self._say(f"rules of level {level}: {sum(map(len, found.values())):,} samples")

    def _spans(self, end: float) -> list[tuple[int, int, int]]:
        """Begin, end and step of each segment, seconds, at whole steps."""
        begins = [max(self._simulation.start_ms / 1000, self._began_ms / 1000 - before) for before, _ in SEGMENTS]
        return [
            (int(begin // step + 1) * step, int(stop), step)
            for begin, stop, (_, step) in zip(begins, [*begins[1:], end], SEGMENTS, strict=True)
            if stop > begin
        ]

    def _steps(self) -> Iterator[tuple[int, bool]]:
        """Moments up to now, epoch seconds, and whether they are of the last segment; now goes on meanwhile."""
        *spans, (begin, _, step) = self._spans(self._began_ms / 1000)
        for span in spans:
            yield from ((at, False) for at in range(*span))
        while begin < time.time():
            yield begin, True
            begin += step

    def _pages(self, events: Iterator[Sent]) -> Iterator[tuple[int, list[str]]]:
        engines = [PartitionEngine(number, self._policy) for number in range(PARTITIONS)]
        now_ms = self._simulation.start_ms
        state = MonitorState(now_ms=lambda: now_ms)
        state.assign(range(PARTITIONS), PARTITIONS)
        for number, engine in enumerate(engines):
            state.restored(number, engine)
            state.caught_up(number)
        state.prove_membership(float("inf"))
        sites, people = SitesCollector(state, self._names), PeopleCollector(state, self._names)
        event = next(events, None)
        offsets = [0] * PARTITIONS
        partitions: dict[str, int] = {}
        for count, (at, is_fine) in enumerate(self._steps()):
            now_ms = at * 1000
            batches: list[list[_Record]] = [[] for _ in engines]
            while event is not None and event.due_ms < now_ms:
                key = event.site_id.encode()
                number = partitions.setdefault(event.site_id, partition_of(key, PARTITIONS))
                batches[number].append(_Record(offsets[number], event.due_ms, key, event.value))
                offsets[number] += 1
                event = next(events, None)
            for number, (engine, batch) in enumerate(zip(engines, batches, strict=True)):
                for begin in range(0, len(batch), _RECORDS):
                    engine.apply(batch[begin : begin + _RECORDS])
                engine.committed(engine.checkpoint())
                state.lag(number, 0, 0.0)
                state.figures_lag(number, 0.0)
                state.committed(number, 0.05)
            state.loop_turned()
            lines = [f'up{{job="labelwatch",instance="{_INSTANCE}"}} 1 {at}\n']
            lines += self._lines("labelwatch", sites, at, is_fine)
            if is_fine and at % PEOPLE_SECONDS == 0:
                lines += self._lines("labelwatch-agents", people, at, is_fine)
            yield at, lines
            if count % 250 == 0:
                self._say(f"{count:,} moments, {sum(offsets):,} events, to {time.ctime(at)}")

    def _lines(self, job: str, collector: Any, at: int, is_fine: bool) -> Iterator[str]:
        add = f'job="{job}",instance="{_INSTANCE}"'
        for line in b"".join(render(collector.collect())).decode().splitlines():
            name = line[:end] if (end := line.find("{")) > 0 else line.partition(" ")[0]
            if _SUFFIX.sub("", name) not in self._metrics and name not in self._metrics:
                continue
            if not is_fine and _FINE_ONLY.match(line):
                continue
            rest = line[len(name) :]
            yield f"{name}{{{add},{rest[1:]} {at}\n" if rest.startswith("{") else f"{name}{{{add}}}{rest} {at}\n"


class _Blocks:
    """Samples in the order of time, to blocks of a Prometheus."""

    def __init__(self, scratch: Path, data: Path) -> None:
        self._path, self._data = scratch / "past.txt", data
        self._block: int | None = None
        self._file: Any = None

    def __enter__(self) -> "_Blocks":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, at: int, lines: Sequence[str] | Iterator[str]) -> None:
        block = at // (BLOCK_HOURS * 3600)
        if block != self._block:
            self._close()
            self._block, self._file = block, self._path.open("w", encoding="utf-8")
        self._file.writelines(lines)

    def _close(self) -> None:
        if self._file is None:
            return
        self._file.write("# EOF\n")
        self._file.close()
        self._file = None
        command = ["promtool", "tsdb", "create-blocks-from", f"--max-block-duration={BLOCK_HOURS}h", "openmetrics"]
        subprocess.run([*command, "--quiet", str(self._path), str(self._data)], check=True, stdout=subprocess.DEVNULL)
        self._path.unlink()


def _ask(url: str, expr: str, start: int, end: int, step: int) -> list[dict[str, Any]]:
    if end <= start:
        return []
    body = urllib.parse.urlencode({"query": expr, "start": start, "end": end, "step": step}).encode()
    with urllib.request.urlopen(f"{url}/api/v1/query_range", body, timeout=300) as response:
        return list(json.load(response)["data"]["result"])
