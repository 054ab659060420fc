"""A proxy between the agents and the bed's registry that misbehaves on request.

    python -m shoal.testing.chaos.fault_proxy LISTEN_HOST PORT UPSTREAM_URL MODE_FILE

The file holds one word, a `Mode`, and is read at every request. containerd asks the registry
without it: whatever this does, a pull without Shoal would have worked.
"""

import asyncio
import sys
from enum import StrEnum
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

HANG_S = 600.0
READ_BYTES = 64 * 1024
_NOT_PASSED_ON = frozenset({"connection", "transfer-encoding", "keep-alive"})  # of one connection


class Mode(StrEnum):
    """What is done about a request."""

    PASS = "pass"  # noqa: S105 - no password
    STATUS_429 = "429"
    STATUS_500 = "500"
    STATUS_503 = "503"
    HANG = "hang"
    TRUNCATE = "truncate"
    LIE = "lie"


class FaultProxy:
    """The proxy's one handler."""

    def __init__(self, upstream: str, mode_file: Path, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._mode_file = mode_file
        self._session = session

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, or do what the mode says."""
        mode = Mode(self._mode_file.read_text().strip())
        match mode:
            case Mode.STATUS_429:
                return web.Response(status=429, headers={"Retry-After": "1"})
            case Mode.STATUS_500 | Mode.STATUS_503:
                return web.Response(status=int(mode))
            case Mode.HANG:
                await asyncio.sleep(HANG_S)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _NOT_PASSED_ON}
        url = URL(f"{self._upstream}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    response.headers.add(name, value)
            response.content_length = answer.content_length
            await response.prepare(request)
            if request.method != "HEAD":
                await self._body(request, answer, response, mode)
            return response

    async def _body(
        self,
        request: web.Request,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
        mode: Mode,
    ) -> None:
        is_blob = "/blobs/" in request.path
        half = (answer.content_length or 0) // 2
        sent = 0
        async for data in answer.content.iter_chunked(READ_BYTES):
            part = data
            if is_blob and mode is Mode.LIE and sent <= half < sent + len(data):
                at = half - sent
                part = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            if is_blob and mode is Mode.TRUNCATE and sent + len(part) > half:
                await response.write(part[: half - sent])
                if request.transport is not None:
                    request.transport.close()
                return
            await response.write(part)
            sent += len(part)


async def serve(host: str, port: int, upstream: str, mode_file: Path) -> None:
    """Serve until cancelled."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        application = web.Application()
        proxy = FaultProxy(upstream, mode_file, session)
        application.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            print("ready", flush=True)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
