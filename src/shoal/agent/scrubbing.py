"""The store's scrub as a part of the agent: one round after the start, then one every so often."""

import asyncio
import logging

from shoal.adapters.store.scrub import Scrubber, ScrubStopped

_log = logging.getLogger("shoal.agent")


async def scrub_regularly(scrubber: Scrubber, *, first_after_s: float, interval_s: float) -> None:
    """Scrub until cancelled.

    Args:
        scrubber: does it, in a thread.
        first_after_s: seconds until the first round: a node that starts has other things to do.
        interval_s: seconds from the end of a round to the next.
    """
    wait_s = first_after_s
    try:
        while True:
            await asyncio.sleep(wait_s)
            wait_s = interval_s
            found = await asyncio.to_thread(scrubber.round)
            _log.info(
                "store_scrubbed",
                extra={
                    "blobs": found.blobs,
                    "read_bytes": found.read_bytes,
                    "dropped": found.dropped,
                },
            )
    except ScrubStopped:
        return
    finally:
        scrubber.stop()
