"""Settings of the whole test run; the brokers are fixtures of tests.support."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.console", "tests.support.kafka", "tests.support.tansu"]

KAFKA_TESTS = Path(__file__).parent / "kafka"
#: What simulates weeks gets so long beside everything else of `.ci/run`; whatever hangs ends all the same.
SLOW_SECONDS = 1_800
IN_CI = os.environ.get("CI") == "true"

# Servers of tests are on this machine, where no proxy of the environment can reach them.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, ["127.0.0.1,localhost,::1", os.environ.get(_name)]))

# No deadlines: the machine may be busy, and a test says nothing about speed.
settings.register_profile("labelwatch", deadline=None, print_blob=True)
settings.load_profile("labelwatch")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files that cannot have what `-m` asks for first: each process would import all of them for nothing.

    A mark is given by name in the file itself, but for `kafka`, which a fixture's name or the folder gives.
    """
    mark = str(config.option.markexpr).partition(" ")[0]
    if mark not in ("kafka", "slow", "promtool") or collection_path.suffix != ".py":
        return None
    if mark == "kafka" and collection_path.is_relative_to(KAFKA_TESTS):
        return None
    return None if mark in collection_path.read_text("utf-8") else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is in tests/kafka/ or uses its broker, before `-m` selects, and gives slow tests their time."""
    for item in items:
        if item.path.is_relative_to(KAFKA_TESTS) or "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Makes a skip a failure in CI: a check that did not run has not passed."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where nothing may be: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is collected."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where nothing may be: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
