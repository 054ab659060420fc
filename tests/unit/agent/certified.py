"""Certificates for nodes of a test, by the address that each listens on."""

from collections.abc import Callable
from pathlib import Path

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.handshake import ALPN
from shoal.testing.cluster import Cluster


def credentials_of(folder: Path) -> Callable[[str], PeerCredentials]:
    """Return what gives the node at an address its credentials in a new cluster."""
    cluster = Cluster(folder, "edge")

    def of(host: str) -> PeerCredentials:
        files = cluster.issue(f"node-{host.replace('.', '-')}", [host])
        return PeerCredentials(files, alpn=(ALPN,))

    return of
