"""Plain TCP: what a link gets, and that TLS at the other end is told apart from a broken frame."""

import socket

import pytest

from shoal.adapters.peers.stream import NO_TLS_HERE, PlainStream
from shoal.core.trust.identity import Reason, Refused
from shoal.core.wire.codec import encode
from shoal.core.wire.messages import Ping
from unit.adapters.peers.ends import link_and_stranger, tcp_pair, until

CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


def test_bytes_after_a_block_go_to_their_own_place() -> None:
    one, other = tcp_pair()
    stream = PlainStream(one)
    other.sendall(b"blockhead")
    block, after = memoryview(bytearray(5)), memoryview(bytearray(100))
    assert stream.receive(block, after) == 9
    assert (bytes(block), bytes(after[:4])) == (b"block", b"head")
    with pytest.raises(BlockingIOError):
        stream.receive(block)
    other.close()
    assert stream.receive(block) == 0
    stream.close()


def test_a_peer_that_speaks_tls_is_told_so_in_tls_and_refused() -> None:
    one, other = tcp_pair()
    stream = PlainStream(one)
    other.sendall(CLIENT_HELLO)
    with pytest.raises(Refused, match=r"speaks TLS.*peer\.plaintext") as caught:
        stream.receive(memoryview(bytearray(100)))
    assert caught.value.reason is Reason.NO_TLS
    assert other.recv(100) == NO_TLS_HERE
    stream.close()
    other.close()


def test_what_tls_says_to_a_plain_peer_is_understood() -> None:
    one, other = tcp_pair()
    stream = PlainStream(one)
    other.sendall(NO_TLS_HERE)
    with pytest.raises(Refused, match="speaks TLS") as caught:
        stream.receive(memoryview(bytearray(100)))
    assert caught.value.reason is Reason.NO_TLS
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.recv(1)
    stream.close()
    other.close()


async def test_only_the_first_bytes_of_a_connection_are_looked_at() -> None:
    async with link_and_stranger() as (link, ear, stranger):
        stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stranger.sendall(encode(Ping()))
        await until(lambda: bool(ear.heard))
        stranger.sendall(CLIENT_HELLO)
        await until(lambda: link.closed)
        assert link.refusal is None
        assert ear.lost[0].startswith("broke the protocol: frame of")
