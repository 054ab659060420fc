"""Handshakes that others begin: how many, and that none is left."""

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers import arrivals as arrivals_module
from shoal.adapters.peers import handshake as handshake_module
from shoal.adapters.peers.arrivals import HANDSHAKES_OF_ONE_MOST, Arrivals
from shoal.adapters.peers.handshake import shake_hands
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason, Refused
from unit.adapters.peers.ends import tcp_pair, until

if TYPE_CHECKING:
    from shoal.adapters.peers.tls_stream import TlsStream

Pair = tuple[PeerCredentials, PeerCredentials]


class Door:
    """Arrivals, and who came."""

    def __init__(self, credentials: PeerCredentials) -> None:
        self.through: list[tuple[TlsStream, str]] = []
        self.refused: list[tuple[str, Refused]] = []
        self.callers: list[socket.socket] = []
        self.arrivals = Arrivals(
            credentials,
            arrived=lambda stream, host: self.through.append((stream, host)),
            refused=lambda host, refused: self.refused.append((host, refused)),
        )

    def knock(self, host: str) -> socket.socket:
        """Call from `host`."""
        one, other = tcp_pair()
        self.callers.append(one)
        self.arrivals.begin(other, host)
        return one

    async def close(self) -> None:
        """End it."""
        await self.arrivals.stop()
        await until(lambda: not len(self.arrivals))
        for caller in self.callers:
            caller.close()
        for stream, _ in self.through:
            stream.close()


async def test_who_shakes_hands_is_through(credentials: Pair) -> None:
    door = Door(credentials[1])
    caller = door.knock("10.0.0.1")
    assert len(door.arrivals) == 1
    caller.setblocking(False)
    stream = await shake_hands(caller, credentials[0], dialed=PeerId("127.0.0.1:1"))
    await until(lambda: bool(door.through))
    assert [host for _, host in door.through] == ["10.0.0.1"]
    assert door.through[0][0].identity == credentials[0].identity
    await until(lambda: not len(door.arrivals))
    stream.close()
    await door.close()


async def test_handshakes_are_bounded_in_all_and_from_one_address(
    credentials: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals_module, "HANDSHAKES_MOST", HANDSHAKES_OF_ONE_MOST + 2)
    door = Door(credentials[1])
    for _ in range(HANDSHAKES_OF_ONE_MOST):
        door.knock("10.0.0.1")
    assert door.refused == []
    assert door.knock("10.0.0.1").recv(10) == b""
    for host in ("10.0.0.2", "10.0.0.3"):
        door.knock(host)
    assert len(door.refused) == 1
    assert door.knock("10.0.0.4").recv(10) == b""
    assert [host for host, _ in door.refused] == ["10.0.0.1", "10.0.0.4"]
    assert "from this address" in str(door.refused[0][1])
    door.callers[0].close()  # makes room
    await until(lambda: len(door.arrivals) == HANDSHAKES_OF_ONE_MOST + 1)
    door.knock("10.0.0.1")
    assert len(door.refused) == 2
    await door.close()


async def test_who_does_not_finish_is_refused_and_who_only_looks_is_not(
    credentials: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake_module, "HANDSHAKE_TIMEOUT_S", 0.1)
    door = Door(credentials[1])
    door.knock("10.0.0.1").close()
    door.knock("10.0.0.2")
    await until(lambda: not len(door.arrivals))
    ((host, refused),) = door.refused
    assert (host, refused.reason) == ("10.0.0.2", Reason.OTHER)
    await door.close()


async def test_stopping_breaks_off_what_has_begun_and_what_has_not(credentials: Pair) -> None:
    door = Door(credentials[1])
    begun = door.knock("10.0.0.1")
    await asyncio.sleep(0)
    not_begun = door.knock("10.0.0.1")
    await door.arrivals.stop()
    for caller in (begun, not_begun):
        caller.settimeout(30.0)
        assert caller.recv(1) == b""
    assert door.refused == []
    await door.close()
