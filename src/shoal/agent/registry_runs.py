"""Runs of adjacent pieces from the registry: one Range request each, pieces stored as they come."""

import asyncio
import logging
from collections.abc import Callable

from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.pieces import GONE, SOURCE_FAULTS, PieceWriter
from shoal.agent.ports import Origin, OriginGrant
from shoal.agent.tasks import Tasks
from shoal.agent.transfer import Transfer
from shoal.agent.workers import Workers
from shoal.core import bitmap
from shoal.core.blob import BlobTag
from shoal.core.errors import OriginDenied, OriginError, OriginLied, StoreError
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.events import REGISTRY

_log = logging.getLogger("shoal.agent.registry_runs")

BATCH_BYTES = 512 * 1024  # written at once
# The swarm hears so often that bytes of a piece arrive. Fewer bytes are a drip, not progress, as in
# shoal.adapters.origin.config.Bounds.
PROGRESS_S = 0.25
PROGRESS_BYTES = 4096
Stored = Callable[[Transfer, int, bytes, PeerId], None]


class RegistryRuns:
    """The requests to registries that are under way on this node."""

    def __init__(
        self,
        *,
        origin: Origin,
        workers: Workers,
        metrics: Metrics,
        tell: Callable[[on.Event], None],
        stored: Stored,
    ) -> None:
        self._origin = origin
        self._workers = workers
        self._metrics = metrics
        self._tell = tell
        self._stored = stored
        self._from_registry = metrics.pieces_stored.labels(source="origin")
        self._tasks = Tasks()
        self._under_way: dict[tuple[BlobTag, int], asyncio.Task[None]] = {}
        self._broken_off: set[asyncio.Task[None]] = set()  # by the swarm's order

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, transfer: Transfer, first: int, count: int) -> None:
        """Fetch pieces; the swarm hears of each, and of the end."""
        key = (transfer.spec.tag, first)
        if key in self._under_way:
            return
        task = self._tasks.start(self._run(transfer, first, count), name=f"registry run {first}")
        self._under_way[key] = task
        task.add_done_callback(lambda task: self._left(key, task))

    def _left(self, key: tuple[BlobTag, int], task: asyncio.Task[None]) -> None:
        # A run that was broken off before its first step has told nobody. One that has told may
        # have been followed by another of the same pieces.
        if self._under_way.get(key) is task:
            del self._under_way[key]
            fault = None if task in self._broken_off else on.RegistryFault.FAILED
            self._tell(on.RegistryEnded(*key, fault))
        self._broken_off.discard(task)

    def end(self, tag: BlobTag, first: int) -> None:
        """Break off a run that is no longer needed."""
        task = self._under_way.get((tag, first))
        if task is not None:
            self._broken_off.add(task)
            task.cancel()

    async def stop(self) -> None:
        """Break off every run and wait until all have ended."""
        await self._tasks.end()

    async def _run(self, transfer: Transfer, first: int, count: int) -> None:
        tag = transfer.spec.tag
        fault: on.RegistryFault | None = on.RegistryFault.FAILED
        retry_after_s = 0.0
        result = "failed"
        try:
            await self._fetch(transfer, first, count)
            fault, result = None, "ok"
        except OriginDenied as error:
            fault, result = on.RegistryFault.DENIED, "denied"
            self._report(transfer, first, error)
        except OriginError as error:
            retry_after_s = error.retry_after_s or 0.0
            if error.status == 429:
                fault, result = on.RegistryFault.LIMITED, "limited"
            elif isinstance(error, OriginLied):
                result = "lied"
            self._report(transfer, first, error)
        except StoreError as error:
            self._report(transfer, first, error)
            transfer.fail(f"cannot be stored: {error}")
        finally:
            # Also when cancelled: the swarm waits for the end of everything it began. If it was by
            # its order, or because the pieces came from elsewhere, nothing has failed.
            if fault is not None and asyncio.current_task() in self._broken_off:
                fault, result = None, "stopped"
            if not bitmap.run(first, count) & transfer.missing():
                fault = None
            self._metrics.origin_requests.labels(result=result).inc()
            if fault is not None:
                self._metrics.leases_lost.inc()
            self._under_way.pop((tag, first), None)
            self._tell(on.RegistryEnded(tag, first, fault, retry_after_s))

    def _report(self, transfer: Transfer, first: int, error: Exception) -> None:
        _log.warning(
            "registry_fetch_failed",
            extra={
                "registry": transfer.spec.registry,
                "digest": str(transfer.spec.digest),
                "piece": first,
                "error": str(error),
            },
        )

    async def _fetch(self, transfer: Transfer, first: int, count: int) -> None:
        denied: OriginDenied | None = None
        for grant in reversed(list(transfer.grants)):
            try:
                await self._fetch_by(transfer, grant, first, count)
            except OriginDenied as error:
                # Expired in the middle, or revoked: it is of no use for this blob any more.
                transfer.grants.pop(grant, None)
                denied = error
            else:
                return
        raise denied or OriginDenied(f"{transfer.spec.digest}: no credential is left to ask with")

    async def _fetch_by(
        self, transfer: Transfer, grant: OriginGrant, first: int, count: int
    ) -> None:
        spec, last = transfer.spec, first + count - 1
        # What came meanwhile, from a peer or by another right, is not asked for again.
        while first <= last and transfer.held >> first & 1:
            first += 1
        while first <= last and transfer.held >> last & 1:
            last -= 1
        if first > last:
            return
        start, end = spec.offset(first), spec.offset(last) + spec.size(last)
        sinks = [_PieceSink(self, transfer, first)]
        received = self._metrics.origin_bytes.labels(kind=str(spec.kind))
        try:
            async with self._origin.fetch(spec, grant, start=start, end=end) as chunks:
                async for chunk in chunks:
                    received.inc(len(chunk))
                    transfer.sources.origin_bytes += len(chunk)
                    if transfer.failure is not None:
                        return  # nobody wants the rest, or it cannot be kept
                    rest = chunk
                    while rest:
                        rest = await sinks[-1].take(rest)
                        if sinks[-1].whole:
                            await sinks[-1].flush()
                            if (piece := first + len(sinks)) <= last:
                                sinks.append(_PieceSink(self, transfer, piece))
        finally:
            # Pieces that came whole count, however the request ended: the end is told after them.
            sinks[-1].abandon()
            for sink in sinks:
                await sink.settled()

    def piece_done(self, transfer: Transfer, piece: int, hash_: bytes | None, reason: str) -> None:
        """A piece is written, or cannot be."""
        if hash_ is None:
            self._metrics.pieces_failed.labels(reason="registry").inc()
            self._tell(on.PieceSpoiled(transfer.spec.tag, piece, REGISTRY))
            return
        self._from_registry.inc()
        self._stored(transfer, piece, hash_, REGISTRY)

    def progressed(self, transfer: Transfer, piece: int) -> None:
        """Bytes of a piece came."""
        self._tell(on.PieceProgressed(transfer.spec.tag, piece, REGISTRY))

    @property
    def workers(self) -> Workers:
        """Where pieces are hashed and written."""
        return self._workers


class _PieceSink:
    """Collects a piece's chunks into batches for a writer, one batch ahead of it."""

    def __init__(self, runs: RegistryRuns, transfer: Transfer, piece: int) -> None:
        self._runs = runs
        self._transfer = transfer
        self._piece = piece
        self._left = transfer.spec.size(piece)
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._seen_s = self._loop.time()
        self._unseen_bytes = 0
        self._done = asyncio.get_running_loop().create_future()
        self._writer = PieceWriter(
            transfer.partial,
            piece,
            expected_hash=None,
            workers=runs.workers,
            done=self._ended,
        )
        # A peer may be sending the same piece: then these bytes are only taken off the wire.
        self._writes = transfer.claim(piece, self._writer)
        if not self._writes:
            self._done.set_result(None)

    @property
    def whole(self) -> bool:
        """Every byte of the piece has been taken."""
        return self._left == 0

    async def take(self, chunk: bytes) -> bytes:
        """Take what belongs to this piece; return the rest."""
        own, rest = chunk[: self._left], chunk[self._left :]  # a whole chunk is not copied
        self._batch.append(own)
        self._batch_bytes += len(own)
        self._left -= len(own)
        self._unseen_bytes += len(own)
        if self._batch_bytes >= BATCH_BYTES and self._left:
            await self.flush()
        self._show_progress()
        return rest

    def _show_progress(self) -> None:
        now_s = self._loop.time()
        enough = self._unseen_bytes >= PROGRESS_BYTES and now_s - self._seen_s >= PROGRESS_S
        if enough and self._left:
            self._seen_s, self._unseen_bytes = now_s, 0
            self._runs.progressed(self._transfer, self._piece)

    async def flush(self) -> None:
        """Hand over what was collected, once the batch before has been written."""
        if not self._writes:
            self._batch, self._batch_bytes = [], 0
        elif self._batch:
            await self._writer.drained()
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._writer.put(batch, _nothing)

    async def settled(self) -> None:
        """Wait until the piece is stored or cannot be."""
        await self._done

    def abandon(self) -> None:
        """No more bytes will come: unless all have been handed over, the piece is given up."""
        if not self._done.done() and (self._left or self._batch):
            self._writer.abandon(GONE)

    def _ended(self, hash_: bytes | None, reason: str) -> None:
        self._writes = False
        self._transfer.unclaim(self._piece, self._writer)
        if not self._done.done():
            self._done.set_result(None)
        if hash_ is None and reason not in SOURCE_FAULTS:
            self._transfer.fail(f"cannot be stored: {reason}")
        else:
            self._runs.piece_done(self._transfer, self._piece, hash_, reason)


def _nothing() -> None:
    """Nobody reuses these buffers."""
