"""A client of a node: pulls as `shoal pull` does, keeps nothing, and hashes every byte it gets.

The pull checks digests itself. Here they are checked once more, by what has no part in fetching:
what a demo says of its bytes should not rest on the code that it shows.
"""

import hashlib

from shoal.adapters.layout.base import Image
from shoal.core.digest import Digest
from shoal.core.errors import StoreError


class CheckedImage:
    """Takes an image and remembers which of its blobs were right: an `ImageTarget`."""

    def __init__(self) -> None:
        self.manifest: Digest | None = None
        self.verified: set[Digest] = set()

    def prepare(self, image: Image, *, leaving_out: frozenset[Digest] = frozenset()) -> None:
        """Hash the manifest."""
        digest = image.digest
        if hashlib.new(digest.algorithm, image.body).hexdigest() == digest.hex:
            self.manifest = digest

    def holds(self, digest: Digest, *, size_bytes: int) -> bool:
        """Hold nothing."""
        return False

    def begin(self, digest: Digest, *, size_bytes: int) -> "CheckedBlob":
        """Begin to hash a blob."""
        return CheckedBlob(digest, size_bytes, verified=self.verified)

    def read(self, digest: Digest, *, size_bytes: int) -> bytes:
        """Refuse: nothing was kept.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{digest} was hashed and not kept")

    def finish(self) -> None:
        """Do nothing: nothing was kept."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


class CheckedBlob:
    """Hashes one blob as it is written, front to back: a `BlobTarget`."""

    held_bytes = 0

    def __init__(self, digest: Digest, size_bytes: int, *, verified: set[Digest]) -> None:
        self._digest = digest
        self._size_bytes = size_bytes
        self._verified = verified
        self._hash = hashlib.new(digest.algorithm)
        self._next = 0

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Refuse: nothing was kept.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{self._digest} was hashed and not kept")

    def write(self, offset: int, data: bytes) -> None:
        """Hash what comes next, or begin anew.

        Raises:
            StoreError: bytes were left out.
        """
        if offset == 0:  # also a second time, if the first bytes were wrong
            self._hash = hashlib.new(self._digest.algorithm)
            self._next = 0
        if offset != self._next:
            raise StoreError(f"{self._digest} goes on at {offset}, expected was {self._next}")
        self._hash.update(data)
        self._next += len(data)

    def commit(self) -> None:
        """Remember the blob if its bytes have its digest.

        Raises:
            StoreError: they do not.
        """
        if self._next != self._size_bytes or self._hash.hexdigest() != self._digest.hex:
            raise StoreError(f"the {self._next} bytes of {self._digest} do not have that digest")
        self._verified.add(self._digest)

    def close(self) -> None:
        """Do nothing: nothing is open."""
