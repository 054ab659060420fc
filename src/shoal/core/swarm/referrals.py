"""What a node does that is asked to track a blob which, as it sees it, another member tracks.

Whoever asks sees other members: it does not know the tracker, or cannot reach it. Were it tracked
here as well, every piece would be leased, and fetched from the registry, a second time.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.holds import Holds
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from random import Random


REFERRED_MOST = 1024  # who is remembered, of all blobs, until it is known that their tracker lives


@dataclass(slots=True)
class Referrals:
    """Leads whoever asks into the swarm that this node is in, instead of into one of its own.

    There is no circle of referrals: a tracker always comes before who is led by it in the order of
    the blob, which is the same for all.
    """

    site: Site
    exchanges: dict[BlobTag, Exchange]
    holds: Holds
    rng: "Random"
    referred: dict[tuple[BlobTag, PeerId], say.Announce] = field(default_factory=dict)

    def applies(self, peer: PeerId, tag: BlobTag) -> bool:
        """Whether a member, not `peer`, tracks the blob for this node, and not in vain."""
        exchange = self.exchanges.get(tag)
        if exchange is None or not exchange.wanted:
            told = self.holds.told.get(tag, {}).get(tag)
            if told is None and tag in self.holds.specs:
                return self._is_led_unasked(peer, tag)
            return self._is_led_by(told, peer)
        if exchange.denied or exchange.alone:
            return False
        if self.site.now_s - exchange.progress_s > self.site.policy.lease_patience_s:
            return False
        if exchange.tracker is None and not exchange.delegate:
            return self._is_led_unasked(peer, tag)
        return self._is_led_by(exchange.tracker, peer)

    def _is_led_by(self, tracker: PeerId | None, peer: PeerId) -> bool:
        return tracker not in (None, peer, self.site.me) and self.site.reachable(tracker)

    def _is_led_unasked(self, peer: PeerId, tag: BlobTag) -> bool:
        """Whether a member tracks the blob that only delegates speak to, and this node is none."""
        return self.site.shards > 1 and self.site.tracker_of(tag) not in (peer, self.site.me)

    def refer(self, peer: PeerId, message: say.Announce) -> None:
        """Lead `peer` into the swarm; and find out whether its tracker lives, if it may not.

        In a large site this node may be the next in line, and not have spoken to the tracker.
        """
        tag = message.spec.tag
        self._introduce(peer, tag, message.peers_sought)
        tracker = self.site.tracker_of(tag)
        if not self.site.reachable(tracker) and len(self.referred) < REFERRED_MOST:
            self.referred[tag, peer] = message
            self.site.connect(tracker)

    def settled(self) -> list[tuple[PeerId, say.Announce]]:
        """Forget whose tracker lives; return whose does not, and what they had announced.

        They have all announced by now: there is nobody to wait for before the first lease.
        """
        orphans = []
        for (tag, peer), message in list(self.referred.items()):
            if self.site.tracker_of(tag) not in self.site.dialing:
                del self.referred[tag, peer]
                if not self.applies(peer, tag) and self.site.reachable(peer):
                    orphans.append((peer, replace(message, takeover=False)))
        return orphans

    def _introduce(self, peer: PeerId, tag: BlobTag, sought: int) -> None:
        """Name this node and some of its neighbours to `peer`, which seeks so many."""
        exchange = self.exchanges.get(tag)
        others = [p for p in exchange.neighbours if p != peer] if exchange is not None else []
        some = self.rng.sample(others, max(0, min(sought - 1, len(others))))
        self.site.send(peer, say.Introduce(tag, (self.site.me, *some) if sought else ()))
