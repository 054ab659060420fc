"""The exporter: metrics, health, the debug page. Nothing here reads or changes content.

It is reachable from other nodes, so whoever asks too much of it must not harm the agent:
connections are few, and one without a request is dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shoal.agent.debug_page import Table, debug_html
from shoal.agent.front.listening import listen
from shoal.agent.health import LIVE_PATHS, READY_PATH, Health, health_routes
from shoal.agent.settings import ExporterSettings

_log = logging.getLogger("shoal.agent.exporter")

# Some Prometheus servers, a few probes and a person with a browser, six connections each.
MAX_CONNECTIONS = 64
# Twice the longest usual scrape interval of a minute, so that scrapers keep their connection.
IDLE_S = 120.0

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


class Exporter:
    """The exporter's server."""

    def __init__(
        self,
        settings: ExporterSettings,
        *,
        registry: CollectorRegistry,
        status: Callable[[], Health],
        tables: Callable[[], Sequence[Table]] = tuple,
        idle_s: float = IDLE_S,
    ) -> None:
        """Join the parts; nothing listens yet.

        Args:
            settings: where to listen.
            registry: the metrics.
            status: what `/readyz` tells.
            tables: what the debug page shows.
            idle_s: seconds after which a connection without a request is dropped.
        """
        self._settings = settings
        self._registry = registry
        self._health = health_routes(status)
        self._tables = tables
        self._idle_s = idle_s
        self._server: _Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start` and where the exporter is off."""
        return self._port

    async def start(self) -> None:
        """Listen and answer, unless the exporter is off.

        Raises:
            SettingsError: the port is taken, or the machine has none of the addresses.
        """
        if not self._settings.enabled:
            return
        sockets = listen(self._settings.hosts, port=self._settings.port, setting="exporter")
        self._port = sockets[0].getsockname()[1]
        self._server = _Server(self._handle, idle_s=self._idle_s)
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._listeners.append(await loop.create_server(self._server, sock=sock))
        _log.info("exporter_listening", extra={"port": self._port})

    async def stop(self) -> None:
        """Take no more requests. Idempotent."""
        for listener in self._listeners:
            listener.close()
        server, self._server = self._server, None
        if server is not None:
            await server.shutdown(timeout=1.0)
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, _Connection):
            connection.renew()
        if request.method not in ("GET", "HEAD"):
            response = _text("only GET and HEAD\n", status=405)
            response.headers["Allow"] = "GET, HEAD"
            response.force_close()
            return response
        try:
            return self._answer(request)
        except Exception:
            # A fault of a page or a gauge ends here: what it says may not be for everyone.
            _log.exception("exporter_fault", extra={"path": request.path[:80]})
            return _text("this page failed; see the agent's log\n", status=500)

    def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.path
        if path == "/metrics":
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
            body = encode(self._registry)
            return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})
        if path in (*LIVE_PATHS, READY_PATH):
            status, body = self._health(path)
            headers = {**_HEADERS, "Content-Type": "application/json"}
            return web.Response(status=status, body=body, headers=headers)
        if path in ("/", "/debug"):
            page = debug_html(self._tables())
            return web.Response(text=page, content_type="text/html", headers=_HEADERS)
        return _text("here are /metrics, /healthz, /livez, /readyz and /debug\n", status=404)


def _text(text: str, *, status: int) -> web.Response:
    return web.Response(text=text, status=status, headers=_HEADERS)


class _Connection(web.RequestHandler):
    """A connection that is dropped if it stays without a request for long, or is one too many."""

    __slots__ = ("_exporter", "_timer")

    def __init__(self, exporter: "_Server") -> None:
        super().__init__(
            exporter,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=exporter.idle_s,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no log
            auto_decompress=False,
        )
        self._exporter = exporter
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._exporter.open_connections += 1
        if self._exporter.open_connections > MAX_CONNECTIONS:
            self._abort()
        else:
            self.renew()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._exporter.open_connections -= 1
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def renew(self) -> None:
        """A request has come: begin to wait for the next."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._exporter.idle_s, self._abort)

    def _abort(self) -> None:
        # Also ends an answer that nobody reads: none is so long that it takes this time.
        if self.transport is not None:
            self.transport.abort()


class _Server(web.Server):
    """Makes the connections, and counts them."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        idle_s: float,
    ) -> None:
        super().__init__(handler)
        self.idle_s = idle_s
        self.open_connections = 0

    def __call__(self) -> _Connection:
        return _Connection(self)
