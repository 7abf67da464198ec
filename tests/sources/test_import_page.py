"""docs/import.md: the mapping that it shows does what its comments say."""

import re
from pathlib import Path

from streams.sources.importing import ImportOptions, read_rows
from streams.sources.mapping.durations import UNITS
from streams.sources.mapping.model import COMPARISONS, from_toml
from streams.sources.mapping.times import NAMED
from streams.sources.tables.table import TableReading

PAGE = (Path(__file__).parents[2] / "docs/import.md").read_text("utf-8")


def test_the_mapping_of_the_page_is_used(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    mapping = from_toml(text, "page.toml")
    path = tmp_path / "Übersicht.csv"
    path.write_text(
        "Bearbeiter;Los;Nummer;Anfang;Ende;Antwort;Prüfer;Ergebnis;Dauer\r\n"
        "Jürgen;7;1;02.11.2026 10:58;02.11.2026 11:00;ok;Ana;falsch;1:30\r\n"
        "Jürgen;7;2;02.11.2026 11:00;02.11.2026 11:01;ok;;;\r\n",
        "cp1252",
    )
    reading = TableReading(**mapping.reading)
    report = read_rows(ImportOptions([path], lambda table: mapping, reading, now_ms=1_800_000_000_000))
    work = {"site_id": "köln-1", "project_id": "spam", "agent_id": "Jürgen", "label": "ok"}
    # By `date -u -d '2026-11-02 10:00' +%s`.
    ten = 1_793_613_600_000
    assert report.shown == [
        {"type": "label_submitted", **work, "task_id": "7/1", "at": ten, "handle_ms": 120_000},
        {
            "type": "label_reviewed", **work, "task_id": "7/1", "at": ten, "reviewer_id": "Ana", "correct": False,
            "review_ms": 90_000,
        },
        {"type": "label_submitted", **work, "task_id": "7/2", "at": ten + 60_000, "handle_ms": 60_000},
    ]  # fmt: skip  # events
    assert report.bad_rows == 0


def test_every_word_that_a_mapping_may_have_is_on_the_page() -> None:
    assert [word for word in (*NAMED, *UNITS, *COMPARISONS) if word not in PAGE] == []
