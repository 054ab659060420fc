"""Blobs: how they are cut into pieces, and what they are called in a swarm."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.blob import (
    KIB,
    MAX_BLOB_BYTES,
    MAX_PIECE_BYTES,
    MIB,
    MIN_PIECE_BYTES,
    TAG_BYTES,
    BlobSpec,
    BlobTag,
    ContentKind,
    piece_length_for,
)
from shoal.core.digest import Digest
from shoal.core.errors import BadInput

DIGEST = Digest("sha256", "0a" * 32)


def spec(length_bytes: int) -> BlobSpec:
    return BlobSpec("registry.example", DIGEST, length_bytes)


@pytest.mark.parametrize(
    ("length_bytes", "piece_bytes"),
    [
        (0, 512 * KIB),
        (1, 512 * KIB),
        (256 * MIB - 1, 512 * KIB),
        (256 * MIB, 1 * MIB),
        (1024 * MIB, 4 * MIB),
        (MAX_BLOB_BYTES, 16 * MIB),
    ],
)
def test_a_blob_is_cut_into_some_hundreds_of_pieces(length_bytes: int, piece_bytes: int) -> None:
    assert piece_length_for(length_bytes) == piece_bytes


def test_an_empty_blob_has_no_piece() -> None:
    assert spec(0).pieces == 0


def test_the_last_piece_has_what_is_left() -> None:
    blob = spec(MIN_PIECE_BYTES + 1)
    assert [blob.size(piece) for piece in range(blob.pieces)] == [MIN_PIECE_BYTES, 1]


@settings(deadline=None)
@given(st.integers(0, MAX_BLOB_BYTES))
def test_pieces_cover_the_blob_without_gap_or_overlap(length_bytes: int) -> None:
    blob = spec(length_bytes)
    assert blob.pieces <= MAX_BLOB_BYTES // MAX_PIECE_BYTES
    assert blob.piece_bytes.bit_count() == 1
    assert MIN_PIECE_BYTES <= blob.piece_bytes <= MAX_PIECE_BYTES
    for piece in {0, blob.pieces // 2, blob.pieces - 1} & set(range(blob.pieces)):
        assert blob.offset(piece) == piece * blob.piece_bytes
        assert 1 <= blob.size(piece) <= blob.piece_bytes
    if blob.pieces:
        assert blob.offset(blob.pieces - 1) + blob.size(blob.pieces - 1) == length_bytes


@pytest.mark.parametrize("length_bytes", [-1, MAX_BLOB_BYTES + 1])
def test_an_absurd_length_is_refused(length_bytes: int) -> None:
    with pytest.raises(BadInput, match=str(length_bytes)):
        spec(length_bytes)


def test_the_tag_is_the_same_wherever_it_is_computed() -> None:
    # Peers of other versions compute it too: a change here splits every swarm in two.
    assert spec(1000).tag.hex() == "1a5ff8fb5e704b1b3b54217c66b68676"


def test_whatever_tells_two_blobs_apart_changes_the_tag() -> None:
    blob = spec(MIB)
    others = [
        replace(blob, registry="other.example"),
        replace(blob, digest=Digest("sha512", "0a" * 64)),
        replace(blob, digest=Digest("sha256", "0b" * 32)),
        replace(blob, length_bytes=MIB + 1),
        replace(blob, kind=ContentKind.MANIFEST),
    ]
    tags = {other.tag for other in [blob, *others]}
    assert len(tags) == len(others) + 1
    assert {len(tag) for tag in tags} == {TAG_BYTES}


def test_a_tag_is_shown_as_hex() -> None:
    assert repr(BlobTag(bytes(15) + b"\xff")) == "BlobTag(" + "00" * 15 + "ff)"
