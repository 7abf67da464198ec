"""Freed memory: freed soon, and given back to the machine."""

import contextlib
import ctypes
import os
from pathlib import Path

from aiokafka.consumer.fetcher import PartitionRecords

#: Growth since the last time that is worth looking for what can go back.
_GROWN_BYTES = 32 << 20


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


def _resident_bytes() -> int:
    """Resident memory of this process; 0 where the machine has no /proc."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
