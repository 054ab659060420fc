"""Reading a body with a bound on silence, on slowness and on length."""

import asyncio
from collections.abc import AsyncIterator, Hashable

import aiohttp

from shoal.adapters.origin.config import Bounds
from shoal.adapters.origin.pace import Pace
from shoal.adapters.origin.receiving import BUFFER_BYTES, BodyReceiver
from shoal.core.errors import OriginError, OriginLied

# What a body that is kept to a rate may be ahead of it in this process, in seconds of the rate.
_AHEAD_S = 0.1
_LEAST_BUFFER_BYTES = 16 * 1024


class BodyReader:
    """Chunks of an answer's body, with a bound on the waiting for each few KiB.

    Only time spent waiting for the registry counts: a consumer may take as long as it likes
    between two chunks, and the connection's flow control holds the registry back.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        what: str,
        bounds: Bounds,
        is_long: bool = False,
        pace: Pace | None = None,
        flow: Hashable = None,
    ) -> None:
        """Read `response` within `bounds`.

        Args:
            response: an answer whose body was not read yet.
            what: begins every error's message.
            bounds: on silence and slowness.
            is_long: spend a megabyte of memory to spare time if the body is long.
            pace: what its bytes are kept to, if anything.
            flow: what the rate is shared between: the blob.
        """
        self._response = response
        self._pace = pace
        self._flow = flow
        self._kept = b""  # received, and waits for its turn from `_kept_from` on
        self._kept_from = 0
        self._is_long = is_long
        self._receiver: BodyReceiver | None = None
        self._what = what
        self._bounds = bounds
        self._waited_s = 0.0
        self._window_bytes = 0
        self.received_bytes = 0

    async def read(self) -> bytes:
        """Return the next chunk, or b"" at the end.

        Raises:
            OriginError: too little came in time, or the connection ended early.
        """
        if not self._kept:
            chunk = await self._received()
            if self._pace is None or self._pace.rate_bytes_per_s is None:
                return chunk
            self._kept, self._kept_from = chunk, 0
        return await self._stretch(self._pace)

    async def _stretch(self, pace: Pace | None) -> bytes:
        """Return as much of what was received as may be used now, waiting for its turn."""
        begin = self._kept_from
        size_bytes = len(self._kept) - begin
        if pace is not None and pace.rate_bytes_per_s is not None and size_bytes:
            size_bytes = min(size_bytes, pace.stretch_bytes)
            await pace.take(self._flow, size_bytes)
        self._kept_from += size_bytes
        stretch = self._kept[begin : self._kept_from]
        if self._kept_from == len(self._kept):
            self._kept = b""
        return stretch

    async def _received(self) -> bytes:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(max(0.0, self._bounds.no_progress_s - self._waited_s)):
                chunk = await self._next()
        except TimeoutError:
            raise OriginError(
                f"{self._what}: only {self._window_bytes} bytes in "
                f"{self._bounds.no_progress_s:g} s, after {self.received_bytes} in all: gave up"
            ) from None
        # Not chained: aiohttp puts whole URLs into some of its messages, signatures and all.
        except (aiohttp.ClientError, OSError) as exc:
            raise OriginError(
                f"{self._what}: cut after {self.received_bytes} bytes ({type(exc).__name__})"
            ) from None
        self._waited_s += loop.time() - began_s
        self._window_bytes += len(chunk)
        self.received_bytes += len(chunk)
        if self._window_bytes >= self._bounds.min_progress_bytes:
            self._waited_s, self._window_bytes = 0.0, 0
        return chunk

    async def _next(self) -> bytes:
        if self._is_long:
            self._is_long = False  # it is asked once, before the first byte
            self._receiver = BodyReceiver.take_over(
                self._response, buffer_bytes=self._buffer_bytes()
            )
        if self._receiver is not None:
            return await self._receiver.read()
        return await self._response.content.readany()

    def _buffer_bytes(self) -> int:
        rate = self._pace.rate_bytes_per_s if self._pace is not None else None
        if rate is None:
            return BUFFER_BYTES
        return max(_LEAST_BUFFER_BYTES, min(BUFFER_BYTES, int(rate * _AHEAD_S)))


class Chunks(AsyncIterator[bytes]):
    """A body of any length, chunk by chunk."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader

    async def __anext__(self) -> bytes:
        chunk = await self._reader.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk


class ExactChunks(AsyncIterator[bytes]):
    """A body of known length, of which `size_bytes` after the first `skip_bytes` are wanted.

    Not one byte beyond is handed out, and the end comes only if the registry sent neither more nor
    less than `skip_bytes + size_bytes + rest_bytes`.
    """

    def __init__(
        self,
        reader: BodyReader,
        *,
        what: str,
        size_bytes: int,
        skip_bytes: int = 0,
        rest_bytes: int = 0,
    ) -> None:
        self._reader = reader
        self._what = what
        self._skip_bytes = skip_bytes
        self._left_bytes = size_bytes
        self._total_bytes = skip_bytes + size_bytes + rest_bytes

    async def __anext__(self) -> bytes:
        while True:
            chunk = await self._reader.read()
            received_bytes = self._reader.received_bytes
            if received_bytes > self._total_bytes:
                raise OriginLied(f"{self._what}: more than the {self._total_bytes} bytes asked for")
            if not chunk:
                if received_bytes < self._total_bytes:
                    raise OriginError(
                        f"{self._what}: ended after {received_bytes} of {self._total_bytes} bytes"
                    )
                raise StopAsyncIteration
            if self._skip_bytes:
                skipped = min(self._skip_bytes, len(chunk))
                self._skip_bytes -= skipped
                chunk = chunk[skipped:]
            chunk = chunk[: self._left_bytes] if len(chunk) > self._left_bytes else chunk
            self._left_bytes -= len(chunk)
            if chunk:
                return chunk
