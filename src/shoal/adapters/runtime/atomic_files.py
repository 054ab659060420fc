"""Replace, keep and restore small configuration files, so that a crash leaves old or new."""

import fcntl
import os
import shutil
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
    temporary = _temporary(path)
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
    temporary = _temporary(path)
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


def create(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Make `path` with its content, and the folders missing above it: at once, all or none.

    Folders that a crash left behind empty could not be told from somebody else's.

    Raises:
        ShoalError: the file system refuses.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    if not missing:
        replace(path, data, secret=secret)
        return
    top = missing[-1]
    staging = _temporary(top)
    inside = staging / path.parent.relative_to(top)
    with naming(top):
        _remove_tree(staging)
        for level in reversed(range(len(missing))):
            folder = [inside, *inside.parents][level]
            folder.mkdir()
            folder.chmod(0o755)  # whatever the umask: containerd may run as another user
    replace(inside / path.name, data, secret=secret)
    with naming(top):
        staging.rename(top)
        sync_folder(top.parent)


def remove_made(path: Path, *, levels: int) -> None:
    """Remove `path` and up to `levels` folders above it that hold nothing else: at once.

    Raises:
        ShoalError: the file system refuses.
    """
    top = path
    with naming(path):
        for folder in [*path.parents][:levels]:
            if [*folder.iterdir()] != [top]:
                break
            top = folder
        if top is path:
            path.unlink(missing_ok=True)
        else:
            staging = _temporary(top)
            _remove_tree(staging)
            top.rename(staging)
            _remove_tree(staging)
        sync_folder(top.parent)


def clear_leftovers(folder: Path, *, of: str = "*") -> None:
    """Remove from `folder` what a crash left half made of the file or folder `of`, or of any.

    Raises:
        ShoalError: the file system refuses.
    """
    with naming(folder):
        for path in folder.glob(f".{of}{_TEMPORARY_SUFFIX}"):
            _remove_tree(path)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}{_TEMPORARY_SUFFIX}")


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
