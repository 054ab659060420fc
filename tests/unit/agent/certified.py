"""Certificates for nodes of a test, by the address that each listens on."""

from collections.abc import Callable
from pathlib import Path

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers.handshake import ALPN
from shoal.testing.cluster import Cluster


def credentials_of(folder: Path) -> Callable[[str], PeerCredentials]:
    """Return what gives the node at an address its credentials in a new cluster."""
    return credentials_in(Cluster(folder, "edge"))


def credentials_in(cluster: Cluster) -> Callable[[str], PeerCredentials]:
    """Return what gives the node at an address its credentials, new ones each time."""

    def of(host: str) -> PeerCredentials:
        return PeerCredentials(cluster.issue(node_name(host), [host]), alpn=(ALPN,))

    return of


def node_name(host: str) -> str:
    """Return what the node at an address is called."""
    return f"node-{host.replace('.', '-')}"
