"""The piece map: which pieces of a part file are whole, written so that a crash loses only pieces.

The file is a header of 1 KiB that names the blob, then one record of 40 bytes for each piece, at a
place that the piece's number gives: its number, its hash, and a checksum. A torn or damaged record
therefore costs its own piece and nothing else, nothing is ever appended, and the file has its full
size from the start, so that recording a piece needs no more room on a disk that has filled up.

A record is written after its piece's data. A crash of the process keeps that order; a power cut
need not, which is why whoever reads a map after a restart hashes the pieces again.
"""

import json
import os
import struct
from pathlib import Path
from zlib import crc32

from shoal.adapters.store.files import OpenFile, preallocate, store_error
from shoal.core.blob import BlobSpec, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import BadInput

HASH_BYTES = 32

# The digit counts up with every change of the format: another version's partial blobs are dropped.
_MAGIC = b"SHOALMP1"
_HEADER_BYTES = 1024
_HEADER = struct.Struct(">8sHI")  # magic, length of the JSON that follows, its CRC-32
_RECORD = struct.Struct(">I32sI")  # piece, hash, CRC-32 of both and of the blob's tag
_ERASED = bytes(_RECORD.size)


class PieceMap:
    """An open piece map. Threads may record different pieces at once."""

    def __init__(self, spec: BlobSpec, file: OpenFile) -> None:
        self._spec = spec
        self._file = file
        self._salt = crc32(spec.tag)

    @classmethod
    def create(cls, path: Path, spec: BlobSpec) -> "PieceMap":
        """Make an empty map for `spec`, in place of what is at `path`.

        Raises:
            BadInput: the registry's name is too long to be one.
            StoreFull, StoreError: the disk is full or failed.
        """
        header = _encode_header(spec)
        try:
            file = OpenFile.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            try:
                preallocate(file.fd, _HEADER_BYTES + spec.pieces * _RECORD.size)
                file.write_at(0, header)
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise store_error(error, path) from error
        return cls(spec, file)

    @classmethod
    def open(cls, path: Path, spec: BlobSpec) -> "PieceMap":
        """Open the map at `path`, which `read_spec` said to be of `spec`.

        Raises:
            OSError: as os.open does.
        """
        return cls(spec, OpenFile.open(path, os.O_RDWR))

    def records(self) -> dict[int, bytes]:
        """Return the pieces recorded and their hashes, leaving out records that are damaged.

        Raises:
            StoreError: the disk failed.
        """
        try:
            text = os.pread(self._file.fd, self._spec.pieces * _RECORD.size, _HEADER_BYTES)
        except OSError as error:
            raise store_error(error, self._file.path) from error
        found = {}
        for place in range(len(text) // _RECORD.size):
            piece, hash_, checksum = _RECORD.unpack_from(text, place * _RECORD.size)
            if piece == place and checksum == self._checksum(piece, hash_):
                found[piece] = hash_
        return found

    def record(self, piece: int, hash_: bytes) -> None:
        """Record that `piece` is in the data file and has this hash.

        Raises:
            StoreFull, StoreError: the disk is full or failed, or the map is closed.
        """
        record = _RECORD.pack(piece, hash_, self._checksum(piece, hash_))
        self._file.write_at(_HEADER_BYTES + piece * _RECORD.size, record)

    def erase(self, piece: int) -> None:
        """Take back the record of `piece`.

        Raises:
            StoreFull, StoreError: the disk is full or failed, or the map is closed.
        """
        self._file.write_at(_HEADER_BYTES + piece * _RECORD.size, _ERASED)

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        self._file.close()

    def _checksum(self, piece: int, hash_: bytes) -> int:
        # Salted with the tag, so that a record of another blob in a reused disk block is none here.
        return crc32(hash_, crc32(piece.to_bytes(4, "big"), self._salt))


def read_spec(path: Path) -> BlobSpec | None:
    """Return which blob the map at `path` is of, or None if its header is damaged or unknown.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return None
    magic, length, checksum = _HEADER.unpack_from(header)
    text = header[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or crc32(text) != checksum:
        return None
    try:
        fields = json.loads(text)
        return BlobSpec(
            registry=str(fields["registry"]),
            digest=Digest.parse(fields["digest"]),
            length_bytes=int(fields["length_bytes"]),
            kind=ContentKind(fields["kind"]),
        )
    except (ValueError, KeyError, TypeError):  # BadInput is a ValueError
        return None


def _encode_header(spec: BlobSpec) -> bytes:
    text = json.dumps(
        {
            "registry": spec.registry,
            "digest": str(spec.digest),
            "length_bytes": spec.length_bytes,
            "kind": spec.kind.value,
        }
    ).encode()
    if len(text) > _HEADER_BYTES - _HEADER.size:
        raise BadInput(f"{spec.digest}: a registry's name has at most 253 bytes and a port")
    header = _HEADER.pack(_MAGIC, len(text), crc32(text)) + text
    return header.ljust(_HEADER_BYTES, b"\0")


def check_hash(hash_: bytes) -> None:
    """Raise ValueError unless `hash_` has the length of a piece hash."""
    if len(hash_) != HASH_BYTES:
        raise ValueError(f"a piece hash has {HASH_BYTES} bytes, not {len(hash_)}")
