"""What the boards' queries cost: 7 days of 20 sites and 2,000 agents in a real Prometheus, every query of each board.

Run: python -m benchmarks.boards            (prints the table of docs/boards.md)
     python -m benchmarks.boards --each     (each query too, the slowest first)
     python -m benchmarks.boards --hold     (keeps that Prometheus for `labelwatch boards preview` until Enter)

The pages of half a simulated day, made by the worker's own engine and exporter, are written into the past with a day's
rhythm; what rules record is asked of the same Prometheus for all of those days. Needs `prometheus` and `promtool`.
"""

import argparse
import itertools
import json
import math
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.exporter import _Given, showing
from schemas.policy import Policy
from schemas.topics import EVENTS
from streams.engine.figures import Figures
from streams.exporter.collector import PeopleCollector, SitesCollector
from streams.exporter.pseudonyms import plain
from streams.exporter.text import render
from streams.ops.compute import compute
from streams.sources.simulation_run import SimulationOptions, run_simulation
from tests.boards import queries
from tests.boards.history import backfill, store
from tests.boards.stage import ROOT, Prometheus

SITES, DAYS = 20, 7
#: Events a second: as many people as it takes. A third of them works at a time, five sixths are seen in half a day.
RATE = 18
#: From sample to sample, seconds. Prometheus scrapes far more often; to write that many would take hours.
SITE_STEP, PERSON_STEP = 1800, 3600
ROUNDS = 5
DAY = 86_400
#: Names of rules that copy counters end so.
COPIES = ("_total:max", "_bucket:max", "_sum:max", "_count:max")
#: Of people, what boards look at over time; the rest they ask of now alone.
PERSON_LINES = ("accuracy_ratio", "below_target_probability", "labels_per_productive_hour")
#: What does not move with the hour of the day.
STILL = (
    "target",
    "policy",
    "info",
    "timestamp",
    "drift",
    "partition_owned",
    "topic_partitions",
    "lag",
    "ready",
    "_bucket",
    "_sum",
    "_count",
)


def pages(folder: Path) -> tuple[str, str, int, int]:
    """The two pages of an operation whose one site has dipped today; and how many agents and reviewers it has."""
    out = folder / "events.jsonl"
    run_simulation(
        SimulationOptions(
            "site-dip",
            rate=RATE,
            seconds=1,
            history_seconds=DAY // 2,
            change_seconds=-DAY // 8,
            sites=SITES,
            points=0.2,
            out=out,
        )
    )
    done = compute(out, Policy.load(ROOT / "policy.toml"))
    out.unlink()
    process(done.figures)
    state = showing(_Given(done.figures, done.people))
    state.lag(0, 0, 0.4)
    state.committed(0, 0.02)
    sites = b"".join(render(SitesCollector(state, plain).collect())).decode()
    people = b"".join(render(PeopleCollector(state, plain).collect())).decode()
    roles = Counter(role for group in done.people.groups for _, _, *more in group.labels for role in more)
    return sites, people, roles["agent"], roles["qa"]


def process(figures: Figures) -> None:
    """What the file does not know: it had no broker."""
    for reason in ("schema", "json"):
        figures.add("labelwatch_rejected_total", (reason, EVENTS, "0"), 40)


def asked_for() -> set[str]:
    """Names of the series that boards and rules name."""
    texts = [asked.expr for board in queries.boards().values() for asked in queries.queries(board)]
    texts += [path.read_text("utf-8") for path in (ROOT / "prometheus" / "rules").glob("*.yml")]
    return set(itertools.chain.from_iterable(queries.names(text) for text in texts))


def past(name: str, labels: str, value: float, ago: float) -> tuple[str, float] | None:
    """A day's rhythm, each site at hours of its own; drifts are half a day old."""
    if name.startswith("labelwatch_drift_") and ago > DAY / 2:
        return None
    person = name.startswith(("labelwatch_agent_", "labelwatch_reviewer_"))
    if person and ago > PERSON_STEP and not (name.endswith(PERSON_LINES) and 'window="7d"' in labels):
        return None
    if name.endswith("_total") or any(word in name for word in STILL):
        return labels, value
    site = labels.partition('site="')[2].partition('"')[0]
    wave = math.sin(2 * math.pi * (time.time() - ago) / DAY + zlib.crc32(site.encode()) % 100 / 16)
    jitter = math.sin(ago / 977 + zlib.crc32(labels.encode()) % 1000)
    if name.endswith("ratio"):
        return labels, min(1.0, value * (1 + 0.008 * wave + 0.004 * jitter))
    return labels, max(0.0, round(value * (0.75 + 0.25 * wave + 0.03 * jitter), 2))


def fill(folder: Path, now: float) -> tuple[int, int, int]:
    """Writes the seven days; returns samples, agents and reviewers."""
    sites, people, agents, reviewers = pages(folder)
    names = asked_for()
    keep = "\n".join(line for line in sites.splitlines() if line.partition("{")[0].partition(" ")[0] in names)
    written = 0
    for page, job, step in ((keep, "labelwatch", SITE_STEP), (people, "labelwatch-agents", PERSON_STEP)):
        ages = range(DAYS * DAY, 0, -step)
        written += backfill(folder / "prometheus" / "data", [(job, "worker-1:9464", page)], now, ages, past)
    return written, agents, reviewers


def rule_groups() -> list[dict[str, Any]]:
    """The rule groups as shipped, file by file."""
    files = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]


def record(prometheus: Prometheus, folder: Path, now: float) -> None:
    """What the rules would have recorded: counters at the rules' own interval, the rest at the step of the sites."""
    recorded = [(group, rule) for group in rule_groups() for rule in group["rules"] if "record" in rule]

    def lines(done: set[str]) -> Iterator[str]:
        for group, rule in recorded:
            if rule["record"] in done:
                continue
            is_counter = rule["record"].endswith(COPIES)
            step = queries.seconds(group["interval"]) if is_counter else SITE_STEP
            for start in range(DAYS):
                span = {"start": now - (DAYS - start) * DAY, "end": now - (DAYS - start - 1) * DAY - 1, "step": step}
                for series in prometheus.ask("query_range", query=rule["expr"], **span)["result"]:
                    done.add(rule["record"])
                    labels = (
                        f"{name}={json.dumps(value)}" for name, value in series["metric"].items() if name != "__name__"
                    )
                    of = f"{rule['record']}{{{','.join(labels)}}}"
                    for at, value in series["values"]:
                        yield f"{of} {value} {at:.3f}\n"

    done: set[str] = set()
    for _ in range(3):  # rules upon rules upon rules
        store(folder / "prometheus" / "data", lines(done))
        prometheus.restart()


def measure(prometheus: Prometheus, since: str | None) -> dict[str, tuple[dict[str, float], float]]:
    """By board: seconds of each query, and CPU seconds of Prometheus for all of them; the quicker round."""
    now = time.time()
    rounds: dict[str, list[tuple[dict[str, float], float]]] = {}
    # Round upon round of all boards, so that a busy moment of the machine spoils one round of a board and not all.
    for _ in range(ROUNDS):
        for uid, board in queries.boards().items():
            if uid.endswith("-zh"):
                continue
            if since:
                board["time"]["from"] = since
            values = queries.variables(board, prometheus, concrete=False, prefer="manila-1")
            took, cpu = {}, prometheus.cpu_seconds()
            for asked in queries.queries(board):
                began = time.perf_counter()
                queries.run(asked, values, board, prometheus, now)
                took[asked.where] = time.perf_counter() - began
            rounds.setdefault(uid, []).append((took, prometheus.cpu_seconds() - cpu))
    return {uid: min(of_board, key=lambda each: sum(each[0].values())) for uid, of_board in rounds.items()}


def main() -> None:
    """Prints a table for each time range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", action="store_true", help="print each query")
    parser.add_argument("--hold", action="store_true", help="keep Prometheus until Enter")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, now, began = Path(name), time.time(), time.monotonic()
        written, agents, reviewers = fill(folder, now)
        # Nothing answers at the worker's address: what was written is all there is.
        with Prometheus(
            folder / "prometheus", [], options=[f"--query.lookback-delta={PERSON_STEP + 60}s"]
        ) as prometheus:
            record(prometheus, folder, now)
            took = time.monotonic() - began
            people = f"{agents:,} agents, {reviewers:,} reviewers"
            print(f"{SITES} sites, {people}, {DAYS} days, {written:,} samples written in {took:.0f} s")
            for title, since in (("the boards' own range", None), ("7 days", f"now-{DAYS}d")):
                costs = measure(prometheus, since)
                print(f"\n| board, {title} | queries | all together | CPU time | slowest |\n|---|---:|---:|---:|---|")
                for uid, (queried, cpu) in costs.items():
                    slowest = max(queried, key=lambda where: queried[where])
                    together = f"{len(queried)} | {sum(queried.values()):.2f} s | {cpu:.2f} s"
                    print(f"| `{uid}` | {together} | {slowest}, {queried[slowest]:.2f} s |")
                if options.each:
                    for uid, (queried, _) in costs.items():
                        print(f"\n{uid}, {title}")
                        for where, seconds in sorted(queried.items(), key=lambda each: -each[1]):
                            print(f"  {seconds * 1e3:7.1f} ms  {where}")
            if options.hold:
                input(f"\n{prometheus.url} is yours until Enter. ")


if __name__ == "__main__":
    main()
