"""A store and the blobs that this node's containerd keeps, as one."""

from collections.abc import Iterable

from shoal.adapters.store.base import PartialBlob, Store, StoredBlob
from shoal.adapters.store.containerd_content import ContainerdContent
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest


class WithContainerd:
    """Implements `shoal.adapters.store.base.Store`: reads from both, writes to the store alone.

    So a node's existing images are shareable at once, and the cache may drop what containerd keeps.
    """

    def __init__(self, store: Store, content: ContainerdContent) -> None:
        self._store = store
        self._content = content

    def open(self, digest: Digest) -> StoredBlob | None:
        """Return the blob from the store, else from containerd, else None.

        Raises:
            StoreError: it is there and cannot be opened.
        """
        return self._store.open(digest) or self._content.open(digest)

    def partial(self, spec: BlobSpec) -> PartialBlob:
        """Begin to receive a blob into the store, or resume one.

        Raises:
            StoreFull, StoreError: as the store says.
        """
        return self._store.partial(spec)

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return every blob of both and its length in bytes, the store's own first.

        Reads containerd's folder.
        """
        known = dict(self._store.digests())
        for digest, length_bytes in self._content.digests():
            known.setdefault(digest, length_bytes)
        return list(known.items())

    def used_bytes(self) -> int:
        """Return the bytes that the store takes; containerd's are not ours. Cheap."""
        return self._store.used_bytes()

    def close(self) -> None:
        """Close the store."""
        self._store.close()
