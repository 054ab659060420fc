"""One connection to a peer: messages both ways, and bytes of pieces.

Control messages go before the next block of a piece; blocks are as long as the connection is fast,
so that a message waits for some hundredths of a second at most, and a fast link is not busy with
heads. Bytes of a piece leave from their file and arrive in the buffer that the handler names: over
plain TCP they never become Python objects. Which of the two is below, TCP or TLS, the link does not
know (`Stream`). asyncio's own transports are not used: its sendfile stops reading from the
connection until it is done, and two peers that send to each other would wait for each other for
ever.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shoal.adapters.peers.gate import Gate, UploadPace
from shoal.adapters.peers.stream import Stream
from shoal.adapters.peers.waking import Waking
from shoal.core.blob import BlobTag
from shoal.core.errors import PeerFault
from shoal.core.trust.identity import Refused
from shoal.core.wire.block_length import BlockLength
from shoal.core.wire.codec import FrameReader, encode
from shoal.core.wire.messages import Block, Message

if TYPE_CHECKING:
    from shoal.core.peer import PeerId

# Blocks that the kernel may hold unsent of a connection. One: the link does not idle while Python
# looks elsewhere, no control message is queued behind megabytes, and a piece counts as sent, which
# frees its upload slot, when little of it is left to send.
UNSENT_BLOCKS = 1
# Blocks that one wake-up may send before other connections get their turn.
TURN_BLOCKS = 4
# Bytes that one wake-up may read where the stream has more than the socket shows, before other
# connections get their turn.
READ_TURN_BYTES = 1024 * 1024
CONTROL_QUEUE_BYTES_MOST = 4 * 1024 * 1024

# Control bytes land here first; parsing is synchronous, so all connections share it.
_scratch = bytearray(64 * 1024)
_scratch_view = memoryview(_scratch)
# What comes after a block goes there too; no more than this, for the next block's bytes, which are
# copied once more if they are read together with its head.
_after_block = _scratch_view[:4096]


class Handler(Protocol):
    """What a link tells its owner. Called on the event loop; must not block."""

    def message_arrived(self, link: "Link", message: Message) -> None:
        """`message` came, in order."""
        ...

    def block_begins(self, link: "Link", block: Block) -> memoryview | None:
        """Return where the block's bytes are to be put (exactly its length), or None for no room.

        After None, nothing is read from the link until `Link.resume_reading`, which asks again.

        Raises:
            PeerFault: the block makes no sense; the link is closed.
        """
        ...

    def block_arrived(self, link: "Link", block: Block) -> None:
        """The bytes of `block` are in the place that `block_begins` named."""
        ...

    def link_lost(self, link: "Link", reason: str) -> None:
        """The connection is gone; called once."""
        ...


@dataclass(slots=True)
class PieceUpload:
    """A piece on its way out. The link owns `fd` and closes it."""

    tag: BlobTag
    piece: int
    piece_hash: bytes
    fd: int
    offset: int  # of the piece in the file, bytes
    size: int
    ended: Callable[[bool], None]  # told once: whether all of it was handed to the kernel
    sent: int = 0

    def end(self, whole: bool) -> None:
        """Release the file and tell whoever asked."""
        os.close(self.fd)
        self.ended(whole)


class Link:
    """A connection to a peer. Owned by the event loop it was made on."""

    def __init__(
        self, stream: Stream, handler: Handler, *, initiator: bool, remote_host: str
    ) -> None:
        self.peer: PeerId | None = None  # known after its Hello
        self.initiator = initiator
        self.remote_host = remote_host
        self.received_bytes = 0
        self.sent_bytes = 0
        self.heard_s = 0.0
        self.spoke_s = 0.0
        self.refusal: Refused | None = None
        """Why it was closed, where one end refused the other for what it is."""
        self.stream = stream
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._block: Block | None = None
        self._body: memoryview | None = None
        self._filled = 0
        self._waking = Waking()
        self._wake_bytes = 1  # as the kernel was told
        self._block_began_s = 0.0
        self._block_length = BlockLength()
        self._head_sent_s = 0.0
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._uploads: deque[PieceUpload] = deque()
        self._rest: memoryview | None = None  # of a frame that the socket took in part
        self._body_left = 0  # bytes of the current block still to be sent
        self._writing = False
        self._paused = False
        self.gate: Gate | None = None
        self.closed = False
        stream.set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fit_queue()
        self.heard_s = self.spoke_s = self._loop.time()
        self._loop.add_reader(stream.fileno(), self._readable)

    # --- out ----------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a control message; it goes before the next block."""
        if self.closed:
            return
        frame = encode(message)
        self._control.append(frame)
        self._control_bytes += len(frame)
        if self._control_bytes > CONTROL_QUEUE_BYTES_MOST:
            self.close(f"{self._control_bytes} bytes of messages wait: the peer does not read")
            return
        self._want_to_write()

    def send_piece(self, upload: PieceUpload) -> None:
        """Queue a piece; pieces go one after the other."""
        if self.closed:
            upload.end(False)
            return
        self._uploads.append(upload)
        self._want_to_write()

    def gated_by(self, pace: UploadPace | None) -> Gate:
        """Return the gate that pieces pass from now on: its own, or one that asks `pace`."""
        if self.gate is None:
            self.gate = Gate(pace, self._want_to_write)
        return self.gate

    @property
    def waiting(self) -> bool:
        """Whether anything waits for the connection to be sent."""
        if self._control or self._rest or self._body_left:
            return True
        return bool(self._uploads) and not (self.gate is not None and self.gate.holds)

    def _want_to_write(self) -> None:
        """Send now if the kernel takes it, else when it does."""
        if self._writing:
            return
        self._writing = True
        self._loop.call_soon(self._write_first)

    def _write_first(self) -> None:
        if not self.closed and not self._write_turn():
            self._loop.add_writer(self.stream.fileno(), self._writable)

    def _writable(self) -> None:
        if self._write_turn() and not self.closed:
            self._loop.remove_writer(self.stream.fileno())

    def _write_turn(self) -> bool:
        """Send until the kernel takes no more or it is others' turn; return whether that was all.

        It also was if the link was closed meanwhile.
        """
        try:
            turn = TURN_BLOCKS * self._block_length.bytes
            while turn > 0:
                sent = self._write_some()
                if sent < 0:
                    self._writing = False
                    return True
                turn -= sent
                self.sent_bytes += sent
                self.spoke_s = self._loop.time()
        except BlockingIOError:
            return False
        except Refused as refused:
            self.refuse(refused)
        except OSError as error:
            self.close(f"sending failed: {error.strerror or error}")
        return self.closed

    def _write_some(self) -> int:
        """Send the next stretch; return its bytes, or -1 when nothing is left to send."""
        if self._rest is not None:
            sent = self.stream.send(self._rest)
            self._rest = self._rest[sent:] if sent < len(self._rest) else None
            return sent
        if self._body_left:
            return self._write_body()
        if self._control:
            frames = b"".join(self._control)
            self._control.clear()
            self._control_bytes = 0
            self._rest = memoryview(frames)
            return 0
        if self._uploads:
            upload = self._uploads[0]
            length = self._block_length.next(sent=upload.sent, size=upload.size)
            if self.gate is not None and not (length := self.gate.room(upload.tag, length)):
                return -1
            block = Block(upload.tag, upload.piece, upload.sent, length, upload.piece_hash)
            head = encode(block)
            if self.gate is not None:
                self.gate.sent(length)
            sent = self.stream.send_head(head)
            self._rest = memoryview(head)[sent:] if sent < len(head) else None
            self._body_left = length
            self._head_sent_s = self._loop.time()
            return sent
        return -1

    def _write_body(self) -> int:
        upload = self._uploads[0]
        sent = self.stream.send_file(upload.fd, upload.offset + upload.sent, self._body_left)
        if sent == 0:
            raise OSError(f"piece {upload.piece}: the file ends before the piece does")
        upload.sent += sent
        self._body_left -= sent
        if not self._body_left and self._block_length.took(self._loop.time() - self._head_sent_s):
            self._fit_queue()
        if upload.sent == upload.size:
            self._uploads.popleft()
            upload.end(True)
        return sent

    def _fit_queue(self) -> None:
        """Let the kernel hold as many blocks as it should."""
        with suppress(OSError):  # a kernel without it only queues more
            unsent_bytes = UNSENT_BLOCKS * self._block_length.bytes
            self.stream.set_option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)

    # --- in -----------------------------------------------------------------------------------

    def _read_on(self) -> None:
        """Go on with what the stream has and the socket does not show."""
        if not self.closed and not self._paused:
            self._readable()

    def _readable(self) -> None:
        # Something came, though perhaps not all of what the stream must have to show any of it.
        self.heard_s = self._loop.time()
        try:
            turn = READ_TURN_BYTES
            while count := self._read_some():
                turn -= count
                if self.closed or self._paused or not self.stream.more:
                    break
                if turn <= 0:
                    self._loop.call_soon(self._read_on)
                    break
            else:
                self.close("the peer closed the connection")
        except (BlockingIOError, InterruptedError):
            pass
        except Refused as refused:
            self.refuse(refused)
            return
        except PeerFault as fault:
            self.close(f"broke the protocol: {fault}")
        except OSError as error:
            self.close(f"receiving failed: {error.strerror or error}")
        self._set_wake()

    def _read_some(self) -> int:
        """Read what is there, as far as it goes to one place; return the bytes, 0 at the end."""
        if self._body is not None:
            count = self.stream.receive(self._body[self._filled :], _after_block)
        else:
            count = self.stream.receive(_scratch_view)
        if count:
            self.received_bytes += count
            self._take(count)
        return count

    def _set_wake(self) -> None:
        """Tell the kernel how many bytes are worth a wake-up."""
        wake_bytes = 1
        if self._body is not None:
            sure_bytes = len(self._body) - self._filled - self.stream.unshown_bytes
            wake_bytes = self._waking.bytes(sure_bytes)
        if wake_bytes != self._wake_bytes and not self.closed:
            self._wake_bytes = wake_bytes
            self.stream.set_option(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wake_bytes)

    def _take(self, count: int) -> None:
        if self._body is not None:
            into_body = min(count, len(self._body) - self._filled)
            self._filled += into_body
            count -= into_body
            if self._filled < len(self._body):
                return
            self._body_ends()
        if count:
            self._frames.feed(_scratch_view[:count])
        self._parse()

    def _parse(self) -> None:
        while not self.closed and not self._paused:
            if self._block is not None and not self._begin_body():
                return
            message = self._frames.next()
            if message is None:
                return
            if isinstance(message, Block):
                self._block = message
            else:
                self._handler.message_arrived(self, message)

    def _begin_body(self) -> bool:
        """Find a place for the current block; return whether the block is already whole."""
        block = self._block
        assert block is not None  # noqa: S101  (the only caller checks it)
        body = self._handler.block_begins(self, block)
        if self.closed:
            return False
        if body is None:
            self._paused = True
            self._loop.remove_reader(self.stream.fileno())
            return False
        early = self._frames.take(block.length)
        body[: len(early)] = early
        self._body, self._filled = body, len(early)
        self._block_began_s = self.heard_s
        if len(early) < block.length:
            return False
        self._body_ends()
        return True

    def _body_ends(self) -> None:
        block = self._block
        self._block = self._body = None
        if block is not None:
            self._waking.took(block.length, self.heard_s - self._block_began_s)
            self._handler.block_arrived(self, block)

    def resume_reading(self) -> None:
        """Go on after `block_begins` had no room. Harmless when nothing was paused."""
        if not self._paused or self.closed:
            return
        self._paused = False
        self.heard_s = self._loop.time()
        self._loop.add_reader(self.stream.fileno(), self._readable)
        try:
            self._parse()
        except PeerFault as fault:
            self.close(f"broke the protocol: {fault}")
        if self.stream.more:
            self._loop.call_soon(self._read_on)

    @property
    def paused(self) -> bool:
        """Whether this side has stopped reading for want of room."""
        return self._paused

    def refuse(self, refused: Refused) -> None:
        """Close it since one end refuses the other."""
        if not self.closed:
            self.refusal = refused
            self.close(str(refused))

    def close(self, reason: str) -> None:
        """Close the connection and tell the handler. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self.stream.fileno())
        self._loop.remove_writer(self.stream.fileno())
        self.stream.close()
        self._block = self._body = None
        if self.gate is not None:
            self.gate.close()
        uploads = list(self._uploads)
        self._uploads.clear()
        self._handler.link_lost(self, reason)
        for upload in uploads:
            upload.end(False)
