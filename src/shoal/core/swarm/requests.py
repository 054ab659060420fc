"""Which pieces to ask which neighbours for, and how many at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.core.peer import PeerId
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.picker import rarest
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from random import Random


@dataclass(slots=True)
class Requests:
    """Asks neighbours for pieces.

    A request that waits in a queue is a decision made too early, so there are no more of them than
    hide the round trip at the rate that the link has shown.
    """

    site: Site
    rng: "Random"
    rate_bytes_per_s: float = 0.0
    _stored_bytes: int = 0
    _rated_s: float = 0.0

    def stored(self, size_bytes: int) -> None:
        """Bytes arrived."""
        self._stored_bytes += size_bytes

    def ticked(self) -> None:
        """Take the link's rate anew, averaged over about half a second."""
        elapsed_s = self.site.now_s - self._rated_s
        if elapsed_s > 0:
            rate = self._stored_bytes / elapsed_s
            self.rate_bytes_per_s += min(1.0, 2 * elapsed_s) * (rate - self.rate_bytes_per_s)
            self._stored_bytes, self._rated_s = 0, self.site.now_s

    def budget(self, exchange: Exchange) -> int:
        """Return how many requests for pieces of this blob's length may be out on this node."""
        policy = self.site.policy
        ahead_bytes = self.rate_bytes_per_s * policy.request_horizon_s
        wanted = policy.requests_least // 2 + int(ahead_bytes / exchange.spec.piece_bytes)
        return max(policy.requests_least, min(policy.requests_most, wanted))

    def fill(self, exchange: Exchange, free: int) -> int:
        """Ask neighbours for up to `free` pieces; return how many were asked for."""
        if free <= 0 or not exchange.neighbours:
            return 0
        policy, now_s = self.site.policy, self.site.now_s
        window = exchange.window(policy.window_bytes)
        need = exchange.missing & ~exchange.in_flight_bits & window
        asked = 0
        most = policy.requests_per_neighbour
        able = {
            peer: neighbour
            for peer, neighbour in exchange.neighbours.items()
            if len(neighbour.asked) < most and neighbour.busy_until_s <= now_s
        }
        while asked < free and need:
            useful = [(len(n.asked), peer) for peer, n in able.items() if n.held & need]
            if not useful:
                break
            fewest = min(useful)[0]
            peer = self.rng.choice([p for count, p in useful if count == fewest])
            neighbour = able[peer]
            piece = rarest(neighbour.held & need, exchange.holders, self.rng)
            self._ask(exchange, peer, piece)
            need &= ~(1 << piece)
            asked += 1
            if len(neighbour.asked) >= most:
                del able[peer]
        return asked + self._hedge(exchange, able, free - asked)

    def _hedge(self, exchange: Exchange, able: Iterable[PeerId], free: int) -> int:
        """Ask elsewhere for pieces that stalled, or have not begun while nothing else is left."""
        if free <= 0 or not exchange.in_flight:
            return 0
        policy, now_s = self.site.policy, self.site.now_s
        asked = 0
        for piece, fetch in list(exchange.stalled(now_s, stall_s=policy.hedge_s)):
            if asked >= free:
                break
            if fetch.begun and now_s - fetch.progress_s <= policy.stall_s:
                continue
            others = [
                peer
                for peer in able
                if peer != fetch.source
                and exchange.neighbours[peer].held >> piece & 1
                and len(exchange.neighbours[peer].asked) < policy.requests_per_neighbour
            ]
            if others:
                self._ask(exchange, self.rng.choice(others), piece)
                asked += 1
        return asked

    def _ask(self, exchange: Exchange, peer: PeerId, piece: int) -> None:
        exchange.ask(piece, peer, self.site.now_s)
        self.site.send(peer, say.Request(exchange.spec.tag, piece))
