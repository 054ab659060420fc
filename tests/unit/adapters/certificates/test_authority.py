"""The cluster's authority, and what it signs."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from shoal.adapters.certificates.authority import CLOCK_SKEW, Authority
from shoal.adapters.certificates.certificate import Certificate
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import make_key
from shoal.core.errors import BadInput
from shoal.core.trust.identity import Role

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AUTHORITY = Authority.make("edge-1", now=NOW)


def _uses(certificate: Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.x509.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_an_authority_signs_directly_and_for_its_cluster_alone() -> None:
    extensions = AUTHORITY.certificate.x509.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    names = extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert names.value.permitted_subtrees == [x509.UniformResourceIdentifier("edge-1")]


def test_two_authorities_of_a_cluster_have_names_of_their_own() -> None:
    assert AUTHORITY.certificate.name != Authority.make("edge-1", now=NOW).certificate.name


def test_a_node_may_answer_and_call_and_sign_nobody() -> None:
    node = AUTHORITY.issue(make_key().public_key(), node="n7", addresses=["10.0.0.7"], now=NOW)
    assert _uses(node) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    constraints = node.x509.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca
    assert node.not_before == NOW - CLOCK_SKEW
    assert node.not_after == NOW + timedelta(days=365)


def test_an_operator_may_call_only() -> None:
    operator = AUTHORITY.issue(
        make_key().public_key(), roles=[Role.OPERATOR], name="alice", now=NOW
    )
    assert _uses(operator) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert operator.identity.node is None
    assert operator.identity.roles == {"operator"}
    assert str(operator.identity) == "alice of edge-1"


def test_no_certificate_outlives_its_authority() -> None:
    node = AUTHORITY.issue(make_key().public_key(), node="n7", days=9000, now=NOW)
    assert node.not_after == AUTHORITY.certificate.not_after


def test_an_authority_that_has_ended_signs_no_more() -> None:
    late = NOW + timedelta(days=3651)
    with pytest.raises(CertificateError, match="shoal certs rotate"):
        AUTHORITY.issue(make_key().public_key(), node="n7", now=late)


def test_a_certificate_is_for_somebody() -> None:
    with pytest.raises(CertificateError, match="a node's name or a role"):
        AUTHORITY.issue(make_key().public_key(), addresses=["10.0.0.7"], now=NOW)
    with pytest.raises(CertificateError, match="key to certify"):
        AUTHORITY.issue(object(), node="n7", now=NOW)
    with pytest.raises(BadInput):
        AUTHORITY.issue(make_key().public_key(), node="a/b", now=NOW)
    with pytest.raises(BadInput):
        Authority.make("not a name")


def test_an_authority_is_read_back_from_its_files() -> None:
    pem = AUTHORITY.certificate.pem
    again = Authority.read(pem, AUTHORITY.key_pem, name="ca.crt", key_name="ca.key")
    assert (again.certificate, again.cluster) == (AUTHORITY.certificate, "edge-1")


def test_a_key_of_another_authority_is_named() -> None:
    other = Authority.make("edge-1")
    with pytest.raises(CertificateError, match=r"^ca\.key: is not the key of edge-1 authority"):
        Authority.read(AUTHORITY.certificate.pem, other.key_pem, name="ca.crt", key_name="ca.key")


def test_the_key_is_not_in_its_repr() -> None:
    assert "key" not in repr(AUTHORITY).replace("key_pem", "")
