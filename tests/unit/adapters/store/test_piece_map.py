"""A piece map loses records when it is damaged and never makes one up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.adapters.store.piece_map import PieceMap, check_hash, read_spec
from shoal.core.blob import MIN_PIECE_BYTES, BlobSpec, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, StoreError

SPEC = BlobSpec(
    "registry.example:5000", Digest.parse("sha256:" + "1" * 64), 5 * MIN_PIECE_BYTES + 1
)
HASHES = {piece: bytes([piece + 1]) * 32 for piece in range(SPEC.pieces)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map"


@pytest.fixture
def full(path: Path) -> Iterator[PieceMap]:
    piece_map = PieceMap.create(path, SPEC)
    for piece, hash_ in HASHES.items():
        piece_map.record(piece, hash_)
    yield piece_map
    piece_map.close()


def records(path: Path, spec: BlobSpec = SPEC) -> dict[int, bytes]:
    piece_map = PieceMap.open(path, spec)
    try:
        return piece_map.records()
    finally:
        piece_map.close()


def test_a_new_map_holds_nothing_and_knows_its_blob(path: Path) -> None:
    PieceMap.create(path, SPEC).close()
    assert records(path) == {}
    assert read_spec(path) == SPEC


@pytest.mark.parametrize(
    "spec",
    [
        BlobSpec("r", Digest.parse("sha512:" + "a" * 128), 0, ContentKind.MANIFEST),
        BlobSpec("r" * 253 + ":65535", SPEC.digest, 20_000_000_000),
    ],
)
def test_the_header_gives_every_blob_back(path: Path, spec: BlobSpec) -> None:
    PieceMap.create(path, spec).close()
    assert read_spec(path) == spec
    assert records(path, spec) == {}


def test_a_name_that_is_too_long_for_the_header_is_refused(path: Path) -> None:
    with pytest.raises(BadInput, match="at most 253 bytes"):
        PieceMap.create(path, BlobSpec("r" * 1000, SPEC.digest, 1))


def test_records_are_read_again_in_any_order(full: PieceMap, path: Path) -> None:
    assert full.records() == HASHES
    assert records(path) == HASHES


def test_a_record_can_be_replaced_and_erased(full: PieceMap, path: Path) -> None:
    full.record(2, bytes(32))
    full.erase(4)
    expected = {**HASHES, 2: bytes(32)}
    del expected[4]
    assert records(path) == expected


def test_the_file_has_its_full_size_from_the_start(path: Path) -> None:
    piece_map = PieceMap.create(path, SPEC)
    size_bytes = path.stat().st_size
    piece_map.record(SPEC.pieces - 1, bytes(32))
    piece_map.close()
    assert path.stat().st_size == size_bytes


def test_the_records_of_another_blob_are_none_of_this_one(full: PieceMap, path: Path) -> None:
    assert full.records()
    assert records(path, BlobSpec("other.example", SPEC.digest, SPEC.length_bytes)) == {}


@given(cut=st.integers(0, 1024 + 6 * 40))
def test_a_map_that_is_cut_short_loses_what_is_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.map"
    piece_map = PieceMap.create(path, SPEC)
    for piece, hash_ in HASHES.items():
        piece_map.record(piece, hash_)
    piece_map.close()
    path.write_bytes(path.read_bytes()[:cut])
    assert (read_spec(path) == SPEC) is (cut >= 1024)
    whole = max(0, cut - 1024) // 40
    assert records(path) == {piece: HASHES[piece] for piece in range(whole)}


@given(at=st.integers(0, 1024 + 6 * 40 - 1), to=st.integers(0, 255))
def test_a_damaged_byte_costs_at_most_its_own_record(
    tmp_path_factory: pytest.TempPathFactory, at: int, to: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.map"
    piece_map = PieceMap.create(path, SPEC)
    for piece, hash_ in HASHES.items():
        piece_map.record(piece, hash_)
    piece_map.close()
    content = bytearray(path.read_bytes())
    content[at] = to
    path.write_bytes(content)
    assert read_spec(path) in (SPEC, None)
    found = records(path)
    assert found.items() <= HASHES.items()
    assert len(found) >= SPEC.pieces - 1


@given(header=st.binary(max_size=2000))
def test_a_file_that_is_no_map_is_of_no_blob(
    tmp_path_factory: pytest.TempPathFactory, header: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "none.map"
    path.write_bytes(header)
    assert read_spec(path) is None


def test_a_header_with_a_blob_that_cannot_be_is_of_no_blob(path: Path) -> None:
    # The checksum is right, so only its reading can tell.
    PieceMap.create(path, BlobSpec("r", Digest("sha256", "../../etc/passwd"), 1)).close()
    assert read_spec(path) is None


def test_a_map_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing/map"):
        PieceMap.create(tmp_path / "missing" / "map", SPEC)


def test_a_closed_map_is_not_written(full: PieceMap) -> None:
    full.close()
    with pytest.raises(StoreError, match="closed"):
        full.record(0, bytes(32))


def test_a_hash_has_32_bytes() -> None:
    check_hash(bytes(32))
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            check_hash(bytes(length))
