"""Pieces of a blob that somebody vouched for and was not believed: others are to fetch them.

What nodes say of it is no more than that: it moves leases, and costs a copy of a piece for each
that vouches for it at most.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from shoal.core.peer import PeerId

NODES_MOST = 4096  # who vouched and who complained, of one blob: as many as a tracker knows


@dataclass(slots=True)
class Contest:
    """Of one blob, as its tracker has heard."""

    suspected: dict[PeerId, int] = field(default_factory=dict)  # who vouched for which
    complainants: set[PeerId] = field(default_factory=set)  # who did not believe it
    open_pieces: int = 0  # what has not been fetched anew

    def hear(self, complainant: PeerId, signer: PeerId, pieces: int) -> None:
        """`complainant` does not believe `signer`'s word for these pieces."""
        if complainant in self.complainants or len(self.complainants) < NODES_MOST:
            self.complainants.add(complainant)
        before = self.suspected.get(signer)
        if before is not None or len(self.suspected) < NODES_MOST:
            self.suspected[signer] = (before or 0) | pieces
            # Once for each that vouches, however many do not believe it.
            self.open_pieces |= pieces & ~(before or 0)

    def barred(self, peer: PeerId, *, available: int, others: Iterable[PeerId]) -> int:
        """Return the bitmap of the pieces that are not for `peer` to fetch.

        What it vouched for itself, as long as one of `others` could fetch it. And what others do
        not believe though it does: of what is `available` it has that already, most likely.
        """
        barred = 0 if peer in self.complainants else self.open_pieces & available
        suspected = self.suspected.get(peer, 0)
        if suspected:
            could = 0
            for other in others:
                could |= ~self.suspected.get(other, 0)
            barred |= suspected & could
        return barred
