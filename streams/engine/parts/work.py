"""Labels, skips and handling time by site, project and market."""

from collections.abc import Sequence

import numpy as np

from schemas.metrics import HANDLE_BUCKETS_SECONDS, WINDOWS
from schemas.policy import Policy
from streams.engine.batch import EventBatch, WorkKind
from streams.engine.figures import Figures
from streams.engine.intake import CAP_MS, Intake
from streams.engine.panes import Panes, Rings, Table
from streams.engine.parts import (
    Numbers,
    Report,
    handled_columns,
    histogram,
    observe,
    read_histogram,
    read_totals,
    read_windows,
    rows_of,
)


class WorkPart:
    """Counts of what was handed in, and of the time that it took.

    Tables: `work` (site, project, market), `handle` (site, project), `capped` (site).
    """

    def __init__(self, rings: Rings) -> None:
        wide = Panes()
        self.work = Table(
            "work", rings, {"labels": wide, "handled": wide, "handle_ms": wide}, totals=("labels", "skips")
        )
        self._handle = Table("handle", rings, totals=histogram(HANDLE_BUCKETS_SECONDS))
        self._capped = Table("capped", rings, totals=("labels",))
        self.tables: Sequence[Table] = (self.work, self._handle, self._capped)
        self._work_rows: Numbers[WorkKind] = rows_of(self.work, lambda kind: kind[:3])
        self._handle_rows: Numbers[WorkKind] = rows_of(self._handle, lambda kind: kind[:2])
        self._capped_rows: Numbers[WorkKind] = rows_of(self._capped, lambda kind: kind[:1])

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Adds labels, skips and revisions of labels."""
        for numbers in (self._work_rows, self._handle_rows, self._capped_rows):
            numbers.sync(intake.works)
        kinds, handle_ms = batch.labels.kind, batch.labels.handle_ms
        if len(kinds):
            rows = self._work_rows.of(kinds)
            columns = handled_columns(handle_ms)
            self.work.add(rows, batch.labels.at, columns)
            self.work.add_totals(rows, {"labels": columns["labels"]})
            given = handle_ms >= 0
            observe(
                self._handle, self._handle_rows.of(kinds[given]), columns["handle_ms"][given], HANDLE_BUCKETS_SECONDS
            )
            capped = self._capped_rows.of(kinds[handle_ms > CAP_MS])
            self._capped.add_totals(capped, {"labels": np.ones(len(capped), np.int64)})
        kinds = batch.skips.kind
        if len(kinds):
            self.work.add_totals(self._work_rows.of(kinds), {"skips": np.ones(len(kinds), np.int64)})
        changes = batch.label_changes
        if len(changes.kind):
            columns = handled_columns(changes.handle_ms, changes.weight)
            self.work.add(self._work_rows.of(changes.kind), changes.at, columns)

    def restored(self) -> None:
        """Nothing is kept beside the tables."""

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Totals, windows and the histogram."""
        reports = (
            read_totals(self.work, {"labels": "labelwatch_labels_total", "skips": "labelwatch_skips_total"}),
            read_totals(self._capped, {"labels": "labelwatch_handle_capped_total"}),
            read_windows(self.work, at_ms, WINDOWS, {"labels": "labelwatch_labels_window"}),
            read_histogram(self._handle, "labelwatch_handle_seconds", HANDLE_BUCKETS_SECONDS),
        )

        def report(figures: Figures) -> None:
            for each in reports:
                each(figures)

        return report
