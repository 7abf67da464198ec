"""Peer: Faust as its tutorial has it, one event at a time; counts by person in a dict, or in a table."""

import argparse
import json
import os
import sys
import tempfile
import time

import faust
import msgspec

from schemas.events import AnyEvent, LabelReviewed, LabelSubmitted


def make_app(bootstrap: str, topic_name: str, count: int, *, table: bool) -> faust.App:
    """An app that ends the process, and prints its rate, once `count` events have passed."""
    app = faust.App(
        f"bench-faust-{os.getpid()}",
        broker=f"kafka://{bootstrap}",
        datadir=tempfile.mkdtemp(),
        store="memory://",
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(topic_name, value_serializer="raw", key_serializer="raw")
    counts = app.Table("counts", default=int, partitions=2) if table else dict[str, int]()
    decode = msgspec.json.Decoder(AnyEvent).decode

    @app.agent(topic)
    async def count_by_person(stream: faust.types.StreamT[bytes]) -> None:
        seen = 0
        started = cpu_started = 0.0
        async for value in stream:
            if not seen:
                started, cpu_started = time.perf_counter(), time.process_time()
            event = decode(value)
            if isinstance(event, LabelSubmitted | LabelReviewed):
                key = f"{event.site_id}/{event.agent_id}"
                counts[key] = (counts[key] if table else counts.get(key, 0)) + 1
            seen += 1
            if seen == count:
                seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
                result = {"events": seen, "seconds": seconds, "cpu_seconds": cpu_seconds}
                print("\n" + json.dumps(result), file=sys.__stdout__, flush=True)  # Faust has taken sys.stdout
                os._exit(0)  # a Faust worker cannot end itself from an agent in a bounded time

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic_name")
    parser.add_argument("count", type=int)
    parser.add_argument("--table", action="store_true")
    app = make_app(**vars(parser.parse_args()))
    sys.argv = ["faust", "worker", "--loglevel", "error", "--without-web"]
    app.main()
