"""Real handshakes of TLS, and what an operator reads of those that fail."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.credentials import Credentials
from shoal.adapters.certificates.handshakes import refusal
from shoal.core.trust.identity import Reason, Refused
from shoal.testing.cluster import Cluster
from unit.adapters.certificates.shaking import shake

NOW = datetime.now(UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "ours")


@pytest.fixture
def server(cluster: Cluster) -> Credentials:
    return cluster.credentials("n2", "10.0.0.2")


def _refused(
    client: Credentials | ssl.SSLContext, server: Credentials, *, host: str = "10.0.0.2"
) -> tuple[Refused, Refused]:
    """Return what client and server say of a handshake that fails."""
    context = client if isinstance(client, ssl.SSLContext) else client.client_context
    ended = shake(context, server.server_context, host=host)
    assert all(end.error is not None for end in ended)
    mine, theirs = (refusal(end.error) for end in ended if end.error is not None)
    return mine, theirs


def test_two_nodes_of_a_cluster_speak_tls_1_3_and_know_each_other(
    cluster: Cluster, server: Credentials
) -> None:
    client = cluster.credentials("n1", "10.0.0.1")
    mine, theirs = shake(client.client_context, server.server_context)
    assert (mine.version, theirs.version) == ("TLSv1.3", "TLSv1.3")
    assert client.accept(mine.shown).node == "n2"
    assert server.accept(theirs.shown).node == "n1"


@pytest.mark.parametrize(
    ("days", "reason"), [(-400, Reason.EXPIRED), (10, Reason.NOT_YET_VALID)], ids=["old", "new"]
)
def test_a_certificate_outside_its_time_is_refused(
    cluster: Cluster, server: Credentials, days: int, reason: Reason
) -> None:
    client = cluster.credentials("n1", "10.0.0.1", now=NOW + timedelta(days=days))
    mine, theirs = _refused(client, server)
    assert theirs.reason is reason
    assert mine.reason is Reason.REFUSED_BY_PEER


def test_a_revoked_certificate_is_refused_and_told_so(cluster: Cluster) -> None:
    client, spared = cluster.credentials("n1", "10.0.0.1"), cluster.credentials("n3", "10.0.0.3")
    cluster.revoke("n1")
    server = cluster.credentials("n2", "10.0.0.2")
    mine, theirs = _refused(client, server)
    assert theirs.reason is Reason.REVOKED
    assert str(mine) == "this node's certificate was revoked, the peer says"
    _, well = shake(spared.client_context, server.server_context)
    assert well.version == "TLSv1.3"


def test_another_clusters_certificate_is_refused_at_both_ends(
    tmp_path: Path, server: Credentials
) -> None:
    other = Cluster(tmp_path / "other", "edge-2")
    client = other.credentials("n1", "10.0.0.1")
    mine, _ = _refused(client, server)
    assert mine.reason is Reason.OTHER_CLUSTER
    unverifying = client.client_context
    unverifying.check_hostname = False
    unverifying.verify_mode = ssl.CERT_NONE
    _, theirs = _refused(unverifying, server)
    assert theirs.reason is Reason.OTHER_CLUSTER


def test_who_is_not_the_member_that_was_called_is_refused_by_the_caller(
    cluster: Cluster, server: Credentials
) -> None:
    mine, theirs = _refused(cluster.credentials("n1", "10.0.0.1"), server, host="10.0.0.9")
    assert mine.reason is Reason.NOT_THE_MEMBER
    assert theirs.reason is Reason.REFUSED_BY_PEER


def _stranger() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_who_shows_no_certificate_is_refused(server: Credentials) -> None:
    mine, theirs = _refused(_stranger(), server)
    assert theirs.reason is Reason.NONE
    assert mine.reason is Reason.REFUSED_BY_PEER


def test_older_tls_is_refused(server: Credentials) -> None:
    context = _stranger()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    mine, theirs = _refused(context, server)
    assert (mine.reason, theirs.reason) == (Reason.NO_TLS, Reason.NO_TLS)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, b"\x16\x03\x01\xff\xff"])
def test_who_does_not_speak_tls_is_refused(server: Credentials, said: bytes) -> None:
    incoming = ssl.MemoryBIO()
    end = server.server_context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    incoming.write(said)
    with pytest.raises(ssl.SSLError) as caught:
        end.do_handshake()
    assert refusal(caught.value).reason is Reason.NO_TLS


def test_no_session_is_resumed_past_the_list_of_revoked_certificates(
    cluster: Cluster, server: Credentials
) -> None:
    client = cluster.credentials("n1", "10.0.0.1")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.client_context.wrap_bio(to_client, to_server, server_hostname="10.0.0.2")
    two = server.server_context.wrap_bio(to_server, to_client, server_side=True)
    for end in (one, two, one, two, one):
        try:
            end.do_handshake()
            end.read(1)
        except ssl.SSLWantReadError:
            continue
    assert one.version() == "TLSv1.3"
    assert one.session is None or not one.session.has_ticket


def test_other_errors_are_told_as_they_are() -> None:
    assert str(refusal(ConnectionResetError(104, "reset"))) == (
        "the handshake failed: [Errno 104] reset"
    )
    refused = Refused(Reason.EXPIRED, "old")
    assert refusal(refused) is refused
