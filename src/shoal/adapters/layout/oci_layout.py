"""An OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/<algorithm>/<hex>`.

Source: OCI image-spec v1.1, image-layout.md.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shoal.adapters.layout.base import Image
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, StoreError

# The annotations that `docker save` writes too: the tag for skopeo and its kin, the whole
# reference for containerd.
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"

_MARKER = "oci-layout"
_MARKER_BODY = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_PART_SUFFIX = ".part"
_CHUNK_BYTES = 1024 * 1024
_MAX_INDEX_BYTES = 16 * 1024 * 1024


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that names `path`.

    Raises:
        StoreError: in place of OSError.
    """
    try:
        yield
    except OSError as exc:
        raise StoreError(f"{path}: {exc.strerror or exc}") from exc


class OciLayout:
    """A layout folder, new or with other images in it; those stay."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`, making it if need be.

        Raises:
            BadInput: it holds something else than a layout.
            StoreError: it cannot be made, or another process is writing to it.
        """
        self._folder = folder
        self._image: Image | None = None
        with disk_errors(folder):
            if folder.exists() and not folder.is_dir():
                raise BadInput(f"{folder} is a file; an OCI layout is a folder")
            strange = folder.is_dir() and any(folder.iterdir())
            if strange and not (folder / _MARKER).is_file():
                raise BadInput(
                    f"{folder} has files in it and is no OCI layout; name another folder"
                )
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # First, so that a folder left by an interrupted run is known as a layout again.
            self._write_once(folder / _MARKER, _MARKER_BODY)
        except OSError as exc:
            self.close()
            raise StoreError(f"{folder}: another process is writing to this layout") from exc
        except BaseException:
            self.close()
            raise

    def prepare(self, image: Image, *, leaving_out: frozenset[Digest] = frozenset()) -> None:
        """Say which image comes; a layout may lack blobs, so `leaving_out` does not matter."""
        self._image = image

    def holds(self, digest: Digest, *, size_bytes: int) -> bool:
        """Tell whether the blob is here and right; a wrong one will be replaced."""
        path = self._path(digest)
        hash_ = hashlib.new(digest.algorithm)
        try:
            if path.stat().st_size != size_bytes:
                return False
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    hash_.update(chunk)
        except OSError:
            return False
        return hash_.hexdigest() == digest.hex

    def begin(self, digest: Digest, *, size_bytes: int) -> "LayoutBlob":
        """Open the file for one blob, with what an interrupted run left of it.

        Raises:
            StoreError: the disk is full or failed.
        """
        return LayoutBlob(self._path(digest), size_bytes=size_bytes)

    def read(self, digest: Digest, *, size_bytes: int) -> bytes:
        """Return a blob that was committed or is held.

        Raises:
            StoreError: the disk failed.
        """
        path = self._path(digest)
        with disk_errors(path), path.open("rb") as file:
            return file.read(size_bytes)

    def finish(self) -> None:
        """Write the manifest, then name it in `index.json`.

        Raises:
            StoreError: the disk failed, or `index.json` is not one.
        """
        image = self._image
        if image is None:
            raise RuntimeError("finish before prepare")
        self._write_once(self._path(image.digest), image.body)
        path = self._folder / "index.json"
        index = self._read_index(path)
        entry = _entry(image)
        others = [other for other in index["manifests"] if not _same_image(other, entry)]
        index["manifests"] = [*others, entry]
        self._replace(path, json.dumps(index, indent=2).encode() + b"\n")

    def close(self) -> None:
        """Let others write to the folder. Parts of blobs stay, to be resumed. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _path(self, digest: Digest) -> Path:
        return self._folder / "blobs" / digest.algorithm / digest.hex

    def _read_index(self, path: Path) -> dict[str, Any]:
        with disk_errors(path):
            try:
                with path.open("rb") as file:
                    data = file.read(_MAX_INDEX_BYTES)
            except FileNotFoundError:
                return {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": []}
        try:
            index = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise StoreError(f"{path}: not JSON; remove it, then pull again") from exc
        if not isinstance(index, dict) or not isinstance(index.get("manifests"), list):
            raise StoreError(f"{path}: not an OCI index; remove it, then pull again")
        return index

    def _write_once(self, path: Path, data: bytes) -> None:
        with disk_errors(path):
            if path.is_file() and path.read_bytes() == data:
                return
        self._replace(path, data)

    def _replace(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}{_PART_SUFFIX}")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)


def _entry(image: Image) -> dict[str, Any]:
    reference = image.reference
    annotations = {IMAGE_NAME: str(reference)}
    if reference.tag is not None:
        annotations[REF_NAME] = reference.tag
    entry: dict[str, Any] = {
        "mediaType": image.manifest.media_type,
        "digest": str(image.digest),
        "size": len(image.body),
        "annotations": annotations,
    }
    if image.platform is not None:
        found = image.platform
        named = {
            "architecture": found.architecture,
            "os": found.os,
            "os.version": found.os_version,
            "variant": found.variant,
        }
        entry["platform"] = {key: value for key, value in named.items() if value}
    return entry


def _same_image(other: object, entry: dict[str, Any]) -> bool:
    """Tell whether `other` names what `entry` names, for the same platform or by the same digest.

    `linux/arm64` and `linux/amd64` of one tag may be in a layout side by side: tools choose by
    platform.
    """
    if not isinstance(other, dict):
        return False
    annotations = other.get("annotations")
    name = annotations.get(IMAGE_NAME) if isinstance(annotations, dict) else None
    if name != entry["annotations"][IMAGE_NAME]:
        return False
    return other.get("digest") == entry["digest"] or other.get("platform") == entry.get("platform")


class LayoutBlob:
    """One blob of a layout on its way in: a file beside its place, renamed when it is whole."""

    def __init__(self, path: Path, *, size_bytes: int) -> None:
        """Open the part of `path`, made if need be.

        Raises:
            StoreError: the disk failed.
        """
        self._path = path
        self._part = path.with_name(f".{path.name}{_PART_SUFFIX}")
        with disk_errors(self._part):
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o644)
            self._held_bytes = min(os.fstat(self._fd).st_size, size_bytes)
        self._size_bytes = size_bytes

    @property
    def held_bytes(self) -> int:
        """How many bytes an earlier, interrupted run left; they may be wrong."""
        return self._held_bytes

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` of what was written at `offset`.

        Raises:
            StoreError: the disk failed.
        """
        with disk_errors(self._part):
            return os.pread(self._fd, size_bytes, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`, whole.

        Raises:
            StoreError: the disk is full or failed.
        """
        with disk_errors(self._part):
            write_whole(self._fd, data, offset)

    def commit(self) -> None:
        """Give the file its name.

        Raises:
            StoreError: the disk failed.
        """
        with disk_errors(self._path):
            os.ftruncate(self._fd, self._size_bytes)
            os.fsync(self._fd)
            self._part.rename(self._path)

    def close(self) -> None:
        """Release the file; an unfinished part stays for the next run, an empty one goes."""
        if self._fd < 0:
            return
        with suppress(OSError):
            if os.fstat(self._fd).st_size == 0:
                self._part.unlink()
        os.close(self._fd)
        self._fd = -1


def write_whole(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`: the system may take less at once.

    Raises:
        OSError: the disk is full or failed.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
