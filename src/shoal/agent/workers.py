"""Who hashes and writes: threads, or the event loop itself where a thread would cost more.

A thread that hashes and writes 256 KiB takes and gives back the interpreter's lock five times, and
each time both threads go through the kernel: measured, some 30 futex calls a piece, more processor
time than the hashing (docs/design/0004-where-pieces-are-hashed.md). So short work is done at once,
on the loop, as long as the disk is quick; as soon as a write makes the loop wait, threads do it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

# Writing into the page cache takes 0.3 ms a MiB; a disk that throttles its writers makes them sleep
# for up to 200 ms at a time (Linux balance_dirty_pages). In between lies a busy processor.
SLOW_S = 0.1
SLOW_FOR_S = 10.0  # how long threads then do the work

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
        self._slow_until_s = 0.0
        self._threads = [
            Thread(target=self._work, name=f"shoal worker {n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[..., Any], *arguments: object, told: Told) -> None:
        """Have a thread do `work`; `told` hears of its end on the event loop."""
        self._jobs.put((work, arguments, told))

    def do(self, work: Callable[..., Any], *arguments: object, told: Told) -> None:
        """Do short `work` at once if the disk is quick, else have a thread do it.

        `told` may be called before this returns.
        """
        began_s = self._loop.time()
        if began_s < self._slow_until_s:
            self.submit(work, *arguments, told=told)
            return
        try:
            result, error = work(*arguments), None
        except Exception as raised:
            result, error = None, raised
        if self._loop.time() - began_s > SLOW_S:
            self._slow_until_s = self._loop.time() + SLOW_FOR_S
        told(result, error)

    async def run(
        self,
        work: Callable[..., Any],
        *arguments: object,
        unwanted: Callable[[Any], None] | None = None,
    ) -> Any:  # noqa: ANN401
        """Have a thread do `work`; return what it returns, raise what it raises.

        If whoever waits is cancelled, `unwanted` gets what `work` returns: to close it, say.
        """
        future: asyncio.Future[Any] = self._loop.create_future()

        def told(result: object, error: BaseException | None) -> None:
            if future.done():
                if error is None and unwanted is not None:
                    unwanted(result)
            elif error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(work, *arguments, told=told)
        try:
            return await future
        except asyncio.CancelledError:
            # Told already, but not yet heard?
            is_late = future.done() and not future.cancelled() and future.exception() is None
            if is_late and unwanted is not None:
                unwanted(future.result())
            raise

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
        try:
            while self._ended:
                told, result, error = self._ended.popleft()
                told(result, error)
        finally:
            if self._ended:  # one of them raised, which the loop reports: the others hear as well
                self._loop.call_soon(self._tell)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Let the threads finish the jobs they have, and wait for them."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
