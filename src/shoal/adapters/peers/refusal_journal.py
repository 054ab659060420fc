"""Says in the log, and counts, that a peer was refused for what it showed or did not show.

A peer that is refused tries again, and a stranger may try as often as it likes: the same of the
same address is written once in a while only, and no more of all together than a log can take.
"""

import logging
from collections.abc import Callable
from typing import Final

from shoal.core.trust.identity import Reason, Refused

_log = logging.getLogger("shoal.adapters.peers")

SAME_AGAIN_S: Final = 60.0
_KNOWN_MOST: Final = 1024
_WINDOW_S: Final = 10.0
_LINES_PER_WINDOW: Final = 50


class RefusalJournal:
    """One for all connections."""

    def __init__(
        self, *, clock_s: Callable[[], float], count: Callable[[Reason], None] = lambda _: None
    ) -> None:
        """Begin with nothing said.

        Args:
            clock_s: seconds of a clock that never goes back.
            count: told of every refusal.
        """
        self._clock_s = clock_s
        self._count = count
        self._said_s: dict[tuple[str, Reason], float] = {}  # in order of time
        self._window_s = 0.0
        self._lines = 0

    def refused(
        self, host: str, refused: Refused, *, peer: str | None = None, is_expected: bool = False
    ) -> None:
        """`host` was refused, or refused this node; `peer` where it was dialed or is known.

        With `is_expected` that happens where all is well: a node joins and is not known everywhere.
        """
        self._count(refused.reason)
        if self._may_say((host, refused.reason)):
            _log.log(
                logging.INFO if is_expected else logging.WARNING,
                "peer_refused",
                extra={
                    "host": host,
                    "peer": peer,
                    "cause": refused.reason.value,
                    "reason": str(refused)[:512],
                },
            )

    def _may_say(self, same: tuple[str, Reason]) -> bool:
        now_s = self._clock_s()
        if now_s - self._said_s.get(same, -SAME_AGAIN_S) < SAME_AGAIN_S:
            return False
        if now_s - self._window_s >= _WINDOW_S:
            self._window_s, self._lines = now_s, 0
        if self._lines >= _LINES_PER_WINDOW:
            return False
        self._lines += 1
        self._said_s.pop(same, None)
        self._said_s[same] = now_s
        if len(self._said_s) > _KNOWN_MOST:
            del self._said_s[next(iter(self._said_s))]
        return True
