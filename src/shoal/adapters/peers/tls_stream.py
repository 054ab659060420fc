"""A connection to a peer through TLS 1.3.

OpenSSL reads and writes the socket itself: through memory (`ssl.MemoryBIO`) every byte is copied
once more each way, which cost 15 to 20 % of the processor time where both were measured. Python
3.11 can neither choose the cipher suites of TLS 1.3 nor hand the keys to the kernel, so a file's
bytes pass through a buffer here.
"""

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from shoal.core.trust.identity import Identity, Refused

RECORD_BYTES: Final = 16 * 1024  # RFC 8446 section 5.1: the most that one record holds
# Read from a file and encrypted in one go. A few records: the bytes stay in the processor's cache.
_CHUNK_BYTES: Final = 4 * RECORD_BYTES
# All connections share it: what it holds is sent or given up before another has its turn.
_chunk = memoryview(bytearray(_CHUNK_BYTES))


class TlsStream:
    """TLS over a socket that does not block, after its handshake."""

    # A record is read as a whole: of a block's last bytes 16 KiB may have left the socket already.
    unshown_bytes = RECORD_BYTES

    def __init__(
        self,
        sock: ssl.SSLSocket,
        *,
        certificate: bytes,
        identity: Identity,
        refusal: Callable[[BaseException], Refused],
    ) -> None:
        """Take over `sock`.

        Args:
            sock: its handshake is done, and it does not block.
            certificate: what the other end showed, DER.
            identity: whose it is.
            refusal: what an error of TLS at the first read means.
        """
        self.certificate = certificate
        self.identity: Identity | None = identity
        self.more = False
        self._sock = sock
        self._refusal: Callable[[BaseException], Refused] | None = refusal
        self._head = b""
        self._late: OSError | None = None  # came after bytes that had to be handed over first

    def fileno(self) -> int:
        """`Stream`."""
        return self._sock.fileno()

    def receive(self, into: memoryview, after: memoryview | None = None) -> int:
        """`Stream`; fills `into` alone, and with one record if there is no `after`."""
        if self._late is not None:
            raise self._late
        filled = 0
        self.more = True
        try:
            while filled < len(into):
                count = self._sock.recv_into(into[filled:])
                if not count:
                    break
                filled += count
                if after is None:
                    break  # a message: it may say where the next bytes are to go
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.more = False
            if not filled:
                raise BlockingIOError from None
        except OSError as error:
            if not filled:
                raise self._meaning(error) from error
            self._late = error
        if filled:
            self._refusal = None
        return filled

    def _meaning(self, error: OSError) -> OSError | Refused:
        """The other end judges this one's certificate when this one takes its handshake for done.

        So what it thinks of it arrives as an alert before everything else.
        """
        if self._refusal is None or not isinstance(error, ssl.SSLError):
            return error
        return self._refusal(error)

    def send(self, data: bytes | memoryview) -> int:
        """`Stream`; a record at most."""
        try:
            return self._sock.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None
        except OSError:
            self._hear_refusal()
            raise

    def _hear_refusal(self) -> None:
        """Nothing can be sent: raise what the other end said before it left, if it did."""
        if self._refusal is not None:
            with suppress(OSError):
                self.receive(memoryview(bytearray(1)))

    def send_head(self, head: bytes) -> int:
        """`Stream`; it goes into the record of the bytes that follow."""
        self._head = head
        return len(head)

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """`Stream`; a few records at most.

        What the socket does not take is forgotten here, and read again the next time: a record
        that OpenSSL has encrypted is kept there, and only its length is compared then.
        """
        head = len(self._head)
        _chunk[:head] = self._head
        got = os.preadv(fd, [_chunk[head : min(head + count, _CHUNK_BYTES)]], offset)
        if not got:
            return 0
        sent = 0
        try:
            while sent < head + got:
                sent += self._sock.send(_chunk[sent : head + got])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if not sent:
                raise BlockingIOError from None
        except OSError:
            self._hear_refusal()
            raise
        # A head is far shorter than a record, so that it is gone with the first.
        self._head = b""
        return sent - head

    def set_option(self, level: int, name: int, value: int) -> None:
        """`Stream`."""
        self._sock.setsockopt(level, name, value)

    def close(self) -> None:
        """`Stream`. No close_notify: every frame says its length, so nothing can be cut unseen."""
        self._sock.close()
