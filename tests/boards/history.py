"""A past for Prometheus: what a page says now, said at earlier times; counters rise from nothing to what they are."""

import math
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
COUNTED = ("_total", "_bucket", "_sum", "_count")

#: Changes the name, labels and value of a sample at so many seconds ago; None leaves it out.
Change = Callable[[str, str, float, float], tuple[str, float] | None]


def unchanged(name: str, labels: str, value: float, ago: float) -> tuple[str, float] | None:
    """Every sample as it is."""
    return labels, value


def backfill(
    data: Path,
    pages: Iterable[tuple[str, str, str]],
    now: float,
    ages: Sequence[float],
    change: Change = unchanged,
) -> int:
    """Writes blocks into a folder from which Prometheus then starts.

    Args:
        data: Prometheus' folder.
        pages: Job, instance and text of pages in the text format 0.0.4; without a job, series as rules record them.
        now: Epoch seconds that ages count from.
        ages: Seconds ago of each sample, the oldest first.
        change: Changes samples on the way.

    Returns:
        Samples written.
    """

    def lines() -> Iterator[str]:
        for job, instance, text in pages:
            for line in text.splitlines():
                match = SAMPLE.match(line) if not line.startswith("#") else None
                if match is None:
                    continue
                name, labels, value = match[1], match[2] or "", float(match[3])
                for ago in ages:
                    counted = value * (1 - ago / (ages[0] + 1)) if name.endswith(COUNTED) else value
                    changed = change(name, labels, counted, ago)
                    if changed is None or not math.isfinite(changed[1]):
                        continue
                    of = (f'job="{job}"', f'instance="{instance}"') if job else ()
                    added = ",".join(filter(None, (changed[0].rstrip(","), *of)))
                    yield f"{name}{{{added}}} {changed[1]!r} {now - ago:.3f}\n"

    return store(data, lines())


def store(data: Path, lines: Iterable[str]) -> int:
    """Writes lines of the OpenMetrics format, with timestamps, as blocks; returns how many."""
    data.mkdir(parents=True, exist_ok=True)
    file = data.parent / "history.om"
    written = 0
    with file.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(line)
            written += 1
        out.write("# EOF\n")
    # It reads the file anew for each block.
    blocks = ("--max-block-duration=162h", "openmetrics")
    subprocess.run(["promtool", "tsdb", "create-blocks-from", *blocks, file, data], check=True, capture_output=True)
    file.unlink()
    return written
