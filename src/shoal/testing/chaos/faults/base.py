"""What every fault can do."""

from typing import Protocol

from shoal.testing.chaos.plan import Fault


class Breaker(Protocol):
    """Breaks one kind of thing, and mends it."""

    def begin(self, fault: Fault) -> None:
        """Break it.

        Raises:
            BedError, OSError: it could not be broken now, as a process that is being replaced.
        """

    def end(self, fault: Fault) -> None:
        """Mend it; harmless if it is whole."""
