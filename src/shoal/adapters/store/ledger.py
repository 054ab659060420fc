"""What a store holds, byte for byte, and who is using it; no files.

Rule 1: every change to what counts as used happens in this file.
Rule 2: nothing here blocks longer than it takes to look through the entries, so that the calls
marked "cheap" in `base` may be made from an event loop.

A blob that is removed while somebody has it open still takes its bytes on the disk, so they count
until the last user has gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from shoal.core.blob import BlobTag
from shoal.core.cache.admission import Admission, Room, admit
from shoal.core.cache.eviction import Candidate, victims
from shoal.core.digest import Digest

# A verified blob is known by its digest, one that is still arriving by its tag.
BlobKey = Digest | BlobTag


@dataclass(slots=True, eq=False)
class Entry:
    """One blob's account. Only the ledger writes to it, but for the last two."""

    key: BlobKey
    size_bytes: int
    last_use: int
    pins: int = 0
    listed: bool = True  # False once removed
    proven: bool = True  # False if the digest must be checked before the blob is used
    recorded_s: float = field(default=float("-inf"))  # when the use was last written to disk
    modified_ns: int | None = None  # the file's time when it was last known to be right


class Ledger:
    """All entries of one store; safe for threads."""

    def __init__(self, *, quota_bytes: int) -> None:
        self._quota_bytes = quota_bytes
        self._lock = Lock()
        self._entries: dict[BlobKey, Entry] = {}
        self._used_bytes = 0
        self._uses = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of everything listed, and of what was removed but is still open."""
        return self._used_bytes

    def enter(self, key: BlobKey, size_bytes: int, *, proven: bool = True) -> Entry:
        """List something that the store already has; call with the longest unused first."""
        with self._lock:
            return self._enter(key, size_bytes, proven=proven)

    def get(self, key: BlobKey) -> Entry | None:
        """Return the entry listed under `key`; this is no use of it."""
        return self._entries.get(key)

    def admit(
        self, key: BlobKey, size_bytes: int, *, free_bytes: int | None, reserve_bytes: int
    ) -> tuple[Entry, Admission[Entry]]:
        """Enter a new blob, pinned, and take off the list what has to go for it.

        The caller then removes the victims' files, or calls `restore` for them.

        Raises:
            StoreFull: there is no room and nothing was changed.
        """
        with self._lock:
            room = Room(
                quota_bytes=self._quota_bytes,
                used_bytes=self._used_bytes,
                free_bytes=free_bytes,
                reserve_bytes=reserve_bytes,
            )
            admission = admit(size_bytes, room=room, candidates=self._candidates())
            for victim in admission.evict:
                self._remove(victim)
            entry = self._enter(key, size_bytes, proven=True)
            entry.pins = 1
            return entry, admission

    def restore(self, victims: tuple[Entry, ...]) -> None:
        """List again what `admit` took off, because the new blob could not be made after all.

        Nothing else may have entered in between: the store admits one blob at a time.
        """
        with self._lock:
            for entry in victims:
                entry.listed = True
                self._entries[entry.key] = entry
                self._used_bytes += entry.size_bytes

    def shrink(self) -> list[Entry]:
        """Take off the list what exceeds the quota, for a quota that was lowered."""
        with self._lock:
            over_bytes = self._used_bytes - self._quota_bytes
            removed = victims(self._candidates(), needed_bytes=over_bytes) or []
            for entry in removed:
                self._remove(entry)
            return removed

    def pin(self, key: BlobKey, *, is_use: bool = True) -> Entry | None:
        """Keep `key` from being evicted, and note a use of it; None if it is not listed."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.pins += 1
                if is_use:
                    self._uses += 1
                    entry.last_use = self._uses
            return entry

    def unpin(self, entry: Entry) -> None:
        """Take back one `pin` or the one that `admit` gave."""
        with self._lock:
            entry.pins -= 1
            if not entry.listed and not entry.pins:
                self._used_bytes -= entry.size_bytes

    def remove(self, entry: Entry) -> None:
        """Take `entry` off the list; its bytes count until its last pin goes. Idempotent."""
        with self._lock:
            self._remove(entry)

    def rename(self, entry: Entry, key: BlobKey) -> None:
        """List `entry` under another key, in place of what was listed there."""
        with self._lock:
            if (other := self._entries.get(key)) is not None:
                self._remove(other)
            del self._entries[entry.key]
            entry.key = key
            self._entries[key] = entry

    def prove(self, entry: Entry) -> None:
        """Note that the digest of `entry` was checked."""
        with self._lock:
            entry.proven = True

    def digests(self) -> list[tuple[Digest, int]]:
        """Return the proven verified blobs and their lengths in bytes."""
        with self._lock:
            return [
                (key, entry.size_bytes)
                for key, entry in self._entries.items()
                if isinstance(key, Digest) and entry.proven
            ]

    def arriving(self) -> list[tuple[BlobTag, Entry]]:
        """Return the blobs that are not whole yet, whether or not anyone is fetching them."""
        with self._lock:
            return [(k, entry) for k, entry in self._entries.items() if isinstance(k, BlobTag)]

    def _enter(self, key: BlobKey, size_bytes: int, *, proven: bool) -> Entry:
        if key in self._entries:
            raise ValueError(f"{key!r} is listed already")
        self._uses += 1
        entry = Entry(key, size_bytes, last_use=self._uses, proven=proven)
        self._entries[key] = entry
        self._used_bytes += size_bytes
        return entry

    def _remove(self, entry: Entry) -> None:
        if entry.listed:
            del self._entries[entry.key]
            entry.listed = False
            if not entry.pins:
                self._used_bytes -= entry.size_bytes

    def _candidates(self) -> Iterator[Candidate[Entry]]:
        for entry in self._entries.values():
            yield Candidate(entry, entry.size_bytes, entry.last_use, pinned=entry.pins > 0)
