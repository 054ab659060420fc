"""Pieces that arrive, from neighbours or the registry: who is told, and who need not send."""

from dataclasses import dataclass

from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.leases import Leases
from shoal.core.swarm.neighbours import Neighbours
from shoal.core.swarm.rejections import Rejections
from shoal.core.swarm.requests import Requests
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say


@dataclass(slots=True)
class Arrivals:
    """What this node does about each piece on its way in."""

    site: Site
    exchanges: dict[BlobTag, Exchange]
    requests: Requests
    leases: Leases
    neighbours: Neighbours
    rejections: Rejections

    def progressed(self, event: on.PieceProgressed) -> None:
        """Bytes of a piece came."""
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.progress_s = self.site.now_s
        self.site.served_s[event.source] = self.site.now_s
        for other in exchange.progressed(event.piece, event.source, self.site.now_s):
            self.site.send(other, say.Cancel(event.tag, event.piece))
            exchange.unask(event.piece, other)
            self.site.offered(event.tag)
        if event.source == REGISTRY:
            self.leases.renew(exchange, event.piece, moved=False)

    def stored(self, event: on.PieceStored) -> None:
        """A piece is here."""
        exchange = self.exchanges.get(event.tag)
        if exchange is None or exchange.held >> event.piece & 1:
            return
        self.requests.stored(exchange.spec.size(event.piece))
        self.site.served_s[event.source] = self.site.now_s
        if event.source == REGISTRY:
            exchange.registry_failures = 0
            self.leases.renew(exchange, event.piece, moved=True)
        else:
            exchange.came_from(event.source)
        for source in exchange.stored(event.piece, event.source, self.site.now_s):
            if source not in (event.source, REGISTRY):
                self.site.send(source, say.Cancel(event.tag, event.piece))
        if event.signer is not None:
            exchange.vouched[event.piece] = event.signer, event.piece_hash
            self._hear(exchange, event.piece, event.signer, event.piece_hash)
        exchange.unsaid |= 1 << event.piece
        if self.site.now_s - exchange.said_s >= self.site.policy.have_interval_s:
            self.neighbours.say_have(exchange)
        for run in list(exchange.runs.values()):
            if not bitmap.run(run.first, run.count) & ~exchange.held and run.done < run.count:
                self.site.out.append(do.StopRegistryFetch(event.tag, run.first))
        self.site.offered(event.tag)

    def spoiled(self, event: on.PieceSpoiled) -> None:
        """A piece did not become whole, or was not what its sender said."""
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.unask(event.piece, event.source)
        self.site.touch(event.tag)
        neighbour = exchange.neighbours.get(event.source)
        if neighbour is not None:
            neighbour.busy_until_s = self.site.now_s + self.site.policy.stall_s
            if event.wrong and self.site.suspicion.spoiled(event.source):
                self.site.leave_out(event.source, "keeps sending pieces that fail their check")

    def disbelieved(self, event: on.PieceDisbelieved) -> None:
        """A piece was not taken, for who vouches for it: others may have it from somebody else."""
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.unask(event.piece, event.source)
        if event.signer is not None:
            self._hear(exchange, event.piece, event.signer, event.piece_hash)
            if exchange.tracker is not None:
                suspect = (event.signer, 1 << event.piece)
                self.site.send(exchange.tracker, say.Suspects(event.tag, (suspect,)))
        exchange.set_aside(event.source, event.piece)
        self.site.touch(event.tag)

    def believes(self, tag: BlobTag, piece: int, signer: PeerId | None, hash_: bytes) -> bool:
        """Return whether to take a piece for which `signer` vouches; None: nobody need."""
        if signer is None:
            return True
        if self.site.left_out(signer):
            return False
        accounts = self.rejections.accounts.get(tag)
        return accounts is None or accounts.believes(piece, signer, hash_)

    def _hear(self, exchange: Exchange, piece: int, signer: PeerId, hash_: bytes) -> None:
        """A blob that was wrong before comes again: compare what is said now with what was."""
        accounts = self.rejections.accounts.get(exchange.spec.tag)
        if accounts is not None and accounts.hear(piece, signer, hash_):
            exchange.reconsider(self.rejections.doubted(exchange.spec.tag))
            self.site.touch(exchange.spec.tag)
