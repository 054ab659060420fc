"""One client connection: aiohttp's protocol, with a bound on the time that a request may take.

aiohttp bounds the size of a request but not its duration, and would echo the offending header,
which may be a credential, into log and answer.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from shoal.agent.front.answers import Cause, Code, error_response
from shoal.agent.front.journal import Journal
from shoal.agent.front.limits import FrontLimits

# How a TLS client begins: a handshake record. Source: RFC 8446 section 5.1.
_TLS_BEGINS = b"\x16\x03"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class FrontConnection(web.RequestHandler):
    """A connection that is dropped if no complete request comes in time."""

    __slots__ = ("_front", "_half_open", "_speaks_tls", "over_limit")

    def __init__(self, front: "FrontServer") -> None:
        super().__init__(
            front,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=front.limits.keep_alive_s,
            lingering_time=front.limits.lingering_s,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no log
            auto_decompress=False,  # nobody reads a request's body here
        )
        self._front = front
        self._half_open: asyncio.TimerHandle | None = None
        self._speaks_tls = False
        self.over_limit = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        count = self._front.opened()
        limit = self._front.limits.connections
        self.over_limit = count > limit
        if count > 2 * limit:
            self._front.journal.refused(
                Cause.CONNECTION_LIMIT, f"dropped a connection beyond {2 * limit}"
            )
            self._abort()
            return
        self._wait_for_request()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self._have_request()
        self._front.closed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and watch whether a request has become complete."""
        before = self._request_count
        if not before and data.startswith(_TLS_BEGINS):
            self._speaks_tls = True
        super().data_received(data)
        if self._request_count != before:
            self._have_request()
        elif self._half_open is None and not self._request_in_progress:
            self._wait_for_request()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed, and what failed: never a 500, never an echo."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == 400:
            too_long = isinstance(exc, LineTooLong)
            what = "a line of the request is too long" if too_long else "this is no HTTP request"
            if self._speaks_tls:
                # Answered in HTTP all the same: Go's clients tell from it to go on without TLS.
                cause, what = Cause.TLS, "the front speaks plain HTTP, and this is TLS"
            else:
                cause = Cause.BAD_REQUEST
            self._front.journal.refused(cause, f"{what} ({type(exc).__name__})")
            response = error_response(431 if too_long else 400, Code.UNSUPPORTED, what)
        else:
            if exc is not None:
                self._front.journal.fault(exc)
            response = error_response(404, Code.UNAVAILABLE, "the front failed; see its log")
        if request.writer.output_size > 0:
            raise ConnectionResetError("the client was cut")
        response.force_close()
        return response

    def _wait_for_request(self) -> None:
        self._half_open = asyncio.get_running_loop().call_later(
            self._front.limits.request_s, self._drop
        )

    def _have_request(self) -> None:
        if self._half_open is not None:
            self._half_open.cancel()
            self._half_open = None

    def _drop(self) -> None:
        self._half_open = None
        self._front.journal.refused(
            Cause.HALF_OPEN, f"no complete request within {self._front.limits.request_s:g} s"
        )
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class FrontServer(web.Server):
    """Makes the connections, and counts them."""

    def __init__(self, handler: Handler, *, limits: FrontLimits, journal: Journal) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.limits = limits
        self.journal = journal
        self._open = 0

    def __call__(self) -> FrontConnection:
        """Return the protocol of a new connection."""
        return FrontConnection(self)

    def opened(self) -> int:
        """Count one more connection; return how many there are."""
        self._open += 1
        self.journal.metrics.connections(self._open)
        return self._open

    def closed(self) -> None:
        """Count one connection less."""
        self._open -= 1
        self.journal.metrics.connections(self._open)
