"""Asks an API server again while it may yet answer: an upgrade, a restart or a crowd passes."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shoal.adapters.kube.api import KubeError

_log = logging.getLogger("shoal.kube")

Result = TypeVar("Result")

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


async def persist(
    work: Callable[[], Awaitable[Result]],
    *,
    limit_s: float,
    first_pause_s: float = _FIRST_PAUSE_S,
    jitter: Callable[[], float] = random.random,
) -> Result:
    """Return what `work` returns, tried again after errors that may pass.

    `work` must bear being repeated after it was done unseen: a create has to take a conflict for
    its own doing or ask first.

    Args:
        work: one try.
        limit_s: no try begins later than this after the first; seconds.
        first_pause_s: before the second try, twice as long before each further one; seconds.
        jitter: returns numbers in [0, 1).

    Raises:
        KubeError: the last try's, or one that does not pass.
    """
    now_s = asyncio.get_running_loop().time
    end_s = now_s() + limit_s
    pause_s = first_pause_s
    while True:
        try:
            return await work()
        except KubeError as exc:
            wait_s = max(exc.retry_after_s, pause_s * (0.5 + jitter() / 2))
            if not exc.retryable or now_s() + wait_s > end_s:
                raise
            _log.info("kubernetes_again", extra={"error": str(exc), "pause_s": round(wait_s, 1)})
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
