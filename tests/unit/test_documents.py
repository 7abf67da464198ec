"""Whatever the documents tell people to type, look at or wait for exists by that name."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from schemas.drift import SIGNALS
from schemas.metrics import METRICS, Kind
from schemas.states import SITE_STATES, UNSEEN
from schemas.words import DIMENSIONS, SIGNAL_NAMES, SUBJECTS
from streams.cli import app
from tests.rules.stories import groups

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
OPERATIONS = ROOT / "docs/operations.md"
#: Where a command ends in a line of shell.
ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>"}
TREE = typer.main.get_command(app)


def commands(document: Path) -> Iterator[list[str]]:
    """Each `labelwatch ...` of the code in a document, in words without its name."""
    text = document.read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:[A-Z_]+=\S+ )*labelwatch [^`]+)`", prose)
    for line in lines:
        words = shlex.split(line, comments=True)
        while "labelwatch" in words:
            words = words[words.index("labelwatch") + 1 :]
            end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
            yield words[:end]


def why_not(words: list[str]) -> str | None:
    """What a command line asks for that does not exist; None when all of it does."""
    # Not by click's classes: typer may bring its own.
    command: Any = TREE
    words = list(words)
    while hasattr(command, "commands"):
        while words and words[0] in ("--debug", "--help", "-h"):
            words.pop(0)
        if not words:
            return None
        if command.invoke_without_command and words[0].startswith("-"):
            break
        name = words.pop(0).rstrip(",")
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    options = {name: each for each in command.params if each.param_type_name == "option" for name in each.opts}
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    given, typed = 0, {word.partition("=")[0] for word in words}
    while words:
        word = words.pop(0)
        if word in ("--help", "-h"):
            continue
        if not word.startswith("-"):
            given += 1
            continue
        name, has_value, _ = word.partition("=")
        if name not in options:
            return f"no option {name}"
        if not options[name].is_flag and not has_value:
            if not words:
                return f"{name} has no value"
            words.pop(0)
    if given > len(arguments):
        return f"{given} arguments for {len(arguments)}"
    # A line with an argument is one to type; a name alone only speaks of the command.
    missing = [each.opts[0] for name, each in options.items() if each.required and name not in typed]
    return f"{missing[0]} is missing" if given and missing else None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_exists(document: Path) -> None:
    wrong = {" ".join(words): why for words in commands(document) if (why := why_not(words))}
    assert not wrong


def test_commands_are_found_at_all() -> None:
    assert sum(1 for document in DOCUMENTS for _ in commands(document)) > 40
    assert ["worker", "--metrics-host", "0.0.0.0"] in list(commands(ROOT / "docs/security.md"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("work", "no command 'work'"),
        ("topics make", "no command 'make'"),
        ("worker --port 1", "no option --port"),
        ("worker --id", "--id has no value"),
        ("compute a.jsonl b.jsonl", "2 arguments for 1"),
        ("sites remove manila-1", "--policy is missing"),
        ("--debug worker --id again", None),
        ("replay FILE --map=agent_id=worker --plain", None),
    ],
)
def test_a_wrong_command_is_seen(line: str, why: str | None) -> None:
    assert why_not(line.split()) == why


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, section = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        if section:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            names = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert section in names, target


def test_operations_names_metrics_and_labels_of_the_catalogue() -> None:
    text = OPERATIONS.read_text("utf-8")
    found = re.findall(r"\b(labelwatch_[a-z_]+)(?:\{(\w+)[}=])?", text)
    assert len({name for name, _ in found}) > 10
    for name, label in found:
        assert name in METRICS, name
        assert METRICS[name].kind is not Kind.HISTOGRAM
        assert not label or label in METRICS[name].labels, f"{name}{{{label}}}"


def test_operations_names_alerts_that_exist() -> None:
    rules = [rule["alert"] for group in groups() for rule in group["rules"] if "alert" in rule]
    named = set(re.findall(r"`(Labelwatch\w+)`", OPERATIONS.read_text("utf-8")))
    assert len(named) > 8
    assert named <= set(rules)


def test_operations_quotes_what_the_worker_says() -> None:
    said = "".join(path.read_text("utf-8") for path in (ROOT / "streams").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", said)  # sentences that span lines
    rows = re.findall(r"^\| (?:[^|]*\|){2}([^|]*)\|[^|]*\|$", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    quoted = [words for cell in rows for words in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) > 10
    assert [words for words in quoted if words not in said] == []


def test_the_glossary_has_the_words_of_states_signals_and_causes() -> None:
    lines = (ROOT / "docs/glossary.md").read_text("utf-8").splitlines()
    rows = {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| ")}
    states = {(each.word.en, each.short, each.word.zh, each.glyph, each.means.en) for each in (*SITE_STATES, UNSEEN)}
    signals = {(f"`{name}`", *SUBJECTS[name], *SIGNAL_NAMES[name]) for name in SIGNALS}
    assert states <= rows
    assert signals <= rows
    assert {(f"`{by}`", *words) for by, words in DIMENSIONS.items()} <= rows


def test_the_glossary_names_each_term_once() -> None:
    terms = re.findall(r"^\| ([^|`]+) \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    names = [name for term in terms for name in re.split(r", ", term) if name not in ("term", "state", "signal")]
    assert len(names) > 60
    assert len(names) == len(set(names))
