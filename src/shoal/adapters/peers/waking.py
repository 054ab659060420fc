"""How many bytes of a block are worth a wake-up, by how quickly the last one came.

A wake-up costs more than copying the bytes, so a fast connection wakes the agent for many at once.
"""

from typing import Final

# As many as come in so long, and no more than this.
WAKE_S: Final = 0.1
WAKE_BYTES: Final = 256 * 1024
# Where that is less than this every byte must show, or a slow peer would look like a silent one.
WAKE_LEAST_BYTES: Final = 16 * 1024


class Waking:
    """What one connection is worth."""

    def __init__(self) -> None:
        """Begin with every byte."""
        self._most_bytes = 1

    def took(self, length_bytes: int, seconds: float) -> None:
        """A block was here whole so long after its head."""
        wake_bytes = min(WAKE_BYTES, int(length_bytes / max(seconds, WAKE_S / 100) * WAKE_S))
        self._most_bytes = wake_bytes if wake_bytes >= WAKE_LEAST_BYTES else 1

    def bytes(self, sure_bytes: int) -> int:
        """Return the bytes to be woken for.

        Args:
            sure_bytes: what will yet come into the socket without the other end being told more.
        """
        return max(1, min(self._most_bytes, sure_bytes))
