"""One node's part in every swarm: events in, orders out.

`Swarm` joins the exchange of each blob, the uploads, and the tracker that this node is for others.
The agent and the simulator drive the same object: both tell it what happened and carry out what it
returns. It keeps no clock: every call brings `now_s`, seconds on any clock that never goes back.
"""

# Theory of operation. A wanted blob becomes an Exchange. Its tracker (a member chosen by hash)
# introduces neighbours and leases pieces that no one has. Pieces arrive from the registry under a
# lease, or from a neighbour by request; each is told to the neighbours that lack it. Whenever
# something changed, `_work` looks at the exchanges in the order in which they were opened and fills
# the free requests and the free hands for the registry. Nothing is planned ahead.

from typing import TYPE_CHECKING, Any

from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.holds import Holds
from shoal.core.swarm.leases import Leases
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.requests import Requests
from shoal.core.swarm.site import Site
from shoal.core.swarm.tracker import Tracker
from shoal.core.swarm.uploads import Uploads
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


TIMER_SLACK_S = 0.001  # a timer may fire a hair before its time: that tick must not be lost


class Swarm:
    """The decisions of one node. No I/O, clock, or logging of its own."""

    def __init__(self, *, me: PeerId, rng: "Random", policy: Policy = DEFAULT) -> None:
        self.policy = policy
        self.site = Site(me, policy)
        self.exchanges: dict[BlobTag, Exchange] = {}
        self.holds = Holds(self.site, rng)
        self.tracker = Tracker(rng, policy)
        self.uploads = Uploads(policy)
        self.requests = Requests(self.site, rng)
        self.leases = Leases(self.site)
        self._dirty = False
        self._watched_s = -1e9
        self._on_event: dict[type, Callable[[Any], None]] = {
            on.MembersChanged: self._members_changed,
            on.PeerConnected: self._peer_connected,
            on.PeerLost: self._peer_lost,
            on.MessageArrived: lambda event: self._arrived(event.peer, event.message),
            on.BlobWanted: self._blob_wanted,
            on.ReaderMoved: self._reader_moved,
            on.BlobReleased: self._blob_released,
            on.BlobStored: self._blob_stored,
            on.BlobDropped: self._blob_dropped,
            on.BlobRejected: self._blob_rejected,
            on.PieceProgressed: self._piece_progressed,
            on.PieceStored: self._piece_stored,
            on.PieceSpoiled: self._piece_spoiled,
            on.RegistryEnded: self._registry_ended,
            on.UploadEnded: self._upload_ended,
            on.PeerLied: lambda event: self.site.leave_out(
                event.peer, "sent pieces of another blob"
            ),
            on.Ticked: self._ticked,
        }
        self._on_message: dict[type, Callable[[PeerId, Any], None]] = {
            say.Join: self._join_arrived,
            say.Have: self._have_arrived,
            say.Request: self._request_arrived,
            say.Cancel: lambda peer, m: self.uploads.cancel(peer, m.tag, m.piece),
            say.Busy: self._busy_arrived,
            say.Leave: self._leave_arrived,
            say.Introduce: self._introduce_arrived,
            say.LeaseGranted: self._lease_granted,
            say.LeaseNone: self._lease_none,
            say.Announce: lambda peer, m: self.site.tell(
                self.tracker.announced(peer, m, now_s=self.site.now_s)
            ),
            say.LeaseWanted: lambda peer, m: self.site.tell(
                self.tracker.lease_wanted(peer, m, now_s=self.site.now_s)
            ),
            say.LeaseProgress: lambda peer, m: self.site.tell(
                self.tracker.lease_progressed(peer, m, now_s=self.site.now_s)
            ),
            say.LeaseEnded: lambda peer, m: self.site.tell(
                self.tracker.lease_ended(peer, m, now_s=self.site.now_s)
            ),
        }

    @property
    def tick_s(self) -> float:
        """How soon the driver should send the next `Ticked`, in seconds."""
        if any(exchange.unsaid for exchange in self.exchanges.values()):
            return self.policy.have_interval_s
        busy = any(e.wanted and not e.complete for e in self.exchanges.values())
        leasing = any(table.leases for table in self.tracker.tables.values())
        return self.policy.watch_interval_s if busy or leasing else 1.0

    def handle(self, event: on.Event, *, now_s: float) -> list[do.Effect]:
        """Apply one event; return what the caller must now do, in order."""
        self.site.begin(now_s)
        self._on_event[type(event)](event)
        while self.site.mailbox or self._dirty:
            if self.site.mailbox:
                self._arrived(self.site.me, self.site.mailbox.popleft())
            else:
                self._dirty = False
                self._work()
        return self.site.out

    # --- who is there -----------------------------------------------------------------------

    def _members_changed(self, event: on.MembersChanged) -> None:
        self.site.members = event.members | {self.site.me}
        for exchange in self.exchanges.values():
            if exchange.tracker not in self.site.members:
                exchange.tracker = None
        self.holds.members_changed()
        self._dirty = True

    def _peer_connected(self, event: on.PeerConnected) -> None:
        peer = event.peer
        if self.site.left_out(peer):
            self.site.out.append(do.Disconnect(peer, "is left out for what it sent"))
            return
        self.site.connected(peer)
        for exchange in self.exchanges.values():
            if exchange.introduced.pop(peer, True) is None:
                self._join(exchange, peer)
            self.leases.back(exchange, peer)
        self.holds.peer_connected(peer)
        self._dirty = True

    def _peer_lost(self, event: on.PeerLost) -> None:
        peer = event.peer
        broke = event.failed and peer in self.site.links
        self.site.lost(peer, failed=event.failed)
        self.holds.peer_lost(peer)
        self.uploads.lost(peer)
        for exchange in self.exchanges.values():
            exchange.part(peer)
            if exchange.tracker == peer:
                exchange.tracker = None
                exchange.left = (peer, self.site.now_s)
                if broke and self.site.suspicion.first(peer):
                    self.site.connect(peer)  # it may be only the connection
        if self.site.left_out(peer):
            tags = list(self.tracker.tables)
            self.site.tell(self.tracker.left(peer, tags, now_s=self.site.now_s))
        elif event.failed:
            # After a planned end the peer comes back, and its leases live on until they lapse.
            self.site.tell(self.tracker.lost(peer, now_s=self.site.now_s))
        self._serve()
        self._dirty = True

    def _arrived(self, peer: PeerId, message: say.Message) -> None:
        handler = self._on_message.get(type(message))
        if handler is not None:
            handler(peer, message)

    # --- neighbours -------------------------------------------------------------------------

    def _introduce_arrived(self, peer: PeerId, message: say.Introduce) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or exchange.tracker != peer or not exchange.wanted:
            return
        exchange.heard_s = self.site.now_s
        for other in message.peers:
            room = self.policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
            if (
                room <= 0
                or other == self.site.me
                or other not in self.site.members
                or other in exchange.neighbours
                or self.site.left_alone(other)
            ):
                continue
            if other in self.site.links:
                self._join(exchange, other)
            else:
                exchange.introduced[other] = None
                self.site.connect(other)

    def _lease_granted(self, peer: PeerId, message: say.LeaseGranted) -> None:
        hands = sum(len(exchange.runs) for exchange in self.exchanges.values())
        spare = hands < self.policy.registry_fetches
        self.leases.granted(peer, message, self.exchanges.get(message.tag), spare=spare)
        self._dirty = True

    def _lease_none(self, peer: PeerId, message: say.LeaseNone) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is not None and peer == exchange.tracker:
            self.leases.refused(exchange)
            self._dirty = True

    def _registry_ended(self, event: on.RegistryEnded) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is not None:
            self.leases.ended(exchange, event)
            self._dirty = True

    def awaits_turn(self, tag: BlobTag, *, within_s: float) -> bool:
        """Whether lately, while nothing of the blob arrived, other blobs had every hand."""
        exchange = self.exchanges.get(tag)
        return exchange is not None and self.site.now_s - exchange.turn_awaited_s <= within_s

    def abandoned(self, tag: BlobTag) -> bool:
        """Whether nobody has wanted the blob for so long that nothing more is fetched of it."""
        exchange = self.exchanges.get(tag)
        return exchange is None or not (self.leases.fetching(exchange) or exchange.complete)

    # --- blobs ------------------------------------------------------------------------------

    def _blob_wanted(self, event: on.BlobWanted) -> None:
        tag = event.spec.tag
        exchange = self.exchanges.get(tag)
        if exchange is None:
            exchange = Exchange(event.spec, event.held, self.site.now_s, self.site.now_s)
            self.exchanges[tag] = exchange
        exchange.wanted = True
        exchange.alone = event.alone
        exchange.released_s = None
        exchange.progress_s = self.site.now_s
        exchange.registry_failures = 0
        exchange.denied = False  # whoever wants it now brought a credential that was accepted
        self._dirty = True

    def _reader_moved(self, event: on.ReaderMoved) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is not None:
            exchange.reader_piece = event.piece
            self._dirty = True

    def _blob_released(self, event: on.BlobReleased) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is not None:
            exchange.released_s = self.site.now_s

    def _blob_stored(self, event: on.BlobStored) -> None:
        exchange = self.exchanges.get(event.spec.tag)
        if exchange is not None:
            exchange.wanted = False
        self.holds.add(event.spec, tracker=exchange.tracker if exchange else None)

    def _blob_dropped(self, event: on.BlobDropped) -> None:
        self.holds.forget(event.tag)
        exchange = self.exchanges.pop(event.tag, None)
        told: set[PeerId] = set()
        if exchange is not None:
            # Or a client that comes back would wait for a fetch that writes to nothing.
            for first in exchange.runs:
                self.site.out.append(do.StopRegistryFetch(event.tag, first))
            told.update(exchange.neighbours)
            if exchange.tracker is not None:
                told.add(exchange.tracker)
        else:
            told.add(self.site.tracker_of(event.tag))
        for peer in sorted(told):
            self.site.send(peer, say.Leave(event.tag))
        self._dirty = True

    def _blob_rejected(self, event: on.BlobRejected) -> None:
        # Whoever pulled it from here must not go on: what this node held is as if it never was.
        self._blob_dropped(on.BlobDropped(event.tag))

    # --- pieces -----------------------------------------------------------------------------

    def _piece_progressed(self, event: on.PieceProgressed) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.progress_s = self.site.now_s
        self.site.served_s[event.source] = self.site.now_s
        for other in exchange.progressed(event.piece, event.source, self.site.now_s):
            self.site.send(other, say.Cancel(event.tag, event.piece))
            exchange.unask(event.piece, other)
        if event.source == REGISTRY:
            self.leases.renew(exchange, event.piece, moved=False)

    def _piece_stored(self, event: on.PieceStored) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None or exchange.held >> event.piece & 1:
            return
        self.requests.stored(exchange.spec.size(event.piece))
        self.site.served_s[event.source] = self.site.now_s
        if event.source == REGISTRY:
            exchange.registry_failures = 0
            self.leases.renew(exchange, event.piece, moved=True)
        for source in exchange.stored(event.piece, event.source, self.site.now_s):
            if source not in (event.source, REGISTRY):
                self.site.send(source, say.Cancel(event.tag, event.piece))
        exchange.unsaid |= 1 << event.piece
        if self.site.now_s - exchange.said_s >= self.policy.have_interval_s:
            self._say_have(exchange)
        for run in list(exchange.runs.values()):
            if not bitmap.run(run.first, run.count) & ~exchange.held and run.done < run.count:
                self.site.out.append(do.StopRegistryFetch(event.tag, run.first))
        self._dirty = True

    def _say_have(self, exchange: Exchange) -> None:
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

    def _piece_spoiled(self, event: on.PieceSpoiled) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.unask(event.piece, event.source)
        self._dirty = True
        neighbour = exchange.neighbours.get(event.source)
        if neighbour is not None:
            neighbour.busy_until_s = self.site.now_s + self.policy.stall_s
            if event.wrong and self.site.suspicion.spoiled(event.source):
                self.site.leave_out(event.source, "keeps sending pieces that fail their check")

    def _join(self, exchange: Exchange, peer: PeerId) -> None:
        exchange.joined[peer] = exchange.held
        self.site.send(peer, say.Join(exchange.spec, exchange.held))

    def _join_arrived(self, peer: PeerId, message: say.Join) -> None:
        tag = message.spec.tag
        exchange = self.exchanges.get(tag)
        if exchange is None and tag in self.holds.specs:
            exchange = Exchange(
                message.spec, bitmap.full(message.spec.pieces), self.site.now_s, self.site.now_s
            )
            exchange.wanted = False
            self.exchanges[tag] = exchange
        full = exchange is not None and len(exchange.neighbours) >= self.policy.neighbours_most
        if exchange is None or exchange.alone or (full and peer not in exchange.neighbours):
            self.site.send(peer, say.Leave(tag))
            return
        exchange.meet(peer, message.held)
        told = exchange.joined.get(peer)
        if told is None:
            self._join(exchange, peer)
        elif news := exchange.held & ~(told | message.held | exchange.unsaid):
            # These came after this node's Join, and were told before the peer was a neighbour.
            self.site.send(peer, say.Have(tag, tuple(bitmap.members(news))))
        self._dirty = True

    def _have_arrived(self, peer: PeerId, message: say.Have) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or peer not in exchange.neighbours:
            return
        held = 0
        for piece in message.pieces:
            if piece < exchange.spec.pieces:
                held |= 1 << piece
        if exchange.learn(peer, held):
            self._dirty = True

    def _request_arrived(self, peer: PeerId, message: say.Request) -> None:
        exchange = self.exchanges.get(message.tag)
        if (
            exchange is None
            or peer not in exchange.neighbours
            or message.piece >= exchange.spec.pieces
            or not exchange.held >> message.piece & 1
            or not self.uploads.ask(peer, message.tag, message.piece)
        ):
            self.site.send(peer, say.Busy(message.tag, message.piece))
            return
        self._serve()

    def _busy_arrived(self, peer: PeerId, message: say.Busy) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or peer not in exchange.neighbours:
            return
        exchange.unask(message.piece, peer)
        exchange.neighbours[peer].busy_until_s = self.site.now_s + 0.1
        self._dirty = True

    def _leave_arrived(self, peer: PeerId, message: say.Leave) -> None:
        self.site.tell(self.tracker.left(peer, [message.tag], now_s=self.site.now_s))
        exchange = self.exchanges.get(message.tag)
        if exchange is not None:
            exchange.part(peer)
            self._dirty = True

    def _upload_ended(self, event: on.UploadEnded) -> None:
        self.uploads.ended(event.peer, event.tag, event.piece)
        self._serve()

    def _serve(self) -> None:
        while (upload := self.uploads.next()) is not None:
            self.site.out.append(do.SendPiece(*upload))

    # --- time -------------------------------------------------------------------------------

    def _ticked(self, _: on.Ticked) -> None:
        now_s = self.site.now_s
        for exchange in self.exchanges.values():
            if exchange.unsaid and now_s - exchange.said_s >= self.policy.have_interval_s:
                self._say_have(exchange)
        if now_s - self._watched_s < self.policy.watch_interval_s - TIMER_SLACK_S:
            return
        self._watched_s = now_s
        self.site.mesh()
        self.requests.ticked()
        self.site.tell(self.tracker.ticked(now_s=now_s))
        self.holds.ticked()
        for tag, exchange in list(self.exchanges.items()):
            if exchange.wanted:
                exchange.look_for_silence(
                    now_s, silent_s=self.policy.stall_s, served_s=self.site.served_s
                )
                self.leases.watch(exchange)
            elif (
                not exchange.runs
                and (tag in self.holds.specs or not exchange.neighbours)
                and not any(exchange.held & ~n.held for n in exchange.neighbours.values())
            ):
                # Nobody here wants more of it, and no neighbour needs what this node has.
                del self.exchanges[tag]
        self._dirty = True

    # --- filling free hands -----------------------------------------------------------------

    def _work(self) -> None:
        """Ask neighbours and the registry for what is missing, first opened blob first."""
        requests = fetches = 0
        for exchange in self.exchanges.values():
            requests += max(0, exchange.requests - exchange.written_off)
            fetches += self.leases.hands(exchange)
        for exchange in self.exchanges.values():
            if not self.leases.fetching(exchange):
                continue
            if exchange.alone:
                fetches += self.leases.work_alone(exchange, self.policy.registry_fetches - fetches)
                continue
            self.leases.announce(exchange)
            free = self.requests.budget(exchange) - requests
            requests += self.requests.fill(exchange, free)
            if free <= 0 and not exchange.in_flight:
                exchange.await_turn(self.site.now_s)
        self._lend_hands(fetches)

    def _lend_hands(self, fetches: int) -> None:
        """Offer free hands for the registry: to whom has none first, to whom it fails last."""
        wanting = [
            exchange
            for exchange in self.exchanges.values()
            if self.leases.fetching(exchange) and not exchange.alone
        ]
        for exchange in sorted(wanting, key=self.leases.turn):
            full = fetches >= self.policy.registry_fetches
            if not full:
                fetches += self.leases.ask(exchange)
            elif not exchange.in_flight:
                if exchange.lease_asked_s is None:
                    exchange.await_turn(self.site.now_s)
                exchange.turn_awaited_s = self.site.now_s

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        self.tracker.check()
        self.uploads.check()
        for exchange in self.exchanges.values():
            exchange.check()
