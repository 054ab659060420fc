"""The codec: every message there and back, and nothing but a PeerFault for anything else."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core import bitmap
from shoal.core.blob import HASH_BYTES, MAX_BLOB_BYTES, TAG_BYTES, BlobSpec, BlobTag, ContentKind
from shoal.core.digest import HEX_LENGTHS, Digest
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.receipts.receipt import (
    BATCH_MOST,
    FINGERPRINT_BYTES,
    SIGNATURE_BYTES_MOST,
    Receipt,
)
from shoal.core.wire.codec import (
    CERTIFICATE_BYTES_MOST,
    HEAD,
    MAX_BLOCK_BYTES,
    MAX_FRAME_BYTES,
    FrameReader,
    decode,
    encode,
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

TAG = BlobTag(bytes(range(TAG_BYTES)))
SPEC = BlobSpec("registry.example", Digest("sha256", "0a" * 32), 10_000_000)

U32 = st.integers(0, 2**32 - 1)
TAGS = st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES).map(BlobTag)
PEERS = st.text(max_size=40).map(PeerId)
DIGESTS = st.sampled_from(sorted(HEX_LENGTHS)).flatmap(
    lambda name: st.binary(min_size=HEX_LENGTHS[name] // 2, max_size=HEX_LENGTHS[name] // 2).map(
        lambda data: Digest(name, data.hex())
    )
)
SPECS = st.builds(
    BlobSpec,
    st.text(max_size=80),
    DIGESTS,
    st.integers(0, MAX_BLOB_BYTES),
    st.sampled_from(ContentKind),
)


def held(spec: BlobSpec) -> st.SearchStrategy[int]:
    return st.integers(0, bitmap.full(spec.pieces))


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, PEERS, st.integers(0, 65535)),
    st.just(Ping()),
    SPECS.flatmap(lambda spec: st.builds(Join, st.just(spec), held(spec))),
    st.builds(Have, TAGS, st.lists(U32, max_size=50).map(tuple)),
    st.builds(Request, TAGS, U32),
    st.builds(Cancel, TAGS, U32),
    st.builds(Busy, TAGS, U32),
    st.builds(Leave, TAGS),
    st.builds(
        Block,
        TAGS,
        U32,
        U32,
        st.integers(1, MAX_BLOCK_BYTES),
        st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES),
    ),
    SPECS.flatmap(
        lambda spec: st.builds(
            Announce,
            st.just(spec),
            held(spec),
            st.booleans(),
            st.integers(0, 255),
            st.booleans(),
            st.booleans(),
        )
    ),
    st.builds(Delegate, TAGS),
    st.builds(Introduce, TAGS, st.lists(PEERS, max_size=32).map(tuple)),
    st.builds(LeaseWanted, TAGS, st.integers(-1, 2**31 - 1)),
    st.builds(LeaseGranted, TAGS, U32, U32),
    st.builds(LeaseNone, TAGS),
    st.builds(LeaseProgress, TAGS, U32, U32),
    st.builds(
        LeaseEnded, TAGS, U32, U32, st.sampled_from(LeaseOutcome), st.floats(0, 86400, width=32)
    ),
    st.builds(Allow, st.none() | st.integers(0, 2**32 - 2)),
    st.builds(SignerCertificate, st.binary(min_size=1, max_size=CERTIFICATE_BYTES_MOST)),
    st.builds(
        Receipt,
        TAGS,
        U32,
        st.lists(
            st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES), min_size=1, max_size=BATCH_MOST
        ).map(tuple),
        st.integers(0, 2**64 - 1),
        st.binary(min_size=FINGERPRINT_BYTES, max_size=FINGERPRINT_BYTES),
        st.binary(min_size=1, max_size=SIGNATURE_BYTES_MOST),
    ),
    st.builds(
        Suspects,
        TAGS,
        st.lists(st.tuples(PEERS, st.integers(0, bitmap.full(2048))), max_size=8).map(tuple),
    ),
)


def receipt_frame(
    *, signature: bytes = bytes(64), hashes: tuple[bytes, ...] = (bytes(HASH_BYTES),)
) -> bytes:
    return encode(Receipt(TAG, 0, hashes, 1, bytes(FINGERPRINT_BYTES), signature))


def frame(number: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload), number) + payload


def read(data: bytes) -> list[Message]:
    """Read all messages of a stream, and their blocks' bytes."""
    reader = FrameReader()
    reader.feed(data)
    messages = []
    while (message := reader.next()) is not None:
        messages.append(message)
        if isinstance(message, Block):
            reader.take(message.length)
    return messages


@settings(deadline=None)
@given(MESSAGES)
def test_a_message_that_was_written_is_read_as_it_was(message: Message) -> None:
    data = encode(message)
    assert read(data) == [message]
    assert len(data) <= HEAD.size + MAX_FRAME_BYTES


def test_the_bytes_on_the_wire_stay_as_they_were_released() -> None:
    # Nodes of two versions speak to each other during an upgrade.
    assert encode(Hello(PeerId("10.0.0.1:65002"))).hex() == (
        "00000012010001000e" + b"10.0.0.1:65002".hex()
    )
    assert encode(Allow(258)).hex() == "000000041100000102"
    assert encode(Allow(None)).hex() == "0000000411ffffffff"
    assert encode(Request(TAG, 258)).hex() == "0000001405" + TAG.hex() + "00000102"
    assert encode(LeaseEnded(TAG, 1, 2, LeaseOutcome.DENIED, 0.5)).hex() == (
        "0000002110" + TAG.hex() + "0000000100000002023fe0000000000000"
    )
    assert encode(Announce(SPEC, 0b101, True, 16, True)).hex() == (
        "00000041" "0a" "0000000000989680" "00" "00" + "0a" * 32 + "0010"
        + b"registry.example".hex() + "0001" "05" "03" "10"
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(MESSAGES, max_size=6), st.data())
def test_a_stream_may_be_cut_anywhere(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(
        encode(message) + bytes(message.length if isinstance(message, Block) else 0)
        for message in messages
    )
    reader, heard = FrameReader(), []
    body = 0
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        reader.feed(memoryview(stream)[:cut])
        stream = stream[cut:]
        while True:
            body -= len(reader.take(body))
            if body or (message := reader.next()) is None:
                break
            heard.append(message)
            body = message.length if isinstance(message, Block) else 0
    assert heard == messages


def test_what_follows_a_block_is_left_to_whoever_takes_it() -> None:
    reader = FrameReader()
    reader.feed(encode(Block(TAG, 0, 0, 5, bytes(HASH_BYTES))) + b"12345" + encode(Ping()))
    assert isinstance(reader.next(), Block)
    assert reader.take(3) == b"123"
    assert reader.take(2) == b"45"
    assert reader.next() == Ping()
    assert reader.take(9) == b""


def test_a_frame_over_the_limit_is_refused_before_its_bytes_come() -> None:
    reader = FrameReader()
    reader.feed(HEAD.pack(MAX_FRAME_BYTES + 1, 2))
    with pytest.raises(PeerFault, match=str(MAX_FRAME_BYTES + 1)):
        reader.next()


def test_a_message_that_fits_no_frame_is_not_written() -> None:
    with pytest.raises(ValueError, match="Have"):
        encode(Have(TAG, tuple(range(20_000))))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (frame(99, b""), "unknown message type 99"),
        (frame(2, b"x"), "1 bytes too many"),
        (frame(5, TAG + bytes(3)), "type 5 in 19 bytes"),
        (frame(5, TAG + bytes(5)), "type 5 in 21 bytes"),
        (frame(1, struct.pack(">HH", 1, 9) + b"short"), "ends before"),
        (frame(1, struct.pack(">HH", 1, 2) + b"\xff\xfe"), "UTF-8"),
        (frame(4, TAG + bytes(6)), "pieces in 6 bytes"),
        (frame(4, TAG[:-1]), "type 4 in 15 bytes"),
        (frame(8, TAG + b"x"), "tag of 17 bytes"),
        (frame(11, TAG + b"\x02" + bytes(2)), "ends before"),
        (frame(9, TAG + struct.pack(">III", 0, 0, 0) + bytes(32)), "block of 0 bytes"),
        (
            frame(9, TAG + struct.pack(">III", 0, 0, MAX_BLOCK_BYTES + 1) + bytes(32)),
            f"block of {MAX_BLOCK_BYTES + 1} bytes",
        ),
        (frame(3, struct.pack(">QBB", 1, 7, 0) + bytes(34)), "digest algorithm 7"),
        (frame(3, struct.pack(">QBB", 1, 0, 9) + bytes(34)), "content kind 9"),
        (
            frame(3, struct.pack(">QBB", MAX_BLOB_BYTES + 1, 0, 0) + bytes(36)),
            "outside",
        ),
        (frame(3, encode(Join(SPEC, 0))[HEAD.size : -2] + b"\x00\x10" + b"\xff" * 16), "piece 127"),
        (frame(16, TAG + struct.pack(">IIBd", 0, 0, 9, 0.0)), "lease outcome 9"),
        (frame(18, b""), "certificate of 0 bytes"),
        (frame(18, bytes(CERTIFICATE_BYTES_MOST + 1)), "is outside 1..8192"),
        (frame(19, TAG + bytes(20)), "type 19 in 36 bytes"),
        (receipt_frame(signature=bytes(SIGNATURE_BYTES_MOST + 1)), "signature of 73 bytes"),
        (receipt_frame(signature=b""), "signature of 0 bytes"),
        (receipt_frame(hashes=()), "receipt for 0 pieces"),
        (receipt_frame(hashes=(bytes(HASH_BYTES),) * (BATCH_MOST + 1)), "receipt for 17 pieces"),
        (receipt_frame(hashes=(bytes(HASH_BYTES - 1),)), "receipt for 1 pieces in"),
        (frame(20, TAG + b"\x00\x02"), "ends before"),
        (frame(20, TAG + bytes(3)), "1 bytes too many"),
        (frame(16, TAG + struct.pack(">IIBd", 0, 0, 0, -1.0)), "retry time -1"),
        (frame(16, TAG + struct.pack(">IIBd", 0, 0, 0, float("nan"))), "retry time nan"),
        (frame(16, TAG + struct.pack(">IIBd", 0, 0, 0, float("inf"))), "retry time inf"),
    ],
)
def test_a_frame_that_makes_no_sense_is_the_peers_fault(data: bytes, why: str) -> None:
    with pytest.raises(PeerFault, match=why):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 21), st.binary(max_size=200))
def test_any_payload_is_a_message_or_the_peers_fault(number: int, payload: bytes) -> None:
    try:
        message = decode(number, payload)
    except PeerFault:
        return
    encode(message)  # and so it was one


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10))
def test_any_stream_is_messages_or_the_peers_fault(chunks: list[bytes]) -> None:
    reader = FrameReader()
    fed = kept = 0
    for chunk in chunks:
        reader.feed(chunk)
        fed += len(chunk)
        try:
            while (message := reader.next()) is not None:
                if isinstance(message, Block):
                    reader.take(message.length)
        except PeerFault:
            return
    kept = len(reader.take(1 << 30))
    assert kept <= fed


@settings(deadline=None)
@given(MESSAGES, st.data())
def test_a_damaged_message_is_another_or_the_peers_fault(
    message: Message, data: st.DataObject
) -> None:
    payload = bytearray(encode(message))
    at = data.draw(st.integers(HEAD.size - 1, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))
    try:
        read(bytes(payload))
    except PeerFault:
        return


def test_a_reader_never_keeps_more_than_a_frame_and_what_was_fed_last() -> None:
    # Whoever drips a frame of the largest size makes its reader keep that, and no more.
    reader = FrameReader()
    payload = TAG + bytes(64_000)
    stream = frame(4, payload) * 3
    most = 0
    for at in range(0, len(stream), 4096):
        reader.feed(stream[at : at + 4096])
        while reader.next() is not None:
            pass
        most = max(most, len(reader._data))  # the one thing that nothing public tells
    assert most <= MAX_FRAME_BYTES + HEAD.size + 4096
