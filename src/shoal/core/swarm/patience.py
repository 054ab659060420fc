"""How long a blob that makes no progress is waited for, and what is tried next."""

from dataclasses import dataclass

from shoal.core import bitmap
from shoal.core.swarm import effects as do
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.introducing import Introducing
from shoal.core.swarm.leases import Leases
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

# While its tracker says that others are at work, a blob may be late on a slow link.
GIVE_UP_FACTOR_WHEN_LED = 4
# A node that the registry denies waits for peers while its tracker says that others are at work;
# if it does not, only so many times a lease's patience.
DENIED_PATIENCE = 1.5
# For so many times a lease's patience a tracker may look for somebody to fetch what is not believed
# of who has it. After one patience, eight nodes took seven copies: each had waited long enough.
DISBELIEF_PATIENCE = 1.5


@dataclass(slots=True)
class Patience:
    """Looks after wanted blobs that make no progress."""

    site: Site
    leases: Leases
    introducing: Introducing

    def watch(self, exchange: Exchange) -> None:
        """Look for a blob that makes no progress, and do the next harder thing about it."""
        if exchange.complete or not self.leases.fetching(exchange):
            return
        if exchange.tracker is not None and not self.site.reachable(exchange.tracker):
            self.site.dial_successor(exchange.spec.tag, without=exchange.shunned)
        now_s, policy = self.site.now_s, self.site.policy
        silent_s = now_s - exchange.progress_s
        if silent_s > policy.stall_s:
            self._probe(exchange)
        if self._must_wait_too_long(exchange, silent_s):
            wait_s = exchange.retry_at_s - now_s
            self.leases.give_up(
                exchange,
                f"the registry asks to be left alone for {wait_s:.0f} s and no peer has it",
            )
            return
        disbelief_s = DISBELIEF_PATIENCE * policy.lease_patience_s
        if silent_s > disbelief_s and self._is_disbelieving(exchange):
            self.leases.work_alone(exchange, 1)
            return
        if self._is_led_nowhere(exchange):
            self._lead_on(exchange)
            return
        waited_s = policy.stall_s if self._is_bereft(exchange) else policy.lease_patience_s
        if exchange.deputies and not exchange.delegate and exchange.tracker is None:
            self.introducing.appeal(exchange, patience_s=waited_s)
        if silent_s <= waited_s:
            return
        led = now_s - exchange.heard_s <= policy.lease_patience_s
        patience_s = policy.give_up_s * (GIVE_UP_FACTOR_WHEN_LED if led else 1)
        if exchange.denied:
            # Its client must authenticate anew. A tracker cannot see that whoever is at work sends
            # nothing to this node, so what it says is believed for as long as others wait.
            patience_s = policy.give_up_s if led else DENIED_PATIENCE * policy.lease_patience_s
        first, _ = bitmap.lowest_run(exchange.missing, longest=1)
        if silent_s > patience_s:
            self.leases.give_up(
                exchange, f"no progress for {silent_s:.0f} s from peers or registry"
            )
        elif silent_s > policy.alone_after_s and not (led or exchange.runs or exchange.denied):
            self.leases.fetch(exchange, first, 1, leased=False)
            if exchange.tracker is not None and exchange.tracker != self.site.me:
                # It was told that this blob is stuck, and whoever lives answers that.
                self.site.suspicion.failed(exchange.tracker, now_s=now_s, dialed=True)
                exchange.tracker = None
        elif self._in_line(exchange) and silent_s <= policy.alone_after_s:
            return  # on slow links the pieces of other blobs come first
        elif exchange.tracker is not None and now_s - exchange.stuck_said_s > policy.stall_s:
            exchange.stuck_said_s = now_s
            self.site.send(exchange.tracker, say.LeaseWanted(exchange.spec.tag, first))

    def _probe(self, exchange: Exchange) -> None:
        """Whoever owes this blob something may have stopped, and others could be asked instead."""
        owing = {fetch.source for fetches in exchange.in_flight.values() for fetch in fetches}
        if exchange.tracker is not None:
            owing.add(exchange.tracker)
        owing.update(deputy.peer for deputy in exchange.deputies.values())
        self.site.out.extend(do.Probe(peer) for peer in sorted(owing & self.site.links))

    def _must_wait_too_long(self, exchange: Exchange, silent_s: float) -> bool:
        """Whether the registry is to be left alone for longer than readers wait, and nobody has it.

        Others may be ending what they began before: where there are others, those have a while.
        """
        alone = exchange.alone or len(self.site.members) == 1
        policy = self.site.policy
        return (
            exchange.retry_at_s - self.site.now_s > policy.give_up_s
            and silent_s > (policy.stall_s if alone else policy.lease_patience_s)
            and exchange.dry
        )

    def _is_bereft(self, exchange: Exchange) -> bool:
        """Whether whoever had it is gone and nobody else has: its tracker may still count on it."""
        lately = self.site.now_s - exchange.bereft_s <= self.site.policy.lease_patience_s
        return lately and exchange.dry

    def _is_disbelieving(self, exchange: Exchange) -> bool:
        """Whether all that neighbours have is vouched for by whom this node does not believe.

        Its tracker leases such a piece to somebody else for each that vouched for it wrongly, but
        may count on one that has gone, or that was lied to as well.
        """
        return bool(exchange.aside or exchange.doubted) and exchange.dry and not exchange.misled

    def _is_led_nowhere(self, exchange: Exchange) -> bool:
        """Whether the tracker has brought neither a lease nor a neighbour that does anything."""
        tracker, now_s = exchange.tracker, self.site.now_s
        # Where a blob was wrong before, it is known that the tracker's holders are of no use.
        patience_s = 0.0 if exchange.doubted else self.site.policy.lone_patience_s
        return (
            tracker is not None
            and tracker != self.site.me
            and self.site.reachable(tracker)
            and not exchange.denied
            and not exchange.runs
            and now_s >= exchange.retry_at_s
            and now_s - max(exchange.progress_s, exchange.led_s) > patience_s
            and exchange.idle
        )

    def _lead_on(self, exchange: Exchange) -> None:
        """Tell the tracker that it leads nowhere; if it was told and still does, ask the next."""
        policy, now_s = self.site.policy, self.site.now_s
        tracker = exchange.tracker
        if tracker is None:
            return
        if exchange.stuck_said_s < max(exchange.progress_s, exchange.led_s):
            exchange.stuck_said_s = now_s
            first, _ = bitmap.lowest_run(exchange.missing, longest=1)
            self.site.send(tracker, say.LeaseWanted(exchange.spec.tag, first))
        elif now_s - exchange.stuck_said_s > policy.stall_s:
            exchange.shunned.add(tracker)
            exchange.tracker = exchange.left = None
            exchange.heard_s = -1e9

    def _in_line(self, exchange: Exchange) -> bool:
        """Whether a neighbour that was asked for this blob is sending pieces of any."""
        since_s = self.site.now_s - self.site.policy.stall_s
        return any(
            neighbour.asked and self.site.served_s.get(peer, -1e9) >= since_s
            for peer, neighbour in exchange.neighbours.items()
        )
