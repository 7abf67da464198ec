"""What the sources look like, by their syntax: names that a grep finds, and modules that one can read in a sitting."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from schemas.policy import Policy
from streams.engine.partition import PartitionEngine

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmarks", "detectors", "grafana", "schemas", "streams")
MOST_LINES = 500
#: Longer since they are lists of like things, which one searches and does not read: with the reason.
CATALOGUES = {"grafana/signals.py": "every figure of every board, each declared once"}
MOST_LINES_OF_A_FUNCTION = 60
#: Longer than that, its docstring aside, with the reason.
LONG_FUNCTIONS = {
    "benchmarks/throughput.py::make_peers": "a list of the peers, each with its settings",
    "grafana/operations.py::_below": "panels, one after another",
    "grafana/operations.py::_head": "panels, one after another",
    "grafana/pipeline.py::_bridge": "panels, one after another",
    "grafana/pipeline.py::_failures": "panels, one after another",
    "grafana/pipeline.py::_receiver": "panels, one after another",
    "streams/engine/accepted.py::review_taker": "look-ups that are made once a chunk, so that no event pays for them",
    "streams/engine/intake.py::_read_chunk": "the loop over events: a call for each label would cost 2% of all time",
    "streams/exporter/docs.py::document": "the text of docs/metrics.md, in one piece",
}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Every module of the product by its path."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}
    assert len(found) > 150
    return found


def _types(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Public types that a module defines: name and definition. Of an alias the definition is what it stands for."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"a class of {module}"
        elif isinstance(node, ast.Assign):
            # A type is written in CamelCase, a constant is not.
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
            yield from ((name, ast.unparse(node.value)) for name in names if re.fullmatch(r"[A-Z][a-z]\w*", name))


def test_each_public_type_has_a_name_of_its_own(trees: dict[str, ast.Module]) -> None:
    definitions = defaultdict(set)
    for module, tree in trees.items():
        for name, definition in _types(module, tree):
            definitions[name].add(definition)
    shared = {name: sorted(found) for name, found in definitions.items() if len(found) > 1}
    assert not shared


def test_metric_names_are_written_whole_so_that_a_search_finds_them(trees: dict[str, ast.Module]) -> None:
    built = []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for text, after in pairwise(parts):
                # In PromQL a name is followed by its selector, whose brace is of the text.
                is_begun = isinstance(text, ast.Constant) and re.search(r"labelwatch_\w*$", str(text.value))
                if is_begun and isinstance(after, ast.FormattedValue):
                    built.append(f"{module}:{after.lineno}")
    assert not built


def test_a_module_can_be_read_in_a_sitting() -> None:
    long = {}
    for folder in (*PACKAGES, "tests", "prometheus"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text("utf-8").splitlines())
            if lines > MOST_LINES:
                long[path.relative_to(ROOT).as_posix()] = lines
    assert long.keys() <= CATALOGUES.keys(), "split it by what it does, or name it as a catalogue"


def test_a_function_fits_a_screen_or_says_why(trees: dict[str, ast.Module]) -> None:
    long = set()
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[ast.get_docstring(node) is not None :]
                if body and (body[-1].end_lineno or 0) - body[0].lineno >= MOST_LINES_OF_A_FUNCTION:
                    long.add(f"{module}::{node.name}")
    assert long == LONG_FUNCTIONS.keys(), "split it by what it does, or name it with the reason"


def test_views_read_parts_of_their_own_engine_and_say_which() -> None:
    engine = PartitionEngine(0, Policy())
    assert len(engine._views) == 2
    for view in engine._views:
        assert view.reads
        assert all(part in engine._parts for part in view.reads)
