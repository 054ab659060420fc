"""Dialing a member: from which address, and what becomes of it if nobody is there."""

import asyncio
import socket

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.dialing import NotReached, dial
from shoal.adapters.peers.handshake import shake_hands
from shoal.adapters.peers.stream import PlainStream
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId

ME = PeerId("127.0.0.2:65002")
Pair = tuple[PeerCredentials, PeerCredentials]


@pytest.mark.parametrize("with_certificates", [False, True])
async def test_a_connection_goes_from_the_own_address_through_tls_where_there_are_certificates(
    with_certificates: bool, credentials: Pair
) -> None:
    with socket.create_server(("127.0.0.3", 0)) as server:
        server.setblocking(False)
        peer = PeerId(str(Endpoint(*server.getsockname())))

        async def answer() -> TlsStream | socket.socket:
            sock, _ = await asyncio.get_running_loop().sock_accept(server)
            assert sock.getpeername()[0] == "127.0.0.2"
            if with_certificates:
                return await shake_hands(sock, credentials[1], dialed=None)
            return sock

        shown = credentials[0] if with_certificates else None
        stream, answered = await asyncio.gather(dial(peer, me=ME, credentials=shown), answer())
        assert isinstance(stream, TlsStream if with_certificates else PlainStream)
        stream.close()
        answered.close()


async def test_where_nobody_listens_nobody_is_reached(credentials: Pair) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.3", 0))  # so that nobody else listens there either
        peer = PeerId(str(Endpoint(*taken.getsockname())))
        for shown in (None, credentials[0]):
            with pytest.raises(NotReached, match="cannot connect"):
                await dial(peer, me=ME, credentials=shown)
