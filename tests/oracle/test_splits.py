"""However the log is cut into batches, the state is the same to the byte."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.policy import Policy
from streams.engine import horizon
from streams.engine.partition import PartitionEngine
from tests.drift.test_exact import POLICY as WITH_DRIFTS
from tests.drift.test_exact import history, with_revisions

from .compare import Record, commit, engine_figures, engine_histograms
from .test_equality import POLICY
from .traffic import DAY_MS, HOUR_MS, adversarial

STREAMS = [
    adversarial(11, 200, HOUR_MS),
    adversarial(12, 200, 2 * DAY_MS, stamped=False),
    adversarial(13, 300, 15 * DAY_MS),
]

Cuts = st.lists(st.integers(1, 90), min_size=1, max_size=20)
quick = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def fed(records: list[Record], sizes: list[int], policy: Policy = POLICY) -> PartitionEngine:
    """An engine fed in batches of these sizes, over and over."""
    engine, start, turn = PartitionEngine(3, policy), 0, 0
    while start < len(records):
        stop = start + sizes[turn % len(sizes)]
        engine.apply(records[start:stop])
        start, turn = stop, turn + 1
    return engine


def everything(engine: PartitionEngine) -> dict[str, Any]:
    """A checkpoint to the byte, its dead letters, and every figure at its time."""
    checkpoint = commit(engine)
    return {
        "slots": checkpoint.slots,
        "manifest": checkpoint.manifest,
        "letters": checkpoint.dead_letters,
        "figures": engine_figures(engine, engine.clock_ms),
        "histograms": engine_histograms(engine, engine.clock_ms),
    }


def assert_same(records: list[Record], sizes: list[int], policy: Policy = POLICY) -> dict[str, Any]:
    """Compares a log in one batch with the same in batches of these sizes; returns what the one batch gives."""
    whole, split = (everything(fed(records, each, policy)) for each in ([len(records)], sizes))
    for name, expected in whole.items():
        assert split[name] == expected, name
    return whole


@given(stream=st.sampled_from(range(len(STREAMS))), sizes=Cuts)
@quick
def test_any_split_gives_the_same_bytes(stream: int, sizes: list[int]) -> None:
    assert_same(STREAMS[stream], sizes)


@given(stream=st.sampled_from(range(len(STREAMS))), sizes=Cuts)
@quick
def test_any_split_gives_the_same_where_the_duplicate_cap_bites(
    stream: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(horizon, "DUPLICATE_IDS_MAX", 20)
    monkeypatch.setattr("streams.engine.partition.CAP_CHECK_RECORDS", 64)
    assert_same(STREAMS[stream], sizes)


def test_any_split_gives_the_same_bytes_where_several_drifts_open() -> None:
    records = history("sop-change", 0, hours=8)
    whole = assert_same(records, [1_000, 61], WITH_DRIFTS)
    slots = {key: value for key, value in whole["slots"] if value is not None}
    assert len(msgspec.msgpack.decode(slots[b"drift|header"])["opened"]) > 2


def test_any_split_gives_the_same_bytes_where_reviews_of_open_drifts_are_revised() -> None:
    river = '[detection.river]\naccuracy = "ADWIN"'
    policy = Policy.parse("[oncall]\nfalse_pages_per_month = 30\nfalse_tickets_per_month = 300\n" + river)
    records = history("site-dip", 1, hours=10)
    whole = assert_same(with_revisions(records, random.Random(1), 0.3), [1_000, 61], policy)
    plain = everything(fed(records, [1_000], policy))
    header, unrevised = (dict(each["slots"])[b"drift|header"] for each in (whole, plain))
    assert msgspec.msgpack.decode(header)["episodes"], "a drift is open at the end"
    assert header != unrevised


def digest() -> str:
    """All slots of one stream, as one hash."""
    checkpoint = commit(fed(STREAMS[0], [50]))
    parts = [part for slot in checkpoint.slots for part in slot] + [checkpoint.manifest]
    return hashlib.sha256(b"|".join(part or b"" for part in parts)).hexdigest()


def test_another_process_with_other_hash_seeds_writes_the_same_bytes() -> None:
    code = "from tests.oracle.test_splits import digest; import sys; sys.stdout.write(digest())"
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert made.stdout == digest()
