"""One node's part in every swarm: events in, orders out.

`Swarm` joins the exchange of each blob, the uploads, and the tracker that this node is for others.
The agent and the simulator drive the same object: both tell it what happened and carry out what it
returns. It keeps no clock: every call brings `now_s`, seconds on any clock that never goes back.
"""

# Theory of operation. A wanted blob becomes an Exchange. Its tracker (a member chosen by hash)
# introduces neighbours and leases pieces that no one has. Pieces arrive from the registry under a
# lease, or from a neighbour by request; each is told to the neighbours that lack it. Whenever
# something changed about a blob, `Filling` fills the free requests and the free hands for the
# registry. Nothing is planned ahead.

from typing import TYPE_CHECKING, Any

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.announcing import Announcing
from shoal.core.swarm.arrivals import Arrivals
from shoal.core.swarm.deputies import Deputies
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.filling import Filling
from shoal.core.swarm.gains import Gains
from shoal.core.swarm.holds import Holds
from shoal.core.swarm.introducing import Introducing
from shoal.core.swarm.leases import Leases
from shoal.core.swarm.neighbours import Neighbours
from shoal.core.swarm.patience import Patience
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.referrals import Referrals
from shoal.core.swarm.rejections import Rejections
from shoal.core.swarm.requests import Requests
from shoal.core.swarm.site import Site
from shoal.core.swarm.tracker import Tracker
from shoal.core.swarm.uploads import Uploads
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


SUSPECTS_MOST = 128  # signers in one message: each takes 300 bytes at most
TIMER_SLACK_S = 0.001  # a timer may fire a hair before its time: that tick must not be lost


class Swarm:
    """The decisions of one node. No I/O, clock, or logging of its own."""

    def __init__(self, *, me: PeerId, rng: "Random", policy: Policy = DEFAULT) -> None:
        self.policy = policy
        self.site = Site(me, policy)
        self.exchanges: dict[BlobTag, Exchange] = {}
        self.holds = Holds(self.site, rng)
        self.tracker = Tracker(rng, policy, unsettled=self.site.unsettled)
        self.uploads = Uploads(policy)
        self.requests = Requests(self.site, rng)
        self.leases = Leases(self.site)
        self.deputies = Deputies(self.site, rng)
        introducing = Introducing(self.site)
        self.announcing = Announcing(self.site, introducing)
        self.patience = Patience(self.site, self.leases, introducing)
        self.rejections = Rejections()
        self.gains = Gains()
        self.neighbours = Neighbours(
            self.site, self.exchanges, self.holds, self.uploads, self.gains
        )
        self.referrals = Referrals(self.site, self.exchanges, self.holds, rng)
        self.arrivals = Arrivals(
            self.site,
            self.exchanges,
            self.requests,
            self.leases,
            self.neighbours,
            self.rejections,
        )
        self.filling = Filling(
            self.site, self.exchanges, self.requests, self.leases, self.announcing
        )
        self._watched_s = -1e9
        self._on_event: dict[type, Callable[[Any], None]] = {
            on.MembersChanged: self._members_changed,
            on.PeerConnected: self._peer_connected,
            on.PeerLost: self._peer_lost,
            on.BlobWanted: self._blob_wanted,
            on.ReaderMoved: self._reader_moved,
            on.BlobReleased: self._blob_released,
            on.BlobStored: self._blob_stored,
            on.BlobDropped: self._blob_dropped,
            on.BlobRejected: self._blob_rejected,
            on.PieceProgressed: self.arrivals.progressed,
            on.PieceStored: self.arrivals.stored,
            on.PieceSpoiled: self.arrivals.spoiled,
            on.PieceDisbelieved: self.arrivals.disbelieved,
            on.RegistryEnded: self._registry_ended,
            on.UploadEnded: self.neighbours.upload_ended,
            on.UploadsLimited: self.uploads.limited,
            on.PeerLied: lambda event: self.site.leave_out(
                event.peer, "sent pieces of another blob"
            ),
            on.Ticked: self._ticked,
        }
        self._on_message: dict[type, Callable[[PeerId, Any], None]] = {
            say.Join: self.neighbours.joined,
            say.Have: self.neighbours.told,
            say.Request: self.neighbours.requested,
            say.Cancel: self.neighbours.cancelled,
            say.Busy: self.neighbours.busy,
            say.Leave: self._leave_arrived,
            say.Introduce: self.neighbours.introduced,
            say.LeaseGranted: self._lease_granted,
            say.LeaseNone: self._lease_none,
            say.Announce: self._announced,
            say.LeaseWanted: self._lease_wanted,
            say.Suspects: lambda peer, m: self.site.tell(
                self.tracker.told_suspects(peer, m, now_s=self.site.now_s)
            ),
            say.LeaseProgress: lambda peer, m: self.site.tell(
                self.tracker.lease_progressed(peer, m, now_s=self.site.now_s)
            ),
            say.LeaseEnded: self._lease_ended,
            say.Delegate: self._delegated,
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
        site = self.site
        site.begin(now_s)
        if type(event) is on.MessageArrived:  # as nearly all are
            handler = self._on_message.get(type(event.message))
            if handler is not None:
                handler(event.peer, event.message)
        else:
            self._on_event[type(event)](event)
        while site.mailbox or site.changed or site.touched:
            if site.mailbox:
                self._arrived(site.me, site.mailbox.popleft())
            else:
                self.filling.work()
        return site.out

    # --- who is there -----------------------------------------------------------------------

    def _members_changed(self, event: on.MembersChanged) -> None:
        before = self.site.members
        members = event.members
        if self.site.me not in members:
            members |= {self.site.me}
        self.site.members = members
        if len(before) == 1 and len(members) > 1:
            self.site.joined_s = self.site.now_s
        joined = members - before
        for exchange in self.exchanges.values():
            exchange.deputies_due_s = -1e9
            if exchange.tracker not in self.site.members:
                exchange.tracker = None
        self.holds.members_changed(joined)
        if len(before) > 1 and joined:
            # Such a node may be about to pull, and is told by holders what it is to track.
            self.site.mesh()
            self.holds.ticked()
        self.site.changed = True

    def _peer_connected(self, event: on.PeerConnected) -> None:
        peer = event.peer
        if self.site.left_out(peer):
            self.site.out.append(do.Disconnect(peer, "is left out for what it sent"))
            return
        returned = self.site.returns(peer)
        for exchange in self.exchanges.values():
            if exchange.has_deputy(peer):
                exchange.deputies_due_s = -1e9
            self.announcing.back(exchange, peer)
        self.site.connected(peer)
        for exchange in self.exchanges.values():
            if exchange.introduced.pop(peer, True) is None:
                self.neighbours.join(exchange, peer)
        self.holds.peer_connected(peer, returned=returned)
        self._settle_referrals()
        self.site.changed = True

    def _peer_lost(self, event: on.PeerLost) -> None:
        peer = event.peer
        broke = event.failed and peer in self.site.links
        self.site.lost(peer, failed=event.failed, refused=event.refused)
        self.holds.peer_lost(peer)
        self.uploads.lost(peer)
        for exchange in self.exchanges.values():
            if event.failed and exchange.hopes_for(peer):
                exchange.bereft_s = self.site.now_s
            exchange.part(peer)
            exchange.lose_deputy(peer)
            if exchange.tracker == peer:
                exchange.tracker = None
                exchange.left = (peer, self.site.now_s)
                if broke and self.site.suspicion.first(peer):
                    self.site.connect(peer)  # it may be only the connection
        if self.site.left_out(peer):
            tags = list(self.tracker.tables)
            self.site.tell(self.tracker.left(peer, tags, now_s=self.site.now_s))
            self.deputies.left(peer, list(self.deputies.rolls))
        elif event.failed:
            # After a planned end the peer comes back, and its leases live on until they lapse.
            self.site.tell(self.tracker.lost(peer, now_s=self.site.now_s))
            self.deputies.lost(peer)
        self._settle_referrals()
        self.neighbours.serve()
        self.site.changed = True

    def _settle_referrals(self) -> None:
        for peer, message in self.referrals.settled():
            self._announced(peer, message)

    def _arrived(self, peer: PeerId, message: say.Message) -> None:
        handler = self._on_message.get(type(message))
        if handler is not None:
            handler(peer, message)

    def _leave_arrived(self, peer: PeerId, message: say.Leave) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or not exchange.is_refused_by(peer):
            self.site.tell(self.tracker.left(peer, [message.tag], now_s=self.site.now_s))
            self.deputies.left(peer, [message.tag])
        self.rejections.left(peer, message.tag)
        self.neighbours.left(peer, message)

    def _announced(self, peer: PeerId, message: say.Announce) -> None:
        tag = message.spec.tag
        if message.to_deputy:
            self.deputies.announced(peer, message)
        elif self.referrals.applies(peer, tag):
            self.tracker.tables.pop(tag, None)  # from before this node took part itself
            self.referrals.refer(peer, message)
        else:
            self.site.tell(self.tracker.announced(peer, message, now_s=self.site.now_s))

    def _delegated(self, peer: PeerId, message: say.Delegate) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or not exchange.wanted:
            self.holds.delegated(peer, message.tag)
        elif exchange.has_deputy(peer):
            exchange.be_delegate()
            self.site.changed = True

    # --- leases -----------------------------------------------------------------------------

    def _lease_wanted(self, peer: PeerId, message: say.LeaseWanted) -> None:
        if not self.tracker.knows(peer, message.tag) and self.deputies.hears(peer, message.tag):
            self.deputies.appealed(peer, message.tag)
        elif self.referrals.applies(peer, message.tag):
            self.site.send(peer, say.LeaseNone(message.tag))
        else:
            self.site.tell(self.tracker.lease_wanted(peer, message, now_s=self.site.now_s))

    def _lease_granted(self, peer: PeerId, message: say.LeaseGranted) -> None:
        hands = sum(self.leases.moving(exchange) for exchange in self.exchanges.values())
        spare = hands < self.policy.registry_fetches
        self.leases.granted(peer, message, self.exchanges.get(message.tag), spare=spare)
        self.site.touch(message.tag)

    def _lease_none(self, peer: PeerId, message: say.LeaseNone) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is not None and peer == exchange.tracker:
            self.leases.refused(exchange)
            self.site.touch(message.tag)
        elif exchange is not None and exchange.tracker is None and exchange.has_deputy(peer):
            exchange.heard_s = self.site.now_s

    def _lease_ended(self, peer: PeerId, message: say.LeaseEnded) -> None:
        self.site.tell(self.tracker.lease_ended(peer, message, now_s=self.site.now_s))
        if message.outcome is say.LeaseOutcome.DENIED:
            self.deputies.denied(peer, message.tag)

    def _registry_ended(self, event: on.RegistryEnded) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is not None:
            self.leases.ended(exchange, event)
            self.site.touch(event.tag)

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
            exchange = Exchange(
                event.spec, event.held, self.site.now_s, self.site.now_s, self.gains
            )
            exchange.unvouched = event.unvouched
            self.exchanges[tag] = exchange
        exchange.wanted = True
        exchange.alone = event.alone or self.rejections.believes_nobody(tag)
        exchange.doubted = set(self.rejections.doubted(tag))
        exchange.released_s = None
        exchange.progress_s = self.site.now_s
        exchange.registry_failures = 0
        # Whoever wants it now brought a credential that was accepted.
        exchange.denied = exchange.misled = self.rejections.misled(tag)
        self.site.changed = True

    def _reader_moved(self, event: on.ReaderMoved) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is not None:
            exchange.reader_piece = event.piece
            self.site.touch(event.tag)

    def _blob_released(self, event: on.BlobReleased) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is not None:
            exchange.released_s = self.site.now_s

    def _blob_stored(self, event: on.BlobStored) -> None:
        exchange = self.exchanges.get(event.spec.tag)
        if exchange is not None:
            exchange.wanted = False
            exchange.doubted.clear()
            exchange.unsaid |= exchange.unvouched  # this node vouches for all of it from now on
            exchange.unvouched = 0
            self._name_liars(exchange)
        self.rejections.kept(event.spec.tag)
        if exchange is None:
            self.holds.add(event.spec)
        else:
            self.holds.add(
                event.spec,
                told_by_key=exchange.introducers,
                stands_in=bool(exchange.shunned),
                delegate=exchange.delegate,
            )

    def _name_liars(self, exchange: Exchange) -> None:
        """The blob is right now: whoever said something else of it before brought that in."""
        accounts = self.rejections.accounts.get(exchange.spec.tag)
        if accounts is None:
            return
        right = {piece: hash_ for piece, (_, hash_) in exchange.vouched.items()}
        for signer, pieces in sorted(accounts.liars(right).items()):
            bits = sum(1 << piece for piece in pieces)
            self.site.out.append(do.NameSigner(signer, exchange.spec.tag, bits))
            if signer != self.site.me:
                self.site.leave_out(signer, "vouched for wrong bytes")

    def _blob_dropped(self, event: on.BlobDropped) -> None:
        keys = self.holds.keys(event.tag)
        self.holds.forget(event.tag)
        self.uploads.dropped(event.tag)
        exchange = self.exchanges.pop(event.tag, None)
        told: set[PeerId] = set()
        if exchange is not None:
            exchange.close()
            # Or a client that comes back would wait for a fetch that writes to nothing.
            for first in exchange.runs:
                self.site.out.append(do.StopRegistryFetch(event.tag, first))
            told.update(exchange.neighbours, exchange.introducers.values())
        else:
            told.update(map(self.site.tracker_of, keys))
        for peer in sorted(told):
            self.site.send(peer, say.Leave(event.tag))
        self.site.changed = True

    def _blob_rejected(self, event: on.BlobRejected) -> None:
        # Whoever pulled it from here must not go on: what this node held is as if it never was.
        # Those who left before must know too, or they would blame this node for what it passed on.
        exchange = self.exchanges.get(event.tag)
        suspects = exchange.suspects() if exchange is not None else {}
        leavers = exchange.leavers if exchange is not None else set()
        if exchange is not None and (exchange.vouched or exchange.unvouched):
            self.rejections.rejected_as_vouched(
                event.tag,
                exchange.vouched,
                me=self.site.me,
                is_all=not exchange.unvouched,
            )
            if exchange.tracker is not None:
                self.site.send(exchange.tracker, _suspects(exchange))
        self._blob_dropped(on.BlobDropped(event.tag))
        for peer in sorted(leavers):
            self.site.send(peer, say.Leave(event.tag))
        if exchange is not None and exchange.senders and not exchange.vouched:
            self.rejections.rejected(event.tag, suspects)
            liars = [peer for peer, whole in suspects.items() if whole]
            self.site.tell(self.tracker.doubt(event.tag, liars, now_s=self.site.now_s))

    # --- time -------------------------------------------------------------------------------

    def _ticked(self, _: on.Ticked) -> None:
        now_s = self.site.now_s
        for exchange in self.exchanges.values():
            if exchange.unsaid and now_s - exchange.said_s >= self.policy.have_interval_s:
                self.neighbours.say_have(exchange)
        if now_s - self._watched_s < self.policy.watch_interval_s - TIMER_SLACK_S:
            return
        self._watched_s = now_s
        self.site.mesh()
        self.requests.ticked()
        self.leases.ticked()
        self.site.tell(self.tracker.ticked(now_s=now_s))
        self.deputies.ticked()
        self.holds.ticked()
        for tag, exchange in list(self.exchanges.items()):
            if exchange.wanted:
                exchange.look_for_silence(
                    now_s, silent_s=self.policy.stall_s, served_s=self.site.served_s
                )
                self.patience.watch(exchange)
            elif (
                not exchange.runs
                and (tag in self.holds.specs or not exchange.neighbours)
                and not any(exchange.held & ~n.held for n in exchange.neighbours.values())
            ):
                # Nobody here wants more of it, and no neighbour needs what this node has.
                exchange.close()
                del self.exchanges[tag]
        self.site.changed = True

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        self.tracker.check()
        self.deputies.check()
        self.uploads.check()
        self.filling.check()
        for exchange in self.exchanges.values():
            exchange.check()
        for peer, gain in self.gains.by_peer.items():
            met = (e.neighbours[peer] for e in self.exchanges.values() if peer in e.neighbours)
            assert gain.gained_bytes == sum(neighbour.gained_bytes for neighbour in met)


def _suspects(exchange: Exchange) -> say.Suspects:
    """Return who brought in which pieces of a blob that is wrong, as many as a message holds."""
    brought: dict[PeerId, int] = {}
    for piece, (signer, _) in exchange.vouched.items():
        brought[signer] = brought.get(signer, 0) | 1 << piece
    return say.Suspects(exchange.spec.tag, tuple(sorted(brought.items()))[:SUSPECTS_MOST])
