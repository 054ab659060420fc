"""How much of its pieces a link may send now: what this node's rate and the peer allow.

A link without either has no gate, and pays nothing for one.
"""

from collections.abc import Callable, Hashable
from typing import Protocol


class UploadPace(Protocol):
    """A rate that all links share, or none; it may change at any time."""

    @property
    def rate_bytes_per_s(self) -> int | None:
        """The rate in bytes a second, or None: then nobody needs to ask."""
        ...

    @property
    def stretch_bytes(self) -> int:
        """How much to ask for at a time, in bytes."""
        ...

    def ask(self, flow: Hashable, size_bytes: int, told: Callable[[], None]) -> None:
        """Call `told`, later, when `size_bytes` of the blob `flow` may go."""
        ...

    def withdraw(self, flow: Hashable, told: Callable[[], None]) -> None:
        """Forget what was asked for."""
        ...


class Gate:
    """One link's."""

    def __init__(self, pace: UploadPace | None, resume: Callable[[], None]) -> None:
        """Begin open.

        Args:
            pace: this node's rate for all its links, if it may ever have one.
            resume: called when more may be sent after `room` had none.
        """
        self._pace = pace
        self._resume = resume
        self._allowed: int | None = None  # by the peer, in bytes; None: as many as there are
        self._granted = 0  # by the rate, in bytes
        self._asked: tuple[Hashable, int] | None = None  # and not granted yet
        self.holds = False
        """Whether something waits for room, so that its silence means nothing."""

    def allow(self, more_bytes: int | None) -> None:
        """The peer takes so many bytes more, and from now on no others; None: as many as come."""
        self._allowed = None if more_bytes is None else (self._allowed or 0) + more_bytes
        if self._allowed != 0:
            self._go_on()

    def room(self, flow: Hashable, most: int) -> int:
        """Return how many of the next `most` bytes may go; after 0, `resume` will be called."""
        if self._allowed is not None:
            most = min(most, self._allowed)
        if most and self._pace is not None and self._pace.rate_bytes_per_s is not None:
            if not self._granted and self._asked is None:
                size_bytes = min(most, self._pace.stretch_bytes)
                self._asked = flow, size_bytes
                self._pace.ask(flow, size_bytes, self._told)
            most = min(most, self._granted)
        self.holds = not most
        return most

    def sent(self, size_bytes: int) -> None:
        """A block of so many bytes is on its way."""
        if self._allowed is not None:
            self._allowed = max(0, self._allowed - size_bytes)
        self._granted = max(0, self._granted - size_bytes)

    def close(self) -> None:
        """The link is gone: ask for nothing more."""
        if self._asked is not None and self._pace is not None:
            self._pace.withdraw(self._asked[0], self._told)
            self._asked = None

    def _told(self) -> None:
        if self._asked is not None:
            self._granted += self._asked[1]
            self._asked = None
            self._go_on()

    def _go_on(self) -> None:
        self.holds = False
        self._resume()
