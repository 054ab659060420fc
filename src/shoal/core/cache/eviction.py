"""Decides what a full store drops: the least recently used, and never what is pinned."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[Key]):
    """Something that a store keeps.

    `last_use` only orders: a larger number was used later. A pinned candidate is being read or
    written and cannot go.
    """

    key: Key
    size_bytes: int
    last_use: int
    pinned: bool = False


def victims(candidates: Iterable[Candidate[Key]], *, needed_bytes: int) -> list[Key] | None:
    """Return what to drop so that at least `needed_bytes` become free, longest unused first.

    Every victim is needed: leaving any one of them out would free too little. So a small old blob
    survives where a larger one has to go as well and is enough alone.

    Returns:
        The keys to drop, in order, none if `needed_bytes` is 0 or less; None if dropping
        everything that is not pinned would not do: then nothing should be dropped.
    """
    if needed_bytes <= 0:
        return []
    # An empty blob frees nothing, so it is never worth dropping.
    loose = sorted(
        (c for c in candidates if not c.pinned and c.size_bytes > 0), key=lambda c: c.last_use
    )
    chosen: list[Candidate[Key]] = []
    freed_bytes = 0
    for candidate in loose:
        chosen.append(candidate)
        freed_bytes += candidate.size_bytes
        if freed_bytes >= needed_bytes:
            break
    else:
        return None
    needed: list[Key] = []
    for candidate in reversed(chosen):  # the most recently used is spared first
        if freed_bytes - candidate.size_bytes >= needed_bytes:
            freed_bytes -= candidate.size_bytes
        else:
            needed.append(candidate.key)
    needed.reverse()
    return needed
