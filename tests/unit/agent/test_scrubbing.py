"""The store's scrub within the agent: regular, logged, and ended with it."""

import asyncio
import threading
from collections.abc import Callable, Iterable

import pytest

from shoal.adapters.store.scrub import Scrubber
from shoal.agent.scrubbing import scrub_regularly
from shoal.core.digest import Digest

DIGEST = Digest.parse("sha256:" + "0" * 64)


class OneBlob:
    """A store of one blob; tells when it is looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked_twice = threading.Event()

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return what there is."""
        return [(DIGEST, 1)]

    def verify(self, digest: Digest, *, pace: Callable[[int], None]) -> bool:
        """Read it, as far as the pace lets one."""
        self.looks += 1
        if self.looks == 2:
            self.looked_twice.set()
        pace(1)
        return True


async def test_rounds_come_again_and_each_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = OneBlob()
    scrub = Scrubber(store, rate_bytes_per_s=1000, is_busy=lambda: False)
    with caplog.at_level("INFO"):
        task = asyncio.ensure_future(scrub_regularly(scrub, first_after_s=0, interval_s=0))
        assert await asyncio.to_thread(store.looked_twice.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "store_scrubbed" in caplog.messages


async def test_the_end_of_the_agent_ends_a_round_that_waits() -> None:
    started = threading.Event()

    def busy() -> bool:
        started.set()
        return True

    scrub = Scrubber(OneBlob(), rate_bytes_per_s=1, is_busy=busy)
    task = asyncio.ensure_future(scrub_regularly(scrub, first_after_s=0, interval_s=0))
    assert await asyncio.to_thread(started.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The thread has ended by itself: otherwise the loop's executor could not be shut down.
    await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 30)
