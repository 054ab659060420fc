"""What nodes of a cluster show each other, for the tests of peers over TLS."""

import asyncio
import itertools
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shoal.adapters.certificates.credentials import Credentials
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.handshake import ALPN, shake_hands
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.peer import PeerId
from shoal.testing.cluster import Cluster

LOOPBACK = ("127.0.0.1", *(f"127.0.0.{n}" for n in range(2, 8)))

_numbers = itertools.count()


@dataclass(slots=True)
class Nodes:
    """Gives credentials to nodes of one cluster."""

    folder: Path
    name: str = "test"
    cluster: Cluster = field(init=False)

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.folder, self.name)

    def node(
        self, *addresses: str, alpn: Iterable[str] = (ALPN,), now: datetime | None = None
    ) -> PeerCredentials:
        """Return the credentials of a node at these addresses, or at all that tests use."""
        files = self.cluster.issue(f"node-{next(_numbers)}", addresses or LOOPBACK, now=now)
        return PeerCredentials(files, alpn=tuple(alpn))

    def expired(self) -> PeerCredentials:
        """Return credentials that are good no more."""
        return self.node(now=datetime.now(UTC) - timedelta(days=60))

    def revoke(self, revoked: PeerCredentials, *, told: PeerCredentials) -> None:
        """Have `told` know that the certificate of `revoked` is no longer good."""
        assert revoked.identity.node is not None
        self.cluster.revoke(revoked.identity.node)
        told.use(Credentials.read(told.files, alpn=(ALPN,)))


async def tls_pair(
    one: socket.socket, other: socket.socket, credentials: tuple[PeerCredentials, PeerCredentials]
) -> tuple[TlsStream, TlsStream]:
    """Shake hands over a connection, from `one` to `other`."""
    for sock in (one, other):
        sock.setblocking(False)
    streams = await asyncio.gather(
        shake_hands(one, credentials[0], dialed=PeerId("127.0.0.1:1")),
        shake_hands(other, credentials[1], dialed=None),
    )
    return streams[0], streams[1]
