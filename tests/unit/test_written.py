"""What documents say of the code is what the code says: dependencies, the picture of the imports, paths, commands."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
#: Documents whose paths must exist: who moves a file moves the page.
GUIDES = ("CONTRIBUTING.md", "docs/architecture.md")


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


def named_in(document: str) -> set[str]:
    """What a document names in backticks or behind `test:` as a file or folder of the project."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text("utf-8"), flags=re.M | re.S)
    return {
        word
        for word in re.findall(r"`([^`\s]+)`", text)
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+(::\w+)?|[\w-]+\.(py|toml|md|txt|yml)(::\w+)?", word)
    }


@pytest.mark.parametrize("document", GUIDES)
def test_files_and_functions_that_a_guide_names_are_there(document: str) -> None:
    found = named_in(document)
    assert found
    for name in sorted(found):
        path, _, function = name.partition("::")
        assert (ROOT / path).exists(), f"{document} names {path}: where has it gone?"
        if function:
            definition = rf"(?m)^\s*(async def|def|class) {function}\b|^{function}\b.*="
            assert re.search(definition, (ROOT / path).read_text("utf-8")), f"{document}: {name}"


@pytest.mark.parametrize("document", GUIDES)
def test_targets_of_make_that_a_guide_names_are_there(document: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8")))
    named = {
        target
        for line in re.findall(r"`make ([a-z -]+)`|^make ([a-z -]+)", (ROOT / document).read_text("utf-8"), re.M)
        for target in "".join(line).split()
    }
    assert named <= targets


def test_each_line_of_a_checklist_names_the_test_that_fails_without_it() -> None:
    lines = re.findall(r"(?m)^- \[ \] (.*)$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(lines) > 25
    assert [line for line in lines if not re.search(r"\(test: `tests/[\w/]+\.py(::\w+)?`\)$", line)] == []


def test_each_decision_answers_the_same_questions_and_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    files = sorted(file for file in folder.glob("*.md") if file.name != "README.md")
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    table = (folder / "README.md").read_text("utf-8")
    for file in files:
        text = file.read_text("utf-8")
        assert re.findall(r"(?m)^## (.+)$", text) == ["Status", "Context", "Decision", "Consequences"], file.name
        (title,) = re.findall(r"(?m)^# (.+)$", text)
        (status,) = re.findall(r"## Status\n\n(\w+)", text)
        assert f"| [{title}]({file.name}) | {status.lower()} |" in table


def test_what_github_reads_is_well_formed_and_calls_the_check() -> None:
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    read = {file.name: yaml.safe_load(file.read_text("utf-8")) for file in files}
    (job,) = read["check.yml"]["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == ".ci/run"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    for form in ("bug.yml", "idea.yml"):
        assert {"name", "description", "body"} <= read[form].keys()
    # The hooks are what `make lint` does.
    lint = re.search(r"(?m)^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"))
    assert lint
    tools = re.findall(r"\$\(BIN\)/([\w-]+)", lint[1])
    hooks = [hook["entry"] for repo in read[".pre-commit-config.yaml"]["repos"] for hook in repo["hooks"]]
    assert [tool for tool in tools if not any(f".venv/bin/{tool}" in entry for entry in hooks)] == []


def test_release_notes_have_one_form() -> None:
    """Sections by version with a date, newest first; below each, sentences in a list."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"(?m)^## (.+)$", text)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", each) for each in headings[1:])
    entries = re.findall(r"(?m)^- (.+)$", text)
    assert [entry[:60] for entry in entries if not entry.endswith(".")] == []
    lines = [line for line in text.splitlines()[1:] if line and not line.startswith(("- ", "## "))]
    assert len(lines) <= 1 + len(headings), "an introduction, and one sentence a section"
