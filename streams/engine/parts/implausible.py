"""Counts implausible times, which were left out, by site, field and reason."""

from collections.abc import Sequence
from itertools import islice

from schemas.policy import Policy
from streams.engine.batch import EventBatch
from streams.engine.figures import Figures
from streams.engine.intake import Intake
from streams.engine.panes import Rings, Table
from streams.engine.parts import Report
from streams.engine.times import DURATION_REASONS, QUEUED_REASONS, TIME_REASONS

#: Reasons for which a field's time can be left out. An `at` that is too old is late, not implausible.
_REASONS = {
    "at": TIME_REASONS[:2],
    **dict.fromkeys(("labeled_at", "reviewed_at", "submitted_at"), TIME_REASONS),
    "oldest_at": QUEUED_REASONS,
    **dict.fromkeys(("handle_ms", "review_ms"), DURATION_REASONS),
}
_COLUMNS = {(field, reason): f"{field}:{reason}" for field, reasons in _REASONS.items() for reason in reasons}


class ImplausiblePart:
    """Counters of the times that the intake has left out.

    Table: `implausible` (site), a total by field and reason. Every site has a row, made in the order in which sites
    appear, since the order in which they have an implausible time would depend on how the log is cut into batches.
    """

    def __init__(self, rings: Rings) -> None:
        self._table = Table("implausible", rings, totals=tuple(_COLUMNS.values()))
        self.tables: Sequence[Table] = (self._table,)
        self._met = 0

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Adds the batch's counts."""
        for site in islice(intake.sites, self._met, None):
            self._table.row((site,), site)
        self._met = len(intake.sites)
        for (site, field, reason), times in batch.implausible.items():
            self._table.add_total(self._table.index[site,], _COLUMNS[field, reason], times)

    def restored(self) -> None:
        """Nothing is kept beside the table."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """The totals above 0."""
        rows, labels = self._table.known_rows(), self._table.labels()
        totals = {kind: self._table.committed_total(column) for kind, column in _COLUMNS.items()}

        def report(figures: Figures) -> None:
            for (field, reason), values in totals.items():
                for row in rows[values[rows] > 0].tolist():
                    figures.add("labelwatch_implausible_times_total", (*labels[row], field, reason), int(values[row]))

        return report
