"""Which members of a site track a blob, in order of preference."""

import heapq
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId

FIRST = 8  # members in the order of a blob that are remembered


def ranked(tag: BlobTag, members: Iterable[PeerId]) -> list[PeerId]:
    """Return `members` in the order in which they should track the blob `tag`.

    Every node that knows the same members comes to the same order, and a member that leaves moves
    only the blobs that it tracked.

    Source: rendezvous hashing, Thaler & Ravishankar, "Using name-based mappings to increase hit
    rates", IEEE/ACM ToN 6(1), 1998.
    """
    return sorted(members, key=lambda member: (_weight(tag, member), member), reverse=True)


def in_turn(tag: BlobTag, members: frozenset[PeerId]) -> Iterator[PeerId]:
    """Yield `members` as `ranked` orders them; nearly always somebody among the first is taken."""
    first = _first(tag, members)
    yield from first
    if len(first) < len(members):
        yield from ranked(tag, members)[len(first) :]


# Every look at ten thousand members takes 10 ms. As many blobs as an image has layers and a few
# more; not many, since each may hold on to another view of the members.
@lru_cache(maxsize=64)
def _first(tag: BlobTag, members: frozenset[PeerId]) -> tuple[PeerId, ...]:
    return tuple(heapq.nlargest(FIRST, members, key=lambda member: (_weight(tag, member), member)))


def precedes(tag: BlobTag, one: PeerId, other: PeerId) -> bool:
    """Return whether `one` stands before `other` in the order that `ranked` returns."""
    return (_weight(tag, one), one) > (_weight(tag, other), other)


def _weight(tag: BlobTag, member: PeerId) -> bytes:
    return blake2b(member.encode(), key=tag, digest_size=8).digest()
