"""`labelwatch backtest`: what would have been paged in a history, when and why; how much was right, if known."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from schemas.drift import BUDGETS, OURS, DriftRecord
from schemas.policy import Policy
from schemas.sentences import part, unit
from streams.engine.drift.episodes import level
from streams.ops.compare import Compared, beside, compare, print_compared
from streams.ops.compute import FileRun, drift_line, run_file
from streams.ops.errors import CommandError
from streams.views.reading import span

_MONTH_MS = 30.44 * 86_400_000
#: Reviews after an opening that tell whether a site was below its target.
_TELLING = 500


class _Change(msgspec.Struct):
    """One injected change, as the simulator's truth file has it; other keys say what it was."""

    at_ms: int
    scenario: str
    site: str | None = None
    project: str | None = None


class _Truth(msgspec.Struct):
    scenario: str
    start_ms: int
    end_ms: int
    changes: list[_Change] = []


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """An injected change and the drifts that found it.

    Attributes:
        scenario: What was injected.
        where: Site, or project at every site.
        at_ms: When it came.
        by: First drift to find it, by budget: (signal, delay in seconds, reviews or labels since it began).
    """

    scenario: str
    where: str
    at_ms: int
    by: dict[str, tuple[str, float, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backtest:
    """A history judged.

    Attributes:
        run: Its drifts.
        months: Its length.
        opened: Pages and tickets sent, by budget; a drift that came back counts once more, one that belongs to
            another's does not.
        false: Those among them that are not true, by budget; None where the truth is not known. True is what an
            injected change explains; and against a target, a site that is below it.
        found: Each injected change.
        compared: Ours and river's detectors over the same streams, where that was asked for.

    What river's detectors open is in `run.drifts` and `compared` alone: no budget is meant for it.
    """

    run: FileRun
    months: float
    opened: dict[str, int]
    false: dict[str, int] | None
    found: list[ChangeOutcome]
    compared: list[Compared] = field(default_factory=list)


def backtest(path: Path, policy: Policy, partitions: int = 1, compared: bool = False) -> Backtest:
    """Runs the monitor over a history.

    Args:
        path: One event a line. `<path>.truth.json` beside it, from `labelwatch simulate --out`, is used if it is there.
        policy: The policy to try.
        partitions: Of the events topic: each has its share of the budgets, as workers have it.
        compared: Whether to put river's detectors beside ours, the policy's or ADWIN where it names none.

    Raises:
        CommandError: A file cannot be read.
    """
    if compared:
        policy = beside(policy)
    run = run_file(path, policy, partitions)
    everyone = [record for record in run.drifts if record.status == "opened"]
    openings = alerting([record for record in run.drifts if record.detector == OURS])
    truth = _truth(path.with_name(path.name + ".truth.json"))
    start_ms = run.began_ms if truth is None else truth.start_ms
    months = max(run.at_ms - start_ms, 0) / _MONTH_MS
    opened: Counter[str] = Counter(record.budget for record in openings)
    false: Counter[str] | None = None
    found: list[ChangeOutcome] = []
    if truth is not None:
        below = below_target(run, openings)
        false = Counter(
            record.budget
            for record in openings
            if not _explained(record, truth.changes) and (record.drift_id, record.opening) not in below
        )
        found = [_found(change, openings) for change in truth.changes]
    return Backtest(
        run,
        months,
        {budget: opened[budget] for budget in BUDGETS},
        None if false is None else {budget: false[budget] for budget in BUDGETS},
        found,
        compare(policy, everyone, None if truth is None else truth.changes, _explained) if compared else [],
    )


def alerting(records: Sequence[DriftRecord]) -> list[DriftRecord]:
    """The opened drifts that page or become a ticket, from records in order of time.

    What belongs to a site's drift is no ticket, and an incident that has paged already pages no second time.
    """
    alerts = []
    #: By incident, its drifts that page and are open.
    paging: dict[str, set[str]] = {}
    for record in records:
        of_incident = paging.setdefault(record.incident_id, set())
        if record.status == "opened" and not of_incident and not record.parent:
            alerts.append(record)
        if record.budget == "page":
            (of_incident.add if record.status == "opened" else of_incident.discard)(record.drift_id)
    return alerts


def under_parents(records: Sequence[DriftRecord]) -> list[tuple[DriftRecord, bool]]:
    """Records in the order for a reader: below each site's drift, marked, those that belonged to it as it opened.

    Args:
        records: In order of time.

    Returns:
        Each record, and whether it is below another's; in order of time, and so is what is below one.
    """
    tops: list[list[tuple[DriftRecord, bool]]] = []
    #: By id, where its newest opening is.
    places: dict[str, int] = {}
    for record in records:
        if record.status == "opened":
            place = places.get(record.parent) if record.parent else None
            is_within = place is not None
            places[record.drift_id] = len(tops) if place is None else place
        else:
            # Where it opened, if that was below another; an end of its own is news of its own time.
            place = places.get(record.drift_id)
            is_within = place is not None and tops[place][0][0].drift_id != record.drift_id
        if place is None or not is_within:
            tops.append([(record, False)])
        else:
            tops[place].append((record, True))
    return [each for top in tops for each in top]


def _truth(path: Path) -> _Truth | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Truth)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise CommandError(
            f"{path}: not a truth file of labelwatch simulate ({error}); remove it or simulate again"
        ) from (error)


def _explained(record: DriftRecord, changes: Sequence[_Change]) -> bool:
    """Whether a change had begun, by then, where the drift is."""
    return any(
        record.opened_at >= change.at_ms
        and change.site in (None, record.site_id)
        # A change of one project shows in the site's figures too.
        and (change.project is None or record.project_id in ("", change.project))
        for change in changes
    )


def below_target(run: FileRun, openings: Sequence[DriftRecord]) -> set[tuple[str, int]]:
    """Which openings against a target are true, by id and number: the site was below it.

    This is judged by the reviews after the opening, which the signal has not chosen; where these are few, by the whole
    interval since the change.
    """
    ends = {(record.drift_id, record.opening): record.since for record in run.drifts if record.status == "cleared"}
    for engine in run.engines:
        for stream, episode in engine.drifts():
            ends[episode.drift_id, episode.opening] = level(stream, episode.wrong, episode.n)
    true = set()
    for record in openings:
        if record.target is None:
            continue
        end = ends.get((record.drift_id, record.opening), record.since)
        n = end.n - record.since.n
        if n >= _TELLING:
            is_below = (end.value * end.n - record.since.value * record.since.n) / n < record.target
        else:
            is_below = (end.upper if end.upper is not None else end.value) < record.target
        if is_below:
            true.add((record.drift_id, record.opening))
    return true


def _found(change: _Change, openings: Sequence[DriftRecord]) -> ChangeOutcome:
    where = change.site or (f"{change.project}, every site" if change.project else "every site")
    found = ChangeOutcome(change.scenario, where, change.at_ms)
    for record in sorted(openings, key=lambda record: record.opened_at):
        if _explained(record, [change]) and record.budget not in found.by:
            found.by[record.budget] = (record.signal, (record.opened_at - change.at_ms) / 1000, record.since.n)
    return found


def print_json(result: Backtest, out: TextIO) -> None:
    """Writes the judgement and every record as one JSON object."""
    whole: dict[str, Any] = {
        "months": result.months,
        "opened": result.opened,
        "false": result.false,
        "found": [asdict(found) for found in result.found],
        "compared": [asdict(row) for row in result.compared],
        "drifts": [msgspec.to_builtins(record) for record in result.run.drifts],
    }
    json.dump(whole, out, ensure_ascii=False)
    out.write("\n")


def print_report(result: Backtest, policy: Policy, console: Console) -> None:
    """Writes what would have been paged and ticketed, and how much of it was right."""
    if not result.run.at_ms:
        console.print("No event in the file.")
        return
    days = result.months * 30.44
    console.print(f"{days:.1f} days of history", style="bold", highlight=False)
    for record, is_within in under_parents(result.run.drifts):
        indent = 4 * is_within
        console.print(Padding(drift_line(record), (0, 0, 0, indent)))
        if record.causes and record.status == "opened":
            causes = ", ".join(f"{c.by} {c.member} ({c.effect}) {part(record, c)[0]}" for c in record.causes)
            n = f"{'at least ' * record.before.at_least}{record.before.n:,} {unit(record)[0]}"
            why = f"{record.verdict}; {causes}; {n} before; id {record.drift_id}"
            console.print(Padding(Text(why, "dim"), (0, 0, 0, indent + 4)))
    if not result.run.drifts:
        console.print("No drift would have opened.")
    allowed = {"page": policy.oncall.false_pages_per_month, "ticket": policy.oncall.false_tickets_per_month}
    console.print()
    for budget, count in result.opened.items():
        line = f"{count} {budget}{'s' * (count != 1)}"
        if result.false is not None:
            line += f", {result.false[budget]} of them false"
        line += f"; the budget is {allowed[budget]:g} false a month, here {allowed[budget] * result.months:.2f}"
        console.print(line, highlight=False)
    for found in result.found:
        when = datetime.fromtimestamp(found.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        said = "; ".join(
            f"{budget} by {signal} after {span(delay)} ({n:,} reviews or labels)"
            for budget, (signal, delay, n) in found.by.items()
        )
        console.print(f"injected {when}: {found.scenario} at {found.where}: {said or 'not found'}", highlight=False)
    if result.compared:
        console.print()
        print_compared(result.compared, console)
