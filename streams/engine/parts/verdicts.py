"""Reviews by site, project, market, role, source and sampling; errors found; time from label to review."""

from collections.abc import Callable, Sequence

import numpy as np

from schemas.metrics import REVIEW_DELAY_BUCKETS_SECONDS, WINDOWS
from schemas.policy import Policy
from streams.engine.batch import EventBatch, VerdictKind
from streams.engine.figures import Figures
from streams.engine.headline import why_not_headline
from streams.engine.intake import Intake
from streams.engine.panes import Key, Panes, Rings, Table
from streams.engine.parts import (
    Grouping,
    Numbers,
    Report,
    histogram,
    observe,
    read_histogram,
    read_totals,
    read_windows,
    rows_of,
)

#: Values of the label `headline`.
HEADLINE, BESIDE = "true", "false"
_WINDOWED = {"reviews": "labelwatch_reviews_window", "correct": "labelwatch_correct_reviews_window"}


class VerdictsPart:
    """What reviews found.

    Tables: `verdicts` (site, project, market, role, source, sampling), `errors`
    (site, project, error type, severity), `remarks` (the same, of correct work), `delay` (site).

    Args:
        rings: The partition's rings.
        policy: Which sources make the headline.
    """

    def __init__(self, rings: Rings, policy: Policy) -> None:
        wide = Panes()
        self._policy = policy
        self.verdicts = Table("verdicts", rings, {"reviews": wide, "correct": wide}, totals=("reviews", "correct"))
        self._totals = Grouping(self.verdicts, lambda key: key[:5])
        self._of_window = {window: Grouping(self.verdicts, self._within(window)) for window in WINDOWS}
        self.errors = Table("errors", rings, {"errors": Panes(np.int16, np.int16)}, totals=("errors",))
        self.remarks = Table("remarks", rings, totals=("remarks",))
        self._delay = Table("delay", rings, totals=histogram(REVIEW_DELAY_BUCKETS_SECONDS))
        self.tables: Sequence[Table] = (self.verdicts, self.errors, self.remarks, self._delay)
        self._rows: Numbers[VerdictKind] = rows_of(self.verdicts, _verdict_key)
        self._delay_rows: Numbers[VerdictKind] = rows_of(self._delay, lambda kind: (kind.site,))
        self._windowed: Numbers[VerdictKind] = Numbers(lambda kind: kind.windowed)

    def headline_of(self, key: Key) -> str:
        """The label `headline` of a row of `verdicts`: whether its reviews count for the headline accuracy."""
        return BESIDE if why_not_headline(key[4], key[5], self._policy) else HEADLINE

    def _within(self, window: str) -> Callable[[Key], Key]:
        """Gives the label values of a row of `verdicts` in a window."""
        return lambda key: (*key, self.headline_of(key), window)

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Adds reviews, their revisions, errors and delays."""
        for numbers in (self._rows, self._delay_rows, self._windowed):
            numbers.sync(intake.verdicts)
        reviews = batch.reviews
        if len(reviews.kind):
            rows, at, correct = self._rows.of(reviews.kind), reviews.at, reviews.correct
            ones = np.ones(len(rows), np.int64)
            self.verdicts.add_totals(rows, {"reviews": ones, "correct": correct})
            windowed = self._windowed.of(reviews.kind) > 0
            self.verdicts.add(rows[windowed], at[windowed], {"reviews": ones[windowed], "correct": correct[windowed]})
        changes = batch.review_changes
        if len(changes.kind):
            columns = {"reviews": changes.weight, "correct": changes.weight * changes.correct}
            self.verdicts.add(self._rows.of(changes.kind), changes.at, columns)
        if len(batch.delays.kind):
            rows = self._delay_rows.of(batch.delays.kind)
            observe(self._delay, rows, batch.delays.delay_ms, REVIEW_DELAY_BUCKETS_SECONDS)
        found: list[tuple[int, int]] = []
        for error in batch.errors:
            table, total = (self.remarks, "remarks") if error.is_remark else (self.errors, "errors")
            row = table.row((error.site, error.project, error.error_type, error.severity), error.site)
            table.add_total(row, total)
            if table is self.errors and error.windowed_at >= 0:
                found.append((row, error.windowed_at))
        if found:
            rows, times = np.array(found, np.int64).T
            self.errors.add(rows, times, {"errors": np.ones(len(rows), np.int64)})

    def restored(self) -> None:
        """Nothing is kept beside the tables."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Totals, windows, errors and delays; only windows are by sampling too."""
        totals = self._totals.now()
        reviews, correct = (totals.sums(self.verdicts.committed_total(column)) for column in ("reviews", "correct"))
        windows = [
            (metric, grouped.labels, grouped.sums(self.verdicts.window_sum(column, window, at_ms)))
            for window, groups in self._of_window.items()
            for grouped in (groups.now(),)
            for column, metric in _WINDOWED.items()
        ]
        reports = (
            read_totals(self.errors, {"errors": "labelwatch_errors_total"}),
            read_windows(self.errors, at_ms, WINDOWS, {"errors": "labelwatch_errors_window"}),
            read_totals(self.remarks, {"remarks": "labelwatch_remarks_total"}),
            read_histogram(self._delay, "labelwatch_review_delay_seconds", REVIEW_DELAY_BUCKETS_SECONDS),
        )

        def report(figures: Figures) -> None:
            rows = np.arange(len(reviews))
            figures.add_column("labelwatch_reviews_total", totals.labels, rows, reviews)
            figures.add_column("labelwatch_correct_reviews_total", totals.labels, rows, correct)
            for metric, labels, sums in windows:
                rows = np.flatnonzero(sums > 0)
                figures.add_column(metric, labels, rows, sums[rows])
            for each in reports:
                each(figures)

        return report


def _verdict_key(kind: VerdictKind) -> Key:
    return (kind.site, kind.project, kind.market, kind.role, kind.source, kind.sampling)
