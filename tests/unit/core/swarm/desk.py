"""A tracker as its peers see it: spoken to in messages, and checked after each."""

from collections.abc import Iterable
from random import Random

from shoal.core.blob import BlobSpec
from shoal.core.peer import PeerId
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.tracker import (
    Replies,
    Tracker,
)
from shoal.core.wire.messages import (
    Announce,
    LeaseEnded,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    LeaseProgress,
    LeaseWanted,
)
from shoal.testing.swarm_script import blob

A, B, C, D = (PeerId(name) for name in "abcd")
SPEC = blob(pieces=4)
TAG = SPEC.tag
DONE, FAILED, DENIED, DECLINED = LeaseOutcome
NONE = LeaseNone(TAG)


class Desk:
    """A tracker that is spoken to as peers do, and remembers nothing but the time."""

    def __init__(self, policy: Policy = DEFAULT, *, spec: BlobSpec = SPEC) -> None:
        self.spec = spec
        self.tracker = Tracker(Random(1), policy)  # noqa: S311  (not for secrets)
        self.now_s = 100.0

    def announce(
        self,
        peer: PeerId,
        held: int = 0,
        *,
        wants: bool = True,
        sought: int = 0,
        takeover: bool = False,
        spec: BlobSpec | None = None,
    ) -> Replies:
        """A node says that it wants or has the blob."""
        message = Announce(spec or self.spec, held, wants, sought, takeover)
        return self.checked(self.tracker.announced(peer, message, now_s=self.now_s))

    def want(self, peer: PeerId, stuck_piece: int = -1) -> Replies:
        """A node has a free hand, or is stuck."""
        message = LeaseWanted(self.spec.tag, stuck_piece)
        return self.checked(self.tracker.lease_wanted(peer, message, now_s=self.now_s))

    def progress(self, peer: PeerId, first: int, done: int) -> Replies:
        """Bytes of a lease come."""
        message = LeaseProgress(self.spec.tag, first, done)
        return self.checked(self.tracker.lease_progressed(peer, message, now_s=self.now_s))

    def end(
        self,
        peer: PeerId,
        first: int,
        done: int,
        outcome: LeaseOutcome = DONE,
        retry_after_s: float = 0.0,
    ) -> Replies:
        """A lease is over."""
        message = LeaseEnded(self.spec.tag, first, done, outcome, retry_after_s)
        return self.checked(self.tracker.lease_ended(peer, message, now_s=self.now_s))

    def leave(self, peer: PeerId) -> Replies:
        """A node says that it is out."""
        return self.checked(self.tracker.left(peer, [self.spec.tag], now_s=self.now_s))

    def lose(self, peer: PeerId) -> Replies:
        """A connection is gone."""
        return self.checked(self.tracker.lost(peer, now_s=self.now_s))

    def wait(self, seconds: float, *, alive: Iterable[tuple[PeerId, int]] = ()) -> Replies:
        """Let time pass in steps of a second; the leases of `alive` show progress meanwhile."""
        replies: Replies = []
        for _ in range(round(seconds)):
            self.now_s += 1
            for peer, first in alive:
                replies += self.progress(peer, first, 0)
            replies += self.checked(self.tracker.ticked(now_s=self.now_s))
        return replies

    def checked(self, replies: Replies) -> Replies:
        """Check the invariants after every answer."""
        self.tracker.check()
        return replies


def granted(replies: Replies) -> list[tuple[PeerId, int, int]]:
    return [(to, m.first, m.count) for to, m in replies if isinstance(m, LeaseGranted)]
