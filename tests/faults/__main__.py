"""Drives faults against whole workers: `quick` (each once), `day` (10 minutes), `long` (100 rounds), or one by name.

Each round prints a line. A round that fails prints the one command that drives it again, and the run ends with code 1.
"""

import argparse
import datetime
import itertools
import math
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.policy import Policy
from streams.engine import parts
from tests.faults.checks import Verdict, judge
from tests.faults.fault import Fault
from tests.faults.faults import FAULTS
from tests.faults.harness import BROKER, CHECKPOINT_RECORDS, Invalid, Round
from tests.support.kafka import RealKafka

#: A fault that did not come as meant is driven again so many times.
ATTEMPTS = 4
DAY_SECONDS = 600
#: What takes minutes is for the long run alone.
LONG_ONLY = {"broker_away_two_minutes", "large_state"}
TABLE = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- rounds: begin -->", "<!-- rounds: end -->"


@dataclass
class Outcome:
    """One round, as driven."""

    fault: str
    seed: int
    verdict: Verdict
    pause: float
    invalid: int
    seconds: float
    measured: dict[str, float]

    @property
    def good(self) -> bool:
        """Whether the fault fired and everything held."""
        return not self.verdict.wrong


def again(fault: str, seed: int) -> str:
    """The command that drives a round again."""
    return f"python -m tests.faults --fault {fault} --seed {seed}"


class Rounds:
    """Drives rounds on one broker, one after another.

    Args:
        folder: For logs.
        keep: Whether the logs of good rounds stay, too.
    """

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        self._folder = folder
        self._keep = keep
        self._broker = RealKafka(folder / "broker", properties=BROKER).start()
        self._number = 0

    def drive(self, fault: Fault, seed: int) -> Outcome:
        """One round, driven again while it is invalid; its logs are kept where it fails."""
        began = time.monotonic()
        for attempt in range(ATTEMPTS):
            self._number += 1
            folder = self._folder / f"{self._number}-{fault.name}"
            folder.mkdir()
            outcome = self._attempt(fault, seed, folder, attempt)
            if outcome is not None:
                outcome.invalid, outcome.seconds = attempt, time.monotonic() - began
                if outcome.good and not self._keep:
                    shutil.rmtree(folder)
                return outcome
        verdict = Verdict(wrong=[f"the fault did not fire in {ATTEMPTS} attempts"])
        return Outcome(fault.name, seed, verdict, 0.0, ATTEMPTS, time.monotonic() - began, {})

    def _attempt(self, fault: Fault, seed: int, folder: Path, attempt: int) -> Outcome | None:
        if self._broker._process is None or self._broker._process.poll() is not None:
            self._broker.kill9()
            self._broker.start()
        round = Round(self._broker, seed + attempt * 1_000_003, folder, f"r{self._number}", topic_config=fault.topics)
        people_max = parts.PEOPLE_MAX
        try:
            fault.drive(round)
            if round.sight is None:
                raise AssertionError("the fault never fired")
            round.await_end()
            pause = round.pause_seconds()
            parts.PEOPLE_MAX = round.people_max or people_max
            verdict = judge(round, Policy.parse(round.policy_text) if round.policy_text else None)
        except Invalid as error:
            say(f"invalid {fault.name} seed {seed}: {error}; once more")
            return None
        except Exception as error:
            pause, verdict = 0.0, Verdict(wrong=[f"{type(error).__name__}: {error}"])
            (folder / "traceback").write_text(traceback.format_exc())
        finally:
            parts.PEOPLE_MAX = people_max
            round.close()
        return Outcome(fault.name, seed, verdict, pause, 0, 0.0, round.measured)

    def close(self) -> None:
        """Ends the broker."""
        self._broker.stop()


def say(line: str) -> None:
    """Prints at once."""
    print(line, flush=True)  # noqa: T201 - a command's answer


def tell(outcome: Outcome, number: int) -> None:
    """One line of a round, and how to drive it again where it failed."""
    v = outcome.verdict
    say(
        f"{'ok  ' if outcome.good else 'FAIL'} {number:3} {outcome.fault:28} seed {outcome.seed:<10} "
        f"{v.records:6} records  replayed {v.replayed:5}  lost {v.lost}  doubled {v.doubled}  "
        f"letters {v.letters:5}  drift {v.drifts:2}  pause {outcome.pause:5.2f} s  took {outcome.seconds:5.1f} s"
    )
    for line in v.wrong[:12]:
        say(f"       {line[:400]}")
    if not outcome.good:
        say(f"       again: {again(outcome.fault, outcome.seed)}")


def schedule(mode: str, seed: int) -> Iterator[tuple[Fault, int]]:
    """Which faults, in which order, with which seeds."""
    rng = random.Random(seed)
    usual = [fault for fault in FAULTS.values() if fault.name not in LONG_ONLY]
    if mode == "long":
        weights = [fault for fault in FAULTS.values() for _ in range(fault.weight)]
        rng.shuffle(weights)
        yield from ((fault, rng.randrange(10**6)) for fault in weights)
        return
    while True:
        rng.shuffle(usual)
        yield from ((fault, rng.randrange(10**6)) for fault in usual)
        if mode == "quick":
            return


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes by fault, as a table in Markdown."""
    by_fault: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_fault.setdefault(outcome.fault, []).append(outcome)
    lines = [
        "| fault | rounds | fired | replayed | lost | doubled | pause |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    everything = [o for several in by_fault.values() for o in several]
    rows = [(FAULTS[name].about, by_fault[name]) for name in FAULTS if name in by_fault]
    for about, several in [*rows, ("**all**", everything)]:
        replayed = sorted(o.verdict.replayed for o in several)
        pauses = sorted(o.pause for o in several)
        lines.append(
            f"| {about} | {len(several)} | {sum(o.good or bool(o.verdict.records) for o in several)} "
            f"| {replayed[len(replayed) // 2]} to {replayed[-1]} | {sum(o.verdict.lost for o in several)} "
            f"| {sum(o.verdict.doubled for o in several)} | {pauses[len(pauses) // 2]:.1f} to {pauses[-1]:.1f} s |"
        )
    return "\n".join(lines)


def measured(outcomes: list[Outcome]) -> list[str]:
    """What rounds have measured beside, the worst of each, in words."""
    worst: dict[str, float] = {}
    for outcome in outcomes:
        for name, value in outcome.measured.items():
            worst[name] = max(worst.get(name, 0.0), value)
    lines = []
    if "in flight" in worst:
        lines.append(
            f"After kill -9, at most, of a partition: {worst['since the last cut']:.0f} records since the last "
            f"checkpoint was cut (an interval is {CHECKPOINT_RECORDS} records or 0.2 s here), {worst['in flight']:.0f} "
            "in a checkpoint that was on its way."
        )
    back, reading = "100,000 people back in seconds", "of which reading a partition's state"
    if back in worst:
        lines.append(
            f"100,000 people: figures back {worst[back]:.1f} s after the process was started, the state of a partition "
            f"read in {worst[reading]:.1f} s."
        )
    return lines


def write_table(outcomes: list[Outcome], seed: int, took_seconds: float) -> None:
    """Puts the table into the page."""
    text = TABLE.read_text("utf-8")
    before, after = text.split(_BEGIN)[0], text.split(_END)[1]
    said = (
        f"{len(outcomes)} rounds, seed {seed}, {sum(o.verdict.records for o in outcomes):,} records, "
        f"{sum(o.verdict.letters for o in outcomes):,} dead letters and "
        f"{sum(o.verdict.drifts for o in outcomes):,} drift records compared; {took_seconds / 60:.0f} minutes.\n\n"
    )
    beside = "\n".join(["", *(f"- {line}" for line in measured(outcomes)), ""])
    TABLE.write_text(f"{before}{_BEGIN}\n{said}{table(outcomes)}\n{beside}\n{_END}{after}", "utf-8")


def drive_all(wanted: Iterable[tuple[Fault, int]], until: float, *, keep: bool) -> list[Outcome]:
    """Drives rounds one after another on a broker of their own, and tells each.

    Args:
        wanted: Faults and seeds.
        until: No round begins later, monotonic seconds.
        keep: Whether the logs of good rounds stay.
    """
    folder = Path(tempfile.mkdtemp(prefix="labelwatch-faults-"))
    outcomes: list[Outcome] = []
    rounds = Rounds(folder, keep=keep)
    try:
        for fault, seed in wanted:
            if time.monotonic() > until:
                break
            outcomes.append(rounds.drive(fault, seed))
            tell(outcomes[-1], len(outcomes))
    finally:
        rounds.close()
        if keep or not all(outcome.good for outcome in outcomes):
            say(f"logs: {folder}")
        else:
            shutil.rmtree(folder)
    return outcomes


def drive_lanes(lanes: int, arguments: Sequence[str]) -> list[Outcome]:
    """The same in several processes side by side, each with its own broker and its share of the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"lane-{lane}" for lane in range(lanes)]
        command = [sys.executable, "-m", "tests.faults", *arguments]
        running = [
            subprocess.Popen([*command, "--lane", f"{lane}/{lanes}", "--outcomes", str(file)])
            for lane, file in enumerate(files)
        ]
        for process in running:
            process.wait()
        return [outcome for file in files for outcome in pickle.loads(file.read_bytes())]


def report(outcomes: list[Outcome], seed: int, took_seconds: float) -> int:
    """Tells the table and how to drive again what failed; the exit code."""
    say(f"\n{table(outcomes)}\n\n{len(outcomes)} rounds of seed {seed} in {took_seconds / 60:.1f} minutes")
    for line in measured(outcomes):
        say(line)
    failed = [outcome for outcome in outcomes if not outcome.good]
    for outcome in failed:
        say(f"failed: {again(outcome.fault, outcome.seed)}")
    return 1 if failed else 0


def main() -> int:
    """Reads the arguments and drives the rounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=("quick", "day", "long"), default="quick")
    parser.add_argument("--fault", choices=tuple(FAULTS), action="append", help="these faults alone")
    parser.add_argument("--seed", type=int, help="of the run, or of the one round; by default the date")
    parser.add_argument("--times", type=int, default=1, help="so many rounds of each of these faults")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    parser.add_argument("--keep", action="store_true", help="keep the logs of good rounds, too")
    parser.add_argument("--lanes", type=int, default=2, help="so many rounds side by side")
    parser.add_argument("--lane", help=argparse.SUPPRESS)
    parser.add_argument("--outcomes", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    today = int(datetime.datetime.now(datetime.UTC).strftime("%Y%m%d"))
    seed = arguments.seed if arguments.seed is not None else today
    began = time.monotonic()
    if not arguments.fault and not arguments.lane:
        passed = [arguments.mode, "--seed", str(seed), *(["--keep"] if arguments.keep else [])]
        outcomes = drive_lanes(arguments.lanes, passed)
    else:
        wanted: Iterable[tuple[Fault, int]] = schedule(arguments.mode, seed)
        if arguments.fault:
            wanted = [(FAULTS[name], seed + number) for number in range(arguments.times) for name in arguments.fault]
        if arguments.lane:
            lane, lanes = map(int, arguments.lane.split("/"))
            wanted = itertools.islice(wanted, lane, None, lanes)
        until = began + DAY_SECONDS if arguments.mode == "day" and not arguments.fault else math.inf
        outcomes = drive_all(wanted, until, keep=arguments.keep)
        if arguments.outcomes:
            arguments.outcomes.write_bytes(pickle.dumps(outcomes))
            return 0
    took = time.monotonic() - began
    if arguments.write:
        write_table(outcomes, seed, took)
    return report(outcomes, seed, took)


if __name__ == "__main__":
    sys.exit(main())
