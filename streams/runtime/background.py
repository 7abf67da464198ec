"""Tasks that run beside the flow, such as writing a checkpoint: kept until they end, and none fails unnoticed."""

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
        """Starts a task; asyncio itself holds no task, so that one could be collected while it runs."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self.report)
        return task

    def report(self, task: "asyncio.Task[Any]") -> None:
        """Ends the worker where a task that has ended has failed: that is a defect."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the worker failed", exc_info=error)
            self._fail(70, "The worker failed, which is a defect: please report it with the lines above.")

    async def wait(self, timeout_seconds: float) -> None:
        """Waits for the tasks that run, no longer than that."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_seconds)
