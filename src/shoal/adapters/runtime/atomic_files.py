"""Replace, keep and restore small configuration files, so that a crash leaves old or new."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shoal.core.errors import ShoalError

BACKUP_SUFFIX = ".shoal-backup"
_TEMPORARY_SUFFIX = ".shoal-tmp"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that names `path` and what to do.

    Raises:
        ShoalError: in place of OSError.
    """
    try:
        yield
    except PermissionError as exc:
        raise ShoalError(f"{path}: {exc.strerror}; run this as root") from exc
    except OSError as exc:
        raise ShoalError(f"{path}: {exc.strerror or exc}") from exc


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock that keeps two commands from changing the same tree at once.

    The lock is on the nearest folder that exists at or above `folder`, so it leaves no file.

    Raises:
        ShoalError: another command holds it. There is no waiting: the other may be stuck.
    """
    place = folder
    while not place.is_dir() and place != place.parent:
        place = place.parent
    with naming(place):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ShoalError(
                f"{place}: another `shoal containerd` command is at work here; try again"
            ) from exc
        yield
    finally:
        os.close(descriptor)


def backup_of(path: Path) -> Path:
    """Return where the original of `path` is kept."""
    return path.with_name(path.name + BACKUP_SUFFIX)


def keep_original(path: Path) -> None:
    """Make the backup of `path` be exactly what `path` is now, a symbolic link included.

    The backup is a second name for the same file, so content, mode, owner, times and extended
    attributes are kept without copying any of them. `path` must be replaced, not written to.

    Raises:
        ShoalError: the file system refuses.
    """
    temporary = path.with_name(f".{path.name}{_TEMPORARY_SUFFIX}")
    with naming(backup_of(path)):
        temporary.unlink(missing_ok=True)
        os.link(path, temporary, follow_symlinks=False)
        # A rename onto a name of the same file does nothing and leaves both, by POSIX.
        temporary.rename(backup_of(path))
        temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def restore_original(path: Path) -> None:
    """Give the backup of `path` its name back.

    Raises:
        ShoalError: the file system refuses.
    """
    with naming(path):
        backup_of(path).rename(path)
        sync_folder(path.parent)


def replace(path: Path, data: bytes, *, like: Path | None = None, secret: bool = False) -> None:
    """Make `data` the content of `path` at once: readers see the old file or the new one.

    Args:
        path: the file; a symbolic link is replaced, not followed.
        data: all of its new content.
        like: take mode and owner of this file; without it, root's and 0644.
        secret: nobody but the owner may read it.

    Raises:
        ShoalError: the file system refuses.
    """
    temporary = path.with_name(f".{path.name}{_TEMPORARY_SUFFIX}")
    with naming(path):
        mode, owner = 0o644, None
        if like is not None:
            was = like.stat()
            mode, owner = stat.S_IMODE(was.st_mode), (was.st_uid, was.st_gid)
        if secret:
            mode &= 0o600
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if owner is not None and owner != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def make_folders(folder: Path) -> int:
    """Make `folder` and what is missing above it; return how many were missing.

    Raises:
        ShoalError: the file system refuses.
    """
    missing = [folder]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    missing.pop()
    with naming(folder):
        for path in reversed(missing):
            path.mkdir()
            path.chmod(0o755)  # whatever the umask: containerd may run as another user
            sync_folder(path.parent)
    return len(missing)


def remove_folders(folder: Path, *, levels: int) -> list[Path]:
    """Remove `folder` and, up to `levels` in all, its parents, as far as they are empty."""
    removed = []
    for path in [folder, *folder.parents][:levels]:
        try:
            path.rmdir()
        except OSError:
            break  # not empty, or gone: either way not ours to insist
        removed.append(path)
    return removed


def remove_file(path: Path) -> None:
    """Remove `path` if it is there.

    Raises:
        ShoalError: the file system refuses.
    """
    with naming(path):
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
