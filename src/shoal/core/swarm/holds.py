"""Telling trackers which whole blobs this node has: soon, again and again, never all at once."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.membership.placement import precedes
from shoal.core.peer import PeerId
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from random import Random

ANNOUNCES_A_TICK = 20  # a node with thousands of blobs must not flood its trackers at start
START_SPREAD_S = 2.0
JOINED_MOST = 8  # members at once for each of which is looked whether it tracks what is here


@dataclass(slots=True)
class Holds:
    """The whole blobs of this node, and when each is to be announced next."""

    site: Site
    rng: "Random"
    specs: dict[BlobTag, BlobSpec] = field(default_factory=dict)
    due_s: dict[BlobTag, float] = field(default_factory=dict)
    pending: dict[PeerId, list[BlobTag]] = field(default_factory=dict)  # until it is connected
    told: dict[BlobTag, PeerId] = field(default_factory=dict)  # which tracker knows of it

    def add(
        self, spec: BlobSpec, *, tracker: PeerId | None = None, stands_in: bool = False
    ) -> None:
        """A blob is whole; `tracker` is told at once if it knows this node as wanting it.

        If it `stands_in` for another, that one is told soon too: others may ask it.
        """
        self.specs[spec.tag] = spec
        told = tracker is not None and self.site.reachable(tracker)
        if tracker is not None and told:
            self._say(spec, tracker)
        if not told or stands_in:
            # Known from before a restart: announced over the next seconds, not all at once.
            self.due_s[spec.tag] = self.site.now_s + START_SPREAD_S * self.rng.random()

    def forget(self, tag: BlobTag) -> None:
        """The blob is no longer here."""
        self.specs.pop(tag, None)
        self.due_s.pop(tag, None)
        self.told.pop(tag, None)

    def members_changed(self, joined: Collection[PeerId]) -> None:
        """Some trackers are others now: announce anew, and at once to who `joined`.

        A node that joins is often about to pull, and must hear from holders before it leases.
        """
        for tag in self.specs:
            tracker = self.told.get(tag)
            if tracker is None or tracker not in self.site.members or len(joined) > JOINED_MOST:
                self._announce_soon(tag, self.site.policy.announce_interval_s)
            elif any(peer == tracker or precedes(tag, peer, tracker) for peer in joined):
                self._announce_soon(tag, 0.0)

    def _announce_soon(self, tag: BlobTag, spread_s: float) -> None:
        soon_s = self.site.now_s + self.rng.random() * spread_s
        self.due_s[tag] = min(soon_s, self.due_s.get(tag, soon_s))

    def peer_connected(self, peer: PeerId, *, returned: bool) -> None:
        """A tracker that had to be dialed can be told now.

        One that `returned` has forgotten what it was told, or was never told.
        """
        for tag in self.pending.pop(peer, ()):
            self._announce(tag)
        if not returned:
            return
        for tag, tracker in self.told.items():
            if tracker == peer:
                self._announce_soon(tag, START_SPREAD_S)
            elif precedes(tag, peer, tracker):
                self._announce_soon(tag, 0.0)
        self.ticked()

    def peer_lost(self, peer: PeerId) -> None:
        """What was to be said to `peer` is said at the next turn, to whoever tracks then."""
        self.pending.pop(peer, None)

    def ticked(self) -> None:
        """Announce what is due."""
        due = [tag for tag, due_s in self.due_s.items() if due_s <= self.site.now_s]
        for tag in due[:ANNOUNCES_A_TICK]:
            self._announce(tag)

    def _announce(self, tag: BlobTag) -> None:
        spec = self.specs.get(tag)
        if spec is None:
            return
        tracker = self.site.tracker_of(tag)
        if self.site.reachable(tracker):
            self._say(spec, tracker)
            return
        self.pending.setdefault(tracker, []).append(tag)
        self.site.connect(tracker)
        self.due_s[tag] = self.site.now_s + self.site.policy.announce_interval_s

    def _say(self, spec: BlobSpec, tracker: PeerId) -> None:
        whole = bitmap.full(spec.pieces)
        self.site.send(tracker, say.Announce(spec, whole, wants=False, peers_sought=0))
        self.told[spec.tag] = tracker
        interval_s = self.site.policy.hold_announce_interval_s
        self.due_s[spec.tag] = self.site.now_s + interval_s * (0.75 + 0.5 * self.rng.random())
