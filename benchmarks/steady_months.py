"""False alarms in seeded months in which nothing changes: what the budgets of the policy promise, counted.

python -m benchmarks.steady_months [--months 100] [--rate 0.05] [--sites 4]
"""

import argparse
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import msgspec

from schemas.drift import BUDGETS, DriftRecord
from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from streams.ops.compute import Line
from streams.sources.simulate import Operation, Simulation

_MONTH_MS = int(30.44 * 86_400_000)
_START_MS = 1_764_000_000_000
_BATCH = 10_000


def month(seed: int, rate: float, sites: int) -> tuple[int, Counter[str], Counter[str]]:
    """One month of `steady`: events, openings by budget and by signal; a drift that comes back counts once."""
    engine = PartitionEngine(0, Policy())
    plan = Simulation(_START_MS, _START_MS + _MONTH_MS, "steady", seed, rate=rate, sites=sites)
    budgets: Counter[str] = Counter()
    signals: Counter[str] = Counter()
    lines: list[Line] = []
    count = 0

    def flush() -> None:
        engine.apply(lines)
        lines.clear()
        checkpoint = engine.checkpoint()
        engine.committed(checkpoint)
        for _, value in checkpoint.drift_records:
            record = msgspec.json.decode(value, type=DriftRecord)
            if record.status == "opened" and record.opening == 1:
                budgets[record.budget] += 1
                who = "person" if record.agent_id else "project" if record.project_id else "site"
                signals[f"{record.signal}, {who}, {record.direction}"] += 1

    for sent in Operation(plan):
        lines.append(Line(count, sent.value))
        count += 1
        if len(lines) == _BATCH:
            flush()
    flush()
    return count, budgets, signals


def main() -> None:
    """Runs the months and prints what was opened beside what was allowed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--months", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.05, help="events a second")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    events, budgets, signals = 0, Counter[str](), Counter[str]()
    months = range(1, options.months + 1)
    with ProcessPoolExecutor(options.processes) as pool:
        for count, of_budget, of_signal in pool.map(
            month, months, [options.rate] * len(months), [options.sites] * len(months)
        ):
            events += count
            budgets += of_budget
            signals += of_signal
    oncall = Policy().oncall
    allowed = {"page": oncall.false_pages_per_month, "ticket": oncall.false_tickets_per_month}
    print(f"{options.months} steady months, {events:,} events, {time.monotonic() - began:.0f} s")
    for budget in BUDGETS:
        mean = budgets[budget] / options.months
        error = budgets[budget] ** 0.5 / options.months
        verdict = "within" if mean <= allowed[budget] + 2 * error else "ABOVE"
        print(f"{budget}s: {mean:.2f} +- {error:.2f} a month; the budget is {allowed[budget]:g}: {verdict}")
    for signal, times in signals.most_common():
        print(f"  {signal}: {times / options.months:.2f} a month")


if __name__ == "__main__":
    main()
