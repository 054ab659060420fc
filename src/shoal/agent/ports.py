"""The seams inside the agent: what the front asks of transfers, and transfers of the registry."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from shoal.core.blob import BlobSpec


@dataclass(frozen=True, slots=True)
class OriginGrant:
    """By which right this node may ask the registry for a blob: where, and with which header.

    `authorization` is the client's Authorization header, or None for anonymous. It is forwarded to
    the registry's own host only, and never logged: repr leaves it out.
    """

    repository: str
    authorization: str | None = field(default=None, repr=False)


class BlobReader(Protocol):
    """One client's view of a blob, whole or still arriving."""

    @property
    def spec(self) -> BlobSpec:
        """Which blob."""
        ...

    @property
    def fd(self) -> int:
        """The file to send from; valid until `close`."""
        ...

    async def readable(self, start: int) -> int:
        """Wait until bytes from `start` on may be sent; return the end (exclusive) of the stretch.

        The last piece becomes readable only once the whole blob's digest was checked; a blob of
        one piece is therefore held whole. Tells the swarm where this reader is.

        Raises:
            TransferFailed: the blob cannot be had, or made no progress within the bound. What was
                returned before stays right unless the digest check failed (then cut the client).
        """
        ...

    def close(self) -> None:
        """The client has left or has everything. Idempotent."""
        ...


class Transfers(Protocol):
    """Blobs, from this node's store, its peers or the registry."""

    async def open(
        self, spec: BlobSpec, grant: OriginGrant, *, from_start: bool = False
    ) -> BlobReader:
        """Return a reader for `spec`, starting or joining its transfer if the store lacks it.

        Args:
            spec: which blob.
            grant: the right to ask the registry for it.
            from_start: the client wants byte 0. One that does so again may have met wrong bytes.

        Raises:
            StoreFull: there is no room for it: the caller passes the registry's bytes through.
            TransferFailed: a client that does not begin at byte 0 may have read wrong ones before.
        """
        ...

    def prefetch(self, specs: list[BlobSpec], grant: OriginGrant) -> None:
        """Start transfers that a client is about to want, in this order; returns at once."""
        ...

    def passed_on(self, spec: BlobSpec) -> None:
        """A client that was sent the registry's bytes unkept did not get all, or not the right.

        It comes back for the first byte, and shall not meet wrong ones again.
        """
        ...

    def keep(self, spec: BlobSpec, body: bytes) -> None:
        """Keep small content that the caller has whole, and checked; returns at once."""
        ...


class Origin(Protocol):
    """What transfers need of the registry client."""

    def fetch(
        self, spec: BlobSpec, grant: OriginGrant, *, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open bytes [start, end) of a blob or manifest at the registry (or its storage).

        The iterator yields exactly end - start bytes in chunks of any size.

        Raises (on entry or while iterating):
            OriginDenied: 401 or 403.
            OriginLied: another length, another range, a 200 to a Range that is not the whole blob,
                more bytes than asked.
            OriginError: anything else: refused, no progress for 6 s, 404, 429 (with
                `retry_after_s`), 5xx, redirect loop, cut early.
        """
        ...
