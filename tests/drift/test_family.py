"""One cause, one page: what lies within a site's drift belongs to it, and a site with one project has one stream."""

import random
from typing import Any

import msgspec
import pytest

from schemas.drift import DriftLevel, DriftRecord, Member
from schemas.policy import Policy
from schemas.sentences import chinese, english
from streams.engine.drift.stream import Stream
from streams.engine.partition import PartitionEngine
from tests.drift.test_signals import DAY_MS, Log, of
from tests.oracle.compare import Record

#: Of a log with two projects, the share of errors in each and how many reviews, one after the other.
Stage = tuple[int, float, float]


def two_projects(log: Log, *stages: Stage, share: float = 0.5) -> Log:
    for n, of_p, of_q in stages:
        for _ in range(n):
            project, rate = ("p", of_p) if log.random.random() < share else ("q", of_q)
            log.reviews(1, rate, project_id=project)
    return log


def incidents(records: list[DriftRecord]) -> set[str]:
    return {record.incident_id for record in records if record.budget == "page"}


def opened(records: list[DriftRecord], **fields: Any) -> list[DriftRecord]:
    return [
        record
        for record in records
        if record.status == "opened" and all(getattr(record, name) == value for name, value in fields.items())
    ]


def test_what_a_sites_drift_holds_belongs_to_it_and_is_one_page() -> None:
    _, records = two_projects(Log(), (6000, 0.05, 0.05), (1500, 0.2, 0.2)).run()
    (site,) = opened(records, signal="accuracy", project_id="")
    projects = [record for record in opened(records, signal="accuracy") if record.project_id]
    tickets = opened(records, budget="ticket")
    assert {record.project_id for record in projects} == {"p", "q"}
    assert "accuracy_target" in {record.signal for record in tickets}
    assert incidents(records) == {site.incident_id}
    for record in (*projects, *tickets):
        if record.at >= site.at:
            assert record.parent == site.drift_id
            assert f"It belongs to the site's drift {site.drift_id}." in record.text
            assert f"属于站点异常 {site.drift_id}" in record.text_zh
    assert site.parent == ""


@pytest.mark.parametrize("of_v3", [0.0, 0.2, 0.4])
def test_new_rules_at_several_sites_are_one_incident_by_the_version_that_came(of_v3: float) -> None:
    """However much work under the old ones, which was better, is reviewed before or after that."""
    found = set()
    for site, late in (("a", 0), ("b", 150), ("c", 400)):
        log = Log(seed=late)
        log.reviews(4000, 0.05, site_id=site, project_id="p", sop_version="v3")
        log.reviews(late, 0.05, site_id=site, project_id="p", sop_version="v4")
        for _ in range(1500):
            old = log.random.random() < of_v3
            log.reviews(1, 0.01 if old else 0.3, site_id=site, project_id="p", sop_version="v3" if old else "v4")
        _, records = log.run()
        found |= {record.incident_id for record in opened(records, signal="accuracy")}
    assert found == {"sop:p/v4"}


def test_a_project_that_pages_first_and_then_its_site_are_one_page() -> None:
    # One project gets so much worse that its own stream finds it first; the site follows.
    log = two_projects(Log(seed=3), (9000, 0.05, 0.05), (300, 0.5, 0.01), (600, 0.6, 0.35), share=0.15)
    engine, records = log.run()
    (project,) = opened(records, signal="accuracy", project_id="p")
    (site,) = opened(records, signal="accuracy", project_id="")
    assert project.at < site.at
    assert project.incident_id == project.drift_id
    assert site.incident_id == project.incident_id, "the page that there is already"
    assert project.drift_id in site.children
    known = dict(engine.drifts())
    (of_project,) = [each for stream, each in known.items() if stream.project == "p" and stream.signal == "accuracy"]
    assert of_project.parent == site.drift_id
    assert "found before belong" in site.text
    by_id = {record.drift_id: record for record in opened(records)}
    projects = {by_id[child].project_id for child in site.children} - {""}
    people = {by_id[child].agent_id for child in site.children} - {""}
    assert "p" in projects
    assert [each.member for each in site.within if each.by == "project"] == sorted(projects)
    assert {each.member for each in site.within if each.by != "project"} == people
    assert "to it: project p" in site.text
    assert "项目 p" in site.text_zh


def test_a_sentence_names_some_of_what_belongs_to_it_and_counts_the_rest() -> None:
    def told(*within: Member, count: int = 9) -> tuple[str, str]:
        level = DriftLevel(0.9, 100)
        record = DriftRecord(
            status="opened", drift_id="d", at=1, site_id="s", signal="accuracy", direction="down", budget="page",
            opened_at=1, began_at=1, began_at_low=1, began_at_high=1, before=DriftLevel(0.95, 100), since=level,
            estimate=0.9, evidence=1.0, run_length=1e3, children=tuple(map(str, range(count))), within=within,
        )  # fmt: skip  # a record in one glance
        return english(record, "UTC"), chinese(record, "UTC")

    assert "9 drifts that were found before belong to it." in told()[0]
    assert "9 项变化属于此次异常。" in told()[1]
    few = told(Member("project", "spam"), Member("agent", "a-1"), Member("reviewer", "q-1"), count=3)
    assert "belong to it: project spam, agent a-1, reviewer q-1." in few[0]
    assert "项目 spam、标注员 a-1、质检员 q-1。" in few[1]
    many = told(*(Member("agent", f"a-{n}") for n in range(9)))
    assert "belong to it: agent a-0, agent a-1, agent a-2, agent a-3, agent a-4 and 4 more." in many[0]
    assert "另有 4 项。" in many[1]
    # The site's ticket against its target is one of them, and nobody's.
    own = told(Member("agent", "a-1"), count=2)
    assert "2 drifts that were found before belong to it: agent a-1 and 1 more." in own[0]
    assert "标注员 a-1 等" in own[1]
    assert "另有 1 项。" in own[1]
    # A record names the first 200: there may be more.
    most = told(Member("agent", "a-1"), count=200)
    assert "At least 200 drifts that were found before belong to it: agent a-1 and at least 199 more." in most[0]
    assert "检出的至少 200 项变化" in most[1]
    assert "另有至少 199 项。" in most[1]


def test_a_site_that_recovers_before_its_project_pages_no_second_time() -> None:
    log = two_projects(Log(seed=5), (12_000, 0.05, 0.05), (3000, 0.3, 0.2), (9000, 0.3, 0.0), share=0.12)
    engine, records = log.run()
    ended = [r for r in of(records, "accuracy") if not r.project_id and r.status == "cleared"]
    still = [episode for stream, episode in engine.drifts() if stream.project == "p"]
    assert ended, "the site is back"
    assert still, "the project is not"
    (site,) = opened(records, signal="accuracy", project_id="")
    assert {episode.incident_id for episode in still} == {site.incident_id}
    assert incidents(records) == {site.incident_id}


def test_people_are_watched_afresh_once_their_sites_drift_is_over() -> None:
    log = Log(seed=2)

    def work(n: int, rate: float, bad: float) -> None:
        for _ in range(n):
            agent = f"a-{log.random.randrange(10)}"
            log.reviews(1, bad if agent == "a-3" else rate, agent_id=agent, step_ms=20_000)

    work(12_000, 0.04, 0.04)
    work(2500, 0.3, 0.3)
    over = log.now
    work(20_000, 0.005, 0.3)
    _, records = log.run()
    (site, *_) = opened(records, signal="accuracy")
    people = of(records, "agent_accuracy")
    during = [r for r in people if r.status == "opened" and site.at <= r.at < over]
    assert {r.parent for r in during} == {site.drift_id}
    ended = [r for r in people if r.ended == "with_parent"]
    assert {r.agent_id for r in ended} <= {r.agent_id for r in during}
    assert "a-3" in {r.agent_id for r in ended}
    for record in ended:
        assert record.at % DAY_MS == 0, "at a day's begin, wherever batches end"
        assert "is watched afresh" in record.text
        assert "重新开始监测" in record.text_zh
    after = [r for r in people if r.status == "opened" and r.at > over]
    assert {(r.agent_id, r.parent) for r in after} == {("a-3", "")}, "who has not recovered, alone"


def test_another_direction_and_what_began_before_stand_alone() -> None:
    log = Log(seed=4)
    # One reviewer finds ever less, beginning long before the site gets worse; one person gets worse before it, too.
    for _ in range(4000):
        log.reviews(1, 0.08, reviewer_id=f"q-{log.random.randrange(3)}", agent_id=f"a-{log.random.randrange(9)}")
    for _ in range(3000):
        reviewer = f"q-{log.random.randrange(3)}"
        agent = f"a-{log.random.randrange(9)}"
        rate = 0.0 if reviewer == "q-0" else 0.5 if agent == "a-0" else 0.06
        log.reviews(1, rate, reviewer_id=reviewer, agent_id=agent)
    for _ in range(800):
        reviewer = f"q-{log.random.randrange(3)}"
        log.reviews(1, 0.0 if reviewer == "q-0" else 0.5, reviewer_id=reviewer, agent_id=f"a-{log.random.randrange(9)}")
    _, records = log.run()
    site = opened(records, signal="accuracy", project_id="")[-1]
    fewer = opened(records, signal="error_finding", agent_id="q-0", direction="down")
    assert fewer
    assert {record.parent for record in fewer} == {""}
    first = opened(records, signal="agent_accuracy", agent_id="a-0")[0]
    assert first.at < site.at
    assert first.began_at_high + DAY_MS < site.began_at_low, "the log is made so"
    assert first.drift_id not in site.children


def test_a_site_with_one_project_has_one_stream_and_the_second_project_begins_two() -> None:
    log = Log()
    log.reviews(3000, 0.05, project_id="p")
    one, _ = log.run()
    assert {stream.project for stream, *_ in one.detection_plan() if stream.signal == "accuracy"} == {""}
    site = one.detection_plan()
    log.reviews(1, 0.0, project_id="q")
    two, _ = log.run()
    plan = {stream.project: rest for stream, *rest in two.detection_plan() if stream.signal == "accuracy"}
    assert plan.keys() == {"", "p", "q"}
    # The first project's stream has learned what the site's had: the same baseline as before the second came.
    (before,) = [rest for stream, *rest in site if stream.signal == "accuracy"]
    assert plan["p"][2] == before[2]
    # The budget is shared by three in place of one.
    pages = [of[0] / of[1] for of in plan.values()]
    assert sum(pages) <= Policy().oncall.false_pages_per_month * 1.0001


@pytest.mark.parametrize("most", [1, 7, 100_000])
def test_where_a_batch_ends_does_not_matter_to_a_second_project(most: int) -> None:
    log = Log(seed=6)
    log.reviews(700, 0.05, project_id="p")
    for _ in range(600):
        log.reviews(1, 0.05, project_id=log.random.choice("pq"))
    log.reviews(300, 0.5, project_id="p")
    records = [Record(n, each["at"] + 5, None, msgspec.json.encode(each)) for n, each in enumerate(log.events)]
    whole, cut = PartitionEngine(0, Policy()), PartitionEngine(0, Policy())
    whole.apply(records)
    rng = random.Random(most)
    told: list[bytes] = []
    slots: dict[bytes, bytes] = {}
    while cut.applied + 1 < len(records):
        start = cut.applied + 1
        cut.apply(records[start : start + rng.randint(1, most)])
        if rng.random() < 0.02:
            checkpoint = cut.checkpoint()
            told += [value for _, value in checkpoint.drift_records]
            slots |= {key: value for key, value in checkpoint.slots if value is not None}
            cut = PartitionEngine.restore(0, Policy(), dict(slots), checkpoint.manifest)
    told += [value for _, value in cut.checkpoint().drift_records]
    expected = [value for _, value in whole.checkpoint().drift_records]
    assert expected
    assert sorted(told) == sorted(expected)
    assert cut.drifts() == whole.drifts()
    assert cut.detection_plan() == whole.detection_plan()


def test_an_older_checkpoint_loses_the_second_stream_of_a_site_with_one_project() -> None:
    log = Log()
    log.reviews(1500, 0.05, project_id="p")
    records = [Record(n, each["at"] + 5, None, msgspec.json.encode(each)) for n, each in enumerate(log.events)]
    engine = PartitionEngine(0, Policy())
    engine.apply(records[:1000])
    # As it was: a stream of the only project, too, and nothing known of projects.
    second = Stream("s", "p", "", "accuracy", "down")
    engine._drift.reviews.streams.copy(engine._drift.reviews.streams.number(second), 0, restart=False)
    checkpoint = engine.checkpoint()
    slots = {key: value for key, value in checkpoint.slots if value is not None}
    header = msgspec.msgpack.decode(slots[b"drift|header"])
    assert header.pop("projects") == [["s", "p"]]
    slots[b"drift|header"] = msgspec.msgpack.encode(header)
    assert second in {each.stream for each in engine.detection_plan()}
    restored = PartitionEngine.restore(0, Policy(), slots, checkpoint.manifest)
    assert {each.stream.project for each in restored.detection_plan()} == {""}
    restored.apply(records[1000:])
    assert {each.stream.project for each in restored.detection_plan()} == {""}
