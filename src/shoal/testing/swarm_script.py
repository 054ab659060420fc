"""Tells a `Swarm` what happened, step by step, and picks what it decided out of its answer.

script = Script("a", "b")
script.connect("b")
effects = script.tell(on.BlobWanted(blob(pieces=4)))
assert said(effects, to="b") == [say.Announce(...)]
"""

from collections.abc import Iterable
from hashlib import sha256
from random import Random

from shoal.core.blob import MIN_PIECE_BYTES, BlobSpec
from shoal.core.digest import Digest
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.swarm import Swarm
from shoal.core.wire import messages as say


def blob(*, pieces: int = 4, name: str = "blob", size_bytes: int | None = None) -> BlobSpec:
    """Return a blob of so many pieces of the least length, or of exactly `size_bytes`."""
    length = MIN_PIECE_BYTES * pieces if size_bytes is None else size_bytes
    return BlobSpec("registry.example", Digest("sha256", sha256(name.encode()).hexdigest()), length)


def blob_tracked_by(*order: str, pieces: int = 4, name: str = "blob") -> BlobSpec:
    """Return a blob that these members track, the first before the second and so on."""
    number = 0
    while True:
        spec = blob(pieces=pieces, name=f"{name} {number}")
        if ranked(spec.tag, map(PeerId, order)) == list(order):
            return spec
        number += 1


def said(effects: Iterable[do.Effect], *, to: str | None = None) -> list[say.Message]:
    """Return the messages among `effects`, to one peer or to all."""
    return [e.message for e in effects if isinstance(e, do.Send) and to in (None, e.peer)]


def orders(effects: Iterable[do.Effect]) -> list[do.Effect]:
    """Return what is not a message among `effects`."""
    return [effect for effect in effects if not isinstance(effect, do.Send)]


class Script:
    """One node under test, named first, and its clock."""

    def __init__(
        self, *members: str, policy: Policy = DEFAULT, seed: int = 1, member_for_s: float = 60.0
    ) -> None:
        """Make a node that has been a member with these for a while."""
        self.now_s = 100.0 - member_for_s
        me = PeerId(members[0])
        self.swarm = Swarm(me=me, rng=Random(seed), policy=policy)  # noqa: S311
        self.tell(on.MembersChanged(frozenset(map(PeerId, members))))
        self.now_s = 100.0

    def tell(self, *events: on.Event, after_s: float = 0.0) -> list[do.Effect]:
        """Let `after_s` pass and these events happen; return all that is decided."""
        self.now_s += after_s
        effects: list[do.Effect] = []
        for event in events:
            effects += self.swarm.handle(event, now_s=self.now_s)
            self.swarm.check()
        return effects

    def connect(self, *peers: str) -> list[do.Effect]:
        """Let connections stand."""
        return self.tell(*(on.PeerConnected(PeerId(peer)) for peer in peers))

    def hear(self, peer: str, *messages: say.Message, after_s: float = 0.0) -> list[do.Effect]:
        """Let `peer` say these messages."""
        return self.tell(
            *(on.MessageArrived(PeerId(peer), message) for message in messages), after_s=after_s
        )

    def wait(self, seconds: float) -> list[do.Effect]:
        """Let time pass, with a tick every tenth of a second; return all that is decided."""
        effects: list[do.Effect] = []
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            effects += self.tell(on.Ticked(), after_s=min(0.1, end_s - self.now_s))
        return effects
