"""Lets a fault test end this process between the steps of a checkpoint."""

import functools
import logging
import os
import signal

log = logging.getLogger(__name__)

#: The environment variable with which a test names the step; see `CrashPoint`.
CRASH_VARIABLE = "LABELWATCH_CRASH"


class CrashPoint:
    """Kills or stops this process inside a checkpoint, for fault tests: `<point>[:<nth>[:stop]]`.

    Points: `half` (half of the slots are sent), `prepared` (all is sent, nothing committed), `committed` (it is
    committed, but the engine does not know yet).
    """

    def __init__(self, point: str, nth: int, signal_number: int) -> None:
        self._point = point
        self._left = nth
        self._signal = signal_number

    @classmethod
    @functools.cache
    def armed(cls) -> "CrashPoint | None":
        """The point that the environment names, one for the whole process; None in any real worker."""
        if not (text := os.environ.get(CRASH_VARIABLE)):
            return None
        point, nth, how = [*text.split(":"), "", ""][:3]
        return cls(point, int(nth or 1), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    def at(self, point: str) -> bool:
        """Whether the process must die here: it is at the named point for the nth time."""
        if point != self._point:
            return False
        self._left -= 1
        return self._left == 0

    def fire(self) -> None:
        """Kills or stops the process."""
        log.warning("crash point %s fires", self._point)
        os.kill(os.getpid(), self._signal)
