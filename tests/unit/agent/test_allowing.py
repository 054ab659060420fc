"""Peers are told how much they may send, at the download's rate."""

import asyncio

from shoal.agent.allowing import Allowing
from shoal.agent.throttle import Throttle
from shoal.core.limits.allowances import WINDOW_S
from shoal.core.peer import PeerId
from shoal.core.wire.messages import Allow
from unit.agent.driving import until

A, B = PeerId("192.0.2.1:1"), PeerId("192.0.2.2:1")
RATE = 1_000_000


class World:
    """An allowing node, and what it said."""

    def __init__(self) -> None:
        self.throttle = Throttle()
        self.throttle.set(RATE)
        self.said: list[tuple[PeerId, int | None]] = []
        self.it = Allowing(self.throttle, self._send)

    def _send(self, peer: PeerId, message: Allow) -> None:
        self.said.append((peer, message.more_bytes))

    def allowed(self, peer: PeerId) -> int:
        """Return how much `peer` was allowed so far."""
        return sum(more or 0 for to, more in self.said if to == peer)


async def test_a_peer_may_send_nothing_until_it_is_asked_for_something() -> None:
    world = World()
    world.it.connected(A)
    assert world.said == [(A, 0)]
    world.it.asked(A, "blob")
    await until(lambda: world.allowed(A) > 0)
    world.throttle.stop()


async def test_what_peers_may_send_keeps_to_the_rate_and_to_even_shares() -> None:
    world = World()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    sent = {A: 0, B: 0}
    for peer in sent:
        world.it.connected(peer)
        world.it.asked(peer, f"blob of {peer}")
    while loop.time() < began_s + 1.0:
        for peer, before in sent.items():
            if more := world.allowed(peer) - before:  # it sends whatever it may
                sent[peer] += more
                world.it.arrived(peer, f"blob of {peer}", more)
        await asyncio.sleep(0.002)
    elapsed_s = loop.time() - began_s
    assert sum(sent.values()) <= RATE * (elapsed_s + 0.25) + RATE * 0.1
    assert sum(sent.values()) >= RATE * 0.3  # however late timers are on a busy machine
    assert 0.6 < sent[A] / sent[B] < 1.7
    world.throttle.stop()


async def test_a_peer_that_was_lost_is_told_nothing_for_its_old_connection() -> None:
    world = World()
    await world.throttle.take("other", RATE // 3)  # so that an allowance has to wait
    world.it.asked(A, "blob")
    world.it.lost(A)
    world.it.connected(A)
    world.it.asked(A, "blob")
    window = int(RATE * WINDOW_S)
    await until(lambda: world.allowed(A) >= window)
    await asyncio.sleep(0.3)
    assert world.allowed(A) == window
    world.throttle.stop()


async def test_without_a_rate_nothing_is_allowed_by_count() -> None:
    world = World()
    world.throttle.set(None)
    world.it.asked(A, "blob")
    world.it.arrived(A, "blob", 100)
    await asyncio.sleep(0.01)
    assert world.said == []
