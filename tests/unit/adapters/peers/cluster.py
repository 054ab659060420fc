"""Clusters for the tests of peers over TLS: authorities, and what they give to nodes."""

import asyncio
import itertools
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.handshake import ALPN, shake_hands
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.peer import PeerId

LOOPBACK = ("127.0.0.1", *(f"127.0.0.{n}" for n in range(2, 8)))

_numbers = itertools.count()


@dataclass(slots=True)
class Cluster:
    """One cluster's authority and files."""

    folder: Path
    name: str = "test"
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        # As old as the oldest certificate that a test wants.
        self.authority = Authority.make(self.name, now=datetime.now(UTC) - timedelta(days=30))

    def node(
        self,
        *addresses: str,
        days: float = 1,
        alpn: Iterable[str] = (ALPN,),
        now: datetime | None = None,
    ) -> PeerCredentials:
        """Return the credentials of a node at these addresses, or all that tests use."""
        number = next(_numbers)
        key = make_key()
        certificate = self.authority.issue(
            key.public_key(),
            node=f"node-{number}",
            addresses=addresses or LOOPBACK,
            days=days,
            now=now,
        )
        files = CredentialFiles(
            certificate=self.folder / f"{number}.crt",
            key=self.folder / f"{number}.key",
            ca=self.folder / f"{number}.ca",
            revoked=self.folder / f"{number}.crl",
        )
        files.certificate.write_bytes(certificate.pem)
        files.key.write_bytes(key_pem(key))
        files.key.chmod(0o600)
        files.ca.write_bytes(self.authority.certificate.pem)
        assert files.revoked is not None
        files.revoked.write_bytes(self.authority.revocation_list({}).pem)
        return PeerCredentials(files, alpn=tuple(alpn))

    def expired(self, *addresses: str) -> PeerCredentials:
        """Return credentials that were good until yesterday."""
        return self.node(*addresses, now=datetime.now(UTC) - timedelta(days=2))

    def revoke(self, credentials: PeerCredentials, *revoked: Certificate) -> None:
        """Have `credentials` know that these are no longer good."""
        now = datetime.now(UTC)
        list_ = self.authority.revocation_list({one.serial: now for one in revoked})
        assert credentials.files.revoked is not None
        credentials.files.revoked.write_bytes(list_.pem)
        credentials.use(Credentials.read(credentials.files, alpn=(ALPN,)))


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
