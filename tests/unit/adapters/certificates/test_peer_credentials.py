"""Credentials that are replaced while the node runs."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import CredentialFiles
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason, Refused
from shoal.testing.cluster import Cluster

NOW = datetime.now(UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "ours")


@pytest.fixture
def node(cluster: Cluster) -> PeerCredentials:
    return PeerCredentials(cluster.issue("n1", ["10.0.0.1"]), alpn=("shoal",))


def _look(node: PeerCredentials) -> bool:
    """Look twice, as files must be at rest; return whether there was something new."""
    assert node.changed() is None
    found = node.changed()
    if found is not None:
        node.use(found)
    return found is not None


def test_files_that_stay_are_not_read_again(node: PeerCredentials) -> None:
    assert not _look(node)
    assert not _look(node)


def test_a_new_certificate_is_put_into_force_and_told(
    cluster: Cluster, node: PeerCredentials
) -> None:
    told: list[int] = []
    node.when_changed(lambda: told.append(node.identity.serial))
    before, context = node.current, node.server_context
    cluster.issue("n1", ["10.0.0.1"])
    assert _look(node)
    assert node.current is not before
    assert node.server_context is not context
    assert told == [node.identity.serial]
    assert node.current.certificate.verifies(node.sign(b"piece"), b"piece")


def test_a_bad_file_keeps_the_old_ones_until_it_is_mended(
    cluster: Cluster, node: PeerCredentials
) -> None:
    before = node.current
    node.files.key.write_bytes(b"")
    assert node.changed() is None
    for _ in range(2):
        with pytest.raises(CertificateError, match=r"tls\.key"):
            node.changed()
    assert node.current is before
    cluster.issue("n1", ["10.0.0.1"])
    assert _look(node)


def test_an_expired_certificate_keeps_the_old_one(cluster: Cluster, node: PeerCredentials) -> None:
    cluster.issue("n1", ["10.0.0.1"], now=NOW - timedelta(days=400))
    assert node.changed() is None
    with pytest.raises(Refused) as caught:
        node.changed()
    assert caught.value.reason is Reason.EXPIRED


def test_a_revocation_holds_from_the_next_look_on(cluster: Cluster, node: PeerCredentials) -> None:
    other = cluster.credentials("n2", "10.0.0.2")
    peer = PeerId("10.0.0.2:65002")
    assert node.accept(other.certificate.der, peer=peer).node == "n2"
    cluster.revoke("n2")
    assert _look(node)
    with pytest.raises(Refused) as caught:
        node.accept(other.certificate.der, peer=peer)
    assert caught.value.reason is Reason.REVOKED


def test_authorities_change_one_step_after_the_other_with_nobody_refused(
    cluster: Cluster, node: PeerCredentials
) -> None:
    other = PeerCredentials(cluster.issue("n2", ["10.0.0.2"]))
    nodes = {"n1": node, "n2": other}

    def both_accept() -> None:
        node.accept(other.current.certificate.der, peer=PeerId("10.0.0.2:1"))
        other.accept(node.current.certificate.der, peer=PeerId("10.0.0.1:1"))

    cluster.rotate()
    for name, credentials in nodes.items():  # first whom all trust
        cluster.tell(name)
        assert _look(credentials)
        both_accept()
    for name, address in (("n1", "10.0.0.1"), ("n2", "10.0.0.2")):  # then their own
        cluster.issue(name, [address])
        assert _look(nodes[name])
        both_accept()
    cluster.retired.clear()
    for name, credentials in nodes.items():  # then nobody trusts the old one any more
        cluster.tell(name)
        assert _look(credentials)
        both_accept()


def test_a_folder_that_is_swapped_as_kubernetes_does_is_noticed(
    cluster: Cluster, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()

    def publish(version: str) -> None:
        cluster.issue("n1", ["10.0.0.1"])
        shutil.copytree(cluster.folder / "n1", volume / version)
        new = volume / "..data.new"
        new.symlink_to(version)
        new.rename(volume / "..data")

    publish("..1")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (volume / name).symlink_to(f"..data/{name}")
    files = CredentialFiles(volume / "tls.crt", volume / "tls.key", volume / "ca.crt")
    credentials = PeerCredentials(files)
    before = credentials.identity.serial
    publish("..2")
    assert _look(credentials)
    assert credentials.identity.serial != before
