"""A Kubernetes API server's reading half, over HTTPS: get, list and watch of any resource.

It answers as the real one where clients stumble: a list by version 0 comes whole from the cache
whatever its limit, a version that was compacted is 410, an open watch can end in an ERROR event,
an object that no longer matches a selector is DELETED for who watches by it.
"""

import asyncio
import base64
import json
import secrets
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from shoal.core.errors import BadInput
from shoal.testing.kube.faults import Cut, Faults, Hang, Refuse, Slow, Verb
from shoal.testing.kube.objects import Event, Matches, Objects, ResourcePath, matcher

_MAX_LOG = 10_000
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    404: "NotFound",
    405: "MethodNotAllowed",
    410: "Expired",
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


@dataclass(slots=True, eq=False)
class _Watch:
    collection: ResourcePath
    matches: Matches
    transport: asyncio.Transport | None
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
        self.queue.put_nowait({"type": kind, "object": event.now})


class KubeApiServer:
    """The stand-in on a port of its own: `async with KubeApiServer(tls=...) as server`."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        tokens: set[str] | None = None,
        host: str = "127.0.0.1",
        bookmark_every_s: float = 60.0,
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            tls: serve HTTPS with it.
            tokens: bearer tokens that are let in, changeable at any time; one made up if None.
            host: address to listen on.
            bookmark_every_s: seconds between two bookmarks of a watch.
        """
        self.objects = Objects()
        self.faults = Faults()
        self.tokens = {secrets.token_hex(8)} if tokens is None else tokens
        self.requests: deque[Seen] = deque(maxlen=_MAX_LOG)
        self._tls = tls
        self._host = host
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
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port, ssl_context=self._tls)
        await site.start()
        self._runner = runner
        self._port = runner.addresses[0][1]

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
        try:
            path = ResourcePath.parse(request.path)
            matches = matcher(
                request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
            )
        except BadInput as exc:
            return _refusal(404, str(exc))
        verb: Verb = "list" if path.name is None else "get"
        if request.query.get("watch") in ("1", "true"):
            verb = "watch"
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append(Seen(verb, request.path, dict(request.query), token))
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
        if token not in self.tokens:
            return _refusal(401, "Unauthorized")
        if request.method != "GET":
            return _refusal(405, f"{request.method} is not in this stand-in")
        if verb == "watch":
            return await self._watch(request, path, matches)
        if verb == "list":
            return self._list(request, path, matches)
        thing = self.objects.get(path)
        return _refusal(404, f"{request.path} not found") if thing is None else _json(thing)

    def _list(
        self, request: web.Request, collection: ResourcePath, matches: Matches
    ) -> web.Response:
        items = self.objects.all(collection, matches)
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
        watch = _Watch(collection, matches, request.transport)
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
