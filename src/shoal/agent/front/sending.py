"""Sends stretches of a file to a client with sendfile, bounded by the client's progress.

Why not `loop.sendfile`: it stops reading from the connection while it sends, so a client that has
left is noticed late; it moves the descriptor's position; and closing the transport under it leaves
a writer registered for a descriptor that will be used again. Here the bytes go out through a
duplicate of the socket's descriptor, which the selector watches apart from the transport, one
registration for each stretch.

Figures: bench/results/warm.md.
"""

import asyncio
import os
from types import TracebackType

from shoal.agent.front.page_cache import fetch, is_cached
from shoal.core.errors import ShoalError

# One call sends no more than this, so that a fast client cannot keep the loop to itself. Larger
# calls gained nothing: bench/results/warm.md.
_CALL_BYTES = 2 * 1024 * 1024
# So much is looked for in the page cache at a time, and read from the disk if it is not there.
_STRETCH_BYTES = 4 * 1024 * 1024


class ClientStalled(ShoalError):
    """The client took no byte within the bound: drop it."""


class FileSender:
    """Sends from files to one client's connection; a context manager that owns a descriptor.

    Nothing else may write to the transport while it is open, and what was written before must have
    left the transport's buffer (`flushed`).
    """

    def __init__(self, transport: asyncio.Transport, *, stall_s: float) -> None:
        """Begin to send to `transport`.

        Args:
            transport: a plain TCP transport of the running loop.
            stall_s: a client that takes no byte for this long is dropped.

        Raises:
            ConnectionError: the transport is closed.
        """
        sock = transport.get_extra_info("socket")
        if transport.is_closing() or sock is None or sock.fileno() < 0:
            raise ConnectionResetError("the client has left")
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._socket_fd = os.dup(sock.fileno())
        self._stall_s = stall_s
        self._file_fd = -1
        self._position = 0
        self._end = 0
        self._done: asyncio.Future[None] | None = None
        self.sent_bytes = 0

    def __enter__(self) -> "FileSender":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._socket_fd)

    async def flushed(self) -> None:
        """Wait until the headers have left the transport's own buffer.

        They are a few hundred bytes and leave at once unless a pipelining client does not read, so
        a short poll costs nothing in the usual case.

        Raises:
            ClientStalled: they did not leave within the bound.
            ConnectionError: the client has left.
        """
        deadline_s = self._loop.time() + self._stall_s
        while self._transport.get_write_buffer_size() > 0:
            if self._transport.is_closing():
                raise ConnectionResetError("the client has left")
            if self._loop.time() > deadline_s:
                raise ClientStalled(f"the client took no byte for {self._stall_s:g} s")
            await asyncio.sleep(0.01)

    async def send(self, file_fd: int, *, start: int, end: int) -> None:
        """Send bytes [start, end) of `file_fd`, whole.

        Raises:
            ClientStalled: the client took no byte within the bound.
            ConnectionError: the client has left.
            OSError: the file cannot be read, or ends before `end`.
        """
        while start < end:
            stretch_end = min(end, start + _STRETCH_BYTES)
            if not is_cached(file_fd, start, stretch_end):
                await asyncio.to_thread(fetch, file_fd, start, stretch_end)
            await self._send_stretch(file_fd, start, stretch_end)
            start = stretch_end

    async def _send_stretch(self, file_fd: int, start: int, end: int) -> None:
        self._file_fd, self._position, self._end = file_fd, start, end
        if self._send_once():
            return
        self._done = self._loop.create_future()
        self._loop.add_writer(self._socket_fd, self._on_writable)
        try:
            await self._watched(self._done)
        finally:
            self._loop.remove_writer(self._socket_fd)
            self._done = None

    async def _watched(self, done: asyncio.Future[None]) -> None:
        """Wait for `done` as long as bytes go out."""
        while True:
            before = self.sent_bytes
            await asyncio.wait((done,), timeout=self._stall_s)
            if done.done():
                return done.result()
            if self.sent_bytes == before:
                raise ClientStalled(f"the client took no byte for {self._stall_s:g} s")

    def _on_writable(self) -> None:
        done = self._done
        if done is None or done.done():
            return
        try:
            if self._send_once():
                done.set_result(None)
        except OSError as error:
            done.set_exception(error)

    def _send_once(self) -> bool:
        """Send what the socket takes now; True when the stretch is whole."""
        try:
            count = min(self._end - self._position, _CALL_BYTES)
            sent = os.sendfile(self._socket_fd, self._file_fd, self._position, count)
        except (BlockingIOError, InterruptedError):
            return False
        if sent == 0:
            raise OSError(f"the file ends at byte {self._position}, before {self._end}")
        self._position += sent
        self.sent_bytes += sent
        return self._position >= self._end


def cut(transport: asyncio.Transport | None) -> ConnectionResetError:
    """Cut the connection, so that the client sees that not all has come; return what to raise."""
    if transport is not None:
        transport.abort()
    return ConnectionResetError("the client was cut")
