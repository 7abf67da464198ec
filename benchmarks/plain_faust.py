"""Peer: Faust as its tutorial has it, one event at a time; counts by person in a dict, or in a table."""

import os
import sys
import tempfile

import faust

from benchmarks.peers.work import Meter, arguments, decode
from schemas.events import LabelReviewed, LabelSubmitted


def make_app(bootstrap: str, topic_name: str, meter: Meter, *, table: bool) -> faust.App:
    """An app whose process the meter ends: a Faust worker cannot end itself from a Faust agent in a bounded time."""
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

    @app.agent(topic)
    async def count_by_person(stream: faust.types.StreamT[bytes]) -> None:
        async for value in stream:
            event = decode(value)
            if isinstance(event, LabelSubmitted | LabelReviewed):
                key = f"{event.site_id}/{event.agent_id}"
                counts[key] = (counts[key] if table else counts.get(key, 0)) + 1
            meter.saw()

    return app


if __name__ == "__main__":
    given = arguments(__doc__, "--table")
    app = make_app(given.bootstrap, given.topic, Meter(given.wanted, given.uncounted), table=given.table)
    sys.argv = ["faust", "worker", "--loglevel", "error", "--without-web"]
    app.main()
