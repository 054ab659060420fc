"""The whole blobs that this node offers to its peers, and which registry each came from."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from shoal.adapters.store.base import Store, StoredBlob
from shoal.core.blob import MIB, BlobSpec, BlobTag, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.receipts.vouchers import Vouchers

_log = logging.getLogger("shoal.agent.holdings")

IDLE_S = 30.0  # after which a blob's descriptor is closed; it is opened again when asked for
READ_BYTES = 1 * MIB
# Lines of the record beyond twice those that are of use, after which it is written anew.
RECORD_LINES_SPARE = 1000


@dataclass(slots=True)
class Holding:
    """A whole blob, perhaps open, and what is known of its pieces so far."""

    spec: BlobSpec
    vouchers: Vouchers
    stored: StoredBlob | None = None
    used_s: float = 0.0

    @property
    def hashes(self) -> dict[int, bytes]:
        """Those of the pieces that were hashed."""
        return self.vouchers.hashes


class Holdings:
    """Whole blobs by tag. Only blobs with a recorded pull from a registry are here.

    The record is a file of JSON lines in the store's folder: what it lacks is only never announced,
    so a damaged line costs a cache hit and nothing else.
    """

    def __init__(self, store: Store, record: Path) -> None:
        self._store = store
        self._record = record
        self._by_tag: dict[BlobTag, Holding] = {}
        self._lines = 0  # of the record

    def __len__(self) -> int:
        return len(self._by_tag)

    def load(self) -> list[BlobSpec]:
        """Return the recorded blobs that the store still has; blocks on the disk."""
        lengths = dict(self._store.digests())
        specs: dict[BlobTag, BlobSpec] = {}
        try:
            lines = self._record.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("pull_record_unreadable", extra={"error": str(error)})
            lines = []
        for line in lines:
            spec = _read(line)
            if spec is not None and lengths.get(spec.digest) == spec.length_bytes:
                specs[spec.tag] = spec
        self._write("w", *specs.values())
        for tag, spec in specs.items():
            self._by_tag.setdefault(tag, Holding(spec, Vouchers.of_whole(spec)))
        return list(specs.values())

    def add(self, spec: BlobSpec, hashes: dict[int, bytes]) -> None:
        """A blob became whole; blocks on the disk for one line."""
        known, vouchers = self._by_tag.get(spec.tag), Vouchers.of_whole(spec, hashes)
        if known is None:
            self._by_tag[spec.tag] = Holding(spec, vouchers)
            self._write("a", spec)
        else:
            known.vouchers = vouchers  # an open descriptor stays: what it reads is the same blob

    def spec(self, tag: BlobTag) -> BlobSpec | None:
        """Return the blob with this tag, if it is offered."""
        holding = self._by_tag.get(tag)
        return holding.spec if holding else None

    def forget(self, tag: BlobTag) -> None:
        """The store no longer has it."""
        holding = self._by_tag.pop(tag, None)
        if holding is not None and holding.stored is not None:
            holding.stored.close()

    def open(self, tag: BlobTag, *, now_s: float) -> Holding | None:
        """Return the blob, opened, or None (and forget it) if the store has dropped it."""
        holding = self._by_tag.get(tag)
        if holding is None:
            return None
        if holding.stored is None:
            holding.stored = self._store.open(holding.spec.digest)
            if holding.stored is None:
                self.forget(tag)
                return None
        holding.used_s = now_s
        return holding

    def forget_evicted(self) -> list[BlobTag]:
        """Forget what the store has dropped for others' sake; return that. Blocks on the disk."""
        listed = list(self._by_tag.items())  # first, for the event loop and threads add some
        stored = {digest for digest, _ in self._store.digests()}
        gone = []
        for tag, holding in listed:
            if holding.spec.digest not in stored and self._by_tag.get(tag) is holding:
                self.forget(tag)
                gone.append(tag)
        if self._lines > 2 * len(self._by_tag) + RECORD_LINES_SPARE:
            self._write("w", *(holding.spec for holding in list(self._by_tag.values())))
        return gone

    def close_idle(self, *, now_s: float) -> None:
        """Release descriptors that nobody has used for a while: they pin against eviction."""
        for holding in list(self._by_tag.values()):  # a thread may add one meanwhile
            if holding.stored is not None and now_s - holding.used_s > IDLE_S:
                holding.stored.close()
                holding.stored = None

    def close(self) -> None:
        """Release every descriptor."""
        for holding in list(self._by_tag.values()):
            if holding.stored is not None:
                holding.stored.close()
                holding.stored = None

    def _write(self, mode: str, *specs: BlobSpec) -> None:
        self._lines = len(specs) + (self._lines if mode == "a" else 0)
        text = "".join(
            json.dumps(
                {
                    "registry": spec.registry,
                    "digest": str(spec.digest),
                    "length_bytes": spec.length_bytes,
                    "kind": str(spec.kind),
                }
            )
            + "\n"
            for spec in specs
        )
        try:
            target = self._record.with_suffix(".new") if mode == "w" else self._record
            with target.open(mode, encoding="utf-8") as file:
                file.write(text)
            if mode == "w":
                target.replace(self._record)
        except OSError as error:
            _log.warning("pull_record_unwritable", extra={"error": str(error)})


def _read(line: str) -> BlobSpec | None:
    try:
        fields: Any = json.loads(line)
        return BlobSpec(
            str(fields["registry"]),
            Digest.parse(fields["digest"]),
            int(fields["length_bytes"]),
            ContentKind(fields["kind"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError, BadInput):
        return None


def piece_hash(fd: int, spec: BlobSpec, piece: int) -> bytes:
    """Return the hash of a piece of a whole blob; blocks, so call it in a thread."""
    hasher = blake3()
    at, end = spec.offset(piece), spec.offset(piece) + spec.size(piece)
    view = memoryview(bytearray(min(READ_BYTES, end - at)))
    while at < end:
        read = os.preadv(fd, [view[: end - at]], at)
        if not read:
            raise OSError(f"{spec.digest}: the stored blob ends at {at}")
        hasher.update(view[:read])
        at += read
    return hasher.digest()
