"""Peer: Quix Streams, counts by person in its state store (RocksDB) with a changelog topic."""

import os
import tempfile

from quixstreams import Application, State

from benchmarks.peers.work import Meter, arguments, count, decode
from schemas.events import LabelReviewed, LabelSubmitted


def main(bootstrap: str, topic_name: str, meter: Meter) -> None:
    """Runs until the meter has seen enough."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"bench-quix-{os.getpid()}",
        auto_offset_reset="earliest",
        commit_interval=5.0,
        state_dir=tempfile.mkdtemp(),
        loglevel="ERROR",
    )
    topic = app.topic(topic_name, key_deserializer="bytes", value_deserializer="bytes")

    def count_by_person(value: bytes, state: State) -> None:
        event = decode(value)
        if isinstance(event, LabelSubmitted | LabelReviewed):
            # The state of a message key, a site, is its own; people are keys within it.
            state.set(event.agent_id, count(state.get(event.agent_id), event))
        meter.saw()

    app.dataframe(topic).update(count_by_person, stateful=True)
    app.run()


if __name__ == "__main__":
    given = arguments(__doc__)
    main(given.bootstrap, given.topic, Meter(given.wanted, given.uncounted))
