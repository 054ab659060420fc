"""Which members of a site track a blob, in order of preference, and who are deputies for it."""

import heapq
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId

FIRST = 8  # members in the order of a blob that are remembered
KEYS_MOST = 512  # blobs and shards of blobs whose first members are remembered, of one view
DEPUTIES = 2  # of one blob that hear of each node


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


def shards(members: int, *, heard_most: int) -> int:
    """Return into how many parts a site of so many members is cut for each blob.

    One where a tracker can hear all of them. Where not, `DEPUTIES` of the parts have each node, and
    a deputy hears at most `heard_most` on average. A power of two: who sees a few members more or
    fewer comes to the same.
    """
    if members <= heard_most:
        return 1
    return 1 << (-(-DEPUTIES * members // heard_most) - 1).bit_length()


def deputy_keys(tag: BlobTag, member: PeerId, shards: int) -> tuple[BlobTag, ...]:
    """Return what stands in for the blob's tag in the order of `member`'s deputies for it."""
    lot = int.from_bytes(_weight(tag, member))
    first = lot % shards
    other = (first + 1 + lot // shards % (shards - 1)) % shards
    return tuple(BlobTag(tag + shard.to_bytes(4)) for shard in (first, other))


def _first(tag: BlobTag, members: frozenset[PeerId]) -> tuple[PeerId, ...]:
    """Return the first of `ranked`; every look at ten thousand members takes 10 ms."""
    known = _remembered(members)
    if (first := known.get(tag)) is None:
        if len(known) >= KEYS_MOST:
            known.clear()
        first = known[tag] = tuple(
            heapq.nlargest(FIRST, members, key=lambda member: (_weight(tag, member), member))
        )
    return first


@lru_cache(maxsize=32)  # views of the members; each is held on to
def _remembered(_: frozenset[PeerId]) -> dict[BlobTag, tuple[PeerId, ...]]:
    return {}


def precedes(tag: BlobTag, one: PeerId, other: PeerId) -> bool:
    """Return whether `one` stands before `other` in the order that `ranked` returns."""
    return (_weight(tag, one), one) > (_weight(tag, other), other)


def _weight(tag: BlobTag, member: PeerId) -> bytes:
    return blake2b(member.encode(), key=tag, digest_size=8).digest()
