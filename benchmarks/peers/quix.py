"""Peer: Quix Streams, counts by person in its state store (RocksDB) with a changelog topic."""

import argparse
import os
import tempfile

from quixstreams import Application, State

from benchmarks.peers.work import Meter, count, decode
from schemas.events import LabelReviewed, LabelSubmitted


def main(bootstrap: str, topic_name: str, wanted: int) -> None:
    """Runs until so many events have passed."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"bench-quix-{os.getpid()}",
        auto_offset_reset="earliest",
        commit_interval=5.0,
        state_dir=tempfile.mkdtemp(),
        loglevel="ERROR",
    )
    topic = app.topic(topic_name, key_deserializer="bytes", value_deserializer="bytes")
    meter = Meter(wanted)

    def count_by_person(value: bytes, state: State) -> None:
        event = decode(value)
        if isinstance(event, LabelSubmitted | LabelReviewed):
            # The state of a message key, a site, is its own; people are keys within it.
            state.set(event.agent_id, count(state.get(event.agent_id), event))
        meter.saw()

    app.dataframe(topic).update(count_by_person, stateful=True)
    app.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    main(arguments.bootstrap, arguments.topic, arguments.count)
