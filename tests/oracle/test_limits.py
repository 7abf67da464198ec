"""More sites, combinations and series than the policy allows: sums stay exact; cuts and restarts change nothing."""

import json
import random
from collections import Counter

import pytest

from schemas.metrics import METRICS, Page
from schemas.policy import Policy
from streams.engine import intake, partition
from streams.engine.partition import PartitionEngine
from tests.oracle.compare import Record, batches, commit, engine_figures
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import DAY_MS, adversarial

NAMED = ("site", "project", "market")
#: Additive figures, of which each event makes a part whatever it counts under.
ADDED = (
    "labels_total",
    "skips_total",
    "reviews_total",
    "correct_reviews_total",
    "errors_total",
    "remarks_total",
    "labels_window",
    "reviews_window",
    "correct_reviews_window",
    "errors_window",
    "partition_labels_window",
    "partition_headline_reviews_window",
    "partition_headline_correct_reviews_window",
    "sop_labels_total",
    "sop_reviews_total",
    "site_reviews",
    "site_labels",
    "handle_capped_total",
)


def sums(figures: dict[str, dict[tuple[str, ...], float]], kept: tuple[str, ...] = ()) -> dict[str, Counter[str]]:
    """Sums of each figure over sites, projects, markets, error types and SOP versions, but of the labels kept."""
    found = {}
    for short in ADDED:
        name = f"labelwatch_{short}"
        names = METRICS[name].labels
        places = [i for i, each in enumerate(names) if each in kept or each not in (*NAMED, "error_type", "sop")]
        sum_of: Counter[str] = Counter()
        for labels, value in figures.get(name, {}).items():
            sum_of["|".join(labels[i] for i in places)] += round(value)
        found[short] = +sum_of
    return found


def once(records: list[Record]) -> list[Record]:
    """The records without repeats and revisions.

    `other` has one clock, and knows no repeat that is 15 minutes behind it. Revisions of reviews that never came leave
    cells below 0, which no page shows, and of which `other` has the sum.
    """
    seen: set[tuple[str, str]] = set()
    left = []
    for record in records:
        try:
            event = json.loads(record.value or b"")
            name = str(event["site_id"]), str(event["event_id"])
        except (ValueError, KeyError, TypeError):
            continue
        if name not in seen and not str(event.get("type")).endswith("_revised"):
            seen.add(name)
            left.append(record._replace(offset=len(left)))
    return left


def limited(**numbers: int) -> Policy:
    return Policy.parse("[limits]\n" + "\n".join(f"{name} = {number}" for name, number in numbers.items()))


LIMITS = {
    "sites": {"sites": 1},
    "combinations": {"combinations": 3},
    "series": {"series": 1_000},
    "all": {"sites": 2, "combinations": 5, "series": 1_200},
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(2))
def test_sums_over_the_page_are_the_truth_and_cuts_and_restarts_change_nothing(
    monkeypatch: pytest.MonkeyPatch, limit: str, seed: int
) -> None:
    monkeypatch.setattr(intake, "NAMES_HELD_MAX", 60)
    monkeypatch.setattr(partition, "CAP_CHECK_RECORDS", 256)
    policy = limited(**LIMITS[limit])
    records = once(adversarial(seed, 2_000, DAY_MS))
    oracle, whole = Oracle(Policy(), 3), PartitionEngine(3, policy)
    oracle.feed(records)
    whole.apply(records)
    commit(whole)
    expected, got = oracle.figures(oracle.clock), engine_figures(whole, oracle.clock)
    kept = ("site",) if limit == "combinations" else ()
    have, want = sums(got, kept), sums(expected, kept)
    for short, numbers in want.items():
        assert have[short] == numbers, short
    over = {labels[0]: n for labels, n in got["labelwatch_over_limit_events_total"].items()}
    assert sum(over.values()) > 0
    for (site,), first in got["labelwatch_site_first_event_timestamp_seconds"].items():
        assert site == "other" or first == oracle.sites[site].first / 1000
    for labels, used in got["labelwatch_limit_used"].items():
        if labels[0] != "series":
            assert used <= got["labelwatch_limit"][labels]
    shown = {labels[:3] for labels in got["labelwatch_labels_total"]} - {("other", "other", "")}
    assert len({labels for labels in shown if labels[1] != "other"}) <= LIMITS[limit].get("combinations", 10_000)

    rng, engine = random.Random(seed), PartitionEngine(3, policy)
    slots: dict[bytes, bytes] = {}
    for batch in batches(records, rng, 500):
        engine.apply(batch)
        checkpoint = commit(engine)
        slots |= {key: value for key, value in checkpoint.slots if value is not None}
        for key in [key for key, value in checkpoint.slots if value is None]:
            slots.pop(key, None)
        if rng.random() < 0.3:
            engine = PartitionEngine.restore(3, policy, slots, checkpoint.manifest)
    assert engine_figures(engine, oracle.clock) == got


def test_the_page_has_no_more_series_than_are_counted() -> None:
    engine = PartitionEngine(3, Policy())
    engine.apply(adversarial(7, 4_000, DAY_MS))
    commit(engine)
    figures = engine.figures(engine.clock_ms)
    of_names = {
        name
        for name, metric in METRICS.items()
        if metric.page is Page.SITES and {"site", "project"} & set(metric.labels) and "contribution" not in name
    }
    series = sum(len(samples) for name, samples in figures.samples.items() if name in of_names)
    # By histogram its buckets, sum and count.
    series += sum(len(counts) + 2 for name in of_names for _, counts, _ in figures.histograms.get(name, ()))
    used = engine.limits()["series"].used
    assert used / 10 < series <= used


def test_a_removed_site_is_nowhere_needs_no_room_and_comes_back_as_it_was() -> None:
    records = once(adversarial(5, 1_500, DAY_MS))
    policy, without = limited(sites=4), Policy.parse('[limits]\nsites = 4\nremoved_sites = ["manila-1"]')
    half = len(records) // 2
    engine, oracle = PartitionEngine(3, policy), Oracle(Policy(), 3)
    engine.apply(records[:half])
    checkpoint = commit(engine)
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    at = engine.clock_ms
    before = engine_figures(engine, at)
    used = before["labelwatch_limit_used"]["sites", "labeling.events.v1", "3"]

    removed = PartitionEngine.restore(3, without, dict(slots), checkpoint.manifest)
    figures = engine_figures(removed, at)
    assert "manila-1" not in {label for series in figures.values() for labels in series for label in labels}
    assert figures["labelwatch_limit_used"]["sites", "labeling.events.v1", "3"] == used - 1
    others = [record for record in records[:half] if b'"manila-1"' not in (record.value or b"")]
    oracle.feed([record._replace(offset=offset) for offset, record in enumerate(others)])
    expected = sums(oracle.figures(at))["partition_labels_window"]
    assert sums(figures)["partition_labels_window"] == expected

    removed.apply(records[half:])
    checkpoint = commit(removed)
    skipped = sum(b'"manila-1"' in (record.value or b"") for record in records[half:])
    figures = engine_figures(removed, removed.clock_ms)
    assert 0 < figures["labelwatch_removed_site_events_total"]["labeling.events.v1", "3"] <= skipped
    slots |= {key: value for key, value in checkpoint.slots if value is not None}
    back = engine_figures(PartitionEngine.restore(3, policy, slots, checkpoint.manifest), at)
    for name in ("labelwatch_labels_total", "labelwatch_reviews_total"):
        for labels, value in before[name].items():
            if labels[0] == "manila-1":
                assert back[name][labels] == value
