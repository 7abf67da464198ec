"""Freed memory: it goes back where the allocator allows, and an answer goes with its last record."""

import ctypes
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords

from streams.runtime import memory
from streams.runtime.memory import FreedMemory, break_circle, keep_freed, limit_bytes

#: Takes and frees 16 MB fifty times, as batches do, and prints how many pages the kernel filled for it.
_FAULTS = """
import resource
from streams.runtime.memory import keep_freed
if {kept}:
    keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    blocks = [bytearray(400_000) for _ in range(40)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_growth_is_due_and_giving_back_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = 100 << 20
    given: list[Any] = []
    monkeypatch.setattr(memory, "_resident_bytes", lambda: resident)
    freed = FreedMemory()
    monkeypatch.setattr(freed, "_trim", given.append)
    assert not freed.is_due
    resident += (32 << 20) - 1
    assert not freed.is_due
    resident += 1
    assert freed.is_due
    freed.give_back()  # type: ignore[unreachable]  # a property changes
    assert given == [0]
    assert not freed.is_due
    resident -= 50 << 20  # partitions went away
    assert not freed.is_due
    resident += 32 << 20
    assert freed.is_due


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = 0
    monkeypatch.setattr(memory, "_resident_bytes", lambda: resident)
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    freed = FreedMemory()
    resident = 1 << 30
    assert not freed.is_due
    freed.give_back()


# Elsewhere `keep_freed` does nothing, as the test after this one shows, and so there is nothing to count.
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc's allocator has these options")
def test_what_is_freed_serves_again_unless_the_environment_tunes_the_allocator() -> None:
    def faults(kept: bool, **tuned: str) -> int:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command = [sys.executable, "-c", _FAULTS.format(kept=kept)]
        done = subprocess.run(command, env=plain | tuned, capture_output=True, text=True, check=True)
        return int(done.stdout)

    kept = faults(kept=True)
    assert kept < 2 * 40 * 400_000 / os.sysconf("SC_PAGE_SIZE"), "once, not fifty times"
    assert faults(kept=False) > 4 * kept
    assert faults(kept=True, MALLOC_ARENA_MAX="8") > 4 * kept


def test_another_allocator_has_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    keep_freed()


def test_the_real_one_can_be_called() -> None:
    FreedMemory().give_back()


def test_an_answer_goes_without_the_garbage_collector() -> None:
    class Answer:
        """Stands in for the bytes."""

    answer = Answer()
    parsed = PartitionRecords(None, answer, [], 0, None, None, True, 0)
    gone = weakref.ref(answer)
    gc.disable()
    try:
        break_circle(parsed)
        del parsed, answer
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "1073741824\n"}, 1 << 30),
        ("0::/a/b\n", {"memory.max": "max\n", "a/memory.max": "1000\n", "a/b/memory.max": "2000\n"}, 1000),
        ("0::/docker/not-seen-from-within\n", {"memory.max": "5000\n"}, 5000),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "3000\n"}, 3000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("", {}, None),
    ],
)
def test_the_containers_limit_in_either_version_of_control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert limit_bytes(tmp_path) == limit


def test_a_machine_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert limit_bytes(tmp_path) is None
