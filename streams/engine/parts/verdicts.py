"""Reviews by site, project, market, role, source and sampling; errors found; time from label to review."""

from collections.abc import Callable, Sequence

import numpy as np

from schemas.metrics import REVIEW_DELAY_BUCKETS_SECONDS, WINDOWS
from schemas.policy import Policy
from streams.engine.figures import Figures
from streams.engine.headline import why_not_headline
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
#: Values of the label `headline`.
HEADLINE, BESIDE = "true", "false"
_WINDOWED = {"reviews": "labelwatch_reviews_window", "correct": "labelwatch_correct_reviews_window"}


class Verdicts:
    """What reviews said.

    Tables: `verdicts` (site, project, market, role, source, sampling), `errors`
    (site, project, error type, severity), `remarks` (the same, of correct work), `delay` (site).

    Args:
        rings: The partition's rings.
        policy: Says which sources make the headline.
    """

    def __init__(self, rings: Rings, policy: Policy) -> None:
        wide = Panes()
        self._policy = policy
        self.verdicts = Table("verdicts", rings, {"reviews": wide, "correct": wide}, totals=("reviews", "correct"))
        self._totals = Groups(self.verdicts, lambda key: key[:5])
        self._of_window = {window: Groups(self.verdicts, self._within(window)) for window in WINDOWS}
        self._errors = Table("errors", rings, {"errors": Panes(np.int16, np.int16)}, totals=("errors",))
        self._remarks = Table("remarks", rings, totals=("remarks",))
        self._delay = Table("delay", rings, totals=histogram(REVIEW_DELAY_BUCKETS_SECONDS))
        self.tables: Sequence[Table] = (self.verdicts, self._errors, self._remarks, self._delay)
        self._rows: Numbers[VerdictKind] = rows_of(
            self.verdicts, _verdict_key, lambda key: (key[0], OTHER, "", *key[3:])
        )
        self._delay_rows: Numbers[VerdictKind] = rows_of(self._delay, lambda kind: (kind.site,))
        self._windowed: Numbers[VerdictKind] = Numbers(lambda kind: kind.windowed)
        #: By table, then by site: remarks leave the errors' types their room.
        self._error_types: dict[str, dict[str, set[str]]] = {"errors": {}, "remarks": {}}

    def headline_of(self, key: Key) -> str:
        """The label `headline` of a row of `verdicts`: which of the windows' reviews make the headline accuracy."""
        return BESIDE if why_not_headline(key[4], key[5], self._policy) else HEADLINE

    def _within(self, window: str) -> Callable[[Key], Key]:
        """Labels of a row of `verdicts` within a window."""
        return lambda key: (*key, self.headline_of(key), window)

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
        found: list[tuple[int, int]] = []
        for error in batch.errors:
            table, total = (self._remarks, "remarks") if error.is_remark else (self._errors, "errors")
            error_type = self._capped_type(table, error.site, error.error_type)
            key: Key = (error.site, error.project, error_type, error.severity)
            key = bounded(table, key, lambda key: (key[0], OTHER, *key[2:]))
            row = table.row(key, error.site)
            table.add_total(row, total)
            if table is self._errors and error.windowed_at >= 0:
                found.append((row, error.windowed_at))
        if found:
            rows, times = np.array(found, np.int64).T
            self._errors.add(rows, times, {"errors": np.ones(len(rows), np.int64)})

    def _capped_type(self, table: Table, site: str, error_type: str) -> str:
        types = self._error_types[table.name].setdefault(site, set())
        if error_type not in types:
            if len(types) >= ERROR_TYPES_MAX:
                return OTHER
            types.add(error_type)
        return error_type

    def restored(self) -> None:
        """Counts the error types of each site again; `other` itself may be a real one and then is among them."""
        for table in (self._errors, self._remarks):
            for key in table.index:
                types = self._error_types[table.name].setdefault(key[0], set())
                if len(types) < ERROR_TYPES_MAX:
                    types.add(key[2])

    def read(self, at_ms: int, policy: Policy) -> Tell:
        """Totals (sampling is a dimension of windows only), windows, errors and delays."""
        totals = self._totals.now()
        reviews, correct = (totals.sums(self.verdicts.committed_total(column)) for column in ("reviews", "correct"))
        windows = [
            (metric, grouped.labels, grouped.sums(self.verdicts.window_sum(column, window, at_ms)))
            for window, groups in self._of_window.items()
            for grouped in (groups.now(),)
            for column, metric in _WINDOWED.items()
        ]
        tells = (
            read_totals(self._errors, {"errors": "labelwatch_errors_total"}),
            read_windows(self._errors, at_ms, WINDOWS, {"errors": "labelwatch_errors_window"}),
            read_totals(self._remarks, {"remarks": "labelwatch_remarks_total"}),
            read_histogram(self._delay, "labelwatch_review_delay_seconds", REVIEW_DELAY_BUCKETS_SECONDS),
        )

        def tell(figures: Figures) -> None:
            rows = np.arange(len(reviews))
            figures.add_column("labelwatch_reviews_total", totals.labels, rows, reviews)
            figures.add_column("labelwatch_correct_reviews_total", totals.labels, rows, correct)
            for metric, labels, sums in windows:
                rows = np.flatnonzero(sums > 0)
                figures.add_column(metric, labels, rows, sums[rows])
            for each in tells:
                each(figures)

        return tell


def _verdict_key(kind: VerdictKind) -> Key:
    return (kind.site, kind.project, kind.market, kind.role, kind.source, kind.sampling)
