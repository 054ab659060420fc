"""Blocks are long on fast connections, short on slow ones, and end where buffers do."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.blob import MAX_PIECE_BYTES
from shoal.core.wire.block_length import (
    FIRST_BLOCK_BYTES,
    LEAST_BLOCK_BYTES,
    LONG_S,
    SHORT_BEFORE_LONGER,
    SHORT_S,
    BlockLength,
)
from shoal.core.wire.codec import MAX_BLOCK_BYTES


def test_a_few_short_blocks_in_a_row_make_the_next_ones_longer() -> None:
    length = BlockLength()
    changed = [length.took(SHORT_S / 2) for _ in range(SHORT_BEFORE_LONGER)]
    assert changed == [False] * (SHORT_BEFORE_LONGER - 1) + [True]
    assert length.bytes == 2 * FIRST_BLOCK_BYTES
    for _ in range(100):
        length.took(0)
    assert length.bytes == MAX_BLOCK_BYTES


def test_what_the_kernel_takes_at_once_is_no_fast_connection() -> None:
    length = BlockLength()
    for _ in range(10):
        for _ in range(SHORT_BEFORE_LONGER - 1):
            length.took(0)
        length.took(SHORT_S)
    assert length.bytes == FIRST_BLOCK_BYTES


def test_a_long_block_makes_the_next_one_shorter_at_once_down_to_the_least() -> None:
    length = BlockLength()
    assert length.took(2 * LONG_S)
    assert length.bytes == FIRST_BLOCK_BYTES // 2
    for _ in range(10):
        length.took(2 * LONG_S)
    assert length.bytes == LEAST_BLOCK_BYTES


@given(
    size=st.integers(1, MAX_PIECE_BYTES),
    times_s=st.lists(st.floats(0, 1), max_size=400),
)
def test_blocks_cover_a_piece_and_none_crosses_a_multiple_of_the_longest(
    size: int, times_s: list[float]
) -> None:
    length, sent = BlockLength(), 0
    for seconds in [*times_s, *[0.0] * (MAX_PIECE_BYTES // LEAST_BLOCK_BYTES)]:
        if sent == size:
            break
        block = length.next(sent=sent, size=size)
        assert 0 < block <= MAX_BLOCK_BYTES
        assert sent // MAX_BLOCK_BYTES == (sent + block - 1) // MAX_BLOCK_BYTES
        sent += block
        length.took(seconds)
    assert sent == size
