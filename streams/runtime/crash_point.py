"""Where a fault test wants this process to end: between the steps of a checkpoint."""

import functools
import logging
import os
import signal

log = logging.getLogger(__name__)

#: Names the point of a checkpoint at which a test wants this process to die; see `CrashPoint`.
CRASH_VARIABLE = "LABELWATCH_CRASH"


class CrashPoint:
    """Ends or stops this process inside a checkpoint, for fault tests: `<point>[:<nth>[:stop]]`.

    Points: `half` of the slots sent, `prepared` (all sent, not committed), `committed` (before anyone is told).
    """

    def __init__(self, point: str, nth: int, signal_number: int) -> None:
        self._point = point
        self._left = nth
        self._signal = signal_number

    @classmethod
    @functools.cache
    def armed(cls) -> "CrashPoint | None":
        """The point named by the environment, one for the process; None in any real worker."""
        if not (text := os.environ.get(CRASH_VARIABLE)):
            return None
        point, nth, how = [*text.split(":"), "", ""][:3]
        return cls(point, int(nth or 1), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    def at(self, point: str) -> bool:
        """Whether this is the place and the time."""
        if point != self._point:
            return False
        self._left -= 1
        return self._left == 0

    def fire(self) -> None:
        """Kills or stops the process."""
        log.warning("crash point %s fires", self._point)
        os.kill(os.getpid(), self._signal)
