"""Reviews by consensus, against the rule written out person by person, on real labels of crowds."""

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from streams.ops.errors import CommandError
from streams.ops.import_files import ImportRequest, importing, report_lines, write_to_file
from streams.sources.consensus import Consensus
from streams.sources.mapping.model import MappingOverrides

CROWD = Path(__file__).parents[1] / "data/crowd"
PAGE = (Path(__file__).parents[2] / "docs/import.md").read_text("utf-8")
MAP = {"agent_id": "worker", "task_id": "item", "label": "label", "at": "at"}
SET = {"site_id": "lima-2", "project_id": "crowd"}


def imported(path: Path, consensus: str | None = "majority", **columns: str) -> tuple[list[str], list[dict[str, Any]]]:
    request = ImportRequest([path], {**MAP, **columns}, SET, MappingOverrides(), consensus=consensus)
    out = path.with_suffix(".out.jsonl")
    with importing(request, Console(quiet=True), False, path.parent) as found:
        lines = list(report_lines(found.report))
        write_to_file(found, out, [path])
    return lines, [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def a_table(path: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("worker", "item", "label", "gold", "at"),
                                    *((*row, f"{1_790_000_000 + n}") for n, row in enumerate(rows))])  # fmt: skip
    return path


def crowd(name: str, *, shuffled: bool = True) -> list[tuple[str, str, str, str]]:
    with (CROWD / f"{name}.csv").open(newline="") as file:
        rows = [(row["worker"], row["item"], row["label"], row["gold"]) for row in csv.DictReader(file)]
    if shuffled:
        random.Random(3).shuffle(rows)
    return rows


def by_the_rule(rows: list[tuple[str, str, str, str]]) -> Iterator[tuple[str, str, str, str, int]]:
    """Worker, item, label, what most others say, and the second of the item's last label; by definition alone."""
    votes: dict[str, dict[str, str]] = {}
    last: dict[str, int] = {}
    for number, (worker, item, label, _) in enumerate(rows):
        votes.setdefault(item, {})[worker] = label
        last[item] = 1_790_000_000 + number
    for worker, item, label, _ in rows:
        others = [vote for person, vote in votes[item].items() if person != worker]
        (most, count), *_ = Counter(others).most_common(1) or [("", 0)]
        if len(others) >= 2 and count > len(others) / 2:
            yield worker, item, label, most, last[item]


@pytest.mark.parametrize("name", ["zencrowd_us", "sentiment_amt", "hitspam"])
def test_reviews_of_real_crowds_are_those_of_the_rule(tmp_path: Path, name: str) -> None:
    rows = crowd(name)[:4_000]
    lines, events = imported(a_table(tmp_path / "crowd.csv", rows))
    reviews = [each for each in events if each["type"] == "label_reviewed"]
    expected = list(by_the_rule(rows))
    assert len(expected) > 500
    assert Counter(
        (e["agent_id"], e["task_id"], e["label"], e["expected"], e["at"] // 1000) for e in reviews
    ) == Counter(expected)
    assert all(each["correct"] == (each["label"] == each["expected"]) for each in reviews)
    assert {each["source"] for each in reviews} == {"consensus"}
    assert len(events) == len(rows) + len(expected)
    assert [each["at"] for each in events] == sorted(each["at"] for each in events)
    equal = sum(label == most for _, _, label, most, _ in expected)
    summary = f"consensus: {len(expected):,} of {len(rows):,} labels can be judged"
    (line,) = [line for line in lines if line.startswith(summary)]
    assert f"; {equal:,} are so" in line
    # A second import of the file has the same ids, so it counts once.
    assert imported(a_table(tmp_path / "again.csv", rows))[1] == events


def verdicts(*labels: tuple[str, str]) -> list[bool | None]:
    consensus = Consensus()
    events = [
        {"type": "label_submitted", "agent_id": who, "label": label, "task_id": "t", "at": at, **SET}
        for at, (who, label) in enumerate(labels)
    ]
    for event in events:
        consensus.take(event)
    consensus.close()
    return [None if (review := consensus.review(event)) is None else review["correct"] for event in events]


def test_nobodys_own_vote_counts() -> None:
    assert verdicts(("a", "x"), ("b", "x")) == [None, None]
    assert verdicts(("a", "x"), ("b", "x"), ("c", "x")) == [True, True, True]
    assert verdicts(("a", "x"), ("b", "x"), ("c", "y")) == [None, None, False]
    assert verdicts(("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")) == [False, False, False, False]
    assert verdicts(("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")) == [True, True, True, False]
    assert verdicts(("a", "x"), ("b", "y"), ("c", "z"), ("d", "w")) == [None] * 4
    # The last of a person is the vote; both are judged by the others.
    assert verdicts(("a", "y"), ("b", "x"), ("c", "x"), ("a", "x")) == [False, True, True, True]
    assert verdicts() == []


def test_accuracy_by_consensus_is_near_the_true_one_where_errors_are_each_persons_own() -> None:
    """With their own vote, three people who are right in 80 of 100 cases would seem right in 86."""
    draw = random.Random(7)
    right = judged = 0
    for _ in range(3_000):
        found = verdicts(*((who, "x" if draw.random() < 0.8 else f"wrong-{who}") for who in "abc"))
        judged += sum(each is not None for each in found)
        right += sum(each is True for each in found)
    # Binomial: three standard errors of some 5,800 judged.
    assert abs(right / judged - 0.8) < 0.016


def test_the_pages_figures_of_agreement_and_truth_are_those_of_the_crowd_files() -> None:
    table = re.findall(r"^\| `(\w+)` \| ([\d.]+)% \| ([\d.]+)%", PAGE, re.MULTILINE)
    assert [name for name, _, _ in table] == ["zencrowd_us", "sentiment_amt", "hitspam"]
    for name, by_gold, by_consensus in table:
        consensus, known = Consensus(), []
        for at, (worker, item, label, gold) in enumerate(crowd(name, shuffled=False)):
            work = {"agent_id": worker, "task_id": item, "label": label, "at": at, **SET}
            consensus.take({"type": "label_submitted", **work})
            known += [label == gold] if gold else []
        consensus.close()
        assert f"{100 * sum(known) / len(known):.1f}" == by_gold
        assert f"{100 * consensus.equal / consensus.judged:.1f}" == by_consensus


def test_what_cannot_have_a_consensus_is_refused(tmp_path: Path) -> None:
    path = a_table(tmp_path / "t.csv", [("a", "1", "x", "x"), ("b", "1", "x", "x")])
    with pytest.raises(CommandError, match="consensus is for files without reviews"):
        imported(path, expected="gold")
    with pytest.raises(CommandError, match="consensus 'most': use majority"):
        imported(path, "most")
    lines, events = imported(path)
    assert len(events) == 2
    assert "three people are needed on a task" in lines[-2]
    texts = a_table(tmp_path / "texts.csv", [(f"w{n % 9}", f"i{n // 9}", f"text {n}", "") for n in range(10_001)])
    with pytest.raises(CommandError, match="more than 10,000 different labels"):
        imported(texts)
