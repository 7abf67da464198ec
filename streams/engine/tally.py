"""Durable counts of a partition's records: what `labelwatch_*_total{topic,partition}` show."""

from collections.abc import Mapping


class Tally:
    """Counts by name: `events/<type>`, `rejected/<reason>`, `duplicates` and the like."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts: dict[str, int] = dict(counts or {})

    def add(self, name: str, n: int = 1) -> None:
        """Adds n to a count."""
        if n:
            self.counts[name] = self.counts.get(name, 0) + n
