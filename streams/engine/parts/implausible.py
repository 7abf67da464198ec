"""Times that producers cannot have meant, counted by site, field and reason: what was left out, and why."""

from collections.abc import Sequence

from schemas.policy import Policy
from streams.engine.intake import Batch, Intake
from streams.engine.panes import Rings, Table
from streams.engine.parts import Tell, read_totals


class Implausible:
    """Counters of what the intake has left out.

    Table: `implausible` (site, field, reason).
    """

    def __init__(self, rings: Rings) -> None:
        self._table = Table("implausible", rings, totals=("times",))
        self.tables: Sequence[Table] = (self._table,)

    def apply(self, batch: Batch, intake: Intake) -> None:
        """Adds what the batch has; no site has more than a few rows."""
        for key, times in batch.implausible.items():
            self._table.add_total(self._table.row(key, key[0]), "times", times)

    def restored(self) -> None:
        """Nothing is kept beside the table."""

    def read(self, at_ms: int, policy: Policy) -> Tell:
        """The totals."""
        return read_totals(self._table, {"times": "labelwatch_implausible_times_total"})
