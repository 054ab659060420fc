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

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.exchange import Exchange, RegistryRun
from shoal.core.swarm.picker import rarest
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.suspicion import Suspicion
from shoal.core.swarm.tracker import Replies, Tracker
from shoal.core.swarm.uploads import Uploads
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from random import Random

HOLD_ANNOUNCES_A_TICK = 20  # a node with thousands of blobs must not flood its trackers at start
REGISTRY_FAILURES_MOST = 3  # in a row and without any progress, before readers are told


class Swarm:
    """The decisions of one node. No I/O, clock, or logging of its own."""

    def __init__(self, *, me: PeerId, rng: "Random", policy: Policy = DEFAULT) -> None:
        self.me = me
        self.policy = policy
        self.members: frozenset[PeerId] = frozenset({me})
        self.exchanges: dict[BlobTag, Exchange] = {}
        self.holdings: dict[BlobTag, BlobSpec] = {}
        self.tracker = Tracker(rng, policy)
        self.uploads = Uploads(policy)
        self.links: set[PeerId] = set()
        self._rng = rng
        self._dialing: set[PeerId] = set()
        self._suspicion = Suspicion(policy)
        self._hold_due: dict[BlobTag, float] = {}
        self._hold_pending: dict[PeerId, list[BlobTag]] = {}
        self._mailbox: list[say.Message] = []  # what this node says to itself
        self._out: list[do.Effect] = []
        self._now_s = 0.0
        self._dirty = False
        self._stored_bytes = 0
        self._rate_bytes_per_s = 0.0
        self._rated_s = 0.0
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
            on.PeerLied: lambda event: self._leave_out(event.peer, "sent pieces of another blob"),
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
            say.Announce: lambda peer, m: self._tell(
                self.tracker.announced(peer, m, now_s=self._now_s)
            ),
            say.LeaseWanted: lambda peer, m: self._tell(
                self.tracker.lease_wanted(peer, m, now_s=self._now_s)
            ),
            say.LeaseProgress: lambda peer, m: self._tell(
                self.tracker.lease_progressed(peer, m, now_s=self._now_s)
            ),
            say.LeaseEnded: lambda peer, m: self._tell(
                self.tracker.lease_ended(peer, m, now_s=self._now_s)
            ),
        }

    @property
    def tick_s(self) -> float:
        """How soon the driver should send the next `Ticked`, in seconds."""
        busy = any(e.wanted and not e.complete for e in self.exchanges.values())
        return 0.1 if busy or any(t.leases for t in self.tracker.tables.values()) else 1.0

    def handle(self, event: on.Event, *, now_s: float) -> list[do.Effect]:
        """Apply one event; return what the caller must now do, in order."""
        self._now_s = now_s
        self._out = []
        self._on_event[type(event)](event)
        self._settle()
        return self._out

    def _settle(self) -> None:
        """Deliver what this node said to itself, and fill free hands, until nothing is left."""
        while self._mailbox or self._dirty:
            if self._mailbox:
                self._arrived(self.me, self._mailbox.pop(0))
            else:
                self._dirty = False
                self._work()

    # --- who is there -----------------------------------------------------------------------

    def _members_changed(self, event: on.MembersChanged) -> None:
        self.members = event.members | {self.me}
        for exchange in self.exchanges.values():
            if exchange.tracker not in self.members:
                exchange.tracker = None
        for tag in self.holdings:
            # Spread over some seconds: after a change every node has something to announce.
            due_s = self._now_s + self._rng.random() * self.policy.announce_interval_s
            self._hold_due[tag] = min(due_s, self._hold_due.get(tag, due_s))
        self._dirty = True

    def _peer_connected(self, event: on.PeerConnected) -> None:
        peer = event.peer
        self._dialing.discard(peer)
        self.links.add(peer)
        self._suspicion.cleared(peer)
        for exchange in self.exchanges.values():
            if exchange.introduced.pop(peer, True) is None:
                self._join(exchange, peer)
        for tag in self._hold_pending.pop(peer, ()):
            self._announce_hold(tag)
        self._dirty = True

    def _peer_lost(self, event: on.PeerLost) -> None:
        peer = event.peer
        self._dialing.discard(peer)
        self.links.discard(peer)
        self._hold_pending.pop(peer, None)
        if event.failed:
            self._suspicion.failed(peer, now_s=self._now_s)
        self.uploads.lost(peer)
        for exchange in self.exchanges.values():
            exchange.part(peer)
            if exchange.tracker == peer:
                exchange.tracker = None
                exchange.lease_asked_s = None
        self._tell(self.tracker.lost(peer, now_s=self._now_s))
        self._serve()
        self._dirty = True

    def _leave_out(self, peer: PeerId, reason: str) -> None:
        self._suspicion.banned(peer, now_s=self._now_s)
        if peer in self.links:
            self._out.append(do.Disconnect(peer, reason))

    def _connect(self, peer: PeerId) -> None:
        if peer not in self.links and peer not in self._dialing:
            self._dialing.add(peer)
            self._out.append(do.Connect(peer))

    def _send(self, peer: PeerId, message: say.Message) -> None:
        if peer == self.me:
            self._mailbox.append(message)
        elif peer in self.links:
            self._out.append(do.Send(peer, message))

    def _tell(self, replies: Replies) -> None:
        for peer, message in replies:
            self._send(peer, message)

    def _arrived(self, peer: PeerId, message: say.Message) -> None:
        handler = self._on_message.get(type(message))
        if handler is not None:
            handler(peer, message)

    def _reachable(self, peer: PeerId) -> bool:
        return peer == self.me or peer in self.links

    # --- the tracker's client ---------------------------------------------------------------

    def _tracker_of(self, tag: BlobTag) -> PeerId:
        """Return the best member that is not suspected; this node itself is never suspected."""
        for peer in ranked(tag, self.members):
            if peer == self.me or not self._suspicion.holds(peer, now_s=self._now_s):
                return peer
        return self.me

    def _announce(self, exchange: Exchange) -> None:
        """Tell the tracker what this node wants and has, if it can be told and is due."""
        tracker = exchange.tracker
        fresh = tracker is None
        if tracker is None:
            tracker = exchange.tracker = self._tracker_of(exchange.spec.tag)
        if not self._reachable(tracker):
            self._connect(tracker)
            exchange.announced_s = -1e9
            return
        due = self._now_s - exchange.announced_s > self.policy.announce_interval_s
        if not (due or fresh):
            return
        known_before = exchange.announced_s > 0 or exchange.held != 0
        sought = self.policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
        message = say.Announce(
            exchange.spec,
            exchange.held,
            wants=exchange.wanted,
            peers_sought=max(0, sought),
            takeover=fresh and known_before and len(self.members) > 1,
        )
        exchange.announced_s = self._now_s
        self._send(tracker, message)

    def _announce_hold(self, tag: BlobTag) -> None:
        spec = self.holdings.get(tag)
        if spec is None:
            self._hold_due.pop(tag, None)
            return
        tracker = self._tracker_of(tag)
        if not self._reachable(tracker):
            self._hold_pending.setdefault(tracker, []).append(tag)
            self._connect(tracker)
            self._hold_due[tag] = self._now_s + self.policy.announce_interval_s
            return
        self._send(tracker, say.Announce(spec, bitmap.full(spec.pieces), False, 0))
        interval_s = self.policy.hold_announce_interval_s
        self._hold_due[tag] = self._now_s + interval_s * (0.75 + 0.5 * self._rng.random())

    def _introduce_arrived(self, peer: PeerId, message: say.Introduce) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or exchange.tracker != peer or not exchange.wanted:
            return
        for other in message.peers:
            room = self.policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
            if (
                room <= 0
                or other == self.me
                or other not in self.members
                or other in exchange.neighbours
                or self._suspicion.holds(other, now_s=self._now_s)
            ):
                continue
            if other in self.links:
                self._join(exchange, other)
            else:
                exchange.introduced[other] = None
                self._connect(other)

    def _lease_granted(self, peer: PeerId, message: say.LeaseGranted) -> None:
        exchange = self.exchanges.get(message.tag)
        run = bitmap.run(message.first, message.count)
        if exchange is None or peer != exchange.tracker:
            self._end_lease(peer, message.tag, message.first, 0, say.LeaseOutcome.DECLINED)
            return
        exchange.lease_asked_s = None
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
            exchange.lease_refused_s = self._now_s
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
        self._send(tracker, say.LeaseEnded(tag, first, done, outcome, retry_after_s))

    # --- the registry -----------------------------------------------------------------------

    def _fetch(self, exchange: Exchange, first: int, count: int, *, leased: bool) -> None:
        exchange.runs[first] = RegistryRun(first, count, leased, self._now_s)
        for piece in range(first, first + count):
            if not exchange.held >> piece & 1:
                exchange.ask(piece, REGISTRY, self._now_s)
        self._out.append(do.FetchFromRegistry(exchange.spec.tag, first, count))

    def _fetching(self, exchange: Exchange) -> bool:
        """Whether this exchange still wants to fetch anything at all."""
        released_s = exchange.released_s
        kept = released_s is None or self._now_s - released_s < self.policy.released_s
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
            exchange.retry_at_s = self._now_s + max(
                retry_s, 0.25 * 2 ** min(5, exchange.registry_failures)
            )
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
            exchange = Exchange(event.spec, event.held, self._now_s, self._now_s)
            self.exchanges[tag] = exchange
        exchange.wanted = True
        exchange.alone = event.alone
        exchange.released_s = None
        exchange.progress_s = self._now_s
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
            exchange.released_s = self._now_s

    def _blob_stored(self, event: on.BlobStored) -> None:
        spec = event.spec
        self.holdings[spec.tag] = spec
        exchange = self.exchanges.get(spec.tag)
        if exchange is None:
            # Known from before a restart: announced over the next seconds, not all at once.
            self._hold_due[spec.tag] = self._now_s + 2 * self._rng.random()
            return
        exchange.wanted = False
        if exchange.tracker is not None and self._reachable(exchange.tracker):
            self._send(
                exchange.tracker,
                say.Announce(spec, bitmap.full(spec.pieces), wants=False, peers_sought=0),
            )
        self._hold_due[spec.tag] = self._now_s + self.policy.hold_announce_interval_s

    def _blob_dropped(self, event: on.BlobDropped) -> None:
        self.holdings.pop(event.tag, None)
        self._hold_due.pop(event.tag, None)
        exchange = self.exchanges.pop(event.tag, None)
        told: set[PeerId] = set()
        if exchange is not None:
            told.update(exchange.neighbours)
            if exchange.tracker is not None:
                told.add(exchange.tracker)
        else:
            told.add(self._tracker_of(event.tag))
        for peer in sorted(told):
            self._send(peer, say.Leave(event.tag))
        self._dirty = True

    def _blob_rejected(self, event: on.BlobRejected) -> None:
        # Whoever pulled it from here must not go on: what this node held is as if it never was.
        self._blob_dropped(on.BlobDropped(event.tag))

    def _give_up(self, exchange: Exchange, reason: str) -> None:
        if not exchange.wanted:
            return
        exchange.wanted = False
        self._out.append(do.GiveUp(exchange.spec.tag, reason))

    # --- pieces -----------------------------------------------------------------------------

    def _piece_progressed(self, event: on.PieceProgressed) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.progress_s = self._now_s
        for other in exchange.progressed(event.piece, event.source, self._now_s):
            self._send(other, say.Cancel(event.tag, event.piece))
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
            due = self._now_s - run.told_s > self.policy.lease_renewal_s
            if run.leased and exchange.tracker is not None and (due or (moved and not last)):
                run.told_s = self._now_s
                self._send(
                    exchange.tracker, say.LeaseProgress(exchange.spec.tag, run.first, run.done)
                )

    def _piece_stored(self, event: on.PieceStored) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None or exchange.held >> event.piece & 1:
            return
        self._stored_bytes += exchange.spec.size(event.piece)
        if event.source == REGISTRY:
            exchange.registry_failures = 0
            self._renew(exchange, event.piece, moved=True)
        for source in exchange.stored(event.piece, self._now_s):
            if source not in (event.source, REGISTRY):
                self._send(source, say.Cancel(event.tag, event.piece))
        have = say.Have(event.tag, (event.piece,))
        for peer, neighbour in exchange.neighbours.items():
            if not neighbour.held >> event.piece & 1:
                self._send(peer, have)
        for run in list(exchange.runs.values()):
            if not bitmap.run(run.first, run.count) & ~exchange.held and run.done < run.count:
                self._out.append(do.StopRegistryFetch(event.tag, run.first))
        self._dirty = True

    def _piece_spoiled(self, event: on.PieceSpoiled) -> None:
        exchange = self.exchanges.get(event.tag)
        if exchange is None:
            return
        exchange.unask(event.piece, event.source)
        self._dirty = True
        neighbour = exchange.neighbours.get(event.source)
        if neighbour is not None:
            neighbour.busy_until_s = self._now_s + self.policy.stall_s
            if event.wrong and self._suspicion.spoiled(event.source):
                self._leave_out(event.source, "keeps sending pieces that fail their check")

    # --- neighbours -------------------------------------------------------------------------

    def _join(self, exchange: Exchange, peer: PeerId) -> None:
        exchange.joined[peer] = None
        self._send(peer, say.Join(exchange.spec, exchange.held))

    def _join_arrived(self, peer: PeerId, message: say.Join) -> None:
        tag = message.spec.tag
        exchange = self.exchanges.get(tag)
        if exchange is None and tag in self.holdings:
            exchange = Exchange(
                message.spec, bitmap.full(message.spec.pieces), self._now_s, self._now_s
            )
            exchange.wanted = False
            self.exchanges[tag] = exchange
        full = exchange is not None and len(exchange.neighbours) >= self.policy.neighbours_most
        if exchange is None or exchange.alone or (full and peer not in exchange.neighbours):
            self._send(peer, say.Leave(tag))
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
            self._send(peer, say.Busy(message.tag, message.piece))
            return
        self._serve()

    def _busy_arrived(self, peer: PeerId, message: say.Busy) -> None:
        exchange = self.exchanges.get(message.tag)
        if exchange is None or peer not in exchange.neighbours:
            return
        exchange.unask(message.piece, peer)
        exchange.neighbours[peer].busy_until_s = self._now_s + 0.1
        self._dirty = True

    def _leave_arrived(self, peer: PeerId, message: say.Leave) -> None:
        self._tell(self.tracker.left(peer, [message.tag], now_s=self._now_s))
        exchange = self.exchanges.get(message.tag)
        if exchange is not None:
            exchange.part(peer)
            self._dirty = True

    def _upload_ended(self, event: on.UploadEnded) -> None:
        self.uploads.ended(event.peer, event.tag, event.piece)
        self._serve()

    def _serve(self) -> None:
        while (upload := self.uploads.next()) is not None:
            self._out.append(do.SendPiece(*upload))

    # --- time -------------------------------------------------------------------------------

    def _ticked(self, _: on.Ticked) -> None:
        elapsed_s = self._now_s - self._rated_s
        if elapsed_s > 0:
            rate = self._stored_bytes / elapsed_s
            self._rate_bytes_per_s += min(1.0, 2 * elapsed_s) * (rate - self._rate_bytes_per_s)
            self._stored_bytes, self._rated_s = 0, self._now_s
        self._tell(self.tracker.ticked(now_s=self._now_s))
        due = [tag for tag, due_s in self._hold_due.items() if due_s <= self._now_s]
        for tag in due[:HOLD_ANNOUNCES_A_TICK]:
            self._announce_hold(tag)
        for tag, exchange in list(self.exchanges.items()):
            if exchange.wanted:
                self._watch(exchange)
            elif (
                not exchange.runs
                and (tag in self.holdings or not exchange.neighbours)
                and not any(exchange.held & ~n.held for n in exchange.neighbours.values())
            ):
                # Nobody here wants more of it, and no neighbour needs what this node has.
                del self.exchanges[tag]
        self._dirty = True

    def _watch(self, exchange: Exchange) -> None:
        """Look for a blob that makes no progress, and do the next harder thing about it."""
        if exchange.complete or not self._fetching(exchange):
            return
        silent_s = self._now_s - exchange.progress_s
        tag = exchange.spec.tag
        patience_s = self.policy.lease_patience_s if exchange.denied else self.policy.give_up_s
        if silent_s > patience_s:
            self._give_up(exchange, f"no progress for {silent_s:.0f} s from peers or registry")
        elif silent_s > self.policy.alone_after_s and not exchange.denied and not exchange.runs:
            first, _ = bitmap.lowest_run(exchange.missing, longest=1)
            self._fetch(exchange, first, 1, leased=False)
        elif (
            silent_s > self.policy.lease_patience_s
            and exchange.tracker is not None
            and self._now_s - exchange.lease_refused_s > self.policy.stall_s
        ):
            exchange.lease_refused_s = self._now_s
            first, _ = bitmap.lowest_run(exchange.missing, longest=1)
            self._send(exchange.tracker, say.LeaseWanted(tag, first))

    # --- filling free hands -----------------------------------------------------------------

    def _work(self) -> None:
        """Ask neighbours and the registry for what is missing, first opened blob first."""
        requests = sum(exchange.requests() for exchange in self.exchanges.values())
        fetches = sum(
            len(exchange.runs) + (exchange.lease_asked_s is not None)
            for exchange in self.exchanges.values()
        )
        for exchange in self.exchanges.values():
            if not self._fetching(exchange):
                continue
            if exchange.alone:
                fetches += self._work_alone(exchange, self.policy.registry_fetches - fetches)
                continue
            self._announce(exchange)
            requests += self._request(exchange, self._request_budget(exchange) - requests)
            if fetches < self.policy.registry_fetches and self._ask_lease(exchange):
                fetches += 1

    def _work_alone(self, exchange: Exchange, free: int) -> int:
        begun = 0
        longest = max(1, self.policy.lease_bytes_most // exchange.spec.piece_bytes)
        while begun < free and self._now_s >= exchange.retry_at_s and not exchange.denied:
            need = exchange.missing & ~exchange.in_flight_bits
            if not need:
                break
            first, count = bitmap.lowest_run(need, longest=longest)
            self._fetch(exchange, first, count, leased=False)
            begun += 1
        return begun

    def _request_budget(self, exchange: Exchange) -> int:
        ahead_bytes = self._rate_bytes_per_s * self.policy.request_horizon_s
        wanted = self.policy.requests_least // 2 + int(ahead_bytes / exchange.spec.piece_bytes)
        return max(self.policy.requests_least, min(self.policy.requests_most, wanted))

    def _request(self, exchange: Exchange, free: int) -> int:
        """Ask neighbours for up to `free` pieces; return how many were asked for."""
        if free <= 0 or not exchange.neighbours:
            return 0
        window = exchange.window(self.policy.window_bytes)
        need = exchange.missing & ~exchange.in_flight_bits & window
        asked = 0
        most = self.policy.requests_per_neighbour
        able = {
            peer: neighbour
            for peer, neighbour in exchange.neighbours.items()
            if len(neighbour.asked) < most and neighbour.busy_until_s <= self._now_s
        }
        while asked < free and need:
            useful = [(len(n.asked), p) for p, n in able.items() if n.held & need]
            if not useful:
                break
            fewest = min(useful)[0]
            peer = self._rng.choice([p for count, p in useful if count == fewest])
            neighbour = able[peer]
            piece = rarest(neighbour.held & need, exchange.holders, self._rng)
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
        asked = 0
        stalled = list(exchange.stalled(self._now_s, stall_s=self.policy.hedge_s))
        for piece, fetch in stalled:
            begun_lately = self._now_s - fetch.progress_s <= self.policy.stall_s
            if asked >= free:
                break
            if fetch.begun and begun_lately:
                continue
            others = [
                peer
                for peer in able
                if peer != fetch.source
                and exchange.neighbours[peer].held >> piece & 1
                and len(exchange.neighbours[peer].asked) < self.policy.requests_per_neighbour
            ]
            if others:
                self._ask(exchange, self._rng.choice(others), piece)
                asked += 1
        return asked

    def _ask(self, exchange: Exchange, peer: PeerId, piece: int) -> None:
        exchange.ask(piece, peer, self._now_s)
        self._send(peer, say.Request(exchange.spec.tag, piece))

    def _ask_lease(self, exchange: Exchange) -> bool:
        """Offer a free hand to the blob's tracker; return whether one was offered."""
        tracker = exchange.tracker
        if (
            tracker is None
            or not self._reachable(tracker)
            or exchange.announced_s < 0
            or exchange.denied
            or exchange.lease_asked_s is not None
            or not exchange.missing & ~exchange.in_flight_bits
            or self._now_s < exchange.retry_at_s
            or self._now_s - exchange.lease_refused_s < self.policy.announce_interval_s
        ):
            return False
        exchange.lease_asked_s = self._now_s
        self._send(tracker, say.LeaseWanted(exchange.spec.tag))
        return True

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        self.tracker.check()
        self.uploads.check()
        for exchange in self.exchanges.values():
            exchange.check()
