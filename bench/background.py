"""Processes beside a benchmark's own: waiting for what they do, and ending them."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import Callable

_POLL_S = 0.02
_END_S = 30.0


async def until(holds: Callable[[], bool], *, within_s: float) -> None:
    """Return once `holds()`, which another process brings about.

    Raises:
        TimeoutError: it has not within that time.
    """
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(_POLL_S)


async def end(process: Process) -> None:
    """End a process that was started here; kill it if it does not."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        process.kill()
        await process.wait()
