"""Reviews by consensus, against the rule written out person by person, on real labels of crowds."""

import csv
import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from streams.ops.errors import CommandError
from streams.ops.import_files import ImportRequest, importing, report_lines, write_to_file
from streams.sources.consensus import RULES, Consensus
from streams.sources.dawid_skene import Votes, by_others, estimate
from streams.sources.mapping.errors import MappingError
from streams.sources.mapping.model import MappingOverrides

CROWD = Path(__file__).parents[1] / "data/crowd"
PAGE = (Path(__file__).parents[2] / "docs/import.md").read_text("utf-8")
MAP = {"agent_id": "worker", "task_id": "item", "label": "label", "at": "at"}
SET = {"site_id": "lima-2", "project_id": "crowd"}


#: Dawid and Skene by crowd-kit 1.4.2, `DawidSkene(n_iter=ROUNDS, tol=-1e9)`, of each person's last label on an item:
#: the prior of the second label, how many items have it, the sum of its squared probabilities, items right by gold.
CROWD_KIT = {
    ("zencrowd_us", 1): (0.2921558287887773, 596, 451.3015911268668, 0.844608),
    ("zencrowd_us", 100): (0.34208917397896843, 683, 638.4190239751517, 0.823529),
    ("sentiment_amt", 1): (0.5067471755841814, 253, 252.4338361230969, 0.944),
    ("sentiment_amt", 100): (0.5099636236002669, 255, 254.963693833177, 0.944),
    ("hitspam", 100): (0.408550185873606, 2198, 2198.0, 0.66),
}


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
    table = re.findall(r"^\| `(\w+)`" + r" \| ([\d.]+)%" * 5, PAGE, re.MULTILINE)
    assert [name for name, *_ in table] == ["zencrowd_us", "sentiment_amt", "hitspam"]
    for name, by_gold, *figures in table:
        known, found = [], []
        for rule in RULES:
            consensus, works = Consensus(rule), []
            for at, (worker, item, label, gold) in enumerate(crowd(name, shuffled=False)):
                work = {"type": "label_submitted", "agent_id": worker, "task_id": item, "label": label, "at": at, **SET}
                consensus.take(work)
                works.append((work, gold))
            consensus.close()
            known = [work["label"] == gold for work, gold in works if gold]
            right = [review["expected"] == gold for work, gold in works if gold and (review := consensus.review(work))]
            found.append((consensus.equal / consensus.judged, sum(right) / len(right)))
        assert f"{100 * sum(known) / len(known):.1f}" == by_gold
        (majority, majority_true), (dawid, dawid_true) = found
        assert [f"{100 * each:.1f}" for each in (majority, dawid, majority_true, dawid_true)] == figures


# --- Dawid and Skene


def votes_of(rows: list[tuple[str, str, str, str]]) -> tuple[Votes, list[str], list[str]]:
    """The last label of each person on each item; the items and the labels by their numbers."""
    last = {(item, worker): label for worker, item, label, _ in rows}
    items, workers = sorted({item for item, _ in last}), sorted({worker for _, worker in last})
    labels = sorted(set(last.values()))
    places = [{name: place for place, name in enumerate(names)} for names in (items, workers, labels)]
    numbers = [(places[0][item], places[1][who], places[2][label]) for (item, who), label in sorted(last.items())]
    return Votes(*np.array(numbers).T), items, labels


@pytest.mark.parametrize(("name", "rounds"), CROWD_KIT)
def test_dawid_and_skene_is_crowd_kits_on_real_crowds(name: str, rounds: int) -> None:
    rows = crowd(name, shuffled=False)
    votes, items, labels = votes_of(rows)
    found = estimate(votes, rounds, -math.inf)
    chosen = found.likely.argmax(axis=1)
    gold = {item: gold for _, item, _, gold in rows if gold}
    right = sum(labels[chosen[place]] == gold[item] for place, item in enumerate(items) if item in gold)
    prior, count, squares, accuracy = CROWD_KIT[name, rounds]
    assert found.likely[:, 1].mean() == pytest.approx(prior, rel=1e-12)
    assert (chosen == 1).sum() == count
    assert (found.likely[:, 1] ** 2).sum() == pytest.approx(squares, rel=1e-11)
    assert round(right / len(gold), 6) == accuracy


def written_out(rows: list[tuple[str, str, str, str]], rounds: int) -> dict[tuple[str, str], dict[str, float]]:
    """By item and worker, how likely each label is by all others: the paper's formulas, a number at a time."""
    votes = {(item, worker): label for worker, item, label, _ in rows}
    labels = sorted(set(votes.values()))
    by_item: dict[str, dict[str, str]] = {}
    for (item, worker), label in votes.items():
        by_item.setdefault(item, {})[worker] = label
    likely = {
        item: {true: sum(label == true for label in given.values()) / len(given) for true in labels}
        for item, given in by_item.items()
    }
    given_by: dict[str, dict[tuple[str, str], float]] = {}
    prior: dict[str, float] = {}
    for _ in range(rounds):
        prior = {true: sum(each[true] for each in likely.values()) / len(likely) for true in labels}
        given_by = {}
        for (item, worker), label in votes.items():
            table = given_by.setdefault(worker, {})
            for true in labels:
                table[label, true] = table.get((label, true), 0.0) + likely[item][true]
        for table in given_by.values():
            table.update({key: max(count, 1e-10) for key, count in table.items()})
            for true in labels:
                total = sum(count for (_, of), count in table.items() if of == true)
                table.update({key: count / total for key, count in table.items() if key[1] == true})
        likely = {
            item: shares({true: math.log(prior[true]) + sum(math.log(given_by[who][label, true])
                          for who, label in given.items()) for true in labels})
            for item, given in by_item.items()
        }  # fmt: skip  # a formula
    return {
        (item, worker): shares({true: math.log(prior[true]) + sum(math.log(given_by[who][label, true])
                                for who, label in by_item[item].items() if who != worker) for true in labels})
        for item, worker in votes
    }  # fmt: skip  # a formula


def shares(logs: dict[str, float]) -> dict[str, float]:
    """Of logarithms, their shares of the whole."""
    most = max(logs.values())
    parts = {name: math.exp(each - most) for name, each in logs.items()}
    return {name: part / sum(parts.values()) for name, part in parts.items()}


def test_nobodys_own_vote_counts_by_dawid_and_skene_either() -> None:
    draw = random.Random(4)
    rows = []
    for item in range(150):
        truth = draw.choice("xyz")
        # Of three labels, people who are good, who guess, and who take x for y.
        for worker, right in (("a", 0.9), ("b", 0.8), ("c", 0.35), ("d", 0.7)):
            said = truth if draw.random() < right else draw.choice("xyz")
            rows.append((worker, str(item), "y" if worker == "d" and truth == "x" else said, truth))
    votes, items, labels = votes_of(rows)
    expected = written_out(rows, 60)
    workers = sorted({worker for worker, *_ in rows})
    for place, found in enumerate(by_others(votes)):
        likely = expected[items[votes.tasks[place]], workers[votes.people[place]]]
        best = max(likely, key=likely.__getitem__)
        if abs(likely[best] - 0.5) > 0.01:
            assert (labels[found] if found >= 0 else None) == (best if likely[best] > 0.5 else None)


def test_whoever_guesses_weighs_less_by_dawid_and_skene() -> None:
    """Two who know and three who guess: by majority those who guess often win."""
    draw = random.Random(8)
    wrong = dict.fromkeys(RULES, 0)
    events = []
    for item in range(400):
        truth = draw.choice("xy")
        for who in "abcde":
            label = truth if who in "ab" and draw.random() < 0.97 else draw.choice("xy")
            events.append(({"type": "label_submitted", "agent_id": who, "label": label, "task_id": str(item),
                            "at": item, **SET}, truth))  # fmt: skip  # an event in one glance
    for rule in RULES:
        consensus = Consensus(rule)
        for event, _ in events:
            consensus.take(event)
        consensus.close()
        reviews = [(review, truth) for event, truth in events if (review := consensus.review(event))]
        assert len(reviews) > 1_000
        wrong[rule] = sum(review["expected"] != truth for review, truth in reviews)
    assert wrong["dawid-skene"] < wrong["majority"] / 3


def test_the_same_labels_in_another_order_have_the_same_reviews_by_dawid_and_skene(tmp_path: Path) -> None:
    rows = crowd("zencrowd_us", shuffled=False)[:2_000]
    rows = list({(worker, item): (worker, item, label, gold) for worker, item, label, gold in rows}.values())
    found = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        path = tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            header = ("worker", "item", "label", "at")
            csv.writer(file).writerows([header, *((*row[:3], 1_790_000_000) for row in order)])
        lines, events = imported(path, "dawid-skene")
        assert any("each weighed by how well they seem to know" in line for line in lines)
        found.append({event["event_id"]: event for event in events})
    assert found[0] == found[1]
    assert sum(event["type"] == "label_reviewed" for event in found[0].values()) > 1_000


def test_tables_that_are_too_large_are_refused() -> None:
    consensus = Consensus("dawid-skene")
    for number in range(5_000):
        consensus.take({"type": "label_submitted", "agent_id": f"a{number}", "label": f"l{number}", "task_id": "t",
                        "at": number, **SET})  # fmt: skip  # an event in one glance
    with pytest.raises(MappingError, match="too large a table for 1 tasks, 5,000 people and 5,000 different labels"):
        consensus.close()


def test_what_cannot_have_a_consensus_is_refused(tmp_path: Path) -> None:
    path = a_table(tmp_path / "t.csv", [("a", "1", "x", "x"), ("b", "1", "x", "x")])
    with pytest.raises(CommandError, match="consensus is for files without reviews"):
        imported(path, expected="gold")
    with pytest.raises(CommandError, match="consensus 'most': use majority or dawid-skene"):
        imported(path, "most")
    lines, events = imported(path)
    assert len(events) == 2
    assert "three people are needed on a task" in lines[-2]
    texts = a_table(tmp_path / "texts.csv", [(f"w{n % 9}", f"i{n // 9}", f"text {n}", "") for n in range(10_001)])
    with pytest.raises(CommandError, match="more than 10,000 different labels"):
        imported(texts)
