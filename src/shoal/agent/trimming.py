"""Gives memory back to the kernel that was needed while blobs arrived and is not any more.

Buffers of a megabyte come and go then, and small things that last are allocated between them. What
is freed stays with the process, in holes of its heap and of each thread's arena, so that it grows
with every burst that is a little larger than those before (measured: bench/results/soak.md).
"""

import ctypes
from collections.abc import Callable

from shoal.agent.workers import Workers

# Between two times: what is given back costs a page fault for each 4 KiB when it is needed again.
EVERY_S = 2.0


def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim, or None where the C library is another.

    Source: malloc_trim(3): since glibc 2.8 it gives back whole free pages of all arenas. It takes a
    millisecond or two.
    """
    function: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function


class Trimmer:
    """Trims after each time that something arrived."""

    def __init__(
        self,
        workers: Workers,
        *,
        clock_s: Callable[[], float],
        is_busy: Callable[[], bool],
        drop_spare: Callable[[], None],
    ) -> None:
        """Trim nothing yet.

        Args:
            workers: where it is done.
            clock_s: seconds of a clock that never goes back.
            is_busy: whether blobs arrive.
            drop_spare: drops the buffers that are kept for the next blob.
        """
        self._workers = workers
        self._clock_s = clock_s
        self._is_busy = is_busy
        self._drop_spare = drop_spare
        self._trim = _malloc_trim()
        self._is_due = False
        self._trimmed_s = float("-inf")

    def look(self) -> None:
        """Trim if nothing arrives now that did before; called every second."""
        if self._is_busy():
            self._is_due = True
        elif self._is_due and self._clock_s() - self._trimmed_s >= EVERY_S:
            self._is_due, self._trimmed_s = False, self._clock_s()
            self._drop_spare()
            if self._trim is not None:
                self._workers.submit(self._trim, 0, told=lambda *_: None)
