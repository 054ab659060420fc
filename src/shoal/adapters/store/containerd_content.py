"""A read-only view of containerd's own content store, whose blobs a node already has.

containerd moves a file into its blobs folder only once its digest was checked, and never changes
it there. It deletes what no image refers to any more; a file that is open stays readable.

Source: containerd 1.6 content/local/store.go and docs/content-flow.md.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from shoal.adapters.store.files import OpenBlob, OpenFile, store_error
from shoal.core.digest import HEX_LENGTHS, Digest
from shoal.core.errors import BadInput

_PLUGIN = "io.containerd.content.v1.content"


class ContainerdContent:
    """The blobs of one containerd."""

    def __init__(self, path: Path) -> None:
        """Look at containerd's root folder, such as /var/lib/containerd, or at its blobs folder.

        Neither need exist yet. A folder called `blobs` is taken for the blobs folder itself, which
        is how it is mounted into a pod that is to see nothing else of containerd.
        """
        self._blobs = path if path.name == "blobs" else path / _PLUGIN / "blobs"

    def open(self, digest: Digest) -> OpenBlob | None:
        """Return the blob `digest`, or None if containerd does not have it. Blocks on the disk.

        Nothing keeps containerd from deleting it: the pin is only the open file.

        Raises:
            StoreError: it is there and cannot be opened.
        """
        Digest.parse(str(digest))  # a path is made of it, so look again
        path = self._blobs / digest.algorithm / digest.hex
        try:
            # O_NONBLOCK: what is there might be no file, and opening a pipe would wait.
            file = OpenFile.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise store_error(error, path) from error
        status = os.fstat(file.fd)
        if not stat.S_ISREG(status.st_mode):
            file.close()
            return None
        return OpenBlob(file, length_bytes=status.st_size, on_close=lambda: None)

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return every blob and its length in bytes. Reads the folder, so not cheap.

        Raises:
            StoreError: the folder is there and cannot be read.
        """
        found: list[tuple[Digest, int]] = []
        for algorithm in HEX_LENGTHS:
            folder = self._blobs / algorithm
            try:
                with os.scandir(folder) as entries:
                    items = (_item(algorithm, entry) for entry in entries)
                    found.extend(item for item in items if item is not None)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise store_error(error, folder) from error
        return sorted(found)


def _item(algorithm: str, entry: os.DirEntry[str]) -> tuple[Digest, int] | None:
    try:
        digest = Digest.parse(f"{algorithm}:{entry.name}")
        status = entry.stat(follow_symlinks=False)
    except (BadInput, FileNotFoundError):  # not a blob, or collected meanwhile
        return None
    return (digest, status.st_size) if stat.S_ISREG(status.st_mode) else None
