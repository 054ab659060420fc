"""The blobs that clients of this node want: opened, joined, watched over, kept."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from shoal.adapters.store.base import PartialBlob, Store, StoredBlob
from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.doubts import WITHHELD_MOST_S, Doubts
from shoal.agent.holdings import Holdings
from shoal.agent.node import Node
from shoal.agent.ports import BlobReader, OriginGrant
from shoal.agent.tasks import Tasks
from shoal.agent.transfer import Sources, StoredReader, Transfer
from shoal.agent.workers import Workers
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.digest import Digest
from shoal.core.errors import ShoalError, StoreError, StoreFull, TransferFailed
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY

if TYPE_CHECKING:
    from shoal.core.peer import PeerId

R = TypeVar("R")

_log = logging.getLogger("shoal.agent.transfers")

SUSPECTS_MOST = 256  # blobs whose digest failed, remembered until they were fetched again
ENDINGS_TIMEOUT_S = 5.0  # for files to be closed or kept when the agent stops
KEEPING_MOST = 64  # part files that are being closed; more manifests are not kept for now
SOURCES_MOST = 512  # blobs whose byte counts are remembered for whoever asks, soon after


@dataclass(slots=True, eq=False)
class Group:
    """The layers of one image: while a client reads one of them, the others are fetched too."""

    members: set[BlobTag] = field(default_factory=set)


class TransferManager:
    """Implements `shoal.agent.ports.Transfers`."""

    def __init__(
        self,
        *,
        store: Store,
        holdings: Holdings,
        workers: Workers,
        metrics: Metrics,
        most: int,
    ) -> None:
        """Prepare; `attach` gives the node that does the fetching.

        Args:
            store: where blobs are kept.
            holdings: the whole blobs that peers may have.
            workers: where the disk and hashing run.
            metrics: told of what ends.
            most: transfers at once; further blobs are passed through.
        """
        self._store = store
        self._holdings = holdings
        self._workers = workers
        self._metrics = metrics
        self._most = most
        self._node: Node | None = None
        self._tasks = Tasks()
        self._endings = Tasks()
        self._opening: dict[BlobTag, asyncio.Task[Transfer]] = {}
        self._closing: dict[BlobTag, asyncio.Task[None]] = {}
        self._groups: dict[BlobTag, Group] = {}
        self._idle: set[BlobTag] = set()  # told to the swarm as released
        self._suspects: dict[BlobTag, dict[int, tuple[bytes, PeerId]]] = {}
        self._doubts = Doubts()
        self._sources: dict[Digest, Sources] = {}
        self._arrived: dict[BlobTag, int] = {}  # bytes of each, when last swept

    def attach(self, node: Node) -> None:
        """Let `node` do the fetching."""
        self._node = node

    @property
    def _swarm(self) -> Node:
        if self._node is None:
            raise RuntimeError("attach a node first")
        return self._node

    @property
    def active(self) -> dict[BlobTag, Transfer]:
        """Blobs that are arriving."""
        return self._swarm.transfers

    # --- what the front asks for --------------------------------------------------------------

    async def open(
        self, spec: BlobSpec, grant: OriginGrant, *, from_start: bool = False
    ) -> BlobReader:
        """Return a reader for `spec`; see `shoal.agent.ports.Transfers`.

        Raises:
            StoreFull: there is no room for it.
            StoreError: the store fails.
            TransferFailed: its reader cannot have read the right bytes before.
        """
        while (transfer := self._active(spec.tag)) is None:
            if (closing := self._closing.get(spec.tag)) is not None:
                await asyncio.wait([closing])
                # Its callback may not have run yet, and awaiting what is done need not yield.
                self._closing.pop(spec.tag, None)
                continue
            stored = await self._open_stored(spec)
            if stored is not None:
                return self._from_store(spec, stored)
            if spec.tag not in self._closing:
                transfer = await self._begin_for_client(spec, grant)
                break
        transfer.granted(grant)
        if not from_start and self._doubts.found_wrong(spec.tag):
            raise TransferFailed(f"{spec.digest}: what was read of it before may be wrong")
        self._metrics.blobs_served.labels(source="swarm").inc()
        withheld = from_start and self._doubts.of(transfer)
        reader = transfer.reader(withheld_s=WITHHELD_MOST_S if withheld else None)
        self._want(transfer)
        return reader

    async def _begin_for_client(self, spec: BlobSpec, grant: OriginGrant) -> Transfer:
        try:
            return await self._begin(spec, grant)
        except StoreFull as error:
            if not self._doubts.doubts(spec.tag):
                raise
            # Passed through it would be sent before it is verified, and may be wrong once more.
            why = (
                f"{spec.digest} may have been wrong before, and there is no room to check it first"
            )
            raise TransferFailed(f"{why}: {error}") from error

    def passed_on(self, spec: BlobSpec) -> None:
        """A client was sent some of the registry's bytes; see `shoal.agent.ports.Transfers`."""
        self._doubts.passed_on(spec.tag)

    def _active(self, tag: BlobTag) -> Transfer | None:
        """Return the blob's transfer; one that has failed makes room for another try."""
        transfer = self.active.get(tag)
        if transfer is not None and transfer.failure is not None:
            self._end(transfer, "failed")
            return None
        return transfer

    async def _open_stored(self, spec: BlobSpec) -> StoredBlob | None:
        stored: StoredBlob | None = await self._workers.run(
            self._store.open, spec.digest, unwanted=_close
        )
        return stored

    def _from_store(self, spec: BlobSpec, stored: StoredBlob) -> StoredReader:
        if stored.length_bytes != spec.length_bytes:
            stored.close()
            raise StoreError(
                f"{spec.digest} has {stored.length_bytes} bytes, {spec.registry} says "
                f"{spec.length_bytes}: the registry is wrong about its length"
            )
        self._remember(spec, Sources(spec.length_bytes, cached_bytes=spec.length_bytes))
        self._metrics.blobs_served.labels(source="store").inc()
        return StoredReader(spec, stored)

    def prefetch(self, specs: list[BlobSpec], grant: OriginGrant) -> None:
        """Start transfers that a client is about to want, in this order; returns at once."""
        group = Group({spec.tag for spec in specs})
        for tag in group.members:
            self._groups[tag] = group
        self._tasks.start(self._prefetch(specs, grant), name="prefetch")

    async def _prefetch(self, specs: list[BlobSpec], grant: OriginGrant) -> None:
        try:
            for spec in specs:
                if spec.tag in self.active or spec.tag in self._closing or spec.pieces == 0:
                    continue
                stored = await self._open_stored(spec)
                if stored is not None:
                    stored.close()
                elif spec.tag not in self._closing:
                    (await self._begin(spec, grant)).granted(grant)
        except ShoalError as error:
            # The client will ask for it itself, and be told.
            _log.info("prefetch_skipped", extra={"error": str(error)})
        for spec in specs:
            if spec.tag not in self.active:
                self._drop_group(spec.tag)

    def keep(self, spec: BlobSpec, body: bytes) -> None:
        """Keep content that somebody else has fetched and checked; returns at once."""
        tag = spec.tag
        taken = tag in self.active or tag in self._opening or tag in self._closing
        if taken or not spec.pieces or len(self._closing) >= KEEPING_MOST:
            return
        # It can be neither opened nor begun before its file has its name.
        task = self._endings.start(self._keep_whole(spec, body), name="keep a manifest")
        self._closing[tag] = task
        task.add_done_callback(lambda _: self._closing.pop(tag, None))

    async def _keep_whole(self, spec: BlobSpec, body: bytes) -> None:
        stored = await self._open_stored(spec)
        if stored is not None:
            stored.close()
            return
        try:
            await self._in_thread(_write_whole, self._store, spec, body)
        except StoreError as error:
            _log.info("blob_not_kept", extra={"digest": str(spec.digest), "error": str(error)})
            return
        await self._in_thread(self._holdings.add, spec, {})
        self._swarm.tell(on.BlobStored(spec))

    def sources(self, digest: Digest) -> Sources | None:
        """Return a blob's length and where its bytes came from, if it was seen lately."""
        return self._sources.get(digest)

    # --- a transfer's life --------------------------------------------------------------------

    async def _begin(self, spec: BlobSpec, grant: OriginGrant) -> Transfer:
        if (transfer := self.active.get(spec.tag)) is not None:
            return transfer  # begun by somebody else since the caller looked
        opening = self._opening.get(spec.tag)
        if opening is None:
            if len(self.active) + len(self._opening) >= self._most:
                raise StoreFull(f"{self._most} blobs are arriving already (swarm.max_transfers)")
            opening = self._tasks.start(self._open_partial(spec, grant), name=f"open {spec.digest}")
            self._opening[spec.tag] = opening
            opening.add_done_callback(lambda _: self._opening.pop(spec.tag, None))
        # Shielded: one client that leaves must not fail the others.
        return await asyncio.shield(opening)

    async def _open_partial(self, spec: BlobSpec, grant: OriginGrant) -> Transfer:
        partial: PartialBlob = await self._workers.run(self._store.partial, spec, unwanted=_close)
        transfer = Transfer(
            partial,
            self._workers,
            on_reader=self._readers_changed,
            on_verified=self._verified,
        )
        # Before anybody sees it: a reader of another layer of the image may want it at once.
        transfer.granted(grant)
        self._swarm.transfers[spec.tag] = transfer
        self._remember(spec, transfer.sources)
        self._want(transfer)
        self._readers_changed(transfer)  # until whoever asked reads it: he may have left
        transfer.hash_on()
        return transfer

    def _want(self, transfer: Transfer) -> None:
        """Tell the swarm that the blob is wanted, unless it knows."""
        spec = transfer.spec
        exchange = self._swarm.swarm.exchanges.get(spec.tag)
        if exchange is None or not exchange.wanted or spec.tag in self._idle:
            self._idle.discard(spec.tag)
            transfer.wanted = True
            unvouched = self._swarm.vouching.unvouched(transfer.vouchers)
            self._swarm.tell(on.BlobWanted(spec, transfer.held, unvouched=unvouched))

    def _readers_changed(self, transfer: Transfer) -> None:
        """A reader came, moved or went."""
        tag = transfer.spec.tag
        if tag not in self.active or transfer.verified:
            return
        if transfer.readers:
            self._swarm.tell(on.ReaderMoved(tag, transfer.reader_piece()))
        group = self._groups.get(tag) or Group({tag})
        members = [self.active[t] for t in sorted(group.members) if t in self.active]
        read = any(member.readers for member in members)
        for member in members:
            name = member.spec.tag
            if read:
                if name in self._idle:
                    self._want(member)
            elif name not in self._idle:
                self._idle.add(name)
                self._swarm.tell(on.BlobReleased(name))

    def gave_up(self, tag: BlobTag, reason: str) -> None:
        """The swarm cannot get the blob: fail its readers; what came stays for a later try."""
        transfer = self.active.get(tag)
        if transfer is not None:
            _log.warning(
                "transfer_failed", extra={"digest": str(transfer.spec.digest), "reason": reason}
            )
            transfer.fail(reason)
            self._end(transfer, "failed")

    def sweep(self) -> None:
        """End what nobody reads and the swarm no longer fetches; called every second."""
        arrived = {
            tag: t.sources.origin_bytes + t.sources.peer_bytes for tag, t in self.active.items()
        }
        moved = {tag for tag, count in arrived.items() if count != self._arrived.get(tag, 0)}
        self._arrived = arrived
        for tag, transfer in list(self.active.items()):
            exchange = self._swarm.swarm.exchanges.get(tag)
            group = self._groups.get(tag)
            # Only for layers of its own image: behind blobs that hang nobody waits for long.
            if group and group.members & moved and self._swarm.swarm.awaits_turn(tag, within_s=1.0):
                transfer.sources.turns_awaited += 1
            if transfer.failure is not None and not transfer.readers:
                self._end(transfer, "failed")
            elif (
                transfer.wanted
                and not transfer.readers
                and not transfer.verified
                and (exchange is None or self._swarm.swarm.abandoned(tag))
            ):
                self._end(transfer, "released")

    def _end(self, transfer: Transfer, result: str) -> None:
        tag = transfer.spec.tag
        if not self._over(tag):
            return
        self._metrics.transfers.labels(result=result).inc()
        self._swarm.tell(on.BlobDropped(tag))
        transfer.fail("nobody wants it any more")
        self._close_soon(transfer)

    def _over(self, tag: BlobTag) -> bool:
        """The blob arrives no more: forget what was for its arrival; return whether it did."""
        transfer = self.active.pop(tag, None)
        if transfer is None:
            return False
        self._doubts.ended(transfer)
        self._idle.discard(tag)
        self._drop_group(tag)
        self._swarm.vouching.over(tag)
        return True

    def _drop_group(self, tag: BlobTag) -> None:
        group = self._groups.pop(tag, None)
        if group is not None:
            group.members.discard(tag)

    def _close_soon(self, transfer: Transfer, *, discard: bool = False) -> None:
        # Until its part file is closed a blob can be neither opened nor begun anew.
        tag = transfer.spec.tag

        async def close() -> None:
            if discard:
                try:
                    await self._in_thread(transfer.partial.discard)
                except StoreError as error:
                    _log.warning("part_file_stays", extra={"error": str(error)})
            await self._in_thread(transfer.partial.close)

        task = self._endings.start(close(), name="close a part file")
        self._closing[tag] = task
        task.add_done_callback(lambda _: self._closing.pop(tag, None))

    # --- the whole digest ---------------------------------------------------------------------

    def _verified(self, transfer: Transfer, right: bool) -> None:
        if right:
            self._endings.start(self._keep(transfer), name="keep a blob")
        else:
            self._reject(transfer)

    async def _keep(self, transfer: Transfer) -> None:
        spec = transfer.spec
        tag = spec.tag
        self._name_liars(transfer)
        try:
            stored = await self._workers.run(transfer.partial.commit, unwanted=_close)
        except StoreError as error:
            # Readers have their descriptors; only the cache goes without it.
            _log.warning("blob_not_kept", extra={"digest": str(spec.digest), "error": str(error)})
            self._end(transfer, "failed")
            return
        stored.close()
        await self._in_thread(self._holdings.add, spec, transfer.hashes)
        if not self._over(tag):
            return
        self._metrics.transfers.labels(result="stored").inc()
        self._swarm.tell(on.BlobStored(spec))
        self._close_soon(transfer)

    def _reject(self, transfer: Transfer) -> None:
        """The digest does not hold: keep nothing, and remember whose pieces they were."""
        spec = transfer.spec
        from_peers = {
            piece: (transfer.hashes[piece], peer)
            for piece, peer in transfer.suppliers.items()
            if peer != REGISTRY and piece not in transfer.vouchers.receipts
        }
        _log.error(
            "blob_rejected",
            extra={
                "digest": str(spec.digest),
                "registry": spec.registry,
                "pieces_from_peers": sum(p != REGISTRY for p in transfer.suppliers.values()),
                "pieces": spec.pieces,
            },
        )
        if from_peers and len(self._suspects) < SUSPECTS_MOST:
            self._suspects[spec.tag] = from_peers
        else:
            self._suspects.pop(spec.tag, None)
        self._over(spec.tag)
        self._metrics.transfers.labels(result="rejected").inc()
        self._swarm.tell(on.BlobRejected(spec.tag))
        self._close_soon(transfer, discard=True)
        if transfer.grants and self._swarm.swarm.rejections.tells_more(spec.tag):
            again = self._fetch_again(spec, list(transfer.grants)[-1])
            self._tasks.start(again, name="fetch a blob again")

    async def _fetch_again(self, spec: BlobSpec, grant: OriginGrant) -> None:
        """Find out who vouched for wrong bytes, before a client comes back for the blob."""
        if (closing := self._closing.get(spec.tag)) is not None:
            await asyncio.wait([closing])
            self._closing.pop(spec.tag, None)
        await self._prefetch([spec], grant)

    def _name_liars(self, transfer: Transfer) -> None:
        """The blob is right now: whose pieces were other ones before, and had they to know?"""
        tag = transfer.spec.tag
        suspects = self._suspects.pop(tag, {})
        senders = {
            peer for piece, (hash_, peer) in suspects.items() if transfer.hashes[piece] != hash_
        }
        for peer in sorted(senders):
            about = {"peer": peer, "digest": str(transfer.spec.digest)}
            if self._swarm.swarm.rejections.blames(peer, tag):
                _log.error("peer_sent_wrong_bytes", extra=about)
                self._swarm.tell(on.PeerLied(peer))
            else:
                _log.warning("peer_passed_wrong_bytes_on", extra=about)

    # --- the rest -----------------------------------------------------------------------------

    def _remember(self, spec: BlobSpec, sources: Sources) -> None:
        self._sources.pop(spec.digest, None)
        self._sources[spec.digest] = sources
        if len(self._sources) > SOURCES_MOST:
            del self._sources[next(iter(self._sources))]

    async def _in_thread(self, work: Callable[..., R], *arguments: object) -> R:
        result: R = await self._workers.run(work, *arguments)
        return result

    async def stop(self) -> None:
        """Fail the readers that are left and release every file; what came stays."""
        await self._tasks.end()
        for tag, transfer in list(self.active.items()):
            if not transfer.verified:
                transfer.fail("the agent stops")
                del self.active[tag]
                self._close_soon(transfer)
        # Whole blobs are kept, and recorded, if the disk does so in time.
        await self._endings.finish(timeout_s=ENDINGS_TIMEOUT_S)
        for transfer in self.active.values():
            transfer.partial.close()
        self.active.clear()


def _write_whole(store: Store, spec: BlobSpec, body: bytes) -> None:
    partial = store.partial(spec)
    try:
        partial.write(0, body)
        partial.commit().close()
    finally:
        partial.close()


def _close(unwanted: StoredBlob | PartialBlob | None) -> None:
    if unwanted is not None:
        unwanted.close()
