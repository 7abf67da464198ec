"""`labelwatch compute`: the same engine over a file, without Kafka; for disputes, tests and a first look."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.metrics import METRICS
from schemas.policy import Policy
from streams.engine.figures import Figures, PeopleFigures
from streams.engine.partition import PartitionEngine
from streams.ops.errors import CommandError

#: Lines applied at once: enough to make the columns pay, small beside the memory of the state.
_LINES = 10_000
#: People shown in the table for reading; `--json` gives all.
_PEOPLE_SHOWN = 10


class Line(NamedTuple):
    """A line of a file as a record: no append time, so that nothing is ahead of it."""

    offset: int
    value: bytes | None
    timestamp: int | None = None
    key: bytes | None = None


class Computed(NamedTuple):
    """A file's figures at its highest event time."""

    at_ms: int
    figures: Figures
    people: PeopleFigures
    rejected: list[tuple[int, str, str]]


def compute(path: Path, policy: Policy) -> Computed:
    """Computes every figure of a file of JSON lines.

    Args:
        path: One event a line; empty lines are passed over.
        policy: Targets, minimum of reviews, headline sources.

    Returns:
        Figures at the highest event time, and (line number, reason, detail) of lines that cannot be used.

    Raises:
        CommandError: The file cannot be read.
    """
    engine = PartitionEngine(0, policy)
    rejected: list[tuple[int, str, str]] = []
    try:
        with path.open("rb") as file:
            for lines in _batches(file):
                engine.apply(lines)
                checkpoint = engine.checkpoint()
                engine.committed(checkpoint)
                rejected += [(dead.offset + 1, dead.reason, dead.detail) for dead in checkpoint.dead_letters]
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the path of a file of JSON lines", 2) from error
    at_ms = engine.clock_ms
    return Computed(at_ms, engine.figures(at_ms), engine.people(at_ms), rejected)


def _batches(file: Any) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for number, raw in enumerate(file):
        line = raw.rstrip(b"\r\n")
        if line:
            batch.append(Line(number, line))
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


def print_tables(computed: Computed, policy: Policy, console: Console) -> None:
    """Writes the sites, and the people most likely below target, for reading."""
    samples = {name: dict(found) for name, found in computed.figures.samples.items()}

    def value(name: str, *labels: str) -> float | None:
        return samples.get(name, {}).get(labels)

    table = Table(title="Sites, last 7 days of the file")
    for heading in ("site", "role", "accuracy", "95% interval", "reviews", "target", "labels", "seconds a label"):
        table.add_column(heading, justify="left" if heading in ("site", "role") else "right")
    for (site, role, window), n in sorted(samples.get("labelwatch_site_reviews", {}).items()):
        if window != "7d":
            continue
        scope = (site, role, window)
        accuracy = value("labelwatch_site_accuracy_ratio", *scope)
        lower, upper = (value(f"labelwatch_site_accuracy_{end}_ratio", *scope) for end in ("lower", "upper"))
        targets = policy.resolve(site=site)
        enough = accuracy is not None and lower is not None and upper is not None
        table.add_row(
            Text(site),
            role,
            f"{accuracy:.2%}" if enough else "not enough data",
            f"{lower:.1%} to {upper:.1%}" if enough else "",
            f"{n:,}",
            f"{targets.qa_accuracy if role == 'qa' else targets.accuracy:.1%}",
            _number(value("labelwatch_site_labels", site, "7d") if role == "agent" else None, ",.0f"),
            _number(value("labelwatch_site_handle_seconds_mean", site, "7d") if role == "agent" else None, ".1f"),
        )
    console.print(table)
    (agents, *_) = computed.people.groups
    probability = agents.columns.get(("labelwatch_agent_below_target_probability", "7d"))
    if probability is None:
        return
    known = [row for row, value in enumerate(probability.tolist()) if not math.isnan(value)]
    worst = sorted(known, key=lambda row: -probability[row])[:_PEOPLE_SHOWN]
    if worst:
        people = Table(title="Most likely below target, 7 days")
        for heading in ("site", "agent", "role", "accuracy", "reviews", "P(below target)"):
            people.add_column(heading, justify="left" if heading in ("site", "agent", "role") else "right")
        for row in worst:
            people.add_row(
                *map(Text, agents.labels[row]),
                f"{agents.columns['labelwatch_agent_accuracy_ratio', '7d'][row]:.1%}",
                f"{agents.columns['labelwatch_agent_reviews', '7d'][row]:,.0f}",
                f"{probability[row]:.1%}",
            )
        console.print(people)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
