"""Loopback addresses for a demo: every node has one of its own, with the agent's usual ports.

A demo takes a block of 256 addresses of 127.0.0.0/8 at random, so that two at once do not meet.
Only who listens on all addresses of the machine, as an agent of this very machine may, can be in
the way: other ports are taken then, below those that the kernel gives to outgoing connections.
"""

import errno
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shoal.testing.demo.failures import DemoFailed

MAX_NODES = 64
_FIRST_PORT = 65001  # the agent's defaults: front, and then peer API and exporter
_REGISTRY_PORT = 5000
_REGISTRY_HOST_NUMBER = 254
_TRIES = 20
# Source: Linux ip-sysctl.rst, ip_local_port_range: outgoing connections begin at 32768.
_OTHER_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where one node's agent listens."""

    host: str
    first_port: int = _FIRST_PORT

    @property
    def front(self) -> str:
        """`host:port` of the registry front."""
        return f"{self.host}:{self.front_port}"

    @property
    def peer(self) -> str:
        """`host:port` of the peer API: the node's name among its peers."""
        return f"{self.host}:{self.peer_port}"

    @property
    def exporter(self) -> str:
        """`host:port` of metrics and the debug page."""
        return f"{self.host}:{self.exporter_port}"

    @property
    def front_port(self) -> int:
        """The front's port."""
        return self.first_port

    @property
    def peer_port(self) -> int:
        """The peer API's port."""
        return self.first_port + 1

    @property
    def exporter_port(self) -> int:
        """The exporter's port."""
        return self.first_port + 2

    @property
    def ports(self) -> tuple[int, int, int]:
        """All three."""
        return self.front_port, self.peer_port, self.exporter_port


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything of one demo listens."""

    registry_host: str
    registry_port: int
    nodes: tuple[NodeAddress, ...]

    @property
    def registry(self) -> str:
        """`host:port` of the registry."""
        return f"{self.registry_host}:{self.registry_port}"

    def listeners(self) -> Iterable[tuple[str, int]]:
        """Return every address and port."""
        yield self.registry_host, self.registry_port
        for node in self.nodes:
            for port in node.ports:
                yield node.host, port


def probe(host: str, port: int) -> None:
    """Listen for a moment.

    Raises:
        OSError: it cannot be listened there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1)


def choose_addresses(
    nodes: int,
    *,
    probe: Callable[[str, int], None] = probe,
    random_below: Callable[[int], int] = secrets.randbelow,
) -> Addresses:
    """Return addresses on which nobody listens at the moment.

    Args:
        nodes: how many nodes, up to 64.
        probe: raises OSError where it cannot be listened.
        random_below: a random number from 0 up to its argument.

    Raises:
        DemoFailed: there are none.
    """
    last: OSError | None = None
    for attempt in range(_TRIES):
        block = f"127.{1 + random_below(254)}.{random_below(256)}"
        first_port, registry_port = _FIRST_PORT, _REGISTRY_PORT
        if attempt:
            first_port = _OTHER_PORTS[random_below(len(_OTHER_PORTS) // 4) * 4]
            registry_port = first_port + 3
        found = Addresses(
            f"{block}.{_REGISTRY_HOST_NUMBER}",
            registry_port,
            tuple(NodeAddress(f"{block}.{number}", first_port) for number in range(1, nodes + 1)),
        )
        try:
            for host, port in found.listeners():
                probe(host, port)
        except OSError as exc:
            last = exc
            if exc.errno != errno.EADDRINUSE:
                break
        else:
            return found
    raise DemoFailed(
        f"cannot listen on loopback addresses such as 127.1.2.3, of which every node takes one: "
        f"{last}"
    ) from last
