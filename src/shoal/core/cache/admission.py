"""Decides whether a blob may come in, and what has to go for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic

from shoal.core.cache.eviction import Candidate, Key, victims
from shoal.core.errors import StoreFull


@dataclass(frozen=True, slots=True)
class Room:
    """What a store may fill.

    `used_bytes` counts blobs that are still arriving at their full length, because that is what
    they will take. `free_bytes` is what the file system has left for us, None where no file system
    bounds the store; `reserve_bytes` of it stay free for everyone else on the node.
    """

    quota_bytes: int
    used_bytes: int
    free_bytes: int | None = None
    reserve_bytes: int = 0

    def over_quota_bytes(self, length_bytes: int) -> int:
        """Return by how much `length_bytes` more would break the quota; 0 or less if they fit."""
        return self.used_bytes + length_bytes - self.quota_bytes

    def over_disk_bytes(self, length_bytes: int) -> int:
        """Return by how much `length_bytes` more would break the reserve; 0 or less if they fit."""
        if self.free_bytes is None:
            return 0
        return length_bytes + self.reserve_bytes - self.free_bytes


@dataclass(frozen=True, slots=True)
class Admission(Generic[Key]):
    """Yes, once `evict` has gone.

    `disk_is_short` says that the victims' bytes are needed on the disk itself, not only in the
    quota: then they must go before the new blob is allocated.
    """

    evict: tuple[Key, ...] = ()
    disk_is_short: bool = False


def admit(length_bytes: int, *, room: Room, candidates: Iterable[Candidate[Key]]) -> Admission[Key]:
    """Decide on a blob of `length_bytes`.

    Args:
        length_bytes: full length of the blob.
        room: what there is.
        candidates: everything the store keeps, in any order; read only if something has to go.

    Raises:
        StoreFull: dropping everything that is not pinned would not make room; drop nothing.
    """
    if length_bytes > room.quota_bytes:
        raise StoreFull(
            f"a blob of {length_bytes} bytes is larger than the store's quota of "
            f"{room.quota_bytes} bytes: raise the quota to keep such blobs"
        )
    over_quota_bytes = room.over_quota_bytes(length_bytes)
    over_disk_bytes = room.over_disk_bytes(length_bytes)
    # An empty blob takes nothing, whatever the state of quota and disk.
    needed_bytes = max(over_quota_bytes, over_disk_bytes) if length_bytes else 0
    evict = victims(candidates, needed_bytes=needed_bytes)
    if evict is not None:
        return Admission(tuple(evict), disk_is_short=bool(length_bytes) and over_disk_bytes > 0)
    if over_disk_bytes >= over_quota_bytes:
        raise StoreFull(
            f"a blob of {length_bytes} bytes does not fit on the disk: {room.free_bytes} bytes are "
            f"free, of which {room.reserve_bytes} are to stay free, and too little that is not in "
            "use could be dropped: free some space or lower the reserve"
        )
    raise StoreFull(
        f"a blob of {length_bytes} bytes does not fit the quota: {room.used_bytes} of "
        f"{room.quota_bytes} bytes are taken and too much of it is in use just now: raise the quota"
    )
