"""Peers that have dialed this node and are not through the TLS handshake yet.

Anyone can begin a handshake, and each holds a descriptor and costs two milliseconds of processor
time: so there is a bound on them, on those from one address, and on how long each may take.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from shoal.adapters.peers.handshake import (
    HANDSHAKE_TIMEOUT_S,
    Credentials,
    HungUp,
    TooSlow,
    shake_hands,
)
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.trust.identity import Reason, Refused

_log = logging.getLogger("shoal.adapters.peers")

HANDSHAKES_MOST: Final = 256
# A node dials another once at a time; twice where a connection that it has given up on lingers.
HANDSHAKES_OF_ONE_MOST: Final = 8


class Arrivals:
    """Handshakes that others began."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        arrived: Callable[[TlsStream, str], None],
        refused: Callable[[str, Refused], None],
    ) -> None:
        """Begin with none.

        Args:
            credentials: this node's.
            arrived: told of each that is through, with the address that it came from.
            refused: told of each that was refused, with its address.
        """
        self._credentials = credentials
        self._arrived = arrived
        self._refused = refused
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_host: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, sock: socket.socket, host: str) -> None:
        """Shake hands over `sock`, which was accepted from `host`, or close it."""
        of_one = self._by_host[host] >= HANDSHAKES_OF_ONE_MOST
        if of_one or len(self._tasks) >= HANDSHAKES_MOST:
            sock.close()
            most = HANDSHAKES_OF_ONE_MOST if of_one else HANDSHAKES_MOST
            whose = " from this address" if of_one else ""
            self._refused(
                host, Refused(Reason.OTHER, f"{most} handshakes{whose} are under way already")
            )
            return
        sock.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._shake(sock, host), name="handshake")
        self._tasks.add(task)  # held here until done
        self._by_host[host] += 1
        task.add_done_callback(lambda task: self._done(task, sock, host))

    async def _shake(self, sock: socket.socket, host: str) -> None:
        try:
            stream = await shake_hands(sock, self._credentials, dialed=None)
        except Refused as refused:
            self._refused(host, refused)
        except TooSlow as slow:
            self._refused(host, Refused(Reason.OTHER, str(slow)))
        except HungUp as reason:  # a port that is looked at, most likely
            _log.debug("handshake_ended", extra={"host": host, "reason": str(reason)})
        else:
            self._arrived(stream, host)

    def _done(self, task: asyncio.Task[None], sock: socket.socket, host: str) -> None:
        self._tasks.discard(task)
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]
        if task.cancelled():
            sock.close()  # it may not have begun
        elif (error := task.exception()) is not None:
            _log.error("handshake_failed", exc_info=error)  # a bug

    async def stop(self) -> None:
        """Break all of them off."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=HANDSHAKE_TIMEOUT_S)
