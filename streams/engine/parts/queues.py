"""Queues of work: how much waits, since when, and how much has arrived, by site, project, market and queue."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from schemas.events import QueueMeasured
from schemas.metrics import WINDOWS
from schemas.policy import Policy
from streams.engine.batch import EventBatch
from streams.engine.figures import Figures
from streams.engine.intake import Intake
from streams.engine.limits import QueuePlace, shown_as
from streams.engine.panes import HOUR_MS, Key, Panes, Rings, Table
from streams.engine.parts import Report
from streams.engine.times import why_not_queued

#: The most queues of a partition that are remembered, 20 MB of panes. Measurements of further ones are left out, and
#: counted as beyond a limit: a producer makes names up.
ROWS_MAX = 10_000
#: A queue without a measurement for so long has no figures: it was renamed, or its tool is gone.
STALE_MS = 24 * HOUR_MS
#: Larger counts count as this one.
COUNT_MAX = 10**12
#: An attribute that is not known.
_NONE = -1


class QueuesPart:
    """The newest measurement of each queue, and arrivals by window.

    Table: `queues` (site, project, market, queue), by real names. Beyond the limits a queue keeps its row, and is shown
    together with others: a sum needs the newest measurement of each.
    """

    def __init__(self, rings: Rings) -> None:
        self.table = Table(
            "queues",
            rings,
            {"arrived": Panes()},
            attributes=("measured_ms", "waiting", "oldest_ms", "arrived_total", "place"),
        )
        self.tables: Sequence[Table] = (self.table,)

    def apply(self, batch: EventBatch, intake: Intake) -> None:
        """Takes measurements in the order of the log; of two of one time the later record holds."""
        arrivals: list[tuple[int, int, int]] = []
        for place, event in batch.queues:
            key = (event.site_id, event.project_id, event.market or "", event.queue)
            row = self.table.index.get(key, _NONE)
            if row == _NONE:
                if len(self.table.index) >= ROWS_MAX:
                    intake.tally.add("over/series")
                    continue
                row = self.table.row(key, key[0])
                self.table.set(row, measured_ms=_NONE, arrived_total=_NONE)
            if place != self.table.get(row, "place"):
                self.table.set(row, place=place)
            if event.at < self.table.get(row, "measured_ms"):
                continue
            before = total = self.table.get(row, "arrived_total")
            if event.arrived_total is not None:
                total = min(event.arrived_total, COUNT_MAX)
            # A count that falls has begun anew; what arrived before its first measurement is not known.
            if _NONE < before < total:
                arrivals.append((row, event.at, total - before))
            waiting = min(event.waiting, COUNT_MAX)
            oldest_ms = _oldest_ms(event)
            self.table.set(row, measured_ms=event.at, waiting=waiting, oldest_ms=oldest_ms, arrived_total=total)
        if arrivals:
            rows, times, arrived = np.array(arrivals, np.int64).T
            self.table.add(rows, times, {"arrived": arrived})

    def restored(self) -> None:
        """Nothing is kept beside the table."""

    def known_queues(self) -> list[tuple[Key, QueuePlace]]:
        """Each queue with the names under which it is shown, for the limits after a restore."""
        places = self.table.scalar("place").tolist()
        return [(key, QueuePlace(places[row])) for key, row in self.table.index.items()]

    def read(self, at_ms: int, policy: Policy) -> Report:
        """Figures of the queues that were measured within the last day."""
        known = self.table.known_rows()
        measured = self.table.scalar("measured_ms")[known]
        rows = known[measured > at_ms - STALE_MS]
        keys = [self.table.keys[row] for row in rows.tolist()]
        names = ("place", "waiting", "oldest_ms", "measured_ms")
        columns = [self.table.scalar(name)[rows].tolist() for name in names]
        arrived = {window: self.table.window_sum("arrived", window, at_ms)[rows].tolist() for window in WINDOWS}

        def report(figures: Figures) -> None:
            waiting: dict[Key, int] = defaultdict(int)
            oldest: dict[Key, int] = {}
            least_recent: dict[Key, int] = {}
            shown = []
            for key, place, tasks, oldest_ms, measured_ms in zip(keys, *columns, strict=True):
                assert key is not None, "a known row has a key"
                labels = shown_as(key, QueuePlace(place))
                shown.append(labels)
                waiting[labels] += tasks
                least_recent[labels] = min(measured_ms, least_recent.get(labels, measured_ms))
                if oldest_ms != _NONE:
                    oldest[labels] = min(oldest_ms, oldest.get(labels, oldest_ms))
            for labels, tasks in waiting.items():
                figures.add("labelwatch_queue_waiting_tasks", labels, tasks)
                target_seconds = policy.resolve(*labels[:3]).turnaround_target_seconds
                figures.add("labelwatch_queue_turnaround_target_seconds", labels, target_seconds)
                figures.add("labelwatch_queue_measured_timestamp_seconds", labels, least_recent[labels] / 1000)
            for labels, oldest_ms in oldest.items():
                figures.add("labelwatch_queue_oldest_task_timestamp_seconds", labels, oldest_ms / 1000)
            for window, tasks_by_row in arrived.items():
                sums: dict[Key, int] = defaultdict(int)
                for labels, tasks in zip(shown, tasks_by_row, strict=True):
                    sums[labels] += tasks
                for labels, tasks in sums.items():
                    if tasks > 0:
                        figures.add("labelwatch_queue_arrived_tasks_window", (*labels, window), tasks)

        return report


def _oldest_ms(event: QueueMeasured) -> int:
    """Since when the oldest task waits; `_NONE` where none waits, or where that is not known."""
    oldest_ms = event.oldest_at
    if oldest_ms is None or not event.waiting or why_not_queued(oldest_ms, event.at):
        return _NONE
    return min(oldest_ms, event.at)
