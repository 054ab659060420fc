"""A blob that is arriving on disk."""

import os
from typing import Protocol

from blake3 import blake3

from shoal.adapters.store.base import StoredBlob
from shoal.adapters.store.files import BLOCK_BYTES, OpenFile, store_error
from shoal.adapters.store.piece_map import PieceMap, check_hash
from shoal.core.blob import BlobSpec


class PartialKeeper(Protocol):
    """What a partial blob asks of its store: what changes names and accounts."""

    def commit(self, partial: "DiskPartial") -> StoredBlob:
        """See `PartialBlob.commit`."""
        ...

    def discard(self, partial: "DiskPartial") -> None:
        """See `PartialBlob.discard`."""
        ...

    def closed(self, partial: "DiskPartial") -> None:
        """Take note that `partial` released its files."""
        ...


class DiskPartial:
    """A preallocated file and its piece map; see `shoal.adapters.store.base.PartialBlob`."""

    def __init__(
        self, spec: BlobSpec, *, data: OpenFile, piece_map: PieceMap, keeper: PartialKeeper
    ) -> None:
        self._spec = spec
        self._data = data
        self._map = piece_map
        self._keeper = keeper
        self._held: dict[int, bytes] = {}

    @property
    def spec(self) -> BlobSpec:
        """Which blob this is."""
        return self._spec

    @property
    def fd(self) -> int:
        """A file descriptor for sendfile, pread and pwrite; nobody moves its position."""
        return self._data.fd

    def write(self, offset: int, block: bytes | bytearray | memoryview) -> None:
        """Write `block` at `offset`, whole.

        Raises:
            StoreFull: the disk is full.
            StoreError: the disk failed, or this was closed.
            ValueError: the block does not lie within the blob.
        """
        if offset < 0 or offset + len(block) > self._spec.length_bytes:
            raise ValueError(
                f"{self._spec.digest}: bytes {offset} to {offset + len(block)} are outside the "
                f"blob's {self._spec.length_bytes}"
            )
        self._data.write_at(offset, block)

    def mark(self, piece: int, hash_: bytes) -> None:
        """Record that `piece` is whole in the file and what its 32-byte piece hash is.

        Marking again replaces the hash, for a piece that was fetched anew.

        Raises:
            StoreFull, StoreError: the disk is full or failed, or this was closed.
            ValueError: there is no such piece, or the hash has another length.
        """
        if not 0 <= piece < self._spec.pieces:
            raise ValueError(f"{self._spec.digest}: no piece {piece} of {self._spec.pieces}")
        check_hash(hash_)
        self._map.record(piece, hash_)
        self._held[piece] = bytes(hash_)

    def held(self) -> dict[int, bytes]:
        """Return the pieces held and their hashes. Cheap: `recheck` did the hashing."""
        return dict(self._held)

    def recheck(self) -> None:
        """Hash every piece on record again; keep those that are right, erase the rest.

        Reads every recorded byte: 0.3 to 0.5 s a GB if it is in the page cache, else as long as
        the disk takes.

        Raises:
            StoreError: the disk failed.
        """
        buffer = bytearray(min(BLOCK_BYTES, self._spec.length_bytes))
        for piece, hash_ in sorted(self._map.records().items()):
            if self._hash(piece, buffer) == hash_:
                self._held[piece] = hash_
            else:
                self._map.erase(piece)

    def sync(self) -> None:
        """Make the data survive a power cut.

        Raises:
            StoreError: the disk failed.
        """
        try:
            os.fsync(self._data.fd)
        except OSError as error:
            raise store_error(error, self._data.path) from error

    def commit(self) -> StoredBlob:
        """Give the file its final name, after fsync, and return it open for reading.

        Raises:
            StoreFull, StoreError: the disk is full or failed, or this was discarded or closed.
        """
        return self._keeper.commit(self)

    def discard(self) -> None:
        """Forget the blob: the file and its map are removed. Does nothing after `commit`.

        Raises:
            StoreError: the files cannot be removed.
        """
        self._keeper.discard(self)

    def close(self) -> None:
        """Release the descriptors; the file and its map stay for a later resume. Idempotent."""
        self._map.close()
        self._data.close()
        self._keeper.closed(self)

    def _hash(self, piece: int, buffer: bytearray) -> bytes | None:
        """Return the hash of what the file has for `piece`, or None if it cannot be read."""
        hasher = blake3()
        offset, end = self._spec.offset(piece), self._spec.offset(piece) + self._spec.size(piece)
        with memoryview(buffer) as view:
            while offset < end:
                try:
                    read = os.preadv(self._data.fd, [view[: end - offset]], offset)
                except OSError:
                    return None  # a bad spot on the disk costs this piece
                if not read:
                    return None  # the file was cut short
                hasher.update(view[:read])
                offset += read
        return hasher.digest()
