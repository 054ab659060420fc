"""Sending bodies for an embedded registry: ranges, a cap on the rate, sendfile, and lies."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import IO

from aiohttp import web

from shoal.core.errors import BadInput
from shoal.core.oci.ranges import ByteRange, RangeNotSatisfiable, parse_range
from shoal.testing.registry_content import reading
from shoal.testing.registry_faults import (
    Drip,
    Fault,
    IgnoreRange,
    Stall,
    Truncate,
    Unframed,
    WithHeaders,
    WrongBytes,
    WrongLength,
    WrongRange,
)

_CHUNK_BYTES = 256 * 1024
_CAPPED_CHUNK_BYTES = 32 * 1024  # small, so that many connections share a slow rate evenly
_SENDFILE_BYTES = 4 * 1024 * 1024  # how often the counters learn of it


class RateCap:
    """A rate that all connections share, first come first served; bursts of 50 ms."""

    def __init__(self, rate_bytes_per_s: float) -> None:
        self._rate = rate_bytes_per_s
        self._free_s = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until `size_bytes` may be sent."""
        now_s = asyncio.get_running_loop().time()
        self._free_s = max(self._free_s, now_s - 0.05) + size_bytes / self._rate
        if self._free_s > now_s:
            await asyncio.sleep(self._free_s - now_s)


class BodySender:
    """Sends content as a request's Range asks, or as a fault has it."""

    def __init__(self, cap: RateCap | None, counter: Counter[str]) -> None:
        """Count what is sent in `counter`, at most as fast as `cap` lets."""
        self._cap = cap
        self._counter = counter

    async def send(
        self,
        request: web.Request,
        data: bytes | Path,
        *,
        headers: dict[str, str],
        fault: Fault | None,
        count_as: str | None = None,
    ) -> web.StreamResponse:
        """Answer `request` with `data`.

        Args:
            request: GET or HEAD, with or without Range.
            data: the whole content.
            headers: of the answer.
            fault: what goes wrong on the way, or None.
            count_as: under which key body bytes are counted; None: not at all.
        """
        with reading(data) as (source, length_bytes):
            try:
                asked = parse_range(request.headers.get("Range"), length_bytes=length_bytes)
            except RangeNotSatisfiable as exc:
                return web.Response(status=416, headers={"Content-Range": exc.content_range})
            except BadInput as exc:
                return web.Response(status=400, text=str(exc))
            if isinstance(fault, IgnoreRange):
                asked = None
            part = asked or ByteRange(0, length_bytes)
            if isinstance(fault, WrongRange) and asked is not None:
                start = min(part.start + fault.shift_bytes, length_bytes - 1)
                part = asked = ByteRange(start, min(part.end + fault.shift_bytes, length_bytes))
            response = web.StreamResponse(status=206 if asked else 200, headers=headers)
            if asked is not None:
                response.headers["Content-Range"] = asked.content_range(length_bytes)
            response.content_length = part.size_bytes
            if isinstance(fault, WrongLength):
                response.content_length = part.size_bytes + fault.delta_bytes
            elif isinstance(fault, Unframed):
                response.content_length = None
                response.enable_chunked_encoding()
            elif isinstance(fault, WithHeaders):
                response.headers.update(fault.headers)
            await response.prepare(request)
            if request.method != "HEAD":
                is_plain = self._cap is None and (fault is None or isinstance(fault, IgnoreRange))
                if is_plain and not isinstance(source, memoryview):
                    await self._sendfile(request, source, part, count_as)
                else:
                    await self._write(request, response, source, part, fault, count_as)
        return response

    async def _sendfile(
        self, request: web.Request, file: IO[bytes], part: ByteRange, count_as: str | None
    ) -> None:
        loop = asyncio.get_running_loop()
        at = part.start
        while at < part.end and request.transport is not None:
            size = min(_SENDFILE_BYTES, part.end - at)
            try:
                sent = await loop.sendfile(request.transport, file, at, size)
            except (ConnectionError, RuntimeError):  # the client has left
                return
            at += size
            if count_as is not None:
                self._counter[count_as] += sent

    async def _write(
        self,
        request: web.Request,
        response: web.StreamResponse,
        source: IO[bytes] | memoryview,
        part: ByteRange,
        fault: Fault | None,
        count_as: str | None,
    ) -> None:
        stop = part.end
        if isinstance(fault, Truncate | Stall):
            stop = min(part.end, part.start + fault.after_bytes)
        elif isinstance(fault, WrongLength) and fault.delta_bytes < 0:
            stop = part.end + fault.delta_bytes
        chunk_bytes = 1 if isinstance(fault, Drip) else _CHUNK_BYTES
        if self._cap is not None:
            chunk_bytes = min(chunk_bytes, _CAPPED_CHUNK_BYTES)
        at = part.start
        while at < stop:
            chunk = _read(source, at, min(chunk_bytes, stop - at))
            if isinstance(fault, WrongBytes) and at <= fault.at < at + len(chunk):
                chunk[fault.at - at] ^= 0xFF
            if self._cap is not None:
                await self._cap.take(len(chunk))
            elif isinstance(fault, Drip):
                await asyncio.sleep(fault.interval_s)
            await response.write(chunk)
            at += len(chunk)
            if count_as is not None:
                self._counter[count_as] += len(chunk)
        await self._end(request, response, fault)

    async def _end(
        self, request: web.Request, response: web.StreamResponse, fault: Fault | None
    ) -> None:
        match fault:
            case Truncate():
                if request.transport is not None:
                    request.transport.close()
            case Stall():
                await asyncio.Event().wait()
            case WrongLength(delta) if delta > 0:
                await response.write(bytes(delta))
            case Unframed(extra) if extra > 0:
                await response.write(bytes(extra))
            case _:
                pass


def _read(source: IO[bytes] | memoryview, at: int, size: int) -> bytearray:
    if isinstance(source, memoryview):
        return bytearray(source[at : at + size])
    source.seek(at)
    return bytearray(source.read(size))
