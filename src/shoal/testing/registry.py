"""A registry in a process of one's own, for tests and the demo: the pull half of the API.

It behaves as real ones do, down to storage that refuses an Authorization beside a signature, and
misbehaves on request.
"""

import asyncio
import json
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never
from urllib.parse import parse_qs

from aiohttp import web

from shoal.adapters.origin.config import RegistryConfig
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.oci.routes import (
    BlobRoute,
    CatalogRoute,
    ManifestRoute,
    PingRoute,
    ReferrersRoute,
    Route,
    TagsRoute,
    parse_route,
)
from shoal.testing.registry_auth import AuthMode, RegistryAuth
from shoal.testing.registry_body import BodySender, RateCap
from shoal.testing.registry_content import RegistryContent
from shoal.testing.registry_faults import (
    Answer,
    Disconnect,
    Fault,
    FaultRule,
    Hang,
    Oversize,
    Redirect,
)
from shoal.testing.registry_signing import UrlSigner

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MAX_LOG = 10_000
_ERROR_CODES = {
    400: "NAME_INVALID",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "MANIFEST_UNKNOWN",
    405: "UNSUPPORTED",
    429: "TOOMANYREQUESTS",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    route: str
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    client_port: int = 0


@dataclass(slots=True)
class Counters:
    """What was asked and sent, on both ports, since the last `clear`."""

    blob_body_bytes: Counter[str] = field(default_factory=Counter)
    """Body bytes of blobs, by digest, as handed to the kernel."""
    requests: Counter[str] = field(default_factory=Counter)
    """Requests, by `METHOD route`, such as `GET blobs`; storage's are `GET storage`."""

    @property
    def total_blob_body_bytes(self) -> int:
        """Body bytes of all blobs."""
        return self.blob_body_bytes.total()

    def clear(self) -> None:
        """Begin to count anew."""
        self.blob_body_bytes.clear()
        self.requests.clear()


class EmbeddedRegistry:
    """An OCI registry on a port of its own: `async with EmbeddedRegistry() as registry`.

    `content` may be changed at any time. With `redirect_blobs` a second port plays object storage
    that takes signed URLs for one method and a limited time.
    """

    def __init__(
        self,
        *,
        content: RegistryContent | None = None,
        auth: RegistryAuth | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        redirect_blobs: bool = False,
        signed_url_lifetime_s: int = 300,
        rate_bytes_per_s: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            content: what it holds; empty if None.
            auth: who may read what; anybody everything if None.
            host: address to listen on.
            port: 0 for a free one.
            redirect_blobs: answer blobs with a redirect to the storage port.
            signed_url_lifetime_s: how long such a redirect is good.
            rate_bytes_per_s: cap on the bodies of all connections together; None: none.
            tls: serve HTTPS with it, on both ports.
        """
        self.content = content if content is not None else RegistryContent()
        self.auth = auth if auth is not None else RegistryAuth()
        self.counters = Counters()
        self.log: deque[Seen] = deque(maxlen=_MAX_LOG)
        self.redirect_blobs = redirect_blobs
        self.signer = UrlSigner(lifetime_s=signed_url_lifetime_s)
        self._host = host
        self._wanted_port = port
        self._tls = tls
        self._sender = BodySender(
            RateCap(rate_bytes_per_s) if rate_bytes_per_s is not None else None,
            self.counters.blob_body_bytes,
        )
        self._faults: list[FaultRule] = []
        self._runners: list[web.AppRunner] = []
        self._ports = (0, 0)

    async def __aenter__(self) -> "EmbeddedRegistry":
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        port = await self._listen(self._handle, self._wanted_port)
        self._ports = (port, await self._listen(self._handle_storage, 0))

    async def stop(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        while self._runners:
            await self._runners.pop().cleanup()

    @property
    def address(self) -> str:
        """`host:port`, as references name it."""
        return self._address(self._ports[0])

    @property
    def url(self) -> str:
        """`http://host:port` or `https://host:port`."""
        return f"{self._scheme}://{self.address}"

    @property
    def storage_address(self) -> str:
        """`host:port` of the storage."""
        return self._address(self._ports[1])

    def config(
        self,
        *,
        ca_file: Path | None = None,
        redirect_hosts: tuple[str, ...] = (),
        allow_private_redirects: bool = False,
    ) -> RegistryConfig:
        """Return what a client has to be told to ask this registry."""
        return RegistryConfig(
            name=self.address,
            url=self.url,
            plain_http=self._tls is None,
            ca_file=ca_file,
            redirect_hosts=redirect_hosts,
            allow_private_redirects=allow_private_redirects,
        )

    def add_blob(
        self, data: bytes | Path, *, repository: str | None = None, algorithm: str = "sha256"
    ) -> Digest:
        """Hold a blob: see `RegistryContent.add_blob`."""
        return self.content.add_blob(data, repository=repository, algorithm=algorithm)

    def add_manifest(
        self, repository: str, tag: str | None, body: bytes, media_type: str
    ) -> Digest:
        """Hold a manifest: see `RegistryContent.add_manifest`."""
        return self.content.add_manifest(repository, tag, body, media_type)

    def fail(
        self,
        fault: Fault,
        *,
        route: str | None = None,
        digest: Digest | None = None,
        method: str | None = None,
        skip: int = 0,
        times: int | None = None,
    ) -> FaultRule:
        """Let matching requests meet `fault`; the first rule that matches counts."""
        rule = FaultRule(fault, route, digest, method, skip, times)
        self._faults.append(rule)
        return rule

    def heal(self) -> None:
        """Forget every fault."""
        self._faults.clear()

    async def _listen(self, handler: _Handler, port: int) -> int:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, self._host, port, ssl_context=self._tls)
        await site.start()
        return int(runner.addresses[0][1])

    @property
    def _scheme(self) -> str:
        return "http" if self._tls is None else "https"

    def _address(self, port: int) -> str:
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    def _note(self, request: web.Request, route: str) -> None:
        self.counters.requests[f"{request.method} {route}"] += 1
        peer = request.transport.get_extra_info("peername") if request.transport else None
        headers = dict(request.headers)
        port = peer[1] if peer else 0
        self.log.append(Seen(route, request.method, request.path_qs, headers, port))

    def _fault_for(self, route: str, digest: Digest | None, method: str) -> Fault | None:
        for rule in self._faults:
            if rule.befalls(route, digest, method):
                return rule.fault
        return None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return await self._handle_token(request)
        try:
            route = parse_route(request.rel_url.raw_path)
        except BadInput as exc:
            return _error(400, str(exc))
        if route is None:
            return _error(404, "no such route")
        name, digest = _describe(route)
        self._note(request, name)
        if request.method not in ("GET", "HEAD"):
            return _error(405, "this registry is read-only")
        fault = self._fault_for(name, digest, request.method)
        if fault is not None and fault.is_early:
            return await self._meet_early(request, fault)
        repository = None if isinstance(route, PingRoute | CatalogRoute) else route.repository
        status = self.auth.status_for(request.headers.get("Authorization"), repository)
        if status != 200:
            realm = f"{self._scheme}://{request.host}/token"
            challenge = self.auth.challenge(realm, repository)
            headers = {"WWW-Authenticate": challenge} if status == 401 else {}
            return _error(status, "authentication required", headers=headers)
        match route:
            case PingRoute():
                headers = {"Docker-Distribution-Api-Version": "registry/2.0"}
                return web.json_response({}, headers=headers)
            case CatalogRoute():
                return web.json_response({"repositories": sorted(self.content.repositories)})
            case TagsRoute():
                return self._tags(route)
            case ReferrersRoute():
                body = self.content.referrers(route.repository, route.digest)
                return web.Response(
                    body=body, content_type="application/vnd.oci.image.index.v1+json"
                )
            case ManifestRoute():
                return await self._manifest(request, route, fault)
            case BlobRoute():
                return await self._blob(request, route, fault)
            case _:
                assert_never(route)

    def _tags(self, route: TagsRoute) -> web.Response:
        held = self.content.repositories.get(route.repository)
        if held is None:
            return _error(404, "no such repository")
        return web.json_response({"name": route.repository, "tags": sorted(held.tags)})

    async def _manifest(
        self, request: web.Request, route: ManifestRoute, fault: Fault | None
    ) -> web.StreamResponse:
        found = self.content.manifest(route.repository, route.reference)
        if found is None:
            return _error(404, "no such manifest")
        digest, stored = found
        body = stored.body
        if isinstance(fault, Oversize):
            body = body.ljust(fault.size_bytes)
        headers = {"Content-Type": stored.media_type, "Docker-Content-Digest": str(digest)}
        return await self._sender.send(request, body, headers=headers, fault=fault)

    async def _blob(
        self, request: web.Request, route: BlobRoute, fault: Fault | None
    ) -> web.StreamResponse:
        data = self.content.blob(route.repository, route.digest)
        if data is None:
            return _error(404, "no such blob in this repository")
        if self.redirect_blobs:
            location = self._signed_url(request.method, route.digest)
            return web.Response(status=307, headers={"Location": location})
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": str(route.digest),
            "Accept-Ranges": "bytes",
        }
        return await self._sender.send(
            request, data, headers=headers, fault=fault, count_as=str(route.digest)
        )

    def _signed_url(self, method: str, digest: Digest) -> str:
        query = self.signer.query(method, digest)
        return f"{self._scheme}://{self.storage_address}/{digest}?{query}"

    async def _handle_storage(self, request: web.Request) -> web.StreamResponse:
        self._note(request, "storage")
        try:
            digest = Digest.parse(request.path.removeprefix("/"))
        except BadInput as exc:
            return _error(400, str(exc))
        fault = self._fault_for("storage", digest, request.method)
        if fault is not None and fault.is_early:
            return await self._meet_early(request, fault)
        if "Authorization" in request.headers:  # as Amazon S3: one kind of credential only
            return _error(400, "only one authentication mechanism allowed")
        data = self.content.blobs.get(digest)
        if not self.signer.allows(request.method, digest, request.query) or data is None:
            return _error(403, "signature wrong or expired")
        headers = {"Content-Type": "binary/octet-stream", "Accept-Ranges": "bytes"}
        return await self._sender.send(
            request, data, headers=headers, fault=fault, count_as=str(digest)
        )

    async def _handle_token(self, request: web.Request) -> web.StreamResponse:
        self._note(request, "token")
        fault = self._fault_for("token", None, request.method)
        if fault is not None and fault.is_early:
            return await self._meet_early(request, fault)
        authorization = request.headers.get("Authorization")
        if request.method == "POST":  # OAuth2, with an identity token, or containerd's password
            form = parse_qs(await request.text())
            if form.get("grant_type") == ["password"]:
                name, password = (form.get(key, [""])[0] for key in ("username", "password"))
                account = self.auth.account_of_login(name, password)
            else:
                account = self.auth.account_of_identity_token(form.get("refresh_token", [""])[0])
            scopes = " ".join(form.get("scope", [])).split()
            is_refused = account is None
        else:
            account = self.auth.account_of(authorization)
            scopes = " ".join(request.query.getall("scope", [])).split()
            is_refused = authorization is not None and account is None
        if is_refused or self.auth.mode is not AuthMode.BEARER:
            return _error(401, "wrong user name or password")
        token = self.auth.issue(account, scopes)
        answer = {"token": token, "access_token": token, "expires_in": self.auth.token_lifetime_s}
        return web.json_response(answer)

    async def _meet_early(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        match fault:
            case Answer(status, headers, body):
                return web.Response(status=status, headers=dict(headers), body=body)
            case Redirect(location, status, headers):
                target = {"Location": location or str(request.url)}
                return web.Response(status=status, headers=target | dict(headers))
            case Hang():
                await asyncio.Event().wait()
            case Disconnect():
                pass
            case _:
                raise AssertionError(fault)
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=499)


def _describe(route: Route) -> tuple[str, Digest | None]:
    match route:
        case PingRoute():
            return "ping", None
        case CatalogRoute():
            return "catalog", None
        case TagsRoute():
            return "tags", None
        case ReferrersRoute(digest=digest):
            return "referrers", digest
        case BlobRoute(digest=digest):
            return "blobs", digest
        case ManifestRoute(reference=reference):
            return "manifests", reference if isinstance(reference, Digest) else None
        case _:
            assert_never(route)


def _error(status: int, message: str, *, headers: dict[str, str] | None = None) -> web.Response:
    code = _ERROR_CODES.get(status, "UNKNOWN")
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return web.Response(
        status=status, body=body, content_type="application/json", headers=headers or {}
    )
