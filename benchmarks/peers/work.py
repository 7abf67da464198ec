"""What every Python peer does with an event: decode it, and count labels, reviews and time by person."""

import json
import os
import sys
import time

import msgspec

from schemas.events import AnyEvent, LabelReviewed, LabelSubmitted

decode = msgspec.json.Decoder(AnyEvent).decode

#: Labels, reviews, correct reviews, handling time in ms.
PersonCounts = list[int]


def count(counts: PersonCounts | None, event: LabelSubmitted | LabelReviewed) -> PersonCounts:
    """The counts of a person after an event."""
    labels, reviews, correct, handle_ms = counts or (0, 0, 0, 0)
    if isinstance(event, LabelSubmitted):
        return [labels + 1, reviews, correct, handle_ms + (event.handle_ms or 0)]
    return [labels, reviews + 1, correct + event.correct, handle_ms]


class Meter:
    """Time from the first event to the last, of one thread that calls `saw`.

    Args:
        wanted: Events to come.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._seen = 0
        self._started = self._cpu_started = 0.0

    def saw(self) -> None:
        """One more event; at the last one the result is printed and the process ends, since peers cannot stop soon."""
        if not self._seen:
            self._started, self._cpu_started = time.perf_counter(), time.process_time()
        self._seen += 1
        if self._seen == self._wanted:
            seconds, cpu_seconds = time.perf_counter() - self._started, time.process_time() - self._cpu_started
            result = {"events": self._seen, "seconds": seconds, "cpu_seconds": cpu_seconds}
            print("\n" + json.dumps(result), file=sys.__stdout__, flush=True)
            os._exit(0)
