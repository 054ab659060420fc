"""How a node of a large site finds others: by deputies, not by the tracker that hears of few.

`deputies` is the other side. A node asks the tracker itself, for leases, once a deputy has named it
a delegate, or where no deputy helps.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.core import bitmap
from shoal.core.membership.placement import deputy_keys
from shoal.core.swarm.exchange import Deputy, Exchange
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

if TYPE_CHECKING:
    from shoal.core.peer import PeerId


@dataclass(slots=True)
class Introducing:
    """Tells deputies of wanted blobs what this node wants, and appeals to them."""

    site: Site

    def announce(self, exchange: Exchange, *, sought: int, interval_s: float) -> None:
        """Tell each deputy that can be told and is due, and dial those that have to be.

        Args:
            exchange: of a wanted blob.
            sought: neighbours that are missing.
            interval_s: after which a deputy is told again.
        """
        site, now_s = self.site, self.site.now_s
        tag = exchange.spec.tag
        exchange.deputies_due_s = now_s + site.policy.lone_announce_interval_s
        keys = deputy_keys(tag, site.me, site.shards)
        patient = site.young and now_s - exchange.opened_s < site.policy.join_patience_s
        if exchange.deputies.keys() != set(keys):
            exchange.deputies.clear()
        told: set[PeerId] = set()
        for key in keys:
            peer = site.tracker_of(key, without=told, patient=patient)
            told.add(peer)
            deputy = exchange.deputies.get(key)
            if deputy is None or deputy.peer != peer:
                deputy = exchange.deputies[key] = Deputy(peer)
            if not site.reachable(peer):
                site.connect(peer)
                if peer not in site.dialing:  # it refused this node just now
                    exchange.deputies_due_s = now_s + site.policy.watch_interval_s
            elif now_s - deputy.announced_s >= interval_s:
                deputy.announced_s = now_s
                message = say.Announce(
                    exchange.spec,
                    0,
                    wants=True,
                    peers_sought=max(0, -(-sought // len(keys))),
                    to_deputy=True,
                )
                site.send(peer, message)

    def appeal(self, exchange: Exchange, *, patience_s: float) -> None:
        """Where nothing has come for `patience_s`, be a delegate: by a deputy's word, if it says.

        A node without a neighbour that does anything waits for no word: its deputies may lie.
        """
        policy, now_s = self.site.policy, self.site.now_s
        silent_s = now_s - exchange.progress_s
        if exchange.idle:
            self._ask_tracker(exchange, now=silent_s > policy.lone_patience_s)
        elif silent_s <= patience_s or now_s - exchange.stuck_said_s <= policy.stall_s:
            return
        elif exchange.heard_s < exchange.stuck_said_s and (
            exchange.stuck_said_s > exchange.progress_s
        ):
            self._ask_tracker(exchange, now=True)
        else:
            exchange.stuck_said_s = now_s
            first, _ = bitmap.lowest_run(exchange.missing, longest=1)
            for deputy in exchange.deputies.values():
                self.site.send(deputy.peer, say.LeaseWanted(exchange.spec.tag, first))

    def _ask_tracker(self, exchange: Exchange, *, now: bool) -> None:
        if now:
            exchange.be_delegate()
            self.site.changed = True
