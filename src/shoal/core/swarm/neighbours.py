"""What neighbours say to each other about a blob: introduced, joined, told, asked, served."""

from dataclasses import dataclass, field

from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.gains import Gains
from shoal.core.swarm.holds import Holds
from shoal.core.swarm.site import Site
from shoal.core.swarm.uploads import Uploads
from shoal.core.wire import messages as say


@dataclass(slots=True)
class Neighbours:
    """This node's conversations with the peers that it exchanges pieces with."""

    site: Site
    exchanges: dict[BlobTag, Exchange]
    holds: Holds
    uploads: Uploads
    gains: Gains = field(default_factory=Gains)

    def introduced(self, peer: PeerId, message: say.Introduce) -> None:
        """The tracker, or a deputy, names peers that want or have the blob: meet some of them."""
        exchange = self.exchanges.get(message.tag)
        if exchange is None or not exchange.wanted:
            return
        if exchange.tracker != peer and not exchange.has_deputy(peer):
            return
        if exchange.tracker in (peer, None):
            exchange.heard_s = self.site.now_s
        for other in message.peers:
            room = self.site.policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
            if (
                room <= 0
                or other == self.site.me
                or other not in self.site.members
                or other in exchange.neighbours
                or other in exchange.doubted
                or self.site.left_alone(other)
                or self.site.refuses(other)
            ):
                continue
            if other in self.site.links:
                self.join(exchange, other)
            else:
                exchange.introduced[other] = None
                self.site.connect(other)

    def join(self, exchange: Exchange, peer: PeerId) -> None:
        """Offer `peer`, which is connected, to exchange pieces."""
        exchange.joined[peer] = exchange.offered
        self.site.send(peer, say.Join(exchange.spec, exchange.offered))

    def joined(self, peer: PeerId, message: say.Join) -> None:
        """A peer offers, or agrees, to exchange pieces."""
        tag = message.spec.tag
        exchange = self.exchanges.get(tag)
        if exchange is None and tag in self.holds.specs:
            exchange = Exchange(
                message.spec,
                bitmap.full(message.spec.pieces),
                self.site.now_s,
                self.site.now_s,
                self.gains,
            )
            exchange.wanted = False
            self.exchanges[tag] = exchange
        full = exchange is not None and len(exchange.neighbours) >= self.site.policy.neighbours_most
        if exchange is None or exchange.alone or (full and peer not in exchange.neighbours):
            self.site.send(peer, say.Leave(tag))
            return
        # Who is doubted is served, but what it says to have is as if it were not there.
        held = 0 if peer in exchange.doubted else message.held
        exchange.meet(peer, held, self.site.now_s)
        told = exchange.joined.get(peer)
        if told is None:
            self.join(exchange, peer)
        elif news := exchange.offered & ~(told | message.held | exchange.unsaid):
            # These came after this node's Join, and were told before the peer was a neighbour.
            self.site.send(peer, say.Have(tag, tuple(bitmap.members(news))))
        self.site.touch(tag)

    def told(self, peer: PeerId, message: say.Have) -> None:
        """A neighbour has further pieces."""
        exchange = self.exchanges.get(message.tag)
        if exchange is None or peer not in exchange.neighbours or peer in exchange.doubted:
            return
        held = 0
        for piece in message.pieces:
            if piece < exchange.spec.pieces:
                held |= 1 << piece
        # Whoever has as many requests out as he may has no use for the news yet.
        if exchange.learn(peer, held) and exchange.hungry:
            self.site.offered(message.tag)

    def say_have(self, exchange: Exchange) -> None:
        """Tell the neighbours what came since they were last told, each what it lacks."""
        news, exchange.unsaid, exchange.said_s = exchange.unsaid, 0, self.site.now_s
        said: dict[int, say.Have] = {}
        for peer, neighbour in exchange.neighbours.items():
            if lacking := news & ~neighbour.held:
                have = said.get(lacking)
                if have is None:
                    have = said[lacking] = say.Have(
                        exchange.spec.tag, tuple(bitmap.members(lacking))
                    )
                self.site.send(peer, have)

    def requested(self, peer: PeerId, message: say.Request) -> None:
        """A neighbour asks for a piece."""
        exchange = self.exchanges.get(message.tag)
        if (
            exchange is None
            or peer not in exchange.neighbours
            or message.piece >= exchange.spec.pieces
            or not exchange.offered >> message.piece & 1
        ):
            self.site.send(peer, say.Busy(message.tag, message.piece))
            return
        refused = self.uploads.ask(peer, message.tag, message.piece, self._pace)
        if refused is not None:
            to, tag, piece = refused
            self.site.send(to, say.Busy(tag, piece))
        self.serve()

    def cancelled(self, peer: PeerId, message: say.Cancel) -> None:
        """A neighbour no longer needs a piece."""
        self.uploads.cancel(peer, message.tag, message.piece)

    def busy(self, peer: PeerId, message: say.Busy) -> None:
        """A neighbour will not send a piece."""
        exchange = self.exchanges.get(message.tag)
        if exchange is None or peer not in exchange.neighbours:
            return
        exchange.unask(message.piece, peer)
        exchange.neighbours[peer].busy_until_s = self.site.now_s + 0.1
        self.site.offered(message.tag)

    def left(self, peer: PeerId, message: say.Leave) -> None:
        """A peer neither wants nor has the blob any more."""
        exchange = self.exchanges.get(message.tag)
        if exchange is not None:
            exchange.doubted.discard(peer)
            if peer in exchange.neighbours:
                exchange.leavers.add(peer)
            exchange.part(peer)
            self.site.touch(message.tag)

    def upload_ended(self, event: on.UploadEnded) -> None:
        """A piece was sent, or could not be."""
        self.uploads.ended(event.peer, event.tag, event.piece)
        self.serve()

    def serve(self) -> None:
        """Send what was asked for, as far as slots are free."""
        while (upload := self.uploads.next(self._pace)) is not None:
            self.site.out.append(do.SendPiece(*upload))

    def _pace(self, peer: PeerId) -> float:
        return self.gains.pace(peer, self.site.now_s)
