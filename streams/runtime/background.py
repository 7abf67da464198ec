"""Tasks that run beside the flow of records, such as writing a checkpoint; a failed one ends the worker."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Tasks that nobody awaits.

    Args:
        fail: Ends the worker: exit code and a sentence.
    """

    def __init__(self, fail: Callable[[int, str], None]) -> None:
        self._fail = fail
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Starts a task, and keeps it: asyncio does not, so that the garbage collector could take it while it runs."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self.report)
        return task

    def report(self, task: "asyncio.Task[Any]") -> None:
        """Called when a task has ended. If it has failed, which is a defect, the worker ends."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the worker failed", exc_info=error)
            self._fail(70, "The worker failed, which is a defect: please report it with the lines above.")

    async def wait(self, timeout_seconds: float) -> None:
        """Waits until all tasks have ended, at most for the given time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_seconds)
