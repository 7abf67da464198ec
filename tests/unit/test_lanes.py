"""The check's control flow, with stand-ins for its steps: side by side, nothing lost, and no failure overlooked."""

import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".ci" / "lanes.py"
_spec = importlib.util.spec_from_file_location("lanes", FILE)
assert _spec is not None
assert _spec.loader is not None
lanes: Any = importlib.util.module_from_spec(_spec)
sys.modules["lanes"] = lanes
_spec.loader.exec_module(lanes)


def step(name: str, shell: str, *, is_report: bool = False) -> Any:
    return lanes.Step(name, ("bash", "-c", shell), is_report)


def run(tmp_path: Path, *together: Any, alone: Any = (), step_seconds: float = 60) -> tuple[int, str]:
    """Runs lanes of steps; the exit code and all that was said."""
    out = io.StringIO()
    code = lanes.check(
        [lanes.Lane(0, steps) for steps in together],
        [lanes.Lane(0, steps) for steps in alone],
        tmp_path / "logs",
        out,
        step_seconds,
    )
    return code, out.getvalue()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, also where nobody has taken it away yet; waits a while for that."""
    for _ in range(200):
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_lanes_run_beside_each_other_and_steps_of_one_after_another(tmp_path: Path) -> None:
    flag, order = tmp_path / "flag", tmp_path / "order"
    # Each lane waits for the other: alone neither would end.
    meets = "until [ -e {} ]; do sleep 0.05; done"
    first = [
        step("a1", f"touch {flag}.a; {meets.format(f'{flag}.b')}; echo a1 >> {order}"),
        step("a2", f"echo a2 >> {order}"),
    ]
    second = [step("b1", f"touch {flag}.b; {meets.format(f'{flag}.a')}; echo b1")]
    code, said = run(tmp_path, first, second, alone=[[step("last", f"echo last >> {order}")]])
    assert code == 0
    assert order.read_text().split() == ["a1", "a2", "last"]
    said_by_b, took = (tmp_path / "logs" / "b1.log").read_text().splitlines()
    assert said_by_b == "b1"
    assert took.startswith("took ")
    assert re.search(r"===== 4 passed in [\d.]+s \(0:00:\d\d\); executed: .*, last =====$", said.strip())


def test_one_failure_fails_the_run_hides_nothing_and_stops_nobody(tmp_path: Path) -> None:
    broken = step("broken", "echo 'what went wrong' >&2; exit 3")
    code, said = run(tmp_path, [broken, step("after", "echo went on")], [step("other", "echo fine")])
    assert code == 1
    assert "went on" in said
    # Once when it ended, once more at the end, where a person looks.
    assert said.count("what went wrong") == 2
    assert re.search(r"^broken +FAILED \(3\) +\d+ s", said, re.M)
    last = said.strip().splitlines()[-1]
    assert last.startswith("===== 1 failed, 2 passed in ")
    assert "; failed: broken; executed: " in last
    assert set(last.removesuffix(" =====").rpartition("executed: ")[2].split(", ")) == {"broken", "after", "other"}


@pytest.mark.parametrize("shell", ["kill -9 $$", "exec /no/such/program"])
def test_a_step_that_is_killed_or_cannot_be_run_has_failed(shell: str, tmp_path: Path) -> None:
    assert run(tmp_path, [step("gone", shell)])[0] == 1


def test_a_report_warns_and_fails_nothing(tmp_path: Path) -> None:
    code, said = run(tmp_path, [step("fine", "true")], alone=[[step("bench", "echo slower; exit 1", is_report=True)]])
    assert code == 0
    assert re.search(r"^bench +warning ", said, re.M)
    assert said.count("slower") == 2


def test_an_interpreter_that_is_missing_is_said_at_the_end_and_fails_nothing(tmp_path: Path) -> None:
    code, said = run(tmp_path, [step("python3.99", "echo 'no such interpreter here'; exit 77"), step("test", "true")])
    assert code == 0
    last = said.strip().splitlines()[-1]
    assert last.endswith("; NOT TESTED: python3.99; executed: test =====")


def test_what_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    child = tmp_path / "child"
    code, said = run(tmp_path, [step("hangs", f"sleep 600 & echo $! > {child}; wait")], step_seconds=1)
    assert code == 1
    assert time.monotonic() - began < 60
    assert "it hangs" in said
    assert is_gone(int(child.read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_and_the_run_has_failed(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        f"import importlib.util, pathlib, sys\n"
        f"spec = importlib.util.spec_from_file_location('lanes', {str(FILE)!r})\n"
        "lanes = importlib.util.module_from_spec(spec); sys.modules['lanes'] = lanes; spec.loader.exec_module(lanes)\n"
        f"steps = [lanes.Step('long', ('bash', '-c', 'echo $$ > {tmp_path}/pid; sleep 600'))]\n"
        f"sys.exit(lanes.check([lanes.Lane(0, steps)], [], pathlib.Path({str(tmp_path / 'logs')!r}), sys.stdout))\n"
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    try:
        pid = tmp_path / "pid"
        while not (pid.exists() and pid.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "ended what ran" in said
    assert is_gone(int(pid.read_text()))


@pytest.mark.parametrize(
    ("log", "counts"),
    [
        ("===== 12 passed, 1 xfailed in 3.21s =====", {"passed": 12, "xfailed": 1}),
        (
            "==== 1 failed, 12 passed, 2 warnings, 3 errors in 301.2s (0:05:01) ====\n",
            {"failed": 1, "passed": 12, "errors": 3},
        ),
        ("..... [100%]\n5 passed in 0.10s\n", {"passed": 5}),
        ("=== 5 passed in 1.0s ===\nthen\n=== 6 passed, 1 error in 2.0s ===", {"passed": 11, "errors": 1}),
        ("7 rounds, 0 lost\n", {}),
        ("===== 3 tests collected in 1.0s =====", {}),
    ],
)
def test_pytests_last_lines_are_added_up(log: str, counts: dict[str, int]) -> None:
    assert lanes.counted(log) == counts


def test_the_last_line_counts_over_all_steps(tmp_path: Path) -> None:
    _, said = run(
        tmp_path,
        [
            step("one", "echo '===== 10 passed in 1.00s ====='"),
            step("two", "echo '2 failed, 3 passed in 1.00s'; exit 1"),
        ],
    )
    assert said.strip().splitlines()[-1].startswith("===== 2 failed, 13 passed in ")


def test_the_check_is_whole() -> None:
    steps = [each for lane in (*lanes.TOGETHER, *lanes.ALONE) for each in lane.steps]
    names = {each.name for each in steps}
    assert names >= {
        "test",
        "test-slow",
        "lint",
        "test-kafka",
        "faults-quick",
        "test-stack-whole",
        "test-stack-parts",
        "test-rules",
    }
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for each in steps:
        if "make" in each.command:
            assert re.search(rf"^{each.command[-1]}: ", makefile, re.M), each
        else:
            assert os.access(ROOT / each.command[0], os.X_OK), each
    # The one measures and the others may not fail.
    assert [each.name for each in steps if each.is_report] == ["bench-quick"]


def test_every_version_that_is_promised_is_tested_and_the_image_runs_one_of_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = {found[1] for each in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", each))}
    beside = {each.command[1] for lane in lanes.TOGETHER for each in lane.steps if each.name.startswith("python")}
    # The first one is the oldest that is allowed, with which .venv is made.
    assert project["requires-python"] == ">=3.11"
    assert promised == {"3.11"} | beside
    image = re.search(r"^PYTHON_IMAGE=python:(3\.\d+)", (ROOT / ".env").read_text("utf-8"), re.M)
    assert image is not None
    assert image[1] in promised


def test_an_interpreter_that_is_missing_is_told_by_its_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / ".ci" / "python", "3.99"],
        env={**os.environ, "PYENV_ROOT": str(tmp_path), "CI": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == lanes.NOT_TESTED
    assert "Python 3.99 is NOT TESTED" in done.stdout
