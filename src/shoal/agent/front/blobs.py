"""Blobs: the access check, then bytes from transfers as they become readable.

Before the headers a failure is a 404, after them a cut: containerd asks the registry, or comes back
with a Range. Headers are therefore sent only once the first bytes are at hand.
"""

import asyncio
import hashlib
from dataclasses import dataclass

from aiohttp import web

from shoal.agent.front.answers import API_VERSION, OCTET_STREAM, Cause, Code, Refusal
from shoal.agent.front.asking import Exchange, RegistryClient
from shoal.agent.front.gate import Gate
from shoal.agent.front.journal import Journal
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.passing import pass_blob
from shoal.agent.front.progress import (
    Progress,
    StalledLately,
    readable_while_progressing,
)
from shoal.agent.front.sending import ClientStalled, FileSender, cut
from shoal.agent.ports import BlobReader, Transfers
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, OriginDenied, ShoalError, StoreFull, TransferFailed
from shoal.core.oci.ranges import ByteRange, RangeNotSatisfiable, parse_range
from shoal.core.oci.routes import BlobRoute


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The bytes that a GET asks for."""

    digest: Digest
    length_bytes: int
    range: ByteRange | None

    @property
    def start(self) -> int:
        return self.range.start if self.range is not None else 0

    @property
    def end(self) -> int:
        return self.range.end if self.range is not None else self.length_bytes

    def response(self) -> web.StreamResponse:
        """Return the answer's headers."""
        headers = _headers(self.digest)
        headers["Content-Length"] = str(self.end - self.start)
        if self.range is None:
            return web.StreamResponse(status=200, headers=headers)
        headers["Content-Range"] = self.range.content_range(self.length_bytes)
        return web.StreamResponse(status=206, headers=headers)


class BlobAnswers:
    """Answers GET and HEAD of blobs."""

    def __init__(
        self,
        client: RegistryClient,
        gate: Gate,
        transfers: Transfers,
        *,
        progress: Progress,
        journal: Journal,
        limits: FrontLimits,
    ) -> None:
        self._client = client
        self._gate = gate
        self._transfers = transfers
        self._progress = progress
        self._journal = journal
        self._limits = limits
        self._stalled = StalledLately(
            limit_s=limits.progress_s,
            again_s=limits.progress_again_s,
            lately_s=limits.stalled_lately_s,
        )

    async def answer(self, exchange: Exchange, route: BlobRoute) -> web.StreamResponse:
        """Answer a request for a blob.

        Raises:
            Refusal: no content was sent, and why.
            PassedOn: the registry's own answer is the answer.
            ConnectionError: the client has left, or was cut.
        """
        digest = route.digest
        facts = await self._gate.blob(exchange, digest)
        if facts.length_bytes is None:  # a registry that does not tell lengths
            if exchange.is_head:
                return web.Response(headers=_headers(digest))
            return await self._pass(exchange, _Wanted(digest, 0, None), length_known=False)
        if exchange.request.headers.get("If-None-Match") in (f'"{digest}"', "*"):
            return web.Response(status=304, headers=_headers(digest))
        if exchange.is_head:
            headers = _headers(digest)
            headers["Content-Length"] = str(facts.length_bytes)
            return web.Response(headers=headers)
        wanted = _wanted(exchange, digest, facts.length_bytes)
        if facts.length_bytes == 0:
            return _empty(digest)
        try:
            reader = await self._open(exchange, wanted)
        except StoreFull as error:
            self._journal.refused(
                Cause.TRANSFER_FAILED, f"passed through unkept: {error}", fields=exchange.fields
            )
            try:
                return await self._pass(exchange, wanted, length_known=True)
            except ConnectionError:
                self._transfers.passed_on(
                    BlobSpec(exchange.config.name, digest, wanted.length_bytes)
                )
                raise
        try:
            return await self._serve(exchange, reader, wanted)
        finally:
            reader.close()

    async def _open(self, exchange: Exchange, wanted: _Wanted) -> BlobReader:
        """Open a reader, and start the rest of the image if this is its first blob."""
        digest = wanted.digest
        spec = BlobSpec(exchange.config.name, digest, wanted.length_bytes)
        try:
            async with asyncio.timeout(self._limits.progress_s):
                reader = await self._transfers.open(
                    spec, exchange.grant, from_start=wanted.start == 0
                )
        except StoreFull:
            raise
        except TimeoutError as error:
            raise _failed(f"{digest} could not be opened in time") from error
        except ShoalError as error:
            raise _failed(str(error)) from error
        if ahead := self._gate.ahead(exchange, digest):
            specs = [BlobSpec(exchange.config.name, d, n) for d, n in ahead if n > 0]
            self._transfers.prefetch(specs, exchange.grant)
        return reader

    async def _serve(
        self, exchange: Exchange, reader: BlobReader, wanted: _Wanted
    ) -> web.StreamResponse:
        if reader.spec.length_bytes != wanted.length_bytes:
            # The manifest lied, or the registry did; the blob that is here was checked.
            wanted = _wanted(exchange, wanted.digest, reader.spec.length_bytes)
        try:
            end = await self._readable(reader, wanted.start)
        except OriginDenied as error:
            # Another client's credential began this transfer, or ours has expired since the check.
            self._gate.refused(exchange.holder)
            raise _failed(str(error)) from error
        except ShoalError as error:
            raise _failed(str(error)) from error
        response = wanted.response()
        await response.prepare(exchange.request)
        transport = exchange.request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        sender = FileSender(transport, stall_s=self._limits.stall_s)
        try:
            with sender:
                await sender.flushed()
                at = wanted.start
                while at < wanted.end:
                    if end <= at:
                        end = await self._readable(reader, at)
                    stretch_end = min(end, wanted.end, at + self._limits.stretch_bytes)
                    await sender.send(reader.fd, start=at, end=stretch_end)
                    at = stretch_end
        except ConnectionError:
            self._journal.refused(
                Cause.CLIENT_LEFT, "the client left early", fields=exchange.fields
            )
            raise
        except (ShoalError, OSError) as error:
            stalled = isinstance(error, ClientStalled)
            self._journal.refused(
                Cause.CLIENT_STALLED if stalled else Cause.TRANSFER_FAILED,
                f"cut after {sender.sent_bytes} of {wanted.end - wanted.start} bytes: {error}",
                fields=exchange.fields,
            )
            raise cut(transport) from error
        finally:
            self._journal.metrics.sent("blob", size_bytes=sender.sent_bytes)
        await response.write_eof()
        return response

    async def _readable(self, reader: BlobReader, at: int) -> int:
        loop = asyncio.get_running_loop()
        digest = reader.spec.digest
        limit_s = self._stalled.limit_s(digest, now_s=loop.time())
        try:
            end = await readable_while_progressing(
                reader, at, progress=self._progress, limit_s=limit_s
            )
        except TransferFailed:
            self._stalled.add(digest, now_s=loop.time())
            raise
        if end <= at:
            raise TransferFailed(f"{digest}: nothing readable at byte {at}")
        return end

    async def _pass(
        self, exchange: Exchange, wanted: _Wanted, *, length_known: bool
    ) -> web.StreamResponse:
        return await pass_blob(
            self._client,
            exchange,
            wanted.digest,
            length_bytes=wanted.length_bytes if length_known else None,
            wanted=wanted.range,
            headers=_headers(wanted.digest),
            journal=self._journal,
            limits=self._limits,
        )


def _headers(digest: Digest) -> dict[str, str]:
    return {
        **API_VERSION,
        "Accept-Ranges": "bytes",
        "Content-Type": OCTET_STREAM,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
    }


def _wanted(exchange: Exchange, digest: Digest, length_bytes: int) -> _Wanted:
    headers = exchange.request.headers
    asked = headers.get("Range")
    # Source: RFC 9110 section 13.1.5: a Range for another version of the content means all of it.
    if headers.get("If-Range", f'"{digest}"') != f'"{digest}"':
        asked = None
    try:
        return _Wanted(digest, length_bytes, parse_range(asked, length_bytes=length_bytes))
    except RangeNotSatisfiable as error:
        raise Refusal(
            str(error),
            cause=Cause.RANGE,
            status=416,
            code=Code.RANGE_INVALID,
            headers={"Content-Range": error.content_range},
        ) from error
    except BadInput as error:
        raise Refusal(str(error), cause=Cause.RANGE, status=400, code=Code.RANGE_INVALID) from error


def _empty(digest: Digest) -> web.Response:
    if hashlib.new(digest.algorithm).hexdigest() != digest.hex:
        raise Refusal(
            f"{digest} was said to be empty, which it is not",
            cause=Cause.CONTENT_WRONG,
            code=Code.BLOB_UNKNOWN,
        )
    return web.Response(body=b"", headers=_headers(digest))


def _failed(reason: str) -> Refusal:
    return Refusal(reason, cause=Cause.TRANSFER_FAILED, code=Code.BLOB_UNKNOWN)
