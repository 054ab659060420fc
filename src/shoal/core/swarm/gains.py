"""How fast each peer gains of what it and this node exchange: whom to serve first."""

from dataclasses import dataclass, field

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId

LEAST_S = 0.01  # the shortest time over which a pace is taken


@dataclass(slots=True)
class Gain:
    """Of one peer, over all blobs that are exchanged with it."""

    gained_bytes: int = 0  # in pieces, since each of the exchanges began
    met_s: dict[BlobTag, float] = field(default_factory=dict)  # when that was
    since_s: float = 0.0  # the first of these


@dataclass(slots=True)
class Gains:
    """Kept by `Exchange` as neighbours come, tell and go; asked for by every request."""

    by_peer: dict[PeerId, Gain] = field(default_factory=dict)

    def met(self, peer: PeerId, tag: BlobTag, now_s: float) -> None:
        """An exchange of the blob with `peer` begins."""
        gain = self.by_peer.get(peer)
        if gain is None:
            gain = self.by_peer[peer] = Gain(since_s=now_s)
        gain.met_s[tag] = now_s

    def gained(self, peer: PeerId, size_bytes: int) -> None:
        """`peer` has so much more of a blob that is exchanged with it, or less."""
        self.by_peer[peer].gained_bytes += size_bytes

    def parted(self, peer: PeerId, tag: BlobTag, gained_bytes: int) -> None:
        """The exchange of the blob with `peer`, which gained so much in it, is over."""
        gain = self.by_peer[peer]
        gain.gained_bytes -= gained_bytes
        del gain.met_s[tag]
        if gain.met_s:
            gain.since_s = min(gain.met_s.values())
        else:
            del self.by_peer[peer]

    def pace(self, peer: PeerId, now_s: float) -> float:
        """How fast `peer` has gained of what it and this node exchange since they met, in bytes/s.

        Not how much it has: who begins when others have nearly all would be served before them, and
        those who began first would wait for the end for as long as others come.
        """
        gain = self.by_peer.get(peer)
        return gain.gained_bytes / max(now_s - gain.since_s, LEAST_S) if gain else 0.0
