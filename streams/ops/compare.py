"""`labelwatch backtest --compare`: labelwatch's own test and river's detectors beside each other on one history."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar

from rich.console import Console
from rich.table import Table

from schemas.drift import OURS, DriftRecord
from schemas.policy import Policy
from schemas.river import DETECTORS, RiverPolicy, watched
from streams.views.reading import span


class Change(Protocol):
    """An injected change: when it came, epoch ms."""

    at_ms: int


AnyChange = TypeVar("AnyChange", bound=Change)
_Taken = TypeVar("_Taken", bound=Change, contravariant=True)


class Explains(Protocol[_Taken]):
    """Whether one of some changes had begun, by then, where a drift is."""

    def __call__(self, record: DriftRecord, changes: Sequence[_Taken], /) -> bool:
        """Of one record."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One detector over one signal.

    Attributes:
        signal: Which.
        detector: `labelwatch`, or river's.
        opened: Drifts opened; one that came back counts once more.
        delays: Of each change that it found, in order of time: seconds, and reviews since the change began.
        changes: Injected changes, None where the truth is not known.
        false: Openings that no change explains; None as above.
    """

    signal: str
    detector: str
    opened: int
    delays: list[tuple[float, int]]
    changes: int | None
    false: int | None


def beside(policy: Policy) -> Policy:
    """The policy with detectors to compare: those that it names, or ADWIN for the accuracy of sites and projects."""
    if policy.detection.river.chosen() or "accuracy" not in policy.detection.signals:
        return policy
    return policy.with_river(RiverPolicy(accuracy=DETECTORS["ADWIN"]()))


def compare(
    policy: Policy,
    openings: Sequence[DriftRecord],
    changes: Sequence[AnyChange] | None,
    explains: Explains[AnyChange],
) -> list[Compared]:
    """Judges ours and river's over the same streams.

    Args:
        policy: Names river's detectors, and what they watch: ours count there alone.
        openings: Records of every drift that opened.
        changes: What was injected; None where that is not known.
        explains: Says whether a change explains a drift.
    """
    rows = []
    for signal, detector in policy.detection.river.chosen().items():
        scopes = watched(signal, detector)
        here = [record for record in openings if record.signal == signal and _scope(record) in scopes]
        for name in (OURS, detector.name):
            mine = sorted((record for record in here if record.detector == name), key=lambda record: record.opened_at)
            delays = []
            for change in changes or ():
                first = next((record for record in mine if explains(record, [change])), None)
                if first is not None:
                    delays.append(((first.opened_at - change.at_ms) / 1000, first.since.n))
            false = None if changes is None else sum(not explains(record, changes) for record in mine)
            rows.append(Compared(signal, name, len(mine), delays, None if changes is None else len(changes), false))
    return rows


def _scope(record: DriftRecord) -> str:
    return "people" if record.agent_id else "projects" if record.project_id else "sites"


def print_compared(rows: Sequence[Compared], console: Console) -> None:
    """Writes the table: found, delay, false alarms."""
    table = Table("signal", "detector", title="Beside river's detectors, on the same streams", title_justify="left")
    for head in ("opened", "found", "median delay", "reviews", "false"):
        table.add_column(head, justify="right")
    for row in rows:
        name = "labelwatch" if row.detector == OURS else f"river's {row.detector}"
        seconds, reviews = "", ""
        if row.delays:
            seconds = span(median(seconds for seconds, _ in row.delays))
            reviews = f"{median(reviews for _, reviews in row.delays):,.0f}"
        found = "?" if row.changes is None else f"{len(row.delays)} of {row.changes}"
        table.add_row(
            row.signal, name, str(row.opened), found, seconds, reviews, "?" if row.false is None else str(row.false)
        )
    console.print(table)
    if rows[0].changes is None:
        console.print("What is true in this history is not known: without a .truth.json beside it nothing is false.")
    console.print("labelwatch keeps the policy's budget of false alarms; of river's detectors nothing is promised.")
