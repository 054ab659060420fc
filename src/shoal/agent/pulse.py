"""Proves twice a second that the event loop turns, and measures how late it is."""

import asyncio
from collections.abc import Callable

from shoal.agent.supervisor import BEAT_INTERVAL_S


async def pulse(
    *,
    heartbeat: Callable[[], None] | None,
    lag: Callable[[float], object],
    interval_s: float = BEAT_INTERVAL_S,
) -> None:
    """Beat until cancelled.

    Args:
        heartbeat: tells the supervisor, or None where there is none.
        lag: told how late the loop came to each beat, in seconds.
        interval_s: time between two beats.
    """
    loop = asyncio.get_running_loop()
    while True:
        if heartbeat is not None:
            heartbeat()
        due_s = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        lag(max(0.0, loop.time() - due_s))
