"""One blob on its way: what is here, who reads it, and whether its digest holds."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from shoal.adapters.store.base import PartialBlob, StoredBlob
from shoal.agent.pieces import OVERTAKEN, PieceWriter
from shoal.agent.ports import OriginGrant
from shoal.agent.workers import Workers
from shoal.core import bitmap
from shoal.core.blob import KIB, MIB, BlobSpec
from shoal.core.errors import TransferFailed
from shoal.core.peer import PeerId
from shoal.core.receipts.receipt import Receipt
from shoal.core.receipts.vouchers import Vouchers
from shoal.core.swarm.events import REGISTRY

HASH_STRETCH_BYTES = 8 * MIB  # hashed in one thread job; progress is seen between jobs
HASH_LEAST_BYTES = 4 * MIB  # of a stretch that is not the last
READ_BYTES = 256 * KIB  # stays in the processor's cache between being read and hashed
GRANTS_MOST = 32  # credentials remembered for one blob; the latest are tried first


_of_thread = threading.local()


def _read_buffer() -> memoryview:
    """Return this thread's buffer of READ_BYTES: a new one each time would cost page faults."""
    if not hasattr(_of_thread, "buffer"):
        _of_thread.buffer = memoryview(bytearray(READ_BYTES))
    buffer: memoryview = _of_thread.buffer
    return buffer


@dataclass(slots=True)
class Sources:
    """A blob's length and where its bytes came from, in bytes."""

    length_bytes: int
    origin_bytes: int = 0
    peer_bytes: int = 0
    moving_bytes: int = 0  # of pieces from peers, block by block, before they are whole
    cached_bytes: int = 0
    checked_bytes: int = 0  # hashed towards the whole digest
    turns_awaited: int = 0  # seconds in which it waited for blobs that were asked for before it


@dataclass(slots=True)
class Transfer:
    """A blob that is arriving. Lives on the event loop; hashing runs in threads."""

    partial: PartialBlob
    workers: Workers
    on_reader: Callable[["Transfer"], None]  # readers came, moved or went
    on_verified: Callable[["Transfer", bool], None]  # the whole digest was checked
    vouchers: Vouchers = field(init=False)
    held: int = 0
    grants: dict[OriginGrant, None] = field(default_factory=dict)
    suppliers: dict[int, PeerId] = field(default_factory=dict)
    sources: Sources = field(init=False)
    readers: set["TransferReader"] = field(default_factory=set)
    writers: dict[int, "PieceWriter"] = field(default_factory=dict)
    wanted: bool = False  # the swarm was told of it
    verified: bool = False
    wrong: bool = False  # all of it came, and the whole digest does not hold
    was_read: bool = False  # by a client; bytes of it may have been found wrong there
    failure: str | None = None
    _sha: "hashlib._Hash" = field(init=False)
    _hashed_pieces: int = 0
    _hashing: bool = False
    _waiting: set[asyncio.Future[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sources = Sources(self.spec.length_bytes)
        self._sha = hashlib.new(self.spec.digest.algorithm)
        self.vouchers = Vouchers(self.spec, self.partial.held())
        for piece in self.hashes:
            self.held |= 1 << piece
            self.sources.cached_bytes += self.spec.size(piece)

    @property
    def spec(self) -> BlobSpec:
        """Which blob this is."""
        return self.partial.spec

    @property
    def hashes(self) -> dict[int, bytes]:
        """Those of the pieces that are here."""
        return self.vouchers.hashes

    def granted(self, grant: OriginGrant) -> None:
        """Another right to ask the registry; the latest is tried first."""
        self.grants.pop(grant, None)
        self.grants[grant] = None
        if len(self.grants) > GRANTS_MOST:
            del self.grants[next(iter(self.grants))]

    def claim(self, piece: int, writer: PieceWriter) -> bool:
        """Let `writer` write `piece`; return False if it is here or somebody is writing it.

        One writer a piece, and none once it is here: bytes that were checked are never written
        over by bytes that were not.
        """
        if self.held >> piece & 1:
            return False
        present = self.writers.get(piece)
        if present is not None and not present.stalled:
            return False
        self.writers[piece] = writer
        if present is not None:
            present.abandon(OVERTAKEN)
        return True

    def unclaim(self, piece: int, writer: PieceWriter) -> None:
        """`writer` is done with `piece`."""
        if self.writers.get(piece) is writer:
            del self.writers[piece]

    def stored(
        self, piece: int, hash_: bytes, source: PeerId, receipt: Receipt | None = None
    ) -> None:
        """A piece is in the file and passed its check; from a peer perhaps with a receipt."""
        self.hashes[piece] = hash_
        self.suppliers[piece] = source
        if source == REGISTRY:
            self.vouchers.own |= 1 << piece
        elif receipt is not None:
            self.vouchers.receipts[piece] = receipt
        self.held |= 1 << piece
        self.wake()
        self.hash_on()

    def hash_on(self) -> None:
        """Hash whatever now continues the stretch that was hashed, in a thread."""
        if self._hashing or self.verified or self.failure is not None:
            return
        ready = self._pieces_from(self._hashed_pieces)
        rest = self.spec.pieces - self._hashed_pieces
        if ready < rest and ready * self.spec.piece_bytes < HASH_LEAST_BYTES:
            return  # a thread job costs as much as hashing some hundred kilobytes
        count = min(ready, max(1, HASH_STRETCH_BYTES // self.spec.piece_bytes))
        self._hashing = True
        self.workers.submit(
            self._hash,
            self._hashed_pieces,
            count,
            told=lambda _, error: self._hashed(count, error),
        )

    def _hash(self, first: int, count: int) -> None:
        at = self.spec.offset(first)
        end = min(self.spec.offset(first + count), self.spec.length_bytes)
        view = _read_buffer()
        while at < end:
            read = os.preadv(self.partial.fd, [view[: end - at]], at)
            if not read:
                raise OSError(f"{self.spec.digest}: the part file ends at {at}")
            self._sha.update(view[:read])
            at += read

    def _hashed(self, count: int, error: BaseException | None) -> None:
        self._hashing = False
        if self.failure is not None:
            return
        if error is not None:
            self.fail(f"cannot be read back: {error}")
            return
        self._hashed_pieces += count
        self.sources.checked_bytes = min(
            self.spec.offset(self._hashed_pieces), self.spec.length_bytes
        )
        if self._hashed_pieces < self.spec.pieces:
            self.hash_on()
            return
        self.verified = self._sha.hexdigest() == self.spec.digest.hex
        self.wrong = not self.verified
        if self.wrong:
            self.fail("the bytes that came are not what the digest says")
        self.wake()
        self.on_verified(self, self.verified)

    def _pieces_from(self, piece: int) -> int:
        """How many adjacent pieces are here, from `piece` on."""
        here = self.held >> piece
        return (~here & (here + 1)).bit_length() - 1

    def readable_from(self, start: int) -> int:
        """Return the end of the stretch from byte `start` on that a client may have."""
        if self.verified:
            return self.spec.length_bytes
        piece = start // self.spec.piece_bytes
        end_piece = piece + self._pieces_from(piece)
        # Nobody completes a blob that was not verified: the last piece is held back.
        end_piece = min(end_piece, self.spec.pieces - 1)
        return max(start, self.spec.offset(end_piece)) if end_piece > piece else start

    def fail(self, reason: str) -> None:
        """Tell every reader that this blob will not come."""
        if self.failure is None and not self.verified:
            self.failure = reason
            self.wake()

    def wake(self) -> None:
        """Let the readers look again."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self) -> None:
        """Wait until something changed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def reader(self, *, withheld_s: float | None = None) -> "TransferReader":
        """Return a new reader; its descriptor is its own.

        Args:
            withheld_s: it gets no byte before the whole digest holds, and waits for that for so
                many seconds at most; None for one that reads what comes.
        """
        reader = TransferReader(self, os.dup(self.partial.fd), withheld_s=withheld_s)
        self.was_read = True
        self.readers.add(reader)
        self.on_reader(self)
        return reader

    def reader_piece(self) -> int:
        """The piece that the furthest-behind reader waits for."""
        return min((reader.piece for reader in self.readers), default=0)

    def missing(self) -> int:
        """Bitmap of the pieces that are not here."""
        return bitmap.full(self.spec.pieces) & ~self.held


class TransferReader:
    """One client of a blob that is arriving; see `shoal.agent.ports.BlobReader`."""

    def __init__(self, transfer: Transfer, fd: int, *, withheld_s: float | None) -> None:
        self._transfer = transfer
        self._fd = fd
        self._withheld_s = withheld_s
        self._closed = False
        self.piece = 0

    @property
    def spec(self) -> BlobSpec:
        """Which blob."""
        return self._transfer.spec

    @property
    def fd(self) -> int:
        """The file to send from; valid until `close`."""
        return self._fd

    async def readable(self, start: int) -> int:
        """Wait until bytes from `start` on may be sent; return the end of the stretch.

        Raises:
            TransferFailed: the blob will not come.
        """
        if self._withheld_s is None:
            return await self._readable(start, when_verified=False)
        try:
            async with asyncio.timeout(self._withheld_s):
                return await self._readable(start, when_verified=True)
        except TimeoutError as error:
            raise TransferFailed(
                f"{self.spec.digest}: was wrong or was cut, and is not whole again after "
                f"{self._withheld_s:g} s"
            ) from error

    async def _readable(self, start: int, *, when_verified: bool) -> int:
        transfer = self._transfer
        piece = min(start // self.spec.piece_bytes, max(0, self.spec.pieces - 1))
        if piece != self.piece:
            self.piece = piece
            transfer.on_reader(transfer)
        while True:
            if transfer.failure is not None:
                raise TransferFailed(f"{self.spec.digest}: {transfer.failure}")
            withheld = when_verified and not transfer.verified
            end = start if withheld else transfer.readable_from(start)
            if end > start or start >= self.spec.length_bytes:
                return end
            await transfer.changed()

    def close(self) -> None:
        """The client has left or has everything. Idempotent."""
        if self._closed:
            return
        self._closed = True
        os.close(self._fd)
        self._transfer.readers.discard(self)
        self._transfer.on_reader(self._transfer)


class StoredReader:
    """One client of a blob that is here whole; see `shoal.agent.ports.BlobReader`."""

    def __init__(self, spec: BlobSpec, stored: StoredBlob) -> None:
        self._spec = spec
        self._stored = stored

    @property
    def spec(self) -> BlobSpec:
        """Which blob."""
        return self._spec

    @property
    def fd(self) -> int:
        """The file to send from; valid until `close`."""
        return self._stored.fd

    async def readable(self, start: int) -> int:
        """Return the blob's end: all of it may be sent."""
        return max(start, self._spec.length_bytes)

    def close(self) -> None:
        """The client has left or has everything. Idempotent."""
        self._stored.close()
