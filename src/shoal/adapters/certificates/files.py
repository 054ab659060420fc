"""Files of certificates and keys: whole or not at all, and never over another unasked."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import PEM_BYTES_MOST

PUBLIC, SECRET = 0o644, 0o600


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that names `path`.

    Raises:
        CertificateError: in place of OSError.
    """
    try:
        yield
    except FileExistsError as error:
        raise CertificateError(f"{path}: is there already, and nothing was written over") from error
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror or error}") from error


def read(path: Path, *, private: bool = False) -> bytes:
    """Return what a file holds.

    Args:
        path: where; links are followed.
        private: refuse a file that everyone on the machine can read or change.

    Raises:
        CertificateError: it cannot be read, or is too long to be what it should.
    """
    with naming(path), path.open("rb") as file:
        if private and os.fstat(file.fileno()).st_mode & 0o007:
            raise CertificateError(
                f"{path}: everyone on this machine can read or change the key: chmod o= it "
                f"(defaultMode: 0440 in a Kubernetes volume), and better make a new one"
            )
        content = file.read(PEM_BYTES_MOST + 1)
    if len(content) > PEM_BYTES_MOST:
        raise CertificateError(f"{path}: is larger than {PEM_BYTES_MOST} bytes")
    return content


def write(path: Path, content: bytes, *, mode: int = PUBLIC, replace: bool = False) -> None:
    """Make `content` the file at `path`; a reader sees all of it or what was there before.

    Args:
        path: where; its folder must be there.
        content: all of it.
        mode: permissions, from the first moment on.
        replace: write over a file that is there; else it is an error.

    Raises:
        CertificateError: the file system refuses, or a file is there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with naming(path):
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            if replace:
                beside.rename(path)
            else:
                os.link(beside, path)  # fails where a file is, as rename does not
        finally:
            with suppress(FileNotFoundError):
                beside.unlink()
        _sync(path.parent)


def make_folder(path: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and what is missing above it.

    Raises:
        CertificateError: the file system refuses.
    """
    with naming(path):
        path.mkdir(mode=mode, parents=True, exist_ok=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep others from changing `folder` meanwhile.

    Raises:
        CertificateError: another command does, or there is no such folder.
    """
    with naming(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CertificateError(
                f"{folder}: another `shoal certs` command is at work here; try again"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
