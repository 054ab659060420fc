"""Decides how much each peer is told that it may send, so that a node's download keeps to a rate.

Bytes that a node will not read yet would wait in the kernel's buffers, and with them, in the same
connection, what peers have to say: a request, a lease. So who receives tells who sends how much it
may, a little at a time, and nothing ever waits.
"""

# Theory of operation. A peer that was asked for pieces has a window: what it may send and has not
# sent. All windows together hold WINDOW_S of the rate, which is more than a round trip and less
# than anybody's patience. Bytes that come open a gap in the window; a gap of half a window is
# worth an allowance, which waits for its turn (shaper.py) under the blob whose bytes came. It is
# paid for when it is given, so the rate holds whatever peers do with it.

from dataclasses import dataclass, field

from shoal.core.blob import KIB
from shoal.core.peer import PeerId

WINDOW_S = 0.2
# Two blocks that are worth their heads.
LEAST_WINDOW_BYTES = 8 * KIB
# A peer that was asked or sent something so lately takes part.
ACTIVE_S = 2.0


@dataclass(slots=True)
class Window:
    """One peer's."""

    active_s: float
    open_bytes: int = 0  # it may send so much
    coming_bytes: int = 0  # and will be allowed so much, in its turn


@dataclass(slots=True)
class Allowances:
    """What each peer may send to this node. Keeps no clock and no rate of its own."""

    windows: dict[PeerId, Window] = field(default_factory=dict)

    def asked(self, peer: PeerId, *, rate_bytes_per_s: int, now_s: float) -> int:
        """`peer` was asked for a piece; return how many bytes are to be allowed to it in turn."""
        window = self.windows.get(peer)
        if window is None:
            window = self.windows[peer] = Window(now_s)
        window.active_s = now_s
        return self._gap(window, rate_bytes_per_s, now_s)

    def arrived(self, peer: PeerId, size_bytes: int, *, rate_bytes_per_s: int, now_s: float) -> int:
        """Bytes came from `peer`; return how many are to be allowed to it in turn."""
        window = self.windows.get(peer)
        if window is None:
            window = self.windows[peer] = Window(now_s)
        window.active_s = now_s
        # Not below nothing: what was on its way when the limit began is forgiven.
        window.open_bytes = max(0, window.open_bytes - size_bytes)
        return self._gap(window, rate_bytes_per_s, now_s)

    def given(self, peer: PeerId, size_bytes: int) -> None:
        """It was the turn of an allowance: `peer` is being told."""
        window = self.windows.get(peer)
        if window is not None:
            window.open_bytes += size_bytes
            window.coming_bytes -= size_bytes

    def lost(self, peer: PeerId) -> None:
        """The connection to `peer` is gone, and its window with it."""
        self.windows.pop(peer, None)

    def _gap(self, window: Window, rate_bytes_per_s: int, now_s: float) -> int:
        active = sum(now_s - other.active_s <= ACTIVE_S for other in self.windows.values())
        share_bytes = int(rate_bytes_per_s * WINDOW_S / active)
        size_bytes = max(LEAST_WINDOW_BYTES, share_bytes)
        gap_bytes = size_bytes - window.open_bytes - window.coming_bytes
        if gap_bytes < size_bytes // 2:
            return 0
        window.coming_bytes += gap_bytes
        return gap_bytes
