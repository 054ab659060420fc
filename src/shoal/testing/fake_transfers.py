"""Transfers in memory: blobs that arrive when a test says so, and fail when it says so."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from shoal.agent.ports import OriginGrant
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import ShoalError, TransferFailed


@dataclass(slots=True)
class FakeBlob:
    """A blob and how far it has arrived. Change it with the methods of `FakeTransfers`."""

    data: bytes
    fd: int
    arrived: int
    failure: ShoalError | None = None
    origin_bytes: int = 0
    peer_bytes: int = 0
    moving_bytes: int = 0
    cached_bytes: int = 0
    checked_bytes: int = 0
    turns_awaited: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def length_bytes(self) -> int:
        """Length in bytes."""
        return len(self.data)


class FakeReader:
    """One client's view of a blob; readers of one blob share its descriptor, as real ones may."""

    def __init__(self, spec: BlobSpec, blob: FakeBlob, on_close: Callable[[], None]) -> None:
        self._spec = spec
        self._blob = blob
        self._on_close = on_close
        self._closed = False

    @property
    def spec(self) -> BlobSpec:
        """Which blob."""
        return self._spec

    @property
    def fd(self) -> int:
        """The file to send from."""
        return self._blob.fd

    async def readable(self, start: int) -> int:
        """Wait until bytes from `start` on have arrived; return the end of what has.

        Raises:
            TransferFailed: `FakeTransfers.fail` said so.
        """
        while self._blob.arrived <= start:
            if self._blob.failure is not None:
                raise self._blob.failure
            self._blob.changed.clear()
            await self._blob.changed.wait()
        return self._blob.arrived

    def close(self) -> None:
        """The client has left. Idempotent."""
        if not self._closed:
            self._closed = True
            self._on_close()


class FakeTransfers:
    """Fulfils `shoal.agent.ports.Transfers`; remembers what was opened and started ahead."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, FakeBlob] = {}
        self._open_failure: ShoalError | None = None
        self.opened: list[BlobSpec] = []
        self.grants: list[OriginGrant] = []
        self.started_ahead: list[BlobSpec] = []
        self.kept: list[BlobSpec] = []
        self.passed: list[BlobSpec] = []
        self.open_readers = 0

    def __enter__(self) -> "FakeTransfers":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Release every file."""
        for blob in self._blobs.values():
            os.close(blob.fd)
        self._blobs.clear()

    def add(self, digest: Digest, data: bytes, *, arrived: int | None = None) -> None:
        """Hold `data` under `digest`, right or not; `arrived` bytes of it are there (None: all)."""
        fd = os.memfd_create("fake-blob")
        os.write(fd, data)
        there = len(data) if arrived is None else arrived
        blob = FakeBlob(data, fd, there)
        if arrived is None:
            blob.cached_bytes = len(data)
        self._blobs[digest] = blob

    def arrive(self, digest: Digest, upto: int) -> None:
        """Let bytes up to `upto` arrive, from the registry; anew, if it had failed."""
        blob = self._blobs[digest]
        blob.failure = None
        blob.origin_bytes += upto - blob.arrived
        blob.arrived = upto
        blob.changed.set()

    def trickle(self, digest: Digest, *, size_bytes: int) -> None:
        """Let bytes arrive from peers that are no use to a reader yet: half a piece, say."""
        self._blobs[digest].peer_bytes += size_bytes

    def fail(self, digest: Digest, error: ShoalError | None = None) -> None:
        """Let readers that wait for more bytes of this blob fail."""
        blob = self._blobs[digest]
        blob.failure = error or TransferFailed(f"{digest} cannot be had: told so by the test")
        blob.changed.set()

    def fail_open(self, error: ShoalError | None) -> None:
        """Let every `open` fail with `error`; None: no more."""
        self._open_failure = error

    async def open(
        self, spec: BlobSpec, grant: OriginGrant, *, from_start: bool = False
    ) -> FakeReader:
        """Return a reader.

        Raises:
            TransferFailed: no such blob was added.
            ShoalError: `fail_open` said so.
        """
        self.opened.append(spec)
        self.grants.append(grant)
        if self._open_failure is not None:
            raise self._open_failure
        blob = self._blobs.get(spec.digest)
        if blob is None:
            raise TransferFailed(f"{spec.digest} is not among the fake's blobs")
        self.open_readers += 1
        return FakeReader(spec, blob, self._closed_one)

    def prefetch(self, specs: list[BlobSpec], grant: OriginGrant) -> None:
        """Remember what was to be started."""
        self.started_ahead += specs
        self.grants.append(grant)

    def keep(self, spec: BlobSpec, body: bytes) -> None:
        """Hold what was given to be kept."""
        self.kept.append(spec)
        if spec.digest not in self._blobs:
            self.add(spec.digest, body)

    def passed_on(self, spec: BlobSpec) -> None:
        """Remember whom it was said of."""
        self.passed.append(spec)

    def sources(self, digest: Digest) -> FakeBlob | None:
        """Return where the bytes of `digest` came from, None if it was not added."""
        return self._blobs.get(digest)

    def _closed_one(self) -> None:
        self.open_readers -= 1
