"""Labels and reviews by SOP version: the newest three of a project by name, older ones together."""

from collections.abc import Sequence

import numpy as np

from schemas.policy import OTHER, Policy
from streams.engine.batch import EventBatch, VerdictKind, WorkKind
from streams.engine.figures import Figures
from streams.engine.intake import Intake
from streams.engine.panes import Key, Rings, Table
from streams.engine.parts import Numbers, Report

#: The most versions that have a row, which is kept for good. Further ones count under the project `other`.
ROWS_MAX = 20_000
#: So many of a project's newest versions have series of their own.
NEWEST = 3
OLDER = "older"
_METRICS = {
    "labels": "labelwatch_sop_labels_total",
    "reviews": "labelwatch_sop_reviews_total",
    "correct": "labelwatch_sop_correct_reviews_total",
}


class SopsPart:
    """Counters by (site, project, SOP version); all versions are kept, in order of appearance."""

    def __init__(self, rings: Rings) -> None:
        self._table = Table("sops", rings, totals=("labels", "reviews", "correct"))
        self.tables: Sequence[Table] = (self._table,)
        self._rows: Numbers[Key] = Numbers(self._row)
        self._work_sops: Numbers[WorkKind] = Numbers(lambda kind: kind.sop)
        self._verdict_sops: Numbers[VerdictKind] = Numbers(lambda kind: kind.sop)

    def _row(self, key: Key) -> int:
        if len(self._table.index) >= ROWS_MAX and key not in self._table.index:
            key = (key[0], OTHER, OLDER)
        return self._table.row(key, key[0])

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Adds labels and reviews that name a version; revisions are not counted."""
        self._rows.sync(intake.sops)
        self._work_sops.sync(intake.works)
        self._verdict_sops.sync(intake.verdicts)
        sops = self._work_sops.of(batch.labels.kind)
        sops = sops[sops >= 0]
        if len(sops):
            self._table.add_totals(self._rows.of(sops), {"labels": np.ones(len(sops), np.int64)})
        sops = self._verdict_sops.of(batch.reviews.kind)
        named = sops >= 0
        if named.any():
            rows = self._rows.of(sops[named])
            self._table.add_totals(
                rows, {"reviews": np.ones(len(rows), np.int64), "correct": batch.reviews.correct[named]}
            )

    def restored(self) -> None:
        """Nothing is kept beside the table."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Totals of the newest versions, and of the others as `older`."""
        # The names too are those of the last checkpoint: else the total of `older` could fall after a crash.
        known = self._table.committed_rows()
        versions: dict[Key, list[tuple[str, int]]] = {}
        for key, row in self._table.index.items():
            if known[row]:
                versions.setdefault(key[:2], []).append((key[2], row))
        totals = {metric: self._table.committed_total(column).tolist() for column, metric in _METRICS.items()}

        def report(figures: Figures) -> None:
            for scope, rows in versions.items():
                # A version named `older` counts among the older ones: otherwise a series would be there twice.
                named = [each for each in rows if each[0] != OLDER]
                newest = named[-NEWEST:]
                older = [row for sop, row in rows if (sop, row) not in newest]
                for metric, values in totals.items():
                    for sop, row in newest:
                        figures.add(metric, (*scope, sop), values[row])
                    if older:
                        figures.add(metric, (*scope, OLDER), sum(values[row] for row in older))

        return report
