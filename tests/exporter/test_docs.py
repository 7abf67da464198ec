from pathlib import Path

from schemas.metrics import BRIDGE_CATALOGUE, CATALOGUE, INGEST_CATALOGUE
from streams.exporter.docs import PATH, document

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_what_the_catalogue_makes() -> None:
    page = (ROOT / PATH).read_text("utf-8")
    assert page == document(), "run: python -m streams.exporter.docs"


def test_the_page_has_every_metric_once() -> None:
    rows = [line for line in document().splitlines() if line.startswith("| `labelwatch_")]
    of_workers = sorted(
        (metric.name for metric in CATALOGUE),
        key=lambda name: [metric.page.value for metric in CATALOGUE if metric.name == name],
    )
    assert [row.split("`")[1] for row in rows] == of_workers + [
        metric.name for metric in (*INGEST_CATALOGUE, *BRIDGE_CATALOGUE)
    ]
