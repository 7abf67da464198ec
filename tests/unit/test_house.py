"""What the sources look like, by their syntax: a public type's name is one type's, so that a grep finds its home."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmarks", "detectors", "grafana", "schemas", "streams")
#: Names that two types still share, each to be renamed.
SHARED = {
    *("Batch", "Counts", "Direction", "Ends", "Family", "Field", "Fleet", "Groups", "Key", "Labels", "Level", "Looks"),
    *("Measured", "Outcomes", "PageHinkley", "Part", "Record", "Refusal", "ReviewError", "River", "RiverDetector"),
    *("Rows", "State", "Verdicts"),
}


def _types(path: Path) -> Iterator[tuple[str, str]]:
    """Public types that a module defines: name and definition. Of an alias the definition is what it stands for."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"a class of {path.relative_to(ROOT)}"
        elif isinstance(node, ast.Assign):
            # A type is written in CamelCase, a constant is not.
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
            yield from ((name, ast.unparse(node.value)) for name in names if re.fullmatch(r"[A-Z][a-z]\w*", name))


def test_each_public_type_has_a_name_of_its_own() -> None:
    definitions = defaultdict(set)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, definition in _types(path):
                definitions[name].add(definition)
    assert len(definitions) > 300  # the walk has found the sources
    shared = {name: sorted(found) for name, found in definitions.items() if len(found) > 1 and name not in SHARED}
    assert not shared
