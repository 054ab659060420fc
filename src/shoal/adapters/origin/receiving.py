"""Receives a long body past aiohttp's parser: straight into one buffer, a few times a megabyte.

aiohttp hands a body on as the socket gives it, each piece copied twice and each waking whoever
reads: at 1 Gbit/s ten thousand times a GiB. Once the headers are here and say how long the body is,
nothing is left to parse, so the connection's bytes come here until the body ends, and go back to
aiohttp, which may use the connection again.

Only what aiohttp and asyncio document for the purpose is used: the response's connection, its
transport and protocol, `set_protocol`, and `feed_eof` of the body.
"""

import asyncio
import contextlib
import socket

import aiohttp

# What is received while the reader is busy; then the connection is held back.
BUFFER_BYTES = 1024 * 1024
# The reader is woken for so much at once, or for less when it has waited for _BATCH_WAIT_S.
_BATCH_BYTES = 256 * 1024
_BATCH_WAIT_S = 0.01
# The process is woken for so much at once on a connection that has been fast (SO_RCVLOWAT).
_WAKE_BYTES = 128 * 1024
# A body of which less is missing gains nothing.
LEAST_BYTES = 256 * 1024


class BodyReceiver(asyncio.BufferedProtocol):
    """The rest of one response's body. Made by `take_over`; read by one task."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        *,
        left_bytes: int,
        early: bytes,
        buffer_bytes: int,
    ) -> None:
        """Take the connection; `early` came before, and `left_bytes` are still to come."""
        self._content = response.content
        self._transport = transport
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._early = early
        self._left_bytes = left_bytes
        self._buffer = memoryview(bytearray(min(buffer_bytes, left_bytes)))
        self._filled = 0
        self._error: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._waited_long = False
        self._wake_bytes = 1
        transport.set_protocol(self)

    @classmethod
    def take_over(
        cls, response: aiohttp.ClientResponse, *, buffer_bytes: int = BUFFER_BYTES
    ) -> "BodyReceiver | None":
        """Take the connection of a response with a long body, or return None and leave it be.

        Args:
            response: an answer whose body was not read yet.
            buffer_bytes: what is received while the reader is busy.

        Raises:
            aiohttp.ClientError, OSError: the connection broke before.
        """
        content, connection = response.content, response.connection
        length = response.content_length
        if connection is None or length is None or "Transfer-Encoding" in response.headers:
            return None
        transport, protocol = connection.transport, connection.protocol
        if transport is None or protocol is None or not transport.is_reading():
            return None
        if content.exception() is not None or length - content.total_bytes < LEAST_BYTES:
            return None
        early = content.read_nowait()
        left_bytes = length - content.total_bytes
        return cls(
            response,
            transport,
            protocol,
            left_bytes=left_bytes,
            early=early,
            buffer_bytes=buffer_bytes,
        )

    async def read(self) -> bytes:
        """Return what has come, waiting a moment for more; b"" at the end of the body.

        Raises:
            OSError: the connection ended before the body.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        if not self._ready and self._error is None:
            await self._wait()
        if not self._filled:
            if self._error is not None:
                raise self._error
            return b""
        data = bytes(self._buffer[: self._filled])
        was_full, self._filled = self._filled == len(self._buffer), 0
        if was_full and self._left_bytes:
            self._transport.resume_reading()
        return data

    @property
    def _ready(self) -> bool:
        """Whether there is something to hand out now."""
        if not self._left_bytes:
            return True
        least = 1 if self._waited_long else min(_BATCH_BYTES, len(self._buffer))
        return self._filled >= least

    async def _wait(self) -> None:
        # Only a connection that has just filled a batch in time is not asked for less: on a slow
        # one, bytes would lie in the kernel.
        if not self._waited_long:
            self._wake_for(min(_WAKE_BYTES, len(self._buffer)))
        self._waited_long = False
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(_BATCH_WAIT_S, self._wait_no_longer)
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()

    def _wait_no_longer(self) -> None:
        self._waited_long = True
        self._wake_for(1)
        self._wake_reader()

    def _wake_reader(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (self._ready or self._error is not None):
            waiter.set_result(None)

    def _wake_for(self, size_bytes: int) -> None:
        """Have the kernel say that there is something to read once there is so much."""
        if size_bytes > self._left_bytes:
            size_bytes = 1
        if size_bytes == self._wake_bytes:
            return
        self._wake_bytes = size_bytes
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # it only costs more wake-ups
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)

    # --- asyncio.BufferedProtocol ---------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go; never more than the body still has."""
        return self._buffer[self._filled : self._filled + self._left_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that came."""
        self._filled += nbytes
        self._left_bytes -= nbytes
        if not self._left_bytes:
            self._give_back()
        elif self._filled == len(self._buffer):
            self._transport.pause_reading()
        elif self._left_bytes < self._wake_bytes:
            self._wake_for(1)
        self._wake_reader()

    def eof_received(self) -> None:
        """The registry sends no more, though the body is not whole: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone before the body was whole."""
        cause = exc if isinstance(exc, OSError) else ConnectionResetError("closed by the registry")
        self._error = self._error or cause
        self._wake_reader()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Not for this: a request has no body."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Not for this: a request has no body."""
        self._protocol.resume_writing()

    def _give_back(self) -> None:
        """The body is whole: aiohttp may use the connection again, or close it."""
        self._wake_for(1)
        self._transport.set_protocol(self._protocol)
        self._content.feed_eof()
