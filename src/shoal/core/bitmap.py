"""Sets of pieces as integers: bit n is piece n.

An `int` is the fastest set of small integers that Python has: union, difference and "anything
left?" on 512 pieces are one machine-level operation each, and a copy is free.
"""

from collections.abc import Iterator


def full(pieces: int) -> int:
    """Return the bitmap that holds all of `pieces` pieces."""
    return (1 << pieces) - 1


def run(first: int, count: int) -> int:
    """Return the bitmap of `count` adjacent pieces from `first` on."""
    return ((1 << count) - 1) << first


def members(bitmap: int) -> Iterator[int]:
    """Yield the pieces of `bitmap`, lowest first."""
    while bitmap:
        lowest = bitmap & -bitmap
        yield lowest.bit_length() - 1
        bitmap ^= lowest


def lowest_run(bitmap: int, *, longest: int) -> tuple[int, int]:
    """Return (first, count) of the lowest adjacent pieces, `longest` at most.

    Raises:
        ValueError: the bitmap is empty.
    """
    if not bitmap:
        raise ValueError("no piece in an empty bitmap")
    first = (bitmap & -bitmap).bit_length() - 1
    shifted = bitmap >> first
    count = (~shifted & (shifted + 1)).bit_length() - 1  # trailing ones
    return first, min(count, longest)


def to_bytes(bitmap: int) -> bytes:
    """Return `bitmap` as little-endian bytes without leading zeros."""
    return bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "little")


def from_bytes(data: bytes | memoryview) -> int:
    """Return the bitmap that `to_bytes` wrote."""
    return int.from_bytes(data, "little")
