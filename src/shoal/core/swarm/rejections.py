"""Blobs that came whole and were not what their digest says: whom to take no more of them from.

Where peers have certificates, each piece says who vouches for it, whoever passed it on: `Accounts`
finds the one who vouched for what was wrong. Without, a piece carries no proof of who made it, so
that whoever passed wrong pieces on looks like whoever made them up. What tells them apart: a node
that is honest finds out as this one did, keeps nothing and says so by `Leave`; and it says that it
has a blob whole only once it has checked it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.swarm.accounts import Accounts

REJECTIONS_MOST = 256  # blobs at a time; of more, the oldest is forgotten
TIMES_MOST = 2  # after so many rejections no peer is believed for the blob
# The same where pieces say who vouches for them: the second finds who lied in the first, and if
# that one lied again, the third goes without.
TIMES_VOUCHED_MOST = 3


@dataclass(slots=True)
class Rejection:
    """A blob that was rejected here, and not had since."""

    times: int
    # Who exchanged it then and has not said since that it has it no more. True for who sent some of
    # it and said that it has it whole.
    doubted: dict[PeerId, bool]


@dataclass(slots=True)
class Rejections:
    """The blobs that this node rejected."""

    by_tag: dict[BlobTag, Rejection] = field(default_factory=dict)
    accounts: dict[BlobTag, Accounts] = field(default_factory=dict)  # where pieces are vouched for

    def rejected(self, tag: BlobTag, doubted: Mapping[PeerId, bool]) -> None:
        """The blob was wrong, with pieces from peers; these may have brought them in."""
        before = self.by_tag.pop(tag, None)
        if len(self.by_tag) >= REJECTIONS_MOST:
            del self.by_tag[next(iter(self.by_tag))]
        self.by_tag[tag] = Rejection(before.times + 1 if before else 1, dict(doubted))

    def rejected_as_vouched(
        self,
        tag: BlobTag,
        vouched: Mapping[int, tuple[PeerId, bytes]],
        *,
        me: PeerId,
        is_all: bool = True,
    ) -> None:
        """The blob was wrong, and these had vouched for its pieces, or for some of them."""
        accounts = self.accounts.pop(tag, None) or Accounts(me)
        if len(self.accounts) >= REJECTIONS_MOST:
            del self.accounts[next(iter(self.accounts))]
        accounts.came_wrong(vouched, is_all=is_all)
        self.accounts[tag] = accounts

    def left(self, peer: PeerId, tag: BlobTag) -> None:
        """`peer` says that it has the blob no more: it has rejected it too, as far as we know."""
        rejection = self.by_tag.get(tag)
        if rejection is not None:
            rejection.doubted.pop(peer, None)

    def kept(self, tag: BlobTag) -> None:
        """The blob is here, and right."""
        self.by_tag.pop(tag, None)
        self.accounts.pop(tag, None)

    def doubted(self, tag: BlobTag) -> frozenset[PeerId]:
        """From whom to take nothing of this blob."""
        rejection, accounts = self.by_tag.get(tag), self.accounts.get(tag)
        doubted = frozenset(rejection.doubted if rejection else ())
        liar = accounts.liar if accounts is not None else None
        return doubted if liar is None else doubted | {liar}

    def believes_nobody(self, tag: BlobTag) -> bool:
        """Whether the blob was wrong even without those who were doubted."""
        rejection, accounts = self.by_tag.get(tag), self.accounts.get(tag)
        if accounts is not None and accounts.times >= TIMES_VOUCHED_MOST:
            return not accounts.misled
        return rejection is not None and rejection.times >= TIMES_MOST

    def tells_more(self, tag: BlobTag) -> bool:
        """Whether fetching the blob again at once shows who vouched for what was wrong."""
        accounts = self.accounts.get(tag)
        return accounts is not None and accounts.times < TIMES_VOUCHED_MOST and not accounts.misled

    def misled(self, tag: BlobTag) -> bool:
        """Whether what was wrong with the blob was what this node's registry sent it."""
        accounts = self.accounts.get(tag)
        return accounts is not None and accounts.misled

    def blames(self, peer: PeerId, tag: BlobTag) -> bool:
        """Whether `peer`, if pieces that it sent were wrong, cannot but have known."""
        rejection = self.by_tag.get(tag)
        return rejection is not None and rejection.doubted.get(peer, False)
