"""What a node does as a deputy: it introduces a part of a large site, and leases nothing.

No tracker shakes ten thousand hands. In a large site each node announces to two deputies of the
blob's tracker, by the hash of its name, and is introduced by them. A deputy names a few of its
nodes delegates: these announce to the tracker as well and fetch from the registry, for all.
"""

# Rule 1: a deputy grants no lease, and nothing that it says makes a node fetch from the registry
#         but under a lease of the tracker: a deputy that dies, lies, or is another one to nodes
#         which see other members costs time, never a copy.
# Rule 2: as long as somebody is there who may fetch, a deputy has a delegate.

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.introductions import introductions
from shoal.core.swarm.site import Site
from shoal.core.wire.messages import Announce, Delegate, Introduce, LeaseNone

if TYPE_CHECKING:
    from random import Random

ROLLS_MOST = 4096  # blobs: as many as a tracker has
# Nodes of one blob: several times what `Policy.heard_most` makes of the largest site, for nodes
# that see other members, and the bound against a flood of announcements.
ENTRIES_MOST = 1024
LOOK_S = 1.0  # how often is looked for who has fallen silent


@dataclass(slots=True)
class Entry:
    """A node that announces to this deputy."""

    wants: bool
    seen_s: float
    delegate: bool = False
    denied: bool = False  # the registry refuses its credential for this blob

    @property
    def serves(self) -> bool:
        """Whether it asks the tracker for leases and may fetch under them."""
        return self.delegate and not self.denied


@dataclass(slots=True)
class Roll:
    """The nodes of one blob."""

    entries: dict[PeerId, Entry] = field(default_factory=dict)
    appeals: int = 0  # answered by one more delegate
    appealed_s: float = -1e9  # when the last of them was

    @property
    def delegates(self) -> int:
        """How many fetch for the others."""
        return sum(entry.serves for entry in self.entries.values())


@dataclass(slots=True)
class Deputies:
    """All blobs for which this node is a deputy."""

    site: Site
    rng: "Random"
    rolls: dict[BlobTag, Roll] = field(default_factory=dict)
    _looked_s: float = -1e9

    def announced(self, peer: PeerId, message: Announce) -> None:
        """A node says that it wants or has a blob: remember, and introduce."""
        tag = message.spec.tag
        roll = self.rolls.get(tag)
        if roll is None:
            if len(self.rolls) >= ROLLS_MOST:
                return
            roll = self.rolls[tag] = Roll()
        entry = roll.entries.get(peer)
        if entry is None and len(roll.entries) < ENTRIES_MOST:
            entry = roll.entries[peer] = Entry(message.wants, self.site.now_s)
        if message.peers_sought:
            wants = {other: known.wants for other, known in roll.entries.items()}
            sought = message.peers_sought
            if peers := introductions(wants, asker=peer, count=sought, rng=self.rng):
                self.site.send(peer, Introduce(tag, peers))
        if entry is not None:
            entry.wants, entry.seen_s = message.wants, self.site.now_s
            if not (entry.delegate or entry.denied) and roll.delegates < self._sought:
                self._delegate(tag, peer, entry)

    def hears(self, peer: PeerId, tag: BlobTag) -> bool:
        """Whether `peer` announces the blob to this node as to a deputy."""
        roll = self.rolls.get(tag)
        return roll is not None and peer in roll.entries

    def appealed(self, peer: PeerId, tag: BlobTag) -> None:
        """Nothing comes to `peer`: make it a delegate too, or say that others are at work.

        Where nothing comes to anybody, as while the registry is slow, one more after a second, and
        the next after twice as long each time: or the tracker would soon hear of the whole site.
        """
        roll = self.rolls[tag]
        entry = roll.entries[peer]
        entry.seen_s = self.site.now_s
        pause_s = self.site.policy.stall_s * 2**roll.appeals
        if entry.denied or (
            not entry.delegate and roll.delegates and self.site.now_s - roll.appealed_s < pause_s
        ):
            self.site.send(peer, LeaseNone(tag))
            return
        if not entry.delegate:
            roll.appeals = min(roll.appeals + 1, 16)
            roll.appealed_s = self.site.now_s
        self._delegate(tag, peer, entry)

    def denied(self, peer: PeerId, tag: BlobTag) -> None:
        """The registry gives `peer` nothing: let another fetch."""
        roll = self.rolls.get(tag)
        if roll is not None and (entry := roll.entries.get(peer)) is not None:
            entry.denied = True
            self._replace(tag, roll)

    def left(self, peer: PeerId, tags: Iterable[BlobTag]) -> None:
        """A node no longer takes part in these blobs, by its word or because it is gone."""
        for tag in tags:
            roll = self.rolls.get(tag)
            if roll is None or (entry := roll.entries.pop(peer, None)) is None:
                continue
            if not roll.entries:
                del self.rolls[tag]
            elif entry.serves:
                self._replace(tag, roll)

    def lost(self, peer: PeerId) -> None:
        """The connection to `peer` is gone: what it wanted it wants no more, until it says so."""
        self.left(
            peer,
            [
                tag
                for tag, roll in self.rolls.items()
                if (entry := roll.entries.get(peer)) is not None and entry.wants
            ],
        )

    def ticked(self) -> None:
        """Forget who has not been heard of."""
        policy, now_s = self.site.policy, self.site.now_s
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        for tag, roll in list(self.rolls.items()):
            for peer, entry in list(roll.entries.items()):
                interval_s = (
                    policy.announce_interval_s if entry.wants else policy.hold_announce_interval_s
                )
                if now_s - entry.seen_s > 4 * interval_s:
                    self.left(peer, [tag])

    @property
    def _sought(self) -> int:
        """How many delegates each blob is to have here, so that its tracker hears of enough."""
        return max(1, self.site.policy.heard_most // self.site.shards)

    def _delegate(self, tag: BlobTag, peer: PeerId, entry: Entry) -> None:
        entry.delegate = True
        self.site.send(peer, Delegate(tag))

    def _replace(self, tag: BlobTag, roll: Roll) -> None:
        """A delegate is gone: name another, of those that want the blob if there are any."""
        others = [
            (peer, entry)
            for peer, entry in roll.entries.items()
            if not (entry.delegate or entry.denied) and self.site.reachable(peer)
        ]
        others = [(peer, entry) for peer, entry in others if entry.wants] or others
        if others and roll.delegates < self._sought:
            self._delegate(tag, *self.rng.choice(others))

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        assert len(self.rolls) <= ROLLS_MOST
        for roll in self.rolls.values():
            assert 0 < len(roll.entries) <= ENTRIES_MOST
