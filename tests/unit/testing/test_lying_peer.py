"""The peer that lies says on the wire what its lie is, and nothing else is wrong with it."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3

from shoal.adapters.certificates.credentials import Credentials
from shoal.adapters.peers.handshake import ALPN
from shoal.core.blob import MIN_PIECE_BYTES, BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.receipts.receipt import Receipt, statement_of
from shoal.core.wire.codec import FrameReader, encode
from shoal.core.wire.messages import (
    HASH_ALONE,
    WITH_RECEIPTS,
    Announce,
    Block,
    Hello,
    Introduce,
    Join,
    LeaseGranted,
    LeaseNone,
    LeaseWanted,
    Message,
    Request,
    SignerCertificate,
)
from shoal.testing import lying_peer
from shoal.testing.cluster import Cluster, settings_of
from shoal.testing.lying_peer import DRIP_BYTES, Lie, LyingPeer
from unit.ports import free_port

DATA = os.urandom(2 * MIN_PIECE_BYTES + 80_000)  # three pieces
SPEC = BlobSpec("registry.example", Digest("sha256", hashlib.sha256(DATA).hexdigest()), len(DATA))
PIECE = DATA[: SPEC.piece_bytes]
HONEST = PeerId("127.0.0.1:1")  # nobody listens there


class Caller:
    """An honest peer that dialed it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()

    def say(self, *messages: Message) -> None:
        """Send messages."""
        for message in messages:
            self._writer.write(encode(message))

    async def hears(self, kind: type[Message]) -> Message:
        """Return the next message of a kind."""
        async with asyncio.timeout(30):
            while True:
                message = self._frames.next()
                if isinstance(message, kind):
                    return message
                if message is None:
                    self._frames.feed(await self._more())

    async def body(self, size_bytes: int) -> bytes:
        """Return the bytes after a block's head."""
        body = self._frames.take(size_bytes)
        async with asyncio.timeout(30):
            while len(body) < size_bytes:
                body += await self._more(size_bytes - len(body))
        return body

    async def _more(self, most: int = 65536) -> bytes:
        data = await self._reader.read(most)
        if not data:
            raise EOFError
        return data

    async def blocks(self) -> AsyncIterator[tuple[Block, bytes]]:
        """Yield blocks with their bytes until there are none for a moment, or the end."""
        with contextlib.suppress(EOFError, TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    block = await self.hears(Block)
                assert isinstance(block, Block)
                yield block, await self.body(block.length)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@contextlib.asynccontextmanager
async def calling(
    lie: Lie, *, insider: Credentials | None = None, me: Credentials | None = None
) -> AsyncIterator[Caller]:
    """Run a liar, dial it, and greet it; over TLS if it is an insider, who is shown `me`."""
    liar = PeerId(f"127.0.0.1:{free_port()}")
    running = asyncio.ensure_future(LyingPeer(liar, (HONEST, liar), SPEC, DATA, lie, insider).run())
    protocol = HASH_ALONE if me is None else WITH_RECEIPTS
    caller: Caller | None = None
    try:
        while caller is None:
            await asyncio.sleep(0.01)
            with contextlib.suppress(ConnectionError):
                port = int(liar.rpartition(":")[2])
                context = me.client_context if me is not None else None
                caller = Caller(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
        caller.say(Hello(HONEST, protocol))
        assert await caller.hears(Hello) == Hello(liar, protocol)
        yield caller
    finally:
        if caller is not None:
            caller.close()
        running.cancel()
        await asyncio.wait([running])


async def pieces(lie: Lie) -> list[tuple[Block, bytes]]:
    """Ask a liar for the first piece; return what it sends."""
    async with calling(lie) as caller:
        caller.say(Join(SPEC, 0), Request(SPEC.tag, 0))
        joined = await caller.hears(Join)
        assert joined == Join(SPEC, 0b111)
        return [block async for block in caller.blocks()]


async def test_without_a_lie_a_piece_comes_whole_and_right() -> None:
    blocks = await pieces(Lie.NONE)
    assert b"".join(body for _, body in blocks) == PIECE
    assert {block.piece_hash for block, _ in blocks} == {blake3(PIECE).digest()}
    ends = itertools.accumulate(block.length for block, _ in blocks)
    assert [block.offset for block, _ in blocks] == [0, *ends][:-1]


async def test_wrong_bytes_come_with_their_own_hash_or_with_the_right_ones() -> None:
    for lie in (Lie.WRONG_BYTES, Lie.WRONG_HASH):
        blocks = await pieces(lie)
        body = b"".join(body for _, body in blocks)
        assert len(body) == len(PIECE)
        assert body != PIECE
        matches = blocks[0][0].piece_hash == blake3(body).digest()
        assert matches == (lie is Lie.WRONG_BYTES)


async def test_an_insider_signs_for_the_wrong_bytes_that_it_sends(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    liar = Credentials.read(cluster.issue("liar", ["127.0.0.1"]), alpn=(ALPN,))
    me = Credentials.read(cluster.issue("me", ["127.0.0.1"]), alpn=(ALPN,))
    async with calling(Lie.WRONG_BYTES, insider=liar, me=me) as caller:
        caller.say(Request(SPEC.tag, 1))
        signer = await caller.hears(SignerCertificate)
        receipt = await caller.hears(Receipt)
        block, body = await anext(caller.blocks())
    assert signer == SignerCertificate(liar.certificate.der)
    assert isinstance(receipt, Receipt)
    words = statement_of(receipt, SPEC, cluster="test")
    assert liar.certificate.verifies(receipt.signature, words)
    assert receipt.hash_of(1) == block.piece_hash == blake3(body).digest()
    assert body != DATA[SPEC.piece_bytes :][: len(body)]


@pytest.mark.parametrize("lie", [Lie.CUT, Lie.STALL])
async def test_half_a_piece_comes(lie: Lie) -> None:
    assert b"".join(body for _, body in await pieces(lie)) == PIECE[: len(PIECE) // 2]


async def test_a_piece_that_drips_comes_a_little_at_a_time_and_is_not_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lying_peer, "DRIP_INTERVAL_S", 0.01)
    async with calling(Lie.DRIP) as caller:
        caller.say(Join(SPEC, 0), Request(SPEC.tag, 0))
        await caller.hears(Join)
        dripping = caller.blocks()
        drips = [await anext(dripping) for _ in range(3)]
    assert [block.offset for block, _ in drips] == [0, DRIP_BYTES, 2 * DRIP_BYTES]
    assert b"".join(body for _, body in drips) != PIECE[: 3 * DRIP_BYTES]
    assert {block.piece_hash for block, _ in drips} == {blake3(PIECE).digest()}


async def test_nothing_comes_of_one_that_is_silent() -> None:
    assert await pieces(Lie.SILENCE) == []


async def test_offsets_leave_a_hole_and_bytes_go_beyond_the_end() -> None:
    offsets = [block.offset for block, _ in await pieces(Lie.WRONG_OFFSET)]
    assert offsets[:2] == [0, 5000]
    overlong = await pieces(Lie.OVERLONG)
    assert sum(len(body) for _, body in overlong) > len(PIECE)


@pytest.mark.parametrize("lie", [Lie.HUGE_BLOCK, Lie.HUGE_FRAME, Lie.GARBAGE])
async def test_what_is_no_frame_breaks_the_protocol(lie: Lie) -> None:
    async with calling(lie) as caller:
        caller.say(Join(SPEC, 0), Request(SPEC.tag, 0))
        await caller.hears(Join)
        with pytest.raises(PeerFault):
            await caller.hears(Block)


async def test_as_a_tracker_it_names_itself_and_has_nothing_to_lease() -> None:
    async with calling(Lie.STALL) as caller:
        caller.say(Announce(SPEC, 0, wants=True, peers_sought=4), LeaseWanted(SPEC.tag))
        introduced = await caller.hears(Introduce)
        assert isinstance(introduced, Introduce)
        assert len(introduced.peers) == 1
        assert await caller.hears(LeaseNone) == LeaseNone(SPEC.tag)


async def test_as_an_absurd_tracker_it_leases_what_there_is_not() -> None:
    async with calling(Lie.ABSURD_TRACKING) as caller:
        caller.say(Announce(SPEC, 0, wants=True, peers_sought=4), LeaseWanted(SPEC.tag))
        introduced = await caller.hears(Introduce)
        assert isinstance(introduced, Introduce)
        assert PeerId("no address") in introduced.peers
        leased = await caller.hears(LeaseGranted)
        assert leased == LeaseGranted(SPEC.tag, SPEC.pieces, 1)


async def test_other_blobs_that_it_tracks_are_left_to_whoever_asks() -> None:
    other = BlobSpec("registry.example", Digest("sha256", "0" * 64), 1)
    async with calling(Lie.STALL) as caller:
        caller.say(Announce(other, 0, wants=True, peers_sought=4), LeaseWanted(other.tag))
        assert await caller.hears(LeaseGranted) == LeaseGranted(other.tag, 0, 1)


async def test_the_program_reads_its_peers_from_a_file_and_ends_when_told(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(DATA)
    me = f"127.0.0.1:{free_port()}"
    config = tmp_path / "peers.json"
    fields = {
        "me": me,
        "members": [me, HONEST],
        "registry": SPEC.registry,
        "digest": str(SPEC.digest),
        "blob": str(blob),
        "lie": "stall",
    }
    assert LyingPeer.of(fields).spec == SPEC
    insider = LyingPeer.of(fields | {"tls": settings_of(Cluster(tmp_path).issue("n9", ["::1"]))})
    assert insider.credentials is not None
    config.write_text(json.dumps([fields]))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shoal.testing.lying_peer", str(config)
    )
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", int(me[10:]))
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
