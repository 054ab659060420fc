"""What a message or a stretch of a piece takes on the wire, in bytes."""

from typing import Final

from shoal.core.blob import HASH_BYTES, TAG_BYTES, BlobTag
from shoal.core.wire.codec import MAX_BLOCK_BYTES, encode
from shoal.core.wire.messages import Block, Have, Message

# Source: RFC 791, RFC 9293, RFC 7323. A full segment on Ethernet: 1,500 bytes less 20 of IP, 20 of
# TCP and 12 of its timestamps; the 14 of Ethernet are what a queue discipline counts as well.
SEGMENT_BYTES: Final = 1448
HEADERS_BYTES: Final = 66
SEGMENT_FACTOR: Final = (SEGMENT_BYTES + HEADERS_BYTES) / SEGMENT_BYTES

# Source: RFC 1122 4.2.3.2, at least every second full segment is acknowledged.
ACKNOWLEDGED_SEGMENTS: Final = 2
ACK_SHARE: Final = HEADERS_BYTES / (ACKNOWLEDGED_SEGMENTS * SEGMENT_BYTES)

_BLOCK_HEAD_BYTES: Final = len(encode(Block(BlobTag(bytes(TAG_BYTES)), 0, 0, 1, bytes(HASH_BYTES))))
PIECE_FACTOR: Final = SEGMENT_FACTOR * (1 + _BLOCK_HEAD_BYTES / MAX_BLOCK_BYTES)
"""Bytes on the wire for one byte of a piece from a peer."""

# Source: RFC 8446 5.2: 5 bytes of header, 1 of type and 16 of tag for each record of 16 KiB.
REGISTRY_FACTOR: Final = SEGMENT_FACTOR * (1 + 22 / 16384)
"""The same for a byte from the registry, over TLS."""

REGISTRY_ANSWER_BYTES: Final = 1024
"""Header of an answer of the registry: what nginx and a registry send is 500 to 900 bytes."""

DIAL_ROUND_TRIPS: Final = 1.5
"""TCP's handshake, and Hello each way on top of it."""

_PIECE_NUMBER_BYTES = 4
_have_bytes = len(encode(Have(BlobTag(bytes(TAG_BYTES)), ()))) + HEADERS_BYTES
_fixed: dict[type, int] = {}
_VARYING = frozenset({"Join", "Announce", "Introduce", "Hello"})


def goodput(rate_bytes_per_s: float) -> float:
    """Return the payload that one stream carries over a link, in bytes a second."""
    return rate_bytes_per_s / SEGMENT_FACTOR


def message_bytes(message: Message) -> int:
    """Return what `message` takes on the wire in bytes: its frame in a segment of its own."""
    kind = type(message)
    if kind is Have:
        return _have_bytes + _PIECE_NUMBER_BYTES * len(message.pieces)  # type: ignore[union-attr]
    size = _fixed.get(kind)
    if size is None:
        size = len(encode(message)) + HEADERS_BYTES
        if kind.__name__ not in _VARYING:
            _fixed[kind] = size
    return size
