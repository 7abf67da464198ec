"""The whole stack from docker-compose.yml, natively and at the shipped intervals: who is paged, and who is not.

`make stack` runs this and shows its story.
"""

import json
import logging
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from schemas.drift import DriftRecord
from schemas.topics import DRIFT
from tests.faults.harness import read_topic
from tests.stack.native import NativeStack
from tests.support.kafka import missing_tools

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(900)]
log = logging.getLogger("stack")

WORKERS = ("worker-1", "worker-2")
#: A name that tries every way out of a query, a template, a route and a line of JSON.
HOSTILE = "日本\"'{{.}}</b>\\n$(x)"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeStack]:
    if missing := missing_tools():
        pytest.skip(f"real Kafka needs {' and '.join(missing)}: install Java 17 or newer and Maven")
    with NativeStack(tmp_path_factory.mktemp("stack")) as running:
        started = time.monotonic()
        running.up(*WORKERS, "pager", "alertmanager", "prometheus")
        log.info("up after %.0f s: Kafka, two workers, Prometheus, Alertmanager, pager", time.monotonic() - started)
        yield running


def ask(stack: NativeStack, path: str, **parameters: str) -> Any:
    url = stack.url("prometheus", 9090, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)["data"]


def value(stack: NativeStack, query: str) -> float:
    return sum(float(each["value"][1]) for each in ask(stack, "query", query=query)["result"])


def told(stack: NativeStack, receiver: str = "oncall", **labels: str) -> list[dict[str, Any]]:
    """What the pager printed for receivers whose name begins so."""
    alerts = [json.loads(line) for line in stack.output("pager").splitlines() if line.startswith("{")]
    return [
        alert
        for alert in alerts
        if alert["receiver"].startswith(receiver) and labels.items() <= alert["labels"].items()
    ]


def eventually(what: Callable[[], Any], stack: NativeStack, seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        firing = [alert["labels"] for alert in ask(stack, "alerts")["alerts"]]
        assert time.monotonic() < deadline, f"not within {seconds} s; alerts: {firing}; paged: {told(stack)}"
        time.sleep(0.2)
    return found


def simulate(stack: NativeStack, *options: str) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [Path(sys.executable).with_name("labelwatch"), "simulate", *options]
    return subprocess.Popen([*command, "--bootstrap", f"127.0.0.1:{stack.port('kafka', 9092)}"])


def test_everything_is_scraped_and_every_rule_evaluates(stack: NativeStack) -> None:
    eventually(lambda: value(stack, 'up{job="labelwatch"}') == 2, stack)
    eventually(lambda: value(stack, 'up{job="labelwatch-agents"}') == 2, stack)
    eventually(lambda: value(stack, "labelwatch_partition_owned") == 4, stack)
    groups = ask(stack, "rules")["groups"]
    assert {group["name"] for group in groups} >= {"labelwatch-page", "labelwatch-ticket", "labelwatch-sites"}
    faults = [(rule["name"], rule["lastError"]) for group in groups for rule in group["rules"] if rule.get("lastError")]
    assert not faults
    assert ask(stack, "alertmanagers")["activeAlertmanagers"]


def test_two_steady_hours_page_nobody_though_prometheus_is_away_for_a_while(stack: NativeStack) -> None:
    began = value(stack, "labelwatch_events_total")
    simulation = simulate(stack, "--scenario", "steady", "--speed", "60x", "--seconds", "120", "--rate", "200")
    try:
        time.sleep(30)
        stack.stop("prometheus")
        log.info("Prometheus is away for a minute")
        time.sleep(60)
        stack.up("prometheus")
        assert simulation.wait(120) == 0
    finally:
        simulation.kill()
        simulation.wait()
    # Past the `for` and the group wait of every page but the slowest.
    time.sleep(150)
    events = value(stack, "labelwatch_events_total") - began
    counted = value(stack, "sum(increase(labelwatch_events_total[10m]))")
    sites = value(stack, 'count(max by (site) (labelwatch_site_reviews{role="agent",window="24h"}))')
    log.info("two simulated hours: %.0f events of %.0f sites, %d pages", events, sites, len(told(stack)))
    assert events > 10_000
    assert counted <= 1.3 * events, "a counter that was taken for a restarted one"
    assert sites == 6
    assert told(stack) == []
    took = {group["name"]: group["evaluationTime"] for group in ask(stack, "rules")["groups"]}
    log.info("rule groups: %s, together %.0f ms", took, sum(took.values()) * 1000)


def test_a_site_dip_is_paged_with_its_cause_and_resolves_when_the_site_recovers(stack: NativeStack) -> None:
    busy = ("--speed", "120x", "--rate", "400", "--points", "0.15")
    of_the_site = {"alertname": "LabelwatchSiteQualityDrift", "site": "manila-1"}
    # Four hours of history to know the site by; ten minutes later the dip begins.
    history = ("--history-seconds", "14400", "--change-seconds", "600")
    dip = simulate(stack, "--scenario", "site-dip", "--seed", "2", "--seconds", "60", *busy, *history)
    try:
        open_now = 'count(labelwatch_drift_active{site="manila-1",budget="page"} == 1)'
        eventually(lambda: value(stack, open_now), stack)
        found = time.monotonic()
        page = eventually(lambda: told(stack, "oncall-operations", **of_the_site), stack, 60)[0]
        log.info("paged %.1f s after the series rose: %s", time.monotonic() - found, page["annotations"]["description"])
        assert dip.wait(120) == 0
    finally:
        dip.kill()
        dip.wait()
    assert page["status"] == "firing"
    assert {alert["labels"]["site"] for alert in told(stack, alertname=of_the_site["alertname"])} == {"manila-1"}
    description = page["annotations"]["description"]
    assert description.startswith("Site manila-1")
    for words in ("accuracy has gone down from 9", "Largest causes, ", "Promise: ", "First: "):
        assert words in description
    assert "准确率由 9" in page["annotations"]["description_zh"]

    records = read_topic(f"127.0.0.1:{stack.port('kafka', 9092)}", DRIFT, partitions=4)
    drifts = [msgspec.json.decode(record.value(), type=DriftRecord) for record in records]
    (opened,) = [drift for drift in drifts if drift.budget == "page" and not drift.project_id]
    assert (opened.site_id, opened.status) == ("manila-1", "opened")
    log.info("on %s: %s", DRIFT, opened.text)

    # As long as its projects need, too: each has half of the reviews, and the page lasts as long as one is open.
    recovery = simulate(stack, "--scenario", "steady", "--seed", "3", "--seconds", "480", *busy)
    try:
        began = time.monotonic()
        eventually(
            lambda: (
                {alert["status"] for alert in told(stack, **of_the_site)[-1:]} == {"resolved"}
                and not value(stack, open_now)
            ),
            stack,
            540,
        )
        log.info("resolved %.0f s after the site began to recover", time.monotonic() - began)
    finally:
        recovery.kill()
        recovery.wait()


class _Page(BaseHTTPRequestHandler):
    """A worker's page with series given by hand."""

    def do_GET(self) -> None:
        body = self.server.page.encode() if self.path == "/metrics" else b""  # type: ignore[attr-defined]  # of the server below
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def drift(site: str, active: int) -> str:
    name = site.replace("\\", "\\\\").replace('"', '\\"')
    labels = f'site="{name}",project="",agent="",signal="accuracy",direction="down",budget="page"'
    cause = f'{labels},by="project",member="{name}",effect="rate"'
    return "".join(
        f"{line}\n"
        for line in (
            f"labelwatch_drift_active{{{labels}}} {active}",
            # Of an open drift alone.
            *([f'labelwatch_drift_info{{{labels},drift_id="d-1",parent="",incident="d-1"}} 1'] if active else []),
            f"labelwatch_drift_baseline_ratio{{{labels}}} 0.951",
            f"labelwatch_drift_current_ratio{{{labels}}} 0.898",
            f"labelwatch_drift_reviews{{{labels}}} 412",
            f"labelwatch_drift_began_timestamp_seconds{{{labels}}} 1763800000",
            f"labelwatch_drift_run_length_reviews{{{labels}}} 24000",
            f"labelwatch_drift_contribution{{{cause}}} -0.031",
            # Which says that somebody shows the site: a drift that is then not open has been cleared.
            f'labelwatch_site_info{{site="{name}",vendor="",timezone="UTC",partition="0"}} 1',
        )
    )


def test_drifts_given_by_hand_are_paged_with_their_cause_and_resolve(stack: NativeStack) -> None:
    """Names that no simulator has: the way from a page to on-call, not the detection.

    A page of the test's own stands in the place of the second worker, whose partitions the first one takes.
    """
    sites = ["by-hand-1", HOSTILE, "站" * 128]
    stack.stop("worker-2")
    server = ThreadingHTTPServer(("127.0.0.1", stack.port("worker-2", 9464)), _Page)

    def show(active: int) -> float:
        server.page = "".join(drift(site, active) for site in sites)  # type: ignore[attr-defined]  # of the server below
        return time.monotonic()

    show(0)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        eventually(lambda: value(stack, 'up{job="labelwatch"}') == 2, stack)
        rose = show(1)
        for site in sites:
            (page,) = eventually(partial(told, stack, "oncall-operations", site=site), stack, 30)
            log.info(
                "paged %.1f s after the series rose: %s", time.monotonic() - rose, page["annotations"]["description"]
            )
            _check_page(page, site)
        with urllib.request.urlopen(page["annotations"]["runbook_url"], timeout=10) as response:
            assert response.read().decode().startswith("# LabelwatchSiteQualityDrift")

        def twice(site: str) -> bool:
            return len(told(stack, site=site)) == 2

        fell = show(0)
        for site in sites:
            eventually(partial(twice, site), stack)
            _, resolved = told(stack, site=site)
            assert resolved["status"] == "resolved"
        log.info("all resolved %.0f s after the series fell", time.monotonic() - fell)
    finally:
        server.shutdown()
        server.server_close()


def _check_page(page: dict[str, Any], site: str) -> None:
    assert page["status"] == "firing"
    assert page["labels"] == {
        "alertname": "LabelwatchSiteQualityDrift",
        "site": site,
        "signal": "accuracy",
        "direction": "down",
        "incident": "d-1",
        "severity": "page",
    }
    description = page["annotations"]["description"]
    assert description.startswith(f"Site {site}: accuracy has gone down from 95.1% to 89.8% (95% interval 86.5% to")
    assert f"not to be added up: project {site} -3.1 points." in description


def test_all_workers_gone_is_one_page_and_their_return_resolves_it(stack: NativeStack) -> None:
    before = len(told(stack))
    for worker in WORKERS:
        if worker in stack.running():
            stack.kill(worker)
    killed = time.monotonic()
    (page,) = eventually(lambda: told(stack, alertname="LabelwatchAbsent"), stack)
    log.info("no worker answers: paged after %.0f s", time.monotonic() - killed)
    assert page["receiver"] == "oncall-platform"
    assert page["annotations"]["summary"] == f"No worker answers: 0 of {len(WORKERS)}"

    stack.up(*WORKERS)
    back = time.monotonic()
    _, resolved = eventually(lambda: len(found := told(stack, alertname="LabelwatchAbsent")) == 2 and found, stack)
    log.info("resolved %.0f s after they were back, from their checkpoints", time.monotonic() - back)
    assert resolved["status"] == "resolved"
    assert len(told(stack)) == before + 2, "one cause, one page"
    eventually(lambda: value(stack, "max by (partition) (labelwatch_partition_owned)") == 4, stack)
