"""What the tests of the driver share: a registry that does as it is told, a disk that waits."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from shoal.adapters.store.base import PartialBlob, StoredBlob
from shoal.adapters.store.memory import MemoryStore
from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.ports import OriginGrant
from shoal.agent.workers import Told, Workers
from shoal.core.blob import KIB, BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import OriginDenied, OriginError, StoreError
from shoal.testing.conformance_store import Sample

GRANT = OriginGrant("team/app", "Basic of-alice")
OTHER_GRANT = OriginGrant("team/app", "Basic of-bob")
CHUNK_BYTES = 100 * KIB  # fits neither pieces nor batches


async def until(holds: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until `holds()`, which a thread or a socket will bring about."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def turns(count: int = 5) -> None:
    """Let the loop do what is ready, and what that makes ready."""
    for _ in range(count):
        await asyncio.sleep(0)


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - paths would be of no use


def metrics() -> Metrics:
    """Return metrics of a test's own."""
    return Metrics(CollectorRegistry())


@contextmanager
def threads_only(count: int = 2) -> Iterator[Workers]:
    """Workers as they are while the disk is slow: the event loop does nothing of their work."""

    class ThreadsOnly(Workers):
        def do(self, work: Callable[..., object], *arguments: object, told: Told) -> None:
            self.submit(work, *arguments, told=told)

    workers = ThreadsOnly(count)
    try:
        yield workers
    finally:
        workers.stop()


@dataclass(slots=True)
class SlowPartial:
    """A part file whose writes wait for a gate, or fail; see `PartialBlob`."""

    inner: PartialBlob
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0
    written: list[tuple[int, int]] = field(default_factory=list)
    """Where, and how many bytes."""
    error: Exception | None = None

    @property
    def spec(self) -> BlobSpec:
        """Which blob this is."""
        return self.inner.spec

    @property
    def fd(self) -> int:
        """The file."""
        return self.inner.fd

    def write(self, offset: int, block: bytes | bytearray | memoryview) -> None:
        """Write once the gate is open."""
        self.waiting += 1
        if not self.gate.wait(30.0):
            raise StoreError("the test never opened the gate")
        self.waiting -= 1
        if self.error is not None:
            raise self.error
        self.written.append((offset, len(block)))
        self.inner.write(offset, block)

    def mark(self, piece: int, hash_: bytes) -> None:
        """Mark."""
        self.inner.mark(piece, hash_)

    def held(self) -> dict[int, bytes]:
        """Return what is marked."""
        return self.inner.held()

    def commit(self) -> StoredBlob:
        """Commit."""
        return self.inner.commit()

    def discard(self) -> None:
        """Discard."""
        self.inner.discard()

    def close(self) -> None:
        """Close."""
        self.inner.close()


@contextmanager
def slow_partial(spec: BlobSpec, *, is_open: bool = True) -> Iterator[SlowPartial]:
    """A part file in memory, whose gate is open or not yet."""
    store = MemoryStore()
    partial = SlowPartial(store.partial(spec))
    if is_open:
        partial.gate.set()
    try:
        yield partial
    finally:
        partial.gate.set()
        partial.close()
        store.close()


@dataclass(slots=True)
class FakeOrigin:
    """A registry in memory, which does to its next requests what a test says."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    asked: list[tuple[OriginGrant, int, int]] = field(default_factory=list)
    """Who asked, and for which bytes: [start, end)."""
    denied: set[OriginGrant] = field(default_factory=set)
    """Whose requests are refused."""
    cuts: list[tuple[int, OriginError]] = field(default_factory=list)
    """For each request in turn: after so many bytes it meets this error."""
    hold_from: int | None = None
    """Bytes of blobs from here on wait for `go_on`."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0
    """Requests that are being answered."""

    def add(self, sample: Sample, *, content: bytes | None = None) -> None:
        """Hold a blob; or say other content for it."""
        self.blobs[sample.digest] = sample.content if content is None else content

    @asynccontextmanager
    async def fetch(
        self, spec: BlobSpec, grant: OriginGrant, *, start: int, end: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open bytes [start, end); see `shoal.agent.ports.Origin`."""
        self.asked.append((grant, start, end))
        await asyncio.sleep(0)
        if grant in self.denied:
            raise OriginDenied(f"{grant.repository}: 401", status=401)
        content = self.blobs.get(spec.digest)
        if content is None:
            raise OriginError("404", status=404)
        self.open += 1
        try:
            yield self._chunks(content, start, end)
        finally:
            self.open -= 1

    async def _chunks(self, content: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        cut_after, error = self.cuts.pop(0) if self.cuts else (end - start, None)
        cut_at, held_from = start + cut_after, self.hold_from
        at = start
        while at < end:
            if error is not None and at == cut_at:
                raise error
            if held_from is not None and at >= held_from:
                await self.go_on.wait()
                held_from = None
            stop = min(at + CHUNK_BYTES, end, *(p for p in (cut_at, held_from or 0) if p > at))
            yield content[at:stop]
            at = stop
            await asyncio.sleep(0)
        if error is not None:
            raise error
