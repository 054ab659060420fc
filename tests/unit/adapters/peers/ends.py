"""What the tests of peer connections share: sockets that are connected, and ears to hear with."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shoal.adapters.peers.link import Link, PieceUpload
from shoal.adapters.peers.stream import PlainStream, Stream
from shoal.core.blob import KIB, BlobTag
from shoal.core.wire.codec import FrameReader
from shoal.core.wire.messages import Block, Have, Message

TAG = BlobTag(b"a blob's own tag")
HASH = bytes(range(32))


def have(*pieces: int) -> Have:
    return Have(TAG, pieces)


async def until(holds: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until `holds()`, which something on a socket will bring about."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def turns(count: int = 5) -> None:
    """Let the loop do what is ready, and what that makes ready."""
    for _ in range(count):
        await asyncio.sleep(0)


def tcp_pair(host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection."""
    with socket.create_server((host, 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


@dataclass(slots=True)
class Ear:
    """Hears what a link tells, and keeps the bytes of pieces."""

    heard: list[Message] = field(default_factory=list)
    pieces: dict[int, bytearray] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    has_room: bool = True
    on_message: Callable[[Link, Message], None] | None = None
    on_block: Callable[[Link, Block], None] | None = None
    _body: bytearray = field(default_factory=bytearray)

    def message_arrived(self, link: Link, message: Message) -> None:
        """Note it."""
        self.heard.append(message)
        if self.on_message is not None:
            self.on_message(link, message)

    def block_begins(self, link: Link, block: Block) -> memoryview | None:
        """Give room, if there is any."""
        if self.on_block is not None:
            self.on_block(link, block)
        if not self.has_room:
            return None
        self._body = bytearray(block.length)
        return memoryview(self._body)

    def block_arrived(self, link: Link, block: Block) -> None:
        """Keep the bytes."""
        self.heard.append(block)
        piece = self.pieces.setdefault(block.piece, bytearray())
        assert len(piece) == block.offset, "a block out of order"
        piece += self._body

    def link_lost(self, link: Link, reason: str) -> None:
        """Note it."""
        assert link.closed
        self.lost.append(reason)


async def stream_pair() -> tuple[Stream, Stream]:
    """Return both ends of a connection. `test_link.py` has TLS in its place, too."""
    one, other = tcp_pair()
    return PlainStream(one), PlainStream(other)


@asynccontextmanager
async def two_links() -> AsyncIterator[tuple[Link, Ear, Link, Ear]]:
    """Connect two links."""
    one, other = await stream_pair()
    one_ear, other_ear = Ear(), Ear()
    left = Link(one, one_ear, initiator=True, remote_host="127.0.0.1")
    right = Link(other, other_ear, initiator=False, remote_host="127.0.0.1")
    try:
        yield left, one_ear, right, other_ear
    finally:
        left.close("the test is over")
        right.close("the test is over")


@asynccontextmanager
async def link_and_stranger() -> AsyncIterator[tuple[Link, Ear, socket.socket]]:
    """Connect a link to a bare socket, which blocks and gives up after 30 s."""
    one, stranger = tcp_pair()
    stranger.settimeout(30.0)
    ear = Ear()
    link = Link(PlainStream(one), ear, initiator=False, remote_host="127.0.0.1")
    try:
        yield link, ear, stranger
    finally:
        link.close("the test is over")
        stranger.close()


@dataclass(slots=True)
class Outgoing:
    """A piece of a file to send, and what became of it."""

    data: bytes
    ended: list[bool] = field(default_factory=list)

    def upload(
        self, piece: int = 0, *, offset: int = 0, size: int | None = None, tag: BlobTag = TAG
    ) -> PieceUpload:
        """Return the upload of `data`, which begins at `offset` of its file."""
        fd = os.memfd_create("piece")
        os.pwrite(fd, self.data, offset)
        size = len(self.data) if size is None else size
        return PieceUpload(tag, piece, HASH, fd, offset, size, self.ended.append)


def cut(stream: bytes) -> list[Message]:
    """Return the messages of what came over a connection, without the bytes of pieces."""
    frames = FrameReader()
    frames.feed(stream)
    messages: list[Message] = []
    while (message := frames.next()) is not None:
        messages.append(message)
        if isinstance(message, Block):
            frames.take(message.length)
    return messages


PIECE = os.urandom(700 * KIB + 1)  # several blocks and a short one
