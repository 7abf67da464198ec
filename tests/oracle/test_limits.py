"""More sites, combinations and series than the policy allows: sums stay exact; cuts and restarts change nothing."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from schemas.metrics import METRICS, Page
from schemas.policy import Policy
from streams.engine import numbering, partition
from streams.engine.partition import PartitionEngine
from tests.oracle.compare import DRIFT, Record, batches, commit, engine_figures
from tests.oracle.oracle import Oracle
from tests.oracle.traffic import DAY_MS, START_MS, adversarial

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
    left: list[Any] = []
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
    monkeypatch.setattr(numbering, "NAMES_HELD_MAX", 60)
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


def log_of(*events: tuple[str, str, str | None, dict[str, Any]]) -> list[Record]:
    """Records a second apart: type, site, project, and what else they say."""
    records = []
    for number, (kind, site, project, more) in enumerate(events):
        at = START_MS + number * 1_000
        event = {"type": kind, "event_id": f"e{number}", "at": at, "site_id": site, "agent_id": "a", "task_id": "t"}
        value = json.dumps(event | ({} if project is None else {"project_id": project}) | more).encode()
        records.append(Record(number, at, site.encode(), value))
    return records


def label(project: str, market: str | None, site: str = "s") -> tuple[str, str, str, dict[str, Any]]:
    return "label_submitted", site, project, {"market": market}


def state(project: str, site: str = "s") -> tuple[str, str, str, dict[str, Any]]:
    return "state_changed", site, project, {"state": "productive"}


def review(project: str, source: str = "qa", site: str = "s", **more: Any) -> tuple[str, str, str, dict[str, Any]]:
    return "label_reviewed", site, project, {"market": "US", "correct": True, "source": source} | more


def test_a_project_named_other_needs_room_as_any_other() -> None:
    engine = PartitionEngine(3, limited(combinations=3))
    engine.apply(log_of(*(label("other", f"m{number}") for number in range(20)), label("other", "m1")))
    commit(engine)
    shown = engine_figures(engine, engine.clock_ms)["labelwatch_labels_total"]
    assert shown == {
        ("s", "other", "m0"): 1,
        ("s", "other", "m1"): 2,
        ("s", "other", "m2"): 1,
        ("s", "other", ""): 17,
    }
    assert engine.limits()["combinations"] == (3, 3, 17)


def test_a_site_named_other_is_refused_with_a_word() -> None:
    engine = PartitionEngine(3, limited(sites=1))
    engine.apply(log_of(label("p", "US", "other"), label("p", "US", "s"), label("p", "US", "stranger")))
    checkpoint = commit(engine)
    (letter,) = checkpoint.dead_letters
    assert (letter.offset, letter.reason) == (0, "schema")
    assert letter.detail == "site_id other is reserved for sites beyond the limits: give the site another name"
    assert engine_figures(engine, engine.clock_ms)["labelwatch_labels_total"] == {
        ("s", "p", "US"): 1,
        ("other", "p", "US"): 1,
    }


def test_which_limit_is_met_does_not_depend_on_restarts() -> None:
    """A new project finds no room for its series first; later the combinations are full as well."""
    records = log_of(
        label("a", "US"),
        label("other", None),
        *(state(f"p{number}") for number in range(6)),
        *(review("a", source) for source in ("qa", "audit")),
        label("b", "US"),
        state("q"),
        label("a", "FR"),
        label("a", "DE"),
        label("b", "US"),
        review("a", "gold"),
        review("b"),
    )
    policy = limited(combinations=3, series=1_000)
    whole, restarted = PartitionEngine(3, policy), PartitionEngine(3, policy)
    slots: dict[bytes, bytes] = {}
    for record in records:
        whole.apply([record])
        restarted.apply([record])
        checkpoint = commit(restarted)
        slots |= {key: value for key, value in checkpoint.slots if value is not None}
        restarted = PartitionEngine.restore(3, policy, slots, checkpoint.manifest)
    commit(whole)
    got = engine_figures(whole, whole.clock_ms)
    assert engine_figures(restarted, whole.clock_ms) == got
    over = {labels[0]: count for labels, count in got["labelwatch_over_limit_events_total"].items()}
    # The first label of b; then its second and its review; the state of q is one, too.
    assert over == {"sites": 0, "combinations": 2, "series": 2}


def test_a_site_without_room_for_its_series_says_so() -> None:
    engine = PartitionEngine(3, limited(series=1_000))
    engine.apply(log_of(*(label("p", "US", f"s{number}") for number in range(9))))
    assert {kind: use.over for kind, use in engine.limits().items()} == {"sites": 0, "combinations": 0, "series": 5}


def test_a_limit_that_was_raised_is_met_no_longer() -> None:
    engine = PartitionEngine(3, limited(sites=2))
    engine.apply(log_of(*(label("p", "US", f"s{number}") for number in range(5))))
    assert engine.limits()["sites"] == (2, 2, 3)
    assert engine.limits()["sites"].is_met
    checkpoint = commit(engine)
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    raised = PartitionEngine.restore(3, limited(sites=20), slots, checkpoint.manifest)
    assert raised.limits()["sites"] == (2, 20, 0)
    assert not raised.limits()["sites"].is_near
    over = engine_figures(raised, engine.clock_ms)["labelwatch_over_limit_events_total"]
    assert over["sites", "labeling.events.v1", "3"] == 3, "the counter is durable"


def drifts(engine: PartitionEngine) -> set[tuple[str, ...]]:
    """Site, project, agent and signal of every drift stream of the page."""
    samples = engine.figures(engine.clock_ms).samples
    return {labels[:4] for name in DRIFT for labels, _ in samples.get(name, ()) if len(labels) > 4}


def test_nothing_is_watched_of_a_mixture_and_what_belongs_to_a_site_is() -> None:
    policy = limited(sites=1, combinations=2)
    events = [label("a", "US"), label("other", "US")]
    for number in range(40):
        for project, site in (("a", "s"), ("other", "s"), (f"made-up-{number}", "s"), ("a", f"stranger-{number}")):
            # Handling times and classes make streams of labels.
            events.append(("label_submitted", site, project, {"market": "US", "handle_ms": 9_000, "label": "x"}))
            events.append(review(project, site=site, reviewer_id="r", correct=number % 2 == 0))
    engine = PartitionEngine(3, policy)
    engine.apply(log_of(*events))
    over = engine.limits()
    assert min(over["sites"].over, over["combinations"].over) >= 39
    streams = drifts(engine)
    assert {site for site, *_ in streams} == {"s"}
    # A project that is really called so is watched; what is beyond the limits is part of its site alone.
    assert {project for _, project, *_ in streams} == {"", "a", "other"}


def test_held_reviews_of_a_removed_site_do_not_come_back() -> None:
    hold = "[detection]\nhold_hours = 1\n"
    kept, removed = Policy.parse(hold), Policy.parse(hold + '[limits]\nremoved_sites = ["forged"]\n')
    old = [review("p", site="forged", labeled_at=START_MS, event_id=f"f{number}") for number in range(3)]
    engine = PartitionEngine(3, kept)
    engine.apply(log_of(*old))
    checkpoint = commit(engine)
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    engine = PartitionEngine.restore(3, removed, slots, checkpoint.manifest)
    later = review("p", labeled_at=START_MS, at=START_MS + 3 * 3_600_000, event_id="later")
    engine.apply([record._replace(offset=len(old), timestamp=None) for record in log_of(later)])
    checkpoint = commit(engine)
    used = engine.limits()
    slots |= {key: value for key, value in checkpoint.slots if value is not None}
    again = PartitionEngine.restore(3, removed, slots, checkpoint.manifest)
    assert again.limits() == used
    assert {labels[0] for labels in drifts(again)} == {"s"}


@pytest.mark.parametrize("sizes", [[1], [7, 90, 1, 33]])
def test_a_checkpoint_is_the_same_to_the_byte_however_the_log_is_cut(sizes: list[int]) -> None:
    policy, records = limited(**LIMITS["all"]), adversarial(11, 300, 2 * DAY_MS)
    whole, split = PartitionEngine(3, policy), PartitionEngine(3, policy)
    whole.apply(records)
    assert sum(use.over for use in whole.limits().values()) > 50
    start, turn = 0, 0
    while start < len(records):
        stop = start + sizes[turn % len(sizes)]
        split.apply(records[start:stop])
        start, turn = stop, turn + 1
    expected, got = commit(whole), commit(split)
    assert (got.slots, got.manifest, got.dead_letters) == (expected.slots, expected.manifest, expected.dead_letters)
