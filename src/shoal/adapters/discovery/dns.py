"""Members from DNS: every A and AAAA record of one name, such as a headless Service's."""

import asyncio
import logging
import random
import socket
from collections.abc import Callable

from shoal.adapters.discovery.base import MembersChanged
from shoal.adapters.discovery.resolving import Resolve, SystemResolver, resolved
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId

_log = logging.getLogger("shoal.discovery.dns")

# So that nodes that were started together do not ask together for ever.
_JITTER = 0.1
# An empty answer while members are known is more often a DNS server that restarts than a site that
# has gone: it is believed once it has been repeated this often.
_EMPTY_ANSWERS_BELIEVED = 3
# Until there was an answer it is asked for so often: the cluster's DNS may start after this node.
_FIRST_ANSWER_RETRY_S = 1.0
# A name server's word that there is no such name, or no address of it; not that it cannot be asked.
# A headless Service whose first member is not ready yet is answered so.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})


class DnsDiscovery:
    """Looks one name up, again and again; the last good answer stays while look-ups fail."""

    def __init__(
        self,
        name: str,
        *,
        port: int,
        refresh_s: float = 10.0,
        timeout_s: float = 5.0,
        resolve: Resolve | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Know what to look up.

        Args:
            name: the name whose addresses are the members.
            port: the port at which all of them are.
            refresh_s: seconds between two look-ups, give or take a tenth.
            timeout_s: seconds that one look-up may take.
            resolve: what looks names up; the system's resolver by default.
            jitter: returns numbers in [0, 1).
        """
        self._name = name
        self._port = port
        self._refresh_s = refresh_s
        self._timeout_s = timeout_s
        self._resolve = resolve or SystemResolver()
        self._jitter = jitter
        self._failing = False
        self._empty_answers = 0

    async def watch(self, changed: MembersChanged) -> None:
        """Look up and tell, until cancelled. The first call comes with the first answer.

        That there is no such name is an answer too, if it is the first.
        """
        told: frozenset[PeerId] | None = None
        while True:
            members = await self._members(is_first=told is None)
            if members is not None and members != told and self._believed(members, told):
                told = members
                changed(members)
            spread = 1 - _JITTER + 2 * _JITTER * self._jitter()
            refresh_s = self._refresh_s
            if told is None:
                refresh_s = min(refresh_s, _FIRST_ANSWER_RETRY_S)
            await asyncio.sleep(refresh_s * spread)

    async def _members(self, *, is_first: bool) -> frozenset[PeerId] | None:
        try:
            found = await resolved(self._name, resolve=self._resolve, timeout_s=self._timeout_s)
        except OSError as exc:
            if not self._failing:
                _log.warning("dns_failed", extra={"host": self._name, "error": str(exc)})
            self._failing = True
            return frozenset() if is_first and exc.errno in _NO_SUCH_NAME else None
        if self._failing:
            _log.info("dns_recovered", extra={"host": self._name, "addresses": len(found)})
        self._failing = False
        return frozenset(PeerId(str(Endpoint(address, self._port))) for address in found)

    def _believed(self, members: frozenset[PeerId], told: frozenset[PeerId] | None) -> bool:
        self._empty_answers = 0 if members else self._empty_answers + 1
        return bool(members) or not told or self._empty_answers >= _EMPTY_ANSWERS_BELIEVED
