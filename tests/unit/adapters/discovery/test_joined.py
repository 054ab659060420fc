"""Several sources of members, seen as one."""

import asyncio

from shoal.adapters.discovery.base import MembersChanged
from shoal.adapters.discovery.joined import JoinedDiscovery
from shoal.core.peer import PeerId

A, B, C = PeerId("10.0.0.1:1"), PeerId("10.0.0.2:1"), PeerId("10.0.0.3:1")


class Source:
    """A source that a test speaks through."""

    def __init__(self) -> None:
        self.changed: MembersChanged | None = None
        self.watched = asyncio.Event()

    async def watch(self, changed: MembersChanged) -> None:
        """Hand the callback to the test."""
        self.changed = changed
        self.watched.set()
        await asyncio.Event().wait()

    def tell(self, *members: PeerId) -> None:
        """Tell these members."""
        assert self.changed is not None
        self.changed(frozenset(members))


async def test_the_members_are_those_of_any_source_and_only_changes_are_told() -> None:
    one, two = Source(), Source()
    told: list[frozenset[PeerId]] = []
    task = asyncio.ensure_future(JoinedDiscovery([one, two]).watch(told.append))
    async with asyncio.timeout(30):
        await one.watched.wait()
        await two.watched.wait()
    one.tell()
    one.tell(A)
    two.tell(A)
    two.tell(A, B)
    one.tell(C)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told == [
        frozenset(),
        frozenset({A}),
        frozenset({A, B}),
        frozenset({A, B, C}),
    ]
