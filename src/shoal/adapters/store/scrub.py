"""Reads every verified blob again, slowly, and drops what is damaged.

A disk may change bytes without a word. Whoever pulls would find it out by the digest, at the end of
a layer; a peer, piece by piece. This finds it before they do, in time that nobody else wants.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from shoal.core.digest import Digest
from shoal.core.errors import ShoalError, StoreError

_log = logging.getLogger("shoal.adapters.store")

BUSY_LOOK_S = 0.5  # how soon a scrub goes on once the node has nothing better to do


class ScrubStopped(ShoalError):
    """The agent ends: the round is not finished."""


class Scrubbed(Protocol):
    """What a scrub needs of a store."""

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return every verified blob and its length in bytes."""
        ...

    def verify(self, digest: Digest, *, pace: Callable[[int], None]) -> bool:
        """Hash a blob again and drop it if it is damaged; is it here and right?"""
        ...


@dataclass(frozen=True, slots=True)
class Round:
    """What one look at every blob came to."""

    blobs: int
    read_bytes: int
    dropped: int


class Scrubber:
    """Looks at a store, in a thread of its own."""

    def __init__(
        self,
        store: Scrubbed,
        *,
        rate_bytes_per_s: int,
        is_busy: Callable[[], bool],
        now_s: Callable[[], float] = time.monotonic,
        stop: threading.Event | None = None,
    ) -> None:
        """Take note; nothing is read yet.

        Args:
            store: whose blobs.
            rate_bytes_per_s: the most that is read in a second.
            is_busy: whether blobs are arriving or being served, which a scrub would slow down.
            now_s: the clock.
            stop: what is waited on, and ends a round when it is set.
        """
        self._store = store
        self._rate_bytes_per_s = rate_bytes_per_s
        self._is_busy = is_busy
        self._now_s = now_s
        self._stop = stop or threading.Event()
        self._free_s = 0.0  # when the next block may be read
        self.read_bytes = 0
        """Bytes that were read again, ever."""

    def stop(self) -> None:
        """Have the round that is under way end at once."""
        self._stop.set()

    def round(self) -> Round:
        """Read every blob once; blocks for as long as that takes at this rate.

        Raises:
            ScrubStopped: it was told to stop.
        """
        blobs = dropped = 0
        before = self.read_bytes
        self._free_s = self._now_s()
        for digest, _ in sorted(self._store.digests(), key=lambda item: str(item[0])):
            self._wait()
            try:
                if not self._store.verify(digest, pace=self._pace):
                    dropped += 1
            except StoreError as error:  # a disk that fails: the next blob may be readable
                _log.warning("scrub_failed", extra={"digest": str(digest)}, exc_info=error)
            blobs += 1
        return Round(blobs, self.read_bytes - before, dropped)

    def _pace(self, size_bytes: int) -> None:
        self.read_bytes += size_bytes
        self._free_s = max(self._free_s, self._now_s()) + size_bytes / self._rate_bytes_per_s
        self._wait()

    def _wait(self) -> None:
        while self._is_busy():
            self._sleep(BUSY_LOOK_S)
        self._sleep(max(0.0, self._free_s - self._now_s()))

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise ScrubStopped("the scrub was stopped")
