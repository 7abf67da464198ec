"""Presence of people estimated from gaps between their labels, for files without states: the base of utilization."""

from collections.abc import Iterator
from typing import Any

from streams.sources.mapping.errors import MappingError

Fields = dict[str, Any]
#: As the engine's: longer handling is a tab that was left open.
_HANDLE_CAP_MS = 1_800_000
_DAY_MINUTES = 1_440


class EstimatedPresence:
    """Takes labels in order of time, and gives the states in which their people seem to have been.

    A label takes its `handle_ms` before it was handed in, at most 30 minutes, and not what lies before the person's
    last label: `productive`. What is left between two labels is `available` up to the longest gap, and `offline` where
    it is longer. Presence begins with the first label's work and ends with the last label; what a person did before and
    after, nobody knows.

    Memory: a time for each person.

    Args:
        gap_minutes: The longest gap in which a person counts as there.

    Raises:
        MappingError: No time, or more than a day.
    """

    def __init__(self, gap_minutes: float) -> None:
        if not 0 < gap_minutes <= _DAY_MINUTES:
            raise MappingError(
                f"presence-gap-minutes {gap_minutes:g}: use minutes from above 0 to {_DAY_MINUTES:,}; 15 suits most"
            )
        self.gap_minutes = gap_minutes
        self._gap_ms = round(gap_minutes * 60_000)
        self._last_ms: dict[tuple[str, str], int] = {}

    def take(self, event: Fields) -> Iterator[Fields]:
        """The states that a label shows, the one before it included; none of other events."""
        if event["type"] != "label_submitted":
            return
        person, at_ms = (event["site_id"], event["agent_id"]), event["at"]
        begin_ms = max(at_ms - min(event.get("handle_ms") or 0, _HANDLE_CAP_MS), 0)
        last_ms = self._last_ms.get(person)
        if last_ms is not None:
            begin_ms = max(begin_ms, last_ms)
            if begin_ms > last_ms:
                is_away = begin_ms - last_ms > self._gap_ms
                yield _state(person, last_ms, "offline" if is_away else "available")
        if begin_ms != last_ms:
            yield _state(person, begin_ms, "productive")
        self._last_ms[person] = at_ms

    def close(self) -> Iterator[Fields]:
        """Everybody's end, when all labels were taken."""
        for person, last_ms in self._last_ms.items():
            yield _state(person, last_ms, "offline")


def _state(person: tuple[str, str], at_ms: int, state: str) -> Fields:
    site, agent = person
    return {
        "type": "state_changed", "at": at_ms, "site_id": site, "agent_id": agent, "state": state, "estimated": True,
    }  # fmt: skip  # an event in one glance
