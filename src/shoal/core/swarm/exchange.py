"""One blob on one node: what it has, who else has what, and what is on its way."""

# Rule 1: every change to what is held, asked or in flight for a blob happens in this file.
# Rule 2: a piece is asked of one source at a time; of a second only when the first has stalled, or
#         when nothing else is left to ask for. The first whole answer wins.

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.events import REGISTRY
from shoal.core.swarm.gains import Gains
from shoal.core.swarm.picker import Rarity

FETCHES_MOST = 3  # of one piece at the same time, when those before have stalled
SILENCES_COUNTED = 5  # 32 s is the longest that a silent neighbour is left alone


@dataclass(slots=True)
class Neighbour:
    """A peer that this node exchanges pieces of the blob with."""

    held: int = 0
    gained_bytes: int = 0  # in pieces, since it became one
    asked: set[int] = field(default_factory=set)  # pieces asked of it, not yet answered
    busy_until_s: float = 0.0
    heard_s: float = 0.0  # when bytes last came, or the first of `asked` was asked
    silences: int = 0  # in a row, each ended only by bytes


@dataclass(slots=True)
class Deputy:
    """A member that introduces this node, by its place in the order for one shard of the site."""

    peer: PeerId
    announced_s: float = -1e9


@dataclass(slots=True)
class Fetch:
    """One request for one piece."""

    source: PeerId
    asked_s: float
    progress_s: float
    begun: bool = False  # bytes have come


@dataclass(slots=True)
class RegistryRun:
    """One Range request to the registry, under a lease or without."""

    first: int
    count: int
    leased: bool
    told_s: float  # when the tracker last heard of progress
    progress_s: float  # when bytes last came, or when it began
    done: int = 0


@dataclass(slots=True)
class Exchange:
    """A blob that this node wants, or holds and is asked for."""

    spec: BlobSpec
    held: int
    opened_s: float
    progress_s: float
    gains: Gains = field(default_factory=Gains)  # of this node's neighbours, of all blobs
    turn_awaited_s: float = -1e9  # when other blobs last had every hand
    reader_piece: int = 0
    wanted: bool = True
    released_s: float | None = None
    alone: bool = False  # peers are not believed for this blob: registry only
    doubted: set[PeerId] = field(default_factory=set)  # nothing is taken from these
    senders: dict[PeerId, bool] = field(default_factory=dict)  # and whether each claimed it whole
    leavers: set[PeerId] = field(default_factory=set)  # who said Leave in the middle of it
    vouched: dict[int, tuple[PeerId, bytes]] = field(default_factory=dict)  # who signed which hash
    unvouched: int = 0  # pieces here that nobody vouches for any more: they are not for others
    aside: dict[PeerId, int] = field(default_factory=dict)  # what others have but is not believed
    denied: bool = False  # the registry refuses every credential of this node
    misled: bool = False  # the registry sends this node other bytes than the blob's
    deputies: dict[BlobTag, Deputy] = field(default_factory=dict)  # in a large site
    deputies_due_s: float = -1e9  # when these are to be looked after next
    delegate: bool = False  # this node asks the tracker for leases, as in a small site all do
    tracker: PeerId | None = None
    led_s: float = -1e9  # since when it is this one, or when it last led to a lease
    shunned: set[PeerId] = field(default_factory=set)  # trackers that led to nothing
    left: tuple[PeerId, float] | None = None  # the tracker before, and when it was lost
    announced_s: float = -1e9
    heard_s: float = -1e9  # when the tracker last answered about this blob
    lease_asked_s: float | None = None
    lease_refused_s: float = -1e9
    bereft_s: float = -1e9  # when a peer was lost that had what is missing, or might have had
    stuck_said_s: float = -1e9  # when the tracker was last told that nothing comes
    retry_at_s: float = 0.0
    registry_failures: int = 0  # in a row
    neighbours: dict[PeerId, Neighbour] = field(default_factory=dict)
    introduced: dict[PeerId, None] = field(default_factory=dict)  # to join when connected
    joined: dict[PeerId, int] = field(default_factory=dict)  # sent a Join: which pieces it told
    in_flight: dict[int, list[Fetch]] = field(default_factory=dict)
    in_flight_bits: int = 0
    requests: int = 0  # out at neighbours
    hungry: bool = True  # more could be asked for than neighbours had
    look_s: float = 0.0  # until then, while hungry, there is nothing to ask for unless it changes
    hedge_s: float = 0.0  # until then none of `in_flight` can have stalled
    written_off: int = 0  # of these, at neighbours that have fallen silent
    unsaid: int = 0  # pieces that came and that neighbours were not told of
    said_s: float = -1e9
    runs: dict[int, RegistryRun] = field(default_factory=dict)
    rarity: Rarity = field(init=False)  # of each piece, among neighbours
    whole: int = field(init=False)  # bitmap of all pieces

    def __post_init__(self) -> None:
        self.whole = bitmap.full(self.spec.pieces)
        self.rarity = Rarity(self.spec.pieces)

    @property
    def complete(self) -> bool:
        """Every piece is here."""
        return self.held == self.whole

    @property
    def offered(self) -> int:
        """Bitmap of the pieces that others may have from here."""
        return self.held & ~self.unvouched

    @property
    def missing(self) -> int:
        """Bitmap of the pieces that are not here."""
        return self.whole & ~self.held

    @property
    def lone(self) -> bool:
        """No neighbour is there that anything is taken from."""
        return self.neighbours.keys() <= self.doubted

    @property
    def idle(self) -> bool:
        """No neighbour is there that does anything."""
        return all(n.silences or peer in self.doubted for peer, n in self.neighbours.items())

    @property
    def dry(self) -> bool:
        """Nothing is under way, and no neighbour has anything that is missing."""
        return not self.in_flight and not any(
            n.held & self.missing for n in self.neighbours.values()
        )

    def is_refused_by(self, peer: PeerId) -> bool:
        """Whether a Leave of `peer` answers this node's Join: it has neighbours enough."""
        return peer in self.joined and peer not in self.neighbours

    def came_from(self, peer: PeerId) -> None:
        """`peer` sent a piece: remember it, should the blob prove wrong."""
        neighbour = self.neighbours.get(peer)
        whole = neighbour is not None and neighbour.held == bitmap.full(self.spec.pieces)
        self.senders[peer] = whole or self.senders.get(peer, False)

    def suspects(self) -> dict[PeerId, bool]:
        """Who may have brought in what was wrong with the blob; True for who claimed it whole."""
        for peer in self.senders.keys() & self.neighbours.keys():
            self.came_from(peer)
        met = dict.fromkeys(self.neighbours, False) | self.senders
        return {peer: whole for peer, whole in met.items() if peer not in self.leavers}

    def await_turn(self, now_s: float) -> None:
        """Other blobs have every hand: this one is not stuck, it waits for its turn."""
        self.progress_s = self.turn_awaited_s = now_s

    def window(self, window_bytes: int, *, window_pieces: int = 8) -> int:
        """Bitmap of the pieces that a reader may want soon."""
        last = self.reader_piece + max(window_pieces, window_bytes // self.spec.piece_bytes)
        return bitmap.full(last) if last < self.spec.pieces else self.whole

    def meet(self, peer: PeerId, held: int, now_s: float = 0.0) -> Neighbour:
        """Begin, or renew, the exchange with `peer`, which holds `held`."""
        neighbour = self.neighbours.get(peer)
        if neighbour is None:
            neighbour = self.neighbours[peer] = Neighbour(held)
            self.rarity.add(held)
            self.gains.met(peer, self.spec.tag, now_s)
        else:
            self.learn(peer, held)
        return neighbour

    def learn(self, peer: PeerId, held: int) -> bool:
        """`peer` holds these pieces too; return whether one of them is missing here."""
        neighbour = self.neighbours[peer]
        new = held & ~neighbour.held
        if new:
            neighbour.held |= new
            self.rarity.add(new)
            self._gained(peer, neighbour, new.bit_count())
        return bool(new & ~self.held)

    def _lost(self, peer: PeerId, neighbour: Neighbour, pieces: int) -> None:
        """`neighbour` is not believed to have these any more."""
        neighbour.held &= ~pieces
        self.rarity.remove(pieces)
        self._gained(peer, neighbour, -pieces.bit_count())

    def _gained(self, peer: PeerId, neighbour: Neighbour, pieces: int) -> None:
        size_bytes = pieces * self.spec.piece_bytes
        neighbour.gained_bytes += size_bytes
        self.gains.gained(peer, size_bytes)

    def set_aside(self, peer: PeerId, piece: int) -> None:
        """`peer` has `piece` from somebody who is not believed: it is as if it had it not."""
        neighbour = self.neighbours.get(peer)
        if neighbour is not None and neighbour.held >> piece & 1:
            self._lost(peer, neighbour, 1 << piece)
            self.aside[peer] = self.aside.get(peer, 0) | 1 << piece

    def reconsider(self, doubted: Collection[PeerId]) -> None:
        """Others are believed now than before: all but what these have may be asked for again."""
        self.doubted |= set(doubted)
        aside, self.aside = self.aside, {}
        for peer, pieces in aside.items():
            if peer in self.neighbours and peer not in self.doubted:
                self.learn(peer, pieces)
        for peer in self.doubted & self.neighbours.keys():
            neighbour = self.neighbours[peer]
            self._lost(peer, neighbour, neighbour.held)

    def hopes_for(self, peer: PeerId) -> bool:
        """Whether `peer` has what is missing, or was asked what it has and has not answered."""
        neighbour = self.neighbours.get(peer)
        return bool(neighbour.held & self.missing) if neighbour else peer in self.joined

    def part(self, peer: PeerId) -> None:
        """End the exchange with `peer`; what was asked of it is free to be asked elsewhere."""
        self.introduced.pop(peer, None)
        self.aside.pop(peer, None)
        self.joined.pop(peer, None)
        neighbour = self.neighbours.get(peer)
        if neighbour is None:
            return
        for piece in list(neighbour.asked):
            self.unask(piece, peer)
        self.rarity.remove(neighbour.held)
        self.gains.parted(peer, self.spec.tag, neighbour.gained_bytes)
        del self.neighbours[peer]

    @property
    def introducers(self) -> dict[BlobTag, PeerId]:
        """Who was told of this node's part, by what they are in the order of."""
        told = {key: deputy.peer for key, deputy in self.deputies.items()}
        return told if self.tracker is None else told | {self.spec.tag: self.tracker}

    def be_delegate(self) -> None:
        """This node asks the blob's tracker for leases from now on, whatever deputies say."""
        self.delegate = True
        self.heard_s = -1e9

    def has_deputy(self, peer: PeerId) -> bool:
        """Whether `peer` introduces this node."""
        return any(deputy.peer == peer for deputy in self.deputies.values())

    def lose_deputy(self, peer: PeerId) -> None:
        """`peer` introduces this node no more."""
        for key in [key for key, deputy in self.deputies.items() if deputy.peer == peer]:
            del self.deputies[key]
            self.deputies_due_s = -1e9

    def close(self) -> None:
        """The exchange is over, with all neighbours."""
        for peer, neighbour in self.neighbours.items():
            self.gains.parted(peer, self.spec.tag, neighbour.gained_bytes)

    def ask(self, piece: int, source: PeerId, now_s: float) -> None:
        """Record that `piece` was asked of `source`."""
        if not self.in_flight:
            self.hedge_s = now_s
        self.in_flight.setdefault(piece, []).append(Fetch(source, now_s, now_s))
        self.in_flight_bits |= 1 << piece
        if source != REGISTRY:
            neighbour = self.neighbours[source]
            if not neighbour.asked:
                neighbour.heard_s = now_s
            neighbour.asked.add(piece)
            self.requests += 1

    def unask(self, piece: int, source: PeerId) -> None:
        """`source` will not (or need not) send `piece`."""
        fetches = self.in_flight.get(piece)
        if fetches is not None:
            others = [fetch for fetch in fetches if fetch.source != source]
            if others:
                if len(others) < len(fetches):
                    self.in_flight[piece] = others
                    self.hedge_s = 0.0  # what is left may have stalled before
            else:
                del self.in_flight[piece]
                self.in_flight_bits &= ~(1 << piece)
        neighbour = self.neighbours.get(source)
        if neighbour is not None and piece in neighbour.asked:
            neighbour.asked.remove(piece)
            self.requests -= 1

    def progressed(self, piece: int, source: PeerId, now_s: float) -> list[PeerId]:
        """Bytes of `piece` came from `source`; return the others it need no longer come from."""
        others: list[PeerId] = []
        self._heard(source, now_s)
        for fetch in self.in_flight.get(piece, ()):
            if fetch.source == source:
                fetch.progress_s = now_s
                fetch.begun = True
            elif not fetch.begun and fetch.source != REGISTRY:
                others.append(fetch.source)
        return others

    def stored(self, piece: int, source: PeerId, now_s: float) -> list[PeerId]:
        """`piece` is here, from `source`; return all the sources that were asked for it."""
        self.held |= 1 << piece
        self.progress_s = now_s
        self._heard(source, now_s)
        sources = [fetch.source for fetch in self.in_flight.get(piece, ())]
        for source in sources:
            self.unask(piece, source)
        return sources

    def _heard(self, source: PeerId, now_s: float) -> None:
        """Bytes came from `source`: it is not silent."""
        neighbour = self.neighbours.get(source)
        if neighbour is not None:
            neighbour.heard_s = now_s
            if neighbour.silences:
                neighbour.silences, neighbour.busy_until_s = 0, 0.0

    def look_for_silence(
        self, now_s: float, *, silent_s: float, served_s: Mapping[PeerId, float]
    ) -> None:
        """Leave neighbours alone that were asked and send nothing, longer each time in a row.

        Who sends pieces of other blobs (`served_s` says when it last did) will come to this one.
        They may have what they say and be unable to send it. What was asked of them stays asked,
        but is written off: it must not take the place of requests to others.
        """
        self.written_off = 0
        for peer, neighbour in self.neighbours.items():
            heard_s = max(neighbour.heard_s, served_s.get(peer, 0.0))
            if neighbour.asked and now_s - heard_s > silent_s:
                self.written_off += len(neighbour.asked)
                if neighbour.busy_until_s <= now_s:
                    neighbour.silences += 1
                    pause_s = silent_s * 2 ** min(neighbour.silences, SILENCES_COUNTED)
                    neighbour.busy_until_s = now_s + pause_s

    def stalls_s(self, stall_s: float) -> float:
        """When, if nothing more comes, the first of what is in flight will have stalled."""
        latest = (max(f.progress_s for f in fetches) for fetches in self.in_flight.values())
        return min(latest, default=math.inf) + stall_s

    def stalled(self, now_s: float, *, stall_s: float) -> Iterator[tuple[int, list[Fetch]]]:
        """Yield the pieces of which no fetch has shown progress for `stall_s`."""
        for piece, fetches in self.in_flight.items():
            if len(fetches) < FETCHES_MOST and all(
                now_s - fetch.progress_s > stall_s for fetch in fetches
            ):
                yield piece, fetches

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        bits = 0
        for piece, fetches in self.in_flight.items():
            assert 1 <= len(fetches) <= FETCHES_MOST + 1, fetches  # a lease is not refused for it
            assert len({fetch.source for fetch in fetches}) == len(fetches)
            bits |= 1 << piece
        assert bits == self.in_flight_bits
        assert not bits & self.held, "a piece that is here is not fetched"
        counted = [0] * self.spec.pieces
        for peer, neighbour in self.neighbours.items():
            for piece in bitmap.members(neighbour.held):
                counted[piece] += 1
            for piece in neighbour.asked:
                assert any(f.source == peer for f in self.in_flight[piece])
            assert self.spec.tag in self.gains.by_peer[peer].met_s
        self.rarity.check(counted)
        assert self.requests == sum(len(n.asked) for n in self.neighbours.values())
