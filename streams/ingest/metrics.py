"""The receiver's own metrics, made from the catalogue."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from schemas.metrics import METRICS
from streams.ingest.spool import Backlog

#: What a sweep can find that no webhook had reported.
MISSING_KINDS = ("created", "updated", "deleted")


class IngestMetrics:
    """What the receiver counts; each attribute is a metric of the catalogue."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # As on a worker's pages: a counter is one series.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client gives it no types
        self.hooks = self._counter("labelwatch_ingest_hooks_total")
        self.refused = self._counter("labelwatch_ingest_refused_total")
        self.events = self._counter("labelwatch_ingest_events_total")
        self.repeated = self._counter("labelwatch_ingest_repeated_total")
        self.missing = self._counter("labelwatch_ingest_missing_total")
        # There from the start: of a series that begins with what was lost, Prometheus counts nothing.
        for kind in MISSING_KINDS:
            self.missing.labels(kind)
        self.unknown_people = self._gauge("labelwatch_ingest_unknown_people")
        self.sent = self._counter("labelwatch_ingest_sent_total")
        self.send_failures = self._counter("labelwatch_ingest_send_failures_total")
        self.last_sweep = self._gauge("labelwatch_ingest_last_sweep_timestamp_seconds")
        self.sweep_failures = self._counter("labelwatch_ingest_sweep_failures_total")
        answer = METRICS["labelwatch_ingest_answer_seconds"]
        self.answer_seconds = Histogram(answer.name, answer.help, registry=self.registry, buckets=answer.buckets)
        self._spool_records = self._gauge("labelwatch_ingest_spool_records")
        self._spool_age = self._gauge("labelwatch_ingest_spool_age_seconds")
        self._spool_bytes = self._gauge("labelwatch_ingest_spool_size_bytes")

    def page(self, backlog: Backlog) -> bytes:
        """The page, with what waits in the spool."""
        self._spool_records.set(backlog.records)
        self._spool_age.set(0 if backlog.oldest_at is None else max(time.time() - backlog.oldest_at, 0))
        self._spool_bytes.set(backlog.bytes)
        return generate_latest(self.registry)

    def _counter(self, name: str) -> Any:
        return Counter(name, METRICS[name].help, METRICS[name].labels, registry=self.registry)

    def _gauge(self, name: str) -> Any:
        return Gauge(name, METRICS[name].help, METRICS[name].labels, registry=self.registry)
