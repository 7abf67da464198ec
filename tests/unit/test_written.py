"""What documents say of the code is what the code says: dependencies, the picture of the imports, paths, commands."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def documents() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documents", ROOT / ".ci" / "documents.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_documents_are_as_the_code_says(documents: ModuleType) -> None:
    behind = [path for path, text in documents.written().items() if (ROOT / path).read_text("utf-8") != text]
    assert behind == [], "run make documents"


def test_every_dependency_has_an_upper_bound_and_is_pinned() -> None:
    given = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = given["project"]["optional-dependencies"].values()
    wanted = [
        *given["build-system"]["requires"],
        *given["project"]["dependencies"],
        *(one for of in extras for one in of),
    ]
    assert [each for each in wanted if not re.search(r"[<=]=?\s*\d", each.partition(";")[0].replace(">=", ""))] == []


def test_what_is_always_installed_is_imported_by_what_is_shipped(documents: ModuleType) -> None:
    """But for what another one imports: then the reason says which."""
    _, _, table = documents.dependencies().partition("## Always installed")
    rows = re.findall(r"(?m)^\| ([\w-]+) \|.*\| ([^|]+) \| ([^|]+) \|$", table.partition("## With")[0])
    assert len(rows) > 8
    assert [package for package, by, why in rows if by == "nothing" and not re.search("through it|by name", why)] == []
