"""A page's samples, site by site, for tests of what reads them."""

from streams.views.reading import Reading, read
from streams.views.samples import Samples

NOW = 1_763_985_600.0


class Scrape:
    """Samples, site by site."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.add("labelwatch_watermark_timestamp_seconds", NOW)
        self.add("labelwatch_ready", 1, reason="caught_up")

    def add(self, name: str, value: float, **labels: str) -> None:
        self.samples.by_name.setdefault(name, []).append((labels, value))

    def site(
        self,
        site: str,
        interval: tuple[float, float, float] | None = None,
        *,
        reviews: int = 400,
        labels: int = 100,
        silent_seconds: float = 0.0,
        working: int = 12,
        target: float = 0.95,
    ) -> None:
        """A site; `interval` is accuracy with its lower and upper bound."""
        self.add("labelwatch_site_info", 1, site=site, vendor="", timezone="UTC", partition="0")
        self.add("labelwatch_target_ratio", target, site=site, project="", market="", kind="accuracy")
        scope = {"site": site, "role": "agent", "window": "24h"}
        if interval is not None:
            for name, value in zip(("accuracy", "accuracy_lower", "accuracy_upper"), interval, strict=True):
                self.add(f"labelwatch_site_{name}_ratio", value, **scope)
        if reviews:
            self.add("labelwatch_site_reviews", reviews, **scope)
        if labels:
            self.add("labelwatch_site_labels", labels, site=site, window="1h")
        if working:
            self.add("labelwatch_site_agents", working, site=site, role="agent", state="productive")
        at = NOW - silent_seconds
        self.add("labelwatch_site_last_event_timestamp_seconds", at, site=site, type="label_submitted")

    def drift(self, site: str, **labels: str) -> None:
        scope = {"site": site, "project": "spam", "agent": "", "signal": "accuracy", "direction": "down", **labels}
        scope.setdefault("budget", "page")
        self.add("labelwatch_drift_active", 1, **scope)
        for name, value in (("evidence", 1.7), ("baseline_ratio", 0.96), ("current_ratio", 0.88), ("reviews", 312)):
            self.add(f"labelwatch_drift_{name}", value, **scope)
        self.add("labelwatch_drift_began_timestamp_seconds", NOW - 660, **scope)

    def reading(self) -> Reading:
        return read(self.samples, NOW)
