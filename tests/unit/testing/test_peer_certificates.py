"""The cluster's certificates that tests and the test bed use."""

import stat
from pathlib import Path

from shoal.adapters.certificates.credentials import Credentials
from shoal.core.trust.identity import Role
from shoal.testing.peer_certificates import ClusterCertificates


def test_each_node_has_a_folder_with_what_its_agent_reads(tmp_path: Path) -> None:
    cluster = ClusterCertificates(tmp_path, cluster="edge-1")
    files = cluster.node("n1", "10.0.0.1", roles=[Role.OPERATOR])
    identity = Credentials.read(files).identity
    assert (identity.cluster, identity.node) == ("edge-1", "n1")
    assert identity.roles == {"operator"}
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert cluster.settings("n1") == {
        "tls": {
            "certificate": str(tmp_path / "n1/tls.crt"),
            "key": str(tmp_path / "n1/tls.key"),
            "ca": str(tmp_path / "n1/ca.crt"),
        }
    }


def test_a_node_is_told_of_what_was_revoked_and_of_a_new_authority(tmp_path: Path) -> None:
    cluster = ClusterCertificates(tmp_path)
    gone = cluster.credentials("gone", "10.0.0.9")
    cluster.revoke(gone.certificate)
    cluster.node("n1", "10.0.0.1")
    cluster.rotate()
    cluster.tell("n1")
    credentials = Credentials.read(cluster.files("n1"))
    assert len(credentials.trust.authorities) == 2
    assert all(gone.identity.serial in list_.revoked for list_ in credentials.trust.lists)
    assert cluster.settings("n1")["tls"]["revoked"] == str(tmp_path / "n1/revoked.crl")
