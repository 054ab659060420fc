"""Threads for hashing and the disk, cheap enough to be used for every piece.

An executor's future costs more than hashing 256 KiB: two futures, a condition, two passes through
the loop's wake-up pipe. Here a job is a tuple, and all jobs that ended since the loop last looked
are told of in one wake-up.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

# Told on the event loop: what the work returned, or what it raised.
Told = Callable[[Any, BaseException | None], None]
_Job = tuple[Callable[..., Any], tuple[Any, ...], Told]


class Workers:
    """A fixed number of threads that take jobs in order."""

    def __init__(self, threads: int) -> None:
        """Start the threads; the running loop is the one that is told."""
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: deque[tuple[Told, Any, BaseException | None]] = deque()
        self._woken = False
        self._threads = [
            Thread(target=self._work, name=f"shoal worker {n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[..., Any], *arguments: object, told: Told) -> None:
        """Have a thread do `work`; `told` hears of its end on the event loop."""
        self._jobs.put((work, arguments, told))

    async def run(self, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        """Have a thread do `work`; return what it returns, raise what it raises."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def told(result: object, error: BaseException | None) -> None:
            if future.done():
                return  # whoever waited was cancelled
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(work, *arguments, told=told)
        return await future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, arguments, told = job
            try:
                self._ended.append((told, work(*arguments), None))
            except BaseException as error:
                self._ended.append((told, None, error))
            del job, work, arguments, told  # buffers are free now, not at the next job
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._tell)
                except RuntimeError:
                    return  # the loop is closed: nobody is left to tell

    def _tell(self) -> None:
        # Cleared first: a job that ends from here on wakes the loop again.
        self._woken = False
        while self._ended:
            told, result, error = self._ended.popleft()
            told(result, error)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Let the threads finish the jobs they have, and wait for them."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
