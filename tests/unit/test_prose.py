"""Words that the glossary rules out stay out of documents, docstrings, comments, messages, boards and alerts."""

import ast
import itertools
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class RuledOut(NamedTuple):
    """A word or phrase that is not written, those in which it is right, and what is written."""

    word: str
    but: list[str]
    usual: str

    @property
    def pattern(self) -> re.Pattern[str]:
        allowed = "".join(rf"(?!{re.escape(each)}\b)" for each in self.but)
        return re.compile(rf"(?<![\w-]){allowed}{re.escape(self.word)}(?:s|es)?(?![\w-])", re.IGNORECASE)


def ruled_out() -> list[RuledOut]:
    """What stands under "not" in docs/glossary.md without a meaning of its own in parentheses."""
    found: list[RuledOut] = []
    columns: list[str] = []
    for line in (ROOT / "docs/glossary.md").read_text("utf-8").splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        columns = columns or cells
        row = dict(zip(columns, cells, strict=True))
        if cells != columns:
            but = _listed(row.get("but", ""))
            found += [
                RuledOut(word, but, cells[0]) for word in _listed(row.get("not", "")) if re.fullmatch(r"[\w ]+", word)
            ]
    return found


def _listed(cell: str) -> list[str]:
    return [word for word in re.split(r",\s*(?![^(]*\))", cell) if word]


RULED_OUT = ruled_out()
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: Sentences of these reach people's terminals, logs and dead letters.
SPEAKING = (
    "detectors",
    "streams/cli",
    "streams/engine",
    "streams/ingest",
    "streams/ingest",
    "streams/ops",
    "streams/runtime",
    "streams/sources",
    "streams/views",
    "schemas",
    "grafana",
)
#: What readers of the code read.
READ = (*SPEAKING, "streams/exporter", "prometheus")


def wrong(text: str) -> list[str]:
    """What a text says otherwise than the glossary; its code is left out."""
    text = re.sub(r"^```.*?^```|`[^`]*`", "`X`", text, flags=re.M | re.S)
    text = " ".join(text.split())
    return [
        f"{text[max(found.start() - 40, 0) : found.end() + 30]!r}: say {each.usual}"
        for each in RULED_OUT
        for found in each.pattern.finditer(text)
    ]


def messages(tree: ast.Module) -> Iterator[str]:
    """Strings of a module but its docstrings; those with values in them in one piece."""
    of_strings = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in child.values)
            if isinstance(child, ast.Constant) and not isinstance(node, ast.Expr) and id(child) not in of_strings:
                yield str(child.value)


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def comments(file: Path) -> Iterator[str]:
    """Comments of a module; lines of one comment in one piece."""
    lines: list[tuple[int, str]] = []
    with file.open("rb") as code:
        found = [each for each in tokenize.tokenize(code.readline) if each.type == tokenize.COMMENT]
    for each in found:
        line, text = each.start[0], each.string.lstrip("#: ")
        if lines and line != lines[-1][0] + 1:
            yield " ".join(text for _, text in lines)
            lines = []
        lines.append((line, text))
    yield " ".join(text for _, text in lines)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_usual_words(document: Path) -> None:
    text = document.read_text("utf-8")
    # The glossary's tables name the words themselves.
    assert wrong(re.sub(r"^\|.*$", "", text, flags=re.M) if document.name == "glossary.md" else text) == []


def test_alerts_use_the_usual_words() -> None:
    rules = yaml.safe_load((ROOT / "prometheus/rules/alerts.yml").read_text("utf-8"))
    texts = [
        text for group in rules["groups"] for rule in group["rules"] for text in rule.get("annotations", {}).values()
    ]
    assert len(texts) > 100
    assert [each for text in texts for each in wrong(text)] == []


def found_in(folders: Sequence[str], texts: Callable[[ast.Module], Iterator[str]]) -> dict[str, list[str]]:
    files = {name: sorted((ROOT / name).rglob("*.py")) for name in folders}
    assert all(files.values())
    return {
        str(file.relative_to(ROOT)): bad
        for file in itertools.chain.from_iterable(files.values())
        # A single word is a name, not a sentence.
        if (bad := [each for text in texts(ast.parse(file.read_text("utf-8"))) if " " in text for each in wrong(text)])
    }


def test_messages_and_boards_use_the_usual_words() -> None:
    assert found_in(SPEAKING, messages) == {}


def test_docstrings_use_the_usual_words() -> None:
    assert found_in(READ, docstrings) == {}


def test_comments_use_the_usual_words() -> None:
    files = [file for name in (*READ, "benchmarks", "tests") for file in sorted((ROOT / name).rglob("*.py"))]
    assert len(files) > 200
    bad = {str(file.relative_to(ROOT)): [each for text in comments(file) for each in wrong(text)] for file in files}
    assert {file: found for file, found in bad.items() if found} == {}


@pytest.mark.parametrize(
    "text", ["what was told to it", "a look at it", "to tell apart", "a rise stands out", "a `root cause`"]
)
def test_what_is_usual_passes(text: str) -> None:
    assert wrong(text) == []


def test_the_glossary_is_read_whole() -> None:
    words = {each.word for each in RULED_OUT}
    assert {"annotator", "root cause", "each look", "told", "stands for", "whoever", "of each so many as"} <= words
    assert not {"worker", "event", "check", "---"} & words, "words with a meaning of their own"
    bad = (
        "It was told. It stands in a file, as it stands. Each look: whoever calls itself X with a word, and annotators."
    )
    assert len(wrong(bad)) == 8
