"""Which members of a site track a blob, in order of preference."""

from collections.abc import Iterable
from hashlib import blake2b

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId


def ranked(tag: BlobTag, members: Iterable[PeerId]) -> list[PeerId]:
    """Return `members` in the order in which they should track the blob `tag`.

    Every node that knows the same members comes to the same order, and a member that leaves moves
    only the blobs that it tracked.

    Source: rendezvous hashing, Thaler & Ravishankar, "Using name-based mappings to increase hit
    rates", IEEE/ACM ToN 6(1), 1998.
    """
    return sorted(members, key=lambda member: (_weight(tag, member), member), reverse=True)


def precedes(tag: BlobTag, one: PeerId, other: PeerId) -> bool:
    """Return whether `one` stands before `other` in the order that `ranked` returns."""
    return (_weight(tag, one), one) > (_weight(tag, other), other)


def _weight(tag: BlobTag, member: PeerId) -> bytes:
    return blake2b(member.encode(), key=tag, digest_size=8).digest()
