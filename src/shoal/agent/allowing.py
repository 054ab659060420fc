"""Tells each peer how much it may send, while this node's download has a limit."""

from collections.abc import Callable, Hashable
from functools import partial

from shoal.agent.throttle import Throttle
from shoal.core.limits.allowances import Allowances, Window
from shoal.core.peer import PeerId
from shoal.core.wire.messages import Allow


class Allowing:
    """From the moment that there is a limit until it is lifted."""

    def __init__(self, throttle: Throttle, send: Callable[[PeerId, Allow], None]) -> None:
        """Begin with nobody.

        Args:
            throttle: of the download.
            send: says something to a peer, if it is connected.
        """
        self._throttle = throttle
        self._send = send
        self._book = Allowances()

    def connected(self, peer: PeerId) -> None:
        """`peer` is connected: it may send nothing that it is not told to."""
        self._send(peer, Allow(0))

    def asked(self, peer: PeerId, blob: Hashable) -> None:
        """`peer` was asked for a piece of `blob`."""
        rate = self._throttle.rate_bytes_per_s
        if rate is not None:
            size = self._book.asked(peer, rate_bytes_per_s=rate, now_s=self._throttle.now_s())
            self._in_turn(peer, blob, size)

    def arrived(self, peer: PeerId, blob: Hashable, size_bytes: int) -> None:
        """Bytes of `blob` came from `peer`."""
        rate = self._throttle.rate_bytes_per_s
        if rate is not None:
            size = self._book.arrived(
                peer, size_bytes, rate_bytes_per_s=rate, now_s=self._throttle.now_s()
            )
            self._in_turn(peer, blob, size)

    def lost(self, peer: PeerId) -> None:
        """The connection to `peer` is gone."""
        self._book.lost(peer)

    def _in_turn(self, peer: PeerId, blob: Hashable, size_bytes: int) -> None:
        while size_bytes > 0:
            stretch_bytes = min(size_bytes, self._throttle.stretch_bytes)
            size_bytes -= stretch_bytes
            told = partial(self._give, peer, self._book.windows[peer], stretch_bytes)
            self._throttle.ask(blob, stretch_bytes, told)

    def _give(self, peer: PeerId, window: Window, size_bytes: int) -> None:
        if self._book.windows.get(peer) is window:  # it is still the same connection
            self._book.given(peer, size_bytes)
            self._send(peer, Allow(size_bytes))
