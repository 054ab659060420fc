"""Waits for a reader as long as its blob keeps arriving, and no longer.

Transfers promise the same bound themselves. This is the second line: whatever is wrong with them,
a client is answered, because one that hangs never asks the registry.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from shoal.agent.ports import BlobReader
from shoal.core.digest import Digest
from shoal.core.errors import TransferFailed

# Less than this within the limit is a drip, not progress. Source: `Bounds.min_progress_bytes` of
# the registry client; a registry that drips is tried three times before it is given up.
PROGRESS_LEAST_BYTES = 4096

STALLED_MOST = 256  # blobs that are remembered as stalled


class Sources(Protocol):
    """Where the bytes of a blob that this node has, or is getting, came from so far."""

    @property
    def length_bytes(self) -> int:
        """Length of the blob."""
        ...

    @property
    def origin_bytes(self) -> int:
        """Bytes from the registry."""
        ...

    @property
    def peer_bytes(self) -> int:
        """Bytes from peers."""
        ...

    @property
    def moving_bytes(self) -> int:
        """Bytes of pieces from peers that are not whole yet: a piece may take a minute."""
        ...

    @property
    def cached_bytes(self) -> int:
        """Bytes that the store had when the transfer began."""
        ...

    @property
    def checked_bytes(self) -> int:
        """Bytes that were hashed towards the whole digest: work, though no byte arrives."""
        ...

    @property
    def turns_awaited(self) -> int:
        """Seconds in which it waited for blobs that were asked for before it."""
        ...


class NoProgress(TransferFailed):
    """Too little of a blob arrived within the bound."""


# Returns the sources of a blob, None if it is neither stored nor arriving.
SourcesOf = Callable[[Digest], Sources | None]


class Progress:
    """Tells whether a blob is still arriving."""

    def __init__(self, sources: SourcesOf | None = None) -> None:
        self._sources = sources

    def sources(self, digest: Digest) -> Sources | None:
        """Return where the bytes of `digest` came from so far."""
        return self._sources(digest) if self._sources is not None else None

    def arrived_bytes(self, digest: Digest) -> int:
        """Return a count that grows with every byte of progress; 0 if that is not known."""
        sources = self.sources(digest)
        if sources is None:
            return 0
        arrived_bytes = sources.origin_bytes + sources.peer_bytes + sources.checked_bytes
        arrived_bytes += sources.moving_bytes  # twice, once they are whole: it grows, no more
        # The last layer of an image may wait for minutes while the others arrive: that is no stall.
        return arrived_bytes + PROGRESS_LEAST_BYTES * sources.turns_awaited


class StalledLately:
    """Blobs that stalled or failed a client lately: the next one is made to wait shorter."""

    def __init__(self, *, limit_s: float, again_s: float, lately_s: float) -> None:
        """Begin without any.

        Args:
            limit_s: how long a client waits for progress, in seconds.
            again_s: how long it waits for that of a blob that stalled lately.
            lately_s: how long ago that is at most.
        """
        self._limit_s = limit_s
        self._again_s = again_s
        self._lately_s = lately_s
        self._until_s: dict[Digest, float] = {}

    def limit_s(self, digest: Digest, *, now_s: float) -> float:
        """Return for how long to wait for progress of `digest`."""
        lately = self._until_s.get(digest, now_s) > now_s
        return self._again_s if lately else self._limit_s

    def add(self, digest: Digest, *, now_s: float) -> None:
        """`digest` has just stalled or failed a client."""
        self._until_s.pop(digest, None)
        self._until_s[digest] = now_s + self._lately_s
        if len(self._until_s) > STALLED_MOST:
            del self._until_s[next(iter(self._until_s))]


async def readable_while_progressing(
    reader: BlobReader,
    at: int,
    *,
    progress: Progress,
    limit_s: float,
    least_bytes: int = PROGRESS_LEAST_BYTES,
) -> int:
    """Return `reader.readable(at)`, waiting for no more than `limit_s` without progress.

    Args:
        reader: of a blob that may be arriving.
        at: the byte that is waited for.
        progress: tells what arrives.
        limit_s: how long to wait for `least_bytes`, in seconds.
        least_bytes: how many bytes of the blob are progress.

    Raises:
        TransferFailed: by the reader.
        NoProgress: too little arrived for `limit_s`.
    """
    loop = asyncio.get_running_loop()
    digest = reader.spec.digest
    seen_bytes = progress.arrived_bytes(digest)

    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal seen_bytes, timer
        arrived_bytes = progress.arrived_bytes(digest)
        if arrived_bytes - seen_bytes >= least_bytes and not bound.expired():
            seen_bytes = arrived_bytes
            bound.reschedule(loop.time() + limit_s)
        timer = loop.call_later(limit_s / 4, look)

    try:
        async with asyncio.timeout(limit_s) as bound:
            timer = loop.call_later(limit_s / 4, look)
            try:
                return await reader.readable(at)
            finally:
                timer.cancel()
    except TimeoutError as error:
        arrived_bytes = max(0, progress.arrived_bytes(digest) - seen_bytes)
        few = f"only {arrived_bytes} bytes" if arrived_bytes else "no byte"
        raise NoProgress(f"{digest}: {few} arrived for {limit_s:g} s") from error
