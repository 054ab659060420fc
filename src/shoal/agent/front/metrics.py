"""What the front counts, for whoever exports it."""

from typing import Protocol

from shoal.agent.front.answers import Cause


class FrontMetrics(Protocol):
    """Told of each event as it happens; cheap, never raises. Labels hold no digest or name."""

    def answered(self, route: str, *, status: int, seconds: float) -> None:
        """A request to `route` (`manifest`, `blob`, `ping`, ...) was answered."""
        ...

    def sent(self, route: str, *, size_bytes: int) -> None:
        """That many bytes of content went out to a client."""
        ...

    def refused(self, cause: Cause) -> None:
        """A request or connection got no content, or not all of it."""
        ...

    def connections(self, count: int) -> None:
        """There are now `count` client connections."""
        ...


class NoMetrics:
    """Counts nothing."""

    def answered(self, route: str, *, status: int, seconds: float) -> None:
        """Do nothing."""

    def sent(self, route: str, *, size_bytes: int) -> None:
        """Do nothing."""

    def refused(self, cause: Cause) -> None:
        """Do nothing."""

    def connections(self, count: int) -> None:
        """Do nothing."""
