"""Members of several sources together."""

import asyncio
from collections.abc import Sequence

from shoal.adapters.discovery.base import Discovery, MembersChanged
from shoal.core.peer import PeerId


class JoinedDiscovery:
    """The members that any of its sources tells."""

    def __init__(self, sources: Sequence[Discovery]) -> None:
        self._sources = list(sources)
        self._told: dict[int, frozenset[PeerId]] = {}

    async def watch(self, changed: MembersChanged) -> None:
        """Watch all sources; tell their union whenever it changes."""

        def from_source(index: int) -> MembersChanged:
            def one_changed(members: frozenset[PeerId]) -> None:
                before = frozenset[PeerId]().union(*self._told.values())
                first = not self._told
                self._told[index] = members
                after = frozenset[PeerId]().union(*self._told.values())
                if first or after != before:
                    changed(after)

            return one_changed

        async with asyncio.TaskGroup() as group:
            for index, source in enumerate(self._sources):
                group.create_task(source.watch(from_source(index)), name=f"discovery {index}")
