"""This node among its site's members: who is connected, who is left alone, what is said to whom."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from shoal.core.blob import BlobTag
from shoal.core.membership.placement import in_turn, shards
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm.policy import Policy
from shoal.core.swarm.suspicion import Suspicion
from shoal.core.swarm.tracker import Replies
from shoal.core.wire import messages as say


@dataclass(slots=True)
class Site:
    """Members, connections, and the orders that are being collected during one event."""

    me: PeerId
    policy: Policy
    members: frozenset[PeerId] = frozenset()
    links: set[PeerId] = field(default_factory=set)
    dialing: dict[PeerId, float] = field(default_factory=dict)  # since when
    served_s: dict[PeerId, float] = field(default_factory=dict)  # bytes of any blob came last
    mailbox: deque[say.Message] = field(default_factory=deque)  # what this node says to itself
    out: list[do.Effect] = field(default_factory=list)
    now_s: float = 0.0
    joined_s: float = -1e9  # when this node first heard of other members
    met_s: float = -1e9  # when one of them last came to know it
    changed: bool = False  # something that may concern any blob, since free hands were filled last
    # Blobs about which something did; True where it is more than which pieces neighbours offer.
    touched: dict[BlobTag, bool] = field(default_factory=dict)
    suspicion: Suspicion = field(init=False)

    def __post_init__(self) -> None:
        self.members |= {self.me}
        self.suspicion = Suspicion(self.policy)

    def touch(self, tag: BlobTag) -> None:
        """Something changed about one blob: look whether it may take a free request or hand."""
        self.touched[tag] = True

    def offered(self, tag: BlobTag) -> None:
        """The same where only other pieces may be had of neighbours now than before."""
        self.touched.setdefault(tag, False)

    def begin(self, now_s: float) -> None:
        """An event begins: collect its orders."""
        self.now_s = now_s
        self.out = []

    def connected(self, peer: PeerId) -> None:
        """A connection to `peer` stands."""
        self.dialing.pop(peer, None)
        self.links.add(peer)
        if len(self.members) <= self.policy.mesh_most or peer in self.suspicion.refusals:
            self.met_s = self.now_s
        self.suspicion.cleared(peer, now_s=self.now_s)

    def lost(self, peer: PeerId, *, failed: bool, refused: bool = False) -> None:
        """The connection to `peer` is gone, or could not be made."""
        self.dialing.pop(peer, None)
        self.served_s.pop(peer, None)
        dialed = peer not in self.links
        self.links.discard(peer)
        if refused:
            self.suspicion.refused(peer, now_s=self.now_s)
        elif failed:
            self.suspicion.failed(peer, now_s=self.now_s, dialed=dialed)

    def left_alone(self, peer: PeerId) -> bool:
        """Whether `peer` failed or lied lately."""
        return self.suspicion.holds(peer, now_s=self.now_s)

    def refuses(self, peer: PeerId) -> bool:
        """Whether `peer` does not know this node, and was asked lately."""
        return self.suspicion.refuses(peer, now_s=self.now_s)

    def returns(self, peer: PeerId) -> bool:
        """Whether `peer`, which is connected now, may know less than others think it does."""
        return peer in self.suspicion.failures or peer in self.suspicion.refusals

    @property
    def shards(self) -> int:
        """Into how many parts the site is cut, so that no tracker hears of all; 1 if it may."""
        return shards(len(self.members), heard_most=self.policy.heard_most)

    @property
    def young(self) -> bool:
        """Whether other members may not know this node yet."""
        return self.now_s - self.joined_s < self.policy.young_s

    def unsettled(self) -> bool:
        """Whether holders of what this node tracks may still be about to tell it, as it joined."""
        if not self.young:
            return False
        policy = self.policy
        if self.suspicion.refusals or self.now_s - self.met_s < policy.told_within_s:
            return True
        if len(self.members) > policy.mesh_most or self.now_s - self.joined_s > policy.settling_s:
            return False
        others = self.members - self.links - {self.me}
        return any(not self.left_alone(peer) for peer in others)

    def left_out(self, peer: PeerId) -> bool:
        """Whether this node has nothing to do with `peer`, for what it sent."""
        return self.suspicion.bans_now(peer, now_s=self.now_s)

    def leave_out(self, peer: PeerId, reason: str) -> None:
        """Have nothing to do with `peer` for a long while."""
        self.suspicion.banned(peer, now_s=self.now_s)
        if peer in self.links:
            self.out.append(do.Disconnect(peer, reason))

    def connect(self, peer: PeerId) -> None:
        """Dial `peer`, unless it is connected or being dialed, or refused this node just now."""
        if peer not in self.links and peer not in self.dialing and not self.refuses(peer):
            self.dialing[peer] = self.now_s
            self.out.append(do.Connect(peer))

    def mesh(self) -> None:
        """In a small site, dial every member that is not connected and not left alone."""
        if len(self.members) > self.policy.mesh_most:
            return
        for peer in sorted(self.members - self.links - self.dialing.keys()):
            if peer != self.me and not self.left_alone(peer):
                self.connect(peer)

    def dial_successor(self, tag: BlobTag, *, without: Collection[PeerId] = ()) -> None:
        """The blob's tracker does not answer: dial the next in line, to be there in time.

        A dial to a dead node takes seconds to fail. If members were tried one after the other, the
        first would be given another chance before the last was asked for the first time.
        """
        for peer in in_turn(tag, self.members):
            if peer in without:
                continue
            if self.reachable(peer):
                return
            if self.left_alone(peer):
                continue
            since_s = self.dialing.get(peer)
            if since_s is None:
                self.connect(peer)
                return
            if self.now_s - since_s < self.policy.dial_patience_s:
                return

    def reachable(self, peer: PeerId) -> bool:
        """Whether something said to `peer` now arrives."""
        return peer == self.me or peer in self.links

    def send(self, peer: PeerId, message: say.Message) -> None:
        """Say `message` to `peer`, or to this node itself; nothing if it is not connected."""
        if peer == self.me:
            self.mailbox.append(message)
        elif peer in self.links:
            self.out.append(do.Send(peer, message))

    def tell(self, replies: Replies) -> None:
        """Say what a tracker answers."""
        for peer, message in replies:
            self.send(peer, message)

    def tracker_of(
        self, tag: BlobTag, *, without: Collection[PeerId] = (), patient: bool = False
    ) -> PeerId:
        """Return the best member that is not left alone; this node itself never is.

        One that refuses this node is passed over too, but by who is `patient`.
        """
        for peer in in_turn(tag, self.members):
            if peer == self.me:
                return peer
            if peer in without or self.left_alone(peer) or (self.refuses(peer) and not patient):
                continue
            return peer
        return self.me
