"""What a place to put an image must do. Every method may block on the disk."""

from dataclasses import dataclass
from typing import Protocol

from shoal.core.digest import Digest
from shoal.core.oci.manifests import Descriptor, Manifest, Platform
from shoal.core.reference import Reference


@dataclass(frozen=True, slots=True)
class Image:
    """One image, resolved: which bytes its manifest is and what it lists."""

    reference: Reference
    manifest: Manifest
    digest: Digest
    body: bytes
    platform: Platform | None = None  # as the index that listed it says

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, in order, each once."""
        return tuple({item.digest: item for item in self.manifest.referenced()}.values())


class BlobTarget(Protocol):
    """Where the bytes of one blob go."""

    @property
    def held_bytes(self) -> int:
        """How many bytes an earlier, interrupted run left here; they may be wrong."""
        ...

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` of what was written at `offset`.

        Raises:
            StoreError: the disk failed.
        """
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`, whole.

        Raises:
            StoreError: the disk is full or failed.
        """
        ...

    def commit(self) -> None:
        """Keep the blob: its digest was checked.

        Raises:
            StoreError: the disk failed.
        """
        ...

    def close(self) -> None:
        """Release the file. Idempotent."""
        ...


class ImageTarget(Protocol):
    """Where one image goes."""

    def prepare(self, image: Image, *, leaving_out: frozenset[Digest] = frozenset()) -> None:
        """Say which image comes, before any blob of it.

        Args:
            image: the image.
            leaving_out: blobs that will not come, because they live elsewhere.

        Raises:
            BadInput: this kind of target cannot hold such an image.
            StoreError: the disk failed.
        """
        ...

    def holds(self, digest: Digest, *, size_bytes: int) -> bool:
        """Tell whether the blob is here already, by hashing what is."""
        ...

    def begin(self, digest: Digest, *, size_bytes: int) -> BlobTarget:
        """Open the place for one blob.

        Raises:
            StoreError: the disk is full or failed.
        """
        ...

    def read(self, digest: Digest, *, size_bytes: int) -> bytes:
        """Return a blob that was committed or is held.

        Raises:
            StoreError: the disk failed.
        """
        ...

    def finish(self) -> None:
        """Make the image visible: every blob was committed.

        Raises:
            StoreError: the disk failed.
        """
        ...

    def close(self) -> None:
        """Release everything; what is not finished and cannot be resumed is removed. Idempotent."""
        ...
