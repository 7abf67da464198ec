"""Words that readers stumbled over stay out of documents, alerts and messages; each has the usual one beside it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
#: What is written in place of the usual word, and the usual word.
USUAL = {
    r"\btold\b(?! (apart|to)\b)": "reported, shown, named, known",
    r"\bstands? (in|for|on|here|there|recorded|together|astray|beside|within|above|below|byte)\b": "is, counts for",
    r"\bas (it|they) stands?\b": "unchanged, as it is",
    r"\b(each|every|one|a|per|this|that|the same|next|last) looks?\b(?! (at|right|like|alike|calm))": "evaluation",
    r"\bwhoever\b": "anyone who, no matter who",
    r"\bwith a word\b": "with a line in the log",
    r"\bnobody answers\b": "no answer from",
    r"\bcalls itself\b": "advertises",
    r"\bgives? nothing to\b": "is ignored by",
    r"\bof each so many as\b": "as many of each as",
    r"\bas of a place in\b": "at an offset of",
    r"\bwere taken into the pasts?\b": "were added to the history",
}
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: Sentences of these reach people's terminals, logs and dead letters.
SPEAKING = ("streams/cli", "streams/ops", "streams/runtime", "streams/sources", "streams/views", "schemas")


def wrong(text: str) -> list[str]:
    return [
        f"{text[max(found.start() - 40, 0) : found.end() + 30]!r}: say {usual}"
        for pattern, usual in USUAL.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_usual_words(document: Path) -> None:
    assert wrong(re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.M | re.S)) == []


def test_alerts_use_the_usual_words() -> None:
    rules = yaml.safe_load((ROOT / "prometheus/rules/alerts.yml").read_text("utf-8"))
    texts = [
        text for group in rules["groups"] for rule in group["rules"] for text in rule.get("annotations", {}).values()
    ]
    assert len(texts) > 100
    assert [each for text in texts for each in wrong(text)] == []


def test_messages_use_the_usual_words() -> None:
    files = [file for name in SPEAKING for file in sorted((ROOT / name).rglob("*.py"))]
    assert {name for name in SPEAKING if any(file.is_relative_to(ROOT / name) for file in files)} == set(SPEAKING)
    found = {
        str(file.relative_to(ROOT)): bad
        for file in files
        if (bad := [each for text in messages(ast.parse(file.read_text("utf-8"))) for each in wrong(text)])
    }
    assert found == {}


@pytest.mark.parametrize("text", ["what was told to it", "one look at it", "to tell apart", "a rise stands out"])
def test_what_is_usual_passes(text: str) -> None:
    assert wrong(text) == []


def test_every_pattern_finds_its_word() -> None:
    bad = "It was told. It stands in a file, as it stands. Each look: whoever calls itself X with a word."
    assert len(wrong(bad)) == 7
