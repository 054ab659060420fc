"""File handling that the disk store stands on: errors told to the operator, descriptors, space."""

import contextlib
import ctypes
import errno
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from shoal.core.errors import StoreError, StoreFull

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_CANNOT_PREALLOCATE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

# Read at once for hashing. Measured from 64 KiB to 4 MiB: BLAKE3 at 3.0 to 3.7 GB/s and SHA-256 at
# 1.2 GB/s throughout, so the size decides only how much memory a thread takes.
BLOCK_BYTES = 1024 * 1024


def store_error(error: OSError, path: Path) -> StoreError:
    """Return the error to raise for `error` on `path`: which file, what happened, what to do."""
    reason = f"{path}: {error.strerror or error}"
    if error.errno in _DISK_FULL:
        return StoreFull(f"{reason}: free some space there or lower the store's quota")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StoreError(
            f"{reason}: the store's folder must belong to user {os.geteuid()}, which this process "
            "runs as: change its owner, or choose another folder"
        )
    if error.errno == errno.EROFS:
        return StoreError(f"{reason}: choose a folder that can be written")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StoreError(f"{reason}: raise the limit of open files (ulimit -n, LimitNOFILE)")
    return StoreError(reason)


def _find_fallocate() -> Callable[[int, int, int, int], int] | None:
    # Python has only os.posix_fallocate: on a file system that cannot preallocate, glibc's version
    # writes into every block instead, minutes for a large blob. The system call itself says no.
    libc = ctypes.CDLL(None, use_errno=True)
    function: Any = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    function.restype = ctypes.c_int
    found: Callable[[int, int, int, int], int] = function
    return found


_fallocate = _find_fallocate()


def preallocate(fd: int, size_bytes: int) -> None:
    """Make the file `size_bytes` long with all its blocks, or sparse where that is impossible.

    Raises:
        OSError: the disk is full, or failed.
    """
    while size_bytes and _fallocate is not None:
        if _fallocate(fd, 0, 0, size_bytes) == 0:
            return
        number = ctypes.get_errno()
        if number == errno.EINTR:
            continue
        if number in _CANNOT_PREALLOCATE:
            break
        raise OSError(number, os.strerror(number))
    os.ftruncate(fd, size_bytes)


def free_bytes(folder: Path) -> int:
    """Return how many bytes the file system of `folder` has left for this process."""
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise store_error(error, folder) from error
    return room.f_bavail * room.f_frsize


def default_reserve_bytes(folder: Path) -> int:
    """Return what to leave free on the file system of `folder`: 1 GiB, or 5% if that is less.

    Source: the kubelet evicts pods below 10% or 15% free (its hard eviction defaults for nodefs and
    imagefs); a gibibyte keeps logs and journals going where an operator has lowered those.
    """
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise store_error(error, folder) from error
    return min(1024 * 1024 * 1024, room.f_blocks * room.f_frsize // 20)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class OpenFile:
    """A descriptor that several threads use and any of them may close.

    A write holds the descriptor open until it is done. Without that, a thread that is about to
    write could find its number closed by another thread and given to a different blob's file.
    """

    __slots__ = ("_closing", "_fd", "_lock", "_users", "path")

    def __init__(self, fd: int, *, path: Path) -> None:
        self.path = path
        self._fd = fd
        self._lock = Lock()
        self._users = 0
        self._closing = False

    @classmethod
    def open(cls, path: Path, flags: int) -> "OpenFile":
        """Open `path`, a regular file that only its owner may read if it is made now.

        Raises:
            OSError: as os.open does.
        """
        # O_NOFOLLOW: nobody but us writes in these folders, so a link there is no work of ours.
        return cls(os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), path=path)

    @property
    def fd(self) -> int:
        """The descriptor.

        Raises:
            StoreError: it is closed.
        """
        if self._closing:
            raise StoreError(f"{self.path}: used after it was closed")
        return self._fd

    def write_at(self, offset: int, block: bytes | bytearray | memoryview) -> None:
        """Write `block` at `offset`, whole.

        Raises:
            StoreFull: the disk is full.
            StoreError: the disk failed, or the file is closed.
        """
        with self._lock:
            if self._closing:
                raise StoreError(f"{self.path}: written after it was closed")
            self._users += 1
        try:
            written = os.pwrite(self._fd, block, offset)
            if written != len(block):
                self._write_rest(offset, block, written)
        except OSError as error:
            raise store_error(error, self.path) from error
        finally:
            with self._lock:
                self._users -= 1
                last = self._closing and not self._users
            if last:
                os.close(self._fd)

    def _write_rest(self, offset: int, block: bytes | bytearray | memoryview, written: int) -> None:
        # A short write means a full disk, whose error the next call gives, or a signal.
        with memoryview(block) as view:
            while written < len(view):
                written += os.pwrite(self._fd, view[written:], offset + written)

    def close(self) -> None:
        """Close the descriptor, once those who are writing have finished. Idempotent."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            last = not self._users
        if last:
            os.close(self._fd)

    def __del__(self) -> None:
        # A constructor that failed leaves no attributes.
        with contextlib.suppress(AttributeError):
            if not self._closing:
                self.close()
                warnings.warn(f"{self.path} was left open", ResourceWarning, stacklevel=1)


class OpenBlob:
    """A verified blob, open for reading."""

    __slots__ = ("_file", "_on_close", "length_bytes")

    def __init__(self, file: OpenFile, *, length_bytes: int, on_close: Callable[[], None]) -> None:
        self._file = file
        self._on_close: Callable[[], None] | None = on_close
        self.length_bytes = length_bytes

    @property
    def fd(self) -> int:
        """A file descriptor for sendfile and pread; nobody moves its position."""
        return self._file.fd

    def close(self) -> None:
        """Release the descriptor and the pin against eviction. Idempotent, cheap."""
        self._file.close()
        # Taking the attribute is one step under the interpreter lock; the second caller gets None.
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
