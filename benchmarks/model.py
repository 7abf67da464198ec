"""The paper model of docs/scaling.md: what 1,000 to a million people need, from what the benchmarks measured.

Run: python -m benchmarks.model [--write]
"""

import json
import math
import sys
from dataclasses import dataclass
from itertools import pairwise

from benchmarks import document
from benchmarks.people import EVENTS_AN_HOUR
from streams.engine.parts import PEOPLE_MAX
from streams.exporter.collector import MAX_SERIES

PEOPLE = (1_000, 100_000, 1_000_000)
#: Share of all people who work at the busiest time, and on average over a day of three shifts.
AT_PEAK, ON_AVERAGE = 0.5, 1 / 3
PEOPLE_A_SITE = 2_000
EVENT_BYTES = 340
RETENTION_DAYS = 35
REPLICAS = 3
#: A worker is to run at no more than this share of what it can: the p99 holds there, and an hour's lag is gone in one.
LOAD = 0.5
#: Series of a site with five projects in two markets, and of an agent in three windows.
SERIES_A_SITE, SERIES_AN_AGENT = 810, 27
#: As prometheus.yml has them.
SITES_SCRAPE_SECONDS, AGENTS_SCRAPE_SECONDS = 5, 60
#: Bytes of a sample in Prometheus' blocks, and of a series in its head.
SAMPLE_BYTES, SERIES_BYTES = 1.5, 3_000
#: Dollars a month: a core, a GB of memory, a GB of disk; what clouds ask, to the order of magnitude.
CORE, MEMORY_GB, DISK_GB = 25.0, 3.5, 0.1


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """What the model takes from the runs.

    Attributes:
        rate: Events a second of one worker.
        resident: Bytes of a worker without people, and of each one more.
        checkpoint: Bytes a day of checkpoints for each person at work around the clock.
    """

    rate: float
    resident: tuple[float, float]
    checkpoint: float

    @classmethod
    def read(cls) -> "MeasuredCosts":
        """From docs/benchmarks.json, which the benchmarks write.

        Raises:
            OSError, KeyError: They have not been run with --write yet.
        """
        numbers = json.loads(document.NUMBERS.read_text("utf-8"))
        scales = [each for each in numbers["people"] if each["people"] <= 2 * PEOPLE_MAX]
        slopes = [
            (large["resident"] - small["resident"]) / (large["people"] - small["people"])
            for small, large in pairwise(scales)
        ]
        largest = scales[-1]
        checkpoint = 2 * largest["checkpoint"] * 86_400 / 5 / largest["people"]
        base = scales[0]["resident"] - slopes[-1] * scales[0]["people"]
        return cls(numbers["throughput"]["labelwatch"]["events_per_second"], (base, slopes[-1]), checkpoint)


def plan(people: int, measured: MeasuredCosts) -> dict[str, str]:
    """What so many people need, as cells of the table."""
    sites = max(math.ceil(people / PEOPLE_A_SITE), 1)
    peak = people * AT_PEAK * EVENTS_AN_HOUR / 3600
    a_day = people * ON_AVERAGE * EVENTS_AN_HOUR * 24
    base, each = measured.resident
    # A partition names PEOPLE_MAX people; half of that leaves room for sites of unequal size.
    partitions = max(4, 2 ** math.ceil(math.log2(2 * people / PEOPLE_MAX)))
    by_load = math.ceil(peak / (LOAD * measured.rate))
    by_memory = math.ceil(people * each / 2e9)
    workers = max(2, by_load, by_memory)
    memory = workers * base + people * each
    events_gb = a_day * EVENT_BYTES * RETENTION_DAYS * REPLICAS / 1e9
    checkpoints_gb = measured.checkpoint * people * ON_AVERAGE / 1e9
    agents = min(people * SERIES_AN_AGENT, workers * MAX_SERIES)
    samples = sites * SERIES_A_SITE / SITES_SCRAPE_SECONDS + agents / AGENTS_SCRAPE_SECONDS
    prometheus_gb = (sites * SERIES_A_SITE + agents) * SERIES_BYTES / 1e9
    brokers = 3
    cost = (
        (workers + brokers * 2 + 2) * CORE
        + (memory / 1e9 + brokers * 8 + prometheus_gb + 2) * MEMORY_GB
        + (events_gb + samples * SAMPLE_BYTES * 86_400 * 30 / 1e9) * DISK_GB
    )
    limit = "two workers are for availability" if workers == 2 else "memory" if by_memory >= by_load else "CPU"
    return {
        "sites": f"{sites:,}",
        "events/s at the busiest time": f"{peak:,.0f}",
        "of what one worker can": f"{peak / measured.rate:.1%}",
        "partitions": f"{partitions}",
        "workers": f"{workers}",
        "what sets their number": limit,
        "memory of all workers, GB": f"{memory / 1e9:,.1f}",
        "brokers": f"{brokers}",
        "events kept on them, GB": f"{events_gb:,.0f}",
        "checkpoints written a day, GB": f"{checkpoints_gb:,.1f}",
        "series": f"{sites * SERIES_A_SITE + agents:,}",
        "samples/s in Prometheus": f"{samples:,.0f}",
        "its memory, GB": f"{prometheus_gb:,.1f}",
        "dollars a month": f"{cost:,.0f}",
    }


def table(measured: MeasuredCosts) -> str:
    """The model as Markdown."""
    plans = [plan(people, measured) for people in PEOPLE]
    lines = [f"| agents | {' | '.join(f'{people:,}' for people in PEOPLE)} |", "|---|" + "---:|" * len(PEOPLE)]
    lines += [f"| {title} | {' | '.join(each[title] for each in plans)} |" for title in plans[0]]
    base, each = measured.resident
    taken = (
        f"Measured: {measured.rate:,.0f} events/s a worker, {base / 1e6:,.0f} MB + {each / 1e3:,.1f} kB an agent, "
        f"{measured.checkpoint / 1e3:,.0f} kB of checkpoints a day for each agent at work."
    )
    return "\n".join([taken, "", *lines])


def main() -> None:
    """Prints the table, or writes it into docs/scaling.md."""
    made = table(MeasuredCosts.read())
    print(made)
    if "--write" in sys.argv:
        document.write(document.SCALING, "model", made)


if __name__ == "__main__":
    main()
