"""Passes the registry's answers through without keeping them: small ones, and unkept blobs."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from aiohttp import web

from shoal.adapters.origin.client import OriginStream
from shoal.agent.front.answers import Cause, Code, Refusal
from shoal.agent.front.asking import (
    Exchange,
    RegistryClient,
    ask,
    passed_on,
    unavailable,
    wire_path,
)
from shoal.agent.front.journal import Journal
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.sending import ClientStalled, cut
from shoal.core.digest import Digest
from shoal.core.errors import OriginError, OriginLied, ShoalError
from shoal.core.oci.ranges import ByteRange, parse_content_range


async def pass_small(
    client: RegistryClient, exchange: Exchange, *, timeout_s: float
) -> web.Response:
    """Return the registry's answer to a ping, a list of tags or of referrers.

    Raises:
        Refusal: it gave none that is of use.
    """
    accept = ", ".join(exchange.request.headers.getall("Accept", ())) or None
    try:
        answer = await ask(
            client,
            exchange,
            exchange.request.method,
            wire_path(exchange.target),
            accept=accept,
            timeout_s=timeout_s,
        )
    except OriginError as error:
        raise unavailable(error) from error
    response = passed_on(answer, exchange.target)
    if exchange.is_head and (length := answer.headers.get("Content-Length", "")).isdigit():
        response.headers["Content-Length"] = length
    return response


async def pass_blob(
    client: RegistryClient,
    exchange: Exchange,
    digest: Digest,
    *,
    length_bytes: int | None,
    wanted: ByteRange | None,
    headers: dict[str, str],
    journal: Journal,
    limits: FrontLimits,
) -> web.StreamResponse:
    """Stream a blob from the registry to the client without keeping it.

    The last chunk of a whole blob is held back until its digest is right. A range cannot be
    checked: the client has the rest of the blob, and checks that.

    Raises:
        Refusal: nothing was sent, and why.
        ConnectionError: the client has left, or was cut.
    """
    request_headers: dict[str, str] = {}
    if exchange.authorization is not None:
        request_headers["Authorization"] = exchange.authorization
    if wanted is not None:
        request_headers["Range"] = wanted.header
    response: web.StreamResponse | None = None
    try:
        path = exchange.target.route.path
        async with client.stream(exchange.config, path, headers=request_headers) as stream:
            _check_status(stream, digest, wanted)
            chunks = stream.chunks if wanted is not None else _checked(stream.chunks, digest)
            async for chunk in chunks:
                if response is None:
                    response = _begun(stream, length_bytes, wanted, headers)
                    await response.prepare(exchange.request)
                await _write(response, chunk, stall_s=limits.stall_s)
                journal.metrics.sent("blob", size_bytes=len(chunk))
    except ConnectionError:
        journal.refused(Cause.CLIENT_LEFT, "the client left early", fields=exchange.fields)
        raise
    except Refusal:
        raise
    except ShoalError as error:
        if response is None:
            raise Refusal(
                str(error), cause=Cause.REGISTRY_UNAVAILABLE, code=Code.BLOB_UNKNOWN
            ) from error
        stalled = isinstance(error, ClientStalled)
        journal.refused(
            Cause.CLIENT_STALLED if stalled else Cause.REGISTRY_UNAVAILABLE,
            f"cut while passing it through: {error}",
            fields=exchange.fields,
        )
        raise cut(exchange.request.transport) from error
    if response is None:
        raise Refusal(
            f"{exchange.config.name} sent no byte of {digest}",
            cause=Cause.CONTENT_WRONG,
            code=Code.BLOB_UNKNOWN,
        )
    await response.write_eof()
    return response


def _check_status(stream: OriginStream, digest: Digest, wanted: ByteRange | None) -> None:
    expected = 200 if wanted is None else 206
    if stream.status == expected:
        if wanted is None:
            return
        said = parse_content_range(stream.headers.get("Content-Range", ""))
        if (said.start, said.end) == (wanted.start, wanted.end):
            return
    raise Refusal(
        f"the registry answered {stream.status} for {digest}",
        cause=Cause.NOT_FOUND if stream.status == 404 else Cause.REGISTRY_UNAVAILABLE,
        code=Code.BLOB_UNKNOWN,
    )


def _begun(
    stream: OriginStream,
    length_bytes: int | None,
    wanted: ByteRange | None,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Return the answer's headers, in terms of what was promised to the client."""
    if wanted is not None and length_bytes is not None:
        headers["Content-Range"] = wanted.content_range(length_bytes)
        headers["Content-Length"] = str(wanted.size_bytes)
        return web.StreamResponse(status=206, headers=headers)
    said = stream.headers.get("Content-Length")
    length = str(length_bytes) if length_bytes is not None else said
    if said is not None and said != length:
        raise OriginLied(f"the registry sends {said[:32]} bytes instead of {length}", status=200)
    response = web.StreamResponse(status=200, headers=headers)
    if length is not None:
        response.content_length = int(length)
    else:
        response.enable_chunked_encoding()
    return response


async def _checked(chunks: AsyncIterator[bytes], digest: Digest) -> AsyncIterator[bytes]:
    """Yield `chunks` one late, the last only if all of them hash to `digest`.

    Raises:
        OriginLied: they do not.
    """
    hasher = hashlib.new(digest.algorithm)
    held = b""
    async for chunk in chunks:
        if held:
            yield held
        hasher.update(chunk)
        held = chunk
    if hasher.hexdigest() != digest.hex:
        raise OriginLied(f"the registry's bytes are not {digest}", status=200)
    if held:
        yield held


async def _write(response: web.StreamResponse, chunk: bytes, *, stall_s: float) -> None:
    try:
        async with asyncio.timeout(stall_s):
            await response.write(chunk)
    except TimeoutError as error:
        raise ClientStalled(f"the client took no byte for {stall_s:g} s") from error
