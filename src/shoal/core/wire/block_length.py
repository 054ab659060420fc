"""How long the next block of a piece is: by how quickly the last ones left.

A control message waits for the end of the block that is being sent, so blocks are short where the
connection is slow; each costs both ends a head and some Python, so they are long where it is fast.
"""

from typing import Final

from shoal.core.wire.codec import MAX_BLOCK_BYTES

# 64 KiB take 5 ms at 100 Mbit/s; 32 KiB take a quarter of a second at 1 Mbit/s.
FIRST_BLOCK_BYTES: Final = 64 * 1024
LEAST_BLOCK_BYTES: Final = 32 * 1024
# A block that took less was short, one that took more was long, between them nothing changes.
SHORT_S: Final = 0.01
LONG_S: Final = 0.05
# Short ones in a row before the next is longer: the first of a connection leave at once, however
# slow it is, into the kernel's own buffer.
SHORT_BEFORE_LONGER: Final = 4


class BlockLength:
    """The length of one connection's blocks out."""

    def __init__(self) -> None:
        self.bytes = FIRST_BLOCK_BYTES
        self._short = 0

    def next(self, *, sent: int, size: int) -> int:
        """Return the length in bytes of a piece's next block.

        No block crosses a multiple of MAX_BLOCK_BYTES: what it is received into has that length.

        Args:
            sent: bytes of the piece that have been sent.
            size: bytes of the piece.
        """
        return min(self.bytes, size - sent, MAX_BLOCK_BYTES - sent % MAX_BLOCK_BYTES)

    def took(self, seconds: float) -> bool:
        """A block was handed over in that time; return whether the length has changed."""
        before = self.bytes
        if seconds > LONG_S:
            self._short = 0
            self.bytes = max(before // 2, LEAST_BLOCK_BYTES)
        elif seconds >= SHORT_S:
            self._short = 0
        else:
            self._short += 1
            if self._short == SHORT_BEFORE_LONGER:
                self._short = 0
                self.bytes = min(before * 2, MAX_BLOCK_BYTES)
        return self.bytes != before
