"""What tells an agent who is in its site."""

from collections.abc import Callable
from typing import Protocol

from shoal.core.peer import PeerId

# Told of the members whenever they may have changed; called in the event loop.
MembersChanged = Callable[[frozenset[PeerId]], None]


class Discovery(Protocol):
    """A source of members, each `ip:port` or `[v6]:port` in its shortest form."""

    async def watch(self, changed: MembersChanged) -> None:
        """Call `changed` with all members, at first and after each change, until cancelled.

        The first call means that the source has had its answer, even if that is nobody.

        A source that fails keeps quiet: the members last told stay. Never raises for what may
        pass; logs it.
        """
        ...
