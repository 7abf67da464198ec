"""`labelwatch compute`: the same engine over a file, without Kafka; for disputes, tests and a first look."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.drift import DriftRecord
from schemas.metrics import METRICS
from schemas.policy import OTHER, Policy
from schemas.states import SiteStatus
from schemas.text import visible
from streams.engine.figures import Figures, PeopleFigures
from streams.engine.limits import LimitUse
from streams.engine.partition import PartitionEngine
from streams.exporter.state import wall_ms
from streams.ops.errors import CommandError
from streams.sources.lines import json_lines
from streams.sources.sinks import partition_of
from streams.views import fold
from streams.views.fold import FoldedColumn
from streams.views.reading import Accuracy, percent

#: Lines applied at once: enough to make the columns pay, small beside the memory of the state.
_LINES = 10_000
#: People shown in the table for reading; `--json` gives all.
_PEOPLE_SHOWN = 10
#: Lines that cannot be used, named one by one.
_LINES_NAMED = 5
_WINDOW = "7d"
_ACCURACY = ("accuracy", "95% interval", "reviews", "target")
_WORK = (
    "labelwatch_site_labels",
    "labelwatch_site_handle_seconds_mean",
    "labelwatch_site_labels_per_productive_hour",
    "labelwatch_site_utilization_ratio",
)
#: Of these, those that rest on presence.
_OF_PRESENCE = _WORK[2:]
_OF_PEOPLE = (
    "labelwatch_agent_reviews",
    "labelwatch_agent_accuracy_ratio",
    "labelwatch_agent_accuracy_lower_ratio",
    "labelwatch_agent_accuracy_upper_ratio",
)


class FileRecord(NamedTuple):
    """A line of a file as a record. It has no append time, so it is compared with the time of the command."""

    offset: int
    value: bytes | None
    timestamp: int | None = None
    key: bytes | None = None


class Computed(NamedTuple):
    """A file's figures at its highest event time."""

    at_ms: int
    #: The first event time in the file.
    began_ms: int
    figures: Figures
    people: PeopleFigures
    rejected: list[tuple[int, str, str]]
    drifts: list[DriftRecord]
    limits: dict[str, LimitUse]


@dataclass(slots=True)
class FileRun:
    """Engines that have read a file.

    Attributes:
        engines: As they are at the end, one a partition.
        began_ms: The first event time.
        rejected: (line number, reason, detail) of lines that cannot be used.
        drifts: Records of drifts that opened and cleared, in order of event time.
    """

    engines: list[PartitionEngine]
    began_ms: int = 0
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    drifts: list[DriftRecord] = field(default_factory=list)

    @property
    def at_ms(self) -> int:
        """The highest event time."""
        return max(engine.clock_ms for engine in self.engines)


def compute(path: Path, policy: Policy, now_ms: int | None = None) -> Computed:
    """Computes every figure of a file of JSON lines.

    Args:
        path: One event a line; empty lines are passed over.
        policy: Targets, minimum of reviews, headline sources.
        now_ms: What is dated later by more than 5 minutes is refused, as a worker does; by default the wall clock.

    Returns:
        Figures at the highest event time, (line number, reason, detail) of lines that cannot be used, and the
        records of drifts that opened and cleared, in order.

    Raises:
        CommandError: The file cannot be read.
    """
    run = run_file(path, policy, now_ms=now_ms)
    (engine,), at_ms = run.engines, run.at_ms
    return Computed(
        at_ms, run.began_ms, engine.figures(at_ms), engine.people(at_ms), run.rejected, run.drifts, engine.limits()
    )


def run_file(path: Path, policy: Policy, partitions: int = 1, now_ms: int | None = None) -> FileRun:
    """Runs one engine over a file, or one a partition, as workers would have it.

    Args:
        path: One event a line.
        policy: Targets, budgets.
        partitions: Of the events topic; a site's events are all in one, by its name.
        now_ms: What is dated later by more than 5 minutes is refused; by default the wall clock.
    """
    now_ms = wall_ms() if now_ms is None else now_ms
    run = FileRun([PartitionEngine(n, policy, partitions=partitions, now_ms=now_ms) for n in range(partitions)])
    try:
        with path.open("rb") as file:
            for lines in _batches(json_lines(file, path)):
                for engine, mine in zip(run.engines, _split(lines, partitions), strict=True):
                    if not mine:
                        continue
                    if not run.began_ms:
                        engine.apply(mine[:1])
                        run.began_ms = engine.clock_ms
                    engine.apply(mine)
                    checkpoint = engine.checkpoint()
                    engine.committed(checkpoint)
                    run.drifts += [
                        msgspec.json.decode(value, type=DriftRecord) for _, value in checkpoint.drift_records
                    ]
                    run.rejected += [(dead.offset + 1, dead.reason, dead.detail) for dead in checkpoint.dead_letters]
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the path of a file of JSON lines", 2) from error
    # Records come in the order of the log, which is not that of event time.
    run.drifts.sort(key=lambda record: record.at)
    run.rejected.sort()
    return run


class _OfSite(msgspec.Struct):
    site_id: str


def _split(lines: list[FileRecord], partitions: int) -> list[list[FileRecord]]:
    """Lines by partition, as producers send them by the site's name; what names no site is in the first one."""
    if partitions == 1:
        return [lines]
    split: list[list[FileRecord]] = [[] for _ in range(partitions)]
    for line in lines:
        try:
            site = msgspec.json.decode(line.value or b"", type=_OfSite).site_id
        except (msgspec.DecodeError, UnicodeDecodeError):
            split[0].append(line)
        else:
            split[partition_of(site.encode(), partitions)].append(line)
    return split


def _batches(lines: Iterator[tuple[int, bytes]]) -> Iterator[list[FileRecord]]:
    batch: list[FileRecord] = []
    for number, line in lines:
        batch.append(FileRecord(number, line))
        if len(batch) == _LINES:
            yield batch
            batch = []
    if batch:
        yield batch


def as_json(computed: Computed) -> dict[str, list[dict[str, str | float | int]]]:
    """Figures under the metrics' own names, each sample with its labels and value.

    A histogram gives `_bucket` (cumulative, with `le`), `_sum` and `_count`, as Prometheus shows it.
    """
    out: dict[str, list[dict[str, str | float | int]]] = {}
    for name, samples in computed.figures.samples.items():
        labels = METRICS[name].labels
        out[name] = [{**dict(zip(labels, values, strict=True)), "value": value} for values, value in samples]
    for name, series in computed.figures.histograms.items():
        metric = METRICS[name]
        for values, counts, total in series:
            scope: dict[str, str | float | int] = dict(zip(metric.labels, values, strict=True))
            cumulative = 0
            for bound, count in zip((*map(repr, metric.buckets), "+Inf"), counts, strict=True):
                cumulative += count
                out.setdefault(f"{name}_bucket", []).append({**scope, "le": bound, "value": cumulative})
            out.setdefault(f"{name}_sum", []).append({**scope, "value": total})
            out.setdefault(f"{name}_count", []).append({**scope, "value": cumulative})
    for group in computed.people.groups:
        for (name, window), column in group.columns.items():
            names = METRICS[name].labels
            rows = out.setdefault(name, [])
            for person, value in zip(group.labels, column.tolist(), strict=True):
                if not math.isnan(value):
                    rows.append({**dict(zip(names, (*person, window), strict=True)), "value": value})
    return out


def print_json(computed: Computed, out: TextIO) -> None:
    """Writes the figures as one JSON object."""
    json.dump(as_json(computed), out, ensure_ascii=False, allow_nan=False)
    out.write("\n")


def trouble_lines(rejected: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    """What could not be used: how many lines for which reason, the first few by number, and what to do.

    Args:
        rejected: (line number, reason, detail) of each.
    """
    if not rejected:
        return
    reasons = Counter(reason for _, reason, _ in rejected)
    counts = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
    yield f"{len(rejected):,} line{'s' * (len(rejected) != 1)} could not be used: {counts}"
    for number, reason, detail in rejected[:_LINES_NAMED]:
        yield f"line {number}: {reason}: {visible(detail)}"
    if len(rejected) > _LINES_NAMED:
        yield "..."
    if count := reasons["future"]:
        first = next(number for number, reason, _ in rejected if reason == "future")
        yield (
            f"{count:,} event{'s are' if count != 1 else ' is'} dated more than 5 minutes after now, the first on line "
            f"{first}, and left out, as a worker would: check the clock of who wrote the file, and that `at` is in ms"
        )


def limit_lines(uses: Iterable[dict[str, LimitUse]]) -> Iterator[str]:
    """Which limits of the policy events are beyond, so that they have no figures of their own, and what to do.

    Args:
        uses: Of each partition's engine.
    """
    over: Counter[str] = Counter()
    for use in uses:
        over.update({kind: of_kind.over for kind, of_kind in use.items()})
    for kind, events in (+over).items():
        are, their = ("are", "their") if events != 1 else ("is", "its")
        yield (
            f"{events:,} event{'s' * (events != 1)} {are} beyond the policy's limit of {kind}, under `{OTHER}` and "
            f"without figures of {their} own: raise {kind} in [limits] of the policy, or name forged and closed sites "
            "in removed_sites"
        )


def print_tables(computed: Computed, policy: Policy, console: Console) -> None:
    """Writes the sites and the people, both worst first, for reading."""
    if not computed.at_ms:
        console.print("No event in the file.")
        return
    end = datetime.fromtimestamp(computed.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    samples = {name: dict(found) for name, found in computed.figures.samples.items()}
    console.print(f"The 7 days to {end}, the file's newest event", style="bold", highlight=False)
    for part in _sites(samples, policy, console.width):
        console.print(part)
    for line in estimated_lines(labels[0] for labels in samples.get("labelwatch_site_presence_estimated", {})):
        console.print(line, highlight=False)
    people = list(_people(computed.people, policy, console.width))
    if people:
        console.print("\nPeople, furthest below target first", style="bold", highlight=False)
    for part in people:
        console.print(part)
    if computed.drifts:
        console.print("\nDrifts, as they opened and cleared", style="bold", highlight=False)
        for record in computed.drifts:
            console.print(drift_line(record))


def estimated_lines(sites: Iterable[str]) -> Iterator[str]:
    """Of which sites utilization rests on states that nobody reported."""
    if names := ", ".join(visible(site) for site in sorted(sites)):
        yield (
            f"Utilization and labels/h of {names} are estimates: presence comes from gaps between labels, nobody "
            "reported it"
        )


def drift_line(record: DriftRecord) -> Text:
    """A drift that opened or cleared: when, for whose attention, and in a sentence."""
    when = datetime.fromtimestamp(record.at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    style = "" if record.status == "cleared" else "bold orange1" if record.budget == "page" else "orange1"
    return Text.assemble((f"{when}  {record.budget} {record.status}  ", style), record.text)


def _sites(
    samples: dict[str, dict[tuple[str, ...], float | int]], policy: Policy, width: int
) -> Iterator[Table | Text]:
    def value(name: str, *labels: str) -> float | None:
        return samples.get(name, {}).get((*labels, _WINDOW))

    scopes = [labels[:2] for labels in samples.get("labelwatch_site_reviews", {}) if labels[2] == _WINDOW]
    scopes += [
        (site, "agent")
        for site, window in samples.get("labelwatch_site_labels", {})
        if window == _WINDOW and (site, "agent") not in scopes
    ]
    rows = []
    for site, role in scopes:
        targets = policy.resolve(site=site)
        accuracy = Accuracy(
            int(value("labelwatch_site_reviews", site, role) or 0),
            value("labelwatch_site_accuracy_ratio", site, role),
            value("labelwatch_site_accuracy_lower_ratio", site, role),
            value("labelwatch_site_accuracy_upper_ratio", site, role),
            targets.qa_accuracy if role == "qa" else targets.accuracy,
        )
        work = [value(name, site) if role == "agent" else None for name in _WORK]
        about = "~" if (site,) in samples.get("labelwatch_site_presence_estimated", {}) else ""
        shown = (
            _number(figure, form, about if name in _OF_PRESENCE else "")
            for name, figure, form in zip(_WORK, work, (",.0f", ".1f", ".1f", "%"), strict=True)
        )
        cells = (site, role, *_accuracy_cells(accuracy), *shown)
        rows.append(((role != "agent", -accuracy.state.code, accuracy.proven_gap, site), accuracy.state, cells))
    headings = ("site", "role", *_ACCURACY, "labels", "s/label", "labels/h", "utilized")
    ordered = [(state, cells) for _, state, cells in sorted(rows, key=lambda row: row[0])]
    return _table(headings, ordered, width)


def _people(people: PeopleFigures, policy: Policy, width: int) -> Iterator[Table | Text]:
    (agents, *_) = people.groups
    probability = agents.columns.get(("labelwatch_agent_below_target_probability", _WINDOW))
    if probability is None:
        return iter(())
    known = []
    for row in np.flatnonzero(~np.isnan(probability)).tolist():
        site, _, role = agents.labels[row]
        targets = policy.resolve(site=site)
        n, ratio, lower, upper = (float(agents.columns[name, _WINDOW][row]) for name in _OF_PEOPLE)
        target = targets.qa_accuracy if role == "qa" else targets.accuracy
        known.append((row, Accuracy(int(n), ratio, lower, upper, target)))
    # By how far the whole interval lies below the target; a probability is 1.0 for hundreds.
    known.sort(key=lambda person: (person[1].upper_gap, -person[1].reviews))
    rows = []
    for row, accuracy in known[:_PEOPLE_SHOWN]:
        site, agent, role = agents.labels[row]
        rows.append((accuracy.state, (site, role, agent, *_accuracy_cells(accuracy), percent(probability[row]))))
    return _table(("site", "role", "agent", *_ACCURACY, "P(below)"), rows, width) if rows else iter(())


def _accuracy_cells(accuracy: Accuracy) -> tuple[str, ...]:
    if accuracy.ratio is None or accuracy.lower is None or accuracy.upper is None:
        return "-", "not enough data", f"{accuracy.reviews:,}", percent(accuracy.target)
    interval = f"{percent(accuracy.lower)[:-1]} to {percent(accuracy.upper)[:-1]}"
    return percent(accuracy.ratio, 2), interval, f"{accuracy.reviews:,}", percent(accuracy.target)


#: By heading, how early a column goes below its row where the terminal is narrow; the others stay.
_GOES = {"labels/h": 6, "utilized": 5, "s/label": 4, "labels": 3, "target": 2, "role": 1}
_NAMES = ("site", "role", "agent")


def _table(
    headings: tuple[str, ...], rows: Sequence[tuple[SiteStatus, tuple[str, ...]]], width: int
) -> Iterator[Table | Text]:
    """A table without frames; what does not fit is below its row. Ids are what a person copies: they fold."""
    columns = [
        FoldedColumn(heading, right=heading not in _NAMES, goes=_GOES.get(heading, 0), folds=heading in _NAMES)
        for heading in headings
    ]
    cells = [
        [Text(f" {state.glyph} {state.short} ", style=state.style), *(Text(visible(cell)) for cell in row)]
        for state, row in rows
    ]
    return fold.lines([FoldedColumn(""), *columns], cells, width)


def _number(value: float | None, form: str, about: str) -> str:
    if value is None:
        return ""
    return about + (percent(value, 0) if form == "%" else format(value, form))
