"""What a blob is called in a swarm, and how it is cut into pieces."""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from shoal.core.digest import Digest
from shoal.core.errors import BadInput

KIB = 1024
MIB = 1024 * KIB

# Source: docs/design/0003-pieces.md. Some hundreds of pieces a blob decide how near to ideal a
# rollout comes; below 512 KiB a piece's bookkeeping costs more than its bytes.
MIN_PIECE_BYTES = 512 * KIB
MAX_PIECE_BYTES = 16 * MIB
TARGET_PIECES = 256

# Source: issue of record "blobs from 0 bytes to 20 GB"; the next power of two above, so that a
# manifest that claims more is refused before anything is allocated for it.
MAX_BLOB_BYTES = 32 * 1024 * MIB

TAG_BYTES = 16
HASH_BYTES = 32  # of a piece, by BLAKE3


class ContentKind(StrEnum):
    """Which of the registry's two content routes serves the bytes."""

    BLOB = "blob"
    MANIFEST = "manifest"


def piece_length_for(length_bytes: int) -> int:
    """Return the piece length in bytes for a blob of `length_bytes`: a power of two.

    The smallest power of two from 512 KiB to 16 MiB that cuts the blob into fewer than 512 pieces.
    """
    piece_bytes = MIN_PIECE_BYTES
    while piece_bytes < MAX_PIECE_BYTES and length_bytes >= 2 * TARGET_PIECES * piece_bytes:
        piece_bytes *= 2
    return piece_bytes


@dataclass(frozen=True, slots=True)
class BlobSpec:
    """A blob as a swarm knows it.

    Until its digest was checked a blob's length belongs to (registry, digest), so both are part of
    the identity: a registry that lies about a length makes a swarm of its own and harms no other.
    """

    registry: str
    digest: Digest
    length_bytes: int
    kind: ContentKind = ContentKind.BLOB
    # Derived once, since every message about the blob asks for them.
    piece_bytes: int = field(init=False, compare=False, repr=False)
    """Length of every piece but the last, in bytes."""
    pieces: int = field(init=False, compare=False, repr=False)
    """Number of pieces; 0 for an empty blob."""
    tag: "BlobTag" = field(init=False, compare=False, repr=False)
    """Sixteen bytes that name this blob in peer messages."""

    def __post_init__(self) -> None:
        if not 0 <= self.length_bytes <= MAX_BLOB_BYTES:
            raise BadInput(
                f"{self.digest}: length {self.length_bytes} is outside 0..{MAX_BLOB_BYTES}"
            )
        piece_bytes = piece_length_for(self.length_bytes)
        text = f"{self.registry} {self.digest} {self.length_bytes} {piece_bytes} {self.kind}"
        tag = BlobTag(blake2b(text.encode(), digest_size=TAG_BYTES).digest())
        object.__setattr__(self, "piece_bytes", piece_bytes)
        object.__setattr__(self, "pieces", -(-self.length_bytes // piece_bytes))
        object.__setattr__(self, "tag", tag)

    def offset(self, piece: int) -> int:
        """Where `piece` begins, in bytes from the blob's start."""
        return piece * self.piece_bytes

    def size(self, piece: int) -> int:
        """Length of `piece` in bytes."""
        return min(self.piece_bytes, self.length_bytes - self.offset(piece))


class BlobTag(bytes):
    """The sixteen bytes by which peer messages name a blob."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"BlobTag({self.hex()})"
