"""What a store must do; `shoal.testing.conformance_store` runs every store through it.

Every method may block on the disk: call them in a thread, except those marked "cheap". A store is
used by several threads at once, a `PartialBlob` by several threads at different offsets.
"""

from collections.abc import Iterable
from typing import Protocol

from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest


class StoredBlob(Protocol):
    """A verified blob, open for reading: it stays readable until closed, even if evicted."""

    @property
    def length_bytes(self) -> int:
        """Length of the blob in bytes."""
        ...

    @property
    def fd(self) -> int:
        """A file descriptor for sendfile and pread; nobody moves its position."""
        ...

    def close(self) -> None:
        """Release the descriptor and the pin against eviction. Idempotent, cheap."""
        ...


class PartialBlob(Protocol):
    """A blob that is still arriving: a preallocated file and a map of the pieces it holds.

    The map is written after the data it speaks of, so that a crash loses pieces and never invents
    them.
    """

    @property
    def spec(self) -> BlobSpec:
        """Which blob this is."""
        ...

    @property
    def fd(self) -> int:
        """A file descriptor for sendfile, pread and pwrite; nobody moves its position."""
        ...

    def write(self, offset: int, block: bytes | bytearray | memoryview) -> None:
        """Write `block` at `offset`, whole.

        Raises:
            StoreFull: the disk is full.
            StoreError: the disk failed.
        """
        ...

    def mark(self, piece: int, hash_: bytes) -> None:
        """Record that `piece` is whole in the file and what its 32-byte piece hash is."""
        ...

    def held(self) -> dict[int, bytes]:
        """Return the pieces held and their hashes, as recorded; after a restart, as re-hashed."""
        ...

    def commit(self) -> StoredBlob:
        """Give the file its final name, after fsync, and return it open for reading.

        The caller has checked the whole blob's digest. This object's `fd` stays usable until
        `close`.
        """
        ...

    def discard(self) -> None:
        """Forget the blob: the file and its map are removed. Readers keep their descriptors."""
        ...

    def close(self) -> None:
        """Release the descriptor; the file and its map stay for a later resume. Idempotent."""
        ...


class Store(Protocol):
    """The blobs of one node."""

    def open(self, digest: Digest) -> StoredBlob | None:
        """Return the verified blob, pinned and marked as used just now, or None."""
        ...

    def partial(self, spec: BlobSpec) -> PartialBlob:
        """Begin to receive a blob, or resume one: the quota is checked here, evicting if needed.

        Raises:
            StoreFull: the blob does not fit the quota or the disk; nothing was changed.
            StoreError: the folder cannot be written.
        """
        ...

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return every verified blob and its length in bytes. Cheap."""
        ...

    def used_bytes(self) -> int:
        """Return the bytes that verified and partial blobs take. Cheap."""
        ...

    def close(self) -> None:
        """Write what must survive and release every descriptor of the store's own."""
        ...
