"""What Prometheus makes of the workers' series while workers restart, die, come back, hand over and stand still.

Real Kafka, two workers, a real Prometheus that scrapes each second and has the shipped rules. docs/reliability.md has
the table that this test logs.
"""

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from schemas.metrics import METRICS, Kind, Origin
from schemas.policy import Policy
from tests.faults.checks import _shown, _truths, judge
from tests.faults.harness import BROKER, SESSION_SECONDS, Round, Sight, Worker, until
from tests.faults.load import Loader
from tests.stack.scraping import SCRAPE_SECONDS, Prometheus, Series, label_pairs
from tests.stack.steady import Steady
from tests.support.kafka import RealKafka, missing_tools
from tests.support.ports import free_ports

pytestmark = [pytest.mark.promtool, pytest.mark.timeout(400)]
log = logging.getLogger("counters")

SEED = 20
BACKLOG, RATE = 4_000, 400.0
#: So long every worker is scraped between two faults.
CALM_SECONDS = 3.0
WITHIN = 0.02
#: So long the run lasts at least, for a step of it to be less than that: a fast machine is through all faults in 49 s.
LEAST_SECONDS = 1.1 * SCRAPE_SECONDS / WITHIN
#: Additive counts over windows that nothing leaves in this run, and that no revision takes from: they only rise.
RISING = ("labels_window", "reviews_window", "site_labels", "site_reviews", "agent_labels")
LONG_WINDOWS = {"24h", "7d"}
#: Sums over sites that are in several partitions.
SUMS = ("project:labelwatch_labels", "company:labelwatch_labels", "company:labelwatch_headline_reviews")
#: What may be waiting to fire: causes that the traffic and the faults really have. Everything else must stay inactive.
EXPLAINED = {
    "LabelwatchAbsent",
    "LabelwatchWorkersCutOff",
    "LabelwatchRecordsRejected",
    "LabelwatchEventsLate",
    "LabelwatchSiteWithoutPolicy",
    "LabelwatchWorkerDown",
    "LabelwatchAgentsScrapeFailing",
    "LabelwatchPartitionUnowned",
    "LabelwatchWorkerNotReady",
    "LabelwatchSiteUtilizationLow",
}
#: What may fire: seven starts within minutes are a crash loop to anyone on call, a producer does send an event of
#: a type that nobody knows, and the watchdog always barks.
MAY_FIRE = {"LabelwatchWorkerRestarting", "LabelwatchEventsUnknown", "LabelwatchWatchdog"}
DURABLE = [metric for metric in METRICS.values() if metric.origin is Origin.ENGINE and metric.kind is not Kind.GAUGE]
#: Which this run does not move. No drift opens, nothing is deleted, nobody forgets a state for 12 h, people are few,
#: verdicts are not held, no correct work has an error type, every time is one that can be, and names are few.
STILL = {
    "drifts",
    "river_drifts",
    "lost_records",
    "forgotten_states",
    "unnamed_events",
    "hold_skipped",
    "remarks",
    "implausible_times",
    "over_limit_events",
    "removed_site_events",
}


@dataclass
class Run:
    """The whole story, for the assertions.

    Attributes:
        round: Topics, loader and workers.
        began, ended: Epoch seconds, whole; nothing moves at either.
        before, after: By series, what the oracle counts by then.
        faults: What came as meant, and when it began, epoch seconds.
        replayed: Records applied more than once.
        zombie_seconds: How long a worker stood still.
        partition_of: By site.
    """

    round: Round
    prometheus: Prometheus
    began: int = 0
    ended: int = 0
    before: dict[Series, float] = field(default_factory=dict)
    after: dict[Series, float] = field(default_factory=dict)
    faults: dict[str, float] = field(default_factory=dict)
    replayed: int = 0
    zombie_seconds: float = 0.0
    partition_of: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """Length of the run."""
        return self.ended - self.began


def _counted(round: Round) -> dict[Series, float]:
    """Every durable counter's series as Prometheus names it, as the oracle counts the log."""
    found: dict[Series, float] = {}
    for truth in _truths(round, Policy()):
        for name, series in truth.oracle.figures(truth.oracle.clock).items():
            if METRICS[name].kind is Kind.COUNTER:
                for labels, value in series.items():
                    found[name, label_pairs(dict(zip(METRICS[name].labels, labels, strict=True)))] = value
        for name, histograms in truth.oracle.histogram_figures().items():
            for labels, (counts, total) in histograms.items():
                named = label_pairs(dict(zip(METRICS[name].labels, labels, strict=True)))
                found[f"{name}_count", named], found[f"{name}_sum", named] = sum(counts), total
    return found


def _settle(run: Run) -> tuple[int, dict[Series, float]]:
    """Waits until pages equal the oracle and Prometheus has them; a whole second at which nothing moves, and counts."""
    r = run.round
    truths = _truths(r, Policy())
    until(lambda: not _shown(r, truths), f"the pages equal the oracle: {_shown(r, truths)[:3]}")
    shown, counted = time.time(), _counted(r)
    names = {name for name, _ in counted}
    until(
        lambda: all(
            min(run.prometheus.vector(f"min(timestamp({name}))", time.time()).values(), default=0) > shown
            for name in names
        ),
        "Prometheus has what is shown",
    )
    time.sleep(1.5 * SCRAPE_SECONDS)
    return int(time.time()), counted


def _each_has_one(r: Round) -> None:
    """Waits until the two workers have a partition each and show it."""

    def shares() -> bool:
        owned: list[set[str]] = []
        for worker in r.alive:
            figures = worker.figures()
            held = figures.get("labelwatch_partition_owned", {})
            owned.append({dict(labels)["partition"] for labels, value in held.items() if value})
            shown = {dict(labels)["partition"] for labels in figures.get("labelwatch_site_info", {})}
            if owned[-1] != shown:
                return False
        return len(owned) == 2 and owned[0] | owned[1] == {"0", "1"} and not owned[0] & owned[1]

    until(shares, "each worker shows one partition")


def _takes_over(worker: Worker, said: int) -> None:
    """Waits until a worker has both partitions and shows them, by what it has said since."""
    until(lambda: "assigned partitions=0,1" in worker.log[said:], "the other takes over")
    until(
        lambda: (
            {dict(labels)["partition"] for labels in worker.figures().get("labelwatch_site_info", {})} == {"0", "1"}
        ),
        "the other shows both partitions",
    )


class Story:
    """The faults, one after another; the two workers always come back at the addresses that they had."""

    def __init__(self, run: Run, ports: list[int]) -> None:
        self._run = run
        self._round = run.round
        self._ports = ports
        self.workers = [self._start(0), self._start(1)]

    def _start(self, place: int) -> Worker:
        return self._round.start(metrics_port=self._ports[place])

    def _begin(self) -> Sight:
        """Calm first; then the moment of the fault, with records that no checkpoint knows."""
        _each_has_one(self._round)
        time.sleep(CALM_SECONDS)
        return self._round.await_checkpoints(self._round.look().checkpoints + 5)

    def stops(self, place: int) -> None:
        """SIGTERM: the other takes over, and hands over again once this one is back."""
        at = self._begin().at
        other = self.workers[1 - place]
        said = len(other.log)
        assert self.workers[place].terminate() == 0
        _takes_over(other, said)
        time.sleep(CALM_SECONDS)
        self.workers[place] = self._start(place)
        _each_has_one(self._round)
        self._run.faults["SIGTERM, taken over, back"] = at

    def dies(self, place: int, *, away: bool) -> None:
        """Kill -9 with records applied that no checkpoint has; the other takes over meanwhile, or there is no time."""
        at = self._begin().at
        other, worker = self.workers[1 - place], self.workers[place]
        said = len(other.log)
        worker.kill()
        durable = self._round.look().durable
        assert any(worker.progress.applied(n) > at for n, at in enumerate(durable)), "something is left to replay"
        if away:
            _takes_over(other, said)
            time.sleep(CALM_SECONDS)
        self.workers[place] = self._start(place)
        _each_has_one(self._round)
        self._run.faults["kill -9, taken over, back" if away else "kill -9, back at once"] = at

    def all_die(self) -> None:
        """Kill -9 of both at once."""
        at = self._begin().at
        for worker in self.workers:
            worker.kill()
        self.workers = [self._start(0), self._start(1)]
        _each_has_one(self._round)
        self._run.faults["kill -9 of both at once"] = at

    def stands_still(self, place: int) -> None:
        """SIGSTOP past the session time-out while the other takes over, then SIGCONT."""
        at = self._begin().at
        other, zombie = self.workers[1 - place], self.workers[place]
        said, frozen = len(other.log), time.monotonic()
        zombie.freeze()
        _takes_over(other, said)
        time.sleep(CALM_SECONDS)
        assert zombie.is_frozen()
        lasted, said = time.monotonic() - frozen, len(zombie.log)
        zombie.thaw()
        until(lambda: "assigned partitions=" in zombie.log[said:], "the zombie joins again")
        _each_has_one(self._round)
        self._run.zombie_seconds = lasted
        self._run.faults["SIGSTOP past the session, SIGCONT"] = at


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    if missing := missing_tools():
        pytest.skip(f"real Kafka needs {' and '.join(missing)}: install Java 17 or newer and Maven")
    for talkative in ("kafka", "aiokafka"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    folder = tmp_path_factory.mktemp("counters")
    with contextlib.ExitStack() as ending:
        broker = RealKafka(folder / "broker", properties=BROKER).start()
        ending.callback(broker.kill9)
        r = Round(broker, SEED, folder, "counters")
        ending.callback(r.close)
        r.loader = Loader(broker.bootstrap, steady := Steady(SEED, r.partitions, BACKLOG))
        ports = free_ports(2)
        prometheus = Prometheus(folder / "prometheus", [f"127.0.0.1:{port}" for port in ports])
        ending.callback(prometheus.close)
        yield _told(Run(r, prometheus, partition_of=steady.sites), ports)


def _told(run: Run, ports: list[int]) -> Run:
    r = run.round
    story = Story(run, ports)
    r.loader.write(BACKLOG)
    _each_has_one(r)
    run.began, run.before = _settle(run)
    # What happens within the first step of a range is not in its increase: here that is nothing.
    time.sleep(2 * SCRAPE_SECONDS)
    r.loader.start(RATE)
    r.await_checkpoints(r.look().checkpoints + 5)
    r.fire()
    first = r.rng.randrange(2)
    story.stops(first)
    story.dies(1 - first, away=True)
    story.dies(first, away=False)
    story.stands_still(1 - first)
    story.all_die()
    time.sleep(max(CALM_SECONDS, run.began + LEAST_SECONDS - time.time()))
    r.await_end()
    run.ended, run.after = _settle(run)
    verdict = judge(r)
    assert not verdict.wrong
    run.replayed = verdict.replayed
    log.info("%d s, %d records, %d of them replayed", run.seconds, verdict.records, verdict.replayed)
    return run


def test_every_fault_fired(run: Run) -> None:
    assert len(run.faults) == 5
    assert run.replayed > 0
    assert run.zombie_seconds > 2 * SESSION_SECONDS
    shown = run.prometheus.samples("labelwatch_late_events_total", run.ended, run.seconds).values()
    assert len(shown) == run.round.partitions
    for samples in shown:
        owners = [samples[0][1]]
        owners += [after for (_, before, _), (_, after, _) in pairwise(samples) if before != after]
        assert len(owners) >= 3, "the partition changed hands, and came back to who had it before"
        assert len(set(owners)) == 2
    # The last scrape before a fault comes up to an interval earlier.
    starts = [at - SCRAPE_SECONDS for at in (*run.faults.values(), run.ended)]
    for name, (since, to) in zip(run.faults, pairwise(starts), strict=True):
        gaps = [b - a for samples in shown for (a, _, _), (b, _, _) in pairwise(samples) if since < a < to]
        log.info("%s: shown by nobody for up to %.1f s", name, max(gaps))


def test_no_durable_counter_ever_falls_whoever_shows_it(run: Run) -> None:
    seen = 0
    for metric in DURABLE:
        name = metric.name if metric.kind is Kind.COUNTER else f"{metric.name}_(bucket|sum|count)"
        found = run.prometheus.samples(f'{{__name__=~"{name}"}}', run.ended, run.seconds)
        for series, samples in found.items():
            values = [value for _, _, value in samples]
            assert values == sorted(values), f"{series} falls: {samples}"
        seen += len(found)
    assert seen > 500


def test_no_series_is_shown_by_two_workers_at_once(run: Run) -> None:
    """Nobody has a series in two scrapes between which somebody else has it, too."""
    for name in (
        "labelwatch_labels_window",
        "labelwatch_labels_total",
        "labelwatch_site_info",
        "labelwatch_agent_labels",
    ):
        found = run.prometheus.samples(name, run.ended, run.seconds)
        assert found
        for series, samples in found.items():
            for (first, before, _), (_, between, _), (again, after, _) in zip(
                samples, samples[1:], samples[2:], strict=False
            ):
                twice = before == after != between and again - first < 1.5 * SCRAPE_SECONDS
                assert not twice, f"{series} is shown by {before} and {between} at once: {samples}"


def test_a_partition_shows_whole_or_not_at_all(run: Run) -> None:
    """No scrape has a part of a partition's window series, and what can only rise never falls, whoever shows it."""
    scrapes: dict[tuple[str, float, str], set[Series]] = defaultdict(set)
    everything: dict[str, set[Series]] = defaultdict(set)
    for series, samples in run.prometheus.samples("labelwatch_labels_window", run.ended, run.seconds).items():
        labels = dict(series[1])
        if labels["window"] not in LONG_WINDOWS:
            continue
        partition = str(run.partition_of[labels["site"]])
        everything[partition].add(series)
        for at, instance, _ in samples:
            scrapes[instance, at, partition].add(series)
    assert len(scrapes) > run.seconds
    for (instance, at, partition), shown in scrapes.items():
        assert shown == everything[partition], f"{instance} at {at} shows {len(shown)} series of partition {partition}"
    for name in RISING:
        for series, samples in run.prometheus.samples(f"labelwatch_{name}", run.ended, run.seconds).items():
            values = [value for _, _, value in samples]
            if dict(series[1])["window"] in LONG_WINDOWS:
                assert values == sorted(values), f"{series} falls: {samples}"


def test_sums_over_sites_never_leave_a_partition_out_or_add_it_twice(run: Run) -> None:
    for name in SUMS:
        found = run.prometheus.samples(f"{name}:sum", run.ended, run.seconds)
        for series, samples in found.items():
            values = [value for _, _, value in samples]
            if dict(series[1])["window"] in LONG_WINDOWS:
                assert values == sorted(values), f"{series} falls: {samples}"
                assert len(values) > run.seconds / 2, f"{series} is hardly ever there"
    of_sites = run.prometheus.vector('sum by (window) (labelwatch_site_labels{window!="15m"})', run.ended)
    of_all = run.prometheus.vector("company:labelwatch_labels:sum", run.ended)
    assert of_all == of_sites


def _truth(run: Run) -> dict[Series, float]:
    return {series: run.after[series] - run.before.get(series, 0) for series in run.after}


def test_the_difference_of_durable_counters_is_exact(run: Run) -> None:
    truth, moved = _truth(run), set()
    assert run.before.keys() == run.after.keys(), "no series is born in the run, or rates would miss its first sample"
    for name in {name for name, _ in truth}:
        found = run.prometheus.vector(
            f"max without (instance) ({name}) - max without (instance) ({name} offset {run.seconds}s)", run.ended
        )
        wanted = {labels: value for (named, labels), value in truth.items() if named == name}
        assert found.keys() == wanted.keys()
        for labels, value in wanted.items():
            assert found[labels] == pytest.approx(value, abs=1e-6), f"{name}{dict(labels)}"
        moved |= {name} if any(wanted.values()) else set()
    names = {metric.name.removeprefix("labelwatch_").removesuffix("_total") for metric in DURABLE}
    still = {name for name in names if not any(each.startswith(f"labelwatch_{name}_") for each in moved)}
    assert still == STILL


def test_rates_of_durable_counters_are_right_through_every_fault(run: Run) -> None:
    """Asked at a scrape's step and beside it: then `increase` stretches what it has by a step at most."""
    truth = {series: value for series, value in _truth(run).items() if value}
    for beside in (0.0, 0.5):
        worst: defaultdict[str, float] = defaultdict(float)
        for name in {name for name, _ in truth}:
            for function, scale in (("increase", 1), ("rate", run.seconds)):
                query = f"{function}(max without (instance) ({name})[{run.seconds}s:{SCRAPE_SECONDS}s])"
                found = run.prometheus.vector(query, run.ended + beside)
                for labels in [labels for named, labels in truth if named == name]:
                    wanted, got = truth[name, labels], found[labels] * scale
                    worst[function] = max(worst[function], abs(got - wanted) / wanted)
                    assert worst[function] <= WITHIN, f"{query} of {dict(labels)}: {got}, and {wanted} happened"
        log.info("of whoever owns it, %.1f s beside a step: wrong by up to %s", beside, dict(worst))
    _of_each_instance_apart(run, truth)


def _of_each_instance_apart(run: Run, truth: dict[Series, float]) -> None:
    """What `sum without (instance) (increase())` makes of it follows from the samples, to its extrapolation."""
    for name in ("labelwatch_labels_total", "labelwatch_events_total"):
        samples = run.prometheus.samples(name, run.ended, run.seconds)
        expected = lost = twice = 0.0
        for shown in samples.values():
            newest: dict[str, float] = {}
            highest, holder = shown[0][2], shown[0][1]
            for _, instance, value in shown:
                if instance != holder and instance in newest:
                    # What others counted since this one showed it last: its own series jumps over that, too.
                    twice += highest - newest[instance]
                lost += (value - highest) if instance != holder else 0
                expected += value - newest[instance] if instance in newest else 0
                newest[instance], highest, holder = value, value, instance
        happened = sum(value for (named, _), value in truth.items() if named == name)
        query = f"sum(sum without (instance) (increase({name}[{run.seconds}s])))"
        (got,) = run.prometheus.vector(query, run.ended).values()
        log.info(
            "%s: %.0f happened; of each instance apart %.0f (%+.1f%%): between owners %.0f, counted twice %.0f",
            name, happened, got, 100 * (got / happened - 1), lost, twice,
        )  # fmt: skip
        # An owner's series is stretched by half an interval at either end, at most by all of what is left to it.
        assert 0.999 * expected <= got <= 1.1 * expected


def test_no_alert_fires_and_none_waits_without_a_cause(run: Run) -> None:
    groups = run.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert not [(rule["name"], rule["lastError"]) for rule in rules if rule.get("lastError")]
    alerts = {rule["name"] for rule in rules if rule["type"] == "alerting"}
    assert len(alerts) > 20
    ever = run.prometheus.vector(f"max_over_time(ALERTS[{run.seconds}s])", run.ended)
    seen = {(dict(labels)["alertstate"], dict(labels)["alertname"]) for labels in ever}
    log.info("alerts: %s", sorted(seen))
    assert {name for state, name in seen if state == "firing"} <= MAY_FIRE
    assert {name for state, name in seen if state == "pending"} <= EXPLAINED
