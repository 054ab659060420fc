"""The front's life: listen, take requests apart, answer, drain."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from aiohttp import web

from shoal.adapters.origin.config import RegistryConfig
from shoal.agent.front.answers import API_VERSION, Cause, Code, Refusal, error_response
from shoal.agent.front.asking import Exchange, FrontClient
from shoal.agent.front.blobs import BlobAnswers
from shoal.agent.front.connection import FrontConnection, FrontServer
from shoal.agent.front.gate import Gate, PassedOn
from shoal.agent.front.guard import Guard
from shoal.agent.front.journal import Journal
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.listening import listen
from shoal.agent.front.manifests import ManifestAnswers
from shoal.agent.front.memory import Memory
from shoal.agent.front.metrics import FrontMetrics
from shoal.agent.front.node_header import NODE_HEADER, is_runtime
from shoal.agent.front.node_login import NodeLogin, NodeLogins
from shoal.agent.front.passing import pass_small
from shoal.agent.front.progress import Progress, SourcesOf
from shoal.agent.front.sending import cut
from shoal.agent.front.target import Registries, ServedRegistry, Target
from shoal.agent.front.token_relay import TOKEN_PATH, TokenRelay, is_local
from shoal.agent.health import LIVE_PATHS, READY_PATH
from shoal.agent.ports import Transfers
from shoal.agent.settings import FrontSettings
from shoal.agent.tasks import Tasks
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.oci.routes import BlobRoute, ManifestRoute, PingRoute
from shoal.core.trust.access import Holder
from shoal.core.trust.credentials import fingerprint

_log = logging.getLogger("shoal.agent.front")

_TRANSFERS = "/shoal/transfers/"

# Status and JSON body for `/healthz` and `/readyz`.
Health = Callable[[str], tuple[int, bytes]]


_JSON = {"Content-Type": "application/json"}
_CLIENT_LEFT = 499  # nginx's, for metrics only: there was nobody to send a status to


@dataclass(slots=True)
class _Turn:
    """What is known of one request so far, for its log line and metrics."""

    request: web.BaseRequest
    kind: str = "other"
    status: int = _CLIENT_LEFT
    fields: dict[str, object] = field(default_factory=dict)
    exchange: Exchange | None = None


def _always_well(_path: str) -> tuple[int, bytes]:
    return 200, b'{"status":"ok"}\n'


class Front:
    """The registry front of one node."""

    def __init__(
        self,
        settings: FrontSettings,
        registries: Sequence[ServedRegistry],
        client: FrontClient,
        transfers: Transfers,
        *,
        memory: Memory,
        credential_key: bytes,
        sources: SourcesOf | None = None,
        health: Health = _always_well,
        metrics: FrontMetrics | None = None,
        limits: FrontLimits | None = None,
    ) -> None:
        """Join the parts; nothing listens yet.

        Args:
            settings: where to listen, and by which names.
            registries: what is served; each must be configured in `client` too.
            client: asks the registries.
            transfers: gives blobs.
            memory: what the registries have said so far.
            credential_key: the node's key for fingerprints of credentials.
            sources: where the bytes of a blob came from; also tells the front that one is still
                arriving, so without it a blob's next bytes may take ten seconds and no more.
            health: answers `/healthz` and `/readyz`.
            metrics: told of what happens.
            limits: the bounds, for tests.
        """
        self._settings = settings
        self._registries = Registries(registries)
        self._client = client
        self._limits = limits or FrontLimits()
        self._health = health
        self._journal = Journal(metrics)
        self._progress = Progress(sources)
        self._tasks = Tasks()
        self._key = credential_key
        self._gate = Gate(client, memory, tasks=self._tasks, ask_s=self._limits.ask_s)
        self._relay = TokenRelay(
            client,
            memory,
            key=credential_key,
            journal=self._journal,
            ask_s=self._limits.ask_s,
            form_s=self._limits.request_s,
        )
        self._logins = NodeLogins(client, key=credential_key, ask_s=self._limits.ask_s)
        self._manifests = ManifestAnswers(
            client,
            self._gate,
            transfers,
            journal=self._journal,
            limits=self._limits,
            tags=memory.tags,
        )
        self._blobs = BlobAnswers(
            client,
            self._gate,
            transfers,
            progress=self._progress,
            journal=self._journal,
            limits=self._limits,
        )
        self._guard: Guard | None = None
        self._server: FrontServer | None = None
        self._listeners: list[asyncio.Server] = []
        self._port = 0
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def questions(self) -> int:
        """How many questions to registries clients wait for."""
        return self._gate.heads

    @property
    def port(self) -> int:
        """The port that the front listens on; 0 before `start`."""
        return self._port

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            SettingsError: the port is taken, or the machine has none of the addresses.
        """
        sockets = listen(self._settings.hosts, port=self._settings.port, setting="front")
        self._port = sockets[0].getsockname()[1]
        self._guard = self._new_guard()
        self._server = FrontServer(self._handle, limits=self._limits, journal=self._journal)
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._listeners.append(await loop.create_server(self._server, sock=sock))
        addresses = [":".join(str(part) for part in s.getsockname()[:2]) for s in sockets]
        _log.info("front_listening", extra={"addresses": addresses})

    def serve(self, registries: Sequence[ServedRegistry]) -> None:
        """Serve these registries from now on, and no others; what is being answered goes on."""
        self._registries = Registries(registries)
        if self._guard is not None:
            self._guard = self._new_guard()

    def limit_connections(self, most: int) -> None:
        """Serve so many connections of clients at once from now on; none is cut."""
        self._limits = replace(self._limits, connections=most)
        if self._server is not None:
            self._server.limits = self._limits

    def _new_guard(self) -> Guard:
        names = {*self._settings.aliases, *self._registries.names}
        return Guard(
            port=self._port,
            names={name.lower() for name in names},
            allow_remote=self._settings.allow_remote,
        )

    async def stop(self, *, drain_timeout_s: float = 25.0) -> None:
        """Take no more requests; let those under way end within `drain_timeout_s`. Idempotent."""
        for listener in self._listeners:
            listener.close()
        server, self._server = self._server, None
        if server is not None:
            server.pre_shutdown()
            try:
                async with asyncio.timeout(drain_timeout_s):
                    await self._idle.wait()
            except TimeoutError:
                _log.warning("front_drain_cut", extra={"requests": self._active})
            # What is left is cut: the clients resume elsewhere.
            await server.shutdown(timeout=0.5)
        # From Python 3.12 on this waits for every connection too.
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                for listener in self._listeners:
                    await listener.wait_closed()
        self._listeners.clear()
        await self._tasks.end()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began_s = time.monotonic()
        self._active += 1
        self._idle.clear()
        turn = _Turn(request)
        try:
            response = await self._answer(turn)
            turn.status = response.status
            return response
        finally:
            self._active -= 1
            if self._active == 0:
                self._idle.set()
            self._journal.metrics.answered(
                turn.kind, status=turn.status, seconds=time.monotonic() - began_s
            )

    async def _answer(self, turn: _Turn) -> web.StreamResponse:
        """Return the answer to a request; nothing but a lost connection gets past here."""
        request = turn.request
        try:
            return self._challenging(turn, await self._dispatch(turn))
        except PassedOn as passed:
            return self._challenging(turn, passed.response)
        except Refusal as refusal:
            if refusal.is_outage and turn.exchange is not None:
                instead = self._relay.stand_in(turn.exchange, request.headers.get("Host", ""))
                if instead is not None:
                    return instead
            turn.fields["status"] = refusal.status
            self._journal.refused(refusal.cause, str(refusal), fields=turn.fields)
            return refusal.response()
        except ConnectionError:
            raise
        except Exception as error:
            self._journal.fault(error)
            if request.writer.output_size > 0:
                raise cut(request.transport) from error
            return error_response(404, Code.UNAVAILABLE, "the front failed; see its log")

    def _challenging(self, turn: _Turn, response: web.StreamResponse) -> web.StreamResponse:
        """Return an answer of the registry's, its Bearer challenges leading to the relay."""
        if response.status == 401 and turn.exchange is not None:
            host = turn.request.headers.get("Host", "")
            self._relay.lead_here(response, turn.exchange.config, host)
        return response

    async def _dispatch(self, turn: _Turn) -> web.StreamResponse:
        request = turn.request
        path, _, query = request.raw_path.partition("?")
        is_token = path.startswith(TOKEN_PATH)
        guard = self._check(request, methods=("GET", "POST") if is_token else ("GET", "HEAD"))
        if path in (*LIVE_PATHS, READY_PATH):
            turn.kind = "health"
            status, body = self._health(path)
            return web.Response(status=status, body=body, content_type="application/json")
        if path.startswith(_TRANSFERS):
            turn.kind = "transfers"
            return self._sources(path.removeprefix(_TRANSFERS))
        if is_token:
            turn.kind = "token"
            return await self._relay.answer(request, path, query)
        alias = guard.alias_in(request.headers.get("Host", ""), aliases=self._registries.names)
        target = self._registries.target(path, query=query, alias=alias)
        if target is None:
            turn.kind = "ping"
            return web.Response(body=b"{}", headers={**API_VERSION, **_JSON})
        exchange = turn.exchange = await self._exchange(request, target)
        turn.fields = exchange.fields
        match target.route:
            case ManifestRoute() as route:
                turn.kind = "manifest"
                return await self._manifests.answer(exchange, route)
            case BlobRoute() as route:
                turn.kind = "blob"
                return await self._blobs.answer(exchange, route)
            case PingRoute():
                turn.kind, timeout_s = "ping", self._limits.ask_s
            case _:
                turn.kind, timeout_s = "list", self._limits.list_s
        return await pass_small(self._client, exchange, timeout_s=timeout_s)

    def _check(self, request: web.BaseRequest, *, methods: tuple[str, ...]) -> Guard:
        """Refuse who may not ask and what is never answered, before it is looked at closely."""
        guard = self._guard
        connection = request.protocol
        if guard is None or (isinstance(connection, FrontConnection) and connection.over_limit):
            raise Refusal(
                f"more than {self._limits.connections} connections",
                cause=Cause.CONNECTION_LIMIT,
                closes=True,
            )
        guard.check(remote=request.remote, headers=request.headers)
        if request.method not in methods:
            raise Refusal(
                f"{request.method} is not supported: Shoal serves pulls only",
                cause=Cause.METHOD,
                status=405,
                code=Code.UNSUPPORTED,
                headers={"Allow": ", ".join(methods)},
                closes=True,
            )
        return guard

    async def _exchange(self, request: web.BaseRequest, target: Target) -> Exchange:
        config = self._client.registry_for(target.registry.name)
        if config is None:
            raise Refusal(
                f"registry {target.registry.name} is not configured here",
                cause=Cause.UNKNOWN_REGISTRY,
                code=Code.NAME_UNKNOWN,
            )
        values = request.headers.getall("Authorization", ())
        if len(values) > 1:
            raise Refusal(
                "several Authorization headers in one request",
                cause=Cause.BAD_REQUEST,
                status=400,
                code=Code.UNSUPPORTED,
            )
        sent = values[0] if values else None
        login = await self._login(request, target, config) if sent is None else None
        if login is not None:
            holder = Holder(config.name, target.repository, login.account)
            return Exchange(request, target, config, holder, login=login)
        session = self._relay.session(sent, registry=config.name)
        if session is not None and target.repository not in session.repositories:
            session = None
        if session is None and is_local(sent):
            sent = None  # a registry would not know it
        credential = session.account if session is not None else fingerprint(sent, key=self._key)
        holder = Holder(config.name, target.repository, credential)
        return Exchange(request, target, config, holder, sent, session)

    async def _login(
        self, request: web.BaseRequest, target: Target, config: RegistryConfig
    ) -> NodeLogin | None:
        """Return this node's own credential, if the runtime asks and the registry has node mode."""
        path = target.registry.node_credentials
        if path is None or not is_runtime(request.headers.get(NODE_HEADER), key=self._key):
            return None
        return await self._logins.login(config, target.repository, path=path)

    def _sources(self, text: str) -> web.Response:
        """Answer `shoal pull`, which shows where a layer's bytes come from."""
        try:
            sources = self._progress.sources(Digest.parse(text))
        except BadInput as error:
            raise Refusal(
                str(error), cause=Cause.BAD_REQUEST, status=400, code=Code.DIGEST_INVALID
            ) from error
        if sources is None:
            raise Refusal(
                "neither stored nor arriving", cause=Cause.NOT_FOUND, code=Code.BLOB_UNKNOWN
            )
        body = {
            "length": sources.length_bytes,
            "origin_bytes": sources.origin_bytes,
            "peer_bytes": sources.peer_bytes,
            "cached_bytes": sources.cached_bytes,
        }
        return web.Response(body=json.dumps(body).encode(), headers=_JSON)
