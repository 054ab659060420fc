"""Telling trackers which whole blobs this node has: soon, again and again, never all at once.

In a large site deputies are told, and the tracker only by who is a delegate.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.membership.placement import deputy_keys, precedes
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
    # Blobs and what is to be told of them, until it is connected.
    pending: dict[PeerId, list[tuple[BlobTag, BlobTag]]] = field(default_factory=dict)
    told: dict[BlobTag, dict[BlobTag, PeerId]] = field(default_factory=dict)  # who knows, by key
    delegate: set[BlobTag] = field(default_factory=set)  # of which the tracker is to know

    def add(
        self,
        spec: BlobSpec,
        *,
        told_by_key: Mapping[BlobTag, PeerId] | None = None,
        stands_in: bool = False,
        delegate: bool = False,
    ) -> None:
        """A blob is whole; who knows this node as wanting it is told at once.

        If its tracker `stands_in` for another, that one is told soon too: others may ask it.
        """
        self.specs[spec.tag] = spec
        if delegate:
            self.delegate.add(spec.tag)
        known = told_by_key or {}
        for key, peer in known.items():
            if self.site.reachable(peer):
                self._say(spec, key, peer)
        if self._are_told(spec.tag) and not stands_in:
            self._rest(spec.tag, are_told=True)
        else:
            # Known from before a restart: announced over the next seconds, not all at once.
            self.due_s[spec.tag] = self.site.now_s + START_SPREAD_S * self.rng.random()

    def keys(self, tag: BlobTag) -> tuple[BlobTag, ...]:
        """Return in the orders of which somebody is to know of the blob."""
        shards = self.site.shards
        if shards == 1:
            return (tag,)
        deputies = deputy_keys(tag, self.site.me, shards)
        return (*deputies, tag) if tag in self.delegate else deputies

    def _are_told(self, tag: BlobTag) -> bool:
        """Whether all that are to know of the blob were told."""
        told = self.told.get(tag, {})
        return all(told.get(key) == self.site.tracker_of(key) for key in self.keys(tag))

    def delegated(self, peer: PeerId, tag: BlobTag) -> None:
        """A deputy has this node tell the blob's tracker what it has."""
        if tag in self.specs and peer in self.told.get(tag, {}).values():
            self.delegate.add(tag)
            self._rest(tag, are_told=self._tell(tag, tag))

    def forget(self, tag: BlobTag) -> None:
        """The blob is no longer here."""
        self.specs.pop(tag, None)
        self.due_s.pop(tag, None)
        self.told.pop(tag, None)
        self.delegate.discard(tag)

    def members_changed(self, joined: Collection[PeerId]) -> None:
        """Some trackers are others now: announce anew, and at once to who `joined`.

        A node that joins is often about to pull, and must hear from holders before it leases.
        """
        for tag in self.specs:
            told = self.told.get(tag, {})
            if (
                len(joined) > JOINED_MOST
                or told.keys() != set(self.keys(tag))
                or not self.site.members.issuperset(told.values())
            ):
                self._announce_soon(tag, self.site.policy.announce_interval_s)
            elif any(
                peer == tracker or precedes(key, peer, tracker)
                for key, tracker in told.items()
                for peer in joined
            ):
                self._announce_soon(tag, 0.0)

    def _announce_soon(self, tag: BlobTag, spread_s: float) -> None:
        soon_s = self.site.now_s + self.rng.random() * spread_s
        self.due_s[tag] = min(soon_s, self.due_s.get(tag, soon_s))

    def peer_connected(self, peer: PeerId, *, returned: bool) -> None:
        """A tracker that had to be dialed can be told now.

        One that `returned` has forgotten what it was told, or was never told.
        """
        for tag, key in self.pending.pop(peer, ()):
            if tag in self.specs:
                self._tell(tag, key)
                self._rest(tag, are_told=self._are_told(tag))
        if not returned:
            return
        for tag, told in self.told.items():
            for key, tracker in told.items():
                if tracker == peer:
                    self._announce_soon(tag, START_SPREAD_S)
                elif precedes(key, peer, tracker):
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
        if tag not in self.specs:
            return
        keys = self.keys(tag)
        told = self.told.get(tag, {})
        for key in told.keys() - set(keys):
            del told[key]
        are_told = [self._tell(tag, key) for key in keys]
        self._rest(tag, are_told=all(are_told))

    def _tell(self, tag: BlobTag, key: BlobTag) -> bool:
        """Tell whoever is first in the order of `key`, or dial it; return whether it was told."""
        tracker = self.site.tracker_of(key)
        if self.site.reachable(tracker):
            self._say(self.specs[tag], key, tracker)
            return True
        self.pending.setdefault(tracker, []).append((tag, key))
        self.site.connect(tracker)
        return False

    def _rest(self, tag: BlobTag, *, are_told: bool) -> None:
        """Announce again late, or soon where not all that are to know were told."""
        policy = self.site.policy
        interval_s = policy.announce_interval_s
        if are_told:
            interval_s = policy.hold_announce_interval_s * (0.75 + 0.5 * self.rng.random())
        self.due_s[tag] = self.site.now_s + interval_s

    def _say(self, spec: BlobSpec, key: BlobTag, tracker: PeerId) -> None:
        whole = bitmap.full(spec.pieces)
        to_deputy = key != spec.tag
        self.site.send(
            tracker, say.Announce(spec, whole, wants=False, peers_sought=0, to_deputy=to_deputy)
        )
        self.told.setdefault(spec.tag, {})[key] = tracker
