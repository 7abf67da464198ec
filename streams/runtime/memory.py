"""Freed memory: freed soon, kept for what comes next, given back when there is too much of it; and the limit of all."""

import contextlib
import ctypes
import os
from pathlib import Path

from aiokafka.consumer.fetcher import PartitionRecords

#: Growth since the last time that is worth looking for what can go back.
_GROWN_BYTES = 32 << 20
#: Version 1 of control groups writes a number near 2**63 for none.
_NO_LIMIT_BYTES = 1 << 60
#: glibc's options: arenas, memory that is kept at their end, and from what size on a block is a mapping of its own.
_OPTIONS = ((-8, 1), (-1, 64 << 20), (-3, 32 << 20))


def keep_freed() -> None:
    """Has glibc's allocator keep what a batch frees for the next one, in one arena for all threads.

    It gives large blocks back to the kernel with each batch and answer, and the next one has every page filled with
    zeros again, under the interpreter's lock. To be called before there are threads. Another allocator, and one that
    the environment tunes, is left alone.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _OPTIONS:
            mallopt(option, value)


class FreedMemory:
    """What glibc's allocator keeps: all that lies below something still in use. With another one nothing is ever due.

    Reading back and catching up leave some 300 MB with 100,000 people: slots, fetched bytes, what was rendered.
    """

    def __init__(self) -> None:
        self._trim = None
        with contextlib.suppress(AttributeError, OSError, TypeError):
            self._trim = ctypes.CDLL(None).malloc_trim
        self._least = _resident_bytes()

    @property
    def is_due(self) -> bool:
        """Whether the process has grown since it was last as small as it gets."""
        resident = _resident_bytes()
        self._least = min(self._least, resident)
        return self._trim is not None and resident - self._least >= _GROWN_BYTES

    def give_back(self) -> None:
        """Gives it back. Takes up to a tenth of a second, without the interpreter's lock: for a thread."""
        if self._trim is not None:
            self._trim(0)
            self._least = _resident_bytes()


def break_circle(parsed: PartitionRecords) -> None:
    """Lets a broker's answer, megabytes of it, go with the last record: no more are taken out one by one.

    aiokafka's view of it and the generator of its records hold each other until the garbage collector comes, and
    that comes by the number of objects: seldom, where events are none to it.
    """
    parsed._records_iterator = None


def limit_bytes(root: Path = Path("/")) -> int | None:
    """The least memory limit of this process's control groups, v2 or v1; None: it has none, or this is no Linux.

    Args:
        root: Where /proc and /sys are.
    """
    limits = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top = root / "sys/fs/cgroup" / controllers
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            group = top / path.lstrip("/")
            # A container sees its own group at the top, under a path that may not be there.
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # "max": no limit
                    limits.append(int((folder / name).read_text()))
                if folder == top:
                    break
    return min((limit for limit in limits if limit < _NO_LIMIT_BYTES), default=None)


def _resident_bytes() -> int:
    """Resident memory of this process; 0 where the machine has no /proc."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
