"""Replays: bytes as they are, crowd files as they count, and every partition at the same time in the end."""

import csv
import json
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import murmur2

from schemas.topics import EVENTS, topics
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.errors import SourceError
from streams.sources.replay import ReplayOptions, run_replay
from streams.sources.sinks import KafkaTarget, partition_of

CROWD = Path(__file__).parents[3] / "shared" / "data" / "crowd"
PARTITIONS = 3


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("key", ["manila-1", "lima-2", "", "x", "站点-3", "a" * 128])
def test_a_key_goes_where_kafka_python_sends_it(key):
    assert partition_of(key.encode(), 7) == (murmur2(key.encode()) & 0x7FFFFFFF) % 7


@pytest.mark.parametrize(
    ("name", "labels", "reviews", "accuracy"),
    [
        ("sentiment_amt", 10_000, 10_000, 0.8935),
        ("zencrowd_us", 12_190, 12_190, 0.7702),
        ("hitspam", 42_762, 3_822, 0.6682),
    ],
)
def test_the_crowd_files_count_as_they_do_by_hand(tmp_path, name, labels, reviews, accuracy):
    file = CROWD / f"{name}.csv"
    if not file.is_file():
        pytest.skip("the crowd files are not beside this checkout")
    rows = list(csv.DictReader(file.open()))
    known = [row for row in rows if row["gold"]]
    out = tmp_path / "out.jsonl"
    run_replay(ReplayOptions(file, out=out))
    found = lines_of(out)
    judged = [event for event in found if event["type"] == "label_reviewed"]
    assert len(found) - len(judged) == len(rows) == labels
    assert len(judged) == len(known) == reviews
    right = sum(event["correct"] for event in judged)
    assert right == sum(row["label"] == row["gold"] for row in known)
    assert right / reviews == pytest.approx(accuracy, abs=5e-5)
    assert [event["at"] for event in found] == sorted(event["at"] for event in found)
    assert len({event["event_id"] for event in found}) == len(found)
    assert {event["agent_id"] for event in found} == {row["worker"] for row in rows}
    assert {event["source"] for event in judged} == {"gold"}


def test_a_map_and_constants_name_the_columns(tmp_path):
    file = tmp_path / "ours.csv"
    file.write_text("who,what,said\nann,t1,cat\nann,t1,dog\nbob,t2,cat\n")
    options = ReplayOptions(
        file,
        {"agent_id": "who", "task_id": "what", "label": "said"},
        {"site_id": "lima-2", "project_id": "pets"},
        start_ms=1_000_000,
        assumed_seconds=10,
        out=tmp_path / "out.jsonl",
    )
    run_replay(options)
    found = lines_of(tmp_path / "out.jsonl")
    assert [(e["agent_id"], e["task_id"], e["label"], e["at"], e.get("attempt")) for e in found] == [
        ("ann", "t1", "cat", 1_010_000, None),
        ("bob", "t2", "cat", 1_010_000, None),
        ("ann", "t1", "dog", 1_020_000, 2),
    ]
    assert {(e["site_id"], e["project_id"]) for e in found} == {("lima-2", "pets")}


@pytest.mark.parametrize(
    ("mapping", "says"),
    [({"agent_id": "nobody"}, r"no column for agent_id=nobody; the file has who, what"), ({"colour": "who"}, "colour")],
)
def test_a_map_that_does_not_fit_is_one_sentence(tmp_path, mapping, says):
    file = tmp_path / "ours.csv"
    file.write_text("who,what\nann,t1\n")
    with pytest.raises(SourceError, match=says):
        run_replay(ReplayOptions(file, mapping, out=tmp_path / "out.jsonl"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"absent\.jsonl: no such file"):
        run_replay(ReplayOptions(tmp_path / "absent.jsonl", out=tmp_path / "out"))


def test_lines_arrive_byte_for_byte_and_every_partition_ends_at_the_same_time(tansu, tmp_path):
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    file = tmp_path / "history.jsonl"
    lines = [
        b'{"type":"label_submitted","event_id":"e%d","at":%d,"site_id":"site-%d","x":1 }' % (n, 1_000_000 + n, n % 5)
        for n in range(2_000)
    ]
    lines[100:100] = [b"not json at all", b'{"type": "x"}', "站点".encode()]
    file.write_bytes(b"\n".join(lines) + b"\n")
    done = run_replay(ReplayOptions(file), KafkaTarget(tansu.bootstrap))
    assert (done.records, done.not_json) == (len(lines) + PARTITIONS, 3)

    parts = [TopicPartition(EVENTS, number) for number in range(PARTITIONS)]
    consumer = KafkaConsumer(bootstrap_servers=tansu.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    consumer.assign(parts)
    found: dict[int, list] = {number: [] for number in range(PARTITIONS)}
    while sum(map(len, found.values())) < done.records:
        for part, records in consumer.poll(timeout_ms=500).items():
            found[part.partition] += records
    consumer.close()
    for number, records in found.items():
        *events, clock = records
        assert json.loads(clock.value)["type"] == "clock_advanced"
        assert json.loads(clock.value)["at"] == 1_001_999
        expected = [line for line in lines if partition_of(_key(line), PARTITIONS) == number]
        assert [record.value for record in events] == expected


def _key(line: bytes) -> bytes:
    try:
        return json.loads(line)["site_id"].encode()
    except (ValueError, KeyError, TypeError):
        return b""


def test_a_broker_that_is_not_there_is_one_sentence(tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_bytes(b"{}\n")
    with pytest.raises(SourceError, match=f"cannot write to {topics()[0].name}"):
        run_replay(ReplayOptions(file), KafkaTarget("127.0.0.1:1"))
