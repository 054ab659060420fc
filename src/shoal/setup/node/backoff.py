"""When to try again: later each time, and not all nodes at once."""

import random
from collections.abc import Callable
from dataclasses import dataclass

_FIRST_S = 2.0
_LONGEST_S = 300.0
_MOST_DOUBLINGS = 16


@dataclass(slots=True)
class Backoff:
    """Pauses that double, half to whole of each by chance."""

    jitter: Callable[[], float] = random.random
    """A number from 0 to 1."""

    failures: int = 0

    def failed(self, retry_after_s: float = 0.0) -> float:
        """Count a failure; return the seconds to wait, at least as many as were asked for."""
        pause_s: float = min(_FIRST_S * 2**self.failures, _LONGEST_S)
        self.failures = min(self.failures + 1, _MOST_DOUBLINGS)
        return max(pause_s * (0.5 + self.jitter() / 2), retry_after_s)

    def succeeded(self) -> None:
        """Begin anew with short pauses."""
        self.failures = 0
