"""Background tasks that somebody holds, names, and ends."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("shoal.agent.tasks")


class Tasks:
    """A set of background tasks: held until done, their failures logged, all ended at once.

    Unlike a TaskGroup, one task's failure does not end the others: on a node one blob's trouble
    must not reach another's.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` in the background under `name`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task_failed", extra={"task": task.get_name()}, exc_info=error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def finish(self, *, timeout_s: float) -> None:
        """Let every task come to its own end; cancel what has not after `timeout_s`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while self._tasks and (left_s := until_s - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
        await self.end()

    async def end(self, *, timeout_s: float = 5.0) -> None:
        """Cancel every task and wait until all have ended, `timeout_s` at most."""
        waiting = list(self._tasks)
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)
