"""Writes what documents say of the code from the code: dependencies, events, and the picture in docs/architecture.md.

python .ci/documents.py            writes them (make documents)
python .ci/documents.py --check    only says which are behind; exit code 1 if any is (tests/unit/test_written.py)
"""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from schemas import events_page

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE, DEPENDENCIES = "docs/architecture.md", "docs/dependencies.md"
BEGIN, END = "<!-- imports: begin -->", "<!-- imports: end -->"
#: What is imported under another name than it is installed by.
_IMPORTED_AS = {
    "faust-streaming": "faust",
    "kafka-python": "kafka",
    "markdown-it-py": "markdown_it",
    "pyyaml": "yaml",
    "grafana-foundation-sdk": "grafana_foundation_sdk",
}
_SECTIONS = {
    "": "Always installed",
    "boards": "With the extra `boards`",
    "excel": "With the extra `excel`",
    "parquet": "With the extra `parquet`",
    "demo": "With the extra `demo`",
    "dev": "For development (extra `dev`)",
}
#: Boxes of the picture and what each does, in the order of the data.
_ROOMS = {
    "schemas": "schemas: events, policy, metrics, sentences",
    "detectors": "detectors: statistics, one observation at a time",
    "streams.engine": "engine: figures and drifts of one partition, pure",
    "streams.exporter": "exporter: /metrics, merged over partitions",
    "streams.runtime": "runtime: Faust, Kafka, checkpoints, settings",
    "streams.sources": "sources: simulator, replay",
    "streams.views": "views: board in the terminal, preview",
    "streams.ingest": "ingest: webhooks of labeling tools into Kafka",
    "streams.ops": "ops: the commands' work",
    "streams.cli": "cli: the command labelwatch",
    "grafana": "grafana: boards as code",
}


def imports(folders: tuple[str, ...]) -> dict[str, set[str]]:
    """What each module imports, by its dotted name; a name after `import` counts as a module if it may be one."""
    found: dict[str, set[str]] = {}
    for file in (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))):
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {f"{node.module}.{each.name}" for each in node.names}
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found[module.removesuffix(".__init__")] = names
    return found


def _room(module: str) -> str | None:
    return next((room for room in _ROOMS if module == room or module.startswith(f"{room}.")), None)


def picture() -> str:
    """Which room imports which, as Mermaid draws it; what follows from other arrows is left out."""
    direct: dict[str, set[str]] = defaultdict(set)
    for module, names in imports(("schemas", "detectors", "streams", "grafana")).items():
        if (room := _room(module)) is not None:
            direct[room] |= {other for name in names if (other := _room(name)) not in (None, room)}
    reached: dict[str, set[str]] = {}

    def below(room: str) -> set[str]:
        if room not in reached:
            reached[room] = direct[room].union(*map(below, direct[room]))
        return reached[room]

    lines = ["```mermaid", "flowchart BT"]
    lines += [f'  {room.replace(".", "_")}["{text}"]' for room, text in _ROOMS.items()]
    for room in _ROOMS:
        implied = set().union(*map(below, direct[room]))
        lines += [
            f"  {room.replace('.', '_')} --> {other.replace('.', '_')}"
            for other in _ROOMS
            if other in direct[room] - implied
        ]
    return "\n".join([*lines, "```"])


def _importers(package: str, modules: Mapping[str, set[str]]) -> str:
    name = _IMPORTED_AS.get(package, package.replace("-", "_"))
    rooms = {
        ".".join(module.split(".")[: 2 if module.startswith("streams.") else 1])
        for module, names in modules.items()
        if any(each == name or each.startswith(f"{name}.") for each in names)
    }
    return ", ".join(f"`{room}`" for room in sorted(rooms)) or "nothing"


def dependencies() -> str:
    """The page of the dependencies.

    Raises:
        ValueError: pyproject.toml says of one not why it stays, or of one that is not there.
    """
    given = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    why: dict[str, str] = given["tool"]["labelwatch"]["dependencies"]
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8")))
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    shipped = imports(("schemas", "detectors", "streams", "grafana"))
    everything = shipped | imports(("tests", "benchmarks"))
    parts = [
        "# Dependencies\n\nWritten by `make documents` from pyproject.toml, constraints.txt and the imports; a test "
        "compares. The reasons are in pyproject.toml, `[tool.labelwatch.dependencies]`: a new dependency needs one "
        "there, a range with an upper bound, and its exact version in constraints.txt."
    ]
    seen: set[str] = set()
    project = given["project"]
    for extra, wanted in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        rows = []
        for requirement in wanted:
            package, allowed = re.match(r"([\w-]+)\s*([^;]*)", requirement).groups()  # type: ignore[union-attr]  # PEP 508
            seen.add(package)
            if package not in why:
                raise ValueError(f"pyproject.toml, [tool.labelwatch.dependencies]: say why {package} stays")
            by = _importers(package, everything if extra == "dev" else shipped)
            rows.append(f"| {package} | {allowed.strip()} | {pinned[package]} | {by} | {why[package]} |")
        table = ["| Package | Allowed | Tested | Imported by | Why it stays |", "|---|---|---|---|---|", *rows]
        parts.append(f"## {_SECTIONS[extra]}\n\n" + "\n".join(table))
    if gone := why.keys() - seen:
        raise ValueError(f"pyproject.toml, [tool.labelwatch.dependencies]: nothing asks for {', '.join(sorted(gone))}")
    return "\n\n".join(parts) + "\n"


def written() -> dict[str, str]:
    """Each document as it should be, by its path."""
    before, _, rest = (ROOT / ARCHITECTURE).read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        ARCHITECTURE: f"{before}{BEGIN}\n{picture()}\n{END}{after}",
        DEPENDENCIES: dependencies(),
        str(events_page.PATH): events_page.document(),
    }


def main(arguments: list[str]) -> int:
    """Writes the documents, or says which are behind."""
    behind = 0
    for path, text in written().items():
        file = ROOT / path
        if not file.exists() or file.read_text("utf-8") != text:
            behind += 1
            if "--check" not in arguments:
                file.write_text(text, "utf-8")
            sys.stdout.write(f"{path}: {'behind: run make documents' if '--check' in arguments else 'written'}\n")
    return int(bool(behind) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
