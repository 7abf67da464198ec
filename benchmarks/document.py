"""docs/benchmarks.md and docs/scaling.md: regions that a run writes, and what it ran on."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

BENCHMARKS, SCALING = Path("docs/benchmarks.md"), Path("docs/scaling.md")
#: What the runs measured, for the model of docs/scaling.md and for the next run's floor.
NUMBERS = Path("docs/benchmarks.json")


def write(document: Path, region: str, text: str) -> None:
    """Puts text between a region's marks.

    Raises:
        ValueError: The document has no such region.
    """
    begin, end = f"<!-- {region}: begin -->", f"<!-- {region}: end -->"
    before, found, rest = document.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{document} has no region {region}")
    document.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", "utf-8")


def keep(region: str, numbers: object) -> None:
    """Keeps a run's numbers."""
    kept = json.loads(NUMBERS.read_text("utf-8")) if NUMBERS.exists() else {}
    kept[region] = numbers
    NUMBERS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")


def machine() -> str:
    """What it runs on, in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux: the plainer name will do
    load_average = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}, load before the run {load_average}"
    )


def versions() -> str:
    """Versions of all that takes part, in one line."""
    names = ("labelwatch", "faust-streaming", "aiokafka", "msgspec", "numpy")
    ours = [f"{name} {version(name)}" for name in names]
    return ", ".join([f"Python {platform.python_version()}", *ours, f"librdkafka {confluent_kafka.libversion()[0]}"])


def commit() -> str:
    """The commit it runs at; `+` where files have been changed."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", "streams", "detectors", "schemas", "benchmarks"
    )
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def conditions() -> str:
    """Machine, versions and commit as Markdown."""
    return f"{machine()}; {versions()}; commit {commit()}."
