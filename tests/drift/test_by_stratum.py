"""Where reviews carry a stratum, each is held to its own past: shares may move, and what truly rises is found."""

import random
import tracemalloc
from typing import Any

import msgspec
import pytest

from schemas.drift import DriftRecord
from schemas.policy import Policy
from streams.engine.downgrade import downgraded
from streams.engine.partition import PartitionEngine
from tests.drift.test_exact import run
from tests.oracle.compare import Record

START_MS, MINUTE_MS, WEEK = 1_764_000_000_000, 60_000, 1_000
RATES = {"easy": 0.03, "hard": 0.20, "": 0.08}
ACCURACY = '[detection]\nsignals = ["accuracy"]\n[oncall]\nfalse_pages_per_month = 1'


class Reviews:
    """Reviews of some sites by turns, each of them sampled in other shares every third thousand."""

    def __init__(self, seed: int, sites: int = 1) -> None:
        self.random = random.Random(seed)
        self.sites = sites
        self.events: list[dict[str, Any]] = []

    def add(self, n: int, rises: dict[str, float] | None = None, share: float | None = None, **fields: Any) -> int:
        """Adds n reviews of each site; returns the time of the first."""
        began = START_MS + len(self.events) * MINUTE_MS
        for nth in range(n * self.sites):
            week = nth // self.sites // WEEK % 3
            hard = (0.5 if week == 2 else 0.15) if share is None else share
            stratum = fields.get("stratum", "hard" if self.random.random() < hard else "easy")
            rate = RATES.get(stratum, 0.1) + (rises or {}).get(stratum, 0.0)
            number = len(self.events)
            event = {
                "type": "label_reviewed",
                "event_id": f"e{number}",
                "at": START_MS + number * MINUTE_MS,
                "site_id": f"s-{number % self.sites}",
                "agent_id": f"a-{self.random.randrange(20)}",
                "reviewer_id": f"r-{self.random.randrange(4)}",
                "project_id": "p",
                "task_id": f"t{number}",
                "correct": self.random.random() >= rate,
                "stratum": stratum,
                **fields,
            }
            self.events.append({name: value for name, value in event.items() if value != ""})
        return began

    def records(self) -> list[Record]:
        return [Record(n, each["at"] + 5, None, msgspec.json.encode(each)) for n, each in enumerate(self.events)]

    def drifts(self, policy: str = ACCURACY) -> list[DriftRecord]:
        _, told = run(self.records(), 1, 5_000, policy=Policy.parse(policy))
        return [msgspec.json.decode(value, type=DriftRecord) for value in told]


def test_the_budget_holds_where_the_share_of_risky_work_moves() -> None:
    """12 sites of 6,000 reviews, A = 6,000 for each: 12 are promised; one baseline for all gives more."""
    reviews = Reviews(2, sites=12)
    reviews.add(6_000)
    minutes = len(reviews.events)
    policy = ACCURACY.replace("= 1", f"= {12 * 30.4 * 1440 / minutes:.3f}")
    opened = [record for record in reviews.drifts(policy) if record.status == "opened"]
    for event in reviews.events:
        event.pop("stratum")
    opened_plain = [record for record in reviews.drifts(policy) if record.status == "opened"]
    assert len(opened) <= 12
    assert len(opened_plain) > 18


@pytest.mark.parametrize("rises", [{"easy": 0.08, "hard": 0.08}, {"hard": 0.25}], ids=["all", "hard"])
def test_a_true_rise_is_found_and_told_and_ends(rises: dict[str, float]) -> None:
    reviews = Reviews(9)
    reviews.add(6_000)
    began = reviews.add(1_500, rises)
    ended = reviews.add(3_000)
    records = [record for record in reviews.drifts() if record.at >= began]
    opened, cleared = records[0], records[1]
    assert (opened.status, cleared.status) == ("opened", "cleared")
    assert began < opened.at < ended < cleared.at
    assert opened.began_at_low - 400 * MINUTE_MS <= began <= opened.began_at_high + 100 * MINUTE_MS
    assert opened.before.value > opened.since.value
    assert opened.verdict != "mix"
    if "easy" not in rises:
        assert ("stratum", "hard", "rate") in {(cause.by, cause.member, cause.effect) for cause in opened.causes}


def test_before_is_what_the_same_strata_showed_where_the_mix_has_moved_as_well() -> None:
    reviews = Reviews(14)
    reviews.add(6_000, share=0.5)
    began = reviews.add(1_500, {"easy": 0.08}, share=0.0)
    opened = next(record for record in reviews.drifts() if record.at >= began)
    # 88.5% before, 89% since: but easy work was at 97%.
    assert opened.before.value == pytest.approx(0.97, abs=0.015)
    assert opened.since.value == pytest.approx(0.89, abs=0.04)


def changing(seed: int) -> list[Record]:
    """Without strata, then a few, then more than are told apart; a rise and its end in between."""
    reviews = Reviews(seed, sites=2)
    reviews.add(700, stratum="")
    reviews.add(1_500)
    for number in range(9):
        reviews.add(40, stratum=f"stratum-{number}")
    reviews.add(300, {"easy": 0.25, "hard": 0.3})
    reviews.add(1_200)
    reviews.add(200, stratum="")
    return reviews.records()


@pytest.mark.parametrize("seed", range(2))
def test_the_same_drifts_however_the_log_is_cut_and_whenever_the_worker_dies(seed: int) -> None:
    records = changing(seed)
    policy = Policy.parse("[oncall]\nfalse_pages_per_month = 30\nfalse_tickets_per_month = 300")
    whole, expected = run(records, 1, 100_000, policy=policy)
    assert {msgspec.json.decode(value, type=DriftRecord).status for value in expected} == {"opened", "cleared"}
    for most, crash in ((150, 0.0), (2_000, 0.0), (400, 0.1)):
        engine, told = run(records, seed + most, most, crash, policy)
        assert sorted(told) == sorted(expected)
        ours, theirs = engine.figures(whole.clock_ms).samples, whole.figures(whole.clock_ms).samples
        for name in ours.keys() | theirs.keys():
            if name.startswith("labelwatch_drift"):
                assert sorted(ours[name]) == sorted(theirs[name]), name


def test_a_checkpoint_is_the_same_to_the_byte_however_the_log_is_cut() -> None:
    records, kept = changing(4), []
    for size in (len(records), 61):
        engine = PartitionEngine(0, Policy.parse(""))
        for start in range(0, len(records), size):
            engine.apply(records[start : start + size])
        kept.append(dict(engine.checkpoint().slots))
    assert msgspec.msgpack.decode(kept[0][b"drift|header"] or b"")["opened"]
    assert kept[0] == kept[1]


def test_a_site_without_strata_keeps_none_and_one_with_strata_few() -> None:
    reviews = Reviews(5)
    reviews.add(500, stratum="")
    engine = PartitionEngine(0, Policy.parse(""))
    engine.apply(reviews.records())
    assert not [key for key, _ in engine.checkpoint().slots if b"strata" in key]
    reviews.add(2_000)
    for number in range(100):
        reviews.add(1, stratum=f"stratum-{number}")
    engine.apply(reviews.records()[500:])
    kept = {key: value for key, value in engine.checkpoint().slots if b"strata" in key}
    (names,) = [value for key, value in kept.items() if b"strata-names" in key]
    assert len(msgspec.msgpack.decode(names or b"")) == 8, "work without one is the first of them"
    # 20 people, 4 reviewers, each found to find more and fewer, the site, and its finding of errors.
    assert sum(len(value or b"") for value in kept.values()) < 2 * 32 * 300


def test_thousands_of_strata_take_no_more_memory_than_a_few() -> None:
    """A producer that names each task's own, at many sites: a site has its eight, whatever else comes."""
    reviews = Reviews(5, sites=100)
    reviews.add(10, share=0.5)
    few = len(reviews.events)
    reviews.add(40)
    for number, event in enumerate(reviews.events[few:]):
        event["stratum"] = f"task-{number}"
    engine = PartitionEngine(0, Policy.parse(ACCURACY))
    records = reviews.records()
    engine.apply(records[:few])
    tracemalloc.start()
    engine.apply(records[few:])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Names, combinations and reviews themselves; a table of sites by names took another 6 MB.
    assert grown < 5_000_000
    slots = dict(engine.checkpoint().slots)
    names = [msgspec.msgpack.decode(value or b"") for key, value in slots.items() if b"strata-names" in key]
    assert [len(each) for each in names] == [8] * 100


def test_a_fall_that_only_old_reviews_show_after_the_last_one_was_over_is_told() -> None:
    """A backlog from within the last drift arrives after its end: nothing is remembered that the fall is located in."""
    policy = Policy.parse('[detection]\nsignals = ["error_finding"]\n[oncall]\nfalse_tickets_per_month = 30')
    overlooked = {"easy": -0.03, "hard": -0.2}

    def of_site(records: list[Record]) -> list[DriftRecord]:
        _, told = run(records, 1, 5_000, policy=policy)
        found = [msgspec.json.decode(value, type=DriftRecord) for value in told]
        return [each for each in found if not each.agent_id and each.direction == "down"]

    reviews = Reviews(3)
    reviews.add(4_000)
    began = reviews.add(1_500, overlooked)
    reviews.add(4_000)
    cleared = of_site(reviews.records())[1].at
    del reviews.events[(cleared - START_MS) // MINUTE_MS + 1 :]
    arrived = len(reviews.events)
    reviews.add(2_000, overlooked)
    for number, event in enumerate(reviews.events[arrived:]):
        event["at"] = began + number % 1_000 * MINUTE_MS
    records = [
        Record(number, min(number, arrived) * MINUTE_MS + START_MS + number, None, msgspec.json.encode(event))
        for number, event in enumerate(reviews.events)
    ]
    again = of_site(records)[2]
    assert (again.status, again.opening, again.since.n) == ("opened", 2, 0)
    assert again.before.value == pytest.approx(0.05, abs=0.02)


def shown_baseline(engine: PartitionEngine) -> float:
    figures = engine.figures(engine.clock_ms).samples["labelwatch_drift_baseline_ratio"]
    return dict(figures)["s-0", "", "", "accuracy", "down", "page"]


def test_the_baseline_shown_is_that_of_the_work_of_today_and_what_a_build_without_strata_goes_on_with() -> None:
    reviews = Reviews(6)
    reviews.add(6_000, share=0.15)
    engine = PartitionEngine(0, Policy.parse(ACCURACY))
    engine.apply(reviews.records())
    assert shown_baseline(engine) == pytest.approx(1 - (0.85 * 0.03 + 0.15 * 0.20), abs=0.01)
    # Five days of other work.
    reviews.add(7_200, share=0.6)
    engine.apply(reviews.records()[6_000:])
    of_today = pytest.approx(1 - (0.4 * 0.03 + 0.6 * 0.20), abs=0.015)
    assert shown_baseline(engine) == of_today

    checkpoint = engine.checkpoint()
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    changes, manifest = downgraded(slots, checkpoint.manifest) or pytest.fail("of an older format")
    older = {key: value for key, value in (slots | dict(changes)).items() if value is not None}
    assert slots.keys() - older.keys() >= {b"drift|strata|0", b"drift|strata-names|0"}
    again = PartitionEngine.restore(0, Policy.parse(ACCURACY), older, manifest)
    assert shown_baseline(again) == pytest.approx(shown_baseline(engine), rel=1e-9)
    # Its streams learn on, as of all that their strata had seen, with one baseline until there are two again.
    again.apply([Record(20_000, engine.clock_ms, None, b"{}")])
    assert shown_baseline(again) == of_today


def test_a_site_with_one_stratum_is_as_one_without() -> None:
    """Byte for byte in what its streams keep: they need no row for each stratum."""
    kept = []
    for stratum in ("", "easy"):
        reviews = Reviews(5)
        reviews.add(2_000, stratum=stratum)
        for event in reviews.events:
            event["correct"] = event["task_id"][-1] not in "39"
        engine = PartitionEngine(0, Policy.parse(""))
        engine.apply(reviews.records())
        slots = dict(engine.checkpoint().slots)
        kept.append({key: value for key, value in slots.items() if key.split(b"|")[1] in (b"core", b"past", b"strata")})
    assert kept[0] == kept[1]
    assert kept[0].keys() == {b"drift|core|0", b"drift|past|0"}
