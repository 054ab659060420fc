"""A rate on the event loop."""

import asyncio

from shoal.agent.throttle import Throttle
from shoal.core.blob import KIB
from unit.agent.driving import until

RATE = 1_000_000


async def test_without_a_rate_nobody_waits() -> None:
    throttle = Throttle()
    assert throttle.rate_bytes_per_s is None
    await throttle.take("a", 10**12)
    told: list[int] = []
    throttle.ask("a", 10**12, lambda: told.append(1))
    assert told == []  # never within the call: whoever asks is not ready for it
    await until(lambda: told == [1])


async def test_a_rate_holds() -> None:
    throttle = Throttle()
    throttle.set(RATE)
    loop = asyncio.get_running_loop()
    began_s, taken = loop.time(), 0
    while loop.time() < began_s + 0.5:
        await throttle.take("a", 4 * KIB)
        taken += 4 * KIB
    assert taken <= RATE * (loop.time() - began_s + 0.25) + 8 * KIB
    throttle.stop()


async def test_lifting_a_rate_lets_everybody_go() -> None:
    throttle = Throttle()
    throttle.set(RATE)
    await throttle.take("a", 1000 * RATE)
    waiting = [asyncio.ensure_future(throttle.take("a", RATE)) for _ in range(3)]
    await asyncio.sleep(0)
    throttle.set(None)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)


async def test_a_higher_rate_ends_a_long_wait() -> None:
    throttle = Throttle()
    throttle.set(RATE)
    await throttle.take("a", RATE)
    waiting = [asyncio.ensure_future(throttle.take("a", 1000 * RATE)) for _ in range(2)]
    await asyncio.sleep(0)
    throttle.set(10**6 * RATE)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    throttle.stop()


async def test_who_stops_waiting_takes_nothing() -> None:
    throttle = Throttle()
    throttle.set(RATE)
    await throttle.take("a", RATE // 2)
    gone = asyncio.ensure_future(throttle.take("a", 1000 * RATE))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    async with asyncio.timeout(10):
        await throttle.take("a", 1)
        await throttle.take("a", 1)
    throttle.stop()


async def test_a_stretch_is_longer_at_a_higher_rate() -> None:
    throttle = Throttle()
    longest = throttle.stretch_bytes
    throttle.set(62_500)
    assert throttle.stretch_bytes < longest
