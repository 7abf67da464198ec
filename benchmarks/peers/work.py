"""What every Python peer does: its arguments; decode an event, count labels, reviews and time by person; the clock."""

import argparse
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


def arguments(description: str | None, *flags: str) -> argparse.Namespace:
    """What `benchmarks.throughput` gives to each peer, and switches of its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("wanted", type=int, help="events to read")
    parser.add_argument("--uncounted", type=int, default=0, help="of these the first, which are not counted")
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


class Meter:
    """Time from one event to the last, and how many came after it; for one thread that calls `saw`.

    Args:
        wanted: Events to come.
        uncounted: After so many the clock starts: caches are full by then, and compilers have compiled.
    """

    def __init__(self, wanted: int, uncounted: int = 0) -> None:
        self._wanted, self._uncounted = wanted, uncounted
        self._seen = self._began_at = 0
        self._started = self._cpu_started = 0.0

    def saw(self, events: int = 1) -> None:
        """More events; at the last one the result is printed and the process ends, since peers cannot stop soon."""
        self._seen += events
        if not self._began_at and self._seen > self._uncounted:
            self._began_at = self._seen
            self._started, self._cpu_started = time.perf_counter(), time.process_time()
        if self._seen >= self._wanted:
            seconds, cpu_seconds = time.perf_counter() - self._started, time.process_time() - self._cpu_started
            result = {"events": self._seen - self._began_at, "seconds": seconds, "cpu_seconds": cpu_seconds}
            # Faust takes sys.stdout.
            print("\n" + json.dumps(result), file=sys.__stdout__, flush=True)
            os._exit(0)
