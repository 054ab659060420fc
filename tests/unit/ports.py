"""Ports for what can only be told a number, and not to take any port that is free."""

import random
import socket

# Below those that the kernel gives to whoever connects or asks for any port (from 32768 on): one
# that was found free here is taken by nobody else in the moment until it is used.
_CANDIDATES = range(20_000, 32_000)


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """Return ports on which nothing listens."""
    found: list[socket.socket] = []
    try:
        while len(found) < count:
            try:
                port = random.choice(_CANDIDATES)  # noqa: S311 - for no secrets
                found.append(socket.create_server((host, port)))
            except OSError:
                continue
        return [int(server.getsockname()[1]) for server in found]
    finally:
        for server in found:
            server.close()


def free_port(*, host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens."""
    (port,) = free_ports(1, host=host)
    return port
