"""What a scrape costs: text of ours beside prometheus_client's, in one run, with the event loop's worst gap.

Run: python -m benchmarks.exporter
"""

import asyncio
import gc
import itertools
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from schemas.events import STATES
from schemas.metrics import METRICS, SITE_WINDOWS, WINDOWS
from streams.engine.figures import Figures, LabelValues, PeopleFigures, PeopleGroup
from streams.exporter.collector import PeopleCollector, SitesCollector
from streams.exporter.pseudonyms import Pseudonyms
from streams.exporter.state import Engine, MonitorState
from streams.exporter.text import render

ROUNDS = 5


class _Given:
    """An engine that has its figures already, so that only the exporter is measured."""

    clock_ms = 0

    def __init__(self, figures: Figures | None = None, people: PeopleFigures | None = None) -> None:
        self._figures = figures or Figures()
        self._people = people or PeopleFigures()

    def figures(self, at_ms: int) -> Figures:
        return self._figures

    def people(self, at_ms: int) -> PeopleFigures:
        return self._people


def showing(engine: Engine) -> MonitorState:
    """A state in which the engine is shown."""
    state = MonitorState()
    state.assign([0], 1)
    state.restored(0, engine)
    state.caught_up(0)
    state.prove_membership(float("inf"))
    return state


def people(series: int) -> PeopleFigures:
    """Agents with nine metrics in three windows, 27 series each."""
    random = np.random.default_rng(1)
    names = [name for name in METRICS if name.startswith("labelwatch_agent_")]
    keys = list(itertools.product(names, WINDOWS))
    rows = series // len(keys)
    counts = {"labelwatch_agent_reviews", "labelwatch_agent_labels"}
    columns = {
        key: random.integers(0, 5_000, rows).astype(float) if key[0] in counts else random.random(rows) for key in keys
    }
    labels: list[LabelValues] = [(f"site-{i % 50}", f"agent-{i:06}", "agent") for i in range(rows)]
    return PeopleFigures([PeopleGroup(labels, columns, random.random(rows))])


def sites(count: int = 200, projects: int = 5, markets: int = 2) -> Figures:
    """Every site metric of sites that all work on every project in every market."""
    random = np.random.default_rng(2)
    figures = Figures()
    values: dict[str, list[str]] = {
        "site": [f"site-{i}" for i in range(count)],
        "project": [f"project-{i}" for i in range(projects)],
        "market": [f"market-{i}" for i in range(markets)],
        "role": ["agent"],
        "source": ["qa", "gold"],
        "sampling": ["random", "targeted"],
        "headline": ["true"],
        "state": list(STATES),
    }
    for metric in METRICS.values():
        of_site = metric.name.startswith("labelwatch_site_")
        if "agent" in metric.labels or not (of_site or metric.labels[:2] == ("site", "project")):
            continue
        windows = SITE_WINDOWS if of_site else WINDOWS
        choices = [list(windows) if label == "window" else values.get(label, ["x"]) for label in metric.labels]
        if metric.name == "labelwatch_state_seconds_window":
            # A state is no work on a market.
            choices[metric.labels.index("market")] = [""]
        for labels in itertools.product(*choices):
            if metric.buckets:
                counts = random.integers(0, 99, len(metric.buckets) + 1).tolist()
                figures.histograms.setdefault(metric.name, []).append((labels, counts, 1234.5))
            elif metric.unit == "ratio":
                figures.add(metric.name, labels, float(random.random()))
            else:
                figures.add(metric.name, labels, int(random.integers(1, 100_000)))
    return figures


async def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Runs work in a thread beside a ticker of 1 ms.

    Returns:
        Seconds of the work; the ticker's worst delay in seconds.
    """
    worst, ended = 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal worst
        while not ended.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before - 0.001)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    worst, started = 0.0, time.perf_counter()
    await asyncio.to_thread(work)
    took = time.perf_counter() - started
    ended.set()
    await ticker
    return took, worst


def show(title: str, ways: Mapping[str, Callable[[], object]]) -> None:
    """Prints medians of interleaved rounds; each way warms up once."""
    runs: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            gc.collect()
            runs[name].append(asyncio.run(measured(way)))
    print(title)
    slowest = max(statistics.median(seconds for seconds, _ in of_way) for of_way in runs.values())
    for name, of_way in runs.items():
        seconds = statistics.median(seconds for seconds, _ in of_way)
        gap = max(gap for _, gap in of_way)
        print(f"  {name:<34} {seconds * 1e3:7.1f} ms  {slowest / seconds:5.1f} x  worst loop gap {gap * 1e3:5.1f} ms")


class _Client:
    """The same page as an ordinary prometheus_client collector: names and label values at hand, families anew."""

    def __init__(self, collector: SitesCollector | PeopleCollector) -> None:
        self._metrics = [
            (family.name, family.documentation, family.type, family.samples) for family in collector.collect()
        ]

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for name, documentation, kind, samples in self._metrics:
            family = Metric(name, documentation, kind)
            for sample in samples:
                family.add_sample(sample.name, dict(sample.labels), sample.value)
            yield family


def compare(title: str, collector: SitesCollector | PeopleCollector) -> None:
    """One page by both renderers, which must agree to the byte."""
    registry = CollectorRegistry()
    registry.register(_Client(collector))
    page = b"".join(render(collector.collect()))
    if page != generate_latest(registry):
        raise SystemExit(f"{title}: the renderers differ")
    lines = sum(not line.startswith(b"#") for line in page.splitlines())

    def zipped() -> bytes:
        packer = zlib.compressobj(1, wbits=31)
        return b"".join(map(packer.compress, render(collector.collect()))) + packer.flush()

    ways = {
        "prometheus_client.generate_latest": lambda: generate_latest(registry),
        "labelwatch": lambda: render(collector.collect()),
        "labelwatch, gzip level 1": zipped,
    }
    show(f"{title}: {lines:,} series, {len(page) / 1e6:.1f} MB, {len(zipped()) / 1e6:.2f} MB zipped", ways)


def main() -> None:
    """Prints the tables."""
    names = Pseudonyms(b"benchmark benchmark")
    compare("/metrics/agents", PeopleCollector(showing(_Given(people=people(100_000))), names))
    compare("/metrics, 200 sites, 5 projects, 2 markets", SitesCollector(showing(_Given(figures=sites())), names))
    many = people(2_700_000)
    capped = PeopleCollector(showing(_Given(people=many)), names)
    show(
        "/metrics/agents, 100,000 people of 2.7 million series, capped at 200,000",
        {"labelwatch": lambda: render(capped.collect())},
    )


if __name__ == "__main__":
    main()
