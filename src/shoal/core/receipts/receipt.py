"""A receipt: a signed statement that these adjacent pieces of a blob have these hashes."""

import struct
from dataclasses import dataclass
from typing import Final

from shoal.core.blob import BlobSpec, BlobTag

# Pieces under one signature at most: half a kilobyte of hashes, which every piece carries along.
BATCH_MOST: Final = 16
FINGERPRINT_BYTES: Final = 32  # SHA-256 of the signer's certificate
# Ed25519 signs with 64 bytes, ECDSA on P-256 with 72 at most (RFC 8032, RFC 3279 section 2.2.3).
SIGNATURE_BYTES_MOST: Final = 72

# For how long a node vouches. Clocks of edge nodes are off by minutes to hours, and whoever holds
# the whole blob signs anew, so it is long; it only bounds how long a stolen key's words last.
LIFETIME_S: Final = 7 * 86400.0
# A receipt is signed anew when it has less than this left, so that it does not expire on its way.
RENEW_BEFORE_S: Final = 86400.0
# Nobody vouches for ever: what a clock ahead by a lifetime would sign is still believed.
AHEAD_MOST_S: Final = 2 * LIFETIME_S

_DOMAIN: Final = b"shoal receipt 2\0"
_HEAD: Final = struct.Struct(">QQIIH")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What travels: the statement without what its receiver knows, and who signed it."""

    tag: BlobTag
    first: int
    hashes: tuple[bytes, ...]
    expires_s: int  # Unix time
    signer: bytes  # fingerprint of a certificate
    signature: bytes

    def hash_of(self, piece: int) -> bytes | None:
        """Return what it says of `piece`, or None if it says nothing."""
        at = piece - self.first
        return self.hashes[at] if 0 <= at < len(self.hashes) else None

    def fault(self, spec: BlobSpec, *, now_s: float) -> str | None:
        """Return why it cannot be true whoever signed it, or None.

        Args:
            spec: the blob that its tag names.
            now_s: Unix time.
        """
        if self.first + len(self.hashes) > spec.pieces:
            return f"speaks of pieces beyond the blob's {spec.pieces}"
        if self.expires_s < now_s:
            return f"expired {now_s - self.expires_s:.0f} s ago"
        if self.expires_s > now_s + AHEAD_MOST_S:
            return f"is valid for {self.expires_s - now_s:.0f} s more, longer than anybody vouches"
        return None


def statement(
    cluster: str, spec: BlobSpec, *, first: int, hashes: tuple[bytes, ...], expires_s: int
) -> bytes:
    """Return the bytes that a signer signs.

    They begin with a word of their own, so that no signature for another purpose is one of these,
    and hold the blob's whole specification: a tag is too short to sign.
    """
    names = (cluster, spec.registry, str(spec.digest), str(spec.kind))
    head = _HEAD.pack(expires_s, spec.length_bytes, spec.piece_bytes, first, len(hashes))
    texts = [name.encode() for name in names]
    return b"".join(
        [_DOMAIN, *(len(text).to_bytes(2, "big") + text for text in texts), head, *hashes]
    )


def statement_of(receipt: Receipt, spec: BlobSpec, *, cluster: str) -> bytes:
    """Return the bytes that `receipt` claims to be signed over."""
    return statement(
        cluster,
        spec,
        first=receipt.first,
        hashes=receipt.hashes,
        expires_s=receipt.expires_s,
    )
