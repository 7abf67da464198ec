"""Examples in docstrings and documents run, and show what stands below them."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "detectors", "streams", "grafana")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]
DOCUMENTS = [path for path in sorted((ROOT / "docs").rglob("*.md")) if ">>> " in path.read_text("utf-8")]


@pytest.mark.parametrize("name", MODULES)
def test_a_modules_examples(name: str) -> None:
    ran = doctest.testmod(importlib.import_module(name))
    assert ran.attempted > 0
    assert ran.failed == 0


def test_the_documents_examples() -> None:
    assert [path.name for path in DOCUMENTS if doctest.testfile(str(path), module_relative=False).failed] == []


def test_there_are_examples() -> None:
    assert len(MODULES) >= 9
