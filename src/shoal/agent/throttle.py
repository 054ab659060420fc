"""A rate on the event loop: bytes ask, and are told when it is their turn."""

import asyncio
from collections.abc import Callable, Hashable

from shoal.core.limits.shaper import MOST_STRETCH_BYTES, Shaper

# A timer is not set for less: several tickets then go at once.
_LEAST_WAIT_S = 0.002

Told = Callable[[], None]


class Throttle:
    """One rate, or none. While there is none nobody needs to ask, and who asks is told at once."""

    def __init__(self) -> None:
        """Begin without a rate; needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._shaper: Shaper[Told] | None = None
        self._timer: asyncio.Handle | None = None

    @property
    def rate_bytes_per_s(self) -> int | None:
        """The rate, or None."""
        return self._shaper.rate_bytes_per_s if self._shaper is not None else None

    @property
    def stretch_bytes(self) -> int:
        """How much to ask for at a time, in bytes."""
        return self._shaper.stretch_bytes if self._shaper is not None else MOST_STRETCH_BYTES

    def now_s(self) -> float:
        """Return the time by which the rate is kept."""
        return self._loop.time()

    def set(self, rate_bytes_per_s: int | None) -> None:
        """Keep to this rate from now on, or to none."""
        now_s = self.now_s()
        if rate_bytes_per_s is None:
            shaper, self._shaper = self._shaper, None
            self.stop()
            for told in shaper.drain() if shaper is not None else ():
                told()
        elif self._shaper is None:
            self._shaper = Shaper(rate_bytes_per_s, now_s=now_s)
        else:
            self._shaper.change(rate_bytes_per_s, now_s=now_s)
            self.stop()
            self._turn_soon()

    def ask(self, flow: Hashable, size_bytes: int, told: Told) -> None:
        """Call `told` when `size_bytes` of `flow` may move: in a turn of the loop to come."""
        if self._shaper is None:
            self._loop.call_soon(told)
            return
        self._shaper.ask(flow, size_bytes, told, now_s=self.now_s())
        self._turn_soon()

    def withdraw(self, flow: Hashable, told: Told) -> None:
        """Forget what was asked for; harmless if it was granted already."""
        if self._shaper is not None:
            self._shaper.withdraw(flow, told)

    async def take(self, flow: Hashable, size_bytes: int) -> None:
        """Wait until `size_bytes` of `flow` may move."""
        if self._shaper is None:
            return
        turn: asyncio.Future[None] = self._loop.create_future()

        def told() -> None:
            if not turn.done():
                turn.set_result(None)

        self.ask(flow, size_bytes, told)
        try:
            await turn
        except asyncio.CancelledError:
            self.withdraw(flow, told)
            raise

    def stop(self) -> None:
        """Set no timer any more, until somebody asks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._timer = None
        if self._shaper is None:
            return
        for told in self._shaper.ready(now_s=self.now_s()):
            told()
        self._wait()

    def _wait(self) -> None:
        """Look again when the next may go, unless somebody who was told asked anew just now."""
        if self._timer is not None or self._shaper is None:
            return
        due_s = self._shaper.due_s(now_s=self.now_s())
        if due_s is not None:
            self._timer = self._loop.call_later(max(due_s, _LEAST_WAIT_S), self._turn)
