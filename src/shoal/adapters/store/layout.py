"""Where the disk store keeps what.

    <root>/lock                          held by the one agent that uses the folder
    <root>/lengths                       length of every verified blob, see `lengths`
    <root>/blobs/<algorithm>/<2>/<hex>   verified blobs; <2> is how <hex> begins
    <root>/partial/<tag>.data, .map      a blob that is still arriving, and its piece map

Folders are 0700 and files 0600: a blob may be of a private image.
"""

import fcntl
import os
import stat
from pathlib import Path

from shoal.adapters.store.files import store_error, sync_folder
from shoal.core.blob import BlobTag
from shoal.core.digest import HEX_LENGTHS, Digest
from shoal.core.errors import StoreError

_FOLDER_MODE = 0o700


class Layout:
    """The paths below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.partials = root / "partial"
        self.lengths = root / "lengths"

    def blob(self, digest: Digest) -> Path:
        """Where the verified blob `digest` is kept.

        Raises:
            BadInput: `digest` was not made by `Digest.parse` and is none.
        """
        Digest.parse(str(digest))  # a path is made of it, so look again
        return self.blobs / digest.algorithm / digest.hex[:2] / digest.hex

    def data(self, tag: BlobTag) -> Path:
        """Where the bytes of a blob that is still arriving are."""
        return self.partials / f"{tag.hex()}.data"

    def map(self, tag: BlobTag) -> Path:
        """Where the piece map of a blob that is still arriving is."""
        return self.partials / f"{tag.hex()}.map"

    def prepare(self) -> None:
        """Make the folders, and close to others those that are open.

        The root's own mode is left alone if it exists: it may be a mount point of the operator's.

        Raises:
            StoreError: that cannot be done; the message says what to change.
        """
        folder = self.root
        try:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            for folder in (
                self.blobs,
                *(self.blobs / algorithm for algorithm in HEX_LENGTHS),
                self.partials,
            ):
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                if stat.S_IMODE(folder.stat().st_mode) != _FOLDER_MODE:
                    folder.chmod(_FOLDER_MODE)
        except OSError as error:
            raise store_error(error, folder) from error

    def prepare_for(self, digest: Digest) -> Path:
        """Make the folder that the blob `digest` goes to and return the blob's path in it.

        Raises:
            OSError: as mkdir.
        """
        path = self.blob(digest)
        try:
            path.parent.mkdir(mode=_FOLDER_MODE)
        except FileExistsError:
            return path
        sync_folder(path.parent.parent)
        return path

    def lock(self) -> int:
        """Take the folder for this process; return the descriptor that holds it.

        Raises:
            StoreError: another process has it, or the folder cannot be written.
        """
        path = self.root / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise store_error(error, path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace")
            os.close(fd)
            raise StoreError(
                f"{self.root}: in use by process {holder or 'unknown'}: stop that one, "
                "or give this agent a folder of its own"
            ) from None
        except OSError as error:
            os.close(fd)
            raise store_error(error, path) from error
        return fd
