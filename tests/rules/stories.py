"""Puts stories to promtool, each with the rules that it asks about and what these read, and no others.

promtool evaluates every rule at every step of every story, though a story asks for a few; what these do not read
cannot change them. With its own rules alone a story takes a fraction of the time.
"""

import os
import re
import shutil
import subprocess
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
#: Others work beside it: no collector of garbage on every processor, and that less often.
_GO = {"GOMAXPROCS": "1", "GOGC": "400"}
_NAME = re.compile(r"[A-Za-z_][\w:]*")

Story = dict[str, Any]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML without hexadecimal numbers: `0x46` is 47 samples of 0 to promtool."""


_INT = "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != _INT or first != "0"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"0\Z"), ["0"])


def read(file: Path) -> dict[str, Any]:
    """A file of stories, as promtool reads it."""
    whole: dict[str, Any] = yaml.load(file.read_text("utf-8"), _Loader)  # a SafeLoader
    return whole


def tool(*command: str | Path) -> str:
    """Runs one of Prometheus' and Alertmanager's tools, which must find nothing wrong; its output."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is missing: on Debian, install the packages prometheus and prometheus-alertmanager")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | _GO)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def groups() -> list[dict[str, Any]]:
    """The groups of all rule files, in their order; not to be changed."""
    return [group for file in RULE_FILES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]


@cache
def _reads() -> dict[str, frozenset[str]]:
    """By record and alert: the records and alerts that its expressions, and the queries in its texts, name."""
    rules = [(rule.get("record") or rule["alert"], str(rule)) for group in groups() for rule in group["rules"]]
    made = {name for name, _ in rules}
    reads: dict[str, frozenset[str]] = {}
    for name, text in rules:
        reads[name] = reads.get(name, frozenset()) | made.intersection(_NAME.findall(text))
    return reads


def needed(story: Story) -> frozenset[str]:
    """Records and alerts that a story asks about, and what these read; all of them where it does not name its own."""
    reads = _reads()
    asked = [each["expr"] for each in story.get("promql_expr_test", [])]
    if any("__name__" in expr or ("ALERTS{" in expr and "alertname=" not in expr) for expr in asked):
        return frozenset(reads)
    waiting = [each["alertname"] for each in story.get("alert_rule_test", [])]
    waiting += [name for expr in asked for name in _NAME.findall(expr)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in reads and name not in found:
            found.add(name)
            waiting += reads[name]
    return frozenset(found)


def tell(folder: Path, file: dict[str, Any], stories: list[Story]) -> None:
    """Puts stories to promtool, which must agree with every one.

    Args:
        folder: Scratch space.
        file: What stories of one file share: `evaluation_interval` and the like.
        stories: In promtool's form.
    """
    together: dict[frozenset[str], list[Story]] = defaultdict(list)
    for story in stories:
        together[needed(story)].append(story)
    paths = []
    for number, (names, told) in enumerate(together.items()):
        # A group without rules stays: a file may name it in its order of evaluation.
        chosen = [
            group | {"rules": [rule for rule in group["rules"] if (rule.get("record") or rule["alert"]) in names]}
            for group in groups()
        ]
        rules = folder / f"rules-{number}.yml"
        rules.write_text(yaml.safe_dump({"groups": chosen}, allow_unicode=True), "utf-8")
        paths.append(folder / f"stories-{number}.yml")
        paths[-1].write_text(
            yaml.safe_dump(file | {"rule_files": [rules.name], "tests": told}, allow_unicode=True), "utf-8"
        )
    tool("promtool", "test", "rules", *paths)
