"""Pieces on their way into the store: buffers in, hashed and written in threads, recorded.

A piece's bytes come in order, from one source. They are hashed and written in the same thread job,
a megabyte at a time, so that no byte is touched twice and memory is bounded however long a piece
is.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from shoal.adapters.store.base import PartialBlob
from shoal.agent.workers import Workers
from shoal.core.blob import KIB, MIB, BlobSpec
from shoal.core.errors import PeerFault, StoreError
from shoal.core.wire.messages import Block

SEGMENT_BYTES = 1 * MIB  # a multiple of the wire's block; one thread job
STALLED_S = 1.0  # after which another source may write the piece instead
# Bytes of a piece that show that it is on its way; fewer within the swarm's patience (`stall_s`)
# are a drip, which keeps nobody from asking elsewhere. Half of the shortest block of an agent.
PROGRESS_LEAST_BYTES = 16 * KIB
SEGMENTS_MOST = 48  # of all pieces arriving from peers: 48 MiB, unless limits.memory_bytes differs


@dataclass(slots=True)
class Segments:
    """The buffers into which peers' bytes are received, reused to spare page faults."""

    on_free: Callable[[], None]  # a buffer is there again, after `take` had none
    free: list[bytearray] = field(default_factory=list)
    out: int = 0
    most: int = SEGMENTS_MOST
    _sought: bool = False

    def take(self) -> bytearray | None:
        """Return a buffer of SEGMENT_BYTES, or None when all are in use."""
        if self.out >= self.most:
            self._sought = True
            return None
        self.out += 1
        return self.free.pop() if self.free else bytearray(SEGMENT_BYTES)

    def give(self, segment: bytearray) -> None:
        """Return a buffer for reuse."""
        self.out -= 1
        if len(self.free) < self.most // 4:
            self.free.append(segment)
        if self._sought:
            self._sought = False
            self.on_free()

    def drop_spare(self) -> None:
        """Keep none for reuse but those that are in use."""
        self.free.clear()

    def limit(self, most: int) -> None:
        """Have so many buffers from now on; those in use stay so."""
        self.most = most
        del self.free[most // 4 :]
        if self._sought and self.out < most:
            self._sought = False
            self.on_free()


Buffers = Sequence[bytes | bytearray | memoryview]
WRONG_HASH = "fails its hash"
OVERTAKEN = "another source sends it faster"
GONE = "its source is gone"
SOURCE_FAULTS = frozenset({WRONG_HASH, OVERTAKEN, GONE})  # any other reason is the store's
# Told once, on the event loop: the piece's hash if it is whole and right, else why not.
Done = Callable[[bytes | None, str], None]


class PieceWriter:
    """One piece being written. Not for use after `done` was called."""

    def __init__(
        self,
        partial: PartialBlob,
        piece: int,
        *,
        expected_hash: bytes | None,
        workers: Workers,
        done: Done,
    ) -> None:
        self._partial = partial
        self._piece = piece
        self._expected = expected_hash
        self._workers = workers
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._hasher = blake3()
        self._at = partial.spec.offset(piece)
        self._end = self._at + partial.spec.size(piece)
        self._queue: list[tuple[Buffers, Callable[[], None]]] = []
        self._running = False
        self._drained: asyncio.Future[None] | None = None
        self._over = False
        self._why = ""  # it was abandoned, while bytes were being written
        self._put_s = self._loop.time()

    def put(self, buffers: Buffers, written: Callable[[], None]) -> None:
        """Take the next bytes of the piece; `written` is called when they may be reused."""
        if self._over:
            written()  # overtaken meanwhile: these bytes must not reach the file
            return
        self._put_s = self._loop.time()
        self._queue.append((buffers, written))
        self._pump()

    @property
    def stalled(self) -> bool:
        """No byte is being written, and none was brought lately."""
        quiet_s = self._loop.time() - self._put_s
        return not self._running and not self._queue and quiet_s > STALLED_S

    async def drained(self) -> None:
        """Wait until what was put has been written."""
        while self._running:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def abandon(self, reason: str) -> None:
        """No more bytes will come; `done` hears why, once what is being written is written."""
        self._finish(None, reason)

    def _pump(self) -> None:
        if self._running or not self._queue:
            return
        buffers, self._written = self._queue.pop(0)
        self._running = True
        self._workers.do(self._write, buffers, told=self._wrote)

    def _write(self, buffers: Buffers) -> None:
        for buffer in buffers:
            self._hasher.update(buffer)
            self._partial.write(self._at, buffer)
            self._at += len(buffer)
        if self._at == self._end and self._expected in (None, self._hasher.digest()):
            self._partial.mark(self._piece, self._hasher.digest())

    def _wrote(self, _: None, error: BaseException | None) -> None:
        self._running = False
        self._written()
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
        if self._over:
            self._done(None, self._why)
        elif error is not None:
            self._finish(None, str(error) if isinstance(error, StoreError) else repr(error))
        elif self._at == self._end:
            hash_ = self._hasher.digest()
            if self._expected in (None, hash_):
                self._finish(hash_, "")
            else:
                self._finish(None, WRONG_HASH)
        else:
            self._pump()

    def _finish(self, hash_: bytes | None, reason: str) -> None:
        if self._over:
            return
        self._over = True
        for _, written in self._queue:
            written()
        self._queue.clear()
        if self._running:
            # Whoever hears of the end may let another write: so not before this one does no more.
            self._why = reason
        else:
            self._done(hash_, reason)


class IncomingPiece:
    """A piece arriving from a peer, block by block, into segments."""

    def __init__(self, writer: PieceWriter, spec: BlobSpec, piece: int, segments: Segments) -> None:
        self._writer = writer
        self._size = spec.size(piece)
        self._segments = segments
        self._segment: bytearray | None = None
        self._received = 0
        self._seen = 0  # of them, when there was progress last
        self._receiving = False  # into the segment, until the block is whole or the link is lost
        self.over = False

    def place(self, block: Block) -> memoryview | None:
        """Return where `block` is to be received, or None while no buffer is free.

        Raises:
            PeerFault: not the next block of this piece, or one that crosses a segment.
        """
        within = block.offset % SEGMENT_BYTES
        if (
            block.offset != self._received
            or block.offset + block.length > self._size
            or within + block.length > SEGMENT_BYTES
        ):
            raise PeerFault(
                f"block of {block.length} bytes at {block.offset} does not continue piece "
                f"{block.piece} at {self._received}"
            )
        if self._segment is None:
            self._segment = self._segments.take()
            if self._segment is None:
                return None
        self._receiving = True
        return memoryview(self._segment)[within : within + block.length]

    def arrived(self, block: Block) -> bool:
        """Take note that `block` is in its place; return whether the piece is whole."""
        self._receiving = False
        self._received += block.length
        whole = self._received == self._size
        if self.over:
            self.release()
        elif self._segment is not None and (whole or self._received % SEGMENT_BYTES == 0):
            segment, self._segment = self._segment, None
            length = (self._received - 1) % SEGMENT_BYTES + 1
            view = memoryview(segment)[:length]
            self._writer.put([view], lambda: self._segments.give(segment))
        return whole

    def progress(self) -> int:
        """Return how many bytes have come since the last time; 0 for so few that they are none."""
        new = self._received - self._seen
        if new < PROGRESS_LEAST_BYTES:
            return 0
        self._seen = self._received
        return new

    def abandon(self, reason: str) -> None:
        """No more bytes will come: the link is lost."""
        self._receiving = False
        self.release()
        self._writer.abandon(reason)

    def release(self) -> bool:
        """Give the buffer back, as soon as nothing is received into it; return whether it was."""
        self.over = True
        if self._receiving:
            return False
        if self._segment is not None:
            self._segments.give(self._segment)
            self._segment = None
        return True
