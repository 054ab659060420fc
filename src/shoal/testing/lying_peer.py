"""A member of a site that lies: it claims to hold a blob whole, and sends what a `Lie` says.

For tests of what an agent does about such a peer. It speaks the peer wire itself, on asyncio's
streams, so that nothing of the agent keeps it from saying what no agent would:

    python -m shoal.testing.lying_peer --me 10.77.1.4:65002 --members 10.77.1.1:65002 ... \
        --registry 10.77.255.1:5000 --digest sha256:... --blob FILE --lie wrong-bytes

It writes a JSON line to standard output for whatever it was asked and whatever it sent, so that a
test can tell a lie that was refused from one that nobody ever heard.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from blake3 import blake3

from shoal.core import bitmap
from shoal.core.blob import BlobSpec, ContentKind
from shoal.core.digest import Digest
from shoal.core.endpoint import Endpoint
from shoal.core.errors import PeerFault
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.wire.codec import HEAD, MAX_BLOCK_BYTES, MAX_FRAME_BYTES, FrameReader, encode
from shoal.core.wire.messages import (
    Announce,
    Block,
    Hello,
    Introduce,
    Join,
    LeaseNone,
    LeaseWanted,
    Message,
    Ping,
    Request,
)

READ_BYTES = 64 * 1024
PING_INTERVAL_S = 1.0
REDIAL_INTERVAL_S = 0.3  # it comes back whenever it was thrown out
ANNOUNCE_INTERVAL_S = 3.0
_BLOCK_NUMBER = 9  # of a Block on the wire


class Lie(StrEnum):
    """What it sends when it is asked for a piece."""

    NONE = "none"  # the right bytes: to see that it would be believed
    WRONG_BYTES = "wrong-bytes"  # other bytes, and the hash that they have
    WRONG_HASH = "wrong-hash"  # other bytes, and the hash of the right ones
    CUT = "cut"  # half of the piece; then it closes the connection
    STALL = "stall"  # half of the piece; then nothing more
    SILENCE = "silence"  # nothing at all
    WRONG_OFFSET = "wrong-offset"  # blocks that begin elsewhere than where the last ended
    OVERLONG = "overlong"  # more bytes than the piece has
    HUGE_BLOCK = "huge-block"  # the head of a block of a gigabyte
    HUGE_FRAME = "huge-frame"  # a frame that claims to be a gigabyte long
    GARBAGE = "garbage"  # bytes that are no frames


@dataclass(slots=True)
class LyingPeer:
    """One of them; `run` until cancelled."""

    me: PeerId
    members: tuple[PeerId, ...]
    spec: BlobSpec
    data: bytes = field(repr=False)
    lie: Lie
    links: Counter[PeerId] = field(default_factory=Counter)
    """Connections that stand, by who is at their other end."""
    seen: Counter[str] = field(default_factory=Counter)
    """What was asked of it and what it sent, by the message's name."""

    async def run(self) -> None:
        """Listen, dial every member, announce the blob, and lie to whoever asks."""
        at = Endpoint.parse(self.me)
        server = await asyncio.start_server(self._accepted, at.host, at.port)
        async with server, asyncio.TaskGroup() as group:
            for member in self.members:
                if member != self.me:
                    group.create_task(self._call(member))

    async def _call(self, member: PeerId) -> None:
        """Hold a connection to a member, whatever it does about it."""
        at = Endpoint.parse(member)
        local = (Endpoint.parse(self.me).host, 0)
        while True:
            if member not in self.links:
                with contextlib.suppress(OSError, PeerFault):
                    opened = await asyncio.open_connection(at.host, at.port, local_addr=local)
                    await self._converse(*opened)
            await asyncio.sleep(REDIAL_INTERVAL_S)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, PeerFault):
            await self._converse(reader, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: PeerId | None = None
        beat: asyncio.Task[None] | None = None
        try:
            writer.write(encode(Hello(self.me)))
            async for message in _messages(reader):
                if isinstance(message, Hello):
                    peer = message.peer
                    self.links[peer] += 1
                    beat = asyncio.get_running_loop().create_task(self._beat(writer, peer))
                else:
                    await self._answer(message, writer)
        finally:
            if beat is not None:
                beat.cancel()
            if peer is not None:
                self.links -= Counter([peer])
                self._note("lost", peer=peer)
            writer.close()

    async def _beat(self, writer: asyncio.StreamWriter, peer: PeerId) -> None:
        """Say again and again that it lives, and to the blob's tracker that it has the blob."""
        others = [member for member in self.members if member != self.me]
        is_tracker = ranked(self.spec.tag, others)[0] == peer
        loop = asyncio.get_running_loop()
        announced_s = loop.time() - ANNOUNCE_INTERVAL_S
        while not writer.is_closing():
            if is_tracker and loop.time() - announced_s >= ANNOUNCE_INTERVAL_S:
                announced_s = loop.time()
                whole = bitmap.full(self.spec.pieces)
                writer.write(encode(Announce(self.spec, whole, wants=False, peers_sought=0)))
                self._note("announced", peer=peer)
            writer.write(encode(Ping()))
            await asyncio.sleep(PING_INTERVAL_S)

    async def _answer(self, message: Message, writer: asyncio.StreamWriter) -> None:
        match message:
            case Announce(spec) if spec == self.spec:  # this peer is the tracker: so much the worse
                writer.write(encode(Introduce(spec.tag, (self.me,))))
            case LeaseWanted(tag) if tag == self.spec.tag:
                self._note("lease-refused")
                writer.write(encode(LeaseNone(tag)))
            case Join(spec) if spec == self.spec:
                self._note("joined")
                writer.write(encode(Join(spec, bitmap.full(spec.pieces))))
            case Request(tag, piece) if tag == self.spec.tag:
                self._note("asked", piece=piece)
                await self._send(piece, writer)
            case _:
                return
        await writer.drain()

    async def _send(self, piece: int, writer: asyncio.StreamWriter) -> None:
        start = self.spec.offset(piece)
        right = self.data[start : start + self.spec.size(piece)]
        wrong = bytes([right[0] ^ 0xFF]) + right[1:]
        right_hash, wrong_hash = blake3(right).digest(), blake3(wrong).digest()
        match self.lie:
            case Lie.NONE:
                self._blocks(writer, piece, right, right_hash)
            case Lie.WRONG_BYTES:
                self._blocks(writer, piece, wrong, wrong_hash)
            case Lie.WRONG_HASH:
                self._blocks(writer, piece, wrong, right_hash)
            case Lie.CUT:
                self._blocks(writer, piece, right[: len(right) // 2], right_hash)
                await writer.drain()
                writer.close()
            case Lie.STALL:
                self._blocks(writer, piece, right[: len(right) // 2], right_hash)
            case Lie.SILENCE:
                pass
            case Lie.WRONG_OFFSET:
                self._blocks(writer, piece, right[:1000], right_hash)
                self._blocks(writer, piece, right[5000:], right_hash, offset=5000)
            case Lie.OVERLONG:
                self._blocks(writer, piece, right + bytes(MAX_BLOCK_BYTES), right_hash)
            case Lie.HUGE_BLOCK:
                head = struct.pack(">16sIII32s", self.spec.tag, piece, 0, 1 << 30, right_hash)
                writer.write(HEAD.pack(len(head), _BLOCK_NUMBER) + head + right)
            case Lie.HUGE_FRAME:
                writer.write(HEAD.pack(1 << 30, _BLOCK_NUMBER) + bytes(MAX_FRAME_BYTES))
            case Lie.GARBAGE:
                writer.write(right)
        self._note("lied" if self.lie is not Lie.NONE else "sent", piece=piece)

    def _blocks(
        self,
        writer: asyncio.StreamWriter,
        piece: int,
        data: bytes,
        hash_: bytes,
        *,
        offset: int = 0,
    ) -> None:
        for at in range(0, len(data), MAX_BLOCK_BYTES):
            part = data[at : at + MAX_BLOCK_BYTES]
            writer.write(encode(Block(self.spec.tag, piece, offset + at, len(part), hash_)) + part)

    def _note(self, what: str, **fields: object) -> None:
        self.seen[what] += 1
        print(json.dumps({"what": what, **fields}), flush=True)


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    """Yield what the other side says until it closes; the bytes of its pieces are passed over."""
    frames = FrameReader()
    pass_over = 0
    while data := await reader.read(READ_BYTES):
        frames.feed(data)
        while True:
            pass_over -= len(frames.take(pass_over))
            if pass_over or (message := frames.next()) is None:
                break
            if isinstance(message, Block):
                pass_over = message.length
            yield message


def main(argv: Sequence[str] | None = None) -> None:
    """Run one until it is stopped."""
    parser = argparse.ArgumentParser(description="A peer that lies.")
    parser.add_argument("--me", required=True, type=PeerId)
    parser.add_argument("--members", required=True, nargs="+", type=PeerId)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--digest", required=True, type=Digest.parse)
    parser.add_argument("--blob", required=True, type=Path)
    parser.add_argument("--lie", required=True, type=Lie)
    words = parser.parse_args(argv)
    data = words.blob.read_bytes()
    spec = BlobSpec(words.registry, words.digest, len(data), ContentKind.BLOB)
    peer = LyingPeer(words.me, tuple(words.members), spec, data, words.lie)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_terminated(peer))


async def _until_terminated(peer: LyingPeer) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await peer.run()


if __name__ == "__main__":
    main()
