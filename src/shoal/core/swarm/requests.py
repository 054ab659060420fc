"""Which pieces to ask which neighbours for, and how many at once."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.core import bitmap
from shoal.core.peer import PeerId
from shoal.core.swarm.exchange import Exchange
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
        """Ask neighbours for up to `free` pieces; return how many were asked for.

        Leaves behind whether there could have been more (`hungry`), and until when it is of no use
        to try again, unless something about the blob changes (`look_s`).
        """
        exchange.hungry = free > 0
        exchange.look_s = math.inf
        if free <= 0 or not exchange.neighbours:
            return 0
        policy, now_s = self.site.policy, self.site.now_s
        need = exchange.missing & ~exchange.in_flight_bits
        need &= exchange.window(policy.window_bytes, window_pieces=policy.window_pieces)
        if not need and not exchange.in_flight:
            return 0
        asked = 0
        if exchange.written_off:
            # Before anything else: a reader may be waiting for just these.
            asked = self._hedge(exchange, free, stall_s=policy.stall_s)
        most = policy.requests_per_neighbour
        useful: dict[PeerId, int] = {}  # free neighbour -> what it has of what is needed
        busy_until_s = math.inf  # of the first that will be free
        for peer, neighbour in exchange.neighbours.items():
            if neighbour.busy_until_s > now_s:
                if neighbour.busy_until_s < busy_until_s:
                    busy_until_s = neighbour.busy_until_s
            elif neighbour.held & need and len(neighbour.asked) < most:
                useful[peer] = neighbour.held
        neighbours = exchange.neighbours
        whole = exchange.whole
        # Nobody gains by another order than the reader's where all neighbours have everything.
        in_order = useful and all(neighbour.held == whole for neighbour in neighbours.values())
        while asked < free and useful:
            fewest = min(len(neighbours[peer].asked) for peer in useful)
            peer = self.rng.choice([p for p in useful if len(neighbours[p].asked) == fewest])
            if in_order:
                piece, _ = bitmap.lowest_run(useful[peer] & need, longest=1)
            else:
                piece = exchange.rarity.rarest(useful[peer] & need, self.rng)
            self._ask(exchange, peer, piece)
            need &= ~(1 << piece)
            asked += 1
            if len(neighbours[peer].asked) >= most:
                del useful[peer]
            if asked < free:
                useful = {p: held for p, held in useful.items() if held & need}
        exchange.hungry = asked < free
        if asked < free and exchange.in_flight:
            asked += self._hedge(exchange, free - asked, stall_s=policy.hedge_s)
        exchange.look_s = min(busy_until_s, exchange.hedge_s if exchange.in_flight else math.inf)
        return asked

    def _hedge(self, exchange: Exchange, free: int, *, stall_s: float) -> int:
        """Ask elsewhere for pieces that stalled, or have not begun for `stall_s`."""
        policy, now_s = self.site.policy, self.site.now_s
        if now_s <= exchange.hedge_s:
            return 0
        asked = 0
        exchange.hedge_s = exchange.stalls_s(min(policy.stall_s, policy.hedge_s))
        for piece, fetches in list(exchange.stalled(now_s, stall_s=stall_s)):
            if asked >= free:
                break
            if any(f.begun and now_s - f.progress_s <= policy.stall_s for f in fetches):
                continue
            sources = [fetch.source for fetch in fetches]
            others = [
                peer
                for peer, neighbour in exchange.neighbours.items()
                if peer not in sources
                and neighbour.held >> piece & 1
                and neighbour.busy_until_s <= now_s
                and len(neighbour.asked) < policy.requests_per_neighbour
            ]
            if others:
                self._ask(exchange, self.rng.choice(others), piece)
                asked += 1
        return asked

    def _ask(self, exchange: Exchange, peer: PeerId, piece: int) -> None:
        exchange.ask(piece, peer, self.site.now_s)
        self.site.send(peer, say.Request(exchange.spec.tag, piece))
