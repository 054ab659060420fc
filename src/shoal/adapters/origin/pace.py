"""What keeps bodies from registries to a rate; the agent has one, tests may do without."""

from collections.abc import Hashable
from typing import Protocol


class Pace(Protocol):
    """A rate that all bodies share, or none; both may change while a body is read."""

    @property
    def rate_bytes_per_s(self) -> int | None:
        """The rate in bytes a second, or None: then `take` need not be called."""
        ...

    @property
    def stretch_bytes(self) -> int:
        """How much to take at a time, in bytes."""
        ...

    async def take(self, flow: Hashable, size_bytes: int) -> None:
        """Wait until `size_bytes` of `flow`, the blob that they belong to, may be used."""
        ...
