"""Runs the steps of the check: beside each other, what waits before what works; each with a log of its own.

    .ci/lanes.py            the whole check (.ci/run prepares for it)
    .ci/lanes.py --list     what that is

A step's log is printed whole when the step ends, and its end once more at the very end if it failed. A step that fails
lets the others go on and the run fail. The last line counts as pytest's does, and says what was executed.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TextIO

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".ci" / "logs"
#: A step's exit code that says: this machine lacks what it needs, and nothing was tested.
NOT_TESTED = 77
#: No step takes so long: what hangs must not hold the check for ever.
STEP_SECONDS = 4_500.0
_LAST_LINES = 80
#: The last line of a log says what its step took of the processors: what waits may run beside more.
_TIMED = 'TIMEFORMAT="took %R s, %U s of a processor and %S s of the system"; time "$@"'
_SUMMARY = re.compile(
    r"^=+ (.*\b(?:passed|failed|errors?)\b.*) in [\d.]+s.*=+$|^((?:\d+ \w+, )*\d+ \w+) in [\d.]+s", re.M
)
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|xfailed|xpassed|skipped)")


class Step(NamedTuple):
    """One command and its name; a report is shown and never fails the check."""

    name: str
    command: Sequence[str]
    is_report: bool = False


class Lane(NamedTuple):
    """Steps one after another; the nicer, the more it leaves to the others."""

    nice: int
    steps: Sequence[Step]


@dataclass(slots=True)
class Ended:
    """How a step ended."""

    step: Step
    code: int
    seconds: float
    log: str

    @property
    def failed(self) -> bool:
        """Whether the check fails for it."""
        return self.code not in (0, NOT_TESTED) and not self.step.is_report

    @property
    def word(self) -> str:
        """For the table."""
        if self.code == 0:
            return "ok"
        if self.code == NOT_TESTED:
            return "NOT TESTED"
        return "warning" if self.step.is_report else f"FAILED ({self.code})"


def _make(target: str, *, nicer: int = 0, is_report: bool = False) -> Step:
    nice = ("nice", "-n", str(nicer)) if nicer else ()
    return Step(target, (*nice, "make", "--no-print-directory", target), is_report)


def _python(version: str) -> Step:
    return Step(f"python{version}", (".ci/python", version))


#: Beside each other. The first three wait most of their time, at intervals that are shipped, and the longer they take,
#: the more they ask while they wait: they come first where they want to work, the one that is longest by the clock
#: before the rounds of faults. The others never wait, and take what is left of the processors until the end. What
#: follows the stack is as nice as those: alone at the end it left a processor idle.
TOGETHER = (
    Lane(0, [_make("test-stack-whole"), *(_make(target, nicer=6) for target in ("lint", "test-rules", "test-slow"))]),
    Lane(2, [_make("test-stack-parts"), _make("faults-quick")]),
    Lane(0, [_make("test-kafka")]),
    Lane(6, [_make("test")]),
    Lane(8, [_python("3.12"), _python("3.13")]),
)
#: Afterwards: measures, so alone.
ALONE = (Lane(0, [_make("bench-quick", is_report=True)]),)


class Runner:
    """Runs lanes and gathers how their steps ended.

    Args:
        logs: Folder of the logs.
        out: Where to say what goes on.
        step_seconds: After so long a step is ended and has failed.
    """

    def __init__(self, logs: Path, out: TextIO, step_seconds: float = STEP_SECONDS) -> None:
        self._logs, self._out, self._step_seconds = logs, out, step_seconds
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._began = time.monotonic()
        self.ended: list[Ended] = []
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, lanes: Iterable[Lane]) -> None:
        """Runs lanes side by side to their end."""
        threads = [threading.Thread(target=self._lane, args=(lane,), daemon=True) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # a join without an end would keep signals away
                thread.join(0.5)

    def _lane(self, lane: Lane) -> None:
        for step in lane.steps:
            if self._stopped:
                return
            self._say(f"begins: {step.name}")
            ended = self._step(step, lane.nice)
            with self._lock:
                self.ended.append(ended)
                self._out.write(f"\n===== {step.name}: {ended.word}, {ended.seconds:.0f} s\n{ended.log.rstrip()}\n\n")
                self._out.flush()

    def _step(self, step: Step, nice: int) -> Ended:
        began = time.monotonic()
        path = self._logs / f"{step.name}.log"
        with path.open("wb") as log:
            try:
                # A group of its own, in this session: all of it can be ended, and niceness weighs within a session.
                process = subprocess.Popen(
                    ["bash", "-c", _TIMED, "bash", "nice", "-n", str(nice), *step.command],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
                with self._lock:
                    self._running.add(process)
                try:
                    code = process.wait(self._step_seconds)
                except subprocess.TimeoutExpired:
                    log.write(f"\nended after {self._step_seconds:g} s: it hangs\n".encode())
                    _end(process)
                    code = 124
                finally:
                    with self._lock:
                        self._running.discard(process)
            except OSError as error:
                log.write(f"cannot be run: {error}\n".encode())
                code = 127
        # A signal's number, as shells say it.
        code = 128 - code if code < 0 else code
        return Ended(step, code, time.monotonic() - began, path.read_text("utf-8", errors="replace"))

    def stop(self) -> None:
        """Ends what runs; no further step begins."""
        self._stopped = True
        with self._lock:
            running = list(self._running)
        for process in running:
            _end(process)

    def _say(self, text: str) -> None:
        with self._lock:
            self._out.write(f"[{time.monotonic() - self._began:5.0f} s] {text}\n")
            self._out.flush()

    def close(self) -> int:
        """Prints the ends of what failed, the table, and the last line.

        Returns:
            The exit code of the check.
        """
        for each in self.ended:
            if each.failed or (each.code and each.step.is_report):
                last = "\n".join(each.log.rstrip().splitlines()[-_LAST_LINES:])
                self._out.write(
                    f"\n----- the end of {each.step.name}, {each.word} (all: {self._log_of(each)})\n{last}\n"
                )
        self._out.write("\n")
        for each in self.ended:
            counts = ", ".join(f"{number} {what}" for what, number in counted(each.log).items())
            self._out.write(f"{each.step.name:<18} {each.word:<12} {each.seconds:6.0f} s  {counts}\n")
        failed = [each.step.name for each in self.ended if each.failed]
        self._out.write(f"{self.last_line(failed)}\n")
        self._out.flush()
        return 1 if failed or not self.ended or self._stopped else 0

    def _log_of(self, each: Ended) -> Path:
        path = self._logs / f"{each.step.name}.log"
        return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path

    def last_line(self, failed: Sequence[str]) -> str:
        """As pytest's, over all steps, and what was executed."""
        total: Counter[str] = Counter()
        for each in self.ended:
            total += counted(each.log)
        # A step without tests of pytest's counts as one; so does one whose tests passed and that failed all the same.
        for each in self.ended:
            if each.failed and not counted(each.log)["failed"] + counted(each.log)["errors"]:
                total["failed"] += 1
            elif each.code == 0 and not counted(each.log):
                total["passed"] += 1
        order = ("failed", "errors", "passed", "skipped", "xfailed", "xpassed")
        counts = ", ".join(f"{total[what]} {what}" for what in order if total[what]) or "nothing ran"
        seconds = time.monotonic() - self._began
        clock = timedelta(seconds=int(seconds))
        untested = [each.step.name for each in self.ended if each.code == NOT_TESTED]
        executed = [each.step.name for each in self.ended if each.code != NOT_TESTED]
        parts = [f"{counts} in {seconds:.2f}s ({clock})"]
        if failed:
            parts.append(f"failed: {', '.join(failed)}")
        if untested:
            parts.append(f"NOT TESTED: {', '.join(untested)}")
        parts.append(f"executed: {', '.join(executed) or 'nothing'}")
        return f"===== {'; '.join(parts)} ====="


def counted(log: str) -> Counter[str]:
    """The counts of pytest's last lines in a log."""
    total: Counter[str] = Counter()
    for found in _SUMMARY.finditer(log):
        for number, what in _COUNT.findall(found[1] or found[2] or ""):
            total["errors" if what == "error" else what] += int(number)
    return total


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a step and all that it has started in its group."""
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def check(
    together: Iterable[Lane], alone: Iterable[Lane], logs: Path, out: TextIO, step_seconds: float = STEP_SECONDS
) -> int:
    """Runs lanes beside each other, then lanes alone; the exit code."""
    runner = Runner(logs, out, step_seconds)

    def interrupted(number: int, _: object) -> None:
        runner.stop()
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        runner.run(together)
        for lane in alone:
            runner.run([lane])
    except KeyboardInterrupt as reason:
        out.write(f"\n{reason}: ended what ran\n")
        runner.close()
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return runner.close()


def main(arguments: Sequence[str], say: Callable[[str], object] = sys.stdout.write) -> int:
    """Runs the check, or lists it."""
    if "--list" in arguments:
        for lane in (*TOGETHER, *ALONE):
            say(" -> ".join(step.name for step in lane.steps) + "\n")
        return 0
    return check(TOGETHER, ALONE, LOGS, sys.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
