"""`labelwatch backfill`: a file's history as blocks that a real Prometheus answers from, as `compute` has it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.policy import Policy
from streams.exporter.pseudonyms import plain
from streams.ops.backfill import BackfillOptions, Past, backfill
from streams.ops.blocks import Evaluator, ask
from streams.ops.errors import WRONG_USE, CommandError

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(600)]
HOUR_MS = 3_600_000


def review(number: int, at: int, **more: Any) -> dict[str, Any]:
    usual = {"type": "label_reviewed", "site_id": "lima-1", "agent_id": "a-1", "project_id": "p", "market": "US"}
    return {**usual, "event_id": f"e{number}", "at": at, "task_id": f"t{number}", "correct": number % 10 > 0, **more}


def written(tmp_path: Path, *lines: dict[str, Any] | bytes) -> Path:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return file


def filled(file: Path, folder: Path, said: list[str], **more: Any) -> Past:
    return backfill(BackfillOptions(file, folder, Policy(), plain, **more), said.append)


def test_a_prometheus_shows_a_files_past_and_the_rules_over_it(tmp_path: Path) -> None:
    end = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 20 * 86_400_000
    # 30 hours: 200 reviews in the first hour, 100 in the last; one that is not due yet, one that is no event.
    first = [review(number, end - 30 * HOUR_MS + number * 1000) for number in range(200)]
    last = [review(1000 + number, end - 100_000 + number * 1000) for number in range(100)]
    ahead = review(5000, time.time_ns() // 1_000_000 + 400 * 86_400_000)
    file, folder = written(tmp_path, *first, ahead, b"{", *last), tmp_path / "prometheus"
    said: list[str] = []
    past = filled(file, folder, said)
    assert [(number, reason) for number, reason, _ in past.rejected] == [(201, "future"), (202, "json")]
    assert said[0].startswith("302 events, ")
    assert f"{past.samples:,} samples in " in said[-1]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Evaluator(folder, scratch) as prometheus:

        def value(query: str, at_ms: int) -> float | None:
            found = ask(prometheus.url, query, at_ms // 1000, at_ms // 1000 + 1, 1)
            return float(found[0]["values"][0][1]) if found else None

        day = 'labelwatch_site_reviews{site="lima-1",role="agent",window="24h"}'
        # The coarse part, too: an hour in, the first 200; a day later none; at the end the last 100.
        assert value(day, end - 28 * HOUR_MS) == 200
        assert value(day, end - 3 * HOUR_MS) is None
        assert value(day, end) == 100
        assert value('labelwatch_agent_accuracy_ratio{agent="a-1",window="7d"}', end) == pytest.approx(0.9)
        # Wilson, 95%, for 90 of 100.
        assert value('site:labelwatch_accuracy_proven_gap:ratio{site="lima-1"}', end) == pytest.approx(
            0.9448 - 0.95, abs=1e-4
        )
        assert value('max(labelwatch_figures_lag_seconds{job="labelwatch"})', end) == 0, "or boards call the past DOWN"
        assert value('site:labelwatch_state:code{site="lima-1"}', end) == 3


@pytest.mark.parametrize(
    ("lines", "message"), [((), "no event in the file"), ((b"{", b"[]"), "no event in the file")], ids=["empty", "none"]
)
def test_a_file_without_events_is_refused(tmp_path: Path, lines: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        filled(written(tmp_path, *lines), tmp_path / "prometheus", [])
    assert caught.value.code == WRONG_USE
    assert not (tmp_path / "prometheus").exists()


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=r"none\.jsonl: No such file"):
        filled(tmp_path / "none.jsonl", tmp_path / "prometheus", [])
    file = written(tmp_path, review(1, 1_763_985_600_000))
    with pytest.raises(CommandError, match=r"--rules .*: no recording rules there"):
        filled(file, tmp_path / "prometheus", [], rules=tmp_path)
    (tmp_path / "a-file").write_text("")
    with pytest.raises(CommandError, match=r"a-file.* cannot be written"):
        filled(file, tmp_path / "a-file", [], days=0.01)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CommandError, match=r"promtool is missing.*install"):
        filled(file, tmp_path / "prometheus", [])
