"""A store in memory, for tests and for trying things out: the same behaviour, nothing survives."""

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from threading import Lock

from shoal.adapters.store.files import OpenBlob, OpenFile, store_error
from shoal.adapters.store.ledger import Entry, Ledger
from shoal.adapters.store.piece_map import check_hash
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import StoreError


class _Content:
    """One blob's memory, its specification, and the pieces marked in it."""

    def __init__(self, spec: BlobSpec) -> None:
        self.spec = spec
        self.held: dict[int, bytes] = {}
        path = Path(f"memory:{spec.digest}")
        try:
            self.file = OpenFile(os.memfd_create(str(path)), path=path)
            os.truncate(self.file.fd, spec.length_bytes)
        except OSError as error:
            raise store_error(error, path) from error

    def reopen(self) -> OpenFile:
        """Return another descriptor, for one reader or writer to close."""
        try:
            return OpenFile(os.dup(self.file.fd), path=self.file.path)
        except OSError as error:
            raise store_error(error, self.file.path) from error


class _State(Enum):
    ARRIVING = "still arriving"
    COMMITTED = "committed"
    DISCARDED = "discarded"
    CLOSED = "closed"


class MemoryStore:
    """Blobs in anonymous memory files; see `shoal.adapters.store.base.Store`."""

    def __init__(self, *, quota_bytes: int = 1024 * 1024 * 1024) -> None:
        self._ledger = Ledger(quota_bytes=quota_bytes)
        self._changing = Lock()
        self._contents: dict[Entry, _Content] = {}

    def open(self, digest: Digest) -> OpenBlob | None:
        """Return the verified blob, pinned and marked as used just now, or None."""
        with self._changing:
            entry = self._ledger.pin(digest)
            if entry is None:
                return None
            file = self._contents[entry].reopen()
        return OpenBlob(
            file, length_bytes=entry.size_bytes, on_close=lambda: self._ledger.unpin(entry)
        )

    def partial(self, spec: BlobSpec) -> "MemoryPartial":
        """Begin to receive a blob, or resume one.

        Raises:
            StoreFull: the blob does not fit the quota; nothing was changed.
            StoreError: this blob is being received already.
        """
        with self._changing:
            entry = self._ledger.get(spec.tag)
            if entry is None:
                entry, admission = self._ledger.admit(
                    spec.tag, spec.length_bytes, free_bytes=None, reserve_bytes=0
                )
                for victim in admission.evict:
                    self._forget(victim)
                self._contents[entry] = _Content(spec)
            elif entry.pins:
                raise StoreError(f"{spec.digest}: is being received already")
            else:
                self._ledger.pin(spec.tag)
            return MemoryPartial(self, entry, self._contents[entry])

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return every verified blob and its length in bytes. Cheap."""
        return self._ledger.digests()

    def unfinished(self) -> list[BlobSpec]:
        """Return the blobs that are half done and that nobody is receiving now."""
        with self._changing:
            return [self._contents[e].spec for _, e in self._ledger.arriving() if not e.pins]

    def used_bytes(self) -> int:
        """Return the bytes that verified and partial blobs take. Cheap."""
        return self._ledger.used_bytes

    def close(self) -> None:
        """Forget everything; what is open stays readable until its owner closes it. Idempotent."""
        with self._changing:
            for entry in list(self._contents):
                self._forget(entry)

    def commit(self, partial: "MemoryPartial") -> OpenBlob:
        """Do what `partial.commit` promises."""
        digest = partial.spec.digest
        with self._changing:
            if partial.state is not _State.ARRIVING:
                raise StoreError(f"{digest}: cannot be committed, it is {partial.state.value}")
            if partial.entry not in self._contents:
                raise StoreError(f"{digest}: cannot be committed, the store is closed")
            partial.state = _State.COMMITTED
            if self._ledger.get(digest) is None:
                self._ledger.rename(partial.entry, digest)
            else:
                self._forget(partial.entry)
        blob = self.open(digest)
        if blob is None:
            raise StoreError(f"memory:{digest}: was removed just after it was stored")
        return blob

    def discard(self, partial: "MemoryPartial") -> None:
        """Do what `partial.discard` promises."""
        with self._changing:
            if partial.state is _State.ARRIVING:
                partial.state = _State.DISCARDED
                self._forget(partial.entry)

    def closed(self, partial: "MemoryPartial") -> None:
        """Take note that `partial` was closed. Idempotent, cheap."""
        with self._changing:
            if partial.is_open:
                partial.is_open = False
                self._ledger.unpin(partial.entry)
                if partial.state is _State.ARRIVING:
                    partial.state = _State.CLOSED

    def _forget(self, entry: Entry) -> None:
        self._ledger.remove(entry)
        if (content := self._contents.pop(entry, None)) is not None:
            content.file.close()


class MemoryPartial:
    """A blob that is arriving in memory; see `shoal.adapters.store.base.PartialBlob`."""

    def __init__(self, store: MemoryStore, entry: Entry, content: _Content) -> None:
        self.entry = entry
        self.state = _State.ARRIVING
        self.is_open = True
        self._store = store
        self._content = content
        self._file = content.reopen()

    @property
    def spec(self) -> BlobSpec:
        """Which blob this is."""
        return self._content.spec

    @property
    def fd(self) -> int:
        """A file descriptor for sendfile, pread and pwrite; nobody moves its position."""
        return self._file.fd

    def write(self, offset: int, block: bytes | bytearray | memoryview) -> None:
        """Write `block` at `offset`, whole.

        Raises:
            StoreError: this was closed.
            ValueError: the block does not lie within the blob.
        """
        if offset < 0 or offset + len(block) > self.spec.length_bytes:
            raise ValueError(f"{self.spec.digest}: {offset}+{len(block)} is outside the blob")
        self._file.write_at(offset, block)

    def mark(self, piece: int, hash_: bytes) -> None:
        """Record that `piece` is whole and what its 32-byte piece hash is.

        Raises:
            StoreError: this was closed.
            ValueError: there is no such piece, or the hash has another length.
        """
        if not 0 <= piece < self.spec.pieces:
            raise ValueError(f"{self.spec.digest}: no piece {piece} of {self.spec.pieces}")
        check_hash(hash_)
        if not self.is_open:
            raise StoreError(f"{self.spec.digest}: marked after it was closed")
        self._content.held[piece] = bytes(hash_)

    def held(self) -> dict[int, bytes]:
        """Return the pieces held and their hashes. Cheap."""
        return dict(self._content.held)

    def commit(self) -> OpenBlob:
        """Make the blob a verified one and return it open for reading.

        Raises:
            StoreError: this was committed, discarded or closed.
        """
        return self._store.commit(self)

    def discard(self) -> None:
        """Forget the blob. Does nothing after `commit`."""
        self._store.discard(self)

    def close(self) -> None:
        """Release the descriptor; what is marked stays for a later resume. Idempotent."""
        self._file.close()
        self._store.closed(self)
