"""What a node shows its peers: read as a whole, or refused with the file's name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason, Refused, Role
from shoal.testing.cluster import Cluster

NOW = datetime.now(UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "ours")


def _fails(files: CredentialFiles, path: Path, said: str) -> None:
    with pytest.raises(CertificateError) as caught:
        Credentials.read(files)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_files_that_belong_together_are_taken(cluster: Cluster) -> None:
    credentials = Credentials.read(cluster.issue("n1", ["10.0.0.1"]), alpn=("shoal",))
    assert credentials.identity.node == "n1"
    credentials.require_valid(now=NOW)
    assert credentials.certificate.verifies(credentials.sign(b"piece"), b"piece")


def test_the_key_of_another_certificate_is_refused(cluster: Cluster) -> None:
    files = cluster.issue("n1", ["10.0.0.1"])
    files.key.write_bytes(key_pem(make_key()))
    _fails(files, files.key, "is not the key of the certificate")


def test_a_key_that_everyone_can_read_is_refused(cluster: Cluster) -> None:
    files = cluster.issue("n1", ["10.0.0.1"])
    files.key.chmod(0o644)
    _fails(files, files.key, "chmod o=")
    files.key.chmod(0o640)  # a group of its own, as a pod's fsGroup
    assert Credentials.read(files).identity.node == "n1"


def test_a_certificate_of_an_authority_that_is_not_trusted_is_refused(
    cluster: Cluster,
) -> None:
    files = cluster.issue("n1", ["10.0.0.1"])
    cluster.rotate()
    cluster.retired.clear()
    cluster.tell("n1")
    _fails(files, files.certificate, "which is not trusted")


def test_an_operators_certificate_makes_no_node(cluster: Cluster, tmp_path: Path) -> None:
    files = cluster.issue("n1", ["10.0.0.1"])
    key = make_key()
    operator = cluster.authority.issue(key.public_key(), roles=[Role.OPERATOR], name="alice")
    files.certificate.write_bytes(operator.pem)
    files.key.write_bytes(key_pem(key))
    _fails(files, files.certificate, "is no node's certificate")


@pytest.mark.parametrize("which", ["certificate", "key", "ca", "revoked"])
def test_a_file_that_is_missing_empty_or_huge_is_named(cluster: Cluster, which: str) -> None:
    files = cluster.issue("n1", ["10.0.0.1"])
    path: Path = getattr(files, which)
    path.write_bytes(b"x" * 2_000_000)
    _fails(files, path, "is larger than")
    path.write_bytes(b"")
    _fails(files, path, "")
    path.unlink()
    _fails(files, path, "No such file")


def test_an_expired_certificate_is_read_and_known_for_one(cluster: Cluster) -> None:
    credentials = cluster.credentials("n1", "10.0.0.1", now=NOW - timedelta(days=400))
    with pytest.raises(Refused) as caught:
        credentials.require_valid(now=NOW)
    assert caught.value.reason is Reason.EXPIRED


def test_the_other_end_is_accepted_as_the_member_that_it_is(cluster: Cluster) -> None:
    one, two = cluster.credentials("n1", "10.0.0.1"), cluster.credentials("n2", "10.0.0.2")
    assert one.accept(two.certificate.der, peer=PeerId("10.0.0.2:65002")) == two.identity
    with pytest.raises(Refused) as caught:
        one.accept(two.certificate.der, peer=PeerId("10.0.0.3:65002"))
    assert caught.value.reason is Reason.NOT_THE_MEMBER


@pytest.mark.parametrize("der", [None, b""])
def test_who_shows_nothing_is_refused(cluster: Cluster, der: bytes | None) -> None:
    with pytest.raises(Refused) as caught:
        cluster.credentials("n1", "10.0.0.1").accept(der)
    assert caught.value.reason is Reason.NONE


def test_another_cluster_is_refused_even_if_its_authority_is_in_the_bundle(
    cluster: Cluster,
) -> None:
    other = Cluster(cluster.folder / "other", "edge-2")
    cluster.retired.append(other.authority)
    stranger = other.credentials("n9", "10.0.0.9")
    with pytest.raises(Refused) as caught:
        cluster.credentials("n1", "10.0.0.1").accept(stranger.certificate.der)
    assert caught.value.reason is Reason.OTHER_CLUSTER


def test_no_secret_is_in_its_repr(cluster: Cluster) -> None:
    shown = repr(cluster.credentials("n1", "10.0.0.1"))
    assert "PRIVATE" not in shown
    assert "SSLContext" not in shown
    assert "key=" not in shown
