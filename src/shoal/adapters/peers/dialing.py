"""Dialing a peer: a connection from this node's address, and TLS where there are certificates."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from shoal.adapters.peers.handshake import Credentials, shake_hands
from shoal.adapters.peers.stream import PlainStream, Stream
from shoal.core.endpoint import Endpoint
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId

CONNECT_TIMEOUT_S: Final = 2.0


class NotReached(PeerFault):
    """Nothing answered at the peer's address."""


async def dial(peer: PeerId, *, me: PeerId, credentials: Credentials | None) -> Stream:
    """Return a connection to `peer`.

    Args:
        peer: the member to reach.
        me: this node's name, from whose address the connection goes.
        credentials: what this node shows; None for plain TCP.

    Raises:
        NotReached: there is no connection.
        Refused, HungUp, TooSlow: there is one, and no handshake over it.
    """
    at = Endpoint.parse(peer)
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with suppress(OSError):  # behind a translated address the kernel chooses
            sock.bind((Endpoint.parse(me).host, 0))
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (at.host, at.port))
    except (OSError, TimeoutError) as error:
        sock.close()
        reason = "no answer" if isinstance(error, TimeoutError) else str(error)
        raise NotReached(f"cannot connect: {reason}") from error
    except BaseException:
        sock.close()
        raise
    if credentials is None:
        return PlainStream(sock)
    return await shake_hands(sock, credentials, dialed=peer)
