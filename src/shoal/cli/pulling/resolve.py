"""From a reference to one image: the manifest's bytes, checked, for the wanted platform."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from shoal.adapters.layout.base import Image
from shoal.adapters.origin.client import OriginAnswer
from shoal.cli.pulling.failures import DataWrong, NotFound
from shoal.cli.pulling.place import Place, Retries
from shoal.cli.pulling.platforms import choose
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, OriginError
from shoal.core.oci.manifests import (
    ACCEPT_MANIFESTS,
    Manifest,
    Platform,
    bare_media_type,
    parse_manifest,
)
from shoal.core.reference import Reference

_MAX_DEPTH = 4  # an index may list indexes; more than one level has not been seen in the wild
_HEADERS = {"Accept": ACCEPT_MANIFESTS}


@dataclass(frozen=True, slots=True)
class _Fetched:
    digest: Digest
    body: bytes
    manifest: Manifest


async def resolve(
    place: Place, reference: Reference, *, platform: Platform, warn: Callable[[str], None]
) -> Image:
    """Return the image that `reference` names, as containerd would ask for it.

    Args:
        place: whom to ask.
        reference: what is wanted.
        platform: which entry of an index to take.
        warn: told what the user should know though the pull goes on.

    Raises:
        NotFound: no such image, or none for `platform`.
        DataWrong: a manifest is not what its digest says, or is none.
        OriginDenied, OriginError: as `Place.ask`.
    """
    digest = reference.digest or await _digest_of_tag(place, reference, warn=warn)
    found = await _fetch(place, digest if digest is not None else str(reference.tag))
    for _ in range(_MAX_DEPTH):
        if not found.manifest.is_index:
            return Image(reference, found.manifest, found.digest, found.body)
        entry = choose(found.manifest.manifests, platform)
        if entry is None:
            offered = sorted(
                {str(it.platform) for it in found.manifest.manifests if it.platform is not None}
                - {"unknown/unknown"}  # attestations, which build tools list beside images
            )
            raise NotFound(
                f"{reference} has nothing for {platform}; it has {', '.join(offered) or 'nothing'}"
            )
        child = await _fetch(place, entry.digest)
        if not child.manifest.is_index:
            return Image(reference, child.manifest, child.digest, child.body, entry.platform)
        found = child
    raise DataWrong(f"{reference}: an index in an index, more than {_MAX_DEPTH} deep")


async def _digest_of_tag(
    place: Place, reference: Reference, *, warn: Callable[[str], None]
) -> Digest | None:
    """Return what a HEAD says that the tag is, or None if it does not say."""
    answer = await _asked(place, "HEAD", f"manifests/{reference.tag}")
    stale = [text for text in answer.headers.getall("Warning", []) if text.startswith("110")]
    if stale:
        warn(f"{reference.registry} cannot be reached; {reference} is as it was when last seen")
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except BadInput:
        return None  # a GET by tag will do; its body has the digest


async def _fetch(place: Place, target: Digest | str) -> _Fetched:
    answer = await _asked(place, "GET", f"manifests/{target}")
    said = answer.headers.get("Docker-Content-Digest", "")
    if isinstance(target, Digest):
        digest = target
    else:
        try:
            digest = Digest.parse(said)
        except BadInput:
            digest = Digest("sha256", hashlib.sha256(answer.body).hexdigest())
    if hashlib.new(digest.algorithm, answer.body).hexdigest() != digest.hex:
        raise DataWrong(f"{place.name}: manifest {target} is not what its digest {digest} says")
    try:
        manifest = parse_manifest(answer.body, bare_media_type(answer.headers.get("Content-Type")))
    except BadInput as exc:
        raise DataWrong(f"{place.name}: manifest {target}: {exc}") from exc
    return _Fetched(digest, answer.body, manifest)


async def _asked(place: Place, method: str, path: str) -> OriginAnswer:
    retries = Retries(place)
    while True:
        try:
            return await place.ask(method, path, headers=_HEADERS)
        except OriginError as exc:
            if method == "HEAD" and exc.status == 405:
                method = "GET"
                continue
            if not await retries.again(exc):
                raise
