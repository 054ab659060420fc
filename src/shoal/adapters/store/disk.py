"""The store of a node: one folder, see `layout` for what is in it.

Two locks. `_changing` is held while files get or lose their names, so that what the ledger lists
and what the folder holds change together; it may be held for as long as the disk takes. The
ledger's own lock is held for microseconds. Hashing and syncing hold neither.
"""

import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Lock

from shoal.adapters.store import files
from shoal.adapters.store.disk_partial import DiskPartial
from shoal.adapters.store.files import OpenBlob, OpenFile, store_error
from shoal.adapters.store.inventory import take_inventory
from shoal.adapters.store.layout import Layout
from shoal.adapters.store.ledger import Entry, Ledger
from shoal.adapters.store.lengths import LengthsFile, read_lengths
from shoal.adapters.store.piece_map import PieceMap, read_spec
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.digest import Digest
from shoal.core.errors import StoreError

_log = logging.getLogger("shoal.adapters.store")

# A blob that nobody has asked for in a day is cheaper to fetch again than to keep half of it: the
# image it belongs to was pulled meanwhile, or will not be.
STALE_AFTER_S = 24 * 3600.0

# The last use is written to the disk at most this often for a blob. Eviction after a restart needs
# the order of uses within some minutes, and no more.
_RECORD_USE_EVERY_S = 60.0

# The record of lengths is written anew when it has this many lines, about a megabyte, more than
# twice the number of blobs.
_SPARE_LINES = 10_000


# Told how many bytes were read and hashed.
Pace = Callable[[int], None]


def _at_once(_: int) -> None:
    """Do not wait: somebody does."""


class _State(Enum):
    ARRIVING = "still arriving"
    COMMITTED = "committed"
    DISCARDED = "discarded"


@dataclass(slots=True)
class _Arrival:
    entry: Entry
    state: _State = _State.ARRIVING


class DiskStore:
    """Blobs in a folder; see `shoal.adapters.store.base.Store`.

    The last use of a blob is its file's modification time, which nothing else needs, since the
    bytes of a verified blob never change.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int,
        reserve_bytes: int | None = None,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        """Take the folder `root` and find what is in it. Blocks on the disk.

        Args:
            root: the store's folder; made if missing.
            quota_bytes: what verified and partial blobs may take together.
            reserve_bytes: what is left free on the file system; None for 1 GiB or 5% of it,
                whichever is less.
            stale_after_s: age in seconds from which a partial blob is dropped now.

        Raises:
            StoreError: the folder cannot be used, or another process uses it.
        """
        self._layout = Layout(root)
        self._layout.prepare()
        self._lock_fd: int | None = self._layout.lock()
        try:
            self._reserve_bytes = (
                files.default_reserve_bytes(root) if reserve_bytes is None else reserve_bytes
            )
            self._changing = Lock()
            self.dropped = 0
            """Verified blobs that were found damaged, cut or gone, and dropped, so far."""
            self._arrivals: dict[DiskPartial, _Arrival] = {}
            self._ledger = Ledger(quota_bytes=quota_bytes)
            lengths = read_lengths(self._layout.lengths)
            found = take_inventory(self._layout, lengths=lengths, stale_after_s=stale_after_s)
            for item in found:
                self._ledger.enter(item.key, item.size_bytes, proven=item.proven)
            self._delete(self._ledger.shrink())
            self._lengths = LengthsFile(self._layout.lengths, dict(self._ledger.digests()))
        except BaseException:
            os.close(self._lock_fd)
            raise

    def open(self, digest: Digest) -> OpenBlob | None:
        """Return the verified blob, pinned and marked as used just now, or None.

        A blob whose length was not on record at the start is hashed first, and so is one whose file
        was written to since: nothing of ours writes to it.

        Raises:
            StoreError: the file cannot be opened, for a reason other than being damaged or gone.
        """
        entry = self._pin(digest)
        if entry is None:
            return None
        file: OpenFile | None = None
        try:
            if entry.proven or self._prove(entry, digest):
                file = self._open_file(entry, digest)
            if file is not None and not _is_untouched(entry, file.fd):
                file.close()
                file = self._open_file(entry, digest) if self._prove(entry, digest) else None
        finally:
            if file is None:
                self._ledger.unpin(entry)
        if file is None:
            return None
        self._record_use(entry, file.fd)
        return OpenBlob(
            file, length_bytes=entry.size_bytes, on_close=lambda: self._ledger.unpin(entry)
        )

    def partial(self, spec: BlobSpec) -> DiskPartial:
        """Begin to receive a blob, or resume one: then hashes the pieces that it holds.

        Raises:
            StoreFull: the blob does not fit the quota or the disk; nothing was changed.
            StoreError: the folder cannot be written, or this blob is being received already.
        """
        tag = spec.tag
        with self._changing:
            self._check_open()
            entry = self._ledger.get(tag)
            if entry is not None and entry.pins:
                raise StoreError(f"{spec.digest}: is being received already")
            resumed = entry is not None and self._reopen(spec, entry)
            partial = resumed or self._begin(spec)
        if resumed:
            try:
                partial.recheck()
            except BaseException:
                partial.close()
                raise
        return partial

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return every verified blob and its length in bytes. Cheap.

        Leaves out those whose digest has to be checked first; `open` and `verify` do that.
        """
        return self._ledger.digests()

    def unfinished(self) -> list[BlobSpec]:
        """Return the blobs that are half done and that nobody is receiving now."""
        found = []
        for tag, entry in self._ledger.arriving():
            if not entry.pins:
                try:
                    spec = read_spec(self._layout.map(tag))
                except OSError:
                    continue  # evicted just now, or `partial` will tell
                if spec is not None:
                    found.append(spec)
        return found

    def used_bytes(self) -> int:
        """Return the bytes that verified and partial blobs take. Cheap."""
        return self._ledger.used_bytes

    def verify(self, digest: Digest, *, pace: Pace = _at_once) -> bool:
        """Hash a verified blob again and drop it if it is damaged; is it here and right?

        This is no use of it: what nobody else uses goes as soon as it did.

        Args:
            digest: which blob.
            pace: told of each block that was read; waits for as long as it wants, and may raise.

        Raises:
            StoreError: it cannot be read, for a reason other than being damaged or gone.
        """
        self._check_open()
        entry = self._ledger.pin(digest, is_use=False)
        if entry is None:
            return False
        try:
            return self._prove(entry, digest, pace=pace)
        finally:
            self._ledger.unpin(entry)

    def close(self) -> None:
        """Let another process have the folder. Idempotent.

        Blobs that are still open stay so until their owners close them.
        """
        with self._changing:
            if self._lock_fd is not None:
                self._lengths.close()
                os.close(self._lock_fd)
                self._lock_fd = None

    def commit(self, partial: DiskPartial) -> OpenBlob:
        """Do what `partial.commit` promises."""
        digest = partial.spec.digest
        partial.sync()
        with self._changing:
            self._check_open()
            arrival = self._arrivals.get(partial)
            if arrival is None or arrival.state is not _State.ARRIVING:
                state = arrival.state.value if arrival is not None else "closed"
                raise StoreError(f"{digest}: cannot be committed, it is {state}")
            path = self._name(partial.spec, arrival.entry)
            arrival.state = _State.COMMITTED
        try:
            files.sync_folder(path.parent)
            self._lengths.sync()
        except (OSError, StoreError) as error:  # matters only if the power fails within seconds
            _log.warning("name_not_synced", extra={"path": str(path)}, exc_info=error)
        blob = self.open(digest)
        if blob is None:  # pinned by `partial`, so only somebody else can have removed the file
            raise StoreError(f"{path}: was removed just after it was stored")
        return blob

    def discard(self, partial: DiskPartial) -> None:
        """Do what `partial.discard` promises."""
        with self._changing:
            arrival = self._arrivals.get(partial)
            if arrival is not None and arrival.state is _State.ARRIVING:
                self._unlink(arrival.entry)
                self._ledger.remove(arrival.entry)
                arrival.state = _State.DISCARDED

    def closed(self, partial: DiskPartial) -> None:
        """Take note that `partial` released its files. Idempotent, cheap."""
        arrival = self._arrivals.pop(partial, None)
        if arrival is not None:
            self._ledger.unpin(arrival.entry)

    def _check_open(self) -> None:
        if self._lock_fd is None:
            raise StoreError(f"{self._layout.root}: the store is closed")

    def _pin(self, digest: Digest) -> Entry | None:
        self._check_open()
        return self._ledger.pin(digest)

    def _open_file(self, entry: Entry, digest: Digest) -> OpenFile | None:
        path = self._layout.blob(digest)
        try:
            file = OpenFile.open(path, os.O_RDONLY)
        except FileNotFoundError:
            self._drop(entry, "missing")
            return None
        except OSError as error:
            raise store_error(error, path) from error
        if os.fstat(file.fd).st_size != entry.size_bytes:
            file.close()
            self._drop(entry, "of the wrong length")
            return None
        return file

    def _record_use(self, entry: Entry, fd: int) -> None:
        now_s = time.monotonic()
        if now_s - entry.recorded_s >= _RECORD_USE_EVERY_S:
            entry.recorded_s = now_s
            try:
                os.utime(fd)
                entry.modified_ns = os.fstat(fd).st_mtime_ns
            except OSError as error:  # costs some order of eviction after a restart, no more
                _log.debug("use_not_recorded", extra={"digest": str(entry.key)}, exc_info=error)

    def _prove(self, entry: Entry, digest: Digest, *, pace: Pace = _at_once) -> bool:
        """Check the digest of a pinned entry, dropping it if it is wrong."""
        file = self._open_file(entry, digest)
        if file is None:
            return False
        try:
            modified_ns = os.fstat(file.fd).st_mtime_ns  # before: a write meanwhile is another
            right = _hash(file.fd, digest.algorithm, pace=pace) == digest.hex
            entry.modified_ns = modified_ns
        except OSError as error:
            if error.errno != errno.EIO:
                raise store_error(error, file.path) from error
            right = False
        finally:
            file.close()
        if not right:
            self._drop(entry, "damaged")
            return False
        if not entry.proven:
            with self._changing:
                self._ledger.prove(entry)
                self._record_length(digest, entry.size_bytes)
        return True

    def _drop(self, entry: Entry, what: str) -> None:
        with self._changing:
            if entry.listed:
                self.dropped += 1
                _log.warning("blob_dropped", extra={"digest": str(entry.key), "reason": what})
                self._ledger.remove(entry)
                self._unlink(entry)

    def _begin(self, spec: BlobSpec) -> DiskPartial:
        free_bytes = files.free_bytes(self._layout.root) - self._unallocated_bytes()
        entry, admission = self._ledger.admit(
            spec.tag,
            spec.length_bytes,
            free_bytes=free_bytes,
            reserve_bytes=self._reserve_bytes,
        )
        try:
            if admission.disk_is_short:
                self._delete(admission.evict)
            partial = self._create(spec)
        except BaseException:
            self._ledger.remove(entry)
            self._ledger.unpin(entry)
            if not admission.disk_is_short:
                self._ledger.restore(admission.evict)
            raise
        if not admission.disk_is_short:
            self._delete(admission.evict)
        self._arrivals[partial] = _Arrival(entry)
        return partial

    def _create(self, spec: BlobSpec) -> DiskPartial:
        path = self._layout.data(spec.tag)
        data: OpenFile | None = None
        try:
            data = OpenFile.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            files.preallocate(data.fd, spec.length_bytes)
            piece_map = PieceMap.create(self._layout.map(spec.tag), spec)
        except BaseException as error:
            if data is not None:
                data.close()
            path.unlink(missing_ok=True)
            self._layout.map(spec.tag).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise store_error(error, path) from error
            raise
        return DiskPartial(spec, data=data, piece_map=piece_map, keeper=self)

    def _reopen(self, spec: BlobSpec, entry: Entry) -> DiskPartial | None:
        """Open what is left of a blob; None, and nothing is left, if half of it has gone."""
        path = self._layout.data(spec.tag)
        data: OpenFile | None = None
        try:
            data = OpenFile.open(path, os.O_RDWR)
            piece_map = PieceMap.open(self._layout.map(spec.tag), spec)
        except OSError as error:
            if data is not None:
                data.close()
            if not isinstance(error, FileNotFoundError):
                raise store_error(error, path) from error
            self._unlink(entry)
            self._ledger.remove(entry)
            return None
        self._ledger.pin(spec.tag)
        partial = DiskPartial(spec, data=data, piece_map=piece_map, keeper=self)
        self._arrivals[partial] = _Arrival(entry)
        return partial

    def _name(self, spec: BlobSpec, entry: Entry) -> Path:
        """Give a synced part file its final name and return that."""
        data = self._layout.data(spec.tag)
        try:
            target = self._layout.prepare_for(spec.digest)
            # If the same blob has come by way of another registry meanwhile, ours takes its place,
            # and its readers keep their descriptors.
            data.rename(target)
        except OSError as error:
            raise store_error(error, data) from error
        self._ledger.rename(entry, spec.digest)
        self._record_length(spec.digest, spec.length_bytes)
        # A map without its data is removed at the next start, if not here.
        with contextlib.suppress(OSError):
            self._layout.map(spec.tag).unlink()
        return target

    def _record_length(self, digest: Digest, length_bytes: int) -> None:
        live = self._ledger.digests()
        try:
            if self._lengths.lines > 2 * len(live) + _SPARE_LINES:
                self._lengths.close()
                self._lengths = LengthsFile(self._layout.lengths, dict(live))
            self._lengths.add(digest, length_bytes)
        except StoreError as error:  # then the next start has the digest checked again
            _log.warning("length_not_recorded", extra={"digest": str(digest)}, exc_info=error)

    def _unallocated_bytes(self) -> int:
        """Bytes promised to partial blobs for which the file system has set none aside."""
        promised = 0
        for tag, entry in self._ledger.arriving():
            try:
                allocated = self._layout.data(tag).stat().st_blocks * 512
            except OSError:
                continue  # the file's own use will tell
            promised += max(0, entry.size_bytes - allocated)
        return promised

    def _delete(self, victims: Iterable[Entry]) -> None:
        """Remove the files of evicted entries; one that cannot be removed is listed again."""
        for victim in victims:
            path = self._paths(victim)[0]
            try:
                self._unlink(victim)
            except StoreError as error:
                _log.error("eviction_failed", extra={"path": str(path)}, exc_info=error)
                self._ledger.restore((victim,))
            else:
                _log.info(
                    "blob_evicted", extra={"path": str(path), "size_bytes": victim.size_bytes}
                )

    def _unlink(self, entry: Entry) -> None:
        for path in self._paths(entry):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise store_error(error, path) from error

    def _paths(self, entry: Entry) -> tuple[Path, ...]:
        key = entry.key
        if isinstance(key, BlobTag):
            return self._layout.data(key), self._layout.map(key)
        return (self._layout.blob(key),)


def _is_untouched(entry: Entry, fd: int) -> bool:
    """Whether a file is as it was when last looked at; the first look after a start is trusted."""
    modified_ns = os.fstat(fd).st_mtime_ns
    if entry.modified_ns is None:
        entry.modified_ns = modified_ns
    return entry.modified_ns == modified_ns


def _hash(fd: int, algorithm: str, *, pace: Pace) -> str:
    hasher = hashlib.new(algorithm)
    offset = 0
    with memoryview(bytearray(files.BLOCK_BYTES)) as view:
        while read := os.preadv(fd, [view], offset):
            hasher.update(view[:read])
            offset += read
            pace(read)
    return hasher.hexdigest()
