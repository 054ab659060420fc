"""Members from a list in the settings; those given by name are looked up, again and again."""

import asyncio
import logging
from collections.abc import Sequence

from shoal.adapters.discovery.base import MembersChanged
from shoal.adapters.discovery.resolving import Resolve, SystemResolver, resolved
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId

_log = logging.getLogger("shoal.discovery.static")

# Look-ups at once: a list of a thousand names must not fill the resolver's threads for long.
_LOOKUPS_AT_ONCE = 8


class StaticDiscovery:
    """A fixed list. Addresses are told at once; names as they resolve."""

    def __init__(
        self,
        members: Sequence[Endpoint],
        *,
        refresh_s: float = 30.0,
        timeout_s: float = 5.0,
        resolve: Resolve | None = None,
    ) -> None:
        """Know the list.

        Args:
            members: addresses or names with their ports.
            refresh_s: seconds between look-ups of the names, if there are any.
            timeout_s: seconds that one look-up may take.
            resolve: what looks names up; the system's resolver by default.
        """
        self._fixed = frozenset(PeerId(str(m)) for m in members if m.is_address)
        self._named = sorted({m for m in members if not m.is_address})
        self._refresh_s = refresh_s
        self._timeout_s = timeout_s
        self._resolve = resolve or SystemResolver()
        self._known: dict[Endpoint, frozenset[PeerId]] = {}
        self._failing: set[Endpoint] = set()

    async def watch(self, changed: MembersChanged) -> None:
        """Tell the list, then again whenever a name has come to mean something else.

        A list of names alone is first told when all were looked up once.
        """
        told: frozenset[PeerId] | None = None
        if self._fixed or not self._named:
            told = self._fixed
            changed(told)
        while self._named:
            await self._look_up()
            members = self._fixed.union(*self._known.values())
            if members != told:
                told = members
                changed(members)
            await asyncio.sleep(self._refresh_s)
        await asyncio.Event().wait()  # nothing can change: until cancelled

    async def _look_up(self) -> None:
        free = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

        async def one(member: Endpoint) -> None:
            async with free:
                try:
                    found = await resolved(
                        member.host, resolve=self._resolve, timeout_s=self._timeout_s
                    )
                except OSError as exc:
                    if member not in self._failing:  # once, not at every refresh
                        self._failing.add(member)
                        _log.warning(
                            "member_not_resolved", extra={"member": str(member), "error": str(exc)}
                        )
                    return
            self._failing.discard(member)
            self._known[member] = frozenset(
                PeerId(str(Endpoint(address, member.port))) for address in found
            )

        async with asyncio.TaskGroup() as group:
            for member in self._named:
                group.create_task(one(member))
