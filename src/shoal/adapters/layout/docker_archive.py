"""A docker archive: one tar that `docker load`, `podman load` and skopeo read.

Source: moby image/tarexport, the `manifest.json` that Docker 1.10 and later write and read.
Layers go in as the registry has them: every reader tells gzip and zstd from a plain tar itself.
"""

# All lengths are known from the manifest, so the tar is laid out before the first byte arrives:
# blobs are then written straight to their places, several at a time, and nothing is copied twice.

import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path

from shoal.adapters.layout.base import Image
from shoal.adapters.layout.oci_layout import disk_errors, write_whole
from shoal.core.digest import Digest
from shoal.core.errors import BadInput

_IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
    }
)


class DockerArchive:
    """An archive that appears under its name when it is whole; an old one is replaced then."""

    def __init__(self, path: Path) -> None:
        """Prepare to write `path`.

        Raises:
            BadInput: `path` is a folder.
        """
        if path.is_dir():
            raise BadInput(f"{path} is a folder; a docker archive is a file")
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._fd = -1
        self._places: dict[Digest, tuple[int, int]] = {}

    def prepare(self, image: Image, *, leaving_out: frozenset[Digest] = frozenset()) -> None:
        """Lay out the archive for `image`.

        Raises:
            BadInput: it is no image that can be run, or has layers that live elsewhere.
            StoreError: the file cannot be made.
        """
        config = image.manifest.config
        if config is None or config.media_type not in _IMAGE_CONFIGS:
            raise BadInput(f"{image.reference} is not a container image; use --format oci")
        if leaving_out:
            raise BadInput(
                f"{image.reference} has layers that the registry does not hold, and docker load "
                "needs all of them; use --format oci"
            )
        tag = image.reference.tag
        names = [f"{image.reference.registry}/{image.reference.repository}:{tag}"] if tag else []
        listing = [
            {
                "Config": f"{config.digest.hex}.json",
                "RepoTags": names,
                "Layers": [f"{layer.digest.hex}.tar" for layer in image.manifest.layers],
            }
        ]
        with disk_errors(self._part):
            self._part.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o644)
            at = self._lay(0, "manifest.json", json.dumps(listing).encode())
            for blob in image.blobs:
                kind = "json" if blob.digest == config.digest else "tar"
                header = _header(f"{blob.digest.hex}.{kind}", blob.size_bytes)
                write_whole(self._fd, header, at)
                at += len(header)
                self._places[blob.digest] = (at, blob.size_bytes)
                at += _padded(blob.size_bytes)
            # Two empty blocks end a tar; holes read as zeros, in the padding too.
            at += 2 * tarfile.BLOCKSIZE
            os.ftruncate(self._fd, at + -at % tarfile.RECORDSIZE)

    def holds(self, digest: Digest, *, size_bytes: int) -> bool:
        """Tell that nothing is here yet."""
        return False

    def begin(self, digest: Digest, *, size_bytes: int) -> "ArchiveBlob":
        """Return the place of one blob in the archive."""
        offset, laid_bytes = self._places[digest]
        if laid_bytes != size_bytes:
            raise BadInput(f"{digest}: is listed with two lengths")
        return ArchiveBlob(self._fd, self._part, offset=offset)

    def read(self, digest: Digest, *, size_bytes: int) -> bytes:
        """Return a blob that was committed.

        Raises:
            StoreError: the disk failed.
        """
        return self.begin(digest, size_bytes=size_bytes).read(0, size_bytes)

    def finish(self) -> None:
        """Give the archive its name.

        Raises:
            StoreError: the disk failed.
        """
        with disk_errors(self._path):
            os.fsync(self._fd)
            self._part.rename(self._path)

    def close(self) -> None:
        """Release the file; one that is not finished is removed. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):
                self._part.unlink(missing_ok=True)

    def _lay(self, at: int, name: str, data: bytes) -> int:
        header = _header(name, len(data))
        write_whole(self._fd, header + data, at)
        return at + len(header) + _padded(len(data))


class ArchiveBlob:
    """The stretch of an archive in which one blob goes."""

    held_bytes = 0

    def __init__(self, fd: int, path: Path, *, offset: int) -> None:
        self._fd = fd
        self._path = path
        self._offset = offset

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` of what was written at `offset`.

        Raises:
            StoreError: the disk failed.
        """
        with disk_errors(self._path):
            return os.pread(self._fd, size_bytes, self._offset + offset)

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset` of the blob, whole.

        Raises:
            StoreError: the disk is full or failed.
        """
        with disk_errors(self._path):
            write_whole(self._fd, data, self._offset + offset)

    def commit(self) -> None:
        """Nothing is left to do: the whole archive is made visible at once."""

    def close(self) -> None:
        """Nothing of its own is open."""


def _header(name: str, size_bytes: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mode = 0o644  # and no time: the same image gives the same archive
    return entry.tobuf(tarfile.GNU_FORMAT)  # GNU's numbers reach beyond 8 GiB


def _padded(size_bytes: int) -> int:
    return size_bytes + -size_bytes % tarfile.BLOCKSIZE
