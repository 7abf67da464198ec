"""The receiver's own metrics, made from the catalogue."""

import time

from prometheus_client import Histogram, generate_latest

from schemas.metrics import METRICS
from streams.exporter.own_page import OwnMetrics
from streams.ingest.spool import Backlog

#: What a sweep can find that no webhook had reported.
MISSING_KINDS = ("created", "updated", "deleted")


class IngestMetrics(OwnMetrics):
    """What the receiver counts; each attribute is a metric of the catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks = self.counter("labelwatch_ingest_hooks_total")
        self.refused = self.counter("labelwatch_ingest_refused_total")
        self.events = self.counter("labelwatch_ingest_events_total")
        self.repeated = self.counter("labelwatch_ingest_repeated_total")
        self.missing = self.counter("labelwatch_ingest_missing_total")
        # There from the start: of a series that begins with what was lost, Prometheus counts nothing.
        for kind in MISSING_KINDS:
            self.missing.labels(kind)
        self.unknown_people = self.gauge("labelwatch_ingest_unknown_people")
        self.sent = self.counter("labelwatch_ingest_sent_total")
        self.send_failures = self.counter("labelwatch_ingest_send_failures_total")
        self.last_sweep = self.gauge("labelwatch_ingest_last_sweep_timestamp_seconds")
        self.sweep_failures = self.counter("labelwatch_ingest_sweep_failures_total")
        answer = METRICS["labelwatch_ingest_answer_seconds"]
        self.answer_seconds = Histogram(answer.name, answer.help, registry=self.registry, buckets=answer.buckets)
        self._spool_records = self.gauge("labelwatch_ingest_spool_records")
        self._spool_age = self.gauge("labelwatch_ingest_spool_age_seconds")
        self._spool_bytes = self.gauge("labelwatch_ingest_spool_size_bytes")

    def page(self, backlog: Backlog) -> bytes:
        """The page, with what waits in the spool."""
        self._spool_records.set(backlog.records)
        self._spool_age.set(0 if backlog.oldest_at is None else max(time.time() - backlog.oldest_at, 0))
        self._spool_bytes.set(backlog.bytes)
        return generate_latest(self.registry)
