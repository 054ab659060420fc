"""The client for registries: the only place from which Shoal asks one."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Protocol

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from shoal.adapters.origin.body import BodyReader, Chunks, ExactChunks
from shoal.adapters.origin.config import Bounds, RegistryConfig
from shoal.adapters.origin.connections import Connections, Opened, retry_after_s
from shoal.adapters.origin.content import check_content, status_error
from shoal.adapters.origin.known import KnownRegistries
from shoal.adapters.origin.left_alone import LeftAlone
from shoal.adapters.origin.pace import Pace
from shoal.adapters.origin.signed_urls import SignedUrls, lifetime_s
from shoal.adapters.origin.targets import check_listed_realm
from shoal.core.blob import BlobSpec, ContentKind
from shoal.core.errors import BadInput, OriginError, OriginLied
from shoal.core.oci.manifests import ACCEPT_MANIFESTS, MAX_MANIFEST_BYTES
from shoal.core.oci.ranges import ByteRange, parse_content_range
from shoal.core.reference import canonical_registry

_MAX_TOKEN_BYTES = 1024 * 1024  # tokens are some KiB


class Grant(Protocol):
    """By which right a registry is asked; the agent's OriginGrant is one."""

    @property
    def repository(self) -> str:
        """The repository in which the content is asked for."""
        ...

    @property
    def authorization(self) -> str | None:
        """The Authorization header's value, or None for anonymous."""
        ...


@dataclass(frozen=True, slots=True)
class OriginAnswer:
    """A registry's whole answer; `headers` compare without case. The body may be a secret."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def retry_after_s(self) -> float | None:
        """What `Retry-After` says, in seconds from now, or None."""
        return retry_after_s(self.headers)


@dataclass(frozen=True, slots=True)
class OriginStream:
    """A registry's answer whose body is still arriving."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    chunks: AsyncIterator[bytes] = field(repr=False)


class OriginClient:
    """Asks the configured registries, and no other host but those they redirect to.

    Connecting takes at most 3 s, the headers of an answer at most 6 s, and a body that moves less
    than 4 KiB in 6 s of waiting is given up. An Authorization header goes to the registry's own
    host and port only, never to where it redirects.

    Use as an async context manager, or call `close`. Connections are opened as needed and kept.
    """

    def __init__(
        self,
        registries: Sequence[RegistryConfig],
        *,
        bounds: Bounds | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Know `registries`; reads their `ca_file`s.

        Args:
            registries: those that may be asked.
            bounds: how long they are waited for.
            pace: what the bytes of blobs are kept to, if anything.

        Raises:
            SettingsError: two registries have a name or alias in common, or a `ca_file` is wrong.
        """
        self._bounds = bounds if bounds is not None else Bounds()
        self._pace = pace
        self._known = KnownRegistries(registries)
        self._connections: dict[str, Connections] = {}
        self._retired: list[Connections] = []
        self._signed_urls = SignedUrls()
        self._left_alone = LeftAlone()
        self._mark_key = os.urandom(32)

    async def __aenter__(self) -> "OriginClient":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        while self._connections:
            _, connections = self._connections.popitem()
            self._retired.append(connections)
        while self._retired:
            await self._retired.pop().close()

    def know(self, registries: KnownRegistries) -> None:
        """Ask these registries from now on, and no others; what is under way goes on."""
        before, self._known = self._known, registries
        for name in list(self._connections):
            if before.by_name.get(name) != registries.by_name.get(name):
                # Not closed: a body may be on its way. Idle connections close by themselves.
                self._retired.append(self._connections.pop(name))
        self._signed_urls = SignedUrls()  # a registry may redirect elsewhere now

    def registry_for(self, name: str) -> RegistryConfig | None:
        """Return the registry that `name` (or an alias of it) is configured as, or None."""
        try:
            return self._known.by_name.get(canonical_registry(name))
        except BadInput:
            return None

    async def ask(
        self,
        registry: RegistryConfig,
        method: str,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
        max_body_bytes: int = MAX_MANIFEST_BYTES,
    ) -> OriginAnswer:
        """Ask for something small: a manifest, tags, referrers, `/v2/`, or HEAD of anything.

        Redirects are followed, at most 5. Every status is returned as it is, 401 with its
        challenges and 404 too.

        Args:
            registry: one of the configured.
            method: GET or HEAD.
            path_and_query: as on the wire, beginning with `/v2/`.
            headers: of these only Accept, Authorization, Range, If-Range, If-None-Match and
                If-Match are sent on.
            max_body_bytes: a longer body of a 2xx is an error, of any other status left out.

        Raises:
            OriginLied: the body is longer than allowed or has a content-encoding.
            OriginError: no answer in time, refused, a redirect loop, or a redirect to an address
                that is not allowed.
        """
        connections = self._connections_of(registry)
        what = f"{registry.name}: {method} {path_and_query.partition('?')[0][:512]}"
        url = connections.url(path_and_query)
        sent = CIMultiDict(headers)
        async with await connections.open(method, url, headers=sent, what=what) as opened:
            answer = await _whole(opened, self._bounds, what=what, max_body_bytes=max_body_bytes)
        if method == "HEAD" and opened.is_away and answer.status in (403, 405, 501):
            return await self._ask_length(connections, url, sent, what=what, refused=answer)
        return answer

    @asynccontextmanager
    async def stream(
        self,
        registry: RegistryConfig,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
    ) -> AsyncIterator[OriginStream]:
        """Open a GET whose body is passed through without being kept; else as `ask`.

        Entering gives status and headers at once; iterating `chunks` raises OriginError when the
        registry stops before the length that it promised.
        """
        connections = self._connections_of(registry)
        what = f"{registry.name}: GET {path_and_query.partition('?')[0][:512]}"
        opening = connections.open(
            "GET", connections.url(path_and_query), headers=CIMultiDict(headers), what=what
        )
        async with await opening as opened:
            response = opened.response
            reader = BodyReader(
                response, what=what, bounds=self._bounds, pace=self._pace, flow=path_and_query
            )
            chunks = Chunks(reader)
            yield OriginStream(response.status, response.headers, chunks)

    async def ask_realm(
        self,
        registry: RegistryConfig,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        only_listed: bool = False,
    ) -> OriginAnswer:
        """Ask a token realm that this registry named in a challenge; no redirect is followed.

        The Authorization in `headers` goes to the realm. The realm must be https unless the
        registry is plain HTTP, and its address allowed as a redirect's must be.

        Args:
            registry: which named it.
            method: GET or POST.
            url: the realm, with the query.
            headers: sent as they are.
            body: of a POST.
            only_listed: the credential is this node's own: only the registry's own host and its
                `realm_hosts` may have it.

        Raises:
            OriginDenied: the realm is not listed.
            OriginError: as `ask`.
        """
        connections = self._connections_of(registry)
        try:
            realm = URL(url, encoded=True)
        except ValueError as exc:
            raise OriginError(f"{registry.name}: token realm is not a URL") from exc
        if only_listed:
            check_listed_realm(registry, realm)
        what = f"{registry.name}: {method} token realm {realm.raw_host}"
        opening = connections.ask_realm(method, realm, headers=headers, body=body, what=what)
        async with await opening as opened:
            return await _whole(opened, self._bounds, what=what, max_body_bytes=_MAX_TOKEN_BYTES)

    @asynccontextmanager
    async def fetch(
        self, spec: BlobSpec, grant: Grant, *, start: int, end: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open bytes [start, end) of a blob or manifest at the registry or its storage.

        See `shoal.agent.ports.Origin.fetch`, which this fulfils. An OriginLied with `status` 200
        means that the registry ignores Range for this blob: it can only be asked for whole.

        Where a registry has said `Retry-After`, it is not asked again before; the error says 429
        and how long that is.
        """
        if not 0 <= start <= end <= spec.length_bytes:
            raise ValueError(f"bytes {start}..{end} are not within {spec.length_bytes}")
        registry = self.registry_for(spec.registry)
        if registry is None:
            raise OriginError(f"registry {spec.registry!r} is not configured")
        if start == end:
            yield _Nothing()
            return
        what = f"{registry.name}: {spec.kind} {spec.digest} of {grant.repository}"
        is_whole = start == 0 and end == spec.length_bytes
        # Registries do not serve parts of manifests, and those are small: take all and cut.
        asked = None if is_whole or spec.kind is ContentKind.MANIFEST else ByteRange(start, end)
        key = (registry.name, grant.repository, str(spec.digest), self._mark(grant.authorization))
        now_s = asyncio.get_running_loop().time()
        if (wait_s := self._left_alone.wait_s(key, now_s=now_s)) > 0:
            raise OriginError(
                f"{what}: the registry asks to be left alone for {wait_s:.0f} s more",
                status=429,
                retry_after_s=wait_s,
            )
        opening = self._open_content(registry, spec, grant, asked, key=key, what=what)
        try:
            opened = await opening
        except OriginError as error:
            self._left_alone.ask_later(key, error.retry_after_s or 0.0, now_s=now_s)
            raise
        async with opened:
            try:
                check_content(opened, spec, asked, what=what)
            except OriginLied:
                self._signed_urls.forget(key)
                raise
            self._remember(key, opened)
            reader = BodyReader(
                opened.response,
                what=what,
                bounds=self._bounds,
                is_long=True,
                pace=self._pace,
                flow=spec.tag,
            )
            if asked is not None:
                yield ExactChunks(reader, what=what, size_bytes=asked.size_bytes)
            else:
                yield ExactChunks(
                    reader,
                    what=what,
                    skip_bytes=start,
                    size_bytes=end - start,
                    rest_bytes=spec.length_bytes - end,
                )

    def _connections_of(self, registry: RegistryConfig) -> Connections:
        if self._known.by_name.get(registry.name) != registry:
            raise OriginError(f"registry {registry.name!r} is not configured")
        connections = self._connections.get(registry.name)
        if connections is None:
            connections = Connections(
                registry, tls=self._known.tls[registry.name], bounds=self._bounds
            )
            self._connections[registry.name] = connections
        return connections

    async def _open_content(
        self,
        registry: RegistryConfig,
        spec: BlobSpec,
        grant: Grant,
        asked: ByteRange | None,
        *,
        key: tuple[str, ...],
        what: str,
    ) -> Opened:
        connections = self._connections_of(registry)
        headers: CIMultiDict[str] = CIMultiDict()
        if asked is not None:
            headers["Range"] = asked.header
        signed = self._signed_urls.get(key, now_s=asyncio.get_running_loop().time())
        if signed is not None:
            opened = await self._open_signed(connections, signed, headers, what=what)
            if opened is not None:
                return opened
            self._signed_urls.forget(key)
        if grant.authorization is not None:
            headers["Authorization"] = grant.authorization
        if spec.kind is ContentKind.MANIFEST:
            headers["Accept"] = ACCEPT_MANIFESTS
        route = "manifests" if spec.kind is ContentKind.MANIFEST else "blobs"
        url = connections.url(f"/v2/{grant.repository}/{route}/{spec.digest}")
        opened = await connections.open("GET", url, headers=headers, what=what)
        if opened.response.status not in (200, 206):
            opened.response.close()
            raise status_error(opened, what=what)
        return opened

    def _remember(self, key: tuple[str, ...], opened: Opened) -> None:
        if opened.redirect is None:
            return
        lifetime = lifetime_s(opened.url, headers=opened.redirect.headers, now=datetime.now(UTC))
        if lifetime > 0:
            until_s = asyncio.get_running_loop().time() + lifetime
            self._signed_urls.put(key, opened.url, until_s=until_s)

    async def _open_signed(
        self, connections: Connections, url: URL, headers: Mapping[str, str], *, what: str
    ) -> Opened | None:
        """Ask the storage directly; None means: ask the registry for a new URL."""
        try:
            opened = await connections.open("GET", url, headers=headers, what=what, is_away=True)
        except OriginLied:
            raise
        except OriginError:
            return None
        status = opened.response.status
        if status in (200, 206):
            return opened
        opened.response.close()
        # Busy storage is as busy for a new URL. Any other refusal may be the old URL's fault:
        # Amazon and Azure say 403 to an expired one, Google 400.
        if status in (416, 429) or status >= 500:
            raise status_error(opened, what=what)
        return None

    async def _ask_length(
        self,
        connections: Connections,
        url: URL,
        headers: Mapping[str, str],
        *,
        what: str,
        refused: OriginAnswer,
    ) -> OriginAnswer:
        """Answer a HEAD that the storage refuses: a URL signed for GET allows no HEAD."""
        ranged = CIMultiDict(headers)
        ranged["Range"] = "bytes=0-0"
        async with await connections.open("GET", url, headers=ranged, what=what) as opened:
            response = opened.response
            length: str | None = None
            if response.status == 206:
                try:
                    said = parse_content_range(response.headers.get("Content-Range", ""))
                except BadInput as exc:
                    raise OriginLied(f"{what}: {exc}", status=206) from exc
                length = None if said.length_bytes is None else str(said.length_bytes)
            elif response.status == 200:
                length = response.headers.get("Content-Length")
            if length is None:
                return refused
            kept = CIMultiDict(response.headers)
            kept.popall("Content-Range", None)
            kept["Content-Length"] = length
            return OriginAnswer(200, CIMultiDictProxy(kept), b"")

    def _mark(self, authorization: str | None) -> str:
        if authorization is None:
            return ""
        return blake2b(authorization.encode(), key=self._mark_key, digest_size=16).hexdigest()


class _Nothing(AsyncIterator[bytes]):
    """The bytes of an empty stretch."""

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


async def _whole(opened: Opened, bounds: Bounds, *, what: str, max_body_bytes: int) -> OriginAnswer:
    """Read a small answer to its end."""
    response = opened.response
    is_good = response.status < 300
    body = bytearray()
    reader = BodyReader(response, what=what, bounds=bounds)
    try:
        async with asyncio.timeout(bounds.whole_s):
            while chunk := await reader.read():
                body += chunk
                if len(body) > max_body_bytes:
                    break
    except TimeoutError:
        raise OriginError(f"{what}: not at its end after {bounds.whole_s:g} s") from None
    if len(body) > max_body_bytes:
        if is_good:
            raise OriginLied(f"{what}: longer than {max_body_bytes} bytes", status=response.status)
        body.clear()
    return OriginAnswer(response.status, response.headers, bytes(body))
