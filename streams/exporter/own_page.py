"""Metrics of a process that is no worker, made from the catalogue; it serves them on a page of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from schemas.metrics import METRICS


class OwnMetrics:
    """A registry, and the metrics of the catalogue that are put into it.

    Attributes:
        registry: What the page shows.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # As on a worker's pages: a counter is one series.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client gives it no types

    def counter(self, name: str) -> Counter:
        """A counter of the catalogue."""
        return Counter(name, METRICS[name].help, METRICS[name].labels, registry=self.registry)

    def gauge(self, name: str) -> Gauge:
        """A gauge of the catalogue."""
        return Gauge(name, METRICS[name].help, METRICS[name].labels, registry=self.registry)
