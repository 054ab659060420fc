"""The sockets that peers dial: each connection is accepted and handed on."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from shoal.core.endpoint import normal_host

_log = logging.getLogger("shoal.adapters.peers")

ACCEPT_PAUSE_S: Final = 1.0  # as asyncio's own servers pause


class Listening:
    """Accepts on the event loop, one connection a wake-up."""

    def __init__(self, accepted: Callable[[socket.socket, str], None]) -> None:
        """Begin with no socket.

        Args:
            accepted: takes over each connection, with the address that it comes from.
        """
        self._accepted = accepted
        self._listeners: list[socket.socket] = []

    def start(self, listeners: Sequence[socket.socket]) -> None:
        """Take over these listening sockets."""
        for listener in listeners:
            self._listeners.append(listener)
            self._listen(listener)

    def close(self) -> None:
        """Close them. Idempotent."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _listen(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # gone again
        except OSError as error:
            # No descriptor is left, most likely. The peer still waits in the queue, so look again
            # after a while: at once, it would be the only thing that this process does.
            _log.warning("peer_not_accepted", extra={"reason": error.strerror or str(error)})
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())
            loop.call_later(ACCEPT_PAUSE_S, self._listen, listener)
            return
        self._accepted(sock, _plain(address[0]))


def _plain(host: str) -> str:
    """Return an address as membership spells it: no scope, the shortest form."""
    return normal_host(host.partition("%")[0])
