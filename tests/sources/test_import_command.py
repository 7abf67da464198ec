"""`labelwatch import`, `map suggest` and `events check` from outside: exit codes, sentences, and what is written."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from kafka import KafkaProducer
from rich.console import Console

from schemas.topics import EVENTS
from streams.ops.import_files import ImportRequest, importing, write_to_file
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.mapping.model import MappingOverrides
from tests.support.console import Run
from tests.support.consume import read_all
from tests.support.tansu import Tansu

CROWD = Path(__file__).parents[1] / "data" / "crowd"
MAP = "agent_id=worker,task_id=item,label=label,expected=gold,handle_s=seconds"
PLACE = ("--set", "site_id=上海-2", "--set", "project_id=spam", "--times-from", "2026-11-01T08:00Z", "--plain")
PARTITIONS = 2


def head(folder: Path, name: str, rows: int) -> tuple[Path, list[dict[str, str]]]:
    """The first rows of a crowd file."""
    with (CROWD / f"{name}.csv").open(newline="") as text:
        known = list(csv.DictReader(text))[:rows]
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(known[0]))
        writer.writeheader()
        writer.writerows(known)
    return path, known


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_dry_run_says_what_would_go_out_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    path, rows = head(tmp_path, "sentiment_amt", 500)
    ended = run("import", path, "--map", MAP, *PLACE)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [json.loads(line)["agent_id"] for line in lines[:10:2]] == [row["worker"] for row in rows[:5]]
    right = sum(row["label"] == row["gold"] for row in rows)
    share = f"{100 * right / 500:.1f}%"
    assert lines[10:] == [
        "sentiment_amt.csv: cells are separated by a comma, by its first lines",
        "rows: 500 read, 500 used, 0 could not be used",
        "events: 500 label_reviewed, 500 label_submitted",
        lines[13],
        "sites: 1,000 上海-2",
        "gold: 500 of 500 labels (100.0%) meet gold",
        f"gold: {right} of 500 labels compared are equal ({share})",
        "utilization: no, it rests on state_changed events and there are none",
        "dry run: nothing was written; add --to kafka, --out FILE.jsonl or --backfill DIR",
    ]
    assert re.fullmatch(
        r"time: 2026-11-01 08:0\d UTC to .* UTC, \d\.\d days; made by adding up each person's durations.*", lines[13]
    )
    assert files_in(tmp_path) == {"sentiment_amt.csv"}


def test_the_engine_counts_an_imported_file_as_the_csv_module_does(run: Run, tmp_path: Path) -> None:
    with (CROWD / "zencrowd_us.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    out = tmp_path / "events.jsonl"
    assert run("import", CROWD / "zencrowd_us.csv", "--map", MAP, *PLACE, "--out", out).code == 0
    ended = run("compute", out, "--json")
    assert (ended.code, ended.err) == (0, "")
    figures = json.loads(ended.out)

    def of_week(name: str) -> float:
        (value,) = (each["value"] for each in figures[name] if each["window"] == "7d")
        return float(value)

    right = sum(row["label"] == row["gold"] for row in rows)
    assert of_week("labelwatch_site_labels") == len(rows) == 12_190
    assert of_week("labelwatch_site_reviews") == len(rows)
    assert of_week("labelwatch_site_correct_reviews") == right
    assert of_week("labelwatch_site_accuracy_ratio") == pytest.approx(right / len(rows), rel=1e-12)
    mean = sum(min(float(row["seconds"]), 1800) for row in rows) / len(rows)
    assert of_week("labelwatch_site_handle_seconds_mean") == pytest.approx(mean, rel=1e-9)


def test_bad_rows_end_it_before_anything_is_written_unless_they_are_allowed(run: Run, tmp_path: Path) -> None:
    path, _ = head(tmp_path, "sentiment_amt", 20)
    with path.open("a") as file:
        file.write("w1,i1\n,i2,1,1,3\nw3,i3,1,1,-5\n")
    out = tmp_path / "out.jsonl"
    for target in ((), ("--out", out)):
        ended = run("import", path, "--map", MAP, *PLACE, *target)
        assert ended.code == 1
        assert "rows: 23 read, 20 used, 3 could not be used" in ended.out
        assert "3 rows could not be used: 1 empty, 1 length, 1 number" in ended.out
        assert "sentiment_amt.csv line 22: has 2 cells, the header has 5\n" in ended.out
        assert ended.err == (
            "labelwatch: 3 rows could not be used, 0 may be: nothing was written; mend them, or leave them out: "
            "--allow-bad 3\n"
        )
        assert files_in(tmp_path) == {"sentiment_amt.csv"}
    ended = run("import", path, "--map", MAP, *PLACE, "--out", out, "--allow-bad", 3)
    assert (ended.code, ended.err) == (0, "")
    assert f"40 events written: {out}" in ended.out
    assert len(out.read_bytes().splitlines()) == 40
    checked = run("events", "check", out)
    assert (checked.code, checked.out) == (0, "40 good: 20 label_submitted, 20 label_reviewed\n")


def test_labels_and_gold_that_never_meet_are_said(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("worker,item,label,gold,seconds\n" + "".join(f"w,{n},Yes,{n % 2},1\n" for n in range(12)))
    ended = run("import", path, "--map", MAP, *PLACE)
    assert "labels and gold never meet: labels are 'Yes', gold is '0' or '1'; give [values.label]" in ended.out
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[time]\nmade_from = "2026-11-01T08:00Z"\n[constants]\nsite_id = "s"\nproject_id = "p"\n[fields]\n'
        'agent_id = "worker"\ntask_id = "item"\nlabel = "label"\nexpected = "gold"\n[values.label]\nYes = 1\n'
    )
    ended = run("import", path, "--map", mapping, "--plain")
    assert "gold: 6 of 12 labels compared are equal (50.0%)" in ended.out
    assert "never meet" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--to", "rabbit"), 2, "--to 'rabbit': use kafka, or --out FILE"),
        (("--to", "kafka", "--out", "x"), 2, "--to, --out and --backfill: give one"),
        (("--map", "colour=worker"), 2, "--map and --set: colour: is not known; use agent_id"),
        (("--map", "absent.toml"), 2, "--map absent.toml: No such file or directory; give a mapping file"),
        (("--map", "mapping"), 2, "--map mapping: No such file or directory; give a mapping file, or pairs such as"),
        (("--map", "agent_id=a,agent_id=b"), 2, "give NAME=VALUE, each name once"),
        (("--map", MAP), 2, "at: label_submitted needs it: name the column of its time, at = ..., or let times"),
        (("--map", "agent_id=nobody,task_id=item", *PLACE), 2, "hitspam.csv: no column 'nobody'; the file has worker"),
        ((), 2, "hitspam.csv: needs a mapping; `labelwatch map suggest hitspam.csv` proposes one for --map"),
        (("--map", MAP, *PLACE, "--format", "json"), 1, "hitspam.csv: object 1 is no JSON"),
        (("--map", MAP, *PLACE, "--zone", "Mars"), 2, "zone 'Mars': no such zone"),
    ],
)  # fmt: skip  # a table
def test_wrong_use_is_one_sentence(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    ended = run("import", CROWD / "hitspam.csv", *arguments)
    assert ended.code == code
    assert says in ended.err
    assert ended.err.startswith("labelwatch: ")
    assert ended.err.count("\n") == 1


def test_a_file_is_never_written_over_itself(run: Run, tmp_path: Path) -> None:
    path, _ = head(tmp_path, "sentiment_amt", 5)
    before = path.read_bytes()
    ended = run("import", path, "--map", MAP, *PLACE, "--out", path)
    assert ended.code == 2
    assert path.read_bytes() == before


def test_importing_twice_into_kafka_counts_once(run: Run, tansu: Tansu, tmp_path: Path) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    path, rows = head(tmp_path, "sentiment_amt", 300)
    arguments = ("--map", MAP, *PLACE, "--to", "kafka", "--bootstrap", tansu.bootstrap)
    first = run("import", path, *arguments)
    assert (first.code, first.out.splitlines()[-1]) == (0, "600 events written to Kafka"), first.err
    # The embedded broker has none; tests/kafka/test_import.py asks one that has.
    assert "this broker has no transactions: what two imports write at the same time may count" in first.err
    # A later export of the same work, with more in it and under another name.
    longer, rows = head(tmp_path, "sentiment_amt", 400)
    again = longer.rename(tmp_path / "december.csv")
    second = run("import", again, *arguments)
    assert second.code == 0, second.err
    assert second.out.splitlines()[-2:] == [
        "200 events written to Kafka",
        "600 events were in the topic already, by an earlier import: left out",
    ]
    third = run("import", again, *arguments)
    assert third.out.splitlines()[-2:] == [
        "0 events written to Kafka",
        "800 events were in the topic already, by an earlier import: left out",
    ]
    # Both have ended by setting every clock, the third had nothing to end.
    records = read_all(tansu.bootstrap, PARTITIONS, 800 + 2 * PARTITIONS)
    events = [json.loads(record.value) for each in records.values() for record in each]
    labels = [event for event in events if event["type"] == "label_submitted"]
    assert len(labels) == len({event["event_id"] for event in labels}) == 400
    assert sorted(event["task_id"] for event in labels) == sorted(row["item"] for row in rows)
    assert {record.key for each in records.values() for record in each} == {"上海-2".encode(), b"*"}


def test_a_mapping_says_how_its_file_is_read_and_the_command_line_goes_before_it(run: Run, tmp_path: Path) -> None:
    path, mapping = tmp_path / "a.txt", tmp_path / "m.toml"
    path.write_text("wer~was~wann\nJosé~t~2026-11-02T10:00Z\n", "cp1252")
    mapping.write_text(
        '[source]\ndelimiter = "~"\nencoding = "cp1252"\n[constants]\nsite_id = "s"\nproject_id = "p"\n'
        '[fields]\nagent_id = "wer"\ntask_id = "was"\nat = "wann"\n'
    )
    ended = run("import", path, "--map", mapping, "--set", "site_id=lima-2", "--plain")
    assert (ended.code, ended.err) == (0, "")
    event = json.loads(ended.out.splitlines()[0])
    assert (event["agent_id"], event["site_id"], event["project_id"]) == ("José", "lima-2", "p")
    assert "guessed" not in ended.out
    ended = run("import", path, "--map", mapping, "--delimiter", "comma", "--plain")
    assert ended.code == 2
    assert ended.err == (
        "labelwatch: a.txt: no column 'wer'; the file has wer~was~wann; if that is a title above the header, delete "
        "its line\n"
    )


def test_standard_input_is_given_once(run: Run) -> None:
    ended = run("import", "-", "-", "--map", MAP, *PLACE)
    assert (ended.code, ended.err) == (1, "labelwatch: standard input (-) can be read once; give it once\n")


def test_a_terminal_sees_how_far_reading_and_writing_are(tmp_path: Path) -> None:
    path, _ = head(tmp_path, "zencrowd_us", 12_000)
    screen = io.StringIO()
    request = ImportRequest(
        [path],
        dict(pair.split("=") for pair in MAP.split(",")),
        {"site_id": "s", "project_id": "p"},
        MappingOverrides(made_from="2026-11-01T08:00Z"),
    )
    with importing(request, Console(file=screen, force_terminal=True, width=100), False, tmp_path) as imported:
        assert write_to_file(imported, tmp_path / "out.jsonl", ()) == 24_000
    seen = screen.getvalue()
    # How much of it, and how long it takes yet.
    assert re.search(r"10,000 rows.*\d+%.*\d:\d\d:\d\d", seen)
    assert re.search(r"20,000 events.*83%.*\d:\d\d:\d\d", seen)


# --- suggest


def proposed(run: Run, path: Path) -> str:
    ended = run("map", "suggest", path)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def test_a_proposal_for_a_chinese_sheet_is_used_as_it_is(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "导出.csv"
    rows = ["工号;任务ID;质检结果;提交时间;耗时", "07;t1;正确;2026/11/2 9:05;12,5", "8;t2;不合格;2026/11/2 9:06;7"]
    path.write_bytes("\r\n".join(rows).encode("gb18030"))
    text = proposed(run, path)
    assert '\n# zone = "Asia/Manila"  # needed: the times name none\n' in text
    assert '"不合格" = false\n' in text
    mapping = tmp_path / "m.toml"
    mapping.write_text(text, "utf-8")
    ended = run("import", path, "--map", mapping, "--set", "site_id=上海-2", "--plain")
    assert ended.code == 2
    assert "line 2: column 提交时间 (at): '2026/11/2 9:05' names no time zone; state it" in ended.err
    ended = run("import", path, "--map", mapping, "--set", "site_id=上海-2", "--zone", "Asia/Shanghai", "--plain")
    assert ended.code == 0, ended.err
    events = [json.loads(line) for line in ended.out.splitlines()[:4]]
    # By `date -u -d '2026-11-02 01:05' +%s`.
    assert [(e["agent_id"], e["at"], e.get("handle_ms"), e.get("correct")) for e in events] == [
        ("07", 1_793_581_500_000, 12_500, None),
        ("07", 1_793_581_500_000, None, True),
        ("8", 1_793_581_560_000, 7_000, None),
        ("8", 1_793_581_560_000, None, False),
    ]
    assert "encoding guessed: gb18030" in ended.out


def test_a_time_is_known_by_its_values_where_no_header_tells(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("worker,task,wann,von\nana,t1,30.11.2026 09:00,7\nbo,t1,30.11.2026 09:05,8\n", "utf-8")
    assert 'at = "wann"  # all 2 values are dates with a time\n' in proposed(run, path)
    # Two of them: which one it is nobody can know.
    path.write_text("worker,task,a,b\nana,t1,30.11.2026 09:00,30.11.2026 09:01\n", "utf-8")
    assert '# at = "COLUMN"  # needed' in proposed(run, path)


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        (
            "HITId,WorkerId,SubmitTime,WorkTimeInSeconds,Answer.kind",
            ["h1,A1,Mon Nov 02 10:14:55 PST 2026,33,cat"],
            ['format = "mturk"', 'agent_id = "WorkerId"', 'label = "Answer.kind"', 'unit = "s"', "Mechanical Turk"],
        ),
        (
            "_unit_id,_worker_id,_created_at,kind,kind_gold",
            ["1,2,11/2/2026 10:15:33,cat,dog"],
            ['format = "crowdflower"', 'label = "kind"', 'expected = "kind_gold"', "CrowdFlower", 'compare = "any"'],
        ),
        (
            "INPUT:url\tOUTPUT:kind\tGOLDEN:kind\tASSIGNMENT:worker_id\tASSIGNMENT:task_id\tASSIGNMENT:submitted",
            ["u\tcat\tdog\tw\tt\t2026-11-02T10:00:00.123"],
            ['agent_id = "ASSIGNMENT:worker_id"', 'label = "OUTPUT:kind"', 'expected = "GOLDEN:kind"', "Toloka"],
        ),
        (
            "Bearbeiter;Aufgabe;Zeitpunkt;Dauer",
            ["a;1;25.11.2026 10:15;12,50", "b;2;03.11.2026 10:15;1:30"],
            ['format = "%d.%m.%Y %H:%M"', "a value begins with 25, which is a day", 'unit = "mm:ss"'],
        ),
        (
            "user,task,date",
            ["a,1,03/04/2026 10:15 PM"],
            ["'03/04/2026 10:15 PM' may begin with the day or the month, and no value tells", "%m/%d/%Y %I:%M %p"],
        ),
        (
            "标注员姓名,任务编号,业务线,提交时间,用时\uff08分钟\uff09",
            ["王芳,T1,内容审核,2026年11月2日 9时05分,1.5"],
            [
                'agent_id = "标注员姓名"',
                'task_id = "任务编号"',
                'project_id = "业务线"',
                'unit = "min"',
                "by its header",
            ],
        ),
        (
            "Mitarbeiter;Auftrag;Abgegeben am;Dauer [Sek.];Kategorie;Kontrolle;Prüfer",
            ["Jörg;A-1;30.11.2026 09:00;1.234,5;echt;n.i.O.;Weiß"],
            ['task_id = "Auftrag"', 'column = "Dauer [Sek.]", unit = "s" }', 'decimal = ","', '"n.i.O." = false'],
        ),
        ("Agent name,Task,Time,Time spent (h)", ["a,1,1793581500,.01"], ['column = "Time spent (h)", unit = "h"']),
        ("user,task,time", ["a,1,1793581500", "b,2,1793581501"], ['format = "epoch_s"']),
        ("user,task,time,state", ["a,1,1793581500123,Lunch"], ['format = "epoch_ms"', '"Lunch" = "break"']),
        ("user,task,time", [], ["it has a header and no rows", 'at = "time"']),
        ("Report of November", ["user,task,time"], ["it has one column: if that is a title above the header, delete"]),
        ("x,y", ["1,a"], ['# agent_id = "COLUMN"  # needed', '# made_from = "2026-11-01T08:00Z"', "# not used: x, y"]),
    ],
)
def test_a_proposal_says_what_it_rests_on(
    run: Run, tmp_path: Path, header: str, rows: list[str], expected: list[str]
) -> None:
    path = tmp_path / "export.txt"
    path.write_text("\n".join([header, *rows]))
    text = proposed(run, path)
    assert [part for part in expected if part not in text] == []


def test_rows_without_a_task_are_profiles_which_is_said(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("who,when\nana,2026-11-02T10:00Z\n")
    ended = run("import", path, "--map", "agent_id=who,at=when", "--set", "site_id=s", "--plain")
    assert (ended.code, ended.err) == (0, "")
    assert "labels: none; rows became profiles of people; for labels, name a column for task_id\n" in ended.out


@pytest.mark.parametrize("gold", ["", "1"])
def test_a_consensus_is_proposed_where_several_people_label_a_task_and_nobody_reviews(
    run: Run, tmp_path: Path, gold: str
) -> None:
    path, _ = head(tmp_path, "sentiment_amt", 200)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\n".join(",".join([*cells[:3], gold, *cells[4:]]) for cells in [lines[0], *lines[1:]][1:]))
    path.write_text("worker,item,label,gold,seconds\n" + path.read_text())
    text = proposed(run, path)
    assert ("no reviews, and 10 of 10 tasks have labels of 3 people or more: --consensus" in text) == (not gold)
    assert ("'gold' is empty, and left out: with it there is no consensus" in text) == (not gold)
    if not gold:
        (tmp_path / "m.toml").write_text(text)
        for rule in ("majority", "dawid-skene"):
            ended = run("import", path, "--map", tmp_path / "m.toml", *PLACE, "--consensus", rule)
            assert (ended.code, ended.err) == (0, "")
            assert "consensus: 200 of 200 labels can be judged by" in ended.out


def test_label_studios_export_needs_no_mapping(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    usual = {"lead_time": 2.5, "was_cancelled": False, "created_at": "2026-11-02T10:00:00.5Z"}

    def said(number: int, person: int, choice: str, gold: bool) -> dict[str, object]:
        result = [{"type": "choices", "value": {"choices": [choice]}}]
        return {**usual, "id": number, "completed_by": person, "result": result, "ground_truth": gold}

    task = {"id": 1, "project": 4, "data": {}, "annotations": [said(1, 11, "cat", False), said(2, 12, "dog", True)]}
    path.write_text(json.dumps([task]))
    ended = run("import", path, "--set", "site_id=s", "--plain")
    assert (ended.code, ended.err) == (0, "")
    assert "events: 2 label_submitted, 1 label_reviewed" in ended.out
    review = json.loads(ended.out.splitlines()[1])
    assert (review["agent_id"], review["label"], review["expected"], review["correct"]) == ("11", "cat", "dog", False)
    assert review["at"] == 1_793_613_600_500


def test_cvats_xml_needs_no_mapping_and_says_what_it_lacks(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "export.xml"
    path.write_text(
        "<annotations><meta><task><id>4</id><name>plates</name><updated>2026-09-25 11:38:27.301183+03:00</updated>"
        "<assignee><username>ann</username></assignee></task></meta>"
        "<image name='a.jpg'><box label='plate'/></image></annotations>"
    )
    ended = run("import", path, "--set", "site_id=s", "--plain")
    assert (ended.code, ended.err) == (0, "")
    # By `date -u -d '2026-09-25 11:38:27 +03:00' +%s`.
    assert json.loads(ended.out.splitlines()[0]) == {
        "type": "label_submitted", "site_id": "s", "project_id": "plates", "agent_id": "ann", "task_id": "4/a.jpg",
        "label": "plate", "at": 1_790_325_507_301,
    }  # fmt: skip  # an event in one glance
    assert "says of an image neither who labeled it nor when" in ended.out
    proposal = run("map", "suggest", path)
    assert 'task_id = ["task", "image"]  # as CVAT exports it' in proposal.out


# --- events check


def test_each_line_is_checked_as_the_worker_does(run: Run, tmp_path: Path) -> None:
    at_ms = 1_793_613_600_000
    good = {"type": "state_changed", "event_id": "e", "at": at_ms, "site_id": "s", "agent_id": "a",
            "state": "break"}  # fmt: skip  # an event in one glance
    lines = [
        good,
        {**good, "at": at_ms - 1},
        {**good, "state": "lunch"},
        {**good, "at": "soon"},
        {**good, "at": 9_999_999_999_999},
        {**good, "type": "new_kind"},
        {**good, "agent_id": "a\u202eb"},
        {key: value for key, value in good.items() if key != "agent_id"},
    ]
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join([*(json.dumps(line).encode() for line in lines), b"", b"{", b"\xff"]))
    ended = run("events", "check", path)
    assert ended.code == 1
    *named, good_line, unknown, disordered, rejected = ended.out.splitlines()
    assert [re.match(r"line (\d+): (\w+): .", line).groups() for line in named] == [  # type: ignore[union-attr]  # each matches
        ("3", "schema"), ("4", "schema"), ("5", "future"), ("7", "schema"), ("8", "schema"), ("10", "json"),
        ("11", "encoding"),
    ]  # fmt: skip  # a table
    assert good_line == "2 good: 2 state_changed"
    assert unknown.startswith("1 of a type that this version does not know")
    assert disordered.startswith("1 are older than one before them")
    assert rejected == "7 would be rejected: 4 schema, 1 future, 1 json, 1 encoding"
    assert len(run("events", "check", path, "--limit", 2).out.splitlines()) == 2 + 1 + 4


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_a_line_is_no_good_file(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(text)
    ended = run("events", "check", path)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "holds no line" in ended.err


def test_a_topics_records_are_checked_with_their_keys(run: Run, tansu: Tansu) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    assert run("events", "check", "--topic", "--bootstrap", tansu.bootstrap).code == 1, "an empty topic is no good one"
    good = {"type": "state_changed", "event_id": "e", "at": 1_793_613_600_000, "site_id": "s", "agent_id": "a",
            "state": "break"}  # fmt: skip  # an event in one glance
    producer = KafkaProducer(bootstrap_servers=tansu.bootstrap)
    for key, value in (
        (b"s", json.dumps(good)),
        (b"t", json.dumps({**good, "event_id": "f"})),
        (None, json.dumps({**good, "event_id": "g"})),
        (b"s", "{"),
        (b"s", json.dumps({**good, "state": "lunch"})),
    ):
        producer.send(EVENTS, key=key, value=value.encode(), partition=1)
    producer.close()
    ended = run("events", "check", "--topic", "--bootstrap", tansu.bootstrap)
    assert ended.code == 1
    assert [re.match(r"(partition 1 offset \d: \w+): .", line).group(1) for line in ended.out.splitlines()[:2]] == [  # type: ignore[union-attr]  # each matches
        "partition 1 offset 3: json", "partition 1 offset 4: schema",
    ]  # fmt: skip  # a table
    assert ended.out.splitlines()[2:] == [
        "3 good: 3 state_changed",
        "2 have another key than their site_id: a site's events are in several partitions, and its figures in parts; "
        "mend the producer",
        "2 would be rejected: 1 json, 1 schema",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"), [((), "give a file of JSON lines"), (("x", "--topic"), "give a file or --topic, not both")]
)
def test_a_file_or_the_topic_is_given_to_check(run: Run, arguments: tuple[str, ...], says: str) -> None:
    ended = run("events", "check", *arguments)
    assert ended.code == 2
    assert says in ended.err
