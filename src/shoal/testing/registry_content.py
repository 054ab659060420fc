"""What an embedded registry holds: blobs, manifests and tags, put there from Python."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.oci.manifests import OCI_INDEX, OCI_MANIFEST, parse_manifest

_HASH_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed."""

    body: bytes
    media_type: str


@dataclass(slots=True)
class Repository:
    """One repository: which blobs it may serve, its manifests and tags."""

    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, StoredManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)


class RegistryContent:
    """Blobs by digest, and repositories that may each serve some of them.

    As in a real registry, holding a blob is not enough to serve it: a repository must have it, by
    a manifest of its own that lists it or because `add_blob` said so.
    """

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes | Path] = {}
        self.repositories: dict[str, Repository] = {}

    def add_blob(
        self, data: bytes | Path, *, repository: str | None = None, algorithm: str = "sha256"
    ) -> Digest:
        """Hold a blob, in memory or as a file that must stay as it is, and return its digest.

        Args:
            data: its bytes, or where they are.
            repository: which one may serve it at once; others may once a manifest lists it.
            algorithm: `sha256` or `sha512`.
        """
        if isinstance(data, bytes):
            hash_ = hashlib.new(algorithm, data)
        else:
            hash_ = hashlib.new(algorithm)
            with data.open("rb") as file:
                while chunk := file.read(_HASH_CHUNK_BYTES):
                    hash_.update(chunk)
        digest = Digest(algorithm, hash_.hexdigest())
        self.blobs[digest] = data
        if repository is not None:
            self.repository(repository).blobs.add(digest)
        return digest

    def add_manifest(
        self,
        repository: str,
        tag: str | None,
        body: bytes,
        media_type: str = OCI_MANIFEST,
        *,
        algorithm: str = "sha256",
    ) -> Digest:
        """Hold a manifest under its digest and, if given, a tag; return the digest.

        What it lists becomes readable in `repository`. A body that is no manifest is held as well:
        tests need those.
        """
        digest = Digest(algorithm, hashlib.new(algorithm, body).hexdigest())
        held = self.repository(repository)
        held.manifests[digest] = StoredManifest(body, media_type)
        if tag is not None:
            held.tags[tag] = digest
        try:
            manifest = parse_manifest(body, media_type)
        except BadInput:
            return digest
        held.blobs.update(item.digest for item in manifest.referenced() if not item.is_foreign)
        return digest

    def add_image(
        self,
        repository: str,
        tag: str,
        layers: list[bytes | Path],
        *,
        config: bytes = b"{}",
        layer_type: str = "application/vnd.oci.image.layer.v1.tar",
    ) -> Digest:
        """Hold an OCI image of these layers and return its manifest's digest."""
        items = [self._descriptor(layer, layer_type) for layer in layers]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": items,
        }
        return self.add_manifest(repository, tag, json.dumps(document).encode())

    def add_layout(self, layout: Path, *, repository: str, tag: str) -> Digest:
        """Serve the one image (or index) of an OCI image layout from its files.

        Returns:
            The digest of the manifest that `index.json` names.
        """
        index = json.loads((layout / "index.json").read_bytes())
        (entry,) = index["manifests"]
        self._add_from_layout(layout, entry, repository)
        digest = Digest.parse(entry["digest"])
        self.repository(repository).tags[tag] = digest
        return digest

    def repository(self, name: str) -> Repository:
        """Return the repository called `name`, made if need be."""
        return self.repositories.setdefault(name, Repository())

    def blob(self, repository: str, digest: Digest) -> bytes | Path | None:
        """Return a blob that `repository` may serve, or None."""
        held = self.repositories.get(repository)
        return self.blobs.get(digest) if held is not None and digest in held.blobs else None

    def manifest(self, repository: str, reference: str | Digest) -> tuple[Digest, Any] | None:
        """Return digest and `StoredManifest` of a tag or digest, or None."""
        held = self.repositories.get(repository)
        if held is None:
            return None
        digest = held.tags.get(reference) if isinstance(reference, str) else reference
        stored = None if digest is None else held.manifests.get(digest)
        return None if digest is None or stored is None else (digest, stored)

    def referrers(self, repository: str, subject: Digest) -> bytes:
        """Return the index of manifests in `repository` whose subject is `subject`."""
        found = []
        held = self.repositories.get(repository, Repository())
        for digest, stored in sorted(held.manifests.items()):
            try:
                manifest = parse_manifest(stored.body, stored.media_type)
            except BadInput:
                continue
            if manifest.subject is None or manifest.subject.digest != subject:
                continue
            entry = {
                "mediaType": stored.media_type,
                "digest": str(digest),
                "size": len(stored.body),
            }
            kind = manifest.artifact_type or (manifest.config and manifest.config.media_type)
            found.append(entry | ({"artifactType": kind} if kind else {}))
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return json.dumps(document).encode()

    def _descriptor(self, data: bytes | Path, media_type: str) -> dict[str, object]:
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        return {"mediaType": media_type, "digest": str(self.add_blob(data)), "size": size}

    def _add_from_layout(self, layout: Path, entry: dict[str, Any], repository: str) -> None:
        digest = Digest.parse(entry["digest"])
        path = layout / "blobs" / digest.algorithm / digest.hex
        body = path.read_bytes()
        self.add_manifest(repository, None, body, entry["mediaType"], algorithm=digest.algorithm)
        document = json.loads(body)
        for child in document.get("manifests", ()):
            self._add_from_layout(layout, child, repository)
        for item in (*document.get("layers", ()), document.get("config")):
            if item is None:
                continue
            blob = Digest.parse(item["digest"])
            path = layout / "blobs" / blob.algorithm / blob.hex
            if path.exists():  # a foreign layer need not be there
                self.blobs[blob] = path


@contextmanager
def reading(data: bytes | Path) -> Iterator[tuple[IO[bytes] | memoryview, int]]:
    """Open a blob: a file, or a view of its bytes, and its length in bytes."""
    if isinstance(data, bytes):
        yield memoryview(data), len(data)
        return
    with data.open("rb") as file:
        yield file, data.stat().st_size
