"""Pages of the processes that are no workers, as they serve them: a receiver of webhooks and a bridge."""

import time
from collections import Counter

from prometheus_client import generate_latest

from streams.ingest.metrics import IngestMetrics
from streams.ingest.spool import Backlog
from streams.ops.bridge import BridgeMetrics
from streams.sources.bridge import Bridged


def pages_apart() -> list[tuple[str, str, str]]:
    """Job, instance and page of each, of a day on which a little of everything has happened."""
    receiver = IngestMetrics()
    receiver.hooks.labels("ANNOTATION_CREATED").inc(900)
    receiver.refused.labels("secret").inc(40)
    receiver.missing.labels("created").inc(7)
    receiver.sweep_failures.labels("1").inc(2)
    bridge = BridgeMetrics()
    bridge.assigned([0, 1])
    events: Counter[str] = Counter({"label_submitted": 700, "label_reviewed": 20})
    for partition in (0, 1):
        bridge.committed(partition, Bridged(1_000, 250, events, Counter({"json": 50})), 300)
    bridge.failed()
    return [
        ("labelwatch-ingest", "hooks:9470", receiver.page(Backlog(120, time.time() - 90, 1_000_000)).decode()),
        ("labelwatch-bridge", "bridge:9467", generate_latest(bridge.registry).decode()),
    ]
