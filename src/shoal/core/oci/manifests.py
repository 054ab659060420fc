"""Manifests: what an image or an index lists, read without trusting who wrote it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from shoal.core.blob import MAX_BLOB_BYTES, MIB
from shoal.core.digest import Digest
from shoal.core.errors import BadInput

# Source: OCI distribution-spec v1.1, "Pushing Manifests": registries must take at least 4 MiB, and
# containerd, Docker and distribution refuse more.
MAX_MANIFEST_BYTES = 4 * MIB

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"

INDEX_MEDIA_TYPES = frozenset({DOCKER_INDEX, OCI_INDEX})
MANIFEST_MEDIA_TYPES = frozenset(
    {DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT}
)
# What to put into `Accept`, the most specific first.
ACCEPT_MANIFESTS = ", ".join((OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT))

# Some registries and every plain file server label a manifest with one of these; the body's own
# `mediaType` then decides.
_VAGUE_MEDIA_TYPES = frozenset(
    {"", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream"}
)
_FOREIGN_MARKS = (".nondistributable.", ".foreign.")


@dataclass(frozen=True, slots=True)
class Platform:
    """For which machines a manifest of an index is; prints as `linux/arm64/v8`."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content: what it is, its digest and its length in bytes."""

    media_type: str
    digest: Digest
    size_bytes: int
    urls: tuple[str, ...] = ()
    platform: Platform | None = None
    artifact_type: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether the content may live outside the registry.

        True for non-distributable layers and for anything that names URLs. Registries do not check
        that they hold such content, so being listed proves no right to read it.
        """
        return bool(self.urls) or any(mark in self.media_type for mark in _FOREIGN_MARKS)

    @property
    def is_manifest(self) -> bool:
        """Whether it is served by the manifests route rather than by the blobs route."""
        return self.media_type in MANIFEST_MEDIA_TYPES


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image, an artifact or an index of them.

    An index has `manifests` and nothing else; an artifact manifest's blobs are its `layers`.
    """

    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests rather than blobs."""
        return self.media_type in INDEX_MEDIA_TYPES

    def referenced(self) -> tuple[Descriptor, ...]:
        """Return what it lists, in order: config, layers, or child manifests.

        The subject is not among them: a manifest may name a subject that the registry does not
        hold, so naming one proves nothing.
        """
        config = () if self.config is None else (self.config,)
        return (*config, *self.layers, *self.manifests)


def parse_manifest(body: bytes, media_type: str | None) -> Manifest:
    """Read a manifest.

    Args:
        body: as the registry sent it.
        media_type: the answer's Content-Type, parameters and all; where it is missing or vague
            (`application/json`), the body's own `mediaType` is taken.

    Raises:
        BadInput: over 4 MiB, no JSON object, of no known type, of another type than the header
            says, or with a descriptor whose digest or size is malformed.
    """
    if len(body) > MAX_MANIFEST_BYTES:
        raise BadInput(f"manifest of {len(body)} bytes; at most {MAX_MANIFEST_BYTES} are allowed")
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError) as exc:
        raise BadInput("manifest is not JSON in UTF-8") from exc
    if not isinstance(document, dict):
        raise BadInput("manifest is not a JSON object")
    kind = _media_type(document, media_type)
    # CVE-2021-41190: a document that is both could be read as either, by digest the same.
    if kind in INDEX_MEDIA_TYPES:
        strange = {"config", "layers", "blobs", "fsLayers"} & document.keys()
    else:
        strange = {"manifests", "fsLayers"} & document.keys()
    if strange:
        raise BadInput(f"manifest of type {kind} must not have {', '.join(sorted(strange))}")
    if kind in INDEX_MEDIA_TYPES:
        if "manifests" not in document:
            raise BadInput(f"manifest of type {kind} has no manifests")
    elif kind != OCI_ARTIFACT and not {"config", "layers"} <= document.keys():
        raise BadInput(f"manifest of type {kind} has no config or no layers")
    return Manifest(
        media_type=kind,
        config=_optional(document, "config") if kind != OCI_ARTIFACT else None,
        layers=_descriptors(document, "blobs" if kind == OCI_ARTIFACT else "layers"),
        manifests=_descriptors(document, "manifests"),
        subject=_optional(document, "subject"),
        artifact_type=_text(document, "artifactType"),
    )


def bare_media_type(content_type: str | None) -> str:
    """Return a Content-Type without its parameters, in lower case; "" for None."""
    return (content_type or "").partition(";")[0].strip().lower()


def _media_type(document: Mapping[str, Any], content_type: str | None) -> str:
    said = bare_media_type(content_type)
    own = _text(document, "mediaType")
    if document.get("schemaVersion") != 2 and OCI_ARTIFACT not in (said, own):
        raise BadInput(
            f"manifest has schemaVersion {str(document.get('schemaVersion'))[:16]!r}; only 2 is "
            "supported"
        )
    if said in _VAGUE_MEDIA_TYPES:
        said = own
    if said not in MANIFEST_MEDIA_TYPES:
        raise BadInput(f"not a manifest type: {said[:160]!r}")
    if own and own != said:
        raise BadInput(f"manifest calls itself {own[:160]!r} but was sent as {said!r}")
    return intern(said)  # one of five, and remembered with each image


def _optional(document: Mapping[str, Any], key: str) -> Descriptor | None:
    value = document.get(key)
    return None if value is None else _descriptor(value, key)


def _descriptors(document: Mapping[str, Any], key: str) -> tuple[Descriptor, ...]:
    values = document.get(key)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise BadInput(f"{key} of the manifest is not a list")
    return tuple(_descriptor(value, f"{key}[{i}]") for i, value in enumerate(values))


def _descriptor(value: object, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise BadInput(f"{where} of the manifest is not an object")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str):
        raise BadInput(f"{where} of the manifest has no digest")
    # A bool is an int to Python, not to JSON.
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_BYTES:
        raise BadInput(f"{where} of the manifest has size {str(size)[:32]!r}; expected bytes")
    urls = value.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise BadInput(f"{where} of the manifest has urls that are not a list of strings")
    return Descriptor(
        media_type=_text(value, "mediaType"),
        digest=Digest.parse(digest),
        size_bytes=size,
        urls=tuple(urls),
        platform=_platform(value.get("platform"), where),
        artifact_type=_text(value, "artifactType"),
    )


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadInput(f"{where} of the manifest has a platform that is not an object")
    return Platform(
        os=_text(value, "os"),
        architecture=_text(value, "architecture"),
        variant=_text(value, "variant"),
        os_version=_text(value, "os.version"),
    )


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInput(f"{key} of the manifest is not a string")
    return value
