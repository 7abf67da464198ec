"""`labelwatch explain`: a tiny case counted by hand, and agreement with the engine over simulated traffic."""

import asyncio
import io
import math
import re
from typing import Any, NamedTuple

import msgspec
import pytest
from rich.console import Console

from schemas.events import ROLES
from schemas.metrics import SITE_WINDOWS
from schemas.policy import Policy
from schemas.text import visible
from schemas.topics import EVENTS
from streams.engine.partition import PartitionEngine
from streams.ops.embedded import EmbeddedBroker
from streams.ops.errors import CommandError
from streams.ops.explain import Explainer, Explanation, Item, Question, explain, plain_lines, print_answer, summary
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.simulate import Operation, Simulation
from streams.sources.sinks import KafkaSink, KafkaTarget, Outgoing, pump

NOON = 1_763_985_600_000
MINUTE, HOUR = 60_000, 3_600_000
POLICY = Policy.parse("[defaults]\nmin_reviews = 3")


class Row(NamedTuple):
    offset: int
    value: bytes
    timestamp: int | None = None
    key: bytes | None = None


def event(type: str, event_id: str, at: int = NOON, **more: Any) -> dict[str, Any]:
    usual = {"site_id": "lima-1", "agent_id": "a", "project_id": "spam", "task_id": f"t-{event_id}"}
    return {"type": type, "event_id": event_id, "at": at, **usual, **more}


def review(event_id: str, correct: bool, at: int = NOON, **more: Any) -> dict[str, Any]:
    return event("label_reviewed", event_id, at, correct=correct, **more)


def label(event_id: str, at: int = NOON, **more: Any) -> dict[str, Any]:
    return event("label_submitted", event_id, at, **more)


def ask(
    events: list[dict[str, Any]], figure: str = "accuracy", window: str = "1h", policy: Policy = POLICY, **more: Any
) -> Explanation:
    explainer = Explainer(Question("lima-1", figure, window, **{"at_ms": NOON, **more}), policy)
    explainer.add([Row(number, msgspec.json.encode(each)) for number, each in enumerate(events)])
    return explainer.answer()


def ids(answer: Explanation) -> list[str]:
    return [item.event_id for item in answer.worst_first()]


def test_wrong_reviews_come_first_and_the_newest_of_them_before_the_others() -> None:
    answer = ask([review("1", True), review("2", False, NOON - 2), review("3", False, NOON - 1), review("4", True)])
    assert ids(answer) == ["3", "2", "1", "4"]
    assert (answer.n, answer.total) == (4, 2)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"sampling": "targeted"}, "sampling targeted"),
        ({"purpose": "gold"}, "purpose gold"),
        ({"review_round": 2}, "a later review round"),
        ({"source": "gold"}, "source gold, by the policy"),
    ],
)
def test_what_does_not_make_the_headline_is_left_out_with_its_reason(more: dict[str, Any], reason: str) -> None:
    policy = Policy.parse('[defaults]\nheadline_sources = ["qa"]')
    answer = ask([review("1", False, **more), review("2", True)], policy=policy)
    assert ids(answer) == ["2"]
    assert answer.left_out == {reason: 1}


def test_a_duplicate_counts_once_and_the_same_id_at_another_time_or_site_counts_again() -> None:
    events = [
        review("1", False),
        review("1", False),
        review("1", False, NOON - MINUTE),
        review("1", True, site_id="lima-2"),
    ]
    answer = ask(events)
    assert [(item.event_id, item.at) for item in answer.items] == [("1", NOON), ("1", NOON - MINUTE)]
    assert answer.left_out == {"a repeat of an event counted before": 1}


def test_a_repeat_beyond_the_duplicate_horizon_counts_again_as_in_the_engine() -> None:
    events = [review("1", True, NOON - 20 * MINUTE), review("2", True), review("1", True, NOON - 20 * MINUTE)]
    assert ids(ask(events)) == ["2", "1", "1"]


def test_a_window_is_made_of_whole_panes() -> None:
    first = NOON - 59 * MINUTE
    events = [review("before", True, first - 1), review("first", True, first), review("last", True, NOON + MINUTE - 1)]
    assert ids(ask([*events, review("after", True, NOON + MINUTE)])) == ["last", "first"]


def test_an_event_ahead_of_its_append_time_or_of_itself_does_not_count() -> None:
    explainer = Explainer(Question("lima-1", "accuracy", "1h", at_ms=NOON), POLICY)
    ahead = [review("1", True), review("2", True, labeled_at=NOON + 300_001), review("3", True)]
    stamps = (NOON - 300_001, NOON, NOON - 300_000)
    explainer.add([Row(n, msgspec.json.encode(each), stamps[n]) for n, each in enumerate(ahead)])
    assert ids(explainer.answer()) == ["3"]


def test_a_person_and_a_role_stand_for_themselves() -> None:
    events = [review("1", True), review("2", False, agent_id="b"), review("3", False, role="qa")]
    assert ids(ask(events, agent="a")) == ["1"]
    assert ids(ask(events, role="qa")) == ["3"]
    assert ids(ask(events)) == ["2", "1"]


def revised(
    event_id: str, review_id: str, old: dict[str, Any], new: dict[str, Any] | None, cause: str = "appeal"
) -> Any:
    more = {} if new is None else {"new": new}
    return event(
        "review_revised", event_id, NOON + 1, review_id=review_id, reviewed_at=NOON, old=old, cause=cause, **more
    )


def test_an_overturned_review_shows_what_it_is_now() -> None:
    events = [review("1", False, review_id="r-1"), review("2", False), review("3", True)]
    events += [revised("x", "r-1", {"correct": False}, {"correct": True})]
    events += [revised("y", "2", {"correct": False}, None, "void")]
    answer = ask(events)
    assert [(item.event_id, item.value, item.note) for item in answer.items] == [("1", 1, "appeal x"), ("3", 1, "")]
    assert answer.left_out == {"taken out by a revision (void)": 1}


def test_a_revision_of_a_review_that_was_not_read_takes_out_and_puts_in() -> None:
    answer = ask([review("1", True), revised("x", "gone", {"correct": False}, {"correct": True})])
    assert [(item.event_id, item.value, item.weight) for item in answer.items] == [
        ("1", 1, 1),
        ("x", 0, -1),
        ("x", 1, 1),
    ]
    assert (answer.n, answer.total) == (1, 2)
    assert "-false" in "\n".join(plain_lines(answer, answer.items, POLICY))


def test_labels_and_handling_time_count_what_the_engine_counts() -> None:
    events = [label("1", handle_ms=2_000), label("2"), label("3", skipped=True), label("4", handle_ms=9_000_000)]
    assert ids(ask(events, "labels")) == ["1", "2", "4"]
    timed = ask(events, "handle")
    assert ids(timed) == ["4", "1"]
    assert timed.total == 2_000 + 1_800_000
    assert timed.left_out == {"skipped": 1, "no handling time": 1}


def test_a_revised_label_shows_its_new_time_and_a_deleted_one_goes() -> None:
    events = [label("1", handle_ms=2_000, label_id="l-1"), label("2", handle_ms=3_000, label_id="l-2")]
    usual: dict[str, Any] = {"submitted_at": NOON, "cause": "updated"}
    events += [event("label_revised", "x", label_id="l-1", old={"handle_ms": 2_000}, new={"handle_ms": 5_000}, **usual)]
    events += [event("label_revised", "y", label_id="l-2", old={"handle_ms": 3_000}, **{**usual, "cause": "deleted"})]
    answer = ask(events, "handle")
    assert [(item.event_id, item.value) for item in answer.items] == [("1", 5_000)]


def test_the_interval_is_wilsons_and_too_few_reviews_give_no_ratio() -> None:
    events = [review(str(number), number > 0) for number in range(10)]
    (figure,) = (line for line in summary(ask(events), POLICY) if line.startswith("reviews"))
    # Wilson 95% for 9 of 10, from the closed formula.
    z, p, n = 1.959963984540054, 0.9, 10
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert figure == f"reviews: 10; correct: 9; ratio 0.900000; 95% interval {low:.6f} to {high:.6f}"
    few = "\n".join(summary(ask(events[:2]), POLICY))
    assert "reviews: 2; correct: 1; not enough data for a ratio (min_reviews 3)" in few
    assert "%" not in few


def test_lines_for_scripts_hold_the_figure_and_one_event_each() -> None:
    answer = ask([review("1", False), review("2", True)])
    lines = list(plain_lines(answer, answer.worst_first(), POLICY))
    assert lines[0] == '# labelwatch_site_accuracy_ratio{site="lima-1",role="agent",window="1h"}'
    assert [line for line in lines if not line.startswith("#")] == [
        f"1\t{NOON}\ta\tspam\tt-1\tfalse\t\t\t\t\t\t\t",
        f"2\t{NOON}\ta\tspam\tt-2\ttrue\t\t\t\t\t\t\t",
    ]


CONTEXT: dict[str, Any] = {
    "label": "violating",
    "expected": "ok",
    "reviewer_id": "q-12",
    "error_type": "brand_confusion",
    "sop_version": "v3",
    "market": "US",
}


def test_a_row_says_what_was_labelled_what_was_right_and_who_said_so() -> None:
    answer = ask([review("1", False, **CONTEXT)])
    (line,) = (line for line in plain_lines(answer, answer.items, POLICY) if line[0] != "#")
    assert line.split("\t")[6:12] == ["violating", "ok", "q-12", "brand_confusion", "v3", "US"]
    several = {**CONTEXT, "errors": [{"type": "brand_confusion"}, {"type": "missed"}]}
    assert ask([review("1", False, **several)]).items[0].error_type == "brand_confusion, missed"


@pytest.mark.parametrize("width", [80, 120, 300])
def test_the_table_keeps_every_column_at_any_width(width: int) -> None:
    out = io.StringIO()
    answer = ask([review("1", False, **CONTEXT), review("2", True, **CONTEXT)])
    print_answer(answer, answer.worst_first(), POLICY, Console(file=out, width=width))
    text = out.getvalue()
    assert max(map(len, text.splitlines()[3:])) <= width, "after the summary's three lines"
    for word in CONTEXT.values():
        assert len(re.findall(rf"\b{word}\b", text)) == 2, word
    assert all(heading in text for heading in ("correct", "agent", "project", "task", "error type", "SOP version"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a\u202eb", r"a\u202eb"), ("\x1b[31mred", r"\x1b[31mred"), ("a\tb\nc", r"a\tb\nc"), ("\u200b", r"\u200b")],
)
def test_what_hides_or_turns_text_is_written_out(given: str, shown: str) -> None:
    answer = ask([review("1", False, label=given)])
    out = io.StringIO()
    print_answer(answer, answer.items, POLICY, Console(file=out, width=300))
    assert shown in out.getvalue()
    (line,) = (line for line in plain_lines(answer, answer.items, POLICY) if line[0] != "#")
    assert line.split("\t")[6] == shown


def test_joiners_that_a_script_needs_stay() -> None:
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert visible(f"{persian} 日本 naïve") == f"{persian} 日本 naïve"
    assert visible("manila\u200c-1") == r"manila\u200c-1"


# --- what was known at a time


def known(rows: list[tuple[dict[str, Any], int]], **more: Any) -> Explanation:
    explainer = Explainer(Question("lima-1", "accuracy", **{"window": "24h", "at_ms": NOON, **more}), POLICY)
    explainer.add([Row(number, msgspec.json.encode(each), at) for number, (each, at) in enumerate(rows)])
    return explainer.answer()


def test_a_time_within_an_hour_shows_what_was_known_then_and_nothing_later() -> None:
    rows = [
        (review("before", True, NOON - 5), NOON - 4),
        (review("came-late", False, NOON - 3), NOON + 1),
        (review("after", False, NOON + 20 * MINUTE), NOON + 20 * MINUTE),
        (revised("x", "before", {"correct": True}, {"correct": False}), NOON + 2),
    ]
    answer = known(rows, known_by="append")
    assert [(item.event_id, item.value) for item in answer.items] == [("before", 1)]
    assert answer.later == 3
    assert "not known yet then: 3 later events of the site that were read" in list(summary(answer, POLICY))
    # On the events' own clock a replay is the past that it replays, whenever it was written.
    assert ids(known([(each, at + 10 * HOUR) for each, at in rows[:3]], known_by="event")) == ["came-late", "before"]
    assert ids(known(rows[:3])) == ["after", "came-late", "before"], "without a time: whatever the topic has"


def test_the_figure_at_a_time_is_the_one_that_the_engine_showed(traffic: list[Row]) -> None:
    """Inside an hour, of 24 h, with late events and revisions among those that came later."""
    at_ms = NOON - 3 * HOUR - 17 * MINUTE
    engine = PartitionEngine(0, Policy())
    engine.apply([row for row in traffic if (row.timestamp or 0) <= at_ms])
    figures = figures_of(engine, at_ms)
    for site in engine.sites():
        answer = _explained(traffic, Policy(), Question(site, "accuracy", "24h", at_ms=at_ms, known_by="append"))
        assert answer.n == figures["labelwatch_site_reviews", site, "agent", "24h"]
        assert answer.total == figures["labelwatch_site_correct_reviews", site, "agent", "24h"]
        assert answer.later > 50


def test_the_table_shows_ids_as_they_are() -> None:
    out = io.StringIO()
    item = Item("[red]1[/red]", NOON, "a", "spam", "t", 0)
    print_answer(ask([review("1", False)]), [item], POLICY, Console(file=out, width=160))
    assert "[red]1[/red]" in out.getvalue()
    assert "false" in out.getvalue()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"figure": "speed"}, "--figure 'speed': use accuracy, labels or handle"),
        ({"window": "2h"}, "--window '2h'"),
        ({"window": "15m", "agent": "a"}, "--window '15m': use 1h, 24h or 7d"),
        ({"figure": "labels", "role": "qa"}, "--role 'qa': use agent with --figure labels"),
        ({"role": "boss"}, "--role 'boss'"),
    ],
)
def test_a_question_that_has_no_answer_is_refused_by_name(more: dict[str, Any], named: str) -> None:
    with pytest.raises(CommandError, match=r"--\w+ '") as caught:
        Question(**({"site": "s", "figure": "accuracy", "window": "1h"} | more))
    assert named in str(caught.value)
    assert caught.value.code == 2


# --- against the engine


@pytest.fixture(scope="module")
def traffic() -> list[Row]:
    """A day of two sites with duplicates, late and broken events, and revisions of what was read before."""
    operation = Operation(Simulation(NOON - 24 * HOUR, NOON, scenario="late-and-dirty", rate=0.1, sites=2, seed=7))
    rows: list[Row] = []
    for sent in operation:
        rows.append(Row(len(rows), sent.value, sent.due_ms, sent.site_id.encode()))
        if len(rows) % 40 == 0 and (more := _revision(sent.value, len(rows))):
            rows.append(Row(len(rows), more, sent.due_ms, sent.site_id.encode()))
    return rows


def _revision(value: bytes, number: int) -> bytes | None:
    """The sent event's own correction, a minute later by its clock."""
    try:
        sent = msgspec.json.decode(value)
        common = {key: sent[key] for key in ("at", "site_id", "agent_id", "project_id", "task_id")}
        common["event_id"] = f"revision-{number}"
        if sent["type"] == "label_reviewed":
            old = {key: sent[key] for key in ("correct", "source", "sampling", "market") if key in sent}
            more = {"type": "review_revised", "review_id": sent["event_id"], "reviewed_at": sent["at"], "old": old}
            more |= {"new": {**old, "correct": not old["correct"]}, "cause": "appeal"}
        else:
            more = {
                "type": "label_revised",
                "label_id": sent["event_id"],
                "submitted_at": sent["at"],
                "cause": "deleted",
            }
            more |= {"old": {"handle_ms": sent["handle_ms"]}}
        return msgspec.json.encode({**common, **more})
    except (msgspec.DecodeError, KeyError, TypeError):
        return None


def figures_of(engine: PartitionEngine, at_ms: int) -> dict[tuple[str, ...], float]:
    found = {(name, *labels): value for name, rows in engine.figures(at_ms).samples.items() for labels, value in rows}
    for group in engine.people(at_ms).groups:
        for (name, window), column in group.columns.items():
            found |= {(name, *who, window): value for who, value in zip(group.labels, column.tolist(), strict=True)}
    return {key: value for key, value in found.items() if not math.isnan(value)}


@pytest.mark.parametrize("policy", [Policy(), Policy.parse('[defaults]\nheadline_sources = ["qa"]')])
def test_every_site_figure_is_the_engines(traffic: list[Row], policy: Policy) -> None:
    engine = PartitionEngine(0, policy)
    engine.apply(traffic)
    at_ms = engine.clock_ms
    figures = figures_of(engine, at_ms)
    reviews = 0
    for site in engine.sites():
        for window in SITE_WINDOWS:
            for role in ROLES:
                answer = _explained(traffic, policy, Question(site, "accuracy", window, None, role, at_ms))
                reviews += answer.n
                assert answer.n == figures.get(("labelwatch_site_reviews", site, role, window), 0)
                assert answer.total == figures.get(("labelwatch_site_correct_reviews", site, role, window), 0)
            labels = _explained(traffic, policy, Question(site, "labels", window, at_ms=at_ms))
            assert labels.n == figures.get(("labelwatch_site_labels", site, window), 0)
            timed = _explained(traffic, policy, Question(site, "handle", window, at_ms=at_ms))
            mean = figures.get(("labelwatch_site_handle_seconds_mean", site, window))
            assert (mean is None) == (timed.n == 0)
            assert mean is None or math.isclose(timed.total / timed.n / 1000, mean, rel_tol=1e-12)
    assert reviews > 300


def test_a_persons_figures_are_the_engines(traffic: list[Row]) -> None:
    engine = PartitionEngine(0, Policy())
    engine.apply(traffic)
    figures = figures_of(engine, engine.clock_ms)
    people = [key[1:4] for key in figures if key[0] == "labelwatch_agent_labels" and key[4] == "7d"][:8]
    assert people
    for site, agent, role in people:
        # Without a time it is the partition's highest, as with --clock event.
        answer = _explained(traffic, Policy(), Question(site, "accuracy", "24h", agent, role))
        assert answer.at_ms == engine.clock_ms
        assert answer.n == figures.get(("labelwatch_agent_reviews", site, agent, role, "24h"), 0)
        labels = _explained(traffic, Policy(), Question(site, "labels", "24h", agent))
        assert labels.n == figures.get(("labelwatch_agent_labels", site, agent, "agent", "24h"), 0)


def _explained(rows: list[Row], policy: Policy, question: Question) -> Explanation:
    explainer = Explainer(question, policy)
    explainer.add(rows)
    return explainer.answer()


# --- from a broker


async def test_the_topic_gives_the_same_answer_as_the_records(tansu: EmbeddedBroker, traffic: list[Row]) -> None:
    settings = Settings.resolve(environ={}, bootstrap=tansu.bootstrap)
    list(create(settings, 3))
    sink = KafkaSink(KafkaTarget(tansu.bootstrap))
    async with sink.running():
        await pump(sink, (Outgoing(0, row.key or b"", row.value) for row in traffic))
    question = Question("manila-1", "accuracy", "24h", at_ms=NOON - 1)
    answer = await asyncio.to_thread(explain, question, Policy(), settings)
    assert answer.items == _explained([row._replace(timestamp=None) for row in traffic], Policy(), question).items
    assert answer.n > 50
    with pytest.raises(CommandError, match=r"no event of site 'atlantis' in partition \d of labeling.events.v1"):
        await asyncio.to_thread(explain, Question("atlantis", "labels", "1h"), Policy(), settings)


def test_without_a_broker_or_a_topic_it_says_what_to_do(tansu: EmbeddedBroker) -> None:
    question = Question("lima-1", "labels", "1h")
    with pytest.raises(CommandError, match=f"topic {EVENTS} does not exist at .*labelwatch topics create"):
        explain(question, Policy(), Settings.resolve(environ={}, bootstrap=tansu.bootstrap))
    tansu.stop()
    with pytest.raises(CommandError, match=r"cannot read .* check the address"):
        explain(question, Policy(), Settings.resolve(environ={}, bootstrap=tansu.bootstrap))
