"""One large blob in a bed's registry, and cheap clients that read it from agents."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import http_reader
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.testing.bed.agents import FRONT_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError
from shoal.testing.image import MIB, random_image
from shoal.testing.image_layout import BuiltImage

READ_TIMEOUT_S = 180.0
STORED_TIMEOUT_S = 120.0  # fsync of a large blob takes seconds
_SEED = 1  # the same bytes in every run of every benchmark


@dataclass(frozen=True, slots=True)
class LargeBlob:
    """An image of one layer that cannot be compressed; the layer is the blob."""

    image: BuiltImage
    reference: str
    repository: str
    registry: str  # as references name it

    @property
    def spec(self) -> BlobSpec:
        """The blob as agents know it."""
        layer = self.image.layers[0]
        return BlobSpec(self.registry, Digest.parse(layer.digest), layer.size_bytes)

    @property
    def size_bytes(self) -> int:
        """The blob's length."""
        return self.image.layers[0].size_bytes

    @property
    def manifest_path(self) -> str:
        """What a runtime asks an agent for first."""
        return f"/v2/{self.repository}/manifests/1?ns={self.registry}"

    @property
    def blob_path(self) -> str:
        """What it then asks for."""
        return f"/v2/{self.repository}/blobs/{self.spec.digest}?ns={self.registry}"


def push_large_blob(bed: Bed, *, size_mib: int = 1024) -> LargeBlob:
    """Push a blob of about this size (a few KiB more) to the bed's registry."""
    repository, layout = "library/large", bed.folder / "large"
    image = random_image(layout, layer_bytes=(size_mib * MIB,), seed=_SEED)
    reference = bed.registry.push(image, repository=repository)
    shutil.rmtree(layout)
    return LargeBlob(image, reference, repository, bed.registry.address())


class Reading:
    """A client on a node that gets paths over one connection and keeps nothing."""

    def __init__(
        self,
        node: Node,
        paths: Sequence[str],
        *,
        port: int = FRONT_PORT,
        last_byte: bool = False,
    ) -> None:
        """Start it, on the node's own network, asking 127.0.0.1.

        Args:
            node: where.
            paths: what to ask for, one after the other.
            port: which server.
            last_byte: read only the last byte of the last path.
        """
        self._node = node
        self._last_byte = last_byte
        words = [str(Path(http_reader.__file__)), "127.0.0.1", str(port)]
        words += ["--last-byte"] if last_byte else []
        self._process = node.popen(
            *(sys.executable, "-I", "-S", *words, *paths),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def result(self, *, size_bytes: int, timeout_s: float = READ_TIMEOUT_S) -> float:
        """Wait for its end; return the seconds that the last path took.

        Args:
            size_bytes: how long the last path's content must be.
            timeout_s: after which it is killed, in seconds.

        Raises:
            BedError: it failed, took longer, or got something else.
        """
        try:
            output, _ = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise BedError(f"{self._node.name}: not read within {timeout_s:g} s") from exc
        if self._process.returncode != 0:
            raise BedError(f"{self._node.name}: {output.decode(errors='replace')[-500:]}")
        status, body_bytes, seconds = json.loads(output)[-1]
        if (status, body_bytes) != ((206, 1) if self._last_byte else (200, size_bytes)):
            raise BedError(f"{self._node.name}: answered {status} with {body_bytes} bytes")
        return float(seconds)

    def kill(self) -> None:
        """End it at once. Harmless if it has ended."""
        self._process.kill()
        self._process.communicate()


def read(node: Node, paths: Sequence[str], *, size_bytes: int, port: int = FRONT_PORT) -> float:
    """Have one client read; return the seconds that the last path took.

    Raises:
        BedError: as `Reading.result`.
    """
    return Reading(node, paths, port=port).result(size_bytes=size_bytes)


def read_together(
    nodes: Sequence[Node], blob: LargeBlob, *, last_byte: bool = False
) -> list[float]:
    """Have a client on each node read manifest and blob at the same time; return each's seconds.

    Args:
        nodes: where.
        blob: what.
        last_byte: read only the blob's last byte.

    Raises:
        BedError: one failed; the others are ended.
    """
    paths = [blob.manifest_path, blob.blob_path]
    readings = [Reading(node, paths, last_byte=last_byte) for node in nodes]
    try:
        return [reading.result(size_bytes=blob.size_bytes) for reading in readings]
    finally:
        for reading in readings:
            reading.kill()


def wait_stored(node: Node, blob: LargeBlob) -> Path:
    """Return the file in the store of the node's agent, once it is verified and kept there.

    Raises:
        BedError: it is not after two minutes.
    """
    digest = blob.spec.digest
    # Source: src/shoal/adapters/store/layout.py; a blob has this name only after its last check.
    file = node.agent.store / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex
    node.agent.service.wait_until(file.exists, timeout_s=STORED_TIMEOUT_S)
    return file
