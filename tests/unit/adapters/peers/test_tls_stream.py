"""TLS below a link: records cut anywhere, a slow socket, and the end. See `test_link.py` too."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.link import Link
from shoal.adapters.peers.tls_stream import RECORD_BYTES, TlsStream
from shoal.core.blob import KIB, MIB
from shoal.core.wire.messages import Block
from unit.adapters.peers.cluster import tls_pair
from unit.adapters.peers.ends import Ear, Outgoing, have, tcp_pair, until

Pair = tuple[PeerCredentials, PeerCredentials]


@asynccontextmanager
async def tls_links(
    one: socket.socket, other: socket.socket, credentials: Pair
) -> AsyncIterator[tuple[Link, Link, Ear]]:
    """Connect a link that sends and one that hears."""
    left_stream, right_stream = await tls_pair(one, other, credentials)
    ear = Ear()
    left = Link(left_stream, Ear(), initiator=True, remote_host="127.0.0.1")
    right = Link(right_stream, ear, initiator=False, remote_host="127.0.0.1")
    try:
        yield left, right, ear
    finally:
        left.close("the test is over")
        right.close("the test is over")


@asynccontextmanager
async def relayed_pair(seed: int) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a connection whose bytes arrive in parts of any length."""
    (one, near), (far, other) = tcp_pair(), tcp_pair()
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop = asyncio.get_running_loop()
    chance = random.Random(seed)  # noqa: S311 - not for secrets

    async def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := await loop.sock_recv(source, chance.choice((1, 5, 22, 700, 20_000))):
                await loop.sock_sendall(target, data)
                await asyncio.sleep(0)
        except ConnectionError:
            pass

    for sock in (near, far):
        sock.setblocking(False)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(carry(*way)) for way in ((near, far), (far, near))]
        try:
            yield one, other
        finally:
            for task in tasks:
                task.cancel()
    near.close()
    far.close()


@pytest.mark.parametrize("seed", range(3))
async def test_records_that_are_cut_anywhere_are_the_same_pieces(
    seed: int, credentials: Pair
) -> None:
    out = [Outgoing(os.urandom(300 * KIB + seed)), Outgoing(os.urandom(3))]
    async with (
        relayed_pair(seed) as (one, other),
        tls_links(one, other, credentials) as (left, _, ear),
    ):
        for piece, outgoing in enumerate(out):
            left.send_piece(outgoing.upload(piece))
            left.send(have(piece))
        await until(lambda: len(ear.pieces.get(1, b"")) == 3)
        assert [ear.pieces[n] for n in range(2)] == [outgoing.data for outgoing in out]
        heard = [message for message in ear.heard if not isinstance(message, Block)]
        assert heard == [have(0), have(1)]


async def test_twenty_megabytes_are_the_same_at_the_other_end(credentials: Pair) -> None:
    pieces = [Outgoing(os.urandom(4 * MIB)) for _ in range(5)]
    async with tls_links(*tcp_pair(), credentials) as (left, right, ear):
        for piece, outgoing in enumerate(pieces):
            left.send_piece(outgoing.upload(piece))
        await until(lambda: len(ear.pieces.get(4, b"")) == 4 * MIB)
        assert [ear.pieces[n] for n in range(5)] == [outgoing.data for outgoing in pieces]
        assert right.received_bytes == left.sent_bytes


async def test_a_peer_that_reads_slowly_gets_every_byte(credentials: Pair) -> None:
    out = Outgoing(os.urandom(2 * MIB))
    one, other = tcp_pair()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * KIB)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * KIB)
    async with tls_links(one, other, credentials) as (left, right, ear):
        left.send_piece(out.upload())
        for _ in range(40):  # it stops reading again and again, in the middle of records
            before = right.received_bytes
            await until(lambda: right.received_bytes > before or len(out.data) == _got(ear))  # noqa: B023
            ear.has_room = not ear.has_room
            if ear.has_room:
                right.resume_reading()
        ear.has_room = True
        right.resume_reading()
        await until(lambda: _got(ear) == len(out.data))
        assert ear.pieces[0] == out.data


def _got(ear: Ear) -> int:
    return len(ear.pieces.get(0, b""))


async def test_what_was_decrypted_but_not_read_is_not_forgotten(credentials: Pair) -> None:
    one, other = await tls_pair(*tcp_pair(), credentials)
    data = os.urandom(RECORD_BYTES)
    assert one.send(data) == RECORD_BYTES
    into = memoryview(bytearray(100))
    got = b""
    while len(got) < RECORD_BYTES:
        try:
            count = other.receive(into)
        except BlockingIOError:
            await asyncio.sleep(0)
            continue
        got += bytes(into[:count])
        assert other.more
    assert got == data
    with pytest.raises(BlockingIOError):
        other.receive(into)
    assert not other.more
    one.close()
    other.close()


async def test_the_end_comes_after_the_bytes_before_it(credentials: Pair) -> None:
    one, other = await tls_pair(*tcp_pair(), credentials)
    one.send(b"the end")
    one.close()
    into = memoryview(bytearray(100))
    assert await _received(other, into) == 7
    assert await _received(other, into) == 0
    other.close()


async def test_bytes_that_were_changed_on_the_way_end_the_connection(credentials: Pair) -> None:
    one, other = tcp_pair()
    sent_by, read_by = await tls_pair(one, other, credentials)
    ear = Ear()
    link = Link(read_by, ear, initiator=False, remote_host="127.0.0.1")
    raw = socket.socket(fileno=os.dup(sent_by.fileno()))
    raw.setblocking(False)
    raw.send(b"\x17\x03\x03\x00\x20" + os.urandom(32))
    await until(lambda: link.closed)
    assert ear.heard == []
    assert len(ear.lost) == 1
    raw.close()
    sent_by.close()


async def _received(stream: TlsStream, into: memoryview) -> int:
    async with asyncio.timeout(30.0):
        while True:
            try:
                return stream.receive(into, into[:0])
            except BlockingIOError:
                await asyncio.sleep(0.001)


async def test_a_file_that_ends_before_its_piece_sends_nothing(credentials: Pair) -> None:
    one, other = await tls_pair(*tcp_pair(), credentials)
    fd = os.memfd_create("piece")
    one.send_head(b"head")
    assert one.send_file(fd, 0, 10) == 0
    os.close(fd)
    one.close()
    assert await _received(other, memoryview(bytearray(100))) == 0
    other.close()
