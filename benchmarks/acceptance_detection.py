"""The nine points that drift detection must reach, measured on the detectors as the engine drives them.

Run: python -m benchmarks.acceptance_detection           prints the table, in a few minutes
     python -m benchmarks.acceptance_detection 1 5       only these points
     python -m benchmarks.acceptance_detection --write   writes the table into docs/detection.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.acceptance import Finding
from benchmarks.acceptance_alarms import point_1, point_2, point_3, point_4, point_5
from benchmarks.acceptance_data import point_6, point_7, point_8
from benchmarks.acceptance_ends import point_9

DOCUMENT = Path("docs/detection.md")
BEGIN, END = "<!-- acceptance: begin -->", "<!-- acceptance: end -->"


POINTS = (point_1, point_2, point_3, point_4, point_5, point_6, point_7, point_8, point_9)


def measured(points: list[int]) -> Iterator[Finding]:
    """The figures of some points, each from a seed of its own."""
    for number in points:
        yield from POINTS[number - 1](np.random.default_rng(100 + number))


def shown(line: Finding) -> str:
    """One row of the Markdown table."""
    digits = 0 if line.value >= 100 else 2 if line.value >= 1 else 3
    error = f" +- {line.error:,.{digits}f}" if line.error else ""
    verdict = {True: "reached", False: "**not reached**", None: ""}[line.reached]
    return f"| {line.point} | {line.what} | {line.value:,.{digits}f}{error} | {line.limit} | {verdict} |"


def main() -> None:
    """Prints the table line by line; with --write puts it into the document."""
    chosen = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(range(1, len(POINTS) + 1))
    rows = ["| point | measured | figure | must reach | |", "|---|---|---|---|---|"]
    print("\n".join(rows))
    for line in measured(chosen):
        rows.append(shown(line))
        print(rows[-1], flush=True)
    if "--write" in sys.argv:
        before, rest = DOCUMENT.read_text("utf-8").split(BEGIN)
        made = "\n".join(rows)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
