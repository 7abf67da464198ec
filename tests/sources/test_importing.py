"""Imports: figures as the csv module counts them, each row once however often it comes, in order and bounded memory."""

import csv
import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.events import AnyEvent
from streams.sources.errors import SourceError
from streams.sources.importing import ImportOptions, ImportReport, read_rows
from streams.sources.mapping.errors import MappingError
from streams.sources.mapping.model import MappingOverrides, RowMapping, from_pairs
from streams.sources.ordering import EventSorter
from streams.sources.tables.table import TableReading

CROWD = Path(__file__).parents[1] / "data" / "crowd"
_decode = msgspec.json.Decoder(AnyEvent).decode
#: 2026-11-02 10:00 UTC, by `date -u -d '2026-11-02 10:00' +%s`.
TEN = 1_793_613_600_000
NOW = TEN + 30 * 86_400_000
PLACE = {"site_id": "crowd", "project_id": "p"}
COLUMNS = {"agent_id": "worker", "task_id": "item", "label": "label", "expected": "gold", "handle_s": "seconds"}


def imported(
    files: Sequence[Path], mapping: RowMapping, run_bytes: int = 64 << 20, **stated: str
) -> tuple[ImportReport, list[dict[str, Any]], EventSorter]:
    """Events as they go out, each of them a good one."""
    with EventSorter(run_bytes=run_bytes) as sorter:
        report = read_rows(ImportOptions(files, lambda table: mapping, TableReading(**stated), NOW), sorter)
        events = list(sorter.events())
    for event in events:
        _decode(event.value)
    found = [json.loads(event.value) for event in events]
    assert [(event.at_ms, event.key.decode()) for event in events] == [(each["at"], each["site_id"]) for each in found]
    assert [each["at"] for each in found] == sorted(each["at"] for each in found)
    assert len({each["event_id"] for each in found}) == len(found)
    return report, found, sorter


def with_times(name: str, folder: Path, most: int = 100_000) -> tuple[Path, list[dict[str, str]]]:
    """A crowd file as a spreadsheet of Germany has it: local times, decimal commas, semicolons, cp1252, any order."""
    with (CROWD / f"{name}.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))[:most]
    begin = datetime(2026, 11, 2, 11, 0, tzinfo=UTC)
    for number, row in enumerate(rows):
        # Berlin is an hour before UTC in November.
        row["Zeit"] = (begin + timedelta(seconds=number)).strftime("%d.%m.%Y %H:%M:%S")
        row["Müller"] = f"{row.pop('worker')}ä"
        row["seconds"] = f"{number % 90},5"
    random.Random(5).shuffle(rows)
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="cp1252") as text:
        writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path, rows


GERMAN = from_pairs(
    {**COLUMNS, "agent_id": "Müller", "at": "Zeit"},
    PLACE,
    MappingOverrides(zone="Europe/Berlin", format="%d.%m.%Y %H:%M:%S", decimal=","),
)


@pytest.mark.parametrize(("name", "accuracy"), [("sentiment_amt", 0.8935), ("hitspam", 0.6682)])
def test_a_spreadsheet_counts_as_the_csv_module_counts(tmp_path: Path, name: str, accuracy: float) -> None:
    path, rows = with_times(name, tmp_path)
    known = [row for row in rows if row["gold"]]
    report, found, _ = imported([path], GERMAN, run_bytes=1 << 20)
    labels = [event for event in found if event["type"] == "label_submitted"]
    reviews = [event for event in found if event["type"] == "label_reviewed"]
    assert (report.rows, report.bad_rows, report.passed) == (len(rows), 0, 0)
    assert report.events == {"label_submitted": len(rows), "label_reviewed": len(known)}
    assert (len(labels), len(reviews)) == (len(rows), len(known))
    right = sum(row["label"] == row["gold"] for row in known)
    assert sum(event["correct"] for event in reviews) == report.equal == right
    assert right / len(known) == pytest.approx(accuracy, abs=5e-5)
    begin = TEN
    expected = Counter(
        (row["Müller"], row["item"], row["label"], int(row["seconds"].replace(",5", "500")), row["Zeit"])
        for row in rows
    )
    assert expected == Counter(
        (
            event["agent_id"], event["task_id"], event["label"], event["handle_ms"],
            (datetime.fromtimestamp(event["at"] / 1000, UTC) + timedelta(hours=1)).strftime("%d.%m.%Y %H:%M:%S"),
        )
        for event in labels
    )  # fmt: skip  # a row beside its event
    assert (report.first_ms, report.last_ms) == (begin, begin + (len(rows) - 1) * 1000)
    assert report.repeated_labels() == len(rows) - len({(row["Müller"], row["item"]) for row in rows})
    pairs = {(row["Müller"], row["item"]) for row in known}
    assert report.labels_with_gold() == sum((row["Müller"], row["item"]) in pairs for row in rows)
    # Gold is known right after the label.
    for before, event in pairwise(found):
        if event["type"] == "label_reviewed":
            assert (before["task_id"], before["at"], event["labeled_at"]) == (
                event["task_id"],
                event["at"],
                event["at"],
            )


def test_the_same_rows_give_the_same_ids_in_any_form_and_count_once(tmp_path: Path) -> None:
    path, rows = with_times("sentiment_amt", tmp_path, 2_000)
    rows = rows[:400]
    _, whole, _ = imported([path], GERMAN)
    ids = {event["event_id"] for event in whole}
    again = tmp_path / "other name.jsonl"
    again.write_text("\n".join(json.dumps({**row, "new": n}, ensure_ascii=False) for n, row in enumerate(rows)))
    _, part, _ = imported([again], GERMAN)
    assert len(part) == 2 * len(rows)
    assert {event["event_id"] for event in part} <= ids
    # Together they are the whole, whichever comes first.
    for files in ([path, again], [again, path], [path, path], [path, again, path]):
        _, both, sorter = imported(files, GERMAN, run_bytes=1 << 18)
        assert {event["event_id"] for event in both} == ids
        assert sorter.doubles == sorter.taken - len(whole) > 0


def test_rows_of_one_file_that_are_the_same_are_each_counted(tmp_path: Path) -> None:
    def file(name: str, times: int) -> Path:
        path = tmp_path / name
        path.write_text("worker,item,when\n" + "ann,t1,2026-11-02T10:00Z\n" * times + "bob,t1,2026-11-02T10:00Z\n")
        return path

    mapping = from_pairs({"agent_id": "worker", "task_id": "item", "at": "when"}, PLACE)
    _, found, sorter = imported([file("a.csv", 3), file("b.csv", 5), file("c.csv", 2)], mapping)
    assert Counter(event["agent_id"] for event in found) == {"ann": 5, "bob": 1}
    assert sorter.doubles == 13 - 6


def test_ids_of_the_file_are_kept_and_count_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "id,worker,item,when\n1,ann,t1,2026-11-02T10:00Z\n1,ann,t1,2026-11-02T10:00Z\n2,ann,t1,2026-11-02\n"
    )
    columns = {"event_id": "id", "agent_id": "worker", "task_id": "item", "at": "when"}
    with EventSorter() as sorter:
        read_rows(ImportOptions([path], lambda table: from_pairs(columns, PLACE, MappingOverrides(zone="UTC"))), sorter)
        found = [json.loads(event.value)["event_id"] for event in sorter.events()]
    assert (found, sorter.doubles) == (["2", "1"], 1)


def test_any_order_is_sorted_in_runs_as_sorted_sorts_it() -> None:
    chance = random.Random(7)
    events = [(chance.randrange(500), n) for n in range(20_000)]
    with EventSorter(run_bytes=400 * 700) as sorter:
        for at_ms, number in events:
            sorter.add(at_ms, "s", b'{"type":"t","n":%d}' % number, 0)
        assert len(sorter._runs) > 20
        # No more is in memory than a run.
        assert max(len(sorter._entries), *(0,)) < 1_000
        found = [(event.at_ms, json.loads(event.value)["n"]) for event in sorter.events()]
    assert found == sorted(events, key=lambda each: each[0])


# --- what cannot be used


def test_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [
        "ann,t1,2026-11-02T10:00Z",
        "ann,t2",
        ",t3,2026-11-02T10:00Z",
        "ann,t4,2030-01-01T00:00Z",
        'ann,"t5"x,',
        "bob,t6,2026-11-02T11:00Z",
    ]
    path.write_text("worker,item,when\n" + "\n".join(rows))
    mapping = from_pairs({"agent_id": "worker", "task_id": "item", "at": "when"}, PLACE)
    report, found, _ = imported([path], mapping)
    assert [event["task_id"] for event in found] == ["t1", "t6"]
    assert report.bad == {"length": 1, "empty": 1, "future": 1, "quote": 1}
    assert [row.place for row in report.named] == [f"a.csv line {line}" for line in (3, 4, 5, 6)]


def test_what_the_data_asks_for_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("worker,item,when\nann,t1,03/04/2026 10:00\n")
    mapping = from_pairs({"agent_id": "worker", "task_id": "item", "at": "when"}, PLACE)
    with pytest.raises(
        MappingError, match=r"^a\.csv line 2: column when \(at\): '03/04/2026 10:00' may begin with the"
    ):
        imported([path], mapping)


@pytest.mark.parametrize("text", ["worker,item,when\n", "worker,item,when", "worker,item,when\n\n\n"])
def test_a_header_alone_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    mapping = from_pairs({"agent_id": "worker", "task_id": "item", "at": "when"}, PLACE)
    with pytest.raises(SourceError, match=r"^a\.csv: has a header and no rows; nothing was imported"):
        imported([path], mapping)


def test_progress_says_how_far_the_file_is_read(tmp_path: Path) -> None:
    path, rows = with_times("hitspam", tmp_path, 22_000)
    seen: list[tuple[int, int, int]] = []
    read_rows(ImportOptions([path], lambda table: GERMAN, now_ms=NOW), None, lambda *progress: seen.append(progress))
    assert [count for count, _, _ in seen] == list(range(5_000, len(rows), 5_000))
    assert {size for _, _, size in seen} == {path.stat().st_size}
    places = [place for _, place, _ in seen]
    assert places == sorted(places)
    assert path.stat().st_size * 0.8 < places[-1] <= path.stat().st_size


def test_json_may_lack_what_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    work = {"worker": 7, "item": {"id": "t1"}, "when": "2026-11-02T10:00Z", "said": ["b", "a"]}
    lines = [work] * 250 + [{**work, "gold": ["a", "b"]}]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    columns = {"agent_id": "worker", "task_id": "/item/id", "at": "when", "label": "/said", "expected": "gold"}
    report, found, _ = imported([path], from_pairs(columns, PLACE))
    assert (report.events["label_submitted"], report.events["label_reviewed"]) == (251, 1)
    assert {(event["agent_id"], event["task_id"], event["label"]) for event in found} == {("7", "t1", "b|a")}
    assert "a.jsonl: none of the first objects has 'gold'; check its name" in report.notes
    with pytest.raises(MappingError, match=r"a\.jsonl: no column 'who'; the file has worker, /item/id, when, said"):
        imported([path], from_pairs({**columns, "agent_id": "who"}, PLACE))


@pytest.mark.parametrize(("name", "reason"), [("a.json", "text"), ("a.jsonl", "JSON")])
def test_half_of_a_character_costs_its_row_alone(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    work = {"worker": "a", "when": "2026-11-02T10:00Z"}
    rows = [json.dumps({**work, "item": f"t{n}", "said": "x" + "\ud83d" * (n == 1)}) for n in range(3)]
    path.write_text(f"[{','.join(rows)}]" if name == "a.json" else "\n".join(rows))
    columns = {"agent_id": "worker", "task_id": "item", "at": "when", "label": "said"}
    report, found, _ = imported([path], from_pairs(columns, PLACE))
    assert [event["task_id"] for event in found] == ["t0", "t2"]
    assert report.bad == {reason: 1}
