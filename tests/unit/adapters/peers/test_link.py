"""One connection: order, pieces byte for byte, pauses, and everything that ends it."""

import asyncio
import os
import socket
import struct

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers import link as link_module
from shoal.adapters.peers.link import TURN_BLOCKS, Link
from shoal.adapters.peers.stream import PlainStream, Stream
from shoal.core.blob import KIB, MIB
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.wire.block_length import FIRST_BLOCK_BYTES, LEAST_BLOCK_BYTES, LONG_S
from shoal.core.wire.codec import HEAD, MAX_BLOCK_BYTES, MAX_FRAME_BYTES, encode
from shoal.core.wire.messages import Block, Hello, Message, Ping
from unit.adapters.peers import ends
from unit.adapters.peers.cluster import tls_pair
from unit.adapters.peers.ends import (
    HASH,
    PIECE,
    TAG,
    Ear,
    Outgoing,
    cut,
    have,
    link_and_stranger,
    tcp_pair,
    turns,
    two_links,
    until,
)

BLOCK_NUMBER = 9  # of a Block on the wire

over_both = pytest.mark.usefixtures("stream")


@pytest.fixture(params=["tcp", "tls"])
def stream(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    credentials: tuple[PeerCredentials, PeerCredentials],
) -> None:
    """Have links over plain TCP, and over TLS."""

    async def stream_pair() -> tuple[Stream, Stream]:
        one, other = tcp_pair()
        return await tls_pair(one, other, credentials)

    if request.param == "tls":
        monkeypatch.setattr(ends, "stream_pair", stream_pair)


def _head(length: int) -> bytes:
    """Return the head of a block that no link would send."""
    fields = struct.pack(">16sIII32s", TAG, 0, 0, length, HASH)
    return HEAD.pack(len(fields), BLOCK_NUMBER) + fields


@over_both
async def test_messages_arrive_both_ways_in_order() -> None:
    async with two_links() as (left, left_ear, right, right_ear):
        for n in range(500):
            left.send(have(n))
            right.send(have(n, n))
        await until(lambda: len(left_ear.heard) == len(right_ear.heard) == 500)
        assert right_ear.heard == [have(n) for n in range(500)]
        assert left_ear.heard == [have(n, n) for n in range(500)]
        assert left.sent_bytes == right.received_bytes
        assert not left.waiting


async def test_a_stream_that_is_cut_anywhere_is_the_same_stream() -> None:
    block = Block(TAG, 3, 0, 5, HASH)
    stream = encode(have(1, 2)) + encode(block) + b"bytes" + encode(Ping())
    for at in range(1, len(stream)):
        ear = await _hear([stream[:at], stream[at:]])
        assert ear.heard == [have(1, 2), block, Ping()]
        assert ear.pieces == {3: b"bytes"}


async def _hear(parts: list[bytes]) -> Ear:
    """Return an ear that heard three messages, which came in parts."""
    async with link_and_stranger() as (_, ear, stranger):
        stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            stranger.send(part)
            await turns(2)
        await until(lambda: len(ear.heard) == 3)
        return ear


@over_both
@pytest.mark.parametrize("offset", [0, 12_345])
async def test_a_piece_of_several_blocks_arrives_byte_for_byte(offset: int) -> None:
    outgoing = Outgoing(PIECE)
    async with two_links() as (left, _, _, right_ear):
        left.send_piece(outgoing.upload(7, offset=offset))
        await until(lambda: len(right_ear.pieces.get(7, b"")) == len(PIECE))
        assert right_ear.pieces[7] == PIECE
        assert outgoing.ended == [True]
        blocks = [block for block in right_ear.heard if isinstance(block, Block)]
        assert {(block.tag, block.piece_hash) for block in blocks} == {(TAG, HASH)}
        assert len(blocks) > 1
        assert blocks[0].length == FIRST_BLOCK_BYTES


@over_both
async def test_pieces_go_one_after_the_other() -> None:
    outgoing = [Outgoing(os.urandom(300 * KIB)) for _ in range(4)]
    async with two_links() as (left, _, _, right_ear):
        for piece, out in enumerate(outgoing):
            left.send_piece(out.upload(piece))
        await until(lambda: len(right_ear.pieces.get(3, b"")) == 300 * KIB)
        assert list(right_ear.pieces) == [0, 1, 2, 3]
        assert [right_ear.pieces[n] for n in range(4)] == [out.data for out in outgoing]
        assert [out.ended for out in outgoing] == [[True]] * 4


@over_both
async def test_blocks_grow_while_they_leave_quickly_and_none_crosses_the_longest() -> None:
    out = Outgoing(os.urandom(20 * MIB))
    async with two_links() as (left, _, _, right_ear):
        left.send_piece(out.upload())
        await until(lambda: len(right_ear.pieces.get(0, b"")) == 20 * MIB)
        assert right_ear.pieces[0] == out.data
        blocks = [block for block in right_ear.heard if isinstance(block, Block)]
        assert max(block.length for block in blocks) > FIRST_BLOCK_BYTES
        for block in blocks:
            last = block.offset + block.length - 1
            assert block.offset // MAX_BLOCK_BYTES == last // MAX_BLOCK_BYTES


async def test_blocks_to_a_slow_reader_get_short() -> None:
    out = Outgoing(bytes(64 * MIB))
    async with link_and_stranger() as (link, _, stranger):
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LEAST_BLOCK_BYTES)
        link.send_piece(out.upload())
        stream = b""
        blocks: list[Block] = []
        while len(stream) < 24 * MIB:
            await asyncio.sleep(1.5 * LONG_S)  # in which it takes less than a block
            stream += stranger.recv(LEAST_BLOCK_BYTES)
            blocks = [part for part in cut(stream) if isinstance(part, Block)]
            if blocks and blocks[-1].length == LEAST_BLOCK_BYTES:
                return
        pytest.fail(f"blocks are still {blocks[-1:]}")


async def test_a_message_overtakes_the_pieces_that_wait_at_the_next_block() -> None:
    pieces = [Outgoing(bytes(2 * MIB)) for _ in range(2)]
    async with link_and_stranger() as (link, _, stranger):
        for piece, out in enumerate(pieces):
            link.send_piece(out.upload(piece))
        await until(lambda: link.sent_bytes > 0)
        most = (TURN_BLOCKS + 1) * FIRST_BLOCK_BYTES + KIB
        assert link.sent_bytes <= most, "others have their turn"
        begun = -(-link.sent_bytes // FIRST_BLOCK_BYTES)  # blocks that are, or may be, under way
        link.send(have(5))
        messages = cut(await _everything(stranger, link))
        assert messages.index(have(5)) <= begun
        sizes = [message.length for message in messages if isinstance(message, Block)]
        assert sum(sizes) == 2 * 2 * MIB


async def _everything(stranger: socket.socket, link: Link) -> bytes:
    """Return what comes until the link has nothing more to send."""
    stranger.setblocking(False)
    loop = asyncio.get_running_loop()
    stream = bytearray()
    while link.waiting or len(stream) < link.sent_bytes:
        async with asyncio.timeout(30.0):
            stream += await loop.sock_recv(stranger, MIB)
    return bytes(stream)


@over_both
async def test_two_ends_that_send_much_to_each_other_do_not_wait_for_each_other() -> None:
    left_out, right_out = Outgoing(os.urandom(6 * MIB)), Outgoing(os.urandom(6 * MIB))
    async with two_links() as (left, left_ear, right, right_ear):
        left.send_piece(left_out.upload())
        right.send_piece(right_out.upload())
        await until(lambda: bool(left_out.ended and right_out.ended))
        await until(lambda: len(left_ear.pieces[0]) == len(right_ear.pieces[0]) == 6 * MIB)
        assert left_ear.pieces[0] == right_out.data
        assert right_ear.pieces[0] == left_out.data


@over_both
async def test_reading_stops_while_there_is_no_room_and_goes_on_when_there_is() -> None:
    out = Outgoing(os.urandom(8 * MIB))
    async with two_links() as (left, _, right, right_ear):
        right_ear.has_room = False
        left.send(have(1))
        left.send_piece(out.upload())
        await until(lambda: right.paused)
        left.send(have(2))
        taken = right.received_bytes
        for _ in range(3):
            right.resume_reading()  # there is still no room: it asks, and stops again
            await turns()
        assert right.paused
        assert right.received_bytes == taken, "the kernel holds the rest, and so does the sender"
        assert out.ended == []
        assert right_ear.heard == [have(1)]
        right_ear.has_room = True
        right.resume_reading()
        await until(lambda: len(right_ear.pieces.get(0, b"")) == 8 * MIB)
        assert right_ear.pieces[0] == out.data
        assert have(2) in right_ear.heard
        assert not right.paused


@over_both
async def test_resuming_what_was_not_paused_does_nothing() -> None:
    async with two_links() as (left, _, right, right_ear):
        right.resume_reading()
        left.send(have(1))
        await until(lambda: right_ear.heard == [have(1)])
        right.close("enough")
        right.resume_reading()
        assert right_ear.lost == ["enough"]


@over_both
async def test_a_paused_link_may_be_closed() -> None:
    async with two_links() as (left, _, right, right_ear):
        right_ear.has_room = False
        left.send_piece(Outgoing(PIECE).upload())
        await until(lambda: right.paused)
        right.close("no room for ever")
        right.resume_reading()
        assert right_ear.lost == ["no room for ever"]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: shoal\r\n\r\n", "frame of 1195725856 bytes is over 65536"),
        (HEAD.pack(MAX_FRAME_BYTES + 1, 2), "is over 65536"),
        (HEAD.pack(0, 99), "unknown message type 99"),
        (HEAD.pack(1, 2) + b"?", "1 bytes too many"),
        (HEAD.pack(3, 4) + b"???", ""),
        (_head(0), "block of 0 bytes"),
        (_head(MAX_BLOCK_BYTES + 1), f"block of {MAX_BLOCK_BYTES + 1} bytes"),
        (_head(1 << 30), "block of 1073741824 bytes"),
    ],
    ids=["http", "long", "unknown", "too-full", "too-short", "empty", "long-block", "huge-block"],
)
async def test_what_is_no_message_closes_the_connection_and_says_why(
    stream: bytes, reason: str
) -> None:
    async with link_and_stranger() as (link, ear, stranger):
        stranger.sendall(encode(Ping()) + stream + encode(have(1)))
        await until(lambda: link.closed)
        assert ear.heard == [Ping()]
        assert len(ear.lost) == 1
        assert ear.lost[0].startswith("broke the protocol: ")
        assert reason in ear.lost[0]


@over_both
async def test_a_block_that_makes_no_sense_to_its_owner_closes_the_connection() -> None:
    def refuse(link: Link, block: Block) -> None:
        raise PeerFault("nobody asked for it")

    async with two_links() as (left, _, _, right_ear):
        right_ear.on_block = refuse
        left.send_piece(Outgoing(PIECE).upload())
        await until(lambda: bool(right_ear.lost))
        assert right_ear.lost == ["broke the protocol: nobody asked for it"]
        assert right_ear.pieces == {}


@over_both
async def test_a_block_that_makes_no_sense_after_a_pause_closes_the_connection() -> None:
    def refuse(link: Link, block: Block) -> None:
        raise PeerFault("too late")

    async with two_links() as (left, _, right, right_ear):
        right_ear.has_room = False
        left.send_piece(Outgoing(PIECE).upload())
        await until(lambda: right.paused)
        right_ear.on_block = refuse
        right.resume_reading()
        assert right_ear.lost == ["broke the protocol: too late"]


async def test_nothing_is_told_after_the_owner_has_closed_the_link() -> None:
    def leave(link: Link, message: Message) -> None:
        link.close("heard enough")

    async with link_and_stranger() as (link, ear, stranger):
        ear.on_message = leave
        stranger.sendall(encode(have(1)) + encode(have(2)) + _head(1) + b"x")
        await until(lambda: link.closed)
        await turns()
        assert ear.heard == [have(1)]
        assert ear.lost == ["heard enough"]


async def test_an_owner_that_closes_instead_of_giving_room_is_not_asked_again() -> None:
    def leave(link: Link, block: Block) -> None:
        link.close("no pieces, please")

    async with link_and_stranger() as (link, ear, stranger):
        ear.on_block, ear.has_room = leave, False
        stranger.sendall(_head(1) + b"x" + encode(have(1)))
        await until(lambda: link.closed)
        assert (ear.heard, ear.lost) == ([], ["no pieces, please"])


async def test_pieces_that_were_not_sent_are_told_when_the_peer_goes() -> None:
    outgoing = [Outgoing(bytes(16 * MIB)) for _ in range(3)]
    async with link_and_stranger() as (link, ear, stranger):
        for out in outgoing:
            link.send_piece(out.upload())
        await until(lambda: link.sent_bytes > 0)
        stranger.close()
        await until(lambda: link.closed)
        assert len(ear.lost) == 1
        assert [out.ended for out in outgoing] == [[False]] * 3


@over_both
async def test_a_closed_link_takes_nothing_and_holds_nothing() -> None:
    out = Outgoing(PIECE)
    async with two_links() as (left, left_ear, _, right_ear):
        left.close("enough")
        left.close("more than enough")
        left.send(Ping())
        left.send_piece(out.upload())
        assert out.ended == [False]
        assert left_ear.lost == ["enough"]
        await until(lambda: right_ear.lost == ["the peer closed the connection"])


@over_both
async def test_closing_with_a_turn_ahead_is_no_error() -> None:
    out = Outgoing(PIECE)
    async with two_links() as (left, _, _, _):
        left.send(Ping())
        left.send_piece(out.upload())
        left.close("at once")
        await turns()
        assert out.ended == [False]


@over_both
async def test_a_file_that_is_shorter_than_its_piece_ends_the_connection() -> None:
    out = Outgoing(bytes(10))
    async with two_links() as (left, left_ear, _, _):
        left.send_piece(out.upload(4, size=20))
        await until(lambda: left.closed)
        assert left_ear.lost == ["sending failed: piece 4: the file ends before the piece does"]
        assert out.ended == [False]


async def test_sending_to_a_peer_that_reset_the_connection_only_loses_the_link() -> None:
    one, other = tcp_pair()
    ear = Ear()
    link = Link(PlainStream(one), ear, initiator=True, remote_host="127.0.0.1")
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()  # resets
    out = Outgoing(PIECE)
    link.send(Ping())
    link.send_piece(out.upload())
    await until(lambda: link.closed)
    await turns()
    assert len(ear.lost) == 1
    assert ear.lost[0].startswith("sending failed: ")
    assert out.ended == [False]


@over_both
async def test_an_owner_may_close_the_link_when_a_piece_is_sent() -> None:
    async with two_links() as (left, left_ear, _, right_ear):
        out, next_out = Outgoing(PIECE), Outgoing(PIECE)
        upload = out.upload()
        upload.ended = lambda whole: left.close("that was all")
        left.send_piece(upload)
        left.send_piece(next_out.upload(1))
        await until(lambda: len(right_ear.pieces.get(0, b"")) == len(PIECE))
        await turns()
        assert left_ear.lost == ["that was all"]
        assert next_out.ended == [False]


async def test_a_peer_that_reads_nothing_is_lost_before_messages_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "CONTROL_QUEUE_BYTES_MOST", 50_000)
    async with link_and_stranger() as (link, ear, _):
        message = Hello(PeerId("x" * 1000))
        for _ in range(100):
            link.send(message)
        assert link.closed
        assert ear.lost == ["50450 bytes of messages wait: the peer does not read"]
