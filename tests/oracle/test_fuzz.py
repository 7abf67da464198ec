"""Any bytes at all as a record: the engine never raises, and decides as the hand-written decoder does."""

import json
import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.policy import Policy
from streams.engine.partition import PartitionEngine

from .compare import Record, batches, commit, differences
from .decoder import EVENTS, MAX_MS, Decision, decide
from .oracle import Oracle
from .traffic import DAY_MS, START_MS, adversarial

INPUTS = 50_000 if os.environ.get("CI") == "true" else 10_000
#: When every record was appended: after all events of the stream that is mutated.
APPENDED_MS = START_MS + 2 * DAY_MS

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 64, 1_000_000, 1_000_001, 1_000_000_001, 2**31, 2**63, 2**64, 10**30, MAX_MS,
    MAX_MS + 1, -0.0, 0.5, 1.0, 1.5, 168, 168.5, 1e300, -1e-300, "", " ", "x", "x" * 128, "x" * 129, "é" * 128,
    "😀" * 128, "x" * 1000, "x" * 1001, "\u0000", "a\u001f", "a\u007f", "\u0080", "a\u009fb", "\u00a0",
    "\u2028", "\ufeff", "x\u3164", "\u115fx", "x\u034f", "\u2800", "x\ufe0f", "\u2764\ufe0f", "\u182d\u180b",
    "x\U000e0100",
    "\ufffd", "2024-02-29", "2024-13-01", "2024-2-1", "2024-01-01\n", "x2024-01-01", "٢٠٢٤-01-01", [], ["a"],
    ["a", ""], [1],
    ["x"] * 256, ["x"] * 257, {}, {"type": "t"}, {"type": ""}, {"type": "t", "severity": "huge"}, {"correct": True},
    {"correct": None}, [{"type": "t"}], [{"type": "t"}] * 64, [{"type": "t"}] * 65, [{"type": "t\u0000"}], [{}], [[]],
    [{"type": "t", "policy_code": "", "severity": None}], "agent", "qa", "production", "gold", "random", "targeted",
    "minor", "productive", "offline", "void", "deleted", "updated", "appeal", "upheld", "done", "closed",
    "client", "left",
)  # fmt: skip
#: Values that no json.dumps writes.
RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"-0", b"1E3", b"1e3", b"1.50", b"01", b"+1", b".5", b"1.", b"0x1", b"tru",
    b"nul", b"1e400", b"-1e400", b"9" * 30, b"9" * 400, b"9" * 5_000, b"'x'", b'"\\x"', b'"\\u12"',
    b'"\\u0000"', b'"\\u007F"',
    b'"\\ud83d\\ude00"', b'"\\ud800"', b'"\x01"', b'"\x7f"', b'"\xc2\x85"', b'"\xc0\x80"', b'"\xed\xa0\x80"',
    b'"\xff"',
    b'"\t"', b'"\\/\\b\\f\\n"', b"[1,]", b"{,}", b'{"a":1,}', b"[" * 60 + b"]" * 60, b"[" * 20_000, b"//x\n1", b"",
)  # fmt: skip
#: Words that turn a key into another one.
KEYS = (
    *sorted({name for required, optional in EVENTS.values() for name in (*required, *optional)}),
    *("type", "event_id", "at", "site_id", "AT", "site", "x", "", "\u0000", "é", "a\u0085"),
)


def mutate(rng: random.Random, value: bytes) -> bytes:
    """One to three changes: of the object, of a value as text, or of bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        dice = rng.random()
        if dice < 0.72:
            try:
                event = json.loads(value)
            except (ValueError, RecursionError):
                dice = 1.0
            else:
                value = dump(rng, change(rng, event))
        if dice >= 0.72:
            value = scribble(rng, value)
    return value


def dump(rng: random.Random, event: Any) -> bytes:
    text = json.dumps(event, ensure_ascii=rng.random() < 0.3, indent=rng.choice((None, None, None, 0, 2)))
    return text.encode("utf-8", "surrogatepass")


def change(rng: random.Random, event: Any) -> Any:
    if not isinstance(event, dict) or not event:
        return event
    name = rng.choice(tuple(event))
    nested = [key for key, value in event.items() if isinstance(value, dict) and value]
    dice = rng.random()
    if nested and dice < 0.25:
        return event | {nested[0]: change(rng, event[nested[0]])}
    if dice < 0.35:
        return event | {name: rng.choice(VALUES)}
    if dice < 0.6:
        return event | {rng.choice(KEYS): rng.choice(VALUES)}
    if dice < 0.7:
        return {key: value for key, value in event.items() if key != name}
    if dice < 0.75:
        return {rng.choice(KEYS) if key == name else key: value for key, value in event.items()}
    if dice < 0.8:
        return event | {"type": rng.choice((*EVENTS, "robot_labeled", "Label_submitted", "x" * 129))}
    at = event["at"] if isinstance(event.get("at"), int) else 0
    if dice < 0.9:
        near = at + rng.choice((-1, 0, 300_000, 300_001))
        return event | {rng.choice(("labeled_at", "reviewed_at", "submitted_at", "at", "due_at")): near}
    if dice < 0.95:
        return event | {rng.choice(("x", "extra", "😀")): rng.choice(VALUES)}
    pairs = list(event.items())
    rng.shuffle(pairs)
    return dict(pairs)


def scribble(rng: random.Random, value: bytes) -> bytes:
    """Changes the bytes, or puts in a value as text."""
    where = rng.randrange(len(value) + 1)
    dice = rng.random()
    if dice < 0.25:
        name = json.dumps(rng.choice(KEYS), ensure_ascii=False).encode()
        return value.replace(b"{", b"{" + name + b":" + rng.choice(RAW) + b",", 1)
    if dice < 0.3:
        return value.replace(b"{", b"{" + value[1 : value.find(b",") + 1], 1)
    if dice < 0.6:
        flipped = bytes((rng.choice((rng.randrange(256), rng.randrange(32, 127))),))
        return value[:where] + flipped + value[where + 1 :]
    if dice < 0.75:
        return value[:where] + value[where + rng.randrange(1, 9) :]
    if dice < 0.85:
        return value[:where] + rng.choice(RAW) + value[where:]
    if dice < 0.9:
        return value[:where]
    if dice < 0.95:
        return (
            rng.choice((b"", b" ", b"\n\t", b"\xef\xbb\xbf", b"\x00", b"["))
            + value
            + rng.choice((b"", b" \r\n", b"\x00"))
        )
    return rng.randbytes(rng.randrange(40))


@pytest.mark.timeout(900)
def test_every_record_is_decided_as_the_contract_says() -> None:
    rng = random.Random(99)
    valid = [record.value for record in adversarial(31, 4_000, DAY_MS) if decide(record.value).kind != "rejected"]
    strict: list[Any] = []
    loose: list[Any] = []
    kinds = {"accepted": 0, "unknown": 0, "rejected": 0}
    for offset in range(INPUTS):
        value = mutate(rng, rng.choice(valid) or b"")
        decision = decide(value)
        kinds[decision.kind] += 1
        (loose if decision.loose else strict).append(Record(offset, APPENDED_MS, None, value))
    assert kinds["accepted"] >= 0.3 * INPUTS
    assert len(loose) < 0.05 * INPUTS

    assert_decided(strict, rng)
    accounted_for(loose)


def assert_decided(records: list[Record], rng: random.Random) -> None:
    """The engine rejects what the decoder rejects, for the same reason, and counts the rest as it does."""
    engine, oracle = PartitionEngine(3, Policy()), Oracle(partition=3)
    oracle.feed(records)
    for batch in batches(records, rng, 2_000):
        engine.apply(batch)
    decided = {letter.offset: letter.reason for letter in commit(engine).dead_letters}
    expected = dict(oracle.rejected)
    wrong = [
        (record.value, expected.get(record.offset), decided.get(record.offset))
        for record in records
        if expected.get(record.offset) != decided.get(record.offset)
    ]
    assert not wrong, wrong[:5]
    assert not differences(engine, oracle, oracle.clock)


#: A small event of each type, and what it may hold.
SMALL: dict[str, Any] = {
    "agent_id": "a", "project_id": "p", "task_id": "t", "correct": True, "state": "break", "review_id": "r",
    "reviewed_at": START_MS, "old": {"correct": True}, "new": {"correct": False}, "cause": "appeal", "label_id": "l",
    "submitted_at": START_MS, "request_id": "r", "items": 1, "queue": "q", "waiting": 1, "shift_id": "s",
    "starts_at": START_MS, "ends_at": START_MS, "sop_version": "v1", "session_id": "s", "round": 1, "item_id": "i",
    "answer": "a", "drift_id": "d", "status": "closed",
}  # fmt: skip


def test_every_value_in_every_field() -> None:
    records: list[Record] = []

    def add(event: dict[str, Any]) -> None:
        number = len(records)
        value = dump(random.Random(number), event | {"event_id": event.get("event_id", f"e{number}")})
        assert not decide(value).loose
        records.append(Record(number, START_MS, None, value))

    for kind, (required, optional) in EVENTS.items():
        small: dict[str, Any] = {"type": kind, "at": START_MS, "site_id": "s"} | {
            name: SMALL[name] for name in required
        }
        if kind == "label_revised":
            small |= {"cause": "updated", "old": {}, "new": {}}
        elif kind == "review_revised":
            small |= {"new": {"correct": False}}
        for name in ("type", "event_id", "at", "site_id", *required, *optional):
            for value in VALUES:
                add(small | {name: value})
                if name in ("old", "new"):
                    fields = (
                        "correct",
                        "source",
                        "sampling",
                        "market",
                        "sop_version",
                        "errors",
                        "handle_ms",
                        "skipped",
                    )
                    for inner in fields:
                        add(small | {name: small[name] | {inner: value}})
                if name == "errors":
                    for inner in ("type", "severity", "policy_code"):
                        add(small | {name: [{"type": "t"}, {"type": "t"} | {inner: value}]})
            add({key: value for key, value in small.items() if key != name} | {"x": 1})
    assert_decided(records, random.Random(5))


def accounted_for(records: list[Record]) -> None:
    """Where two honest readers may differ, the engine may take either side, but each record is counted once."""
    for record in records:
        engine = PartitionEngine(3, Policy())
        engine.apply([record])
        letters = commit(engine).dead_letters
        samples = engine.figures(APPENDED_MS).samples
        names = ("events_total", "unknown_events_total", "rejected_total")
        counted = [count for name in names for _, count in samples[f"labelwatch_{name}"] if count]
        assert counted == [1]
        if letters:
            assert letters[0].reason in ("json", "schema", "future")
            assert letters[0].value == record.value


@given(st.lists(st.binary(max_size=60) | st.none(), max_size=5))
@settings(max_examples=100)
def test_random_bytes(values: list[bytes | None]) -> None:
    engine = PartitionEngine(3, Policy())
    engine.apply([Record(offset, None, None, value) for offset, value in enumerate(values)])
    decisions: list[Decision] = [decide(value) for value in values]
    expected = [(offset, each.reason) for offset, each in enumerate(decisions) if each.kind == "rejected"]
    assert [(letter.offset, letter.reason) for letter in commit(engine).dead_letters] == expected
