"""Writes every board in both languages to grafana/dashboards, where Grafana finds them: `make boards`.

Run: python -m grafana.generate          (writes)
     python -m grafana.generate --check  (fails where a file differs)
"""

import argparse
import sys
from pathlib import Path

from grafana import capacity, coach, operations, pipeline, quality, site
from schemas.words import LANGUAGES

FOLDER = Path(__file__).parent / "dashboards"
#: In the order of their links.
MAKERS = (operations.make, site.make, coach.make, capacity.make, quality.make, pipeline.make)


def boards() -> dict[str, str]:
    """File names and their content."""
    made = {}
    for make in MAKERS:
        for language in LANGUAGES:
            board = make(language)
            made[f"{board.uid}.json"] = board.json()
    return made


def differences(folder: Path = FOLDER) -> list[str]:
    """Files that are missing, differ, or are no board's."""
    made = boards()
    found = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.json"))}
    return [name for name in sorted(made.keys() | found.keys()) if made.get(name) != found.get(name)]


def main() -> int:
    """Writes or compares; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if parser.parse_args().check:
        different = differences()
        if different:
            sys.stderr.write(f"differ from what `make boards` writes: {', '.join(different)}\n")
        return int(bool(different))
    FOLDER.mkdir(exist_ok=True)
    made = boards()
    for stale in FOLDER.glob("*.json"):
        if stale.name not in made:
            stale.unlink()
    for name, content in made.items():
        (FOLDER / name).write_text(content, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
