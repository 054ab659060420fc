"""The credentials in force on a node, replaced while it runs when their files change.

This is what connections to peers and signatures of receipts ask. It does no waiting: whoever owns
it has `changed` called in a thread now and then, and `use` on the event loop.
"""

import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.handshakes import refusal
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Identity, Refused

# What tells one version of a file from another: a new one is another inode, or was written later.
_State = tuple[tuple[int, int, int, int] | None, ...]


class PeerCredentials:
    """The credentials in force."""

    def __init__(self, files: CredentialFiles, *, alpn: Sequence[str] = ()) -> None:
        """Read the files; blocks on the disk.

        Args:
            files: where they are.
            alpn: the protocols that connections may speak, best first.

        Raises:
            CertificateError: they cannot be used.
        """
        self.files = files
        self._alpn = tuple(alpn)
        self._read = self._seen = _state(files)
        self._listeners: list[Callable[[], None]] = []
        self.current = Credentials.read(files, alpn=self._alpn)

    @property
    def identity(self) -> Identity:
        """This node's own."""
        return self.current.identity

    @property
    def server_context(self) -> ssl.SSLContext:
        """For a connection that a peer dialed; made anew with each change, so ask each time."""
        return self.current.server_context

    @property
    def client_context(self) -> ssl.SSLContext:
        """For a connection to dial. It checks the name: give the member's host to `wrap_...`."""
        return self.current.client_context

    def accept(self, der: bytes | None, *, peer: PeerId | None = None) -> Identity:
        """As `Credentials.accept`, now.

        Raises:
            Refused: the other end is not who it must be.
        """
        return self.current.accept(der, peer=peer)

    def refusal(self, error: BaseException) -> Refused:
        """Return what an error of a handshake, or of the first read after it, means."""
        return refusal(error)

    def sign(self, message: bytes) -> bytes:
        """Return this node's signature of `message`."""
        return self.current.sign(message)

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Have `tell` called whenever other credentials are in force: connections are looked at."""
        self._listeners.append(tell)

    def changed(self) -> Credentials | None:
        """Return what the files say now, if they differ from when they were last read.

        Files that were different a moment ago are left until the next time, since a certificate
        and its key are seldom replaced at once. Blocks on the disk: call it in a thread, and not
        in two at a time.

        Raises:
            CertificateError, Refused: the new ones cannot be used, or peers would refuse them.
                Raised anew each time, since the clock may be what was wrong.
        """
        state = _state(self.files)
        at_rest, self._seen = state == self._seen, state
        if state == self._read or not at_rest:
            return None
        credentials = Credentials.read(self.files, alpn=self._alpn)
        credentials.require_valid(now=datetime.now(UTC))
        self._read = state
        return credentials

    def use(self, credentials: Credentials) -> None:
        """Put `credentials` into force, and tell whoever asked to be told."""
        self.current = credentials
        for tell in self._listeners:
            tell()


def _state(files: CredentialFiles) -> _State:
    return tuple(map(_file_state, files.all))


def _file_state(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()  # follows links: Kubernetes swaps a link to the folder
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
