"""The record of lengths gives right lengths or none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.adapters.store.lengths import LengthsFile, read_lengths
from shoal.core.digest import Digest
from shoal.core.errors import StoreError

ONE, TWO = Digest.parse("sha256:" + "1" * 64), Digest.parse("sha512:" + "2" * 128)


def test_a_missing_file_records_nothing(tmp_path: Path) -> None:
    assert read_lengths(tmp_path / "lengths") == {}


def test_what_is_written_and_added_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lengths"
    lengths = LengthsFile(path, {ONE: 20_000_000_000})
    lengths.add(TWO, 0)
    lengths.sync()
    lengths.close()
    with pytest.raises(StoreError, match="closed"):
        lengths.sync()
    assert read_lengths(path) == {ONE: 20_000_000_000, TWO: 0}
    assert [file.name for file in tmp_path.iterdir()] == ["lengths"]


def test_the_last_line_for_a_blob_counts(tmp_path: Path) -> None:
    path = tmp_path / "lengths"
    path.write_text(f"{ONE} 1\n{ONE} 2\n")
    assert read_lengths(path) == {ONE: 2}


def test_lines_that_are_none_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lengths"
    path.write_bytes(
        f"{ONE} 7\n{ONE} -7\n{TWO}\nsha256:11 5\nmd5:{'1' * 32} 5\n".encode() + b"\xff\0\n"
    )
    assert read_lengths(path) == {ONE: 7}


@given(cut=st.integers(0, 300))
def test_a_torn_end_never_gives_a_wrong_length(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn-lengths"
    lengths = LengthsFile(path, {ONE: 123_456})
    lengths.add(TWO, 7_654_321)
    lengths.close()
    path.write_bytes(path.read_bytes()[:cut])
    assert read_lengths(path).items() <= {ONE: 123_456, TWO: 7_654_321}.items()


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "lengths").mkdir()
    with pytest.raises(StoreError, match="lengths"):
        read_lengths(tmp_path / "lengths")
    with pytest.raises(StoreError, match="lengths"):
        LengthsFile(tmp_path / "lengths", {})
