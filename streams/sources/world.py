"""The simulated operation's people and work: sites in their time zones, agents with skill and speed, projects."""

import math
from dataclasses import dataclass, field
from random import Random

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
#: Local hours at which the three shifts begin; a third of a site's people works at any time.
SHIFT_HOURS = (6, 14, 22)
SHIFT_MS = 8 * HOUR_MS

#: Name, vendor, IANA zone, hours from UTC (standard time: a simulation needs no daylight saving), skill of the site.
PLACES = (
    ("manila-1", "acme", "Asia/Manila", 8.0, 0.000),
    ("lima-2", "acme", "America/Lima", -5.0, 0.004),
    ("krakow-3", "borealis", "Europe/Warsaw", 1.0, 0.010),
    ("hyderabad-4", "cobalt", "Asia/Kolkata", 5.5, -0.004),
    ("nairobi-5", "cobalt", "Africa/Nairobi", 3.0, 0.006),
    ("bogota-6", "borealis", "America/Bogota", -5.0, -0.012),
)
#: By the wrong label: what the error is called and how grave it is, and how often.
ERRORS = {
    "ok": ((("missed_violation", "critical"), ("missed_violation", "major")), (1, 4)),
    "violating": ((("brand_confusion", "major"), ("wrong_category", "minor")), (1, 2)),
}
OTHER_LABEL = {"ok": "violating", "violating": "ok"}
#: Below this many days someone counts as new.
NEWCOMER_DAYS = 35


@dataclass(slots=True)
class Project:
    """A kind of work.

    Attributes:
        name: Project id.
        markets: Markets that send it.
        handle_seconds: Typical time of one label.
        error: Added to a person's error probability.
        hard_share: Share of the riskier stratum, 0 to 1.
    """

    name: str
    markets: tuple[str, ...]
    handle_seconds: float
    error: float
    hard_share: float = 0.2


PROJECTS = (
    Project("counterfeit", ("US", "DE"), 38.0, 0.010),
    Project("spam", ("US", "BR"), 22.0, -0.008, 0.1),
    Project("hate-speech", ("US", "DE", "JP"), 45.0, 0.018, 0.35),
)
#: Added to the error probability of a label of the hard stratum.
HARD_ERROR = 0.06


@dataclass(slots=True)
class Person:
    """Someone who labels, or reviews.

    Attributes:
        agent_id: Stable id.
        site: Where.
        shift: Which of the three shifts.
        error: Own error probability on typical work.
        speed: Factor on handling time; above 1 is slower.
        joined_days: Days since joining; the first weeks go worse.
        cluster: Labels left in a run of likely errors.
        reviews: A reviewer, who checks labels and makes none.
        detection: For a reviewer: probability of finding an error.
        state: Where the person is now.
        wanted: The state that is due; entered when the task at hand is done.
        busy: At a task.
    """

    agent_id: str
    site: "SimulatedSite"
    shift: int
    error: float
    speed: float
    joined_days: int
    cluster: int = 0
    reviews: bool = False
    detection: float = 0.95
    state: str = "offline"
    wanted: str = "offline"
    busy: bool = False

    @property
    def current_error(self) -> float:
        """Own error probability with the newcomer's share and a run of errors."""
        newcomer = 0.04 * math.exp(-self.joined_days / 14)
        return (self.error + newcomer) * (3.0 if self.cluster else 1.0)


@dataclass(slots=True)
class SimulatedSite:
    """A partner's location with its people."""

    name: str
    vendor: str
    timezone: str
    offset_hours: float
    skill: float
    projects: tuple[Project, ...]
    agents: list[Person] = field(default_factory=list)
    reviewers: list[Person] = field(default_factory=list)

    def shift_start_ms(self, at_ms: int, shift: int) -> int:
        """Start of a shift's latest run that began at or before a time."""
        first = int((SHIFT_HOURS[shift] - self.offset_hours) * HOUR_MS)
        return first + (at_ms - first) // DAY_MS * DAY_MS


def build(random: Random, sites: int, agents_on_shift: int) -> list[SimulatedSite]:
    """Makes an operation.

    Args:
        random: Source of chance.
        sites: How many sites.
        agents_on_shift: People labeling at one time, over all sites; three times as many exist.

    Returns:
        Sites of unequal size, each with its agents and about one reviewer for 12 of them.
    """
    made = []
    weights = [1.0 + random.random() for _ in range(sites)]
    for number in range(sites):
        name, vendor, zone, offset, skill = PLACES[number % len(PLACES)]
        if number >= len(PLACES):
            name = f"{name.rsplit('-', 1)[0]}-{number + 1}"
        chosen = tuple(PROJECTS[(number + step) % len(PROJECTS)] for step in range(2 + number % 2))
        site = SimulatedSite(name, vendor, zone, offset, skill, chosen)
        people = max(round(agents_on_shift * weights[number] / sum(weights)), 2)
        for shift in range(len(SHIFT_HOURS)):
            for one in range(people):
                site.agents.append(_agent(random, site, shift, one))
            for one in range(max(people // 12, 1)):
                agent_id = f"q-{number + 1}-{shift}{one:03d}"
                detection = min(max(random.gauss(0.95, 0.02), 0.85), 0.995)
                site.reviewers.append(Person(agent_id, site, shift, 0.01, 1.0, 400, reviews=True, detection=detection))
        made.append(site)
    return made


def _agent(random: Random, site: SimulatedSite, shift: int, number: int) -> Person:
    joined = random.randrange(5, NEWCOMER_DAYS) if random.random() < 0.08 else random.randrange(60, 1500)
    error = min(max(random.gauss(0.019, 0.010) - site.skill, 0.004), 0.15)
    agent_id = f"a-{site.name.rsplit('-', 1)[-1]}-{shift}{number:04d}"
    return Person(agent_id, site, shift, error, random.lognormvariate(0.0, 0.18), joined)
