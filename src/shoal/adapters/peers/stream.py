"""What a link reads and writes: bytes over TCP, as they are or through TLS.

A link does not know which of the two it has. This is plain TCP: bytes of a piece leave by sendfile
and arrive in the buffer that the link names.
"""

import os
import socket
from contextlib import suppress
from typing import Final, Protocol

from shoal.core.trust.identity import Identity, Reason, Refused

# A TLS record begins with what it holds, an alert or a handshake, and a version of 3.x (RFC 8446
# section 5.1). As the beginning of a frame that would be a length of 350 MB.
ALERT: Final = 0x15
HANDSHAKE: Final = 0x16
_MAJOR_VERSION: Final = 3
# A fatal alert, protocol_version (section 6.2): what TLS says to an end that speaks another one.
NO_TLS_HERE: Final = bytes((ALERT, _MAJOR_VERSION, 3, 0, 2, 2, 70))


class Stream(Protocol):
    """One connection. Nothing here waits: BlockingIOError says to try again later."""

    identity: Identity | None
    """Whose certificate the other end has shown and proved to be its own; None without TLS."""

    unshown_bytes: int
    """Bytes of which `receive` may have taken the beginning off the socket without showing them."""

    @property
    def more(self) -> bool:
        """Whether `receive` may have more at once, though the socket shows nothing."""
        ...

    def fileno(self) -> int:
        """Return the descriptor, for the event loop and socket options."""
        ...

    def receive(self, into: memoryview, after: memoryview | None = None) -> int:
        """Fill `into`, and `after` with what follows it at once; return the bytes, 0 at the end.

        Raises:
            Refused: the other end refuses this one, or does not speak what this one does.
            BlockingIOError, OSError: nothing is there; the connection is broken.
        """
        ...

    def send(self, data: bytes | memoryview) -> int:
        """Send some of `data`; return how much. What was not sent must come first the next time."""
        ...

    def send_head(self, head: bytes) -> int:
        """As `send`, for a head that `send_file` follows."""
        ...

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """Send some of `count` bytes of a file; return how many, 0 at the file's end."""
        ...

    def set_option(self, level: int, name: int, value: int) -> None:
        """Set an option of the socket."""
        ...

    def close(self) -> None:
        """Close it. Idempotent."""
        ...


class PlainStream:
    """TCP as it is."""

    identity: Identity | None = None
    unshown_bytes = 0
    more = False

    def __init__(self, sock: socket.socket) -> None:
        """Take over `sock`, which is connected."""
        sock.setblocking(False)
        self._sock = sock
        self._heard = False

    def fileno(self) -> int:
        """`Stream`."""
        return self._sock.fileno()

    def receive(self, into: memoryview, after: memoryview | None = None) -> int:
        """`Stream`."""
        if after is None:
            count = self._sock.recv_into(into)
        else:
            count, _, _, _ = self._sock.recvmsg_into([into, after])
        if not self._heard:
            self._heard = True
            self._refuse_tls(bytes(into[: min(count, 2)]))
        return count

    def _refuse_tls(self, first: bytes) -> None:
        if first not in (bytes((kind, _MAJOR_VERSION)) for kind in (ALERT, HANDSHAKE)):
            return
        if first[0] == HANDSHAKE:
            with suppress(OSError):
                self._sock.send(NO_TLS_HERE)
        raise Refused(
            Reason.NO_TLS,
            "speaks TLS, and this node plain TCP: all nodes of a site need certificates, or all "
            "peer.plaintext",
        )

    def send(self, data: bytes | memoryview) -> int:
        """`Stream`."""
        return self._sock.send(data)

    def send_head(self, head: bytes) -> int:
        """`Stream`. MSG_MORE lets the kernel put it into the same segment as the file's bytes."""
        return self._sock.send(head, socket.MSG_MORE)

    def send_file(self, fd: int, offset: int, count: int) -> int:
        """`Stream`."""
        return os.sendfile(self._sock.fileno(), fd, offset, count)

    def set_option(self, level: int, name: int, value: int) -> None:
        """`Stream`."""
        self._sock.setsockopt(level, name, value)

    def close(self) -> None:
        """`Stream`."""
        self._sock.close()
