"""Messages as bytes: each frame is a length (4 bytes), a type (1 byte) and fields.

All integers are big-endian. Strings and bitmaps carry a 2-byte length. A frame is bounded by
MAX_FRAME_BYTES, so a stranger cannot make a reader allocate more. The bytes that follow a `Block`
are outside its frame: the connection moves them without looking at them.
"""

import struct
from collections.abc import Callable
from typing import Final

from shoal.core import bitmap
from shoal.core.blob import HASH_BYTES, TAG_BYTES, BlobSpec, BlobTag, ContentKind
from shoal.core.digest import HEX_LENGTHS, Digest
from shoal.core.errors import BadInput, PeerFault
from shoal.core.peer import PeerId
from shoal.core.receipts.receipt import (
    BATCH_MOST,
    FINGERPRINT_BYTES,
    SIGNATURE_BYTES_MOST,
    Receipt,
)
from shoal.core.wire.messages import (
    Allow,
    Announce,
    Block,
    Busy,
    Cancel,
    Delegate,
    Have,
    Hello,
    Introduce,
    Join,
    LeaseEnded,
    LeaseGranted,
    LeaseNone,
    LeaseOutcome,
    LeaseProgress,
    LeaseWanted,
    Leave,
    Message,
    Ping,
    Request,
    SignerCertificate,
    Suspects,
)

# The largest frame is a `Have` or `Introduce`; a bitmap of the longest blob (2,048 pieces of
# 16 MiB) takes 256 bytes. 64 KiB is far above any of them and small beside one block.
MAX_FRAME_BYTES: Final = 64 * 1024
HEAD: Final = struct.Struct(">IB")

# A node's certificate has some 700 bytes.
CERTIFICATE_BYTES_MOST: Final = 8 * 1024

# A block is what a connection sends before it looks whether a control message waits: 8 ms of a
# 1 Gbit/s link; on slower ones the sender makes them shorter. The receiver refuses longer ones, and
# any that crosses a multiple of this in its piece, since it reserves a buffer for each.
MAX_BLOCK_BYTES: Final = 1024 * 1024

_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
_PIECE = struct.Struct(">16sI")
_RUN = struct.Struct(">16sII")
_BLOCK = struct.Struct(">16sIII32s")
_ENDED = struct.Struct(">16sIIBd")
_WANTED = struct.Struct(">16si")
_SPEC = struct.Struct(">QBB")
_RECEIPT = struct.Struct(f">16sIQ{FINGERPRINT_BYTES}sBB")
_NO_LIMIT = 2**32 - 1
_ALGORITHMS = tuple(HEX_LENGTHS)
_KINDS = tuple(ContentKind)


class _Fields:
    """Reads a frame's fields in order; every read is bounded by the frame."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise PeerFault(f"frame of {len(self._data)} bytes ends before its fields do")
        part = self._data[self._at : end]
        self._at = end
        return part

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self.take(form.size))

    def text(self) -> str:
        (count,) = self.unpack(_U16)
        try:
            return self.take(count).decode()
        except UnicodeDecodeError as error:
            raise PeerFault("text in a frame is not UTF-8") from error

    def bits(self) -> int:
        (count,) = self.unpack(_U16)
        return bitmap.from_bytes(self.take(count))

    def spec(self) -> BlobSpec:
        length, algorithm, kind = self.unpack(_SPEC)
        if algorithm >= len(_ALGORITHMS) or kind >= len(_KINDS):
            raise PeerFault(f"unknown digest algorithm {algorithm} or content kind {kind}")
        name = _ALGORITHMS[algorithm]
        digest = Digest.parse(f"{name}:{self.take(HEX_LENGTHS[name] // 2).hex()}")
        registry = self.text()
        try:
            return BlobSpec(registry, digest, length, _KINDS[kind])
        except BadInput as error:
            raise PeerFault(str(error)) from error

    def end(self) -> None:
        if self._at != len(self._data):
            raise PeerFault(f"{len(self._data) - self._at} bytes too many in a frame")


def _text(value: str) -> bytes:
    data = value.encode()
    return _U16.pack(len(data)) + data


def _bits(value: int) -> bytes:
    data = bitmap.to_bytes(value)
    return _U16.pack(len(data)) + data


def _spec(spec: BlobSpec) -> bytes:
    head = _SPEC.pack(
        spec.length_bytes, _ALGORITHMS.index(spec.digest.algorithm), _KINDS.index(spec.kind)
    )
    return head + bytes.fromhex(spec.digest.hex) + _text(spec.registry)


def _hello(f: _Fields) -> Hello:
    (protocol,) = f.unpack(_U16)
    return Hello(PeerId(f.text()), protocol)


def _join(f: _Fields) -> Join:
    spec = f.spec()
    return Join(spec, _held(f, spec))


def _held(f: _Fields, spec: BlobSpec) -> int:
    held = f.bits()
    if held.bit_length() > spec.pieces:
        raise PeerFault(
            f"{spec.digest}: bitmap names piece {held.bit_length() - 1} of {spec.pieces}"
        )
    return held


def _have(payload: bytes) -> Have:
    count = (len(payload) - TAG_BYTES) // _U32.size
    pieces = struct.unpack_from(f">{count}I", payload, TAG_BYTES)
    if TAG_BYTES + count * _U32.size != len(payload):
        raise PeerFault(f"pieces in {len(payload) - TAG_BYTES} bytes")
    return Have(BlobTag(payload[:TAG_BYTES]), pieces)


def _piece(payload: bytes) -> tuple[BlobTag, int]:
    tag, piece = _PIECE.unpack(payload)
    return BlobTag(tag), piece


def _run(payload: bytes) -> tuple[BlobTag, int, int]:
    tag, first, count = _RUN.unpack(payload)
    return BlobTag(tag), first, count


def _block(payload: bytes) -> Block:
    tag, piece, offset, length, hash_ = _BLOCK.unpack(payload)
    if not 0 < length <= MAX_BLOCK_BYTES:
        raise PeerFault(f"block of {length} bytes is outside 1..{MAX_BLOCK_BYTES}")
    return Block(BlobTag(tag), piece, offset, length, hash_)


def _announce(f: _Fields) -> Announce:
    spec = f.spec()
    held = _held(f, spec)
    flags, sought = f.take(1)[0], f.take(1)[0]
    return Announce(spec, held, bool(flags & 1), sought, bool(flags & 2), bool(flags & 4))


def _introduce(f: _Fields) -> Introduce:
    tag = BlobTag(f.take(TAG_BYTES))
    return Introduce(tag, tuple(PeerId(f.text()) for _ in range(f.take(1)[0])))


def _tag(payload: bytes) -> BlobTag:
    if len(payload) != TAG_BYTES:
        raise PeerFault(f"a blob's tag of {len(payload)} bytes")
    return BlobTag(payload)


def _fields(read: Callable[[_Fields], Message]) -> Callable[[bytes], Message]:
    """Return a reader of a payload that has fields of varying length."""

    def reader(payload: bytes) -> Message:
        fields = _Fields(payload)
        message = read(fields)
        fields.end()
        return message

    return reader


def _wanted(payload: bytes) -> LeaseWanted:
    tag, piece = _WANTED.unpack(payload)
    return LeaseWanted(BlobTag(tag), piece)


def _ended(payload: bytes) -> LeaseEnded:
    tag, first, done, outcome, retry = _ENDED.unpack(payload)
    if outcome not in LeaseOutcome.__members__.values() or not 0 <= retry <= 86400:
        raise PeerFault(f"lease outcome {outcome} or retry time {retry} makes no sense")
    return LeaseEnded(BlobTag(tag), first, done, LeaseOutcome(outcome), retry)


def _allow(payload: bytes) -> Allow:
    (more,) = _U32.unpack(payload)
    return Allow(None if more == _NO_LIMIT else more)


def _certificate(payload: bytes) -> SignerCertificate:
    if not 0 < len(payload) <= CERTIFICATE_BYTES_MOST:
        raise PeerFault(
            f"a certificate of {len(payload)} bytes is outside 1..{CERTIFICATE_BYTES_MOST}"
        )
    return SignerCertificate(payload)


def _receipt(payload: bytes) -> Receipt:
    tag, first, expires_s, signer, signed, count = _RECEIPT.unpack_from(payload)
    begin = _RECEIPT.size + signed
    if not 0 < signed <= SIGNATURE_BYTES_MOST or not 0 < count <= BATCH_MOST:
        raise PeerFault(f"a receipt for {count} pieces with a signature of {signed} bytes")
    if begin + count * HASH_BYTES != len(payload):
        raise PeerFault(f"a receipt for {count} pieces in {len(payload)} bytes")
    ends = range(begin, len(payload), HASH_BYTES)
    hashes = tuple(payload[at : at + HASH_BYTES] for at in ends)
    signature = payload[_RECEIPT.size : begin]
    return Receipt(BlobTag(tag), first, hashes, expires_s, signer, signature)


def _suspects(f: _Fields) -> Suspects:
    tag = BlobTag(f.take(TAG_BYTES))
    (count,) = f.unpack(_U16)
    return Suspects(tag, tuple((PeerId(f.text()), f.bits()) for _ in range(count)))


def _write_allow(m: Allow) -> bytes:
    return _U32.pack(_NO_LIMIT if m.more_bytes is None else min(m.more_bytes, _NO_LIMIT - 1))


def _write_have(m: Have) -> bytes:
    return m.tag + struct.pack(f">{len(m.pieces)}I", *m.pieces)


def _write_announce(m: Announce) -> bytes:
    flags = m.wants | (m.takeover << 1) | (m.to_deputy << 2)
    return _spec(m.spec) + _bits(m.held) + bytes([flags, min(m.peers_sought, 255)])


def _write_receipt(m: Receipt) -> bytes:
    head = _RECEIPT.pack(m.tag, m.first, m.expires_s, m.signer, len(m.signature), len(m.hashes))
    return head + m.signature + b"".join(m.hashes)


def _write_suspects(m: Suspects) -> bytes:
    entries = (_text(peer) + _bits(pieces) for peer, pieces in m.brought)
    return m.tag + _U16.pack(len(m.brought)) + b"".join(entries)


# One row a message: its number on the wire, how it is written, how it is read. A number, once
# released, is never used again for something else.
_ROWS: tuple[tuple[int, type, Callable[..., bytes], Callable[[bytes], Message]], ...] = (
    (1, Hello, lambda m: _U16.pack(m.protocol) + _text(m.peer), _fields(_hello)),
    (2, Ping, lambda _: b"", _fields(lambda _: Ping())),
    (3, Join, lambda m: _spec(m.spec) + _bits(m.held), _fields(_join)),
    (4, Have, _write_have, _have),
    (5, Request, lambda m: _PIECE.pack(m.tag, m.piece), lambda p: Request(*_piece(p))),
    (6, Cancel, lambda m: _PIECE.pack(m.tag, m.piece), lambda p: Cancel(*_piece(p))),
    (7, Busy, lambda m: _PIECE.pack(m.tag, m.piece), lambda p: Busy(*_piece(p))),
    (8, Leave, lambda m: m.tag, lambda p: Leave(_tag(p))),
    (
        9,
        Block,
        lambda m: _BLOCK.pack(m.tag, m.piece, m.offset, m.length, m.piece_hash),
        _block,
    ),
    (10, Announce, _write_announce, _fields(_announce)),
    (
        11,
        Introduce,
        lambda m: m.tag + bytes([len(m.peers)]) + b"".join(map(_text, m.peers)),
        _fields(_introduce),
    ),
    (12, LeaseWanted, lambda m: _WANTED.pack(m.tag, m.stuck_piece), _wanted),
    (
        13,
        LeaseGranted,
        lambda m: _RUN.pack(m.tag, m.first, m.count),
        lambda p: LeaseGranted(*_run(p)),
    ),
    (14, LeaseNone, lambda m: m.tag, lambda p: LeaseNone(_tag(p))),
    (
        15,
        LeaseProgress,
        lambda m: _RUN.pack(m.tag, m.first, m.done),
        lambda p: LeaseProgress(*_run(p)),
    ),
    (
        16,
        LeaseEnded,
        lambda m: _ENDED.pack(m.tag, m.first, m.done, m.outcome, m.retry_after_s),
        _ended,
    ),
    (17, Allow, _write_allow, _allow),
    (18, SignerCertificate, lambda m: m.der, _certificate),
    (19, Receipt, _write_receipt, _receipt),
    (20, Suspects, _write_suspects, _fields(_suspects)),
    (21, Delegate, lambda m: m.tag, lambda p: Delegate(_tag(p))),
)
_WRITERS = {row[1]: (row[0], row[2]) for row in _ROWS}
_READERS = {row[0]: row[3] for row in _ROWS}


def encode(message: Message) -> bytes:
    """Return `message` as one frame.

    Raises:
        ValueError: the message is longer than a frame may be.
    """
    number, write = _WRITERS[type(message)]
    payload = write(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"{type(message).__name__} of {len(payload)} bytes does not fit a frame")
    return HEAD.pack(len(payload), number) + payload


def decode(number: int, payload: bytes) -> Message:
    """Return the message of a frame of type `number`.

    Raises:
        PeerFault: an unknown type, or fields that make no sense.
    """
    read = _READERS.get(number)
    if read is None:
        raise PeerFault(f"unknown message type {number}")
    try:
        return read(payload)
    except struct.error as error:
        raise PeerFault(f"message of type {number} in {len(payload)} bytes: {error}") from error


class FrameReader:
    """Cuts a stream into messages, and stops where a block's raw bytes begin."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Take more bytes of the stream."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> Message | None:
        """Return the next whole message, or None until more bytes come.

        After a `Block`, the caller takes its body with `take` before it asks for the next message.

        Raises:
            PeerFault: a frame that is too long, unknown or malformed.
        """
        begin = self._at + HEAD.size
        if len(self._data) < begin:
            return None
        length, number = HEAD.unpack_from(self._data, self._at)
        if length > MAX_FRAME_BYTES:
            raise PeerFault(f"frame of {length} bytes is over {MAX_FRAME_BYTES}")
        end = begin + length
        if len(self._data) < end:
            return None
        self._at = end
        return decode(number, self._data[begin:end])

    def take(self, most: int) -> bytes:
        """Return, and remove, up to `most` bytes that were fed and not yet read."""
        part = self._data[self._at : self._at + most]
        self._at += len(part)
        return part
