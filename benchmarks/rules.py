"""What the rules cost: /metrics of 200 sites, 5 projects and 2 markets, scraped and evaluated by a real Prometheus.

Run: python -m benchmarks.rules    (needs the programs `prometheus` and `promtool`; takes four minutes)

The page is what a worker exports: engines that have read labels, reviews of every kind, changes of state. Every group
is evaluated at least each half minute, so that the slow ones show several rounds within the run; the day that some
rules look back on is there before the first one.
"""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import msgspec
import numpy as np
import yaml

from benchmarks.boards import COPIES, DAY, rule_groups
from schemas.events import STATES
from schemas.policy import Policy
from streams.engine.figures import Figures, PeopleFigures, SeriesColumn
from streams.engine.partition import PartitionEngine
from streams.exporter.collector import SitesCollector
from streams.exporter.pseudonyms import plain
from streams.exporter.state import MonitorState
from streams.exporter.text import render
from streams.runtime.worker import tune_collector
from streams.sources.sinks import partition_of
from tests.boards.history import backfill
from tests.boards.queries import seconds
from tests.boards.stage import ROOT, Prometheus
from tests.support.ports import free_port

SITES, PARTITIONS = 200, 4
PROJECTS = tuple(f"project-{number}" for number in range(5))
MARKETS = ("market-0", "market-1")
#: Reviews of each project and market, as `labelwatch simulate` makes them: role, source, sampling.
REVIEWS = (
    ("agent", "qa", "random"),
    ("agent", "qa", "stratified"),
    ("agent", "qa", "targeted"),
    ("agent", "gold", "random"),
    ("qa", "audit", "random"),
)
#: At least 30 in all of each role: every ratio is there.
REVIEWS_OF_A_KIND = 3
ERRORS = (
    ("missed_violation", "critical"),
    ("missed_violation", "major"),
    ("brand_confusion", "major"),
    ("wrong_category", "minor"),
)
#: Groups that come more seldom are evaluated so often here.
INTERVAL_SECONDS = 30
SECONDS = 150
COSTLIEST = 10
#: What a calm operation shows in place of chance: no rule has a reason to fire.
CALM = {
    "labelwatch_site_accuracy_ratio": 0.955,
    "labelwatch_site_accuracy_lower_ratio": 0.945,
    "labelwatch_site_accuracy_upper_ratio": 0.965,
    "labelwatch_site_utilization_ratio": 0.97,
    "labelwatch_site_labels": 10_000_000,
    "labelwatch_site_labels_per_productive_hour": 60.0,
    "labelwatch_clock_skew_seconds": 1,
    "labelwatch_policy_scope_missing": 0,
    "labelwatch_drift_active": 0,
}


class _Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes
    value: bytes


def events(site: str, now_ms: int) -> Iterator[dict[str, Any]]:
    """Half an hour of a site that works on every project in every market; its people name no project with a state."""
    at = now_ms - 1_800_000
    for number, state in enumerate(STATES):
        for role, person in (("agent", "a"), ("qa", "q")):
            who = {"site_id": site, "agent_id": f"{person}-{number}"}
            yield {"type": "agent_profiled", "at": at, **who, "role": role}
            for step, other in enumerate((*STATES, state)):
                yield {"type": "state_changed", "at": at + 60_000 * step, **who, "state": other}
    for project in PROJECTS:
        for market in MARKETS:
            work: dict[str, object] = {
                "site_id": site,
                "agent_id": "a-0",
                "project_id": project,
                "market": market,
                "sop_version": "v3",
            }
            yield {"type": "label_submitted", "at": at + 1_200_000, **work, "task_id": "t", "handle_ms": 30_000}
            for role, source, sampling in REVIEWS:
                reviewed = {**work, "task_id": "t", "role": role, "source": source, "sampling": sampling}
                reviewed |= {"correct": True, "labeled_at": at}
                if role == "qa":
                    reviewed |= {"agent_id": "q-0", "verdict": True}
                for _ in range(REVIEWS_OF_A_KIND):
                    yield {"type": "label_reviewed", "at": at + 1_500_000, **reviewed}
        for kind, severity in ERRORS:
            wrong = {**work, "task_id": "t", "source": "qa", "sampling": "random", "correct": False}
            yield {"type": "label_reviewed", "at": at + 1_500_000, **wrong, "error_type": kind, "severity": severity}


class _Calmed:
    """An engine whose figures give no rule a reason to fire."""

    def __init__(self, engine: PartitionEngine) -> None:
        self._engine = engine

    @property
    def clock_ms(self) -> int:
        return self._engine.clock_ms

    def figures(self, at_ms: int) -> Figures:
        said = self._engine.figures(at_ms)
        for name, value in CALM.items():
            if name in said.rows:
                said.rows[name] = [(labels, value) for labels, _ in said.rows[name]]
            if name in said.columns:
                said.columns[name] = [
                    SeriesColumn(labels, rows, np.full(len(rows), value)) for labels, rows, _ in said.columns[name]
                ]
        return said

    def people(self, at_ms: int) -> PeopleFigures:
        return self._engine.people(at_ms)


def engine_of(number: int, now_ms: int) -> PartitionEngine:
    """The engine of a partition that has read half an hour of its sites."""
    engine = PartitionEngine(number, Policy.load(ROOT / "policy.toml"), partitions=PARTITIONS)
    sites = [f"site-{site}" for site in range(SITES) if partition_of(f"site-{site}".encode(), PARTITIONS) == number]
    made = ((site, event) for site in sites for event in events(site, now_ms))
    engine.apply(
        [
            _Record(offset, now_ms, site.encode(), msgspec.json.encode({"event_id": str(offset), **event}))
            for offset, (site, event) in enumerate(made)
        ]
    )
    engine.committed(engine.checkpoint())
    return engine


def worker() -> SitesCollector:
    """A worker that owns every partition."""
    state = MonitorState()
    state.assign(range(PARTITIONS), PARTITIONS)
    for number in range(PARTITIONS):
        state.restored(number, _Calmed(engine_of(number, time.time_ns() // 1_000_000)))
        state.caught_up(number)
        state.lag(number, 0, 0.0)
        state.committed(number, 0.02)
    state.prove_membership(float("inf"))
    return SitesCollector(state, plain)


class _Page(BaseHTTPRequestHandler):
    page = b""

    def do_GET(self) -> None:
        body = self.page if self.path == "/metrics" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def shipped() -> dict[str, float]:
    """The interval of each group as shipped, in seconds."""
    return {group["name"]: seconds(group["interval"]) for group in rule_groups()}


def slow_down(folder: Path) -> None:
    """Gives the rules in a folder their own texts and intervals again, none longer than a round of this run."""
    for file in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        rules = yaml.safe_load(file.read_text("utf-8"))
        for group in rules["groups"]:
            group["interval"] = f"{min(int(seconds(group['interval'])), INTERVAL_SECONDS)}s"
        (folder / "rules" / file.name).write_text(yaml.safe_dump(rules, allow_unicode=True), "utf-8")


def remember(prometheus: Prometheus) -> int:
    """What rules look back on, as it is now: selector, seconds from and to, step; returns the samples written."""
    now = time.time()
    spans = [("labelwatch_drift_active", 900, 400, 5), ("site:labelwatch_active_agents:max", 4_500, 0, 30)]
    for window in ("15m", "7d"):
        spans += [(f'labelwatch_site_labels{{window="{window}"}}', ago + 900, ago - 900, 60) for ago in (DAY, 7 * DAY)]
    names = prometheus.ask("label/__name__/values")
    spans += [(name, DAY, 0, 300) for name in names if name.endswith(COPIES)]
    written = 0
    for selector, begin, end, step in spans:
        found = prometheus.ask("query", query=selector)["result"]
        page = "\n".join(f"{_series(each['metric'])} {each['value'][1]}" for each in found)
        written += backfill(prometheus.folder / "data", [("", "", page)], now, range(begin, end, -step))
    prometheus.restart()
    return written


def _series(metric: dict[str, str]) -> str:
    labels = (f"{name}={json.dumps(value)}" for name, value in metric.items() if name != "__name__")
    return f"{metric['__name__']}{{{','.join(labels)}}}"


def watch(prometheus: Prometheus) -> tuple[dict[str, list[float]], dict[tuple[str, str], list[float]]]:
    """Milliseconds of each evaluation of every group and of every rule."""
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    rules: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for group in prometheus.ask("rules")["groups"]:
            groups[group["name"]][group["lastEvaluation"]] = group["evaluationTime"] * 1e3
            for number, rule in enumerate(group["rules"]):
                name = f"{number} {rule['name']}"
                rules[group["name"], name][rule["lastEvaluation"]] = rule["evaluationTime"] * 1e3
        time.sleep(2)
    none = "0001-01-01T00:00:00Z"
    return (
        {name: [value for at, value in of.items() if at != none] for name, of in groups.items()},
        {name: [value for at, value in of.items() if at != none] for name, of in rules.items()},
    )


def main() -> None:
    """Prints the time of a page, of a scrape, of each rule group and of the costliest rules."""
    tune_collector()
    collector = worker()
    took = []
    for _ in range(9):
        began = time.perf_counter()
        _Page.page = b"".join(render(collector.collect()))
        took.append(time.perf_counter() - began)
    lines = [line for line in _Page.page.decode().splitlines() if not line.startswith("#")]
    took_ms = statistics.median(took) * 1e3
    print(f"/metrics, {SITES} sites, 5 projects, 2 markets: {len(lines):,} series, {took_ms:.0f} ms")
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), _Page)
    Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        prometheus = Prometheus(Path(name), [f"127.0.0.1:{server.server_port}"])
        slow_down(Path(name))
        with prometheus:
            time.sleep(INTERVAL_SECONDS + 10)
            print(f"{remember(prometheus):,} samples of a day")
            cpu, began = prometheus.cpu_seconds(), time.monotonic()
            groups, rules = watch(prometheus)
            cores = (prometheus.cpu_seconds() - cpu) / (time.monotonic() - began)
            scrape = prometheus.value('max(scrape_duration_seconds{job="labelwatch"})')
    server.shutdown()
    print(f"scrape: {scrape * 1e3:.0f} ms; Prometheus in all: {cores:.2f} of a core")
    print("| group | every | one evaluation, ms | load, ms a second |\n|---|---:|---:|---:|")
    every, total, load = shipped(), 0.0, 0.0
    for name_, values in groups.items():
        milliseconds = statistics.median(values)
        total, load = total + milliseconds, load + milliseconds / every[name_]
        print(f"| {name_} | {every[name_]:.0f} s | {milliseconds:.1f} | {milliseconds / every[name_]:.2f} |")
    print(f"| all | | {total:.0f} | {load:.1f} |\n\nthe costliest rules:")
    costs = {of: statistics.median(values) for of, values in rules.items()}
    for (group, rule), milliseconds in sorted(costs.items(), key=lambda each: -each[1])[:COSTLIEST]:
        print(f"  {milliseconds:6.1f} ms  {group}  {rule}")


if __name__ == "__main__":
    main()
