"""Which peers to leave alone for a while, and for how long."""

from dataclasses import dataclass, field

from shoal.core.peer import PeerId
from shoal.core.swarm.policy import Policy

SPOILED_MOST = 3  # pieces that fail their check before a peer is left out: one may be bad memory
PEERS_MOST = 65536  # a site's size and more; beyond it the oldest suspicion is forgotten


@dataclass(slots=True)
class Suspicion:
    """Failures of peers, in a row, and until when each is left alone."""

    policy: Policy
    until_s: dict[PeerId, float] = field(default_factory=dict)
    failures: dict[PeerId, int] = field(default_factory=dict)
    spoils: dict[PeerId, int] = field(default_factory=dict)
    bans: set[PeerId] = field(default_factory=set)

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
        if len(self.until_s) >= PEERS_MOST and peer not in self.until_s:
            self._forget(next(iter(self.until_s)))
        failures = self.failures[peer] = min(self.failures.get(peer, 0) + 1, 16)
        first_s = self.policy.unreachable_s if dialed else self.policy.suspect_s
        pause_s = min(first_s * 2 ** (failures - 1), self.policy.suspect_most_s)
        self.until_s[peer] = max(self.until_s.get(peer, 0.0), now_s + pause_s)

    def cleared(self, peer: PeerId, *, now_s: float) -> None:
        """`peer` answers again; a ban stays until its time is over."""
        self.failures.pop(peer, None)
        if not self.bans_now(peer, now_s=now_s):
            self._forget(peer)

    def _forget(self, peer: PeerId) -> None:
        self.until_s.pop(peer, None)
        self.failures.pop(peer, None)
        self.bans.discard(peer)

    def spoiled(self, peer: PeerId) -> bool:
        """`peer` sent a bad piece; return whether it has now sent too many."""
        self.spoils[peer] = self.spoils.get(peer, 0) + 1
        return self.spoils[peer] >= SPOILED_MOST

    def banned(self, peer: PeerId, *, now_s: float) -> None:
        """`peer` is left out for the policy's time."""
        self.bans.add(peer)
        self.spoils.pop(peer, None)
        self.until_s[peer] = now_s + self.policy.banned_s
