"""A member of a site that lies: it claims to hold a blob whole, and sends what a `Lie` says.

For tests of what an agent does about such a peer. It speaks the peer wire itself, on asyncio's
streams, so that nothing of the agent keeps it from saying what no agent would:

    python -m shoal.testing.lying_peer PEERS.json

where the file holds a list of objects with the fields of `LyingPeer.of`. With a certificate of the
cluster it is an insider, and signs for what it sends, also for wrong bytes. It writes a JSON line
to standard output for whatever it was asked and whatever it sent, so that a test can tell a lie
that was refused from one that nobody ever heard.
"""

import asyncio
import contextlib
import json
import signal
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.peers.handshake import ALPN
from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.digest import Digest
from shoal.core.endpoint import Endpoint
from shoal.core.errors import PeerFault
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.core.receipts.intake import fingerprint_of
from shoal.core.receipts.receipt import Receipt, statement
from shoal.core.wire.codec import HEAD, MAX_BLOCK_BYTES, MAX_FRAME_BYTES, FrameReader, encode
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
    Ping,
    Request,
    SignerCertificate,
)

if TYPE_CHECKING:
    import ssl

READ_BYTES = 64 * 1024
PING_INTERVAL_S = 1.0
REDIAL_INTERVAL_S = 0.3  # it comes back whenever it was thrown out
ANNOUNCE_INTERVAL_S = 3.0
RECEIPT_S = 86400.0
# Often enough to be no stall, and a piece would take an hour.
DRIP_BYTES = 64
DRIP_INTERVAL_S = 0.25
_BLOCK_NUMBER = 9  # of a Block on the wire


class Lie(StrEnum):
    """What it sends when it is asked for a piece."""

    NONE = "none"  # the right bytes: to see that it would be believed
    WRONG_BYTES = "wrong-bytes"  # other bytes, and the hash that they have
    WRONG_HASH = "wrong-hash"  # other bytes, and the hash of the right ones
    UNSIGNED = "unsigned"  # other bytes and their hash, for which nobody vouches
    FORGED = "forged"  # other bytes and their hash, with a receipt that nobody signed
    CUT = "cut"  # half of the piece; then it closes the connection
    STALL = "stall"  # half of the piece; then nothing more
    DRIP = "drip"  # other bytes under the right hash, a few at a time, for ever
    SILENCE = "silence"  # nothing at all
    WRONG_OFFSET = "wrong-offset"  # blocks that begin elsewhere than where the last ended
    OVERLONG = "overlong"  # more bytes than the piece has
    HUGE_BLOCK = "huge-block"  # the head of a block of a gigabyte
    HUGE_FRAME = "huge-frame"  # a frame that claims to be a gigabyte long
    GARBAGE = "garbage"  # bytes that are no frames
    ABSURD_TRACKING = "absurd-tracking"  # as its tracker: leases and peers that cannot be

    @classmethod
    def of_whole_pieces(cls) -> "frozenset[Lie]":
        """Return those that nobody sees in a piece alone where peers have no certificates."""
        return frozenset((cls.WRONG_BYTES, cls.UNSIGNED, cls.FORGED))


@dataclass(slots=True)
class LyingPeer:
    """One of them; `run` until cancelled."""

    me: PeerId
    members: tuple[PeerId, ...]
    spec: BlobSpec
    data: bytes = field(repr=False)
    lie: Lie
    credentials: Credentials | None = field(default=None, repr=False)
    """What it shows over TLS and signs with; None: it speaks plain TCP."""
    tracked: dict[BlobTag, BlobSpec] = field(default_factory=dict)
    """Other blobs that it happens to track; it does so without guile."""
    links: Counter[PeerId] = field(default_factory=Counter)
    """Connections that stand, by who is at their other end."""
    seen: Counter[str] = field(default_factory=Counter)
    """What was asked of it and what it sent, by the message's name."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "LyingPeer":
        """Return the peer that a file describes.

        Args:
            fields: `me` and `members`, as addresses with ports; `registry`, `digest` and `blob`, a
                file, of what it lies about; `lie`; `tls`, as in an agent's settings, or nothing.
        """
        data = Path(fields["blob"]).read_bytes()
        spec = BlobSpec(fields["registry"], Digest.parse(fields["digest"]), len(data))
        members = tuple(PeerId(member) for member in fields["members"])
        credentials = None
        if (tls := fields.get("tls")) is not None:
            files = CredentialFiles(**{name: Path(path) for name, path in tls.items()})
            credentials = Credentials.read(files, alpn=(ALPN,))
        return cls(PeerId(fields["me"]), members, spec, data, Lie(fields["lie"]), credentials)

    async def run(self) -> None:
        """Listen, dial every member, announce the blob, and lie to whoever asks."""
        at = Endpoint.parse(self.me)
        context = self.credentials.server_context if self.credentials is not None else None
        server = await asyncio.start_server(self._accepted, at.host, at.port, ssl=context)
        async with server, asyncio.TaskGroup() as group:
            for member in self.members:
                if member != self.me:
                    group.create_task(self._call(member))

    async def _call(self, member: PeerId) -> None:
        """Hold a connection to a member, whatever it does about it."""
        at = Endpoint.parse(member)
        local = (Endpoint.parse(self.me).host, 0)
        context: ssl.SSLContext | None = None
        if self.credentials is not None:
            context = self.credentials.client_context
        while True:
            if member not in self.links:
                with contextlib.suppress(OSError, PeerFault):
                    opened = await asyncio.open_connection(
                        at.host, at.port, local_addr=local, ssl=context
                    )
                    await self._converse(*opened)
            await asyncio.sleep(REDIAL_INTERVAL_S)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, PeerFault):
            await self._converse(reader, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: PeerId | None = None
        tasks: list[asyncio.Task[None]] = []  # ended with the connection
        try:
            protocol = HASH_ALONE if self.credentials is None else WITH_RECEIPTS
            writer.write(encode(Hello(self.me, protocol)))
            async for message in _messages(reader):
                if isinstance(message, Hello):
                    peer = message.peer
                    self.links[peer] += 1
                    tasks.append(asyncio.ensure_future(self._beat(writer, peer)))
                elif self.lie is Lie.DRIP and isinstance(message, Request):
                    tasks.append(asyncio.ensure_future(self._drip(message, writer)))
                else:
                    await self._answer(message, writer)
        finally:
            for task in tasks:
                task.cancel()
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
            case Announce(spec):
                if spec != self.spec:
                    self.tracked[spec.tag] = spec
                elif self.lie is not Lie.SILENCE:
                    writer.write(encode(Introduce(spec.tag, self._introduced())))
            case LeaseWanted(tag):
                self._lease(tag, writer)
            case Join(spec) if spec == self.spec:
                self._note("joined")
                writer.write(encode(Join(spec, bitmap.full(spec.pieces))))
            case Request(tag, piece) if tag == self.spec.tag:
                self._note("asked", piece=piece)
                await self._send(piece, writer)
            case _:
                return
        await writer.drain()

    def _introduced(self) -> tuple[PeerId, ...]:
        if self.lie is Lie.ABSURD_TRACKING:
            return (PeerId("192.0.2.1:1"), PeerId("no address"), PeerId(""))
        return (self.me,)

    def _lease(self, tag: BlobTag, writer: asyncio.StreamWriter) -> None:
        """Answer who would fetch from the registry; each gets all of a blob that is not lied about.

        Of the other one there is nothing to fetch, for somebody has it all: this peer.
        """
        if tag != self.spec.tag:
            if (spec := self.tracked.get(tag)) is not None:
                writer.write(encode(LeaseGranted(tag, 0, spec.pieces)))
        elif self.lie is Lie.ABSURD_TRACKING:
            self._note("lease-absurd")
            for first, count in ((self.spec.pieces, 1), (0, 0), (0, 2**32 - 1), (2**32 - 1, 9)):
                writer.write(encode(LeaseGranted(tag, first, count)))
        elif self.lie is not Lie.SILENCE:
            self._note("lease-refused")
            writer.write(encode(LeaseNone(tag)))

    async def _send(self, piece: int, writer: asyncio.StreamWriter) -> None:
        start = self.spec.offset(piece)
        right = self.data[start : start + self.spec.size(piece)]
        wrong = bytes([right[0] ^ 0xFF]) + right[1:]
        right_hash, wrong_hash = blake3(right).digest(), blake3(wrong).digest()
        match self.lie:
            case Lie.NONE:
                self._blocks(writer, piece, right, right_hash)
            case Lie.WRONG_BYTES | Lie.UNSIGNED | Lie.FORGED:
                self._blocks(writer, piece, wrong, wrong_hash)
            case Lie.WRONG_HASH:
                self._blocks(writer, piece, wrong, right_hash)
            case Lie.CUT:
                self._blocks(writer, piece, right[: len(right) // 2], right_hash)
                await writer.drain()
                writer.close()
            case Lie.STALL:
                self._blocks(writer, piece, right[: len(right) // 2], right_hash)
            case Lie.SILENCE | Lie.ABSURD_TRACKING:
                pass
            case Lie.WRONG_OFFSET:
                self._blocks(writer, piece, right[:1000], right_hash)
                self._blocks(writer, piece, right[5000:], right_hash, offset=5000)
            case Lie.OVERLONG:
                self._blocks(writer, piece, right + bytes(MAX_BLOCK_BYTES), right_hash)
            case Lie.HUGE_BLOCK:
                self._vouch(writer, piece, right_hash)
                head = struct.pack(">16sIII32s", self.spec.tag, piece, 0, 1 << 30, right_hash)
                writer.write(HEAD.pack(len(head), _BLOCK_NUMBER) + head + right)
            case Lie.HUGE_FRAME:
                writer.write(HEAD.pack(1 << 30, _BLOCK_NUMBER) + bytes(MAX_FRAME_BYTES))
            case Lie.GARBAGE:
                writer.write(right)
        self._note("lied" if self.lie is not Lie.NONE else "sent", piece=piece)

    async def _drip(self, asked: Request, writer: asyncio.StreamWriter) -> None:
        """Begin a piece, and bring a little more of it again and again."""
        if asked.tag != self.spec.tag:
            return
        start, size = self.spec.offset(asked.piece), self.spec.size(asked.piece)
        right_hash = blake3(self.data[start : start + size]).digest()
        self._note("asked", piece=asked.piece)
        self._note("lied", piece=asked.piece)
        for at in range(0, size, DRIP_BYTES):
            if writer.is_closing():
                return
            part = bytes(min(DRIP_BYTES, size - at))
            self._blocks(writer, asked.piece, part, right_hash, offset=at)
            await asyncio.sleep(DRIP_INTERVAL_S)

    def _blocks(
        self,
        writer: asyncio.StreamWriter,
        piece: int,
        data: bytes,
        hash_: bytes,
        *,
        offset: int = 0,
    ) -> None:
        self._vouch(writer, piece, hash_)
        for at in range(0, len(data), MAX_BLOCK_BYTES):
            part = data[at : at + MAX_BLOCK_BYTES]
            writer.write(encode(Block(self.spec.tag, piece, offset + at, len(part), hash_)) + part)

    def _vouch(self, writer: asyncio.StreamWriter, piece: int, hash_: bytes) -> None:
        """Say who signs, and sign that the piece has this hash, true or not."""
        if self.credentials is None or self.lie is Lie.UNSIGNED:
            return
        der = self.credentials.certificate.der
        expires_s = int(datetime.now(UTC).timestamp() + RECEIPT_S)
        cluster = self.credentials.identity.cluster
        words = statement(cluster, self.spec, first=piece, hashes=(hash_,), expires_s=expires_s)
        signature = self.credentials.sign(words if self.lie is not Lie.FORGED else b"other words")
        receipt = Receipt(self.spec.tag, piece, (hash_,), expires_s, fingerprint_of(der), signature)
        writer.write(encode(SignerCertificate(der)) + encode(receipt))

    def _note(self, what: str, **fields: object) -> None:
        self.seen[what] += 1
        print(json.dumps({"lie": self.lie, "what": what, **fields}), flush=True)


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


async def run_all(peers: Iterable[LyingPeer]) -> None:
    """Run peers until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.ensure_future(peer.run()) for peer in peers]
    waiting = asyncio.ensure_future(stop.wait())
    done, left = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    for task in done:
        task.result()  # one that ended by itself has an error to tell of


if __name__ == "__main__":
    asyncio.run(run_all(map(LyingPeer.of, json.loads(Path(sys.argv[1]).read_text()))))
