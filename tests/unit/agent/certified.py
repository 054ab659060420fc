"""A cluster with certificates, made on the spot: its authority, and its nodes' files."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.credentials import CredentialFiles
from shoal.adapters.certificates.keys import PrivateKey, key_pem, make_key
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.handshake import ALPN


@dataclass(slots=True)
class Cluster:
    """Its authority and its nodes."""

    folder: Path
    name: str = "edge"
    authority: Authority = field(init=False)
    made: dict[str, tuple[Certificate, PrivateKey]] = field(default_factory=dict)
    """By host; issued when first asked for."""

    def __post_init__(self) -> None:
        self.authority = Authority.make(self.name, now=_day_ago())

    def node(self, host: str, *, days: float = 365) -> tuple[Certificate, PrivateKey]:
        """Return the certificate and key of the node at `host`."""
        if host not in self.made:
            key = make_key()
            certificate = self.authority.issue(
                key.public_key(),
                node=_named(host),
                addresses=[host],
                days=days + 1,
                now=_day_ago(),
            )
            self.made[host] = certificate, key
        return self.made[host]

    def credentials(self, host: str) -> PeerCredentials:
        """Return what the node at `host` shows its peers, from files."""
        certificate, key = self.node(host)
        files = CredentialFiles(
            certificate=self.folder / f"{host}.pem",
            key=self.folder / f"{host}.key",
            ca=self.folder / "ca.pem",
        )
        files.certificate.write_bytes(certificate.pem)
        files.key.touch(mode=0o600)
        files.key.write_bytes(key_pem(key))
        files.ca.write_bytes(self.authority.certificate.pem)
        return PeerCredentials(files, alpn=(ALPN,))


def _day_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


def _named(host: str) -> str:
    return f"node-{host.replace('.', '-')}"
