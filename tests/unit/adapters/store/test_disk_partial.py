"""A blob that is arriving on disk, and what a restart finds of it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.adapters.store import disk_partial
from shoal.adapters.store.disk import DiskStore
from shoal.adapters.store.layout import Layout
from shoal.core.blob import MIN_PIECE_BYTES
from shoal.core.errors import StoreError
from shoal.testing.conformance_store import Sample

SAMPLE = Sample(5 * MIN_PIECE_BYTES + 100)


def open_store(root: Path) -> DiskStore:
    return DiskStore(root, quota_bytes=1 << 30, reserve_bytes=0)


def receive(root: Path, *pieces: int) -> None:
    """Hold some pieces and stop."""
    store = open_store(root)
    partial = store.partial(SAMPLE.spec)
    for piece in pieces:
        SAMPLE.put_piece(partial, piece)
    partial.close()
    store.close()


def held(root: Path) -> dict[int, bytes]:
    store = open_store(root)
    partial = store.partial(SAMPLE.spec)
    try:
        return partial.held()
    finally:
        partial.close()
        store.close()


def test_a_restart_finds_the_pieces_that_were_marked(tmp_path: Path) -> None:
    receive(tmp_path, 0, 3, 5)
    assert held(tmp_path) == {piece: SAMPLE.hash(piece) for piece in (0, 3, 5)}


def test_a_piece_whose_bytes_are_not_there_is_not_reported_and_is_forgotten(
    tmp_path: Path,
) -> None:
    receive(tmp_path, 0, 3, 5)
    data = Layout(tmp_path).data(SAMPLE.spec.tag)
    content = bytearray(data.read_bytes())
    content[SAMPLE.spec.offset(3) + 7] ^= 1
    data.write_bytes(content)
    assert held(tmp_path) == {piece: SAMPLE.hash(piece) for piece in (0, 5)}
    content[SAMPLE.spec.offset(3) + 7] ^= 1
    data.write_bytes(content)
    assert sorted(held(tmp_path)) == [0, 5]


def test_a_data_file_cut_short_under_an_open_store_costs_the_pieces_cut(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    partial = store.partial(SAMPLE.spec)
    for piece in range(SAMPLE.spec.pieces):
        SAMPLE.put_piece(partial, piece)
    partial.close()
    data = Layout(tmp_path).data(SAMPLE.spec.tag)
    with data.open("r+b") as file:
        file.truncate(SAMPLE.spec.offset(4) + 1)
    again = store.partial(SAMPLE.spec)
    assert sorted(again.held()) == [0, 1, 2, 3]
    again.close()
    store.close()


def test_pieces_larger_than_a_block_are_hashed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_partial, "BLOCK_BYTES", 100_000)
    receive(tmp_path, *range(SAMPLE.spec.pieces))
    assert held(tmp_path) == SAMPLE.hashes()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "mark", "damage", "restart"]), st.integers(0, 5)),
        max_size=20,
    )
)
def test_the_map_never_claims_a_piece_whose_bytes_are_not_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"))
    partial = store.partial(SAMPLE.spec)
    right: set[int] = set()  # pieces whose bytes are in the file
    marked: set[int] = set()
    for step, piece in [*steps, ("restart", 0)]:
        if step == "write":
            partial.write(SAMPLE.spec.offset(piece), SAMPLE.piece(piece))
            right.add(piece)
        elif step == "mark":  # also without the bytes, as a power cut could leave it
            partial.mark(piece, SAMPLE.hash(piece))
            marked.add(piece)
        elif step == "damage":
            partial.write(SAMPLE.spec.offset(piece), b"damaged")
            right.discard(piece)
        else:
            partial.close()
            partial = store.partial(SAMPLE.spec)
            marked &= right
            assert partial.held() == {number: SAMPLE.hash(number) for number in marked}
    partial.discard()
    partial.close()
    store.close()


def test_a_failed_sync_leaves_the_blob_uncommitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    partial = store.partial(SAMPLE.spec)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            partial.commit()
    assert store.open(SAMPLE.digest) is None
    partial.discard()
    partial.close()
    store.close()
