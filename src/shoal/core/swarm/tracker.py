"""The tracker's part: who wants or has a blob, and who fetches which piece from the registry.

Any agent may be asked to track any blob; it need not want it. A tracker introduces (a random
handful of peers for each that asks) and leases (a piece that no one has goes to exactly one node).
Nothing here is kept on disk: when a tracker is lost, the nodes announce what they have to the next.
"""

# Rule 1: every change to a lease happens in this file.
# Rule 2: a lie told by a node costs the site time or one extra copy, never a wrong byte: a tracker
#         hands out introductions and leases, and bytes are checked by whoever receives them.
# Rule 3: a piece is leased to one node at a time, and to a further one only when the first has
#         shown no progress for its patience, which doubles for that piece each time.

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.contest import Contest
from shoal.core.swarm.introductions import introductions
from shoal.core.swarm.policy import Policy
from shoal.core.wire.messages import (
    Announce,
    Introduce,
    LeaseEnded,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    LeaseProgress,
    LeaseWanted,
    Message,
    Suspects,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

# Participants of one blob that a tracker remembers. In a large site it hears of delegates only,
# some 200 (docs/design/0012): this is the bound against a flood of announcements.
PARTICIPANTS_MOST = 4096
TABLES_MOST = 4096
CONTESTS_MOST = 256  # blobs of which it is remembered who brought in what was wrong

# What leases are made longer to: the round trip between two is a small part of it at 1 Gbit/s.
LEASE_BYTES_ENOUGH = 4 * 1024 * 1024

# How often a piece that somebody says to have is leased anew because others wait for it in vain.
LAPSES_MOST = 3

Replies = list[tuple[PeerId, Message]]


@dataclass(slots=True)
class Participant:
    """A node that wants or has the blob."""

    held: int
    wants: bool
    seen_s: float
    denied: bool = False  # the registry refuses its credential for this blob
    declined: bool = False  # wants no lease until it asks for one
    doubted: bool = False  # somebody waited in vain for a piece that it alone has

    @property
    def offers(self) -> int:
        """Bitmap of the pieces that others can be expected to get from it."""
        return 0 if self.doubted else self.held


@dataclass(slots=True)
class Lease:
    """The right to fetch `count` pieces from `first` on."""

    peer: PeerId
    first: int
    count: int
    done: int
    progress_s: float
    granted_s: float
    doublings: int  # of the table, when it was granted

    @property
    def open_pieces(self) -> int:
        """Bitmap of the pieces that have not come yet."""
        return bitmap.run(self.first + self.done, self.count - self.done)


@dataclass(slots=True)
class Table:
    """What the tracker knows of one blob."""

    spec: BlobSpec
    not_before_s: float
    patient_until_s: float  # where this node has joined: for holders that will tell it
    participants: dict[PeerId, Participant] = field(default_factory=dict)
    leases: dict[tuple[PeerId, int], Lease] = field(default_factory=dict)
    waiting: dict[PeerId, None] = field(default_factory=dict)  # an ordered set
    available: int = 0  # union of what participants hold
    lapses: dict[int, int] = field(default_factory=dict)  # piece -> leases that lapsed
    lapsed_s: dict[int, float] = field(default_factory=dict)  # piece -> when the last of them did
    doubted: set[PeerId] = field(default_factory=set)  # also when they leave and come back
    granted: int = 0  # leases so far
    limits: int = 0  # how often the registry asked to be asked later
    doublings: int = 0  # of the length of leases, since shorter ones are over too soon
    contest: Contest = field(default_factory=Contest)

    def leasable(self) -> int:
        """Bitmap of the pieces that no one has and no one fetches."""
        out = self.available & ~self.contest.open_pieces
        for lease in self.leases.values():
            out |= lease.open_pieces
        return bitmap.full(self.spec.pieces) & ~out

    def lapse(self, piece: int, now_s: float) -> None:
        """The piece did not come from who was to bring it."""
        self.lapses[piece] = self.lapses.get(piece, 0) + 1
        self.lapsed_s[piece] = now_s

    def over(self, lease: Lease, now_s: float, *, least_s: float) -> None:
        """All of a lease came: longer ones are due if it was over soon, shorter if late."""
        if lease.doublings != self.doublings:
            return  # granted before the last change
        took_s = now_s - lease.granted_s
        if took_s < least_s:
            self.doublings += 1
        elif took_s > 4 * least_s:
            self.doublings = max(0, self.doublings - 1)

    def count_available(self) -> None:
        """Derive `available` anew, after someone left."""
        self.available = 0
        for participant in self.participants.values():
            self.available |= participant.offers

    def leasable_to(self, peer: PeerId, leasable: int) -> int:
        """Return those of `leasable` that `peer` may fetch: not what it vouched for in vain.

        Unless the one who was to fetch it has shown no progress.
        """
        if not self.contest.suspected:
            return leasable
        others = [
            other
            for other, known in self.participants.items()
            if other != peer and known.wants and not known.denied
        ]
        lapsed = sum(1 << piece for piece in self.lapses)
        barred = self.contest.barred(peer, available=self.available, others=others)
        return leasable & ~(barred & ~lapsed)


@dataclass(slots=True)
class Tracker:
    """All blobs that this node tracks. Every method returns what to say to whom."""

    rng: "Random"
    policy: Policy
    tables: dict[BlobTag, Table] = field(default_factory=dict)
    contests: dict[BlobTag, Contest] = field(default_factory=dict)
    # Whether this node has joined just now, and holders may be about to tell it.
    unsettled: "Callable[[], bool]" = lambda: False
    granted: int = 0  # leases so far, of all blobs
    lapsed: int = 0  # leases taken back for want of progress
    doubted: int = 0  # pieces leased anew though a node says that it has them

    def announced(self, peer: PeerId, message: Announce, *, now_s: float) -> Replies:
        """A node says that it wants or has a blob: remember, and introduce."""
        spec = message.spec
        table = self.tables.get(spec.tag)
        if table is None:
            if len(self.tables) >= TABLES_MOST:
                return []
            grace_s = self.policy.takeover_grace_s if message.takeover else 0.0
            patient_until_s = now_s + self.policy.join_patience_s
            table = self.tables[spec.tag] = Table(spec, now_s + grace_s, patient_until_s)
            table.contest = self.contests.get(spec.tag, table.contest)
        known = table.participants.get(peer)
        if known is None:
            if len(table.participants) >= PARTICIPANTS_MOST:
                return []
            known = table.participants[peer] = Participant(0, message.wants, now_s)
            known.doubted = peer in table.doubted
        known.seen_s = now_s
        known.wants = message.wants
        lost = known.held & ~message.held
        known.held = message.held
        if lost:
            table.count_available()
        else:
            table.available |= known.offers
        replies: Replies = []
        if sought := message.peers_sought:
            wants = {other: known.wants for other, known in table.participants.items()}
            if peers := introductions(wants, asker=peer, count=sought, rng=self.rng):
                replies.append((peer, Introduce(spec.tag, peers)))
        return replies + self._grant(table, now_s)

    def knows(self, peer: PeerId, tag: BlobTag) -> bool:
        """Whether `peer` announced the blob to this node as to its tracker."""
        table = self.tables.get(tag)
        return table is not None and peer in table.participants

    def lease_wanted(self, peer: PeerId, message: LeaseWanted, *, now_s: float) -> Replies:
        """A node has a free hand for the registry: grant now, or when a lease comes free."""
        table = self.tables.get(message.tag)
        known = table.participants.get(peer) if table else None
        if table is None or known is None:
            return [(peer, LeaseNone(message.tag))]
        known.seen_s = now_s
        if known.denied:
            # It hears of this tracker only while somebody else may bring what it waits for.
            others = (p for other, p in table.participants.items() if other != peer)
            at_work = any(not p.denied for p in others)
            return [(peer, LeaseNone(message.tag))] if at_work else []
        known.declined = False
        if message.stuck_piece >= 0:
            self._lapse_stuck(table, message.stuck_piece, now_s)
        table.waiting[peer] = None
        replies = self._grant(table, now_s)
        if message.stuck_piece >= 0 and not any(to == peer for to, _ in replies):
            # Whoever is stuck must hear that its tracker lives, or it goes its own way; but a lease
            # is not refused to it, only not there yet.
            replies.append((peer, Introduce(message.tag, ())))
        return replies

    def _lapse_stuck(self, table: Table, piece: int, now_s: float) -> None:
        """Someone waits in vain for `piece`: if its holders cannot be reached, lease it anew.

        A node that alone has it may be unable to send at all, so nothing that it alone has is
        waited for any longer, one piece after the other: all of that is leased anew.
        """
        bit = 1 << piece
        lapses = table.lapses.get(piece, 0)
        if (
            piece < table.spec.pieces
            and table.available & bit
            and lapses < LAPSES_MOST
            and (not lapses or now_s - table.lapsed_s[piece] > self._patience_s(lapses))
        ):
            before = table.available
            holders = [peer for peer, p in table.participants.items() if p.offers & bit]
            if len(holders) == 1 and len(table.doubted) < PARTICIPANTS_MOST:
                table.participants[holders[0]].doubted = True
                table.doubted.add(holders[0])
            for peer in holders:
                table.participants[peer].held &= ~bit
            table.count_available()
            for lost in bitmap.members(before & ~table.available):
                table.lapse(lost, now_s)
                self.doubted += 1
        self._lapse(table, now_s)

    def told_suspects(self, peer: PeerId, message: Suspects, *, now_s: float) -> Replies:
        """`peer` does not believe who vouched for these pieces: they are for others to fetch."""
        table = self.tables.get(message.tag)
        if table is None or peer not in table.participants:
            return []
        if message.tag not in self.contests and len(self.contests) >= CONTESTS_MOST:
            del self.contests[next(iter(self.contests))]
        table.contest = self.contests.setdefault(message.tag, table.contest)
        pieces = bitmap.full(table.spec.pieces)
        for signer, brought in message.brought:
            table.contest.hear(peer, signer, brought & pieces)
        return self._grant(table, now_s)

    def doubt(self, tag: BlobTag, peers: Iterable[PeerId], *, now_s: float) -> Replies:
        """What these say to have of the blob is wrong: lease it to others."""
        table = self.tables.get(tag)
        if table is None:
            return []
        for peer in peers:
            if len(table.doubted) < PARTICIPANTS_MOST:
                table.doubted.add(peer)
                if (known := table.participants.get(peer)) is not None:
                    known.doubted = True
        table.count_available()
        return self._grant(table, now_s)

    def lease_progressed(self, peer: PeerId, message: LeaseProgress, *, now_s: float) -> Replies:
        """Bytes of a lease arrive: it lives on."""
        table = self.tables.get(message.tag)
        lease = table.leases.get((peer, message.first)) if table else None
        if table is None or lease is None:
            return []
        lease.progress_s = now_s
        self._done(table, lease, message.done)
        return []

    def lease_ended(self, peer: PeerId, message: LeaseEnded, *, now_s: float) -> Replies:
        """A lease is over: what did not come is leased to another."""
        table = self.tables.get(message.tag)
        if table is None:
            return []
        lease = table.leases.pop((peer, message.first), None)
        known = table.participants.get(peer)
        if lease is not None:
            self._done(table, lease, message.done)
            if lease.done == lease.count:
                table.over(lease, now_s, least_s=self.policy.lease_least_s)
        elif known is not None and message.first + message.done <= table.spec.pieces:
            # A lease of the tracker before this one, or one that had lapsed: what came is there.
            known.held |= bitmap.run(message.first, message.done)
            table.available |= known.offers
        if message.outcome in (LeaseOutcome.DECLINED, LeaseOutcome.FAILED) and known is not None:
            known.declined = True  # whoever failed asks again when its pause is over
        if message.outcome is LeaseOutcome.DENIED and known is not None:
            known.denied = True
            table.waiting.pop(peer, None)
        if message.outcome is LeaseOutcome.FAILED:
            # The registry's wish to be left alone binds the whole site.
            table.not_before_s = max(table.not_before_s, now_s + message.retry_after_s)
            table.limits += message.retry_after_s > 0
        return self._grant(table, now_s)

    def _done(self, table: Table, lease: Lease, done: int) -> None:
        lease.done = max(lease.done, min(done, lease.count))
        came = bitmap.run(lease.first, lease.done)
        table.contest.open_pieces &= ~came
        known = table.participants.get(lease.peer)
        if known is not None:
            known.held |= came
            table.available |= known.offers

    def left(self, peer: PeerId, tags: Iterable[BlobTag], *, now_s: float) -> Replies:
        """A node no longer takes part in these blobs, by its word or because it is gone."""
        replies: Replies = []
        for tag in tags:
            table = self.tables.get(tag)
            if table is None or table.participants.pop(peer, None) is None:
                continue
            table.waiting.pop(peer, None)
            for key in [key for key in table.leases if key[0] == peer]:
                del table.leases[key]
            if not table.participants:
                del self.tables[tag]
                continue
            table.count_available()
            replies += self._grant(table, now_s)
        return replies

    def lost(self, peer: PeerId, *, now_s: float) -> Replies:
        """The connection to `peer` is gone: so are its leases, until it announces again.

        What it holds whole is still there when it was only idle, so holders are kept.
        """
        tags = [
            tag
            for tag, table in self.tables.items()
            if (known := table.participants.get(peer)) is not None and known.wants
        ]
        return self.left(peer, tags, now_s=now_s)

    def ticked(self, *, now_s: float) -> Replies:
        """Let silent leases lapse, forget who has not been heard of, grant what can be granted."""
        replies: Replies = []
        for tag, table in list(self.tables.items()):
            for peer, known in list(table.participants.items()):
                patience_s = 4 * (
                    self.policy.announce_interval_s
                    if known.wants
                    else self.policy.hold_announce_interval_s
                )
                if now_s - known.seen_s > patience_s:
                    replies += self.left(peer, [tag], now_s=now_s)
            if tag in self.tables:
                self._lapse(table, now_s)
                replies += self._grant(table, now_s)
        return replies

    def _lapse(self, table: Table, now_s: float) -> None:
        for key, lease in list(table.leases.items()):
            lapses = max(
                (table.lapses.get(p, 0) for p in bitmap.members(lease.open_pieces)), default=0
            )
            if now_s - lease.progress_s > self._patience_s(lapses):
                del table.leases[key]
                self.lapsed += 1
                for piece in bitmap.members(lease.open_pieces):
                    table.lapse(piece, now_s)

    def _patience_s(self, lapses: int) -> float:
        return self.policy.lease_patience_s * (1 << lapses)

    def _grant(self, table: Table, now_s: float) -> Replies:
        if now_s < table.not_before_s or (now_s < table.patient_until_s and self.unsettled()):
            return []
        replies: Replies = []
        tag = table.spec.tag
        leasable = table.leasable()
        while leasable and len(table.leases) < self.policy.leases_at_once:
            peer = self._taker(table, leasable)
            if peer is None:
                break
            free = table.leasable_to(peer, leasable)
            first, count = bitmap.lowest_run(free, longest=self._run_length(table, leasable))
            table.waiting.pop(peer, None)
            table.leases[peer, first] = Lease(
                peer, first, count, 0, now_s, granted_s=now_s, doublings=table.doublings
            )
            table.granted += 1
            self.granted += 1
            leasable &= ~bitmap.run(first, count)
            replies.append((peer, LeaseGranted(tag, first, count)))
        if not leasable:
            # Whoever waits may look after its next blob; if a lease lapses, one is called upon.
            replies += [(peer, LeaseNone(tag)) for peer in table.waiting]
            table.waiting.clear()
        return replies

    def _taker(self, table: Table, leasable: int) -> PeerId | None:
        trusted = any(k.wants and not (k.denied or k.doubted) for k in table.participants.values())
        for peer in table.waiting:
            known = table.participants[peer]
            if known.denied or (known.doubted and trusted):
                continue
            if table.leasable_to(peer, leasable):
                return peer
        if table.leases:
            return None  # somebody is at work and will ask again
        idle = [
            p
            for p, k in table.participants.items()
            if k.wants and not (k.denied or k.declined or (k.doubted and trusted))
            if table.leasable_to(p, leasable)
        ]
        return self.rng.choice(idle) if idle else None

    def _run_length(self, table: Table, leasable: int) -> int:
        # Short runs when many take part, so that each piece is soon on its way to others; long
        # ones for a node alone, for which each request is only a round trip.
        wanting = sum(known.wants and not known.denied for known in table.participants.values())
        longest = max(1, self.policy.lease_bytes_most // table.spec.piece_bytes)
        if wanting <= 1:
            # Others may be about to announce: begin with one piece and double.
            return min(longest, 1 << min(table.granted, 16))
        # Each wanting node has its turn at all the leases twice before the registry is done, and
        # what a holder that is lost had under way is a small part of the blob.
        turn = max(1, leasable.bit_count() // (2 * self.policy.leases_at_once))
        share = max(1, turn // wanting)
        # Where a lease is over before the next is asked for, the registry's link idles between.
        enough = max(1, LEASE_BYTES_ENOUGH // table.spec.piece_bytes)
        share = max(share, min(turn, enough, share << min(table.doublings, 16)))
        # A registry that limits requests gives more for each: twice as much after each refusal.
        return min(longest, share << min(table.limits, 16))

    def check(self) -> None:
        """Assert the invariants; tests call this after every event."""
        for tag, table in self.tables.items():
            assert table.spec.tag == tag
            assert table.participants, "a table without participants is forgotten"
            union = 0
            for participant in table.participants.values():
                union |= participant.offers
            assert union == table.available
            leased = 0
            for (peer, first), lease in table.leases.items():
                assert (peer, first) == (lease.peer, lease.first)
                assert not leased & lease.open_pieces, "a piece is leased twice"
                leased |= lease.open_pieces
            assert all(peer in table.participants for peer in table.waiting)
