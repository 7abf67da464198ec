"""A real Prometheus of tests that has the shipped rules and scrapes two workers each second."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from schemas.metrics import Page
from tests.faults.harness import until
from tests.stack.native import ROOT, answers
from tests.support.ports import free_ports

SCRAPE_SECONDS = 1
#: Rule groups that are evaluated with every scrape here.
OFTEN = {"labelwatch-sites", "labelwatch-levels"}
Series = tuple[str, frozenset[tuple[str, str]]]


class Prometheus:
    """A real one with the shipped rules, and two workers' addresses; ends with the block that opened it.

    Args:
        folder: Scratch space.
        targets: Of both pages.
    """

    def __init__(self, folder: Path, targets: list[str]) -> None:
        folder.mkdir()
        (folder / "rules").mkdir()
        for source in (ROOT / "prometheus" / "rules").glob("*.yml"):
            rules = yaml.safe_load(source.read_text("utf-8"))
            for group in rules["groups"]:
                # As often as the pages are scraped, so that no moment of a hand-over is missed.
                group["interval"] = f"{SCRAPE_SECONDS}s" if group["name"] in OFTEN else group["interval"]
            (folder / "rules" / source.name).write_text(yaml.safe_dump(rules))
        jobs = [
            {"job_name": job, "metrics_path": page.value, "static_configs": [{"targets": targets}], **timing}
            for job, page, timing in (
                ("labelwatch", Page.SITES, {}),
                ("labelwatch-agents", Page.AGENTS, {"scrape_interval": "2s", "scrape_timeout": "2s"}),
            )
        ]
        seconds = f"{SCRAPE_SECONDS}s"
        config = {
            "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds,
                       "external_labels": {"runbooks": "http://runbooks", "dashboards": "http://boards"}},
            "rule_files": ["rules/*.yml"],
            "scrape_configs": jobs,
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._port, self._log = free_ports(1)[0], folder / "prometheus.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=output,
                stderr=output,
            )
        try:
            until(lambda: answers(f"http://127.0.0.1:{self._port}/-/ready"), "Prometheus is ready")
        except AssertionError:
            self.close()
            raise AssertionError(self._log.read_text()) from None

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, path: str, **parameters: Any) -> Any:
        """Data of an API call."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def vector(self, query: str, at: float) -> dict[frozenset[tuple[str, str]], float]:
        """Labels to value of an instant query."""
        result = self.ask("query", query=query, time=at)["result"]
        return {label_pairs(each["metric"]): float(each["value"][1]) for each in result}

    def samples(self, selector: str, at: float, seconds: int) -> dict[Series, list[tuple[float, str, float]]]:
        """Raw samples by series without its instance: (time, instance, value), in the order of time."""
        found: dict[Series, list[tuple[float, str, float]]] = defaultdict(list)
        for each in self.ask("query", query=f"{selector}[{seconds}s]", time=at)["result"]:
            metric = dict(each["metric"])
            name, instance = metric.pop("__name__"), metric.pop("instance", "")
            found[name, label_pairs(metric)] += [(float(t), instance, float(value)) for t, value in each["values"]]
        return {series: sorted(samples) for series, samples in found.items()}


def label_pairs(metric: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in metric.items() if name not in ("__name__", "job") and value)
