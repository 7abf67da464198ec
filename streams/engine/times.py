"""Times that a producer cannot have meant: in seconds, 0, of years before. What each event's are, and why not.

They are left out of delays, holds and handling time, and counted by site, field and reason; the event itself counts.
"""

from collections.abc import Iterator

from schemas.events import Event, LabelReviewed, LabelRevised, LabelSubmitted, ReviewRevised

DAY_MS = 86_400_000
#: Nothing is reviewed or revised so long after: a quarter. The events topic itself holds 35 days.
REFERS_BACK_MS = 90 * DAY_MS
#: Event times below are of 1973 and before, as milliseconds; as seconds they reach beyond the year 5000.
OLDEST_MS = 100_000_000_000
#: Nobody labels or reviews faster: such a duration is in seconds, or a timer that never ran.
SHORTEST_MS = 100
#: From here on it is no duration but a point in time, or a unit below the millisecond. A timer that runs on over a
#: weekend is shorter, and capped.
LONGEST_MS = 7 * DAY_MS

#: Why a time is left out, and why a duration.
TIME_REASONS = ("zero", "seconds", "too_old")
DURATION_REASONS = ("zero", "too_short", "too_long")


def why_not_duration(ms: int) -> str:
    """Why a duration cannot be meant; empty where it can."""
    if ms >= LONGEST_MS:
        return "too_long"
    if ms >= SHORTEST_MS:
        return ""
    return "too_short" if ms else "zero"


def why_not_time(ms: int, at_ms: int) -> str:
    """Why a time that an event of `at_ms` refers back to cannot be meant; empty where it can."""
    if at_ms - ms <= REFERS_BACK_MS:
        return ""
    return why_not_event_time(ms) or "too_old"


def why_not_event_time(ms: int) -> str:
    """Why an event's own time cannot be meant; empty where it can. What is old by right is `late`."""
    if ms >= OLDEST_MS:
        return ""
    return "seconds" if ms else "zero"


def implausible(event: Event) -> Iterator[tuple[str, str]]:
    """Field and reason of each time of an event that cannot be meant."""
    if reason := why_not_event_time(event.at):
        yield "at", reason
    durations: list[tuple[str, int | None]] = []
    times: list[tuple[str, int | None]] = []
    if isinstance(event, LabelSubmitted):
        durations = [("handle_ms", None if event.skipped else event.handle_ms)]
    elif isinstance(event, LabelReviewed):
        times = [("labeled_at", event.labeled_at)]
        durations = [("review_ms", None if event.reviewer_id is None else event.review_ms)]
    elif isinstance(event, ReviewRevised):
        times = [("reviewed_at", event.reviewed_at)]
    elif isinstance(event, LabelRevised):
        times = [("submitted_at", event.submitted_at)]
        durations = [("handle_ms", None if event.new is None or event.new.skipped else event.new.handle_ms)]
    for field, ms in times:
        if ms is not None and (reason := why_not_time(ms, event.at)):
            yield field, reason
    for field, ms in durations:
        if ms is not None and (reason := why_not_duration(ms)):
            yield field, reason
