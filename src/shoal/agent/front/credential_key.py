"""The node's key for credential fingerprints, in a file that only the agent's user can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from shoal.core.errors import StoreError
from shoal.core.trust.credentials import KEY_BYTES


def load_or_make_key(path: Path) -> bytes:
    """Return the key in the file at `path`, which is made if it is missing. Blocks on the disk.

    Raises:
        StoreError: the file cannot be read or made, others can read it, or it holds no key.
    """
    try:
        with suppress(FileNotFoundError):
            return _load(path)
        _make(path)
        return _load(path)
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be used: {error.strerror}") from error


def _load(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise StoreError(f"others can read the key file {path}: remove it, a new one is made")
    if len(key) != KEY_BYTES:
        raise StoreError(f"the key file {path} holds no key: remove it, a new one is made")
    return key


def _make(path: Path) -> None:
    """Write a new key beside `path` and link it there, so that no reader sees half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, secrets.token_bytes(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):  # another process was first: its key counts
            os.link(beside, path)
    finally:
        beside.unlink()
