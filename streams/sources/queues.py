"""The queues of a simulated operation: what arrives, what is taken, how much waits and since when."""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

MINUTE_MS = 60_000
#: How often each queue is measured.
MEASURED_EVERY_MS = 15 * MINUTE_MS
#: In the scenario `backlog` so many times as many tasks arrive as before.
BACKLOG_FACTOR = 2.0
#: Tasks that wait in steady work: as many as are taken within this time, but not fewer than these.
_STEADY_MS, _LEAST_TASKS = 45 * MINUTE_MS, 20


@dataclass(slots=True)
class SimulatedQueue:
    """A queue that is worked off in the order of arrival.

    Attributes:
        project: Project id.
        market: Market.
        waiting: Time of arrival and number of tasks, the oldest first.
        arrived: Tasks that have ever arrived.
        taken: Tasks taken since the last measurement.
    """

    project: str
    market: str
    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    arrived: int = 0
    taken: int = 0

    @property
    def name(self) -> str:
        """The queue's name, as labels give it."""
        return f"{self.project}-{self.market.lower()}"

    def measure(self, at_ms: int, random: Random, factor: float) -> dict[str, Any]:
        """Lets tasks arrive and go since the last measurement; returns the fields of the event.

        Args:
            at_ms: Now.
            random: Source of chance, the queues' own.
            factor: Tasks that arrive for one that is taken; 1 keeps the queue at its steady length.
        """
        taken, self.taken = self.taken, 0
        left = sum(tasks for _, tasks in self.waiting)
        steady = max(int(taken * _STEADY_MS / MEASURED_EVERY_MS), _LEAST_TASKS)
        missing = max(int(steady * random.uniform(0.8, 1.2)) - (left - taken), 0)
        arrives = missing if factor == 1.0 else max(int(taken * factor), taken - left)
        if arrives:
            # On average half-way between two measurements; what was there at the first one waits a little longer.
            self.waiting.append((at_ms - MEASURED_EVERY_MS // 2, arrives))
            self.arrived += arrives
        self._take(taken)
        fields: dict[str, Any] = {"project_id": self.project, "queue": self.name, "market": self.market}
        fields |= {"waiting": left + arrives - taken, "arrived_total": self.arrived}
        if self.waiting:
            fields["oldest_at"] = self.waiting[0][0]
        return fields

    def _take(self, tasks: int) -> None:
        while tasks:
            at_ms, there = self.waiting.popleft()
            if there > tasks:
                self.waiting.appendleft((at_ms, there - tasks))
                return
            tasks -= there
