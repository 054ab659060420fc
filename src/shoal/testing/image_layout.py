"""Write an image as an OCI layout: layers as they are compressed, then config and manifest.

A layer is a tar in gzip, compressed in parallel: a chunk of the tar for each gzip member. Members
follow each other in one stream (RFC 1952 §2.2), which every runtime reads; headers hold no time
and no name, so the same files give the same bytes.
"""

import hashlib
import io
import json
import os
import platform
import tarfile
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

_CHUNK_BYTES = 2 << 20
# Chunks that may be in compression at once. Fixed, not taken from the number of processors: a
# layer's end is decided by what was compressed this many chunks ago, and must not vary.
_WINDOW = 6
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class ImageFormat(StrEnum):
    """Whose media types an image's manifest uses."""

    OCI = "oci"
    DOCKER = "docker"

    @property
    def manifest_type(self) -> str:
        """The manifest's media type."""
        return {
            ImageFormat.OCI: "application/vnd.oci.image.manifest.v1+json",
            ImageFormat.DOCKER: "application/vnd.docker.distribution.manifest.v2+json",
        }[self]

    @property
    def config_type(self) -> str:
        """The configuration's media type."""
        return {
            ImageFormat.OCI: "application/vnd.oci.image.config.v1+json",
            ImageFormat.DOCKER: "application/vnd.docker.container.image.v1+json",
        }[self]

    @property
    def layer_type(self) -> str:
        """A gzip layer's media type."""
        return {
            ImageFormat.OCI: "application/vnd.oci.image.layer.v1.tar+gzip",
            ImageFormat.DOCKER: "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }[self]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its blob, compressed, and the digest of the tar within."""

    digest: str
    size_bytes: int
    diff_id: str


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in an OCI layout folder."""

    layout: Path
    format: ImageFormat
    manifest_digest: str
    config_digest: str
    layers: tuple[Layer, ...]
    generated_bytes: int  # of the tars: bytes that stand in for files that the machine lacks
    recipe: str  # what the image follows from, if whoever built it said so

    @property
    def layer_bytes(self) -> int:
        """The compressed layers' sizes together: what one copy of the image is."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def manifest_type(self) -> str:
        """The manifest's media type."""
        return self.format.manifest_type

    def blob(self, digest: str) -> Path:
        """Return the file that holds the blob `digest`."""
        algorithm, _, hexadecimal = digest.partition(":")
        return self.layout / "blobs" / algorithm / hexadecimal

    @classmethod
    def load(cls, layout: Path) -> "BuiltImage":
        """Read an image that a `LayoutWriter` finished.

        Raises:
            OSError: there is none in `layout`.
        """
        data = json.loads((layout / "shoal-image.json").read_text())
        return cls(
            layout=layout,
            format=ImageFormat(data["format"]),
            manifest_digest=data["manifest_digest"],
            config_digest=data["config_digest"],
            layers=tuple(Layer(**layer) for layer in data["layers"]),
            generated_bytes=data["generated_bytes"],
            recipe=data["recipe"],
        )


class LayerWriter:
    """One layer being written; add files, then `finish`."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor, *, level: int) -> None:
        self._folder = folder
        self._pool = pool
        self._level = level
        self._file: IO[bytes] = (folder / f"layer-{id(self)}").open("wb")
        self._tar = hashlib.sha256()
        self._gzip = hashlib.sha256()
        self._chunk = bytearray()
        self._pending: deque[tuple[int, Future[bytes]]] = deque()
        self._raw_done = 0
        self._written = 0

    @property
    def estimated_bytes(self) -> int:
        """What the layer takes so far, compressed; chunks still in work by the rate so far."""
        raw = len(self._chunk) + sum(length for length, _ in self._pending)
        ratio = self._written / self._raw_done if self._raw_done else 0.4
        return self._written + int(raw * ratio)

    def add(self, info: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        """Add one entry with its content, if it has any."""
        self._put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        if content is not None and info.size:
            left = info.size
            while left and (data := content.read(min(left, _CHUNK_BYTES))):
                self._put(data)
                left -= len(data)
            self._put(bytes(left + -info.size % tarfile.BLOCKSIZE))  # `left`: the file shrank

    def add_bytes(self, name: str, data: bytes, *, mode: int = 0o644) -> None:
        """Add a regular file of the given content."""
        info = entry(name, mode=mode)
        info.size = len(data)
        self.add(info, io.BytesIO(data))

    def flush(self) -> int:
        """Compress all that was added; return what the layer takes so far, exactly."""
        self._compress()
        self._drain(0)
        return self._written

    def finish(self) -> Layer:
        """End the layer; return what it is."""
        self._put(bytes(2 * tarfile.BLOCKSIZE))
        self.flush()
        self._file.close()
        digest = f"sha256:{self._gzip.hexdigest()}"
        blobs = self._folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        Path(self._file.name).rename(blobs / self._gzip.hexdigest())
        return Layer(digest, self._written, f"sha256:{self._tar.hexdigest()}")

    def _put(self, data: bytes) -> None:
        self._chunk += data
        if len(self._chunk) >= _CHUNK_BYTES:
            self._compress()

    def _compress(self) -> None:
        chunk = bytes(self._chunk)
        self._chunk.clear()
        self._pending.append((len(chunk), self._pool.submit(_gzip_member, chunk, self._level)))
        self._tar.update(chunk)
        self._drain(_WINDOW)

    def _drain(self, keep: int) -> None:
        while len(self._pending) > keep:
            length, future = self._pending.popleft()
            member = future.result()
            self._gzip.update(member)
            self._file.write(member)
            self._raw_done += length
            self._written += len(member)


class LayoutWriter:
    """An OCI layout being written into a folder."""

    def __init__(self, folder: Path, *, level: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._level = level
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "gzip")  # zlib releases the GIL

    def __enter__(self) -> "LayoutWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def layer(self) -> LayerWriter:
        """Begin a layer."""
        return LayerWriter(self.folder, self._pool, level=self._level)

    def finish(
        self,
        layers: Sequence[Layer],
        *,
        config: Mapping[str, Any],
        history: Sequence[str],
        image_format: ImageFormat,
        generated_bytes: int = 0,
        recipe: str = "",
    ) -> BuiltImage:
        """Write configuration, manifest and index; return the image.

        Args:
            layers: from the bottom up.
            config: the image configuration's own `config`: Cmd, Env and so on.
            history: one line a layer.
            image_format: the manifest's media types.
            generated_bytes: how many bytes of the tars are no real files.
            recipe: what the image follows from, for who finds it in the folder.
        """
        machine = platform.machine()
        config_blob = self._descriptor(
            image_format.config_type,
            {
                "architecture": _ARCHITECTURES.get(machine, machine),
                "os": "linux",
                "created": "1970-01-01T00:00:00Z",
                "config": dict(config),
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                "history": [
                    {"created": "1970-01-01T00:00:00Z", "created_by": line} for line in history
                ],
            },
        )
        layer_descriptors = [
            {"mediaType": image_format.layer_type, "digest": x.digest, "size": x.size_bytes}
            for x in layers
        ]
        manifest = self._descriptor(
            image_format.manifest_type,
            {
                "schemaVersion": 2,
                "mediaType": image_format.manifest_type,
                "config": config_blob,
                "layers": layer_descriptors,
            },
        )
        tagged = manifest | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
        index = {"schemaVersion": 2, "manifests": [tagged]}
        (self.folder / "index.json").write_text(json.dumps(index))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        about = {
            "format": image_format,
            "manifest_digest": manifest["digest"],
            "config_digest": config_blob["digest"],
            "layers": [
                {"digest": x.digest, "size_bytes": x.size_bytes, "diff_id": x.diff_id}
                for x in layers
            ],
            "generated_bytes": generated_bytes,
            "recipe": recipe,
        }
        (self.folder / "shoal-image.json").write_text(json.dumps(about))
        return BuiltImage.load(self.folder)

    def _descriptor(self, media_type: str, content: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(content, separators=(",", ":")).encode()
        hexadecimal = hashlib.sha256(data).hexdigest()
        path = self.folder / "blobs" / "sha256" / hexadecimal
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{hexadecimal}", "size": len(data)}


def entry(name: str, *, mode: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """Return a tar entry owned by root, with no time of its own."""
    info = tarfile.TarInfo(name.lstrip("/"))
    info.mode = mode
    info.type = kind
    return info


def _gzip_member(data: bytes, level: int) -> bytes:
    # wbits 31: gzip; zlib writes a header without name and with time 0.
    compressor = zlib.compressobj(level, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()
