"""False alarms and false ends in seeded months: what the budgets of the policy and the end of a drift promise, counted.

python -m benchmarks.steady_months [--months 100] [--rate 0.05] [--sites 4]   nothing changes
python -m benchmarks.steady_months --scenario site-dip [--points 0.08]         a dip comes and stays
"""

import argparse
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import msgspec

from schemas.drift import BUDGETS, DriftRecord
from schemas.policy import Policy
from streams.engine.partition import PartitionEngine
from streams.ops.backtest import below_target
from streams.ops.compute import FileRecord, FileRun
from streams.sources.simulate import Operation, Simulation

_MONTH_MS = int(30.44 * 86_400_000)
_START_MS = 1_764_000_000_000
_BATCH = 10_000


class Month(NamedTuple):
    """What a month brought.

    Attributes:
        events: How many.
        false: Drifts that opened where nothing had changed, by budget; one that comes back counts once.
        signals: The same by signal.
        true: Tickets of sites that are below their target.
        ended: Drifts that are true and last, and were said to be over.
        lasting: Drifts that are true and last.
    """

    events: int
    false: Counter[str]
    signals: Counter[str]
    true: int
    ended: int
    lasting: int


def month(seed: int, rate: float, sites: int, scenario: str, points: float) -> Month:
    """One month of a scenario."""
    plan = Simulation(_START_MS, _START_MS + _MONTH_MS, scenario, seed, rate=rate, sites=sites, points=points)
    operation = Operation(plan)
    run = FileRun([PartitionEngine(0, Policy())])
    (engine,) = run.engines
    lines: list[FileRecord] = []
    count = 0

    def flush() -> None:
        engine.apply(lines)
        lines.clear()
        checkpoint = engine.checkpoint()
        engine.committed(checkpoint)
        run.drifts += [msgspec.json.decode(value, type=DriftRecord) for _, value in checkpoint.drift_records]

    for sent in operation:
        lines.append(FileRecord(count, sent.value))
        count += 1
        if len(lines) == _BATCH:
            flush()
    flush()
    return _judged(count, run, operation)


def _judged(count: int, run: FileRun, operation: Operation) -> Month:
    openings = [record for record in run.drifts if record.status == "opened"]
    below = below_target(run, openings)
    cleared = {(record.drift_id, record.opening) for record in run.drifts if record.status == "cleared"}
    changes = operation.truth.changes
    budgets: Counter[str] = Counter()
    signals: Counter[str] = Counter()
    true = ended = lasting = 0
    for record in openings:
        which = record.drift_id, record.opening
        of_change = any(record.opened_at >= change["at_ms"] and record.site_id == change["site"] for change in changes)
        is_below = which in below
        true += is_below
        # A dip of a site stays, and so does a site below its target; of people and projects it is not known.
        if is_below or (of_change and record.signal == "accuracy" and not record.project_id):
            lasting += 1
            ended += which in cleared
        elif record.opening == 1 and not of_change:
            budgets[record.budget] += 1
            who = "person" if record.agent_id else "project" if record.project_id else "site"
            signals[f"{record.signal}, {who}, {record.direction}"] += 1
    return Month(count, budgets, signals, true, ended, lasting)


def main() -> None:
    """Runs the months and prints what was opened beside what was allowed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--months", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="seed of the first month: a long run in parts")
    parser.add_argument("--rate", type=float, default=0.05, help="events a second")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenario", default="steady", choices=("steady", "site-dip"))
    parser.add_argument("--points", type=float, default=0.08, help="of a dip")
    options = parser.parse_args()
    began = time.monotonic()
    numbers = range(options.first, options.first + options.months)
    given = [[each] * len(numbers) for each in (options.rate, options.sites, options.scenario, options.points)]
    months: list[Month] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for each in pool.map(month, numbers, *given):
            months.append(each)
            print(f"month {len(months)}: {dict(each.false)} false, {each.ended} of {each.lasting} ended", flush=True)
    oncall = Policy().oncall
    allowed = {"page": oncall.false_pages_per_month, "ticket": oncall.false_tickets_per_month}
    print(f"{len(months)} months of {options.scenario}, {sum(each.events for each in months):,} events, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip  # one line
    for budget in BUDGETS:
        count = sum(each.false[budget] for each in months)
        mean, error = count / len(months), count**0.5 / len(months)
        verdict = "within" if mean <= allowed[budget] + 2 * error else "ABOVE"
        print(f"{budget}s: {mean:.2f} +- {error:.2f} false a month; the budget is {allowed[budget]:g}: {verdict}")
    print(
        f"tickets of sites that are below their target: {sum(each.true for each in months) / len(months):.2f} a month"
    )
    ended, lasting = sum(each.ended for each in months), sum(each.lasting for each in months)
    print(f"false ends: {ended} of {lasting} drifts that last")
    signals = sum((each.signals for each in months), Counter[str]())
    for signal, times in signals.most_common():
        print(f"  {signal}: {times / len(months):.2f} a month")


if __name__ == "__main__":
    main()
