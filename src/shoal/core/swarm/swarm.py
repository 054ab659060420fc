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
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.exchange import Exchange, RegistryRun
from shoal.core.swarm.holds import Holds
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.requests import Requests
from shoal.core.swarm.site import Site
from shoal.core.swarm.tracker import Tracker
from shoal.core.swarm.uploads import Uploads
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

# While its tracker says that others are at work, a blob may be late on a slow link.
GIVE_UP_FACTOR_WHEN_LED = 4
REGISTRY_FAILURES_MOST = 3  # in a row and without any progress, before readers are told


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
        self.site.connected(peer)
        for exchange in self.exchanges.values():
            if exchange.introduced.pop(peer, True) is None:
                self._join(exchange, peer)
        self.holds.peer_connected(peer)
        self._dirty = True

    def _peer_lost(self, event: on.PeerLost) -> None:
        peer = event.peer
        self.site.lost(peer, failed=event.failed)
        self.holds.peer_lost(peer)
        self.uploads.lost(peer)
        for exchange in self.exchanges.values():
            exchange.part(peer)
            if exchange.tracker == peer:
                exchange.tracker = None
                exchange.lease_asked_s = None
        if event.failed:
            # After a planned end the peer comes back, and its leases live on until they lapse.
            self.site.tell(self.tracker.lost(peer, now_s=self.site.now_s))
        self._serve()
        self._dirty = True

    def _arrived(self, peer: PeerId, message: say.Message) -> None:
        handler = self._on_message.get(type(message))
        if handler is not None:
            handler(peer, message)

    # --- the tracker's client ---------------------------------------------------------------

    def _announce(self, exchange: Exchange) -> None:
        """Tell the tracker what this node wants and has, if it can be told and is due."""
        tracker = exchange.tracker
        fresh = tracker is None
        if tracker is None:
            tracker = exchange.tracker = self.site.tracker_of(exchange.spec.tag)
        if not self.site.reachable(tracker):
            self.site.connect(tracker)
            exchange.announced_s = -1e9
            return
        due = self.site.now_s - exchange.announced_s > self.policy.announce_interval_s
        if not (due or fresh):
            return
        known_before = exchange.announced_s > 0 or exchange.held != 0
        sought = self.policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
        message = say.Announce(
            exchange.spec,
            exchange.held,
            wants=exchange.wanted,
            peers_sought=max(0, sought),
            takeover=fresh and known_before and len(self.site.members) > 1,
        )
        exchange.announced_s = self.site.now_s
        self.site.send(tracker, message)

    def _introduce_arrived(self, peer: PeerId, message: say.Introduce) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or exchange.tracker != peer or not exchange.wanted:
            return
        for other in message.peers:
            room = self.policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
            if (
                room <= 0
                or other == self.site.me
                or other not in self.site.members
                or other in exchange.neighbours
                or self.site.suspicion.holds(other, now_s=self.site.now_s)
            ):
                continue
            if other in self.site.links:
                self._join(exchange, other)
            else:
                exchange.introduced[other] = None
                self.site.connect(other)

    def _lease_granted(self, peer: PeerId, message: say.LeaseGranted) -> None:
        exchange = self.exchanges.get(message.tag)
        run = bitmap.run(message.first, message.count)
        if exchange is None or peer != exchange.tracker:
            self._end_lease(peer, message.tag, message.first, 0, say.LeaseOutcome.DECLINED)
            return
        exchange.lease_asked_s = None
        exchange.heard_s = self.site.now_s
        self._dirty = True
        if message.count < 1 or message.first + message.count > exchange.spec.pieces:
            return  # a tracker that makes no sense is asked again when the blob is stuck
        if not run & ~exchange.held:
            self._end_lease(peer, message.tag, message.first, message.count)
        elif not self._fetching(exchange) or message.first in exchange.runs:
            self._end_lease(peer, message.tag, message.first, 0, say.LeaseOutcome.DECLINED)
        else:
            self._fetch(exchange, message.first, message.count, leased=True)

    def _lease_none(self, peer: PeerId, message: say.LeaseNone) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is not None and peer == exchange.tracker:
            exchange.lease_asked_s = None
            exchange.heard_s = exchange.lease_refused_s = self.site.now_s
            self._dirty = True

    def _end_lease(
        self,
        tracker: PeerId,
        tag: BlobTag,
        first: int,
        done: int,
        outcome: say.LeaseOutcome = say.LeaseOutcome.DONE,
        retry_after_s: float = 0.0,
    ) -> None:
        self.site.send(tracker, say.LeaseEnded(tag, first, done, outcome, retry_after_s))

    # --- the registry -----------------------------------------------------------------------

    def _fetch(self, exchange: Exchange, first: int, count: int, *, leased: bool) -> None:
        exchange.runs[first] = RegistryRun(first, count, leased, self.site.now_s)
        for piece in range(first, first + count):
            if not exchange.held >> piece & 1:
                exchange.ask(piece, REGISTRY, self.site.now_s)
        self.site.out.append(do.FetchFromRegistry(exchange.spec.tag, first, count))

    def _fetching(self, exchange: Exchange) -> bool:
        """Whether this exchange still wants to fetch anything at all."""
        released_s = exchange.released_s
        kept = released_s is None or self.site.now_s - released_s < self.policy.released_s
        return exchange.wanted and kept and not exchange.complete

    def abandoned(self, tag: BlobTag) -> bool:
        """Whether nobody has wanted the blob for so long that nothing more is fetched of it."""
        exchange = self.exchanges.get(tag)
        return exchange is None or not (self._fetching(exchange) or exchange.complete)

    def _registry_ended(self, event: on.RegistryEnded) -> None:
        exchange = self.exchanges.get(event.tag)
        run = exchange.runs.pop(event.first, None) if exchange else None
        if exchange is None or run is None:
            return
        for piece in range(run.first, run.first + run.count):
            exchange.unask(piece, REGISTRY)
        self._dirty = True
        outcome = say.LeaseOutcome.DONE
        retry_s = event.retry_after_s
        if event.fault is RegistryFault.DENIED:
            exchange.denied = True
            outcome = say.LeaseOutcome.DENIED
        elif event.fault is RegistryFault.FAILED:
            outcome = say.LeaseOutcome.FAILED
            exchange.registry_failures += 1
            # Half a second, doubled with each failure in a row, unless the registry says longer.
            exchange.retry_at_s = self.site.now_s + max(
                retry_s, 0.25 * 2 ** min(5, exchange.registry_failures)
            )
        elif run.done < run.count:
            # Somebody else was writing the same pieces; look again shortly whether they came.
            outcome = say.LeaseOutcome.DECLINED
            exchange.retry_at_s = self.site.now_s + self.policy.stall_s
        if run.leased and exchange.tracker is not None:
            self._end_lease(
                exchange.tracker, event.tag, run.first, run.done, outcome, min(retry_s, 3600.0)
            )
        if (
            event.fault is not None
            and (exchange.denied or exchange.registry_failures >= REGISTRY_FAILURES_MOST)
            and not exchange.in_flight
            and not any(n.held & exchange.missing for n in exchange.neighbours.values())
        ):
            self._give_up(exchange, "the registry does not give it and no peer has it")

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

    def _give_up(self, exchange: Exchange, reason: str) -> None:
        if not exchange.wanted:
            return
        exchange.wanted = False
        self.site.out.append(do.GiveUp(exchange.spec.tag, reason))

    # --- pieces -----------------------------------------------------------------------------

    def _piece_progressed(self, event: on.PieceProgressed) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.progress_s = self.site.now_s
        for other in exchange.progressed(event.piece, event.source, self.site.now_s):
            self.site.send(other, say.Cancel(event.tag, event.piece))
            exchange.unask(event.piece, other)
        if event.source == REGISTRY:
            self._renew(exchange, event.piece, moved=False)

    def _renew(self, exchange: Exchange, piece: int, *, moved: bool) -> None:
        """Tell the tracker that a lease's bytes arrive."""
        for run in exchange.runs.values():
            if not run.first <= piece < run.first + run.count:
                continue
            if moved:
                run.done = max(run.done, piece - run.first + 1)
            last = run.done == run.count
            due = self.site.now_s - run.told_s > self.policy.lease_renewal_s
            if run.leased and exchange.tracker is not None and (due or (moved and not last)):
                run.told_s = self.site.now_s
                self.site.send(
                    exchange.tracker, say.LeaseProgress(exchange.spec.tag, run.first, run.done)
                )

    def _piece_stored(self, event: on.PieceStored) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None or exchange.held >> event.piece & 1:
            return
        self.requests.stored(exchange.spec.size(event.piece))
        if event.source == REGISTRY:
            exchange.registry_failures = 0
            self._renew(exchange, event.piece, moved=True)
        for source in exchange.stored(event.piece, self.site.now_s):
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

    # --- neighbours -------------------------------------------------------------------------

    def _join(self, exchange: Exchange, peer: PeerId) -> None:
        exchange.joined[peer] = None
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
        if peer not in exchange.joined:
            self._join(exchange, peer)
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
        if now_s - self._watched_s < self.policy.watch_interval_s:
            return
        self._watched_s = now_s
        self.requests.ticked()
        self.site.tell(self.tracker.ticked(now_s=now_s))
        self.holds.ticked()
        for tag, exchange in list(self.exchanges.items()):
            if exchange.wanted:
                self._watch(exchange)
            elif (
                not exchange.runs
                and (tag in self.holds.specs or not exchange.neighbours)
                and not any(exchange.held & ~n.held for n in exchange.neighbours.values())
            ):
                # Nobody here wants more of it, and no neighbour needs what this node has.
                del self.exchanges[tag]
        self._dirty = True

    def _watch(self, exchange: Exchange) -> None:
        """Look for a blob that makes no progress, and do the next harder thing about it."""
        if exchange.complete or not self._fetching(exchange):
            return
        now_s, policy = self.site.now_s, self.policy
        silent_s = now_s - exchange.progress_s
        if silent_s <= policy.lease_patience_s:
            return
        led = now_s - exchange.heard_s <= policy.lease_patience_s
        patience_s = policy.give_up_s * (GIVE_UP_FACTOR_WHEN_LED if led else 1)
        first, _ = bitmap.lowest_run(exchange.missing, longest=1)
        if exchange.denied or silent_s > patience_s:
            self._give_up(exchange, f"no progress for {silent_s:.0f} s from peers or registry")
        elif silent_s > policy.alone_after_s and not led and not exchange.runs:
            self._fetch(exchange, first, 1, leased=False)
        elif exchange.tracker is not None and now_s - exchange.lease_refused_s > policy.stall_s:
            exchange.lease_refused_s = now_s
            self.site.send(exchange.tracker, say.LeaseWanted(exchange.spec.tag, first))

    # --- filling free hands -----------------------------------------------------------------

    def _work(self) -> None:
        """Ask neighbours and the registry for what is missing, first opened blob first."""
        requests = fetches = 0
        for exchange in self.exchanges.values():
            requests += exchange.requests
            fetches += len(exchange.runs) + (exchange.lease_asked_s is not None)
        for exchange in self.exchanges.values():
            if not self._fetching(exchange):
                continue
            if exchange.alone:
                fetches += self._work_alone(exchange, self.policy.registry_fetches - fetches)
                continue
            self._announce(exchange)
            free = self.requests.budget(exchange) - requests
            requests += self.requests.fill(exchange, free)
            if fetches < self.policy.registry_fetches:
                fetches += self._ask_lease(exchange)
            elif free <= 0 or not (exchange.runs or exchange.lease_asked_s is not None):
                # Earlier blobs have every hand: this one is not stuck, it waits for its turn.
                exchange.progress_s = self.site.now_s

    def _work_alone(self, exchange: Exchange, free: int) -> int:
        begun = 0
        longest = max(1, self.policy.lease_bytes_most // exchange.spec.piece_bytes)
        while begun < free and self.site.now_s >= exchange.retry_at_s and not exchange.denied:
            need = exchange.missing & ~exchange.in_flight_bits
            if not need:
                break
            first, count = bitmap.lowest_run(need, longest=longest)
            self._fetch(exchange, first, count, leased=False)
            begun += 1
        return begun

    def _ask_lease(self, exchange: Exchange) -> bool:
        """Offer a free hand to the blob's tracker; return whether one was offered."""
        tracker = exchange.tracker
        if (
            tracker is None
            or not self.site.reachable(tracker)
            or exchange.announced_s < 0
            or exchange.denied
            or exchange.lease_asked_s is not None
            or not exchange.missing & ~exchange.in_flight_bits
            or self.site.now_s < exchange.retry_at_s
            or self.site.now_s - exchange.lease_refused_s < self.policy.announce_interval_s
        ):
            return False
        exchange.lease_asked_s = self.site.now_s
        self.site.send(tracker, say.LeaseWanted(exchange.spec.tag))
        return True

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        self.tracker.check()
        self.uploads.check()
        for exchange in self.exchanges.values():
            exchange.check()
