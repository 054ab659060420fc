"""The driver: tells the swarm what happened, and does what it decides.

Everything that is decided is decided in `shoal.core.swarm`. Here events come in from the network,
the registry, the store and the clients, and orders go out to them. All of it runs on one event
loop; disk and hashing run in threads.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from random import Random

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.link import PieceUpload
from shoal.adapters.peers.network import PeerNetwork
from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.allowing import Allowing
from shoal.agent.holdings import Holdings, piece_hash
from shoal.agent.limits import Limits
from shoal.agent.pieces import (
    GONE,
    SEGMENT_BYTES,
    SOURCE_FAULTS,
    WRONG_HASH,
    IncomingPiece,
    PieceWriter,
    Segments,
)
from shoal.agent.ports import Origin
from shoal.agent.registry_runs import RegistryRuns
from shoal.agent.transfer import Transfer
from shoal.agent.vouching import HashAlone, Vouching, WithReceipts, Words
from shoal.agent.workers import Workers
from shoal.core import bitmap
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.endpoint import Endpoint
from shoal.core.errors import PeerFault, StoreError
from shoal.core.peer import PeerId
from shoal.core.receipts.intake import PENDING, Blame, Refusal, Standing, Vouched
from shoal.core.receipts.receipt import Receipt
from shoal.core.receipts.vouchers import Vouchers
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.swarm.swarm import Swarm
from shoal.core.wire.codec import MAX_BLOCK_BYTES
from shoal.core.wire.messages import Allow, Block, Busy, Message, Request, SignerCertificate

_log = logging.getLogger("shoal.agent.node")

# Where bytes of an unasked piece go. A peer may still send what was just cancelled.
_discarded = memoryview(bytearray(MAX_BLOCK_BYTES))


class Node:
    """One node's swarm, driven."""

    def __init__(
        self,
        *,
        me: PeerId,
        origin: Origin,
        holdings: Holdings,
        workers: Workers,
        metrics: Metrics,
        on_give_up: Callable[[BlobTag, str], None],
        policy: Policy = DEFAULT,
        seed: int | None = None,
        limits: Limits | None = None,
        swarm: Swarm | None = None,  # of `me`, with `policy`, where it is a special one
        credentials: PeerCredentials | None = None,
    ) -> None:
        # Not for secrets.
        self.swarm = swarm or Swarm(me=me, rng=Random(seed), policy=policy)  # noqa: S311
        self._limits = limits
        self._allowing: Allowing | None = None  # while the download has a limit
        self.vouching: Vouching = HashAlone()
        self._signer = me if credentials is not None else None  # of what this node fetches
        if credentials is not None:
            self.vouching = WithReceipts(
                credentials,
                workers=workers,
                metrics=metrics,
                members=lambda: self.swarm.site.members,
                checked=self._room_again,
            )
        self._members: frozenset[PeerId] = frozenset()  # of whom the hosts are
        self._member_hosts: frozenset[str] = frozenset()
        self.network = PeerNetwork(
            me=me,
            owner=self,
            is_member=self._is_member,
            upload=limits.upload if limits is not None else None,
            protocol=self.vouching.protocol,
            credentials=credentials,
            is_member_host=self._is_member_host,
            count_refusal=lambda reason: metrics.peer_handshakes_refused.labels(reason).inc(),
        )
        self.transfers: dict[BlobTag, Transfer] = {}
        self._holdings = holdings
        self._workers = workers
        self._metrics = metrics
        self._on_give_up = on_give_up
        self._loop = asyncio.get_running_loop()
        self._from_peers = metrics.pieces_stored.labels(source="peer")
        self._segments = Segments(on_free=self._room_again)
        self._incoming: dict[tuple[PeerId, BlobTag, int], IncomingPiece] = {}
        self._runs = RegistryRuns(
            origin=origin, workers=workers, metrics=metrics, tell=self.tell, stored=self.stored
        )
        self._ticking: asyncio.TimerHandle | None = None
        self._queue: list[on.Event] = []
        self._handling = False
        self.limits_changed()

    def start(self, listeners: Sequence[socket.socket]) -> None:
        """Accept peers on these sockets, and begin to decide."""
        self.network.start(listeners)
        self._tick()

    async def stop(self) -> None:
        """Break off what is under way and close every connection."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        await self._runs.stop()
        await self.network.stop()
        for incoming in list(self._incoming.values()):
            incoming.abandon(GONE)

    def limits_changed(self) -> None:
        """The limits are others than before: keep to them from now on; nothing is cut for them."""
        if (limits := self._limits) is None:
            return
        self.network.limit_links(limits.peer_connections)
        self.network.limit_uploads()
        limited = limits.upload.rate_bytes_per_s is not None
        if limited != self.swarm.uploads.by_blob:
            self.tell(on.UploadsLimited(limited))
        self._segments.limit(limits.memory_bytes // SEGMENT_BYTES)
        if limits.download.rate_bytes_per_s is None:
            if self._allowing is not None:
                self._allowing = None
                for peer in self.network.peers():
                    self._say(peer, Allow(None))
        elif self._allowing is None:
            self._allowing = Allowing(limits.download, self._say)
            for peer in self.network.peers():
                self._allowing.connected(peer)
            for tag, exchange in self.swarm.exchanges.items():
                for peer, neighbour in exchange.neighbours.items():
                    if neighbour.asked:
                        self._allowing.asked(peer, tag)

    def _say(self, peer: PeerId, message: Message) -> None:
        if (link := self.network.link(peer)) is not None:
            link.send(message)

    def _is_member(self, peer: PeerId) -> bool:
        return peer in self.swarm.site.members

    def _is_member_host(self, host: str) -> bool:
        members = self.swarm.site.members
        if members is not self._members:
            self._members = members
            self._member_hosts = frozenset(Endpoint.parse(member).host for member in members)
        return host in self._member_hosts

    def _tick(self) -> None:
        try:
            self._holdings.close_idle(now_s=self._loop.time())
            self.tell(on.Ticked())
        finally:
            self._ticking = self._loop.call_later(self.swarm.tick_s, self._tick)

    async def forget_evicted(self) -> None:
        """Offer peers no more what the store has dropped; called every few seconds."""
        for tag in await self._workers.run(self._holdings.forget_evicted):
            if tag not in self.transfers:  # or it is on its way once more
                self.tell(on.BlobDropped(tag))

    def _tick_in_time(self) -> None:
        """Bring the next tick forward, if something now waits for it that did not before."""
        due_s = self._loop.time() + self.swarm.tick_s
        if self._ticking is not None and due_s < self._ticking.when():
            self._ticking.cancel()
            self._ticking = self._loop.call_at(due_s, self._tick)

    # --- events in, orders out ----------------------------------------------------------------

    def tell(self, event: on.Event) -> None:
        """Let the swarm know of `event`, and carry out what it decides.

        An order may cause further events at once; they wait until the orders before are done.
        """
        self._queue.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            now_s = self._loop.time()
            while self._queue:
                for effect in self.swarm.handle(self._queue.pop(0), now_s=now_s):
                    try:
                        self._do(effect)
                    except Exception:  # a bug; the other orders are for other blobs and peers
                        _log.exception("order_failed", extra={"order": type(effect).__name__})
        finally:
            self._handling = False
        if isinstance(event, on.PieceStored | on.BlobWanted):
            self._tick_in_time()

    def _do(self, effect: do.Effect) -> None:
        match effect:
            case do.Send(peer, message):
                self._say(peer, message)
                if self._allowing is not None and isinstance(message, Request):
                    self._allowing.asked(peer, message.tag)
            case do.SendPiece(peer, tag, piece):
                self._upload(peer, tag, piece)
            case do.FetchFromRegistry(tag, first, count):
                transfer = self.transfers.get(tag)
                if transfer is None:
                    self.tell(on.RegistryEnded(tag, first, on.RegistryFault.FAILED))
                else:
                    self._runs.begin(transfer, first, count)
            case do.StopRegistryFetch(tag, first):
                self._runs.end(tag, first)
            case do.Connect(peer):
                self.network.connect(peer)
            case do.Disconnect(peer, reason):
                _log.warning("peer_left_out", extra={"peer": peer, "reason": reason})
                self.network.disconnect(peer, reason)
            case do.Probe(peer):
                self.network.probe(peer)
            case do.NameSigner(signer, tag, pieces):
                self._name(signer, tag, pieces)
            case do.GiveUp(tag, reason):
                self._on_give_up(tag, reason)

    def _name(self, signer: PeerId, tag: BlobTag, pieces: int) -> None:
        """Tell the operator who brought in bytes that were wrong."""
        spec = self._spec(tag)
        about = {
            "digest": str(spec.digest) if spec is not None else "",
            "registry": spec.registry if spec is not None else "",
            "pieces": pieces.bit_count(),
            "first_piece": next(bitmap.members(pieces)),
        }
        if signer == self.network.me:
            _log.error("registry_sent_wrong_bytes", extra=about)
            return
        self._metrics.signers_named.inc()
        _log.error("peer_vouched_for_wrong_bytes", extra={"peer": signer, **about})

    def _spec(self, tag: BlobTag) -> BlobSpec | None:
        transfer = self.transfers.get(tag)
        return transfer.spec if transfer is not None else self._holdings.spec(tag)

    # --- sending pieces -----------------------------------------------------------------------

    def _upload(self, peer: PeerId, tag: BlobTag, piece: int) -> None:
        try:
            found = self._find(tag, piece)
        except (StoreError, OSError) as error:
            _log.warning("stored_blob_unreadable", extra={"error": str(error)})
            self._holdings.forget(tag)
            found = None
        if found is None:
            self.tell(on.UploadEnded(peer, tag, piece))
            if tag not in self.transfers:
                self.tell(on.BlobDropped(tag))
            return
        vouchers, fd = found
        if piece in vouchers.hashes:
            self._vouch_and_send(peer, vouchers, piece, fd)
        else:
            self._hash_and_send(peer, vouchers, piece, fd)

    def _find(self, tag: BlobTag, piece: int) -> tuple[Vouchers, int] | None:
        """Return what is known of the blob that has `piece`, and a descriptor to close."""
        transfer = self.transfers.get(tag)
        if transfer is not None and piece in transfer.hashes:
            return transfer.vouchers, os.dup(transfer.partial.fd)
        holding = self._holdings.open(tag, now_s=self._loop.time())
        if holding is None or holding.stored is None:
            return None
        return holding.vouchers, os.dup(holding.stored.fd)

    def _hash_and_send(self, peer: PeerId, vouchers: Vouchers, piece: int, fd: int) -> None:
        """A blob from before a restart: its pieces are vouched for on first request."""
        spec = vouchers.spec

        # No task that could be cancelled: a thread may be reading `fd` until this is told.
        def hashed(hash_: bytes | None, error: BaseException | None) -> None:
            if hash_ is not None and self._ticking is not None:
                vouchers.hashes[piece] = hash_
                self._vouch_and_send(peer, vouchers, piece, fd)
                return
            os.close(fd)
            if self._ticking is None:  # the node has stopped
                return
            self.tell(on.UploadEnded(peer, spec.tag, piece))
            _log.warning(
                "stored_blob_unreadable", extra={"digest": str(spec.digest), "error": str(error)}
            )
            self.tell(on.BlobDropped(spec.tag))

        self._workers.submit(piece_hash, fd, spec, piece, told=hashed)

    def _vouch_and_send(self, peer: PeerId, vouchers: Vouchers, piece: int, fd: int) -> None:
        spec = vouchers.spec

        def told(words: Words) -> None:
            if words is not None and self._ticking is not None:
                for word in words:
                    self._say(peer, word)
                self._send_piece(peer, spec, piece, vouchers.hashes[piece], fd)
                return
            os.close(fd)
            if self._ticking is not None:
                self._say(peer, Busy(spec.tag, piece))
                self.tell(on.UploadEnded(peer, spec.tag, piece))

        self.vouching.vouch(peer, vouchers, piece, told)

    def _send_piece(self, peer: PeerId, spec: BlobSpec, piece: int, hash_: bytes, fd: int) -> None:
        size = spec.size(piece)

        def ended(whole: bool) -> None:
            if whole:
                self._metrics.peer_sent_bytes.inc(size)
            self.tell(on.UploadEnded(peer, spec.tag, piece))

        link = self.network.link(peer)
        if link is None:
            os.close(fd)
            ended(False)
            return
        upload = PieceUpload(spec.tag, piece, hash_, fd, spec.offset(piece), size, ended)
        link.send_piece(upload)

    # --- receiving pieces ---------------------------------------------------------------------

    def peer_connected(self, peer: PeerId) -> None:
        """`Owner`: messages may be sent."""
        _log.debug("peer_connected", extra={"peer": peer})
        self.vouching.forget(peer)
        if self._allowing is not None:
            self._allowing.connected(peer)
        self.tell(on.PeerConnected(peer))

    def peer_lost(self, peer: PeerId, reason: str, *, failed: bool, refused: bool = False) -> None:
        """`Owner`: the connection is gone, or could not be made."""
        _log.info("peer_lost", extra={"peer": peer, "reason": reason})
        self.vouching.forget(peer)
        if self._allowing is not None:
            self._allowing.lost(peer)
        for key in [key for key in self._incoming if key[0] == peer]:
            self._incoming.pop(key).abandon(GONE)
        self.tell(on.PeerLost(peer, failed, refused))

    def message_arrived(self, peer: PeerId, message: Message) -> None:
        """`Owner`: a peer spoke."""
        if isinstance(message, SignerCertificate | Receipt):
            tag = message.tag if isinstance(message, Receipt) else None
            transfer = self.transfers.get(tag) if tag is not None else None
            self.vouching.heard(peer, message, transfer.spec if transfer is not None else None)
            return
        self.tell(on.MessageArrived(peer, message))

    def block_begins(self, peer: PeerId, block: Block) -> memoryview | None:
        """`Owner`: bytes of a piece come; say where they go."""
        key = (peer, block.tag, block.piece)
        incoming = self._incoming.get(key)
        if incoming is None:
            transfer = self.transfers.get(block.tag)
            if transfer is None or block.offset or not self._asked(peer, block):
                return _discarded[: block.length]
            if block.piece >= transfer.spec.pieces:
                raise PeerFault(f"piece {block.piece} of a blob of {transfer.spec.pieces}")
            standing = self.vouching.standing(peer, transfer.spec, block.piece, block.piece_hash)
            if standing is PENDING:
                return None
            if (vouched := self._believed(peer, transfer, block, standing)) is None:
                return _discarded[: block.length]
            begun = self._receive(peer, transfer, block, vouched)
            if begun is None:
                return _discarded[: block.length]
            incoming = self._incoming[key] = begun
        return incoming.place(block)

    def _asked(self, peer: PeerId, block: Block) -> bool:
        exchange = self.swarm.exchanges.get(block.tag)
        neighbour = exchange.neighbours.get(peer) if exchange else None
        return neighbour is not None and block.piece in neighbour.asked

    def _believed(
        self, peer: PeerId, transfer: Transfer, block: Block, standing: Standing
    ) -> Vouched | None:
        """Return who vouches for a piece that begins to come, or None: it is not to be taken."""
        tag, piece, hash_ = block.tag, block.piece, block.piece_hash
        if isinstance(standing, Vouched):
            if self.swarm.arrivals.believes(tag, piece, standing.signer, hash_):
                return standing
            standing = Refusal(
                f"is vouched for by {standing.signer} alone", Blame.SIGNER, standing.signer
            )
        if not isinstance(standing, Refusal):
            return None
        _log.warning(
            "piece_disbelieved",
            extra={
                "peer": peer,
                "digest": str(transfer.spec.digest),
                "piece": piece,
                "reason": standing.reason,
            },
        )
        self._metrics.pieces_failed.labels(reason="receipt").inc()
        if standing.blame is Blame.RELAY:
            self.tell(on.PieceSpoiled(tag, piece, peer, wrong=True))
        else:
            self.tell(on.PieceDisbelieved(tag, piece, peer, standing.signer, hash_))
        return None

    def _receive(
        self, peer: PeerId, transfer: Transfer, block: Block, vouched: Vouched
    ) -> IncomingPiece | None:
        piece, spec = block.piece, transfer.spec
        key = (peer, spec.tag, piece)

        def done(hash_: bytes | None, reason: str) -> None:
            # The link may be in the middle of a block: then it needs the buffer until its end.
            if incoming.release() and self._incoming.get(key) is incoming:
                del self._incoming[key]
            transfer.unclaim(piece, writer)
            if hash_ is not None:
                size = spec.size(piece)
                transfer.sources.peer_bytes += size
                self._metrics.peer_received_bytes.inc(size)
                self._from_peers.inc()
                self.stored(transfer, piece, hash_, peer, vouched)
                return
            if reason not in SOURCE_FAULTS:
                transfer.fail(f"cannot be stored: {reason}")
            _log.warning("piece_dropped", extra={"peer": peer, "piece": piece, "reason": reason})
            wrong = reason == WRONG_HASH
            self._metrics.pieces_failed.labels(reason="hash" if wrong else "cut").inc()
            self.tell(on.PieceSpoiled(spec.tag, piece, peer, wrong))

        writer = PieceWriter(
            transfer.partial,
            piece,
            expected_hash=block.piece_hash,
            workers=self._workers,
            done=done,
        )
        incoming = IncomingPiece(writer, spec, piece, self._segments)
        return incoming if transfer.claim(piece, writer) else None

    def block_arrived(self, peer: PeerId, block: Block) -> None:
        """`Owner`: a block's bytes are in their place."""
        if self._allowing is not None:
            self._allowing.arrived(peer, block.tag, block.length)
        key = (peer, block.tag, block.piece)
        incoming = self._incoming.get(key)
        if incoming is None:
            return
        whole = incoming.arrived(block)
        if incoming.over:
            self._incoming.pop(key, None)
        elif not whole and (moved := incoming.progress()):
            if (transfer := self.transfers.get(block.tag)) is not None:
                transfer.sources.moving_bytes += moved
            self.tell(on.PieceProgressed(block.tag, block.piece, peer))

    def drop_spare(self) -> None:
        """Drop the buffers that are kept for the next blob."""
        self._segments.drop_spare()

    def _room_again(self) -> None:
        asyncio.get_running_loop().call_soon(self.network.resume_reading)

    def stored(
        self,
        transfer: Transfer,
        piece: int,
        hash_: bytes,
        source: PeerId,
        vouched: Vouched | None = None,
    ) -> None:
        """A piece is in the store: tell readers first, then the swarm.

        `vouched` says who vouches for it; None for this node, which fetched it.
        """
        receipt = vouched.receipt if vouched is not None else None
        signer = vouched.signer if vouched is not None else self._signer
        transfer.stored(piece, hash_, source, receipt)
        self.tell(
            on.PieceStored(transfer.spec.tag, piece, source, signer, hash_ if signer else b"")
        )
