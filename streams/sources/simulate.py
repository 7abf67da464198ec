"""A believable operation as events: shifts, breaks, labels, sampled reviews, audits; and one known change in it."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

import msgspec

from schemas.text import choice
from streams.sources.errors import SourceError
from streams.sources.queues import BACKLOG_FACTOR, MEASURED_EVERY_MS, SimulatedQueue
from streams.sources.scenarios import SCENARIOS
from streams.sources.world import (
    DAY_MS,
    ERRORS,
    HARD_ERROR,
    HOUR_MS,
    MINUTE_MS,
    NEWCOMER_DAYS,
    OTHER_LABEL,
    SHIFT_MS,
    Person,
    Project,
    SimulatedSite,
    build,
)

#: Events a label brings, reviews, audits and states included: turns a rate into people.
_EVENTS_A_LABEL = 1.32
_LABEL_SECONDS = 40.0
_PRODUCTIVE_SHARE = 0.79
#: Shares of labels that are reviewed, by why.
_RANDOM, _STRATIFIED, _TARGETED, _GOLD = 0.15, 0.15, 0.02, 0.02
_AUDITED = 0.06
#: How often a reviewer calls a good label wrong, and finds an error once lenient.
_FALSE_ALARM, _LENIENT = 0.006, 0.4
_CLUSTER_START, _CLUSTER_LABELS = 0.004, (6, 15)
_REVIEW_DELAY_MINUTES = (1.9, 0.8)

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Simulation:
    """What to simulate.

    Attributes:
        start_ms: First event time.
        end_ms: Last event time, not reached.
        scenario: Which change; `steady` has none.
        seed: The same seed gives the same bytes.
        rate: Events a second of event time, over all sites, about.
        sites: Number of sites.
        change_at_ms: When the change comes; the middle by default.
        points: Size of a change of accuracy, in ratio points.
    """

    start_ms: int
    end_ms: int
    scenario: str = "steady"
    seed: int = 1
    rate: float = 30.0
    sites: int = 6
    change_at_ms: int | None = None
    points: float = 0.08

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise SourceError(f"--scenario {self.scenario!r}: use {choice(SCENARIOS)}")
        if self.rate <= 0 or self.sites < 1 or self.end_ms <= self.start_ms:
            raise SourceError("rate, seconds and sites must be above 0")

    @property
    def changes_at_ms(self) -> int:
        """When the scenario's change comes."""
        return (self.start_ms + self.end_ms) // 2 if self.change_at_ms is None else self.change_at_ms


class Sent(NamedTuple):
    """One record: when it arrives (event time, ms), its key and its bytes."""

    due_ms: int
    site_id: str
    value: bytes


@dataclass(slots=True)
class Truth:
    """What was injected, to be written beside the events."""

    scenario: str
    seed: int
    start_ms: int
    end_ms: int
    changes: list[dict[str, Any]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> bytes:
        """The truth as one JSON object."""
        return msgspec.json.format(_encode(asdict(self)), indent=2) + b"\n"


def people_of(rate: float, sites: int) -> int:
    """How many people work for a rate of events a second; two a site at least, who then bring more events."""
    return max(round(rate / _EVENTS_A_LABEL * _LABEL_SECONDS / _PRODUCTIVE_SHARE), sites * 2)


def rate_of(people: int) -> float:
    """Events a second that so many people bring, about."""
    return people * _PRODUCTIVE_SHARE / _LABEL_SECONDS * _EVENTS_A_LABEL


class Operation:
    """One run of a simulation: an iterator of `Sent` in order of arrival, and the truth about it."""

    def __init__(self, simulation: Simulation) -> None:
        self._plan = simulation
        self._random = Random(simulation.seed)
        self._numbers = itertools.count()
        self._order = itertools.count()
        self._due: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._out: list[Sent] = []
        self.sites = build(self._random, simulation.sites, people_of(simulation.rate, simulation.sites))
        self.truth = Truth(simulation.scenario, simulation.seed, simulation.start_ms, simulation.end_ms)
        self._target = self.sites[0]
        self._unlucky = self._target.agents[0]
        self._changed_project = self._target.projects[0]
        #: Chance and numbers of their own, so that all other events are those of an operation without queues.
        self._queue_random = Random(f"queues of {simulation.seed}")
        self._queue_numbers = itertools.count(1)
        self._queues = {
            site.name: {
                (project.name, market): SimulatedQueue(project.name, market)
                for project in site.projects
                for market in project.markets
            }
            for site in self.sites
        }
        self._describe_change()

    def __iter__(self) -> Iterator[Sent]:
        plan = self._plan
        for site in self.sites:
            for person in (*site.agents, *site.reviewers):
                self._plan_person(person)
        if plan.scenario == "sop-change":
            self._at(plan.changes_at_ms, self._publish_sop)
        for site in self.sites:
            self._queues_at(plan.start_ms + MEASURED_EVERY_MS, site)
        while self._due:
            at_ms, _, what, arguments = heapq.heappop(self._due)
            if at_ms >= plan.end_ms:
                break
            what(at_ms, *arguments)
            yield from self._out
            self._out.clear()

    # --- people

    def _plan_person(self, person: Person) -> None:
        plan = self._plan
        start = person.site.shift_start_ms(plan.start_ms, person.shift)
        if person.reviews or person.joined_days < NEWCOMER_DAYS:
            started_on = datetime.fromtimestamp((plan.start_ms - person.joined_days * DAY_MS) / 1000, UTC).date()
            self._at(plan.start_ms, self._profile, person, started_on.isoformat())
        while start < plan.end_ms:
            if start + SHIFT_MS > plan.start_ms:
                self._plan_shift(person, start + int(self._random.uniform(-4, 4) * MINUTE_MS))
            start += DAY_MS

    def _plan_shift(self, person: Person, start: int) -> None:
        """A shift's states: work with breaks, lunch, sometimes a meeting or training; a wait now and then."""
        random = self._random
        pauses = [(2.0, 15, "break"), (4.0, 30, "break"), (6.2, 15, "break")]
        if random.random() < 0.5:
            pauses.append((5.0, 30, "meeting"))
        if random.random() < 0.25:
            pauses.append((1.0, 45, "training"))
        pauses += [(random.uniform(0.2, 7.8), random.randrange(2, 9), "available") for _ in range(5)]
        begun = sorted((start + int((at + random.uniform(-0.8, 0.8)) * HOUR_MS), m, state) for at, m, state in pauses)
        states, ends = [(start, "productive")], start
        for begin, minutes, state in begun:
            # Who is away already does not leave twice.
            if ends < begin and begin + minutes * MINUTE_MS < start + SHIFT_MS:
                ends = begin + minutes * MINUTE_MS
                states += [(begin, state), (ends, "productive")]
        states.append((start + SHIFT_MS, "offline"))
        first = self._plan.start_ms
        before = [state for at, state in states if at <= first]
        if before and before[-1] != "offline":
            # Someone on shift when the simulation begins says so, before anything else.
            room_ms = min(at for at, _ in states if at > first) - first
            self._at(first + int(random.uniform(0, min(20_000, room_ms - 1))), self._want, person, before[-1])
        for at, state in states:
            if at > first:
                self._at(at, self._want, person, state)

    def _want(self, at_ms: int, person: Person, state: str) -> None:
        """Enters a state; who is at a task hands it in first."""
        person.wanted = state
        if not person.busy:
            self._go_on(at_ms, person)

    def _go_on(self, at_ms: int, person: Person) -> None:
        """Enters the state that is due, and takes the next task when at work."""
        if person.state != person.wanted:
            person.state = person.wanted
            self._send(at_ms, person.site, "state_changed", agent_id=person.agent_id, state=person.state)
        if person.state == "productive" and not person.reviews:
            self._take_task(at_ms + int(self._random.uniform(500, 3000)), person)

    def _profile(self, at_ms: int, person: Person, started_on: str) -> None:
        self._send(
            at_ms, person.site, "agent_profiled",
            agent_id=person.agent_id, role="qa" if person.reviews else "agent", status="active", started_on=started_on,
        )  # fmt: skip  # an event in one glance

    # --- labels

    def _take_task(self, at_ms: int, person: Person) -> None:
        random = self._random
        project = random.choice(person.site.projects)
        hard = random.random() < self._hard_share(at_ms, person.site, project)
        seconds = project.handle_seconds * person.speed * random.lognormvariate(-0.08, 0.4)
        if self._changed(at_ms, "handle-time", person.site):
            seconds *= 1.5
        done = at_ms + max(int(seconds * 1000 * (1.3 if hard else 1.0)), 1500)
        person.busy = True
        self._at(done, self._hand_in, person, project, hard, done - at_ms)

    def _hand_in(self, at_ms: int, person: Person, project: Project, hard: bool, handle_ms: int) -> None:
        person.busy = False
        self._label(at_ms, person, project, hard, handle_ms)
        self._go_on(at_ms, person)

    def _label(self, at_ms: int, person: Person, project: Project, hard: bool, handle_ms: int) -> None:
        random = self._random
        number = next(self._numbers)
        market = random.choice(project.markets)
        queue = self._queues[person.site.name][project.name, market]
        queue.taken += 1
        sop = self._sop(at_ms, project)
        work = {
            "agent_id": person.agent_id,
            "project_id": project.name,
            "task_id": f"t-{number}",
            "market": market,
            "sop_version": sop,
            "queue": queue.name,
            "stratum": "hard" if hard else "easy",
        }
        if random.random() < 0.01:
            self._send(at_ms, person.site, "label_submitted", **work, skipped=True, skip_reason="unclear task")
            return
        wrong = random.random() < self._error(at_ms, person, project, hard)
        if person.cluster:
            person.cluster -= 1
        elif random.random() < _CLUSTER_START:
            person.cluster = random.randrange(*_CLUSTER_LABELS)
        expected = "violating" if random.random() < 0.3 else "ok"
        label = OTHER_LABEL[expected] if wrong else expected
        self._send(at_ms, person.site, "label_submitted", **work, label=label, handle_ms=handle_ms)
        self._sample(at_ms, person, work, hard, wrong, label)

    def _error(self, at_ms: int, person: Person, project: Project, hard: bool) -> float:
        error = person.current_error + project.error + (HARD_ERROR if hard else 0.0)
        plan = self._plan
        if self._changed(at_ms, "site-dip", person.site):
            error += plan.points
        elif self._changed(at_ms, "slow-drift", person.site):
            error += plan.points * (at_ms - plan.changes_at_ms) / (plan.end_ms - plan.changes_at_ms)
        elif self._changed(at_ms, "one-agent", person.site) and person is self._unlucky:
            error += 0.25
        elif plan.scenario == "sop-change" and project is self._changed_project and at_ms >= plan.changes_at_ms:
            error += plan.points
        return min(max(error, 0.002), 0.9)

    def _hard_share(self, at_ms: int, site: SimulatedSite, project: Project) -> float:
        return 0.8 if self._changed(at_ms, "mix-shift", site) else project.hard_share

    def _sop(self, at_ms: int, project: Project) -> str:
        new = self._plan.scenario == "sop-change" and at_ms >= self._plan.changes_at_ms
        return "v4" if new and project is self._changed_project else "v3"

    # --- queues

    def _queues_at(self, at_ms: int, site: SimulatedSite) -> None:
        """Plans the next measurement of a site's queues, before anything else of that time."""
        heapq.heappush(self._due, (at_ms, -next(self._queue_numbers), self._measure_queues, (site,)))

    def _measure_queues(self, at_ms: int, site: SimulatedSite) -> None:
        factor = BACKLOG_FACTOR if self._changed(at_ms, "backlog", site) else 1.0
        for queue in self._queues[site.name].values():
            fields = queue.measure(at_ms, self._queue_random, factor)
            if not self._changed(at_ms, "outage", site):
                event = {
                    "type": "queue_measured",
                    "event_id": f"{self._plan.seed:x}-q{next(self._queue_numbers):x}",
                    "at": at_ms,
                    "site_id": site.name,
                    **fields,
                }
                self._deliver(at_ms, site.name, _encode(event), "queue_measured")
        self._queues_at(at_ms + MEASURED_EVERY_MS, site)

    # --- reviews

    def _sample(self, at_ms: int, person: Person, work: dict[str, Any], hard: bool, wrong: bool, label: str) -> None:
        """Decides why, if at all, a label is reviewed."""
        random, site = self._random, person.site
        chance = random.random()
        judged = (work, wrong, label, at_ms)
        # Who is new or has just erred is looked at more closely.
        targeted = _TARGETED * (5 if person.cluster or person.joined_days < NEWCOMER_DAYS else 1)
        if chance < _GOLD:
            self._at(at_ms + 200, self._review, site, *judged, "gold", "random")
        elif chance < _GOLD + _RANDOM:
            self._later(at_ms, site, judged, "random")
        elif chance < _GOLD + _RANDOM + _STRATIFIED and hard:
            self._later(at_ms, site, judged, "stratified")
        elif chance > 1 - targeted:
            self._later(at_ms, site, judged, "targeted")

    def _later(self, at_ms: int, site: SimulatedSite, judged: tuple[Any, ...], sampling: str) -> None:
        delay_minutes = min(self._random.lognormvariate(*_REVIEW_DELAY_MINUTES), 240.0)
        self._at(at_ms + int(delay_minutes * MINUTE_MS), self._review, site, *judged, "qa", sampling)

    def _review(
        self,
        at_ms: int,
        site: SimulatedSite,
        work: dict[str, Any],
        wrong: bool,
        label: str,
        labeled_at: int,
        source: str,
        sampling: str,
    ) -> None:
        random = self._random
        if source == "gold":
            reviewer, detection = None, 1.0
        else:
            reviewer = self._free_reviewer(site)
            if reviewer is None:
                self._at(at_ms + MINUTE_MS, self._review, site, work, wrong, label, labeled_at, source, sampling)
                return
            detection = _LENIENT if self._changed(at_ms, "lenient-qa", site) else reviewer.detection
        found = random.random() < (detection if wrong else 0.0 if reviewer is None else _FALSE_ALARM)
        event: dict[str, Any] = {**work, "correct": not found, "label": label}
        event["expected"] = OTHER_LABEL[label] if found else label
        event |= {"labeled_at": labeled_at, "sampling": sampling}
        if reviewer is None:
            event["source"] = "gold"
        else:
            event |= {"reviewer_id": reviewer.agent_id, "review_ms": int(random.lognormvariate(9.6, 0.4))}
            if sampling == "stratified":
                event["sampling_rate"] = _STRATIFIED
        if found:
            event["error_type"], event["severity"] = random.choices(*ERRORS[label])[0]
        review_id = self._send(at_ms, site, "label_reviewed", **event)
        if reviewer is not None and random.random() < _AUDITED:
            delay = int(random.uniform(2, 30) * MINUTE_MS)
            self._at(at_ms + delay, self._audit, site, work, reviewer, not found, found == wrong)
        if self._plan.scenario == "late-and-dirty" and found and random.random() < 0.1:
            self._at(at_ms + 5 * MINUTE_MS, self._overturn, site, work, review_id, at_ms, source, sampling)

    def _audit(
        self, at_ms: int, site: SimulatedSite, work: dict[str, Any], reviewer: Person, verdict: bool, correct: bool
    ) -> None:
        judged = {**work, "agent_id": reviewer.agent_id}
        self._send(
            at_ms, site, "label_reviewed", **judged,
            role="qa", verdict=verdict, correct=correct, source="audit", sampling="random", reviewer_id="auditor-1",
        )  # fmt: skip  # an event in one glance

    def _overturn(
        self,
        at_ms: int,
        site: SimulatedSite,
        work: dict[str, Any],
        review_id: str,
        reviewed_at: int,
        source: str,
        sampling: str,
    ) -> None:
        version = {"source": source, "sampling": sampling, "market": work["market"]}
        self._send(
            at_ms, site, "review_revised", cause="appeal", review_id=review_id, reviewed_at=reviewed_at,
            agent_id=work["agent_id"], project_id=work["project_id"], task_id=work["task_id"],
            old={**version, "correct": False}, new={**version, "correct": True},
        )  # fmt: skip  # an event in one glance

    def _free_reviewer(self, site: SimulatedSite) -> Person | None:
        """A reviewer who is at work; None: all are at a break or in a meeting."""
        working = [reviewer for reviewer in site.reviewers if reviewer.state == "productive"]
        return self._random.choice(working) if working else None

    # --- the change

    def _changed(self, at_ms: int, scenario: str, site: SimulatedSite) -> bool:
        return self._plan.scenario == scenario and site is self._target and at_ms >= self._plan.changes_at_ms

    def _publish_sop(self, at_ms: int) -> None:
        for site in self.sites:
            self._send(at_ms, site, "sop_published", project_id=self._changed_project.name, sop_version="v4")

    def _describe_change(self) -> None:
        plan, scenario = self._plan, self._plan.scenario
        if scenario in ("steady", "late-and-dirty"):
            return
        what: dict[str, Any] = {"at_ms": plan.changes_at_ms, "scenario": scenario, "site": self._target.name}
        if scenario in ("site-dip", "slow-drift"):
            what |= {"error_points": plan.points}
        elif scenario == "one-agent":
            what |= {"agent": self._unlucky.agent_id, "error_points": 0.25}
        elif scenario == "sop-change":
            what |= {"site": None, "project": self._changed_project.name, "sop": "v4", "error_points": plan.points}
        elif scenario == "handle-time":
            what |= {"handle_factor": 1.5}
        elif scenario == "mix-shift":
            what |= {"hard_share": 0.8, "per_class_change": 0.0}
        elif scenario == "backlog":
            what |= {"arrivals_factor": BACKLOG_FACTOR}
        elif scenario == "lenient-qa":
            what |= {"detection": _LENIENT}
        self.truth.changes.append(what)

    # --- sending

    def _at(self, at_ms: int, what: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._due, (at_ms, next(self._order), what, arguments))

    def _send(self, at_ms: int, site: SimulatedSite, kind: str, **fields: Any) -> str:
        """Sends an event, or in a dirty operation what becomes of it; returns its id."""
        if self._changed(at_ms, "outage", site):
            return ""
        event_id = f"{self._plan.seed:x}-{next(self._order):x}"
        value = _encode({"type": kind, "event_id": event_id, "at": at_ms, "site_id": site.name, **fields})
        if self._plan.scenario != "late-and-dirty":
            self._deliver(at_ms, site.name, value, kind)
        else:
            self._send_dirty(at_ms, site.name, value, kind)
        return event_id

    def _send_dirty(self, at_ms: int, site_id: str, value: bytes, kind: str) -> None:
        random = self._random
        chance = random.random()
        if chance < 0.02:
            self._at(at_ms + int(random.uniform(1, 120) * MINUTE_MS), self._deliver, site_id, value, kind, "late")
            return
        self._deliver(at_ms, site_id, value, kind)
        if chance < 0.04:
            self._at(at_ms + int(random.uniform(0, 5) * MINUTE_MS), self._deliver, site_id, value, "duplicate")
        elif chance < 0.045:
            # Cut off, of a wrong type, not UTF-8.
            broken = random.choice((value[: len(value) // 2], value.replace(b'"at":', b'"at":-'), b"\xff" + value))
            self._deliver(at_ms, site_id, broken, "broken")

    def _deliver(self, at_ms: int, site_id: str, value: bytes, *kinds: str) -> None:
        """Lets a record arrive, and counts it: the truth knows only what has arrived."""
        self._out.append(Sent(at_ms, site_id, value))
        for kind in kinds:
            self.truth.sent[kind] = self.truth.sent.get(kind, 0) + 1
