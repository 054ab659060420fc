"""The files that a test's cluster gives to nodes are such as an agent takes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.core.trust.identity import Reason, Refused, Role
from shoal.testing.cluster import Cluster, settings_of


def test_nodes_of_a_cluster_take_each_other_until_one_is_revoked(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    one = PeerCredentials(cluster.issue("one", ["10.0.0.1"]))
    der = cluster.certificate("one").der
    other_files = cluster.issue("two", ["10.0.0.2", "fd00::2"])
    assert PeerCredentials(other_files).accept(der) == one.identity
    cluster.revoke("one")
    with pytest.raises(Refused) as caught:
        PeerCredentials(other_files).accept(der)
    assert caught.value.reason is Reason.REVOKED


def test_a_certificate_may_have_expired_already(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.issue("late", ["10.0.0.1"], days=1, now=datetime.now(UTC) - timedelta(days=3))
    good = PeerCredentials(cluster.issue("good", ["10.0.0.2"]))
    with pytest.raises(Refused) as caught:
        good.accept(cluster.certificate("late").der)
    assert caught.value.reason is Reason.EXPIRED


def test_while_the_authority_changes_both_are_trusted_by_who_was_told(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    one = cluster.issue("one", ["10.0.0.1"])
    cluster.rotate()
    two = cluster.issue("two", ["10.0.0.2"], roles=[Role.OPERATOR])
    with pytest.raises(Refused):
        PeerCredentials(one).accept(cluster.certificate("two").der)
    cluster.tell_all()
    told = PeerCredentials(one).accept(cluster.certificate("two").der)
    assert told.node == "two"
    assert told.roles == {"operator"}
    assert PeerCredentials(two).accept(cluster.certificate("one").der).node == "one"


def test_settings_name_the_files_of_the_node_and_only_its_owner_reads_the_key(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    files = cluster.issue("one", ["10.0.0.1"])
    assert cluster.files("one") == files
    assert cluster.files("two") is None
    assert settings_of(files)["key"] == str(tmp_path / "one" / "tls.key")
    assert files.key.stat().st_mode & 0o077 == 0
