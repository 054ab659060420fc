"""Manifests: a tag is always the registry's to resolve; a digest is content like any blob.

| the registry | the client gets |
|---|---|
| 200 | the manifest, after its bytes were checked against the digest |
| 401, 403 | the same, challenges and all; what was remembered for the credential is forgotten |
| 404 and other 4xx | the same |
| 408, 429, 5xx, no answer, no manifest, over 4 MiB, wrong bytes | 404, so that containerd asks it |
| no answer, and the tag was seen before by this credential | that manifest, with `Warning: 110` |
"""

import asyncio
import hashlib
from dataclasses import dataclass, field

from aiohttp import web

from shoal.adapters.origin.client import OriginAnswer
from shoal.agent.front.answers import API_VERSION, Cause, Code, Refusal
from shoal.agent.front.asking import (
    Exchange,
    RegistryClient,
    ask,
    is_unreachable,
    passed_on,
    unavailable,
)
from shoal.agent.front.gate import Gate, content_length
from shoal.agent.front.journal import Journal
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.small_content import read_whole
from shoal.agent.ports import Transfers
from shoal.core.blob import BlobSpec, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, OriginError, ShoalError
from shoal.core.oci.manifests import (
    ACCEPT_MANIFESTS,
    MANIFEST_MEDIA_TYPES,
    MAX_MANIFEST_BYTES,
    Manifest,
    bare_media_type,
    parse_manifest,
)
from shoal.core.oci.routes import ManifestRoute
from shoal.core.trust.access import Access, Facts, Standing
from shoal.core.trust.tags import TagMemory

# Source: RFC 7234 section 5.5.1. RFC 9111 obsoleted the header without a successor; the pull
# succeeds either way, and the mark is for people.
_STALE = {"Warning": '110 shoal "the registry cannot be reached; this tag may have moved"'}


@dataclass(frozen=True, slots=True)
class _Content:
    """A manifest whose bytes, if they are here, are what the digest says."""

    digest: Digest
    media_type: str
    length_bytes: int
    body: bytes | None = field(default=None, repr=False)


class ManifestAnswers:
    """Answers GET and HEAD of manifests."""

    def __init__(
        self,
        client: RegistryClient,
        gate: Gate,
        transfers: Transfers,
        *,
        journal: Journal,
        limits: FrontLimits,
        tags: TagMemory,
    ) -> None:
        self._client = client
        self._gate = gate
        self._transfers = transfers
        self._journal = journal
        self._limits = limits
        self._tags = tags

    async def answer(self, exchange: Exchange, route: ManifestRoute) -> web.Response:
        """Return the answer to a request for a manifest.

        Raises:
            Refusal: there is none.
        """
        try:
            async with asyncio.timeout(self._limits.progress_s):
                if isinstance(route.reference, Digest):
                    return await self._by_digest(exchange, route.reference)
                return await self._by_tag(exchange, route.reference)
        except TimeoutError as error:
            raise Refusal(
                f"no manifest within {self._limits.progress_s:g} s",
                cause=Cause.REGISTRY_UNAVAILABLE,
            ) from error

    async def _by_tag(self, exchange: Exchange, tag: str) -> web.Response:
        asked_s = self._gate.now_s()
        try:
            answer = await self._ask(exchange, exchange.request.method)
            if exchange.is_head and answer.status == 200 and not _says_enough(answer):
                # containerd would now ask for the whole of it: so do we, and have it at hand.
                answer = await self._ask(exchange, "GET")
        except OriginError as error:
            if not is_unreachable(error):
                raise unavailable(error) from error
            stale = await self._stale(exchange, tag)
            if stale is None:
                raise unavailable(error) from error
            self._journal.refused(
                Cause.REGISTRY_UNAVAILABLE,
                f"served tag {tag} as last seen: {error}",
                fields=exchange.fields,
            )
            return stale
        if answer.status != 200:
            if answer.status == 404:
                self._tags.forget(exchange.holder, tag)
            return self._refused(exchange, answer)
        content = self._learn(exchange, answer, wanted=None, asked_s=asked_s)
        facts = Facts(content.length_bytes, content.media_type, ContentKind.MANIFEST)
        self._tags.remember(exchange.holder, tag, content.digest, facts, now_s=self._gate.now_s())
        return _response(exchange, content)

    async def _by_digest(self, exchange: Exchange, digest: Digest) -> web.Response:
        access = self._gate.manifest_access(exchange.holder, digest)
        if access.standing is Standing.YES:
            content = await self._known(exchange, digest, access)
            if content is not None:
                return _response(exchange, content)
        asked_s = self._gate.now_s()
        try:
            answer = await self._ask(exchange, exchange.request.method)
        except OriginError as error:
            counts = access.standing is not Standing.UNKNOWN and is_unreachable(error)
            content = await self._only_known(exchange, digest, access) if counts else None
            if content is None:
                raise unavailable(error) from error
            return _response(exchange, content)
        if answer.status != 200:
            if answer.status == 404:
                self._gate.gone(exchange.holder, digest, ContentKind.MANIFEST)
            return self._refused(exchange, answer)
        return _response(exchange, self._learn(exchange, answer, wanted=digest, asked_s=asked_s))

    async def _ask(self, exchange: Exchange, method: str) -> OriginAnswer:
        accept = ", ".join(exchange.request.headers.getall("Accept", ())) or ACCEPT_MANIFESTS
        return await ask(
            self._client,
            exchange,
            method,
            exchange.target.route.path,
            accept=accept,
            timeout_s=self._limits.ask_s,
        )

    def _refused(self, exchange: Exchange, answer: OriginAnswer) -> web.Response:
        if answer.status in (401, 403):
            self._gate.refused(exchange.holder)
        return passed_on(answer, exchange.target)

    def _learn(
        self, exchange: Exchange, answer: OriginAnswer, *, wanted: Digest | None, asked_s: float
    ) -> _Content:
        """Check a registry's 200, and record the access that it proves.

        Raises:
            Refusal: it is no manifest, or not the one that it claims to be.
        """
        try:
            if not exchange.is_head or answer.body:
                content, manifest = _checked(answer, wanted)
            else:
                content, manifest = _claimed(answer, wanted), None
        except BadInput as error:
            raise Refusal(
                f"{exchange.config.name} sent no usable manifest: {error}",
                cause=Cause.CONTENT_WRONG,
                code=Code.MANIFEST_UNKNOWN,
            ) from error
        facts = Facts(content.length_bytes, content.media_type, ContentKind.MANIFEST)
        self._gate.granted(exchange.holder, content.digest, facts, asked_s=asked_s)
        if manifest is not None:
            self._gate.read(exchange, content.digest, manifest)
        if content.body is not None:
            # For peers, and for an outage: clients that ask by tag alone read it from here only.
            spec = BlobSpec(
                exchange.config.name, content.digest, content.length_bytes, ContentKind.MANIFEST
            )
            self._transfers.keep(spec, content.body)
        return content

    async def _stale(self, exchange: Exchange, tag: str) -> web.Response | None:
        """Return what this credential last saw under `tag`, if it may still have it."""
        record = self._tags.last(exchange.holder, tag)
        if record is None or not exchange.target.registry.serve_stale_tags:
            return None
        access = self._gate.manifest_access(exchange.holder, record.digest)
        if access.standing is Standing.UNKNOWN:
            return None
        content = await self._only_known(exchange, record.digest, access)
        return None if content is None else _response(exchange, content, _STALE)

    async def _known(
        self, exchange: Exchange, digest: Digest, access: Access, *, timeout_s: float | None = None
    ) -> _Content | None:
        """Return a manifest without asking the registry for it, or None if that cannot be done."""
        length, media_type = access.facts.length_bytes, access.facts.media_type
        if length is None or length > MAX_MANIFEST_BYTES:
            return None
        if exchange.is_head and media_type in MANIFEST_MEDIA_TYPES:
            return _Content(digest, media_type or "", length)
        spec = BlobSpec(exchange.config.name, digest, length, ContentKind.MANIFEST)
        try:
            timeout_s = timeout_s or self._limits.swarm_manifest_s
            body = await read_whole(self._transfers, spec, exchange.grant, timeout_s=timeout_s)
            manifest = parse_manifest(body, media_type)
        except ShoalError as error:
            self._journal.refused(
                Cause.TRANSFER_FAILED,
                f"asking the registry for the manifest instead: {error}",
                fields=exchange.fields,
            )
            return None
        self._gate.read(exchange, digest, manifest)
        return _Content(digest, manifest.media_type, len(body), body)

    async def _only_known(
        self, exchange: Exchange, digest: Digest, access: Access
    ) -> _Content | None:
        """Do the same when the registry cannot be asked: peers then have all the time there is."""
        return await self._known(exchange, digest, access, timeout_s=self._limits.progress_s)


def _says_enough(head: OriginAnswer) -> bool:
    """Whether the answer to a HEAD has all that containerd needs, and a type to be trusted."""
    return (
        "Docker-Content-Digest" in head.headers
        and content_length(head) is not None
        and bare_media_type(head.headers.get("Content-Type")) in MANIFEST_MEDIA_TYPES
    )


def _claimed(head: OriginAnswer, wanted: Digest | None) -> _Content:
    """Return what a HEAD says.

    Raises:
        BadInput: no manifest, over-long, or another digest than the one asked for.
    """
    media_type = bare_media_type(head.headers.get("Content-Type"))
    if media_type not in MANIFEST_MEDIA_TYPES:
        raise BadInput(f"not a manifest type: {media_type[:160]!r}")
    length = content_length(head)
    if length is None or length > MAX_MANIFEST_BYTES:
        said = head.headers.get("Content-Length", "")
        raise BadInput(f"manifest of {said[:32]!r} bytes; at most {MAX_MANIFEST_BYTES} are allowed")
    said_digest = head.headers.get("Docker-Content-Digest")
    digest = Digest.parse(said_digest) if said_digest else wanted
    if digest is None or (wanted is not None and digest != wanted):
        raise BadInput(f"the answer is about {digest}, not {wanted}")
    return _Content(digest, media_type, length)


def _checked(answer: OriginAnswer, wanted: Digest | None) -> tuple[_Content, Manifest]:
    """Return a manifest whose bytes were compared with its digest.

    Raises:
        BadInput: they differ, or it is no manifest.
    """
    said = answer.headers.get("Docker-Content-Digest")
    digest = wanted or (Digest.parse(said) if said else None)
    algorithm = digest.algorithm if digest else "sha256"
    actual = Digest.parse(f"{algorithm}:{hashlib.new(algorithm, answer.body).hexdigest()}")
    if digest is not None and actual != digest:
        raise BadInput(f"the bytes are {actual}, not {digest}")
    manifest = parse_manifest(answer.body, answer.headers.get("Content-Type"))
    return _Content(actual, manifest.media_type, len(answer.body), answer.body), manifest


def _response(
    exchange: Exchange, content: _Content, extra: dict[str, str] | None = None
) -> web.Response:
    headers = {
        **API_VERSION,
        "Content-Type": content.media_type,
        "Docker-Content-Digest": str(content.digest),
        "ETag": f'"{content.digest}"',
        **(extra or {}),
    }
    if exchange.is_head:
        headers["Content-Length"] = str(content.length_bytes)
        return web.Response(headers=headers)
    return web.Response(body=content.body, headers=headers)
