"""What the rules cost: /metrics of 200 sites, 5 projects and 2 markets, scraped and evaluated by a real Prometheus.

Run: python -m benchmarks.rules    (needs the program `prometheus`)
"""

import json
import statistics
import tempfile
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.exporter import _Given, showing, sites
from schemas.metrics import SITE_WINDOWS
from schemas.topics import EVENTS
from streams.engine.figures import Figures
from streams.exporter.collector import SitesCollector
from streams.exporter.pseudonyms import plain
from streams.exporter.text import render
from tests.stack.native import NativeStack

SITES = 200
#: Three rounds of the slowest frequent group.
SECONDS = 100


#: What a calm operation shows in place of chance: no rule has a reason to fire.
CALM = {
    "labelwatch_site_accuracy_ratio": 0.955,
    "labelwatch_site_accuracy_lower_ratio": 0.945,
    "labelwatch_site_accuracy_upper_ratio": 0.965,
    "labelwatch_site_utilization_ratio": 0.97,
    "labelwatch_site_labels_per_productive_hour": 60.0,
}
UNSEEN = ("labelwatch_policy_min_reviews", "labelwatch_target_ratio", "labelwatch_site_info", "labelwatch_site_labels")


def figures() -> Figures:
    """Every site series of a calm operation, and the targets by which rules judge it."""
    made = sites(SITES)
    for name, value in CALM.items():
        made.samples[name] = [(labels, value) for labels, _ in made.samples[name]]
    for name in UNSEEN:
        made.samples.pop(name, None)
    for number in range(SITES):
        site = f"site-{number}"
        for kind in ("accuracy", "utilization"):
            made.add("labelwatch_target_ratio", (site, "", "", kind), 0.95)
        made.add("labelwatch_policy_min_reviews", (site, "", ""), 30)
        made.add("labelwatch_site_info", (site, "acme", "UTC", str(number % 4)), 1)
        for window in SITE_WINDOWS:
            made.add("labelwatch_site_labels", (site, window), 10_000_000)
    made.add("labelwatch_policy_min_reviews", ("", "", ""), 30)
    for partition in range(4):
        made.add("labelwatch_consumer_lag_seconds", (EVENTS, str(partition)), 0)
        made.add("labelwatch_partition_owned", (EVENTS, str(partition)), 1)
    return made


class _Page(BaseHTTPRequestHandler):
    page = b""

    def do_GET(self) -> None:
        body = self.page if self.path == "/metrics" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    """Prints the time of a page, of a scrape and of each rule group."""
    collector = SitesCollector(showing(_Given(figures=figures())), plain)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        _Page.page = b"".join(render(collector.collect()))
        took.append(time.perf_counter() - began)
    lines = sum(not line.startswith(b"#") for line in _Page.page.splitlines())
    print(f"/metrics, {SITES} sites, 5 projects, 2 markets: {lines:,} series, {statistics.median(took) * 1e3:.0f} ms")
    with tempfile.TemporaryDirectory() as folder, NativeStack(Path(folder)) as stack:
        server = ThreadingHTTPServer(("127.0.0.1", stack.port("worker-1", 9464)), _Page)
        Thread(target=server.serve_forever, daemon=True).start()
        stack.up("prometheus")
        time.sleep(SECONDS)

        def ask(path: str) -> Any:
            with urllib.request.urlopen(stack.url("prometheus", 9090, f"/api/v1/{path}"), timeout=10) as response:
                return json.load(response)["data"]

        samples = ask("query?query=scrape_duration_seconds%7Bjob%3D%22labelwatch%22%7D")["result"]
        print(f"scrape: {max(float(each['value'][1]) for each in samples) * 1e3:.0f} ms")
        groups = {group["name"]: group["evaluationTime"] * 1e3 for group in ask("rules")["groups"]}
        for name, milliseconds in groups.items():
            print(f"  {name:<20} {milliseconds:6.1f} ms")
        print(f"all rule groups: {sum(groups.values()):.0f} ms")
        server.shutdown()


if __name__ == "__main__":
    main()
