"""Finds implausible times, which no producer can have meant: 0, in seconds, years too old.

They are left out of delays, holds and handling time, and counted by site, field and reason; the event itself counts.
"""

from collections.abc import Iterator

from schemas.events import Event, LabelReviewed, LabelRevised, LabelSubmitted, QueueMeasured, ReviewRevised

DAY_MS = 86_400_000
#: An event may be this far ahead of the broker's append time, or refer to a time this far ahead of itself.
AHEAD_MS = 300_000
#: Nothing is reviewed or revised later than this, a quarter of a year. The events topic itself keeps 35 days.
REFERS_BACK_MS = 90 * DAY_MS
#: A smaller number is a time of 1973 or before if it is in milliseconds; in seconds it can be any time up to the year
#: 5138. So it is taken as seconds.
OLDEST_MS = 100_000_000_000
#: Nobody labels or reviews faster: a shorter duration is in seconds, or of a timer that never ran.
SHORTEST_MS = 100
#: From here on it is no duration but a point in time, or in a unit below the millisecond. A timer that runs on over a
#: weekend is shorter, and its duration is capped.
LONGEST_MS = 7 * DAY_MS

#: Reasons for leaving out a time, and a duration.
TIME_REASONS = ("zero", "seconds", "too_old")
#: Reasons for leaving out the time since when a queue's oldest task waits. It may be old: that is what it is for.
QUEUED_REASONS = ("zero", "seconds", "ahead")
DURATION_REASONS = ("zero", "too_short", "too_long")


def why_not_duration(ms: int) -> str:
    """Why a duration is implausible; empty where it is not."""
    if ms >= LONGEST_MS:
        return "too_long"
    if ms >= SHORTEST_MS:
        return ""
    return "too_short" if ms else "zero"


def why_not_time(ms: int, at_ms: int) -> str:
    """Why a time to which an event of `at_ms` refers back is implausible; empty where it is not."""
    if at_ms - ms <= REFERS_BACK_MS:
        return ""
    return why_not_event_time(ms) or "too_old"


def why_not_event_time(ms: int) -> str:
    """Why an event's own time is implausible; empty where it is not. An event that is only old is `late`."""
    if ms >= OLDEST_MS:
        return ""
    return "seconds" if ms else "zero"


def why_not_queued(ms: int, at_ms: int) -> str:
    """Why a time since when a task waits, as measured at `at_ms`, is implausible; empty where it is not."""
    return "ahead" if ms > at_ms + AHEAD_MS else why_not_event_time(ms)


def implausible(event: Event) -> Iterator[tuple[str, str]]:
    """Field and reason of each implausible time of an event."""
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
    elif isinstance(event, QueueMeasured):
        # Of an empty queue the field says nothing, whatever it is.
        ms = event.oldest_at if event.waiting else None
        if ms is not None and (reason := why_not_queued(ms, event.at)):
            yield "oldest_at", reason
    for field, ms in times:
        if ms is not None and (reason := why_not_time(ms, event.at)):
            yield field, reason
    for field, ms in durations:
        if ms is not None and (reason := why_not_duration(ms)):
            yield field, reason
