"""Which tracker a wanted blob has, and what it is told of what this node has."""

from dataclasses import dataclass

from shoal.core.membership.placement import precedes
from shoal.core.peer import PeerId
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.introducing import Introducing
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say


@dataclass(slots=True)
class Announcing:
    """Tells the trackers of wanted blobs what this node wants and has."""

    site: Site
    introducing: Introducing

    def announce(self, exchange: Exchange) -> float:
        """Tell who is to know what this node wants and has, if they can be told and it is due.

        Returns when to look again, unless something changes before.
        """
        if self.site.shards == 1:
            return self._announce_to_tracker(exchange)
        if self.site.now_s >= exchange.deputies_due_s:
            self._announce_to_deputies(exchange)
        if not exchange.delegate and exchange.tracker is None:
            return exchange.deputies_due_s
        return min(exchange.deputies_due_s, self._announce_to_tracker(exchange))

    def _announce_to_deputies(self, exchange: Exchange) -> None:
        self.introducing.announce(
            exchange, sought=self._sought(exchange), interval_s=self._interval_s(exchange)
        )
        if not exchange.delegate and self.site.tracker_of(exchange.spec.tag) == self.site.me:
            exchange.be_delegate()

    def _sought(self, exchange: Exchange) -> int:
        met = len(exchange.neighbours) + len(exchange.introduced)
        return max(0, self.site.policy.neighbours - met)

    def _interval_s(self, exchange: Exchange) -> float:
        policy = self.site.policy
        early = self._is_early(exchange)
        return policy.lone_announce_interval_s if early else policy.announce_interval_s

    def _announce_to_tracker(self, exchange: Exchange) -> float:
        """Tell the tracker, or dial it; return when to look again."""
        tracker = exchange.tracker
        if tracker is not None and self.site.refuses(tracker) and not self._is_patient(exchange):
            tracker = None
        fresh = tracker is None
        if tracker is None:
            tracker = self.site.tracker_of(
                exchange.spec.tag, without=exchange.shunned, patient=self._is_patient(exchange)
            )
            exchange.tracker, exchange.led_s = tracker, self.site.now_s
            exchange.lease_asked_s = None  # whoever was asked before is not who is asked now
            exchange.lease_refused_s = -1e9
        if not self.site.reachable(tracker):
            self.site.connect(tracker)
            exchange.announced_s = -1e9
            return self.site.now_s
        now_s, interval_s = self.site.now_s, self._interval_s(exchange)
        if not fresh and now_s - exchange.announced_s <= interval_s:
            return exchange.announced_s + interval_s
        known_before = exchange.announced_s > 0 or exchange.held != 0
        message = say.Announce(
            exchange.spec,
            exchange.offered,
            wants=exchange.wanted,
            peers_sought=self._sought(exchange),
            takeover=fresh and known_before and self._others_may_announce(),
        )
        exchange.announced_s = now_s
        self.site.send(tracker, message)
        return now_s + interval_s

    def _others_may_announce(self) -> bool:
        """Whether a member lives, for all that is known, beside this node."""
        site = self.site
        return any(peer != site.me and not site.left_alone(peer) for peer in site.members)

    def _is_early(self, exchange: Exchange) -> bool:
        """Whether this node may have been among the first to announce, and others come now.

        It has fewer than half of the neighbours that it seeks: with as few it falls behind.
        """
        met = len(exchange.neighbours) + len(exchange.introduced)
        if exchange.doubted:
            met -= len(exchange.neighbours.keys() & exchange.doubted)
        return met < min(self.site.policy.neighbours, len(self.site.members)) // 2

    def _is_patient(self, exchange: Exchange) -> bool:
        """Whether to wait for a tracker that does not know this node yet."""
        patience_s = self.site.policy.join_patience_s
        return self.site.young and self.site.now_s - exchange.opened_s < patience_s

    def back(self, exchange: Exchange, peer: PeerId) -> None:
        """`peer` is connected: if it was this blob's tracker a moment ago, it still is.

        Its successor has leased nothing yet, and others may never have lost it: two trackers would
        lease every piece twice. So it is if others know it as their tracker and only this node had
        to do without, which it did not know.
        """
        if self._was_missed(exchange, peer):
            exchange.tracker = None
        if exchange.left is None or exchange.left[0] != peer:
            return
        if self.site.now_s - exchange.left[1] <= self.site.policy.takeover_grace_s:
            exchange.tracker = None  # and so to be chosen anew
        exchange.left = None

    def _was_missed(self, exchange: Exchange, peer: PeerId) -> bool:
        """Whether `peer`, which had refused this node, is before the tracker in the order."""
        return (
            exchange.tracker not in (None, peer)
            and peer in self.site.suspicion.refusals
            and peer not in exchange.shunned
            and precedes(exchange.spec.tag, peer, exchange.tracker)
        )
