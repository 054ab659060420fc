"""Bitmaps: sets of pieces as integers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core import bitmap

PIECES = st.sets(st.integers(0, 600))


def test_a_full_bitmap_holds_every_piece_and_no_other() -> None:
    assert list(bitmap.members(bitmap.full(4))) == [0, 1, 2, 3]
    assert bitmap.full(0) == 0


def test_a_run_holds_adjacent_pieces() -> None:
    assert list(bitmap.members(bitmap.run(3, 2))) == [3, 4]
    assert bitmap.run(3, 0) == 0


def test_the_lowest_run_ends_at_the_first_gap() -> None:
    assert bitmap.lowest_run(0b1101110, longest=9) == (1, 3)


def test_the_lowest_run_is_no_longer_than_asked_for() -> None:
    assert bitmap.lowest_run(0b1101110, longest=2) == (1, 2)


def test_an_empty_bitmap_has_no_lowest_run() -> None:
    with pytest.raises(ValueError, match="empty"):
        bitmap.lowest_run(0, longest=1)


@settings(deadline=None)
@given(PIECES)
def test_members_are_what_was_put_in_lowest_first(pieces: set[int]) -> None:
    assert list(bitmap.members(sum(1 << piece for piece in pieces))) == sorted(pieces)


@settings(deadline=None)
@given(PIECES.filter(bool), st.integers(1, 600))
def test_the_lowest_run_is_the_longest_that_begins_at_the_lowest_piece(
    pieces: set[int], longest: int
) -> None:
    bits = sum(1 << piece for piece in pieces)
    first, count = bitmap.lowest_run(bits, longest=longest)
    assert first == min(pieces)
    assert set(range(first, first + count)) <= pieces
    assert count == longest or first + count not in pieces


@settings(deadline=None)
@given(PIECES)
def test_bytes_give_back_the_bitmap(pieces: set[int]) -> None:
    bits = sum(1 << piece for piece in pieces)
    data = bitmap.to_bytes(bits)
    assert bitmap.from_bytes(data) == bitmap.from_bytes(memoryview(data)) == bits
    assert len(data) == (max(pieces, default=-1) + 8) // 8
