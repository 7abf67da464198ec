"""Peer: Bytewax, counts by person in a stateful step; with `--recovery` snapshots go to its store every 5 s."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from benchmarks.peers.work import Meter, PersonCounts, arguments, count, decode
from schemas.events import LabelReviewed, LabelSubmitted

PARTITIONS = 2
BATCH = 10_000


class _Nothing(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        """Throws them away."""


class _Nowhere(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Nothing:
        """A sink for each worker."""
        return _Nothing()


def main(bootstrap: str, topic: str, meter: Meter, *, recovery: bool) -> None:
    """Runs until the meter has seen enough."""
    flow = Dataflow("bench")

    def keyed(message: Any) -> list[tuple[str, LabelSubmitted | LabelReviewed]]:
        event = decode(message.value)
        is_work = isinstance(event, LabelSubmitted | LabelReviewed)
        if not is_work:
            meter.saw()
            return []
        return [(f"{event.site_id}/{event.agent_id}", event)]

    def add(counts: PersonCounts | None, event: LabelSubmitted | LabelReviewed) -> tuple[PersonCounts, None]:
        meter.saw()
        return count(counts, event), None

    events = op.input("events", flow, KafkaSource([bootstrap], [topic], tail=True, batch_size=BATCH))
    people = op.flat_map("decode", events, keyed)
    counted = op.stateful_map("count", people, add)
    op.output("nowhere", op.filter("drop", counted, lambda _: False), _Nowhere())
    if not recovery:
        cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=5))
        return
    store = Path(tempfile.mkdtemp())
    init_db_dir(store, PARTITIONS)
    cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=5), recovery_config=RecoveryConfig(str(store)))


if __name__ == "__main__":
    given = arguments(__doc__, "--recovery")
    main(given.bootstrap, given.topic, Meter(given.wanted, given.uncounted), recovery=given.recovery)
