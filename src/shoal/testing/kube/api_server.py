"""A Kubernetes API server over HTTPS: reads, watches and writes of any resource, and reviews.

It answers as the real one where clients stumble: a list by version 0 comes whole from the cache
whatever its limit, a version that was compacted is 410, an open watch can end in an ERROR event,
an object that no longer matches a selector is DELETED for who watches by it, a write by an old
version is 409, roles are kept to, webhooks are asked. Writes are in `writing.py`.
"""

import asyncio
import base64
import json
import secrets
import socket
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from shoal.core.errors import BadInput
from shoal.testing.kube.accounts import API_AUDIENCE, Identity, Wish, is_allowed
from shoal.testing.kube.admission import Admission
from shoal.testing.kube.faults import Cut, Faults, Hang, Refuse, Slow, Verb
from shoal.testing.kube.objects import Event, Matches, Objects, ResourcePath, matcher
from shoal.testing.kube.writing import WriteRefused, Writing

_MAX_LOG = 10_000
# Questions in the form of objects that are never kept. What a role says of them is not looked at.
REVIEWS = ("tokenreviews", "selfsubjectaccessreviews")
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    verb: Verb
    path: str
    query: dict[str, str]
    token: str = field(repr=False)
    body: Any = None


@dataclass(slots=True, eq=False)
class _Watch:
    collection: ResourcePath
    matches: Matches
    transport: asyncio.Transport | None
    metadata_only: bool = False
    queue: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)

    def tell(self, event: Event) -> None:
        if not self.collection.holds(event.path):
            return
        is_in = event.kind != "DELETED" and self.matches(event.now)
        was_in = event.before is not None and self.matches(event.before)
        if is_in:
            kind = "MODIFIED" if was_in else "ADDED"
        elif was_in:
            kind = "DELETED"
        else:
            return
        thing = {"metadata": event.now["metadata"]} if self.metadata_only else event.now
        self.queue.put_nowait({"type": kind, "object": thing})


class KubeApiServer:
    """The stand-in on a port of its own: `async with KubeApiServer(tls=...) as server`."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        tokens: set[str] | None = None,
        host: str = "127.0.0.1",
        listener: socket.socket | None = None,
        bookmark_every_s: float = 60.0,
        version: str = "v1.31.2",
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            tls: serve HTTPS with it.
            tokens: bearer tokens that may do all, changeable at any time; one made up if None.
            host: address to listen on.
            listener: what listens there already, as in another network namespace; for one start.
            bookmark_every_s: seconds between two bookmarks of a watch.
            version: of Kubernetes, as it tells.
        """
        self.objects = Objects()
        self.faults = Faults()
        self.tokens = {secrets.token_hex(8)} if tokens is None else tokens
        self.identities: dict[str, Identity] = {}
        """Tokens that may do what the roles in `objects` say, and that a TokenReview knows."""
        self.services: dict[tuple[str, str], tuple[str, int]] = {}
        """Where the webhooks of a Service (namespace, name) are."""
        self.version = version
        self.requests: deque[Seen] = deque(maxlen=_MAX_LOG)
        self._writing = Writing(self.objects, Admission(self.objects, self.services), self._tell)
        self._tls = tls
        self._host = host
        self._listener = listener
        self._port = 0
        self._bookmark_every_s = bookmark_every_s
        self._watches: set[_Watch] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Base URL, once it has started."""
        return f"https://{self._host}:{self._port}"

    @property
    def watches(self) -> int:
        """Watches that are open now."""
        return len(self._watches)

    async def start(self) -> None:
        """Listen; after `stop` at the same port again."""
        app = web.Application(client_max_size=8 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site: web.BaseSite
        if self._listener is not None:
            site = web.SockSite(runner, self._listener, ssl_context=self._tls)
        else:
            site = web.TCPSite(runner, self._host, self._port, ssl_context=self._tls)
        await site.start()
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def listen_also(self, listener: socket.socket) -> None:
        """Serve at another socket too, as one in another network namespace, until `stop`."""
        assert self._runner is not None
        await web.SockSite(self._runner, listener, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """Be gone: watches are cut, nobody is answered. The objects stay."""
        self.cut_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def put(self, path: str, thing: dict[str, Any]) -> None:
        """Create or replace the object at `path`, and tell who watches."""
        self._tell(self.objects.put(ResourcePath.parse(path), thing))

    def delete(self, path: str) -> None:
        """Delete the object at `path`, and tell who watches.

        Raises:
            KeyError: there is none.
        """
        self._tell(self.objects.delete(ResourcePath.parse(path)))

    def cut_watches(self) -> None:
        """Break the connections of all watches, in the middle of what they say."""
        for watch in self._watches:
            if watch.transport is not None:
                watch.transport.abort()

    def end_watches(self) -> None:
        """End all watches in order, as at the time that was asked for."""
        for watch in self._watches:
            watch.queue.put_nowait(None)

    def expire_watches(self) -> None:
        """Compact, and end all watches with an ERROR event of code 410."""
        self.objects.forget()
        for watch in self._watches:
            watch.queue.put_nowait({"type": "ERROR", "object": _status(410, "too old")})
            watch.queue.put_nowait(None)

    def send_bookmarks(self) -> None:
        """Tell all watches how far they are."""
        for watch in self._watches:
            watch.queue.put_nowait(self._bookmark())

    def _tell(self, event: Event) -> None:
        for watch in self._watches:
            watch.tell(event)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/version":
            return _json({"gitVersion": self.version})
        if (group := request.path.removeprefix("/apis/")) and "/" not in group.strip("/"):
            return self._group(group)
        try:
            path = ResourcePath.parse(request.path)
            matches = matcher(
                request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
            )
            verb = _verb(request, path)
            body = json.loads(await request.read() or b"null")
        except BadInput as exc:
            return _refusal(404, str(exc))
        except ValueError as exc:
            return _refusal(400, str(exc))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append(Seen(verb, request.path, dict(request.query), token, body))
        match self.faults.meet(verb):
            case Refuse(status, retry_after_s):
                return _refusal(status, "as a test wants it", retry_after_s=retry_after_s)
            case Slow(delay_s):
                await asyncio.sleep(delay_s)
            case Hang():
                await asyncio.Event().wait()
            case Cut():
                if request.transport is not None:
                    request.transport.close()
                return web.Response()
        identity = self.identities.get(token)
        if token in self.tokens:
            identity = None  # may do all
        elif identity is None or API_AUDIENCE not in identity.audiences:
            return _refusal(401, "Unauthorized")
        if verb == "create" and path.resource in REVIEWS:
            return _json(self._review(path.resource, body, identity), status=201)
        wish = Wish.of(verb, path, field_selector=request.query.get("fieldSelector", ""))
        if identity is not None and not is_allowed(self.objects, identity.user, wish):
            return _refusal(403, f'User "{identity.user}" cannot {verb} {wish.resource}')
        if verb == "watch":
            return await self._watch(request, path, matches)
        if verb == "list":
            return self._list(request, path, matches)
        if verb == "get":
            thing = self.objects.get(path.object)
            return _refusal(404, f"{request.path} not found") if thing is None else _json(thing)
        user = identity.user if identity else "system:admin"
        try:
            thing = await self._writing.write(
                verb, path, body, patch_type=request.content_type, user=user
            )
        except WriteRefused as exc:
            return _refusal(exc.status, str(exc))
        return _json(thing, status=201 if verb == "create" else 200)

    def _group(self, group: str) -> web.Response:
        """Answer for `/apis/GROUP`: a group is known if there is an object of it."""
        versions = sorted(self.objects.versions_of(group))
        if not versions:
            return _refusal(404, f"the server could not find the group {group}")
        return _json({"name": group, "preferredVersion": {"groupVersion": versions[-1]}})

    def _review(self, kind: str, body: dict[str, Any], asker: Identity | None) -> dict[str, Any]:
        if kind == "tokenreviews":
            found = self.identities.get(body["spec"]["token"])
            wanted = body["spec"].get("audiences") or [API_AUDIENCE]
            common = [a for a in wanted if found is not None and a in found.audiences]
            if found is None or not common:
                return body | {"status": {"authenticated": False, "error": "unknown token"}}
            user = {"username": found.user, "uid": found.uid, "extra": dict(found.extra)}
            return body | {"status": {"authenticated": True, "user": user, "audiences": common}}
        asked = body["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f"/{sub}" if (sub := asked.get("subresource")) else "")
        wish = Wish(
            asked["verb"],
            asked.get("group", ""),
            resource,
            asked.get("namespace") or None,
            asked.get("name") or None,
        )
        allowed = asker is None or is_allowed(self.objects, asker.user, wish)
        return body | {"status": {"allowed": allowed}}

    def _list(
        self, request: web.Request, collection: ResourcePath, matches: Matches
    ) -> web.Response:
        items = self.objects.all(collection, matches)
        if "as=PartialObjectMetadataList" in request.headers.get("Accept", ""):
            items = [{"metadata": item["metadata"]} for item in items]
        version, begin = self.objects.version, 0
        if token := request.query.get("continue"):
            version, begin = json.loads(base64.b64decode(token))
            if self.objects.since(version) is None:
                return _refusal(410, "the continue token is too old")
        is_cached = request.query.get("resourceVersion") == "0"
        limit = 0 if is_cached else int(request.query.get("limit", 0))
        end = begin + limit if limit else len(items)
        metadata = {"resourceVersion": str(version)}
        if end < len(items):
            metadata["continue"] = base64.b64encode(json.dumps([version, end]).encode()).decode()
        return _json(
            {
                "kind": "List",
                "apiVersion": collection.group,
                "metadata": metadata,
                "items": items[begin:end],
            }
        )

    async def _watch(
        self, request: web.Request, collection: ResourcePath, matches: Matches
    ) -> web.StreamResponse:
        past = self.objects.since(int(request.query.get("resourceVersion") or self.objects.version))
        if past is None:
            return _refusal(410, "too old resource version")
        metadata_only = "as=PartialObjectMetadata;" in request.headers.get("Accept", "")
        watch = _Watch(collection, matches, request.transport, metadata_only)
        for event in past:
            watch.tell(event)
        self._watches.add(watch)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 1800))):
                await response.prepare(request)
                await self._send(response, watch, "allowWatchBookmarks" in request.query)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._watches.discard(watch)
        return response

    async def _send(
        self, response: web.StreamResponse, watch: _Watch, wants_bookmarks: bool
    ) -> None:
        while True:
            try:
                async with asyncio.timeout(self._bookmark_every_s):
                    event = await watch.queue.get()
            except TimeoutError:
                event = self._bookmark()
            if event is None:
                return
            if event["type"] != "BOOKMARK" or wants_bookmarks:
                await response.write(json.dumps(event).encode() + b"\n")

    def _bookmark(self) -> dict[str, Any]:
        metadata = {"resourceVersion": str(self.objects.version)}
        return {"type": "BOOKMARK", "object": {"metadata": metadata}}


def _verb(request: web.Request, path: ResourcePath) -> Verb:
    if request.method == "GET" and request.query.get("watch") in ("1", "true"):
        return "watch"
    by_method: dict[str, tuple[Verb, Verb]] = {  # of a collection, of an object
        "GET": ("list", "get"),
        "POST": ("create", "create"),
        "PUT": ("update", "update"),
        "PATCH": ("patch", "patch"),
        "DELETE": ("delete", "delete"),
    }
    return by_method[request.method][path.name is not None]


def _json(value: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), status=status, content_type="application/json"
    )


def _status(code: int, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }


def _refusal(code: int, message: str, *, retry_after_s: int | None = None) -> web.Response:
    response = _json(_status(code, message), status=code)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response
