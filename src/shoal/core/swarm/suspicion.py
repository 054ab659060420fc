"""Which peers to leave alone for a while, and for how long."""

from dataclasses import dataclass, field

from shoal.core.peer import PeerId
from shoal.core.swarm.policy import Policy

SPOILED_MOST = 3  # pieces that fail their check before a peer is left out: one may be bad memory
# A connection that stood for so long was good: its end is the first failure of a row. One that
# breaks sooner goes on with the row, or a peer that breaks each would be dialed without a pause.
STEADY_S = 10.0
# Connections in a row that broke sooner, after which a further one is no reason to believe in it: a
# peer that dials this node as often as it breaks off would be the tracker anew each time.
BREAKS_MOST = 2
PEERS_MOST = 65536  # a site's size and more; beyond it the oldest suspicion is forgotten


@dataclass(slots=True)
class Suspicion:
    """Failures of peers, in a row, and until when each is left alone."""

    policy: Policy
    until_s: dict[PeerId, float] = field(default_factory=dict)
    failures: dict[PeerId, int] = field(default_factory=dict)
    breaks: dict[PeerId, int] = field(default_factory=dict)  # of them, connections that broke soon
    stood_s: dict[PeerId, float] = field(default_factory=dict)  # since when it is connected
    spoils: dict[PeerId, int] = field(default_factory=dict)
    bans: set[PeerId] = field(default_factory=set)
    offences: dict[PeerId, tuple[int, float]] = field(default_factory=dict)  # bans, and the last
    refusals: dict[PeerId, int] = field(default_factory=dict)  # of this node, in a row
    retry_s: dict[PeerId, float] = field(default_factory=dict)  # when to dial who refused

    def holds(self, peer: PeerId, *, now_s: float) -> bool:
        """Whether `peer` is to be left alone now."""
        return self.until_s.get(peer, 0.0) > now_s

    def bans_now(self, peer: PeerId, *, now_s: float) -> bool:
        """Whether `peer` is to be left out now, for what it sent."""
        return peer in self.bans and self.holds(peer, now_s=now_s)

    def failed(self, peer: PeerId, *, now_s: float, dialed: bool = False) -> None:
        """A connection to `peer` broke, or could not be made if `dialed`: leave it alone.

        Longer each time in a row.
        """
        self.known(peer)
        if len(self.failures) >= PEERS_MOST and peer not in self.failures:
            self._forget(next(iter(self.failures)))
        if now_s - self.stood_s.pop(peer, now_s) >= STEADY_S:
            self.failures.pop(peer, None)
            self.breaks.pop(peer, None)
        if not dialed:
            self.breaks[peer] = self.breaks.get(peer, 0) + 1
        failures = self.failures[peer] = min(self.failures.get(peer, 0) + 1, 16)
        first_s = self.policy.unreachable_s if dialed else self.policy.suspect_s
        pause_s = min(first_s * 2 ** (failures - 1), self.policy.suspect_most_s)
        self.until_s[peer] = max(self.until_s.get(peer, 0.0), now_s + pause_s)

    def refused(self, peer: PeerId, *, now_s: float) -> None:
        """`peer` lives and does not know this node: no failure, and worth another dial soon."""
        if len(self.refusals) >= PEERS_MOST and peer not in self.refusals:
            return
        count = self.refusals.get(peer, 0)
        self.refusals[peer] = min(count + 1, 16)
        pause_s = min(self.policy.refusal_s * 2**count, self.policy.refusal_most_s)
        self.retry_s[peer] = now_s + pause_s

    def refuses(self, peer: PeerId, *, now_s: float) -> bool:
        """Whether `peer` refused this node and is not to be dialed again yet."""
        return self.retry_s.get(peer, 0.0) > now_s

    def cleared(self, peer: PeerId, *, now_s: float) -> None:
        """`peer` answers again; a ban stays, and a pause for what it broke again and again."""
        self.known(peer)
        if not self.bans_now(peer, now_s=now_s):
            if self.breaks.get(peer, 0) < BREAKS_MOST:
                self.until_s.pop(peer, None)
            self.bans.discard(peer)
        if peer in self.failures:
            self.stood_s[peer] = now_s

    def known(self, peer: PeerId) -> None:
        """`peer` no longer refuses this node, or no longer lives."""
        self.refusals.pop(peer, None)
        self.retry_s.pop(peer, None)

    def first(self, peer: PeerId) -> bool:
        """Whether `peer` has failed once, and not again and again."""
        return self.failures.get(peer, 0) <= 1

    def _forget(self, peer: PeerId) -> None:
        self.until_s.pop(peer, None)
        self.failures.pop(peer, None)
        self.breaks.pop(peer, None)
        self.stood_s.pop(peer, None)
        self.bans.discard(peer)

    def spoiled(self, peer: PeerId) -> bool:
        """`peer` sent a bad piece; return whether it has now sent too many."""
        self.spoils[peer] = self.spoils.get(peer, 0) + 1
        return self.spoils[peer] >= SPOILED_MOST

    def banned(self, peer: PeerId, *, now_s: float) -> None:
        """`peer` is left out; twice as long each time, until it has behaved for long."""
        self.bans.add(peer)
        self.spoils.pop(peer, None)
        count, over_s = self.offences.pop(peer, (0, now_s))
        if now_s - over_s > self.policy.banned_most_s:
            count = 0
        if now_s < over_s:
            count = max(0, count - 1)  # it is still left out for the offence before
        until_s = now_s + min(self.policy.banned_s * 2**count, self.policy.banned_most_s)
        self.offences[peer] = min(count + 1, 16), until_s
        if len(self.offences) > PEERS_MOST:
            del self.offences[next(iter(self.offences))]
        self.until_s[peer] = max(self.until_s.get(peer, 0.0), until_s)
