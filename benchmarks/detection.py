"""Our detectors beside river's at equal run length: how soon each finds a rise; table and chart of docs/detection.md.

Run: python -m benchmarks.detection           prints the table, in some minutes
     python -m benchmarks.detection --quick   the same with few streams, in a minute
     python -m benchmarks.detection --write   writes table and chart into the document
"""

import argparse
import copy
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import chart, document, many
from benchmarks.acceptance import P0
from benchmarks.acceptance_alarms import oracle
from benchmarks.many import Bits
from detectors import MixtureShiryaevRoberts, RiverDetector, SelfStartingMixture
from detectors.protocol import Estimate

DOCUMENT, CHART = Path("docs/detection.md"), Path("docs/detection.svg")
#: Reviews to a false alarm that every detector is set to, at 6% errors.
RUN_LENGTH = 20_000
#: In-control reviews of a stream, from cold, in which false alarms are counted.
CALM = 40_000
#: Reviews of a stream before its change, and those after it within which the change must be found.
BEFORE, HORIZON = 5_000, 10_000
RATES = (0.08, 0.11, 0.16)
#: Steps of the search for a detector's parameter.
STEPS = 6
#: Within this factor of the run length wanted a detector counts as set to it.
NEAR = 1.15
#: What a stream's seed begins with: for the search, for counting false alarms, for delays.
_SEARCH, _COUNT, _DELAY = 61, 62, 63


class Watching(Protocol):
    """What is compared: a detector that goes on by itself after a signal, as river's do."""

    @property
    def drift_detected(self) -> bool:
        """Whether it signals."""

    def update_many(self, outcomes: Iterable[int]) -> int:
        """Takes outcomes until it signals, or to the end; returns how many."""

    def estimate(self) -> Estimate:
        """The rates before and since."""


class Kswin:
    """River's KSWIN with its usual windows, on outcomes: the same answers without asking where they can only be no.

    It draws 30 of the older 70 outcomes and compares them with the newest 30 after every outcome, by a
    Kolmogorov-Smirnov test. Of zeros and ones only the difference of both sums decides, and where neither part holds
    as many errors as that takes, no draw can signal.

    Args:
        alpha: As river's.
        seed: As river's.
        always: Draws wherever river does, which makes both agree draw by draw.
    """

    _OLDER, _NEWEST = 70, 30

    def __init__(self, alpha: float, seed: int, always: bool = False) -> None:
        self.drift_detected = False
        self._seed, self._always = seed, always
        self._least = least_difference(alpha)
        self._drawn = 0
        self._start()

    def _start(self) -> None:
        self._rng = random.Random(self._seed)
        self._seen: list[int] = []
        self._newest = self._older = 0

    def update(self, x: int) -> "Kswin":
        """Takes one outcome."""
        if self.drift_detected:
            self.drift_detected = False
            self._start()
        seen = self._seen
        seen.append(x)
        self._newest += x
        n = len(seen)
        if n > self._NEWEST:
            passed = seen[n - 1 - self._NEWEST]
            self._newest -= passed
            self._older += passed
        if n > self._OLDER + self._NEWEST:
            self._older -= seen[n - 1 - self._OLDER - self._NEWEST]
        if n >= self._OLDER + self._NEWEST and (self._always or max(self._newest, self._older) >= self._least):
            first = n - self._OLDER - self._NEWEST
            self._drawn = sum(seen[first + place] for place in self._rng.sample(range(self._OLDER), self._NEWEST))
            self.drift_detected = abs(self._newest - self._drawn) >= self._least
        return self

    def update_many(self, outcomes: Iterable[int]) -> int:
        """Takes outcomes until it signals, or to the end; returns how many."""
        taken = 0
        for x in outcomes:
            taken += 1
            if self.update(x).drift_detected:
                break
        return taken

    def estimate(self) -> Estimate:
        """The shares of errors among those drawn and among the newest."""
        n = self._NEWEST
        return Estimate(n, n, n, self._drawn / n, self._newest / n)


@cache
def least_difference(alpha: float) -> int:
    """Errors by which 30 outcomes must differ from 30 others for KSWIN to signal; 31 for never."""
    size = Kswin._NEWEST
    for errors in range(4, size + 1):  # river also asks for a statistic above .1
        if stats.ks_2samp([1] * errors + [0] * (size - errors), [0] * size).pvalue <= alpha:
            return errors
    return size + 1


class Fleet(Protocol):
    """Detectors of one kind, one a stream; each goes on after a signal as its authors meant it."""

    def counted(self, x: Bits) -> NDArray[np.int64]:
        """How often each signals a rise in its outcomes, shape (streams, n)."""

    def first(self, x: Bits) -> NDArray[np.int64]:
        """Outcomes of each up to its first signal of a rise; 0 where there is none."""

    def repeated(self, times: int) -> "Fleet":
        """As many copies of all, one after the other."""


class OneByOne:
    """A fleet of detectors that take a stream for themselves."""

    def __init__(self, detectors: list[Watching]) -> None:
        self._detectors = detectors

    def counted(self, x: Bits) -> NDArray[np.int64]:
        """As of `Fleet`."""
        pairs = zip(self._detectors, x, strict=True)
        return np.array([sum(1 for _ in rises(detector, row.tolist())) for detector, row in pairs])

    def first(self, x: Bits) -> NDArray[np.int64]:
        """As of `Fleet`."""
        pairs = zip(self._detectors, x, strict=True)
        return np.array([next(rises(detector, row.tolist()), 0) for detector, row in pairs])

    def repeated(self, times: int) -> "OneByOne":
        """As of `Fleet`."""
        return OneByOne([copy.deepcopy(detector) for _ in range(times) for detector in self._detectors])


@dataclass(frozen=True, slots=True)
class Contender:
    """A detector with the one parameter that sets its run length.

    Attributes:
        name: As shown.
        knows: What it compares the stream with.
        parameter: What is searched for.
        make: A fleet, from the parameter and the number of streams.
        often, seldom: Values of the parameter between which it is searched, with many false alarms and with few.
        usual: Its default; None for ours, which has to be given one.
    """

    name: str
    knows: str
    parameter: str
    make: Callable[[float, int], Fleet]
    often: float
    seldom: float
    usual: float | None = None


def _each(make: Callable[[float, int], Watching]) -> Callable[[float, int], Fleet]:
    return lambda value, streams: OneByOne([make(value, number) for number in range(streams)])


CONTENDERS = {
    each.name: each
    for each in (
        Contender("labelwatch, target", "6%", "A", _each(lambda a, _: MixtureShiryaevRoberts(P0, a)), 8_000, 32_000),
        Contender("labelwatch, own past", "its past", "A", _each(lambda a, _: SelfStartingMixture(a)), 8_000, 32_000),
        Contender("ADWIN", "its past", "delta", _each(lambda d, _: RiverDetector("ADWIN", delta=d)), 1, 0.1, 0.002),
        Contender("PageHinkley", "its past", "threshold", lambda h, n: many.ManyPageHinkley(n, h), 12, 40, 50),
        Contender(
            "PageHinkley, delta .025",
            "its past",
            "threshold",
            lambda h, n: many.ManyPageHinkley(n, h, delta=0.025),
            6,
            25,
        ),
        Contender("HDDM_A", "its past", "drift_confidence", lambda c, n: many.ManyHddmA(n, c), 0.2, 0.01, 0.001),
        Contender("HDDM_W", "its past", "drift_confidence", lambda c, n: many.ManyHddmW(n, c), 0.2, 0.01, 0.001),
        Contender("DDM", "its past", "drift_threshold", lambda k, n: many.ManyDdm(n, k), 1.5, 5, 3),
        Contender("EDDM", "its past", "beta", lambda beta, n: many.ManyEddm(n, beta), 0.95, 0.4, 0.9),
        Contender("KSWIN", "newest 100", "alpha", _each(Kswin), 0.999, 0.01, 0.005),
    )
}
OURS = tuple(CONTENDERS)[:2]
BEST, CHANCE = "best possible", "chance alone"


# --- streams and signals


def outcomes(kind: tuple[int, ...], streams: int, n: int, rate: float) -> Bits:
    """Independent outcomes, the same for every contender, shape (streams, n); 1 is an error."""
    rows = [np.random.default_rng((*kind, number)).random(n) < rate for number in range(streams)]
    return np.array(rows, np.uint8)


def rises(detector: Watching, stream: list[int]) -> Iterator[int]:
    """How many outcomes have passed at each signal of a rise; after one, a detector goes on as its authors meant it.

    ADWIN and KSWIN signal falls, too: they start again after one, but only rises count.
    """
    both_ways = isinstance(detector, Kswin) or getattr(detector, "name", "") == "ADWIN"
    taken = 0
    while taken < len(stream):
        taken += detector.update_many(stream[taken:])
        if not detector.drift_detected:
            return
        estimate = detector.estimate() if both_ways else None
        if isinstance(detector, MixtureShiryaevRoberts | SelfStartingMixture):
            detector.reset()
        if estimate is None or estimate.new_rate > estimate.old_rate:
            yield taken


def false_alarms(make: Callable[[int], Fleet], streams: int, kind: int) -> tuple[float, float]:
    """False alarms in so many reviews as the run length wanted, from cold, and the standard error."""
    counts = make(streams).counted(outcomes((kind,), streams, CALM, P0)) * (RUN_LENGTH / CALM)
    return float(counts.mean()), float(counts.std(ddof=1)) / streams**0.5


@dataclass(frozen=True, slots=True)
class Delay:
    """How soon a rise was found.

    Attributes:
        mean: Reviews from the change to the signal; the horizon where none came within it.
        error: Standard error of the mean.
        missed: Share of streams without a signal within the horizon, 0 to 1.
    """

    mean: float
    error: float
    missed: float

    @classmethod
    def of(cls, waited: NDArray[np.int64]) -> "Delay":
        """Of the reviews waited, one a stream; 0 for none within the horizon."""
        missed = waited == 0
        capped = np.where(missed, HORIZON, waited)
        return cls(float(capped.mean()), float(capped.std(ddof=1) / len(waited) ** 0.5), float(missed.mean()))


def delays(make: Callable[[int], Fleet], streams: int, rates: Sequence[float] = RATES) -> list[Delay]:
    """Delays after a change that comes when a stream has run in control, by rate since."""
    fleet = make(streams)
    fleet.counted(outcomes((_DELAY,), streams, BEFORE, P0))
    after = [outcomes((_DELAY, round(rate * 100)), streams, HORIZON, rate) for rate in rates]
    waited = fleet.repeated(len(rates)).first(np.concatenate(after))
    return [Delay.of(of_rate) for of_rate in waited.reshape(len(rates), streams)]


# --- one contender


@dataclass(frozen=True, slots=True)
class MeasuredContender:
    """A contender at the run length that it could be set to.

    Attributes:
        name: The contender's.
        parameter: As found.
        alarms: False alarms in `RUN_LENGTH` reviews and the standard error, on streams that the search has not seen.
        delays: By rate.
        usual: At its default, where it has one: false alarms, and the delay to 11%.
    """

    name: str
    parameter: float
    alarms: tuple[float, float]
    delays: list[Delay]
    usual: tuple[float, Delay] | None

    @property
    def equal(self) -> bool:
        """Whether it has the run length wanted."""
        value, error = self.alarms
        return 1 / NEAR - 2 * error <= value <= NEAR + 2 * error


def searched(contender: Contender, streams: int) -> float:
    """The parameter with one false alarm in `RUN_LENGTH` reviews: bisection of its logarithm over the same streams."""
    often, seldom = math.log(contender.often), math.log(contender.seldom)
    best, off = contender.seldom, math.inf
    for _ in range(STEPS):
        middle = (often + seldom) / 2
        value = math.exp(middle)
        alarms, _ = false_alarms(partial(contender.make, value), streams, _SEARCH)
        if abs(math.log(max(alarms, 1e-3))) < off:
            best, off = value, abs(math.log(max(alarms, 1e-3)))
        often, seldom = (middle, seldom) if alarms > 1 else (often, middle)
    return best


def measured(name: str, streams: int) -> MeasuredContender:
    """A contender's parameter, false alarms and delays over so many streams."""
    contender = CONTENDERS[name]
    value = searched(contender, streams // 4)
    make = partial(contender.make, value)
    usual = None
    if contender.usual is not None:
        as_it_comes = partial(contender.make, contender.usual)
        alarms, _ = false_alarms(as_it_comes, streams // 4, _COUNT)
        usual = alarms, delays(as_it_comes, streams // 2, (0.11,))[0]
    return MeasuredContender(name, value, false_alarms(make, streams // 2, _COUNT), delays(make, streams), usual)


def by_chance() -> Delay:
    """What a detector that saw nothing would reach with its false alarms alone."""
    missed = math.exp(-HORIZON / RUN_LENGTH)
    return Delay(RUN_LENGTH * (1 - missed), 0.0, missed)


# --- table and chart

#: Delay of the best possible test by rate: worked out once, in seconds.
_best = cache(oracle)


def table(rows: Iterable[MeasuredContender]) -> str:
    """The rows as Markdown, between the best possible test and chance."""
    heads = " | ".join(f"to {rate:.0%} | missed" for rate in RATES)
    best = " | ".join(f"{_best(rate):,.0f} | " for rate in RATES)
    lines = [
        f"| detector | compares with | set to | one false alarm in | {heads} | as it comes: one false in, to 11% |",
        "|---|---|---|---:|" + "---:|" * (2 * len(RATES)) + "---|",
        f"| {BEST}: CUSUM told the very rise | 6% | h | {RUN_LENGTH:,} | {best} | |",
    ]
    lines += map(_line, rows)
    chance = by_chance()
    cells = " | ".join(f"{chance.mean:,.0f} | {chance.missed:.1%}" for _ in RATES)
    lines.append(f"| {CHANCE}: sees nothing, but signals as often | | | {RUN_LENGTH:,} | {cells} | |")
    return "\n".join(lines)


def _line(row: MeasuredContender) -> str:
    contender = CONTENDERS[row.name]
    name = f"**{row.name}**" if row.name in OURS else row.name
    usual = f"{_one_in(row.usual[0])}, {_delay(row.usual[1])}" if row.usual else ""
    return (
        f"| {name} | {contender.knows} | {contender.parameter} {_short(row.parameter)} | "
        f"{_one_in(*row.alarms)}{'' if row.equal else ' **(not equal)**'} | "
        f"{' | '.join(f'{_delay(each)} | {each.missed:.1%}' for each in row.delays)} | {usual} |"
    )


def _delay(delay: Delay) -> str:
    if delay.missed == 1:
        return "never"
    return f"{delay.mean:,.0f} +- {delay.error:,.0f}"


def _one_in(alarms: float, error: float = 0.0) -> str:
    """Reviews to a false alarm, from false alarms in `RUN_LENGTH`."""
    if not alarms:
        return "none seen"
    spread = f" +- {_round(RUN_LENGTH / alarms * error / alarms):,}" if error else ""
    return f"{_round(RUN_LENGTH / alarms):,}{spread}"


def _round(value: float) -> int:
    """To hundreds, where there are some."""
    return round(value, -2 if value >= 1000 else -1 if value >= 100 else 0).__int__()


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def drawn(rows: Iterable[MeasuredContender]) -> str:
    """The chart: delays by detector and rate; what is no delay at equal run length is left out."""
    series = {f"to {rate:.0%}": place for place, rate in enumerate(RATES)}
    points = {BEST: {name: (_best(RATES[place]), 0.0) for name, place in series.items()}}
    for row in rows:
        if row.equal:
            points[row.name] = {
                name: (row.delays[place].mean, 2 * row.delays[place].error) for name, place in series.items()
            }
    title = f"Reviews until a rise from {P0:.0%} is found; one false alarm in {RUN_LENGTH:,}"
    return chart.dots(points, title, ours=OURS)


def main() -> None:
    """Measures every contender, as many at a time as there are cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=300, help="of a delay (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="40 streams")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help=f"write table and chart into {DOCUMENT}")
    arguments = parser.parse_args()
    streams = 40 if arguments.quick else arguments.streams
    conditions = document.conditions()
    begun = time.monotonic()
    with ProcessPoolExecutor(arguments.processes) as pool:
        futures = [pool.submit(measured, name, streams) for name in CONTENDERS]
        for future in as_completed(futures):
            print(_line(future.result()), flush=True)
    rows = sorted((future.result() for future in futures), key=lambda row: (row.name not in OURS, row.delays[1].mean))
    made = table(rows)
    took = time.monotonic() - begun
    print(f"\n{made}\n\n{took:.0f} s")
    if arguments.write:
        text = (
            f"{streams} streams a delay, seeded, {datetime.now(UTC):%Y-%m-%d}, {took:.0f} s. "
            f"River {version('river')}; {conditions}"
        )
        picture = "![Reviews until a rise is found, by detector, at equal run length](detection.svg)"
        document.write(DOCUMENT, "detectors", f"{picture}\n\n{made}\n\n{text}")
        CHART.write_text(drawn(rows), "utf-8")


if __name__ == "__main__":
    main()
