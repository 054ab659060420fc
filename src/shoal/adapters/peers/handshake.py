"""The handshake that makes a TCP connection one between two nodes of a cluster.

Both ends show a certificate. OpenSSL checks the signatures, the times and, for who dials, the
address; then each end asks `Credentials` whom it has before it believes a word. With one end that
speaks TLS and one that does not there is no connection: neither falls back to the other's way, and
each is told why.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Final, Protocol

from shoal.adapters.peers.stream import HANDSHAKE, NO_TLS_HERE
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.endpoint import Endpoint
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Identity, Reason, Refused

HANDSHAKE_TIMEOUT_S: Final = 5.0
# Who dials waits as long as for a Hello: a process that was stopped accepts and says nothing.
DIAL_HANDSHAKE_TIMEOUT_S: Final = 3.0
# What both ends must agree on to speak (RFC 7301), so that a certificate of this cluster's that
# serves something else too cannot be led to another of its ports.
ALPN: Final = "shoal/1"
# The last word of who refuses is lost if the kernel has bytes of the other's that nobody read:
# so they are read, for as long and as many as this.
_PARTING_S: Final = 0.5
_PARTING_READS: Final = 16


class Credentials(Protocol):
    """What this node shows its peers, and whom it believes. May change between two calls."""

    @property
    def identity(self) -> Identity:
        """This node's own."""
        ...

    @property
    def server_context(self) -> ssl.SSLContext:
        """For connections that a peer dialed: TLS 1.3 alone, and a certificate wanted."""
        ...

    @property
    def client_context(self) -> ssl.SSLContext:
        """For connections to dial: TLS 1.3 alone, and the host's name checked."""
        ...

    def accept(self, der: bytes | None, *, peer: PeerId | None = None) -> Identity:
        """Return whose certificate `der` is.

        Raises:
            Refused: it does not hold, or is not that of the member `peer`.
        """
        ...

    def refusal(self, error: BaseException) -> Refused:
        """Return what an error of a handshake, or of the first read after it, means."""
        ...


class HungUp(PeerFault):
    """The other end closed the connection before the handshake was done, without saying why."""


class TooSlow(PeerFault):
    """The handshake was not done in time."""


async def shake_hands(
    sock: socket.socket, credentials: Credentials, *, dialed: PeerId | None
) -> TlsStream:
    """Make `sock`, which is connected and does not block, a TLS connection; closes it if it fails.

    Args:
        sock: taken over.
        credentials: this node's, as they are now.
        dialed: the member at the other end, where this one dialed.

    Raises:
        Refused: one end does not take the other.
        HungUp, TooSlow: the other end left, or took too long.
    """
    timeout_s = HANDSHAKE_TIMEOUT_S if dialed is None else DIAL_HANDSHAKE_TIMEOUT_S
    held: socket.socket = sock
    try:
        async with asyncio.timeout(timeout_s):
            if dialed is None:
                await _require_tls(sock)
            tls = held = _wrapped(sock, credentials, dialed=dialed)
            await _shake(tls)
        stream = _accepted(tls, credentials, dialed=dialed)
    except BaseException as error:
        try:
            if isinstance(error, ssl.SSLError | Refused):
                await _part(held)
        finally:
            held.close()
        raised = _meaning(error, credentials, dialed=dialed)
        if raised is error:
            raise
        raise raised from error
    return stream


def _wrapped(
    sock: socket.socket, credentials: Credentials, *, dialed: PeerId | None
) -> ssl.SSLSocket:
    if dialed is None:
        return credentials.server_context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False
        )
    return credentials.client_context.wrap_socket(
        sock, server_hostname=Endpoint.parse(dialed).host, do_handshake_on_connect=False
    )


async def _require_tls(sock: socket.socket) -> None:
    """Look at the first byte without taking it: OpenSSL does not answer what is no TLS."""
    while True:
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await _until_readable(sock)
            continue
        if not first:
            raise HungUp("the peer closed the connection without a word")
        if first[0] == HANDSHAKE:
            return
        with suppress(OSError):
            sock.send(NO_TLS_HERE)
        raise Refused(
            Reason.NO_TLS,
            "speaks plain TCP, and this node TLS: all nodes of a site need certificates, or all "
            "peer.plaintext",
        )


async def _shake(tls: ssl.SSLSocket) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await _until_readable(tls)
        except ssl.SSLWantWriteError:
            await _until_writable(tls)
        else:
            return


async def _until_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


async def _until_writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)


def _accepted(tls: ssl.SSLSocket, credentials: Credentials, *, dialed: PeerId | None) -> TlsStream:
    certificate = tls.getpeercert(binary_form=True)
    identity = credentials.accept(certificate, peer=dialed)
    if tls.selected_alpn_protocol() != ALPN:
        raise Refused(Reason.OTHER, f"does not speak {ALPN} over TLS: it is no agent")
    if identity.node is None:
        raise Refused(
            Reason.NOT_THE_MEMBER,
            f"the certificate of {identity} is no node's, and only nodes exchange pieces",
        )
    return TlsStream(
        tls, certificate=certificate or b"", identity=identity, refusal=credentials.refusal
    )


async def _part(sock: socket.socket) -> None:
    """Let the other end read why it is refused, an alert that is on its way to it."""
    with suppress(OSError, TimeoutError):
        raw = socket.socket.recv  # not through TLS, which has failed
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_PARTING_S):
            for _ in range(_PARTING_READS):
                try:
                    if not raw(sock, 4096):
                        return
                except BlockingIOError:
                    await _until_readable(sock)


def _meaning(
    error: BaseException, credentials: Credentials, *, dialed: PeerId | None
) -> BaseException:
    if isinstance(error, TimeoutError):
        return TooSlow("did not finish the TLS handshake in time")
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return HungUp("the peer closed the connection during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        if dialed is not None and (error.reason or "").endswith("ALERT_PROTOCOL_VERSION"):
            return Refused(
                Reason.NO_TLS, "does not speak TLS 1.3: it has peer.plaintext, or is no agent"
            )
        return credentials.refusal(error)
    if isinstance(error, OSError):
        return HungUp(f"the connection broke during the TLS handshake: {error.strerror or error}")
    return error
