"""Memory: frees answers early, keeps freed memory for the next batch, gives back what is too much; finds the limit."""

import contextlib
import ctypes
import os
from pathlib import Path

from aiokafka.consumer.fetcher import PartitionRecords

#: Memory is given back when the process has grown by at least this much.
_GROWN_BYTES = 32 << 20
#: Version 1 of control groups shows a number near 2**63 where there is no limit.
_NO_LIMIT_BYTES = 1 << 60
#: Options of glibc and our values: number of arenas, memory that is kept free at the end of one, and the size from
#: which on a block is a mapping of its own.
_OPTIONS = ((-8, 1), (-1, 64 << 20), (-3, 32 << 20))


def keep_freed() -> None:
    """Makes glibc's allocator keep the memory that a batch frees for the next batch, in one arena for all threads.

    By default large blocks go back to the kernel after each batch and each answer, and for the next one the kernel
    fills every page with zeros again, under the interpreter's lock. Call this before threads are started. Other
    allocators, and one that is tuned by environment variables, are left alone.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _OPTIONS:
            mallopt(option, value)


class FreedMemory:
    """Gives back freed memory that glibc's allocator keeps, since it is below something still in use.

    With 100,000 people, restoring and catching up leave some 300 MB: slots, fetched bytes, rendered pages. With another
    allocator nothing is ever due.
    """

    def __init__(self) -> None:
        self._trim = None
        with contextlib.suppress(AttributeError, OSError, TypeError):
            self._trim = ctypes.CDLL(None).malloc_trim
        self._least = _resident_bytes()

    @property
    def is_due(self) -> bool:
        """Whether the process has grown enough since it was smallest."""
        resident = _resident_bytes()
        self._least = min(self._least, resident)
        return self._trim is not None and resident - self._least >= _GROWN_BYTES

    def give_back(self) -> None:
        """Gives it back. Takes up to a tenth of a second, without the interpreter's lock: call it in a thread."""
        if self._trim is not None:
            self._trim(0)
            self._least = _resident_bytes()


def break_circle(parsed: PartitionRecords) -> None:
    """Lets the megabytes of a broker's answer be freed as soon as nothing uses them; its records iterator is dropped.

    aiokafka's view of the answer and its generator of records refer to each other, so they stay until the garbage
    collector runs. It runs by the number of new objects, which is seldom, since it does not count events.
    """
    parsed._records_iterator = None


def limit_bytes(root: Path = Path("/")) -> int | None:
    """The lowest memory limit of this process's control groups, v2 or v1; None: there is none, or this is not Linux.

    Args:
        root: Folder that contains /proc and /sys.
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
            # A container sees its own group at the top of the tree, and the path of the group may not exist in it.
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
