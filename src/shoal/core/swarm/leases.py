"""A node's dealings with the trackers of its blobs, and with the registry on their leases."""

# Rule 1: a run of pieces is fetched from the registry under a lease, or because peers are not
#         believed for the blob, or because neither peers nor tracker have answered for long.
# Rule 2: every lease granted is ended by a message: done, failed, denied or declined.

from dataclasses import dataclass, field

from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.membership.placement import precedes
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY, RegistryFault
from shoal.core.swarm.exchange import Exchange, RegistryRun
from shoal.core.swarm.site import Site
from shoal.core.wire import messages as say

# While its tracker says that others are at work, a blob may be late on a slow link.
GIVE_UP_FACTOR_WHEN_LED = 4
# A node that the registry denies waits for peers while its tracker says that others are at work;
# if it does not, only so many times a lease's patience.
DENIED_PATIENCE = 1.5
REGISTRY_FAILURES_MOST = 3  # in a row and without any progress, before readers are told
# A registry that fails is asked again after half a second, twice as long after each failure in a
# row, 8 s at most, unless it says longer itself.
RETRY_S = 0.25
RETRY_DOUBLINGS_MOST = 5
RETRY_AFTER_MOST_S = 3600.0
# Leases of one tracker between two looks at the clock that lead to no fetch. Honest ones are few;
# each answer may bring the next, so that beyond this nothing is answered, and they lapse.
VAIN_LEASES_ANSWERED = 16
VAIN_LEASES_PLENTY = 4  # after which no lease of the blob is asked for, for a while


@dataclass(slots=True)
class Leases:
    """Announces, asks for leases, fetches under them, and looks after what makes no progress."""

    site: Site
    vain: dict[PeerId, int] = field(default_factory=dict)  # leases that led to no fetch, lately

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
        since_s = self.site.now_s - self.site.policy.registry_stall_s
        return sum(run.progress_s < since_s for run in exchange.runs.values())

    def announce(self, exchange: Exchange) -> None:
        """Tell the tracker what this node wants and has, if it can be told and is due."""
        tracker = exchange.tracker
        patient = self._is_patient(exchange)
        if tracker is not None and self.site.refuses(tracker) and not patient:
            tracker = None
        fresh = tracker is None
        if tracker is None:
            tracker = self.site.tracker_of(
                exchange.spec.tag, without=exchange.shunned, patient=patient
            )
            exchange.tracker, exchange.led_s = tracker, self.site.now_s
            exchange.lease_asked_s = None  # whoever was asked before is not who is asked now
            exchange.lease_refused_s = -1e9
        if not self.site.reachable(tracker):
            self.site.connect(tracker)
            exchange.announced_s = -1e9
            return
        policy, now_s = self.site.policy, self.site.now_s
        lone = exchange.lone and not exchange.introduced and len(self.site.members) > 1
        interval_s = policy.lone_announce_interval_s if lone else policy.announce_interval_s
        if not fresh and now_s - exchange.announced_s <= interval_s:
            return
        known_before = exchange.announced_s > 0 or exchange.held != 0
        sought = policy.neighbours - len(exchange.neighbours) - len(exchange.introduced)
        message = say.Announce(
            exchange.spec,
            exchange.held,
            wants=exchange.wanted,
            peers_sought=max(0, sought),
            takeover=fresh and known_before and len(self.site.members) > 1,
        )
        exchange.announced_s = now_s
        self.site.send(tracker, message)

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

    def ask(self, exchange: Exchange) -> bool:
        """Offer a free hand to the blob's tracker; return whether one was offered."""
        tracker, policy, now_s = exchange.tracker, self.site.policy, self.site.now_s
        if (
            tracker is None
            or not self.site.reachable(tracker)
            or exchange.announced_s < 0
            or exchange.denied
            or exchange.lease_asked_s is not None
            or self._stalled(exchange) >= policy.registry_fetches
            or not exchange.missing & ~exchange.in_flight_bits
            or now_s < exchange.retry_at_s
            or now_s - exchange.lease_refused_s < policy.announce_interval_s
        ):
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
        if not run & ~exchange.held:
            self._not_fetched(tracker, message, exchange, done=count)
        elif not (asked or spare or stuck):
            # Asked for as soon as a hand is free: whoever declines is called upon no more.
            exchange.lease_refused_s = -1e9
            self._not_fetched(tracker, message, exchange)
        elif not self.fetching(exchange) or run & under_way:
            # Under way since before a lease on it lapsed: asked for at once, it would be granted at
            # once again, and so without an end where this node is its own tracker.
            self._rest(exchange)
            self._not_fetched(tracker, message, exchange)
        else:
            self._fetch(exchange, first, count, leased=True)

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
            retry_s = min(event.retry_after_s, RETRY_AFTER_MOST_S)
            self._end(exchange.tracker, event.tag, run.first, run.done, outcome, retry_s)
        # A node that is denied may still have all from peers; `watch` sees whether it comes.
        alone = exchange.alone or len(self.site.members) == 1
        if (
            event.fault is not None
            and (
                (exchange.denied and alone) or exchange.registry_failures >= REGISTRY_FAILURES_MOST
            )
            and not exchange.in_flight
            and not any(n.held & exchange.missing for n in exchange.neighbours.values())
        ):
            self.give_up(exchange, "the registry does not give it and no peer has it")

    def _outcome(
        self, exchange: Exchange, run: RegistryRun, event: on.RegistryEnded
    ) -> say.LeaseOutcome:
        now_s = self.site.now_s
        if event.fault is RegistryFault.DENIED:
            exchange.denied = True
            return say.LeaseOutcome.DENIED
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

    def watch(self, exchange: Exchange) -> None:
        """Look for a blob that makes no progress, and do the next harder thing about it."""
        if exchange.complete or not self.fetching(exchange):
            return
        if exchange.tracker is not None and not self.site.reachable(exchange.tracker):
            self.site.dial_successor(exchange.spec.tag, without=exchange.shunned)
        now_s, policy = self.site.now_s, self.site.policy
        silent_s = now_s - exchange.progress_s
        if self._must_wait_too_long(exchange, silent_s):
            wait_s = exchange.retry_at_s - now_s
            self.give_up(
                exchange,
                f"the registry asks to be left alone for {wait_s:.0f} s and no peer has it",
            )
            return
        if self._is_led_nowhere(exchange):
            self._lead_on(exchange)
            return
        if silent_s <= policy.lease_patience_s:
            return
        led = now_s - exchange.heard_s <= policy.lease_patience_s
        patience_s = policy.give_up_s * (GIVE_UP_FACTOR_WHEN_LED if led else 1)
        if exchange.denied:
            # Its client must authenticate anew. A tracker cannot see that whoever is at work sends
            # nothing to this node, so what it says is believed for as long as others wait.
            patience_s = policy.give_up_s if led else DENIED_PATIENCE * policy.lease_patience_s
        first, _ = bitmap.lowest_run(exchange.missing, longest=1)
        if silent_s > patience_s:
            self.give_up(exchange, f"no progress for {silent_s:.0f} s from peers or registry")
        elif silent_s > policy.alone_after_s and not (led or exchange.runs or exchange.denied):
            self._fetch(exchange, first, 1, leased=False)
            if exchange.tracker is not None and exchange.tracker != self.site.me:
                # It was told that this blob is stuck, and whoever lives answers that.
                self.site.suspicion.failed(exchange.tracker, now_s=now_s, dialed=True)
                exchange.tracker = None
        elif self._in_line(exchange) and silent_s <= policy.alone_after_s:
            return  # on slow links the pieces of other blobs come first
        elif exchange.tracker is not None and now_s - exchange.stuck_said_s > policy.stall_s:
            exchange.stuck_said_s = now_s
            self.site.send(exchange.tracker, say.LeaseWanted(exchange.spec.tag, first))

    def _must_wait_too_long(self, exchange: Exchange, silent_s: float) -> bool:
        """Whether the registry is to be left alone for longer than readers wait, and nobody has it.

        Others may be ending what they began before: where there are others, those have a while.
        """
        alone = exchange.alone or len(self.site.members) == 1
        policy = self.site.policy
        return (
            exchange.retry_at_s - self.site.now_s > policy.give_up_s
            and silent_s > (policy.stall_s if alone else policy.lease_patience_s)
            and not exchange.in_flight
            and not any(n.held & exchange.missing for n in exchange.neighbours.values())
        )

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
            and all(n.silences or p in exchange.doubted for p, n in exchange.neighbours.items())
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

    def work_alone(self, exchange: Exchange, free: int) -> int:
        """Begin up to `free` fetches of a blob for which no peer is believed; return how many."""
        begun = 0
        longest = max(1, self.site.policy.lease_bytes_most // exchange.spec.piece_bytes)
        while begun < free and self.site.now_s >= exchange.retry_at_s and not exchange.denied:
            need = exchange.missing & ~exchange.in_flight_bits
            if not need:
                break
            first, count = bitmap.lowest_run(need, longest=longest)
            self._fetch(exchange, first, count, leased=False)
            begun += 1
        return begun

    def give_up(self, exchange: Exchange, reason: str) -> None:
        """Let the readers know that the blob cannot be had."""
        if exchange.wanted:
            exchange.wanted = False
            self.site.out.append(do.GiveUp(exchange.spec.tag, reason))

    def _fetch(self, exchange: Exchange, first: int, count: int, *, leased: bool) -> None:
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
