"""How often each threshold rule fires by chance in 30 in-control days, simulated; the table of docs/alerting.md.

Run: python -m benchmarks.alert_chance           prints the table
     python -m benchmarks.alert_chance --write   writes it into docs/alerting.md
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors.arrays import Flags, Ints
from streams.engine.ratios import wilson

DOCUMENT = Path("docs/alerting.md")
BEGIN, END = "<!-- chance: begin -->", "<!-- chance: end -->"
TARGET = 0.95
DAYS, WARM_UP_DAYS = 30, 8
#: Rules look each minute; within ten minutes a window of a day hardly moves.
STEPS_AN_HOUR = 6
STEPS_A_DAY = 24 * STEPS_AN_HOUR


@dataclass(frozen=True, slots=True)
class Chance:
    """What a rule did at sites that had not changed.

    Attributes:
        sites_ratio: Share of sites with at least one firing in 30 days, 0 to 1.
        per_site: Firings a site in 30 days.
    """

    sites_ratio: float
    per_site: float


def reviews(
    rng: np.random.Generator, sites: int, reviews_a_day: float, accuracy: float, cluster: int = 1, rho: float = 0.0
) -> tuple[Ints, Ints]:
    """Reviews and correct ones by site and step; errors come in clusters of a size with a correlation within."""
    steps = (DAYS + WARM_UP_DAYS) * STEPS_A_DAY
    batches = rng.poisson(reviews_a_day / STEPS_A_DAY / cluster, (sites, steps))
    n = batches * cluster
    if rho == 0.0:
        return n, rng.binomial(n, accuracy)
    # Beta-binomial: each batch has an error rate of its own.
    strength = 1 / rho - 1
    correct = np.zeros_like(n)
    for batch in range(int(batches.max())):
        present = batches > batch
        rates = rng.beta(accuracy * strength, (1 - accuracy) * strength, int(present.sum()))
        correct[present] += rng.binomial(cluster, rates)
    return n, correct


def window(counts: Ints, hours: int) -> Ints:
    """Sums of the current hour and those before it, as the engine's hour panes give them."""
    sums = np.concatenate([np.zeros((len(counts), 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
    steps = np.arange(counts.shape[1])
    first = np.maximum((steps // STEPS_AN_HOUR - (hours - 1)) * STEPS_AN_HOUR, 0)
    within: Ints = sums[:, 1:] - sums[:, first]
    return within


def fired(condition: Flags, for_hours: float, keep_hours: float = 0.0) -> Chance:
    """Firings after the warm-up: the condition held at every look for so long; one firing while it is kept."""
    hold, keep = round(for_hours * STEPS_AN_HOUR), round(keep_hours * STEPS_AN_HOUR)
    held = np.zeros(len(condition), np.int64)
    quiet = np.full(len(condition), keep + 1)
    firings = np.zeros(len(condition), np.int64)
    for step in range(condition.shape[1]):
        held = np.where(condition[:, step], held + 1, 0)
        firing = held > hold
        if step >= WARM_UP_DAYS * STEPS_A_DAY:
            firings += firing & (quiet > keep)
        quiet = np.where(firing, 0, quiet + 1)
    return Chance(float((firings > 0).mean()), float(firings.mean()))


def accuracy_rules(n: Ints, correct: Ints, target: float = TARGET, min_reviews: int = 30) -> dict[str, Chance]:
    """The rules over accuracy, and what a page by the same threshold would do."""
    day_n, day_k = window(n, 24), window(correct, 24)
    week_n, week_k = window(n, 168), window(correct, 168)
    day_upper, week_upper = (
        wilson(k.ravel(), np.maximum(m, 1).ravel())[1].reshape(m.shape) for k, m in ((day_k, day_n), (week_k, week_n))
    )
    budget = 1 - target
    day_burn, week_burn = (1 - k / np.maximum(m, 1) for k, m in ((day_k, day_n), (week_k, week_n)))
    day_burn, week_burn = day_burn / budget, week_burn / budget
    day_known, week_known = day_n >= min_reviews, week_n >= min_reviews
    below = day_known & (day_upper < target)
    day_fast = day_known & (day_burn > 2) & ((1 - day_upper) / budget > 1.5)
    week_slow = week_known & (week_burn > 1.4) & ((1 - week_upper) / budget > 1.2) & day_known & (day_burn > 1.4)
    return {
        "the same threshold as a page, at once": fired(below, 0),
        "LabelwatchSiteAccuracyBelowTarget": fired(below, 24, 24),
        "LabelwatchSiteErrorBudgetBurn, 24h": fired(day_fast, 6),
        "LabelwatchSiteErrorBudgetBurn, 7d": fired(week_slow, 6),
        "LabelwatchSiteUnreviewed": fired(~day_known, 2, 1),
    }


def utilization(rng: np.random.Generator, sites: int, people: int, margin: float) -> Chance:
    """The utilization rule, where the true mean stands a margin above the target.

    A person's shift of 8 h is that of the simulator: three breaks, meetings and training now and then, short waits.
    """
    days = DAYS + WARM_UP_DAYS
    shape = (sites, days * 3, people)
    lost = 60 + 30 * (rng.random(shape) < 0.5) + 45 * (rng.random(shape) < 0.25)
    lost = lost + sum(rng.integers(2, 9, shape) for _ in range(5))
    by_shift = (1 - lost / 480).mean(axis=2)
    hourly = np.repeat(by_shift, 8 * STEPS_AN_HOUR, axis=1)
    sums = np.cumsum(hourly, axis=1)
    day = np.empty_like(sums)
    day[:, :STEPS_A_DAY] = 1.0
    day[:, STEPS_A_DAY:] = (sums[:, STEPS_A_DAY:] - sums[:, :-STEPS_A_DAY]) / STEPS_A_DAY
    target = 1 - (60 + 30 * 0.5 + 45 * 0.25 + 5 * 5) / 480 - margin
    return fired(day < target - 3 * 0.05 * np.sqrt(8 / (24 * people)), 8, 4)


def throughput(rng: np.random.Generator, sites: int, people: int) -> Chance:
    """The throughput rule: 80 labels an hour and person, hours that differ by a tenth, against half of the week's."""
    hours = (DAYS + WARM_UP_DAYS) * 24
    speed = 80 * people * rng.lognormal(0, 0.1, (sites, hours))
    labels = rng.poisson(np.repeat(speed / STEPS_AN_HOUR, STEPS_AN_HOUR, axis=1))
    sums = np.concatenate([np.zeros((sites, 1), np.int64), np.cumsum(labels, axis=1)], axis=1)
    last_hour = np.full(labels.shape, 80 * people, np.int64)
    last_hour[:, STEPS_AN_HOUR - 1 :] = sums[:, STEPS_AN_HOUR:] - sums[:, :-STEPS_AN_HOUR]
    return fired(last_hour < 0.5 * 80 * people, 0.5, 0.5)


def table(sites: int = 1000) -> str:
    """The whole table as Markdown; `sites` simulated for each cell."""
    rng = np.random.default_rng(6)
    lines = [
        f"Share of sites with at least one firing in {DAYS} in-control days (firings a site); {sites:,} sites a cell, "
        f"target {TARGET:.0%}.",
        "",
    ]
    volumes = (50, 200, 1000, 5000)
    worlds = (
        ("exactly on target", TARGET, 1, 0.0),
        ("1 point above", TARGET + 0.01, 1, 0.0),
        ("exactly on target, errors in clusters of 10, rho .05", TARGET, 10, 0.05),
    )
    for title, accuracy, cluster, rho in worlds:
        columns = [accuracy_rules(*reviews(rng, sites, volume, accuracy, cluster, rho)) for volume in volumes]
        header = f"| {title}; reviews a day: | {' | '.join(f'{volume:,}' for volume in volumes)} |"
        lines += [header, "|---|" + "---|" * len(volumes)]
        for rule in columns[0]:
            lines.append(f"| {rule} | {' | '.join(_cell(column[rule]) for column in columns)} |")
        lines.append("")
    people = (5, 20, 100)
    lines += [f"| people on a shift: | {' | '.join(map(str, people))} |", "|---|" + "---|" * 3]
    for margin in (0.0, 0.01, 0.02):
        cells = " | ".join(_cell(utilization(rng, min(sites, 200), count, margin)) for count in people)
        lines.append(f"| LabelwatchSiteUtilizationLow, true mean {margin * 100:.0f} points above target | {cells} |")
    cells = " | ".join(_cell(throughput(rng, sites, count)) for count in people)
    lines.append(f"| LabelwatchSiteThroughputLow | {cells} |")
    return "\n".join(lines)


def _cell(chance: Chance) -> str:
    return f"{chance.sites_ratio:.1%} ({chance.per_site:.2f})"


def main() -> None:
    """Prints the table, or writes it into the document."""
    made = table()
    if "--write" not in sys.argv:
        print(made)
        return
    before, rest = DOCUMENT.read_text("utf-8").split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
