"""Replays: bytes as they are, crowd files as they count, and every partition at the same time in the end."""

import csv
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.events import AnyEvent
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.errors import SourceError
from streams.sources.replay import ReplayOptions, paced, run_replay
from streams.sources.sinks import KafkaTarget, partition_of
from tests.support.consume import read_all
from tests.support.tansu import Tansu

CROWD = Path(__file__).parents[1] / "data" / "crowd"
PARTITIONS = 3
DAY_MS = 86_400_000
_decode = msgspec.json.Decoder(AnyEvent).decode


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def converted(file: Path, **options: Any) -> list[dict[str, Any]]:
    """A CSV file's events, each of them a good one."""
    out = file.with_name("out.jsonl")
    done = run_replay(ReplayOptions(file, out=out, **options))
    for line in out.read_bytes().splitlines():
        _decode(line)
    found = lines_of(out)
    assert done.records == len(found)
    return found


def a_file(folder: Path, text: str, name: str = "ours.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "labels", "reviews", "accuracy"),
    [
        ("sentiment_amt", 10_000, 10_000, 0.8935),
        ("zencrowd_us", 12_190, 12_190, 0.7702),
        ("hitspam", 42_762, 3_822, 0.6682),
    ],
)
def test_the_crowd_files_count_as_they_do_by_hand(
    tmp_path: Path, name: str, labels: int, reviews: int, accuracy: float
) -> None:
    source = CROWD / f"{name}.csv"
    with source.open(newline="") as text:
        rows = list(csv.DictReader(text))
    known = [row for row in rows if row["gold"]]
    out = tmp_path / "out.jsonl"
    run_replay(ReplayOptions(source, out=out))
    for line in out.read_bytes().splitlines():
        _decode(line)
    found = lines_of(out)
    submitted = [event for event in found if event["type"] == "label_submitted"]
    judged = [event for event in found if event["type"] == "label_reviewed"]
    assert len(found) == len(submitted) + len(judged)
    assert len(submitted) == len(rows) == labels
    assert len(judged) == len(known) == reviews
    right = sum(event["correct"] for event in judged)
    assert right == sum(row["label"] == row["gold"] for row in known)
    assert right / reviews == pytest.approx(accuracy, abs=5e-5)
    assert len({event["event_id"] for event in found}) == len(found)
    assert {event["source"] for event in judged} == {"gold"}

    def work(event: dict[str, Any]) -> tuple[str, str, str]:
        return event["agent_id"], event["task_id"], event["label"]

    assert Counter(map(work, submitted)) == Counter((r["worker"], r["item"], r["label"]) for r in rows)
    assert Counter((*work(e), e["expected"]) for e in judged) == Counter(
        (r["worker"], r["item"], r["label"], r["gold"]) for r in known
    )
    # Doing an item again is an attempt of its own.
    attempts = Counter((event["task_id"], event["agent_id"], event.get("attempt", 1)) for event in submitted)
    times = Counter((row["item"], row["worker"]) for row in rows)
    assert attempts == Counter((*pair, number + 1) for pair, n in times.items() for number in range(n))
    # A person's clock is the sum of the seconds so far; the last event is now, and all of it lies in the windows.
    assert [event["at"] for event in found] == sorted(event["at"] for event in found)
    assert found[-1]["at"] - found[0]["at"] < 7 * DAY_MS
    clock: Counter[str] = Counter()
    expected: Counter[tuple[str, int]] = Counter()
    for row in rows:
        clock[row["worker"]] += round(float(row["seconds"] or 30) * 1000)
        expected[row["worker"], clock[row["worker"]]] += 1
    start = found[-1]["at"] - max(clock.values())
    assert Counter((event["agent_id"], event["at"] - start) for event in submitted) == expected
    # Gold is known right after the label.
    before: dict[str, Any] = {}
    for event in found:
        if event["type"] == "label_reviewed":
            assert (work(event), event["at"], event["labeled_at"]) == (work(before), before["at"], before["at"])
        before = event


def test_a_map_and_constants_name_the_columns(tmp_path: Path) -> None:
    found = converted(
        a_file(tmp_path, "who,what,said\nann,t1,cat\nann,t1,dog\nbob,,cat\n"),
        mapping={"agent_id": "who", "task_id": "what", "label": "said"},
        constants={"site_id": "lima-2", "project_id": "pets", "task_id": "none"},
        start_ms=1_000_000,
        assumed_seconds=10,
    )
    assert [(e["agent_id"], e["task_id"], e["label"], e["at"], e.get("attempt")) for e in found] == [
        ("ann", "t1", "cat", 1_010_000, None),
        ("bob", "none", "cat", 1_010_000, None),
        ("ann", "t1", "dog", 1_020_000, 2),
    ]
    assert {(e["site_id"], e["project_id"]) for e in found} == {("lima-2", "pets")}


def test_a_constant_may_be_what_was_expected(tmp_path: Path) -> None:
    found = converted(
        a_file(tmp_path, "who,said\nann,cat\nann,dog\n"),
        mapping={"agent_id": "who", "label": "said"},
        constants={"expected": "cat", "handle_s": "4"},
    )
    assert [event["correct"] for event in found if event["type"] == "label_reviewed"] == [True, False]
    assert [event["handle_ms"] for event in found if event["type"] == "label_submitted"] == [4000, 4000]


@pytest.mark.parametrize("odd", ["", "-5", "nan", "inf", "1e300", "soon"])
def test_odd_seconds_are_no_handling_time_and_move_the_clock_as_usual(tmp_path: Path, odd: str) -> None:
    found = converted(
        a_file(tmp_path, f"worker,item,label,gold,seconds\nw,1,a,,{odd}\nw,2,a,,1.5\n"), start_ms=0, assumed_seconds=10
    )
    assert [(event["at"], event.get("handle_ms")) for event in found] == [(10_000, None), (11_500, 1500)]


def test_what_is_too_long_for_the_contract_is_cut(tmp_path: Path) -> None:
    long = "x" * 2000
    found = converted(a_file(tmp_path, f"worker,item,label,gold,seconds\n{long},{long},{long},{long}y,1\n"))
    assert [event["type"] for event in found] == ["label_submitted", "label_reviewed"]
    assert found[1]["correct"] is False


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mapping": {"agent_id": "nobody"}}, r"no column for agent_id=nobody; the file has who, what: give --map"),
        ({"mapping": {"colour": "who"}}, r"--map and --set 'colour': use agent_id, .* or "),
        ({"mapping": {}, "constants": {"colour": "red"}}, r"--map and --set 'colour': use .* or "),
        ({"mapping": {}, "constants": {"event_id": "e1"}}, r"--set event_id: each row needs an id of its own"),
    ],
)
def test_columns_that_do_not_fit_are_one_sentence(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    file = a_file(tmp_path, "who,what\nann,t1\n")
    with pytest.raises(SourceError, match=says) as caught:
        run_replay(ReplayOptions(file, out=tmp_path / "out.jsonl", **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"who\n\xff\xfe\n", b"who\n" + b"x" * 200_000])
def test_a_csv_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "ours.csv"
    file.write_bytes(data)
    with pytest.raises(SourceError, match=r"ours\.csv: cannot be read as CSV: "):
        run_replay(ReplayOptions(file, {"agent_id": "who"}, out=tmp_path / "out.jsonl"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.jsonl: no such file"):
        run_replay(ReplayOptions(tmp_path / "absent.jsonl", out=tmp_path / "out"))


def test_a_file_is_never_written_over_itself(tmp_path: Path) -> None:
    file = a_file(tmp_path, "{}\n", "events.jsonl")
    with pytest.raises(SourceError, match="is the file to read from"):
        run_replay(ReplayOptions(file, out=file))
    assert file.read_text() == "{}\n"


def test_lines_arrive_byte_for_byte_and_every_partition_ends_at_the_same_time(tansu: Tansu, tmp_path: Path) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    good = b'{"type":"state_changed","event_id":"e%d","at":%d,"site_id":"site-%d","agent_id":"a","state":"break" }'
    lines = [good % (n, 1_000_000 + n, n % 5) for n in range(2_000)]
    tomorrow = int(time.time() * 1000) + DAY_MS
    broken = [
        b"not json at all",
        b'{"type": "x"}',
        "站点".encode(),
        b"\xff\r\x00",
        b" ",
        b"[" * 5_000,
        # Turned away by the worker, so they are not its time either.
        good % (3_000, tomorrow, 1),
        good.replace(b"agent_id", b"agent") % (3_001, 9_000_000, 1),
    ]
    lines[100:100] = broken
    file = tmp_path / "history.jsonl"
    # Empty lines are no records.
    file.write_bytes(b"\n\n".join(lines[:900]) + b"\r\n" + b"\n".join(lines[900:]))
    counts: list[tuple[int, int]] = []
    done = run_replay(ReplayOptions(file), KafkaTarget(tansu.bootstrap), lambda *pair: counts.append(pair))
    assert (done.records, done.not_json, done.newest_ms) == (len(lines) + PARTITIONS, 6, 1_001_999)
    assert [count for count, _ in counts] == sorted(count for count, _ in counts)
    assert counts[-1] == (len(lines), len(lines))

    for number, (*events, clock) in read_all(tansu.bootstrap, PARTITIONS, done.records).items():
        last = json.loads(clock.value)
        assert (last["type"], last["site_id"], last["at"]) == ("clock_advanced", "*", 1_001_999)
        _decode(clock.value)
        expected = [line for line in lines if partition_of(_key(line), PARTITIONS) == number]
        assert [record.value for record in events] == expected
        assert [record.key for record in events] == [_key(line) for line in expected]


def _key(line: bytes) -> bytes:
    try:
        return str(json.loads(line)["site_id"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""


def test_progress_of_a_csv_file_ends_at_its_total(tansu: Tansu, tmp_path: Path) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), 1))
    rows = "".join(f"w{n % 7},i{n},a,{'a' if n % 3 else ''},2\n" for n in range(1_500))
    file = a_file(tmp_path, f"worker,item,label,gold,seconds\n{rows}")
    counts: list[tuple[int, int]] = []
    run_replay(ReplayOptions(file), KafkaTarget(tansu.bootstrap), lambda *pair: counts.append(pair))
    assert {total for _, total in counts} == {2_500}
    assert counts[-1] == (2_500, 2_500)


def test_sixty_times_as_fast_is_a_second_for_a_minute() -> None:
    times = [1_000_000, 1_060_000, 0, 1_030_000, 4_600_000]
    records = [(at, b"key", b"%d" % number) for number, at in enumerate(times)]
    due = list(paced(iter(records), 60, 500.0))
    assert [(each.key, each.value) for each in due] == [(key, value) for _, key, value in records]
    # What has no time is due at once, in its place.
    assert [each.due_seconds for each in due] == pytest.approx([500.0, 501.0, 0.0, 500.5, 560.0])
    assert {each.due_seconds for each in paced(iter(records), 0, 500.0)} == {0.0}
