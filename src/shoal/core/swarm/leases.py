"""Leases of pieces: asked for, fetched under, and ended."""

# Rule 1: a run of pieces is fetched from the registry under a lease, or because peers are not
#         believed for the blob, or because neither peers nor tracker have answered for long.
# Rule 2: every lease granted is ended by a message: done, failed, denied or declined.

import math
from dataclasses import dataclass, field

from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.exchange import Exchange, RegistryRun
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

REGISTRY_FAILURES_MOST = 3  # in a row and without any progress, before readers are told
# A registry that fails is asked again after half a second, twice as long after each failure in a
# row, 8 s at most, unless it says longer itself.
RETRY_S = 0.25
RETRY_DOUBLINGS_MOST = 5
RETRY_AFTER_MOST_S = 3600.0
# One that limits requests is left alone for so long if it names no time; and by the node's other
# blobs no longer than this, since it may mean the one only.
LIMITED_S = 1.0
LIMITED_MOST_S = 2.0
# Leases of one tracker between two looks at the clock that lead to no fetch. Honest ones are few;
# each answer may bring the next, so that beyond this nothing is answered, and they lapse.
VAIN_LEASES_ANSWERED = 16
VAIN_LEASES_PLENTY = 4  # after which no lease of the blob is asked for, for a while


@dataclass(slots=True)
class Leases:
    """Asks trackers for leases, and fetches under them from the registry."""

    site: Site
    vain: dict[PeerId, int] = field(default_factory=dict)  # leases that led to no fetch, lately
    quiet_until_s: dict[str, float] = field(default_factory=dict)  # registries that limit requests

    def ticked(self) -> None:
        """Time has passed: whoever granted leases in vain may be answered again."""
        self.vain.clear()

    def fetching(self, exchange: Exchange) -> bool:
        """Whether this exchange still wants to fetch anything at all."""
        released_s = exchange.released_s
        kept = released_s is None or self.site.now_s - released_s < self.site.policy.released_s
        return exchange.wanted and kept and not exchange.complete

    def hands(self, exchange: Exchange) -> int:
        """How many of this node's hands for the registry the blob has.

        A fetch that hangs or drips is left to its end, and a lease is waited for, but neither holds
        a hand for long: a registry's trouble with one blob must not keep the others waiting.
        """
        since_s = self.site.now_s - self.site.policy.registry_stall_s
        asked_s = exchange.lease_asked_s
        return self.moving(exchange) + (asked_s is not None and asked_s >= since_s)

    def moving(self, exchange: Exchange) -> int:
        """How many fetches of the blob from the registry do not hang."""
        return len(exchange.runs) - self._stalled(exchange)

    def turn(self, exchange: Exchange) -> tuple[int, int]:
        """Where the blob stands among those that want a hand; the smallest comes first."""
        return self._stalled(exchange), min(1, self.hands(exchange))

    def _stalled(self, exchange: Exchange) -> int:
        if not exchange.runs:
            return 0
        since_s = self.site.now_s - self.site.policy.registry_stall_s
        return sum(run.progress_s < since_s for run in exchange.runs.values())

    def may_ask_s(self, exchange: Exchange) -> float:
        """From when on the blob's tracker may be asked for a lease; infinity: not as things are."""
        tracker, policy = exchange.tracker, self.site.policy
        if (
            exchange.lease_asked_s is not None
            or tracker is None
            or exchange.announced_s < 0
            or exchange.denied
            or not exchange.missing & ~exchange.in_flight_bits
            or not self.site.reachable(tracker)
            or self._stalled(exchange) >= policy.registry_fetches
        ):
            return math.inf
        self._heed_limit(exchange)
        return max(exchange.retry_at_s, exchange.lease_refused_s + policy.announce_interval_s)

    def ask(self, exchange: Exchange) -> bool:
        """Offer a free hand to the blob's tracker; return whether one was offered."""
        tracker, now_s = exchange.tracker, self.site.now_s
        if tracker is None or self.may_ask_s(exchange) > now_s:
            return False
        exchange.lease_asked_s = now_s
        self.site.send(tracker, say.LeaseWanted(exchange.spec.tag))
        return True

    def granted(
        self, tracker: PeerId, message: say.LeaseGranted, exchange: Exchange | None, *, spare: bool
    ) -> None:
        """`tracker` leases a run of pieces: fetch it, or say why not.

        A lease that was not asked for is taken only by who has a hand to `spare`, or is stuck.
        """
        first, count = message.first, message.count
        if exchange is None or tracker != exchange.tracker:
            self._not_fetched(tracker, message, exchange)
            return
        if count < 1 or first + count > exchange.spec.pieces:
            self.site.leave_out(tracker, "leases pieces that the blob does not have")
            return
        asked = exchange.lease_asked_s is not None
        stuck = self.site.now_s - exchange.progress_s > self.site.policy.lease_patience_s
        exchange.lease_asked_s = None
        exchange.heard_s = self.site.now_s
        run = bitmap.run(first, count)
        under_way = 0
        for other in exchange.runs.values():
            under_way |= bitmap.run(other.first, other.count)
        if exchange.misled:
            self._end(tracker, message.tag, first, 0, say.LeaseOutcome.DENIED)
        elif not run & ~exchange.held:
            self._not_fetched(tracker, message, exchange, done=count)
        elif not (asked or spare or stuck):
            # Asked for as soon as a hand is free: whoever declines is called upon no more.
            exchange.lease_refused_s = -1e9
            self._not_fetched(tracker, message, exchange)
        elif self._is_quiet(exchange):
            self._not_fetched(tracker, message, exchange)
        elif not self.fetching(exchange) or run & under_way:
            # Under way since before a lease on it lapsed: asked for at once, it would be granted at
            # once again, and so without an end where this node is its own tracker.
            self._rest(exchange)
            self._not_fetched(tracker, message, exchange)
        else:
            self.fetch(exchange, first, count, leased=True)

    def _not_fetched(
        self, tracker: PeerId, lease: say.LeaseGranted, exchange: Exchange | None, *, done: int = 0
    ) -> None:
        """Answer a lease under which nothing is fetched, unless there are too many of them."""
        vain = self.vain[tracker] = self.vain.get(tracker, 0) + 1
        if vain > VAIN_LEASES_PLENTY and exchange is not None:
            self._rest(exchange)
        if vain <= VAIN_LEASES_ANSWERED:
            outcome = say.LeaseOutcome.DONE if done else say.LeaseOutcome.DECLINED
            self._end(tracker, lease.tag, lease.first, done, outcome)

    def _is_quiet(self, exchange: Exchange) -> bool:
        """Whether the blob's registry has asked for fewer requests, just now."""
        return self.site.now_s < self.quiet_until_s.get(exchange.spec.registry, 0.0)

    def _heed_limit(self, exchange: Exchange) -> None:
        """Rest for as long as another blob of the registry was told to."""
        quiet_until_s = self.quiet_until_s.get(exchange.spec.registry, 0.0)
        exchange.retry_at_s = max(exchange.retry_at_s, quiet_until_s)

    def _rest(self, exchange: Exchange) -> None:
        """Ask for no lease of this blob for a moment."""
        again_s = self.site.now_s + self.site.policy.stall_s
        exchange.retry_at_s = max(exchange.retry_at_s, again_s)

    def refused(self, exchange: Exchange) -> None:
        """The tracker has no lease to give: every piece is on its way, or with a peer."""
        exchange.lease_asked_s = None
        exchange.heard_s = exchange.lease_refused_s = self.site.now_s
        if exchange.lone:  # whoever has it, or is at work, is to be introduced
            soon_s = self.site.policy.told_within_s - self.site.policy.lone_announce_interval_s
            exchange.announced_s = min(exchange.announced_s, self.site.now_s + soon_s)

    def renew(self, exchange: Exchange, piece: int, *, moved: bool) -> None:
        """Bytes of `piece` came from the registry (all of them if `moved`): tell the tracker."""
        for run in exchange.runs.values():
            if not run.first <= piece < run.first + run.count:
                continue
            run.progress_s = self.site.now_s
            if moved:
                run.done = max(run.done, piece - run.first + 1)
            due = self.site.now_s - run.told_s > self.site.policy.lease_renewal_s
            due = due or (moved and run.done < run.count)
            if run.leased and exchange.tracker is not None and due:
                run.told_s = self.site.now_s
                self.site.send(
                    exchange.tracker, say.LeaseProgress(exchange.spec.tag, run.first, run.done)
                )

    def ended(self, exchange: Exchange, event: on.RegistryEnded) -> None:
        """A fetch is over: free its pieces, tell the tracker, and readers if nothing is left."""
        run = exchange.runs.pop(event.first, None)
        if run is None:
            return
        for piece in range(run.first, run.first + run.count):
            exchange.unask(piece, REGISTRY)
        if run.leased:
            exchange.led_s = self.site.now_s
        outcome = self._outcome(exchange, run, event)
        if run.leased and exchange.tracker is not None:
            retry_s = event.retry_after_s
            if event.fault is RegistryFault.LIMITED:
                retry_s = max(retry_s, LIMITED_S)
            retry_s = min(retry_s, RETRY_AFTER_MOST_S)
            self._end(exchange.tracker, event.tag, run.first, run.done, outcome, retry_s)
        # A node that is denied may still have all from peers; `Patience` sees whether it comes.
        alone = exchange.alone or len(self.site.members) == 1
        if (
            event.fault is not None
            and (
                (exchange.denied and alone) or exchange.registry_failures >= REGISTRY_FAILURES_MOST
            )
            and exchange.dry
        ):
            self.give_up(exchange, "the registry does not give it and no peer has it")

    def _outcome(
        self, exchange: Exchange, run: RegistryRun, event: on.RegistryEnded
    ) -> say.LeaseOutcome:
        now_s = self.site.now_s
        if event.fault is RegistryFault.DENIED:
            exchange.denied = True
            for deputy in exchange.deputies.values():
                self._end(deputy.peer, exchange.spec.tag, run.first, 0, say.LeaseOutcome.DENIED)
            return say.LeaseOutcome.DENIED
        if event.fault is RegistryFault.LIMITED:
            # No failure, and most likely the same for every blob of this registry.
            pause_s = max(LIMITED_S, min(event.retry_after_s, RETRY_AFTER_MOST_S))
            exchange.retry_at_s = max(exchange.retry_at_s, now_s + pause_s)
            self.quiet_until_s[exchange.spec.registry] = now_s + min(pause_s, LIMITED_MOST_S)
            return say.LeaseOutcome.FAILED
        if event.fault is RegistryFault.FAILED:
            exchange.registry_failures += 1
            pause_s = RETRY_S * 2 ** min(RETRY_DOUBLINGS_MOST, exchange.registry_failures)
            exchange.retry_at_s = now_s + max(event.retry_after_s, pause_s)
            return say.LeaseOutcome.FAILED
        if run.done < run.count:
            # Somebody else was writing the same pieces; look again shortly whether they came.
            self._rest(exchange)
            return say.LeaseOutcome.DECLINED
        return say.LeaseOutcome.DONE

    def work_alone(self, exchange: Exchange, free: int) -> int:
        """Begin up to `free` fetches of a blob for which no peer is believed; return how many."""
        begun = 0
        longest = max(1, self.site.policy.lease_bytes_most // exchange.spec.piece_bytes)
        self._heed_limit(exchange)
        while begun < free and self.site.now_s >= exchange.retry_at_s and not exchange.denied:
            need = exchange.missing & ~exchange.in_flight_bits
            if not need:
                break
            first, count = bitmap.lowest_run(need, longest=longest)
            self.fetch(exchange, first, count, leased=False)
            begun += 1
        return begun

    def give_up(self, exchange: Exchange, reason: str) -> None:
        """Let the readers know that the blob cannot be had."""
        if exchange.wanted:
            exchange.wanted = False
            self.site.out.append(do.GiveUp(exchange.spec.tag, reason))

    def fetch(self, exchange: Exchange, first: int, count: int, *, leased: bool) -> None:
        """Fetch a run of pieces from the registry."""
        exchange.runs[first] = RegistryRun(
            first, count, leased, told_s=self.site.now_s, progress_s=self.site.now_s
        )
        for piece in range(first, first + count):
            if not exchange.held >> piece & 1:
                exchange.ask(piece, REGISTRY, self.site.now_s)
        self.site.out.append(do.FetchFromRegistry(exchange.spec.tag, first, count))

    def _end(
        self,
        tracker: PeerId,
        tag: BlobTag,
        first: int,
        done: int,
        outcome: say.LeaseOutcome = say.LeaseOutcome.DONE,
        retry_after_s: float = 0.0,
    ) -> None:
        self.site.send(tracker, say.LeaseEnded(tag, first, done, outcome, retry_after_s))
