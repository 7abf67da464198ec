"""Reviews by site, project, market, role, source and sampling; errors found; time from label to review."""

from collections.abc import Sequence

import numpy as np

from schemas.metrics import REVIEW_DELAY_BUCKETS_SECONDS, WINDOWS
from schemas.policy import Policy
from streams.engine.figures import Figures
from streams.engine.intake import Batch, Intake, VerdictKind, column
from streams.engine.panes import Key, Panes, Rings, Table
from streams.engine.parts import (
    OTHER,
    Groups,
    Numbers,
    Tell,
    bounded,
    histogram,
    observe,
    read_histogram,
    read_totals,
    read_windows,
    rows_of,
)

#: Error types of a site that have a series of their own.
ERROR_TYPES_MAX = 100


class Verdicts:
    """What reviews said.

    Tables: `verdicts` (site, project, market, role, source, sampling), `errors`
    (site, project, error type, severity), `delay` (site).
    """

    def __init__(self, rings: Rings) -> None:
        wide = Panes()
        self.verdicts = Table("verdicts", rings, {"reviews": wide, "correct": wide}, totals=("reviews", "correct"))
        self._totals = Groups(self.verdicts, lambda key: key[:5])
        self._errors = Table("errors", rings, totals=("errors",))
        self._delay = Table("delay", rings, totals=histogram(REVIEW_DELAY_BUCKETS_SECONDS))
        self.tables: Sequence[Table] = (self.verdicts, self._errors, self._delay)
        self._rows: Numbers[VerdictKind] = rows_of(
            self.verdicts, _verdict_key, lambda key: (key[0], OTHER, "", *key[3:])
        )
        self._delay_rows: Numbers[VerdictKind] = rows_of(self._delay, lambda kind: (kind.site,))
        self._windowed: Numbers[VerdictKind] = Numbers(lambda kind: kind.windowed)
        self._error_types: dict[str, set[str]] = {}

    def apply(self, batch: Batch, intake: Intake) -> None:
        """Adds reviews, their revisions, errors and delays."""
        for numbers in (self._rows, self._delay_rows, self._windowed):
            numbers.sync(intake.verdicts)
        _, kinds, at, correct = batch.reviews.arrays()
        if len(kinds):
            rows = self._rows.of(kinds)
            ones = np.ones(len(rows), np.int64)
            self.verdicts.add_totals(rows, {"reviews": ones, "correct": correct})
            windowed = self._windowed.of(kinds) > 0
            self.verdicts.add(rows[windowed], at[windowed], {"reviews": ones[windowed], "correct": correct[windowed]})
        _, kinds, at, correct = batch.review_changes.arrays()
        if len(kinds):
            weights = column(batch.review_weights)
            rows = self._rows.of(kinds)
            self.verdicts.add(rows, at, {"reviews": weights, "correct": weights * correct})
        _, kinds, _, delay_ms = batch.delays.arrays()
        if len(kinds):
            observe(self._delay, self._delay_rows.of(kinds), delay_ms, REVIEW_DELAY_BUCKETS_SECONDS)
        for error in batch.errors:
            key: Key = (error.site, error.project, self._capped_type(error.site, error.error_type), error.severity)
            key = bounded(self._errors, key, lambda key: (key[0], OTHER, *key[2:]))
            self._errors.add_total(self._errors.row(key, error.site), "errors")

    def _capped_type(self, site: str, error_type: str) -> str:
        types = self._error_types.setdefault(site, set())
        if error_type not in types:
            if len(types) >= ERROR_TYPES_MAX:
                return OTHER
            types.add(error_type)
        return error_type

    def restored(self) -> None:
        """Counts the error types of each site again; `other` itself may be a real one and then is among them."""
        for key in self._errors.index:
            types = self._error_types.setdefault(key[0], set())
            if len(types) < ERROR_TYPES_MAX:
                types.add(key[2])

    def read(self, at_ms: int, policy: Policy) -> Tell:
        """Totals (sampling is a dimension of windows only), windows, errors and delays."""
        totals = self._totals.now()
        reviews, correct = (totals.sums(self.verdicts.committed_total(column)) for column in ("reviews", "correct"))
        tells = (
            read_windows(
                self.verdicts,
                at_ms,
                WINDOWS,
                {"reviews": "labelwatch_reviews_window", "correct": "labelwatch_correct_reviews_window"},
            ),
            read_totals(self._errors, {"errors": "labelwatch_errors_total"}),
            read_histogram(self._delay, "labelwatch_review_delay_seconds", REVIEW_DELAY_BUCKETS_SECONDS),
        )

        def tell(figures: Figures) -> None:
            rows = np.arange(len(reviews))
            figures.add_column("labelwatch_reviews_total", totals.labels, rows, reviews)
            figures.add_column("labelwatch_correct_reviews_total", totals.labels, rows, correct)
            for each in tells:
                each(figures)

        return tell


def _verdict_key(kind: VerdictKind) -> Key:
    return (kind.site, kind.project, kind.market, kind.role, kind.source, kind.sampling)
